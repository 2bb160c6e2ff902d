//! Where alerts go. A sink gets alert documents, each revision of each, and nothing else.

mod file;
mod ndjson;
mod pretty;

use std::io;

use serde_json::Value;

pub use file::RotatedFile;
pub use ndjson::Ndjson;
pub(crate) use ndjson::{json_escape, to_line};
pub use pretty::Pretty;

pub trait Sink {
    /// Takes one revision of one alert.
    ///
    /// # Errors
    /// What the medium says. A broken pipe means that nobody reads any more: the caller ends the run in good order.
    fn write(&mut self, alert: &Value) -> io::Result<()>;
}

/// Hands each alert to several sinks, in order.
pub struct Fanout(pub Vec<Box<dyn Sink>>);

impl Sink for Fanout {
    fn write(&mut self, alert: &Value) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|sink| sink.write(alert))
    }
}
