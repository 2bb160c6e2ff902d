//! Sources: bytes in, records out. A record is one event in ECS terms plus the bytes it came from.
//!
//! What an event means is the rules' business; when it counts as late is [`crate::merge`]'s.

use std::path::PathBuf;
use std::sync::Arc;

use rules::event::{Event, EventTime, Value};
use rules::schema::{FieldId, FieldType};

use crate::geo::Place;
use crate::identity::Fact;
use crate::indicator::Hit;
use crate::source::json::Json;
use crate::stage::{Batch, Prepared};

pub mod cloudtrail;
#[cfg(feature = "aws")]
pub(crate) mod digest;
pub mod envelope;
pub mod feed;
pub mod folder;
pub mod guardduty;
pub mod json;
pub mod layout;
pub mod normalize;
pub mod notice;
pub(crate) mod ocsf;
#[cfg(feature = "aws")]
mod parquet;
pub(crate) mod paths;
pub(crate) mod repair;
#[cfg(test)]
mod schema_page;
pub mod sensor;
pub mod split;
pub mod stop;
pub mod stream;
pub mod user_agent;
pub mod vpcflow;

/// Where a record came from, and so how its bytes read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An ECS document, one of the sensor's or of a producer like it.
    Sensor,
    /// A CloudTrail record without its envelope.
    CloudTrail,
    /// A GuardDuty finding without its envelope.
    GuardDuty,
    /// A header line and one flow-log line.
    VpcFlow,
    /// An alert of ours, as an ECS document: what rules over alerts read.
    Signal,
}

/// One event and the text it was read from.
#[derive(Debug, Clone)]
pub struct Record {
    pub event: Event,
    pub origin: Origin,
    /// Enough to read the same event again: see [`Origin`].
    pub raw: Arc<str>,
    /// Its addresses that were on an indicator list when it was read.
    pub(crate) hits: Arc<[Hit]>,
    /// Where its addresses were then.
    pub(crate) places: Arc<[Place]>,
    /// What it says about hosts and keys, whatever becomes of it.
    pub(crate) facts: Arc<[Fact]>,
    /// The time it claimed, where that cannot be right and its arrival stands in.
    pub(crate) claimed: Option<EventTime>,
    /// What was found out about it ahead of its turn.
    pub(crate) prepared: Option<Box<Prepared>>,
}

impl Record {
    /// Gives the event another time than it claims.
    pub(crate) fn restamp(&mut self, time: EventTime, timestamp: Option<FieldId>) {
        self.claimed = Some(self.claimed.unwrap_or(self.event.time));
        self.event.time = time;
        // Where it stands among others is part of what was found.
        self.prepared = None;
        if let Some(field) = timestamp {
            self.event.set(field, Value::str(crate::time::format(time)));
        }
    }
}

impl Record {
    /// Nothing is left of the event but its id and time.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.event.index.is_empty()
    }
}

/// Where a source stands after something was delivered. The receiver keeps it once everything before it is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The name the source has in the configuration.
    pub source: Arc<str>,
    /// What the position is of: a file's path, a stream's name.
    pub key: String,
    /// How far: opaque to everybody but the source.
    pub value: String,
}

/// What a sender waits for before it forgets what it sent: everything that was delivered before this is durable.
///
/// Whoever drops it ungiven leaves the sender to send again.
#[derive(Clone)]
pub struct Receipt(Arc<dyn Fn() + Send + Sync>);

impl Receipt {
    /// `given` is called once, by the thread of the run: it must not block.
    pub fn new(given: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(given))
    }

    pub fn give(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipt")
    }
}

/// Something that could not be read, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub source: Arc<str>,
    /// File with byte, line or record number, as far as known.
    pub at: String,
    /// What is wrong and what to do about it.
    pub reason: String,
    pub kind: RejectedKind,
}

/// What was lost, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectedKind {
    /// One record or line.
    Record,
    /// The rest of a file.
    Truncated,
    /// A whole file or folder, at least for now.
    Unreadable,
    /// One file or message of a source that is otherwise well.
    Object,
    /// Larger than a configured cap.
    TooLarge,
}

/// Why objects are left out that no line of the configuration names: objects of AWS's other services, and those that are older or newer than
/// a bucket is read for. The metric of what was dropped counts them under these names.
pub const OTHER_SERVICES: &str = "logs of other services";
pub const OTHER_TIMES: &str = "since and until";

/// What a source delivers.
#[derive(Debug, Clone)]
pub enum SourceItem {
    /// It could be opened: for the first time, or again.
    Opened,
    Record(Record),
    /// Records that are being read: what comes after them waits.
    Soon(Arc<Batch>),
    Rejected(Rejected),
    Position(Position),
    /// Everything sent before it by the same thread is covered.
    Receipt(Receipt),
    /// An object that was not read, by the line of the configuration that says so, or one of the two above.
    LeftOut(Arc<str>),
    /// Nothing new for now.
    Idle,
    /// Nothing more will come.
    End,
}

/// A field's value while it is on its way from bytes into an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    Str(&'a str),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl From<Scalar<'_>> for Value {
    fn from(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Str(text) => Self::str(text),
            Scalar::Int(int) => Self::Int(int),
            Scalar::Float(float) => Self::Float(float),
            Scalar::Bool(bool) => Self::Bool(bool),
        }
    }
}

impl<'a> From<&'a str> for Scalar<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(text)
    }
}

impl From<i64> for Scalar<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<bool> for Scalar<'_> {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

/// Takes the fields of one event. One mapping per origin writes both the slots rules see and the full document.
pub trait FieldSink {
    /// Adds a value under a dotted ECS path. A second value for the same path makes a list.
    fn put(&mut self, path: &str, value: Scalar<'_>);

    /// Adds the leaves of an object below a path. They are keywords, whatever they were; empty ones are left out.
    fn put_below(&mut self, path: &str, object: &Json<'_>) {
        object.leaves(&mut path.to_owned(), &mut |path, scalar| match scalar {
            Scalar::Str("") => {}
            Scalar::Str(text) => self.put(path, Scalar::Str(text)),
            Scalar::Int(int) => self.put(path, Scalar::Str(&int.to_string())),
            Scalar::Float(float) => self.put(path, Scalar::Str(&float.to_string())),
            Scalar::Bool(bool) => self.put(path, Scalar::Str(if bool { "true" } else { "false" })),
        });
    }

    /// Adds a value to a field that was found already. Only what takes fields, not paths, has a use for it.
    fn put_field(&mut self, _field: FieldId, _kind: FieldType, _value: Scalar<'_>) {}
}

/// What a source could not do at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read \"{}\": {source}; check the path and that this user may read it", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("\"{}\" is {what}, not a stream of events: {way_out}", path.display())]
    Kind { path: PathBuf, what: &'static str, way_out: &'static str },
    #[error("cannot listen on \"{}\": {source}; is another correlator running, and does its folder exist?", path.display())]
    Listen { path: PathBuf, source: std::io::Error },
}
