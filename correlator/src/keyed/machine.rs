//! Steps through a key's hits in event order and keeps what they have amounted to so far.
//!
//! A kind of rule that looks at more than one event is a [`Machine`]. To add one: its shape goes into [`Shape`], its state
//! into [`State`] and [`each`], and [`Shape::span`] says how far its events can be apart. Order, lateness, revisions,
//! bounds and storage are then taken care of around it.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::sync::Arc;

use rules::event::EventTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Anchor, Hit, Limits, Match, Shape};
use crate::correlation::CorrelationState;
use crate::sample::SampleState;
use crate::sequence::SequenceState;
use crate::terms::TermsState;
use crate::window::WindowState;

/// What a kind of machine offers: the state of one key, as a pure function of the hits stepped through. No clock, no I/O,
/// no randomness: the same hits give the same state, on every machine and after every restart.
///
/// The state is cloned to look ahead (a late event starts again from the last settled state) and serialised to outlive the
/// process, so it holds [`super::EventRef`]s and plain data, and no whole events.
pub(crate) trait Machine: Clone + Serialize + DeserializeOwned {
    /// What the rule says, shared by all its keys and not serialised.
    type Shape;

    fn new(shape: &Self::Shape) -> Self;

    /// Takes the next hit in event order; puts the matches it makes, and removes those it unmakes. Several matches of one
    /// key differ in their anchor, and a match that grows keeps it. Returns how many hits a bound of `limits` pushed out
    /// before their time: they are counted, and said on alerts.
    fn step(&mut self, shape: &Self::Shape, hit: &Arc<Hit>, limits: &Limits, matches: &mut Matches) -> u64;

    /// Lets go of what only events before `before` could use. None of them will come.
    fn expire(&mut self, shape: &Self::Shape, before: EventTime);

    /// Whether a new machine would do as well. Keys whose machine is empty are forgotten.
    fn is_empty(&self) -> bool;

    /// Called after the last of several steps: what would be costly for each is computed here, if it is cheap enough.
    fn settle_soon(&mut self, _shape: &Self::Shape, _limits: &Limits, _matches: &mut Matches) {}

    /// Whether something waits to be computed.
    fn is_put_off(&self) -> bool {
        false
    }

    /// Computes what was put off.
    fn settle(&mut self, _shape: &Self::Shape, _limits: &Limits, _matches: &mut Matches) {}
}

/// A match, and when it may be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Matches {
    pub(crate) by_anchor: BTreeMap<Anchor, Found>,
    #[serde(skip)]
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

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Sequence(SequenceState),
    Sample(SampleState),
    // Larger than the others, and there are keys by the million.
    Window(Box<WindowState>),
    Terms(TermsState),
    Correlation(CorrelationState),
}

/// The same call on whichever machine it is, with its shape: the list of the kinds.
macro_rules! each {
    ($state:expr, $shape:expr, |$machine:ident, $its:ident| $call:expr) => {
        match ($state, $shape) {
            (State::Sequence($machine), Shape::Sequence($its)) => $call,
            (State::Sample($machine), Shape::Sample($its)) => $call,
            (State::Window($machine), Shape::Window($its)) => $call,
            (State::Terms($machine), Shape::Terms($its)) => $call,
            (State::Correlation($machine), Shape::Correlation($its)) => $call,
            _ => unreachable!("a machine is made from the shape it is stepped with"),
        }
    };
}

/// A machine after some hits, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stepped {
    state: State,
    pub(crate) matches: Matches,
    /// Events a cap pushed out before their time.
    pub(crate) n_evicted: u64,
}

impl Stepped {
    pub(crate) fn new(shape: &Shape) -> Self {
        let state = match shape {
            Shape::Sequence(shape) => State::Sequence(Machine::new(shape)),
            Shape::Sample(shape) => State::Sample(Machine::new(shape)),
            Shape::Window(shape) => State::Window(Box::new(Machine::new(shape))),
            Shape::Terms(shape) => State::Terms(Machine::new(shape)),
            Shape::Correlation(shape) => State::Correlation(Machine::new(shape)),
        };
        Self { state, matches: Matches::default(), n_evicted: 0 }
    }

    /// Stands where a state is yet to be computed.
    pub(crate) fn blank() -> Self {
        Self { state: State::Terms(TermsState::default()), matches: Matches::default(), n_evicted: 0 }
    }

    /// Whether this is the state of a rule of that shape: what is read back may be of another.
    pub(crate) fn is_of(&self, shape: &Shape) -> bool {
        discriminant(&self.state) == discriminant(&Self::new(shape).state)
    }

    pub(crate) fn step(&mut self, shape: &Shape, hit: &Arc<Hit>, limits: &Limits) {
        let matches = &mut self.matches;
        self.n_evicted +=
            each!(&mut self.state, shape, |machine, shape| machine.step(shape, hit, limits, matches));
    }

    pub(crate) fn settle_soon(&mut self, shape: &Shape, limits: &Limits) {
        let matches = &mut self.matches;
        each!(&mut self.state, shape, |machine, shape| machine.settle_soon(shape, limits, matches));
    }

    pub(crate) fn is_put_off(&self, shape: &Shape) -> bool {
        each!(&self.state, shape, |machine, _shape| machine.is_put_off())
    }

    pub(crate) fn settle(&mut self, shape: &Shape, limits: &Limits) {
        let matches = &mut self.matches;
        each!(&mut self.state, shape, |machine, shape| machine.settle(shape, limits, matches));
    }

    /// Whether it is a sequence of which no part is there: nothing was told, and only the first step could lead to that.
    pub(crate) fn has_begun_nothing(&self) -> bool {
        self.matches.by_anchor.is_empty()
            && matches!(&self.state, State::Sequence(sequence) if sequence.has_begun_nothing())
    }

    /// Lets go of what only events before `before` could use.
    pub(crate) fn expire(&mut self, shape: &Shape, before: EventTime) {
        each!(&mut self.state, shape, |machine, shape| machine.expire(shape, before));
        self.matches.expire(before - shape.span());
    }

    pub(crate) fn is_empty(&self, shape: &Shape) -> bool {
        self.matches.by_anchor.is_empty() && each!(&self.state, shape, |machine, _shape| machine.is_empty())
    }

    pub(crate) fn learn_term(&mut self, time: EventTime) {
        if let State::Terms(state) = &mut self.state {
            state.learn(time);
        }
    }

    pub(crate) fn seed_term(&mut self, first: Option<EventTime>, last: EventTime) {
        if let State::Terms(state) = &mut self.state {
            state.seed(first, last);
        }
    }
}
