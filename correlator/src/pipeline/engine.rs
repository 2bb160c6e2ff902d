//! One engine: records and watermarks in, alert changes out. No clock, no I/O.

use std::sync::Arc;
use std::time::Duration;

use rules::event::{EventTime, Span};
use rules::program::{Program, RuleIdx};
use rules::schema::Schema;
use rustc_hash::FxHashMap;

use super::dedup::{Content, Dedup, Seen, ShortId, short_id};
use super::feedback::Feedback;
use crate::alert::absence::{self, Claim};
use crate::alert::blind::{Blind, Heard, HostLoss};
use crate::alert::book::{Book, RuleFacts, SavedAlert, Told, View, Weighed};
use crate::alert::cast::CastFields;
use crate::alert::suppression::{Member, MemberChange};
use crate::alert::{AlertChange, AlertId, AlertState};
use crate::archive::{Archive, Need, Shelf, Unwritten};
use crate::context::Contexts;
use crate::detect::{self, Detect, Detected};
use crate::history::History;
use crate::identity::{Changes, Identities, Row};
use crate::keyed::{
    Anchor, Change, EventRef, Eviction, Evidence, JoinKey, Keyed, Limits, Match, Shape, Stage, Unsaved,
};
use crate::kinds;
use crate::source::{Record, Rejected, RejectedKind};
use crate::stage::Prepared;
use crate::stats::{Fate, Stats};
use crate::store::{KeptMember, ReadKey, SeenId};

/// Which words of an alert's life are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every revision, as it comes.
    Revisions,
    /// Only what stands in the end.
    Finals,
}

/// How many ids are remembered against repetition, and for how long after their event.
const MAX_IDS: usize = 5_000_000;
/// Hosts and keys whose facts are remembered.
pub(crate) const MAX_IDENTITIES: usize = 1_200_000;
/// Events of one id and two contents that are told one by one. All are counted.
const MAX_CONFLICTS_TOLD: u32 = 20;
const DEDUP_RETENTION: Span = Span::from_secs(24 * 3_600);

/// What has to outlive a crash, since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Lasting {
    pub(crate) ids: Vec<SeenId>,
    /// Events that state rests on.
    pub(crate) held: Unwritten,
    pub(crate) keys: Unsaved,
    pub(crate) open_alerts: Vec<SavedAlert>,
    pub(crate) evictions: Vec<(u32, Eviction)>,
    /// Since when new-terms rules know their events.
    pub(crate) since: Vec<(u32, EventTime)>,
    pub(crate) heard: Vec<Heard>,
    pub(crate) losses: Vec<HostLoss>,
    pub(crate) identities: Changes,
    pub(crate) suppression: Vec<MemberChange>,
}

/// What became of a piece of an earlier run's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    Taken,
    /// Its rule is gone, or was edited and means something else now.
    OfAnotherRule,
    /// It is not what its rule writes: the file was damaged, or another build wrote it.
    Unreadable,
}

impl From<bool> for Restored {
    fn from(is_read: bool) -> Self {
        if is_read { Self::Taken } else { Self::Unreadable }
    }
}

/// A rule that feeds rules over alerts in place of one with exceptions, by their ids.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) id: String,
    pub(super) of: String,
}

#[derive(Debug)]
pub struct Engine {
    pub(super) program: Arc<Program>,
    schema: Arc<Schema>,
    pub(super) facts: Vec<RuleFacts>,
    /// How long what feeds delivered is remembered, beside the grace.
    heard_for: Span,
    pub(super) limits: Limits,
    mode: Mode,
    pub(super) detect: Detect,
    pub(super) keyed: Keyed,
    contexts: Contexts,
    pub(super) archive: Archive,
    pub(super) book: Book,
    blind: Blind,
    identities: Identities,
    cast: CastFields,
    dedup: Dedup,
    stats: Stats,
    watermark: Option<EventTime>,
    /// The minute of the watermark when absences were last weighed.
    weighed_at: Option<i64>,
    pub(super) feedback: Option<Feedback>,
    history: History,
    lasting: Option<Lasting>,
    /// While state is restored: windows that an earlier run closed, by when they ended. Some of their events may be left,
    /// and would make another window.
    settled: FxHashMap<(u32, JoinKey), EventTime>,
    conflicts: Vec<Rejected>,
    n_conflicts_told: u32,
    /// Keys, hits, context and held events lost, as of when the account was last brought forward.
    lost: [u64; 4],
    rules_by_id: FxHashMap<Arc<str>, u32>,
}

impl Engine {
    pub fn new(program: Arc<Program>, schema: &Schema, limits: Limits, mode: Mode) -> Self {
        let limits = match mode {
            Mode::Revisions => limits,
            Mode::Finals => limits.for_finals(),
        };
        let rules = program.rules();
        let shapes: Vec<Option<Shape>> =
            rules.iter().map(|rule| detect::shape(rule, schema, &limits)).collect();
        // A first sight is an event of its own: its history does not keep the alert open.
        let span = |shape: &Option<Shape>| match shape {
            None | Some(Shape::Terms(_)) => Span(0),
            Some(shape) => shape.span(),
        };
        let claims: Vec<Option<Claim>> = (0_u32..)
            .zip(rules)
            .map(|(idx, rule)| Claim::of(rule, &program.missing(RuleIdx(idx)), schema, &limits))
            .collect();
        let mut spans: Vec<Span> = shapes.iter().map(span).collect();
        let joins: Vec<bool> =
            (0..rules.len() as u32).map(|idx| kinds::is_join(schema, &program, RuleIdx(idx))).collect();
        let feedback = Feedback::new(&program, schema, &spans, &claims, &joins, limits);
        let over_alerts = feedback.as_ref().map(|feedback| feedback.over_alerts.clone()).unwrap_or_default();
        for (span, _) in spans.iter_mut().zip(&over_alerts.rules).filter(|(_, is_over)| **is_over) {
            *span = *span + over_alerts.lag;
        }
        let facts = |(idx, claim): (u32, Option<Claim>)| {
            let at = idx as usize;
            let (rule, span, shape) = (&rules[at], spans[at], shapes[at].as_ref());
            let longest = rule.contexts.iter().map(|context| context.after).max().unwrap_or_default();
            let key_names = detect::key_names(rule, schema);
            RuleFacts {
                fingerprint: detect::fingerprint(rule, shape, &key_names),
                key_names,
                id: rule.id.as_str().into(),
                open_for: span,
                // An alert closes this long after its first event at the latest, and needs all of them till then.
                held_for: span + span + longest,
                claim,
                is_join: joins[idx as usize],
            }
        };
        let facts: Vec<RuleFacts> = (0_u32..).zip(claims).map(facts).collect();
        // An absence may ask for what was heard before it as long as its alert is open.
        let asked = facts.iter().filter(|facts| facts.claim.is_some());
        let asked = asked.map(|facts| facts.held_for + absence::LOOK + absence::LOOK).max();
        let mut engine = Self {
            rules_by_id: (0_u32..).zip(rules).map(|(idx, rule)| (rule.id.as_str().into(), idx)).collect(),
            facts,
            heard_for: asked.unwrap_or_default().max(limits.open_span),
            contexts: Contexts::new(rules, &spans, &joins, limits),
            keyed: Keyed::new(shapes, limits),
            archive: Archive::default(),
            book: Book::default(),
            blind: Blind::new(schema),
            identities: Identities::new(schema, MAX_IDENTITIES),
            cast: CastFields::new(schema),
            dedup: Dedup::new(MAX_IDS, DEDUP_RETENTION),
            detect: Detect::new(Arc::clone(&program)),
            stats: Stats::default(),
            watermark: None,
            weighed_at: None,
            lasting: None,
            settled: FxHashMap::default(),
            conflicts: Vec::new(),
            n_conflicts_told: 0,
            lost: [0; 4],
            feedback,
            history: History::new(&program),
            program,
            schema: Arc::new(schema.clone()),
            limits,
            mode,
        };
        engine.keyed.set_over_alerts(over_alerts);
        // Alerts that others spoke for stay silent for as long as they are open.
        engine.book.suppressions.open_for = limits.of_join(joins.contains(&true)).grace + absence::LOOK;
        engine.keyed.set_joins(joins);
        engine
    }

    /// Counts an object that a source was told not to read.
    pub fn leave_out(&mut self, line: &str) {
        *self.stats.by_drop.entry(line.to_owned()).or_default() += 1;
    }

    /// Takes one event. What is new is told at once; what changes, with a [`Self::tick`].
    pub fn push(&mut self, source: &Arc<str>, mut record: Record) -> Vec<AlertChange> {
        let prepared = record.prepared.take().filter(|prepared| prepared.is_of(&self.program));
        let prepared = match prepared {
            Some(prepared) => *prepared,
            None => Prepared::new(&self.program, &mut self.detect, &record),
        };
        let Prepared { id: short, content, drop, detected, .. } = prepared;
        let fate = self.fate(source, &record, short, content, drop);
        self.stats.count(source, fate);
        if record.claimed.is_some() {
            self.stats.count_misdated(source);
        }
        if fate != Fate::Duplicate
            && let Some(lasting) = &mut self.lasting
        {
            lasting.ids.push(SeenId { id: short, time: record.event.time, content: content.get() });
        }
        let counts = match fate {
            Fate::Evaluated | Fate::Late => true,
            // It may be what a rule would say never came.
            Fate::Dropped => !detected.keyed.is_empty(),
            _ => false,
        };
        if !counts {
            return Vec::new();
        }
        self.evaluate(&Arc::new(record), detected);
        self.keep_within();
        match self.mode {
            Mode::Revisions => self.tell(Book::tell_fresh),
            Mode::Finals => Vec::new(),
        }
    }

    /// Events that came under the id of another and say something else, since this was last asked. They are counted.
    pub fn take_conflicts(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.conflicts)
    }

    /// Counts what a source could not read.
    pub fn reject(&mut self, rejected: &Rejected) {
        self.stats.count_rejected(&rejected.source, rejected.kind);
    }

    fn fate(
        &mut self,
        source: &Arc<str>,
        record: &Record,
        short: ShortId,
        content: Content,
        drop: Option<String>,
    ) -> Fate {
        match self.dedup.insert(short, record.event.time, Some(content)) {
            Seen::Never => {}
            Seen::Before => return Fate::Duplicate,
            Seen::AsAnother => {
                self.stats.count_conflicting(source);
                if self.n_conflicts_told < MAX_CONFLICTS_TOLD {
                    self.n_conflicts_told += 1;
                    self.conflicts.push(conflict(source, record));
                }
                return Fate::Duplicate;
            }
        }
        self.blind.note(record);
        self.history.note(&self.program, &record.event);
        // What an event says about who is who is kept even where the event is not.
        self.identities.learn(record);
        if let Some(line) = drop {
            *self.stats.by_drop.entry(line).or_default() += 1;
            return Fate::Dropped;
        }
        // What it needs beside it may be gone, and so may be the memory of having seen it. Its alerts keep their names.
        if self.watermark.is_some_and(|watermark| record.event.time < watermark - DEDUP_RETENTION) {
            return Fate::Late;
        }
        Fate::Evaluated
    }

    fn evaluate(&mut self, record: &Arc<Record>, mut detected: Detected) {
        let time = record.event.time;
        self.explain_with(record, std::mem::take(&mut detected.contexts));
        for rule in detected.matches {
            self.archive.hold(record, time + self.limits.grace, Need::State);
            self.put(rule, &JoinKey::default(), Arc::new(single(record)));
        }
        for (rule, key, hit) in detected.keyed {
            if !self.settled.is_empty()
                && self.settled.get(&(rule, key.clone())).is_some_and(|through| time <= *through)
            {
                continue;
            }
            let until = time + self.facts[rule as usize].held_for + self.grace_of(rule);
            self.archive.hold(record, until, Need::State);
            let changes = self.keyed.push(rule, key, hit);
            self.take(changes);
        }
    }

    /// Lets go of the oldest state, or of the oldest events where those are most of it, while both are too much.
    fn keep_within(&mut self) {
        while self.keyed.n_bytes() + self.archive.n_bytes() > self.limits.max_bytes {
            let are_events_more = self.archive.n_bytes() > self.keyed.n_bytes();
            let has_gone = (are_events_more && self.archive.evict_some()) || self.keyed.evict_oldest();
            if !has_gone {
                break;
            }
        }
    }

    fn evaluate_contexts(&mut self, record: &Arc<Record>) {
        let detected = self.detect.detect(record);
        self.explain_with(record, detected.contexts);
    }

    fn explain_with(&mut self, record: &Arc<Record>, contexts: Vec<(u32, u16)>) {
        let time = record.event.time;
        // Contexts of many rules share a pool: what happens to it happens once.
        let mut pools: Vec<usize> = Vec::new();
        let mut kept_for = None;
        for (rule, context) in contexts {
            let reads = &self.contexts.reads(rule)[usize::from(context)];
            kept_for = kept_for.max(Some(reads.kept_for));
            if !pools.contains(&reads.pool) {
                pools.push(reads.pool);
            }
        }
        let Some(kept_for) = kept_for else { return };
        self.archive.hold(record, time + kept_for + self.limits.grace, Need::Context);
        let event = Arc::new(EventRef::of(record));
        for pool in pools {
            let links = self.contexts.add(pool, &event, record);
            for link in &links {
                if self.contexts.is_full(pool, link) {
                    let shown = self.book.shown(&self.contexts, pool, link);
                    self.contexts.make_room(pool, link, &shown);
                }
            }
            let (book, view) = self.book_and_view();
            book.context_came(&view, pool, &links, time);
        }
    }

    pub(super) fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, found } => self.put(key.0, &key.1, found),
                Change::Gone { key, anchor } => self.gone(key.0, &key.1, &anchor),
            }
        }
    }

    pub(super) fn gone(&mut self, rule: u32, key: &JoinKey, anchor: &Anchor) {
        self.take_back(rule, key, anchor);
        let (book, view) = self.book_and_view();
        book.gone(&view, rule, key, anchor);
    }

    /// How long after the watermark a late event still counts for the rule.
    fn grace_of(&self, rule: u32) -> Span {
        self.limits.of_join(self.facts[rule as usize].is_join).grace
    }

    pub(super) fn put(&mut self, rule: u32, key: &JoinKey, found: Arc<Match>) {
        match self.view().withheld(rule, &found) {
            None => self.feed_back(rule, key, &found),
            Some(_) => self.take_back(rule, key, &found.anchor),
        }
        let grace = self.grace_of(rule);
        let (book, view) = self.book_and_view();
        let Some(closes) = book.put(&view, rule, key, Arc::clone(&found), grace) else { return };
        // All of it lasts as long as the alert: part of the evidence would be another alert after a restart.
        for item in &found.evidence {
            self.archive.hold_longer(&item.event, closes);
        }
    }

    /// No event before `watermark` is expected any more. Tells what is new by that, and the last word on what is over.
    pub fn advance(&mut self, watermark: EventTime) -> Vec<AlertChange> {
        self.watermark = self.watermark.max(Some(watermark));
        let changes = self.keyed.advance(watermark);
        self.take(changes);
        // What vouches for absences is known to the minute.
        let minute = Some(watermark.0.div_euclid(60_000_000_000));
        if self.weighed_at != minute || self.book.is_closing(watermark) {
            self.weighed_at = minute;
            self.weigh();
        }
        let changes = self.keyed.advance_over_alerts(watermark);
        self.take(changes);
        let told = match self.mode {
            Mode::Revisions => self.tell(|book, view| {
                let mut told = book.tell_fresh(view);
                told.extend(book.close(view, watermark));
                told
            }),
            Mode::Finals => self.tell(|book, view| book.close_finally(view, watermark)),
        };
        self.contexts.expire(watermark);
        self.archive.expire(watermark);
        self.dedup.expire(watermark);
        self.blind.expire(watermark - self.limits.grace.max(self.limits.join_grace) - self.heard_for);
        for ((rule, why), n) in self.book.take_withheld() {
            let rule = &self.program.rules()[rule as usize];
            let of = (rule.id.clone(), rule.name.clone(), why.to_owned());
            *self.stats.withheld.entry(of).or_default() += n;
        }
        self.count_lost();
        told
    }

    /// The wall clock has moved on to `now`, counted from any fixed start. Tells changes of open alerts: each at a pace of
    /// its own, slower the longer it goes on changing, and no more of them than leaves time for sources.
    pub fn tick(&mut self, now: Duration) -> Vec<AlertChange> {
        self.work_in();
        match self.mode {
            Mode::Revisions => self.tell(|book, view| book.tell_due(view, now)),
            Mode::Finals => Vec::new(),
        }
    }

    /// Tells all that has changed since, without time having passed.
    pub fn flush(&mut self) -> Vec<AlertChange> {
        self.work_in();
        match self.mode {
            Mode::Revisions => self.tell(Book::tell_dirty),
            Mode::Finals => Vec::new(),
        }
    }

    /// Works in what waits: of all rules, then of those over alerts what that is news to.
    fn work_in(&mut self) {
        for _ in 0..2 {
            let changes = self.keyed.flush();
            self.take(changes);
            self.weigh();
        }
    }

    /// Asks again what vouches for absences: one that is withheld is no event to rules over alerts either.
    fn weigh(&mut self) {
        let (book, view) = self.book_and_view();
        for Weighed { rule, key, found, is_withheld } in book.weigh_all(&view) {
            if is_withheld {
                self.take_back(rule, &key, &found.anchor);
            } else {
                self.feed_back(rule, &key, &found);
            }
        }
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Book, &View<'_>) -> Vec<AlertChange>) -> Vec<AlertChange> {
        let (book, view) = self.book_and_view();
        let changes = tell(book, &view);
        for change in &changes {
            match change.state {
                AlertState::Open | AlertState::Final => self.stats.n_alerts += 1,
                AlertState::Revised => self.stats.n_revisions += 1,
                AlertState::Withdrawn => self.stats.n_withdrawn += 1,
            }
        }
        changes
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            program: &self.program,
            schema: &self.schema,
            watermark: self.watermark.filter(|watermark| *watermark < EventTime(i64::MAX)),
            rules: self.program.rules(),
            facts: &self.facts,
            contexts: &self.contexts,
            archive: &self.archive,
            keyed: &self.keyed,
            blind: &self.blind,
            identities: &self.identities,
            history: &self.history,
            cast: &self.cast,
        }
    }

    fn book_and_view(&mut self) -> (&mut Book, View<'_>) {
        let view = View {
            program: &self.program,
            schema: &self.schema,
            watermark: self.watermark.filter(|watermark| *watermark < EventTime(i64::MAX)),
            rules: self.program.rules(),
            facts: &self.facts,
            contexts: &self.contexts,
            archive: &self.archive,
            keyed: &self.keyed,
            blind: &self.blind,
            identities: &self.identities,
            history: &self.history,
            cast: &self.cast,
        };
        (&mut self.book, view)
    }

    /// An empty engine like this one, of another set of rules.
    pub(crate) fn with_program(&self, program: Arc<Program>, schema: &Schema) -> Self {
        Self::new(program, schema, self.limits, self.mode)
    }

    fn lost_so_far(&self) -> [u64; 4] {
        [
            self.keyed.n_evicted_keys(),
            self.keyed.n_evicted_hits(),
            self.contexts.n_evicted,
            self.archive.n_evicted(),
        ]
    }

    /// Adds what was lost since: rules that go with a reload take their own counts along, and a counter never falls.
    fn count_lost(&mut self) {
        let now = self.lost_so_far();
        let stats = &mut self.stats;
        let counters = [
            &mut stats.n_keys_lost,
            &mut stats.n_hits_lost,
            &mut stats.n_context_lost,
            &mut stats.n_events_lost,
        ];
        for (counter, (now, before)) in counters.into_iter().zip(now.into_iter().zip(self.lost)) {
            *counter += now.saturating_sub(before);
        }
        self.lost = now;
    }

    /// Goes on with the other's account of the run.
    pub(crate) fn take_account_of(&mut self, other: &Self) {
        self.stats = other.stats.clone();
        // What was taken back from the store is in the account already.
        self.lost = self.lost_so_far();
        self.n_conflicts_told = other.n_conflicts_told;
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    pub fn n_open_alerts(&self) -> usize {
        self.book.n_open()
    }

    /// State given up for want of room, by rule.
    pub(crate) fn evictions(&self) -> impl Iterator<Item = (u32, Eviction)> {
        self.keyed.evictions()
    }

    pub fn n_keys(&self) -> usize {
        self.keyed.n_keys()
    }

    /// What state and the events it rests on take of memory, about.
    pub fn n_bytes(&self) -> u64 {
        self.keyed.n_bytes() + self.archive.n_bytes()
    }

    /// The events that open alerts show beside their evidence.
    pub(crate) fn shown_context(&self) -> Vec<ShortId> {
        self.book.shown_context(&self.contexts).iter().map(|event| short_id(&event.id)).collect()
    }

    pub fn n_context_events(&self) -> usize {
        self.contexts.n_held()
    }

    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// From here on, keeps account of the keys that the store has: what is evicted while state is restored goes there, too.
    pub(crate) fn keep_places(&mut self) {
        self.keyed.keep_unsaved();
    }

    /// From here on, keeps account of what has to outlive a crash.
    pub(crate) fn keep_lasting(&mut self) {
        self.lasting.get_or_insert_default();
        self.settled = FxHashMap::default();
        self.keyed.keep_unsaved();
        self.book.keep_unsaved();
        self.blind.unwritten.get_or_insert_default();
        self.book.suppressions.unwritten.get_or_insert_default();
        self.identities.keep_unwritten();
        self.history.keep_unwritten();
    }

    /// Events are read again from there once they are written.
    pub(crate) fn set_shelf(&mut self, shelf: Box<dyn Shelf>) {
        self.archive.set_shelf(shelf);
    }

    /// What was held so far is written already.
    pub(crate) fn drop_held(&mut self) {
        self.archive.take_unwritten();
    }

    pub(crate) fn take_lasting(&mut self) -> Lasting {
        let mut lasting = self.lasting.as_mut().map(std::mem::take).unwrap_or_default();
        lasting.held = self.archive.take_unwritten();
        lasting.heard = self.blind.unwritten.as_mut().map(std::mem::take).unwrap_or_default();
        let suppression = &mut self.book.suppressions.unwritten;
        lasting.suppression = suppression.as_mut().map(std::mem::take).unwrap_or_default();
        lasting.losses = std::mem::take(&mut self.blind.unwritten_losses);
        lasting.keys = self.keyed.take_unsaved();
        lasting.since = self.history.take_unwritten();
        lasting.open_alerts = self.book.take_unsaved();
        lasting.evictions = self.keyed.evictions().collect();
        lasting.identities = self.identities.take_unwritten();
        lasting
    }

    /// What names a rule's state for as long as the rule means the same.
    pub(crate) fn fingerprint(&self, rule: u32) -> &[u8; 16] {
        &self.facts[rule as usize].fingerprint
    }

    pub(crate) fn rule_id(&self, rule: u32) -> Arc<str> {
        Arc::clone(&self.facts[rule as usize].id)
    }

    /// The rule of that id, if it still means what it meant when its state was written.
    fn same_rule(&self, rule_id: &str, fingerprint: &[u8]) -> Option<u32> {
        self.rule_idx(rule_id).filter(|rule| self.fingerprint(*rule) == fingerprint)
    }

    /// The rules that feed rules over alerts in place of others.
    pub(super) fn twins(&self) -> Vec<Twin> {
        let rules = self.program.rules();
        let twin = |(rule, idx): (&rules::rule::Rule, RuleIdx)| {
            let twin = self.program.twin(idx)?;
            Some(Twin { id: self.program.rule(twin).id.clone(), of: rule.id.clone() })
        };
        rules.iter().zip((0..).map(RuleIdx)).filter_map(twin).collect()
    }

    /// A key's state from an earlier run.
    pub(crate) fn restore_key(&mut self, read: ReadKey<'_>) -> Restored {
        self.keyed.note_place(read.place);
        match (self.same_rule(read.rule_id, read.fingerprint), read.key) {
            (Some(rule), Some(key)) => Restored::from(self.keyed.resume(rule, key, read.place, read.state)),
            (Some(_), None) => Restored::Unreadable,
            (None, _) => Restored::OfAnotherRule,
        }
    }

    /// A key's state for the twin of its rule, which the store does not know yet.
    pub(super) fn restore_twin(&mut self, twin_id: &str, read: ReadKey<'_>) {
        if let (Some(rule), Some(key)) = (self.same_rule(twin_id, read.fingerprint), read.key) {
            self.keyed.resume_copy(rule, key, read.state);
        }
    }

    /// An open alert of an earlier run, as [`Self::restore_key`].
    pub(crate) fn restore_open(
        &mut self,
        rule_id: &str,
        fingerprint: &[u8],
        id: AlertId,
        state: &[u8],
    ) -> Restored {
        match self.same_rule(rule_id, fingerprint) {
            Some(rule) => Restored::from(self.book.resume(&self.contexts, rule, id, state)),
            None => Restored::OfAnotherRule,
        }
    }

    pub(crate) fn restore_eviction(&mut self, rule_id: &str, eviction: Eviction) {
        if let Some(rule) = self.rule_idx(rule_id) {
            self.keyed.resume_eviction(rule, eviction);
        }
    }

    pub(crate) fn restore_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(Some(watermark));
        self.keyed.resume_watermark(watermark);
    }

    pub(crate) fn restore_loss(&mut self, loss: HostLoss) {
        self.blind.lose(loss);
    }

    /// An event of an earlier run that may explain alerts.
    pub(crate) fn restore_context(&mut self, record: Record) {
        self.evaluate_contexts(&Arc::new(record));
    }

    /// An event of a run whose store held no state but the events it came from.
    pub(crate) fn restore_event(&mut self, record: Record) {
        self.dedup.insert(short_id(&record.event.id), record.event.time, None);
        self.blind.note(&record);
        self.history.note(&self.program, &record.event);
        self.identities.learn(&record);
        let detected = self.detect.detect(&record);
        self.evaluate(&Arc::new(record), detected);
    }

    pub(crate) fn restore_heard(&mut self, heard: Heard) {
        self.blind.hear(heard);
    }

    pub(crate) fn restore_id(&mut self, seen: SeenId) {
        self.dedup.insert(seen.id, seen.time, Content::new(seen.content));
    }

    pub(crate) fn restore_alert(&mut self, id: AlertId, told: Told) {
        self.book.remember(id, told);
    }

    pub(crate) fn restore_term(
        &mut self,
        rule_id: &str,
        key: JoinKey,
        first: Option<EventTime>,
        last: EventTime,
    ) {
        if let Some(rule) = self.rule_idx(rule_id) {
            self.keyed.seed_term(rule, key, first, last);
        }
    }

    /// A rule's state is named so in the store, for as long as it means the same.
    pub(super) fn since_name(&self, rule: u32) -> String {
        let fingerprint = crate::hex::hex(&self.fingerprint(rule)[..]);
        format!("{} {fingerprint}", self.program.rules()[rule as usize].id)
    }

    pub(super) fn restore_since(&mut self, name: &str, since: EventTime) {
        let rules = 0..self.program.rules().len() as u32;
        if let Some(rule) = rules.into_iter().find(|rule| self.since_name(*rule) == name) {
            self.history.restore(rule, since);
        }
    }

    pub(super) fn known_since(&self, rule: u32) -> Option<EventTime> {
        self.history.since(rule)
    }

    /// An event from before the run: its terms are known from here on, and nothing is told.
    pub(super) fn learn(&mut self, record: &Record) {
        self.history.note(&self.program, &record.event);
        if self.detect.drop_reason(&record.event).is_some() {
            return;
        }
        for (rule, key, hit) in self.detect.detect(record).keyed {
            self.keyed.learn_term(rule, key, hit.time());
        }
    }

    pub(crate) fn restore_identities(&mut self, rows: Vec<Row>) {
        self.identities.restore(rows);
    }

    /// An alert of an earlier run that may still speak for others.
    pub(crate) fn restore_member(&mut self, kept: KeptMember) {
        let KeptMember { rule_id, group, time, until, id } = kept;
        let Some(rule) = self.rule_idx(&rule_id) else { return };
        let Some(suppression) = &self.program.rules()[rule as usize].suppression else { return };
        self.book.suppressions.restore(suppression, Member { rule, group, time, until, id });
    }

    pub(crate) fn restore_settled(&mut self, rule_id: &str, key: JoinKey, through: EventTime) {
        if let Some(rule) = self.rule_idx(rule_id) {
            self.settled.insert((rule, key), through);
        }
    }

    fn rule_idx(&self, rule_id: &str) -> Option<u32> {
        self.rules_by_id.get(rule_id).copied()
    }
}

fn conflict(source: &Arc<str>, record: &Record) -> Rejected {
    Rejected {
        source: Arc::clone(source),
        at: format!("event {}", record.event.id),
        reason: "an event of this id was here before and said something else; the first counts. A producer that uses \
                 ids twice loses events, and so does one whose ids somebody forges"
            .to_owned(),
        kind: RejectedKind::Record,
    }
}

/// A rule of single events: the event is the match.
pub(crate) fn single(record: &Arc<Record>) -> Match {
    let time = record.event.time;
    let event = Arc::new(EventRef::of(record));
    Match {
        anchor: Anchor::Event(event.id.clone()),
        at: Arc::clone(&event),
        evidence: vec![Evidence { stage: Stage::Match, event }],
        n_events: 1,
        start: time,
        end: time,
        columns: Vec::new(),
        is_absence: false,
    }
}
