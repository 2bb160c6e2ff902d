//! All keys of all rules: who is asked when a hit comes, who when time passes, and who goes when there are too many.

use std::collections::BTreeSet;
use std::sync::Arc;

use rules::event::EventTime;
use rustc_hash::FxHashMap;

use super::state::{KeyState, Turn};
use super::{Anchor, Hit, JoinKey, Limits, Match, Shape};

/// A rule, by its place in the program, and a key of it.
pub type KeyRef = Arc<(u32, JoinKey)>;

/// A match came, changed or went.
#[derive(Debug, Clone)]
pub enum Change {
    Put { key: KeyRef, found: Arc<Match> },
    Gone { key: KeyRef, anchor: Anchor },
}

/// What caps cost one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    pub n_keys: u64,
    pub n_hits: u64,
    /// Nothing newer than this was let go.
    pub newest: EventTime,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { n_keys: 0, n_hits: 0, newest: EventTime(i64::MIN) }
    }
}

#[derive(Debug)]
struct Entry {
    state: KeyState,
    visit: EventTime,
}

/// The keyed state machine: hits and watermarks in, changes out.
#[derive(Debug)]
pub struct Keyed {
    /// By rule. `None`: each hit of the rule is a match of its own, and needs no state.
    shapes: Vec<Option<Shape>>,
    limits: Limits,
    keys: FxHashMap<KeyRef, Entry>,
    timers: BTreeSet<(EventTime, KeyRef)>,
    watermark: Option<EventTime>,
    evictions: FxHashMap<u32, Eviction>,
    /// New terms whose last sight is certain since this was last taken.
    seen: Vec<(KeyRef, EventTime)>,
}

impl Keyed {
    pub fn new(shapes: Vec<Option<Shape>>, limits: Limits) -> Self {
        Self {
            shapes,
            limits,
            keys: FxHashMap::default(),
            timers: BTreeSet::new(),
            watermark: None,
            evictions: FxHashMap::default(),
            seen: Vec::new(),
        }
    }

    pub fn shape(&self, rule: u32) -> Option<&Shape> {
        self.shapes.get(rule as usize)?.as_ref()
    }

    pub fn push(&mut self, rule: u32, key: JoinKey, hit: Arc<Hit>) -> Vec<Change> {
        let Some(Some(shape)) = self.shapes.get(rule as usize) else { return Vec::new() };
        let named = (rule, key);
        let key = match self.keys.get_key_value(&named) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::new(named),
        };
        let entry = self
            .keys
            .entry(Arc::clone(&key))
            .or_insert_with(|| Entry { state: KeyState::new(shape), visit: EventTime(i64::MAX) });
        let evicted_before = entry.state.n_evicted();
        let time = hit.time();
        let mut turns = Vec::new();
        entry.state.push(shape, hit, &self.limits, self.watermark, &mut turns);
        let n_hits = entry.state.n_evicted().saturating_sub(evicted_before);
        let visit = entry.state.next_visit(shape, &self.limits);
        if visit < entry.visit {
            self.timers.remove(&(entry.visit, Arc::clone(&key)));
            entry.visit = visit;
            self.timers.insert((visit, Arc::clone(&key)));
        }
        if n_hits > 0 {
            self.count_eviction(rule, 0, n_hits, time);
        }
        while self.keys.len() > self.limits.max_keys {
            self.evict_oldest();
        }
        changes(&key, turns)
    }

    /// No event before `watermark` is expected any more.
    pub fn advance(&mut self, watermark: EventTime) -> Vec<Change> {
        self.watermark = self.watermark.max(Some(watermark));
        let mut all = Vec::new();
        while let Some((at, _)) = self.timers.first() {
            if *at >= watermark {
                break;
            }
            let Some((_, key)) = self.timers.pop_first() else { break };
            self.visit(key, watermark, &mut all);
        }
        all
    }

    fn visit(&mut self, key: KeyRef, watermark: EventTime, all: &mut Vec<Change>) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        let Some(Some(shape)) = self.shapes.get(key.0 as usize) else { return };
        let mut turns = Vec::new();
        let seen = entry.state.advance(shape, &self.limits, watermark, &mut turns);
        if let Some(time) = seen {
            self.seen.push((Arc::clone(&key), time));
        }
        all.extend(changes(&key, turns));
        if entry.state.is_empty() {
            self.keys.remove(&key);
            return;
        }
        // A visit that comes too early costs little; one that never ends costs everything.
        entry.visit = entry.state.next_visit(shape, &self.limits).max(watermark);
        self.timers.insert((entry.visit, key));
    }

    /// The key whose time is up first has the least to lose.
    fn evict_oldest(&mut self) {
        let Some((_, key)) = self.timers.pop_first() else { return };
        let Some(entry) = self.keys.remove(&key) else { return };
        self.count_eviction(key.0, 1, entry.state.n_hits() as u64, entry.state.newest());
    }

    fn count_eviction(&mut self, rule: u32, n_keys: u64, n_hits: u64, newest: EventTime) {
        let eviction = self.evictions.entry(rule).or_default();
        eviction.n_keys += n_keys;
        eviction.n_hits += n_hits;
        eviction.newest = eviction.newest.max(newest);
    }

    pub fn eviction(&self, rule: u32) -> Option<Eviction> {
        self.evictions.get(&rule).copied()
    }

    pub fn n_evicted_keys(&self) -> u64 {
        self.evictions.values().map(|eviction| eviction.n_keys).sum()
    }

    pub fn n_keys(&self) -> usize {
        self.keys.len()
    }

    /// What the store knows of a new term from earlier runs.
    pub fn seed_last_seen(&mut self, rule: u32, key: JoinKey, time: EventTime) {
        let Some(Some(shape)) = self.shapes.get(rule as usize) else { return };
        let key = Arc::new((rule, key));
        let entry = self
            .keys
            .entry(Arc::clone(&key))
            .or_insert_with(|| Entry { state: KeyState::new(shape), visit: EventTime(i64::MAX) });
        entry.state.seed_last_seen(time);
        self.timers.remove(&(entry.visit, Arc::clone(&key)));
        entry.visit = entry.state.next_visit(shape, &self.limits);
        self.timers.insert((entry.visit, key));
        while self.keys.len() > self.limits.max_keys {
            self.evict_oldest();
        }
    }

    /// New terms whose last sight became certain, for the store.
    pub fn take_seen(&mut self) -> Vec<(KeyRef, EventTime)> {
        std::mem::take(&mut self.seen)
    }
}

fn changes(key: &KeyRef, turns: Vec<Turn>) -> Vec<Change> {
    let turn = |turn| match turn {
        Turn::Put(found) => Change::Put { key: Arc::clone(key), found },
        Turn::Gone(anchor) => Change::Gone { key: Arc::clone(key), anchor },
    };
    turns.into_iter().map(turn).collect()
}
