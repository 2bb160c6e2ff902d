//! `cargo xtask test`: everything CI runs, a table of it at the end.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::shell::{self, Failure};
use crate::{dist, ebpf, kernels, live, needs, skips};

/// One line of the table.
struct Step {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// How a step ended.
pub(crate) enum Outcome {
    Passed,
    /// Passed, but for tests that skipped themselves.
    Partly(Vec<String>),
    Skipped(String),
    Failed(Failure),
}

/// What is built for tests beyond the default. Every step names it, so that cargo builds the workspace once.
pub(crate) const FEATURES: &str = "tests/aws";

/// Runs every step, the later ones even where an earlier one failed, so that one run shows everything.
pub(crate) fn run() -> Result<(), Failure> {
    refuse_blessing(env::var_os("UPDATE_EXPECT").is_some())?;
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
        let mut command = shell::cargo(&["test", "--workspace", "--features", FEATURES, "--no-fail-fast"]);
        skips::succeed(command.env("GROUNDTRAIL_BINS_ARE_BUILT", "1")).map(Outcome::but_for)
    });
    step("live kernel tests", &|| live::tests(&live::Live::default()));
    step("units and container files", &dist::short);
    step("another kernel, emulated", &kernels::short);
    step("licences, bans, sources", &|| done(deny(&["licenses", "bans", "sources"])));
    step("advisories", &|| match advisory_database() {
        true => done(deny(&["--disable-fetch", "advisories"])),
        false => Ok(Outcome::Skipped(
            "the advisory database is not at hand; \"cargo deny fetch db\" gets it".to_owned(),
        )),
    });

    println!("\n{}", table(&steps));
    let n_failed = steps.iter().filter(|step| matches!(step.outcome, Outcome::Failed(_))).count();
    if n_failed == 0 { Ok(()) } else { Err(Failure(format!("{n_failed} of {} steps failed", steps.len()))) }
}

/// With that variable expected files are rewritten, and no test of them can fail.
fn refuse_blessing(is_set: bool) -> Result<(), Failure> {
    match is_set {
        false => Ok(()),
        true => Err(Failure(
            "UPDATE_EXPECT is set, with which tests rewrite what they expect: unset it, or run `cargo xtask bless`"
                .to_owned(),
        )),
    }
}

impl Outcome {
    pub(crate) fn but_for(skipped: Vec<String>) -> Self {
        if skipped.is_empty() { Outcome::Passed } else { Outcome::Partly(skipped) }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => out.write_str("ok"),
            Outcome::Partly(skipped) => write!(out, "ok, SKIPPED {}: {}", skipped.len(), skipped.join("; ")),
            Outcome::Skipped(reason) => write!(out, "SKIPPED: {reason}"),
            Outcome::Failed(failure) => write!(out, "FAILED: {failure}"),
        }
    }
}

fn deny(checks: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new(needs::cargo_deny()?);
    shell::succeed(command.args(["--all-features", "check"]).args(checks).current_dir(shell::root()))
}

/// Whether cargo-deny has fetched its database of advisories: that needs the network, which tests do without.
fn advisory_database() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let entries = home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    entries.into_iter().flatten().flatten().any(|entry| entry.path().is_dir())
}

fn table(steps: &[Step]) -> String {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let lines = steps
        .iter()
        .map(|step| format!("{:width$}  {:>7.1} s  {}\n", step.name, step.took.as_secs_f64(), step.outcome));
    let total: Duration = steps.iter().map(|step| step.took).sum();
    lines.collect::<String>() + &format!("{:width$}  {:>7.1} s", "all", total.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_would_rewrite_what_they_expect_are_not_run() {
        assert!(refuse_blessing(true).is_err_and(|failure| failure.0.contains("cargo xtask bless")));
        assert!(refuse_blessing(false).is_ok());
    }

    #[test]
    fn what_was_skipped_is_in_the_table_with_its_reason() {
        let step = |name, outcome| Step { name, outcome, took: Duration::ZERO };
        let skipped = vec!["sensor_without_root: giving root up needs root".to_owned()];
        let text = table(&[
            step("tests", Outcome::but_for(skipped)),
            step("more tests", Outcome::but_for(Vec::new())),
            step("advisories", Outcome::Skipped("no database".to_owned())),
        ]);
        assert!(text.contains("ok, SKIPPED 1: sensor_without_root: giving root up needs root\n"), "{text}");
        assert!(text.contains("ok\n") && text.contains("SKIPPED: no database\n"), "{text}");
    }
}
