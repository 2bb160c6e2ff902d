//! What the end-to-end tests and the demo share, in reading order: a namespace that nothing leaves, the stand-ins that
//! answer in it (instance metadata, the AWS API with its CloudTrail, the SSM agent), how the real binaries are found, and a browser for the pages.
#![forbid(unsafe_code)]

pub mod awsapi;
pub mod bins;
pub mod browser;
pub mod client;
pub mod cloudtrail;
pub mod digest;
pub mod http;
pub mod imds;
pub mod moto;
pub mod netns;
pub mod python;
pub mod shuffle;
pub mod skip;
pub mod ssm;
pub mod trace;
pub mod virtual_run;
pub mod watch;
pub mod world;
