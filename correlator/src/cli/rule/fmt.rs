//! `rule fmt`: rule files laid out in one way, in place.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use rules::catalogue;
use rules::rule::format;

use crate::cli::terminal::Terminal;
use crate::cli::{CliError, Outcome};
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(in crate::cli) struct Fmt {
    /// Rule files or folders; "-" lays out what comes on stdin
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Change nothing; name the files that would change, and fail if there is one
    #[arg(long)]
    check: bool,
}

pub(super) fn run(flags: &Fmt, terminal: &Terminal) -> Result<Outcome, CliError> {
    let (mut n_changed, mut has_faults) = (0, false);
    for path in &flags.paths {
        if path.as_os_str() == "-" {
            has_faults |= stdin(flags.check, terminal)?;
            continue;
        }
        if let Err(source) = fs::metadata(path) {
            let what = format!("cannot read \"{}\"", path.display());
            return Err(CliError::Run { what, source: source.into() });
        }
        for found in catalogue::files(path) {
            let done = found.and_then(|file| {
                // A folder may hold Sigma rules beside ours.
                if is_toml(&file) || file != *path {
                    return one(&file, flags.check).map(|is_changed| (file, is_changed));
                }
                Err(format!(
                    "{}: is no TOML file; Sigma's YAML stays as its authors wrote it",
                    file.display()
                ))
            });
            match done {
                Ok((_, false)) => {}
                Ok((file, true)) => {
                    n_changed += 1;
                    terminal.data(&format!("{}\n", Untrusted(&file.display().to_string())))?;
                }
                Err(fault) => {
                    has_faults = true;
                    terminal.note("error", &Untrusted(&fault).to_string());
                }
            }
        }
    }
    let is_denied = flags.check && n_changed > 0;
    Ok(if has_faults || is_denied { Outcome::Faults } else { Outcome::Clean })
}

/// Says whether there was something to find fault with.
fn stdin(is_check: bool, terminal: &Terminal) -> Result<bool, CliError> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|source| CliError::Run { what: "cannot read stdin".to_owned(), source: source.into() })?;
    match format::format(&text) {
        Ok(laid_out) if is_check => Ok(laid_out != text),
        Ok(laid_out) => {
            terminal.data(&laid_out)?;
            Ok(false)
        }
        Err(error) => {
            terminal.note("error", &Untrusted(&format!("stdin: {error}")).to_string());
            Ok(true)
        }
    }
}

/// Says whether the file is, or would be, another one now.
fn one(path: &Path, is_check: bool) -> Result<bool, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if !is_toml(path) {
        return Ok(false);
    }
    let text = fs::read_to_string(path).map_err(|error| named(&error))?;
    let laid_out = format::format(&text).map_err(|error| named(&error))?;
    if laid_out == text {
        return Ok(false);
    }
    if !is_check {
        replace(path, &laid_out).map_err(|error| named(&error))?;
    }
    Ok(true)
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// Whoever reads the file meanwhile finds it whole, before or after.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let new = path.with_extension(format!("toml.{}", std::process::id()));
    let written = fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&new, &path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}
