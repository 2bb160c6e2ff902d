//! Engines, sources and machines that stand still for a while: the watermark must not pass what waits meanwhile.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::source::normalize::tests::normalizer;
use crate::time::{VirtualClock, parse};

/// A step of the simulation; all times in it are in milliseconds.
const STEP_MS: i64 = 50;
const POLL_MS: i64 = 500;
const LATENESS_MS: i64 = 5_000;
const IDLE_AFTER_MS: i64 = 2_000;

fn at(ms: i64) -> EventTime {
    parse("2026-11-02T10:00:00Z").unwrap() + Span::from_millis(ms)
}

/// Who does nothing between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Engine,
    /// The process, or the whole machine: the sources, too.
    Everybody,
}

#[derive(Debug, Clone)]
struct Stall {
    held: Held,
    from: i64,
    ms: i64,
}

/// An event and when it was written to where its source reads it.
#[derive(Debug, Clone)]
struct Line {
    written: i64,
    event: i64,
    host: &'static str,
}

/// The host of a line that nobody can read.
const GARBLED: &str = "";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Looks now and then, gives its position, and says when there is no more.
    Polled,
    /// Waits in a read, and says nothing while nothing comes.
    Blocking,
}

/// A source's thread, as far as the merge can tell.
struct Reader {
    kind: Kind,
    outlet: Outlet,
    lines: VecDeque<Line>,
    next_poll: i64,
    to_send: VecDeque<SourceItem>,
    held_up: Option<Sent>,
}

impl Reader {
    fn new(kind: Kind, outlet: Outlet, lines: &[Line]) -> Self {
        let lines = lines.iter().cloned().collect();
        Self { kind, outlet, lines, next_poll: 0, to_send: VecDeque::new(), held_up: None }
    }

    /// Reads and sends until nothing is left or the queue is full.
    fn run(&mut self, now: i64) {
        if let Some(sent) = self.held_up.take() {
            self.held_up = self.outlet.offer(sent).unwrap();
        }
        while self.held_up.is_none() {
            if self.to_send.is_empty() {
                self.read(now);
            }
            let Some(item) = self.to_send.pop_front() else { return };
            self.held_up = self.outlet.offer(Sent { at: at(now), has_waited: false, item }).unwrap();
        }
    }

    fn read(&mut self, now: i64) {
        if self.kind == Kind::Polled && now < self.next_poll {
            return;
        }
        while self.to_send.len() < 3
            && let Some(line) = self.lines.pop_front_if(|line| line.written <= now)
        {
            if line.host == GARBLED {
                let (at, reason) = (String::new(), String::new());
                let kind = RejectedKind::Record;
                let rejected = Rejected { source: "file".into(), at, reason, kind };
                self.to_send.push_back(SourceItem::Rejected(rejected));
                continue;
            }
            let (time, host) = (crate::time::format(at(line.event)), line.host);
            let text = format!(r#"{{"@timestamp":"{time}","host":{{"id":"{host}"}}}}"#);
            let record = normalizer().read(Origin::Sensor, text).unwrap();
            self.to_send.push_back(SourceItem::Record(record));
        }
        if self.kind == Kind::Polled {
            if self.to_send.is_empty() {
                self.to_send.push_back(SourceItem::Idle);
                self.next_poll = now + POLL_MS;
            } else {
                let (key, value) = (String::new(), now.to_string());
                self.to_send.push_back(SourceItem::Position(Position { source: "file".into(), key, value }));
            }
        }
    }
}

/// What a run came to: events that were behind the watermark, and how far it was behind the time in the end.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    n_records: u64,
    n_late: u64,
    is_prompt: bool,
}

/// `n_per_step`: what the engine can do at most.
fn run(sources: &[(Kind, Vec<Line>)], stalls: &[Stall], n_per_step: usize) -> Came {
    let clock = Arc::new(VirtualClock::at(at(0)));
    let idle_after = Span::from_millis(IDLE_AFTER_MS);
    let pace = Pace::Live { idle_after };
    let mut merge = Merge::new(8, pace, Arc::clone(&clock) as Arc<dyn Clock>).by_clock(&Schema::builtin());
    let mut readers: Vec<Reader> = sources
        .iter()
        .map(|(kind, lines)| {
            Reader::new(*kind, merge.add("source", Lateness(Span::from_millis(LATENESS_MS))), lines)
        })
        .collect();
    let over = stalls.iter().map(|stall| stall.from + stall.ms).max().unwrap_or(0);
    let last = sources.iter().flat_map(|(_, lines)| lines).map(|line| line.written).max().unwrap_or(0);
    let n_lines: usize = sources.iter().map(|(_, lines)| lines.len()).sum();
    let busy = STEP_MS * (2 * n_lines / n_per_step) as i64;
    let end = over.max(last) + busy + 2 * IDLE_AFTER_MS + POLL_MS;
    let is_held = |held: Held, now: i64| {
        let mut of = stalls.iter().filter(|stall| stall.held == held);
        of.any(|stall| (stall.from..stall.from + stall.ms).contains(&now))
    };
    for now in (0..=end).step_by(STEP_MS as usize) {
        clock.advance_to(at(now));
        if is_held(Held::Everybody, now) {
            continue;
        }
        // After a halt we may well be first to get on.
        let is_slow_to_wake = is_held(Held::Everybody, now - IDLE_AFTER_MS / 4);
        let is_engine_held = is_held(Held::Engine, now);
        // Room is taken as soon as there is any.
        for _ in 0..n_per_step {
            if !is_slow_to_wake {
                readers.iter_mut().for_each(|reader| reader.run(now));
            }
            if is_engine_held || merge.next(Duration::ZERO).is_none() {
                break;
            }
        }
    }
    let progress = merge.progress();
    Came {
        n_records: progress.iter().map(|of| of.n_records).sum(),
        n_late: progress.iter().map(|of| of.n_late).sum(),
        is_prompt: merge.watermark().is_some_and(|watermark| {
            at(end) - watermark <= Span::from_millis(LATENESS_MS + IDLE_AFTER_MS / 2 + POLL_MS)
        }),
    }
}

fn line(written: i64, host: &'static str) -> Line {
    Line { written, event: written - 100, host }
}

/// All came, none behind the watermark, and it goes on afterwards.
fn all_of(sources: &[(Kind, Vec<Line>)]) -> Came {
    let readable = sources.iter().flat_map(|(_, lines)| lines).filter(|line| line.host != GARBLED);
    Came { n_records: readable.count() as u64, n_late: 0, is_prompt: true }
}

const QUICK: usize = 200;

fn check(name: &str, sources: &[(Kind, Vec<Line>)], stalls: &[Stall]) {
    assert_eq!(run(sources, stalls, QUICK), all_of(sources), "{name}");
}

#[test]
fn what_waits_while_we_stand_still_is_not_late() {
    let engine = |from, ms| vec![Stall { held: Held::Engine, from, ms }];
    let all = |from, ms| vec![Stall { held: Held::Everybody, from, ms }];
    let few: Vec<Line> = [0, 3_000, 6_000, 9_000].map(|written| line(written, "web-1")).into();
    // More than the queue holds: the rest waits in the file.
    let many: Vec<Line> = (0..60).map(|n| line(n * 300, "web-1")).collect();
    let other: Vec<Line> = (0..200).map(|n| line(n * 100, "web-2")).collect();
    let both: Vec<Line> = (0..60)
        .map(|n| Line { event: n * 300 - 100, ..line(n * 300, if n % 20 == 0 { "db-1" } else { "web-1" }) })
        .collect();
    for kind in [Kind::Polled, Kind::Blocking] {
        check("no stall", &[(kind, few.clone())], &[]);
        check("few wait in the queue", &[(kind, few.clone())], &engine(1_000, 25_000));
        check("many wait before it", &[(kind, many.clone())], &engine(1_000, 25_000));
        check(
            "beside a busy one",
            &[(kind, many.clone()), (Kind::Blocking, other.clone())],
            &engine(1_000, 25_000),
        );
        check("two hosts in one source", &[(kind, both.clone())], &engine(1_000, 25_000));
        check("a suspended machine", &[(kind, many.clone())], &all(1_000, 3_600_000));
        check("a stopped process", &[(kind, few.clone()), (kind, other.clone())], &all(1_000, 15_000));
        let slow: Vec<Stall> =
            (0..30).map(|n| Stall { held: Held::Engine, from: n * 3_000, ms: 2_900 }).collect();
        check("a slow disk", &[(kind, many.clone())], &slow);
        let garbled = vec![line(0, "web-1"), line(2_000, GARBLED), line(2_100, "web-1")];
        check("a bad line comes first", &[(kind, garbled)], &all(1_000, 60_000));
    }
}

#[test]
fn an_engine_that_is_too_slow_waits_for_every_host() {
    // A clock of its own, and a second between its events: it holds the others up as long as it is heard of.
    let lines = (0..400).map(|n| match n % 100 {
        0 => Line { event: n * 10 - 20_000, ..line(n * 10, "db-1") },
        _ => line(n * 10, "web-1"),
    });
    let sources = [(Kind::Blocking, lines.collect())];
    assert_eq!(run(&sources, &[], QUICK), all_of(&sources));
    assert_eq!(run(&sources, &[], 1), all_of(&sources));
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    // Long silences and bursts; an event may be a while in its sensor.
    let line = (
        select(vec![0, 50, 300, 1_000, 4_000, 20_000]),
        0..3_000_i64,
        select(vec!["web-1", "db-1", GARBLED]),
    );
    prop::collection::vec(line, 0..60).prop_map(|gaps| {
        let mut written = 0;
        gaps.into_iter()
            .map(|(gap, delay, host)| {
                written += gap;
                Line { written, event: written - delay, host }
            })
            .collect()
    })
}

fn stalls() -> impl Strategy<Value = Vec<Stall>> {
    let held = prop_oneof![Just(Held::Engine), Just(Held::Everybody)];
    let stall = (held, 0..60_000_i64, select(vec![100, 1_500, 2_500, 10_000, 60_000]))
        .prop_map(|(held, from, ms)| Stall { held, from, ms });
    prop::collection::vec(stall, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_stall_makes_events_late(
        sources in prop::collection::vec((select(vec![Kind::Polled, Kind::Blocking]), lines()), 1..4),
        stalls in stalls(),
        n_per_step in select(vec![1, 5, QUICK]),
    ) {
        prop_assert_eq!(run(&sources, &stalls, n_per_step), all_of(&sources));
    }
}
