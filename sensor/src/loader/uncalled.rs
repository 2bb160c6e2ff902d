//! Events for which the kernel did not call a program.
//!
//! It calls no program that is at work on that processor already. Before 7.0 a tracepoint could not be preempted, and
//! this hardly ever happened; since then a program that is preempted by another process costs that one's events.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;

use crate::probes::{PROBES, Probe};

/// How often each program was not called, in the order of the table, with the kind of event that it makes.
pub(super) fn count(ebpf: &Ebpf) -> Vec<(&'static str, u64)> {
    PROBES.iter().map(|probe| (kind(probe), of_program(ebpf, probe).unwrap_or(0))).collect()
}

fn kind(probe: &Probe) -> &'static str {
    match probe.program {
        _ if probe.is_about_files() => "file",
        name if name.starts_with("accept_") => "accept",
        name if name.starts_with("metadata_") => "metadata",
        name => name.strip_prefix("sched_process_").unwrap_or("connect"),
    }
}

/// Kernels before 5.12 do not count it.
fn of_program(ebpf: &Ebpf, probe: &Probe) -> Option<u64> {
    let fd = ebpf.program(probe.program)?.fd().ok()?.as_fd().as_raw_fd();
    misses(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
}

fn misses(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_read_where_the_kernel_counts_them() {
        assert_eq!(misses("prog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t64\n"), Some(64));
        assert_eq!(misses("prog_type:\t26\n"), None);
        let kinds: Vec<&str> = PROBES.iter().map(kind).collect();
        assert_eq!(kinds[..5], ["exit", "fork", "exec", "connect", "connect"]);
        assert_eq!(kinds[8..13], ["metadata", "metadata", "accept", "accept", "file"]);
    }
}
