//! Why a rule did not fire: the nearest miss, from its plan and the events, without the engine.
//!
//! It looks at the plan naively, event by event and key by key, and so is a second opinion on the engine as well: where it
//! finds a match and the engine told no alert, it says so.

mod correlation;
mod fit;
mod sample;
mod sequence;
#[cfg(test)]
mod tests;
mod window;

use rules::catalogue::drops::DropLine;
use rules::event::{EventTime, Span};
use rules::expr::Expr;
use rules::plan::Plan;
use rules::rule::Rule;
use rules::schema::{FieldId, Schema};
use serde::Serialize;

use crate::keyed::Limits;
use crate::source::Record;
use crate::time;

/// The answer, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// How far it came: `no event`, `step 1 of 3`, `4 of 10 events`, or all the way.
    pub reached: String,
    /// Every condition is met by these events, as far as this second look can tell.
    pub is_met: bool,
    /// What was found on the way, in order.
    pub found: Vec<Seen>,
    /// The event that came nearest to what is missing.
    pub nearest: Option<Seen>,
    /// What stood in the way, the most telling first.
    pub reasons: Vec<Reason>,
}

/// An event, and which part it plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub stage: String,
    pub id: String,
    pub time: String,
    pub index: String,
    /// What it is, in the words of the event.
    pub what: String,
}

/// One thing that stood in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub kind: Kind,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// How far off in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_by_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is no event at all.
    NoEvents,
    /// The rule reads other indices.
    OtherIndex,
    /// A line of the drop list takes the event.
    Dropped,
    /// An exception of the rule takes the event.
    Exception,
    /// The field has no value.
    Absent,
    /// The field has another value.
    Value,
    /// A condition that must not hold holds.
    Excluded,
    /// Any other condition.
    Condition,
    /// The event has nothing to join on.
    KeyAbsent,
    /// It joins with other events than these.
    OtherKey,
    TooLate,
    WrongOrder,
    /// `until` ended the sequence.
    Ended,
    /// An event that must be missing was there.
    Present,
    TooFew,
    TooFewDistinct,
    /// New terms: it was seen before.
    Known,
    /// What the query computes over the window is not kept by its filters.
    Filtered,
    /// No feed vouches for what is said to be missing.
    Withheld,
    /// State of the rule was given up for want of room.
    Evicted,
}

impl Reason {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), field: None, actual: None, wanted: None, off_by_ms: None }
    }

    pub(crate) fn off_by(mut self, span: Span) -> Self {
        self.off_by_ms = Some(span.0 / 1_000_000);
        self
    }
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub rule: &'a Rule<Expr>,
    pub drops: &'a [DropLine<Expr>],
    pub schema: &'a Schema,
    /// In event order.
    pub records: &'a [Record],
    /// Only as far as this event is concerned.
    pub event: Option<&'a str>,
    /// Those of the run that is asked about.
    pub limits: Limits,
}

impl Question<'_> {
    pub fn answer(&self) -> Answer {
        if self.records.is_empty() {
            let reason = Reason::new(Kind::NoEvents, "there are no events at all");
            return self.nothing(vec![reason]);
        }
        match &self.rule.plan {
            Plan::Query(predicate) => self.single(predicate),
            Plan::Sequence(sequence) => sequence::answer(self, sequence),
            Plan::Sample(sample) => sample::answer(self, sample),
            Plan::Threshold(threshold) => window::threshold(self, threshold),
            Plan::NewTerms(terms) => window::new_terms(self, terms),
            Plan::Aggregate(aggregate) => window::aggregate(self, aggregate),
            Plan::Correlation(correlation) => correlation::answer(self, correlation),
        }
    }

    /// A rule of single events.
    fn single(&self, predicate: &Expr) -> Answer {
        let hits: Vec<&Record> = self.asked().filter(|record| fit::fits(self, predicate, record)).collect();
        if hits.is_empty() {
            return self.miss(predicate, "no event", self.asked());
        }
        Answer {
            reached: "all of it".to_owned(),
            is_met: true,
            found: hits.iter().take(MAX_SEEN).map(|record| Seen::new("match", record)).collect(),
            nearest: None,
            reasons: Vec::new(),
        }
    }

    /// The events that are asked about.
    fn asked(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| self.event.is_none_or(|id| *record.event.id == *id))
    }

    /// No event satisfies the predicate: the one that comes nearest, and what it lacks.
    fn miss<'r>(&self, predicate: &Expr, reached: &str, of: impl Iterator<Item = &'r Record>) -> Answer {
        let nearest = of
            .map(|record| (fit::miss(self, predicate, record), record))
            .min_by_key(|(miss, record)| (miss.distance, order(record)));
        let Some((miss, record)) = nearest else {
            return self.nothing(vec![Reason::new(Kind::NoEvents, "there is no such event")]);
        };
        Answer {
            reached: reached.to_owned(),
            is_met: false,
            found: Vec::new(),
            nearest: Some(Seen::new("nearest", record)),
            reasons: miss.reasons,
        }
    }

    fn nothing(&self, reasons: Vec<Reason>) -> Answer {
        Answer { reached: "no event".to_owned(), is_met: false, found: Vec::new(), nearest: None, reasons }
    }

    fn path(&self, field: FieldId) -> String {
        self.schema.field(field).path.to_string()
    }
}

/// Events that an answer lists; more would hide the point.
const MAX_SEEN: usize = 20;
/// Characters of what an event is.
const MAX_WHAT: usize = 120;

impl Seen {
    fn new(stage: impl Into<String>, record: &Record) -> Self {
        Self {
            stage: stage.into(),
            id: record.event.id.to_string(),
            time: time::format(record.event.time),
            index: record.event.index.to_string(),
            what: what(record),
        }
    }
}

/// The command line of a process, the call to a service, or at least the action.
fn what(record: &Record) -> String {
    let document = record.document();
    let text = |path: &str| document.pointer(path).and_then(|value| value.as_str());
    let subject = ["/process/command_line", "/process/name", "/event/provider", "/rule/name"].iter();
    let said: Vec<&str> = text("/event/action").into_iter().chain(subject.copied().find_map(text)).collect();
    said.join(" ").chars().take(MAX_WHAT).collect()
}

/// As the engine orders events.
fn order(record: &Record) -> (EventTime, u64, &str) {
    (record.event.time, record.event.sequence, &record.event.id)
}

/// `1.5 s`, `3 min`: as exact as it helps.
pub(crate) fn in_words(span: Span) -> String {
    let millis = span.0.unsigned_abs().div_ceil(1_000_000);
    match millis {
        0..10_000 => format!("{}.{:03} s", millis / 1_000, millis % 1_000),
        10_000..600_000 => format!("{} s", millis / 1_000),
        _ => format!("{} min", millis / 60_000),
    }
}
