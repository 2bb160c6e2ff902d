//! `tail`: alerts of a store, a line each, as a run writes them there.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::load::Configured;
use super::sieve::Sieve;
use super::stored::{failed, must_exist};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::render;
use crate::sink;
use crate::store::{Follower, StoredAlert};

const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    sieve: Sieve,
    /// Begin with so many alerts that are there already
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Show what is there and end
    #[arg(long)]
    no_follow: bool,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// table (a line each), pretty (each in full) or ndjson (the documents)
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
    Ndjson,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let Some(path) = flags.store.clone().or(configured.config.store) else {
        return Err(CliError::Usage("no store is configured: give --store PATH".to_owned()));
    };
    must_exist(&path)?;
    let mut follower = Follower::open(&path).map_err(failed)?;
    let is_wanted = |alert: &StoredAlert| document(alert).is_ok_and(|document| flags.sieve.lets(&document));
    for alert in follower.newest(flags.lines, is_wanted).map_err(failed)? {
        flags.show(&document(&alert)?, terminal)?;
    }
    if flags.no_follow {
        return Ok(Outcome::Clean);
    }
    loop {
        thread::sleep(INTERVAL);
        let mut changed = Vec::new();
        follower.poll(Instant::now(), |alert| changed.push(document(&alert))).map_err(failed)?;
        for alert in changed {
            let alert = alert?;
            if flags.sieve.lets(&alert) {
                flags.show(&alert, terminal)?;
            }
        }
    }
}

fn document(alert: &StoredAlert) -> Result<Value, CliError> {
    serde_json::from_str(&alert.document).map_err(failed)
}

impl Flags {
    fn show(&self, alert: &Value, terminal: &Terminal) -> Result<(), CliError> {
        let text = match self.output {
            Form::Table => render::brief(alert, terminal.stdout),
            Form::Pretty => render::alert(alert, terminal.stdout) + "\n",
            Form::Ndjson => sink::to_line(alert) + "\n",
        };
        Ok(terminal.data(&text)?)
    }
}
