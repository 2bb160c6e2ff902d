//! What the sensor puts on the wire is what the field table says: read off the recorded traces, which the real sensor wrote.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use harness::bins;
use rules::schema::{FieldType, Schema};
use serde_json::Value;

/// Category, type, action and dataset of each kind of host event.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("process", "start", "exec", "endpoint.events.process"),
    ("process", "start", "fork", "endpoint.events.process"),
    ("process", "end", "end", "endpoint.events.process"),
    ("network", "start", "connection_attempted", "endpoint.events.network"),
];

/// What every process and network event carries, so that a rule may count on it.
const ALWAYS: [&str; 12] = [
    "@timestamp",
    "ecs.version",
    "event.id",
    "event.kind",
    "event.dataset",
    "data_stream.dataset",
    "host.id",
    "host.os.type",
    "process.entity_id",
    "process.pid",
    "process.parent.entity_id",
    "process.Ext.ancestry",
];

fn recorded() -> Vec<Value> {
    let folder = bins::workspace().join("tests/traces");
    let mut events = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path().join("host.ndjson")).unwrap_or_default();
        events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    assert!(events.len() > 100, "the traces hold {} host events", events.len());
    events
}

/// Every leaf of a document, with its dotted path; the items of a list are leaves of the list's path.
fn leaves<'a>(value: &'a Value, path: &str, out: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, out)),
        leaf => out.push((path.to_owned(), leaf)),
    }
}

fn fits(kind: FieldType, value: &Value) -> bool {
    match kind {
        FieldType::Keyword | FieldType::Flattened => value.is_string(),
        FieldType::Long => value.is_i64() || value.is_u64(),
        FieldType::Double => value.is_number(),
        FieldType::Boolean => value.is_boolean(),
        FieldType::Date => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        FieldType::Ip => value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
    }
}

#[test]
fn every_field_is_in_the_table_with_a_fitting_type() {
    let schema = Schema::builtin();
    let mut faults = BTreeSet::new();
    for event in recorded() {
        let mut found = Vec::new();
        leaves(&event, "", &mut found);
        for (path, value) in found {
            match schema.id(&path) {
                None => drop(faults.insert(format!("{path} is not in rules/schema"))),
                Some(id) if !fits(schema.field(id).kind, value) => {
                    faults.insert(format!(
                        "{path} is {:?} in rules/schema, and {value} on the wire",
                        schema.field(id).kind
                    ));
                }
                Some(_) => {}
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn kinds_are_named_as_agreed() {
    let mut seen = BTreeSet::new();
    for event in recorded() {
        let first = |path: &str| {
            event.pointer(path).and_then(|value| value.as_str().or_else(|| value[0].as_str())).unwrap_or("-")
        };
        let kind =
            (first("/event/category"), first("/event/type"), first("/event/action"), first("/event/dataset"));
        assert!(KINDS.contains(&kind), "{kind:?} is none of {KINDS:?}");
        assert_eq!(event["event"]["dataset"], event["data_stream"]["dataset"]);
        seen.insert((kind.0.to_owned(), kind.2.to_owned()));
    }
    assert_eq!(seen.len(), KINDS.len(), "the traces show each kind: {seen:?}");
}

#[test]
fn every_event_carries_what_rules_count_on() {
    for event in recorded() {
        for path in ALWAYS {
            let pointer = format!("/{}", path.replace('.', "/"));
            assert!(event.pointer(&pointer).is_some_and(|value| !value.is_null()), "no {path} in {event}");
        }
        if event["event"]["action"] == "exec" {
            let args = event["process"]["args"].as_array().expect("an exec has arguments");
            assert_eq!(event["process"]["args_count"].as_u64(), Some(args.len() as u64), "{event}");
        }
    }
}

#[test]
fn ids_are_unique_and_traces_are_neutral() {
    let events = recorded();
    for event in &events {
        assert!(event["event"].get("created").is_none(), "a recorded event has no arrival time: {event}");
        let account = event["cloud"]["account"]["id"].as_str().unwrap_or("111122223333");
        assert_eq!(account, "111122223333", "documentation accounts only");
        assert!(!event.to_string().contains("/target/"), "the folder of a build is in {event}");
    }
}
