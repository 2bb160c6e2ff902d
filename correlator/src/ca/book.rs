//! What was issued and what became of it: one JSON file, written whole each time.

use std::path::Path;

use rules::event::EventTime;
use serde::{Deserialize, Serialize};

use super::CaError;
use super::files;

const BOOK: &str = "issued.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Server,
    Sensor,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Sensor => "sensor",
        }
    }
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub serial: String,
    pub kind: Kind,
    /// What it vouches for; the first is what it is called.
    pub names: Vec<String>,
    #[serde(with = "seconds")]
    pub not_before: EventTime,
    #[serde(with = "seconds")]
    pub not_after: EventTime,
    #[serde(with = "seconds_or_none", default)]
    pub revoked: Option<EventTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Good,
    Revoked,
    Expired,
}

impl Entry {
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    pub fn state(&self, now: EventTime) -> State {
        match self.revoked {
            Some(_) => State::Revoked,
            None if now >= self.not_after => State::Expired,
            None => State::Good,
        }
    }

    /// By its name, or by enough of its serial number to be no accident.
    pub(super) fn is_called(&self, what: &str) -> bool {
        const MIN_SERIAL: usize = 8;
        let serial = what.to_ascii_lowercase().replace(':', "");
        self.name() == what || (serial.len() >= MIN_SERIAL && self.serial.starts_with(&serial))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    /// When the authority's own certificate ends.
    #[serde(with = "seconds")]
    pub(super) ends: EventTime,
    /// Revocation lists made after the first.
    pub(super) n_lists: u64,
    pub(super) entries: Vec<Entry>,
}

impl Book {
    pub(super) fn read(dir: &Path) -> Result<Self, CaError> {
        let path = dir.join(BOOK);
        let text = files::read(&path)?;
        serde_json::from_str(&text).map_err(|error| CaError::Damaged { path, reason: error.to_string() })
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), CaError> {
        let text = serde_json::to_vec_pretty(self).expect("text and numbers serialise");
        files::write_private(&dir.join(BOOK), &text)
    }

    pub(super) fn good<'b>(
        &'b self,
        kind: Kind,
        name: &'b str,
        now: EventTime,
    ) -> impl Iterator<Item = &'b Entry> {
        self.entries.iter().filter(move |entry| {
            entry.kind == kind && entry.name() == name && entry.state(now) == State::Good
        })
    }
}

mod seconds {
    use rules::event::{EventTime, Span};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &EventTime, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_i64(time.0 / 1_000_000_000)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EventTime, D::Error> {
        Ok(EventTime(0) + Span::from_secs(i64::deserialize(from)?))
    }
}

mod seconds_or_none {
    use rules::event::{EventTime, Span};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Option<EventTime>, out: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => out.serialize_some(&(time.0 / 1_000_000_000)),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EventTime>, D::Error> {
        let seconds = Option::<i64>::deserialize(from)?;
        Ok(seconds.map(|seconds| EventTime(0) + Span::from_secs(seconds)))
    }
}
