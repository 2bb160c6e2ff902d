use std::io;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rules::catalogue;
use rules::event::{EventTime, Span};
use rules::expr::Expr;
use rules::program::Program;
use rules::rule::Rule;
use rules::schema::Schema;
use serde_json::Value;

use super::*;
use crate::alert::{AlertChange, AlertState};
use crate::keyed::Limits;
use crate::merge::{Doubt, Merge, Pace};
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::{Origin, Position, Record, Rejected, SourceItem};
use crate::stage::Stage;
use crate::store::Store;
use crate::time::{Lateness, VirtualClock};

pub(super) const SENT: &str = r#"
[rule]
name = "Command sent"
rule_id = "00000000-0000-4000-8000-000000000001"
description = "d"
type = "query"
language = "kuery"
severity = "low"
risk_score = 21
query = 'event.provider:"ssm.amazonaws.com" and event.action:SendCommand'
[[rule.context]]
name = "commands on the host"
link = ["groundtrail.link.ssm_command_id"]
dataset = "endpoint.events.process"
language = "kuery"
query = 'event.type:start'
before = "1m"
after = "1h"
raise_severity = "high"
"#;

pub(super) const ASKED: &str = r#"
[rule]
name = "Asked"
rule_id = "00000000-0000-4000-8000-000000000002"
description = "d"
type = "eql"
language = "eql"
severity = "medium"
risk_score = 47
query = '''
sequence by host.id, process.parent.entity_id with maxspan=1s
  [process where event.type == "start" and process.name == "curl"]
  [network where event.action == "connection_attempted"]
'''
"#;

pub(super) const SWEPT: &str = r#"
[rule]
name = "Swept"
rule_id = "00000000-0000-4000-8000-000000000003"
description = "d"
type = "threshold"
language = "kuery"
from = "now-30m"
severity = "medium"
risk_score = 47
query = 'event.provider:"ec2.amazonaws.com"'
[rule.threshold]
field = ["aws.cloudtrail.user_identity.arn"]
value = 3
[[rule.threshold.cardinality]]
field = "event.action"
value = 3
"#;

pub(super) const FIRST: &str = r#"
[rule]
name = "First"
rule_id = "00000000-0000-4000-8000-000000000004"
description = "d"
type = "new_terms"
language = "kuery"
severity = "medium"
risk_score = 47
query = 'event.category:process'
[rule.new_terms]
field = "new_terms_fields"
value = ["host.id", "process.name"]
[[rule.new_terms.history_window_start]]
field = "history_window_start"
value = "now-10d"
"#;

pub(super) struct World {
    program: Arc<Program>,
    schema: Arc<Schema>,
    pub(super) normalizer: Normalizer,
}

pub(super) fn world(rules: &[&str]) -> World {
    world_of(rules, |_| {})
}

/// The rules, each changed so after it was loaded.
pub(super) fn world_of(rules: &[&str], change: impl FnMut(&mut Rule<Expr>)) -> World {
    let dir = tempfile::tempdir().unwrap();
    for (idx, text) in rules.iter().enumerate() {
        let end = if text.starts_with("title:") { "yml" } else { "toml" };
        std::fs::write(dir.path().join(format!("{idx}.{end}")), text).unwrap();
    }
    let mut schema = Schema::builtin();
    let mut loaded = catalogue::load([dir.path()], &mut schema);
    assert_eq!(loaded.rules.len(), rules.len(), "{:?}", loaded.reports);
    loaded.rules.iter_mut().for_each(change);
    let schema = Arc::new(schema);
    let program = Arc::new(Program::compile(loaded.rules, &schema));
    World { program, normalizer: Normalizer::new(Arc::clone(&schema), Arc::default()), schema }
}

/// Rules of every kind.
pub(super) fn world_of_all() -> World {
    world(&[SENT, ASKED, SWEPT, FIRST])
}

impl World {
    /// The shipped catalogue, and the events of its rules' own cases.
    pub(super) fn shipped() -> (Self, Vec<String>) {
        let mut schema = Schema::builtin();
        let loaded = catalogue::builtin(&mut schema);
        let cases = loaded.rules.iter().flat_map(|rule| &rule.cases);
        let lines = cases.flat_map(|case| case.events.lines()).filter(|line| !line.trim().is_empty());
        let lines = lines.map(str::to_owned).collect();
        let program = Arc::new(Program::with_drops(loaded.rules.clone(), loaded.drops.clone(), &schema));
        let schema = Arc::new(schema);
        let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
        (World { program, normalizer, schema }, lines)
    }

    pub(super) fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program)
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn stage(&self, n_threads: usize) -> Stage {
        Stage::new(n_threads, &self.normalizer, &self.program)
    }

    pub(super) fn rule_names(&self) -> std::collections::BTreeSet<String> {
        self.program.rules().iter().map(|rule| rule.name.clone()).collect()
    }

    pub(super) fn engine(&self, mode: Mode) -> Engine {
        Engine::new(Arc::clone(&self.program), &self.schema, Limits::default(), mode)
    }

    pub(super) fn read(&self, line: &str) -> Record {
        let origin = if line.contains("eventSource") { Origin::CloudTrail } else { Origin::Sensor };
        self.normalizer.read(origin, line).unwrap()
    }

    pub(super) fn finals(&self, lines: &[String]) -> Vec<String> {
        let source: Arc<str> = "test".into();
        let inputs = lines.iter().map(|line| (Arc::clone(&source), self.read(line)));
        let replayed = replay(Arc::clone(&self.program), &self.schema, Limits::default(), inputs);
        assert!(replayed.stats.total().is_balanced());
        replayed.alerts.iter().map(|alert| alert.document.to_string()).collect()
    }
}

const COMMAND: &str = "11111111-2222-3333-4444-555555555555";

fn second(tenths: u32) -> String {
    format!("2026-11-02T10:{:02}:{:02}.{}Z", tenths / 600, tenths / 10 % 60, tenths % 10)
}

fn second_of(tenths: u32) -> i64 {
    crate::time::parse(&second(tenths)).unwrap().0
}

pub(super) fn sent(tenths: u32) -> String {
    let time = second(tenths / 10 * 10).replace(".0Z", "Z");
    format!(
        r#"{{"eventID":"send-{tenths}","eventTime":"{time}","eventSource":"ssm.amazonaws.com","eventName":"SendCommand","userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/mallory"}},"requestParameters":{{}},"responseElements":{{"command":{{"commandId":"{COMMAND}"}}}}}}"#
    )
}

pub(super) fn described(name: &str, tenths: u32) -> String {
    let time = second(tenths / 10 * 10).replace(".0Z", "Z");
    format!(
        r#"{{"eventID":"{name}-{tenths}","eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"Describe{name}","userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/mallory"}},"requestParameters":{{}},"responseElements":null}}"#
    )
}

pub(super) fn exec(name: &str, tenths: u32) -> String {
    let time = second(tenths);
    format!(
        r#"{{"@timestamp":"{time}","event":{{"id":"exec-{name}-{tenths}","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"web-1","name":"web-1","os":{{"type":"linux"}}}},"user":{{"name":"root"}},"process":{{"name":"{name}","command_line":"{name} x","entity_id":"p{tenths}","parent":{{"entity_id":"shell"}},"env_vars":["SSM_COMMAND_ID={COMMAND}"]}}}}"#
    )
}

pub(super) fn connect(tenths: u32) -> String {
    let time = second(tenths);
    format!(
        r#"{{"@timestamp":"{time}","event":{{"id":"net-{tenths}","category":["network"],"type":["start"],"action":"connection_attempted","dataset":"endpoint.events.network"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.network","namespace":"default"}},"host":{{"id":"web-1","name":"web-1","os":{{"type":"linux"}}}},"process":{{"name":"curl","entity_id":"p","parent":{{"entity_id":"shell"}}}},"destination":{{"ip":"169.254.169.254","port":80}}}}"#
    )
}

fn alert(document: &Value) -> &Value {
    &document["groundtrail"]["alert"]
}

#[test]
fn a_cloud_alert_fires_alone_and_gains_the_host_half() {
    let world = world(&[SENT]);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    let first = engine.push(&source, world.read(&sent(0)));
    assert_eq!((first.len(), first[0].state, first[0].revision), (1, AlertState::Open, 1));
    assert_eq!(alert(&first[0].document)["severity"], "low");
    let silent = "no events of endpoint.events.process were received at all";
    assert_eq!(alert(&first[0].document)["could_not_see"][0], silent);

    assert!(engine.push(&source, world.read(&exec("sh", 20))).is_empty(), "changes wait for the tick");
    let second = engine.flush();
    assert_eq!((second.len(), second[0].state, second[0].revision), (1, AlertState::Revised, 2));
    assert_eq!(second[0].id, first[0].id);
    let document = alert(&second[0].document);
    assert_eq!(document["severity"], "high");
    assert_eq!(document["context"][0]["events"][0]["process"]["name"], "sh");
    assert_eq!(document["could_not_see"].as_array().map(Vec::len), Some(0));
    let story = second[0].document["message"].as_str().unwrap();
    assert!(story.contains("user/mallory called ssm:SendCommand"), "{story}");
    assert!(story.contains("on web-1, root ran \"sh x\""), "{story}");
    assert!(engine.flush().is_empty(), "nothing changed since");
}

/// A burst of calls at 5 per second on a wall clock that runs as fast, with a tick each second.
#[test]
fn an_alert_that_never_stops_growing_is_told_ever_less_often() {
    let world = world(&[SWEPT]);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    let mut told = Vec::new();
    for n in 0..400_u32 {
        let name = format!("Kind{}", n % 13);
        told.extend(engine.push(&source, world.read(&described(&name, n * 10))));
        told.extend(engine.advance(EventTime(second_of(n * 10))));
        if n % 5 == 4 {
            told.extend(engine.tick(Duration::from_secs(u64::from(n / 5))));
        }
    }
    // At once, then 0, 1, 3, 7, 15, 31 and 63 s after the first.
    assert_eq!(told.len(), 8, "{:?}", told.iter().map(|change| change.revision).collect::<Vec<_>>());
    let last = engine.flush();
    assert_eq!((last.len(), last[0].revision), (1, 9), "what was held back is told in the end");
    assert_eq!(last[0].document["groundtrail"]["alert"]["columns"]["count"], 400);
}

#[test]
fn one_tick_tells_no_more_than_leaves_time_for_sources() {
    let world = world(&[SENT]);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    let calls = (0..100).map(|n| sent(n * 10));
    let n_new: usize = calls.map(|line| engine.push(&source, world.read(&line)).len()).sum();
    assert_eq!(n_new, 100);
    engine.push(&source, world.read(&exec("sh", 2000)));
    let told: Vec<usize> = (0..5).map(|now| engine.tick(Duration::from_secs(now)).len()).collect();
    assert_eq!(told, [32, 32, 32, 4, 0]);
}

#[test]
fn context_that_came_first_is_there_at_once() {
    let world = world(&[SENT]);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    engine.push(&source, world.read(&exec("sh", 20)));
    let told = engine.push(&source, world.read(&sent(0)));
    assert_eq!(alert(&told[0].document)["context"][0]["events"].as_array().map(Vec::len), Some(1));
}

/// Commands long after the alert's span, more than may be held for one value.
fn many_more(n: u32) -> impl Iterator<Item = String> {
    (0..n).map(|n| {
        exec("late", 0)
            .replace("exec-late-0", &format!("late-{n}"))
            .replace("T10:00:00.0", &format!("T13:{:02}:{:02}.0", n / 60, n % 60))
    })
}

#[test]
fn what_comes_long_after_does_not_push_out_what_an_alert_shows() {
    let world = world(&[SENT]);
    let lines: Vec<String> = [sent(0), exec("sh", 20)].into_iter().chain(many_more(1_100)).collect();
    let n_shown = |document: &Value| alert(document)["context"][0]["events"].as_array().map(Vec::len);
    let document: Value = serde_json::from_str(&world.finals(&lines)[0]).unwrap();
    assert_eq!(n_shown(&document), Some(1));
    assert_eq!(alert(&document)["could_not_see"].as_array().map(Vec::len), Some(0));

    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    let mut told: Vec<AlertChange> =
        lines.iter().flat_map(|line| engine.push(&source, world.read(line))).collect();
    told.extend(engine.advance(EventTime(i64::MAX)));
    let last = &told.last().unwrap().document;
    assert_eq!(n_shown(last), Some(1));
    assert_eq!(alert(last)["could_not_see"].as_array().map(Vec::len), Some(0));
    assert!(engine.stats().n_context_lost > 0);
}

#[test]
fn what_a_cap_took_from_an_alert_is_said_on_it() {
    let world = world(&[SENT]);
    let limits = Limits { max_context_per_link: 60, max_attached: 5, ..Limits::default() };
    let mut engine = Engine::new(Arc::clone(&world.program), &world.schema, limits, Mode::Revisions);
    let source: Arc<str> = "test".into();
    engine.push(&source, world.read(&sent(0)));
    for tenths in 1..100 {
        engine.push(&source, world.read(&exec("sh", tenths)));
    }
    let told = engine.flush();
    let own = alert(&told[0].document);
    assert_eq!(own["context"][0]["events"][0]["process"]["entity_id"], "p1", "the first stay");
    let said = own["could_not_see"][0].as_str().unwrap();
    assert!(said.starts_with("of what \"commands on the host\" would show, events were given up"), "{said}");
}

#[test]
fn a_run_without_a_store_holds_no_more_events_than_it_may() {
    let world = world(&[ASKED]);
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let mut engine = Engine::new(Arc::clone(&world.program), &world.schema, limits, Mode::Revisions);
    let source: Arc<str> = "test".into();
    let long = |n: u32| exec("curl", n).replace("\"curl x\"", &format!("\"curl {}\"", "x".repeat(20_000)));
    for n in 0..300 {
        engine.push(&source, world.read(&long(n)));
        assert!(engine.n_bytes() <= 1 << 20);
    }
    engine.advance(EventTime(second_of(0)));
    assert!(engine.stats().n_events_lost > 200, "{} events", engine.stats().n_events_lost);
    // What goes with the last of them is there still.
    assert_eq!(engine.push(&source, world.read(&connect(301))).len(), 1);
}

#[test]
fn what_lies_outside_the_span_is_not_attached() {
    let world = world(&[SENT]);
    let lines = [exec("before", 0), sent(1200), exec("after", 1300)];
    let finals = world.finals(&lines);
    let document: Value = serde_json::from_str(&finals[0]).unwrap();
    let events = alert(&document)["context"][0]["events"].as_array().unwrap();
    assert_eq!(events.iter().map(|event| &event["process"]["name"]).collect::<Vec<_>>(), ["after"]);
}

#[test]
fn a_repeated_event_is_counted_and_changes_nothing() {
    let world = world(&[SENT, FIRST]);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    assert_eq!(engine.push(&source, world.read(&exec("sh", 5))).len(), 1);
    assert!(engine.push(&source, world.read(&exec("sh", 5))).is_empty());
    let total = engine.stats().total();
    assert_eq!((total.received, total.evaluated, total.duplicate), (2, 1, 1));
}

#[test]
fn every_event_of_an_alert_says_by_what_conditions_it_is_there() {
    let counted = r#"
[rule]
name = "Counted"
rule_id = "00000000-0000-4000-8000-00000000000a"
description = "d"
type = "esql"
language = "esql"
severity = "low"
risk_score = 21
query = '''
FROM logs-aws.cloudtrail-*
| WHERE event.provider == "ec2.amazonaws.com" AND NOT STARTS_WITH(event.action, "Get")
| STATS n = COUNT(*) BY event.provider
| WHERE n >= 2
'''
"#;
    let world = world(&[SENT, ASKED, SWEPT, FIRST, counted]);
    let mut lines = vec![sent(0), exec("curl", 100), connect(104)];
    lines.extend(["Images", "Regions", "Hosts"].map(|name| described(name, 200)));
    let mut clauses = std::collections::BTreeMap::<String, Vec<Value>>::new();
    for text in world.finals(&lines) {
        let document: Value = serde_json::from_str(&text).unwrap();
        for item in alert(&document)["evidence"].as_array().unwrap() {
            let name = format!(
                "{}, {}",
                document["rule"]["name"].as_str().unwrap(),
                item["stage"].as_str().unwrap()
            );
            clauses.entry(name).or_default().extend(item["matched"].as_array().unwrap().clone());
        }
    }
    let has = |stage: &str, clause: Value| {
        let held = &clauses[stage];
        assert!(held.contains(&clause), "{stage}: {held:?}");
    };
    let is = |field: &str, value: &str| serde_json::json!({"clause": format!("{field} is \"{value}\""), "field": field, "value": value});
    has("Command sent, match", is("event.provider", "ssm.amazonaws.com"));
    has("Asked, step 1", is("process.name", "curl"));
    has("Asked, step 1", is("event.type", "start"));
    has("Asked, step 2", is("event.action", "connection_attempted"));
    has("Swept, window", is("event.provider", "ec2.amazonaws.com"));
    has("First, first seen", is("event.category", "process"));
    has("Counted, window", is("event.provider", "ec2.amazonaws.com"));
    assert_eq!(clauses.len(), 6, "{:?}", clauses.keys());
}

#[test]
fn an_alert_is_told_with_the_watermark_and_a_final_one_without() {
    let world = world(&[SENT]);
    let mut engine = world.engine(Mode::Revisions);
    engine.advance(crate::time::parse("2026-11-02T09:59:00Z").unwrap());
    let told = engine.push(&"test".into(), world.read(&sent(0)));
    assert_eq!(alert(&told[0].document)["watermark"], "2026-11-02T09:59:00.000Z");
    let document: Value = serde_json::from_str(&world.finals(&[sent(0)])[0]).unwrap();
    assert!(alert(&document).get("watermark").is_none(), "what arrived when is no part of a final alert");
}

#[test]
fn a_sequence_alert_names_its_key_and_stages() {
    let world = world(&[ASKED]);
    let finals = world.finals(&[exec("curl", 100), connect(104)]);
    let document: Value = serde_json::from_str(&finals[0]).unwrap();
    let own = alert(&document);
    assert_eq!(own["join"]["host.id"], "web-1");
    assert_eq!(own["join"]["process.parent.entity_id"], "shell");
    assert_eq!(own["evidence"][0]["stage"], "step 1");
    assert_eq!(own["evidence"][1]["event"]["event"]["action"], "connection_attempted");
    assert_eq!(own["state"], "final");
    assert!(own.get("revision").is_none());
    assert_eq!(document["@timestamp"], "2026-11-02T10:00:10.400Z", "the completing event's");
}

/// `curl` without a connection: what a host's sensor did not say.
fn absent_on_host() -> World {
    world(&[&ASKED.replace(
        "[network where event.action == \"connection_attempted\"]",
        "![network where host.os.type == \"linux\" and event.action == \"connection_attempted\"]",
    )])
}

#[test]
fn a_withdrawn_alert_is_told_and_may_come_back() {
    let world = absent_on_host();
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    assert!(engine.push(&source, world.read(&exec("sh", 100))).is_empty());
    assert!(engine.push(&source, world.read(&exec("curl", 700))).is_empty());
    assert!(engine.push(&source, world.read(&exec("sh", 1300))).is_empty());
    let at = crate::time::parse("2026-11-02T10:02:10Z").unwrap();
    let told = engine.advance(at);
    assert_eq!((told.len(), told[0].state), (1, AlertState::Open));
    assert!(engine.push(&source, world.read(&connect(704))).is_empty());
    let told = engine.flush();
    assert_eq!((told.len(), told[0].state, told[0].revision), (1, AlertState::Withdrawn, 2));
    assert!(engine.advance(EventTime(i64::MAX)).is_empty());
}

/// A host's command that no trail shows.
pub(super) const UNORDERED: &str = r#"
[rule]
name = "Unordered"
rule_id = "00000000-0000-4000-8000-000000000009"
description = "d"
type = "eql"
language = "eql"
severity = "high"
risk_score = 73
query = '''
sequence by groundtrail.link.ssm_command_id with maxspan=1m
  ![any where data_stream.dataset == "aws.cloudtrail" and event.action == "SendCommand"]
  [process where event.type == "start" and process.name == "worker"]
'''
"#;

#[test]
fn an_absence_waits_for_its_feed_and_says_what_it_rests_on() {
    let world = world(&[UNORDERED]);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    assert!(engine.push(&source, world.read(&described("Images", 100))).is_empty());
    assert!(engine.push(&source, world.read(&exec("worker", 1300))).is_empty());
    let at = crate::time::parse("2026-11-02T10:20:00Z").unwrap();
    assert!(engine.advance(at).is_empty(), "the watermark alone proves nothing");
    assert!(engine.flush().is_empty());
    assert!(engine.push(&source, world.read(&described("Regions", 2000))).is_empty());
    let told = engine.flush();
    assert_eq!((told.len(), told[0].state, told[0].revision), (1, AlertState::Open, 1));
    let rests_on = &alert(&told[0].document)["rests_on"];
    assert_eq!(
        rests_on,
        &serde_json::json!([{
            "feed": "aws.cloudtrail",
            "heard_from": "2026-11-02T10:00:00.000Z",
            "heard_to": "2026-11-02T10:03:00.000Z",
            "watermark": "2026-11-02T10:02:13.000Z",
        }])
    );
    assert!(engine.advance(EventTime(i64::MAX)).is_empty());
    assert!(engine.stats().withheld.is_empty());
}

/// A command that was sent and ran.
const RAN: &str = r#"
[rule]
name = "Sent and ran"
rule_id = "00000000-0000-4000-8000-00000000000b"
description = "d"
type = "eql"
language = "eql"
severity = "high"
risk_score = 73
query = '''
sequence by groundtrail.link.ssm_command_id with maxspan=5m
  [any where data_stream.dataset == "aws.cloudtrail" and event.action == "SendCommand"]
  [process where event.type == "start" and process.name == "worker"]
'''
"#;

#[test]
fn the_cloud_half_of_a_join_may_come_a_day_late() {
    let world = world(&[RAN]);
    let source: Arc<str> = "test".into();
    let told_at = |late: &str| {
        let mut engine = world.engine(Mode::Revisions);
        assert!(engine.push(&source, world.read(&exec("worker", 1300))).is_empty());
        assert!(engine.advance(crate::time::parse(late).unwrap()).is_empty());
        let mut told = engine.push(&source, world.read(&sent(1200)));
        told.extend(engine.flush());
        told.len()
    };
    assert_eq!(told_at("2026-11-02T10:03:00Z"), 1);
    assert_eq!(told_at("2026-11-03T09:00:00Z"), 1, "in time after 23 hours");
    assert_eq!(told_at("2026-11-03T11:00:00Z"), 0, "the other half is no longer held");
}

#[track_caller]
fn check_withheld(world: &World, lines: &[String], why: &'static str) {
    let source: Arc<str> = "test".into();
    let inputs = lines.iter().map(|line| (Arc::clone(&source), world.read(line)));
    let replayed = replay(Arc::clone(&world.program), &world.schema, Limits::default(), inputs);
    assert!(replayed.alerts.is_empty());
    let withheld: Vec<_> =
        replayed.stats.withheld.iter().map(|((_, _, why), n)| (why.as_str(), *n)).collect();
    assert_eq!(withheld, [(why, 1)]);
}

#[test]
fn an_absence_that_no_feed_vouches_for_is_counted() {
    let not_around = "the account's CloudTrail was not heard before and after";
    let (world, ran) = (world(&[UNORDERED]), exec("worker", 1300));
    check_withheld(&world, std::slice::from_ref(&ran), "no CloudTrail feed");
    check_withheld(&world, &[described("Images", 100), ran.clone()], not_around);
    check_withheld(&world, &[ran.clone(), described("Regions", 2000)], not_around);
    check_withheld(&world, &[described("Images", 800), ran, described("Regions", 2000)], not_around);

    let world = absent_on_host();
    let seen = [exec("sh", 100), exec("curl", 700), exec("sh", 1300)];
    assert_eq!(world.finals(&seen).len(), 1);
    let loss = exec("sh", 800).replace("\"action\":\"exec\"", "\"action\":\"groundtrail_loss\"");
    let lossy: Vec<String> = seen.into_iter().chain([loss]).collect();
    check_withheld(&world, &lossy, "the host's sensor lost events");
    let elsewhere = |line: String| line.replace("web-1", "web-2");
    let lines = [elsewhere(exec("sh", 100)), exec("curl", 700), elsewhere(exec("sh", 1300))];
    check_withheld(&world, &lines, "the host's sensor was not heard before and after");
}

/// Keeps what is delivered.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) told: Vec<AlertChange>,
    again: Vec<String>,
    n_left: Option<usize>,
}

impl Delivery for Kept {
    fn alert(&mut self, change: &AlertChange) -> io::Result<()> {
        if let Some(n_left) = &mut self.n_left {
            *n_left = n_left.checked_sub(1).ok_or_else(|| io::Error::other("the sink broke"))?;
        }
        self.told.push(change.clone());
        Ok(())
    }

    fn again(&mut self, document: &str) -> io::Result<()> {
        self.again.push(document.to_owned());
        Ok(())
    }

    fn rejected(&mut self, _rejected: &Rejected) {}

    fn doubt(&mut self, _doubt: &Doubt) {}
}

/// One run over a store: the lines come, then the run is stopped.
pub(super) fn run_once(
    world: &World,
    store: Store,
    lines: &[String],
    kept: &mut Kept,
) -> Result<(), RunError> {
    let clock = Arc::new(VirtualClock::at(crate::time::parse("2026-11-02T18:00:00Z").unwrap()));
    let mut merge = Merge::new(1024, Pace::Live { idle_after: Span::from_secs(10) }, clock);
    let outlet = merge.add("test", Lateness(Span::from_secs(1200)));
    for line in lines {
        outlet.send(SourceItem::Record(world.read(line))).unwrap();
    }
    let position = Position { source: "test".into(), key: "file".into(), value: lines.len().to_string() };
    outlet.send(SourceItem::Position(position)).unwrap();
    drop(outlet);
    let stop = Stop::default();
    stop.stop();
    let mut runner =
        Runner::new(world.engine(Mode::Revisions), Mode::Revisions, Some(store), &world.normalizer)?;
    runner.run(&mut merge, &stop, kept).map(|_| ())
}

#[test]
fn a_restart_goes_on_where_it_stopped_and_repeats_nothing() {
    let world = world(&[SENT, ASKED, SWEPT, FIRST]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let open = || Store::open(&path).unwrap();

    let mut first = Kept::default();
    let lines = [sent(0), described("Images", 10), described("Regions", 20), exec("curl", 100)];
    run_once(&world, open(), &lines, &mut first).unwrap();
    let names = |kept: &Kept| -> Vec<(String, &str, u32)> {
        let name = |change: &AlertChange| change.document["rule"]["name"].as_str().unwrap().to_owned();
        kept.told.iter().map(|change| (name(change), change.state.as_str(), change.revision)).collect()
    };
    assert!(names(&first).contains(&("Command sent".into(), "open", 1)), "{:?}", names(&first));
    assert_eq!(open().all_positions().unwrap()[0].value, "4");

    let mut again = Kept::default();
    run_once(&world, open(), &lines, &mut again).unwrap();
    assert!(again.told.is_empty() && again.again.is_empty(), "{:?}", names(&again));

    let mut more = Kept::default();
    run_once(&world, open(), &[connect(104), described("Snapshots", 50)], &mut more).unwrap();
    let told = names(&more);
    assert!(
        told.contains(&("Asked".into(), "open", 1)),
        "the first step was seen before the restart: {told:?}"
    );
    assert!(told.contains(&("Swept".into(), "open", 1)), "{told:?}");
    assert!(!told.iter().any(|(name, ..)| name == "First"), "{told:?}");
}

/// One damaged row costs what is in it; what else the store has of the same rule is taken back, in every later run too.
#[test]
fn state_that_cannot_be_read_is_forgotten_alone() {
    let world = world(&[ASKED]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let open = || Store::open(&path).unwrap();
    let on =
        |host: &str, line: String| line.replace("web-1", host).replace("exec-", host).replace("net-", host);
    let hosts = ["web-1", "web-2", "web-3", "web-4"];
    let first: Vec<String> = hosts.iter().map(|host| on(host, exec("curl", 100))).collect();
    run_once(&world, open(), &first, &mut Kept::default()).unwrap();
    let damage = "update key_state set state = x'ff' where place = (select min(place) from key_state);
        update key_state set key = x'ff' where place = (select max(place) from key_state)";
    rusqlite::Connection::open(&path).unwrap().execute_batch(damage).unwrap();

    let mut store = open();
    let mut engine = world.engine(Mode::Revisions);
    let restored = restore::restore(&mut engine, &mut store, &world.normalizer).unwrap();
    assert_eq!((restored.n_unreadable, engine.n_keys()), (2, 2));
    drop(store);
    let mut n_left = 0;
    open().each_key(|_| n_left += 1).unwrap();
    assert_eq!(n_left, 2, "the damaged rows are gone, and no other");

    let mut second = Kept::default();
    let more: Vec<String> = hosts.iter().map(|host| on(host, connect(104))).collect();
    run_once(&world, open(), &more, &mut second).unwrap();
    assert_eq!(second.told.len(), 2);
}

/// A call by the instance's role, by which the correlator learns it.
fn called_by_instance(time: &str) -> String {
    format!(
        r#"{{"eventID":"call-{time}","eventTime":"{time}","eventSource":"s3.amazonaws.com","eventName":"ListBuckets","sourceIPAddress":"198.51.100.23","userIdentity":{{"type":"AssumedRole","principalId":"AROAX:i-0123456789abcdef0","arn":"arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE000000001","sessionContext":{{"sessionIssuer":{{"type":"Role","arn":"arn:aws:iam::111122223333:role/web","userName":"web"}},"ec2RoleDelivery":"2.0"}}}},"requestParameters":null,"responseElements":null}}"#
    )
}

fn moved(line: &str, from: &str, to: &str) -> String {
    assert!(line.contains(from), "{line}");
    line.replace(from, to).replace("-0\"", &format!("-{to}\""))
}

/// Both runs on one store, or, as the measure, one run of all lines. The last document of each alert.
fn last_told(world: &World, runs: &[&[String]]) -> std::collections::BTreeMap<String, Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::default();
    for lines in runs {
        run_once(world, Store::open(&dir.path().join("store.db")).unwrap(), lines, &mut kept).unwrap();
    }
    let mut last = std::collections::BTreeMap::new();
    for change in kept.told {
        let mut document = change.document;
        document["groundtrail"]["alert"].as_object_mut().unwrap().remove("revision");
        document["groundtrail"]["alert"].as_object_mut().unwrap().remove("watermark");
        document["groundtrail"]["alert"].as_object_mut().unwrap().remove("state");
        last.insert(change.id.to_string(), document);
    }
    last
}

#[test]
fn what_was_known_of_a_host_survives_a_restart() {
    let world = world(&[FIRST]);
    let call = called_by_instance("2026-11-02T10:00:00Z");
    let exec = exec("sh", 50)
        .replace("web-1", "i-0123456789abcdef0")
        .replace(r#""user":"#, r#""cloud":{"instance":{"id":"i-0123456789abcdef0"}},"user":"#);
    let runs = [std::slice::from_ref(&call), std::slice::from_ref(&exec)];
    let both = last_told(&world, &runs);
    assert!(both.values().next().unwrap().to_string().contains("\"role\":\"web\""), "{both:?}");
    assert_eq!(both, last_told(&world, &[&[call.clone(), exec.clone()]]));
}

#[test]
fn a_first_sight_gains_its_cloud_half_after_a_restart() {
    let explained = format!(
        "{FIRST}[[rule.context]]\nname = \"who sent it\"\nlink = [\"groundtrail.link.ssm_command_id\"]\nlanguage = \"kuery\"\nquery = 'event.action:SendCommand'\nbefore = \"1m\"\nafter = \"2h\"\n"
    );
    let world = world(&[&explained]);
    // Time passes, so that the term's first sight is certain and written as such.
    let first = [exec("sh", 0), moved(&exec("sh", 0), "T10:00", "T11:00")];
    let second = [sent(600)];
    let both = last_told(&world, &[&first, &second]);
    let document = both.values().next().unwrap();
    assert_eq!(alert(document)["context"][0]["events"].as_array().map(Vec::len), Some(1));
    let all: Vec<String> = first.iter().chain(&second).cloned().collect();
    assert_eq!(both, last_told(&world, &[&all]));
}

#[test]
fn a_leader_of_an_earlier_run_still_speaks_for_those_after_it() {
    let quiet = SENT.replace(
        "[[rule.context]]",
        "[rule.alert_suppression]\ngroup_by = [\"aws.cloudtrail.user_identity.arn\"]\n[rule.alert_suppression.duration]\nvalue = 5\nunit = \"h\"\n[[rule.context]]",
    );
    let world = world(&[&quiet]);
    // The leader's alert is long closed when the first run ends.
    let first = [sent(0), moved(&exec("sh", 0), "T10:00", "T13:00")];
    let second = [moved(&sent(0), "T10:00", "T13:10")];
    assert_eq!(last_told(&world, &[&first, &second]).len(), 1);
}

#[test]
fn a_long_window_is_the_same_window_after_a_restart() {
    let world = world(&[SWEPT]);
    // One call in 6 s for 30 minutes, more than an alert carries, and then time passes.
    let call = |n: u32| {
        let minute = n / 10;
        moved(&described(&format!("Kind{}", n % 5), n % 10 * 60), "T10:00", &format!("T10:{minute:02}"))
            .replace("\"eventID\":\"", &format!("\"eventID\":\"{n}-"))
    };
    let calls: Vec<String> = (0..300).map(call).collect();
    // With the trail's lateness of 20 minutes: while the alert is open, and when it has closed but not all is forgotten.
    for later in ["T11:20", "T11:45"] {
        let mut first = calls.clone();
        first.push(moved(&exec("sh", 0), "T10:00", later));
        let second = [moved(&exec("sh", 0), "T10:00", "T11:50")];
        let both = last_told(&world, &[&first, &second]);
        first.extend(second);
        assert_eq!(both.len(), 1, "{later}");
        assert_eq!(both, last_told(&world, &[&first]), "{later}");
    }
}

#[test]
fn what_was_heard_before_a_restart_is_not_called_unseen() {
    let world = world(&[SENT]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let heard = exec("sh", 0).replace("SSM_COMMAND_ID", "OTHER").replace("\"start\"", "\"end\"");
    run_once(&world, Store::open(&path).unwrap(), &[heard], &mut Kept::default()).unwrap();
    let mut kept = Kept::default();
    run_once(&world, Store::open(&path).unwrap(), &[sent(10)], &mut kept).unwrap();
    assert_eq!(alert(&kept.told[0].document)["could_not_see"].as_array().map(Vec::len), Some(0));
}

#[test]
fn alerts_that_a_broken_sink_missed_come_again_under_the_same_id() {
    let world = world(&[SENT]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut broken = Kept { n_left: Some(0), ..Kept::default() };
    let failed = run_once(&world, Store::open(&path).unwrap(), &[sent(0)], &mut broken);
    assert!(matches!(failed, Err(RunError::Deliver(_))));
    let mut next = Kept::default();
    run_once(&world, Store::open(&path).unwrap(), &[], &mut next).unwrap();
    assert_eq!(next.again.len(), 1);
    assert!(next.told.is_empty());
    let mut last = Kept::default();
    run_once(&world, Store::open(&path).unwrap(), &[], &mut last).unwrap();
    assert!(last.again.is_empty());
}

#[test]
fn an_edited_rule_starts_afresh_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(&dir.path().join("store.db")).unwrap();
    let before = world(&[ASKED, SWEPT]);
    let lines = [described("Images", 10), described("Regions", 20), exec("curl", 100)];
    run_once(&before, open(), &lines, &mut Kept::default()).unwrap();
    // The same in other words is the same rule; another query is another.
    let reworded = ASKED.replace("name = \"Asked\"", "name = \"Asked again\"");
    let edited = SWEPT.replace("event.provider:", "event.provider :");
    assert!(reworded != ASKED && edited != SWEPT);
    let after = world(&[&reworded, &edited]);
    let mut kept = Kept::default();
    run_once(&after, open(), &[connect(104), described("Snapshots", 50)], &mut kept).unwrap();
    let names: Vec<&str> =
        kept.told.iter().map(|change| change.document["rule"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Asked again"]);
}

#[test]
fn a_store_that_held_events_and_no_state_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let world = world(&[SENT, ASKED, SWEPT]);
    let old = rusqlite::Connection::open(&path).unwrap();
    for step in &crate::store::STEPS[..2] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 2).unwrap();
    for line in [described("Images", 10), described("Regions", 20), exec("curl", 100)] {
        let record = world.read(&line);
        let origin = if record.origin == Origin::Sensor { "sensor" } else { "cloudtrail" };
        let id = dedup::short_id(&record.event.id);
        old.execute(
            "insert into held (id, origin, raw, time, until) values (?1, ?2, ?3, ?4, ?5)",
            rusqlite::params![&id[..], origin, line, record.event.time.0, i64::MAX],
        )
        .unwrap();
    }
    drop(old);
    run_once(&world, Store::open(&path).unwrap(), &[sent(0)], &mut Kept::default()).unwrap();
    let mut kept = Kept::default();
    let more = [connect(104), described("Snapshots", 50)];
    run_once(&world, Store::open(&path).unwrap(), &more, &mut kept).unwrap();
    let names: std::collections::BTreeSet<&str> =
        kept.told.iter().map(|change| change.document["rule"]["name"].as_str().unwrap()).collect();
    assert!(names.contains("Asked") && names.contains("Swept"), "{names:?}");
}

pub(super) fn lines() -> impl Strategy<Value = Vec<String>> {
    let at = 0_u32..3000;
    let one = prop_oneof![
        at.clone().prop_map(sent),
        (prop::sample::select(vec!["Images", "Regions", "Snapshots", "Hosts"]), at.clone())
            .prop_map(|(name, at)| described(name, at)),
        (prop::sample::select(vec!["curl", "sh", "aws"]), at.clone()).prop_map(|(name, at)| exec(name, at)),
        at.prop_map(connect),
    ];
    prop::collection::vec(one, 1..40)
}

/// Eager alerts and their revisions come to what the sorted whole says.
pub(super) fn revisions_end_where_finals_do(world: &World, lines: &[String]) {
    let finals = world.finals(lines);
    let mut engine = world.engine(Mode::Revisions);
    let source: Arc<str> = "test".into();
    let mut last = std::collections::BTreeMap::new();
    let mut told = Vec::new();
    for (idx, line) in lines.iter().enumerate() {
        told.extend(engine.push(&source, world.read(line)));
        if idx % 5 == 4 {
            told.extend(engine.flush());
        }
    }
    told.extend(engine.advance(EventTime(i64::MAX)));
    for change in told {
        let expected = last.get(&change.id).map_or(1, |(revision, _): &(u32, _)| revision + 1);
        assert_eq!(change.revision, expected, "no revision is skipped or told twice");
        last.insert(change.id.clone(), (change.revision, change));
    }
    let mut standing: Vec<AlertChange> = last
        .into_values()
        .map(|(_, change)| change)
        .filter(|change| change.state != AlertState::Withdrawn)
        .collect();
    sort_finals(&mut standing);
    let as_final = |change: &AlertChange| {
        let mut document = change.document.clone();
        let own = document["groundtrail"]["alert"].as_object_mut().unwrap();
        own.remove("revision");
        own.remove("watermark");
        own.insert("state".into(), "final".into());
        document.to_string()
    };
    assert_eq!(standing.iter().map(as_final).collect::<Vec<_>>(), finals);
}

/// The names of the alerts told when another set of rules is taken over after the first event.
pub(super) fn told_over_a_reload(before: &[&str], after: &[&str]) -> Vec<String> {
    let (old, new) = (world(before), world(after));
    let clock = Arc::new(VirtualClock::at(crate::time::parse("2026-11-02T10:01:00Z").unwrap()));
    let mut merge = Merge::new(64, Pace::Live { idle_after: Span::from_secs(10) }, clock);
    let outlet = merge.add("test", Lateness(Span::from_secs(1200)));
    for line in [described("Images", 10), described("Regions", 20), described("Instances", 30)] {
        outlet.send(SourceItem::Record(old.read(&line))).unwrap();
    }
    drop(outlet);
    let reload = Reload::default();
    let (program, schema) = (Arc::clone(&new.program), Arc::clone(&new.schema));
    reload.stage(Staged { program, schema, lists: Arc::default() });
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db")).unwrap();
    let (engine, stop) = (old.engine(Mode::Revisions), Stop::default());
    stop.stop();
    let runner = Runner::new(engine, Mode::Revisions, Some(store), &old.normalizer).unwrap();
    let mut runner = runner.with_reload(reload, old.normalizer);
    let mut kept = Kept::default();
    let stats = runner.run(&mut merge, &stop, &mut kept).unwrap();
    assert_eq!(stats.total().received, 3, "the account goes on");
    let name = |change: &AlertChange| change.document["rule"]["name"].as_str().unwrap().to_owned();
    kept.told.iter().filter(|change| change.state == AlertState::Open).map(name).collect()
}

#[test]
fn a_reload_restarts_the_state_of_edited_rules_alone() {
    let edited = SWEPT.replace("'event.provider", "'event.action:Describe* and event.provider");
    let reworded = SWEPT.replace("description = \"d\"", "description = \"e\"");
    assert_eq!(told_over_a_reload(&[SWEPT], &[&reworded]), ["Swept"], "it asks the same");
    assert_eq!(told_over_a_reload(&[SWEPT], &[SWEPT, ASKED]), ["Swept"], "half-seen and untouched");
    assert_eq!(
        told_over_a_reload(&[SWEPT, ASKED], &[SENT, SWEPT]),
        ["Swept"],
        "wherever it stands in the set"
    );
    assert_eq!(told_over_a_reload(&[SWEPT], &[&edited]), Vec::<String>::new(), "two of three are no three");
}
