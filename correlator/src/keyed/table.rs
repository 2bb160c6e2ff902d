//! All keys of all rules: who is asked when a hit comes, who when time passes, and who goes when there are too many.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use rules::event::{EventTime, Span};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::signals::SignalKeys;
use super::state::{KeyState, Turn};
use super::{Anchor, Hit, JoinKey, Limits, Match, Shape};
use crate::source::Origin;

/// A rule, by its place in the program, and a key of it.
pub type KeyRef = Arc<(u32, JoinKey)>;

/// A match came, changed or went.
#[derive(Debug, Clone)]
pub enum Change {
    Put { key: KeyRef, found: Arc<Match> },
    Gone { key: KeyRef, anchor: Anchor },
}

/// What has changed of the keys' state since it was last written.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    pub(crate) keys: Vec<SavedKey>,
    /// Places of keys that are gone.
    pub(crate) gone: Vec<u64>,
}

/// A key's state, to be written at its place.
#[derive(Debug, Clone)]
pub(crate) struct SavedKey {
    pub(crate) key: KeyRef,
    pub(crate) place: u64,
    pub(crate) state: Vec<u8>,
}

/// What caps cost one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Where the store has it: known here, so that nobody has to look it up there.
    place: u64,
    weight: Weight,
}

/// What a key takes of memory, about: what was pushed is added, and now and then all of it is looked at.
#[derive(Debug, Clone, Copy)]
struct Weight {
    bytes: u64,
    measured: u64,
}

impl Weight {
    /// Tables, timers and a small state.
    const KEY: u64 = 700;
    /// An event with its place in lists.
    const HIT: u64 = 260;
    /// What is written is without pointers, lengths and slack.
    const PER_WRITTEN_BYTE: u64 = 3;
    const LITTLE: u64 = 16 * 1_024;

    fn of(key: &JoinKey) -> Self {
        let bytes = Self::KEY + key.0.iter().flatten().map(|part| 2 * part.len() as u64).sum::<u64>();
        Self { bytes, measured: bytes }
    }

    fn add(&mut self, hit: &Hit) {
        self.bytes += Self::HIT + hit.text_bytes();
    }

    fn is_doubtful(&self) -> bool {
        self.bytes > 2 * self.measured + Self::LITTLE
    }

    fn measure(&mut self, key: &JoinKey, state: &KeyState) {
        let written = postcard::experimental::serialized_size(state).unwrap_or_default() as u64;
        let bytes = Self::of(key).bytes + written * Self::PER_WRITTEN_BYTE;
        *self = Self { bytes, measured: bytes };
    }
}

/// The rules that read alerts of the others. Time passes later for them: until nothing can change those alerts.
#[derive(Debug, Clone, Default)]
pub(crate) struct OverAlerts {
    /// By rule. Empty: none is.
    pub(crate) rules: Vec<bool>,
    pub(crate) lag: Span,
}

impl OverAlerts {
    pub(crate) fn has(&self, rule: u32) -> bool {
        self.rules.get(rule as usize).is_some_and(|is_over| *is_over)
    }

    /// The watermark as it is for them.
    pub(crate) fn watermark(&self, watermark: EventTime) -> EventTime {
        if watermark == EventTime(i64::MAX) { watermark } else { watermark - self.lag }
    }

    fn watermark_of(&self, rule: u32, watermark: EventTime) -> EventTime {
        if self.has(rule) { self.watermark(watermark) } else { watermark }
    }

    /// The watermark at which that of the rule has come to `time`.
    fn reached_at(&self, rule: u32, time: EventTime) -> EventTime {
        if self.has(rule) { time + self.lag } else { time }
    }
}

/// The keyed state machine: hits and watermarks in, changes out.
#[derive(Debug)]
pub struct Keyed {
    /// By rule. `None`: each hit of the rule is a match of its own, and needs no state.
    shapes: Vec<Option<Shape>>,
    limits: Limits,
    keys: FxHashMap<KeyRef, Box<Entry>>,
    /// By rule: when to look at which key. Each key has one.
    timers: Vec<BTreeSet<(EventTime, KeyRef)>>,
    /// Keys with something to work in or to compute.
    stale: Vec<KeyRef>,
    n_open_hits: usize,
    /// About.
    n_bytes: u64,
    next_place: u64,
    watermark: Option<EventTime>,
    /// By rule: it joins what hosts and AWS said, see [`Limits::join_grace`].
    joins: Vec<bool>,
    over_alerts: OverAlerts,
    signals: SignalKeys,
    /// Before this, rules over alerts have settled.
    settled_over_alerts: Option<EventTime>,
    evictions: FxHashMap<u32, Eviction>,
    /// Keys that have changed since they were last taken to be written, where there is a store.
    unsaved: Option<FxHashSet<KeyRef>>,
    gone: Vec<u64>,
}

impl Keyed {
    pub fn new(shapes: Vec<Option<Shape>>, limits: Limits) -> Self {
        Self {
            timers: vec![BTreeSet::new(); shapes.len()],
            shapes,
            limits,
            keys: FxHashMap::default(),
            stale: Vec::new(),
            n_open_hits: 0,
            n_bytes: 0,
            next_place: 1,
            watermark: None,
            over_alerts: OverAlerts::default(),
            signals: SignalKeys::default(),
            joins: Vec::new(),
            settled_over_alerts: None,
            evictions: FxHashMap::default(),
            unsaved: None,
            gone: Vec::new(),
        }
    }

    /// Says which rules read alerts. Before anything is pushed.
    pub(crate) fn set_over_alerts(&mut self, over_alerts: OverAlerts) {
        self.over_alerts = over_alerts;
    }

    /// Says which rules join what hosts and AWS said. Before anything is pushed.
    pub(crate) fn set_joins(&mut self, joins: Vec<bool>) {
        self.joins = joins;
    }

    fn limits_of(&self, rule: u32) -> Limits {
        let is_join = self.joins.get(rule as usize).is_some_and(|is_join| *is_join);
        self.limits.of_join(is_join)
    }

    fn watermark_of(&self, rule: u32) -> Option<EventTime> {
        self.watermark.map(|watermark| self.over_alerts.watermark_of(rule, watermark))
    }

    pub fn shape(&self, rule: u32) -> Option<&Shape> {
        self.shapes.get(rule as usize)?.as_ref()
    }

    pub fn push(&mut self, rule: u32, key: JoinKey, hit: Arc<Hit>) -> Vec<Change> {
        let (watermark, limits) = (self.watermark_of(rule), self.limits_of(rule));
        let Some(Some(shape)) = self.shapes.get(rule as usize) else { return Vec::new() };
        let named = (rule, key);
        let key = match self.keys.get_key_value(&named) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::new(named),
        };
        let entry = match self.keys.entry(Arc::clone(&key)) {
            MapEntry::Occupied(held) => held.into_mut(),
            MapEntry::Vacant(free) => {
                let entry = Entry::new(shape, &key.1, &mut self.next_place);
                self.n_bytes += entry.weight.bytes;
                self.timers[rule as usize].insert((entry.visit, Arc::clone(&key)));
                free.insert(entry)
            }
        };
        let evicted_before = entry.state.n_evicted();
        let (open_before, was_behind) = (entry.state.n_hits(), entry.state.is_behind(shape));
        let (time, weighed) = (hit.time(), entry.weight.bytes);
        if hit.event.origin == Origin::Signal {
            self.signals.add(&hit.event, &key);
        }
        entry.weight.add(&hit);
        let mut turns = Vec::new();
        entry.state.push(shape, hit, &limits, watermark, &mut turns);
        if entry.weight.is_doubtful() {
            entry.weight.measure(&key.1, &entry.state);
        }
        self.n_bytes = self.n_bytes + entry.weight.bytes - weighed;
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(Arc::clone(&key));
        }
        let n_hits = entry.state.n_evicted().saturating_sub(evicted_before);
        self.n_open_hits = self.n_open_hits + entry.state.n_hits() - open_before;
        if entry.state.is_behind(shape) && !was_behind {
            self.stale.push(Arc::clone(&key));
        }
        let visit = self.over_alerts.reached_at(rule, entry.state.next_visit(shape, &limits));
        if visit < entry.visit {
            let timers = &mut self.timers[rule as usize];
            timers.remove(&(entry.visit, Arc::clone(&key)));
            entry.visit = visit;
            timers.insert((visit, Arc::clone(&key)));
        }
        if n_hits > 0 {
            self.count_eviction(rule, 0, n_hits, time);
        }
        self.keep_within(rule);
        changes(&key, turns)
    }

    /// Lets go of what is too much, the oldest first: of the rule, then of all.
    fn keep_within(&mut self, rule: u32) {
        while self.timers[rule as usize].len() > self.limits.max_keys_per_rule && self.evict_oldest_of(rule) {
        }
        while (self.keys.len() > self.limits.max_keys || self.n_open_hits > self.limits.max_open_hits)
            && self.evict_oldest()
        {}
    }

    /// Whether the alert of this id is an event to some key, and may still be taken back.
    pub(crate) fn has_signal(&self, id: &str) -> bool {
        self.signals.contains(id)
    }

    /// Takes an alert that was an event back from wherever it has not settled.
    pub(crate) fn retract(&mut self, id: &str) -> Vec<Change> {
        let mut all = Vec::new();
        for key in self.signals.take(id) {
            let watermark = self.watermark_of(key.0);
            let Some(Some(shape)) = self.shapes.get(key.0 as usize) else { continue };
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            let (open_before, was_behind) = (entry.state.n_hits(), entry.state.is_behind(shape));
            let mut turns = Vec::new();
            entry.state.retract(shape, id, &self.limits, watermark, &mut turns);
            self.n_open_hits -= open_before - entry.state.n_hits();
            if entry.state.is_behind(shape) && !was_behind {
                self.stale.push(Arc::clone(&key));
            }
            if let Some(unsaved) = &mut self.unsaved {
                unsaved.insert(Arc::clone(&key));
            }
            all.extend(changes(&key, turns));
        }
        all
    }

    /// Works in late hits that wait, and computes what was put off.
    pub fn flush(&mut self) -> Vec<Change> {
        let mut all = Vec::new();
        for key in std::mem::take(&mut self.stale) {
            let watermark = self.watermark_of(key.0);
            let Some(Some(shape)) = self.shapes.get(key.0 as usize) else { continue };
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            let mut turns = Vec::new();
            entry.state.refresh(shape, &self.limits, watermark, &mut turns);
            if let Some(unsaved) = &mut self.unsaved {
                unsaved.insert(Arc::clone(&key));
            }
            all.extend(changes(&key, turns));
        }
        all
    }

    /// No event before `watermark` is expected any more. Time does not pass yet for rules over alerts: what this changes may
    /// be news to them.
    pub fn advance(&mut self, watermark: EventTime) -> Vec<Change> {
        let mut all = self.flush();
        self.watermark = self.watermark.max(Some(watermark));
        self.visit_due(watermark, &mut all, false);
        all
    }

    /// The second half of [`Self::advance`]: for rules over alerts.
    pub(crate) fn advance_over_alerts(&mut self, watermark: EventTime) -> Vec<Change> {
        let mut all = self.flush();
        self.visit_due(watermark, &mut all, true);
        self.settle_over_alerts(watermark);
        all
    }

    fn settle_over_alerts(&mut self, watermark: EventTime) {
        let settled = self.over_alerts.watermark(watermark) - self.limits.grace;
        self.signals.expire(settled);
        self.settled_over_alerts = self.settled_over_alerts.max(Some(settled));
    }

    /// Before when rules over alerts have settled.
    pub(crate) fn settled_over_alerts(&self) -> Option<EventTime> {
        self.settled_over_alerts
    }

    /// Visits the keys whose time has come: of rules over alerts, or of the others.
    fn visit_due(&mut self, watermark: EventTime, all: &mut Vec<Change>, over_alerts: bool) {
        let rules = 0..u32::try_from(self.timers.len()).expect("rules are counted in thousands");
        for rule in rules {
            if self.over_alerts.has(rule) != over_alerts {
                continue;
            }
            while self.timers[rule as usize].first().is_some_and(|(at, _)| *at < watermark) {
                if let Some((_, key)) = self.timers[rule as usize].pop_first() {
                    self.visit(key, watermark, all);
                }
            }
        }
    }

    fn visit(&mut self, key: KeyRef, watermark: EventTime, all: &mut Vec<Change>) {
        let limits = self.limits_of(key.0);
        let Some(entry) = self.keys.get_mut(&key) else { return };
        let Some(Some(shape)) = self.shapes.get(key.0 as usize) else { return };
        let mut turns = Vec::new();
        let open_before = entry.state.n_hits();
        let own_watermark = self.over_alerts.watermark_of(key.0, watermark);
        entry.state.advance(shape, &limits, own_watermark, &mut turns);
        self.n_open_hits -= open_before - entry.state.n_hits();
        // What is merely settled is not written again: it settles the same way once more.
        if let Some(unsaved) = &mut self.unsaved
            && !turns.is_empty()
        {
            unsaved.insert(Arc::clone(&key));
        }
        all.extend(changes(&key, turns));
        if entry.state.is_empty(shape) {
            self.remove(&key);
            return;
        }
        if entry.state.n_hits() == 0 || entry.weight.is_doubtful() {
            let weighed = entry.weight.bytes;
            entry.weight.measure(&key.1, &entry.state);
            self.n_bytes = self.n_bytes + entry.weight.bytes - weighed;
        }
        // A visit that comes too early costs little; one that never ends costs everything.
        let visit = self.over_alerts.reached_at(key.0, entry.state.next_visit(shape, &limits));
        entry.visit = visit.max(watermark);
        self.timers[key.0 as usize].insert((entry.visit, key));
    }

    /// Takes a key out of the table and, in time, out of the store. Its timer is gone already.
    fn remove(&mut self, key: &KeyRef) -> Option<Box<Entry>> {
        let entry = self.keys.remove(key)?;
        self.n_bytes -= entry.weight.bytes;
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.remove(key);
            self.gone.push(entry.place);
        }
        Some(entry)
    }

    /// The key whose time is up first has the least to lose. Says whether there was one.
    /// What a rule keeps for late halves alone is no younger for that.
    pub(crate) fn evict_oldest(&mut self) -> bool {
        let first = |rule: u32| {
            let (at, _) = self.timers[rule as usize].first()?;
            Some((*at - self.limits_of(rule).grace, rule))
        };
        let oldest = (0..self.timers.len() as u32).filter_map(first).min();
        oldest.is_some_and(|(_, rule)| self.evict_oldest_of(rule))
    }

    fn evict_oldest_of(&mut self, rule: u32) -> bool {
        let Some((_, key)) = self.timers[rule as usize].pop_first() else { return false };
        let Some(entry) = self.remove(&key) else { return true };
        let n_hits = entry.state.n_hits();
        self.n_open_hits -= n_hits;
        self.count_eviction(rule, 1, n_hits as u64, entry.state.newest());
        true
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

    pub fn n_evicted_hits(&self) -> u64 {
        self.evictions.values().map(|eviction| eviction.n_hits).sum()
    }

    pub fn n_keys(&self) -> usize {
        self.keys.len()
    }

    /// What the state takes of memory, about.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    pub fn n_open_hits(&self) -> usize {
        self.n_open_hits
    }

    /// A term was seen then, and nobody is to hear of it.
    pub(crate) fn learn_term(&mut self, rule: u32, key: JoinKey, time: EventTime) {
        self.teach(rule, key, |state, shape| state.learn_term(shape, time));
    }

    /// What a store of an older format knows of a new term.
    pub fn seed_term(&mut self, rule: u32, key: JoinKey, first: Option<EventTime>, last: EventTime) {
        self.teach(rule, key, |state, shape| {
            state.seed_term(shape, first, last);
            true
        });
    }

    /// Changes a key's state, which is made where there is none; false: it stays as it was.
    fn teach(&mut self, rule: u32, key: JoinKey, change: impl FnOnce(&mut KeyState, &Shape) -> bool) {
        let Some(Some(shape)) = self.shapes.get(rule as usize) else { return };
        let key = Arc::new((rule, key));
        let timers = &mut self.timers[rule as usize];
        let entry = match self.keys.entry(Arc::clone(&key)) {
            MapEntry::Occupied(held) => held.into_mut(),
            MapEntry::Vacant(free) => {
                let entry = Entry::new(shape, &key.1, &mut self.next_place);
                self.n_bytes += entry.weight.bytes;
                free.insert(entry)
            }
        };
        if !change(&mut entry.state, shape) {
            return;
        }
        timers.remove(&(entry.visit, Arc::clone(&key)));
        entry.visit = self.over_alerts.reached_at(rule, entry.state.next_visit(shape, &self.limits));
        timers.insert((entry.visit, Arc::clone(&key)));
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(key);
        }
        self.keep_within(rule);
    }

    /// From here on, keeps account of which keys have to be written.
    pub(crate) fn keep_unsaved(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    /// What has changed since this was last called.
    pub(crate) fn take_unsaved(&mut self) -> Unsaved {
        let unsaved = self.unsaved.as_mut().map(std::mem::take).unwrap_or_default();
        let saved = |key: KeyRef| {
            let entry = self.keys.get(&key)?;
            let state = postcard::to_stdvec(&entry.state).expect("plain data serialises");
            Some(SavedKey { key, place: entry.place, state })
        };
        let keys = unsaved.into_iter().filter_map(saved).collect();
        Unsaved { keys, gone: std::mem::take(&mut self.gone) }
    }

    /// This place in the store is taken, by whatever.
    pub(crate) fn note_place(&mut self, place: u64) {
        self.next_place = self.next_place.max(place + 1);
    }

    /// Takes a key's state back. Says whether it could be read.
    pub(crate) fn resume(&mut self, rule: u32, key: JoinKey, place: u64, state: &[u8]) -> bool {
        let limits = self.limits_of(rule);
        let Some(Some(shape)) = self.shapes.get(rule as usize) else { return false };
        let n_written = state.len() as u64;
        let read = postcard::from_bytes(state).ok();
        let Some(state) = read.and_then(|state: KeyState| state.resumed(shape, &limits)) else {
            return false;
        };
        let mut weight = Weight::of(&key);
        weight.bytes += n_written * Weight::PER_WRITTEN_BYTE;
        let key = Arc::new((rule, key));
        self.n_open_hits += state.n_hits();
        self.n_bytes += weight.bytes;
        if state.is_behind(shape) {
            self.stale.push(Arc::clone(&key));
        }
        for event in state.signals() {
            self.signals.add(event, &key);
        }
        let visit = self.over_alerts.reached_at(rule, state.next_visit(shape, &limits));
        self.timers[rule as usize].insert((visit, Arc::clone(&key)));
        self.keys.insert(key, Box::new(Entry { state, visit, place, weight }));
        self.keep_within(rule);
        true
    }

    /// The same for a key that the store does not have yet: it gets a place of its own, and is written.
    pub(crate) fn resume_copy(&mut self, rule: u32, key: JoinKey, state: &[u8]) {
        let place = self.next_place;
        self.note_place(place);
        if self.resume(rule, key.clone(), place, state) {
            self.unsaved.get_or_insert_default().insert(Arc::new((rule, key)));
        }
    }

    pub(crate) fn resume_eviction(&mut self, rule: u32, eviction: Eviction) {
        self.evictions.insert(rule, eviction);
    }

    pub(crate) fn evictions(&self) -> impl Iterator<Item = (u32, Eviction)> {
        self.evictions.iter().map(|(rule, eviction)| (*rule, *eviction))
    }

    pub(crate) fn resume_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(Some(watermark));
        self.settle_over_alerts(watermark);
    }
}

impl Entry {
    fn new(shape: &Shape, key: &JoinKey, next_place: &mut u64) -> Box<Self> {
        let place = *next_place;
        *next_place += 1;
        let (state, visit) = (KeyState::new(shape), EventTime(i64::MAX));
        Box::new(Self { state, visit, place, weight: Weight::of(key) })
    }
}

fn changes(key: &KeyRef, turns: Vec<Turn>) -> Vec<Change> {
    let turn = |turn| match turn {
        Turn::Put(found) => Change::Put { key: Arc::clone(key), found },
        Turn::Gone(anchor) => Change::Gone { key: Arc::clone(key), anchor },
    };
    turns.into_iter().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use rules::event::Span;

    use super::*;
    use crate::keyed::EventRef;
    use crate::keyed::testing::{Table, hit};
    use crate::terms::TermsShape;
    use crate::window::{Test, WindowShape};

    fn threshold(count: u64, seconds: i64) -> Shape {
        let test = Test::Threshold { count, cardinality: None };
        Shape::Window(WindowShape { span: Span::from_secs(seconds), is_tumbling: false, test })
    }

    #[test]
    fn keys_never_pass_their_cap_and_the_oldest_go() {
        let limits = Limits { max_keys: 100, ..Limits::default() };
        let mut table = Table::new(Shape::Terms(TermsShape { window: Span::from_secs(10) }), limits);
        for n in 0..1_000 {
            table.push_key(&format!("k{n}"), &hit(&format!("A{n}")));
            assert!(table.keyed.n_keys() <= 100);
        }
        let eviction = table.keyed.eviction(0).unwrap();
        assert_eq!(eviction.n_keys, 900);
        assert_eq!(eviction.newest, EventTime(899_000_000_000), "the newest hundred stayed");
        assert_eq!(table.told.len(), 1_000, "what was told stands");
    }

    /// One of a key of its own, without the way through a reader: there are a million.
    fn push_nth(keyed: &mut Keyed, rule: u32, n: i64) {
        let event = EventRef {
            id: format!("{n:x}").into(),
            time: EventTime(n * 1_000_000),
            sequence: 0,
            origin: Origin::Sensor,
        };
        let hit = Hit { event: Arc::new(event), ..(*hit("A1")).clone() };
        keyed.push(rule, JoinKey(Box::new([Some(format!("k{n}").into())])), Arc::new(hit));
    }

    #[test]
    fn a_million_keys_stay_within_a_cap_of_a_hundred_thousand() {
        let limits = Limits { max_keys: 100_000, ..Limits::default() };
        let mut keyed = Keyed::new(vec![Some(threshold(2, 60))], limits);
        for n in 0..1_000_000 {
            push_nth(&mut keyed, 0, n);
            assert!(keyed.n_keys() <= 100_000);
        }
        let eviction = keyed.eviction(0).unwrap();
        assert_eq!((eviction.n_keys, eviction.n_hits), (900_000, 900_000));
        assert_eq!(eviction.newest, EventTime(899_999 * 1_000_000), "the oldest went");
        assert_eq!(keyed.timers[0].len(), 100_000);
    }

    #[test]
    fn a_rule_that_runs_wild_pushes_out_its_own_and_nobody_elses() {
        let limits = Limits { max_keys_per_rule: 100, ..Limits::default() };
        let mut keyed = Keyed::new(vec![Some(threshold(2, 60)), Some(threshold(2, 60))], limits);
        push_nth(&mut keyed, 1, 0);
        let little = keyed.n_bytes();
        (1..2_000).for_each(|n| push_nth(&mut keyed, 0, n));
        assert_eq!((keyed.n_keys(), keyed.eviction(1)), (101, None));
        assert_eq!(keyed.eviction(0).map(|eviction| eviction.n_keys), Some(1_899));
        assert!(keyed.n_bytes() < 150 * little, "{} bytes of state", keyed.n_bytes());
        keyed.advance(EventTime(i64::MAX));
        assert_eq!((keyed.n_keys(), keyed.n_bytes()), (0, 0), "nothing is counted that is not there");
    }

    #[test]
    fn open_hits_never_pass_their_cap() {
        let limits = Limits { max_open_hits: 50, max_open_hits_per_key: 20, ..Limits::default() };
        let mut table = Table::new(threshold(1_000, 10), limits);
        for n in 0..1_000 {
            table.push_key(&format!("k{}", n % 7), &hit(&format!("A{n}")));
            assert!(table.keyed.n_open_hits <= 50);
        }
    }

    #[test]
    fn many_late_hits_wait_for_one_pass() {
        let mut table = Table::new(threshold(400, 1_000), Limits::default());
        for n in (0..500).rev() {
            table.push(&hit(&format!("A{n}")));
        }
        assert!(table.told.is_empty() && table.keyed.stale.len() == 1);
        let changes = table.keyed.flush();
        let [Change::Put { found, .. }] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((found.n_events, found.start), (500, EventTime(0)));
        assert!(table.keyed.flush().is_empty());
    }

    #[test]
    fn a_hit_out_of_its_place_because_of_a_cap_is_counted() {
        let limits = Limits { max_open_hits_per_key: 100, ..Limits::default() };
        let mut table = Table::new(threshold(1_000, 10_000), limits);
        for n in 1..=200 {
            table.push(&hit(&format!("A{n}")));
        }
        assert_eq!(table.keyed.eviction(0), None, "the oldest are settled, and nothing came before them");
        table.push(&hit("A50.5"));
        table.push(&hit("A150.5"));
        assert_eq!(table.keyed.eviction(0).map(|eviction| eviction.n_hits), Some(1));
    }

    #[test]
    fn for_finals_any_order_of_many_hits_is_the_same() {
        let limits = Limits { max_open_hits_per_key: 100, ..Limits::default() }.for_finals();
        let ends = |order: &mut dyn Iterator<Item = u64>| {
            let mut table = Table::new(threshold(150, 1_000), limits);
            order.for_each(|n| table.push(&hit(&format!("A{n}"))));
            table.flush();
            let found = table.told.values().map(|found| (found.n_events, found.start, found.end));
            (found.collect::<Vec<_>>(), table.keyed.n_evicted_hits())
        };
        let sorted = ends(&mut (0..500));
        assert_eq!(sorted.0[0].0, 500);
        // 199 and 500 have no common factor: every number once.
        assert_eq!(ends(&mut (0..500).map(|n| n * 199 % 500)), sorted);
    }

    fn signal(text: &str) -> Arc<Hit> {
        let plain = hit(text);
        let event = Arc::new(EventRef { origin: Origin::Signal, ..(*plain.event).clone() });
        Arc::new(Hit { event, ..(*plain).clone() })
    }

    #[test]
    fn a_signal_that_is_taken_back_unmakes_what_it_made() {
        let mut table = Table::new(threshold(2, 10), Limits::default());
        for text in ["A1", "A2", "A3"] {
            table.push(&signal(text));
        }
        assert_eq!(table.told.values().map(|found| found.n_events).collect::<Vec<_>>(), [3]);
        for (id, n_left) in [("A2", 1), ("A1", 0)] {
            let changes = table.keyed.retract(id);
            table.take(changes);
            assert_eq!(table.told.len(), n_left, "without {id}");
            assert!(!table.keyed.has_signal(id) && table.keyed.retract(id).is_empty());
        }
        table.push(&signal("A2"));
        assert_eq!(table.told.values().map(|found| found.n_events).collect::<Vec<_>>(), [2]);
        assert_eq!(table.keyed.n_open_hits, 2);
    }

    #[test]
    fn a_signal_that_has_settled_stays() {
        let mut table = Table::new(threshold(2, 10), Limits::default());
        table.push(&signal("A1"));
        table.push(&signal("A2"));
        table.advance(2_000.0);
        let changes = table.keyed.retract("A1");
        table.take(changes);
        assert_eq!((table.told.len(), table.n_gone), (1, 0));
    }

    #[test]
    fn a_key_that_nothing_can_reach_is_forgotten() {
        let mut table = Table::new(threshold(2, 10), Limits::default());
        for n in 0..200 {
            table.push_key(&format!("k{n}"), &hit(&format!("A{n}")));
        }
        table.advance(2_000.0);
        assert_eq!((table.keyed.n_keys(), table.keyed.n_open_hits, table.keyed.timers[0].len()), (0, 0, 0));
    }
}
