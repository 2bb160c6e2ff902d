//! Windows: thresholds and aggregates over the hits of a group.
//!
//! A sliding window fires when it first holds enough, then takes in what comes until the window that began with the
//! crossing's first event is over, and starts afresh. A tumbling one is its group's key: all its hits count.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use rules::esql::{Columns, Pipeline, Row, Standing};
use rules::event::{EventTime, Span, Value};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, Evidence, Hit, Limits, Match, Stage};
use crate::tally::{Distinct, Passed, Print};

/// A tumbling window of up to so many hits is recomputed for each; its alert lists up to so many distinct values.
const SMALL: usize = 256;
/// The same by the groups of its sums, which cost more each.
const FEW_GROUPS: usize = 16;
/// Of others, only after so many more hits.
const NOW_AND_THEN: usize = 64;
/// So few hits are gone through each time: that takes less memory than to keep up their sums. None in tests, so that all of
/// them go through the sums.
const FEW: usize = if cfg!(test) { 0 } else { 8 };

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
    Aggregate(Aggregate),
}

/// What a query says of the hits of a group, in event order.
#[derive(Clone)]
pub struct Aggregate {
    pipeline: Arc<Pipeline>,
    /// None: it has to be asked of all hits each time.
    blank: Option<Standing>,
}

impl Aggregate {
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { blank: pipeline.standing(), pipeline }
    }

    /// The columns, where the hits are worth an alert.
    fn finish(&self, hits: &[Arc<Hit>]) -> Option<Columns> {
        let rows: Vec<&Row> = hits.iter().flat_map(|hit| hit.rows.iter()).collect();
        self.pipeline.finish(&rows.first()?.key, &rows)
    }
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
    /// What is told of it is yet to be computed.
    is_dirty: bool,
    /// The sums of `recent`, where there is more than a little. Not written: they follow.
    #[serde(skip)]
    standing: Option<Box<Standing>>,
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
    /// How many of the hits its columns were computed from.
    #[serde(skip)]
    n_asked: usize,
}

impl Machine for WindowState {
    type Shape = WindowShape;

    fn new(_shape: &WindowShape) -> Self {
        Self::default()
    }

    fn step(&mut self, shape: &WindowShape, hit: &Arc<Hit>, limits: &Limits, matches: &mut Matches) -> u64 {
        if shape.is_tumbling {
            return self.step_tumbling(&shape.test, hit, limits);
        }
        if let Some(episode) = &mut self.episode {
            if hit.time() - episode.start <= shape.span {
                episode.grow(shape, hit, limits);
                match &shape.test {
                    Test::Threshold { .. } => episode.tell(shape, limits, matches),
                    // Goes through all of it: once for all that come until somebody looks.
                    Test::Aggregate(_) => self.is_dirty = true,
                }
                return 0;
            }
            self.settle(shape, limits, matches);
            self.episode = None;
        }
        let mut n_evicted = 0;
        self.push(&shape.test, hit);
        if shape.test.counts_values() {
            for value in &hit.values {
                let print = Print::of(&[std::slice::from_ref(value)]);
                n_evicted += self.distinct.note(print, hit.time(), limits.max_counted_per_key);
            }
        }
        self.slide(&shape.test, hit.time() - shape.span);
        while self.recent.len() > limits.max_hits_per_key {
            let first = self.drop_first(&shape.test).expect("there are more than none");
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
            self.standing = None;
            self.passed.clear();
            let distinct = std::mem::take(&mut self.distinct);
            let values = BTreeSet::new();
            let mut episode =
                Episode { hits: Vec::new(), n_events, distinct, values, start, end, n_asked: 0 };
            hits.iter().for_each(|hit| episode.note_values(shape, hit));
            episode.hits = hits;
            episode.tell(shape, limits, matches);
            self.episode = Some(episode);
        }
        n_evicted
    }

    /// Looks whether a tumbling window is worth an alert, unless it has fired, or that is much to look at and it has hardly
    /// changed: then it is put off.
    fn settle_soon(&mut self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        let has_fired = matches.by_anchor.contains_key(&Anchor::Bucket);
        if !shape.is_tumbling || !self.is_dirty || has_fired {
            return;
        }
        let is_little = match &self.standing {
            Some(standing) if !standing.is_lost() => standing.n_groups() <= FEW_GROUPS,
            _ => self.recent.len() <= SMALL,
        };
        if !is_little && !self.recent.len().is_multiple_of(NOW_AND_THEN) {
            return;
        }
        match self.is_left(&shape.test) {
            // Nothing was told, and there is nothing to tell.
            Some(false) => self.is_dirty = false,
            Some(true) | None => self.settle(shape, limits, matches),
        }
    }

    fn is_put_off(&self) -> bool {
        self.is_dirty
    }

    /// Computes what is told of a window that has changed.
    fn settle(&mut self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        if !shape.is_tumbling {
            return self.episode.iter_mut().for_each(|episode| episode.tell(shape, limits, matches));
        }
        let hits: &[Arc<Hit>] = self.recent.make_contiguous();
        let columns = match &shape.test {
            Test::Aggregate(aggregate) => aggregate.finish(hits),
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
        self.slide(&shape.test, oldest);
        if self.episode.take_if(|episode| episode.start < oldest).is_some() {
            self.is_dirty = false;
        }
    }

    fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.episode.is_none()
    }
}

impl WindowState {
    fn step_tumbling(&mut self, test: &Test, hit: &Arc<Hit>, limits: &Limits) -> u64 {
        self.push(test, hit);
        self.is_dirty = true;
        let n_evicted = self.recent.len().saturating_sub(limits.max_hits_per_key);
        (0..n_evicted).for_each(|_| drop(self.drop_first(test)));
        n_evicted as u64
    }

    fn push(&mut self, test: &Test, hit: &Arc<Hit>) {
        self.recent.push_back(Arc::clone(hit));
        let Test::Aggregate(Aggregate { pipeline, blank }) = test else { return };
        match &mut self.standing {
            Some(standing) => hit.rows.iter().for_each(|row| standing.add(pipeline, row)),
            None if self.recent.len() > FEW => {
                self.standing = blank.clone().map(|mut standing| {
                    let rows = self.recent.iter().flat_map(|hit| hit.rows.iter());
                    rows.for_each(|row| standing.add(pipeline, row));
                    Box::new(standing)
                });
            }
            None => {}
        }
    }

    fn drop_first(&mut self, test: &Test) -> Option<Arc<Hit>> {
        let first = self.recent.pop_front()?;
        if self.recent.is_empty() {
            self.standing = None;
        }
        if let (Some(standing), Test::Aggregate(aggregate)) = (&mut self.standing, test) {
            first.rows.iter().for_each(|row| standing.drop_first(&aggregate.pipeline, row));
        }
        Some(first)
    }

    fn slide(&mut self, test: &Test, oldest: EventTime) {
        while self.passed.pop_before(oldest).is_some() {}
        while self.recent.front().is_some_and(|first| first.time() < oldest) {
            self.drop_first(test);
        }
        self.distinct.expire(oldest);
    }

    /// Whether anything is left of the window, as far as its sums say.
    fn is_left(&self, test: &Test) -> Option<bool> {
        match test {
            Test::Aggregate(aggregate) => self.standing.as_ref()?.is_left(&aggregate.pipeline),
            Test::Threshold { .. } => None,
        }
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
            Test::Aggregate(aggregate) => {
                self.is_left(&shape.test) != Some(false)
                    && aggregate.finish(self.recent.make_contiguous()).is_some()
            }
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

    fn tell(&mut self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        let anchor = Anchor::Event(self.hits[0].event.id.clone());
        let told = matches.by_anchor.get(&anchor);
        let columns = match (&shape.test, told) {
            (Test::Threshold { cardinality, .. }, _) => self.counted(cardinality.as_ref()),
            (Test::Aggregate(_), Some(told)) if self.n_asked == self.hits.len() => told.found.columns.clone(),
            // It has fired: what an aggregate's last filter says about the grown window no longer takes it back.
            (Test::Aggregate(aggregate), _) => aggregate.finish(&self.hits).unwrap_or_default(),
        };
        self.n_asked = self.hits.len();
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
