//! `rules list` and `rules coverage`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rules::rule::{Rule, Severity, Threat};

use super::flags::{RuleFlags, SourceFlags};
use super::load::{self, Configured, RuleSet};
use super::navigator::{self, At, Cell};
use super::reach::{Reach, Sources};
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Every rule that runs: severity, type, tactics, cases
    List(Flags),
    /// ATT&CK techniques with the rules for each, and rules that cannot fire with the sources given
    Coverage(CoverageFlags),
}

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    rules: RuleFlags,
    #[command(flatten)]
    sources: SourceFlags,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CoverageFlags {
    #[command(flatten)]
    flags: Flags,
    /// Write a layer for the ATT&CK Navigator into this file ("-" for stdout)
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    navigator: Option<PathBuf>,
}

pub(super) fn run(what: What, mut configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let (What::List(flags) | What::Coverage(CoverageFlags { flags, .. })) = &what;
    flags.rules.apply(&mut configured.config);
    flags.sources.apply(&mut configured.config)?;
    let set = load::rules(&configured);
    let config = &configured.config;
    set.report(terminal);
    let text = match &what {
        What::List(flags) if flags.json => list_json(&set),
        What::List(_) => list_table(&set, terminal),
        What::Coverage(CoverageFlags { navigator: Some(path), .. }) => {
            let layer = navigator_layer(&set, config);
            if path.as_os_str() == "-" {
                layer
            } else {
                std::fs::write(path, layer).map_err(|source| CliError::Run {
                    what: format!("cannot write \"{}\"", path.display()),
                    source: source.into(),
                })?;
                terminal.note("written", &path.display().to_string());
                String::new()
            }
        }
        What::Coverage(coverage) if coverage.flags.json => coverage_json(&set, config),
        What::Coverage(_) => coverage_table(&set, config, terminal),
    };
    terminal.data(&text)?;
    Ok(if set.has_errors() { Outcome::Faults } else { Outcome::Clean })
}

fn sorted(set: &RuleSet) -> Vec<&Rule<rules::expr::Expr>> {
    let mut rules: Vec<_> = set.rules.iter().collect();
    rules.sort_by(|a, b| (first_tactic(a), &a.name, &a.id).cmp(&(first_tactic(b), &b.name, &b.id)));
    rules
}

fn first_tactic<P>(rule: &Rule<P>) -> &str {
    rule.threat.first().map_or("", |threat| threat.tactic.name.as_str())
}

fn tactics<P>(rule: &Rule<P>) -> String {
    rule.threat.iter().map(|threat| threat.tactic.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn list_table(set: &RuleSet, terminal: &Terminal) -> String {
    let mut table = Table::new(&["severity", "type", "name", "tactics", "cases", "rule id"]);
    for rule in sorted(set) {
        let kind = rule.kind.as_str();
        let cases = rule.cases.len().to_string();
        table.row(vec![
            rule.severity.to_string(),
            kind.to_owned(),
            rule.name.clone(),
            tactics(rule),
            cases,
            rule.id.clone(),
        ]);
    }
    format!("{}\n{} rules\n", table.render(terminal.stdout.width.max(100)), set.rules.len())
}

fn list_json(set: &RuleSet) -> String {
    let rules: Vec<_> = sorted(set)
        .into_iter()
        .map(|rule| {
            serde_json::json!({
                "rule_id": rule.id, "name": rule.name, "type": rule.kind.as_str(),
                "severity": rule.severity.as_str(), "risk_score": rule.risk_score, "version": rule.version,
                "tactics": rule.threat.iter().map(|threat| &threat.tactic.id).collect::<Vec<_>>(),
                "cases": rule.cases.len(), "path": rule.path, "hash": rule.hash, "upstream_id": rule.upstream_id,
            })
        })
        .collect();
    load::json_lines(&rules)
}

/// One technique as rules name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Technique {
    tactic_id: String,
    tactic: String,
    id: String,
    name: String,
}

/// The finest techniques a rule names, or the bare tactic.
fn techniques(threat: &Threat) -> Vec<Technique> {
    let entry = |id: &str, name: &str| Technique {
        tactic_id: threat.tactic.id.clone(),
        tactic: threat.tactic.name.clone(),
        id: id.to_owned(),
        name: name.to_owned(),
    };
    let mut found = Vec::new();
    for technique in &threat.techniques {
        if technique.subtechniques.is_empty() {
            found.push(entry(&technique.entry.id, &technique.entry.name));
        }
        found.extend(technique.subtechniques.iter().map(|sub| entry(&sub.id, &sub.name)));
    }
    if found.is_empty() {
        found.push(entry("", ""));
    }
    found
}

fn by_technique(set: &RuleSet) -> BTreeMap<Technique, Vec<&Rule<rules::expr::Expr>>> {
    let mut map: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for rule in sorted(set) {
        for technique in rule.threat.iter().flat_map(techniques) {
            map.entry(technique).or_default().push(rule);
        }
    }
    map
}

fn coverage_table(set: &RuleSet, config: &Config, terminal: &Terminal) -> String {
    let mut table = Table::new(&["tactic", "technique", "rules", "highest", "names"]);
    for (technique, rules) in by_technique(set) {
        let highest = rules.iter().map(|rule| rule.severity).max().unwrap_or(Severity::Low);
        let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        table.row(vec![
            format!("{} {}", technique.tactic_id, technique.tactic),
            format!("{} {}", technique.id, technique.name).trim().to_owned(),
            rules.len().to_string(),
            highest.to_string(),
            names.join("; "),
        ]);
    }
    let mut out = table.render(terminal.stdout.width.max(100));
    let sources = Sources::of(config, &set.schema).with_alerts_of(&set.rules);
    if sources.is_empty() {
        out.push_str(
            "\nNo source is given: which rules can fire is not judged. Add --sensor, --cloudtrail, …\n",
        );
        return out;
    }
    let mut blind = Table::new(&["cannot fire here", "needs"]);
    let mut half = Table::new(&["fires, but shows one half", "lacks"]);
    for rule in sorted(set) {
        match sources.reach(rule) {
            Reach::Never { missing } => blind.row(vec![rule.name.clone(), Sources::advice(&missing)]),
            Reach::WithoutContext { missing } => half.row(vec![rule.name.clone(), Sources::advice(&missing)]),
            Reach::Full => {}
        }
    }
    for part in [blind, half].iter().filter(|part| !part.is_empty()) {
        out.push('\n');
        out.push_str(&part.render(terminal.stdout.width.max(100)));
    }
    out
}

fn coverage_json(set: &RuleSet, config: &Config) -> String {
    let sources = Sources::of(config, &set.schema).with_alerts_of(&set.rules);
    let rows: Vec<_> = by_technique(set)
        .into_iter()
        .map(|(technique, rules)| {
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| serde_json::json!({"rule_id": rule.id, "name": rule.name, "can_fire": !matches!(sources.reach(rule), Reach::Never { .. })}))
                .collect();
            serde_json::json!({
                "tactic": {"id": technique.tactic_id, "name": technique.tactic},
                "technique": {"id": technique.id, "name": technique.name}, "rules": rules,
            })
        })
        .collect();
    load::json_lines(&rows)
}

/// Without sources given, what every source together could make fire.
fn navigator_layer(set: &RuleSet, config: &Config) -> String {
    let given = Sources::of(config, &set.schema);
    let sources =
        if given.is_empty() { Sources::every(&set.schema) } else { given }.with_alerts_of(&set.rules);
    let found = by_technique(set);
    let mut cells: BTreeMap<At<'_>, Cell<'_>> = BTreeMap::new();
    for (technique, rules) in found.iter().filter(|(technique, _)| !technique.id.is_empty()) {
        let cell = cells.entry(At { tactic: &technique.tactic, technique_id: &technique.id }).or_default();
        for rule in rules {
            match sources.reach(rule) {
                Reach::Never { missing } => cell.cannot_fire.push((&rule.name, Sources::advice(&missing))),
                Reach::WithoutContext { .. } | Reach::Full => cell.can_fire.push(&rule.name),
            }
        }
    }
    format!("{:#}\n", navigator::layer(&cells))
}
