//! `completion` and `man`: what shells and manuals know of the command line, made from the command line itself.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

const NAME: &str = "groundtrail-sensor";

pub(crate) fn completion(shell: Shell, mut command: Command) -> io::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut text);
    io::stdout().write_all(&text)
}

pub(crate) fn man(folder: &Path, command: Command) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}
