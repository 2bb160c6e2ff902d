//! Many sources, one stream, and how far all of them together have come.
//!
//! Records pass in the order they arrive, each source in its turn: what comes out of them does not depend on it. What
//! depends on order is when something may be called absent, and for that the stream carries watermarks. A source may speak
//! for many clocks: a sensor stream for its hosts, CloudTrail for accounts and regions. The slowest of them that can be
//! right holds the watermark.

mod clock_of;
mod inlet;
mod known;
mod lag;
mod numbers;
#[cfg(test)]
mod stall_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rules::event::{EventTime, Span, Value};
use rules::schema::{FieldId, Schema};
use rustc_hash::FxHashMap;

use crate::source::{Origin, Position, Receipt, Record, Rejected, RejectedKind, SourceItem};
use crate::stage::Stage;
use crate::time::{Clock, Lateness, Watermark};

pub use clock_of::{Doubt, Doubted};
use clock_of::{Misdated, StampedBy};
pub use inlet::Outlet;
use inlet::{Inlets, Sent, Waited};

/// A source of this merge, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(u32);

/// The receiving side is gone: time to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads this source any more")]
pub struct Closed;

/// What the merge hands on.
#[derive(Debug, Clone)]
pub enum Merged {
    Record(SourceId, Record),
    Rejected(Rejected),
    Position(Position),
    Receipt(Receipt),
    /// Something was not read, by this line of the configuration.
    LeftOut(Arc<str>),
    /// All sources together have come so far. Only ever forward.
    Watermark(EventTime),
    /// A clock cannot be right. Said once in a while.
    Doubt(Doubt),
    /// Every source has ended.
    End,
}

/// How sources that say nothing count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Time passes by the clock: a source that has had nothing to say for this long is as far as the clock, less its
    /// lateness. Time in which nobody asked it does not count.
    Live { idle_after: Span },
    /// Time passes by events alone: idle and ended sources do not count.
    Replay,
}

/// How far one source has come, for health reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub name: Arc<str>,
    /// The newest event's time.
    pub newest: Option<EventTime>,
    pub watermark: Watermark,
    pub n_records: u64,
    pub n_rejected: u64,
    /// Records that came behind the watermark already given out.
    pub n_late: u64,
    pub has_ended: bool,
    /// It could be opened, and read when it was last tried.
    pub is_open: bool,
    /// When anything was last heard of it, by our clock.
    pub last_heard: EventTime,
    /// The clocks it speaks for.
    pub partitions: Vec<PartitionProgress>,
}

/// How far one host, or one account in one region, has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProgress {
    pub name: Arc<str>,
    pub newest: Option<EventTime>,
    pub n_events: u64,
    /// Events from the future or from before there was anything to see: they count as of their arrival.
    pub n_misdated: u64,
    /// Its clock is behind and does not catch up, so nobody waits for it.
    pub is_astray: bool,
    /// From an event's time to its arrival: half of them were faster, and nearly all.
    pub lag_p50: Option<Span>,
    pub lag_p95: Option<Span>,
    pub lag_p99: Option<Span>,
    /// Events that never arrived, by the numbers that the sensor gives them.
    pub n_missing: u64,
    /// Times that the sensor itself reported a loss.
    pub n_losses: u64,
}

#[derive(Debug)]
struct State {
    name: Arc<str>,
    lateness: Lateness,
    newest: Option<EventTime>,
    /// When it last sent something.
    last_heard: EventTime,
    has_ended: bool,
    /// Unknown until it says something.
    is_open: Option<bool>,
    n_records: u64,
    n_rejected: u64,
    n_late: u64,
    clocks: FxHashMap<Box<str>, StampedBy>,
}

/// Watermarks are given out in steps of at least this, to spare the receiver.
const STEP: Span = Span::from_millis(500);
/// A source that claims to speak for more clocks than this has the rest of them counted as one.
const MAX_CLOCKS: usize = 10_000;
const THE_REST: &str = "(others)";

/// Fields that say whose clock stamped an event.
#[derive(Debug, Clone, Copy, Default)]
struct ClockFields {
    host: Option<FieldId>,
    account: Option<FieldId>,
    region: Option<FieldId>,
    timestamp: Option<FieldId>,
    action: Option<FieldId>,
}

/// A source that says by itself when it has nothing more, and then says nothing at all for so long, is stuck.
const STUCK: Span = Span::from_secs(15 * 60);

/// The meeting point of all sources.
pub struct Merge {
    inlets: Inlets,
    sources: Vec<State>,
    fields: ClockFields,
    stage: Option<Stage>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    given_out: Option<EventTime>,
    /// Handed on at the next call.
    pending: Option<EventTime>,
    /// Of a batch that was read together, what was not handed on yet.
    ready: VecDeque<(SourceId, Sent)>,
    /// Something came since the watermark was last moved.
    has_taken: bool,
    doubts: Vec<Doubt>,
    /// Records until the watermark is looked at again.
    until_look: usize,
    /// Reused: the name of a record's clock.
    buffer: String,
}

impl Merge {
    /// `capacity` is the number of items that may wait for each source.
    pub fn new(capacity: usize, pace: Pace, clock: Arc<dyn Clock>) -> Self {
        Self {
            inlets: Inlets::new(capacity, Arc::clone(&clock)),
            sources: Vec::new(),
            fields: ClockFields::default(),
            stage: None,
            clock,
            pace,
            given_out: None,
            pending: None,
            ready: VecDeque::new(),
            has_taken: false,
            doubts: Vec::new(),
            until_look: 0,
            buffer: String::new(),
        }
    }

    /// Has the sources' texts read, and the rules asked, by these workers. Before sources are added.
    #[must_use]
    pub fn with_stage(mut self, stage: Option<Stage>) -> Self {
        self.stage = stage;
        self
    }

    /// Tells the clocks apart that a source speaks for.
    #[must_use]
    pub fn by_clock(mut self, schema: &Schema) -> Self {
        self.fields = ClockFields {
            host: schema.id("host.id"),
            account: schema.id("cloud.account.id"),
            region: schema.id("cloud.region"),
            timestamp: schema.id("@timestamp"),
            action: schema.id("event.action"),
        };
        self
    }

    /// Adds a source. All are added before the first item is taken.
    pub fn add(&mut self, name: impl Into<Arc<str>>, lateness: Lateness) -> Outlet {
        self.add_paced(name.into(), lateness, self.pace)
    }

    /// Adds a source that says [`SourceItem::Idle`] whenever it has read all there is. Until then it may be working off a
    /// backlog, however quietly: listing a large folder and unpacking a large file are no silence.
    pub fn add_follower(&mut self, name: impl Into<Arc<str>>, lateness: Lateness) -> Outlet {
        let pace = match self.pace {
            Pace::Live { idle_after } => Pace::Live { idle_after: idle_after.max(STUCK) },
            Pace::Replay => Pace::Replay,
        };
        self.add_paced(name.into(), lateness, pace)
    }

    fn add_paced(&mut self, name: Arc<str>, lateness: Lateness, pace: Pace) -> Outlet {
        let (_, outlet) = self.inlets.add(pace);
        let outlet = outlet.with_stage(self.stage.clone());
        self.sources.push(State {
            name,
            lateness,
            newest: None,
            last_heard: self.clock.now(),
            has_ended: false,
            is_open: None,
            n_records: 0,
            n_rejected: 0,
            n_late: 0,
            clocks: FxHashMap::default(),
        });
        outlet
    }

    /// The next thing, or none when nothing came for `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Option<Merged> {
        // One for all that comes: sources that only say they are idle must not keep the caller here.
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(time) = self.pending.take() {
                return Some(Merged::Watermark(time));
            }
            if let Some(doubt) = self.doubts.pop() {
                return Some(Merged::Doubt(doubt));
            }
            if let Some((id, sent)) = self.ready.pop_front() {
                self.has_taken = true;
                if let Some(merged) = self.take(id, sent) {
                    return Some(merged);
                }
                continue;
            }
            let waited = match self.inlets.try_next() {
                Waited::Timeout => {
                    // Nothing waits: time to say how far everybody is, once for what came. The clock alone moves some
                    // watermarks all the time, and is not asked again before the deadline.
                    if std::mem::take(&mut self.has_taken) {
                        self.move_watermark(Span(1));
                        if self.pending.is_some() {
                            continue;
                        }
                    }
                    self.inlets.next_before(deadline)
                }
                waited => waited,
            };
            match waited {
                Waited::Item(id, Sent { at, has_waited, item: SourceItem::Soon(batch) }) => {
                    let read = batch.wait().into_iter().map(|item| (id, Sent { at, has_waited, item }));
                    self.ready.extend(read);
                }
                Waited::Item(id, sent) => {
                    self.has_taken = true;
                    if let Some(merged) = self.take(id, sent) {
                        return Some(merged);
                    }
                }
                Waited::Timeout => {
                    self.move_watermark(Span(1));
                    return self.pending.take().map(Merged::Watermark);
                }
                Waited::Closed => return self.finish(),
            }
        }
    }

    pub fn name(&self, id: SourceId) -> &Arc<str> {
        &self.sources[id.0 as usize].name
    }

    /// What everybody has been told.
    pub fn watermark(&self) -> Option<EventTime> {
        self.given_out
    }

    /// By the clock that this merge goes by.
    pub fn now(&self) -> EventTime {
        self.clock.now()
    }

    pub fn progress(&self) -> Vec<Progress> {
        let partition = |clock: &StampedBy| PartitionProgress {
            name: Arc::clone(&clock.name),
            newest: Some(clock.newest).filter(|newest| *newest > EventTime(i64::MIN)),
            n_events: clock.n_events,
            n_misdated: clock.n_misdated,
            is_astray: clock.is_astray,
            lag_p50: clock.lags.percentile(50),
            lag_p95: clock.lags.percentile(95),
            lag_p99: clock.lags.percentile(99),
            n_missing: clock.numbers.n_missing(),
            n_losses: clock.n_losses,
        };
        let progress = |(state, id): (&State, u32)| {
            let mut partitions: Vec<PartitionProgress> = state.clocks.values().map(partition).collect();
            partitions.sort_by(|a, b| a.name.cmp(&b.name));
            Progress {
                name: Arc::clone(&state.name),
                newest: state.newest,
                watermark: self.watermark_of(SourceId(id)).unwrap_or(Watermark::Idle),
                n_records: state.n_records,
                n_rejected: state.n_rejected,
                n_late: state.n_late,
                has_ended: state.has_ended,
                is_open: state.is_open.unwrap_or(false),
                last_heard: state.last_heard,
                partitions,
            }
        };
        self.sources.iter().zip(0..).map(progress).collect()
    }

    /// A source that vanished without a word has ended, too.
    fn finish(&mut self) -> Option<Merged> {
        self.sources.iter_mut().for_each(|state| state.has_ended = true);
        Some(Merged::End)
    }

    fn take(&mut self, id: SourceId, sent: Sent) -> Option<Merged> {
        let Sent { at, item, .. } = sent;
        let state = &mut self.sources[id.0 as usize];
        state.last_heard = at;
        state.is_open = match &item {
            SourceItem::Opened
            | SourceItem::Record(_)
            | SourceItem::Position(_)
            | SourceItem::Receipt(_)
            | SourceItem::LeftOut(_) => Some(true),
            SourceItem::Rejected(rejected) => Some(rejected.kind != RejectedKind::Unreadable),
            // It says nothing new, so what it said before still holds.
            SourceItem::Idle | SourceItem::End | SourceItem::Soon(_) => Some(state.is_open.unwrap_or(true)),
        };
        let merged = match item {
            SourceItem::Opened | SourceItem::Soon(_) => None,
            SourceItem::Record(mut record) => {
                state.n_records += 1;
                self.note(id, &mut record, at);
                Some(Merged::Record(id, record))
            }
            SourceItem::Rejected(rejected) => {
                state.n_rejected += 1;
                Some(Merged::Rejected(rejected))
            }
            SourceItem::Position(position) => Some(Merged::Position(position)),
            SourceItem::Receipt(receipt) => Some(Merged::Receipt(receipt)),
            SourceItem::LeftOut(line) => Some(Merged::LeftOut(line)),
            SourceItem::Idle => None,
            SourceItem::End => {
                state.has_ended = true;
                None
            }
        };
        // In steps while there is much to do, and not more often than all the clocks can be looked at in passing.
        match self.until_look.checked_sub(1) {
            Some(left) => self.until_look = left,
            None => {
                self.until_look = self.sources.iter().map(|state| state.clocks.len()).sum::<usize>() / 4;
                self.move_watermark(STEP);
            }
        }
        merged
    }

    /// Reads the record's time for what it is worth. One that cannot be right gives way to its arrival: it could neither
    /// be waited for nor joined.
    fn note(&mut self, id: SourceId, record: &mut Record, sent: EventTime) {
        let known = self.inlets.known(id).to();
        let is_live = self.pace != Pace::Replay;
        let is_host = record.origin == Origin::Sensor;
        clock_name(&self.fields, record, &mut self.buffer);
        let state = &mut self.sources[id.0 as usize];
        let clock = clock_named(&mut state.clocks, &self.buffer, known);
        clock.last_heard = known;
        let time = record.event.time;
        if is_host {
            clock.numbers.note(record.event.sequence, time);
            let action = self.fields.action.and_then(|field| record.event.get(field));
            if action.and_then(Value::as_str) == Some("groundtrail_loss") {
                clock.n_losses += 1;
            }
        }
        let doubted = match clock_of::misdated(time, sent) {
            Some(misdated) if is_live => {
                clock.note_misdated();
                record.restamp(sent, self.fields.timestamp);
                Some(if misdated == Misdated::Future { Doubted::Ahead } else { Doubted::Unset })
            }
            _ => {
                clock.note(time, sent, known, is_host && is_live);
                state.newest = state.newest.max(Some(time));
                clock.is_astray.then_some(Doubted::Behind)
            }
        };
        if let Some(what) = doubted
            && clock.is_worth_telling(sent)
        {
            let (source, clock) = (Arc::clone(&state.name), Arc::clone(&clock.name));
            self.doubts.push(Doubt { source, clock, what, off_by: sent - time });
        }
        if self.given_out.is_some_and(|given_out| record.event.time < given_out) {
            state.n_late += 1;
        }
    }

    fn move_watermark(&mut self, step: Span) {
        let mut all = Watermark::Idle;
        for (_, id) in self.sources.iter().zip(0..) {
            match self.watermark_of(SourceId(id)) {
                Some(watermark) => all = all.and(watermark),
                // A source that has not spoken yet may still be far behind.
                None => return,
            }
        }
        let Watermark::At(time) = all else { return };
        if self.given_out.is_none_or(|given_out| time >= given_out + step) {
            self.given_out = Some(time);
            self.pending = Some(time);
        }
    }

    fn watermark_of(&self, id: SourceId) -> Option<Watermark> {
        let (state, known) = (&self.sources[id.0 as usize], self.inlets.known(id));
        if state.has_ended {
            return Some(Watermark::Idle);
        }
        match self.pace {
            Pace::Replay if known.is_idle() => Some(Watermark::Idle),
            Pace::Replay => state.newest.map(|newest| state.lateness.watermark(newest)),
            Pace::Live { .. } => {
                let by_clock = state.lateness.watermark(known.to());
                if known.is_quiet() {
                    return Some(by_clock);
                }
                // Of the clocks it speaks for, those that are quiet or cannot be right hold nobody up.
                let holds = |clock: &&StampedBy| {
                    !clock.is_astray
                        && clock.newest > EventTime(i64::MIN)
                        && !known.is_quiet_since(clock.last_heard)
                };
                let slowest = state.clocks.values().filter(holds).map(|clock| clock.newest).min();
                match slowest {
                    Some(slowest) => Some(state.lateness.watermark(slowest)),
                    None if state.clocks.is_empty() => None,
                    None => Some(by_clock),
                }
            }
        }
    }
}

fn clock_named<'c>(
    clocks: &'c mut FxHashMap<Box<str>, StampedBy>,
    name: &str,
    now: EventTime,
) -> &'c mut StampedBy {
    let name = match clocks.contains_key(name) || clocks.len() < MAX_CLOCKS {
        true => name,
        false => THE_REST,
    };
    if !clocks.contains_key(name) {
        clocks.insert(name.into(), StampedBy::new(name.into(), now));
    }
    clocks.get_mut(name).expect("just put there")
}

/// The host for its own events; account and region for AWS's.
fn clock_name(fields: &ClockFields, record: &Record, name: &mut String) {
    let text = |field: Option<FieldId>| {
        let value = field.and_then(|field| record.event.get(field))?;
        value.scalars().first().and_then(Value::as_str)
    };
    /// Longer names are no hosts and no accounts, and each of them is kept.
    const MAX_NAME: usize = 128;
    name.clear();
    let parts = match record.origin {
        Origin::Sensor | Origin::Signal => [text(fields.host), None],
        Origin::CloudTrail | Origin::GuardDuty | Origin::VpcFlow => {
            [text(fields.account), text(fields.region)]
        }
    };
    for part in parts.into_iter().flatten() {
        if !name.is_empty() {
            name.push('/');
        }
        name.extend(part.chars().take(MAX_NAME));
    }
}
