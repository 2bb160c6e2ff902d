//! Steps through a key's hits in event order and keeps what they have amounted to so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use rules::event::EventTime;

use super::{Anchor, Hit, Limits, Match, Shape};
use crate::sequence::SequenceState;
use crate::terms::TermsState;
use crate::window::WindowState;

/// A match, and when it may be told.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) found: Arc<Match>,
    /// An absence holds once no event before this time is still expected.
    pub(crate) due: Option<EventTime>,
}

impl Found {
    pub(crate) fn is_certain(&self, watermark: Option<EventTime>) -> bool {
        self.due.is_none_or(|due| watermark.is_some_and(|watermark| due < watermark))
    }
}

/// The matches of one key, by anchor, with a note of which changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matches {
    pub(crate) by_anchor: BTreeMap<Anchor, Found>,
    pub(crate) touched: Vec<Anchor>,
}

impl Matches {
    pub(crate) fn put(&mut self, found: Match, due: Option<EventTime>) {
        let anchor = found.anchor.clone();
        self.touched.push(anchor.clone());
        self.by_anchor.insert(anchor, Found { found: Arc::new(found), due });
    }

    pub(crate) fn remove(&mut self, anchor: &Anchor) {
        if self.by_anchor.remove(anchor).is_some() {
            self.touched.push(anchor.clone());
        }
    }

    /// Forgets what ended before a time and can no longer change. Not a change: it stands as it was told.
    fn expire(&mut self, before: EventTime) {
        self.by_anchor.retain(|_, found| found.due.unwrap_or(found.found.end).max(found.found.end) >= before);
    }
}

#[derive(Debug, Clone)]
enum State {
    Sequence(SequenceState),
    Window(WindowState),
    Terms(TermsState),
}

/// The state after some hits, in order.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    state: State,
    pub(crate) matches: Matches,
    /// Events a cap pushed out before their time.
    pub(crate) n_evicted: u64,
}

impl Machine {
    pub(crate) fn new(shape: &Shape) -> Self {
        let state = match shape {
            Shape::Sequence(shape) => State::Sequence(SequenceState::new(shape)),
            Shape::Window(_) => State::Window(WindowState::default()),
            Shape::Terms(_) => State::Terms(TermsState::default()),
        };
        Self { state, matches: Matches::default(), n_evicted: 0 }
    }

    pub(crate) fn step(&mut self, shape: &Shape, hit: &Arc<Hit>, limits: &Limits) {
        match (&mut self.state, shape) {
            (State::Sequence(state), Shape::Sequence(shape)) => state.step(shape, hit, &mut self.matches),
            (State::Window(state), Shape::Window(shape)) => {
                self.n_evicted += state.step(shape, hit, limits, &mut self.matches);
            }
            (State::Terms(state), Shape::Terms(shape)) => state.step(shape, hit, &mut self.matches),
            _ => unreachable!("a machine is made from the shape it is stepped with"),
        }
    }

    /// Called after the last of several steps: what would be costly for each is computed here, if it is cheap enough.
    pub(crate) fn settle_soon(&mut self, shape: &Shape, limits: &Limits) {
        if let (State::Window(state), Shape::Window(shape)) = (&mut self.state, shape) {
            state.settle_soon(shape, limits, &mut self.matches);
        }
    }

    pub(crate) fn is_put_off(&self) -> bool {
        matches!(&self.state, State::Window(state) if state.is_put_off())
    }

    /// Computes what was put off.
    pub(crate) fn settle(&mut self, shape: &Shape, limits: &Limits) {
        if let (State::Window(state), Shape::Window(shape)) = (&mut self.state, shape) {
            state.settle(shape, limits, &mut self.matches);
        }
    }

    /// Lets go of what only events before `before` could use.
    pub(crate) fn expire(&mut self, shape: &Shape, before: EventTime) {
        match (&mut self.state, shape) {
            (State::Sequence(state), Shape::Sequence(shape)) => state.expire(shape, before),
            (State::Window(state), Shape::Window(shape)) => state.expire(shape, before),
            (State::Terms(state), Shape::Terms(shape)) => state.expire(shape, before),
            _ => {}
        }
        self.matches.expire(before - shape.span());
    }

    pub(crate) fn is_empty(&self) -> bool {
        let is_empty = match &self.state {
            State::Sequence(state) => state.is_empty(),
            State::Window(state) => state.is_empty(),
            State::Terms(state) => state.last_seen.is_none(),
        };
        is_empty && self.matches.by_anchor.is_empty()
    }

    /// For new terms: when the term was last seen, as far as it is known for certain.
    pub(crate) fn last_seen(&self) -> Option<EventTime> {
        match &self.state {
            State::Terms(state) => state.last_seen,
            _ => None,
        }
    }

    /// For new terms: when the term was last news.
    pub(crate) fn first_seen(&self) -> Option<EventTime> {
        match &self.state {
            State::Terms(state) => state.first_seen,
            _ => None,
        }
    }

    pub(crate) fn seed_term(&mut self, first: Option<EventTime>, last: EventTime) {
        if let State::Terms(state) = &mut self.state {
            state.seed(first, last);
        }
    }
}
