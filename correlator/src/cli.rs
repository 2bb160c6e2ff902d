//! The command line: what may be asked, and which exit code answers.
//!
//! Data goes to stdout, diagnostics to stderr. Each verb is a module; what several need (configuration under flags,
//! rules under configuration) is in [`load`].

mod ca;
mod cases;
mod check;
mod config;
mod explain;
mod flags;
mod follow;
mod incidents;
mod inputs;
mod junit;
mod listing;
mod load;
mod log;
mod navigator;
mod output;
mod overlap;
mod progress;
mod query;
mod reach;
mod reload;
mod replay;
mod report;
mod rule;
mod rules;
mod run;
mod seed;
mod selftest;
mod serve;
mod shell;
mod sieve;
mod silence;
mod sinks;
mod status;
mod stored;
mod support_bundle;
mod table;
mod tail;
mod terminal;
mod top;
mod tree;
mod tune;
mod watch;
mod who;
mod why_not;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use terminal::{ColorChoice, Terminal};

use crate::config::ConfigError;

/// How a command ends, and what that means: the help and `docs/investigating.md` say the same.
const EXITS: [(u8, &str); 5] = [
    (0, "done, and nothing wrong was found"),
    (
        1,
        "faults in what was looked at: failed rule tests, findings of a check, unreadable records, an id that nobody has",
    ),
    (2, "the command line or the configuration is wrong; nothing was run"),
    (3, "the work itself failed: a file, a socket or the store, also one that is not there"),
    (
        4,
        "what was asked after is there and not well: a run that is degraded, a self-test that did not come back",
    ),
];

fn exit_codes() -> String {
    let lines: Vec<String> = EXITS.iter().map(|(code, means)| format!("  {code}  {means}")).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Watches hosts and AWS together: which process, started by whom, made which API call as which principal.
#[derive(Debug, Parser)]
#[command(name = "groundtrail", version, after_help = exit_codes(), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// Configuration file [default: /etc/groundtrail/groundtrail.toml where there is one]
    #[arg(long, short, global = true, env = "GROUNDTRAIL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Colour: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        value_enum,
        hide_possible_values = true
    )]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Follow sources and print alerts as they come
    Run(run::Flags),
    /// Run recorded events on a virtual clock and print the alerts
    Replay(replay::Flags),
    /// Learn from recorded events what new-terms rules shall know before a first run
    Seed(seed::Flags),
    /// Ask recorded events: ES|QL to a table, EQL and KQL to the events that match
    Query(query::Flags),
    /// Show alerts of the store, a line each, as they come
    Tail(tail::Flags),
    /// Show an alert of the store with all its evidence
    Explain(explain::Flags),
    /// Draw a process with what it descends from and what it started, or the processes of an alert
    Tree(tree::Flags),
    /// Show which alerts belong together, as one story each
    Incidents(incidents::Flags),
    /// Write an incident as one page that opens without a network
    Report(report::Flags),
    /// Show alerts and incidents of a store in a browser, to look at and not to change
    Serve(serve::Flags),
    /// Say how a run is: its sources, their lag and counts, open state, alerts
    Status(status::Flags),
    /// Watch a run: rates, lag, losses, hot rules, open state
    Top(top::Flags),
    /// Say what is known of an instance, address, key, principal, command or session
    Who(who::Flags),
    /// Show what kept a rule from firing: the nearest miss
    WhyNot(why_not::Flags),
    /// Propose an exception for what keeps firing a rule, and prove what it does
    Tune(tune::Flags),
    /// Run the cases inside rule files
    Test(cases::Flags),
    /// Check configuration, rules and sources as `run` would load them
    Check(check::Flags),
    /// Help with writing a rule: a first file, an explanation, the schema for editors
    Rule {
        #[command(subcommand)]
        what: rule::What,
    },
    /// List the rules, or what they cover
    Rules {
        #[command(subcommand)]
        what: rules::What,
    },
    /// Print the commented default configuration, or the one in force
    Config {
        #[command(subcommand)]
        what: config::What,
    },
    /// Mute alerts for a while: they are stored and told to nobody
    Silence {
        #[command(subcommand)]
        what: silence::What,
    },
    /// Try where alerts go, send dead letters again, or list it
    Sink {
        #[command(subcommand)]
        what: sinks::What,
    },
    /// Certificates for sensors and this correlator, from an authority of one's own
    Ca {
        #[command(subcommand)]
        what: ca::What,
    },
    /// Send a canary from this host through the sensor and the run to an alert, and say where it was lost
    Selftest(selftest::Flags),
    /// What the self-test starts
    #[command(hide = true)]
    SelftestCanary(selftest::CanaryFlags),
    /// Put what somebody who helps needs to see into one file, without secrets
    SupportBundle(support_bundle::Flags),
    /// Print a completion script for a shell
    Completion(shell::Completion),
    /// Write the manual pages
    Man(shell::Man),
}

/// How a verb ended. Errors have not been printed yet; faults have.
pub(crate) enum Outcome {
    Clean,
    /// Faults were found and reported.
    Faults,
    /// What was asked after is not well, and that was said.
    Unwell,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// As [`CliError::Usage`], and what is wrong has been said.
    #[error("see above")]
    Told,
    #[error("{what}: {source}")]
    Run { what: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) | Self::Told => 2,
            Self::Run { .. } | Self::Output(_) => 3,
        }
    }

    /// Whether the reader of our output has gone: nothing to complain about.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::detect(cli.color);
    match dispatch(cli, &terminal) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Faults) => ExitCode::from(1),
        Ok(Outcome::Unwell) => ExitCode::from(4),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            match &error {
                CliError::Config(faults @ ConfigError::Faults { .. }) => {
                    terminal.block(&faults.render(terminal.is_stderr_coloured))
                }
                // The diagnostic stands above, with all there is to say.
                CliError::Told => {}
                other => terminal.note("error", &crate::untrusted::Untrusted(other.to_string()).to_string()),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli, terminal: &Terminal) -> Result<Outcome, CliError> {
    let path = cli.config.as_deref();
    match cli.verb {
        Verb::Ca { what } => ca::run(what, terminal),
        Verb::Check(flags) => check::run(flags, load::config(path)?, terminal),
        Verb::Completion(flags) => shell::completion(&flags, terminal),
        Verb::Man(flags) => shell::man(&flags, terminal),
        Verb::Config { what } => config::run(what, path, terminal),
        Verb::Run(flags) => run::run(flags, load::config(path)?, terminal),
        Verb::Seed(flags) => seed::run(flags, load::config(path)?, terminal),
        Verb::Query(flags) => query::run(flags, terminal),
        Verb::WhyNot(flags) => why_not::run(flags, load::config(path)?, terminal),
        Verb::Rule { what } => rule::run(what, terminal),
        Verb::Tail(flags) => tail::run(flags, load::config(path)?, terminal),
        Verb::Tree(flags) => tree::run(flags, load::config(path)?, terminal),
        Verb::Explain(flags) => explain::run(flags, load::config(path)?, terminal),
        Verb::Incidents(flags) => incidents::run(flags, load::config(path)?, terminal),
        Verb::Report(flags) => report::run(flags, load::config(path)?, terminal),
        Verb::Tune(flags) => tune::run(flags, load::config(path)?, terminal),
        Verb::Serve(flags) => serve::run(flags, load::config(path)?, terminal),
        Verb::Status(flags) => status::run(flags, load::config(path)?, terminal),
        Verb::Top(flags) => top::run(flags, load::config(path)?, terminal),
        Verb::Who(flags) => who::run(flags, load::config(path)?, terminal),
        Verb::Silence { what } => silence::run(what, load::config(path)?, terminal),
        Verb::Selftest(flags) => selftest::run(flags, load::config(path)?, terminal),
        Verb::SelftestCanary(flags) => Ok(selftest::canary(&flags)),
        Verb::SupportBundle(flags) => support_bundle::run(flags, load::config(path)?, terminal),
        Verb::Sink { what } => sinks::run(what, load::config(path)?, terminal),
        Verb::Replay(flags) => replay::run(flags, load::config(path)?, terminal),
        Verb::Test(flags) => cases::run(flags, load::config(path)?, terminal),
        Verb::Rules { what } => rules::run(what, load::config(path)?, terminal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_exit_codes_that_there_are() {
        let page = include_str!("../../docs/investigating.md");
        for (code, means) in EXITS {
            let row = format!("| {code} | {means} |");
            assert!(page.contains(&row), "docs/investigating.md lacks: {row}");
        }
    }
}
