//! `explain`: an alert out of the store, with all that is known of it, and by what conditions each event is part of it.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::listing::{self, Form, Listing};
use super::load::Configured;
use super::output;
use super::stored::{self, Meant, must_exist};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::alert::view::{Role, carried, scalar};
use crate::render;
use crate::store::Store;

/// Ids that are looked at: more than are named where several are meant.
const MAX_LIKE: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The alert's id, or how it begins
    #[arg(value_name = "ALERT_ID")]
    id: String,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// table (a page), json, ndjson (the document), or csv (its events) [default: as [output] format says; into a pipe ndjson]
    #[arg(long, short, value_name = "FORM", value_enum, hide_possible_values = true)]
    output: Option<Form>,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let output = configured.config.output;
    let form = flags.output.unwrap_or(match output::is_pretty(&output, terminal) {
        true => Form::Table,
        false => Form::Ndjson,
    });
    let Some(path) = flags.store.or(configured.config.store) else {
        return Err(CliError::Usage("no store is configured: give --store PATH".to_owned()));
    };
    must_exist(&path)?;
    let failed = |source| CliError::Run { what: "cannot look the alert up".to_owned(), source };
    let store = Store::open_to_look(&path).map_err(|error| failed(error.into()))?;
    let ids = store.alert_ids_like(&flags.id, MAX_LIKE).map_err(|error| failed(error.into()))?;
    let alert = match stored::meant("alert", &flags.id, ids.iter().map(String::as_str))? {
        Meant::One(id) => store.alert_of(id).map_err(|error| failed(error.into()))?,
        Meant::Nothing => None,
    };
    let Some(alert) = alert else {
        terminal.note("error", &stored::unknown_alert(&flags.id));
        return Ok(Outcome::Faults);
    };
    let document: Value = serde_json::from_str(&alert.document).map_err(|error| failed(error.into()))?;
    terminal.data(&match form {
        Form::Table => render::explained(&document, terminal.stdout),
        Form::Csv => events(&document).print(form, &[&document], terminal),
        form => listing::record(form, &document),
    })?;
    Ok(Outcome::Clean)
}

/// The events that an alert carries, a row each.
fn events(alert: &Value) -> Listing {
    let mut listing =
        Listing::new(&["time", "part", "stage", "event id", "dataset", "action", "host", "account", "user"]);
    for carried in carried(alert) {
        let of = |path: &str| scalar(carried.event, path).unwrap_or_default();
        let (part, stage) = match carried.role {
            Role::Evidence(stage) => ("evidence", stage),
            Role::Context | Role::Known => ("context", ""),
        };
        listing.row(vec![
            of("@timestamp"),
            part.to_owned(),
            stage.to_owned(),
            of("event.id"),
            of("event.dataset"),
            of("event.action"),
            of("host.id"),
            of("cloud.account.id"),
            of("user.name"),
        ]);
    }
    listing
}
