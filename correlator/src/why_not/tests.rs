//! Rules and events in, the nearest miss out.

use std::sync::Arc;

use rules::catalogue;
use rules::catalogue::drops::DropLine;
use rules::expr::Expr;
use rules::rule::Rule;
use rules::schema::Schema;

use super::{Answer, Kind, Question};
use crate::keyed::Limits;
use crate::source::normalize::Normalizer;
use crate::source::{Origin, Record};

struct World {
    rule: Rule<Expr>,
    drops: Vec<DropLine<Expr>>,
    schema: Schema,
    records: Vec<Record>,
}

fn world(head: &str, body: &str, lines: &[String]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[metadata]\nmaturity = \"production\"\n[rule]\nname = \"x\"\nrule_id = \"11111111-0000-4000-8000-000000000001\"\ndescription = \"d\"\nseverity = \"low\"\nrisk_score = 21\nindex = [\"logs-*\"]\n{head}\n{body}\n"
    );
    std::fs::write(dir.path().join("x.toml"), text).unwrap();
    let mut schema = Schema::builtin();
    let mut loaded = catalogue::load([dir.path()], &mut schema);
    let rule = loaded.rules.pop().unwrap_or_else(|| panic!("{:?}", loaded.reports));
    let normalizer = Normalizer::new(Arc::new(schema.clone()), Arc::default());
    let read = |line: &String| {
        let origin = if line.contains("eventSource") { Origin::CloudTrail } else { Origin::Sensor };
        normalizer.read(origin, line.as_str()).unwrap()
    };
    let mut records: Vec<Record> = lines.iter().map(read).collect();
    records.sort_by_key(|record| record.event.time);
    World { rule, drops: Vec::new(), schema, records }
}

impl World {
    fn ask(&self, event: Option<&str>) -> Answer {
        let World { rule, drops, schema, records } = self;
        Question { rule, drops, schema, records, event, limits: Limits::default() }.answer()
    }
}

/// An exec of `name` at second `at` on a host by a user.
fn exec(id: &str, at: u32, name: &str, user: &str) -> String {
    format!(
        r#"{{"@timestamp":"2026-11-02T10:{:02}:{:02}Z","event":{{"id":"{id}","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"web-1"}},"user":{{"name":"{user}"}},"process":{{"name":"{name}"}}}}"#,
        at / 60,
        at % 60
    )
}

const EQL: &str = "type = \"eql\"\nlanguage = \"eql\"";

fn sequence(query: &str, lines: &[String]) -> World {
    world(EQL, &format!("query = '''\n{query}\n'''"), lines)
}

#[track_caller]
fn check(answer: &Answer, reached: &str, expect: &[(Kind, &str)]) {
    let found: Vec<(Kind, &str)> =
        answer.reasons.iter().map(|reason| (reason.kind, reason.text.as_str())).collect();
    assert_eq!((answer.reached.as_str(), &found[..]), (reached, expect));
}

const QUERY: &str = "type = \"query\"\nlanguage = \"kuery\"\nquery = 'process.name: (\"curl\" or \"wget\") and user.name: \"root\" and not host.id: \"web-1\"'";

#[test]
fn the_predicate_that_failed_is_told_with_its_value() {
    let world = world(QUERY, "", &[exec("far", 0, "ls", "alice"), exec("near", 1, "curl", "alice")]);
    let answer = world.ask(None);
    assert_eq!(answer.nearest.as_ref().unwrap().id, "near");
    check(
        &answer,
        "no event",
        &[
            (Kind::Value, "user.name is \"alice\"; the rule asks for \"root\""),
            (Kind::Excluded, "host.id is \"web-1\"; the rule leaves out \"web-1\""),
        ],
    );
    let answer = world.ask(Some("far"));
    assert_eq!(answer.reasons.len(), 3);
    assert_eq!(answer.reasons[0].actual.as_deref(), Some("\"ls\""));
    assert_eq!(answer.reasons[0].wanted.as_deref(), Some("one of \"curl\", \"wget\""));
}

#[test]
fn an_absent_field_is_told_as_absent() {
    let line =
        exec("a", 0, "curl", "root").replace(r#""user":{"name":"root"},"#, "").replace("web-1", "web-2");
    check(
        &world(QUERY, "", &[line]).ask(None),
        "no event",
        &[(Kind::Absent, "user.name is absent; the rule asks for \"root\"")],
    );
}

#[test]
fn an_exception_that_takes_the_event_is_named() {
    let line = exec("a", 0, "curl", "root").replace("web-1", "web-2");
    let mut world = world(QUERY, "", &[line]);
    assert!(world.ask(None).is_met);
    let mut schema = world.schema.clone();
    let predicate = rules::kql::compile("user.name: root", &mut schema).unwrap().plan;
    let (name, reason) = ("backups".to_owned(), "they run as root".to_owned());
    world.drops.push(DropLine {
        name: "noise".into(),
        reason: "too much".into(),
        predicate: predicate.clone(),
    });
    check(
        &world.ask(None),
        "no event",
        &[(Kind::Dropped, "the line \"noise\" of the drop list takes it: too much")],
    );
    world.drops.clear();
    world.rule.exceptions.push(rules::rule::Exception { name, reason, expires: None, predicate });
    check(
        &world.ask(None),
        "no event",
        &[(Kind::Exception, "the exception \"backups\" takes it: they run as root")],
    );
}

const PAIR: &str = "sequence by user.name with maxspan=10s\n  [process where process.name == \"curl\"]\n  [process where process.name == \"sh\"]";

#[test]
fn a_sequence_says_how_far_it_came_and_why_no_further() {
    let begun = exec("a", 0, "curl", "root");
    let ask = |other: String| sequence(PAIR, &[begun.clone(), other]).ask(None);
    let reached = "1 of 2 steps; step 2 did not come";
    assert!(ask(exec("b", 5, "sh", "root")).is_met);
    let late = ask(exec("b", 25, "sh", "root"));
    check(&late, reached, &[(Kind::TooLate, "it came 15 s too late: maxspan is 10 s")]);
    assert_eq!(late.reasons[0].off_by_ms, Some(15_000));
    assert_eq!((late.found[0].id.as_str(), late.nearest.unwrap().id.as_str()), ("a", "b"));
    check(
        &ask(exec("b", 5, "sh", "alice")),
        reached,
        &[(Kind::OtherKey, "user.name of event b is \"alice\", and the chain joins on \"root\"")],
    );
    check(
        &ask(exec("b", 5, "sh", "root").replace(r#""user":{"name":"root"},"#, "")),
        reached,
        &[(Kind::KeyAbsent, "it has no user.name, which step 2 joins on")],
    );
    check(
        &ask(exec("b", 5, "bash", "root")),
        reached,
        &[(Kind::Value, "process.name is \"bash\"; the rule asks for \"sh\"")],
    );
}

#[test]
fn the_wrong_order_until_and_a_missing_event_that_came_are_told() {
    let lines = [exec("b", 0, "sh", "root"), exec("a", 4, "curl", "root")];
    check(
        &sequence(PAIR, &lines).ask(None),
        "1 of 2 steps; step 2 did not come",
        &[(Kind::WrongOrder, "it came 4.000 s before the step it should follow")],
    );
    let until = format!("{PAIR}\nuntil [process where process.name == \"exit\"]");
    let lines = [exec("a", 0, "curl", "root"), exec("u", 1, "exit", "root"), exec("b", 2, "sh", "root")];
    check(
        &sequence(&until, &lines).ask(None),
        "1 of 2 steps; step 2 did not come",
        &[(Kind::Ended, "the sequence was over: event u of its until came at 2026-11-02T10:00:01.000Z")],
    );
    let missing =
        PAIR.replace("  [process where process.name == \"sh\"]", "  ![process where process.name == \"sh\"]");
    let lines = [exec("a", 0, "curl", "root"), exec("b", 2, "sh", "root")];
    let world = sequence(&missing, &lines);
    check(
        &world.ask(None),
        "all steps that must come",
        &[(Kind::Present, "step 2 says that no such event comes, and event b did")],
    );
    assert!(sequence(&missing, &lines[..1]).ask(None).is_met);
}

#[test]
fn an_event_that_fits_no_step_is_told_against_the_nearest() {
    let world = sequence(PAIR, &[exec("a", 0, "curl", "root"), exec("x", 1, "vi", "root")]);
    let answer = world.ask(Some("x"));
    assert_eq!(answer.reached, "the event fits no step");
    assert_eq!(answer.reasons[0].field.as_deref(), Some("process.name"));
}

#[test]
fn a_sample_says_which_step_did_not_come() {
    let query = "sample by user.name\n  [process where process.name == \"curl\"]\n  [process where process.name == \"sh\"]";
    let lines = [exec("a", 5, "curl", "root"), exec("b", 2, "bash", "root")];
    check(
        &sequence(query, &lines).ask(None),
        "1 of 2 steps under one key; step 2 did not come with them",
        &[(Kind::Value, "process.name is \"bash\"; the rule asks for \"sh\"")],
    );
    let lines = [exec("a", 5, "curl", "root"), exec("b", 2, "sh", "root")];
    assert!(sequence(query, &lines).ask(None).is_met);
    let lines = [exec("a", 5, "curl", "alice"), exec("b", 6, "sh", "root")];
    let reached = "1 of 2 steps under one key; step 2 did not come with them";
    check(
        &sequence(query, &lines).ask(None),
        reached,
        &[(Kind::OtherKey, "user.name of event b is \"root\", and the others have \"alice\"")],
    );
    let nameless = exec("b", 6, "sh", "root").replace(r#""user":{"name":"root"},"#, "");
    check(
        &sequence(query, &[exec("a", 5, "curl", "root"), nameless]).ask(None),
        reached,
        &[(Kind::KeyAbsent, "it has no user.name, which step 2 joins on")],
    );
}

/// So many events of a user within ten seconds.
fn counted(bounds: &[(rules::expr::Comparison, f64)], lines: &[String]) -> World {
    use rules::literal::FloatBits;
    use rules::plan::Plan;
    use rules::plan::correlation::{Correlation, Leaf, Measure, Member, Node};
    let mut world = world(QUERY, "", lines);
    let predicate = rules::kql::compile("process.name: curl", &mut world.schema).unwrap().plan;
    let user = world.schema.id("user.name").unwrap();
    world.rule.plan = Plan::Correlation(Correlation {
        leaves: vec![Leaf { predicate, fields: vec![Box::new([user])], key: vec![0] }],
        nodes: vec![Node {
            measure: Measure::EventCount,
            members: vec![Member::Leaf(0)],
            by_names: vec!["user.name".to_owned()],
            by: vec![vec![0]],
            value: vec![Vec::new()],
            span: rules::event::Span::from_secs(10),
            bounds: bounds.iter().map(|(comparison, bound)| (*comparison, FloatBits::new(*bound))).collect(),
        }],
    });
    world
}

#[test]
fn a_correlation_says_how_near_its_fullest_window_came() {
    use rules::expr::Comparison::{GreaterOrEqual, Less};
    let three = [(GreaterOrEqual, 3.0)];
    let at = |second: u32, user: &str| exec(&format!("{user}{second}"), second, "curl", user);
    let lines = [at(0, "root"), at(5, "root"), at(30, "root"), at(6, "alice")];
    let answer = counted(&three, &lines).ask(None);
    check(
        &answer,
        "count 2 of at least 3",
        &[(Kind::TooFew, "count is 2 within 10 s for user.name \"root\"; the rule asks for at least 3")],
    );
    assert_eq!(answer.found.len(), 2);
    assert!(counted(&three, &[at(0, "root"), at(5, "root"), at(9, "root")]).ask(None).is_met);
    let few = counted(&[(Less, 2.0)], &[at(0, "root"), at(5, "root")]).ask(None);
    assert_eq!(few.reached, "count 2 of less than 2");
    let none = counted(&three, &[exec("a", 0, "sh", "root")]).ask(None);
    check(
        &none,
        "no event of rule 1",
        &[(Kind::Value, "process.name is \"sh\"; the rule asks for \"curl\"")],
    );
}

#[test]
fn a_threshold_says_how_full_it_was() {
    let body = "type = \"threshold\"\nlanguage = \"kuery\"\nfrom = \"now-10s\"\nquery = 'process.name: \"curl\"'\n[rule.threshold]\nfield = [\"user.name\"]\nvalue = 3";
    let lines: Vec<String> =
        [0, 2, 14].iter().map(|at| exec(&format!("e{at}"), *at, "curl", "root")).collect();
    let answer = world("", body, &lines).ask(None);
    check(
        &answer,
        "2 of 3 events",
        &[(
            Kind::TooFew,
            "2 of 3 events came within 10 s for user.name \"root\"; 3 in all, and as many as are needed took 4.000 s too long",
        )],
    );
    assert_eq!(answer.reasons[0].off_by_ms, Some(4_000));
    let lines: Vec<String> =
        [0, 2, 9].iter().map(|at| exec(&format!("e{at}"), *at, "curl", "root")).collect();
    assert!(world("", body, &lines).ask(None).is_met);
}

#[test]
fn a_known_term_is_told_with_who_made_it_known() {
    let body = "type = \"new_terms\"\nlanguage = \"kuery\"\nquery = 'process.name: \"curl\"'\n[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"user.name\"]\n[[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-7d\"";
    let lines = [exec("a", 0, "curl", "root"), exec("b", 60, "curl", "root")];
    let world = world("", body, &lines);
    assert!(world.ask(None).is_met);
    let answer = world.ask(Some("b"));
    assert_eq!((answer.reasons[0].kind, answer.found[0].id.as_str()), (Kind::Known, "a"));
    assert!(answer.reasons[0].text.starts_with("user.name \"root\" is known: event a had it at"));
}

#[test]
fn an_aggregate_whose_filter_keeps_nothing_is_told_with_its_fullest_group() {
    let query = "from logs-endpoint.events.process-* metadata _id\n| where process.name == \"curl\"\n| eval w = date_trunc(1 minute, @timestamp)\n| stats n = count(*) by user.name, w\n| where n >= 3";
    let head = "type = \"esql\"\nlanguage = \"esql\"";
    let lines: Vec<String> = (0..2).map(|at| exec(&format!("e{at}"), at, "curl", "root")).collect();
    let answer = world(head, &format!("query = '''\n{query}\n'''"), &lines).ask(None);
    assert_eq!((answer.reasons[0].kind, answer.reached.as_str()), (Kind::Filtered, "2 rows in one group"));
    assert!(answer.reasons[0].text.contains("what they add up to: n is 2"), "{:?}", answer.reasons);
    let lines: Vec<String> = (0..3).map(|at| exec(&format!("e{at}"), at, "curl", "root")).collect();
    assert!(world(head, &format!("query = '''\n{query}\n'''"), &lines).ask(None).is_met);
}

#[test]
fn an_event_of_another_index_and_no_event_are_told() {
    assert_eq!(world(QUERY, "", &[]).ask(None).reasons[0].kind, Kind::NoEvents);
    let line = exec("a", 0, "curl", "root").replace("\"type\":\"logs\"", "\"type\":\"metrics\"");
    assert_eq!(world(QUERY, "", &[line]).ask(None).reasons[0].kind, Kind::OtherIndex);
}
