//! The real programs under test, built by the cargo that runs the tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Says that the binaries are there and current.
pub const ARE_BUILT: &str = "GROUNDTRAIL_BINS_ARE_BUILT";

/// The `groundtrail` binary of this build.
pub fn groundtrail() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("correlator", "groundtrail", &[]))
}

/// The same with the sources that ask AWS. Only tests that ask for the feature themselves ask for this.
pub fn groundtrail_with_aws() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("correlator", "groundtrail", &["--features", "aws"]))
}

/// The `groundtrail-sensor` binary of this build, with the eBPF object where the environment hands one over.
pub fn sensor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("sensor", "groundtrail-sensor", &[]))
}

/// The `groundtrail-feeder` binary of this build: a sensor without a kernel.
pub fn feeder() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("tests", "groundtrail-feeder", &[]))
}

/// The `groundtrail-stage` binary of this build.
pub fn stage() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("tests", "groundtrail-stage", &[]))
}

/// The `xtask` binary of this build.
pub fn xtask() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("xtask", "xtask", &[]))
}

/// Cargo names the binaries of a test's own package to it and of no other. `cargo xtask` has built them all and says so;
/// whoever runs one test by hand has cargo asked to build what is wanted.
fn build(package: &str, name: &str, more: &[&str]) -> PathBuf {
    let folder = profile_folder();
    if env::var_os(ARE_BUILT).is_some() {
        return folder.join(name);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", package, "--bin", name])
        .args(more)
        .current_dir(workspace());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let status =
        command.env("CARGO_TARGET_DIR", target).status().expect("cargo runs, since it ran this test");
    assert!(status.success(), "cannot build \"{name}\": cargo's message is above");
    folder.join(name)
}

/// `target/debug` or `target/release`: where this test's own file lies, two levels up.
fn profile_folder() -> PathBuf {
    let own = env::current_exe().expect("a running program has a path");
    let deps = own.parent().expect("a file lies in a folder");
    if deps.ends_with("deps") {
        deps.parent().expect("deps lies in a profile's folder").to_owned()
    } else {
        deps.to_owned()
    }
}

/// Where pictures and the like of this build go.
pub fn target() -> PathBuf {
    profile_folder().parent().expect("a profile's folder lies in the target folder").to_owned()
}

pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies below the workspace's root")
}
