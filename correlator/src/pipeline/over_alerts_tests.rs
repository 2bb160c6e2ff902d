//! Rules over alerts: what they see, and that what they say follows the alerts wherever those go.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::tests::{
    ASKED, FIRST, SENT, SWEPT, World, connect, described, exec, lines, revisions_end_where_finals_do, sent,
    world,
};
use super::{Engine, Mode};
use crate::alert::{AlertChange, AlertState};

/// A late connection unmakes it.
const SILENT: &str = r#"
[rule]
name = "Started in silence"
rule_id = "00000000-0000-4000-8000-000000000011"
description = "d"
type = "eql"
language = "eql"
severity = "medium"
risk_score = 47
query = '''
sequence by host.id with maxspan=20s
  [process where process.name == "aws"]
  ![network where host.os.type == "linux" and event.action == "connection_attempted"]
  [process where process.name == "sh"]
'''
[[rule.threat]]
framework = "MITRE ATT&CK"
[rule.threat.tactic]
id = "TA0002"
name = "Execution"
reference = "https://attack.mitre.org/tactics/TA0002/"
"#;

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

const FOLD: &str = "[rule.alert_suppression]\ngroup_by = [\"host.id\"]\n";

/// Rules of every kind over alerts of rules of every kind.
pub(super) fn world_over_alerts() -> World {
    world(&[SENT, ASKED, SWEPT, FIRST, SILENT, BLOCK, EACH, SEVERAL, ONE_BY_ONE, COUNTED, NEW])
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
    fn revisions_over_alerts_end_where_finals_do(lines in prop_oneof![close_lines(), lines()]) {
        revisions_end_where_finals_do(&world_over_alerts(), &lines);
    }
}
