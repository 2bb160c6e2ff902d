//! `tail`: alerts of a store, a line each, as a run writes them there.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::listing::{self, csv_line};
use super::load::Configured;
use super::sieve::Sieve;
use super::stored::{failed, must_exist};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::alert::view::{muted_by, scalar};
use crate::render;
use crate::sink;
use crate::store::{Follower, StoredAlert};
use crate::untrusted::Untrusted;

const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    sieve: Sieve,
    /// Show those too that a silence mutes
    #[arg(long)]
    muted: bool,
    /// Begin with so many alerts that are there already
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Show what is there and end
    #[arg(long)]
    no_follow: bool,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// table (a line each), pretty (each in full), ndjson (the documents), csv, or with --no-follow json (one list)
    #[arg(
        long,
        short,
        value_name = "FORM",
        value_enum,
        default_value = "table",
        hide_possible_values = true
    )]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Pretty,
    Json,
    Ndjson,
    Csv,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    if flags.output == Form::Json && !flags.no_follow {
        let text = "a list that goes on has no end: give --no-follow as well, or -o ndjson";
        return Err(CliError::Usage(text.to_owned()));
    }
    let Some(path) = flags.store.clone().or(configured.config.store) else {
        return Err(CliError::Usage("no store is configured: give --store PATH".to_owned()));
    };
    must_exist(&path)?;
    let wanted = flags.sieve.wanted();
    let is_shown = |alert: &Value| wanted.lets(alert) && (flags.muted || muted_by(alert).is_none());
    let mut follower = Follower::open(&path).map_err(failed)?;
    let mut troubles = Vec::new();
    let newest = follower.newest(flags.lines, |alert| match document(alert) {
        Ok(document) => is_shown(&document),
        Err(trouble) => {
            troubles.push(trouble);
            false
        }
    });
    let newest: Vec<Value> =
        newest.map_err(failed)?.iter().filter_map(|alert| document(alert).ok()).collect();
    troubles.iter().for_each(|trouble| terminal.note("skipped", trouble));
    match flags.output {
        Form::Json => terminal.data(&listing::json(listing::Form::Json, &newest))?,
        Form::Csv => terminal.data(&csv_line(HEADINGS.map(String::from).to_vec(), false))?,
        _ => {}
    }
    if flags.output != Form::Json {
        newest.iter().try_for_each(|alert| flags.show(alert, terminal))?;
    }
    if flags.no_follow {
        return Ok(Outcome::Clean);
    }
    let mut trouble = Trouble::default();
    loop {
        thread::sleep(INTERVAL);
        let mut changed = Vec::new();
        let polled = follower.poll(Instant::now(), |alert| changed.push(document(&alert)));
        for alert in changed {
            match alert {
                Ok(alert) if is_shown(&alert) => flags.show(&alert, terminal)?,
                Ok(_) => {}
                Err(trouble) => terminal.note("skipped", &trouble),
            }
        }
        if let Some((label, text)) = trouble.news(polled.err().map(|error| error.to_string())) {
            terminal.note(label, &text);
        }
    }
}

/// # Errors
/// In words: it is of a version that writes something else, or the file is damaged. The others shall be seen all the same.
fn document(alert: &StoredAlert) -> Result<Value, String> {
    serde_json::from_str(&alert.document)
        .map_err(|error| format!("alert {} cannot be read: {error}", Untrusted(alert.id.as_str())))
}

/// What keeps us from looking: said when it begins, when it changes and when it is over.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    pub(super) fn news(&mut self, now: Option<String>) -> Option<(&'static str, String)> {
        if self.0 == now {
            return None;
        }
        self.0.clone_from(&now);
        Some(match now {
            Some(trouble) => ("warning", format!("{trouble}; trying again")),
            None => ("note", "it can be read again".to_owned()),
        })
    }
}

const HEADINGS: [&str; 9] =
    ["time", "severity", "state", "alert", "revision", "rule", "rule_id", "cast", "message"];

impl Flags {
    fn show(&self, alert: &Value, terminal: &Terminal) -> Result<(), CliError> {
        let text = match self.output {
            Form::Table => render::brief(alert, terminal.stdout),
            Form::Pretty => render::alert(alert, terminal.stdout) + "\n",
            Form::Json | Form::Ndjson => sink::to_line(alert) + "\n",
            Form::Csv => csv_line(cells(alert), terminal.is_stdout_terminal),
        };
        Ok(terminal.data(&text)?)
    }
}

fn cells(alert: &Value) -> Vec<String> {
    let of = |path: &str| scalar(alert, path).unwrap_or_default();
    vec![
        of("@timestamp"),
        of("groundtrail.alert.severity"),
        of("groundtrail.alert.state"),
        of("groundtrail.alert.id"),
        of("groundtrail.alert.revision"),
        of("rule.name"),
        of("rule.id"),
        render::cast(alert).join("; "),
        of("message"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_changes() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.news(None), None);
        let told = trouble.news(Some("disk".to_owned())).unwrap();
        assert_eq!(told, ("warning", "disk; trying again".to_owned()));
        assert_eq!(trouble.news(Some("disk".to_owned())), None);
        assert_eq!(trouble.news(None).unwrap().0, "note");
        assert_eq!(trouble.news(None), None);
    }
}
