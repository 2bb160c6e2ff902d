//! `incidents`: alerts that belong together, as one story each.

use clap::Args;
use rules::event::Span;
use serde_json::Value;

use super::listing::{Form, Listing};
use super::load::Configured;
use super::stored::{self, Meant, StoredFlags};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::incident::{self, DEFAULT_WINDOW, Incident};
use crate::render;
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// One incident, by its id or how that begins: the whole story
    #[arg(value_name = "INCIDENT_ID")]
    id: Option<String>,
    #[command(flatten)]
    alerts: AlertFlags,
    /// How to print
    #[arg(long, short, value_name = "FORM", value_enum, default_value = "table")]
    output: Form,
}

/// Which alerts, and how far apart they may be.
#[derive(Debug, Args)]
pub(super) struct AlertFlags {
    #[command(flatten)]
    stored: StoredFlags,
    #[command(flatten)]
    window: WindowFlag,
}

/// How far apart the alerts of one incident may be.
#[derive(Debug, Args)]
pub(super) struct WindowFlag {
    /// Alerts of one principal, host, key, command or session further apart than this are two incidents
    #[arg(long, value_name = "HOURS", default_value_t = DEFAULT_WINDOW.0.cast_unsigned() / HOUR)]
    window: u64,
}

impl WindowFlag {
    pub(super) fn span(&self) -> Span {
        Span(i64::try_from(self.window.saturating_mul(HOUR)).unwrap_or(i64::MAX))
    }
}

/// Incidents with the alerts they were told from.
pub(super) struct Told {
    pub(super) incidents: Vec<Incident>,
    pub(super) alerts: Vec<Value>,
}

const HOUR: u64 = 3_600_000_000_000;

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let mut told = flags.alerts.tell(configured)?.incidents;
    if let Some(asked) = &flags.id {
        let ids = told.iter().map(|incident| incident.id.as_str());
        let Meant::One(id) = stored::meant("incident", asked, ids)? else {
            terminal.note("error", &format!("no incident's id begins with \"{}\"", Untrusted(asked)));
            return Ok(Outcome::Faults);
        };
        let id = id.to_owned();
        told.retain(|incident| incident.id == id);
    }
    if flags.output == Form::Table && flags.id.is_some() {
        let pages: Vec<String> =
            told.iter().map(|incident| render::incident(incident, terminal.stdout)).collect();
        terminal.data(&pages.join("\n"))?;
    } else {
        terminal.data(&listing(&told, flags.output).print(flags.output, &told, terminal))?;
    }
    Ok(Outcome::Clean)
}

impl AlertFlags {
    pub(super) fn tell(&self, configured: Configured) -> Result<Told, CliError> {
        let alerts = self.stored.read(configured.config.store.as_deref())?;
        // Of each alert the revision that incidents are told from, and no other.
        let alerts = incident::latest(alerts);
        Ok(Told { incidents: incident::incidents(&alerts, self.window.span()), alerts })
    }
}

fn listing(told: &[Incident], form: Form) -> Listing {
    let mut listing = Listing::new(&["incident", "severity", "start", "story"]);
    for incident in told {
        let start = match form {
            Form::Table => incident.start.get(..19).unwrap_or(&incident.start).replace('T', " "),
            _ => incident.start.clone(),
        };
        listing.row(vec![incident.id.clone(), incident.severity.clone(), start, incident.summary.clone()]);
    }
    listing
}
