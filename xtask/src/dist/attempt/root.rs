//! A Debian of its own to install into: made once, copied for each try, entered through systemd-nspawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs;
use crate::shell::{self, Failure};

/// The oldest release that is still looked after.
const RELEASE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// An empty folder for a try.
pub(super) fn fresh_folder(name: &str) -> Result<PathBuf, Failure> {
    let folder = super::super::folder().join("try").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A fresh system with systemd, and the packages to try in `/packages`.
pub(super) fn fresh(name: &str, packages: &[PathBuf]) -> Result<PathBuf, Failure> {
    let base = base()?;
    let root = fresh_folder(name)?;
    fs::remove_dir(&root)?;
    shell::output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&base).arg(&root))?;
    fs::create_dir(root.join("packages"))?;
    for package in packages {
        fs::copy(package, root.join("packages").join(package.file_name().expect("a file has a name")))?;
    }
    Ok(root)
}

fn base() -> Result<PathBuf, Failure> {
    let base = super::super::folder().join("root");
    needs::program(
        "systemd-nspawn",
        "systemd-container",
        "boots a system of its own to try the packages in",
    )?;
    if base.is_dir() {
        return Ok(base);
    }
    needs::program("debootstrap", "debootstrap", "makes a clean system to try the packages in")?;
    shell::say(format!(
        "making a Debian {RELEASE} below the target folder to try packages in (two minutes, once)"
    ));
    let partial = base.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=systemd,systemd-sysv", RELEASE]).arg(&partial).arg(MIRROR);
    shell::output(&mut command)?;
    fs::rename(&partial, &base)?;
    Ok(base)
}

/// Enters the system without starting it.
pub(super) fn enter(root: &Path, script: &str) -> Result<String, Failure> {
    let mut command = nspawn(root);
    command.args(["--pipe", "sh", "-euc", script]).env("DEBIAN_FRONTEND", "noninteractive");
    shell::output(&mut command).map_err(|err| Failure(format!("{err} (in {})", root.display())))
}

/// The system as a container that may load eBPF programs.
pub(super) fn nspawn(root: &Path) -> Command {
    let mut command = Command::new("systemd-nspawn");
    command.arg("--quiet").arg("--directory").arg(root).args([
        "--register=no",
        "--keep-unit",
        "--console=pipe",
    ]);
    command.args(["--capability=all", "--system-call-filter=bpf perf_event_open"]);
    command
}

/// Fails with what was found in place of what must be.
pub(super) fn expect(what: &str, found: &str, wanted: &str) -> Result<(), Failure> {
    if found.trim() == wanted {
        return Ok(());
    }
    Err(Failure(format!("{what}: \"{}\" rather than \"{wanted}\"", found.trim())))
}
