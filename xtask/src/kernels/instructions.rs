//! The gate on what the sensor costs inside the kernel: instructions per exec and per connection, counted by the emulator.
//!
//! An instruction count does not depend on the machine or its load and repeats to about one per cent, so a change that
//! makes the sensor dearer fails here, where a duration would only look odd.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::ebpf;
use crate::guest::{self, Kernel, Pace};
use crate::shell::Failure;
use crate::statics::{self, Arch};

/// An operation, how often it is done, and what the sensor may add to one.
struct Gate {
    operation: &'static str,
    n: u32,
    max_added: i64,
}

const GATES: [Gate; 3] = [
    Gate { operation: "exec", n: 400, max_added: 20_000 },
    Gate { operation: "connect", n: 2000, max_added: 8_000 },
    // Other system calls pay nothing; what is allowed for is the timer's part.
    Gate { operation: "getppid", n: 50_000, max_added: 20 },
];

/// Where a kernel is dearer than the gate so far: what was measured and a twentieth, so that it gets no worse.
const DEARER: [(Arch, &str, &str, i64); 2] =
    [(Arch::X86_64, "5.10", "connect", 13_469), (Arch::Arm64, "5.10", "connect", 13_652)];

/// How often each is measured without and with the sensor.
const N_ROUNDS: usize = 3;

/// What one operation costs in one kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cost {
    operation: &'static str,
    alone: i64,
    added: i64,
    max_added: i64,
    /// What it is to come down to, where that is less.
    target: i64,
    /// Where it goes.
    programs: Vec<Share>,
}

/// What one program ran and took of one operation; the counting itself is in it, some hundred instructions a run.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    name: String,
    thousandths_of_a_run: u64,
    instructions: u64,
}

impl Cost {
    pub(super) fn is_allowed(&self) -> bool {
        self.added <= self.max_added
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_allowed() { "" } else { ", TOO MANY" };
        let Self { operation, alone, added, max_added, target, programs: _ } = self;
        let target = if target < max_added { format!(", the target is {target:+}") } else { String::new() };
        write!(out, "{operation} {alone} {added:+} (at most {max_added:+}{target}{verdict}")?;
        for (idx, Share { name, thousandths_of_a_run, instructions }) in self.programs.iter().enumerate() {
            let runs = *thousandths_of_a_run as f64 / 1000.0;
            write!(
                out,
                "{} {name} {runs:.1} × {instructions}",
                if idx == 0 { "; by program:" } else { "," }
            )?;
        }
        write!(out, ")")
    }
}

/// Builds what the counting guest needs, and its disk.
pub(super) fn disk(arch: Arch) -> Result<PathBuf, Failure> {
    ebpf::prepare()?;
    let mut build = statics::cargo(arch, "build")?;
    build.args(["--package", "sensor", "--example", "workload", "--bin", "groundtrail-sensor"]);
    let mut files = statics::executables(&mut build, &["workload", "groundtrail-sensor"])?;
    let job = job(&files[0], &files[1]);
    files.truncate(2);
    guest::disk(arch, &files, &job)
}

pub(super) fn count(arch: Arch, kernel: &Kernel, disk: &Path) -> Result<Vec<Cost>, Failure> {
    let image = kernel.image(arch)?;
    let console = guest::boot(arch, kernel, &image, disk, Pace::Counted)?;
    let of_kernel = |gate: &Gate| {
        let is_it = |dearer: &&(Arch, &str, &str, i64)| {
            (dearer.0, dearer.1, dearer.2) == (arch, kernel.name, gate.operation)
        };
        let dearer = DEARER.iter().find(is_it).map(|dearer| dearer.3);
        let cost = cost(&console, gate)?;
        Ok(Cost { max_added: dearer.unwrap_or(gate.max_added), ..cost })
    };
    GATES.iter().map(of_kernel).collect()
}

/// Rounds without and with the sensor by turns, so that what drifts meets both.
fn job(workload: &Path, sensor: &Path) -> String {
    let (workload, sensor) = (workload.display(), sensor.display());
    let measure = |label: &str| {
        let lines = GATES
            .iter()
            .map(|gate| format!("echo \"COST {label} $('{workload}' {} {})\"\n", gate.operation, gate.n));
        lines.collect::<String>()
    };
    // Time passes at once where nothing runs: what a kernel still does after its start is then over.
    let mut job = "#!/bin/sh\nsleep 20\n".to_owned();
    for _ in 0..N_ROUNDS {
        job += &measure("alone");
        job += &format!("rm -f /run/events\n'{sensor}' run --file /run/events 2>/run/log & pid=$!\n");
        job += "n=0; until [ -s /run/events ] || [ $n = 100 ]; do sleep 0.1; n=$((n+1)); done\nsleep 2\n";
        job += "kill -0 $pid || cat /run/log\n";
        job += &measure("watched");
        job += "kill $pid; wait $pid\n";
    }
    // Once more with the kernel's account of each program, which has a price of its own.
    job += "echo 1 >/proc/sys/kernel/bpf_stats_enabled\n";
    job += &format!("'{sensor}' run --file /run/events 2>/run/log & pid=$!\nsleep 5\n");
    for gate in &GATES {
        job += &format!(
            "'{workload}' programs {} {} | while read line; do echo \"PROGRAM $line\"; done\n",
            gate.operation, gate.n
        );
    }
    job + "kill $pid; wait $pid\n"
}

fn cost(console: &str, gate: &Gate) -> Result<Cost, Failure> {
    let alone = typical(console, "alone", gate.operation)?;
    let watched = typical(console, "watched", gate.operation)?;
    Ok(Cost {
        operation: gate.operation,
        alone,
        added: watched - alone,
        max_added: gate.max_added,
        target: gate.max_added,
        programs: shares(console, gate.operation),
    })
}

/// What the kernel says of each program, those left out that hardly ran.
fn shares(console: &str, operation: &str) -> Vec<Share> {
    let share = |line: &str| {
        let words: Vec<&str> = line.strip_prefix("PROGRAM ")?.split(' ').collect();
        let [what, name, runs, nanoseconds] = words[..] else { return None };
        let share = Share {
            name: name.to_owned(),
            thousandths_of_a_run: runs.parse().ok()?,
            instructions: nanoseconds.parse().ok()?,
        };
        (what == operation && share.thousandths_of_a_run >= 100).then_some(share)
    };
    console.lines().filter_map(share).collect()
}

/// The median of the rounds' processor time: the reader's own work is not in it.
fn typical(console: &str, label: &str, operation: &str) -> Result<i64, Failure> {
    let mut rounds: Vec<i64> = console
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.strip_prefix("COST ")?.split(' ').collect();
            let [of, what, _, cpu, _] = words[..] else { return None };
            (of == label && what == operation).then(|| cpu.parse().ok())?
        })
        .collect();
    if rounds.len() != N_ROUNDS {
        return Err(Failure(format!(
            "the guest measured \"{operation}\" {} of {N_ROUNDS} times {label}: its console is in \
             target/guests/logs",
            rounds.len()
        )));
    }
    rounds.sort_unstable();
    Ok(rounds[N_ROUNDS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: Gate = Gate { operation: "exec", n: 1, max_added: 20_000 };

    #[test]
    fn a_cost_is_the_difference_of_medians() {
        let console = "COST alone exec 1 700000 1\nCOST watched exec 1 719000 1\nCOST watched exec 1 722000 1\n\
            COST alone exec 1 701000 1\nCOST watched exec 1 718000 1\nCOST alone exec 1 900000 1\nCOST watched connect 1 9 9\nPROGRAM exec sched_process_exec 1002 9000\nPROGRAM exec connect4 2 7\nPROGRAM connect x 1000 1";
        let cost = cost(console, &GATE).expect("three rounds");
        assert_eq!(
            cost,
            Cost {
                operation: "exec",
                alone: 701_000,
                added: 18_000,
                max_added: 20_000,
                target: 20_000,
                programs: vec![Share {
                    name: "sched_process_exec".to_owned(),
                    thousandths_of_a_run: 1002,
                    instructions: 9000
                }]
            }
        );
        assert!(cost.is_allowed());
        assert_eq!(
            cost.to_string(),
            "exec 701000 +18000 (at most +20000; by program: sched_process_exec 1.0 × 9000)"
        );
        let dearer = Cost { added: 21_001, max_added: 21_000, programs: Vec::new(), ..cost };
        assert_eq!(dearer.to_string(), "exec 701000 +21001 (at most +21000, the target is +20000, TOO MANY)");
    }

    #[test]
    fn a_round_that_is_missing_is_a_failure() {
        assert!(cost("COST alone exec 1 700000 1\nCOST watched exec 1 719000 1", &GATE).is_err());
    }
}
