//! Queries with known answers, in the form of Elasticsearch's own suite: `test_queries.toml` with `[[queries]]` (name, query,
//! expected_event_ids) and `test_data.json` beside it. Neither is in this tree: `GROUNDTRAIL_EQL_SUITE` names the folder.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and these helpers are no tests by name"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use correlator::hunt;
use correlator::source::normalize::Normalizer;
use correlator::source::{Origin, Record};
use rules::adhoc::{self, Language, Meaning};
use rules::eval;
use rules::schema::{FieldType, Schema};
use serde_json::{Map, Value};

/// Where `cargo xtask` shows what was skipped: the runner holds back what a test that passes prints.
#[path = "../../tests/harness/skip.rs"]
#[expect(unreachable_pub, reason = "the harness offers it to other crates")]
mod skip;

/// What a query of the older, nameless suite holds where its answer is another one than Elasticsearch's and ours: there texts
/// compare without case, and `==` knows wildcards.
const OLD_DIALECT: &[&str] = &["== \"*", "!= \"*", "== \"%", "between(", ">= \"s", ">= \"SYSTE\""];

fn folder() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("GROUNDTRAIL_EQL_SUITE").map(PathBuf::from) else {
        skip::say("GROUNDTRAIL_EQL_SUITE names no suite");
        return None;
    };
    assert!(path.join("test_queries.toml").is_file(), "{} holds no test_queries.toml", path.display());
    Some(path)
}

/// The documents as ours: what the suite calls the category, the id and the time under the names that ECS has for them.
fn documents(folder: &Path) -> Vec<Map<String, Value>> {
    let data: Vec<Map<String, Value>> =
        serde_json::from_str(&fs::read_to_string(folder.join("test_data.json")).unwrap()).unwrap();
    let ecs = |mut document: Map<String, Value>| {
        let id = document["serial_event_id"].clone();
        let category = document["event_type"].clone();
        // Ticks of 100 ns since 1601.
        let ticks = document["timestamp"].as_i64().unwrap();
        let nanos = i128::from(ticks - 116_444_736_000_000_000) * 100;
        let time = jiff::Timestamp::from_nanosecond(nanos).unwrap().to_string();
        document.insert(
            "event".to_owned(),
            serde_json::json!({"id": id.to_string(), "category": [category], "sequence": id}),
        );
        document.insert("@timestamp".to_owned(), Value::from(time));
        document
    };
    data.into_iter().map(ecs).collect()
}

fn schema(documents: &[Map<String, Value>]) -> Schema {
    let mut schema = Schema::builtin();
    for (path, value) in documents.iter().flatten() {
        let kind = match value {
            Value::Number(_) => FieldType::Long,
            Value::Bool(_) => FieldType::Boolean,
            Value::Object(_) => continue,
            _ => FieldType::Keyword,
        };
        if schema.id(path).is_none() {
            schema.declare(path, kind);
        }
    }
    for address in ["source_address", "destination_address"] {
        if schema.id(address).is_none() {
            schema.declare(address, FieldType::Ip);
        }
    }
    schema
}

/// `| head 5` and `| tail 5` are taken off: what is left, and how many from which end.
fn pipes(query: &str) -> Option<(String, Vec<(bool, usize)>)> {
    let mut cut = Vec::new();
    let mut rest = query.trim().to_owned();
    while let Some((before, pipe)) = rest.rsplit_once('|') {
        let words: Vec<&str> = pipe.split_whitespace().collect();
        match words.as_slice() {
            [which @ ("head" | "tail"), n] => cut.insert(0, (*which == "head", n.parse().ok()?)),
            ["filter" | "unique" | "unique_count" | "count" | "sort", ..] => return None,
            _ => break,
        }
        rest = before.trim().to_owned();
    }
    Some((rest, cut))
}

#[test]
fn queries_of_the_public_suite_give_their_events() {
    let Some(folder) = folder() else { return };
    let documents = documents(&folder);
    let mut schema = schema(&documents);
    let suite: toml::Table =
        toml::from_str(&fs::read_to_string(folder.join("test_queries.toml")).unwrap()).unwrap();
    let queries: Vec<(String, String, Vec<i64>)> = suite["queries"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter_map(|(at, query)| {
            let name = query.get("name").and_then(|name| name.as_str());
            let ids = query.get("expected_event_ids")?.as_array()?;
            Some((
                name.map_or_else(|| format!("query {}", at + 1), str::to_owned),
                query.get("query")?.as_str()?.to_owned(),
                ids.iter().filter_map(toml::Value::as_integer).collect(),
            ))
        })
        .collect();
    let compiled: Vec<_> = queries
        .iter()
        .map(|(_, text, _)| {
            let (text, cut) = pipes(text)?;
            Some((adhoc::compile(Language::Eql, &text, &mut schema).ok()?.plan.meaning, cut))
        })
        .collect();
    let schema = Arc::new(schema);
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
    let records: Vec<Record> = documents
        .into_iter()
        .map(|document| normalizer.read(Origin::Sensor, Value::Object(document).to_string()).unwrap())
        .collect();
    let id = |record: &str| record.parse::<i64>().unwrap();
    let (mut n_agreed, mut refused, mut wrong) = (0, 0, BTreeMap::new());
    for ((name, text, expect), compiled) in queries.iter().zip(compiled) {
        let Some((meaning, cut)) = compiled else {
            refused += 1;
            continue;
        };
        let mut groups: Vec<Vec<i64>> = match meaning {
            Meaning::Events(predicate) => {
                let kept = records.iter().filter(|record| eval::matches(&predicate, &record.event));
                let mut ids: Vec<Vec<i64>> = kept.map(|record| vec![id(&record.event.id)]).collect();
                ids.sort();
                ids
            }
            Meaning::Together(rule) => hunt::matches(*rule, &schema, &records)
                .iter()
                .map(|found| found.evidence.iter().map(|item| id(&item.event.id)).collect())
                .collect(),
            Meaning::Table { .. } => unreachable!("EQL makes no table"),
        };
        for (is_head, n) in cut {
            let from = if is_head { 0 } else { groups.len().saturating_sub(n) };
            groups = groups.into_iter().skip(from).take(n).collect();
        }
        let got = groups.concat();
        match got == *expect {
            true => n_agreed += 1,
            false => {
                wrong.insert(name.clone(), format!("{text}\n  expected {expect:?}\n  got      {got:?}"));
            }
        }
    }
    println!("{n_agreed} queries agree, {refused} use what is not supported, {} differ", wrong.len());
    wrong.retain(|name, how| {
        !name.starts_with("query ") || !OLD_DIALECT.iter().any(|part| how.contains(part))
    });
    assert!(
        wrong.is_empty(),
        "{}",
        wrong.iter().map(|(name, how)| format!("{name}: {how}\n")).collect::<String>()
    );
    assert!(n_agreed > 0);
}
