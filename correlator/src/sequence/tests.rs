use std::num::NonZeroU32;
use std::sync::Arc;

use expect_test::expect_file;
use proptest::prelude::*;
use rules::event::Span;

use super::{Missing, SequenceShape, StageShape};
use crate::keyed::machine::{Found, Stepped};
use crate::keyed::testing::{Table, hits, written};
use crate::keyed::{Hit, Limits, Match, Shape, Stage};

/// `A !B C*3 5s`: steps in order, missing ones with `!`, runs with `*`, then `maxspan` in seconds.
fn shape(text: &str) -> Shape {
    let mut shape = SequenceShape {
        stages: vec![],
        missing: vec![],
        maxspan: None,
        open_span: Span::from_secs(86_400),
        skew: Limits::default().between_clocks(),
    };
    for word in text.split_whitespace() {
        if let Some(seconds) = word.strip_suffix('s') {
            shape.maxspan = Some(Span::from_millis((seconds.parse::<f64>().unwrap() * 1e3) as i64));
            continue;
        }
        let (name, runs) = word.split_once('*').unwrap_or((word, "1"));
        let step = u16::from(name.trim_start_matches('!').as_bytes()[0] - b'A');
        if name.starts_with('!') {
            shape.missing.push(Missing { step, before: shape.stages.len() });
            continue;
        }
        let runs: NonZeroU32 = runs.parse().unwrap();
        for run in 1..=runs.get() as u16 {
            shape.stages.push(StageShape { step, name: Stage::Run(step + 1, run) });
        }
    }
    Shape::Sequence(shape)
}

fn run(sequence: &str, events: &[Arc<Hit>]) -> Table {
    let mut table = Table::new(shape(sequence), Limits::default());
    for hit in events {
        table.push(hit);
    }
    table
}

/// What the sequence says once all is in, sorted, reversed and doubled alike.
fn check(sequence: &str, events: &str, expect: &[&str]) {
    let events = hits(events);
    let mut sorted = run(sequence, &events);
    sorted.advance(1e9);
    assert_eq!(sorted.shown(), expect, "{sequence}");
    let mut backwards: Vec<_> = events.iter().rev().cloned().collect();
    backwards.extend(events.iter().cloned());
    let mut reversed = run(sequence, &backwards);
    reversed.advance(1e9);
    assert_eq!(reversed.shown(), expect, "{sequence}, backwards");
}

#[test]
fn what_is_written_of_a_sequence_is_laid_out_as_it_was() {
    let texts = ["A B C 60s", "A !B C 60s"].map(|text| written(shape(text), &hits("A1 B2")));
    expect_file!["../keyed/layout/sequence.txt"].assert_eq(&texts.join("\n"));
}

#[test]
fn newest_partial_per_stage_wins() {
    check("A B", "A1 A2 A3 A4 B5", &["A4 B5"]);
}

#[test]
fn a_partial_is_used_up_by_the_event_that_continues_it() {
    check("A B", "A1 B2 B3", &["A1 B2"]);
    check("A B C", "A1 B2 A3 C4 B5 C6", &["A1 B2 C4", "A3 B5 C6"]);
}

#[test]
fn one_event_serves_overlapping_sequences() {
    check("A B", "A1 AB2 AB3 B4", &["A1 AB2", "AB2 AB3", "AB3 B4"]);
}

#[test]
fn no_event_follows_itself() {
    check("A B", "AB1", &[]);
    check("A A", "A1 A2", &["A1 A2"]);
}

#[test]
fn maxspan_is_inclusive_and_exact_on_one_clock() {
    check("A B 1s", "A1 B2", &["A1 B2"]);
    check("A B 1s", "A1 B2.000000001", &[]);
    check("A B 1s", "A1 A1.5 B2.2", &["A1.5 B2.2"]);
    check("A B C 3s", "A1 B2 C4.1", &[]);
}

#[test]
fn a_stale_partial_is_used_up_too() {
    check("A B 1s", "A1 B3 A3.5 B4", &["A3.5 B4"]);
}

#[test]
fn until_ends_what_is_under_way() {
    check("A B", "A1 U2 B3", &[]);
    check("A B", "A1 U2 A3 B4", &["A3 B4"]);
    check("A B", "A1 BU2 B3", &["A1 BU2"]);
    check("A B", "U1 A2 B3", &["A2 B3"]);
}

#[test]
fn an_event_that_is_until_and_first_begins_anew() {
    check("A B", "A1 AU2 B3", &["AU2 B3"]);
}

#[test]
fn runs_repeat_a_stage_and_overlap() {
    check("A*3", "A1 A2 A3 A4", &["A1 A2 A3", "A2 A3 A4"]);
    check("A*2 B", "A1 A2 A3 B4", &["A2 A3 B4"]);
    check("A*3 B", "A1 A2 B3", &[]);
}

#[test]
fn an_event_missing_inside() {
    check("A !B C 10s", "A1 C3", &["A1 C3"]);
    check("A !B C 10s", "A1 B2 C3", &[]);
    check("A !B C 10s", "A1 B2 A2.5 C3", &["A2.5 C3"]);
    check("A !B C 10s", "B0.5 A1 C3 B4", &["A1 C3"]);
}

#[test]
fn an_event_missing_at_the_front() {
    check("!A B 5s", "B10", &["B10"]);
    check("!A B 5s", "A4 B10", &["B10"]);
    check("!A B 5s", "A5 B10", &[]);
    check("!A B C 5s", "B8 A9 C10", &["B8 C10"]);
    check("!A B C 5s", "A6 B8 C10", &[]);
}

#[test]
fn an_event_missing_at_the_end() {
    check("A !B 5s", "A1", &["A1"]);
    check("A !B 5s", "A1 B6", &[]);
    check("A !B 5s", "A1 B6.5", &["A1"]);
    check("A !B 5s", "A1 B0.5", &["A1"]);
}

#[test]
fn missing_events_combine() {
    check("A !B C !D 5s", "A1 C2", &["A1 C2"]);
    check("A !B C !D 5s", "A1 C2 D3", &[]);
    check("A*2 !B 5s", "A1 A2", &["A1 A2"]);
}

#[test]
fn absence_is_told_when_the_watermark_has_passed() {
    let mut table = run("A !B 5s", &hits("A1"));
    assert_eq!(table.shown(), Vec::<String>::new());
    table.advance(6.0);
    assert_eq!(table.shown(), Vec::<String>::new(), "AWS may be 3 s off");
    table.advance(9.5);
    assert_eq!(table.shown(), ["A1"]);
}

#[test]
fn absence_is_withdrawn_when_a_late_event_proves_presence() {
    let mut table = run("A !B 5s", &hits("A1"));
    table.advance(20.0);
    assert_eq!(table.shown(), ["A1"]);
    table.push(&hits("B3")[0]);
    assert_eq!(table.shown(), Vec::<String>::new());
    assert_eq!(table.n_gone, 1);
}

#[test]
fn between_clocks_order_and_maxspan_allow_for_skew() {
    check("A B 1s", "A5 B2c", &["A5 B2c"]);
    check("A B 1s", "A5.1 B2c", &[]);
    check("A B 1s", "A5 B2", &[]);
    check("A B 1s", "A1 B5c", &["A1 B5c"]);
    check("A B 1s", "A1 B5.1c", &[]);
    check("A B C 10s", "A5 B3c C6", &["A5 B3c C6"]);
    check("A !B C 10s", "A5 B4c C6", &[]);
}

/// The same where clocks may be off by so many seconds.
fn check_under(skew: i64, sequence: &str, events: &str, expect: &[&str]) {
    let limits = Limits { skew: Span::from_secs(skew), ..Limits::default() };
    let Shape::Sequence(mut its) = shape(sequence) else { panic!("a sequence") };
    its.skew = limits.between_clocks();
    let mut table = Table::new(Shape::Sequence(its), limits);
    hits(events).iter().for_each(|hit| table.push(hit));
    table.advance(1e9);
    assert_eq!(table.shown(), expect, "{sequence} under {skew} s");
}

#[test]
fn how_far_clocks_may_be_off_is_a_setting() {
    check_under(0, "A B 1s", "A5 B4c", &["A5 B4c"]);
    check_under(0, "A B 1s", "A5.1 B4c", &[]);
    check_under(0, "A B 1s", "A1 B3.1c", &[]);
    check_under(10, "A B 1s", "A16 B5c", &["A16 B5c"]);
    check_under(10, "A B 1s", "A16.1 B5c", &[]);
    check_under(10, "A B 1s", "A16 B5", &[]);
    check_under(0, "A !B C 10s", "A5 B3.9c C6", &["A5 C6"]);
    check_under(10, "A !B C 10s", "A15 B4c C16", &[]);
}

#[test]
fn a_rule_is_known_by_the_words_from_before_there_was_that_setting() {
    let Shape::Sequence(mut its) = shape("A B 5s") else { panic!("a sequence") };
    let words = "SequenceShape { stages: [StageShape { step: 0, name: Run(1, 1) }, StageShape { step: 1, name: Run(2, 1) }], \
                 missing: [], maxspan: Some(Span(5000000000)), open_span: Span(86400000000000) }";
    assert_eq!(format!("{its:?}"), words);
    its.skew = Span::from_secs(10);
    assert_ne!(format!("{its:?}"), words, "what it holds half-seen means something else");
}

#[test]
fn evidence_names_its_stage() {
    let table = run("A*2 B", &hits("A1 A2 B3"));
    let found = table.told.values().next().unwrap();
    let stages: Vec<String> = found.evidence.iter().map(|item| item.stage.to_string()).collect();
    assert_eq!(stages, ["step 1, run 1", "step 1, run 2", "step 2, run 1"]);
}

#[test]
fn a_late_first_event_revises_what_was_told() {
    let mut table = run("A B", &hits("A1 B5"));
    assert_eq!(table.shown(), ["A1 B5"]);
    table.push(&hits("A3")[0]);
    assert_eq!(table.shown(), ["A3 B5"]);
    assert_eq!((table.n_put, table.n_gone), (2, 0), "the same match, revised");
}

#[test]
fn a_closed_history_still_continues() {
    let limits = Limits { grace: Span::from_secs(10), ..Limits::default() };
    let mut table = Table::new(shape("A B 100s"), limits);
    table.push(&hits("A1")[0]);
    table.advance(50.0);
    table.push(&hits("B60")[0]);
    assert_eq!(table.shown(), ["A1 B60"]);
    table.advance(1000.0);
    assert_eq!(table.shown(), ["A1 B60"]);
    assert_eq!(table.keyed.n_keys(), 0, "nothing can happen to this key any more");
}

#[test]
fn a_partial_match_that_is_too_old_holds_no_event_back() {
    // Sorted, C11.5 meets the old A0 AB0.25; live, that one is gone by then.
    let table = run("A B C 4s", &hits("A0 AB0.25 A7.75 C11.5 AB11.75c"));
    assert_eq!(table.shown(), ["A7.75 AB11.75c C11.5"]);
}

const SEQUENCES: &[&str] = &[
    "A B",
    "A B C 4s",
    "A !B C 6s",
    "!A B 3s",
    "A !B 3s",
    "A*3 B 8s",
    "A B A 9s",
    "A B !C 5s",
    "!C A B !D 6s",
];

fn events() -> impl Strategy<Value = Vec<Arc<Hit>>> {
    let letters = prop_oneof!["A", "B", "C", "D", "AB", "BC", "U", "AC"];
    let one = (letters, 0_u32..60, any::<bool>());
    prop::collection::vec(one, 0..40).prop_map(|drawn| {
        let clock = |is_aws: bool| if is_aws { "c" } else { "" };
        let text: Vec<String> = drawn
            .iter()
            .map(|(letters, tenths, is_aws)| {
                format!("{letters}{}{}", f64::from(*tenths) / 4.0, clock(*is_aws))
            })
            .collect();
        let mut hits = hits(&text.join(" "));
        hits.sort_by(|a, b| a.order().cmp(&b.order()));
        hits.dedup_by(|a, b| a.order() == b.order());
        hits
    })
}

proptest! {
    #[test]
    fn any_order_and_repetition_say_the_same(
        sequence in prop::sample::select(SEQUENCES),
        events in events(),
        seed in any::<u64>(),
    ) {
        let mut sorted = run(sequence, &events);
        sorted.advance(1e6);
        let mut shuffled = Table::new(shape(sequence), Limits::default());
        for hit in shuffle(&events, seed) {
            shuffled.push(&hit);
        }
        shuffled.advance(1e6);
        prop_assert_eq!(sorted.shown(), shuffled.shown());
    }

    /// Hits are stepped through only where something has begun.
    #[test]
    fn what_was_laid_by_says_what_stepping_through_all_of_it_would(
        sequence in prop::sample::select(SEQUENCES),
        events in events(),
        seed in any::<u64>(),
        n_ticks in 0_usize..4,
    ) {
        let its = shape(sequence);
        let mut stepped = Stepped::new(&its);
        events.iter().for_each(|hit| stepped.step(&its, hit, &Limits::default()));
        let ids = |found: &Found| -> Vec<Box<str>> {
            found.found.evidence.iter().map(|item| item.event.id.clone()).collect()
        };
        let mut expected: Vec<_> = stepped.matches.by_anchor.values().map(ids).collect();
        let limits = Limits { grace: Span::from_secs(100), ..Limits::default() };
        let mut table = Table::new(its, limits);
        for (nth, hit) in shuffle(&events, seed).iter().enumerate() {
            table.push(hit);
            if n_ticks > 0 && nth % n_ticks == 0 {
                table.advance(0.0);
            }
        }
        table.advance(1e6);
        let of = |found: &Arc<Match>| found.evidence.iter().map(|item| item.event.id.clone()).collect();
        let mut told: Vec<Vec<Box<str>>> = table.told.values().map(of).collect();
        expected.sort();
        told.sort();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn watermarks_within_lateness_change_nothing(
        sequence in prop::sample::select(SEQUENCES),
        events in events(),
        seed in any::<u64>(),
    ) {
        let limits = Limits { grace: Span::from_secs(2), ..Limits::default() };
        let mut sorted = run(sequence, &events);
        sorted.advance(1e6);
        // Each event comes up to 2 s after its place; the watermark is right behind the newest.
        let mut delayed: Vec<(i64, Arc<Hit>)> = events
            .iter()
            .enumerate()
            .map(|(idx, hit)| (hit.time().0 + (mix(seed, idx as u64) % 2_000_000_000) as i64, Arc::clone(hit)))
            .collect();
        delayed.sort_by_key(|(arrival, _)| *arrival);
        let mut live = Table::new(shape(sequence), limits);
        for (arrival, hit) in delayed {
            live.push(&hit);
            live.advance((arrival as f64 / 1e9).floor());
        }
        live.advance(1e6);
        prop_assert_eq!(sorted.shown(), live.shown());
    }
}

fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn shuffle(events: &[Arc<Hit>], seed: u64) -> Vec<Arc<Hit>> {
    let mut twice: Vec<(u64, Arc<Hit>)> = events
        .iter()
        .chain(events)
        .enumerate()
        .map(|(idx, hit)| (mix(seed, idx as u64), Arc::clone(hit)))
        .collect();
    twice.sort_by_key(|(rank, _)| *rank);
    twice.into_iter().map(|(_, hit)| hit).collect()
}
