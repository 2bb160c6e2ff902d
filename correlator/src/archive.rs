//! The events that state rests on, whole. State itself holds [`EventRef`]s; who tells of an event asks here for the rest.
//!
//! An event is held until nothing can rest on it any more. Without a store that is here; with one, what is written goes
//! from here, and is read again when an alert needs it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use rules::event::{Event, EventTime};
use rustc_hash::FxHashMap;

use crate::keyed::EventRef;
use crate::source::{Origin, Record};

/// Written events that stay at hand: an alert asks for its events again whenever it grows.
const MAX_AT_HAND: usize = 4_096;
const MINUTE: i64 = 60_000_000_000;

/// Where written events can be read again.
pub(crate) trait Shelf: fmt::Debug + Send {
    fn fetch(&self, event: &EventRef) -> Option<Record>;
}

#[derive(Debug, Default)]
pub(crate) struct Archive {
    held: FxHashMap<Box<str>, Held>,
    /// By the minute in which they may go. One whose time was put off is found again where it was, and moved.
    by_minute: BTreeMap<i64, Vec<Box<str>>>,
    /// Events that are written and needed for longer than was written.
    put_off: FxHashMap<Box<str>, LongerEvent>,
    shelf: Option<Box<dyn Shelf>>,
    at_hand: RefCell<AtHand>,
    /// What the held events take of memory, about.
    n_bytes: u64,
    /// Events that were let go of before their time.
    n_evicted: u64,
}

#[derive(Debug)]
struct Held {
    record: Arc<Record>,
    until: EventTime,
    role: Need,
}

/// What an event is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// State rests on it.
    State,
    /// It may explain alerts: which, is asked anew at every start.
    Context,
    Both,
}

impl Need {
    fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

/// First in, first out.
#[derive(Debug, Default)]
struct AtHand {
    by_id: FxHashMap<Box<str>, Arc<Record>>,
    order: VecDeque<Box<str>>,
}

impl AtHand {
    fn put(&mut self, record: &Arc<Record>) {
        let id = &record.event.id;
        if self.by_id.insert(id.clone(), Arc::clone(record)).is_some() {
            return;
        }
        self.order.push_back(id.clone());
        while self.order.len() > MAX_AT_HAND {
            let Some(oldest) = self.order.pop_front() else { break };
            self.by_id.remove(&oldest);
        }
    }
}

#[derive(Debug)]
pub(crate) struct UnwrittenEvent {
    pub(crate) record: Arc<Record>,
    pub(crate) until: EventTime,
    pub(crate) role: Need,
}

/// What the store does not have yet.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    pub(crate) events: Vec<UnwrittenEvent>,
    pub(crate) put_off: Vec<(Box<str>, LongerEvent)>,
}

/// An event the store has, and until when it is needed now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongerEvent {
    pub(crate) time: EventTime,
    pub(crate) origin: Origin,
    pub(crate) until: EventTime,
}

impl Archive {
    /// From here on, what was given out by [`Self::take_unwritten`] is read from `shelf`.
    pub(crate) fn set_shelf(&mut self, shelf: Box<dyn Shelf>) {
        self.shelf = Some(shelf);
    }

    /// An event is needed until then at least.
    pub(crate) fn hold(&mut self, record: &Arc<Record>, until: EventTime, role: Need) {
        let id = &record.event.id;
        match self.held.get_mut(id) {
            Some(held) => {
                held.until = held.until.max(until);
                held.role = held.role.and(role);
            }
            None => {
                self.n_bytes += weight(record);
                self.held.insert(id.clone(), Held { record: Arc::clone(record), until, role });
                self.by_minute.entry(until.0.div_euclid(MINUTE)).or_default().push(id.clone());
            }
        }
    }

    /// The same, of one that may be held as it was before: what is held from now on is this.
    pub(crate) fn hold_instead(&mut self, record: &Arc<Record>, until: EventTime) {
        if let Some(held) = self.held.get_mut(&record.event.id) {
            self.n_bytes = self.n_bytes + weight(record) - weight(&held.record);
            held.record = Arc::clone(record);
        }
        self.at_hand.get_mut().by_id.remove(&record.event.id);
        self.hold(record, until, Need::State);
    }

    /// The same, of one that was held before.
    pub(crate) fn hold_longer(&mut self, event: &EventRef, until: EventTime) {
        match self.held.get_mut(&event.id) {
            Some(held) => held.until = held.until.max(until),
            None if self.shelf.is_some() => {
                let longer = LongerEvent { time: event.time, origin: event.origin, until };
                let held = self.put_off.entry(event.id.clone()).or_insert(longer);
                held.until = held.until.max(until);
            }
            None => {}
        }
    }

    /// The whole event. One that is no longer held comes with its id and time alone.
    pub(crate) fn open(&self, event: &EventRef) -> Arc<Record> {
        if let Some(held) = self.held.get(&event.id) {
            return Arc::clone(&held.record);
        }
        if let Some(record) = self.at_hand.borrow().by_id.get(&event.id) {
            return Arc::clone(record);
        }
        let fetched = self.shelf.as_ref().and_then(|shelf| shelf.fetch(event));
        let record = Arc::new(fetched.unwrap_or_else(|| nameplate(event)));
        self.at_hand.borrow_mut().put(&record);
        record
    }

    /// What is to be written. It goes from here where it can be read again.
    pub(crate) fn take_unwritten(&mut self) -> Unwritten {
        if self.shelf.is_none() {
            let unwritten = |Held { record, until, role }: &Held| UnwrittenEvent {
                record: Arc::clone(record),
                until: *until,
                role: *role,
            };
            return Unwritten { events: self.held.values().map(unwritten).collect(), put_off: Vec::new() };
        }
        self.by_minute.clear();
        self.n_bytes = 0;
        let at_hand = self.at_hand.get_mut();
        let held = self.held.drain().map(|(_, Held { record, until, role })| {
            at_hand.put(&record);
            UnwrittenEvent { record, until, role }
        });
        Unwritten { events: held.collect(), put_off: self.put_off.drain().collect() }
    }

    /// What is held takes of memory, about. What is written and read again is not counted: there is little of it.
    pub(crate) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Events that were let go of before their time.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.n_evicted
    }

    /// Lets go of those whose time would be up first. Says whether there were any.
    pub(crate) fn evict_some(&mut self) -> bool {
        // Those that must be written first go from here when they are.
        if self.shelf.is_some() {
            return false;
        }
        let Some(mut first) = self.by_minute.first_entry() else { return false };
        // Not the whole minute: those that came last have the most to give.
        let n_gone = first.get().len().div_ceil(4);
        let ids: Vec<Box<str>> = first.get_mut().drain(..n_gone).collect();
        if first.get().is_empty() {
            first.remove();
        }
        for id in ids {
            if let Some(held) = self.held.remove(&id) {
                self.n_bytes -= weight(&held.record);
                self.n_evicted += 1;
            }
        }
        true
    }

    /// Lets go of what nothing rests on at `watermark`.
    pub(crate) fn expire(&mut self, watermark: EventTime) {
        while let Some(first) = self.by_minute.first_entry() {
            if *first.key() >= watermark.0.div_euclid(MINUTE) {
                break;
            }
            for id in first.remove() {
                let Some(held) = self.held.get(&id) else { continue };
                if held.until < watermark {
                    self.n_bytes -= weight(&held.record);
                    self.held.remove(&id);
                } else {
                    self.by_minute.entry(held.until.0.div_euclid(MINUTE)).or_default().push(id);
                }
            }
        }
    }
}

/// The event's text, its fields and its place in tables.
fn weight(record: &Record) -> u64 {
    1_024 + 2 * record.raw.len() as u64
}

/// All that is left of an event that is no longer held.
fn nameplate(of: &EventRef) -> Record {
    let mut event = Event::new(of.id.clone(), of.time, "");
    event.sequence = of.sequence;
    let raw = serde_json::json!({"event": {"id": of.id}, "groundtrail": {"is_forgotten": true}}).to_string();
    Record {
        event,
        origin: Origin::Sensor,
        raw: raw.into(),
        hits: Arc::default(),
        places: Arc::default(),
        facts: Arc::default(),
        claimed: None,
        prepared: None,
    }
}
