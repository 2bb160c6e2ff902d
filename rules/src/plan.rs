//! What every rule language compiles to: predicates over one event, and the shape in which matches combine over time.
//!
//! The shapes are data. Evaluating a predicate is this crate's business; combining matches over time is the
//! correlator's.

pub mod correlation;

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::esql::Pipeline;
use crate::event::Span;
use crate::schema::FieldId;

use correlation::Correlation;

/// A rule may ask for so many events, or distinct values, in one window: the correlator counts no further.
pub const MAX_COUNTED: u64 = 1_000_000;

/// A predicate of a [`crate::program::Program`], by number. Equal predicates of different rules share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateId(pub u32);

/// How a rule's matches become alerts.
///
/// `P` is a predicate: an [`crate::expr::Expr`] in a rule by itself, a [`PredicateId`] once it is part of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan<P = PredicateId> {
    /// Each matching event is an alert.
    Query(P),
    /// EQL sequence.
    Sequence(Sequence<P>),
    /// EQL sample.
    Sample(Sample<P>),
    /// So many events, or distinct values, per group in a sliding window.
    Threshold(Threshold<P>),
    /// A combination of values not seen in the window before.
    NewTerms(NewTerms<P>),
    /// ES|QL with `STATS`.
    Aggregate(Aggregate<P>),
    /// Sigma's correlations.
    Correlation(Correlation<P>),
}

/// An EQL sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence<P = PredicateId> {
    /// At least one. Every step has as many key parts as the others.
    pub steps: Vec<Step<P>>,
    /// First to last event, inclusive. Always present where a step is missing.
    pub maxspan: Option<Span>,
    /// Ends every partial match of its key.
    pub until: Option<Step<P>>,
}

/// An EQL sample: an event per step that share a key, in any order, no event twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<P = PredicateId> {
    /// At least two. None is missing, each occurs once.
    pub steps: Vec<Step<P>>,
    /// How far apart the events may be. `None`: as far as there are events.
    pub window: Option<Span>,
}

/// One step of a sequence or sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<P = PredicateId> {
    pub predicate: P,
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
pub struct Threshold<P = PredicateId> {
    pub predicate: P,
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
pub struct NewTerms<P = PredicateId> {
    pub predicate: P,
    /// One to three.
    pub fields: Vec<FieldId>,
    /// How long a term counts as known after it was last seen. From `history_window_start`.
    pub window: Span,
}

/// An ES|QL rule with `STATS`, cut where time comes in: the predicate and `row` look at one event,
/// `finish` at all rows of one group inside the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate<P = PredicateId> {
    pub predicate: P,
    pub window: Window,
    pub pipeline: Arc<Pipeline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A `date_trunc` column is part of the group, so a group ends by itself after this span.
    Tumbling(Span),
    /// No time bucket in the query: the rule's `from` slides by event time.
    Sliding(Span),
}

impl<P> Plan<P> {
    /// The same plan over other predicates.
    pub fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> Plan<Q> {
        match self {
            Self::Query(predicate) => Plan::Query(f(predicate)),
            Self::Sequence(sequence) => Plan::Sequence(Sequence {
                steps: sequence.steps.into_iter().map(|step| step.map(f)).collect(),
                maxspan: sequence.maxspan,
                until: sequence.until.map(|until| until.map(f)),
            }),
            Self::Sample(Sample { steps, window }) => {
                Plan::Sample(Sample { steps: steps.into_iter().map(|step| step.map(f)).collect(), window })
            }
            Self::Threshold(Threshold { predicate, by, count, cardinality, window }) => {
                Plan::Threshold(Threshold { predicate: f(predicate), by, count, cardinality, window })
            }
            Self::NewTerms(NewTerms { predicate, fields, window }) => {
                Plan::NewTerms(NewTerms { predicate: f(predicate), fields, window })
            }
            Self::Aggregate(Aggregate { predicate, window, pipeline }) => {
                Plan::Aggregate(Aggregate { predicate: f(predicate), window, pipeline })
            }
            Self::Correlation(correlation) => Plan::Correlation(correlation.map(f)),
        }
    }

    /// The predicates, in the order of the query.
    pub fn predicates(&self) -> Vec<&P> {
        match self {
            Self::Query(predicate) => vec![predicate],
            Self::Sequence(sequence) => {
                sequence.steps.iter().chain(&sequence.until).map(|step| &step.predicate).collect()
            }
            Self::Sample(sample) => sample.steps.iter().map(|step| &step.predicate).collect(),
            Self::Threshold(threshold) => vec![&threshold.predicate],
            Self::NewTerms(terms) => vec![&terms.predicate],
            Self::Aggregate(aggregate) => vec![&aggregate.predicate],
            Self::Correlation(correlation) => correlation.leaves.iter().map(|leaf| &leaf.predicate).collect(),
        }
    }
}

impl<P> Step<P> {
    fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> Step<Q> {
        let Self { predicate, by, runs, is_missing } = self;
        Step { predicate: f(predicate), by, runs, is_missing }
    }
}
