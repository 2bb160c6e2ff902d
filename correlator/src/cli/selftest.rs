//! `selftest`: a canary of our own, from a real exec and a real connection on this host, through the sensor and the run, to an
//! alert in the store and back, with the hop at which it was lost where it was.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rules::catalogue;
use rules::event::EventTime;
use serde::Serialize;
use serde_json::Value;

use super::listing::{Form, Listing};
use super::load::{Configured, RuleSet};
use super::stored;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::alert::view::{carried, scalar, text};
use crate::health::{Health, millis, span};
use crate::metrics;
use crate::notify::CANARY_RULE;
use crate::store::{Follower, Store};
use crate::time::{Clock as _, SystemClock};

/// Where the packaged sensor answers.
pub(super) const SENSOR_SOCKET: &str = "/run/groundtrail-sensor/status.sock";
/// What a run has besides the rules of its configuration.
const RULE: &str = include_str!("selftest/canary.toml");
const LOOK: Duration = Duration::from_millis(100);
/// A run that has not written for so long is not there.
const SILENT_MS: i64 = 60_000;

const AFTER: &str = "A process of this program with an argument of its own connects to a closed port of 127.0.0.1. The sensor has to see both, the \
run has to join them by a rule that only a run has, and the alert has to be in the store with both events. Such alerts go to no sink: \
`groundtrail sink test` tries those.

Exit codes:
  0  it came back
  2  the command line or the configuration is wrong
  3  the store cannot be read, or the canary cannot be started
  4  it did not come back in time: the hop is named";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Flags {
    /// The store of the run, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// The run's endpoint, if it is not the configuration's; without one the store tells how the run is
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Where the sensor on this machine answers
    #[arg(long, value_name = "PATH", default_value = SENSOR_SOCKET)]
    sensor_socket: PathBuf,
    /// Seconds to wait for the alert
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    timeout: u32,
    /// How to print
    #[arg(long, short, value_name = "FORM", value_enum, default_value = "table")]
    output: Form,
}

/// What the canary is told apart by.
#[derive(Debug, Args)]
pub(super) struct CanaryFlags {
    #[arg(value_name = "MARK")]
    mark: String,
    #[arg(value_name = "PORT")]
    port: u16,
}

/// The canary itself: it is, connects to where nobody listens, and ends.
pub(super) fn canary(flags: &CanaryFlags) -> Outcome {
    // The mark is there to be seen from outside.
    let _ = &flags.mark;
    let at = SocketAddr::from(([127, 0, 0, 1], flags.port));
    let _ = TcpStream::connect_timeout(&at, Duration::from_secs(1));
    Outcome::Clean
}

/// A run finds canaries, whatever rules it was given.
pub(super) fn add_rule(set: &mut RuleSet) {
    let loaded = catalogue::text(Path::new("selftest/canary.toml"), RULE, &mut set.schema);
    set.rules.retain(|rule| rule.id != CANARY_RULE);
    set.rules.extend(loaded.rules);
}

/// One stretch of the way.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Hop {
    hop: &'static str,
    state: State,
    after_ms: u64,
    what: String,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Passed,
    Failed,
    /// It cannot be looked at from here, and what follows says more.
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let config = configured.config;
    let Some(path) = flags.store.clone().or(config.store) else {
        let text = "the alert is looked for in the run's store: give --store PATH, or [store] path in the configuration";
        return Err(CliError::Usage(text.to_owned()));
    };
    stored::open(&path)?;
    let listen = config.metrics.listen.filter(|_| flags.store.is_none());
    let url = flags.url.clone().or_else(|| Some(format!("http://{}", listen?)));
    let watch = Watch { path, url };
    let hops = travel(&flags, &watch)?;
    let mut listing = Listing::new(&["hop", "state", "after", "what"]);
    for hop in &hops {
        let after = match flags.output {
            Form::Table => span(i64::try_from(hop.after_ms).unwrap_or(i64::MAX)),
            _ => hop.after_ms.to_string(),
        };
        listing.row(vec![hop.hop.to_owned(), hop.state.word().to_owned(), after, hop.what.clone()]);
    }
    terminal.data(&listing.print(flags.output, &hops, terminal))?;
    Ok(match hops.iter().any(|hop| hop.state == State::Failed) {
        true => Outcome::Unwell,
        false => Outcome::Clean,
    })
}

/// The run, seen from outside.
struct Watch {
    path: PathBuf,
    url: Option<String>,
}

impl Watch {
    /// How the run is; its endpoint is asked first, since it knows more lately.
    fn health(&self) -> Result<Option<Health>, CliError> {
        if let Some(health) = self.url.as_deref().and_then(|url| metrics::ask(url).ok()) {
            return Ok(Some(health));
        }
        Store::open_to_look(&self.path).and_then(|store| store.health()).map_err(stored::failed)
    }
}

/// The way of one canary, as far as it came.
fn travel(flags: &Flags, watch: &Watch) -> Result<Vec<Hop>, CliError> {
    let started = Instant::now();
    let mut hops = Vec::new();
    let mut put = |hop, state, what: String| {
        let after_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        hops.push(Hop { hop, state, after_ms, what });
    };
    let (state, what) = sensor(&flags.sensor_socket);
    put("sensor", state, what);
    let (state, what) = judge_run(watch.health()?.as_ref(), SystemClock.now());
    let is_over = state == State::Failed;
    put("run", state, what);
    if is_over {
        return Ok(hops);
    }

    let mut follower = Follower::open(&watch.path).map_err(stored::failed)?;
    follower.newest(0, |_| false).map_err(stored::failed)?;
    let begun = SystemClock.now();
    let mark = mark(begun);
    start(&mark)?;
    put("exec and connection", State::Passed, format!("{mark} was started, and connected to a closed port"));

    let until = Instant::now() + Duration::from_secs(flags.timeout.into());
    let mut alert: Option<Value> = None;
    let mut heard = None;
    while alert.as_ref().is_none_or(|alert| !is_whole(alert)) && Instant::now() < until {
        thread::sleep(LOOK);
        let mut found = Vec::new();
        follower.poll(Instant::now(), |held| found.push(held.document)).map_err(stored::failed)?;
        let with_mark = found.iter().filter(|document| document.contains(&mark));
        let of_canary = |alert: &Value| text(alert, "rule.id") == Some(CANARY_RULE);
        let found = with_mark.filter_map(|document| serde_json::from_str(document).ok()).rfind(of_canary);
        alert = found.or(alert);
        if heard.is_none() {
            heard = watch
                .health()?
                .and_then(|health| newest_of_sensors(&health))
                .filter(|at| *at >= millis(begun));
            if heard.is_some() {
                put(
                    "events",
                    State::Passed,
                    "the run has events of hosts that are newer than the canary".to_owned(),
                );
            }
        }
    }
    match alert {
        Some(alert) => {
            if heard.is_none() {
                put("events", State::Passed, "the run has the canary's".to_owned());
            }
            let id = text(&alert, "groundtrail.alert.id").unwrap_or_default().to_owned();
            put("alert", State::Passed, format!("{id} is in the store"));
            let of = |action: &str| {
                let evidence = carried(&alert);
                let mut evidence = evidence.iter().filter(|event| event.is_evidence());
                evidence.any(|event| scalar(event.event, "event.action").as_deref() == Some(action))
            };
            let (has_exec, has_connection) = (of("exec"), of("connection_attempted"));
            let state = if has_exec && has_connection { State::Passed } else { State::Failed };
            let what = match state {
                State::Passed => {
                    format!("both events are its evidence; `groundtrail explain {id}` shows them")
                }
                _ => "it lacks one of its two events: please report this".to_owned(),
            };
            put("back", state, what);
        }
        None => {
            let health = watch.health()?;
            let (hop, what) = lost(heard.is_some(), health.as_ref(), begun, flags.timeout);
            put(hop, State::Failed, what);
        }
    }
    Ok(hops)
}

fn is_whole(alert: &Value) -> bool {
    carried(alert).iter().filter(|event| event.is_evidence()).count() >= 2
}

/// The last that was heard of any host.
fn newest_of_sensors(health: &Health) -> Option<i64> {
    let sensors = health.sources.iter().filter(|source| source.name.starts_with("sensor"));
    sensors.filter_map(|source| source.newest_ms).max()
}

/// Nothing else has it: the time, and where a process of ours stands.
fn mark(now: EventTime) -> String {
    format!("gt-canary-{:x}-{}", now.0 / 1_000, std::process::id())
}

/// Starts the canary and waits for its end.
fn start(mark: &str) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::Run {
        what: "the canary cannot be started".to_owned(),
        source: source.into(),
    };
    // Nobody listens there once this is dropped.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(failed)?.port();
    let program = std::env::current_exe().map_err(failed)?;
    let ended =
        Command::new(program).args(["selftest-canary", mark, &port.to_string()]).status().map_err(failed)?;
    match ended.success() {
        true => Ok(()),
        false => Err(failed(io::Error::other(format!("it ended with {ended}")))),
    }
}

fn sensor(socket: &Path) -> (State, String) {
    let answer = ask_sensor(socket, Duration::from_secs(3));
    let report = answer.ok().and_then(|answer| serde_json::from_str::<Value>(&answer).ok());
    let socket = socket.display();
    match report {
        Some(report) => {
            let state = scalar(&report, "state").unwrap_or_else(|| "running".to_owned());
            (State::Passed, format!("one answers at {socket}: {state}"))
        }
        None => (
            State::Unknown,
            format!(
                "none answers at {socket}, or not to this user; `sudo groundtrail-sensor status` says more"
            ),
        ),
    }
}

/// # Errors
/// None answers in time.
pub(super) fn ask_sensor(socket: &Path, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(b"status")?;
    let mut answer = String::new();
    stream.take(16 << 20).read_to_string(&mut answer)?;
    Ok(answer)
}

fn judge_run(health: Option<&Health>, now: EventTime) -> (State, String) {
    let Some(health) = health else {
        return (State::Failed, "no run has used this store yet: systemctl start groundtrail".to_owned());
    };
    let age_ms = millis(now) - health.at_ms;
    if age_ms > SILENT_MS {
        let age = span(age_ms);
        return (State::Failed, format!("none has written for {age}: systemctl status groundtrail says why"));
    }
    if !health.sources.iter().any(|source| source.name.starts_with("sensor")) {
        let text = "it has no source of sensors: add [[source]] type = \"sensors\" to its configuration";
        return (State::Failed, text.to_owned());
    }
    let reasons = health.reasons();
    match reasons.as_slice() {
        [] => (State::Passed, format!("it is well, and has {} rules", health.n_rules)),
        [first, ..] => (State::Passed, format!("it is degraded: {first}")),
    }
}

/// Where the canary was lost, and whom to ask.
fn lost(is_heard: bool, health: Option<&Health>, begun: EventTime, timeout: u32) -> (&'static str, String) {
    if is_heard {
        let what = format!(
            "events of hosts came within {timeout} s, and no alert of the canary's: this host's sensor may be silent, or leave out what \
             was asked for (`groundtrail-sensor selftest`), or the run does not have the rule (is it of this version?)"
        );
        return ("alert", what);
    }
    let newest = health.and_then(newest_of_sensors);
    let last = newest.map_or_else(
        || "none ever came".to_owned(),
        |newest| format!("the last is {} older than the canary", span(millis(begun) - newest)),
    );
    let what = format!(
        "no event of a host came within {timeout} s; {last}. Ask `groundtrail-sensor status` here what becomes of its events, and \
         `groundtrail status` whether a sensor is connected"
    );
    ("events", what)
}

#[cfg(test)]
mod tests {
    use rules::schema::Schema;

    use super::*;
    use crate::health::SourceHealth;

    #[test]
    fn the_rule_loads_without_a_word_and_is_the_one_that_is_meant() {
        let loaded = catalogue::text(Path::new("canary.toml"), RULE, &mut Schema::builtin());
        assert_eq!(loaded.rules.len(), 1, "{:?}", loaded.reports);
        assert_eq!(loaded.rules[0].id, CANARY_RULE);
        assert!(!loaded.has_errors(), "{:?}", loaded.reports);
    }

    #[test]
    fn an_exec_and_a_connection_of_one_process_are_one_alert() {
        use std::sync::Arc;

        use rules::program::Program;

        use crate::keyed::Limits;
        use crate::source::normalize::Normalizer;

        let mut schema = Schema::builtin();
        let rules = catalogue::text(Path::new("canary.toml"), RULE, &mut schema).rules;
        let schema = Arc::new(schema);
        let event = |id: &str, second: u32, entity: &str, [category, action, dataset]: [&str; 3]| {
            format!(
                r#"{{"@timestamp":"2026-11-02T10:00:0{second}Z","host":{{"id":"i-1"}},"destination":{{"ip":"127.0.0.1"}},
                "event":{{"id":"{id}","category":["{category}"],"type":["start"],"action":"{action}","dataset":"{dataset}"}},
                "data_stream":{{"type":"logs","dataset":"{dataset}","namespace":"default"}},
                "process":{{"entity_id":"{entity}","args":["groundtrail","selftest-canary","gt-canary-1-2","9"]}}}}"#
            )
        };
        let exec = |entity| event("a", 0, entity, ["process", "exec", "endpoint.events.process"]);
        let connect =
            |entity| event("b", 1, entity, ["network", "connection_attempted", "endpoint.events.network"]);
        let n_alerts = |events: &[String]| {
            let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
            let records: Vec<_> =
                events.iter().flat_map(|event| normalizer.read_any(event)).flatten().collect();
            assert_eq!(records.len(), events.len());
            let program = Arc::new(Program::with_drops(rules.clone(), Vec::new(), &schema));
            let source: Arc<str> = "s".into();
            let inputs = records.into_iter().map(|record| (Arc::clone(&source), record));
            crate::pipeline::replay(program, &schema, Limits::default(), inputs).alerts.len()
        };
        assert_eq!(n_alerts(&[exec("p"), connect("p")]), 1);
        assert_eq!(n_alerts(&[exec("p"), connect("other")]), 0);
        assert_eq!(n_alerts(&[exec("p")]), 0);
    }

    #[test]
    fn a_run_that_is_not_there_or_hears_no_sensor_is_named() {
        let now = EventTime(10_000_000_000_000);
        let check = |health: Option<&Health>, state, part: &str| {
            let (found, what) = judge_run(health, now);
            assert_eq!(found, state, "{what}");
            assert!(what.contains(part), "{what}");
        };
        check(None, State::Failed, "systemctl start");
        let mut health = Health { at_ms: 8_000_000, ..Health::default() };
        check(Some(&health), State::Failed, "for 33 min");
        health.at_ms = 9_999_000;
        check(Some(&health), State::Failed, "type = \"sensors\"");
        let source =
            |is_open| SourceHealth { name: "sensors unix:/s".to_owned(), is_open, ..SourceHealth::default() };
        health.sources = vec![source(true)];
        check(Some(&health), State::Passed, "it is well");
        health.sources = vec![source(false)];
        check(Some(&health), State::Passed, "degraded");
    }

    #[test]
    fn where_the_canary_was_lost_is_said() {
        let health = Health {
            sources: vec![SourceHealth {
                name: "sensor -".to_owned(),
                newest_ms: Some(1_000),
                ..SourceHealth::default()
            }],
            ..Health::default()
        };
        let (hop, what) = lost(false, Some(&health), EventTime(181_000_000_000), 5);
        assert_eq!(hop, "events");
        assert!(what.contains("3 min older"), "{what}");
        assert!(lost(false, None, EventTime(0), 5).1.contains("none ever came"));
        assert_eq!(lost(true, Some(&health), EventTime(0), 5).0, "alert");
    }
}
