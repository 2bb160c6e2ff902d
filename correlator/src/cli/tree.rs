//! `tree`: a process with what it descends from and what it started, or all processes of an alert.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rules::event::EventTime;
use rules::schema::Schema;
use serde_json::Value;

use super::inputs::{self, Input};
use super::listing::{Form, Listing};
use super::load::Configured;
use super::stored::{self, Meant, StoredFlags};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::alert::family::{Family, Found, Member, Told, members};
use crate::alert::view::{carried, text};
use crate::render;
use crate::source::normalize::Normalizer;
use crate::time;
use crate::untrusted::Untrusted;

const AFTER: &str = "Drawn from the events that alerts carry and those the store keeps for rules and explanations: events that no rule \
asked for are not there. With --host FILE it is drawn from recorded events as well, or from them alone.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Flags {
    /// The host, by its id, its name or the first part of that
    #[arg(value_name = "HOST", required_unless_present = "alert")]
    machine: Option<String>,
    /// The process; without it, all that is known of the host
    #[arg(value_name = "PID")]
    pid: Option<u64>,
    /// Instead: the processes of an alert, by its id or how that begins
    #[arg(long, value_name = "ALERT_ID", conflicts_with_all = ["machine", "pid", "at"])]
    alert: Option<String>,
    /// Of several processes that had the pid, the one that had it at this time
    #[arg(long, value_name = "RFC3339", value_parser = instant, requires = "pid")]
    at: Option<EventTime>,
    #[command(flatten)]
    stored: StoredFlags,
    /// Host events: a file of NDJSON, or "-" for stdin; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1)]
    host: Vec<PathBuf>,
    /// table (a drawing), json, ndjson or csv
    #[arg(
        long,
        short,
        value_name = "FORM",
        value_enum,
        default_value = "table",
        hide_possible_values = true
    )]
    output: Form,
}

fn instant(text: &str) -> Result<EventTime, String> {
    time::parse(text).ok_or_else(|| "give a time like 2026-11-02T10:00:00Z".to_owned())
}

/// What is meant, once the events are there.
enum Asked {
    Processes { host: String, pid: Option<u64> },
    Alert(Box<Value>),
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let configured = configured.config.store.filter(|_| flags.host.is_empty());
    let store = flags.stored.path(configured.as_deref()).map(stored::open).transpose()?;
    let alerts = match (&flags.stored.alerts, &store) {
        (Some(_), _) => flags.stored.read(None)?,
        (None, Some(store)) => stored::from_store(store)?,
        (None, None) if flags.host.is_empty() => {
            let text = "nothing to draw from: give --store PATH, --alerts FILE or --host FILE";
            return Err(CliError::Usage(text.to_owned()));
        }
        (None, None) => Vec::new(),
    };
    let Some(asked) = asked(&flags, &alerts)? else {
        terminal.note("error", &stored::unknown_alert(flags.alert.as_deref().unwrap_or_default()));
        return Ok(Outcome::Faults);
    };
    let mut told = Told::default();
    alerts.iter().for_each(|alert| told.add_alert(alert));
    if let Some(store) = &store {
        let each = |host: &str, told: &mut Told| {
            store.each_host_event(host, |raw| {
                if let Ok(event) = serde_json::from_str(raw) {
                    told.add(event);
                }
            })
        };
        asked.hosts().iter().try_for_each(|host| each(host, &mut told)).map_err(stored::failed)?;
    }
    let has_faults = read_recorded(&flags.host, &mut told, terminal);
    let Some(family) = family(&flags, &asked, &told, terminal) else { return Ok(Outcome::Faults) };
    terminal.data(&print(&told, &family, flags.output, terminal))?;
    Ok(if has_faults { Outcome::Faults } else { Outcome::Clean })
}

/// None: there is no such alert.
///
/// # Errors
/// Several could be meant.
fn asked(flags: &Flags, alerts: &[Value]) -> Result<Option<Asked>, CliError> {
    let Some(id) = &flags.alert else {
        let host = flags.machine.clone().unwrap_or_default();
        return Ok(Some(Asked::Processes { host, pid: flags.pid }));
    };
    let Meant::One(id) = stored::meant("alert", id, stored::alert_ids(alerts))? else { return Ok(None) };
    // Of several revisions of one alert in a file the last says most.
    let alert = alerts.iter().rfind(|alert| text(alert, "groundtrail.alert.id") == Some(id));
    Ok(alert.map(|alert| Asked::Alert(Box::new(alert.clone()))))
}

impl Asked {
    /// Texts that stand in every event of the hosts in question.
    fn hosts(&self) -> BTreeSet<String> {
        match self {
            Self::Processes { host, .. } => [host.clone()].into(),
            Self::Alert(alert) => {
                let events = carried(alert);
                events.iter().filter_map(|event| text(event.event, "host.id")).map(String::from).collect()
            }
        }
    }
}

/// Whether something could not be read.
fn read_recorded(paths: &[PathBuf], told: &mut Told, terminal: &Terminal) -> bool {
    let inputs: Vec<Input> = paths.iter().cloned().map(Input::Host).collect();
    if inputs.is_empty() {
        return false;
    }
    let normalizer = Normalizer::new(Arc::new(Schema::builtin()), Arc::default());
    let (rejected, empty) = inputs::read_each(&inputs, &normalizer, |_, record| told.add(record.document()));
    inputs::say_rejected(&rejected, terminal);
    inputs::say_empty(&empty, terminal);
    !rejected.is_empty()
}

/// None: there is no such process, and that was said.
fn family<'d>(flags: &Flags, asked: &'d Asked, told: &'d Told, terminal: &Terminal) -> Option<Family<'d>> {
    let (host, pid) = match asked {
        Asked::Alert(alert) => {
            let of_alert = told.of_alert(alert);
            if of_alert.is_empty() {
                terminal.note("nothing to draw", "no event of this alert names a process");
                return None;
            }
            return Some(told.family(&of_alert, false));
        }
        Asked::Processes { host, pid } => (host, *pid),
    };
    let mut found = told.find(host, pid);
    if let Some(at) = flags.at {
        found = running_at(found, at);
    }
    if found.is_empty() {
        terminal.note("nothing known", &unknown(host, pid, told));
        return None;
    }
    if pid.is_some() && found.len() > 1 {
        let times: Vec<String> =
            found.iter().filter_map(|found| found.first).map(|first| first.to_string()).collect();
        let text = format!(
            "{} processes had this pid, from {}: --at TIME chooses one",
            found.len(),
            times.join(", ")
        );
        terminal.note("note", &text);
    }
    let entities: BTreeSet<&str> = found.iter().map(|found| found.entity).collect();
    Some(told.family(&entities, pid.is_some()))
}

/// Of each host's the last to start by then.
fn running_at(found: Vec<Found<'_>>, at: EventTime) -> Vec<Found<'_>> {
    let mut last = std::collections::BTreeMap::new();
    for found in found {
        let has_started = found.first.is_none_or(|first| first.as_nanosecond() <= i128::from(at.0));
        if has_started {
            last.insert(found.host, found);
        }
    }
    last.into_values().collect()
}

fn unknown(host: &str, pid: Option<u64>, told: &Told) -> String {
    let hosts = told.hosts();
    let of_host = told.find(host, None).len();
    match pid {
        Some(pid) if of_host > 0 => format!(
            "of pid {pid} on \"{}\", where {of_host} processes are known: `groundtrail tree {}` draws them",
            Untrusted(host),
            Untrusted(host)
        ),
        _ if hosts.is_empty() => format!("of \"{}\": no event names a process", Untrusted(host)),
        _ => {
            const MAX_NAMED: usize = 10;
            let mut named: Vec<String> =
                hosts.keys().take(MAX_NAMED).map(|host| Untrusted(host).to_string()).collect();
            if hosts.len() > MAX_NAMED {
                named.push(format!("{} more", hosts.len() - MAX_NAMED));
            }
            format!("of \"{}\"; processes are known of {}", Untrusted(host), named.join(", "))
        }
    }
}

fn print(told: &Told, family: &Family<'_>, form: Form, terminal: &Terminal) -> String {
    if form == Form::Table {
        return render::family(family, terminal.stdout);
    }
    let members = members(told, family);
    let mut listing = Listing::new(&[
        "host",
        "depth",
        "time",
        "pid",
        "user",
        "name",
        "command line",
        "exit code",
        "deeds",
        "alerts",
    ]);
    members.iter().for_each(|member| listing.row(cells(member)));
    listing.print(form, &members, terminal)
}

fn cells(member: &Member) -> Vec<String> {
    let deeds: Vec<&str> = member.deeds.iter().map(|deed| deed.what.as_str()).collect();
    let alerts: Vec<&str> = member.alerts.iter().map(|concern| concern.alert.as_str()).collect();
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        member.host.clone(),
        member.depth.to_string(),
        optional(&member.time),
        member.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        optional(&member.user),
        member.name.clone(),
        member.command_line.clone(),
        optional(&member.exit_code),
        deeds.join("; "),
        alerts.join(" "),
    ]
}
