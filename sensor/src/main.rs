//! `groundtrail-sensor`: flags to config to run to exit code.

mod shell;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use sensor::config::{Config, ConfigError, OutputConfig};
use sensor::doctor::{self, Verdict};
use sensor::host::HostError;
use sensor::loader::LoadOptions;
use sensor::pipeline::{self, RunError};
use sensor::private;
use sensor::record::{self, RecordError, Recording};
use sensor::{selftest, status};

/// Read when no file is named, if it is there.
const DEFAULT_CONFIG: &str = "/etc/groundtrail/sensor.toml";

/// Something went wrong on the way.
const FAILED: u8 = 1;
/// The configuration is wrong.
const MISUSED: u8 = 2;
/// The kernel does not let the sensor see: no use in trying again.
const REFUSED: u8 = 3;

const EXIT_CODES: &str = "Exit codes:
  0  well
  1  something went wrong on the way, or the sensor that was asked loses events
  2  the command line or the configuration is wrong; nothing was run
  3  the kernel does not let the sensor see, or no sensor answers";

/// Watches this host through eBPF and says what happens as ECS events, one JSON document a line.
#[derive(Parser)]
#[command(name = "groundtrail-sensor", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Watch, and emit events until a signal.
    Run {
        #[command(flatten)]
        common: Common,
        /// Write events to stdout, whatever the configuration says.
        #[arg(long, conflicts_with_all = ["file", "socket", "to"])]
        stdout: bool,
        /// Append events to this file.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["socket", "to"])]
        file: Option<PathBuf>,
        /// Send events to the Unix socket that somebody listens on here.
        #[arg(long, value_name = "PATH", conflicts_with = "to")]
        socket: Option<PathBuf>,
        /// Deliver events to this correlator, over the spool: https://HOST[:PORT] with the certificates of the
        /// configuration, or unix:/PATH.
        #[arg(long, value_name = "PLACE")]
        to: Option<String>,
        /// Answer `status` and `selftest` on this Unix socket.
        #[arg(long, value_name = "PATH")]
        status_socket: Option<PathBuf>,
    },
    /// Record events, and the raw records they were made of, for replay.
    Record {
        #[command(flatten)]
        common: Common,
        /// Folder for host.ndjson and ring.bin.
        #[arg(short, long, value_name = "DIR", required_unless_present = "events")]
        output: Option<PathBuf>,
        /// Write the events alone, to this file.
        #[arg(value_name = "FILE", conflicts_with = "output")]
        events: Option<PathBuf>,
        /// Stop after this long (10s, 500ms, 2m); else at a signal.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        length: Option<Duration>,
        /// Keep what this process and its descendants do, and nothing else.
        #[arg(long, value_name = "PID")]
        filter_tree: Option<u32>,
    },
    /// Say how the running sensor is. Exits with 0 if well, 1 if it loses events or leaves out fields, 3 if none runs.
    Status {
        #[command(flatten)]
        at: At,
        /// The whole report, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let the running sensor see an exec and a connection of its own. Exits with 0 if it does, 1 if not, 3 if none runs.
    Selftest {
        #[command(flatten)]
        at: At,
    },
    /// Say whether the sensor can start here: configuration, kernel, programs. Exits with 0, 2 or 3.
    Check {
        #[command(flatten)]
        common: Common,
    },
    /// Say what this machine offers and what it lacks, with the way out.
    Doctor {
        #[command(flatten)]
        common: Common,
    },
    /// Print a completion script for a shell.
    Completion {
        /// bash, zsh, fish, elvish or powershell.
        shell: Shell,
    },
    /// Write the manual pages.
    Man {
        /// The folder that the pages go to; it is made if it is not there.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

#[derive(Args)]
struct At {
    /// Where the sensor answers. Default: $RUNTIME_DIRECTORY or /run/groundtrail-sensor, and status.sock in it.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl At {
    fn path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(status::default_path)
    }
}

#[derive(Args)]
struct Common {
    /// Configuration file. Default: /etc/groundtrail/sensor.toml, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// BPF object to load instead of the one that was built in.
    #[arg(long, value_name = "FILE")]
    ebpf_object: Option<PathBuf>,
}

impl Common {
    fn read(&self) -> Result<(Config, LoadOptions), ConfigError> {
        let default = Path::new(DEFAULT_CONFIG);
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None if default.exists() => Config::load(default)?,
            None => Config::default(),
        };
        let load = LoadOptions {
            object: self.ebpf_object.clone(),
            ring_bytes: config.limits.ring_bytes,
            files: config.files.watch.clone(),
            metadata: config.metadata,
            ..LoadOptions::default()
        };
        Ok((config, load))
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(selftest::ARGUMENT) {
        selftest::play(args.next().and_then(|port| port.parse().ok()));
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    log();
    let common = match &cli.verb {
        Verb::Status { at, json } => return tell_status(&at.path(), *json),
        Verb::Selftest { at } => return selftest_of_running(&at.path()),
        Verb::Completion { shell } => {
            return written(shell::completion(*shell, Cli::command()), "standard output");
        }
        Verb::Man { folder } => {
            return written(shell::man(folder, Cli::command()), &folder.display().to_string());
        }
        Verb::Run { common, .. }
        | Verb::Record { common, .. }
        | Verb::Check { common }
        | Verb::Doctor { common } => common,
    };
    match common.read() {
        Ok((config, load)) => act(&cli.verb, config, &load),
        // Several lines: the excerpt of the file is among them.
        Err(ConfigError::InFile(shown)) => {
            eprintln!("groundtrail-sensor: {shown}");
            ExitCode::from(MISUSED)
        }
        Err(err) => fail(&err, MISUSED),
    }
}

fn act(verb: &Verb, mut config: Config, load: &LoadOptions) -> ExitCode {
    match verb {
        Verb::Status { .. } | Verb::Selftest { .. } | Verb::Completion { .. } | Verb::Man { .. } => {
            unreachable!("answered without a configuration")
        }
        Verb::Run { stdout, file, socket, to, status_socket, .. } => {
            if let Some(path) = status_socket {
                config.status_socket.clone_from(path);
            }
            let to = match to.as_deref().map(|to| config.wire.to(to)).transpose() {
                Ok(to) => to,
                Err(err) => return fail(&err, MISUSED),
            };
            let told = [
                to.map(OutputConfig::Correlator),
                stdout.then_some(OutputConfig::Stdout),
                file.clone().map(OutputConfig::File),
                socket.clone().map(OutputConfig::Socket),
            ];
            config.output = told.into_iter().flatten().next().unwrap_or(config.output);
            match block_on(pipeline::run(&config, load)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(err) => fail(&err, code(&err)),
            }
        }
        Verb::Record { output, events, length, filter_tree, .. } => {
            recording(&config, load, output.as_deref(), events.as_deref(), *length, *filter_tree)
        }
        Verb::Check { .. } => match sensor::check::check(&config, load) {
            Ok(ready) => say(&ready),
            Err(err) => fail(&err, code(&err)),
        },
        Verb::Doctor { .. } => {
            let mut findings = doctor::examine(Path::new("/"), &config.host, load);
            findings.extend(doctor::wire(&config));
            findings.extend(doctor::try_out(load));
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            say(&lines.join("\n"));
            let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
            if is_bad { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
        }
    }
}

fn written(result: std::io::Result<()>, place: &str) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Who read it has seen enough.
        Err(err) if err.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("groundtrail-sensor: cannot write to \"{place}\": {err}");
            ExitCode::from(FAILED)
        }
    }
}

fn tell_status(path: &Path, is_json: bool) -> ExitCode {
    let report = match status::ask(path) {
        Ok(report) => report,
        Err(err) => return nobody_answers(path, err),
    };
    let parsed: serde_json::Value = match serde_json::from_str(&report) {
        Ok(parsed) => parsed,
        Err(err) => return nobody_answers(path, err),
    };
    if parsed.get("sensor").is_none() {
        return nobody_answers(path, "it has not started yet");
    }
    let (text, health) = status::judge(&parsed);
    say(if is_json { &report } else { &text });
    if health == status::Health::Good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn selftest_of_running(path: &Path) -> ExitCode {
    match status::ask_for_canary(path) {
        Ok(report) => {
            say(&report);
            let is_seen =
                report.contains("\"exec_seen\":true") && report.contains("\"connection_seen\":true");
            if is_seen { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(err) => nobody_answers(path, err),
    }
}

fn nobody_answers(path: &Path, err: impl std::fmt::Display) -> ExitCode {
    let path = path.display();
    eprintln!("groundtrail-sensor: no sensor answers at \"{path}\" ({err}): start one, or name its --socket");
    ExitCode::from(REFUSED)
}

fn recording(
    config: &Config,
    load: &LoadOptions,
    folder: Option<&Path>,
    events: Option<&Path>,
    length: Option<Duration>,
    tree: Option<u32>,
) -> ExitCode {
    if let Some(folder) = folder
        && let Err(err) = private::create_folder(folder)
    {
        return fail(&RecordError::Write(err), FAILED);
    }
    let raw = folder.map(|folder| folder.join("ring.bin"));
    let lines = folder.map(|folder| folder.join("host.ndjson"));
    let events = events.or(lines.as_deref()).expect("clap asks for a folder or a file");
    let what = Recording { events, raw: raw.as_deref(), length, tree };
    match block_on(record::record(config, load, &what)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(n_lost) => {
            tracing::error!(
                n_lost,
                "the recording has gaps: give limits.ring_bytes more room and record again"
            );
            ExitCode::from(FAILED)
        }
        Err(err) => {
            let code = if let RecordError::Run(err) = &err { code(err) } else { FAILED };
            fail(&err, code)
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs an epoll and a timer, which every kernel we run on has");
    let result = runtime.block_on(work);
    // Whatever hangs in a call that does not return must not keep the process.
    runtime.shutdown_background();
    result
}

fn code(err: &RunError) -> u8 {
    match err {
        RunError::Load(_) | RunError::Host(HostError::NoBootId) => REFUSED,
        // The configuration is the way out, so it is what is wrong.
        RunError::Host(HostError::NoHostId | HostError::HiddenInstanceId) => MISUSED,
        _ => FAILED,
    }
}

/// The error and its causes, once, in one line.
fn fail(err: &dyn Error, code: u8) -> ExitCode {
    let mut line = err.to_string();
    let causes = std::iter::successors(err.source(), |cause| (*cause).source());
    for cause in causes.map(ToString::to_string) {
        // A transparent error repeats its cause's words.
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    eprintln!("groundtrail-sensor: {}", line.replace('\n', " "));
    ExitCode::from(code)
}

/// Prints for whoever asked; a reader that went away is no failure.
fn say(text: &str) -> ExitCode {
    _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// Logs go to stderr: for people on a terminal, as JSON elsewhere. `RUST_LOG` sets the level, `info` if unset.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).init();
    }
}

/// `10s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|err| format!("{err}: write a number and a unit, such as 10s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("unit \"{unit}\" is none of ms, s, m, h")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("10").is_err() && duration("s").is_err());
    }
}
