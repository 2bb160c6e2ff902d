//! What a transport is to its worker: it takes some revisions and says of each what became of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rules::rule::Severity;
use serde_json::Value;

use super::format::Format;
use crate::store::Waiting;

/// One revision of one alert on its way out.
#[derive(Debug, Clone)]
pub struct Item {
    pub seq: i64,
    pub alert_id: String,
    pub revision: u32,
    pub queued_ms: i64,
    /// As ECS, whatever the sink's format.
    pub document: Arc<Value>,
}

impl Item {
    pub(super) fn of(waiting: Waiting) -> Result<Self, (Waiting, serde_json::Error)> {
        match serde_json::from_str::<Value>(&waiting.document) {
            Ok(document) => {
                let Waiting { seq, alert_id, revision, queued_ms, .. } = waiting;
                Ok(Self { seq, alert_id, revision, queued_ms, document: Arc::new(document) })
            }
            Err(error) => Err((waiting, error)),
        }
    }

    /// What is no JSON, as a text.
    pub(super) fn unread(waiting: &Waiting) -> Self {
        Self {
            seq: waiting.seq,
            alert_id: waiting.alert_id.clone(),
            revision: waiting.revision,
            queued_ms: waiting.queued_ms,
            document: Arc::new(waiting.document.clone().into()),
        }
    }

    /// The same each time it is sent: alert and revision.
    pub fn id(&self) -> String {
        format!("{}-{}", self.alert_id, self.revision)
    }

    pub fn severity(&self) -> Severity {
        let severity = self.document["groundtrail"]["alert"]["severity"].as_str();
        severity.and_then(Severity::parse).unwrap_or(Severity::Low)
    }

    /// On one line.
    pub fn line(&self, format: Format) -> String {
        format.line(&self.document)
    }
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// It may be taken another time: why it was not.
    Later(String),
    /// It will never be taken as it is.
    Refused(String),
}

/// A receiver's words, at most so many characters of them: whoever answers megabytes fills neither memory nor a log.
const MAX_REASON: usize = 600;

impl Verdict {
    fn cut(self) -> Self {
        let cut = |mut reason: String| {
            if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
                reason.truncate(end);
                reason.push('…');
            }
            reason
        };
        match self {
            Self::Taken => Self::Taken,
            Self::Later(reason) => Self::Later(cut(reason)),
            Self::Refused(reason) => Self::Refused(cut(reason)),
        }
    }
}

/// What became of what was sent: as many verdicts, in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub verdicts: Vec<Verdict>,
    /// The receiver wants to be left alone for so long.
    pub retry_after: Option<Duration>,
    /// It is of the whole and not of any item: where several were refused, it is not known which is to blame.
    pub is_whole: bool,
}

impl Answer {
    pub fn each(verdicts: Vec<Verdict>) -> Self {
        let verdicts = verdicts.into_iter().map(Verdict::cut).collect();
        Self { verdicts, retry_after: None, is_whole: false }
    }

    pub fn whole(n: usize, verdict: Verdict) -> Self {
        Self { verdicts: vec![verdict.cut(); n], retry_after: None, is_whole: true }
    }
}

/// How much a transport takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    pub items: usize,
    pub bytes: usize,
    /// How long a portion that is not full waits for more.
    pub wait: Duration,
    /// It becomes one thing over there, which is known by what is in it: what failed is sent again with the same in it.
    pub is_one: bool,
}

impl Portion {
    pub const ONE: Self = Self::of(1, usize::MAX);

    pub const fn of(items: usize, bytes: usize) -> Self {
        Self { items, bytes, wait: Duration::ZERO, is_one: false }
    }
}

pub type Sending<'t> = Pin<Box<dyn Future<Output = Answer> + 't>>;

/// A way out. It belongs to one worker, on a thread of its own, so it may block; what it returns late is cut off.
pub trait Transport {
    fn portion(&self) -> Portion;

    /// Sends these. Called again after it was cut off, with whatever state that left.
    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t>;
}

#[cfg(test)]
pub(super) fn item(alert_id: &str, revision: u32, document: Value) -> Item {
    Item { seq: 0, alert_id: alert_id.to_owned(), revision, queued_ms: 0, document: Arc::new(document) }
}
