//! Windows: thresholds and aggregates over the hits of a group.
//!
//! A sliding window fires when it first holds enough, then takes in what comes until the window that began with the
//! crossing's first event is over, and starts afresh. A tumbling one is its group's key: all its hits count.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use rules::esql::Columns;
use rules::event::{EventTime, Span, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, Evidence, Hit, Limits, Match, Stage};

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
    /// What is inside the window, in event order.
    recent: VecDeque<Arc<Hit>>,
    /// How often each distinct value is inside.
    distinct: FxHashMap<Box<str>, u32>,
    episode: Option<Episode>,
    is_dirty: bool,
}

/// A window that has fired and is not over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Episode {
    hits: Vec<Arc<Hit>>,
    n_events: u64,
    distinct: FxHashSet<Box<str>>,
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
            if hit.time() - episode.hits[0].time() <= shape.span {
                episode.grow(hit, limits);
                episode.tell(shape, limits, matches);
                return 0;
            }
            self.episode = None;
        }
        self.recent.push_back(Arc::clone(hit));
        for value in &hit.values {
            *self.distinct.entry(value.clone()).or_default() += 1;
        }
        while self.recent.front().is_some_and(|first| hit.time() - first.time() > shape.span) {
            self.pop_first();
        }
        let mut n_evicted = 0;
        while self.recent.len() > limits.max_hits_per_key {
            self.pop_first();
            n_evicted += 1;
        }
        if self.has_enough(shape) {
            let hits: Vec<_> = self.recent.drain(..).collect();
            let distinct = self.distinct.drain().map(|(value, _)| value).collect();
            let (n_events, end) = (hits.len() as u64, hit.time());
            let episode = Episode { hits, n_events, distinct, end };
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
        match columns(&shape.test, hits, hits.len() as u64, &FxHashSet::default()) {
            Some(columns) => {
                let end = hits.last().map_or(EventTime(0), |hit| hit.time());
                matches.put(found(Anchor::Bucket, hits, hits.len() as u64, end, columns, limits), None);
            }
            None => matches.remove(&Anchor::Bucket),
        }
    }

    fn expire(&mut self, shape: &WindowShape, before: EventTime) {
        let oldest = before - shape.span;
        while self.recent.front().is_some_and(|first| first.time() < oldest) {
            self.pop_first();
        }
        self.episode.take_if(|episode| episode.hits[0].time() < oldest);
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
        for _ in 0..n_evicted {
            self.pop_first();
        }
        n_evicted as u64
    }

    fn pop_first(&mut self) {
        let Some(first) = self.recent.pop_front() else { return };
        for value in &first.values {
            if let Some(n) = self.distinct.get_mut(value) {
                *n -= 1;
                if *n == 0 {
                    self.distinct.remove(value);
                }
            }
        }
    }

    fn has_enough(&mut self, shape: &WindowShape) -> bool {
        match &shape.test {
            Test::Threshold { count, cardinality } => {
                self.recent.len() as u64 >= *count
                    && cardinality.as_ref().is_none_or(|(_, least)| self.distinct.len() as u64 >= *least)
            }
            Test::Aggregate(finish) => finish(self.recent.make_contiguous()).is_some(),
        }
    }
}

impl Episode {
    fn grow(&mut self, hit: &Arc<Hit>, limits: &Limits) {
        self.n_events += 1;
        self.end = hit.time();
        if self.distinct.len() < limits.max_hits_per_key {
            self.distinct.extend(hit.values.iter().cloned());
        }
        if self.hits.len() < limits.max_hits_per_key {
            self.hits.push(Arc::clone(hit));
        }
    }

    fn tell(&self, shape: &WindowShape, limits: &Limits, matches: &mut Matches) {
        // It has fired: what an aggregate's last filter says about the grown window no longer takes it back.
        let columns = columns(&shape.test, &self.hits, self.n_events, &self.distinct).unwrap_or_default();
        let anchor = Anchor::Event(self.hits[0].event.id.clone());
        matches.put(found(anchor, &self.hits, self.n_events, self.end, columns, limits), None);
    }
}

fn columns(test: &Test, hits: &[Arc<Hit>], n_events: u64, distinct: &FxHashSet<Box<str>>) -> Option<Columns> {
    let number = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    match test {
        Test::Threshold { cardinality, .. } => {
            let mut columns =
                vec![("count".to_owned(), number(usize::try_from(n_events).unwrap_or(usize::MAX)))];
            if let Some((field, _)) = cardinality {
                let mut values: Vec<Value> = distinct.iter().map(|value| Value::str(value.clone())).collect();
                values.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                columns.push((format!("count_distinct({field})"), number(values.len())));
                if values.len() == 1 {
                    columns.push((format!("values({field})"), values.remove(0)));
                } else if values.len() <= SMALL {
                    columns.push((format!("values({field})"), Value::List(values.into())));
                }
            }
            Some(columns)
        }
        Test::Aggregate(finish) => finish(hits),
    }
}

fn found(
    anchor: Anchor,
    hits: &[Arc<Hit>],
    n_events: u64,
    end: EventTime,
    columns: Columns,
    limits: &Limits,
) -> Match {
    let evidence = hits
        .iter()
        .take(limits.max_evidence)
        .map(|hit| Evidence { stage: Stage::Window, event: Arc::clone(&hit.event) })
        .collect();
    let start = hits.first().map_or(end, |hit| hit.time());
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
