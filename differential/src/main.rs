//! Sigma's meaning, ours against rsigma's: the same rules on the same flat events, made from the rules' own values.
//!
//! `cargo run --release -- FOLDER…` reads rules of anyone's checkout, or of the folders in `GROUNDTRAIL_SIGMA_RULES`. Without any it
//! says that it skips. It ends with 1 where the two disagree and nothing below says why they may.

mod generate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{compile_rule, evaluate_rule};
use rsigma_parser::parse_sigma_yaml;
use rules::catalogue;
use rules::eval;
use rules::event::{Event, EventTime, Value};
use rules::plan::Plan;
use rules::schema::Schema;
use rules::sigma;
use serde_json::{Map, Value as Json};

use generate::Generator;

/// Events for each rule.
const N_EVENTS: usize = 300;
/// Disagreements that are told of one rule.
const MAX_TOLD: usize = 2;

#[derive(Default)]
struct Tally {
    n_rules: usize,
    n_events: usize,
    n_hits: usize,
    n_never_hit: usize,
    skipped: BTreeMap<String, usize>,
    disagreeing: Vec<String>,
}

fn main() -> ExitCode {
    let named: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let from_variable = std::env::var_os("GROUNDTRAIL_SIGMA_RULES");
    let folders = match (named.is_empty(), from_variable) {
        (false, _) => named,
        (true, Some(paths)) => std::env::split_paths(&paths).collect(),
        (true, None) => {
            println!("SKIPPED: no rules to compare on; name folders of Sigma rules, or set GROUNDTRAIL_SIGMA_RULES");
            return ExitCode::SUCCESS;
        }
    };
    let mut tally = Tally::default();
    for file in folders.iter().flat_map(|folder| catalogue::files(folder)) {
        match file {
            Ok(path) if path.extension().is_some_and(|end| end == "yml" || end == "yaml") => compare(&path, &mut tally),
            Ok(_) => {}
            Err(fault) => println!("cannot read: {fault}"),
        }
    }
    report(&tally)
}

fn report(tally: &Tally) -> ExitCode {
    for line in &tally.disagreeing {
        println!("{line}");
    }
    for (why, n) in &tally.skipped {
        println!("{n} rules not compared: {why}");
    }
    println!(
        "{} rules on {} events each: {} matches in all, {} rules never matched, {} disagree",
        tally.n_rules,
        N_EVENTS,
        tally.n_hits,
        tally.n_never_hit,
        tally.disagreeing.len()
    );
    ExitCode::from(u8::from(!tally.disagreeing.is_empty() || tally.n_rules == 0))
}

fn compare(path: &Path, tally: &mut Tally) {
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let mut skip = |why: &str| *tally.skipped.entry(why.to_owned()).or_default() += 1;
    let theirs = match parse_sigma_yaml(&text) {
        Ok(theirs) if theirs.rules.len() == 1 && theirs.correlations.is_empty() => theirs,
        Ok(_) => return skip("a file of several documents, or of none"),
        Err(_) => return skip("rsigma does not read it"),
    };
    let rule = &theirs.rules[0];
    let Ok(compiled) = compile_rule(rule) else { return skip("rsigma does not compile it") };
    let mut schema = Schema::builtin();
    let options = sigma::Options { is_raw: true, ..sigma::Options::default() };
    let ours = catalogue::load_with([path], &options, &mut schema, &|_, _| {});
    let Some(Plan::Query(expr)) = ours.rules.first().map(|rule| rule.plan.clone()) else {
        return skip("ours does not load it: deprecated, without a placeholder's value, or with look-around");
    };
    let Some(mut generator) = Generator::new(rule) else {
        return skip("it has words without a field, which each engine looks for in fields of its own choice");
    };
    if generate::has_inner_wildcard(rule) {
        return skip("a wildcard inside a value that is to stand at an end: rsigma does not hold it to that end");
    }
    tally.n_rules += 1;
    let (mut n_hits, mut n_told) = (0, 0);
    for _ in 0..N_EVENTS {
        let flat = generator.event();
        let theirs = evaluate_rule(&compiled, &JsonEvent::borrow(&flat)).is_some();
        let ours = eval::matches(&expr, &event(&flat, &mut schema));
        tally.n_events += 1;
        n_hits += usize::from(ours && theirs);
        if ours != theirs && n_told < MAX_TOLD {
            n_told += 1;
            let said = |matches| if matches { "matches" } else { "does not match" };
            tally.disagreeing.push(format!(
                "{}: ours {}, rsigma {}: {flat}",
                path.display(),
                said(ours),
                said(theirs)
            ));
        }
    }
    tally.n_hits += n_hits;
    tally.n_never_hit += usize::from(n_hits == 0);
}

/// The flat document as an event of ours. Null is absence.
fn event(flat: &Json, schema: &mut Schema) -> Event {
    let mut event = Event::new("e", EventTime(0), "");
    let empty = Map::new();
    for (name, value) in flat.as_object().unwrap_or(&empty) {
        let value = match value {
            Json::String(text) => Value::str(text.as_str()),
            Json::Number(number) => Value::Int(number.as_i64().unwrap_or_default()),
            Json::Bool(bool) => Value::Bool(*bool),
            _ => continue,
        };
        event.set(schema.open(name), value);
    }
    event
}
