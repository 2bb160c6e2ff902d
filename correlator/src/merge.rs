//! Many sources, one stream, and how far all of them together have come.
//!
//! Records pass in the order they arrive: what comes out of them does not depend on it. What depends on order is when
//! something may be called absent, and for that the stream carries watermarks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rules::event::{EventTime, Span};

use crate::source::{Position, Record, Rejected, SourceItem};
use crate::time::{Clock, Lateness, Watermark};

/// A source of this merge, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(u32);

/// The receiving side is gone: time to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads this source any more")]
pub struct Closed;

/// A source's end of the channel. Sending waits while the channel is full: nothing is dropped here.
#[derive(Debug, Clone)]
pub struct Outlet {
    id: SourceId,
    tx: SyncSender<(SourceId, SourceItem)>,
}

impl Outlet {
    /// # Errors
    /// When the merge is gone.
    pub fn send(&self, item: SourceItem) -> Result<(), Closed> {
        self.tx.send((self.id, item)).map_err(|_closed| Closed)
    }
}

/// What the merge hands on.
#[derive(Debug, Clone)]
pub enum Merged {
    Record(SourceId, Record),
    Rejected(Rejected),
    Position(Position),
    /// All sources together have come so far. Only ever forward.
    Watermark(EventTime),
    /// Every source has ended.
    End,
}

/// How sources that say nothing count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Time passes by the clock: a source that is idle for this long is as far as the clock, less its lateness.
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
}

#[derive(Debug)]
struct State {
    name: Arc<str>,
    lateness: Lateness,
    newest: Option<EventTime>,
    /// By the clock.
    last_heard: EventTime,
    is_idle: bool,
    has_ended: bool,
    n_records: u64,
    n_rejected: u64,
    n_late: u64,
}

/// An event further ahead of the clock than this does not move the watermark: one host with a wrong clock would make
/// everything else late.
const MAX_AHEAD: Span = Span::from_secs(60);

/// Watermarks are given out in steps of at least this, to spare the receiver.
const STEP: Span = Span::from_millis(500);

/// The meeting point of all sources.
pub struct Merge {
    tx: Option<SyncSender<(SourceId, SourceItem)>>,
    rx: Receiver<(SourceId, SourceItem)>,
    sources: Vec<State>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    given_out: Option<EventTime>,
    /// Handed on at the next call.
    pending: Option<EventTime>,
}

impl Merge {
    /// `capacity` is the number of items that may wait over all sources.
    pub fn new(capacity: usize, pace: Pace, clock: Arc<dyn Clock>) -> Self {
        let (tx, rx) = sync_channel(capacity);
        Self { tx: Some(tx), rx, sources: Vec::new(), clock, pace, given_out: None, pending: None }
    }

    /// Adds a source. All are added before the first item is taken.
    pub fn add(&mut self, name: impl Into<Arc<str>>, lateness: Lateness) -> Outlet {
        let id = SourceId(u32::try_from(self.sources.len()).expect("sources are counted in tens"));
        self.sources.push(State {
            name: name.into(),
            lateness,
            newest: None,
            last_heard: self.clock.now(),
            is_idle: false,
            has_ended: false,
            n_records: 0,
            n_rejected: 0,
            n_late: 0,
        });
        let tx = self.tx.clone().expect("sources are added before the merge is read");
        Outlet { id, tx }
    }

    /// The next thing, or none when nothing came for `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Option<Merged> {
        self.tx = None;
        // One for all that comes: sources that only say they are idle must not keep the caller here.
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(time) = self.pending.take() {
                return Some(Merged::Watermark(time));
            }
            match self.rx.try_recv() {
                Ok((id, item)) => {
                    if let Some(merged) = self.take(id, item) {
                        return Some(merged);
                    }
                    continue;
                }
                Err(TryRecvError::Disconnected) => return self.finish(),
                Err(TryRecvError::Empty) => {}
            }
            // Nothing waits: time to say how far everybody is.
            self.move_watermark(Span(1));
            if self.pending.is_some() {
                continue;
            }
            match self.rx.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((id, item)) => {
                    if let Some(merged) = self.take(id, item) {
                        return Some(merged);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.move_watermark(Span(1));
                    return self.pending.take().map(Merged::Watermark);
                }
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    pub fn name(&self, id: SourceId) -> &Arc<str> {
        &self.sources[id.0 as usize].name
    }

    pub fn progress(&self) -> Vec<Progress> {
        let now = self.clock.now();
        let progress = |state: &State| Progress {
            name: Arc::clone(&state.name),
            newest: state.newest,
            watermark: self.watermark_of(state, now).unwrap_or(Watermark::Idle),
            n_records: state.n_records,
            n_rejected: state.n_rejected,
            n_late: state.n_late,
            has_ended: state.has_ended,
        };
        self.sources.iter().map(progress).collect()
    }

    /// A source that vanished without a word has ended, too.
    fn finish(&mut self) -> Option<Merged> {
        self.sources.iter_mut().for_each(|state| state.has_ended = true);
        Some(Merged::End)
    }

    fn take(&mut self, id: SourceId, item: SourceItem) -> Option<Merged> {
        let now = self.clock.now();
        let state = &mut self.sources[id.0 as usize];
        state.last_heard = now;
        state.is_idle = false;
        let merged = match item {
            SourceItem::Record(record) => {
                let time = record.event.time;
                state.n_records += 1;
                if self.given_out.is_some_and(|given_out| time < given_out) {
                    state.n_late += 1;
                }
                let is_sane = self.pace == Pace::Replay || time <= now + MAX_AHEAD;
                if is_sane {
                    state.newest = state.newest.max(Some(time));
                }
                Some(Merged::Record(id, record))
            }
            SourceItem::Rejected(rejected) => {
                state.n_rejected += 1;
                Some(Merged::Rejected(rejected))
            }
            SourceItem::Position(position) => Some(Merged::Position(position)),
            SourceItem::Idle => {
                state.is_idle = true;
                None
            }
            SourceItem::End => {
                state.has_ended = true;
                None
            }
        };
        // In steps while there is much to do.
        self.move_watermark(STEP);
        merged
    }

    fn move_watermark(&mut self, step: Span) {
        let now = self.clock.now();
        let mut all = Watermark::Idle;
        for state in &self.sources {
            match self.watermark_of(state, now) {
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

    fn watermark_of(&self, state: &State, now: EventTime) -> Option<Watermark> {
        if state.has_ended {
            return Some(Watermark::Idle);
        }
        let by_events = state.newest.map(|newest| state.lateness.watermark(newest));
        match self.pace {
            Pace::Replay if state.is_idle => Some(Watermark::Idle),
            Pace::Replay => by_events,
            Pace::Live { idle_after } => {
                if state.is_idle || now - state.last_heard >= idle_after {
                    return Some(state.lateness.watermark(now));
                }
                by_events
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Origin;
    use crate::source::normalize::tests::normalizer;
    use crate::time::{VirtualClock, parse};

    fn at(second: i64) -> EventTime {
        parse("2026-11-02T10:00:00Z").unwrap() + Span::from_secs(second)
    }

    fn record(second: i64) -> SourceItem {
        let text = format!(r#"{{"@timestamp":"{}"}}"#, crate::time::format(at(second)));
        SourceItem::Record(normalizer().read(Origin::Sensor, text).unwrap())
    }

    fn late(seconds: i64) -> Lateness {
        Lateness(Span::from_secs(seconds))
    }

    /// What comes out until nothing more does; records as `r<second>`, watermarks as `w<second>`.
    fn drain(merge: &mut Merge) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(merged) = merge.next(Duration::ZERO) {
            match merged {
                Merged::Record(_, record) => {
                    out.push(format!("r{}", (record.event.time - at(0)).0 / 1_000_000_000))
                }
                Merged::Watermark(time) => out.push(format!("w{}", (time - at(0)).0 / 1_000_000_000)),
                Merged::End => {
                    out.push("end".to_owned());
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        out
    }

    #[test]
    fn the_slowest_source_holds_the_watermark() {
        let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
        let (fast, slow) = (merge.add("sensor", late(5)), merge.add("cloudtrail", late(60)));
        fast.send(record(100)).unwrap();
        assert_eq!(drain(&mut merge), ["r100"], "the other has not spoken yet");
        slow.send(record(90)).unwrap();
        assert_eq!(drain(&mut merge), ["r90", "w30"]);
        slow.send(record(50)).unwrap();
        assert_eq!(drain(&mut merge), ["r50"], "never backwards");
        slow.send(SourceItem::End).unwrap();
        assert_eq!(drain(&mut merge), ["w95"]);
        drop((fast, slow));
        assert_eq!(drain(&mut merge), ["end"]);
    }

    #[test]
    fn an_idle_source_holds_nobody_in_replay() {
        let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
        let (one, two) = (merge.add("one", late(0)), merge.add("two", late(0)));
        two.send(SourceItem::Idle).unwrap();
        one.send(record(7)).unwrap();
        assert_eq!(drain(&mut merge), ["r7", "w7"]);
    }

    #[test]
    fn a_silent_live_source_moves_with_the_clock() {
        let clock = Arc::new(VirtualClock::at(at(0)));
        let idle_after = Span::from_secs(10);
        let mut merge = Merge::new(16, Pace::Live { idle_after }, Arc::clone(&clock) as Arc<dyn Clock>);
        let (sensor, _cloud) = (merge.add("sensor", late(5)), merge.add("cloudtrail", late(60)));
        sensor.send(record(0)).unwrap();
        assert_eq!(drain(&mut merge), ["r0"]);
        clock.advance_to(at(100));
        assert_eq!(drain(&mut merge), ["w40"], "the one with the longest lateness, by the clock");
    }

    #[test]
    fn a_clock_that_runs_ahead_does_not_make_the_rest_late() {
        let clock = Arc::new(VirtualClock::at(at(0)));
        let mut merge = Merge::new(16, Pace::Live { idle_after: Span::from_secs(10) }, clock);
        let sensor = merge.add("sensor", late(5));
        sensor.send(record(0)).unwrap();
        sensor.send(record(1_000_000)).unwrap();
        sensor.send(record(1)).unwrap();
        let out = drain(&mut merge);
        assert!(!out.iter().any(|item| item.starts_with('w') && item.len() > 3), "{out:?}");
        assert_eq!(merge.progress()[0].n_late, 0);
    }

    #[test]
    fn late_records_pass_and_are_counted() {
        let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
        let one = merge.add("one", late(0));
        for second in [10, 20, 5] {
            one.send(record(second)).unwrap();
        }
        assert_eq!(drain(&mut merge), ["r10", "w10", "r20", "w20", "r5"]);
        assert_eq!(merge.progress()[0].n_late, 1);
    }

    #[test]
    fn a_full_channel_makes_the_source_wait() {
        let mut merge = Merge::new(1, Pace::Replay, Arc::new(VirtualClock::default()));
        let one = merge.add("one", late(0));
        let sender = std::thread::spawn(move || (0..100).try_for_each(|second| one.send(record(second))));
        let n_records = std::iter::from_fn(|| merge.next(Duration::from_secs(5)))
            .take_while(|merged| !matches!(merged, Merged::End))
            .filter(|merged| matches!(merged, Merged::Record(..)))
            .count();
        assert_eq!((n_records, sender.join().unwrap()), (100, Ok(())));
    }

    #[test]
    fn sources_that_are_idle_do_not_keep_the_caller() {
        let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
        let one = merge.add("one", late(0));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..200 {
                    let _ = one.send(SourceItem::Idle);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            assert!(merge.next(Duration::from_millis(50)).is_none(), "and not the end, a second later");
            drop(merge);
        });
    }

    #[test]
    fn a_source_learns_that_nobody_reads() {
        let mut merge = Merge::new(1, Pace::Replay, Arc::new(VirtualClock::default()));
        let one = merge.add("one", late(0));
        drop(merge);
        assert_eq!(one.send(SourceItem::Idle), Err(Closed));
    }
}
