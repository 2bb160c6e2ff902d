//! `report`: an incident as one self-contained page.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::incidents::{AlertFlags, Told};
use super::load::Configured;
use super::stored::{self, Meant};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::incident::Incident;
use crate::report;
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The incident, by its id or how that begins
    #[arg(long, value_name = "INCIDENT_ID", required_unless_present = "alert", conflicts_with = "alert")]
    incident: Option<String>,
    /// The incident that an alert belongs to, by the alert's id or how that begins
    #[arg(long, value_name = "ALERT_ID")]
    alert: Option<String>,
    /// The page to write; "-" is stdout
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    alerts: AlertFlags,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let Told { incidents, alerts } = flags.alerts.tell(configured)?;
    let incident = match (&flags.incident, &flags.alert) {
        (Some(asked), _) => {
            let ids = incidents.iter().map(|incident| incident.id.as_str());
            match stored::meant("incident", asked, ids)? {
                Meant::One(id) => incidents.iter().find(|incident| incident.id == id),
                Meant::Nothing => None,
            }
        }
        (None, asked) => {
            match stored::meant("alert", asked.as_deref().unwrap_or_default(), stored::alert_ids(&alerts))? {
                Meant::One(id) => {
                    let has = |incident: &&Incident| incident.story.iter().any(|scene| scene.alert == id);
                    incidents.iter().find(has)
                }
                Meant::Nothing => None,
            }
        }
    };
    let Some(incident) = incident else {
        let id = flags.incident.or(flags.alert).unwrap_or_default();
        let text = format!("no incident for \"{}\"; `groundtrail incidents` lists them", Untrusted(id));
        terminal.note("error", &text);
        return Ok(Outcome::Faults);
    };
    let ids: Vec<&str> = incident.story.iter().map(|scene| scene.alert.as_str()).collect();
    let of_incident = alerts.iter().filter(|alert| {
        crate::alert::view::text(alert, "groundtrail.alert.id").is_some_and(|id| ids.contains(&id))
    });
    let page = report::page(incident, &of_incident.collect::<Vec<_>>());
    if flags.output.as_os_str() == "-" {
        terminal.data(&page)?;
        return Ok(Outcome::Clean);
    }
    fs::write(&flags.output, page).map_err(|source| CliError::Run {
        what: format!("cannot write \"{}\"", flags.output.display()),
        source: source.into(),
    })?;
    terminal.note("written", &flags.output.display().to_string());
    Ok(Outcome::Clean)
}
