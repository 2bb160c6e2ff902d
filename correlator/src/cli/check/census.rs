//! What becomes of the rules of a checkout, by type: how many can fire, and why the others cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rules::catalogue::report::Report;
use rules::diagnostic::Code;
use rules::expr::Expr;
use rules::rule::Rule;
use rules::schema::Origin;
use serde_json::{Value, json};

use crate::cli::load::RuleSet;
use crate::cli::reach::{Reach, Sources};
use crate::cli::table::Table;
use crate::config::Config;

/// Reasons shown in a table; JSON has all of them.
const MAX_REASONS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Fires,
    /// It loads, and its events come from nowhere.
    CannotFire,
    /// It is written in something that is not run here.
    Unsupported,
    /// Something is wrong with its file.
    Faulty,
}

#[derive(Debug, Default)]
struct Counts {
    by_fate: BTreeMap<Fate, usize>,
    n_cases: usize,
    n_untested: usize,
}

#[derive(Debug, Default)]
pub(super) struct Census {
    by_type: BTreeMap<String, Counts>,
    reasons: BTreeMap<(Fate, String), usize>,
}

impl Census {
    /// Against the sources given, or where none is, against all that there could be.
    pub(super) fn take(set: &RuleSet, config: &Config) -> Self {
        let given = Sources::of(config, &set.schema);
        let sources = if given.is_empty() { Sources::every(&set.schema) } else { given };
        let sources = sources.with_alerts_of(&set.rules);
        let mut census = Self::default();
        for rule in &set.rules {
            let counts = census.by_type.entry(rule.kind.as_str().to_owned()).or_default();
            counts.n_cases += rule.cases.len();
            counts.n_untested += usize::from(rule.cases.is_empty());
            let fate = match sources.reach(rule) {
                Reach::Never { missing } => {
                    let reason = absence(rule, &missing, set);
                    *census.reasons.entry((Fate::CannotFire, reason)).or_default() += 1;
                    Fate::CannotFire
                }
                Reach::Full | Reach::WithoutContext { .. } => Fate::Fires,
            };
            *counts.by_fate.entry(fate).or_default() += 1;
        }
        for report in set.reports.iter().filter(|report| report.has_errors()) {
            let (fate, reason) = refusal(report);
            *census.by_type.entry(written_type(report)).or_default().by_fate.entry(fate).or_default() += 1;
            *census.reasons.entry((fate, reason)).or_default() += 1;
        }
        // A file may hold several rules of which some load: those were counted.
        let loaded: BTreeSet<&Path> = set.rules.iter().map(|rule| rule.path.as_path()).collect();
        for report in
            set.reports.iter().filter(|report| report.is_note() && !loaded.contains(report.path.as_path()))
        {
            let reason = report
                .findings
                .first()
                .map_or_else(String::new, |finding| finding.diagnostic.message.clone());
            *census
                .by_type
                .entry(written_type(report))
                .or_default()
                .by_fate
                .entry(Fate::CannotFire)
                .or_default() += 1;
            *census.reasons.entry((Fate::CannotFire, reason)).or_default() += 1;
        }
        census
    }

    pub(super) fn render(&self, width: usize) -> String {
        let headings =
            ["type", "rules", "can fire", "cannot fire here", "unsupported", "faulty", "cases", "untested"];
        let mut table = Table::new(&headings);
        for (name, counts) in &self.by_type {
            let n = |fate| counts.by_fate.get(&fate).copied().unwrap_or(0);
            let all = counts.by_fate.values().sum();
            let fates = [Fate::Fires, Fate::CannotFire, Fate::Unsupported, Fate::Faulty].map(n);
            let numbers = [[all].as_slice(), &fates, &[counts.n_cases, counts.n_untested]].concat();
            table.row([name.clone()].into_iter().chain(numbers.iter().map(usize::to_string)).collect());
        }
        let mut out = table.render(width);
        if self.reasons.is_empty() {
            return out;
        }
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|((fate, _), count)| (*fate, usize::MAX - **count));
        let mut why = Table::new(&["", "rules", "why"]);
        for ((fate, reason), count) in reasons.iter().take(MAX_REASONS) {
            why.row(vec![fate.name().to_owned(), count.to_string(), reason.clone()]);
        }
        out.push('\n');
        out.push_str(&why.render(width));
        if reasons.len() > MAX_REASONS {
            out.push_str(&format!("… and {} reasons more: --format json\n", reasons.len() - MAX_REASONS));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let fates = |counts: &Counts| -> serde_json::Map<String, Value> {
            counts.by_fate.iter().map(|(fate, count)| (fate.key().to_owned(), json!(count))).collect()
        };
        let types: serde_json::Map<String, Value> =
            self.by_type.iter().map(|(name, counts)| (name.clone(), Value::Object(fates(counts)))).collect();
        let reasons: Vec<Value> = self
            .reasons
            .iter()
            .map(|((fate, reason), count)| json!({"fate": fate.key(), "why": reason, "rules": count}))
            .collect();
        json!({ "types": types, "reasons": reasons })
    }
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Fires => "can fire",
            Self::CannotFire => "cannot fire here",
            Self::Unsupported => "unsupported",
            Self::Faulty => "faulty",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Fires => "can_fire",
            Self::CannotFire => "cannot_fire",
            Self::Unsupported => "unsupported",
            Self::Faulty => "faulty",
        }
    }
}

/// Which events the rule lacks: of which source, or of which product's fields.
fn absence(rule: &Rule<Expr>, missing: &BTreeSet<&'static str>, set: &RuleSet) -> String {
    if !missing.is_empty() {
        return format!("needs {}", Sources::advice(missing));
    }
    let mut products = BTreeSet::new();
    for predicate in rule.plan.predicates() {
        predicate.each_field(&mut |field| {
            let field = set.schema.field(field);
            if field.origin == Origin::Other {
                products.insert(field.path.split('.').next().unwrap_or_default().to_owned());
            }
        });
    }
    if products.is_empty() {
        return "needs events of another system: no source here delivers them".to_owned();
    }
    let products: Vec<String> = products.iter().map(|product| format!("{product}.*")).collect();
    format!("needs fields that no source here has: {}", products.join(", "))
}

/// Whether a file asks for something that is not run here, or is wrong; and the first thing to be said.
fn refusal(report: &Report) -> (Fate, String) {
    let errors =
        || report.findings.iter().filter(|finding| finding.is_error()).map(|finding| &finding.diagnostic);
    let fate = match errors().all(|error| is_refusal(error.code)) {
        true => Fate::Unsupported,
        false => Fate::Faulty,
    };
    let first = errors().find(|error| fate == Fate::Unsupported || !is_refusal(error.code));
    (fate, first.map_or_else(String::new, |error| format!("{} {}", error.code, error.message)))
}

/// Codes for what a language has and this engine refuses.
fn is_refusal(code: Code) -> bool {
    let text = code.as_str();
    text.starts_with("GT3") || matches!(code, Code::UnsupportedRule | Code::UnsupportedCommand)
}

/// The type that a file gives itself.
fn written_type(report: &Report) -> String {
    let is_toml = report.path.extension().is_some_and(|extension| extension == "toml");
    let document: Option<toml::Table> = is_toml.then(|| report.text.parse().ok()).flatten();
    let kind = document.as_ref().and_then(|document| document.get("rule")?.get("type")?.as_str());
    kind.unwrap_or(if is_toml { "not known" } else { "sigma" }).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::{self, Configured};

    #[test]
    fn each_file_of_a_checkout_has_a_fate_and_a_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, kind: &str, query: &str| {
            let text = format!(
                "[rule]\nname = \"{name}\"\nrule_id = \"{name}\"\ntype = \"{kind}\"\nseverity = \"low\"\nrisk_score = 1\nquery = '{query}'\n"
            );
            std::fs::write(folder.path().join(format!("{name}.toml")), text).expect("a rule is written");
        };
        write("here", "query", "event.action: exec");
        write("elsewhere", "query", "okta.actor.id: x");
        write("pipes", "eql", "process where true | head 1");
        write("typo", "eql", "process where proces.name == \"x\"");
        write("machine", "machine_learning", "x");
        let mut config = Config::default();
        config.rules.has_builtin = false;
        config.rules.paths.push(folder.path().to_owned());
        let set = load::rules(&Configured {
            config: config.clone(),
            layers: crate::config::Layers::default(),
            path: None,
        });
        let census = Census::take(&set, &config).json();
        let types = json!({
            "eql": {"unsupported": 1, "faulty": 1}, "machine_learning": {"unsupported": 1},
            "query": {"can_fire": 1, "cannot_fire": 1},
        });
        assert_eq!(census["types"], types);
        let why: Vec<&str> = census["reasons"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|reason| reason["why"].as_str())
            .collect();
        for part in ["okta.*", "GT301", "GT101 no field is called \"proces.name\"", "machine_learning"] {
            assert!(why.iter().any(|why| why.contains(part)), "{part} in {why:?}");
        }
    }
}
