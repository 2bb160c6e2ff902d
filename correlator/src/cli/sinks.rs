//! `sink test`, `sink resend` and `sink list`.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::load::Configured;
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::config::closest;
use crate::config::sinks::Sink;
use crate::sink::resend::{self, Resent};
use crate::sink::transport::Verdict;
use crate::sink::{Trial, trial};
use crate::untrusted::Untrusted;

const EXIT_CODES_OF_ALL: &str = "Exit codes:
  0  all were taken, or there were none
  1  some were not: they are in the file still, and the last reason is printed
  2  the command line or the configuration is wrong";

const EXIT_CODES: &str = "Exit codes:
  0  the sink took it
  1  it did not: the reason is printed
  2  the command line or the configuration is wrong";

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Send one alert that says of itself that it is a test, at once and past the queue
    #[command(after_help = EXIT_CODES)]
    Test {
        /// The sink, by its name in the configuration
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Send a sink's dead letters again, at once and past the queue; those that are taken leave the file
    #[command(after_help = EXIT_CODES_OF_ALL)]
    Resend {
        /// The sink, by its name in the configuration
        #[arg(value_name = "NAME")]
        name: String,
        /// Another file of dead letters than the sink's own
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the sinks of the configuration
    List,
}

pub(super) fn run(what: What, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let store = configured.config.store;
    let sinks = configured.config.sinks;
    match what {
        What::Resend { name, file } => resend_to(named(&sinks, &name)?, file, store.as_deref(), terminal),
        What::Test { name } => test(named(&sinks, &name)?, terminal),
        What::List => {
            let mut table = Table::new(&["sink", "type", "to", "from", "format"]);
            for sink in &sinks {
                let (severity, format) = (sink.min_severity.as_str(), sink.format.name());
                let row = [&sink.name, sink.to.kind(), &sink.to.place(), severity, format];
                table.row(row.map(str::to_owned).to_vec());
            }
            terminal.data(&table.render(terminal.stdout.width))?;
            Ok(Outcome::Clean)
        }
    }
}

fn named<'s>(sinks: &'s [Sink], name: &str) -> Result<&'s Sink, CliError> {
    let names = || sinks.iter().map(|sink| sink.name.as_str());
    sinks.iter().find(|sink| sink.name == name).ok_or_else(|| {
        let help = match closest(name, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if sinks.is_empty() => "it has no [[sink]]".to_owned(),
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        CliError::Usage(format!("the configuration has no sink \"{}\"; {help}", Untrusted(name)))
    })
}

fn resend_to(
    sink: &Sink,
    file: Option<PathBuf>,
    store: Option<&Path>,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    let name = &sink.name;
    let path = file.or_else(|| resend::letters_of(sink, store)).ok_or_else(|| {
        let text = format!(
            "the dead letters of \"{name}\" lie beside the store, and the configuration names none: set [store] path, or give --file"
        );
        CliError::Usage(text)
    })?;
    let sent = resend::resend(sink, &path)
        .map_err(|error| CliError::Usage(format!("the sink \"{name}\": {error}")))?;
    let Resent { n_taken, n_refused, n_left, n_unreadable, reason } = &sent;
    let place = sink.to.place();
    terminal.data(&format!(
        "{name}: {n_taken} taken by {place}, {n_refused} refused, {n_left} not taken now, {n_unreadable} unreadable\n"
    ))?;
    if sent.is_all_taken() {
        return Ok(Outcome::Clean);
    }
    let reason = reason.as_deref().unwrap_or("some lines are no dead letters");
    let text =
        format!("{name}: what was not taken is in \"{}\" still: {}", path.display(), Untrusted(reason));
    terminal.note("error", &text);
    Ok(Outcome::Faults)
}

fn test(sink: &Sink, terminal: &Terminal) -> Result<Outcome, CliError> {
    let Trial { alert_id, verdict, took } =
        trial(sink).map_err(|error| CliError::Usage(format!("the sink \"{}\": {error}", sink.name)))?;
    let (name, place, ms) = (&sink.name, sink.to.place(), took.as_millis());
    match verdict {
        Verdict::Taken => {
            terminal.data(&format!("{name}: taken by {place} in {ms} ms, as alert {alert_id}\n"))?;
            Ok(Outcome::Clean)
        }
        Verdict::Later(reason) => {
            let reason = Untrusted(&reason);
            terminal.note("error", &format!("{name}: not taken; a run would try again: {reason}"));
            Ok(Outcome::Faults)
        }
        Verdict::Refused(reason) => {
            let reason = Untrusted(&reason);
            terminal.note("error", &format!("{name}: refused; a run would set it aside: {reason}"));
            Ok(Outcome::Faults)
        }
    }
}
