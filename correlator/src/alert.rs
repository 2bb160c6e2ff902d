//! Alerts: from a match, and what explains it, to the document that sinks and renderers read.
//!
//! Reading order: [`book`] (which alerts are open and what changed), `document` (the ECS document), `story` (its sentence),
//! [`cast`] (who takes part), [`blind`] (what could not be seen), `absence` (what vouches for what did not come). Where
//! alerts go is [`crate::sink`]'s.

pub(crate) mod absence;
pub mod blind;
pub(crate) mod book;
pub(crate) mod cast;
mod document;
pub(crate) mod family;
mod gathered;
mod matched;
pub(crate) mod processes;
pub(crate) mod signal;
mod story;
pub(crate) mod suppression;
pub(crate) mod view;
pub mod wanted;

use std::fmt;
use std::sync::Arc;

use rules::event::EventTime;
use rules::rule::Severity;
use sha2::{Digest as _, Sha256};

use crate::keyed::{Anchor, JoinKey};

/// Names an alert for good: the same rule, key and anchor always give the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(Arc<str>);

impl AlertId {
    pub fn new(rule_id: &str, key: &JoinKey, anchor: &Anchor) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            // The length in front keeps "a" + "bc" apart from "ab" + "c".
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        part(rule_id);
        for value in &key.0 {
            part(value.as_deref().map_or("absent", |_| "present"));
            part(value.as_deref().unwrap_or_default());
        }
        part(&anchor.to_string());
        Self(crate::hex::hex(&hash.finalize()[..16]).into())
    }

    pub fn from_store(id: &str) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    Open,
    Revised,
    Withdrawn,
    /// Nothing can change it any more.
    Final,
}

impl AlertState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Revised => "revised",
            Self::Withdrawn => "withdrawn",
            Self::Final => "final",
        }
    }
}

/// One revision of one alert.
#[derive(Debug, Clone)]
pub struct AlertChange {
    pub id: AlertId,
    /// Of the event that the alert bears the time of.
    pub time: EventTime,
    pub rule_id: Arc<str>,
    pub state: AlertState,
    /// From 1. A final alert keeps the last.
    pub revision: u32,
    /// Of what the document says, whatever its revision and state.
    pub content: [u8; 16],
    pub document: serde_json::Value,
}

impl AlertChange {
    /// As its document has it.
    pub fn severity(&self) -> Severity {
        let severity = self.document["groundtrail"]["alert"]["severity"].as_str();
        severity.and_then(Severity::parse).unwrap_or(Severity::Low)
    }
}
