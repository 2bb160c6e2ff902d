//! What the end-to-end tests and the demo share, in reading order: a namespace that nothing leaves, the stand-ins that
//! answer in it (instance metadata, the AWS API with its CloudTrail, the SSM agent), and how the real binaries are found.
#![forbid(unsafe_code)]

pub mod awsapi;
pub mod bins;
pub mod cloudtrail;
pub mod digest;
pub mod http;
pub mod imds;
pub mod moto;
pub mod netns;
pub mod shuffle;
pub mod skip;
pub mod ssm;
pub mod trace;
pub mod virtual_run;
pub mod watch;
pub mod world;
