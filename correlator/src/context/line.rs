//! Events in order, where nearly all come at the end and go from the beginning.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rules::event::EventTime;

use crate::keyed::EventRef;
use crate::source::Origin;

/// An event by its place among others.
#[derive(Debug, Clone)]
pub(super) struct InOrder(pub(super) Arc<EventRef>);

impl Ord for InOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order().cmp(&other.0.order())
    }
}

impl PartialOrd for InOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for InOrder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InOrder {}

impl InOrder {
    /// Before all events of that time.
    pub(super) fn begin(time: EventTime) -> Self {
        Self(Arc::new(EventRef { id: "".into(), time, sequence: 0, origin: Origin::Sensor }))
    }

    pub(super) fn time(&self) -> EventTime {
        self.0.time
    }
}

/// Events in order, each once.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<InOrder>);

impl Line {
    /// Says whether it was not there.
    pub(super) fn insert(&mut self, event: InOrder) -> bool {
        if self.0.back().is_none_or(|last| *last < event) {
            self.0.push_back(event);
            return true;
        }
        let at = self.0.partition_point(|held| *held < event);
        let is_new = self.0[at] != event;
        if is_new {
            self.0.insert(at, event);
        }
        is_new
    }

    pub(super) fn remove(&mut self, event: &InOrder) {
        if let Ok(at) = self.0.binary_search(event) {
            self.0.remove(at);
        }
    }

    pub(super) fn has(&self, event: &InOrder) -> bool {
        self.0.binary_search(event).is_ok()
    }

    pub(super) fn from(&self, begin: &InOrder) -> impl Iterator<Item = &InOrder> {
        self.0.range(self.0.partition_point(|held| held < begin)..)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &InOrder> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Things by their time, put in order only when it is their time.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    minutes: BTreeMap<i64, Minute<T>>,
    n: usize,
}

#[derive(Debug)]
struct Minute<T> {
    things: Vec<T>,
    /// The last first.
    is_sorted: bool,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { minutes: BTreeMap::new(), n: 0 }
    }
}

impl<T: Ord> Agenda<T> {
    const MINUTE: i64 = 60_000_000_000;

    /// What comes first in the order of things has the earlier time, too.
    pub(super) fn add(&mut self, time: EventTime, thing: T) {
        let empty = || Minute { things: Vec::new(), is_sorted: false };
        let minute = self.minutes.entry(time.0.div_euclid(Self::MINUTE)).or_insert_with(empty);
        minute.things.push(thing);
        minute.is_sorted = false;
        self.n += 1;
    }

    pub(super) fn first(&mut self) -> Option<&T> {
        let minute = self.minutes.values_mut().next()?;
        minute.sort();
        minute.things.last()
    }

    pub(super) fn pop_first(&mut self) -> Option<T> {
        let mut first = self.minutes.first_entry()?;
        first.get_mut().sort();
        let thing = first.get_mut().things.pop();
        if first.get().things.is_empty() {
            first.remove();
        }
        self.n -= 1;
        thing
    }

    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        self.minutes.retain(|_, minute| {
            minute.things.retain(&mut is_kept);
            !minute.things.is_empty()
        });
        self.n = self.minutes.values().map(|minute| minute.things.len()).sum();
    }

    pub(super) fn len(&self) -> usize {
        self.n
    }
}

impl<T: Ord> Minute<T> {
    fn sort(&mut self) {
        if !std::mem::replace(&mut self.is_sorted, true) {
            // In runs for the most part, which the stable one only merges.
            self.things.sort_by(|a, b| b.cmp(a));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyed::testing::hit;

    fn event(n: u32) -> InOrder {
        InOrder(Arc::clone(&hit(&format!("A{n}")).event))
    }

    #[test]
    fn a_line_keeps_each_event_once_and_in_order() {
        let mut line = Line::default();
        let new: Vec<bool> = [3, 5, 4, 3, 9, 5, 1].into_iter().map(|n| line.insert(event(n))).collect();
        assert_eq!(new, [true, true, true, false, true, false, true]);
        line.remove(&event(4));
        line.remove(&event(7));
        let seconds = |events: Vec<&InOrder>| -> Vec<i64> {
            events.iter().map(|event| event.time().0 / 1_000_000_000).collect()
        };
        assert_eq!(seconds(line.iter().collect()), [1, 3, 5, 9]);
        assert_eq!(seconds(line.from(&InOrder::begin(event(3).time())).collect()), [3, 5, 9]);
        assert!(line.has(&event(5)) && !line.has(&event(4)));
    }

    proptest! {
        #[test]
        fn an_agenda_gives_out_in_order(drawn in prop::collection::vec((0_i64..300, any::<bool>()), 0..60)) {
            let (mut agenda, mut plain) = (Agenda::default(), std::collections::BTreeSet::new());
            for (nth, (seconds, pops)) in drawn.into_iter().enumerate() {
                let time = EventTime(seconds * 1_000_000_000);
                agenda.add(time, (time, nth));
                plain.insert((time, nth));
                prop_assert_eq!(agenda.first(), plain.first());
                if pops {
                    prop_assert_eq!(agenda.pop_first(), plain.pop_first());
                }
            }
            agenda.retain(|(_, nth)| nth % 2 == 0);
            plain.retain(|(_, nth)| nth % 2 == 0);
            prop_assert_eq!(agenda.len(), plain.len());
            while let Some(first) = plain.pop_first() {
                prop_assert_eq!(agenda.pop_first(), Some(first));
            }
            prop_assert_eq!(agenda.first(), None);
        }
    }
}
