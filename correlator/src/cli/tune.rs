//! `tune`: an exception for what keeps firing a rule, as a file to lay over the configuration, and the proof of what it does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::ToSpan as _;
use jiff::civil::Date;
use rules::event::EventTime;
use rules::expr::Expr;
use rules::program::Program;
use rules::rule::{self, Rule};
use serde_json::Value;

use super::cases::Bench;
use super::load::{self, Configured};
use super::stored::{self, Meant, StoredFlags};
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome, why_not};
use crate::alert::view::text;
use crate::config::Config;
use crate::incident;
use crate::keyed::Limits;
use crate::pipeline;
use crate::source::Record;
use crate::source::normalize::Normalizer;
use crate::tune::{self, Proposal};
use crate::untrusted::Untrusted;

const DEFAULT_DAYS: i64 = 90;
const MAX_TOLD: usize = 30;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The rule, by its id, how that begins, or its name
    #[arg(value_name = "RULE")]
    rule: String,
    #[command(flatten)]
    stored: StoredFlags,
    /// Only for these alerts, by how their ids begin; others of the rule shall stay [default: all of the rule]
    #[arg(long = "alert", value_name = "ALERT_ID", num_args = 1..)]
    ids: Vec<String>,
    /// Fields to except by, instead of those that are found
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    on: Vec<String>,
    /// Who answers for it
    #[arg(long, value_name = "WHO")]
    owner: String,
    /// Why this is no news
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Void from this day on [default: in 90 days]
    #[arg(long, value_name = "DAY")]
    expires: Option<Date>,
    /// File to write, below conf.d of the configuration; without it, stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What becomes of an alert under the exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Silenced,
    Stays,
    /// Its evidence alone does not fire the rule here, so that nothing is shown by it.
    Unknown,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let mut set = load::rules(&configured);
    set.refuse_bad_exceptions()?;
    let wanted = why_not::find(&set, &flags.rule, &configured.config.rules.disabled)?.clone();
    let alerts = incident::latest(flags.stored.read(configured.config.store.as_deref())?);
    let of_rule = || alerts.iter().filter(|alert| text(alert, "rule.id") == Some(&*wanted.id));
    let mut asked_ids = BTreeSet::new();
    for asked in &flags.ids {
        match stored::meant("alert", asked, stored::alert_ids(of_rule()))? {
            Meant::One(id) => asked_ids.insert(id),
            Meant::Nothing => {
                terminal.note("error", &stored::unknown_alert(asked));
                return Ok(Outcome::Faults);
            }
        };
    }
    let is_asked = |alert: &&Value| {
        let id = text(alert, "groundtrail.alert.id").unwrap_or_default();
        asked_ids.is_empty() || asked_ids.contains(id)
    };
    let (asked, others): (Vec<&Value>, Vec<&Value>) = of_rule().partition(is_asked);
    let shown = Untrusted(&wanted.name).to_string();
    let refuse = |why: String| {
        terminal.note("error", &why);
        Ok(Outcome::Faults)
    };
    if asked.is_empty() {
        return refuse(format!("there is no such alert of \"{shown}\" to learn from"));
    }
    let Some(proposal) = tune::propose(&asked, &others, &flags.on) else {
        return refuse(format!(
            "the {} alerts of \"{shown}\" have nothing in common to except by: choose some with --alert, or fields with --on",
            asked.len()
        ));
    };
    let expires = flags.expires.unwrap_or_else(|| today().saturating_add(DEFAULT_DAYS.days()));
    let query = proposal.query();
    let Ok(compiled) = rules::kql::compile(&query, &mut set.schema) else {
        return Err(CliError::Usage(format!("these fields cannot be asked for: {}", Untrusted(query))));
    };
    let mut excepting = wanted.clone();
    excepting.exceptions.push(rule::Exception {
        name: flags.reason.clone(),
        reason: flags.reason.clone(),
        // What is shown is what it does while it holds.
        expires: None,
        predicate: compiled.plan,
    });

    let all = set.rules.clone();
    let bench = Bench::new(set.schema, set.drops);
    let proof = Proof::of(&bench, &wanted, &excepting, &all);
    let judge = Judge { bench: &bench, wanted: &wanted, excepting: &excepting };
    let fates: Vec<(&Value, Fate)> =
        asked.iter().chain(&others).map(|alert| (*alert, judge.fate(alert))).collect();
    let n = |fate: Fate| fates.iter().filter(|(_, of)| *of == fate).count();
    terminal.block(&table(&fates, terminal.stdout.width));
    terminal.note("query", &Untrusted(&query).to_string());
    terminal.note(
        "alerts",
        &format!(
            "{} silenced, {} stay, {} cannot be told from their evidence alone",
            n(Fate::Silenced),
            n(Fate::Stays),
            n(Fate::Unknown)
        ),
    );
    for failure in &proof.broken {
        terminal.note("error", &format!("a case of the rule fails with it: {}", Untrusted(failure)));
    }
    for failure in &proof.failed_before {
        let text = format!(
            "a case of the rule fails without it already, and so proves nothing: {}",
            Untrusted(failure)
        );
        terminal.note("warning", &text);
    }
    if !proof.broken.is_empty() {
        return refuse("nothing is written: the rule would not find what it is there to find".to_owned());
    }
    let (label, text) = proof.in_words();
    terminal.note(label, &text);
    if proof.proves_nothing_it_should() {
        return refuse(
            "nothing is written: mend the cases first, `groundtrail test` says what is wrong with them"
                .to_owned(),
        );
    }
    if n(Fate::Silenced) == 0 {
        return refuse("nothing is written: it would silence none of these alerts".to_owned());
    }
    let taken_too = fates[asked.len()..].iter().filter(|(_, fate)| *fate == Fate::Silenced).count();
    if taken_too > 0 {
        let text = format!(
            "{taken_too} alerts that were not asked for are silenced as well: --on FIELD makes it narrower"
        );
        terminal.note("warning", &text);
    }
    let overlay = overlay(&flags, &wanted, &proposal, expires, asked.len());
    write(&flags, &overlay, terminal)?;
    Ok(Outcome::Clean)
}

fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// What the rule's own cases say of the exception.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proof {
    /// Cases that passed, and fail with it.
    broken: Vec<String>,
    /// Cases that failed before there was one: they show nothing either way.
    failed_before: Vec<String>,
    n_must_fire: usize,
    /// Of those, the ones that fired and still do.
    n_still_fire: usize,
}

impl Proof {
    fn of(bench: &Bench, wanted: &Rule<Expr>, excepting: &Rule<Expr>, all: &[Rule<Expr>]) -> Self {
        let before = bench.run(wanted, all).cases;
        let after = bench.run(excepting, all).cases;
        let mut proof = Self::default();
        for ((case, before), after) in wanted.cases.iter().zip(before).zip(after) {
            let must_fire = case.expect > 0;
            proof.n_must_fire += usize::from(must_fire);
            match (before.failure, after.failure) {
                (Some(failure), _) => proof.failed_before.push(format!("{}: {failure}", before.name)),
                (None, Some(failure)) => proof.broken.push(format!("{}: {failure}", after.name)),
                (None, None) => proof.n_still_fire += usize::from(must_fire),
            }
        }
        proof
    }

    /// There are cases that would prove something, and none of them can.
    fn proves_nothing_it_should(&self) -> bool {
        self.n_must_fire > 0 && self.n_still_fire == 0
    }

    fn in_words(&self) -> (&'static str, String) {
        match (self.n_must_fire, self.n_still_fire) {
            (0, _) => (
                "warning",
                "no case of the rule says that it must fire: nothing proves that it still does".to_owned(),
            ),
            (n, still) if n == still => ("cases", format!("all {n} cases that must fire still do")),
            (n, still) => (
                "warning",
                format!("{still} of {n} cases that must fire still do; the others failed before, too"),
            ),
        }
    }
}

/// Runs an alert's own evidence through the rule, with and without the exception.
struct Judge<'a> {
    bench: &'a Bench,
    wanted: &'a Rule<Expr>,
    excepting: &'a Rule<Expr>,
}

impl Judge<'_> {
    fn fate(&self, alert: &Value) -> Fate {
        let normalizer = Normalizer::new(Arc::clone(&self.bench.schema), Arc::default());
        let evidence = crate::alert::view::carried(alert);
        let evidence = evidence.iter().filter(|carried| carried.is_evidence());
        let records: Vec<Record> =
            evidence.flat_map(|carried| normalizer.read_any(&carried.event.to_string())).flatten().collect();
        match (self.fires(self.wanted, &records), self.fires(self.excepting, &records)) {
            (true, false) => Fate::Silenced,
            (true, true) => Fate::Stays,
            (false, _) => Fate::Unknown,
        }
    }

    fn fires(&self, rule: &Rule<Expr>, records: &[Record]) -> bool {
        let rules = vec![Rule { notifies: true, ..rule.clone() }];
        let program = Arc::new(Program::with_drops(rules, Vec::new(), &self.bench.schema));
        let source: Arc<str> = "evidence".into();
        let inputs = records.iter().map(|record| (Arc::clone(&source), record.clone()));
        !pipeline::replay(program, &self.bench.schema, Limits::default(), inputs).alerts.is_empty()
    }
}

fn table(fates: &[(&Value, Fate)], width: usize) -> String {
    let mut table = Table::new(&["", "time", "alert", "what"]);
    for (alert, fate) in fates.iter().take(MAX_TOLD) {
        let fate = match fate {
            Fate::Silenced => "silenced",
            Fate::Stays => "stays",
            Fate::Unknown => "unknown",
        };
        let of = |path: &str| text(alert, path).unwrap_or_default().to_owned();
        let id: String = of("groundtrail.alert.id").chars().take(8).collect();
        let time: String = of("@timestamp").chars().take(19).collect();
        table.row(vec![fate.to_owned(), time.replace('T', " "), id, of("message")]);
    }
    let mut out = table.render(width);
    if fates.len() > MAX_TOLD {
        out.push_str(&format!("and {} more\n", fates.len() - MAX_TOLD));
    }
    out
}

fn overlay(flags: &Flags, rule: &Rule<Expr>, proposal: &Proposal, expires: Date, n_alerts: usize) -> String {
    let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let takes: Vec<String> = proposal
        .takes
        .iter()
        .map(|event| format!("    {},\n", quote(&crate::sink::to_line(event))))
        .collect();
    // A comment ends with its line.
    let name = Untrusted(&rule.name);
    format!(
        "# For \"{name}\", from {n_alerts} of its alerts. It takes away what the rule tells; the events stay, for other rules too.\n\
         [[exceptions]]\nrule_id = {}\nquery = {}\nreason = {}\nowner = {}\nexpires = \"{expires}\"\n\
         # Events that it must take: `groundtrail check` warns when it does not.\ntakes = [\n{}]\n",
        quote(&rule.id),
        quote(&proposal.query()),
        quote(&flags.reason),
        quote(&flags.owner),
        takes.concat()
    )
}

/// # Errors
/// It cannot be written, or is there already.
fn write(flags: &Flags, overlay: &str, terminal: &Terminal) -> Result<(), CliError> {
    let path = flags.output.as_deref().unwrap_or(Path::new("exception.toml"));
    // By the reader that a run has.
    Config::parse(overlay, path)?;
    if flags.output.is_none() {
        return Ok(terminal.data(overlay)?);
    }
    let failed = |source: std::io::Error| CliError::Run {
        what: format!("cannot write \"{}\"", path.display()),
        source: source.into(),
    };
    // conf.d is not there before its first file.
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    let mut file = fs::File::create_new(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, overlay.as_bytes()).map_err(failed)?;
    let text = format!("{}; `groundtrail check`, then reload the run", path.display());
    terminal.note("written", &text);
    Ok(())
}

/// Whether an exception takes the events that its author says it does; the places of those it does not, from 1.
pub(super) fn not_taken(takes: &[String], predicate: &Expr, normalizer: &Normalizer) -> Vec<usize> {
    let is_taken = |line: &String| {
        // An example is as much of an event as the query asks for.
        let mut example: Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(fields) = example.as_object_mut() {
            fields.entry("@timestamp").or_insert_with(|| crate::time::format(EventTime(0)).into());
        }
        let read = normalizer.read_any(&example.to_string());
        read.iter().flatten().any(|record| rules::eval::matches(predicate, &record.event))
    };
    takes.iter().zip(1..).filter(|(line, _)| !is_taken(line)).map(|(_, place)| place).collect()
}
