use std::sync::Arc;

use expect_test::expect_file;
use proptest::prelude::*;
use rules::event::Span;
use rules::expr::Comparison::{self, Equal, Greater, GreaterOrEqual, Less, NotEqual};
use rules::literal::FloatBits;
use rules::plan::correlation::{Correlation, Leaf, Measure, Member, Node};

use super::{CorrelationShape, LeafHit};
use crate::keyed::testing::{self, Table};
use crate::keyed::{Hit, Limits, Shape};

const N_LEAVES: usize = 3;

/// A node over 10 s, grouped by a leaf's first field, measuring its second.
fn node(measure: Measure, members: &[Member], bounds: &[(Comparison, f64)]) -> Node {
    Node {
        measure,
        members: members.to_vec(),
        by_names: vec!["user".to_owned()],
        by: vec![vec![0]; N_LEAVES],
        value: vec![vec![1]; N_LEAVES],
        span: Span::from_secs(10),
        bounds: bounds.iter().map(|(comparison, bound)| (*comparison, FloatBits::new(*bound))).collect(),
    }
}

fn shape(nodes: Vec<Node>) -> Shape {
    let leaf = || Leaf { predicate: (), fields: Vec::new(), key: Vec::new() };
    let correlation = Correlation { leaves: (0..N_LEAVES).map(|_| leaf()).collect(), nodes };
    Shape::Correlation(CorrelationShape::new(&correlation))
}

const LEAVES: [Member; 3] = [Member::Leaf(0), Member::Leaf(1), Member::Leaf(2)];

fn one(measure: Measure, bound: (Comparison, f64)) -> Shape {
    let n_members = if matches!(measure, Measure::Temporal | Measure::TemporalOrdered) { 3 } else { 1 };
    shape(vec![node(measure, &LEAVES[..n_members], &[bound])])
}

/// `A1` is rule A at 1 s; `A1/bob` of a user; `A1/bob=7` with a value; `AB1` matches two rules.
fn hit(text: &str) -> Arc<Hit> {
    let (head, value) = text.split_once('=').unwrap_or((text, ""));
    let (head, user) = head.split_once('/').unwrap_or((head, "any"));
    let base = testing::hit(head);
    let list = |text: &str| {
        text.split(',').filter(|text| !text.is_empty()).map(Box::from).collect::<Box<[Box<str>]>>()
    };
    let leaves = head.bytes().take_while(u8::is_ascii_uppercase).map(|letter| LeafHit {
        leaf: u16::from(letter - b'A'),
        values: Box::new([list(user), list(value)]),
    });
    let mut event = (*base.event).clone();
    event.id = text.into();
    Arc::new(Hit { event: Arc::new(event), leaves: leaves.collect(), ..(*base).clone() })
}

fn hits(text: &str) -> Vec<Arc<Hit>> {
    text.split_whitespace().map(hit).collect()
}

fn run(shape: &Shape, events: &[Arc<Hit>]) -> Vec<String> {
    let mut table = Table::new(shape.clone(), Limits::default());
    events.iter().for_each(|hit| table.push(hit));
    table.flush();
    table.advance(1e6);
    table.shown()
}

fn check(shape: &Shape, events: &str, expect: &[&str]) {
    let events = hits(events);
    assert_eq!(run(shape, &events), expect);
    let reversed: Vec<_> = events.iter().rev().cloned().collect();
    assert_eq!(run(shape, &reversed), expect, "backwards");
}

#[test]
fn events_are_counted_per_group_in_a_sliding_window() {
    let three = one(Measure::EventCount, (GreaterOrEqual, 3.0));
    check(&three, "A1 A2", &[]);
    check(&three, "A1 A2 A11", &["A1 A2 A11"]);
    check(&three, "A1 A2 A11.5", &[]);
    check(&three, "A1 A5 A12 A14", &["A5 A12 A14"]);
    check(&three, "A1/x A2/y A3/x A4/y", &[]);
    check(&three, "A1/x A2/y A3/x A4/y A5/x", &["A1/x A3/x A5/x"]);
    check(&three, "A1 A2 A3 A4 A20 A21 A22", &["A1 A2 A3 A4", "A20 A21 A22"]);
    check(&one(Measure::EventCount, (Greater, 1.0)), "A1 A2", &["A1 A2"]);
}

#[test]
fn an_event_that_matches_two_rules_counts_once_and_is_in_each_of_its_groups() {
    let two = shape(vec![node(Measure::EventCount, &LEAVES, &[(GreaterOrEqual, 2.0)])]);
    check(&two, "AB1", &[]);
    check(&two, "AB1 C2", &["AB1 C2"]);
    check(&two, "A1/x,y B2/y", &["A1/x,y B2/y"]);
    let grouped = hits("A1/ A2/");
    assert_eq!(run(&two, &grouped), Vec::<String>::new(), "without a value it is in no group");
}

#[test]
fn distinct_values_are_counted() {
    let two = one(Measure::ValueCount, (GreaterOrEqual, 2.0));
    check(&two, "A1=p A2=p", &[]);
    check(&two, "A1=p A2=p A3=q", &["A1=p A2=p A3=q"]);
    check(&two, "A1=p A2", &[]);
}

#[test]
fn numbers_are_summed_averaged_and_ranked() {
    check(&one(Measure::Sum, (Greater, 100.0)), "A1=60 A2=40 A3=0.5", &["A1=60 A2=40 A3=0.5"]);
    check(&one(Measure::Sum, (Greater, 100.0)), "A1=60 A2=x A3=40", &[]);
    check(&one(Measure::Average, (Greater, 50.0)), "A1=99 A2=1", &[]);
    check(&one(Measure::Average, (GreaterOrEqual, 50.0)), "A1=1 A2=99", &["A1=1 A2=99"]);
    check(&one(Measure::Percentile(50), (Equal, 5.0)), "A1=1 A2=9", &["A1=1 A2=9"]);
    check(&one(Measure::Percentile(100), (Less, 5.0)), "A1=1 A2=9", &[]);
    check(&one(Measure::Average, (Less, 5.0)), "A1=x", &[]);
}

#[test]
fn too_few_is_told_when_the_window_is_over() {
    let few = one(Measure::EventCount, (Less, 3.0));
    check(&few, "A1 A2 A3", &[]);
    check(&few, "A1 A2 A12 A13 A14", &["A1 A2"]);
    check(&one(Measure::EventCount, (Equal, 2.0)), "A1 A2 A20", &["A1 A2"]);
    check(&one(Measure::EventCount, (NotEqual, 2.0)), "A1 A2 A20", &["A20"]);
    let mut table = Table::new(few, Limits::default());
    table.push(&hit("A1"));
    table.advance(11.0);
    assert!(table.told.is_empty(), "at 11 s another may still come");
    table.advance(11.5);
    assert_eq!(table.shown(), ["A1"]);
    assert!(table.told.values().all(|found| found.is_absence));
}

#[test]
fn a_range_is_two_bounds() {
    let range = shape(vec![node(Measure::EventCount, &LEAVES[..1], &[(GreaterOrEqual, 2.0), (Less, 4.0)])]);
    check(&range, "A1", &[]);
    check(&range, "A1 A2 A3", &["A1 A2 A3"]);
    check(&range, "A1 A2 A3 A4", &[]);
}

#[test]
fn rules_come_together_in_any_order_or_in_theirs() {
    let together = one(Measure::Temporal, (GreaterOrEqual, 3.0));
    check(&together, "C1 B2", &[]);
    check(&together, "C1 B2 A3", &["C1 B2 A3"]);
    check(&together, "ABC1", &["ABC1 ABC1 ABC1"]);
    check(&together, "C1/x B2/y A3/x", &[]);
    check(&together, "C1 B2 A12", &[]);
    let ordered = one(Measure::TemporalOrdered, (GreaterOrEqual, 3.0));
    check(&ordered, "C1 B2 A3", &[]);
    check(&ordered, "A1 C2 B3 C4", &["A1 C2 B3 C4"]);
    check(&ordered, "AB1 C2", &[]);
    check(&one(Measure::Temporal, (GreaterOrEqual, 2.0)), "C1 A2", &["C1 A2"]);
}

#[test]
fn clocks_that_differ_do_not_decide_the_order() {
    let ordered = one(Measure::TemporalOrdered, (GreaterOrEqual, 3.0));
    check(&ordered, "B2c A3 C4", &["B2c A3 C4"]);
    check(&ordered, "B2 A3 C4", &[]);
    check(&ordered, "B2c A8 C9", &[]);
}

/// Three of A, then a B.
fn nested() -> Shape {
    let many = node(Measure::EventCount, &LEAVES[..1], &[(GreaterOrEqual, 3.0)]);
    let then = node(Measure::TemporalOrdered, &[Member::Node(0), Member::Leaf(1)], &[(GreaterOrEqual, 2.0)]);
    shape(vec![many, then])
}

#[test]
fn a_correlation_is_an_event_of_another() {
    check(&nested(), "A1 A2 B3", &[]);
    check(&nested(), "A1 A2 A3 B4", &["A1 A2 A3 B4"]);
    check(&nested(), "B0 A1 A2 A3", &[]);
    check(&nested(), "A1 A2 A3 B14", &[]);
    check(&nested(), "A1/x A2/y A3/x A4/x B5/y", &[]);
    check(&nested(), "A1/x A2/y A3/x A4/x B5/x", &["A1/x A3/x A4/x B5/x"]);
}

#[test]
fn what_is_told_says_group_and_number() {
    let mut table = Table::new(one(Measure::ValueCount, (GreaterOrEqual, 2.0)), Limits::default());
    hits("A1/bob=p A2/bob=q").iter().for_each(|hit| table.push(hit));
    let found = table.told.values().next().unwrap();
    let columns: Vec<String> = found.columns.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(columns, ["user=bob", "count_distinct=2"]);
}

#[test]
fn what_is_counted_of_a_window_has_a_bound_and_state_is_let_go() {
    let limits = Limits {
        max_hits_per_key: 5,
        max_counted_per_key: 20,
        grace: Span::from_secs(1),
        ..Limits::default()
    };
    let mut table = Table::new(one(Measure::EventCount, (GreaterOrEqual, 100.0)), limits);
    for n in 0..50 {
        table.push(&hit(&format!("A{}", f64::from(n) / 10.0)));
    }
    assert_eq!(table.keyed.eviction(0).unwrap().n_hits, 25);
    table.advance(1_000.0);
    assert_eq!(table.keyed.n_keys(), 0);
}

#[test]
fn groups_below_have_a_bound_and_what_it_costs_is_counted() {
    let mut outer = node(Measure::EventCount, &[Member::Node(0)], &[(GreaterOrEqual, 2.0)]);
    outer.by = vec![vec![]; N_LEAVES];
    let inner = node(Measure::EventCount, &LEAVES[..1], &[(GreaterOrEqual, 2.0)]);
    let mut table = Table::new(shape(vec![inner, outer]), Limits::default());
    let push = |table: &mut Table, user: usize, time: f64| table.push(&hit(&format!("A{time}/u{user}")));
    for n in 0..super::MAX_KEPT + 1 {
        push(&mut table, n, 1.0 + n as f64 / 10_000.0);
    }
    assert_eq!(table.keyed.eviction(0).unwrap().n_hits, super::MAX_KEPT as u64 / 4);
    assert!(table.told.is_empty());
    push(&mut table, super::MAX_KEPT, 5.0);
    push(&mut table, super::MAX_KEPT - 1, 5.1);
    assert_eq!(table.told.len(), 1, "the latest are there");
    table.advance(2_000.0);
    assert_eq!(table.keyed.n_keys(), 0);
}

fn tight() -> Limits {
    Limits { max_hits_per_key: 3, max_evidence: 2, ..Limits::default() }
}

/// What was told, without the events that are shown of it.
fn counted(shape: &Shape, events: &[Arc<Hit>], limits: Limits) -> Vec<(u64, i64, i64, String)> {
    let mut table = Table::new(shape.clone(), limits);
    events.iter().for_each(|hit| table.push(hit));
    table.flush();
    table.advance(1e6);
    let told = table.told.values();
    let mut told: Vec<_> = told
        .map(|found| (found.n_events, found.start.0, found.end.0, format!("{:?}", found.columns)))
        .collect();
    told.sort();
    told
}

#[test]
fn bounds_above_what_is_kept_are_reached_and_passed() {
    let events: Vec<String> = (0..20).map(|n| format!("A{}=v{n}", f64::from(n) / 4.0)).collect();
    let events = hits(&events.join(" "));
    let n_told = |measure, bound| counted(&one(measure, bound), &events, tight()).len();
    for measure in [Measure::EventCount, Measure::ValueCount] {
        assert_eq!(n_told(measure, (GreaterOrEqual, 20.0)), 1, "{measure:?}");
        assert_eq!(n_told(measure, (GreaterOrEqual, 21.0)), 0, "{measure:?}");
        assert_eq!(n_told(measure, (Less, 5.0)), 0, "{measure:?}: twenty are not fewer than five");
        assert_eq!(n_told(measure, (Equal, 20.0)), 1, "{measure:?}");
    }
}

#[test]
fn a_flood_of_one_rule_does_not_push_out_another() {
    let flood: String = (0..50).map(|n| format!(" B{}", 1.0 + f64::from(n) / 10.0)).collect();
    for measure in [Measure::Temporal, Measure::TemporalOrdered] {
        let events = hits(&format!("A1{flood} C7"));
        assert_eq!(counted(&one(measure, (GreaterOrEqual, 3.0)), &events, tight()).len(), 1, "{measure:?}");
    }
}

#[test]
fn what_is_written_of_a_correlation_is_laid_out_as_it_was() {
    let events = hits("A1=5 A2=7");
    let mut long = node(Measure::ValueCount, &LEAVES[..1], &[(GreaterOrEqual, 9.0)]);
    long.span = Span::from_secs(60);
    let fired = Node { bounds: vec![(GreaterOrEqual, FloatBits::new(2.0))], ..long.clone() };
    let sum = Node { measure: Measure::Sum, ..long.clone() };
    let texts = [long, fired, sum].map(|node| testing::written(shape(vec![node]), &events));
    expect_file!["../keyed/layout/correlation.txt"].assert_eq(&texts.join("\n"));
}

fn shapes() -> impl Strategy<Value = Shape> {
    let measure = prop::sample::select(vec![
        Measure::EventCount,
        Measure::ValueCount,
        Measure::Temporal,
        Measure::TemporalOrdered,
        Measure::Sum,
        Measure::Average,
        Measure::Percentile(50),
    ]);
    let comparison = prop::sample::select(vec![Greater, GreaterOrEqual, Less, Equal, NotEqual]);
    let single = (measure, comparison, 1_u8..5).prop_map(|(measure, comparison, bound)| {
        shape(vec![node(measure, &LEAVES, &[(comparison, f64::from(bound))])])
    });
    prop_oneof![3 => single, 1 => Just(nested())]
}

fn events() -> impl Strategy<Value = Vec<(String, u32, String, u8)>> {
    prop::collection::vec(("[ABC]{1,2}", 0_u32..400, "[xy]", 0_u8..4), 0..60)
}

fn drawn(events: &[(String, u32, String, u8)]) -> Vec<Arc<Hit>> {
    let text = |(letters, tenths, user, value): &(String, u32, String, u8)| {
        let mut letters: Vec<char> = letters.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let letters: String = letters.into_iter().collect();
        format!("{letters}{}/{user}={value}", f64::from(*tenths) / 10.0)
    };
    events.iter().map(|event| hit(&text(event))).collect()
}

fn sorted(mut hits: Vec<Arc<Hit>>) -> Vec<Arc<Hit>> {
    hits.sort_by(|a, b| a.order().cmp(&b.order()));
    hits.dedup_by(|a, b| a.order() == b.order());
    hits
}

proptest! {
    #[test]
    fn any_order_with_repetitions_says_the_same(events in events().prop_shuffle(), shape in shapes()) {
        let arrived = drawn(&events);
        let twice: Vec<_> = arrived.iter().chain(arrived.iter().rev()).cloned().collect();
        prop_assert_eq!(run(&shape, &sorted(arrived)), run(&shape, &twice));
    }

    #[test]
    fn closing_history_behind_the_watermark_changes_nothing(events in events(), shape in shapes()) {
        let hits = sorted(drawn(&events));
        let limits = Limits { grace: Span::from_secs(1), ..Limits::default() };
        let mut live = Table::new(shape.clone(), limits);
        for hit in &hits {
            live.push(hit);
            live.advance(hit.time().0 as f64 / 1e9);
        }
        live.advance(1e6);
        prop_assert_eq!(run(&shape, &hits), live.shown());
    }

    #[test]
    fn what_is_kept_does_not_change_what_is_measured(events in events(), shape in shapes(), bound in 1_u8..20) {
        let Shape::Correlation(correlation) = shape else { unreachable!("all are") };
        let mut nodes = correlation.nodes.to_vec();
        prop_assume!(nodes.len() == 1 && nodes[0].measure != Measure::TemporalOrdered);
        if let Some((_, least)) = nodes[0].bounds.first_mut() {
            *least = FloatBits::new(f64::from(bound));
        }
        let (shape, hits) = (self::shape(nodes), drawn(&events));
        prop_assert_eq!(counted(&shape, &hits, tight()), counted(&shape, &hits, Limits::default()));
    }
}
