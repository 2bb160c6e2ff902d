//! Contexts: events that explain an alert without deciding it, held by the values that may join them.
//!
//! Equal contexts of several rules share one pool. Alerts ask when they come or change; what comes later is told to the
//! alerts that wait for its value by [`crate::alert::book`].

mod line;

use std::collections::BTreeSet;
use std::sync::Arc;

use rules::event::{Event, EventTime, Span};
use rules::plan::PredicateId;
use rules::rule::Rule;
use rules::schema::FieldId;
use rustc_hash::FxHashMap;

use crate::keyed::{EventRef, Limits};
use crate::source::Record;
use line::{Agenda, InOrder, Line};

/// A value of one of a context's link fields, by the field's place in the context. Whoever waits for it or holds events
/// under it shares it.
pub(crate) type Link = (u16, Arc<str>);

/// From when to when an open alert shows events.
pub(crate) type Shown = (EventTime, EventTime);

/// What one context has for one alert.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attached {
    /// In event order, as many as an alert may carry.
    pub(crate) events: Vec<Arc<EventRef>>,
    /// How many more there were.
    pub(crate) n_more: u64,
    /// How many a cap pushed out that were, or may have been, among them.
    pub(crate) n_lost: u64,
}

/// Which pool a rule's context reads.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    pub(crate) pool: usize,
    pub(crate) links: Arc<[FieldId]>,
    pub(crate) before: Span,
    pub(crate) after: Span,
    /// How long after an event an alert of this rule may still show it.
    pub(crate) kept_for: Span,
}

#[derive(Debug)]
struct Pool {
    links: Arc<[FieldId]>,
    held: FxHashMap<Link, Line>,
    by_time: Agenda<(InOrder, Link)>,
    /// How many of `by_time` are held no more.
    n_gone: usize,
    /// What the cap per value pushed out, by value.
    lost: FxHashMap<Link, Lost>,
    /// What the cap over all pushed out.
    lost_of_any: Option<Lost>,
    /// The longest that any rule keeps an event for.
    retention: Span,
}

/// Events that were let go of before their time.
#[derive(Debug, Clone, Copy)]
struct Lost {
    n_events: u64,
    oldest: EventTime,
    newest: EventTime,
}

impl Lost {
    fn add(lost: Option<Self>, time: EventTime) -> Self {
        let held = lost.unwrap_or(Self { n_events: 0, oldest: time, newest: time });
        Self { n_events: held.n_events + 1, oldest: held.oldest.min(time), newest: held.newest.max(time) }
    }

    fn touches(&self, from: EventTime, until: EventTime) -> bool {
        self.oldest <= until && self.newest >= from
    }
}

#[derive(Debug)]
pub(crate) struct Contexts {
    pools: Vec<Pool>,
    /// By rule, then by the rule's contexts.
    reads: Vec<Vec<Reads>>,
    limits: Limits,
    n_held: usize,
    pub(crate) n_evicted: u64,
}

impl Contexts {
    /// `spans`: by rule, how far apart the events of one match can be; `joins`: whether it waits for late halves.
    pub(crate) fn new(rules: &[Rule], spans: &[Span], joins: &[bool], limits: Limits) -> Self {
        let mut pools: Vec<Pool> = Vec::new();
        let mut known: FxHashMap<(PredicateId, Vec<FieldId>), usize> = FxHashMap::default();
        let mut reads = Vec::with_capacity(rules.len());
        for ((rule, span), is_join) in rules.iter().zip(spans).zip(joins) {
            let mut of_rule = Vec::with_capacity(rule.contexts.len());
            let longest = rule.contexts.iter().map(|context| context.after).max().unwrap_or_default();
            for context in &rule.contexts {
                let pool = *known.entry((context.predicate, context.links.clone())).or_insert_with(|| {
                    pools.push(Pool {
                        links: context.links.clone().into(),
                        held: FxHashMap::default(),
                        by_time: Agenda::default(),
                        n_gone: 0,
                        lost: FxHashMap::default(),
                        lost_of_any: None,
                        retention: Span(0),
                    });
                    pools.len() - 1
                });
                // An alert is written anew until it closes: its span after its end, and as long as any context may come.
                let late = limits.late_half(*is_join);
                let wanted = context.before + *span + *span + longest + late;
                pools[pool].retention = pools[pool].retention.max(wanted);
                let links = Arc::clone(&pools[pool].links);
                let (before, after) = (context.before, context.after);
                of_rule.push(Reads { pool, links, before, after, kept_for: wanted });
            }
            reads.push(of_rule);
        }
        Self { pools, reads, limits, n_held: 0, n_evicted: 0 }
    }

    pub(crate) fn reads(&self, rule: u32) -> &[Reads] {
        self.reads.get(rule as usize).map_or(&[], Vec::as_slice)
    }

    /// Keeps an event that a context's predicate found. Returns the values under which it can be asked for.
    pub(crate) fn add(&mut self, pool: usize, event: &Arc<EventRef>, record: &Record) -> Vec<Link> {
        let links = link_values(&self.pools[pool].links, &record.event);
        for link in &links {
            let pool = &mut self.pools[pool];
            let held = match pool.held.get_mut(link) {
                Some(held) => held,
                None => pool.held.entry(link.clone()).or_default(),
            };
            if held.insert(InOrder(Arc::clone(event))) {
                pool.by_time.add(event.time, (InOrder(Arc::clone(event)), link.clone()));
                self.n_held += 1;
            }
        }
        while self.n_held > self.limits.max_context_total {
            self.evict_oldest();
        }
        links
    }

    /// Whether a value has more events than its share.
    pub(crate) fn is_full(&self, pool: usize, link: &Link) -> bool {
        self.pools[pool].held.get(link).is_some_and(|held| held.len() > self.limits.max_context_per_link)
    }

    /// Lets go of some events of a value: the oldest that no open alert shows. Where alerts show all of them, the oldest
    /// after as many as one alert carries.
    pub(crate) fn make_room(&mut self, pool: usize, link: &Link, shown: &[Shown]) {
        let pool = &mut self.pools[pool];
        let Some(held) = pool.held.get_mut(link) else { return };
        // Several at once, so that alerts are asked rarely.
        let n_gone = (held.len() / 16).max(1);
        let is_shown = |time: EventTime| shown.iter().any(|(from, until)| *from <= time && time <= *until);
        let mut gone: Vec<InOrder> =
            held.iter().filter(|event| !is_shown(event.time())).take(n_gone).cloned().collect();
        if gone.is_empty() {
            let n_kept = self.limits.max_attached.min(held.len() - 1);
            gone = held.iter().skip(n_kept).take(n_gone).cloned().collect();
        }
        for event in gone {
            held.remove(&event);
            let lost = Lost::add(pool.lost.get(link).copied(), event.time());
            pool.lost.insert(link.clone(), lost);
            pool.n_gone += 1;
            self.n_held -= 1;
            self.n_evicted += 1;
        }
        pool.tidy();
    }

    /// What a context has for an alert: events between two times that share a value with it.
    pub(crate) fn find(&self, reads: &Reads, links: &[Link], start: EventTime, end: EventTime) -> Attached {
        let pool = &self.pools[reads.pool];
        let (from, until) = (start - reads.before, end + reads.after);
        let begin = InOrder::begin(from);
        let mut found: BTreeSet<&InOrder> = BTreeSet::new();
        for link in links {
            let Some(held) = pool.held.get(link) else { continue };
            found.extend(held.from(&begin).take_while(|event| event.time() <= until));
        }
        let n_more = found.len().saturating_sub(self.limits.max_attached) as u64;
        let events =
            found.into_iter().take(self.limits.max_attached).map(|event| Arc::clone(&event.0)).collect();
        let lost = links.iter().filter_map(|link| pool.lost.get(link));
        let lost = lost.chain(&pool.lost_of_any).filter(|lost| lost.touches(from, until));
        // A value with nothing to join on lost nothing.
        let n_lost = if links.is_empty() { 0 } else { lost.map(|lost| lost.n_events).sum() };
        Attached { events, n_more, n_lost }
    }

    /// Whether [`Self::find`] would find anything.
    pub(crate) fn has_any(&self, reads: &Reads, links: &[Link], start: EventTime, end: EventTime) -> bool {
        let (begin, until) = (InOrder::begin(start - reads.before), end + reads.after);
        let held = links.iter().filter_map(|link| self.pools[reads.pool].held.get(link));
        held.filter_map(|held| held.from(&begin).next()).any(|event| event.time() <= until)
    }

    /// Lets go of what no alert in time can ask for.
    pub(crate) fn expire(&mut self, watermark: EventTime) {
        let grace = self.limits.grace;
        for pool in &mut self.pools {
            while pool.first().is_some_and(|first| first + pool.retention + grace < watermark) {
                pool.pop_first();
                self.n_held -= 1;
            }
            let is_wanted = |lost: &Lost| lost.newest + pool.retention + grace >= watermark;
            pool.lost.retain(|_, lost| is_wanted(lost));
            pool.lost_of_any = pool.lost_of_any.filter(is_wanted);
        }
    }

    fn evict_oldest(&mut self) {
        let firsts = self.pools.iter_mut().enumerate().filter_map(|(at, pool)| Some((pool.first()?, at)));
        let Some((time, at)) = firsts.min() else { return };
        let pool = &mut self.pools[at];
        pool.lost_of_any = Some(Lost::add(pool.lost_of_any, time));
        pool.pop_first();
        self.n_held -= 1;
        self.n_evicted += 1;
    }

    pub(crate) fn n_held(&self) -> usize {
        self.n_held
    }
}

impl Pool {
    /// The time of the oldest that is held.
    fn first(&mut self) -> Option<EventTime> {
        loop {
            let (event, link) = self.by_time.first()?;
            if self.held.get(link).is_some_and(|held| held.has(event)) {
                return Some(event.time());
            }
            self.by_time.pop_first();
            self.n_gone = self.n_gone.saturating_sub(1);
        }
    }

    /// Lets go of the one that [`Self::first`] is about.
    fn pop_first(&mut self) {
        let Some((event, link)) = self.by_time.pop_first() else { return };
        if let Some(held) = self.held.get_mut(&link) {
            held.remove(&event);
            if held.is_empty() {
                self.held.remove(&link);
            }
        }
    }

    /// Forgets when those are due that are gone, once they are most.
    fn tidy(&mut self) {
        if self.n_gone > 1_024 && self.n_gone > self.by_time.len() / 2 {
            self.by_time.retain(|(event, link)| self.held.get(link).is_some_and(|held| held.has(event)));
            self.n_gone = 0;
        }
    }
}

/// The values an event has in the link fields.
pub(crate) fn link_values(links: &[FieldId], event: &Event) -> Vec<Link> {
    let mut values = Vec::new();
    for (place, field) in (0_u16..).zip(links) {
        let Some(value) = event.get(*field) else { continue };
        values.extend(value.scalars().iter().map(|scalar| match scalar.as_str() {
            Some(text) => (place, text.into()),
            None => (place, scalar.to_string().into()),
        }));
    }
    values.sort();
    values.dedup();
    values
}
