//! Programs of PyPI that tests ask, each in a folder of its own below the target folder, fetched once.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bins;

/// The folder with the programs of these packages, or what keeps them from this machine. `probe` is one of the programs.
///
/// # Errors
/// No Python, no package index, or no room.
pub fn programs(name: &str, packages: &[&str], probes: &[&str]) -> Result<PathBuf, String> {
    let target = bins::target();
    let venv = target.join("tools").join(name);
    let bin = venv.join("bin");
    let lock = fs::create_dir_all(target.join("tools"))
        .and_then(|()| fs::File::create(target.join(format!("tools/{name}.lock"))))
        .map_err(|error| format!("cannot write below the target folder: {error}"))?;
    lock.lock().map_err(|error| error.to_string())?;
    if probes.iter().all(|probe| bin.join(probe).exists()) {
        return Ok(bin);
    }
    let failed = |what: &str, error: &str| {
        format!("{what}: {error}; python3-venv and a package index are needed once")
    };
    let run = |command: &mut Command, what: &str| match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(what, String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(failed(what, &error.to_string())),
    };
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&venv),
        &format!("cannot make a folder for {name}"),
    )?;
    let mut pip = Command::new(bin.join("pip"));
    run(
        pip.args(["--quiet", "--disable-pip-version-check", "install"]).args(packages),
        &format!("cannot fetch {name}"),
    )?;
    Ok(bin)
}
