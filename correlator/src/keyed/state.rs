//! The state of one (rule, key): the hits that are still open to company, and what they say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rules::event::{EventTime, Span};
use serde::{Deserialize, Serialize};

use super::machine::Stepped;
use super::seldom::{Part, Seldom};
use super::{Anchor, EventRef, Hit, Limits, Match, Shape};
use crate::source::Origin;

/// What became of a match, seen from outside.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    Put(Arc<Match>),
    Gone(Anchor),
}

/// A late hit among so many is worked in at once. Among more it waits for [`KeyState::refresh`], so that a thousand late
/// hits cost one pass over the key's history and not a thousand.
const EAGER: usize = 64;

/// Of a long history, the state is kept as it was so many hits ago. What comes a little out of order, as calls of one second
/// do, is worked in from there and not from the beginning. Small in tests, so that all of them go through it.
const NEAR: usize = if cfg!(test) { 2 } else { 64 };
/// A history is long, and what came since the state was kept is much.
const FAR: usize = 4 * NEAR;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyState {
    /// Everything before `hits`, for good. None: it amounts to nothing.
    base: Option<Box<Stepped>>,
    /// In event order. An earlier event may still come in between.
    hits: VecDeque<Arc<Hit>>,
    /// `base` after all of `hits`. Not written: it follows from the two.
    #[serde(skip, default = "Stepped::blank")]
    tip: Stepped,
    /// Not written: it follows, too.
    #[serde(skip)]
    mark: Option<Box<Mark>>,
    disorder: Seldom<Disorder>,
    /// What the world has been told.
    shown: BTreeMap<Anchor, Arc<Match>>,
    newest: EventTime,
    /// How many of the hits, those that wait included, can begin something. Not written: it follows.
    #[serde(skip)]
    n_beginning: usize,
}

/// `base` after the first so many of `hits`, of which there are [`NEAR`] more at least: the last of them may yet be replaced.
#[derive(Debug, Clone)]
struct Mark {
    n_hits: usize,
    state: Stepped,
}

/// What came otherwise than in event order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Disorder {
    /// Late hits that wait to be put among the others: see [`EAGER`].
    late: Vec<Arc<Hit>>,
    /// The tip lags behind the hits.
    is_stale: bool,
    /// The last hit that was folded into the base because there were too many, and not because it was its time.
    folded_early: Option<EventTime>,
    /// Hits that came before it.
    n_misplaced: u64,
}

impl Part for Disorder {
    fn is_default(&self) -> bool {
        self.late.is_empty() && !self.is_stale && self.folded_early.is_none() && self.n_misplaced == 0
    }
}

impl KeyState {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            base: None,
            hits: VecDeque::new(),
            tip: Stepped::new(shape),
            mark: None,
            disorder: Seldom::default(),
            shown: BTreeMap::new(),
            newest: EventTime(i64::MIN),
            n_beginning: 0,
        }
    }

    pub(crate) fn push(
        &mut self,
        shape: &Shape,
        hit: Arc<Hit>,
        limits: &Limits,
        watermark: Option<EventTime>,
        turns: &mut Vec<Turn>,
    ) {
        self.newest = self.newest.max(hit.time());
        if let Some(disorder) = self.disorder.get_mut()
            && disorder.folded_early.is_some_and(|folded| hit.time() < folded)
        {
            disorder.n_misplaced += 1;
        }
        let (is_asleep, begins) = (self.is_asleep(), shape.begins(&hit));
        self.n_beginning += usize::from(begins);
        let is_last = self.hits.back().is_none_or(|last| last.order() < hit.order());
        if is_asleep && !self.is_stale() && !(begins && self.is_new()) {
            self.lay_by(hit);
            if begins {
                self.rerun(shape, limits);
                self.tell_all(watermark, turns);
            }
        } else if is_last && !self.is_stale() {
            self.tip.step(shape, &hit, limits);
            self.tip.settle_soon(shape, limits);
            self.keep(shape, hit);
            self.tell_touched(watermark, turns);
        } else {
            let disorder = self.disorder.make();
            disorder.late.push(hit);
            disorder.is_stale = true;
            if self.n_hits() <= EAGER {
                self.refresh(shape, limits, watermark, turns);
            }
        }
        if self.n_hits() > limits.max_open_hits_per_key {
            self.work_in(shape);
            while self.hits.len() > limits.max_open_hits_per_key {
                let disorder = self.disorder.make();
                disorder.folded_early = disorder.folded_early.max(self.hits.front().map(|hit| hit.time()));
                self.fold_first(shape, limits);
            }
        }
    }

    /// Takes an event back, where its hit is still open to company. One that has settled stays.
    pub(crate) fn retract(
        &mut self,
        shape: &Shape,
        event_id: &str,
        limits: &Limits,
        watermark: Option<EventTime>,
        turns: &mut Vec<Turn>,
    ) {
        let n_before = self.n_hits();
        self.hits.retain(|hit| &*hit.event.id != event_id);
        if let Some(disorder) = self.disorder.get_mut() {
            disorder.late.retain(|hit| &*hit.event.id != event_id);
        }
        if self.n_hits() == n_before {
            return;
        }
        self.count_beginning(shape);
        self.mark = None;
        self.disorder.make().is_stale = true;
        if self.n_hits() <= EAGER {
            self.refresh(shape, limits, watermark, turns);
        }
    }

    /// Whether the hits come to nothing, in whatever order: none of them begins anything, and nothing has begun before. Then
    /// they are only kept, and looked at once one comes that does.
    fn is_asleep(&self) -> bool {
        self.n_beginning == 0
            && self.shown.is_empty()
            && self.base.as_ref().is_none_or(|base| base.has_begun_nothing())
    }

    fn is_new(&self) -> bool {
        self.hits.is_empty() && self.base.is_none()
    }

    /// Puts a hit in its place, and looks no further.
    fn lay_by(&mut self, hit: Arc<Hit>) {
        let at = match self.hits.back() {
            Some(last) if last.order() >= hit.order() => {
                self.hits.partition_point(|held| held.order() < hit.order())
            }
            _ => self.hits.len(),
        };
        match self.hits.get(at) {
            Some(held) if held.order() == hit.order() => {}
            _ => self.hits.insert(at, hit),
        }
    }

    fn count_beginning(&mut self, shape: &Shape) {
        self.n_beginning = self.hits.iter().chain(self.late()).filter(|hit| shape.begins(hit)).count();
    }

    fn is_stale(&self) -> bool {
        self.disorder.get().is_some_and(|disorder| disorder.is_stale)
    }

    fn late(&self) -> &[Arc<Hit>] {
        self.disorder.get().map_or(&[], |disorder| &disorder.late)
    }

    /// The alerts among the hits that are open to company.
    pub(crate) fn signals(&self) -> impl Iterator<Item = &Arc<EventRef>> {
        let hits = self.hits.iter().chain(self.late()).map(|hit| &hit.event);
        hits.filter(|event| event.origin == Origin::Signal)
    }

    /// The newest hit. Where it makes the one before it superfluous, it takes its place.
    fn keep(&mut self, shape: &Shape, hit: Arc<Hit>) {
        let n = self.hits.len();
        // A hit that may be taken back makes no other superfluous.
        if n >= 2 && hit.event.origin != Origin::Signal && shape.is_redundant(&self.hits[n - 2], &hit) {
            self.hits[n - 1] = hit;
        } else {
            self.hits.push_back(hit);
        }
    }

    /// Works in the late hits that wait, and computes what was put off.
    pub(crate) fn refresh(
        &mut self,
        shape: &Shape,
        limits: &Limits,
        watermark: Option<EventTime>,
        turns: &mut Vec<Turn>,
    ) {
        if !self.is_behind(shape) {
            return;
        }
        if self.is_stale() {
            self.rerun(shape, limits);
        }
        self.tip.settle(shape, limits);
        self.tell_all(watermark, turns);
    }

    /// Whether [`Self::refresh`] has something to do.
    pub(crate) fn is_behind(&self, shape: &Shape) -> bool {
        self.is_stale() || self.tip.is_put_off(shape)
    }

    /// Time has passed: tells the absences that are now certain, and closes what no event can reach any more.
    pub(crate) fn advance(
        &mut self,
        shape: &Shape,
        limits: &Limits,
        watermark: EventTime,
        turns: &mut Vec<Turn>,
    ) {
        if self.is_stale() {
            self.rerun(shape, limits);
        }
        self.tip.settle(shape, limits);
        self.tell_all(Some(watermark), turns);
        let closed = watermark - limits.grace;
        while self.hits.front().is_some_and(|hit| hit.time() < closed) {
            self.fold_first(shape, limits);
        }
        if let Some(base) = &mut self.base {
            base.settle(shape, limits);
            base.expire(shape, closed);
        }
        // Its count of what caps took is no part of a new one.
        self.base.take_if(|base| base.n_evicted == 0 && base.is_empty(shape));
        if self.hits.is_empty() {
            self.hits = VecDeque::new();
        }
        self.tip.expire(shape, closed);
        if let Some(mark) = &mut self.mark {
            // What was put off in it could not be computed any more behind this.
            mark.state.settle(shape, limits);
            mark.state.matches.touched.clear();
            mark.state.expire(shape, closed);
        }
        let kept = &self.tip.matches.by_anchor;
        self.shown.retain(|anchor, _| kept.contains_key(anchor));
    }

    /// What was read back: computes what is not written. None if it is no state of such a rule.
    pub(crate) fn resumed(mut self, shape: &Shape, limits: &Limits) -> Option<Self> {
        if self.base.as_ref().is_some_and(|base| !base.is_of(shape)) {
            return None;
        }
        self.count_beginning(shape);
        self.rerun(shape, limits);
        self.tip.matches.touched.clear();
        Some(self)
    }

    /// Puts late hits in their places.
    fn work_in(&mut self, shape: &Shape) {
        let late = self.disorder.get_mut().map(|disorder| std::mem::take(&mut disorder.late));
        let Some(mut late) = late.filter(|late| !late.is_empty()) else { return };
        late.sort_by(|a, b| a.order().cmp(&b.order()));
        let first = late[0].order();
        let from = self.hits.partition_point(|hit| hit.order() < first);
        self.mark.take_if(|mark| from < mark.n_hits);
        let behind = self.hits.split_off(from);
        let mut all = Vec::with_capacity(behind.len() + late.len());
        let mut late = late.into_iter().peekable();
        for hit in behind {
            while let Some(first) = late.next_if(|late| late.order() < hit.order()) {
                all.push(first);
            }
            all.push(hit);
        }
        all.extend(late);
        let n_all = all.len();
        all.dedup_by(|a, b| a.order() == b.order());
        let has_repeated = all.len() < n_all;
        self.hits.extend(all);
        if has_repeated {
            self.count_beginning(shape);
        }
    }

    fn rerun(&mut self, shape: &Shape, limits: &Limits) {
        self.work_in(shape);
        if let Some(disorder) = self.disorder.get_mut() {
            disorder.is_stale = false;
        }
        self.disorder.tidy();
        if self.is_asleep() {
            (self.tip, self.mark) = (Stepped::new(shape), None);
            return;
        }
        let from = match &self.mark {
            Some(mark) => {
                self.tip = mark.state.clone();
                mark.n_hits
            }
            None => {
                self.tip = self.base.as_deref().cloned().unwrap_or_else(|| Stepped::new(shape));
                0
            }
        };
        let next_mark = self.hits.len().saturating_sub(NEAR);
        let is_far = self.hits.len() - from > FAR;
        for (idx, hit) in self.hits.iter().enumerate().skip(from) {
            if is_far && idx == next_mark {
                let mut state = self.tip.clone();
                state.matches.touched.clear();
                self.mark = Some(Box::new(Mark { n_hits: idx, state }));
            }
            self.tip.step(shape, hit, limits);
        }
        self.tip.settle_soon(shape, limits);
    }

    fn fold_first(&mut self, shape: &Shape, limits: &Limits) {
        if let Some(hit) = self.hits.pop_front() {
            self.n_beginning -= usize::from(shape.begins(&hit)).min(self.n_beginning);
            let base = self.base.get_or_insert_with(|| Box::new(Stepped::new(shape)));
            base.step(shape, &hit, limits);
            base.matches.touched.clear();
            self.mark.take_if(|mark| mark.n_hits <= 1);
            if let Some(mark) = &mut self.mark {
                mark.n_hits -= 1;
            }
        }
    }

    fn tell_touched(&mut self, watermark: Option<EventTime>, turns: &mut Vec<Turn>) {
        for anchor in std::mem::take(&mut self.tip.matches.touched) {
            self.tell(anchor, watermark, turns);
        }
    }

    fn tell_all(&mut self, watermark: Option<EventTime>, turns: &mut Vec<Turn>) {
        self.tip.matches.touched.clear();
        let mut anchors: Vec<Anchor> = self.shown.keys().cloned().collect();
        anchors.extend(self.tip.matches.by_anchor.keys().cloned());
        anchors.sort();
        anchors.dedup();
        for anchor in anchors {
            self.tell(anchor, watermark, turns);
        }
    }

    fn tell(&mut self, anchor: Anchor, watermark: Option<EventTime>, turns: &mut Vec<Turn>) {
        let holds = self.tip.matches.by_anchor.get(&anchor).filter(|found| {
            // What was told stays told until it is disproved, even where the watermark stands back again.
            found.is_certain(watermark) || self.shown.contains_key(&anchor)
        });
        match (holds, self.shown.get(&anchor)) {
            (Some(found), Some(shown)) if Arc::ptr_eq(&found.found, shown) || found.found.is_same(shown) => {}
            (Some(found), _) => {
                self.shown.insert(anchor, Arc::clone(&found.found));
                turns.push(Turn::Put(Arc::clone(&found.found)));
            }
            (None, Some(_)) => {
                self.shown.remove(&anchor);
                turns.push(Turn::Gone(anchor));
            }
            (None, None) => {}
        }
    }

    /// When the passing of time alone changes something here.
    pub(crate) fn next_visit(&self, shape: &Shape, limits: &Limits) -> EventTime {
        let told = |anchor: &Anchor| self.shown.contains_key(anchor);
        let open = self.tip.matches.by_anchor.iter().filter(|(anchor, _)| !told(anchor));
        let due = open.filter_map(|(_, found)| found.due).min();
        let fold = self.hits.front().map(|hit| hit.time() + limits.grace);
        let end = self.newest + shape.span() + shape.span() + limits.grace + Span::from_secs(1);
        end.min(due.unwrap_or(end)).min(fold.unwrap_or(end))
    }

    pub(crate) fn is_empty(&self, shape: &Shape) -> bool {
        self.n_hits() == 0
            && self.base.as_ref().is_none_or(|base| base.is_empty(shape))
            && self.tip.is_empty(shape)
    }

    pub(crate) fn n_evicted(&self) -> u64 {
        self.tip.n_evicted + self.disorder.get().map_or(0, |disorder| disorder.n_misplaced)
    }

    pub(crate) fn newest(&self) -> EventTime {
        self.newest
    }

    pub(crate) fn n_hits(&self) -> usize {
        self.hits.len() + self.late().len()
    }

    /// A term was seen at a time from before anything that is open here. Says whether that is news.
    pub(crate) fn learn_term(&mut self, shape: &Shape, time: EventTime) -> bool {
        let is_before = self.hits.iter().chain(self.late()).all(|hit| time < hit.time());
        if !is_before || (self.newest >= time && self.n_hits() == 0) {
            return false;
        }
        let base = self.base.get_or_insert_with(|| Box::new(Stepped::new(shape)));
        base.learn_term(time);
        self.mark = None;
        match self.n_hits() {
            0 => self.tip.learn_term(time),
            // What is open may be no news any more.
            _ => self.disorder.make().is_stale = true,
        }
        self.newest = self.newest.max(time);
        true
    }

    pub(crate) fn seed_term(&mut self, shape: &Shape, first: Option<EventTime>, last: EventTime) {
        let base = self.base.get_or_insert_with(|| Box::new(Stepped::new(shape)));
        base.seed_term(first, last);
        self.mark = None;
        self.tip.seed_term(first, last);
        self.newest = self.newest.max(last);
    }
}
