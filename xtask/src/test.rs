//! `cargo xtask test`: everything CI runs, a table of it at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::shell::{self, Failure};
use crate::{ebpf, live, needs};

/// One line of the table.
struct Step {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    Passed,
    Skipped(String),
    Failed(Failure),
}

/// Runs every step, the later ones even where an earlier one failed, so that one run shows everything.
pub(crate) fn run() -> Result<(), Failure> {
    let mut steps = Vec::new();
    let mut step = |name: &'static str, work: &dyn Fn() -> Result<Outcome, Failure>| {
        shell::say(format!("== {name}"));
        let began = Instant::now();
        let outcome = work().unwrap_or_else(Outcome::Failed);
        steps.push(Step { name, outcome, took: began.elapsed() });
    };
    let done = |result: Result<(), Failure>| result.map(|()| Outcome::Passed);

    step("format", &|| done(shell::succeed(&mut shell::cargo(&["fmt", "--all", "--check"]))));
    step("eBPF object", &|| done(ebpf::prepare().map(drop)));
    step("clippy, host", &|| {
        let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
        done(shell::succeed(&mut shell::cargo(&args)))
    });
    step("clippy, bpf", &|| done(ebpf::clippy()));
    step("unit and integration tests", &|| {
        done(shell::succeed(shell::cargo(&["test", "--workspace"]).env("GROUNDTRAIL_BINS_ARE_BUILT", "1")))
    });
    step("live kernel tests", &|| match live::obstacle() {
        Some(reason) => Ok(Outcome::Skipped(reason)),
        None => done(live::run(&live::Live::default())),
    });
    step("licences, bans, sources", &|| done(deny()));

    println!("\n{}", table(&steps));
    let n_failed = steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed(_))).count();
    if n_failed == 0 { Ok(()) } else { Err(Failure(format!("{n_failed} of {} steps failed", steps.len()))) }
}

fn deny() -> Result<(), Failure> {
    let deny = needs::cargo_deny()?;
    // Advisories need a database from the network; the nightly pipeline reads it, this does not.
    let mut command = Command::new(deny);
    command.args(["--all-features", "check", "licenses", "bans", "sources"]).current_dir(shell::root());
    shell::succeed(&mut command)
}

fn table(steps: &[Step]) -> String {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let lines = steps.iter().map(|step| {
        let outcome = match &step.outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Skipped(reason) => format!("SKIPPED: {reason}"),
            Outcome::Failed(failure) => format!("FAILED: {failure}"),
        };
        format!("{:width$}  {:>7.1} s  {outcome}\n", step.name, step.took.as_secs_f64())
    });
    let total: Duration = steps.iter().map(|step| step.took).sum();
    lines.collect::<String>() + &format!("{:width$}  {:>7.1} s", "all", total.as_secs_f64())
}
