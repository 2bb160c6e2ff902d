//! Where alerts go: each revision of each, and nothing else.
//!
//! Standard output is written by the run itself ([`Ndjson`], [`Pretty`]). Every other sink has a queue in the store, which a
//! revision enters in the transaction that writes it, and a worker on a thread of its own that takes it from there.
//!
//! Reading order: [`transport`] (what a way out is), [`worker`] (one queue to its transport, with retries and dead letters),
//! [`crew`] (all of a run), `account` (how each is), then the transports.

mod account;
#[cfg(feature = "aws")]
mod aws;
mod backoff;
pub mod crew;
mod dead;
mod elastic;
mod file;
mod format;
mod http;
mod journald;
mod login;
mod mask;
mod ndjson;
mod ocsf;
mod pretty;
mod progress;
pub mod resend;
mod secret;
mod signature;
mod splunk;
mod syslog;
#[cfg(test)]
mod tests;
mod tls;
pub mod transport;
mod trial;
mod webhook;
pub mod worker;

use std::io;

use serde_json::Value;

pub use account::Account;
pub use format::Format;
pub use login::Login;
pub use ndjson::Ndjson;
pub(crate) use ndjson::{json_escape, to_line};
pub use pretty::Pretty;
pub use secret::{Secret, SecretError};
pub use tls::TlsError;
pub use trial::{Trial, TrialError, trial};

use crate::config::sinks::{Sink, To, duration};
use transport::Transport;

/// What writes to standard output.
pub trait Printer {
    /// Takes one revision of one alert.
    ///
    /// # Errors
    /// What the medium says. A broken pipe means that nobody reads any more: the caller ends the run in good order.
    fn write(&mut self, alert: &Value) -> io::Result<()>;
}

/// Why a sink's settings cannot be used. What may pass, such as a receiver that is down, is none of these.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "this groundtrail was built without what asks AWS: take a released one, or build it with --features aws"
    )]
    NoAws,
}

/// The way out that a sink's settings describe. Nobody is contacted yet.
///
/// # Errors
/// A file that they name is missing or wrong.
pub fn open(sink: &Sink) -> Result<Box<dyn Transport + Send>, SinkError> {
    let format = sink.format;
    Ok(match &sink.to {
        To::File(output) => Box::new(file::RotatedFile::new(output.clone(), format)),
        To::Webhook(to) => Box::new(webhook::Webhook::open(to, format)?),
        To::Elastic(to) => Box::new(elastic::Bulk::open(to, format)?),
        To::Splunk(to) => Box::new(splunk::Collector::open(to, format)?),
        To::Syslog(to) => Box::new(syslog::Wire::open(to, format)?),
        #[cfg(feature = "aws")]
        To::S3(to) => Box::new(aws::Objects::new(to.clone(), format)),
        #[cfg(feature = "aws")]
        To::Sqs(to) => Box::new(aws::Queue::new(to.clone(), format)),
        #[cfg(feature = "aws")]
        To::Sns(to) => Box::new(aws::Topic::new(to.clone(), format)),
        #[cfg(feature = "aws")]
        To::SecurityHub(to) => Box::new(aws::Hub::new(to.clone())),
        #[cfg(not(feature = "aws"))]
        To::S3(_) | To::Sqs(_) | To::Sns(_) | To::SecurityHub(_) => return Err(SinkError::NoAws),
        To::Journald(path) => Box::new(journald::Journal::new(path.clone(), format, duration(sink.timeout))),
    })
}

/// What a future that never waits comes to.
#[cfg(test)]
fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
