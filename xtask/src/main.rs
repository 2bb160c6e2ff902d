//! `cargo xtask <verb>`: everything the build, the tests and a first run need.
#![forbid(unsafe_code)]

mod bench;
mod bless;
mod debian;
mod dist;
mod docs;
mod ebpf;
mod fuzz;
mod guest;
mod kernels;
mod live;
mod needs;
mod record;
mod run;
mod setup;
mod shell;
mod skips;
mod soak;
mod statics;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "groundtrail's build, run and test verbs")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or fetch what the build and the scenarios need.
    Setup,
    /// Build the eBPF object and print its path.
    Ebpf,
    /// Watch this kernel and a CloudTrail folder, and print alerts as they happen.
    Run(run::Run),
    /// Run everything CI runs.
    Test,
    /// Run the tests that need this machine's kernel.
    Live(live::Live),
    /// Boot other kernels in an emulator and run the sensor's tests inside.
    Kernels(kernels::Kernels),
    /// Record the traces below tests/traces from live scenarios.
    Record(record::Record),
    /// Measure what is promised, and show it beside what others take.
    Bench(bench::Bench),
    /// Look for inputs that break the readers of foreign bytes.
    Fuzz(fuzz::Fuzz),
    /// Kill the correlator at random moments, start it again, and compare what it says in the end.
    Soak(soak::Soak),
    /// Build what a release consists of.
    Dist(dist::Dist),
    /// Build the docs as a site, and follow every link in them.
    Docs,
    /// Make what the code says now the expectation of the golden files.
    Bless,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Ebpf => ebpf::prepare().map(|object| println!("{}", object.display())),
        Verb::Run(options) => run::run(&options),
        Verb::Test => test::run(),
        Verb::Live(options) => live::run(&options),
        Verb::Kernels(options) => kernels::run(&options),
        Verb::Record(options) => record::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Soak(options) => soak::run(&options),
        Verb::Dist(options) => dist::run(&options),
        Verb::Docs => docs::run(),
        Verb::Bless => bless::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            shell::say(failure);
            ExitCode::FAILURE
        }
    }
}
