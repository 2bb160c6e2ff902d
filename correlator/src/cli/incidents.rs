//! `incidents`: alerts that belong together, as one story each.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rules::event::Span;
use serde_json::Value;

use super::load::Configured;
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::incident::{self, DEFAULT_WINDOW, Incident};
use crate::render;
use crate::store::Store;
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// One incident, by its id or how that begins: the whole story
    #[arg(value_name = "INCIDENT_ID")]
    id: Option<String>,
    #[command(flatten)]
    alerts: AlertFlags,
    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: OutputFormat,
}

/// Which alerts, and how far apart they may be.
#[derive(Debug, Args)]
pub(super) struct AlertFlags {
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Alerts as `run` and `replay` write them, one document a line, instead of a store
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    alerts: Option<PathBuf>,
    /// Alerts of one principal, host, key, command or session further apart than this are two incidents
    #[arg(long, value_name = "HOURS", default_value_t = DEFAULT_WINDOW.0.cast_unsigned() / HOUR)]
    window: u64,
}

/// Incidents with the alerts they were told from.
pub(super) struct Told {
    pub(super) incidents: Vec<Incident>,
    pub(super) alerts: Vec<Value>,
}

const HOUR: u64 = 3_600_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Table,
    Json,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let mut told = flags.alerts.tell(configured)?.incidents;
    if let Some(id) = &flags.id {
        told.retain(|incident| incident.id.starts_with(id.as_str()));
        if told.is_empty() {
            terminal.note("error", &format!("no incident's id begins with \"{}\"", Untrusted(id)));
            return Ok(Outcome::Faults);
        }
    }
    match flags.output {
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&told).map_err(std::io::Error::other)?;
            terminal.data(&format!("{json}\n"))?;
        }
        OutputFormat::Table if flags.id.is_some() => {
            let pages: Vec<String> =
                told.iter().map(|incident| render::incident(incident, terminal.stdout)).collect();
            terminal.data(&pages.join("\n"))?;
        }
        OutputFormat::Table => terminal.data(&table(&told).render(terminal.stdout.width))?,
    }
    Ok(Outcome::Clean)
}

impl AlertFlags {
    pub(super) fn tell(&self, configured: Configured) -> Result<Told, CliError> {
        let alerts = match &self.alerts {
            Some(path) => from_file(path)?,
            None => from_store(self.store.clone().or(configured.config.store))?,
        };
        let window = Span(i64::try_from(self.window.saturating_mul(HOUR)).unwrap_or(i64::MAX));
        // Of each alert the revision that incidents are told from, and no other.
        let alerts = incident::latest(alerts);
        Ok(Told { incidents: incident::incidents(&alerts, window), alerts })
    }
}

fn table(told: &[Incident]) -> Table {
    let mut table = Table::new(&["incident", "severity", "start", "story"]);
    for incident in told {
        let start = incident.start.get(..19).unwrap_or(&incident.start).replace('T', " ");
        table.row(vec![incident.id.clone(), incident.severity.clone(), start, incident.summary.clone()]);
    }
    table
}

fn from_store(path: Option<PathBuf>) -> Result<Vec<Value>, CliError> {
    let Some(path) = path else {
        return Err(CliError::Usage("no store is configured: give --store PATH or --alerts FILE".to_owned()));
    };
    if !path.exists() {
        return Err(CliError::Usage(format!("there is no store at \"{}\"", path.display())));
    }
    let failed = |source| CliError::Run { what: "cannot read the alerts".to_owned(), source };
    let store = Store::open_to_look(&path).map_err(|error| failed(error.into()))?;
    let stored = store.alerts().map_err(|error| failed(error.into()))?;
    let documents = stored.iter().map(|alert| serde_json::from_str(&alert.document));
    documents.collect::<Result<_, _>>().map_err(|error| failed(error.into()))
}

fn from_file(path: &PathBuf) -> Result<Vec<Value>, CliError> {
    let failed = |what: String, source| CliError::Run { what, source };
    let text = fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot read \"{}\"", path.display()), error.into()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(idx, line)| {
            serde_json::from_str(line).map_err(|error| {
                failed(format!("\"{}\" line {} is no alert document", path.display(), idx + 1), error.into())
            })
        })
        .collect()
}
