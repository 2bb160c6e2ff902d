//! Standard output, from configuration and terminal.

use std::io::{self, BufWriter};

use super::terminal::Terminal;
use crate::config::{Format, Output};
use crate::sink::{Ndjson, Pretty, Printer};

pub(super) fn is_pretty(output: &Output, terminal: &Terminal) -> bool {
    match output.format {
        // Who asks for something to look at is given it, whatever a run prints.
        Format::Auto | Format::None => terminal.is_stdout_terminal,
        Format::Pretty => true,
        Format::Ndjson => false,
    }
}

pub(super) fn open(output: &Output, terminal: &Terminal) -> Box<dyn Printer> {
    let stdout = BufWriter::new(io::stdout());
    match is_pretty(output, terminal) {
        true => Box::new(Pretty::new(stdout, terminal.stdout)),
        false => Box::new(Ndjson(stdout)),
    }
}
