//! What a correlation measures of a window, brought forward with each event: true beyond the events that are kept.

use std::collections::BTreeMap;

use rules::event::EventTime;
use rules::expr::Comparison;
use rules::plan::correlation::{Measure, Node};
use serde::{Deserialize, Serialize};

use super::{Item, in_order};
use crate::keyed::Limits;
use crate::tally::{Distinct, Passed, Print};

/// What one event adds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Share {
    n_events: u32,
    n_numbers: u32,
    sum: f64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    n_items: u64,
    n_events: u64,
    n_numbers: u64,
    sum: f64,
    distinct: Distinct,
    /// When each of the members was last there.
    members: BTreeMap<u16, EventTime>,
    /// For percentiles: all numbers, in their order.
    numbers: Vec<f64>,
    /// What is inside a sliding window and no longer kept.
    passed: Passed<Share>,
}

impl Measured {
    /// Takes in an event. Returns how much of the count had to be given up.
    pub(super) fn add(&mut self, node: &Node, item: &Item, limits: &Limits) -> u64 {
        let max = limits.max_counted_per_key;
        let mut n_evicted = 0;
        let share = share(node, item);
        self.n_items += 1;
        self.n_events += u64::from(share.n_events);
        self.n_numbers += u64::from(share.n_numbers);
        self.sum += share.sum;
        match node.measure {
            Measure::ValueCount => {
                // Several fields count as one: what differs is any of them.
                let values: Vec<&[Box<str>]> =
                    places(node, item).iter().map(|place| &*item.last.values[*place]).collect();
                if values.iter().all(|held| !held.is_empty()) {
                    n_evicted += self.distinct.note(Print::of(&values), item.time(), max);
                }
            }
            Measure::Temporal => {
                self.members.insert(item.member, item.time());
            }
            Measure::Percentile(_) => {
                for number in numbers(node, item) {
                    match self.numbers.len() < max {
                        true => {
                            let at = self.numbers.partition_point(|held| held.total_cmp(&number).is_lt());
                            self.numbers.insert(at, number);
                        }
                        false => n_evicted += 1,
                    }
                }
            }
            Measure::EventCount | Measure::TemporalOrdered | Measure::Sum | Measure::Average => {}
        }
        n_evicted
    }

    /// A kept event of a sliding window is kept no longer, and counts until its time is over.
    pub(super) fn pass(&mut self, node: &Node, item: &Item, limits: &Limits) -> u64 {
        self.passed.push(item.time(), share(node, item));
        if self.passed.len() <= limits.max_counted_per_key {
            return 0;
        }
        if let Some(share) = self.passed.pop_first() {
            self.take_out(share);
        }
        1
    }

    /// A kept event has left a sliding window.
    pub(super) fn forget(&mut self, node: &Node, item: &Item) {
        self.take_out(share(node, item));
    }

    /// Nothing before this time is inside a sliding window.
    pub(super) fn expire(&mut self, oldest: EventTime) {
        while let Some(share) = self.passed.pop_before(oldest) {
            self.take_out(share);
        }
        self.distinct.expire(oldest);
        self.members.retain(|_, last| *last >= oldest);
    }

    fn take_out(&mut self, share: Share) {
        self.n_items -= 1;
        self.n_events -= u64::from(share.n_events);
        self.n_numbers -= u64::from(share.n_numbers);
        // From nothing, nothing: what rounding left over is not carried on.
        self.sum = if self.n_numbers == 0 { 0.0 } else { self.sum - share.sum };
    }

    pub(super) fn n_events(&self) -> u64 {
        self.n_events
    }

    /// The window slides no further: from here on it grows. When its first event was, if that is not kept.
    pub(super) fn hold(&mut self) -> Option<EventTime> {
        std::mem::take(&mut self.passed).first()
    }

    /// None: none of the events has a number to measure.
    pub(super) fn number(&self, node: &Node, items: &[Item], limits: &Limits) -> Option<f64> {
        let has_numbers = self.n_numbers > 0;
        match node.measure {
            Measure::EventCount => Some(self.n_items as f64),
            Measure::ValueCount => Some(self.distinct.len() as f64),
            Measure::Temporal => Some(self.members.len() as f64),
            Measure::TemporalOrdered => Some(in_order(node, items, limits) as f64),
            Measure::Sum => has_numbers.then_some(self.sum),
            Measure::Average => has_numbers.then(|| self.sum / self.n_numbers as f64),
            Measure::Percentile(percentile) => self::percentile(&self.numbers, percentile),
        }
    }
}

/// Whether the window is one to tell of.
pub(super) fn holds(node: &Node, measured: &Measured, items: &[Item], limits: &Limits) -> bool {
    let Some(measured) = measured.number(node, items, limits) else { return false };
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

fn places<'n>(node: &'n Node, item: &Item) -> &'n [usize] {
    node.value.get(usize::from(item.last.leaf)).map_or(&[], |places| places)
}

fn numbers(node: &Node, item: &Item) -> impl Iterator<Item = f64> {
    let texts = places(node, item).iter().flat_map(|place| item.last.values[*place].iter());
    texts.filter_map(|text| text.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

fn share(node: &Node, item: &Item) -> Share {
    let mut share = Share { n_events: item.events.len() as u32, ..Share::default() };
    if matches!(node.measure, Measure::Sum | Measure::Average | Measure::Percentile(_)) {
        for number in numbers(node, item) {
            share.n_numbers += 1;
            share.sum += number;
        }
    }
    share
}

fn percentile(numbers: &[f64], percentile: u8) -> Option<f64> {
    let last = numbers.len().checked_sub(1)?;
    let place = last as f64 * f64::from(percentile) / 100.0;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = numbers[(low + 1).min(last)];
    Some(numbers[low] + (high - numbers[low]) * part)
}
