//! Sigma's correlations: what counts, measures and orders the events of several rules, per group in a window.
//!
//! A window that more events cannot make false again slides: it fires when it first holds enough, takes in what comes until
//! the window that began with its first event is over, and starts afresh. Any other is judged as a whole, from the first
//! event of its group on, and told when its time is over. What fires inside another correlation is an event of that one, at
//! the time of the event that made it fire.

mod measured;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rules::event::{EventTime, Span, Value};
use rules::expr::Comparison;
use rules::literal::FloatBits;
use rules::plan::correlation::{Correlation, Measure, Member, Node};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, EventRef, Evidence, Hit, Limits, Match, Stage, clock_of};
use measured::{Measured, holds};

/// Groups that one event may be in.
const MAX_GROUPS: usize = 256;
/// Groups of one correlation under one key. Past this, those that were quiet longest go, and are counted.
const MAX_KEPT: usize = 16_384;
/// What is over is looked for so often in each span: a look goes through all the groups.
const LOOKS: i64 = 16;

#[derive(Debug, Clone)]
pub struct CorrelationShape {
    nodes: Arc<[Node]>,
    span: Span,
}

impl CorrelationShape {
    pub fn new<P>(correlation: &Correlation<P>) -> Self {
        Self { nodes: correlation.nodes.clone().into(), span: correlation.span() }
    }

    pub fn span(&self) -> Span {
        self.span
    }
}

/// An event as one rule of a correlation reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafHit {
    pub leaf: u16,
    /// The values of the leaf's fields.
    pub values: Box<[Box<[Box<str>]>]>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CorrelationState {
    /// By node.
    nodes: Vec<Groups>,
}

/// The groups of one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Groups {
    by_key: BTreeMap<Vec<Box<str>>, Group>,
    newest: EventTime,
    /// Everything before this was looked through.
    looked: EventTime,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Group {
    /// What is inside the window and kept, in event order.
    recent: VecDeque<Item>,
    /// All that is inside.
    measured: Measured,
    /// A window that has fired and is not over, or that waits for its end.
    window: Option<Window>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Window {
    /// The first that were kept.
    items: Vec<Item>,
    measured: Measured,
    start: EventTime,
    end: EventTime,
}

/// An event, or a match of a correlation below, in one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Item {
    member: u16,
    events: Arc<[Arc<EventRef>]>,
    /// The last of the events, as its rule reads it.
    last: Arc<LeafHit>,
}

impl Item {
    fn last_event(&self) -> &Arc<EventRef> {
        &self.events[self.events.len() - 1]
    }

    fn time(&self) -> EventTime {
        self.last_event().time
    }
}

impl Machine for CorrelationState {
    type Shape = CorrelationShape;

    fn new(shape: &CorrelationShape) -> Self {
        Self { nodes: vec![Groups::default(); shape.nodes.len()] }
    }

    fn step(
        &mut self,
        shape: &CorrelationShape,
        hit: &Arc<Hit>,
        limits: &Limits,
        matches: &mut Matches,
    ) -> u64 {
        let mut n_evicted = 0;
        let mut fired: Vec<Vec<Item>> = Vec::with_capacity(shape.nodes.len());
        for (idx, node) in shape.nodes.iter().enumerate() {
            let is_root = idx + 1 == shape.nodes.len();
            let mut own = Vec::new();
            for item in items(node, hit, &fired) {
                for key in groups(node, &item.last) {
                    let names = key.clone();
                    let groups = &mut self.nodes[idx];
                    n_evicted += groups.make_room(&key, item.time());
                    let group = groups.by_key.entry(key).or_default();
                    let told = if is_root { Some((&names[..], &mut *matches)) } else { None };
                    let (occurrence, n) = match node.is_eager() {
                        true => group.slide(node, item.clone(), limits, told),
                        false => (None, group.collect(node, item.clone(), limits, told)),
                    };
                    own.extend(occurrence);
                    n_evicted += n;
                }
            }
            fired.push(own);
        }
        n_evicted
    }

    fn expire(&mut self, shape: &CorrelationShape, before: EventTime) {
        for (groups, node) in self.nodes.iter_mut().zip(shape.nodes.iter()) {
            groups.expire(node, before - node.span);
        }
    }

    fn is_empty(&self) -> bool {
        self.nodes.iter().all(|groups| groups.by_key.is_empty())
    }
}

impl Default for Groups {
    fn default() -> Self {
        let never = EventTime(i64::MIN);
        Self { by_key: BTreeMap::new(), newest: never, looked: never }
    }
}

impl Groups {
    /// Before a group of this key takes an event. Returns how many events that costs others.
    fn make_room(&mut self, key: &[Box<str>], now: EventTime) -> u64 {
        self.newest = self.newest.max(now);
        if self.by_key.len() < MAX_KEPT || self.by_key.contains_key(key) {
            return 0;
        }
        // Many at once: each time all of them are looked at.
        let mut times: Vec<EventTime> = self.by_key.values().map(Group::newest).collect();
        let n_to_go = times.len() / 4;
        let (_, last_to_go, _) = times.select_nth_unstable(n_to_go);
        let (mut n_gone, mut n_evicted) = (0, 0);
        self.by_key.retain(|_, group| {
            let goes = n_gone < n_to_go && group.newest() <= *last_to_go;
            if goes {
                n_gone += 1;
                n_evicted += group.n_kept();
            }
            !goes
        });
        n_evicted
    }

    /// No event looks at what is over, so that it need not go at once.
    fn expire(&mut self, node: &Node, oldest: EventTime) {
        let is_all_over = self.newest < oldest;
        let is_soon = oldest.0.saturating_sub(self.looked.0) < node.span.0 / LOOKS;
        if self.by_key.is_empty() || (is_soon && !is_all_over) {
            return;
        }
        self.looked = oldest;
        self.by_key.retain(|_, group| {
            group.expire(node, oldest);
            group.window.take_if(|window| window.start < oldest);
            !group.recent.is_empty() || group.window.is_some()
        });
    }
}

/// The window that comes nearest to what the last node asks.
pub(crate) struct Nearest {
    /// What its group has in common, by name.
    pub(crate) group: Vec<(String, Box<str>)>,
    pub(crate) events: Vec<Arc<EventRef>>,
    /// None: its events have no number to measure.
    pub(crate) measured: Option<f64>,
    /// How far it is from what is asked, summed over the bounds. Nought: it holds.
    pub(crate) lacks: f64,
}

/// Looks at every window of the last node over hits in event order, without state between them: a second opinion.
/// None: no event is in any group.
pub(crate) fn nearest(shape: &CorrelationShape, hits: &[Arc<Hit>], limits: &Limits) -> Option<Nearest> {
    let (root, below) = shape.nodes.split_last()?;
    let mut state = CorrelationState::new(shape);
    let mut by_group: BTreeMap<Vec<Box<str>>, Vec<Item>> = BTreeMap::new();
    for hit in hits {
        let mut fired: Vec<Vec<Item>> = Vec::with_capacity(below.len());
        for (idx, node) in below.iter().enumerate() {
            let mut own = Vec::new();
            for item in items(node, hit, &fired) {
                for key in groups(node, &item.last) {
                    let group = state.nodes[idx].by_key.entry(key).or_default();
                    if node.is_eager() {
                        own.extend(group.slide(node, item.clone(), limits, None).0);
                    }
                }
            }
            fired.push(own);
        }
        for item in items(root, hit, &fired) {
            for key in groups(root, &item.last) {
                by_group.entry(key).or_default().push(item.clone());
            }
        }
    }
    let mut best: Option<Nearest> = None;
    for (key, items) in by_group {
        let mut start = 0;
        while start < items.len() {
            let len = items[start..].partition_point(|item| item.time() - items[start].time() <= root.span);
            let inside = &items[start..start + len];
            let mut within = Measured::default();
            for item in inside {
                within.add(root, item, limits);
            }
            let measured = within.number(root, inside, limits);
            let lacks = lacks(root, measured);
            if best.as_ref().is_none_or(|best| lacks < best.lacks) {
                let group = root.by_names.iter().cloned().zip(key.iter().cloned()).collect();
                let events = inside.iter().flat_map(|item| item.events.iter().cloned()).collect();
                best = Some(Nearest { group, events, measured, lacks });
            }
            // What is judged as a whole begins anew where the window before is over.
            start += if root.is_eager() { 1 } else { len };
        }
    }
    best
}

fn lacks(node: &Node, measured: Option<f64>) -> f64 {
    let Some(measured) = measured else { return f64::INFINITY };
    let lack = |(comparison, bound): &(Comparison, FloatBits)| {
        let bound = bound.get();
        // What has to be passed, and not only reached, lacks at least a little.
        let beyond = |by: f64| if by > 0.0 { 0.0 } else { -by + 0.5 };
        match comparison {
            Comparison::Equal => (measured - bound).abs(),
            Comparison::NotEqual => f64::from(u8::from(measured == bound)),
            Comparison::Less => beyond(bound - measured),
            Comparison::LessOrEqual => (measured - bound).max(0.0),
            Comparison::Greater => beyond(measured - bound),
            Comparison::GreaterOrEqual => (bound - measured).max(0.0),
        }
    };
    node.bounds.iter().map(lack).sum()
}

/// What the hit is to the node: itself, and the matches below that it made.
fn items(node: &Node, hit: &Arc<Hit>, fired: &[Vec<Item>]) -> Vec<Item> {
    // One event counts once, whichever of the rules it matches; as part of a pattern it may be several.
    let is_pattern = matches!(node.measure, Measure::Temporal | Measure::TemporalOrdered);
    let mut items: Vec<Item> = Vec::new();
    for (member, number) in node.members.iter().zip(0_u16..) {
        match member {
            Member::Leaf(leaf) => {
                let is_counted = !is_pattern && !items.is_empty();
                let held = hit.leaves.iter().find(|held| usize::from(held.leaf) == *leaf);
                if let Some(held) = held.filter(|_| !is_counted) {
                    let events = Arc::from([Arc::clone(&hit.event)]);
                    items.push(Item { member: number, events, last: Arc::new(held.clone()) });
                }
            }
            Member::Node(below) => {
                items.extend(fired[*below].iter().map(|item| Item { member: number, ..item.clone() }));
            }
        }
    }
    items
}

/// The groups of the node that the event is in: lists make one per combination, and without a value it is in none.
fn groups(node: &Node, hit: &LeafHit) -> Vec<Vec<Box<str>>> {
    let mut keys: Vec<Vec<Box<str>>> = vec![Vec::new()];
    for place in &node.by[usize::from(hit.leaf)] {
        let values = &hit.values[*place];
        let with = |key: Vec<Box<str>>| {
            let extended = values.iter().map(move |value| [&key[..], std::slice::from_ref(value)].concat());
            extended.collect::<Vec<_>>()
        };
        keys = keys.into_iter().flat_map(with).take(MAX_GROUPS).collect();
    }
    keys
}

type Told<'m> = Option<(&'m [Box<str>], &'m mut Matches)>;

impl Group {
    /// Fires as soon as the window that ends here holds enough. Returns what it is to a correlation above.
    fn slide(&mut self, node: &Node, item: Item, limits: &Limits, told: Told<'_>) -> (Option<Item>, u64) {
        if let Some(window) = &mut self.window {
            if item.time() - window.start <= node.span {
                let n_evicted = window.grow(node, item, limits);
                if let Some((names, matches)) = told {
                    matches.put(window.tell(node, names, limits, false), None);
                }
                return (None, n_evicted);
            }
            self.window = None;
        }
        let now = item.time();
        self.expire(node, now - node.span);
        let mut n_evicted = self.measured.add(node, &item, limits);
        self.recent.push_back(item);
        if !holds(node, &self.measured, self.recent.make_contiguous(), limits) {
            if self.recent.len() > limits.max_hits_per_key {
                n_evicted += self.make_room(node, limits);
            }
            return (None, n_evicted);
        }
        let items: Vec<Item> = self.recent.drain(..).collect();
        let mut measured = std::mem::take(&mut self.measured);
        let start = measured.hold().unwrap_or(now).min(items[0].time());
        let events: Vec<Arc<EventRef>> = items.iter().flat_map(|item| item.events.iter().cloned()).collect();
        let last = items.last().map(|item| Arc::clone(&item.last));
        let window = Window { items, measured, start, end: now };
        if let Some((names, matches)) = told {
            matches.put(window.tell(node, names, limits, false), None);
        }
        self.window = Some(window);
        let cut = events.len().saturating_sub(limits.max_evidence.max(1));
        let occurrence = last.map(|last| Item { member: 0, events: events[cut..].into(), last });
        (occurrence, n_evicted)
    }

    /// Judges the window that began with the group's first event, told once it is over.
    fn collect(&mut self, node: &Node, item: Item, limits: &Limits, told: Told<'_>) -> u64 {
        let n_evicted = match &mut self.window {
            Some(window) if item.time() - window.start <= node.span => window.grow(node, item, limits),
            window => {
                let mut measured = Measured::default();
                let n_evicted = measured.add(node, &item, limits);
                let (start, end) = (item.time(), item.time());
                *window = Some(Window { items: vec![item], measured, start, end });
                n_evicted
            }
        };
        if let (Some(window), Some((names, matches))) = (&self.window, told) {
            match holds(node, &window.measured, &window.items, limits) {
                true => {
                    let found = window.tell(node, names, limits, is_about_absence(node));
                    matches.put(found, Some(window.start + node.span));
                }
                false => matches.remove(&window.anchor()),
            }
        }
        n_evicted
    }

    fn newest(&self) -> EventTime {
        let window = self.window.as_ref().map(|window| window.end);
        window.max(self.recent.back().map(Item::time)).unwrap_or(EventTime(i64::MIN))
    }

    fn n_kept(&self) -> u64 {
        (self.recent.len() + self.window.as_ref().map_or(0, |window| window.items.len())) as u64
    }

    /// Lets go of what is no longer inside the window.
    fn expire(&mut self, node: &Node, oldest: EventTime) {
        while let Some(first) = self.recent.pop_front_if(|first| first.time() < oldest) {
            self.measured.forget(node, &first);
        }
        self.measured.expire(oldest);
    }

    /// Keeps one event less: it goes on counting as far as no more than its number, value or presence is asked for.
    fn make_room(&mut self, node: &Node, limits: &Limits) -> u64 {
        let is_ordered = node.measure == Measure::TemporalOrdered;
        let victim = match node.measure {
            // Each rule keeps its last event; where order counts, its first as well.
            Measure::Temporal | Measure::TemporalOrdered => {
                let of = |member: u16| self.recent.iter().filter(move |item| item.member == member).count();
                let counts: Vec<usize> = (0..members(node)).map(of).collect();
                let mut seen = vec![0_usize; counts.len()];
                self.recent.iter().position(|item| {
                    let member = usize::from(item.member);
                    seen[member] += 1;
                    let is_first = seen[member] == 1;
                    seen[member] < counts[member] && !(is_ordered && is_first)
                })
            }
            _ => None,
        };
        let Some(item) = self.recent.remove(victim.unwrap_or(0)) else { return 0 };
        let n_evicted = self.measured.pass(node, &item, limits);
        n_evicted + u64::from(is_ordered)
    }
}

impl Window {
    fn grow(&mut self, node: &Node, item: Item, limits: &Limits) -> u64 {
        self.end = item.time();
        let n_evicted = self.measured.add(node, &item, limits);
        if self.items.len() < limits.max_hits_per_key {
            self.items.push(item);
            return n_evicted;
        }
        // Nothing but the order needs the events themselves.
        n_evicted + u64::from(node.measure == Measure::TemporalOrdered)
    }

    fn anchor(&self) -> Anchor {
        Anchor::Event(self.items[0].events[0].id.clone())
    }

    fn tell(&self, node: &Node, names: &[Box<str>], limits: &Limits, is_absence: bool) -> Match {
        let stage = |item: &Item| match node.measure {
            Measure::Temporal | Measure::TemporalOrdered => Stage::Step(item.member + 1),
            _ => Stage::Window,
        };
        let evidence = self
            .items
            .iter()
            .flat_map(|item| {
                item.events.iter().map(|event| Evidence { stage: stage(item), event: Arc::clone(event) })
            })
            .take(limits.max_evidence);
        let first = &self.items[0].events[0];
        let mut columns: Vec<(String, Value)> = node
            .by_names
            .iter()
            .zip(names)
            .map(|(name, value)| (name.clone(), Value::str(value.clone())))
            .collect();
        columns.extend(
            self.measured
                .number(node, &self.items, limits)
                .map(|number| (column(node.measure).to_owned(), shown(number))),
        );
        Match {
            anchor: self.anchor(),
            at: Arc::clone(first),
            evidence: evidence.collect(),
            n_events: self.measured.n_events(),
            start: self.start.min(first.time),
            end: self.end,
            columns,
            is_absence,
        }
    }
}

/// Too few of something is what feeds may have failed to deliver.
fn is_about_absence(node: &Node) -> bool {
    let is_upper =
        |comparison: &Comparison| !matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual);
    node.bounds.iter().any(|(comparison, _)| is_upper(comparison))
}

pub(crate) fn column(measure: Measure) -> &'static str {
    match measure {
        Measure::EventCount => "count",
        Measure::ValueCount => "count_distinct",
        Measure::Temporal | Measure::TemporalOrdered => "rules",
        Measure::Sum => "sum",
        Measure::Average => "average",
        Measure::Percentile(_) => "percentile",
    }
}

fn shown(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::Int(number as i64)
    } else {
        Value::Float(number)
    }
}

fn members(node: &Node) -> u16 {
    u16::try_from(node.members.len()).unwrap_or(u16::MAX)
}

/// How many of the members there are one after the other, from the first on. The earliest that fits leaves most to come.
fn in_order(node: &Node, items: &[Item], limits: &Limits) -> usize {
    let mut before: Option<&Item> = None;
    for member in 0..members(node) {
        let next = items
            .iter()
            .filter(|item| item.member == member)
            .find(|item| before.is_none_or(|before| follows(before, item, limits)));
        let Some(next) = next else { return usize::from(member) };
        before = Some(next);
    }
    node.members.len()
}

/// Whether the second may have come after the first, as far as their clocks can tell.
fn follows(first: &Item, second: &Item, limits: &Limits) -> bool {
    let (first, second) = (first.last_event(), &second.events[0]);
    match clock_of(first) == clock_of(second) {
        true => second.order() > first.order(),
        false => second.time + limits.between_clocks() >= first.time,
    }
}
