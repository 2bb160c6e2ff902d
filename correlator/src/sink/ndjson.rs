//! One JSON document per line, safe to look at.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

use super::Printer;
use crate::untrusted::is_active;

/// Writes each alert as one line and flushes it: whoever follows the stream waits for nothing.
pub struct Ndjson<W>(pub W);

impl<W: Write> Printer for Ndjson<W> {
    fn write(&mut self, alert: &Value) -> io::Result<()> {
        let line = to_line(alert) + "\n";
        self.0.write_all(line.as_bytes())?;
        self.0.flush()
    }
}

/// The document on one line. Characters that a terminal would act on are `\u` escapes, which JSON reads as the same text.
pub(crate) fn to_line(document: &Value) -> String {
    let mut line = Vec::with_capacity(4096);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Inert);
    document.serialize(&mut serializer).expect("writing a JSON value to memory cannot fail");
    String::from_utf8(line).expect("JSON is UTF-8")
}

/// The character as JSON's `\u` escapes.
pub(crate) fn json_escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// JSON as usual, but nothing beyond ASCII that moves, hides or reorders text.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_active(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            writer.write_all(json_escape(c).as_bytes())?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::corpus::{assert_inert, hostile};

    #[test]
    fn every_hostile_string_is_one_inert_line_and_reads_back_as_it_was() {
        for text in hostile() {
            let alert = serde_json::json!({ "message": text.clone(), "list": [text.clone(), 1], text: true });
            let mut out = Vec::new();
            Ndjson(&mut out).write(&alert).unwrap();
            let line = String::from_utf8(out).unwrap();
            assert_eq!(line.matches('\n').count(), 1);
            assert_inert(&line);
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), alert);
        }
    }
}
