//! Public rules on events that must fire them, where both are at hand: `GROUNDTRAIL_RULES` names folders of rules, and
//! `GROUNDTRAIL_MUST_FIRE` a folder with a file `RULE_ID.ndjson` for each, of which every line is a list of documents that together
//! satisfy the rule's query. Generators of such events exist (PyPI `geneve`). Neither is in this tree.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and these helpers are no tests by name"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use correlator::hunt;
use correlator::source::normalize::Normalizer;
use correlator::source::{Origin, Record};
use rules::catalogue::{self, Loaded};
use rules::diagnostic::Code;
use rules::eval;
use rules::expr::Expr;
use rules::plan::Plan;
use rules::rule::Rule;
use rules::schema::Schema;
use serde_json::{Value, json};

/// Where `cargo xtask` shows what was skipped: the runner holds back what a test that passes prints.
#[path = "../../tests/harness/skip.rs"]
#[expect(unreachable_pub, reason = "the harness offers it to other crates")]
mod skip;

#[test]
fn what_must_fire_fires() {
    let (Some(folders), Some(corpus)) =
        (std::env::var_os("GROUNDTRAIL_RULES"), std::env::var_os("GROUNDTRAIL_MUST_FIRE"))
    else {
        skip::say("GROUNDTRAIL_RULES and GROUNDTRAIL_MUST_FIRE name no rules and events");
        return;
    };
    let mut schema = Schema::builtin();
    let loaded = catalogue::load(std::env::split_paths(&folders), &mut schema);
    let schema = Arc::new(schema);
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
    let (mut n_rules, mut n_groups) = (0, 0);
    let mut quiet: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for rule in &loaded.rules {
        let path = Path::new(&corpus).join(format!("{}.ndjson", rule.id));
        let Ok(text) = fs::read_to_string(&path) else { continue };
        n_rules += 1;
        for (n, line) in text.lines().enumerate() {
            let documents: Vec<Value> = serde_json::from_str(line).unwrap();
            n_groups += 1;
            if !fires(rule, &schema, &records(&documents, &normalizer)) && !is_amiss(&loaded, rule, line) {
                let entry = quiet.entry(format!("{} {}", rule.id, rule.name)).or_default();
                entry.0 += 1;
                entry.1 = format!("line {}: {line}", n + 1);
            }
        }
    }
    for (rule, (n, example)) in &quiet {
        println!("quiet on {n}: {rule}\n  {example}");
    }
    println!("{n_rules} rules, {n_groups} groups of events, {} rules quiet on some", quiet.len());
    assert!(n_rules > 0, "no rule has events");
    assert!(quiet.is_empty(), "{} rules are quiet on events that must fire them", quiet.len());
}

/// What generators get wrong: they expand a `*` behind `in`, which Elasticsearch and we take for the character, and they take the
/// backticks around a field's name for part of it.
fn is_amiss(loaded: &Loaded, rule: &Rule<Expr>, line: &str) -> bool {
    let of_rule = loaded.reports.iter().filter(|report| report.path == rule.path);
    let mut findings = of_rule.flat_map(|report| &report.findings);
    findings.any(|finding| finding.diagnostic.code == Code::LiteralWildcard) || line.contains("`\":")
}

/// The documents as events, one after the other, each under an id of its own.
fn records(documents: &[Value], normalizer: &Normalizer) -> Vec<Record> {
    let record = |(n, document): (usize, &Value)| {
        let mut document = document.clone();
        let event = document.as_object_mut().unwrap().entry("event").or_insert_with(|| json!({}));
        if let Some(event) = event.as_object_mut() {
            event.entry("id").or_insert_with(|| json!(format!("e{n}")));
        }
        normalizer.read(Origin::Sensor, document.to_string()).unwrap()
    };
    documents.iter().enumerate().map(record).collect()
}

fn fires(rule: &Rule<Expr>, schema: &Schema, records: &[Record]) -> bool {
    let holds = |predicate: &Expr| records.iter().all(|record| eval::matches(predicate, &record.event));
    match &rule.plan {
        Plan::Query(predicate) => holds(predicate),
        // How many, and whether they are new, is no matter of one event.
        Plan::Threshold(threshold) => holds(&threshold.predicate),
        Plan::NewTerms(terms) => holds(&terms.predicate),
        // A rule reads events of an index, and these are of none.
        _ => !hunt::matches(Rule { index: Vec::new(), ..rule.clone() }, schema, records).is_empty(),
    }
}
