//! `bench sensor`: what the sensor takes from its host, beside what others take for the same sight.

mod peers;
mod programs;
mod watched;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Report;
use super::report::{Table, grouped};
use crate::shell::{self, Failure};
use crate::statics::{self, Arch};
use crate::{ebpf, live, needs};

use peers::Peer;
use watched::Watched;

/// Rounds of each peer; every one is measured between two rounds with nobody watching.
const N_ROUNDS: usize = 5;

/// An operation of the workload, and how often it is done in a round: a third of a second or so.
const OPERATIONS: [(&str, u32); 3] = [("exec", 600), ("connect", 8_000), ("getppid", 1_000_000)];

/// What is measured with.
struct Tools {
    workload: PathBuf,
    sensor: PathBuf,
}

/// What one operation cost in one round, in nanoseconds of processor time.
type Costs = [f64; OPERATIONS.len()];

pub(super) fn measure() -> Result<Report, Failure> {
    if let Some(reason) = live::obstacle() {
        return Err(Failure(format!("the sensor cannot be measured here: {reason}")));
    }
    let tools = Tools::build()?;
    if let Some(reason) = live::refusal(&tools.sensor)? {
        return Err(Failure(format!("the sensor cannot be measured here: {reason}")));
    }
    needs::program("taskset", "util-linux", "keeps the workload on one processor")?;
    let peers = Peer::at_hand();
    let mut report = Report::begin();
    shell::say("timing the programs inside the kernel");
    report.add(programs::measure(&tools, &peers)?);
    shell::say("timing operations with and without each of those who watch");
    report.add(processor_time(&tools, &peers)?);
    shell::say("timing the sensor itself, and 100,000 programs in a burst");
    report.add(watched::measure(&tools)?);
    Ok(report)
}

impl Tools {
    fn build() -> Result<Self, Failure> {
        ebpf::prepare()?;
        let mut build = statics::cargo(Arch::own()?, "build")?;
        build.args(["--package", "sensor", "--example", "workload", "--bin", "groundtrail-sensor"]);
        let [workload, sensor] = &statics::executables(&mut build, &["workload", "groundtrail-sensor"])?[..]
        else {
            return Err(Failure("cargo built less than it was asked for".to_owned()));
        };
        Ok(Self { workload: workload.clone(), sensor: sensor.clone() })
    }

    /// The workload on a processor of its own; processor time per operation in nanoseconds.
    fn run(&self, operation: &str, n: u32) -> Result<f64, Failure> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&self.workload).args([operation, &n.to_string()]);
        let said = shell::output(&mut command)?;
        let cpu = said.split(' ').nth(2).and_then(|cpu| cpu.parse().ok());
        cpu.ok_or_else(|| Failure(format!("the workload said \"{said}\"")))
    }

    fn round(&self) -> Result<Costs, Failure> {
        let mut costs = [0.0; OPERATIONS.len()];
        for (cost, (operation, n)) in costs.iter_mut().zip(OPERATIONS) {
            *cost = self.run(operation, n)?;
        }
        Ok(costs)
    }
}

fn processor_time(tools: &Tools, peers: &[Peer]) -> Result<Table, Failure> {
    let headings = ["who watches", "exec", "added, µs", "connection", "added, µs", "getppid", "added, ns"];
    let mut table =
        Table::new("Processor time of an operation, as a multiple of what it takes unwatched", &headings);
    table.row(line("nobody, measured twice", &paired(tools, || Ok(()))?));
    let sensor = paired(tools, || Watched::start(&tools.sensor, Path::new("/dev/null")))?;
    table.row(line("groundtrail-sensor", &sensor));
    for peer in peers {
        table.row(line(peer.name(), &paired(tools, || peer.start())?));
    }
    table.note(format!(
        "the median of {N_ROUNDS} rounds, each beside a round unwatched, on one pinned processor"
    ));
    table.note(
        "an exec is a process from birth to end; a connection is attempt, acceptance and reset over loopback",
    );
    for missing in peers::missing(peers) {
        table.note(missing);
    }
    Ok(table)
}

/// Rounds without and with a watcher: for each operation the ratios and differences.
fn paired<W>(tools: &Tools, watch: impl Fn() -> Result<W, Failure>) -> Result<Vec<(Costs, Costs)>, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..N_ROUNDS {
        let alone = tools.round()?;
        let watcher = watch()?;
        let with = tools.round()?;
        drop(watcher);
        rounds.push((alone, with));
    }
    Ok(rounds)
}

fn line(who: &str, rounds: &[(Costs, Costs)]) -> Vec<String> {
    let mut cells = vec![who.to_owned()];
    for idx in 0..OPERATIONS.len() {
        let unit = if OPERATIONS[idx].0 == "getppid" { 1.0 } else { 1000.0 };
        cells.push(format!("{:.3}", median(rounds.iter().map(|(alone, with)| with[idx] / alone[idx]))));
        cells.push(format!(
            "{:+.1}",
            median(rounds.iter().map(|(alone, with)| with[idx] - alone[idx])) / unit
        ));
    }
    cells
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: impl Iterator<Item = f64>, at: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => values[((n - 1) as f64 * at).round() as usize],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_median_ratio_and_difference() {
        let rounds = [
            ([1000.0, 100.0, 10.0], [2000.0, 100.0, 11.0]),
            ([1000.0, 100.0, 10.0], [3000.0, 150.0, 10.0]),
            ([1000.0, 100.0, 10.0], [9000.0, 200.0, 10.0]),
        ];
        assert_eq!(line("who", &rounds), ["who", "3.000", "+2.0", "1.500", "+0.1", "1.000", "+0.0"]);
    }

    #[test]
    fn quantiles_are_among_the_values() {
        let values = || (1..=100).map(f64::from);
        assert_eq!((median(values()), quantile(values(), 0.99)), (51.0, 99.0));
        assert!(median(std::iter::empty()).is_nan());
    }
}
