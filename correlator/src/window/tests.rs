use std::sync::Arc;

use expect_test::expect_file;
use proptest::prelude::*;
use rules::esql;
use rules::event::{Event, EventTime, Span, Value};
use rules::schema::Schema;

use super::{Aggregate, Test, WindowShape};
use crate::keyed::testing::{self, Table, written};
use crate::keyed::{EventRef, Hit, Limits, Match, Shape};
use crate::source::Origin;

fn threshold(count: u64, distinct: Option<u64>, seconds: i64) -> Shape {
    let cardinality = distinct.map(|least| ("event.action".to_owned(), least));
    let test = Test::Threshold { count, cardinality };
    Shape::Window(WindowShape { span: Span::from_secs(seconds), is_tumbling: false, test })
}

/// What a query asks of `event.action`.
fn aggregate(query: &str) -> Aggregate {
    let compiled = esql::compile(&format!("FROM logs-* | {query}"), &mut Schema::builtin());
    let found = compiled.unwrap_or_else(|found| panic!("{query}: {found:?}"));
    Aggregate::new(found.plan.pipeline.expect("it looks at many events"))
}

fn asking(query: &str, is_tumbling: bool, seconds: i64) -> Shape {
    let test = Test::Aggregate(aggregate(query));
    Shape::Window(WindowShape { span: Span::from_secs(seconds), is_tumbling, test })
}

/// A bucket that fires on more than so many distinct values.
fn bucket(more_than: usize) -> Shape {
    let query = format!("STATS unique = COUNT_DISTINCT(event.action) | WHERE unique > {more_than}");
    asking(&query, true, 10)
}

/// Hits with what the query reads of them: their letters are `event.action`.
fn asked(query: &str, text: &str) -> Vec<Arc<Hit>> {
    let (schema, aggregate) = (Schema::builtin(), aggregate(query));
    let action = schema.id("event.action").expect("a field");
    let with_rows = |hit: Arc<Hit>| {
        let mut event = Event::new(hit.event.id.clone(), hit.time(), "logs-test-default");
        hit.values.iter().for_each(|value| event.push(action, Value::str(value.clone())));
        Arc::new(Hit { rows: aggregate.pipeline.rows(&event).into(), ..(*hit).clone() })
    };
    testing::hits(text).into_iter().map(with_rows).collect()
}

fn hits(text: &str) -> Vec<Arc<Hit>> {
    asked("STATS unique = COUNT_DISTINCT(event.action)", text)
}

fn run(shape: &Shape, events: &[Arc<Hit>]) -> Table {
    let mut table = Table::new(shape.clone(), Limits::default());
    for hit in events {
        table.push(hit);
    }
    table.flush();
    table
}

fn check(shape: &Shape, events: &str, expect: &[&str]) {
    let events = hits(events);
    assert_eq!(run(shape, &events).shown(), expect);
    let reversed: Vec<_> = events.iter().rev().cloned().collect();
    assert_eq!(run(shape, &reversed).shown(), expect, "backwards");
}

#[test]
fn threshold_fires_on_the_first_crossing() {
    check(&threshold(3, None, 10), "A1 A2", &[]);
    check(&threshold(3, None, 10), "A1 A2 A3", &["A1 A2 A3"]);
}

#[test]
fn the_window_slides_by_event_time_and_is_inclusive() {
    check(&threshold(3, None, 10), "A1 A2 A11", &["A1 A2 A11"]);
    check(&threshold(3, None, 10), "A1 A2 A11.5", &[]);
    check(&threshold(3, None, 10), "A1 A5 A12 A14", &["A5 A12 A14"]);
}

#[test]
fn a_fired_window_grows_until_it_is_over_then_arms_again() {
    check(&threshold(2, None, 10), "A1 A2 A5 A11", &["A1 A2 A5 A11"]);
    check(&threshold(2, None, 10), "A1 A2 A12", &["A1 A2"]);
    check(&threshold(2, None, 10), "A1 A2 A12 A13", &["A1 A2", "A12 A13"]);
}

#[test]
fn growth_is_the_same_match() {
    let table = run(&threshold(2, None, 10), &hits("A1 A2 A3 A4"));
    assert_eq!((table.n_put, table.n_gone, table.told.len()), (3, 0, 1));
}

#[test]
fn cardinality_counts_distinct_values_inside_the_window() {
    let shape = threshold(3, Some(3), 10);
    check(&shape, "A1 A2 A3 A4", &[]);
    check(&shape, "A1 B2 B3 C4", &["A1 B2 B3 C4"]);
    check(&shape, "A1 B2 C12", &[]);
}

#[test]
fn threshold_columns_say_what_was_counted() {
    let table = run(&threshold(2, Some(2), 10), &hits("A1 B2 B3"));
    let found = table.told.values().next().unwrap();
    let shown: Vec<String> = found.columns.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["count=3", "count_distinct(event.action)=2", "values(event.action)=A, B"]);
}

#[test]
fn a_late_event_moves_the_crossing() {
    let mut table = run(&threshold(3, None, 10), &hits("A2 A3 A4"));
    assert_eq!(table.shown(), ["A2 A3 A4"]);
    table.push(&hits("A1")[0]);
    assert_eq!(table.shown(), ["A1 A2 A3 A4"]);
    assert_eq!(table.n_gone, 1, "the crossing has another first event, so it is another alert");
}

#[test]
fn a_bucket_is_the_key_s_own() {
    check(&bucket(2), "A1 B2", &[]);
    check(&bucket(2), "A1 B2 B3 C4 D5", &["A1 B2 B3 C4 D5"]);
}

#[test]
fn a_bucket_that_fired_grows_with_the_next_tick() {
    let mut table = Table::new(bucket(1), Limits::default());
    hits("A1 B2 C3 D4").iter().for_each(|hit| table.push(hit));
    assert_eq!(table.shown(), ["A1 B2"]);
    table.flush();
    assert_eq!((table.shown(), table.n_put), (vec!["A1 B2 C3 D4".to_owned()], 2));
}

#[test]
fn a_large_bucket_is_whole_in_the_end() {
    let events: Vec<String> =
        (0..1000).map(|n| format!("{}{}", ["A", "B", "C"][n % 3], n as f64 / 100.0)).collect();
    let mut table = run(&bucket(2), &hits(&events.join(" ")));
    table.advance(1e6);
    let found = table.told.values().next().unwrap();
    assert_eq!(found.n_events, 1000);
    assert_eq!(found.evidence.len(), Limits::default().max_evidence);
}

/// A hundredth of what is counted is kept.
fn tight() -> Limits {
    Limits { max_hits_per_key: 3, max_evidence: 2, ..Limits::default() }
}

/// What was told, without the events that are shown of it.
fn counted(table: &Table) -> Vec<(u64, EventTime, EventTime, Vec<String>)> {
    let columns = |found: &Match| {
        let counts = found.columns.iter().filter(|(name, _)| !name.starts_with("values"));
        counts.map(|(name, value)| format!("{name}={value}")).collect()
    };
    let mut told: Vec<_> =
        table.told.values().map(|found| (found.n_events, found.start, found.end, columns(found))).collect();
    told.sort();
    told
}

fn run_in(shape: &Shape, events: &[Arc<Hit>], limits: Limits) -> Table {
    let mut table = Table::new(shape.clone(), limits);
    for hit in events {
        table.push(hit);
    }
    table.flush();
    table
}

#[test]
fn a_bound_above_what_is_kept_is_reached_and_told() {
    let events: Vec<String> = (1..=12).map(|n| format!("A{n}")).collect();
    let events = hits(&events.join(" "));
    let reversed: Vec<_> = events.iter().rev().chain(&events).cloned().collect();
    for arrived in [&events, &reversed] {
        assert!(run_in(&threshold(13, None, 20), arrived, tight()).told.is_empty());
        let table = run_in(&threshold(12, None, 20), arrived, tight());
        let found = table.told.values().next().expect("twelve are enough");
        assert_eq!((found.n_events, found.evidence.len()), (12, 2));
        let secs = |time: EventTime| time.0 / 1_000_000_000;
        assert_eq!((secs(found.start), secs(found.end)), (1, 12));
        assert_eq!(table.keyed.eviction(0), None, "nothing was given up");
        assert!(run_in(&threshold(12, None, 10), arrived, tight()).told.is_empty(), "never twelve at once");
    }
}

#[test]
fn distinct_values_are_counted_beyond_what_is_kept() {
    let events = hits("A1 B2 C3 D4 E5 F6 A7 B8");
    for (least, n_told) in [(6, 1), (7, 0)] {
        let table = run_in(&threshold(1, Some(least), 20), &events, tight());
        assert_eq!(table.told.len(), n_told, "{least} distinct");
    }
    let table = run_in(&threshold(1, Some(6), 20), &events, tight());
    let columns = &table.told.values().next().unwrap().columns;
    assert_eq!(columns.len(), 2, "a list of a part of the values would mislead: {columns:?}");
    assert_eq!(columns[1], ("count_distinct(event.action)".to_owned(), Value::Int(6)));
}

#[test]
fn an_alert_taken_back_counts_no_longer() {
    let signal = |hit: &Arc<Hit>| {
        let event = EventRef { origin: Origin::Signal, ..(*hit.event).clone() };
        Arc::new(Hit { event: Arc::new(event), ..(**hit).clone() })
    };
    let mut table = Table::new(threshold(6, None, 20), tight());
    hits("A1 A2 A3 A4 A5 A6").iter().for_each(|hit| table.push(&signal(hit)));
    assert_eq!(table.told.len(), 1);
    let changes = table.keyed.retract("A1");
    table.take(changes);
    assert!(table.told.is_empty(), "five are left");
}

#[test]
fn what_is_counted_of_one_window_has_a_bound() {
    let limits = Limits { max_hits_per_key: 5, max_counted_per_key: 20, ..Limits::default() };
    let mut table = Table::new(threshold(100, None, 1000), limits);
    for n in 0..50 {
        table.push(&hits(&format!("A{n}"))[0]);
    }
    assert_eq!(table.keyed.eviction(0).unwrap().n_hits, 30);
}

#[test]
fn what_is_written_of_a_window_is_laid_out_as_it_was() {
    let open = written(threshold(9, Some(2), 60), &testing::hits("A1 B2"));
    let fired = written(threshold(2, Some(2), 60), &testing::hits("A1 B2"));
    expect_file!["../keyed/layout/window.txt"].assert_eq(&format!("{open}\n{fired}"));
}

/// What sliding windows ask: something that more hits make true, and nothing that they keep so.
const SLIDING: &[&str] = &[
    "STATS n = COUNT_DISTINCT(event.action) | WHERE n > 2",
    "STATS n = COUNT(*), all = VALUES(event.action) | WHERE n == 3",
    "STATS first = FIRST(event.action), last = LAST(event.action) | WHERE first != last",
    "STATS all = VALUES(event.action) | WHERE MV_CONCAT(all, \"\") LIKE \"*CA*\"",
    "STATS n = COUNT(*) BY event.action | INLINE STATS all = SUM(n) | WHERE n * 2 > all AND all > 2",
    "STATS n = COUNT(*) BY event.action | STATS most = MAX(n) | WHERE most > 2",
    // What nothing keeps up with.
    "STATS n = COUNT(*) BY event.action | STATS m = MEDIAN(n) | WHERE m > 1",
    "INLINE STATS n = COUNT(*) | WHERE event.action == \"B\" AND n > 2",
];

/// What is told of hits that are in order, where all of the window is gone through at each of them.
fn gone_through(query: &str, sorted: &[Arc<Hit>], span: Span) -> Vec<String> {
    let aggregate = aggregate(query);
    let mut windows: Vec<Vec<Arc<Hit>>> = Vec::new();
    let (mut recent, mut is_open): (Vec<Arc<Hit>>, bool) = (Vec::new(), false);
    for hit in sorted {
        if let Some(window) = windows.last_mut().filter(|_| is_open)
            && hit.time() - window[0].time() <= span
        {
            window.push(Arc::clone(hit));
            continue;
        }
        is_open = false;
        recent.push(Arc::clone(hit));
        recent.retain(|held| hit.time() - held.time() <= span);
        if aggregate.finish(&recent).is_some() {
            is_open = true;
            windows.push(std::mem::take(&mut recent));
        }
    }
    let told = |hits: &Vec<Arc<Hit>>| {
        let ids: Vec<&str> = hits.iter().map(|hit| &*hit.event.id).collect();
        format!("{} {:?}", ids.join(" "), aggregate.finish(hits).unwrap_or_default())
    };
    let mut told: Vec<String> = windows.iter().map(told).collect();
    told.sort();
    told
}

/// The same of a table.
fn told_with_columns(table: &Table) -> Vec<String> {
    let told = |found: &Arc<Match>| {
        let ids: Vec<&str> = found.evidence.iter().map(|item| &*item.event.id).collect();
        format!("{} {:?}", ids.join(" "), found.columns)
    };
    let mut told: Vec<String> = table.told.values().map(told).collect();
    told.sort();
    told
}

#[test]
fn a_sliding_query_that_fired_grows_with_the_next_tick() {
    let mut table = Table::new(asking(SLIDING[0], false, 10), Limits::default());
    hits("A1 B2 C3 D4 A5").iter().for_each(|hit| table.push(hit));
    assert_eq!(table.shown(), ["A1 B2 C3"]);
    table.flush();
    assert_eq!((table.shown(), table.n_put), (vec!["A1 B2 C3 D4 A5".to_owned()], 2));
    hits("B12 C13 D14").iter().for_each(|hit| table.push(hit));
    table.flush();
    assert_eq!(table.shown(), ["A1 B2 C3 D4 A5", "B12 C13 D14"], "the first window is over");
}

#[test]
fn what_was_put_off_is_told_before_its_window_is_over() {
    let mut table = Table::new(asking(SLIDING[0], false, 10), Limits::default());
    hits("A1 B2 C3 D4 A50").iter().for_each(|hit| table.push(hit));
    table.flush();
    assert_eq!(table.shown(), ["A1 B2 C3 D4"]);
}

proptest! {
    #[test]
    fn a_sliding_query_says_what_going_through_all_of_it_would(
        query in prop::sample::select(SLIDING),
        drawn in prop::collection::vec(("[A-D]", 0_u32..400), 0..60).prop_shuffle(),
        ticks in prop::collection::vec(any::<bool>(), 60),
        is_live in any::<bool>(),
    ) {
        let text: Vec<String> =
            drawn.iter().map(|(letter, tenths)| format!("{letter}{}", f64::from(*tenths) / 10.0)).collect();
        let arrived = asked(query, &text.join(" "));
        let mut sorted = arrived.clone();
        sorted.sort_by(|a, b| a.order().cmp(&b.order()));
        sorted.dedup_by(|a, b| a.order() == b.order());
        // What comes in order may settle on the way.
        let (events, grace) = if is_live { (&sorted, 1) } else { (&arrived, 10_000) };
        let limits = Limits { grace: Span::from_secs(grace), ..Limits::default() };
        let mut table = Table::new(asking(query, false, 10), limits);
        for (hit, is_tick) in events.iter().zip(ticks) {
            table.push(hit);
            if is_tick {
                table.advance(if is_live { hit.time().0 as f64 / 1e9 } else { 0.0 });
            }
        }
        table.advance(1e6);
        prop_assert_eq!(told_with_columns(&table), gone_through(query, &sorted, Span::from_secs(10)));
    }

    #[test]
    fn any_order_says_the_same(
        drawn in prop::collection::vec(("[A-D]", 0_u32..400), 0..60).prop_shuffle(),
        count in 1_u64..5,
        distinct in prop::option::of(1_u64..4),
        is_bucket in any::<bool>(),
    ) {
        let shape = if is_bucket { bucket(2) } else { threshold(count, distinct, 10) };
        let text: Vec<String> =
            drawn.iter().map(|(letter, tenths)| format!("{letter}{}", f64::from(*tenths) / 10.0)).collect();
        let arrived = hits(&text.join(" "));
        let mut sorted = arrived.clone();
        sorted.sort_by(|a, b| a.order().cmp(&b.order()));
        sorted.dedup_by(|a, b| a.order() == b.order());
        let (mut one, mut two) = (run(&shape, &sorted), run(&shape, &arrived));
        one.advance(1e6);
        two.advance(1e6);
        prop_assert_eq!(one.shown(), two.shown());
    }

    #[test]
    fn closing_history_behind_the_watermark_changes_nothing(
        drawn in prop::collection::vec(("[A-D]", 0_u32..800), 0..80),
        count in 1_u64..5,
        distinct in prop::option::of(1_u64..4),
    ) {
        let text: Vec<String> =
            drawn.iter().map(|(letter, tenths)| format!("{letter}{}", f64::from(*tenths) / 10.0)).collect();
        let mut sorted = hits(&text.join(" "));
        sorted.sort_by(|a, b| a.order().cmp(&b.order()));
        sorted.dedup_by(|a, b| a.order() == b.order());
        let shape = threshold(count, distinct, 10);
        let mut at_once = run(&shape, &sorted);
        at_once.advance(1e6);
        let limits = Limits { grace: Span::from_secs(1), ..Limits::default() };
        let mut live = Table::new(shape, limits);
        for hit in &sorted {
            live.push(hit);
            live.advance(hit.time().0 as f64 / 1e9);
        }
        live.advance(1e6);
        prop_assert_eq!(at_once.shown(), live.shown());
    }

    #[test]
    fn what_is_kept_does_not_change_what_is_counted(
        drawn in prop::collection::vec(("[A-G]", 0_u32..400), 0..80).prop_shuffle(),
        count in 1_u64..20,
        distinct in prop::option::of(1_u64..7),
    ) {
        let text: Vec<String> =
            drawn.iter().map(|(letter, tenths)| format!("{letter}{}", f64::from(*tenths) / 10.0)).collect();
        let (shape, arrived) = (threshold(count, distinct, 10), hits(&text.join(" ")));
        let (mut few, mut all) = (run_in(&shape, &arrived, tight()), run(&shape, &arrived));
        few.advance(1e6);
        all.advance(1e6);
        prop_assert_eq!(counted(&few), counted(&all));
    }
}
