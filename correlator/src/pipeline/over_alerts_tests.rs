//! Rules over alerts: what they see, and that what they say follows the alerts wherever those go.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::kinds::SILENT;
use super::tests::{
    ASKED, FIRST, SENT, SWEPT, World, connect, described, exec, lines, revisions_end_where_finals_do, sent,
    world,
};
use super::{Engine, Mode};
use crate::alert::{AlertChange, AlertState};

const BLOCK: &str = r#"
[rule]
name = "Any curl"
rule_id = "00000000-0000-4000-8000-000000000012"
description = "d"
type = "query"
language = "kuery"
severity = "low"
risk_score = 21
building_block_type = "default"
query = 'process.name:curl and event.category:process'
"#;

const EACH: &str = r#"
[rule]
name = "Each alert of a host"
rule_id = "00000000-0000-4000-8000-000000000021"
description = "d"
type = "query"
language = "kuery"
index = [".alerts-security.*"]
severity = "high"
risk_score = 73
query = 'event.kind:signal and kibana.alert.risk_score > 20 and host.id:*'
"#;

const SEVERAL: &str = r#"
[rule]
name = "Two rules on one host"
rule_id = "00000000-0000-4000-8000-000000000022"
description = "d"
type = "threshold"
language = "kuery"
from = "now-5m"
index = [".alerts-security.*"]
severity = "high"
risk_score = 73
query = 'host.id:*'
[rule.threshold]
field = ["host.id"]
value = 2
[[rule.threshold.cardinality]]
field = "kibana.alert.rule.rule_id"
value = 2
"#;

const ONE_BY_ONE: &str = r#"
[rule]
name = "One after the other"
rule_id = "00000000-0000-4000-8000-000000000023"
description = "d"
type = "eql"
language = "eql"
severity = "high"
risk_score = 73
query = '''
sequence by host.id with maxspan=2m
  [any where kibana.alert.rule.name == "Any curl" and kibana.alert.building_block_type == "default"]
  [any where event.kind == "signal" and kibana.alert.severity == "medium"]
'''
"#;

const COUNTED: &str = r#"
[rule]
name = "Counted"
rule_id = "00000000-0000-4000-8000-000000000024"
description = "d"
type = "esql"
language = "esql"
from = "now-5m"
severity = "high"
risk_score = 73
query = '''
FROM .alerts-security.*
| STATS n = COUNT(*), rules = COUNT_DISTINCT(kibana.alert.rule.rule_id) BY host.id
| WHERE n >= 3
'''
"#;

const NEW: &str = r#"
[rule]
name = "New on the host"
rule_id = "00000000-0000-4000-8000-000000000025"
description = "d"
type = "new_terms"
language = "kuery"
index = [".alerts-security.*"]
severity = "high"
risk_score = 73
query = 'kibana.alert.rule.type:eql'
[rule.new_terms]
field = "new_terms_fields"
value = ["host.id", "kibana.alert.rule.name"]
[[rule.new_terms.history_window_start]]
field = "history_window_start"
value = "now-1d"
"#;

const EXCEPT: &str = r#"[[rule.exception]]
name = "all that could be told"
reason = "nobody wants to hear of it"
query = 'event.kind:* or event.category:* or event.action:*'
"#;
/// Takes part of what a rule looks for.
const EXCEPT_SOME: &str = "[[rule.exception]]\nname = \"x\"\nreason = \"y\"\nquery = 'process.name:sh or event.action:DescribeImages'\n";
const FOLD: &str = "[rule.alert_suppression]\ngroup_by = [\"host.id\"]\n";

/// Rules of every kind over alerts of rules of every kind.
pub(super) fn world_over_alerts() -> World {
    world(&[SENT, ASKED, SWEPT, FIRST, SILENT, BLOCK, EACH, SEVERAL, ONE_BY_ONE, COUNTED, NEW])
}

const OVER: [&str; 5] = [EACH, SEVERAL, ONE_BY_ONE, COUNTED, NEW];
/// A query, two sequences, one with an absence, a threshold and new terms.
const FEEDING: [&str; 5] = [SENT, ASKED, SWEPT, FIRST, SILENT];

/// What is changed in the text of a rule.
type Change<'c> = &'c dyn Fn(&str) -> String;

/// The rules that feed, each changed so, with those over them.
fn world_with(change: impl Fn(&str) -> String) -> World {
    let rules: Vec<String> =
        FEEDING.iter().map(|rule| change(rule)).chain(OVER.iter().map(|rule| rule.to_string())).collect();
    world(&rules.iter().map(String::as_str).collect::<Vec<_>>())
}

fn as_block(rule: &str) -> String {
    rule.replacen("[rule]\n", "[rule]\nbuilding_block_type = \"default\"\n", 1)
}

/// Alerts of the rules over alerts: all that they say, or which they are and what they rest on.
fn of_rules_over(told: &[String], is_whole: bool) -> Vec<String> {
    let over: Vec<&str> =
        OVER.iter().filter_map(|rule| rule.lines().nth(2)?.strip_prefix("name = ")).collect();
    let documents = told.iter().map(|text| serde_json::from_str::<Value>(text).unwrap());
    let of_over = documents.filter(|document| over.contains(&&*document["rule"]["name"].to_string()));
    let shown = |document: Value| match is_whole {
        true => document.to_string(),
        false => {
            let alert = &document["groundtrail"]["alert"];
            let evidence =
                alert["evidence"].as_array().unwrap().iter().map(|item| &item["event"]["event"]["id"]);
            format!("{} {:?}", alert["id"], evidence.collect::<Vec<_>>())
        }
    };
    of_over.map(shown).collect()
}

fn names(documents: &[String]) -> Vec<String> {
    let name = |text: &String| {
        let document: Value = serde_json::from_str(text).unwrap();
        document["rule"]["name"].as_str().unwrap().to_owned()
    };
    let mut names: Vec<String> = documents.iter().map(name).collect();
    names.sort();
    names
}

fn push(world: &World, engine: &mut Engine, line: &str) -> Vec<AlertChange> {
    let mut told = engine.push(&Arc::from("test"), world.read(line));
    told.extend(engine.flush());
    told
}

fn states(told: &[AlertChange]) -> Vec<(String, AlertState)> {
    let of =
        |change: &AlertChange| (change.document["rule"]["name"].as_str().unwrap().to_owned(), change.state);
    told.iter().map(of).collect()
}

fn named(name: &str, state: AlertState) -> (String, AlertState) {
    (name.to_owned(), state)
}

#[test]
fn an_alert_is_an_event_to_rules_over_alerts_and_to_no_other() {
    let told = world(&[BLOCK, FIRST, EACH]).finals(&[exec("curl", 0)]);
    assert_eq!(names(&told), ["Each alert of a host", "Each alert of a host", "First"]);
    let signals: Vec<Value> = told.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let evidence = signals
        .iter()
        .map(|alert| &alert["groundtrail"]["alert"]["evidence"][0]["event"])
        .find(|event| event["kibana"]["alert"]["rule"]["name"] == "Any curl")
        .expect("the building block is evidence");
    assert_eq!(evidence["event"]["kind"], "signal");
    assert_eq!(evidence["kibana"]["alert"]["building_block_type"], "default");
    assert_eq!(evidence["kibana"]["alert"]["original_event"]["id"], "exec-curl-0");
    assert_eq!(evidence["process"]["name"], "curl", "it has the fields of the event it is about");
}

#[test]
fn alerts_of_rules_over_alerts_are_not_fed_back() {
    let other = EACH.replace("000021", "000031").replace("Each alert", "Each other alert");
    let told = world(&[BLOCK, EACH, &other]).finals(&[exec("curl", 0)]);
    assert_eq!(names(&told), ["Each alert of a host", "Each other alert of a host"]);
}

#[test]
fn suppression_of_one_rule_leaves_rules_over_its_alerts_alone() {
    let lines = [exec("curl", 0), exec("curl", 100), exec("curl", 200)];
    let plain = BLOCK.replace("building_block_type = \"default\"\n", "");
    let folded = format!("{plain}{FOLD}");
    let told = |rule: &str| names(&world(&[rule, EACH, COUNTED]).finals(&lines));
    let over = |told: &[String]| told.iter().filter(|name| *name != "Any curl").cloned().collect::<Vec<_>>();
    let (before, after) = (told(&plain), told(&folded));
    assert_eq!((before.len() - over(&before).len(), after.len() - over(&after).len()), (3, 1));
    assert_eq!(over(&before), over(&after));
    assert_eq!(over(&after).len(), 4, "one for each, and the count of them");
}

/// What makes each rule that feeds fire.
fn busy() -> Vec<String> {
    let described = [("Images", 10), ("Regions", 20), ("Hosts", 30)].map(|(name, at)| described(name, at));
    let execs = [exec("aws", 100), exec("sh", 150), exec("curl", 400), exec("curl", 450)];
    described.into_iter().chain(execs).chain([connect(404), sent(500)]).collect()
}

#[test]
fn what_is_told_of_a_rule_changes_nothing_for_rules_over_its_alerts() {
    let plain = world_with(str::to_owned).finals(&busy());
    let n_over = of_rules_over(&plain, true).len();
    assert!(n_over >= 5 && plain.len() >= n_over + FEEDING.len(), "{n_over} of {}", plain.len());
    let cases: [(&str, Change<'_>, bool); 4] = [
        ("suppression", &|rule| format!("{rule}{FOLD}"), true),
        ("an exception for everything", &|rule| format!("{rule}{EXCEPT}"), true),
        ("an exception for some", &|rule| format!("{rule}{EXCEPT_SOME}"), true),
        ("building block", &as_block, false),
    ];
    for (what, change, is_whole) in cases {
        let told = world_with(change).finals(&busy());
        assert!(told.len() < plain.len(), "{what}: fewer are told");
        assert_eq!(of_rules_over(&told, is_whole), of_rules_over(&plain, is_whole), "{what}");
    }
}

#[test]
fn an_excepted_rule_tells_nothing_and_its_twin_is_not_seen() {
    let world = world_with(|rule| format!("{rule}{EXCEPT}"));
    let told = world.finals(&busy());
    assert_eq!(told.len(), of_rules_over(&told, true).len(), "{:?}", names(&told));
    assert_eq!(world.engine(Mode::Finals).program().n_loaded(), FEEDING.len() + OVER.len());
    let alone = format!("{ASKED}{EXCEPT}");
    let alone = super::tests::world(&[&alone]).engine(Mode::Finals);
    assert_eq!(alone.program().rules().len(), 1, "without rules over alerts nobody needs a twin");
}

#[test]
fn a_building_block_is_told_where_it_is_asked_for() {
    let told = world(&[BLOCK]).finals(&[exec("curl", 0)]);
    assert_eq!(told, Vec::<String>::new());
    let told = super::tests::world_of(&[BLOCK], |rule| rule.notifies = true).finals(&[exec("curl", 0)]);
    let document: Value = serde_json::from_str(&told[0]).unwrap();
    assert_eq!(document["groundtrail"]["alert"]["building_block"], true);
}

#[test]
fn the_first_exception_of_a_rule_keeps_what_its_signal_had_half_seen() {
    let excepted = format!("{SWEPT}{EXCEPT}");
    let over = EACH.replace("and host.id:*", "");
    let of = |after: &[&str]| super::tests::told_over_a_reload(&[SWEPT, &over], after);
    assert_eq!(of(&[SWEPT, &over]), ["Each alert of a host", "Swept"]);
    assert_eq!(of(&[&excepted, &over]), ["Each alert of a host"]);
}

#[test]
fn an_alert_that_is_withdrawn_takes_those_over_it_along() {
    let world = world(&[SILENT, EACH, NEW]);
    let mut engine = world.engine(Mode::Revisions);
    assert!(push(&world, &mut engine, &exec("true", 0)).is_empty());
    assert!(push(&world, &mut engine, &exec("aws", 700)).is_empty());
    push(&world, &mut engine, &exec("sh", 800));
    let silent = engine.advance(crate::time::parse("2026-11-02T10:02:00Z").unwrap());
    assert!(silent.is_empty() && engine.flush().is_empty(), "nothing vouches for the silence yet");
    let mut told = push(&world, &mut engine, &exec("true", 1300));
    told.extend(engine.flush());
    let mut opened = states(&told);
    opened.sort_by(|a, b| a.0.cmp(&b.0));
    let rules = ["Each alert of a host", "New on the host", "Started in silence"];
    assert_eq!(opened, rules.map(|rule| named(rule, AlertState::Open)));
    let mut gone = states(&push(&world, &mut engine, &connect(750)));
    gone.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(gone, rules.map(|rule| named(rule, AlertState::Withdrawn)));
}

#[test]
fn an_alert_that_changes_takes_the_place_of_what_it_was() {
    let by_account = EACH.replace("and host.id:*", "and kibana.alert.rule.type:threshold");
    let world = world(&[SWEPT, &by_account]);
    let mut engine = world.engine(Mode::Revisions);
    let mut told = Vec::new();
    for (name, at) in [("Images", 100), ("Regions", 200), ("Hosts", 300), ("Volumes", 10)] {
        told.extend(push(&world, &mut engine, &described(name, at)));
    }
    told.extend(engine.advance(rules::event::EventTime(i64::MAX)));
    let opened = told.iter().filter(|change| change.state == AlertState::Open).count();
    let withdrawn = told.iter().filter(|change| change.state == AlertState::Withdrawn).count();
    assert_eq!(opened - withdrawn, 2, "one alert and one over it stand: {:?}", states(&told));
}

/// What makes and unmakes alerts, close together.
fn close_lines() -> impl Strategy<Value = Vec<String>> {
    let at = 600_u32..1200;
    let one = prop_oneof![
        3 => (prop::sample::select(vec!["aws", "sh", "curl"]), at.clone())
            .prop_map(|(name, at)| exec(name, at)),
        1 => at.clone().prop_map(connect),
        1 => at.prop_map(sent),
        // What vouches for silence, if it is there.
        1 => prop_oneof![0_u32..600, 1200_u32..1800].prop_map(|at| exec("true", at)),
    ];
    prop::collection::vec(one, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_and_repetition_end_in_the_same_bytes(
        (lines, shuffled) in prop_oneof![close_lines(), lines()].prop_flat_map(|lines| {
            let twice: Vec<String> = lines.iter().chain(&lines).cloned().collect();
            (Just(lines), Just(twice).prop_shuffle())
        }),
    ) {
        let world = world_over_alerts();
        prop_assert_eq!(world.finals(&lines), world.finals(&shuffled));
    }

    #[test]
    fn what_is_told_of_rules_never_changes_what_others_conclude(
        lines in prop_oneof![close_lines(), lines()],
        way in 0..4_usize,
    ) {
        let ways: [Change<'_>; 4] = [
            &|rule| format!("{rule}{FOLD}"),
            &|rule| format!("{rule}{EXCEPT}"),
            &|rule| format!("{rule}{EXCEPT_SOME}"),
            &as_block,
        ];
        let is_whole = way < 3;
        let plain = world_with(str::to_owned).finals(&lines);
        let told = world_with(ways[way]).finals(&lines);
        prop_assert_eq!(of_rules_over(&told, is_whole), of_rules_over(&plain, is_whole));
    }

    #[test]
    fn revisions_over_alerts_end_where_finals_do(lines in prop_oneof![close_lines(), lines()]) {
        revisions_end_where_finals_do(&world_over_alerts(), &lines);
    }
}
