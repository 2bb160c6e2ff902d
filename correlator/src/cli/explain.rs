//! `explain`: an alert out of the store, with all that is known of it, and by what conditions each event is part of it.

use std::path::PathBuf;

use clap::Args;

use super::flags::FormatFlag;
use super::load::Configured;
use super::output;
use super::stored::must_exist;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::render;
use crate::store::Store;
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The alert's id, or how it begins
    #[arg(value_name = "ALERT_ID")]
    id: String,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    #[command(flatten)]
    format: FormatFlag,
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    flags.format.apply(&mut configured.config);
    let Some(path) = flags.store.or(configured.config.store) else {
        return Err(CliError::Usage("no store is configured: give --store PATH".to_owned()));
    };
    must_exist(&path)?;
    let failed = |source| CliError::Run { what: "cannot look the alert up".to_owned(), source };
    let store = Store::open_to_look(&path).map_err(|error| failed(error.into()))?;
    let Some(alert) = store.alert(&flags.id).map_err(|error| failed(error.into()))? else {
        terminal.note("error", &format!("no alert's id begins with \"{}\"", Untrusted(&flags.id)));
        return Ok(Outcome::Faults);
    };
    let document = serde_json::from_str(&alert.document).map_err(|error| failed(error.into()))?;
    let output = configured.config.output;
    if output::is_pretty(&output, terminal) {
        terminal.data(&render::explained(&document, terminal.stdout))?;
    } else {
        output::open(&output, terminal).write(&document)?;
    }
    Ok(Outcome::Clean)
}
