//! The keyed core: what a rule's hits mean once they are put in order. Pure: no clock, no I/O.
//!
//! State belongs to a (rule, join key). It is a function of the *set* of hits: hits are kept in event order for as long
//! as an earlier one may still arrive, and what they say is computed in that order. What rules say about one event is
//! [`crate::detect`]'s; alerts, contexts and stores are around this.

pub(crate) mod machine;
pub(crate) mod seldom;
mod signals;
mod state;
mod table;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;

use rules::esql::Row;
use rules::event::{EventTime, Span, Value};
use serde::{Deserialize, Serialize};

use crate::correlation::{CorrelationShape, LeafHit};
use crate::sample::{self, SampleShape};
use crate::sequence::SequenceShape;
use crate::source::{Origin, Record};
use crate::terms::TermsShape;
use crate::window::WindowShape;

pub use table::{Change, Eviction, KeyRef, Keyed};
pub(crate) use table::{OverAlerts, SavedKey, Unsaved};

/// CloudTrail writes whole seconds, and means the end of a call.
const WHOLE_SECOND: Span = Span::from_secs(1);

/// The values an event joins on, in the order of the rule's key. An optional field that is absent is `None`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct JoinKey(pub Box<[Option<Box<str>>]>);

/// An event as state remembers it: its place in the order of events, and the name under which [`crate::archive`] has the
/// rest.
///
/// State holds nothing else of an event, so that a million half-seen patterns fit into memory and what is written of
/// them is small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRef {
    pub id: Box<str>,
    pub time: EventTime,
    pub sequence: u64,
    pub origin: Origin,
}

impl EventRef {
    pub fn of(record: &Record) -> Self {
        let event = &record.event;
        Self { id: event.id.clone(), time: event.time, sequence: event.sequence, origin: record.origin }
    }

    /// The total order of events: time, then the producer's sequence, then the id.
    pub fn order(&self) -> (EventTime, u64, &str) {
        (self.time, self.sequence, &self.id)
    }
}

/// One event in the roles it plays for one key of one rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hit {
    pub event: Arc<EventRef>,
    /// Bit n: the event matches step n of the sequence. Elsewhere unused.
    pub steps: u64,
    pub is_until: bool,
    /// The values that a threshold's cardinality counts.
    pub values: Box<[Box<str>]>,
    /// What an ES|QL rule reads from the event.
    pub rows: Box<[Row]>,
    /// What the rules of a correlation read from the event, in their order.
    #[serde(default)]
    pub leaves: Box<[LeafHit]>,
}

impl Hit {
    pub fn time(&self) -> EventTime {
        self.event.time
    }

    pub fn order(&self) -> (EventTime, u64, &str) {
        self.event.order()
    }

    /// How much text it carries, about.
    fn text_bytes(&self) -> u64 {
        let values = self.values.iter().map(|value| 2 * value.len());
        let leaves =
            self.leaves.iter().flat_map(|leaf| leaf.values.iter().flatten().map(|value| value.len() + 32));
        let texts = |values: &[Value]| -> usize {
            let scalars = values.iter().flat_map(|value| value.scalars());
            scalars.map(|scalar| 32 + scalar.as_str().map_or(0, str::len)).sum()
        };
        let rows = self.rows.iter().map(|row| texts(&row.key) + texts(&row.inputs));
        values.chain(leaves).chain(rows).sum::<usize>() as u64 + self.event.id.len() as u64
    }
}

/// Whose clock stamped an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClockOf {
    Host,
    Aws,
}

pub(crate) fn clock_of(event: &EventRef) -> ClockOf {
    match event.origin {
        // Alerts order by the times they bear, whichever clock gave them.
        Origin::Sensor | Origin::Signal => ClockOf::Host,
        Origin::CloudTrail | Origin::GuardDuty | Origin::VpcFlow => ClockOf::Aws,
    }
}

/// How far two events' times may be off against each other, where it is `between` for the clocks of hosts and of AWS.
pub(crate) fn skew(a: &EventRef, b: &EventRef, between: Span) -> Span {
    if clock_of(a) == clock_of(b) { Span(0) } else { between }
}

/// What names a match within its rule and key, whatever else about it changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Anchor {
    /// The event that matched, or that completed the match.
    Event(Box<str>),
    /// The bucket a tumbling window's key already names.
    Bucket,
    /// The stretch of history in which a term was new.
    Epoch(i64),
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => write!(f, "event {id}"),
            Self::Bucket => f.write_str("bucket"),
            Self::Epoch(epoch) => write!(f, "epoch {epoch}"),
        }
    }
}

/// The part an event plays in a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    Match,
    /// From 1, as in the rule's text.
    Step(u16),
    /// The nth event of a step `with runs`.
    Run(u16, u16),
    Window,
    FirstSeen,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("match"),
            Self::Step(step) => write!(f, "step {step}"),
            Self::Run(step, run) => write!(f, "step {step}, run {run}"),
            Self::Window => f.write_str("window"),
            Self::FirstSeen => f.write_str("first seen"),
        }
    }
}

/// An event and why it is part of a match.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    pub stage: Stage,
    pub event: Arc<EventRef>,
}

/// Something a rule looks for, found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Match {
    pub anchor: Anchor,
    /// The event whose time the alert bears.
    pub at: Arc<EventRef>,
    /// In the order of the steps, else in event order.
    pub evidence: Vec<Evidence>,
    /// How many events there are, where `evidence` stops short.
    pub n_events: u64,
    pub start: EventTime,
    pub end: EventTime,
    /// What the rule computed, by name.
    pub columns: Vec<(String, Value)>,
    /// An absence is part of it: it rests on what feeds did not deliver.
    pub is_absence: bool,
}

impl Match {
    /// Whether both say the same, however they came about.
    pub fn is_same(&self, other: &Self) -> bool {
        let ids = |of: &Self| -> Vec<(Stage, Box<str>)> {
            of.evidence.iter().map(|item| (item.stage, item.event.id.clone())).collect()
        };
        self.anchor == other.anchor
            && self.n_events == other.n_events
            && (self.start, self.end) == (other.start, other.end)
            && self.columns == other.columns
            && ids(self) == ids(other)
    }
}

/// What to look for in a key's hits.
#[derive(Debug, Clone)]
pub enum Shape {
    Sequence(SequenceShape),
    Sample(SampleShape),
    Window(WindowShape),
    Terms(TermsShape),
    Correlation(CorrelationShape),
}

impl Shape {
    /// How far apart two events can be and still matter to each other.
    pub fn span(&self) -> Span {
        match self {
            Self::Sequence(shape) => shape.span(),
            // Of a sample's events none needs to be first: this only keeps them a little longer.
            Self::Sample(shape) => shape.window + sample::MARGIN,
            Self::Window(shape) => shape.span,
            Self::Terms(shape) => shape.window,
            Self::Correlation(shape) => shape.span(),
        }
    }

    /// Whether the hit can be the first of something. Hits among which none can come to nothing.
    fn begins(&self, hit: &Hit) -> bool {
        match self {
            Self::Sequence(shape) => shape.begins(hit),
            _ => true,
        }
    }

    /// Whether whatever lies between two hits says nothing that they do not say, wherever a late one may come in.
    fn is_redundant(&self, before: &Hit, after: &Hit) -> bool {
        match self {
            // A term seen twice within its window is known all the way between.
            Self::Terms(shape) => after.time() - before.time() <= shape.window,
            _ => false,
        }
    }
}

/// What bounds the state. Reaching a bound is counted, and said on the alerts it may have touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What state and the events it rests on may take of memory, about.
    pub max_bytes: u64,
    /// Keys with state, over all rules.
    pub max_keys: usize,
    /// The same of one rule, so that one that runs wild does not push out what others have seen.
    pub max_keys_per_rule: usize,
    /// Events of one window, per key.
    pub max_hits_per_key: usize,
    /// Of a window that only counts: events, and distinct values, that are counted beyond those. A few bytes each.
    pub max_counted_per_key: usize,
    /// Hits that are kept in case earlier ones come, per key. Past this the oldest is taken as settled, and what comes
    /// before it all the same is out of its place.
    pub max_open_hits_per_key: usize,
    /// The same over all keys. Past this the key whose time is up first goes.
    pub max_open_hits: usize,
    /// Events that one alert carries as evidence.
    pub max_evidence: usize,
    /// Events held for contexts, per link value.
    pub max_context_per_link: usize,
    /// Events held for contexts, over all rules.
    pub max_context_total: usize,
    /// Events of one context that one alert carries.
    pub max_attached: usize,
    /// How long after the watermark a late event still counts.
    pub grace: Span,
    /// The same of rules that join what hosts and AWS said, where one side may come much later than the other.
    pub join_grace: Span,
    /// How long a partial match of a sequence without `maxspan` lives.
    pub open_span: Span,
    /// By how much the clocks of hosts and of AWS may be off against each other.
    pub skew: Span,
}

impl Limits {
    /// Those of a rule, which joins hosts and AWS or does not.
    #[must_use]
    pub(crate) fn of_join(self, is_join: bool) -> Self {
        if is_join { Self { grace: self.grace.max(self.join_grace), ..self } } else { self }
    }

    /// How far the times of an event of a host and one of AWS may be off against each other.
    pub(crate) fn between_clocks(&self) -> Span {
        self.skew + WHOLE_SECOND
    }

    /// How much longer than other rules one waits for its later half.
    pub(crate) fn late_half(self, is_join: bool) -> Span {
        Span(self.of_join(is_join).grace.0 - self.grace.0)
    }

    /// Where only what stands in the end is asked for, nothing is let go of by its share of one key or value: which part
    /// would depend on the order events come in. What bounds memory over all stays, wide enough for what was read whole.
    #[must_use]
    pub fn for_finals(self) -> Self {
        const MANY: usize = 20_000_000;
        Self {
            max_bytes: u64::MAX,
            max_keys: self.max_keys.max(MANY),
            max_keys_per_rule: self.max_keys_per_rule.max(MANY),
            max_open_hits_per_key: usize::MAX,
            max_open_hits: self.max_open_hits.max(MANY),
            max_context_per_link: usize::MAX,
            max_context_total: self.max_context_total.max(MANY),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            max_keys: 2_000_000,
            max_keys_per_rule: 1_000_000,
            max_hits_per_key: 4_096,
            max_counted_per_key: rules::plan::MAX_COUNTED as usize,
            max_open_hits_per_key: 65_536,
            max_open_hits: 2_000_000,
            max_evidence: 100,
            max_context_per_link: 1_024,
            max_context_total: 500_000,
            max_attached: 50,
            grace: Span::from_secs(15 * 60),
            join_grace: Span::from_secs(24 * 3_600),
            open_span: Span::from_secs(24 * 3_600),
            skew: Span::from_secs(2),
        }
    }
}
