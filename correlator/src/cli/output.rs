//! The sinks of a run, from configuration and terminal.

use std::io::{self, BufWriter};

use super::CliError;
use super::terminal::Terminal;
use crate::config::{Format, Output};
use crate::sink::{Fanout, Ndjson, Pretty, RotatedFile, Sink};

pub(super) fn is_pretty(output: &Output, terminal: &Terminal) -> bool {
    match output.format {
        Format::Auto => terminal.is_stdout_terminal,
        Format::Pretty => true,
        Format::Ndjson => false,
    }
}

/// # Errors
/// When the alert file cannot be opened.
pub(super) fn open(output: &Output, terminal: &Terminal) -> Result<Fanout, CliError> {
    let is_pretty = is_pretty(output, terminal);
    let stdout = BufWriter::new(io::stdout());
    let first: Box<dyn Sink> =
        if is_pretty { Box::new(Pretty::new(stdout, terminal.stdout)) } else { Box::new(Ndjson(stdout)) };
    let mut sinks = vec![first];
    if let Some(file) = &output.file {
        let opened = RotatedFile::open(file.clone()).map_err(|source| CliError::Run {
            what: format!("cannot append to \"{}\"", file.path.display()),
            source: source.into(),
        })?;
        sinks.push(Box::new(opened));
    }
    Ok(Fanout(sinks))
}
