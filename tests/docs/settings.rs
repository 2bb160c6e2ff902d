//! Settings that pages show: each is one that its program reads.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use harness::bins;
use serde_json::Value;

use crate::fences;

#[test]
fn every_setting_that_a_page_shows_is_read() {
    let correlator = shown_by_the_schema();
    let sensor = shown_by_the_file();
    let mut faults = Vec::new();
    let mut n_looked_at = 0;
    for (page, text) in fences::pages() {
        for code in fences::code(&page, &text) {
            if code.kind.as_deref().map(fences::first_word) != Some("toml") {
                continue;
            }
            let table: toml::Table = match code.text.parse() {
                Ok(table) => table,
                Err(err) => {
                    faults.push(format!("{}: {err}", code.place));
                    continue;
                }
            };
            // Rule files have a schema of their own, and tests of their own.
            if table.contains_key("rule") {
                continue;
            }
            let mut keys = BTreeSet::new();
            named(&toml::Value::Table(table), "", &mut keys);
            n_looked_at += keys.len();
            let missing = |known: &BTreeSet<String>| keys.difference(known).cloned().collect::<Vec<_>>();
            let (here, there) = (missing(&correlator), missing(&sensor));
            if !here.is_empty() && !there.is_empty() {
                faults
                    .push(format!("{}: the correlator has no {here:?}, the sensor no {there:?}", code.place));
            }
        }
    }
    assert!(n_looked_at > 15, "{n_looked_at} settings are too few to be all");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `source.path` and the like of a file.
fn named(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, below) in table {
                named(below, format!("{path}.{name}").trim_start_matches('.'), keys);
            }
        }
        toml::Value::Array(items) if items.first().is_some_and(toml::Value::is_table) => {
            items.iter().for_each(|item| named(item, path, keys));
        }
        _ => drop(keys.insert(path.to_owned())),
    }
}

fn shown_by_the_schema() -> BTreeSet<String> {
    let output = Command::new(bins::groundtrail()).env_clear().args(["config", "schema"]).output().unwrap();
    let mut keys = BTreeSet::new();
    walk(&serde_json::from_slice(&output.stdout).unwrap(), "", &mut keys);
    keys
}

fn walk(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let schema = if schema["items"]["properties"].is_object() { &schema["items"] } else { schema };
    let Some(properties) = schema["properties"].as_object() else {
        keys.insert(path.to_owned());
        return;
    };
    for (name, below) in properties {
        walk(below, format!("{path}.{name}").trim_start_matches('.'), keys);
    }
}

/// The packaged file shows every key, most of them commented out.
fn shown_by_the_file() -> BTreeSet<String> {
    let text = fs::read_to_string(bins::workspace().join("packaging/sensor/sensor.toml")).unwrap();
    let uncommented = text.lines().filter_map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => Some(rest),
        Some(_) => None,
        None => Some(line),
    });
    let table: toml::Table = uncommented.map(|line| format!("{line}\n")).collect::<String>().parse().unwrap();
    let mut keys = BTreeSet::new();
    named(&toml::Value::Table(table), "", &mut keys);
    assert!(keys.contains("output.to") && keys.contains("spool.max_bytes"), "{keys:?}");
    keys
}
