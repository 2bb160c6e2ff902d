use std::ops::Bound;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::eval;
use crate::event::{EventTime, Value};
use crate::expr::{Comparison, Function, Range, Scalar, Test};
use crate::literal::{FloatBits, Literal, parse_ip};
use crate::pattern::Case;
use crate::pattern::cidr::{CidrSet, parse_net};
use crate::pattern::regex::Regex;
use crate::pattern::set::TextSet;
use crate::pattern::wildcard::{Wildcard, pieces};
use crate::rule::{Context, Exception, Kind, Language, Severity};
use crate::schema::FieldId;

pub(crate) fn rule(id: &str, plan: Plan<Expr>) -> Rule<Expr> {
    Rule {
        id: id.into(),
        name: id.into(),
        description: String::new(),
        version: 1,
        severity: Severity::Low,
        risk_score: 21,
        tags: Vec::new(),
        references: Vec::new(),
        false_positives: Vec::new(),
        upstream_id: None,
        threat: Vec::new(),
        index: Vec::new(),
        kind: Kind::Query,
        language: Language::Kuery,
        query: String::new(),
        plan,
        residue: None,
        severity_mapping: Vec::new(),
        risk_score_field: None,
        contexts: Vec::new(),
        exceptions: Vec::new(),
        suppression: None,
        max_signals: None,
        rests_on: Vec::new(),
        is_building_block: false,
        notifies: true,
        note: String::new(),
        cases: Vec::new(),
        path: PathBuf::new(),
        hash: String::new(),
    }
}

fn field(path: &str) -> FieldId {
    Schema::builtin().id(path).expect("a field of the table")
}

fn is(path: &str, text: &str) -> Expr {
    Expr::equals(field(path), Literal::Text(text.into()))
}

fn event(fields: &[(&str, &str)]) -> Event {
    let mut event = Event::new("e", EventTime(0), "logs-endpoint.events.process-default");
    fields.iter().for_each(|(path, text)| event.push(field(path), Value::str(*text)));
    event
}

fn hits(program: &Program, event: &Event) -> Vec<(u32, Role)> {
    let mut hits = Vec::new();
    program.hits(event, &mut Scratch::default(), |hit| hits.push((hit.rule.0, hit.role)));
    hits
}

#[test]
fn equal_predicates_are_one_whatever_the_order_of_their_parts() {
    let (a, b) = (is("process.name", "curl"), is("event.action", "exec"));
    let rules = vec![
        rule("1", Plan::Query(Expr::and([a.clone(), b.clone()]))),
        rule("2", Plan::Query(Expr::and([b, a]))),
    ];
    let program = Program::compile(rules, &Schema::builtin());
    assert_eq!(program.n_predicates(), 1);
    let event = event(&[("process.name", "curl"), ("event.action", "exec")]);
    assert_eq!(hits(&program, &event), [(0, Role::Match), (1, Role::Match)]);
}

#[test]
fn the_parts_that_made_a_predicate_true_are_told() {
    let (a, b) = (is("process.name", "curl"), is("process.name", "wget"));
    let (root, exec) = (is("user.id", "0"), is("event.action", "exec"));
    let negated = Expr::negate(Expr::and([root.clone(), exec]));
    let whole = Expr::and([
        Expr::or([a.clone(), b]),
        negated,
        Expr::negate(Expr::equals(field("host.id"), Literal::Text("x".into()))),
    ]);
    let program = Program::compile(vec![rule("1", Plan::Query(whole))], &Schema::builtin());
    let predicate = *program.rules()[0].plan.predicates()[0];
    let found = event(&[("process.name", "curl"), ("event.action", "exec"), ("user.id", "5")]);
    let mut parts: Vec<(&Expr, bool)> =
        program.matched(predicate, &found).into_iter().map(|part| (part.atom, part.is_negated)).collect();
    parts.sort_by_key(|(atom, is_negated)| (*is_negated, format!("{atom:?}")));
    let mut expect = vec![(&a, false), (&root, true)];
    let host = is("host.id", "x");
    expect.push((&host, true));
    expect.sort_by_key(|(atom, is_negated)| (*is_negated, format!("{atom:?}")));
    assert_eq!(parts, expect, "not the alternative that fails, and not the half of the exclusion that holds");
    assert!(program.matched(predicate, &event(&[("process.name", "ls")])).is_empty());
    assert!(eval::matches(&program.expr(predicate), &found), "it reads back as what it is");
}

#[test]
fn exceptions_take_events_from_their_rule_alone() {
    let mut excepting = rule("1", Plan::Query(is("process.name", "curl")));
    excepting.exceptions.push(Exception {
        name: "root".into(),
        reason: String::new(),
        expires: None,
        predicate: is("user.id", "0"),
    });
    let other = rule("2", Plan::Query(is("process.name", "curl")));
    let program = Program::compile(vec![excepting, other], &Schema::builtin());
    assert_eq!(hits(&program, &event(&[("process.name", "curl"), ("user.id", "0")])), [(1, Role::Match)]);
    let both = [(0, Role::Match), (1, Role::Match)];
    assert_eq!(hits(&program, &event(&[("process.name", "curl"), ("user.id", "1")])), both);
}

#[test]
fn an_exception_ends_with_the_start_of_its_day() {
    let mut excepting = rule("1", Plan::Query(is("process.name", "curl")));
    excepting.exceptions.push(Exception {
        name: "root".into(),
        reason: String::new(),
        expires: Some(jiff::civil::date(1970, 1, 2)),
        predicate: is("user.id", "0"),
    });
    let program = Program::compile(vec![excepting], &Schema::builtin());
    let mut event = event(&[("process.name", "curl"), ("user.id", "0")]);
    for (nanos, expect) in [(86_399_999_999_999, &[][..]), (86_400_000_000_000, &[(0, Role::Match)])] {
        event.time = EventTime(nanos);
        assert_eq!(hits(&program, &event), expect);
    }
}

#[test]
fn index_globs_narrow_the_query_and_not_its_contexts() {
    let mut cloud = rule("1", Plan::Query(is("event.action", "exec")));
    cloud.index = vec!["logs-aws.cloudtrail-*".into()];
    cloud.contexts.push(Context {
        name: "host".into(),
        links: Vec::new(),
        dataset: None,
        predicate: is("event.action", "exec"),
        before: crate::event::Span(0),
        after: crate::event::Span(0),
        raise_severity: None,
        is_circumstantial: false,
    });
    let program = Program::compile(vec![cloud], &Schema::builtin());
    assert_eq!(hits(&program, &event(&[("event.action", "exec")])), [(0, Role::Context(0))]);
}

#[test]
fn one_scratch_serves_two_programs() {
    let one = Program::compile(vec![rule("1", Plan::Query(is("process.name", "curl")))], &Schema::builtin());
    let two = Program::compile(vec![rule("2", Plan::Query(is("process.name", "wget")))], &Schema::builtin());
    let mut scratch = Scratch::default();
    let event = event(&[("process.name", "curl")]);
    for (program, expect) in [(&one, 1), (&two, 0), (&one, 1)] {
        let mut n_hits = 0;
        program.hits(&event, &mut scratch, |_| n_hits += 1);
        assert_eq!(n_hits, expect);
    }
}

#[test]
fn the_drop_list_names_its_line() {
    let line =
        DropLine { name: "polls".into(), reason: "noise".into(), predicate: is("event.action", "poll") };
    let program = Program::with_drops(Vec::new(), vec![line], &Schema::builtin());
    let mut scratch = Scratch::default();
    let name = |event: &Event, scratch: &mut Scratch| {
        program.drop_reason(event, scratch).map(|line| line.name.clone())
    };
    assert_eq!(name(&event(&[("event.action", "poll")]), &mut scratch).as_deref(), Some("polls"));
    assert_eq!(name(&event(&[("event.action", "exec")]), &mut scratch), None);
}

const FIELDS: &[&str] = &[
    "process.name",
    "process.args",
    "event.action",
    "host.os.type",
    "user.id",
    "destination.ip",
    "destination.port",
];
/// Among them letters whose folding depends on their neighbours, numbers and addresses in several spellings.
const WORDS: &[&str] = &[
    "curl",
    "CURL",
    "/usr/bin/curl",
    "exec",
    "linux",
    "0",
    "1.0",
    "é",
    "É",
    "ΑΣ",
    "ΑΣΒ",
    "ας",
    "",
    "10.0.0.1",
    "::ffff:10.0.0.1",
];
const GLOBS: &[&str] = &[
    "c*",
    "*",
    "?url",
    "*x*",
    "cu*l",
    "*/curl",
    "*URL",
    "/usr/*/c?rl",
    "*ΑΣ*",
    "Α*Σ",
    "*é",
    "*0*",
    "a-very-long-beginning-of-a-path/*",
    "*a-very-long-end-of-some-path",
    "*",
];
const REGEXES: &[&str] = &["c.*", "[0-9]+", "(curl|exec)", "É"];

fn any_field() -> impl Strategy<Value = FieldId> {
    prop::sample::select(FIELDS).prop_map(field)
}

fn any_word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(WORDS)
}

fn any_case() -> impl Strategy<Value = Case> {
    prop::sample::select(&[Case::Sensitive, Case::Folded][..])
}

fn any_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any_word().prop_map(|word| Literal::Text(word.into())),
        (-1i64..2).prop_map(Literal::Int),
        prop::sample::select(&[0.5, 1.0][..]).prop_map(|float| Literal::Float(FloatBits::new(float))),
        any::<bool>().prop_map(Literal::Bool),
        Just(Literal::Ip(parse_ip("10.0.0.1").expect("an address"))),
    ]
}

fn any_test() -> impl Strategy<Value = Test> {
    let networks = CidrSet::new(vec![parse_net("10.0.0.0/8").expect("a network")]);
    prop_oneof![
        any_literal().prop_map(Test::Equals),
        (prop::collection::vec(any_word(), 0..8), any_case())
            .prop_map(|(words, case)| Test::In(TextSet::new(words, case))),
        (any_word(), any_case()).prop_map(|(word, case)| Test::text(word, case)),
        (prop::sample::select(GLOBS), any_case())
            .prop_map(|(glob, case)| Test::wildcard(Wildcard::new(pieces(glob), case))),
        (prop::sample::select(REGEXES), any_case())
            .prop_map(|(regex, case)| Test::Regex(Regex::new(regex, case).expect("a pattern"))),
        (0i64..2).prop_map(|low| Test::Range(Range {
            low: Bound::Included(Literal::Int(low)),
            high: Bound::Unbounded
        })),
        Just(Test::Cidr(networks)),
    ]
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    let leaf = prop_oneof![
        Just(Scalar::Null),
        any_literal().prop_map(Scalar::Literal),
        any_field().prop_map(Scalar::Field),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|text| Scalar::Call(Function::ToLower, [text].into())),
            (inner.clone(), inner.clone())
                .prop_map(|(text, end)| Scalar::Call(Function::EndsWith(Case::Folded), [text, end].into())),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| Scalar::Compare(Comparison::NotEqual, (left, right).into())),
            (inner, any_test()).prop_map(|(scalar, test)| Scalar::Test(scalar.into(), test)),
            any_field().prop_map(|field| Scalar::Is(Expr::Not(Expr::Exists(field).into()).into())),
        ]
    })
}

fn any_atom() -> impl Strategy<Value = Expr> {
    prop_oneof![
        1 => any::<bool>().prop_map(Expr::Const),
        1 => any_field().prop_map(Expr::Exists),
        1 => any_field().prop_map(Expr::IsSingle),
        8 => (any_field(), any_test()).prop_map(|(field, test)| Expr::Any(field, test)),
        1 => any_scalar().prop_map(Expr::Holds),
        1 => any_scalar().prop_map(Expr::IsNull),
    ]
}

fn any_expr() -> impl Strategy<Value = Expr> {
    any_atom().prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| Expr::And(parts.into())),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| Expr::Or(parts.into())),
            inner.prop_map(|part| Expr::Not(part.into())),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let value = prop_oneof![
        8 => any_word().prop_map(Value::str),
        2 => (-1i64..2).prop_map(Value::Int),
        1 => prop::sample::select(&[0.5, 1.0][..]).prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
    ];
    prop::collection::vec((any_field(), value), 0..8).prop_map(|fields| {
        let mut event = Event::new("e", EventTime(0), "logs-endpoint.events.process-default");
        fields.into_iter().for_each(|(field, value)| event.push(field, value));
        event
    })
}

proptest! {
    #[test]
    fn the_index_changes_no_answer(
        // Enough for more than one word of every plane.
        exprs in prop::collection::vec(any_expr(), 1..80),
        events in prop::collection::vec(any_event(), 1..8),
    ) {
        let rules = exprs.iter().map(|expr| rule("r", Plan::Query(expr.clone()))).collect();
        let program = Program::compile(rules, &Schema::builtin());
        let mut scratch = Scratch::default();
        for event in &events {
            let mut fast = Vec::new();
            program.hits(event, &mut scratch, |hit| fast.push(hit.rule.0));
            let naive: Vec<u32> =
                (0..).zip(&exprs).filter(|(_, expr)| eval::matches(expr, event)).map(|(idx, _)| idx).collect();
            prop_assert_eq!(fast, naive);
        }
    }
}
