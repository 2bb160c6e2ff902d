//! Logs of a run: readable on a terminal, JSON elsewhere, always on stderr, and never more than one line per event.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, DefaultFields, Format, Json, JsonFields};
use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};

use crate::sink::json_escape;
use crate::untrusted::{Untrusted, is_active};

/// Which messages are kept, in the syntax of `tracing`: "debug", "correlator::source=trace".
const VARIABLE: &str = "GROUNDTRAIL_LOG";

/// Installs the logger. `default` is the level where GROUNDTRAIL_LOG says nothing.
pub(super) fn init(default: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    // Refused only where a logger is installed already, by a program that runs verbs as a library.
    let _ = if io::stderr().is_terminal() {
        text(Inert { out: io::stderr, is_json: false }).with_env_filter(filter).try_init()
    } else {
        json(Inert { out: io::stderr, is_json: true }).with_env_filter(filter).try_init()
    };
}

type Builder<N, E, W> = SubscriberBuilder<N, E, tracing::level_filters::LevelFilter, W>;

fn text<W: for<'w> MakeWriter<'w> + 'static>(writer: W) -> Builder<DefaultFields, Format<Compact>, W> {
    tracing_subscriber::fmt().with_writer(writer).with_ansi(false).with_target(false).compact()
}

fn json<W: for<'w> MakeWriter<'w> + 'static>(writer: W) -> Builder<JsonFields, Format<Json>, W> {
    tracing_subscriber::fmt().with_writer(writer).json().flatten_event(true)
}

/// Makes whatever reached the log inert. `tracing` escapes most of it, but newlines in messages, `%` fields, C1 and
/// characters that reorder text pass it; here, behind it, nothing can be forgotten.
#[derive(Clone)]
struct Inert<M> {
    out: M,
    is_json: bool,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for Inert<M> {
    type Writer = InertWriter<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        InertWriter { out: self.out.make_writer(), is_json: self.is_json }
    }
}

struct InertWriter<W> {
    out: W,
    is_json: bool,
}

impl<W: Write> Write for InertWriter<W> {
    /// `tracing` hands over one whole event, which ends in a newline.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut safe = String::with_capacity(line.len() + 1);
        for c in line.chars() {
            match c {
                c if !is_active(c) => safe.push(c),
                c if self.is_json => safe.push_str(&json_escape(c)),
                c => safe.push_str(&Untrusted(c.encode_utf8(&mut [0; 4])).to_string()),
            }
        }
        safe.push('\n');
        self.out.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::corpus::{assert_inert, hostile};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log_everything(text: &str) {
        tracing::info!(debug = ?text, plain = text, display = %text, "a message");
        tracing::info!("{text}");
    }

    #[test]
    fn no_string_forges_a_line_or_reaches_the_terminal() {
        for hostile in hostile() {
            for is_json in [false, true] {
                let memory = Memory::default();
                let out = memory.clone();
                let writer = Inert { out: move || out.clone(), is_json };
                if is_json {
                    tracing::subscriber::with_default(json(writer).finish(), || log_everything(&hostile));
                } else {
                    tracing::subscriber::with_default(text(writer).finish(), || log_everything(&hostile));
                }
                let logged = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
                assert_inert(&logged);
                assert_eq!(logged.lines().count(), 2, "{logged}");
                if is_json {
                    let event: serde_json::Value =
                        serde_json::from_str(logged.lines().next().unwrap()).unwrap();
                    assert_eq!(event["plain"], hostile);
                }
            }
        }
    }
}
