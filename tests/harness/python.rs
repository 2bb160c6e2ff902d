//! Programs of PyPI that tests ask, each in a folder of its own below the target folder, fetched once.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::bins;

type Outcome = Result<PathBuf, String>;

/// What came of each environment: one that cannot be had is not tried again by every test of a process.
static KNOWN: Mutex<BTreeMap<String, Arc<OnceLock<Outcome>>>> = Mutex::new(BTreeMap::new());

/// The folder with the programs of these packages, or what keeps them from this machine. `probes` are programs that have to be there
/// for it to be whole.
///
/// # Errors
/// No Python, no package index, or no room.
pub fn programs(name: &str, packages: &[&str], probes: &[&str]) -> Outcome {
    let known = {
        let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_default())
    };
    known.get_or_init(|| installed(name, packages, probes)).clone()
}

fn installed(name: &str, packages: &[&str], probes: &[&str]) -> Outcome {
    let target = bins::target();
    let venv = target.join("tools").join(name);
    let bin = venv.join("bin");
    let lock = fs::create_dir_all(target.join("tools"))
        .and_then(|()| fs::File::create(target.join(format!("tools/{name}.lock"))))
        .map_err(|error| format!("cannot write below the target folder: {error}"))?;
    lock.lock().map_err(|error| error.to_string())?;
    // What was installed, so that another version is when it is asked for.
    let stamp = venv.join("packages");
    let wanted = packages.join("\n");
    let is_wanted = fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == wanted);
    if is_wanted && probes.iter().all(|probe| bin.join(probe).exists()) {
        return Ok(bin);
    }
    if stamp.exists() {
        fs::remove_file(&stamp).map_err(|error| format!("cannot write below the target folder: {error}"))?;
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
        pip.args(["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "10", "install"])
            .args(packages),
        &format!("cannot fetch {name}"),
    )?;
    fs::write(&stamp, wanted).map_err(|error| format!("cannot write below the target folder: {error}"))?;
    Ok(bin)
}
