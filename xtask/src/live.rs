//! `cargo xtask live`: the tests that need this machine's kernel, real clients and root.

use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::shell::{self, Failure};
use crate::test::{FEATURES, Outcome};
use crate::{ebpf, needs, skips};

#[derive(Args, Default)]
pub(crate) struct Live {
    /// Only tests whose name contains this.
    filter: Option<String>,
}

pub(crate) fn run(live: &Live) -> Result<(), Failure> {
    match tests(live)? {
        Outcome::Skipped(reason) => shell::say(format!("SKIPPED live kernel tests: {reason}")),
        outcome => shell::say(format!("live kernel tests: {outcome}")),
    }
    Ok(())
}

/// Runs the tests, where the kernel lets us in.
pub(crate) fn tests(live: &Live) -> Result<Outcome, Failure> {
    if let Some(reason) = obstacle() {
        return Ok(Outcome::Skipped(reason));
    }
    ebpf::prepare()?;
    // The programs that the tests start belong to other packages; where all is built already this takes a moment.
    shell::succeed(&mut shell::cargo(&["test", "--workspace", "--features", FEATURES, "--no-run"]))?;
    if let Some(reason) = refusal(&shell::target().join("debug/groundtrail-sensor"))? {
        return Ok(Outcome::Skipped(reason));
    }
    needs::scenario_programs()?;
    let aws = needs::aws_cli()?;
    // The whole workspace at once, so that cargo chooses the features it chose for the other tests and builds nothing twice.
    let features = format!("{FEATURES},sensor/live-kernel,tests/live-kernel");
    let mut command = shell::cargo(&["test", "--workspace", "--features", &features]);
    // One test at a time: each starts a sensor of its own, and bursts are counted in ten-second windows.
    command.args(["--test", "kernel", "--test", "live_kernel", "--", "--nocapture", "--test-threads=1"]);
    command.args(&live.filter).env("GROUNDTRAIL_AWS_CLI", aws).env("GROUNDTRAIL_BINS_ARE_BUILT", "1");
    skips::succeed(&mut command).map(Outcome::but_for)
}

/// What keeps eBPF from this machine's kernel, as far as that shows before anything is built, in words that end with the
/// way out.
pub(crate) fn obstacle() -> Option<String> {
    if !shell::is_root() {
        return Some("not root, and eBPF programs need it; run with sudo".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux); it needs CONFIG_DEBUG_INFO_BTF=y".to_owned(),
        );
    }
    None
}

/// What the sensor itself says that keeps it from this kernel: root in a container may lack the capabilities.
pub(crate) fn refusal(sensor: &Path) -> Result<Option<String>, Failure> {
    const REFUSED: i32 = 3;
    let check = Command::new(sensor).arg("check").output()?;
    let said = String::from_utf8_lossy(&check.stderr).trim().to_owned();
    match check.status.code() {
        Some(0) => Ok(None),
        Some(REFUSED) => Ok(Some(said)),
        _ => Err(Failure(format!("the sensor's own check failed ({}): {said}", check.status))),
    }
}
