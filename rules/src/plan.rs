//! What every rule language compiles to: predicates over one event, and the shape in which matches combine over time.
//!
//! The shapes are data. Evaluating a predicate is this crate's business; combining matches over time is the
//! correlator's.

use std::num::NonZeroU32;

use crate::event::Span;
use crate::schema::FieldId;

/// A predicate of a [`crate::program::Program`], by number. Equal predicates of different rules share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateId(pub u32);

/// How a rule's matches become alerts.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Each matching event is an alert.
    Query(PredicateId),
    /// EQL sequence.
    Sequence(Sequence),
    /// More than so many events, or distinct values, per group in a sliding window.
    Threshold(Threshold),
    /// A combination of values not seen in the window before.
    NewTerms(NewTerms),
    /// ES|QL with `STATS`.
    Aggregate(Aggregate),
}

/// An EQL sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// At least one. Every step has as many key parts as the others.
    pub steps: Vec<Step>,
    /// First to last event, inclusive. Always present where a step is missing.
    pub maxspan: Option<Span>,
    /// Ends every partial match of its key.
    pub until: Option<Step>,
}

/// One step of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub predicate: PredicateId,
    /// The join key: the global `by` first, then the step's own.
    pub by: Vec<KeyPart>,
    /// `with runs=n`: so many events in a row.
    pub runs: NonZeroU32,
    /// `![...]`: no such event between its neighbours.
    pub is_missing: bool,
}

/// One field of a join key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyPart {
    pub field: FieldId,
    /// `?field`: an absent value joins with absent values. Without it, an event that lacks the field is left out.
    pub is_optional: bool,
}

/// A threshold rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    pub predicate: PredicateId,
    /// Empty: one group for all events.
    pub by: Vec<FieldId>,
    /// At least so many events.
    pub count: u64,
    /// And at least so many distinct values of the field.
    pub cardinality: Option<(FieldId, u64)>,
    /// From the rule's `from`.
    pub window: Span,
}

/// A new-terms rule.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTerms {
    pub predicate: PredicateId,
    /// One to three.
    pub fields: Vec<FieldId>,
    /// How long a term counts as known after it was last seen. From `history_window_start`.
    pub window: Span,
}

/// An ES|QL rule with `STATS`, cut where time comes in: the predicate and `row` look at one event,
/// `finish` at all rows of one group inside the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub predicate: PredicateId,
    pub window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A `date_trunc` column is part of the group, so a group ends by itself after this span.
    Tumbling(Span),
    /// No time bucket in the query: the rule's `from` slides by event time.
    Sliding(Span),
}
