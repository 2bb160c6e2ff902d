//! Configuration file and flags into one `Config`; that into rules, sources and sinks. `run`, `replay`, `check` and
//! `test` all come through here, so that what one accepts the others do.

use std::path::Path;

use super::CliError;
use crate::config::{Config, SYSTEM_PATH};

/// The named file, else the system's where there is one, else the defaults.
pub(super) fn config(path: Option<&Path>) -> Result<Config, CliError> {
    match path {
        Some(path) => Ok(Config::load(path)?),
        None if Path::new(SYSTEM_PATH).exists() => Ok(Config::load(Path::new(SYSTEM_PATH))?),
        None => Ok(Config::default()),
    }
}
