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
    // The programs against raw records first: where these fail, everything below would too.
    let mut probes =
        shell::cargo(&["test", "-p", "sensor", "--features", "live-kernel", "--test", "kernel", "--"]);
    shell::succeed(probes.args(&live.filter))?;
    let mut command =
        shell::cargo(&["test", "-p", "tests", "--features", "live-kernel", "--test", "live_kernel", "--"]);
    // One at a time: each starts a sensor of its own, and bursts are counted in ten-second windows.
    command.args(["--nocapture", "--test-threads=1"]).args(&live.filter).env("GROUNDTRAIL_AWS_CLI", aws);
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
