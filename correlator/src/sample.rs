//! EQL samples: an event for each step that share a key, in any order.
//!
//! Elasticsearch looks for one sample per key in each run over the look-back. Here a sample is told when its last event
//! arrives, and the key is quiet until the look-back that began with the sample's first event is over.

use std::collections::VecDeque;
use std::sync::Arc;

use rules::event::{EventTime, Span};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, EventRef, Evidence, Hit, Limits, Match, Stage};

/// Events are kept this much longer than the window asks for.
pub(crate) const MARGIN: Span = Span::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleShape {
    pub n_steps: usize,
    /// How far apart the events may be.
    pub window: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SampleState {
    /// By step, the newest of its events: as many as there are steps, which is as many as other steps can take away.
    seen: Vec<VecDeque<Arc<EventRef>>>,
    /// A sample was found, and speaks for what comes until then.
    quiet_until: Option<EventTime>,
}

impl Machine for SampleState {
    type Shape = SampleShape;

    fn new(shape: &SampleShape) -> Self {
        Self { seen: vec![VecDeque::new(); shape.n_steps], quiet_until: None }
    }

    fn step(&mut self, shape: &SampleShape, hit: &Arc<Hit>, _limits: &Limits, matches: &mut Matches) -> u64 {
        if self.quiet_until.is_some_and(|until| hit.time() <= until) {
            return 0;
        }
        self.quiet_until = None;
        self.forget(hit.time() - shape.window);
        for (step, seen) in self.seen.iter_mut().enumerate() {
            if hit.steps & (1 << step) != 0 {
                seen.push_back(Arc::clone(&hit.event));
                if seen.len() > shape.n_steps {
                    seen.pop_front();
                }
            }
        }
        if let Some(events) = self.assign() {
            let found = found(&events, &hit.event);
            self.quiet_until = Some(EventTime(found.start.0.saturating_add(shape.window.0)));
            self.seen.iter_mut().for_each(VecDeque::clear);
            matches.put(found, None);
        }
        0
    }

    fn expire(&mut self, shape: &SampleShape, before: EventTime) {
        self.forget(before - shape.window - MARGIN);
        self.quiet_until.take_if(|until| *until < before);
    }

    fn is_empty(&self) -> bool {
        self.seen.iter().all(VecDeque::is_empty) && self.quiet_until.is_none()
    }
}

impl SampleState {
    fn forget(&mut self, before: EventTime) {
        for seen in &mut self.seen {
            seen.retain(|event| event.time >= before);
        }
    }

    /// An event for each step, none twice: a matching of steps and events, found along augmenting paths.
    fn assign(&self) -> Option<Vec<Arc<EventRef>>> {
        if self.seen.iter().any(VecDeque::is_empty) {
            return None;
        }
        let mut taken: Vec<(Arc<EventRef>, usize)> = Vec::new();
        for step in 0..self.seen.len() {
            let mut tried = Vec::new();
            if !self.take(step, &mut taken, &mut tried) {
                return None;
            }
        }
        taken.sort_by_key(|(_, step)| *step);
        Some(taken.into_iter().map(|(event, _)| event).collect())
    }

    fn take(
        &self,
        step: usize,
        taken: &mut Vec<(Arc<EventRef>, usize)>,
        tried: &mut Vec<Arc<EventRef>>,
    ) -> bool {
        for event in &self.seen[step] {
            if tried.iter().any(|known| known.order() == event.order()) {
                continue;
            }
            tried.push(Arc::clone(event));
            let Some(held) = taken.iter().position(|(known, _)| known.order() == event.order()) else {
                taken.push((Arc::clone(event), step));
                return true;
            };
            let holder = taken[held].1;
            if self.take(holder, taken, tried) {
                // The holder has another event now; the one it had is this step's.
                if let Some(freed) =
                    taken.iter_mut().find(|(known, of)| known.order() == event.order() && *of == holder)
                {
                    freed.1 = step;
                }
                return true;
            }
        }
        false
    }
}

fn found(events: &[Arc<EventRef>], last: &Arc<EventRef>) -> Match {
    let stages = (1_u16..).map(Stage::Step);
    let times = || events.iter().map(|event| event.time);
    Match {
        anchor: Anchor::Event(last.id.clone()),
        at: Arc::clone(last),
        evidence: stages
            .zip(events)
            .map(|(stage, event)| Evidence { stage, event: Arc::clone(event) })
            .collect(),
        n_events: events.len() as u64,
        start: times().min().unwrap_or(last.time),
        end: times().max().unwrap_or(last.time),
        columns: Vec::new(),
        is_absence: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::testing::{Table, hits};
    use crate::keyed::{Limits, Shape};

    /// What is told of events of a sample of so many steps over 100 s, in every order of a few.
    fn check(n_steps: usize, events: &str, expect: &[&str]) {
        let run = |hits: &[Arc<Hit>]| {
            let mut table = Table::new(
                Shape::Sample(SampleShape { n_steps, window: Span::from_secs(100) }),
                Limits::default(),
            );
            hits.iter().for_each(|hit| table.push(hit));
            table.flush();
            let told = table.told.values().map(|found| {
                found.evidence.iter().map(|item| item.event.id.to_string()).collect::<Vec<_>>().join(" ")
            });
            let mut told: Vec<String> = told.collect();
            told.sort_by_key(|ids| ids.len());
            told
        };
        let hits = hits(events);
        assert_eq!(run(&hits), expect, "{events}");
        let mut turned = hits.clone();
        for _ in 0..hits.len() {
            turned.rotate_left(1);
            assert_eq!(run(&turned), expect, "{events}, late ones first");
        }
        turned.reverse();
        assert_eq!(run(&turned), expect, "{events}, backwards");
    }

    #[test]
    fn events_of_all_steps_in_any_order() {
        check(2, "A1 B2", &["A1 B2"]);
        check(2, "B1 A2", &["A2 B1"]);
        check(3, "C1 A2", &[]);
        check(3, "C1 A2 B3", &["A2 B3 C1"]);
    }

    #[test]
    fn no_event_stands_for_two_steps() {
        check(2, "AB1", &[]);
        check(2, "AB1 A2", &["A2 AB1"]);
        check(3, "ABC1 AB2 A3", &["A3 AB2 ABC1"]);
        check(3, "ABC1 ABC2", &[]);
    }

    #[test]
    fn a_window_holds_one_sample() {
        check(2, "A1 B2 A3 B4", &["A1 B2"]);
        check(2, "A1 B101", &["A1 B101"]);
        check(2, "A1 B102", &[]);
        check(2, "A1 B2 A102 B103", &["A1 B2", "A102 B103"]);
    }
}
