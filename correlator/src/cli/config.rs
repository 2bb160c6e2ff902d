//! `config default`, `config show` and `config schema`.

use std::path::Path;

use clap::Subcommand;

use super::terminal::Terminal;
use super::{CliError, Outcome, load};
use crate::config::{DEFAULT, schema};

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// The commented default, ready to be put into a file
    Default,
    /// Every setting in force, defaults included
    Show {
        /// Say behind each where it comes from: file and line, a variable, or the default
        #[arg(long)]
        origin: bool,
    },
    /// A JSON schema of the file, for editors
    Schema,
}

pub(super) fn run(what: What, path: Option<&Path>, terminal: &Terminal) -> Result<Outcome, CliError> {
    let text = match what {
        What::Default => DEFAULT.to_owned(),
        What::Show { origin } => {
            let configured = load::config(path)?;
            let text = configured.config.to_toml();
            if origin { configured.layers.annotated(&text) } else { text }
        }
        What::Schema => format!("{:#}\n", schema()),
    };
    terminal.data(&text)?;
    Ok(Outcome::Clean)
}
