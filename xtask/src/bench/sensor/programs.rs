//! The kernel's own account of its eBPF programs: runs and nanoseconds of each.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use aya::sys::{Stats, enable_stats};
use serde_json::Value;

use super::peers::Peer;
use super::watched::Watched;
use super::{Table, Tools};
use crate::needs;
use crate::shell::{self, Failure};

const N_EXECS: u32 = 2000;
const N_CONNECTIONS: u32 = 20_000;

/// Runs and nanoseconds by program: its id and name.
type Account = BTreeMap<(u64, String), (f64, f64)>;

/// The kernel keeps account while this descriptor is open: however the bench ends, nothing of it stays switched on, as it
/// would with `kernel.bpf_stats_enabled`.
fn keep_account() -> Result<OwnedFd, Failure> {
    enable_stats(Stats::RunTime)
        .map_err(|err| Failure(format!("the kernel does not time its eBPF programs: {err}")))
}

/// Nanoseconds per exec and per connection, and by program.
pub(super) fn measure(tools: &Tools, peers: &[Peer]) -> Result<Table, Failure> {
    needs::program("bpftool", "bpftool", "reads the kernel's account of eBPF programs")?;
    let mut table = Table::new(
        "Inside the kernel, nanoseconds (bpf_stats)",
        &[
            "who",
            "program",
            "ns per run",
            "runs per exec",
            "runs per connection",
            "ns per exec",
            "ns per connection",
        ],
    );
    let sensor = cost(tools, || Watched::start(&tools.sensor, Path::new("/dev/null")))?;
    rows(&mut table, "groundtrail-sensor", &sensor);
    if peers.contains(&Peer::Bpftrace) {
        let bpftrace = cost(tools, || Peer::Bpftrace.start())?;
        rows(&mut table, "bpftrace", &bpftrace);
    }
    table.note("bpftrace writes the pid and one string; the sensor writes everything it tells of a process");
    table.note("runs of other processes on the machine are in the count: ns per exec is time divided by the execs made");
    Ok(table)
}

/// What the programs that came with `watch` took for execs and for connections.
fn cost<W>(
    tools: &Tools,
    watch: impl Fn() -> Result<W, Failure>,
) -> Result<Vec<(String, [f64; 4])>, Failure> {
    let _accounting = keep_account()?;
    let others = account()?;
    let watcher = watch()?;
    let start = account()?;
    tools.run("exec", N_EXECS)?;
    let execs = account()?;
    tools.run("connect", N_CONNECTIONS)?;
    let connects = account()?;
    drop(watcher);
    let mut costs = Vec::new();
    for (program, started) in start.iter().filter(|(program, _)| !others.contains_key(program)) {
        let at = |account: &Account| account.get(program).copied().unwrap_or(*started);
        let ((runs_a, ns_a), (runs_b, ns_b), (runs_c, ns_c)) = (*started, at(&execs), at(&connects));
        costs.push((program.1.clone(), [runs_b - runs_a, ns_b - ns_a, runs_c - runs_b, ns_c - ns_b]));
    }
    Ok(costs)
}

fn rows(table: &mut Table, who: &str, costs: &[(String, [f64; 4])]) {
    // The workload warms up with a twentieth more.
    let made = |n: u32| f64::from(n + n.div_ceil(20));
    let (n_execs, n_connections) = (made(N_EXECS), made(N_CONNECTIONS));
    let (mut per_exec, mut per_connection) = (0.0, 0.0);
    for (program, [exec_runs, exec_ns, connect_runs, connect_ns]) in costs {
        per_exec += exec_ns / n_execs;
        per_connection += connect_ns / n_connections;
        let runs = exec_runs + connect_runs;
        if runs < 100.0 {
            continue;
        }
        table.row([
            who.to_owned(),
            program.clone(),
            format!("{:.0}", (exec_ns + connect_ns) / runs),
            format!("{:.2}", exec_runs / n_execs),
            format!("{:.2}", connect_runs / n_connections),
            format!("{:.0}", exec_ns / n_execs),
            format!("{:.0}", connect_ns / n_connections),
        ]);
    }
    table.row([
        who.to_owned(),
        "all".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        format!("{per_exec:.0}"),
        format!("{per_connection:.0}"),
    ]);
}

fn account() -> Result<Account, Failure> {
    let text = shell::output(Command::new("bpftool").args(["--json", "prog", "show"]))?;
    let programs: Value =
        serde_json::from_str(&text).map_err(|err| Failure(format!("bpftool said no JSON: {err}")))?;
    Ok(read(&programs))
}

fn read(programs: &Value) -> Account {
    let programs = programs.as_array().into_iter().flatten();
    let one = |program: &Value| {
        let number = |key: &str| program[key].as_f64().unwrap_or(0.0);
        let name = program["name"].as_str().unwrap_or("?").to_owned();
        Some(((program["id"].as_u64()?, name), (number("run_cnt"), number("run_time_ns"))))
    };
    programs.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_never_ran_has_an_account_too() {
        let account = read(&serde_json::json!([
            {"id": 7, "name": "exec", "run_cnt": 2, "run_time_ns": 900}, {"id": 8, "name": "exit"}, {"name": "?"}
        ]));
        assert_eq!(account[&(7, "exec".to_owned())], (2.0, 900.0));
        assert_eq!(account[&(8, "exit".to_owned())], (0.0, 0.0));
        assert_eq!(account.len(), 2);
    }
}
