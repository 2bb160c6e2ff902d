//! What tests skipped: they pass for the test runner, and leave a line in a file that we name to them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Failure};

/// Names the file to the tests.
const LIST: &str = "GROUNDTRAIL_SKIPS";

/// Runs a test command to its end; the tests that skipped themselves, with their reasons.
pub(crate) fn succeed(command: &mut Command) -> Result<Vec<String>, Failure> {
    let list = list();
    match fs::remove_file(&list) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err.into()),
        _ => {}
    }
    shell::succeed(command.env(LIST, &list))?;
    match fs::read_to_string(&list) {
        Ok(text) => {
            fs::remove_file(&list)?;
            Ok(text.lines().map(str::to_owned).collect())
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err.into()),
    }
}

fn list() -> PathBuf {
    shell::target().join(format!("skips.{}", std::process::id()))
}
