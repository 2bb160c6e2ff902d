//! `cargo xtask kernels`: the sensor's own tests, inside the kernels that distributions ship.
//!
//! What is asserted is what the programs saw, not that they attached: on some kernels a program attaches and is never
//! called.

mod instructions;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::ebpf;
use crate::guest::{self, KERNELS, Kernel, Pace};
use crate::shell::{self, Failure};
use crate::statics::{self, Arch};
use crate::test::Outcome;

use instructions::Cost;

#[derive(Args)]
pub(crate) struct Kernels {
    /// Only these lines of kernels; all otherwise. May be repeated.
    #[arg(long, value_parser = KERNELS.map(|kernel| kernel.name))]
    kernel: Vec<String>,
    /// The machine to emulate; this machine's architecture otherwise. May be repeated.
    #[arg(long)]
    arch: Vec<Arch>,
    /// What `cargo xtask test` runs of it: one kernel, and the tests that ask each program what it saw.
    #[arg(long, conflicts_with_all = ["kernel", "arch", "filter"])]
    short: bool,
    /// No tests: count instructions alone.
    #[arg(long, conflicts_with_all = ["short", "filter"])]
    instructions: bool,
    /// Only tests whose name contains this, and no counting of instructions.
    filter: Option<String>,
}

/// The test binaries that run inside.
const SUITES: &[&str] = &["kernel", "live_kernel"];
/// The line that the short form boots: no other one starts faster, and it has every kind of hook.
const SHORT: &str = "6.1";
/// What the short form runs: the tests that ask each program what it saw.
const SHORT_SUITES: &[&str] = &["kernel"];

/// What one guest showed.
struct Row {
    kernel: String,
    /// Nothing if tests were not asked for.
    suites: Option<Result<Vec<Suite>, Failure>>,
    costs: Result<Vec<Cost>, Failure>,
    skips: Vec<String>,
    took: Duration,
}

/// What became of one test binary.
#[derive(Debug, PartialEq, Eq)]
struct Suite {
    name: String,
    n_passed: u32,
    n_failed: u32,
    failures: Vec<String>,
}

pub(crate) fn run(options: &Kernels) -> Result<(), Failure> {
    if options.short {
        return match short()? {
            Outcome::Skipped(reason) => Err(Failure(reason)),
            _ => Ok(()),
        };
    }
    let own = [Arch::own()?];
    let archs = if options.arch.is_empty() { &own[..] } else { &options.arch };
    let is_wanted =
        |kernel: &&Kernel| options.kernel.is_empty() || options.kernel.iter().any(|name| name == kernel.name);
    let wanted: Vec<&Kernel> = KERNELS.iter().filter(is_wanted).collect();
    let mut rows = Vec::new();
    for &arch in archs {
        let mut of_arch = match options.instructions {
            true => wanted.iter().map(|kernel| Row::untested(arch, kernel)).collect(),
            false => tests(arch, &wanted, SUITES, options.filter.as_deref())?,
        };
        if options.filter.is_none() {
            count_instructions(arch, &wanted, &mut of_arch)?;
        }
        rows.extend(of_arch);
    }
    println!("\n{}", table(&rows));
    match rows.iter().filter(|row| !row.is_good()).count() {
        0 => Ok(()),
        n_bad => Err(Failure(format!("{n_bad} of {} kernels failed", rows.len()))),
    }
}

/// The short form: one kernel, where it can be had.
pub(crate) fn short() -> Result<Outcome, Failure> {
    let arch = Arch::own()?;
    let kernel = KERNELS.iter().find(|kernel| kernel.name == SHORT).expect("the table has it");
    if let Err(err) = guest::can_boot(arch, kernel) {
        return Ok(Outcome::Skipped(format!("no emulated Linux {SHORT} to be had: {err}")));
    }
    let rows = tests(arch, &[kernel], SHORT_SUITES, None)?;
    println!("\n{}", table(&rows));
    match rows.into_iter().find(|row| !row.is_good()) {
        None => Ok(Outcome::Passed),
        Some(Row { suites: Some(Err(err)), .. }) => Err(err),
        Some(row) => Err(Failure(row.to_string())),
    }
}

/// Runs the tests in each kernel, one guest after the other.
fn tests(arch: Arch, kernels: &[&Kernel], names: &[&str], filter: Option<&str>) -> Result<Vec<Row>, Failure> {
    ebpf::prepare()?;
    shell::say(format!("building the sensor and its tests, statically linked, for {}", arch.machine()));
    let mut build = statics::cargo(arch, "test")?;
    build.args(["--no-run", "--package", "sensor", "--features", "sensor/live-kernel"]);
    build.args(names.iter().flat_map(|suite| ["--test", suite]));
    let mut files = statics::executables(&mut build, names)?;
    let disk_job = job(names, &files, filter);
    files.push(statics::folder(arch).join("groundtrail-sensor"));
    let disk = guest::disk(arch, &files, &disk_job)?;
    let mut rows = Vec::new();
    for kernel in kernels {
        let began = Instant::now();
        let ran = kernel.image(arch).and_then(|image| {
            shell::say(format!(
                "booting Linux {} ({}) and running the tests inside",
                image.version,
                arch.machine()
            ));
            Ok((guest::boot(arch, kernel, &image, &disk, Pace::Free)?, image.version))
        });
        let row = match ran {
            Ok((console, version)) => Row {
                kernel: format!("{} {version}", arch.machine()),
                suites: Some(Ok(suites(&console))),
                costs: Ok(Vec::new()),
                skips: skips(&console),
                took: began.elapsed(),
            },
            Err(err) => Row {
                kernel: format!("{} {}", arch.machine(), kernel.name),
                suites: Some(Err(err)),
                costs: Ok(Vec::new()),
                skips: Vec::new(),
                took: began.elapsed(),
            },
        };
        shell::say(&row);
        rows.push(row);
    }
    Ok(rows)
}

/// Boots each kernel once more, at a pace that counts, and adds what it found to its row.
fn count_instructions(arch: Arch, kernels: &[&Kernel], rows: &mut [Row]) -> Result<(), Failure> {
    let disk = instructions::disk(arch)?;
    for (kernel, row) in kernels.iter().zip(rows) {
        shell::say(format!("counting instructions on Linux {} ({})", kernel.name, arch.machine()));
        let began = Instant::now();
        row.costs = instructions::count(arch, kernel, &disk);
        row.took += began.elapsed();
        shell::say(&row);
    }
    Ok(())
}

/// What the guest runs: each test binary, and at the end what the tests said they skipped.
fn job(names: &[&str], binaries: &[PathBuf], filter: Option<&str>) -> String {
    // A test binary tells how long each test took only where the compiler's unstable options are let in.
    let mut job =
        "#!/bin/sh\nexport GROUNDTRAIL_SKIPS=/run/skips GROUNDTRAIL_EMULATED=1 RUST_BACKTRACE=0 RUSTC_BOOTSTRAP=1\n"
            .to_owned();
    for (name, binary) in names.iter().zip(binaries) {
        // One test at a time: each loads the programs anew, and bursts are counted.
        let quoted = filter.map(|filter| format!("'{}'", filter.replace('\'', r"'\''"))).unwrap_or_default();
        job += &format!(
            "echo 'SUITE {name}'\n'{}' --test-threads=1 -Z unstable-options --report-time {quoted}\n",
            binary.display()
        );
    }
    job + "[ ! -f /run/skips ] || while read -r line; do echo \"SKIPS $line\"; done </run/skips\n"
}

/// Reads the console: `SUITE name` opens a suite, libtest's `test result:` closes it.
fn suites(console: &str) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    let mut is_listing = false;
    for line in console.lines() {
        if let Some(name) = line.strip_prefix("SUITE ") {
            // Until its result is read, a suite counts as failed.
            suites.push(Suite { name: name.to_owned(), n_passed: 0, n_failed: 1, failures: Vec::new() });
        }
        let Some(suite) = suites.last_mut() else { continue };
        if line == "failures:" {
            // libtest lists the failures twice, with their output and by name; the names come last.
            suite.failures.clear();
            is_listing = true;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            is_listing = false;
            suite.n_passed = count(result, "passed");
            suite.n_failed = count(result, "failed");
        } else if is_listing && let Some(name) = line.strip_prefix("    ") {
            suite.failures.push(name.to_owned());
        }
    }
    suites
}

/// `ok. 14 passed; 0 failed; …`
fn count(result: &str, what: &str) -> u32 {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let number = words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse().ok());
    number.unwrap_or(0)
}

fn skips(console: &str) -> Vec<String> {
    console.lines().filter_map(|line| line.strip_prefix("SKIPS ")).map(str::to_owned).collect()
}

impl Row {
    fn untested(arch: Arch, kernel: &Kernel) -> Self {
        Self {
            kernel: format!("{} {}", arch.machine(), kernel.name),
            suites: None,
            costs: Ok(Vec::new()),
            skips: Vec::new(),
            took: Duration::ZERO,
        }
    }

    fn is_good(&self) -> bool {
        // A guest that ran no test at all proved nothing.
        let is_good = |suites: &Vec<Suite>| {
            suites.iter().all(|suite| suite.n_failed == 0) && suites.iter().any(|suite| suite.n_passed > 0)
        };
        self.suites.as_ref().is_none_or(|suites| suites.as_ref().is_ok_and(is_good))
            && self.costs.as_ref().is_ok_and(|costs| costs.iter().all(Cost::is_allowed))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:36} {:>6.1} s", self.kernel, self.took.as_secs_f64())?;
        match &self.suites {
            None => {}
            Some(Err(err)) => return write!(out, "  FAILED: {err}"),
            Some(Ok(suites)) if suites.is_empty() => return write!(out, "  FAILED: no test ran"),
            Some(Ok(suites)) => {
                for suite in suites {
                    write!(out, "  {} {} passed, {} failed", suite.name, suite.n_passed, suite.n_failed)?;
                    if !suite.failures.is_empty() {
                        write!(out, " ({})", suite.failures.join(", "))?;
                    }
                }
            }
        }
        match &self.costs {
            Ok(costs) if costs.is_empty() => {}
            Ok(costs) => {
                let costs: Vec<String> = costs.iter().map(ToString::to_string).collect();
                write!(out, "  instructions: {}", costs.join(", "))?;
            }
            Err(err) => write!(out, "  FAILED to count: {err}")?,
        }
        if self.skips.is_empty() { Ok(()) } else { write!(out, "  SKIPPED: {}", self.skips.join("; ")) }
    }
}

fn table(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "SUITE kernel\nrunning 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n    left: 1\n\n\
        failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\nSUITE live_kernel\n{\"a log\"}\n\
        test result: ok. 7 passed; 0 failed; 0 ignored\nSKIPS c: no such thing here\nGUEST ENDS\n";

    fn row(console: &str) -> Row {
        Row {
            kernel: "x86_64 6.1".to_owned(),
            suites: Some(Ok(suites(console))),
            costs: Ok(Vec::new()),
            skips: skips(console),
            took: Duration::from_secs(7),
        }
    }

    #[test]
    fn a_console_is_read_suite_by_suite() {
        let row = row(CONSOLE);
        assert!(!row.is_good());
        assert_eq!(
            row.to_string(),
            "x86_64 6.1                              7.0 s  kernel 1 passed, 1 failed (b)  live_kernel 7 passed, 0 failed  \
             SKIPPED: c: no such thing here"
        );
    }

    #[test]
    fn a_suite_that_never_ends_has_failed_and_so_has_a_guest_without_tests() {
        assert!(row("SUITE kernel\ntest result: ok. 7 passed; 0 failed;").is_good());
        assert!(!row("SUITE kernel\ntest a ... ok\nSegmentation fault").is_good());
        assert!(!row("SUITE kernel\ntest result: ok. 0 passed; 0 failed;").is_good());
        assert!(!row("GUEST ENDS").is_good());
    }
}
