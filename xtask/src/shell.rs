//! Running other programs: what is about to happen in one sentence, and errors that say what to do.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{self, Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Why a verb could not do its work, in words for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Self {
        Failure(err.to_string())
    }
}

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies below the workspace's root")
}

/// Where cargo puts what it builds. A relative name is one from where xtask was called, as it is for cargo.
pub(crate) fn target() -> PathBuf {
    target_named(env::var_os("CARGO_TARGET_DIR"))
}

fn target_named(given: Option<OsString>) -> PathBuf {
    match given.filter(|folder| !folder.is_empty()) {
        Some(folder) => path::absolute(folder).expect("a running program has a working directory"),
        None => root().join("target"),
    }
}

/// The cargo that runs this.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The same folder as ours, though cargo runs elsewhere.
    command.args(args).current_dir(root()).env("CARGO_TARGET_DIR", target());
    command
}

/// One line to the person who waits.
pub(crate) fn say(line: impl fmt::Display) {
    eprintln!("xtask: {line}");
}

/// Runs a command to its end with its output shown.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Failure> {
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(Failure(format!("\"{}\" failed: {status}", shown(command)))) }
}

/// Runs a command to its end with its output shown, and says how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus, Failure> {
    command.status().map_err(|err| Failure(format!("cannot run \"{}\": {err}", shown(command))))
}

/// Runs a command quietly; its standard output, trimmed.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output =
        command.output().map_err(|err| Failure(format!("cannot run \"{}\": {err}", shown(command))))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("\"{}\" failed: {}", shown(command), said.trim())))
}

fn shown(command: &Command) -> String {
    let parts = [command.get_program()].into_iter().chain(command.get_args());
    parts.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The first program of this name on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0")
}

/// Asks a child to end, by its id, and waits for it; after ten seconds it is ended without being asked.
pub(crate) fn end(child: &mut Child) -> Result<(), Failure> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    // `kill` is built into every shell, and missing as a program on some small systems.
    succeed(Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_target_folder_is_one_of_where_we_were_called() {
        let here = env::current_dir().expect("a working directory");
        assert_eq!(target_named(Some("built".into())), here.join("built"));
        assert_eq!(target_named(Some("/built".into())), Path::new("/built"));
        assert_eq!(target_named(None), root().join("target"));
    }
}
