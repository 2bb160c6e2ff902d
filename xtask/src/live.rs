//! `cargo xtask live`: the tests that need this machine's kernel, real clients and root.

use std::path::Path;

use clap::Args;

use crate::shell::{self, Failure};
use crate::{ebpf, needs};

#[derive(Args, Default)]
pub(crate) struct Live {
    /// Only tests whose name contains this.
    filter: Option<String>,
}

pub(crate) fn run(live: &Live) -> Result<(), Failure> {
    if let Some(reason) = obstacle() {
        shell::say(format!("SKIPPED live kernel tests: {reason}"));
        return Ok(());
    }
    needs::scenario_programs()?;
    let aws = needs::aws_cli()?;
    ebpf::prepare()?;
    // The programs that the tests start belong to other packages; where all is built already this takes a moment.
    shell::succeed(&mut shell::cargo(&["test", "--workspace", "--no-run"]))?;
    // The whole workspace at once, so that cargo chooses the features it chose for the other tests and builds nothing twice.
    let mut command =
        shell::cargo(&["test", "--workspace", "--features", "sensor/live-kernel,tests/live-kernel"]);
    // One test at a time: each starts a sensor of its own, and bursts are counted in ten-second windows.
    command.args(["--test", "kernel", "--test", "live_kernel", "--", "--nocapture", "--test-threads=1"]);
    command.args(&live.filter).env("GROUNDTRAIL_AWS_CLI", aws).env("GROUNDTRAIL_BINS_ARE_BUILT", "1");
    shell::succeed(&mut command)
}

/// What keeps eBPF from this machine's kernel, in words that end with the way out.
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
