//! `config default` and `config show`.

use std::path::Path;

use clap::Subcommand;

use super::terminal::Terminal;
use super::{CliError, Outcome, load};
use crate::config::DEFAULT;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// The commented default, ready to be put into a file
    Default,
    /// Every setting in force, defaults included
    Show,
}

pub(super) fn run(what: What, path: Option<&Path>, terminal: &Terminal) -> Result<Outcome, CliError> {
    let text = match what {
        What::Default => DEFAULT.to_owned(),
        What::Show => load::config(path)?.config.to_toml(),
    };
    terminal.data(&text)?;
    Ok(Outcome::Clean)
}
