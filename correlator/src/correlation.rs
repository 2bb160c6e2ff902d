//! Sigma's correlations: what counts, measures and orders the events of several rules, per group in a window.
//!
//! A window that more events cannot make false again slides: it fires when it first holds enough, takes in what comes until
//! the window that began with its first event is over, and starts afresh. Any other is judged as a whole, from the first
//! event of its group on, and told when its time is over. What fires inside another correlation is an event of that one, at
//! the time of the event that made it fire.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rules::event::{EventTime, Span, Value};
use rules::expr::Comparison;
use rules::plan::correlation::{Correlation, Measure, Member, Node};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, EventRef, Evidence, Hit, Limits, Match, SKEW, Stage, clock_of};

/// Groups that one event may be in.
const MAX_GROUPS: usize = 256;

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
    nodes: Vec<BTreeMap<Vec<Box<str>>, Group>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Group {
    /// What is inside the window, in event order.
    recent: VecDeque<Item>,
    /// A window that has fired and is not over, or that waits for its end.
    window: Option<Window>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Window {
    items: Vec<Item>,
    n_events: u64,
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
        Self { nodes: vec![BTreeMap::new(); shape.nodes.len()] }
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
                    let group = self.nodes[idx].entry(key).or_default();
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
            let oldest = before - node.span;
            groups.retain(|_, group| {
                while group.recent.front().is_some_and(|first| first.time() < oldest) {
                    group.recent.pop_front();
                }
                group.window.take_if(|window| window.items[0].time() < oldest);
                !group.recent.is_empty() || group.window.is_some()
            });
        }
    }

    fn is_empty(&self) -> bool {
        self.nodes.iter().all(BTreeMap::is_empty)
    }
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
            if item.time() - window.items[0].time() <= node.span {
                window.grow(item, limits);
                if let Some((names, matches)) = told {
                    matches.put(window.tell(node, names, limits, false), None);
                }
                return (None, 0);
            }
            self.window = None;
        }
        let now = item.time();
        self.recent.push_back(item);
        while self.recent.front().is_some_and(|first| now - first.time() > node.span) {
            self.recent.pop_front();
        }
        let n_evicted = self.recent.len().saturating_sub(limits.max_hits_per_key);
        self.recent.drain(..n_evicted);
        if !holds(node, self.recent.make_contiguous()) {
            return (None, n_evicted as u64);
        }
        let items: Vec<Item> = self.recent.drain(..).collect();
        let events: Vec<Arc<EventRef>> = items.iter().flat_map(|item| item.events.iter().cloned()).collect();
        let last = items.last().map(|item| Arc::clone(&item.last));
        let window = Window { n_events: events.len() as u64, end: now, items };
        if let Some((names, matches)) = told {
            matches.put(window.tell(node, names, limits, false), None);
        }
        self.window = Some(window);
        let cut = events.len().saturating_sub(limits.max_evidence.max(1));
        let occurrence = last.map(|last| Item { member: 0, events: events[cut..].into(), last });
        (occurrence, n_evicted as u64)
    }

    /// Judges the window that began with the group's first event, told once it is over.
    fn collect(&mut self, node: &Node, item: Item, limits: &Limits, told: Told<'_>) -> u64 {
        let mut n_evicted = 0;
        match &mut self.window {
            Some(window) if item.time() - window.items[0].time() <= node.span => {
                n_evicted = u64::from(window.items.len() >= limits.max_hits_per_key);
                window.grow(item, limits);
            }
            window => {
                *window =
                    Some(Window { n_events: item.events.len() as u64, end: item.time(), items: vec![item] })
            }
        }
        if let (Some(window), Some((names, matches))) = (&self.window, told) {
            let found = window.tell(node, names, limits, is_about_absence(node));
            match holds(node, &window.items) {
                true => matches.put(found, Some(window.items[0].time() + node.span)),
                false => matches.remove(&found.anchor),
            }
        }
        n_evicted
    }
}

impl Window {
    fn grow(&mut self, item: Item, limits: &Limits) {
        self.n_events += item.events.len() as u64;
        self.end = item.time();
        if self.items.len() < limits.max_hits_per_key {
            self.items.push(item);
        }
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
            measured(node, &self.items).map(|number| (column(node.measure).to_owned(), shown(number))),
        );
        Match {
            anchor: Anchor::Event(first.id.clone()),
            at: Arc::clone(first),
            evidence: evidence.collect(),
            n_events: self.n_events,
            start: first.time,
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

fn column(measure: Measure) -> &'static str {
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

fn holds(node: &Node, items: &[Item]) -> bool {
    let Some(measured) = measured(node, items) else { return false };
    node.bounds.iter().all(|(comparison, bound)| {
        let bound = bound.get();
        match comparison {
            Comparison::Equal => measured == bound,
            Comparison::NotEqual => measured != bound,
            Comparison::Less => measured < bound,
            Comparison::LessOrEqual => measured <= bound,
            Comparison::Greater => measured > bound,
            Comparison::GreaterOrEqual => measured >= bound,
        }
    })
}

/// None: none of the events has a number to measure.
fn measured(node: &Node, items: &[Item]) -> Option<f64> {
    let places = |item: &Item| &node.value[usize::from(item.last.leaf)];
    let numbers = || {
        let texts = items
            .iter()
            .flat_map(|item| places(item).iter().flat_map(|place| item.last.values[*place].iter()));
        texts
            .filter_map(|text| text.trim().parse().ok())
            .filter(|number: &f64| number.is_finite())
            .collect::<Vec<_>>()
    };
    match node.measure {
        Measure::EventCount => Some(items.len() as f64),
        Measure::ValueCount => {
            // Several fields count as one: what differs is any of them.
            let values = items
                .iter()
                .map(|item| places(item).iter().map(|place| &item.last.values[*place]).collect::<Vec<_>>());
            let mut values: Vec<_> =
                values.filter(|values| values.iter().all(|held| !held.is_empty())).collect();
            values.sort_unstable();
            values.dedup();
            Some(values.len() as f64)
        }
        Measure::Temporal => {
            let there = |member: &u16| items.iter().any(|item| item.member == *member);
            Some((0..members(node)).filter(there).count() as f64)
        }
        Measure::TemporalOrdered => Some(in_order(node, items) as f64),
        Measure::Sum => {
            Some(numbers()).filter(|numbers| !numbers.is_empty()).map(|numbers| numbers.iter().sum())
        }
        Measure::Average => {
            let numbers = numbers();
            (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
        }
        Measure::Percentile(percentile) => self::percentile(numbers(), percentile),
    }
}

fn members(node: &Node) -> u16 {
    u16::try_from(node.members.len()).unwrap_or(u16::MAX)
}

fn percentile(mut numbers: Vec<f64>, percentile: u8) -> Option<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    let place = last as f64 * f64::from(percentile) / 100.0;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = numbers[(low + 1).min(last)];
    Some(numbers[low] + (high - numbers[low]) * part)
}

/// How many of the members there are one after the other, from the first on. The earliest that fits leaves most to come.
fn in_order(node: &Node, items: &[Item]) -> usize {
    let mut before: Option<&Item> = None;
    for member in 0..members(node) {
        let next = items
            .iter()
            .filter(|item| item.member == member)
            .find(|item| before.is_none_or(|before| follows(before, item)));
        let Some(next) = next else { return usize::from(member) };
        before = Some(next);
    }
    node.members.len()
}

/// Whether the second may have come after the first, as far as their clocks can tell.
fn follows(first: &Item, second: &Item) -> bool {
    let (first, second) = (first.last_event(), &second.events[0]);
    match clock_of(first) == clock_of(second) {
        true => second.order() > first.order(),
        false => second.time + SKEW >= first.time,
    }
}
