//! `check`: whether configuration, rules and sources are fit to run, by the loader that `run` uses.

mod census;
mod groups;
mod sarif;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rules::catalogue::drops::DropLine;
use rules::catalogue::report::Report;
use rules::event::Event;
use rules::expr::Expr;
use rules::plan::Plan;
use rules::program::ALERTS_INDEX;
use serde_json::json;

use self::census::Census;
use super::flags::{RuleFlags, SourceFlags};
use super::follow;
use super::load::{self, Configured, Remark, RuleSet};
use super::overlap;
use super::reach::{Reach, Sources};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::config::sinks::To;
use crate::config::{Config, Input, SensorInput};
use crate::sink;
use crate::source::stream;
use crate::time::{Clock as _, SystemClock};
use crate::untrusted::Untrusted;
use crate::wire::listen::{Place, Settings};
use crate::wire::people;
use rules::event::Span;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Rule files or folders to check, besides those of the configuration
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleFlags,
    #[command(flatten)]
    sources: SourceFlags,
    /// Form of the report: text, json (a line per finding), sarif
    #[arg(
        long,
        short,
        visible_alias = "format",
        value_name = "FORM",
        default_value = "text",
        value_enum,
        hide_possible_values = true
    )]
    output: Form,
    /// Fail on warnings too
    #[arg(long)]
    deny_warnings: bool,
    /// Show errors and the counts alone
    #[arg(long, short, conflicts_with_all = ["output", "deny_warnings"])]
    quiet: bool,
    /// Show each finding at its place, however many there are
    #[arg(long, conflicts_with = "quiet")]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Sarif,
}

/// Beyond so many, findings of files are grouped and not shown at their places.
const MAX_SHOWN: usize = 20;
/// The same for those of one line.
const MAX_LINES: usize = 60;

/// One thing found, beyond what rule files say of themselves.
struct Finding {
    is_error: bool,
    area: &'static str,
    subject: String,
    message: String,
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    let config = &mut configured.config;
    config.rules.paths.extend(flags.paths);
    flags.rules.apply(config);
    flags.sources.apply(config)?;
    let set = load::rules(&configured);
    let (_, indicator_remarks) = load::lists(&configured.config);
    let mut findings = check_sources(&configured.config);
    findings.extend(check_store(&configured.config));
    findings.extend(check_sinks(&configured.config));
    findings.extend(check_silences(&configured.config));
    findings.extend(check_reach(&set, &configured.config));
    findings.extend(check_drops(&set));
    let remarks: Vec<&Remark> = set.remarks.iter().chain(&indicator_remarks).collect();
    let text = match flags.output {
        Form::Text if flags.quiet => quiet(&set, &remarks, &findings, &configured.config, terminal),
        Form::Text => text(&set, &remarks, &findings, &configured.config, flags.all, terminal),
        Form::Json => json(&set, &remarks, &findings, &configured.config),
        Form::Sarif => sarif(&set, &remarks, &findings),
    };
    terminal.data(&text)?;
    let has_errors = set.reports.iter().any(Report::has_errors)
        || remarks.iter().any(|remark| remark.is_error)
        || findings.iter().any(|finding| finding.is_error);
    let has_any = !set.reports.iter().all(Report::is_note) || !remarks.is_empty() || !findings.is_empty();
    Ok(if has_errors || (flags.deny_warnings && has_any) { Outcome::Faults } else { Outcome::Clean })
}

fn check_sources(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |is_error: bool, subject: &Path, message: String| {
        findings.push(Finding { is_error, area: "source", subject: subject.display().to_string(), message });
    };
    for source in &config.sources {
        match &source.input {
            Input::Sensor(SensorInput::Stdin) => {}
            Input::Sensor(SensorInput::File { path, follow }) => {
                // A pipe is not opened: that would wait for its writer.
                match std::fs::metadata(path) {
                    Ok(data) if data.is_file() => {
                        if let Err(error) = std::fs::File::open(path) {
                            found(true, path, format!("cannot read the sensor's file: {error}"));
                        }
                    }
                    Ok(data) => {
                        if let Err(error) = stream::refuse(path, data.file_type()) {
                            found(true, path, error.to_string());
                        }
                    }
                    Err(error) if *follow && error.kind() == ErrorKind::NotFound => {
                        found(false, path, "the sensor's file is not there: a run waits for it".to_owned());
                    }
                    Err(error) => found(true, path, format!("cannot read the sensor's file: {error}")),
                }
            }
            Input::Sensor(SensorInput::Unix(path)) => {
                if let Some(message) = lacks_folder("the socket", path) {
                    found(false, path, message);
                }
            }
            // Whether AWS lets us is for the run to find out: a check asks nobody.
            Input::Queue(_) | Input::Bucket(_) => {
                if let Err(reason) = follow::is_built_for_aws() {
                    found(true, Path::new(&follow::name(&source.input)), reason.to_owned());
                }
            }
            Input::Sensors(Settings { place: Place::Unix { path, users }, .. }) => {
                if let Some(message) = lacks_folder("the socket", path) {
                    found(false, path, message);
                }
                for user in users.iter().filter(|user| people::user(user).is_none()) {
                    let message = format!("there is no user \"{user}\" here, who is to speak for a sensor");
                    found(false, path, message);
                }
            }
            Input::Sensors(Settings { place: Place::Tls { files, .. }, .. }) => match files.check() {
                Err(error) => found(true, &files.certificate, error.to_string()),
                Ok(not_after) => {
                    let left = not_after.map(|not_after| not_after - SystemClock.now());
                    match left {
                        Some(left) if left <= Span(0) => {
                            let message = "the certificate has expired: issue it anew".to_owned();
                            found(true, &files.certificate, message);
                        }
                        Some(left) if left < SOON => {
                            let days = left.0 / (24 * 3_600 * 1_000_000_000);
                            let message = format!("the certificate ends in {days} days: issue it anew");
                            found(false, &files.certificate, message);
                        }
                        _ => {}
                    }
                }
            },
            Input::Folder { kind, path, follow } => match std::fs::read_dir(path) {
                Ok(_) => {}
                Err(error) if *follow && error.kind() == ErrorKind::NotFound => {
                    let message = format!("the {} folder is not there: a run waits for it", kind.name());
                    found(false, path, message);
                }
                Err(error) => found(true, path, format!("cannot read the {} folder: {error}", kind.name())),
            },
        }
    }
    findings.sort_by_key(|finding| !finding.is_error);
    findings
}

/// A warning: systemd makes the folders of the unit (`RuntimeDirectory=`, `StateDirectory=`) right before a run.
fn lacks_folder(what: &str, path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir())
        .then(|| format!("{what}'s folder is not there: a run fails unless something makes it first"))
}

/// Said of a certificate that ends sooner than this.
const SOON: Span = Span::from_secs(30 * 24 * 3_600);

fn check_store(config: &Config) -> Option<Finding> {
    let path = config.store.as_ref()?;
    let message = lacks_folder("the store", path)?;
    Some(Finding { is_error: false, area: "store", subject: path.display().to_string(), message })
}

/// What is wrong on this machine. Nobody is contacted: `sink test` does that.
fn check_sinks(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sink in &config.sinks {
        let mut found = |is_error: bool, message: String| {
            let subject = sink.name.clone();
            findings.push(Finding { is_error, area: "sink", subject, message });
        };
        if config.store.is_none() {
            let message = "it keeps in the store what it has not delivered, and [store] path is not set";
            found(true, message.to_owned());
        }
        if let Err(error) = sink::open(sink) {
            found(true, error.to_string());
        }
        if let To::File(file) = &sink.to
            && let Some(message) = lacks_folder("the file", &file.path)
        {
            found(false, message);
        }
    }
    findings
}

fn check_silences(config: &Config) -> Vec<Finding> {
    let now = SystemClock.now();
    let over = config.silences.iter().filter(|silence| silence.is_over(now));
    over.map(|silence| Finding {
        is_error: false,
        area: "silence",
        subject: silence.name.clone(),
        message: format!("it ended at {} and mutes nothing: take it out", crate::time::format(silence.until)),
    })
    .collect()
}

/// Rules that the sources cannot make fire. Says nothing where no source is given: then rules alone are checked.
fn check_reach(set: &RuleSet, config: &Config) -> Vec<Finding> {
    let sources = Sources::of(config, &set.schema).with_alerts_of(&set.rules);
    if sources.is_empty() {
        return Vec::new();
    }
    let finding = |rule: &rules::rule::Rule<Expr>, message| Finding {
        is_error: false,
        area: "rule",
        subject: rule.name.clone(),
        message,
    };
    let judge = |rule| match sources.reach(rule) {
        Reach::Never { missing } => {
            let advice = Sources::advice(&missing);
            Some(finding(rule, format!("can never fire with these sources: needs {advice}")))
        }
        Reach::WithoutContext { .. } | Reach::Full => None,
    };
    set.rules.iter().filter_map(judge).collect()
}

/// Rules that are about events which a line of the drop list takes away.
fn check_drops(set: &RuleSet) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sources = Sources::every(&set.schema);
    let lines: Vec<_> = set
        .drops
        .iter()
        .map(|line| (line, sources.able(&line.predicate, |index| index != ALERTS_INDEX)))
        .collect();
    for rule in &set.rules {
        let reads = |index: &str| rule.reads_index(index);
        // Most rules are about other data sets than a line is; the search for a common event is long.
        let predicates: Vec<_> =
            lost_to_drops(&rule.plan).into_iter().map(|one| (one, sources.able(one, reads))).collect();
        let takes = |(line, dropped): &&(&DropLine<Expr>, BTreeSet<&'static str>)| {
            predicates.iter().any(|(predicate, read)| {
                let both: BTreeSet<&str> = read.intersection(dropped).copied().collect();
                let can_be = |event: &Event| sources.could_be(event, &both);
                !both.is_empty()
                    && overlap::example(&line.predicate, predicate, &set.schema, reads, can_be).is_some()
            })
        };
        let taking: Vec<String> =
            lines.iter().filter(takes).map(|(line, _)| format!("\"{}\"", Untrusted(&line.name))).collect();
        if !taking.is_empty() {
            findings.push(Finding {
                is_error: false,
                area: "drop list",
                subject: rule.name.clone(),
                message: format!(
                    "events that this rule matches are dropped by {}: narrow the rule, or leave what drops them out ([drop])",
                    taking.join(", ")
                ),
            });
        }
    }
    findings
}

/// What a rule asks of events that are not there once they are dropped. One that disproves an absence does so all the same.
fn lost_to_drops(plan: &Plan<Expr>) -> Vec<&Expr> {
    match plan {
        Plan::Sequence(sequence) => {
            let steps = sequence.steps.iter().filter(|step| !step.is_missing).map(|step| &step.predicate);
            steps.chain(sequence.until.as_ref().map(|until| &until.predicate)).collect()
        }
        plan => plan.predicates(),
    }
}

/// The table first: below thousands of findings nobody would see it.
fn text(
    set: &RuleSet,
    remarks: &[&Remark],
    findings: &[Finding],
    config: &Config,
    is_all: bool,
    terminal: &Terminal,
) -> String {
    let mut out = Census::take(set, config).render(terminal.stdout.width);
    out.push('\n');
    let (notes, faults): (Vec<&Report>, Vec<&Report>) =
        set.reports.iter().partition(|report| report.is_note());
    let n_faults: usize = faults.iter().map(|report| report.findings.len()).sum();
    let (are_files_grouped, are_lines_grouped) =
        (!is_all && n_faults > MAX_SHOWN, !is_all && findings.len() > MAX_LINES);
    let (grouped, faults) = if are_files_grouped { (faults, Vec::new()) } else { (Vec::new(), faults) };
    let (grouped_lines, lines) = findings.split_at(if are_lines_grouped { findings.len() } else { 0 });
    if are_files_grouped || are_lines_grouped {
        out.push_str(&groups::render(&grouped, grouped_lines, terminal.stdout.width));
    }
    // Why rules cannot fire is in the table already.
    let notes = if is_all || notes.len() + grouped.len() <= MAX_SHOWN { &notes[..] } else { &[] };
    out.push_str(&told(faults.iter().chain(notes).copied(), remarks, lines, terminal));
    out + &counts(set, remarks, findings, config)
}

/// For whoever starts the program again and again, and reads its log only where it does not start.
fn quiet(
    set: &RuleSet,
    remarks: &[&Remark],
    findings: &[Finding],
    config: &Config,
    terminal: &Terminal,
) -> String {
    let reports = set.reports.iter().filter(|report| report.has_errors());
    let grave: Vec<&Remark> = remarks.iter().copied().filter(|remark| remark.is_error).collect();
    let errors = findings.iter().filter(|finding| finding.is_error);
    told(reports, &grave, errors, terminal) + &counts(set, remarks, findings, config)
}

/// What was found, each at its place, and an empty line where that was anything.
fn told<'a>(
    reports: impl IntoIterator<Item = &'a Report>,
    remarks: &[&Remark],
    findings: impl IntoIterator<Item = &'a Finding>,
    terminal: &Terminal,
) -> String {
    let mut out = String::new();
    let style = load::style(terminal.stdout.is_coloured);
    for report in reports {
        out.push_str(&report.render(style));
        out.push_str("\n\n");
    }
    for remark in remarks {
        let label = if remark.is_error { "error" } else { "warning" };
        match remark.text.contains('\n') {
            true => out.push_str(&format!("{}\n\n", remark.text)),
            false => out.push_str(&format!("{label}: {}\n", remark.text)),
        }
    }
    for finding in findings {
        let label = if finding.is_error { "error" } else { "warning" };
        let (subject, message) = (Untrusted(&finding.subject), Untrusted(&finding.message));
        out.push_str(&format!("{label}: {} \"{subject}\": {message}\n", finding.area));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn counts(set: &RuleSet, remarks: &[&Remark], findings: &[Finding], config: &Config) -> String {
    let (n_errors, n_warnings) = tally(set, remarks, findings);
    let sources = match config.sources.len() {
        0 => "no source given: rules are judged as if all were".to_owned(),
        1 => "1 source".to_owned(),
        n => format!("{n} sources"),
    };
    let drops = set.drops.len();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings, drops) =
        (count(n_errors, "error"), count(n_warnings, "warning"), count(drops, "drop line"));
    let others = match set.n_passed_over {
        0 => String::new(),
        n => format!("{} that are no rules passed over; ", count(n, "file")),
    };
    format!("{errors}, {warnings}; {drops}; {others}{sources}\n")
}

fn sarif(set: &RuleSet, remarks: &[&Remark], findings: &[Finding]) -> String {
    let remarks = remarks.iter().map(|remark| (remark.is_error, remark.text.clone()));
    let findings = findings.iter().map(|finding| {
        (finding.is_error, format!("{} \"{}\": {}", finding.area, finding.subject, finding.message))
    });
    load::json_lines(&[sarif::render(set, remarks.chain(findings))])
}

fn tally(set: &RuleSet, remarks: &[&Remark], findings: &[Finding]) -> (usize, usize) {
    let in_files = set.reports.iter().flat_map(|report| &report.findings);
    let in_files = in_files.filter(|finding| !finding.is_note()).map(|finding| finding.is_error());
    let beside =
        remarks.iter().map(|remark| remark.is_error).chain(findings.iter().map(|finding| finding.is_error));
    in_files.chain(beside).fold((0, 0), |(errors, warnings), is_error| match is_error {
        true => (errors + 1, warnings),
        false => (errors, warnings + 1),
    })
}

fn json(set: &RuleSet, remarks: &[&Remark], findings: &[Finding], config: &Config) -> String {
    let level = |is_error: bool| if is_error { "error" } else { "warning" };
    let mut lines = Vec::new();
    for report in &set.reports {
        for finding in &report.findings {
            let diagnostic = &finding.diagnostic;
            lines.push(json!({
                "level": if finding.is_note() { "note" } else { level(finding.is_error()) }, "area": "rule file", "subject": report.path.display().to_string(),
                "line": report.line(finding), "code": format!("{}", diagnostic.code),
                "message": diagnostic.message, "help": diagnostic.help,
            }));
        }
    }
    lines.extend(remarks.iter().map(
        |remark| json!({"level": level(remark.is_error), "area": "configuration", "message": remark.text}),
    ));
    lines.extend(findings.iter().map(|finding| {
        json!({"level": level(finding.is_error), "area": finding.area, "subject": finding.subject, "message": finding.message})
    }));
    let (n_errors, n_warnings) = tally(set, remarks, findings);
    lines.push(json!({"summary": {"rules": set.rules.len(), "drop_lines": set.drops.len(),
        "passed_over": set.n_passed_over, "errors": n_errors, "warnings": n_warnings, "census": Census::take(set, config).json()}}));
    load::json_lines(&lines)
}
