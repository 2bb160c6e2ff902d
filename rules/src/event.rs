//! One event as rules see it: a time, an id and typed fields. Where the fields came from (JSON, CloudTrail, a ring
//! record) is the caller's business.

use serde::{Deserialize, Serialize};

use crate::schema::FieldId;

/// When something happened, by the clock of the machine that saw it.
///
/// Unit: nanoseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EventTime(pub i64);

/// A length of event time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span(pub i64);

impl Span {
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000_000)
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000_000)
    }
}

impl std::ops::Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::Add<Span> for EventTime {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl std::ops::Sub<Span> for EventTime {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl std::ops::Sub for EventTime {
    type Output = Span;

    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

/// A text of a field. Most are names, ids and flags of at most 24 bytes, and lie in the value itself.
pub type Text = compact_str::CompactString;

/// A field's value. A field that is null or an empty list is absent, so there is no null here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Str(Text),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Two or more scalars, in the order of the document. Never nested: Elasticsearch flattens arrays too.
    List(Box<[Value]>),
}

impl Value {
    pub fn str(text: impl Into<Text>) -> Self {
        Self::Str(text.into())
    }

    /// The value's scalars: itself, or a list's elements.
    pub fn scalars(&self) -> &[Value] {
        match self {
            Self::List(items) => items,
            scalar => std::slice::from_ref(scalar),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            Self::Int(int) => write!(f, "{int}"),
            Self::Float(float) => write!(f, "{float}"),
            Self::Bool(bool) => write!(f, "{bool}"),
            Self::List(items) => {
                for (idx, item) in items.iter().enumerate() {
                    if idx > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                Ok(())
            }
        }
    }
}

/// One event, ready for evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Unique over all sources: `event.id` where the producer gives one. CloudTrail: `eventID`.
    pub id: Box<str>,
    pub time: EventTime,
    /// Orders events of one producer that share a time. ECS: `event.sequence`.
    pub sequence: u64,
    /// The index the event would have in Elasticsearch, for the `index` globs of rules: `logs-aws.cloudtrail-default`.
    pub index: Box<str>,
    /// Sorted by field, each field once.
    fields: Vec<(FieldId, Value)>,
}

impl Event {
    pub fn new(id: impl Into<Box<str>>, time: EventTime, index: impl Into<Box<str>>) -> Self {
        Self { id: id.into(), time, sequence: 0, index: index.into(), fields: Vec::new() }
    }

    pub fn get(&self, field: FieldId) -> Option<&Value> {
        let idx = self.fields.binary_search_by_key(&field, |(id, _)| *id).ok()?;
        Some(&self.fields[idx].1)
    }

    /// Gives an event that has none its fields, in any order. Several values of one field are a list, in the order they
    /// come in.
    pub fn fill(&mut self, mut found: Vec<(FieldId, Value)>) {
        // Sorting numbers and moving each value once is half the work of sorting the values.
        let mut order: Vec<u64> =
            found.iter().zip(0..).map(|((field, _), at): (_, u64)| u64::from(field.0) << 32 | at).collect();
        order.sort_unstable();
        let mut take = |entry: u64| {
            let at = (entry & u64::from(u32::MAX)) as usize;
            std::mem::replace(&mut found[at].1, Value::Bool(false))
        };
        self.fields = Vec::with_capacity(order.len());
        for same in order.chunk_by(|one, other| one >> 32 == other >> 32) {
            let value = match same {
                [one] => take(*one),
                several => Value::List(several.iter().map(|entry| take(*entry)).collect()),
            };
            self.fields.push((FieldId((same[0] >> 32) as u32), value));
        }
    }

    /// Adds a value to a field. A second value for the same field makes a list, as in Elasticsearch.
    pub fn push(&mut self, field: FieldId, value: Value) {
        match self.fields.binary_search_by_key(&field, |(id, _)| *id) {
            Err(idx) => self.fields.insert(idx, (field, value)),
            Ok(idx) => {
                let held = &mut self.fields[idx].1;
                let mut items = held.scalars().to_vec();
                items.extend_from_slice(value.scalars());
                *held = Value::List(items.into());
            }
        }
    }

    /// Gives a field this value alone.
    pub fn set(&mut self, field: FieldId, value: Value) {
        match self.fields.binary_search_by_key(&field, |(id, _)| *id) {
            Err(idx) => self.fields.insert(idx, (field, value)),
            Ok(idx) => self.fields[idx].1 = value,
        }
    }

    pub fn fields(&self) -> impl Iterator<Item = (FieldId, &Value)> {
        self.fields.iter().map(|(id, value)| (*id, value))
    }
}
