//! Hits from a line of text, for tests of what hits amount to.
//!
//! `A1 B2.5 AB3c` is three events: step A at 1 s, step B at 2.5 s, and at 3 s one that is A and B, by the clock of AWS.
//! `U` is the `until` step.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rules::event::{Event, EventTime, Span};
use rules::schema::Schema;

use super::{Change, EventRef, Hit, JoinKey, Keyed, Limits, Match, Shape};
use crate::source::normalize::Normalizer;
use crate::source::{Origin, Record};

pub(crate) fn record(id: &str, nanos: i64, origin: Origin) -> Arc<Record> {
    static BLANK: OnceLock<Record> = OnceLock::new();
    let read = || {
        let normalizer = Normalizer::new(Arc::new(Schema::builtin()), Arc::default());
        normalizer
            .read(Origin::Sensor, r#"{"@timestamp":"2026-11-21T00:00:00Z"}"#)
            .expect("an event with a time")
    };
    let mut record = BLANK.get_or_init(read).clone();
    record.event = Event::new(id, EventTime(nanos), "logs-test-default");
    record.origin = origin;
    Arc::new(record)
}

pub(crate) fn hit(text: &str) -> Arc<Hit> {
    let (body, origin) = match text.strip_suffix('c') {
        Some(body) => (body, Origin::CloudTrail),
        None => (text, Origin::Sensor),
    };
    let letters: String = body.chars().take_while(char::is_ascii_uppercase).collect();
    let seconds: f64 = body[letters.len()..].parse().expect("letters, then a time in seconds");
    let steps =
        letters.bytes().filter(|letter| *letter < b'U').fold(0, |mask, letter| mask | 1 << (letter - b'A'));
    Arc::new(Hit {
        event: Arc::new(EventRef::of(&record(text, (seconds * 1e9).round() as i64, origin))),
        steps,
        is_until: letters.contains('U'),
        values: Box::new([Box::from(letters.as_str())]),
        rows: Box::new([]),
        leaves: Box::new([]),
    })
}

pub(crate) fn hits(text: &str) -> Vec<Arc<Hit>> {
    text.split_whitespace().map(hit).collect()
}

/// A table with one rule, and what it has told so far.
pub(crate) struct Table {
    pub(crate) keyed: Keyed,
    pub(crate) told: BTreeMap<String, Arc<Match>>,
    pub(crate) n_gone: usize,
    pub(crate) n_put: usize,
}

impl Table {
    pub(crate) fn new(shape: Shape, limits: Limits) -> Self {
        let keyed = Keyed::new(vec![Some(shape)], limits);
        Self { keyed, told: BTreeMap::new(), n_gone: 0, n_put: 0 }
    }

    pub(crate) fn push(&mut self, hit: &Arc<Hit>) {
        self.push_key("k", hit);
    }

    pub(crate) fn push_key(&mut self, key: &str, hit: &Arc<Hit>) {
        let changes = self.keyed.push(0, JoinKey(Box::new([Some(key.into())])), Arc::clone(hit));
        self.take(changes);
    }

    pub(crate) fn advance(&mut self, seconds: f64) {
        let changes = self.keyed.advance(EventTime((seconds * 1e9) as i64));
        self.take(changes);
    }

    pub(crate) fn flush(&mut self) {
        let changes = self.keyed.flush();
        self.take(changes);
    }

    pub(crate) fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, found } => {
                    self.n_put += 1;
                    self.told.insert(format!("{:?} {}", key.1, found.anchor), found);
                }
                Change::Gone { key, anchor } => {
                    self.n_gone += 1;
                    let held = self.told.remove(&format!("{:?} {anchor}", key.1));
                    assert!(held.is_some(), "what goes was told before");
                }
            }
        }
    }

    /// The matches told, by time of their end, each as the ids of its events.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut found: Vec<&Arc<Match>> = self.told.values().collect();
        found.sort_by_key(|found| (found.end, found.start, found.anchor.clone()));
        let ids = |found: &&Arc<Match>| -> String {
            let ids: Vec<&str> = found.evidence.iter().map(|item| &*item.event.id).collect();
            ids.join(" ")
        };
        found.iter().map(ids).collect()
    }
}

/// The state of one key that has settled after these events, as it is written.
///
/// Where this is another text than it was, stores that were written before no longer read. Add a step to `store::schema`
/// that rewrites or empties what is in them; then, and not without it, renew the text with `UPDATE_EXPECT=1`.
pub(crate) fn written(shape: Shape, events: &[Arc<Hit>]) -> String {
    let limits = Limits { grace: Span::from_secs(1), ..Limits::default() };
    let mut table = Table::new(shape, limits);
    table.keyed.keep_unsaved();
    events.iter().for_each(|hit| table.push(hit));
    let last = events.iter().map(|hit| hit.time()).max().expect("some events");
    table.advance(last.0 as f64 / 1e9 + 2.0);
    let saved = table.keyed.take_unsaved().keys;
    let [saved] = &saved[..] else { panic!("one key, not {}", saved.len()) };
    assert_eq!(saved.state[0], 1, "nothing has settled");
    saved.state.iter().map(|byte| format!("{byte:02x}")).collect()
}
