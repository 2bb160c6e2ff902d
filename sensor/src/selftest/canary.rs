//! Proof that a running sensor still sees: an exec and a connection of its own come back in its own stream.

use std::io;
use std::time::{Duration, Instant};

use super::helper::{Helper, myself};

/// How long they may take to come back.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// A helper at work, and what has been seen of it.
pub struct Canary {
    helper: Helper,
    start: Instant,
    exec: bool,
    connection: bool,
}

impl Canary {
    /// # Errors
    /// If the helper cannot be started.
    pub fn send() -> io::Result<Self> {
        Ok(Self { helper: Helper::start(myself())?, start: Instant::now(), exec: false, connection: false })
    }

    /// Looks through a line that goes to the output. Every event of the helper carries its arguments.
    pub fn look(&mut self, line: &[u8]) {
        let has = |text: &str| line.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        if has(self.helper.word()) {
            self.exec |= has("\"action\":\"exec\"");
            self.connection |= has("\"action\":\"connection_attempted\"");
        }
    }

    /// Whether the exec and the connection were seen and how long that took, once that is settled.
    pub fn verdict(&self) -> Option<(bool, bool, Duration)> {
        let took = self.start.elapsed();
        ((self.exec && self.connection) || took >= MAX_WAIT).then_some((self.exec, self.connection, took))
    }
}
