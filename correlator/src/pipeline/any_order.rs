//! What stands in the end is a function of the set of events: whatever their order, however often they come, however late
//! within their lateness, on however many threads, and over both ways to run. For every kind of machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rules::event::{EventTime, Span};
use serde_json::Value;

use super::kinds::world_of_every_kind;
use super::tests::{self, World, described, exec, revisions_end_where_finals_do};
use super::{Mode, finish};
use crate::alert::{AlertChange, AlertState};
use crate::merge::{Merge, Merged, Pace};
use crate::source::feed::{self, Feed};
use crate::time::{Lateness, VirtualClock, parse};

/// How late an event may be in these tests.
const LATENESS: Span = Span::from_secs(60);

/// The alerts that stand in the end, without what tells how they came about.
fn standing(told: impl IntoIterator<Item = AlertChange>) -> BTreeMap<String, Value> {
    let mut last = BTreeMap::new();
    for change in told {
        let mut document = change.document;
        let own = document["groundtrail"]["alert"].as_object_mut().unwrap();
        own.remove("revision");
        own.remove("watermark");
        own.remove("state");
        last.insert(change.id.to_string(), (change.state != AlertState::Withdrawn).then_some(document));
    }
    last.into_iter().filter_map(|(id, document)| Some((id, document?))).collect()
}

/// As a live run does: the watermark follows the newest event at the distance of the lateness.
fn live(world: &World, lines: &[String]) -> BTreeMap<String, Value> {
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    let (mut told, mut newest) = (Vec::new(), EventTime(i64::MIN));
    for (line, n) in lines.iter().zip(1..) {
        let record = world.read(line);
        newest = newest.max(record.event.time);
        told.extend(engine.push(&source, record));
        told.extend(engine.advance(newest - LATENESS));
        if n % 7 == 0 {
            told.extend(engine.flush());
        }
    }
    told.extend(engine.advance(EventTime(i64::MAX)));
    standing(told)
}

fn time_of(line: &str) -> EventTime {
    let at = line.find("2026-").unwrap();
    let end = line[at..].find('"').unwrap();
    parse(&line[at..at + end]).unwrap()
}

/// By event time, and each up to the lateness later than it happened: `lags` says how much, in tenths of seconds.
fn lagging(lines: &[String], lags: &[i64]) -> Vec<String> {
    let arrival = |(line, lag): (&String, &i64)| (time_of(line).0 + lag * 100_000_000, line.clone());
    let mut arriving: Vec<(i64, String)> = lines.iter().zip(lags.iter().cycle()).map(arrival).collect();
    arriving.sort();
    arriving.into_iter().map(|(_, line)| line).collect()
}

/// What reaches every kind of rule: events within five minutes, and what vouches for silence around them.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let vouching = prop_oneof![
        (0_u32..6000).prop_map(|at| exec("true", at)),
        (0_u32..6000).prop_map(|at| described("Images", at)),
        (600_u32..6000).prop_map(|at| exec("worker", at)),
        (1000_u32..1400).prop_map(|at| exec("sh", at)),
    ];
    (tests::lines(), prop::collection::vec(vouching, 0..12)).prop_map(|(lines, more)| [lines, more].concat())
}

/// Through a queue, read by so many threads; with one, as they come.
fn threaded(world: &World, lines: &[String], n_threads: usize) -> Vec<String> {
    let stage = (n_threads > 1).then(|| world.stage(n_threads));
    let mut merge = Merge::new(8, Pace::Replay, Arc::new(VirtualClock::default())).with_stage(stage);
    let outlet = merge.add("test", Lateness(LATENESS));
    let limits = feed::Limits::default();
    let mut engine = world.engine(Mode::Finals);
    thread::scope(|scope| {
        scope.spawn(move || {
            let feed = Feed { source: "test".into(), normalizer: &world.normalizer, outlet, limits };
            let text = lines.join("\n");
            feed.json("lines", text.as_bytes()).unwrap();
        });
        loop {
            match merge.next(Duration::from_secs(1)) {
                Some(Merged::Record(id, record)) => drop(engine.push(&Arc::clone(merge.name(id)), record)),
                Some(Merged::End) => break,
                Some(Merged::Watermark(_)) | None => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(engine.stats().total().received >= lines.len() as u64, "a line may hold several");
    finish(engine).alerts.iter().map(|alert| alert.document.to_string()).collect()
}

#[test]
fn all_rules_say_the_same_on_one_thread_two_and_eight() {
    let (world, all) = World::shipped();
    let mut runner = TestRunner::deterministic();
    let traces = prop::sample::subsequence(all, 150).prop_shuffle();
    let mut n_alerts = 0;
    for _ in 0..3 {
        let lines = traces.new_tree(&mut runner).unwrap().current();
        let one = threaded(&world, &lines, 1);
        n_alerts += one.len();
        for n_threads in [2, 8] {
            assert_eq!(threaded(&world, &lines, n_threads), one, "{n_threads} threads");
        }
    }
    assert!(n_alerts > 10, "{n_alerts} alerts");
}

fn shuffled_twice() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    lines().prop_flat_map(|lines| {
        let twice: Vec<String> = lines.iter().chain(&lines).cloned().collect();
        (Just(lines), Just(twice).prop_shuffle())
    })
}

#[test]
fn the_events_of_these_tests_reach_every_kind_of_rule() {
    let world = world_of_every_kind();
    let mut silent: BTreeSet<String> = world.rule_names();
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let lines = lines().new_tree(&mut runner).unwrap().current();
        for document in world.finals(&lines) {
            let document: Value = serde_json::from_str(&document).unwrap();
            silent.remove(document["rule"]["name"].as_str().unwrap());
        }
    }
    assert!(silent.is_empty(), "these never fired, so nothing is shown of them: {silent:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_and_repetition_end_in_the_same_bytes((lines, shuffled) in shuffled_twice()) {
        let world = world_of_every_kind();
        prop_assert_eq!(world.finals(&lines), world.finals(&shuffled));
    }

    #[test]
    fn any_number_of_threads_says_the_same(lines in lines()) {
        let world = world_of_every_kind();
        let one = threaded(world, &lines, 1);
        prop_assert_eq!(&threaded(world, &lines, 2), &one);
        prop_assert_eq!(&threaded(world, &lines, 8), &one);
    }

    #[test]
    fn two_replays_are_byte_equal(lines in lines()) {
        let finals = || world_of_every_kind().finals(&lines);
        prop_assert_eq!(finals(), finals());
    }

    #[test]
    fn eager_alerts_and_their_revisions_end_where_finals_do(lines in lines()) {
        revisions_end_where_finals_do(world_of_every_kind(), &lines);
    }

    #[test]
    fn lag_within_lateness_changes_nothing(lines in lines(), lags in prop::collection::vec(0..600_i64, 1..40)) {
        let world = world_of_every_kind();
        let sorted = lagging(&lines, &[0]);
        prop_assert_eq!(live(world, &lagging(&lines, &lags)), live(world, &sorted));
    }
}
