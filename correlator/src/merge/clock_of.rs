//! One clock that stamps events: a host's, or an account's in a region. How far it has come, and whether it can be right.

use std::fmt;
use std::sync::Arc;

use rules::event::{EventTime, Span};

use super::lag::Lags;
use super::numbers::Numbers;
use crate::untrusted::Untrusted;

/// An event further ahead of its arrival than this was stamped by a wrong clock.
const MAX_AHEAD: Span = Span::from_secs(60);
/// 2000-01-01: older than anything these sources can tell of. A machine that lost its clock begins at 1970.
const OLDEST: EventTime = EventTime(946_684_800_000_000_000);
/// A host that is this far behind is either working off a backlog or has a wrong clock.
const BEHIND: Span = Span::from_secs(60);
/// A backlog moves on faster than time does; this long is enough to see it.
const TRIAL: Span = Span::from_secs(10);
/// Nobody waits longer for a host to catch up.
const MAX_TRIAL: Span = Span::from_secs(15 * 60);

/// A clock that goes on being wrong is told of this often.
const DOUBT_AGAIN: Span = Span::from_secs(3_600);

/// A clock that cannot be right, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub source: Arc<str>,
    /// The host, or the account and region.
    pub clock: Arc<str>,
    pub what: Doubted,
    /// How far the event's time was from its arrival.
    pub off_by: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubted {
    Ahead,
    Unset,
    Behind,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.off_by.0.unsigned_abs() / 1_000_000_000;
        let name = Untrusted(&*self.clock);
        match self.what {
            Doubted::Ahead => {
                write!(
                    f,
                    "the clock of \"{name}\" is ahead by {secs} s: its events count as of their arrival"
                )
            }
            Doubted::Unset => {
                write!(f, "the clock of \"{name}\" was never set: its events count as of their arrival")
            }
            Doubted::Behind => write!(
                f,
                "the clock of \"{name}\" is behind by {secs} s and does not catch up: nobody waits for it"
            ),
        }
    }
}

/// What is wrong with an event's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdated {
    Future,
    Ancient,
}

pub(super) fn misdated(time: EventTime, now: EventTime) -> Option<Misdated> {
    if time > now + MAX_AHEAD {
        Some(Misdated::Future)
    } else if time < OLDEST {
        Some(Misdated::Ancient)
    } else {
        None
    }
}

#[derive(Debug)]
pub(super) struct StampedBy {
    pub(super) name: Arc<str>,
    pub(super) newest: EventTime,
    /// As far as its source was known then.
    pub(super) last_heard: EventTime,
    pub(super) lags: Lags,
    pub(super) n_events: u64,
    pub(super) n_misdated: u64,
    pub(super) numbers: Numbers,
    pub(super) n_losses: u64,
    /// It holds nobody up: see [`BEHIND`].
    pub(super) is_astray: bool,
    trial: Option<Trial>,
    doubted: Option<EventTime>,
}

/// A clock that is behind, under watch.
#[derive(Debug, Clone, Copy)]
struct Trial {
    since: EventTime,
    /// How far the source was known, and the newest event's time, when it was last judged.
    judged: (EventTime, EventTime),
}

impl StampedBy {
    pub(super) fn new(name: Arc<str>, now: EventTime) -> Self {
        Self {
            name,
            newest: EventTime(i64::MIN),
            last_heard: now,
            lags: Lags::default(),
            n_events: 0,
            n_misdated: 0,
            numbers: Numbers::default(),
            n_losses: 0,
            is_astray: false,
            trial: None,
            doubted: None,
        }
    }

    /// Takes the time of an event that can be right. `known`: how far its source is known, which is where time stands while
    /// we or it are held up. `is_host`: the events come in order, so lag tells of the clock.
    pub(super) fn note(&mut self, time: EventTime, sent: EventTime, known: EventTime, is_host: bool) {
        self.newest = self.newest.max(time);
        self.n_events += 1;
        self.lags.note(Span((sent - time).0.max(0)));
        if is_host {
            self.judge(sent, known);
        }
    }

    /// An event whose time says nothing.
    pub(super) fn note_misdated(&mut self) {
        self.n_events += 1;
        self.n_misdated += 1;
    }

    /// Whether it is time to say that the clock is wrong.
    pub(super) fn is_worth_telling(&mut self, now: EventTime) -> bool {
        let is_news = self.doubted.is_none_or(|doubted| now - doubted >= DOUBT_AGAIN);
        if is_news {
            self.doubted = Some(now);
        }
        is_news
    }

    /// A backlog that we are too slow for is no wrong clock, so a trial lasts by `known`.
    fn judge(&mut self, sent: EventTime, known: EventTime) {
        if sent - self.newest <= BEHIND {
            (self.trial, self.is_astray) = (None, false);
            return;
        }
        let trial = self.trial.get_or_insert(Trial { since: known, judged: (known, self.newest) });
        let (then, was) = trial.judged;
        if known - then < TRIAL {
            return;
        }
        let is_catching_up = (self.newest - was).0 / 2 >= (known - then).0;
        self.is_astray = !is_catching_up || known - trial.since > MAX_TRIAL;
        trial.judged = (known, self.newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> EventTime {
        EventTime(1_800_000_000_000_000_000) + Span::from_secs(second)
    }

    /// A clock whose newest event at second n is `stamp(n)`; when it was astray.
    fn run(seconds: std::ops::Range<i64>, stamp: impl Fn(i64) -> i64) -> Vec<i64> {
        let mut clock = StampedBy::new("web-1".into(), at(seconds.start));
        let step = |second: i64| {
            clock.note(at(stamp(second)), at(second), at(second), true);
            clock.is_astray.then_some(second)
        };
        seconds.filter_map(step).collect()
    }

    #[test]
    fn a_clock_an_hour_behind_is_found_out() {
        assert_eq!(run(0..30, |second| second - 3_600).first(), Some(&10));
    }

    #[test]
    fn a_backlog_is_waited_for_and_not_for_ever() {
        assert!(run(0..60, |second| second * 100 - 6_000).is_empty(), "it catches up");
        assert_eq!(run(0..1_000, |second| second * 3 - 1_000_000).first(), Some(&910));
    }

    #[test]
    fn a_backlog_that_waits_for_us_is_no_wrong_clock() {
        let mut clock = StampedBy::new("web-1".into(), at(0));
        // A source that stands before a full queue all the time: an hour's backlog, read at a tenth of its pace.
        for second in 0..3_600 {
            clock.note(at(second / 10 - 3_600), at(second), at(second / 1_000), true);
            assert!(!clock.is_astray, "after {second} s");
        }
    }

    #[test]
    fn a_clock_that_is_set_right_counts_again() {
        let astray = run(0..60, |second| if second < 30 { second - 3_600 } else { second });
        assert_eq!((astray.first(), astray.last()), (Some(&10), Some(&29)));
    }

    #[test]
    fn impossible_times_are_told_from_late_ones() {
        let now = at(0);
        assert_eq!(misdated(EventTime(0), now), Some(Misdated::Ancient));
        assert_eq!(misdated(at(3_600), now), Some(Misdated::Future));
        for second in [60, 0, -86_400 * 365] {
            assert_eq!(misdated(at(second), now), None);
        }
    }
}
