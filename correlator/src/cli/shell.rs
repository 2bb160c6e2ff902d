//! `completion` and `man`: what shells and manuals know of the command line, made from the command line itself.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::terminal::Terminal;
use super::{Cli, CliError, Outcome};

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder that the pages go to; it is made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn completion(flags: &Completion, terminal: &Terminal) -> Result<Outcome, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "groundtrail", &mut text);
    terminal.data(&String::from_utf8_lossy(&text))?;
    Ok(Outcome::Clean)
}

pub(super) fn man(flags: &Man, terminal: &Terminal) -> Result<Outcome, CliError> {
    let failed = |source: io::Error| CliError::Run {
        what: format!("cannot write manual pages into the folder \"{}\"", flags.folder.display()),
        source: match source.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                "this is a file: name a folder".into()
            }
            _ => source.into(),
        },
    };
    fs::create_dir_all(&flags.folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &flags.folder).map_err(failed)?;
    terminal.note("written", &flags.folder.display().to_string());
    Ok(Outcome::Clean)
}
