//! `cargo xtask bench`: the figures we hold ourselves to, measured here and now, a table per subject.
//!
//! A subject is a file below `bench/` that returns a [`Report`]; how long things take is measured by the programs it runs.

mod engine;
mod feeds;
mod identity;
mod report;
mod rsigma;
mod rules;
mod sensor;
mod state;

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::shell::{self, Failure};

pub(crate) use report::Report;

/// Where `--write` puts the tables.
const BOOK: &str = "docs/performance.md";

#[derive(Args)]
pub(crate) struct Bench {
    /// What is measured; all of it when nothing is named
    #[arg(value_enum)]
    subjects: Vec<Subject>,
    /// Put the tables into docs/performance.md
    #[arg(long)]
    write: bool,
    /// A checkout of public rules to measure with, besides the generated ones
    #[arg(long, value_name = "DIR")]
    checkout: Option<std::path::PathBuf>,
    /// A checkout of the public Sigma rules, to measure with beside rsigma, besides the generated ones
    #[arg(long, value_name = "DIR")]
    sigma: Option<std::path::PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// What rules cost per event, how that grows with their number, and what others take for the same
    Rules,
    /// What the sensor takes from its host, in the kernel and beside it, and what others take for the same
    Sensor,
    /// What the engine costs: CloudTrail through the whole catalogue, state in memory, in the store and at a start
    Engine,
    /// What state costs a run: writing it down, telling of it in time, and what several threads bring
    State,
    /// What knowing who is who costs: a million keys in memory, looked up, and put on an alert
    Identity,
    /// What comes in: AWS's files, the sensor's spool, and a fleet of sensors over mutual TLS
    Feeds,
}

impl Subject {
    fn measure(self, options: &Bench) -> Result<Report, Failure> {
        match self {
            Self::Rules => rules::measure(options.checkout.as_deref(), options.sigma.as_deref()),
            Self::Sensor => sensor::measure(),
            Self::Engine => engine::measure(options.sigma.as_deref()),
            Self::State => state::measure(),
            Self::Identity => identity::measure(),
            Self::Feeds => feeds::measure(),
        }
    }

    /// As it is written on the command line and in the book's markers.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

pub(crate) fn run(options: &Bench) -> Result<(), Failure> {
    let all = Subject::value_variants();
    let subjects = if options.subjects.is_empty() { all } else { &options.subjects };
    for subject in subjects {
        let text = subject.measure(options)?.to_string();
        println!("{text}");
        if options.write {
            write(&shell::root().join(BOOK), &subject.name(), &text)?;
            shell::say(format!("{BOOK} has the new figures of \"{}\"", subject.name()));
        }
    }
    Ok(())
}

/// Runs a bench of the workspace, built for release, and reads the JSON lines it prints: one per measurement.
pub(crate) fn measurements(package: &str, bench: &str, args: &[&str]) -> Result<Vec<Value>, Failure> {
    shell::say(format!("building and running the bench \"{bench}\" of {package}, for release"));
    let text =
        output(shell::cargo(&["bench", "--quiet", "--package", package, "--bench", bench, "--"]).args(args))?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            serde_json::from_str(line).map_err(|err| Failure(format!("\"{line}\" is no measurement: {err}")))
        })
        .collect()
}

/// The standard output of a command whose standard error is shown while it runs.
fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|err| Failure(format!("cannot run the bench: {err}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure(format!("the bench failed: {}", output.status))),
    }
}

/// Puts a subject's text between its markers.
fn write(book: &Path, subject: &str, text: &str) -> Result<(), Failure> {
    let old = fs::read_to_string(book)?;
    let new = replaced(&old, subject, text).ok_or_else(|| {
        Failure(format!(
            "{} has no \"{}\" with an end; put the two markers where the table belongs",
            book.display(),
            open(subject)
        ))
    })?;
    Ok(fs::write(book, new)?)
}

fn open(subject: &str) -> String {
    format!("<!-- bench: {subject} -->")
}

fn replaced(book: &str, subject: &str, text: &str) -> Option<String> {
    let (before, rest) = book.split_once(&open(subject))?;
    let close = format!("<!-- /bench: {subject} -->");
    let (_, after) = rest.split_once(&close)?;
    Some(format!("{before}{}\n{}\n{close}{after}", open(subject), text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subjects_text_is_replaced_between_its_markers_only() {
        let book = "# Figures\n<!-- bench: a -->\nold\n<!-- /bench: a -->\n<!-- bench: b -->\nkept\n<!-- /bench: b -->\n";
        let expected = "# Figures\n<!-- bench: a -->\nnew\n<!-- /bench: a -->\n<!-- bench: b -->\nkept\n<!-- /bench: b -->\n";
        assert_eq!(replaced(book, "a", "new\n").as_deref(), Some(expected));
        assert_eq!(replaced(book, "c", "new"), None);
    }

    #[test]
    fn every_subject_has_its_place_in_the_book() {
        let book = fs::read_to_string(shell::root().join(BOOK)).expect("the book is there");
        for subject in Subject::value_variants() {
            assert!(replaced(&book, &subject.name(), "").is_some(), "{} in {BOOK}", subject.name());
        }
    }
}
