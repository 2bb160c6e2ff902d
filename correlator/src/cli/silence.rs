//! `silence`: alerts that are told to nobody for a while, as files of their own beside the configuration.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rules::event::EventTime;
use serde::Serialize;

use super::listing::{Form, Listing};
use super::load::Configured;
use super::stored;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::alert::wanted::Wanted;
use crate::config::{Config, SYSTEM_PATH, silences};
use crate::notify::Silence;
use crate::store::Store;
use crate::time::{self, Clock as _, SystemClock};
use crate::untrusted::Untrusted;

/// A silence that is longer is an exception that nobody has thought through.
const MAX_SPAN_S: i64 = 90 * 86_400;

const AFTER: &str = "A silence keeps alerts from sinks and from `tail`. They are found, stored, and part of incidents and of other rules all the \
same, and say by whom, why and until when they were muted. A run takes a silence over when it reloads (systemctl reload groundtrail).";

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Mute alerts from now on until a time
    Add(AddFlags),
    /// Show the silences there are, those that have ended too
    List(ListFlags),
    /// End a silence that `add` began
    End(EndFlags),
}

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct AddFlags {
    /// Of rules with this in their name, or of the rule with this id; may be repeated
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Of hosts with this in their name or id; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Of principals with this in their ARN or name; may be repeated
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Vec<String>,
    /// Of this AWS account; may be repeated
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    /// When it ends: a span from now, like 2h, or a time; 90 days at most
    #[arg(long, value_name = "SPAN|RFC3339", value_parser = end)]
    until: EventTime,
    /// Who answers for it
    #[arg(long, value_name = "WHO")]
    owner: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// What it is called, in lower case [default: made of the time]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// File to write, "-" for stdout [default: conf.d/silence-NAME.toml beside the configuration]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ListFlags {
    /// The store, for how many alerts each has muted, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// How to print
    #[arg(long, short, value_name = "FORM", value_enum, default_value = "table")]
    output: Form,
}

#[derive(Debug, Args)]
pub(super) struct EndFlags {
    /// What it is called
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
}

fn name(text: &str) -> Result<String, String> {
    match silences::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("write up to 64 of a to z, 0 to 9, - and _".to_owned()),
    }
}

fn end(text: &str) -> Result<EventTime, String> {
    let now = SystemClock.now();
    let units = [("m", 60), ("h", 3_600), ("d", 86_400)];
    let span = units.iter().find_map(|(unit, seconds)| {
        let n: i64 = text.strip_suffix(unit)?.parse().ok()?;
        n.checked_mul(*seconds)
    });
    let until = match span {
        Some(seconds) => EventTime(now.0.saturating_add(seconds.saturating_mul(1_000_000_000))),
        None => {
            time::parse(text).ok_or("give a span like 30m, 2h or 7d, or a time like 2026-11-02T10:00:00Z")?
        }
    };
    match (until.0 - now.0) / 1_000_000_000 {
        ..=0 => Err("that is over already".to_owned()),
        seconds if seconds > MAX_SPAN_S => {
            Err("a silence lasts 90 days at most: what is never news is an exception, see `groundtrail tune`"
                .to_owned())
        }
        // To the second: nobody means more.
        _ => Ok(EventTime(until.0 - until.0.rem_euclid(1_000_000_000))),
    }
}

pub(super) fn run(what: What, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    match what {
        What::Add(flags) => add(flags, &configured, terminal),
        What::List(flags) => show(flags, &configured.config, terminal),
        What::End(flags) => finish(&flags, &configured, terminal),
    }
}

fn add(flags: AddFlags, configured: &Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let wanted = Wanted {
        least: None,
        rules: flags.rule,
        hosts: flags.host,
        principals: flags.principal,
        accounts: flags.account,
    };
    if wanted.is_everything() {
        let text = "a silence of every alert is none: give --rule, --host, --principal or --account";
        return Err(CliError::Usage(text.to_owned()));
    }
    let now = SystemClock.now();
    let name = flags.name.unwrap_or_else(|| {
        let digits: String = time::format(now).chars().filter(char::is_ascii_digit).collect();
        format!("s{digits}")
    });
    if configured.config.silences.iter().any(|silence| silence.name == name) {
        return Err(CliError::Usage(format!("there is a silence \"{name}\" already: give another --name")));
    }
    let silence =
        Silence { name: name.clone(), wanted, until: flags.until, owner: flags.owner, reason: flags.reason };
    let made = format!("# Made by `groundtrail silence add` at {}.\n", time::format(now));
    let text = format!("{made}{}", silences::text(&silence));
    if flags.output.as_deref() == Some(Path::new("-")) {
        terminal.data(&text)?;
        return Ok(Outcome::Clean);
    }
    let path = flags.output.unwrap_or_else(|| file_of(configured, &name));
    // By the reader that a run has.
    Config::parse(&text, &path)?;
    write(&path, &text)?;
    let (path, until) = (path.display(), time::format(silence.until));
    terminal.note(
        "written",
        &format!("{path}: until {until}. A run takes it over when it reloads: systemctl reload groundtrail"),
    );
    Ok(Outcome::Clean)
}

/// # Errors
/// It cannot be written, or is there already.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source: std::io::Error| CliError::Run {
        what: format!("cannot write \"{}\"", path.display()),
        source: source.into(),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn file_of(configured: &Configured, name: &str) -> PathBuf {
    let config = configured.path.as_deref().unwrap_or(Path::new(SYSTEM_PATH));
    config.with_file_name("conf.d").join(format!("silence-{name}.toml"))
}

/// A silence as it is listed.
#[derive(Serialize)]
struct Row {
    name: String,
    state: &'static str,
    until: String,
    owner: String,
    reason: String,
    of: String,
    /// Alerts of the store that it muted. Absent where there is no store.
    muted: Option<u64>,
}

fn show(flags: ListFlags, config: &Config, terminal: &Terminal) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let path =
        flags.store.as_ref().or(config.store.as_ref()).filter(|path| flags.store.is_some() || path.exists());
    let muted = path
        .map(|path| -> Result<_, CliError> {
            stored::must_exist(path)?;
            Store::open_to_look(path).and_then(|store| store.n_muted_by_silence()).map_err(stored::failed)
        })
        .transpose()?;
    let row = |silence: &Silence| Row {
        name: silence.name.clone(),
        state: if silence.is_over(now) { "ended" } else { "in force" },
        until: time::format(silence.until),
        owner: silence.owner.clone(),
        reason: silence.reason.clone(),
        of: in_words(&silence.wanted),
        muted: muted.as_ref().map(|muted| muted.get(&silence.name).copied().unwrap_or(0)),
    };
    let rows: Vec<Row> = config.silences.iter().map(row).collect();
    let mut listing = Listing::new(&["silence", "state", "until", "muted", "owner", "of", "reason"]);
    for row in &rows {
        let muted = row.muted.map(|n| n.to_string()).unwrap_or_default();
        let cells = [
            row.name.as_str(),
            row.state,
            row.until.as_str(),
            muted.as_str(),
            row.owner.as_str(),
            row.of.as_str(),
            row.reason.as_str(),
        ];
        listing.row(cells.map(str::to_owned).to_vec());
    }
    terminal.data(&listing.print(flags.output, &rows, terminal))?;
    Ok(Outcome::Clean)
}

fn in_words(wanted: &Wanted) -> String {
    let of =
        |what: &str, texts: &[String]| (!texts.is_empty()).then(|| format!("{what} {}", texts.join(" or ")));
    let parts = [
        of("rule", &wanted.rules),
        of("host", &wanted.hosts),
        of("principal", &wanted.principals),
        of("account", &wanted.accounts),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn finish(flags: &EndFlags, configured: &Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let path = file_of(configured, &flags.name);
    if !configured.config.silences.iter().any(|silence| silence.name == flags.name) {
        let text = format!(
            "there is no silence \"{}\"; `groundtrail silence list` names them",
            Untrusted(&flags.name)
        );
        terminal.note("error", &text);
        return Ok(Outcome::Faults);
    }
    let is_its_own = fs::read_to_string(&path)
        .ok()
        .and_then(|text| Config::parse(&text, &path).ok())
        .is_some_and(|config| matches!(config.silences.as_slice(), [only] if only.name == flags.name));
    if !is_its_own {
        let text = format!(
            "the silence \"{}\" is not in a file that `silence add` wrote: take it out where it stands, `groundtrail config show --origin` says where",
            flags.name
        );
        return Err(CliError::Usage(text));
    }
    fs::remove_file(&path).map_err(|source| CliError::Run {
        what: format!("cannot take away \"{}\"", path.display()),
        source: source.into(),
    })?;
    terminal.note(
        "ended",
        &format!("{} is gone. A run notices when it reloads: systemctl reload groundtrail", path.display()),
    );
    Ok(Outcome::Clean)
}
