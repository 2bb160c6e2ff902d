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
        self::program(program, package, reason)?;
    }
    Ok(())
}

/// A browser for the tests of pages. They skip where there is none, so this says what is missing and goes on.
pub(crate) fn browser() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    if !names.iter().any(|name| shell::find(name).is_some())
        && let Err(err) = install("chromium", "chromium", "opens the pages of report and serve in tests")
    {
        shell::say(format!("{err}; until then the tests of pages are skipped"));
    }
}

/// Installs the program's package, unless it is there.
pub(crate) fn program(program: &str, package: &str, reason: &str) -> Result<(), Failure> {
    if shell::find(program).is_some() { Ok(()) } else { install(program, package, reason) }
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

/// The C compiler and library of another architecture.
pub(crate) fn cross_compiler(program: &str, machine: &str, debian: &str) -> Result<(), Failure> {
    if shell::find(program).is_some() {
        return Ok(());
    }
    install(program, &format!("gcc-{machine}-linux-gnu"), "links binaries for the other architecture")?;
    let library = format!("libc6-dev-{debian}-cross");
    install(&format!("the C library for {machine}"), &library, "is linked into them")
}

/// The AWS CLI that the scenarios were tried with.
const AWS_CLI: &str = "1.46.3";

/// The real AWS CLI: the one on the path, else one of our own.
pub(crate) fn aws_cli() -> Result<PathBuf, Failure> {
    shell::find("aws").filter(|aws| version(aws).is_some()).map_or_else(own_aws_cli, Ok)
}

/// The AWS CLI from PyPI, below the target folder.
pub(crate) fn own_aws_cli() -> Result<PathBuf, Failure> {
    let venv = shell::target().join("tools/awscli");
    let aws = venv.join("bin/aws");
    if version(&aws).as_deref() == Some(AWS_CLI) {
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
        &format!("awscli=={AWS_CLI}"),
    ]))?;
    Ok(aws)
}

/// A Python that has one package of PyPI, in a folder of its own below the target folder.
pub(crate) fn python_with(package: &str, wanted: &str, reason: &str) -> Result<PathBuf, Failure> {
    let venv = shell::target().join("tools").join(format!("python-{package}-{wanted}"));
    let python = venv.join("bin/python");
    let probe = format!("import {package}");
    if shell::output(Command::new(&python).args(["-c", &probe])).is_ok() {
        return Ok(python);
    }
    if shell::find("python3").is_none() {
        install("python3", "python3-venv", "carries the package")?;
    }
    shell::say(format!("installing {package} {wanted} from PyPI into {}: it {reason}", venv.display()));
    let make = || shell::succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    if make().is_err() {
        install("python3 -m venv", "python3-venv", "makes a folder for the package of its own")?;
        make()?;
    }
    // Packages of before 2025 still ask setuptools for their resources.
    let wanted = format!("{package}=={wanted}");
    shell::succeed(Command::new(venv.join("bin/pip")).args([
        "--quiet",
        "--disable-pip-version-check",
        "install",
        &wanted,
        "setuptools<81",
    ]))?;
    Ok(python)
}

/// cargo-deny at the version whose findings we know.
pub(crate) fn cargo_deny() -> Result<PathBuf, Failure> {
    cargo_tool("cargo-deny", "0.20.2", "checks licences, bans and sources")
}

/// mdBook, without the parts that serve a site and watch its sources.
pub(crate) fn mdbook() -> Result<PathBuf, Failure> {
    let features = ["--no-default-features", "--features", "search"];
    cargo_tool_with("mdbook", "0.5.4", &features, "makes a site of the pages below docs")
}

/// A tool at one version: the one on the path where it is that, else one below the target folder.
pub(crate) fn cargo_tool(name: &str, wanted: &str, reason: &str) -> Result<PathBuf, Failure> {
    cargo_tool_with(name, wanted, &[], reason)
}

/// The same, built with these arguments of `cargo install`.
fn cargo_tool_with(name: &str, wanted: &str, args: &[&str], reason: &str) -> Result<PathBuf, Failure> {
    let folder = shell::target().join("tools");
    let own = folder.join("bin").join(name);
    for tool in shell::find(name).into_iter().chain([own.clone()]) {
        if version(&tool).as_deref() == Some(wanted) {
            return Ok(tool);
        }
    }
    shell::say(format!(
        "installing {name} {wanted} into {}: it {reason} (a minute or two, once)",
        folder.display()
    ));
    let mut install =
        shell::cargo(&["install", "--quiet", "--locked", "--force", "--version", wanted, name, "--root"]);
    // A target folder of its own: the workspace's holds another profile of the same crates.
    shell::succeed(install.arg(&folder).args(args).env("CARGO_TARGET_DIR", folder.join("build")))?;
    Ok(own)
}

/// The version that a program gives itself, or `None` where it does not run.
fn version(program: &Path) -> Option<String> {
    version_in(&shell::output(Command::new(program).arg("--version")).ok()?)
}

/// `bpf-linker 0.10.1`, `mdbook v0.5.4`, `aws-cli/1.46.3 Python/3.11.7 …`
fn version_in(said: &str) -> Option<String> {
    said.split([' ', '/', '\n']).nth(1).map(|version| version.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn a_version_is_read_as_each_tool_gives_it() {
        assert_eq!(version_in("bpf-linker 0.10.1").as_deref(), Some("0.10.1"));
        assert_eq!(version_in("aws-cli/1.46.3 Python/3.11.7 Linux/6.1").as_deref(), Some("1.46.3"));
        assert_eq!(version_in("mdbook v0.5.4").as_deref(), Some("0.5.4"));
        assert_eq!(version_in(""), None);
    }
}
