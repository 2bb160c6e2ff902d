//! `test`: the cases inside rule files, through the real normalisation and the real engine, on a virtual clock.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rules::catalogue::drops::DropLine;
use rules::expr::Expr;
use rules::program::{Program, Role, Scratch};
use rules::rule::{Case, Rule};
use rules::schema::Schema;

use super::flags::RuleFlags;
use super::inputs::{self, Input};
use super::junit::{self, Suite};
use super::load::{self, Configured};
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::alert::AlertChange;
use crate::keyed::Limits;
use crate::pipeline;
use crate::source::Record;
use crate::source::normalize::Normalizer;
use crate::untrusted::Untrusted;

/// Events of a failed case that are told one by one.
const MAX_ROLES: usize = 50;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Rule files or folders; without any, the shipped catalogue and the configuration's rules
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleFlags,
    /// Only rules whose name or id holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Fail when a rule has no cases
    #[arg(long)]
    deny_untested: bool,
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    // Exceptions are about one deployment; what a rule means is not.
    configured.config.exceptions.clear();
    configured.config.known_endpoints.clear();
    configured.config.discovery_allowed.clear();
    flags.rules.apply(&mut configured.config);
    if !flags.paths.is_empty() {
        configured.config.rules.has_builtin = false;
        configured.config.rules.paths = flags.paths;
    }
    let mut set = load::rules(&configured);
    set.report(terminal);
    let has_errors = set.has_errors();
    let all = set.rules.clone();
    if let Some(text) = &flags.only {
        set.rules.retain(|rule| rule.name.contains(text.as_str()) || rule.id.contains(text.as_str()));
        if set.rules.is_empty() {
            let text = Untrusted(text);
            return Err(CliError::Usage(format!(
                "no rule's name or id holds \"{text}\": `groundtrail rules list` names them"
            )));
        }
    }
    let bench = Bench::new(set.schema, set.drops);
    let suites: Vec<Suite> = set.rules.iter().map(|rule| bench.run(rule, &all)).collect();
    let untested: Vec<&Rule<Expr>> = set.rules.iter().filter(|rule| rule.cases.is_empty()).collect();
    terminal.data(&report(&suites, terminal))?;
    for rule in &untested {
        terminal.note("warning", &format!("rule \"{}\" has no cases", Untrusted(&rule.name)));
    }
    if let Some(path) = &flags.junit {
        std::fs::write(path, junit::render(&suites)).map_err(|source| CliError::Run {
            what: format!("cannot write \"{}\"", path.display()),
            source: source.into(),
        })?;
    }
    let has_failed = suites.iter().flat_map(|suite| &suite.cases).any(|case| case.failure.is_some());
    let is_denied = flags.deny_untested && !untested.is_empty();
    Ok(if has_errors || has_failed || is_denied { Outcome::Faults } else { Outcome::Clean })
}

/// What fails of the cases of rules, for the tests of what writes rules.
#[cfg(test)]
pub(super) fn failures(rules: &[Rule<Expr>], schema: Schema) -> Vec<String> {
    let bench = Bench::new(schema, Vec::new());
    rules.iter().flat_map(|rule| bench.run(rule, rules).cases).filter_map(|case| case.failure).collect()
}

/// What every case runs with.
pub(super) struct Bench {
    pub(super) schema: Arc<Schema>,
    drops: Vec<DropLine<Expr>>,
    normalizer: Normalizer,
}

impl Bench {
    pub(super) fn new(schema: Schema, drops: Vec<DropLine<Expr>>) -> Self {
        let schema = Arc::new(schema);
        let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
        Self { schema, drops, normalizer }
    }

    /// A rule runs alone; one over alerts, with all rules whose alerts it may read.
    pub(super) fn run(&self, rule: &Rule<Expr>, all: &[Rule<Expr>]) -> Suite {
        let is_with = |other: &&Rule<Expr>| other.id != rule.id && !other.is_over_alerts(&self.schema);
        let others = match rule.is_over_alerts(&self.schema) {
            true => all.iter().filter(is_with).cloned().collect(),
            false => Vec::new(),
        };
        // What a building block matches is what its cases are about.
        let tested = Rule { notifies: true, ..rule.clone() };
        let rules = std::iter::once(tested).chain(others).collect();
        let program = Arc::new(Program::with_drops(rules, self.drops.clone(), &self.schema));
        let cases = rule
            .cases
            .iter()
            .map(|case| junit::Case { name: case.name.clone(), failure: self.run_case(&program, case).err() })
            .collect();
        Suite { name: rule.name.clone(), cases }
    }

    /// # Errors
    /// What is not as the case says, for its author.
    fn run_case(&self, program: &Arc<Program>, case: &Case) -> Result<(), String> {
        let records = self.records(case)?;
        let source: Arc<str> = "case".into();
        let inputs = records.iter().map(|(_, record)| (Arc::clone(&source), record.clone()));
        let mut replayed = pipeline::replay(Arc::clone(program), &self.schema, Limits::default(), inputs);
        let own = program.rules().first().map_or("", |rule| rule.id.as_str());
        replayed.alerts.retain(|alert| &*alert.rule_id == own);
        let n_alerts = replayed.alerts.len() as u64;
        if n_alerts != case.expect {
            let mut failure = format!("expected {}, got {n_alerts}", count(case.expect, "alert"));
            failure.extend(replayed.alerts.iter().map(|alert| format!("\n  alert: {}", message(alert))));
            failure.push_str(&roles(program, &records));
            return Err(failure);
        }
        let held: Vec<String> = replayed.alerts.iter().map(|alert| alert.document.to_string()).collect();
        let is_missing = |text: &&String| !held.iter().any(|document| holds(document, text));
        let missing: Vec<String> = case
            .contains
            .iter()
            .filter(is_missing)
            .map(|text| format!("no alert holds \"{text}\""))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(missing.join("\n")
            + &replayed
                .alerts
                .iter()
                .map(|alert| format!("\n  alert: {}", message(alert)))
                .collect::<String>())
    }

    /// The case's events with where they stand: on a line of the rule's file, or in a trace.
    fn records(&self, case: &Case) -> Result<Vec<(Place, Record)>, String> {
        let mut records = Vec::new();
        for (line, text) in (case.line..).zip(case.events.lines()) {
            if text.trim().is_empty() {
                continue;
            }
            let fault = |error: &dyn std::fmt::Display| format!("line {line}: {error}");
            for record in self.normalizer.read_any(text) {
                records.push((Place::Line(line), record.map_err(|error| fault(&error))?));
            }
        }
        let traces: Vec<Input> = case.traces.iter().cloned().map(Input::any).collect();
        let read = inputs::read_all(&traces, &self.normalizer);
        if let Some(rejected) = read.rejected.first() {
            let more = match read.rejected.len() - 1 {
                0 => String::new(),
                n => format!(", and {n} more could not be read"),
            };
            return Err(format!("trace {}: {}{more}", rejected.at, rejected.reason));
        }
        if !traces.is_empty() && read.records.is_empty() {
            let shown: Vec<String> = case.traces.iter().map(|path| path.display().to_string()).collect();
            return Err(format!("trace {}: there are no events", shown.join(", ")));
        }
        records.extend(read.records.into_iter().map(|(_, record)| (Place::Trace, record)));
        Ok(records)
    }
}

/// Where an event of a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Of the rule's file.
    Line(usize),
    Trace,
}

/// Whether the document's JSON holds the text, as it stands or as JSON would write it.
fn holds(document: &str, text: &str) -> bool {
    let quoted = serde_json::Value::from(text).to_string();
    document.contains(text) || document.contains(&quoted[1..quoted.len() - 1])
}

fn message(alert: &AlertChange) -> String {
    alert.document["message"].as_str().unwrap_or_default().to_owned()
}

/// What each event was to the rule: where a case fails, this is where to look first.
fn roles(program: &Program, records: &[(Place, Record)]) -> String {
    let mut scratch = Scratch::default();
    let mut out = String::new();
    let mut n_shown = 0;
    for (place, record) in records {
        let mut roles: Vec<String> = Vec::new();
        program.hits(&record.event, &mut scratch, |hit| {
            // The case's own rule is the first.
            if hit.rule.0 != 0 {
                return;
            }
            roles.push(match hit.role {
                Role::Match => "matches".to_owned(),
                Role::Step(step) => format!("matches step {}", step + 1),
                Role::Until => "matches until".to_owned(),
                Role::Context(context) => {
                    let contexts = &program.rule(hit.rule).contexts;
                    format!("is context \"{}\"", contexts[usize::from(context)].name)
                }
            });
        });
        if let Some(dropped) = program.drop_reason(&record.event, &mut scratch) {
            roles.push(format!("is dropped by \"{}\"", dropped.name));
        }
        // A trace is mostly about other things.
        if roles.is_empty() && *place == Place::Trace {
            continue;
        }
        n_shown += 1;
        if n_shown > MAX_ROLES {
            continue;
        }
        let roles = if roles.is_empty() { "is nothing to the rule".to_owned() } else { roles.join(", ") };
        let at = match place {
            Place::Line(line) => format!("line {line}"),
            Place::Trace => "trace".to_owned(),
        };
        out.push_str(&format!("\n  {at}: event {} {roles}", record.event.id));
    }
    if n_shown == 0 {
        out.push_str("\n  no event of the trace is anything to the rule");
    } else if n_shown > MAX_ROLES {
        out.push_str(&format!("\n  and {} more events that are something to the rule", n_shown - MAX_ROLES));
    }
    out
}

fn report(suites: &[Suite], terminal: &Terminal) -> String {
    let mut table = Table::new(&["", "rule", "cases", "failed"]);
    let mut failures = String::new();
    for suite in suites {
        let n_failed = suite.cases.iter().filter(|case| case.failure.is_some()).count();
        let mark = if n_failed > 0 {
            "FAIL"
        } else if suite.cases.is_empty() {
            "none"
        } else {
            "pass"
        };
        table.row(vec![
            mark.to_owned(),
            suite.name.clone(),
            suite.cases.len().to_string(),
            n_failed.to_string(),
        ]);
        for case in &suite.cases {
            let Some(failure) = &case.failure else { continue };
            failures.push_str(&format!("\nFAIL {} › {}\n", Untrusted(&suite.name), Untrusted(&case.name)));
            for line in failure.lines() {
                failures.push_str(&format!("  {}\n", Untrusted(line).fit(400)));
            }
        }
    }
    let n_cases: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let n_failed = suites.iter().flat_map(|suite| &suite.cases).filter(|case| case.failure.is_some()).count();
    let (rules, cases) = (count(suites.len() as u64, "rule"), count(n_cases as u64, "case"));
    format!("{}{failures}\n{rules}, {cases}, {n_failed} failed\n", table.render(terminal.stdout.width))
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "description = \"d\"\nlanguage = \"kuery\"\nseverity = \"low\"\nrisk_score = 21\n";

    #[test]
    fn a_rule_over_alerts_is_tested_with_those_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let rule = |id: u32, rest: &str| {
            format!(
                "[rule]\nname = \"rule {id}\"\nrule_id = \"00000000-0000-4000-8000-00000000000{id}\"\n{HEAD}{rest}"
            )
        };
        write(
            "block.toml",
            &rule(1, "type = \"query\"\nbuilding_block_type = \"default\"\nquery = 'process.name:curl'\n"),
        );
        let event = |id: &str, second: u32| {
            format!(
                r#"{{"@timestamp":"2026-11-02T10:00:0{second}Z","event":{{"id":"{id}","category":["process"]}},"host":{{"id":"web-1"}},"process":{{"name":"curl"}}}}"#
            )
        };
        let over = "type = \"threshold\"\nfrom = \"now-5m\"\nindex = [\".alerts-security.*\"]\n\
                    query = 'event.kind:signal and kibana.alert.rule.name:\"rule 1\"'\n\
                    threshold = { field = [\"host.id\"], value = 2 }\n";
        let case = |name: &str, expect: u64, events: &[String]| {
            format!(
                "[[tests]]\nname = \"{name}\"\nexpect = {expect}\nevents = '''\n{}\n'''\n",
                events.join("\n")
            )
        };
        let cases = [case("two", 1, &[event("a", 1), event("b", 2)]), case("one", 0, &[event("a", 1)])];
        write("over.toml", &(rule(2, over) + &cases.concat()));
        let mut schema = Schema::builtin();
        let loaded = rules::catalogue::load([folder.path()], &mut schema);
        assert_eq!(loaded.rules.len(), 2, "{:?}", loaded.reports);
        assert_eq!(loaded.rules.iter().map(|rule| rule.cases.len()).sum::<usize>(), 2);
        assert_eq!(failures(&loaded.rules, schema), Vec::<String>::new());
    }
}
