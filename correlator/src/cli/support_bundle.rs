//! `support-bundle`: what somebody who helps needs to see of a run, in one file, and nothing that opens a door.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use rules::catalogue::report::Report;
use rules::diagnostic::Severity;
use serde::Serialize;
use serde_json::{Value, json};

use super::listing::{Form, Listing};
use super::load::{self, Configured};
use super::selftest::SENSOR_SOCKET;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::bundle;
use crate::health::Health;
use crate::metrics;
use crate::store::Store;
use crate::time::{self, Clock as _, SystemClock};

/// Of the log, the end.
const MAX_LOG_LINES: &str = "2000";
const MAX_LOG_BYTES: usize = 8 << 20;
/// A sensor that hangs is one of the reasons to make a bundle.
const SENSOR_TIME: Duration = Duration::from_secs(3);

const AFTER: &str = "Everything goes through an allow-list: texts of the configuration, of logs and of what receivers answered are masked by their \
length unless they are known to be words of ours; no event, alert, rule text, name of a host or account, variable of the environment, or \
secret file is read into it. --list shows what it would hold; unpack it and look before you send it.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Flags {
    /// The file to write [default: groundtrail-support-TIME.tar.gz here]
    #[arg(long, short, value_name = "FILE", conflicts_with = "list")]
    output: Option<PathBuf>,
    /// Show what it would hold and write nothing
    #[arg(long)]
    list: bool,
    /// How --list prints
    #[arg(long, value_name = "FORM", value_enum, default_value = "table", requires = "list")]
    form: Form,
    /// The run's endpoint, if it is not the configuration's
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// A file with the run's log, instead of what the journal has of groundtrail.service
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where the sensor on this machine answers
    #[arg(long, value_name = "PATH", default_value = SENSOR_SOCKET)]
    sensor_socket: PathBuf,
}

/// One file of the bundle.
struct Part {
    name: &'static str,
    what: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Row {
    file: &'static str,
    bytes: usize,
    what: &'static str,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let parts = gather(&flags, &configured);
    if flags.list {
        let row = |part: &Part| Row { file: part.name, bytes: part.content.len(), what: part.what };
        let rows: Vec<Row> = parts.iter().map(row).collect();
        let mut listing = Listing::new(&["file", "bytes", "what"]);
        rows.iter().for_each(|row| {
            listing.row(vec![row.file.to_owned(), row.bytes.to_string(), row.what.to_owned()]);
        });
        terminal.data(&listing.print(flags.form, &rows, terminal))?;
        return Ok(Outcome::Clean);
    }
    let stamp: String =
        time::format(SystemClock.now()).chars().filter(char::is_ascii_digit).take(14).collect();
    let path = flags.output.unwrap_or_else(|| format!("groundtrail-support-{stamp}.tar.gz").into());
    write(&path, &stamp, &parts).map_err(|source| CliError::Run {
        what: format!("cannot write \"{}\"", path.display()),
        source: source.into(),
    })?;
    terminal.note("written", &format!("{}; look into it before you send it: tar -xzf", path.display()));
    Ok(Outcome::Clean)
}

/// What cannot be had says why, in words of ours: a bundle is made when things do not work.
fn gather(flags: &Flags, configured: &Configured) -> Vec<Part> {
    let config = &configured.config;
    let store = flags.store.as_deref().or(config.store.as_deref());
    let health = health(flags, configured, store).map(bundle::health);
    let told = |made: Result<String, &'static str>| {
        made.unwrap_or_else(|why| format!("{}\n", json!({"missing": why})))
    };
    let document = |value: &Value| format!("{value:#}\n");
    let log = log(flags.log.as_deref());
    let mut parts = vec![
        Part {
            name: "versions.json",
            what: "this program, and the formats it knows",
            content: document(&json!({
                "groundtrail": env!("CARGO_PKG_VERSION"),
                "aws": cfg!(feature = "aws"),
                "store_format": Store::FORMAT,
                "made": time::format(SystemClock.now()),
            })),
        },
        Part {
            name: "system.json",
            what: "kernel, distribution, processors, memory; no name of the machine",
            content: document(&bundle::system(|path| fs::read_to_string(path).ok())),
        },
        Part {
            name: "config.toml",
            what: "the settings in force; texts are masked but for kinds, paths and places",
            content: bundle::config(&config.to_toml()),
        },
        Part {
            name: "rules.json",
            what: "which rules load, by id and hash, and the codes of what is wrong with files",
            content: document(&rules(configured)),
        },
        Part {
            name: "status.json",
            what: "how the run is, in numbers; hosts and accounts are counted",
            content: told(
                health.as_ref().map(|health| document(&bundle::health_document(health))).map_err(|why| *why),
            ),
        },
        Part {
            name: "metrics.txt",
            what: "the same as /metrics has it",
            content: told(health.as_ref().map(metrics::text).map_err(|why| *why)),
        },
        Part {
            name: "store.json",
            what: "rows of each table, alerts by severity, the size of the file",
            content: told(counts(store).map(|counts| document(&counts))),
        },
        Part {
            name: "sensor.json",
            what: "what the sensor on this machine says, in numbers",
            content: told(sensor(&flags.sensor_socket).map(|report| document(&bundle::sensor(&report)))),
        },
        Part {
            name: "log.ndjson",
            what: "the end of the run's log: times, levels, messages, numbers; texts are masked",
            content: told(log.map(|log| bundle::log_lines(&log))),
        },
    ];
    let list: String = parts.iter().map(|part| format!("{:<16}{}\n", part.name, part.what)).collect();
    let content = format!("What `groundtrail support-bundle` found. Nothing in it opens a door.\n\n{list}");
    parts.insert(0, Part { name: "README", what: "this list", content });
    parts
}

fn health(flags: &Flags, configured: &Configured, store: Option<&Path>) -> Result<Health, &'static str> {
    let listen = configured.config.metrics.listen.filter(|_| flags.store.is_none());
    let url = flags.url.clone().or_else(|| Some(format!("http://{}", listen?)));
    if let Some(health) = url.and_then(|url| metrics::ask(&url).ok()) {
        return Ok(health);
    }
    let store = store.ok_or("no run answers, and no store is configured")?;
    let store = Store::open_to_look(store).ok().ok_or("no run answers, and the store cannot be opened")?;
    store.health().ok().flatten().ok_or("no run answers, and none has left word in the store")
}

fn rules(configured: &Configured) -> Value {
    let set = load::rules(configured);
    let finding = |report: &Report| {
        let codes: Vec<Value> = report
            .findings
            .iter()
            .map(|finding| {
                let is_error = finding.diagnostic.severity == Severity::Error;
                json!({"code": finding.diagnostic.code.as_str(), "is_error": is_error})
            })
            .collect();
        json!({"is_note": report.is_note(), "findings": codes})
    };
    json!({
        "loaded": set.rules.len(),
        "drop_lines": set.drops.len(),
        "passed_over": set.n_passed_over,
        "remarks": set.remarks.len(),
        "files": set.reports.iter().map(finding).collect::<Vec<_>>(),
        "rules": set.rules.iter().map(|rule| {
            let id = if is_id(&rule.id) { rule.id.clone() } else { bundle::masked(&rule.id) };
            json!({"id": id, "hash": rule.hash, "type": rule.kind.as_str(), "exceptions": rule.exceptions.len()})
        }).collect::<Vec<_>>(),
    })
}

/// A UUID. Another id is its author's own text.
fn is_id(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn counts(store: Option<&Path>) -> Result<Value, &'static str> {
    let path = store.ok_or("no store is configured")?;
    let size = fs::metadata(path).ok().ok_or("there is no store")?.len();
    let store = Store::open_to_look(path).ok().ok_or("the store cannot be opened")?;
    let rows = store.n_rows().ok().ok_or("the store cannot be read")?;
    let alerts = store.n_alerts_by_severity().ok().ok_or("the store cannot be read")?;
    Ok(json!({"bytes": size, "rows": rows, "alerts": alerts}))
}

fn sensor(socket: &Path) -> Result<String, &'static str> {
    super::selftest::ask_sensor(socket, SENSOR_TIME)
        .ok()
        .ok_or("no sensor answers on this machine, or not to this user")
}

fn log(file: Option<&Path>) -> Result<String, &'static str> {
    let bytes = match file {
        Some(path) => fs::read(path).ok().ok_or("the file of the log cannot be read")?,
        None => {
            let args = ["-u", "groundtrail.service", "-o", "cat", "-n", MAX_LOG_LINES, "--no-pager", "-q"];
            let asked = Command::new("/usr/bin/journalctl").args(args).output();
            asked.ok().ok_or("there is no journal; --log names a file")?.stdout
        }
    };
    let from = bytes.len().saturating_sub(MAX_LOG_BYTES);
    Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
}

/// Its owner's alone, whatever is in it.
fn write(path: &Path, stamp: &str, parts: &[Part]) -> io::Result<()> {
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.content.len() as u64);
        header.set_mode(0o600);
        let name = format!("groundtrail-support-{stamp}/{}", part.name);
        archive.append_data(&mut header, name, part.content.as_bytes())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()
}
