//! What the run talks to: stdout for data, stderr for diagnostics, colour and width of each.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use terminal_size::{Width, terminal_size};

use crate::render::Style;

const DEFAULT_WIDTH: usize = 80;
/// A file or a pager gets room for both columns.
const FILE_WIDTH: usize = 140;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// Colour on a terminal, unless NO_COLOR is set or TERM is "dumb".
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    pub(crate) is_stdout_terminal: bool,
    pub(crate) stdout: Style,
    /// Whether diagnostics are coloured.
    pub(crate) is_stderr_coloured: bool,
}

impl Terminal {
    pub(crate) fn detect(choice: ColorChoice) -> Self {
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_coloured = |is_terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !wants_none,
        };
        let is_stdout_terminal = io::stdout().is_terminal();
        let width = match terminal_size() {
            Some((Width(columns), _)) if is_stdout_terminal => usize::from(columns),
            _ => columns_variable().unwrap_or(if is_stdout_terminal { DEFAULT_WIDTH } else { FILE_WIDTH }),
        };
        Self {
            is_stdout_terminal,
            stdout: Style { width, is_coloured: is_coloured(is_stdout_terminal) },
            is_stderr_coloured: is_coloured(io::stderr().is_terminal()),
        }
    }

    /// Data on stdout.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A diagnostic line on stderr. Nobody listening there is no reason to stop.
    pub(crate) fn note(&self, label: &str, text: &str) {
        let paint = |code: &str| if self.is_stderr_coloured { code.to_owned() } else { String::new() };
        let colour = if label == "error" { "\x1b[1;31m" } else { "\x1b[1;33m" };
        let _ = writeln!(io::stderr(), "{}{label}{}: {text}", paint(colour), paint("\x1b[0m"));
    }

    /// A rendered diagnostic of several lines on stderr.
    pub(crate) fn block(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}\n");
    }
}

fn columns_variable() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}
