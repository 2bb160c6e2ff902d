//! Windows: thresholds and aggregates over the hits of a group.
//!
//! A sliding window fires when it first holds enough, then takes in what comes until the window that began with the
//! crossing's first event is over, and starts afresh. A tumbling one is its group's key: all its hits count.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use rules::esql::Columns;
use rules::event::{EventTime, Span, Value};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, Evidence, Hit, Limits, Match, Stage};
use crate::tally::{Distinct, Passed, Print};

/// A tumbling window of up to so many hits is recomputed for each; its alert lists up to so many distinct values.
const SMALL: usize = 256;

/// Says whether the hits of a group, in event order, are worth an alert, and with which columns.
pub type Finish = Arc<dyn Fn(&[Arc<Hit>]) -> Option<Columns> + Send + Sync>;

#[derive(Debug, Clone)]
pub struct WindowShape {
    pub span: Span,
    pub is_tumbling: bool,
    pub test: Test,
}

/// When a window has enough.
#[derive(Clone)]
pub enum Test {
    Threshold {
        count: u64,
        /// The field's name and how many distinct values it must have.
        cardinality: Option<(String, u64)>,
    },
    Aggregate(Finish),
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold { count, cardinality } => write!(f, "Threshold({count}, {cardinality:?})"),
            Self::Aggregate(_) => f.write_str("Aggregate"),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WindowState {
    /// What is inside the window, in event order: the last of it.
    recent: VecDeque<Arc<Hit>>,
    /// What is inside before that.
    passed: Passed<()>,
    distinct: Distinct,
    episode: Option<Episode>,
    is_dirty: bool,
}

/// A window that has fired and is not over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Episode {
    /// The first that were kept.
    hits: Vec<Arc<Hit>>,
    n_events: u64,
    distinct: Distinct,
    /// Some of the values, as they read.
    values: BTreeSet<Box<str>>,
    start: EventTime,
    end: EventTime,
}

impl Machine for WindowState {
    type Shape = WindowShape;

    fn new(_shape: &WindowShape) -> Self {
        Self::default()
    }

    fn step(&mut self, shape: &WindowShape, hit: &Arc<Hit>, limits: &Limits, matches: &mut Matches) -> u64 {
        if shape.is_tumbling {
            return self.step_tumbling(hit, limits);
        }
        if let Some(episode) = &mut self.episode {
            if hit.time() - episode.start <= shape.span {
                episode.grow(shape, hit, limits);
                episode.tell(shape, limits, matches);
                return 0;
            }
            self.episode = None;
        }
        let mut n_evicted = 0;
        self.recent.push_back(Arc::clone(hit));
        if shape.test.counts_values() {
            for value in &hit.values {
                let print = Print::of(&[std::slice::from_ref(value)]);
                n_evicted += self.distinct.note(print, hit.time(), limits.max_counted_per_key);
            }
        }
        self.slide(hit.time() - shape.span);
        while self.recent.len() > limits.max_hits_per_key {
            let first = self.recent.pop_front().expect("there are more than none");
            match shape.test {
                Test::Threshold { .. } => self.passed.push(first.time(), ()),
                Test::Aggregate(_) => n_evicted += 1,
            }
        }
        while self.n_events() > limits.max_counted_per_key as u64 && self.passed.pop_first().is_some() {
            n_evicted += 1;
        }
        if self.has_enough(shape) {
            let (n_events, start, end) = (self.n_events(), self.start(), hit.time());
            let hits: Vec<_> = self.recent.drain(..).collect();
            self.passed.clear();
            let distinct = std::mem::take(&mut self.distinct);
            let mut episode =
                Episode { hits: Vec::new(), n_events, distinct, values: BTreeSet::new(), start, end };
            hits.iter().for_each(|hit| episode.note_values(shape, hit));
            episode.hits = hits;
            episode.tell(shape, limits, matches);
            self.episode = Some(episode);
        }
        n_evicted
    }

    /// Recomputes a tumbling window, unless it has fired, or is large and has hardly changed: then it is put off.
    fn settle_soon(&mut self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        let has_fired = matches.by_anchor.contains_key(&Anchor::Bucket);
        let is_cheap = self.recent.len() <= SMALL || self.recent.len().is_multiple_of(64);
        if !has_fired && is_cheap {
            self.settle(shape, limits, matches);
        }
    }

    fn is_put_off(&self) -> bool {
        self.is_dirty
    }

    /// Recomputes a tumbling window if it has changed.
    fn settle(&mut self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        if !shape.is_tumbling || !std::mem::take(&mut self.is_dirty) {
            return;
        }
        let hits: &[Arc<Hit>] = self.recent.make_contiguous();
        let columns = match &shape.test {
            Test::Aggregate(finish) => finish(hits),
            Test::Threshold { .. } => None,
        };
        match (columns, hits) {
            (Some(columns), [first, .., last] | [first @ last]) => {
                let (start, end) = (first.time(), last.time());
                let n_events = hits.len() as u64;
                matches.put(found(Anchor::Bucket, hits, n_events, (start, end), columns, limits), None);
            }
            _ => matches.remove(&Anchor::Bucket),
        }
    }

    fn expire(&mut self, shape: &WindowShape, before: EventTime) {
        let oldest = before - shape.span;
        self.slide(oldest);
        self.episode.take_if(|episode| episode.start < oldest);
    }

    fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.episode.is_none()
    }
}

impl WindowState {
    fn step_tumbling(&mut self, hit: &Arc<Hit>, limits: &Limits) -> u64 {
        self.recent.push_back(Arc::clone(hit));
        self.is_dirty = true;
        let n_evicted = self.recent.len().saturating_sub(limits.max_hits_per_key);
        self.recent.drain(..n_evicted);
        n_evicted as u64
    }

    fn slide(&mut self, oldest: EventTime) {
        while self.passed.pop_before(oldest).is_some() {}
        while self.recent.front().is_some_and(|first| first.time() < oldest) {
            self.recent.pop_front();
        }
        self.distinct.expire(oldest);
    }

    fn n_events(&self) -> u64 {
        (self.passed.len() + self.recent.len()) as u64
    }

    fn start(&self) -> EventTime {
        let recent = self.recent.front().map(|hit| hit.time());
        self.passed.first().or(recent).unwrap_or(EventTime(0))
    }

    fn has_enough(&mut self, shape: &WindowShape) -> bool {
        match &shape.test {
            Test::Threshold { count, cardinality } => {
                self.n_events() >= *count
                    && cardinality.as_ref().is_none_or(|(_, least)| self.distinct.len() as u64 >= *least)
            }
            Test::Aggregate(finish) => finish(self.recent.make_contiguous()).is_some(),
        }
    }
}

impl Test {
    fn counts_values(&self) -> bool {
        matches!(self, Self::Threshold { cardinality: Some(_), .. })
    }
}

impl Episode {
    fn grow(&mut self, shape: &WindowShape, hit: &Arc<Hit>, limits: &Limits) {
        self.n_events += 1;
        self.end = hit.time();
        self.note_values(shape, hit);
        // It has fired, so more of them change what is told and nothing else.
        if shape.test.counts_values() && self.distinct.len() < limits.max_counted_per_key {
            for value in &hit.values {
                self.distinct.note(Print::of(&[std::slice::from_ref(value)]), hit.time(), usize::MAX);
            }
        }
        if self.hits.len() < limits.max_hits_per_key {
            self.hits.push(Arc::clone(hit));
        }
    }

    fn note_values(&mut self, shape: &WindowShape, hit: &Hit) {
        if shape.test.counts_values() && self.values.len() <= SMALL {
            self.values.extend(hit.values.iter().cloned());
        }
    }

    fn tell(&self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        // It has fired: what an aggregate's last filter says about the grown window no longer takes it back.
        let columns = match &shape.test {
            Test::Aggregate(finish) => finish(&self.hits).unwrap_or_default(),
            Test::Threshold { cardinality, .. } => self.counted(cardinality.as_ref()),
        };
        let anchor = Anchor::Event(self.hits[0].event.id.clone());
        let span = (self.start, self.end);
        matches.put(found(anchor, &self.hits, self.n_events, span, columns, limits), None);
    }

    fn counted(&self, cardinality: Option<&(String, u64)>) -> Columns {
        let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let mut columns = vec![("count".to_owned(), number(self.n_events))];
        let Some((field, _)) = cardinality else { return columns };
        columns.push((format!("count_distinct({field})"), number(self.distinct.len() as u64)));
        // All of them or none: a list that is not whole would be taken for one that is.
        if self.values.len() == self.distinct.len() && self.values.len() <= SMALL {
            let mut values: Vec<Value> = self.values.iter().map(|value| Value::str(value.clone())).collect();
            let values = match values.len() {
                1 => values.remove(0),
                _ => Value::List(values.into()),
            };
            columns.push((format!("values({field})"), values));
        }
        columns
    }
}

fn found(
    anchor: Anchor,
    hits: &[Arc<Hit>],
    n_events: u64,
    (start, end): (EventTime, EventTime),
    columns: Columns,
    limits: &Limits,
) -> Match {
    let evidence = hits
        .iter()
        .take(limits.max_evidence)
        .map(|hit| Evidence { stage: Stage::Window, event: Arc::clone(&hit.event) })
        .collect();
    Match {
        anchor,
        at: Arc::clone(&hits[0].event),
        evidence,
        n_events,
        start,
        end,
        columns,
        is_absence: false,
    }
}
