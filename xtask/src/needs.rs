//! What the scenarios need on a machine besides Rust, and how it gets there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Failure};

/// Programs the scenarios run, with the Debian package and the reason.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("ip", "iproute2", "gives the scenario's network namespace its addresses"),
    ("unshare", "util-linux", "makes the namespaces that nothing leaves"),
    ("mount", "mount", "gives the SSM agent's imitation folders of its own"),
    ("curl", "curl", "is the real client that asks the metadata service"),
];

/// Installs what is missing, or says the one command that does.
pub(crate) fn scenario_programs() -> Result<(), Failure> {
    for (program, package, reason) in PROGRAMS {
        if shell::find(program).is_none() {
            install(program, package, reason)?;
        }
    }
    Ok(())
}

fn install(program: &str, package: &str, reason: &str) -> Result<(), Failure> {
    if shell::find("apt-get").is_none() || !shell::is_root() {
        return Err(Failure(format!(
            "\"{program}\" is missing; it {reason}. Install it (Debian: sudo apt-get install {package}) and run this again"
        )));
    }
    shell::say(format!("installing {package}: \"{program}\" {reason}"));
    let apt = |args: &[&str]| {
        shell::succeed(Command::new("apt-get").arg("-qq").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let wanted = ["install", "-y", "--no-install-recommends", package];
    // A machine fresh from its image has no package lists yet.
    apt(&wanted).or_else(|_| apt(&["update"]).and_then(|()| apt(&wanted)))
}

/// The real AWS CLI: the one on the path, else one of our own.
pub(crate) fn aws_cli() -> Result<PathBuf, Failure> {
    shell::find("aws").map_or_else(own_aws_cli, Ok)
}

/// The AWS CLI from PyPI, below the target folder.
pub(crate) fn own_aws_cli() -> Result<PathBuf, Failure> {
    let venv = shell::target().join("tools/awscli");
    let aws = venv.join("bin/aws");
    if works(&aws) {
        return Ok(aws);
    }
    if shell::find("python3").is_none() {
        install("python3", "python3-venv", "carries the AWS CLI that the scenarios call")?;
    }
    shell::say(format!("installing the AWS CLI into {}: the scenarios call AWS with it", venv.display()));
    let make = || shell::succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    if make().is_err() {
        install("python3 -m venv", "python3-venv", "makes a folder for the AWS CLI of its own")?;
        make()?;
    }
    shell::succeed(Command::new(venv.join("bin/pip")).args([
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "awscli",
    ]))?;
    Ok(aws)
}

fn works(program: &Path) -> bool {
    shell::output(Command::new(program).arg("--version")).is_ok()
}

/// cargo-deny below the target folder.
pub(crate) fn cargo_deny() -> Result<PathBuf, Failure> {
    if let Some(deny) = shell::find("cargo-deny") {
        return Ok(deny);
    }
    let folder = shell::target().join("tools");
    let deny = folder.join("bin/cargo-deny");
    if !works(&deny) {
        shell::say(format!(
            "installing cargo-deny into {}: it checks licences, bans and sources (two minutes, once)",
            folder.display()
        ));
        let mut install =
            shell::cargo(&["install", "--quiet", "--locked", "--version", "0.20.2", "cargo-deny", "--root"]);
        // A target folder of its own: the workspace's holds another profile of the same crates.
        shell::succeed(install.arg(&folder).env("CARGO_TARGET_DIR", folder.join("build")))?;
    }
    Ok(deny)
}
