//! Alerts for a person at a terminal.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use serde_json::Value;

use super::Printer;
use crate::render::{self, Shown, Style};

/// How many alerts' shown state is kept. A revision of an older one is shown in full.
const MAX_REMEMBERED: usize = 4096;

/// Writes an alert in full when it is new, and only the news when it is revised.
pub struct Pretty<W> {
    out: W,
    style: Style,
    shown: HashMap<String, Shown>,
    oldest_first: VecDeque<String>,
}

impl<W: Write> Pretty<W> {
    pub fn new(out: W, style: Style) -> Self {
        Self { out, style, shown: HashMap::new(), oldest_first: VecDeque::new() }
    }

    fn remember(&mut self, id: &str, shown: Shown) {
        if self.shown.insert(id.to_owned(), shown).is_none() {
            self.oldest_first.push_back(id.to_owned());
        }
        if self.oldest_first.len() > MAX_REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.shown.remove(&oldest);
        }
    }
}

impl<W: Write> Printer for Pretty<W> {
    fn write(&mut self, alert: &Value) -> io::Result<()> {
        let id = alert.pointer("/groundtrail/alert/id").and_then(Value::as_str).unwrap_or_default();
        let text = match self.shown.get(id) {
            Some(before) => render::revision(alert, before, self.style),
            None => render::alert(alert, self.style),
        };
        self.remember(id, Shown::of(alert));
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(sink: &mut Pretty<Vec<u8>>, id: &str, revision: u64) -> String {
        sink.out.clear();
        let alert = json!({"rule": {"name": "a rule"}, "message": "the story",
            "groundtrail": {"alert": {"id": id, "revision": revision, "state": "open", "severity": "low"}}});
        sink.write(&alert).unwrap();
        String::from_utf8(sink.out.clone()).unwrap()
    }

    #[test]
    fn a_revision_is_short_while_the_alert_is_remembered() {
        let mut sink = Pretty::new(Vec::new(), Style { width: 100, is_coloured: false });
        assert!(write(&mut sink, "a", 1).contains("the story"));
        assert!(!write(&mut sink, "a", 2).contains("the story"));
        for n in 0..MAX_REMEMBERED {
            write(&mut sink, &format!("other {n}"), 1);
        }
        assert!(write(&mut sink, "a", 3).contains("the story"));
        assert!(sink.shown.len() <= MAX_REMEMBERED && sink.oldest_first.len() <= MAX_REMEMBERED);
    }
}
