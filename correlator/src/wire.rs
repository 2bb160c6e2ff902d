//! The wire from sensors: batches over HTTP, from a TLS client whose certificate names its host or from a Unix socket
//! whose peer the kernel names. A batch is acknowledged once all it led to is written, and is taken in once however often
//! it comes.
//!
//! `POST /v1/events` carries one zstd frame of NDJSON per sequence number, from the first on without a gap. Reading order:
//! [`name`] (who a client is), `frames` (bytes to lines), [`ledger`] (what has come), [`quota`], `claims` (what a client may say),
//! `hosts` and `worker` (all of that for one batch), `http`, `tls` and [`listen`] at the edge. The first four know neither clock nor
//! socket.

pub mod account;
pub(crate) mod claims;
mod frames;
mod hosts;
mod http;
pub mod ledger;
pub mod listen;
pub mod name;
pub mod people;
mod porch;
mod prefixed;
pub mod quota;
pub mod tls;
mod worker;

/// What this program speaks. A sensor of the version before, or after, is told so and chooses one that both know.
pub const PROTOCOLS: &[u32] = &[1];

pub const EVENTS_PATH: &str = "/v1/events";
/// Says who asks, and what is spoken: for `groundtrail-sensor doctor`.
pub const HELLO_PATH: &str = "/v1/hello";

/// Of every request, and of answers to one that nobody understands: the version, or all versions that are spoken.
pub const PROTOCOL: &str = "groundtrail-protocol";
/// The `host.id` that the sensor believes it has.
pub const HOST: &str = "groundtrail-host";
/// The spool the sequence numbers belong to: 32 hex digits, made with the spool.
pub const STREAM: &str = "groundtrail-stream";
/// The sequence number of the first frame.
pub const SEQUENCE: &str = "groundtrail-sequence";
/// The lowest number that the sensor still holds: what is below was acknowledged, or given up and told of.
pub const OLDEST: &str = "groundtrail-oldest";
/// In an answer: everything up to this number is safe.
pub const ACKNOWLEDGED: &str = "groundtrail-acknowledged";
/// In an answer: this number is to come next.
pub const EXPECTED: &str = "groundtrail-expected";
/// In an answer: the frame of this number cannot be taken, now or later.
pub const REFUSED: &str = "groundtrail-refused";
