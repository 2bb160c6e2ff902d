//! `status`: how a run is, from its endpoint, or else from what it left in its store.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use rules::event::EventTime;
use rules::rule::Severity;

use super::listing::{self, Form, Listing};
use super::load::Configured;
use super::stored::must_exist;
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::health::{Health, PartitionHealth, SourceHealth, millis, span};
use crate::metrics;
use crate::store::Store;
use crate::time::{Clock as _, SystemClock};
use crate::untrusted::Untrusted;

const EXIT_CODES: &str = "Exit codes:
  0  well
  2  the command line or the configuration is wrong
  3  no answer: nothing listens there, or the store cannot be read
  4  degraded: the reasons are printed";

/// Hosts that are listed.
const MAX_CLOCKS: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// The run's endpoint, if it is not the configuration's: http://127.0.0.1:9109
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Look into this store instead; also where the configuration names no endpoint
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    store: Option<PathBuf>,
    /// table, json, ndjson, or csv (the sources)
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

/// How a run is, and what that is known from.
struct Seen {
    health: Health,
    from: String,
    reasons: Vec<String>,
    /// Alerts that stand in the store. An endpoint tells of those since the start.
    stored: Option<BTreeMap<String, u64>>,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let config = configured.config;
    let url = flags.url.or_else(|| {
        let listen = config.metrics.listen.filter(|_| flags.store.is_none())?;
        Some(format!("http://{listen}"))
    });
    let now = SystemClock.now();
    let seen = match (url, flags.store.or(config.store)) {
        (Some(url), _) => {
            let health = metrics::ask(&url).map_err(failed("no status"))?;
            Seen { reasons: health.reasons(), health, from: url, stored: None }
        }
        (None, Some(path)) => look_into(&path, now)?,
        (None, None) => {
            return Err(CliError::Usage(
                "no run to ask: give --url or --store, or [metrics] listen or [store] path in the configuration"
                    .to_owned(),
            ));
        }
    };
    terminal.data(&match flags.output {
        Form::Table => page(&seen, now, terminal.stdout.width),
        Form::Csv => sources(&seen.health, now).print(Form::Csv, &seen.health.sources, terminal),
        form => {
            let mut json = serde_json::to_value(&seen.health).map_err(std::io::Error::other)?;
            json["from"] = seen.from.into();
            json["reasons"] = seen.reasons.clone().into();
            if let Some(stored) = seen.stored {
                json["stored_alerts"] = serde_json::to_value(stored).map_err(std::io::Error::other)?;
            }
            listing::record(form, &json)
        }
    })?;
    Ok(if seen.reasons.is_empty() { Outcome::Clean } else { Outcome::Unwell })
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &str) -> impl Fn(E) -> CliError {
    move |source| CliError::Run { what: what.to_owned(), source: source.into() }
}

fn look_into(path: &Path, now: EventTime) -> Result<Seen, CliError> {
    must_exist(path)?;
    let store = Store::open_to_look(path).map_err(failed("no status"))?;
    let (health, stored) = (store.health(), store.n_alerts_by_severity());
    let stored = stored.map_err(failed("no status"))?;
    let (health, reasons) = match health.map_err(failed("no status"))? {
        Some(health) => {
            let reasons = health.reasons_of_store(now);
            (health, reasons)
        }
        None => (Health::default(), vec!["no run of this version has used this store yet".to_owned()]),
    };
    Ok(Seen { health, from: path.display().to_string(), reasons, stored: Some(stored) })
}

fn page(seen: &Seen, now: EventTime, width: usize) -> String {
    let Seen { health, from, reasons, stored } = seen;
    let mut out = String::new();
    let state = if reasons.is_empty() { "well" } else { "degraded" };
    let _ = writeln!(out, "{state}, from {}", Untrusted(from));
    for reason in reasons {
        let _ = writeln!(out, "  {}", Untrusted(reason));
    }
    if health.at_ms == 0 {
        return out;
    }
    let up = span(health.at_ms - health.started_ms);
    let (n_rules, n_keys, n_open) = (health.n_rules, health.n_keys, health.n_open_alerts);
    let _ = writeln!(
        out,
        "up {up}, {n_rules} rules, {n_keys} half-seen patterns, {n_open} alerts that can still change"
    );
    let told = alerts(&health.alerts);
    let _ = writeln!(out, "alerts since the start: {told}");
    if health.n_muted + health.n_held_back > 0 {
        let (muted, held) = (health.n_muted, health.n_held_back);
        let _ = writeln!(out, "not sent of these: {muted} muted by silences, {held} held back as repeats");
    }
    if let Some(stored) = stored {
        let _ = writeln!(out, "alerts in the store: {}", alerts(stored));
    }
    out.push('\n');
    out.push_str(&sources(health, now).table(width.max(160)));
    if !health.sinks.is_empty() {
        out.push('\n');
        out.push_str(&sinks(health).render(width.max(160)));
    }
    out.push_str(&clocks(health, millis(now), width));
    out
}

fn sources(health: &Health, now: EventTime) -> Listing {
    let mut listing = Listing::new(&[
        "source",
        "state",
        "last event",
        "lag p50",
        "lag p95",
        "lag p99",
        "lost",
        "received",
        "evaluated",
        "dropped",
        "duplicate",
        "late",
        "rejected",
    ]);
    health.sources.iter().for_each(|source| listing.row(row(source, millis(now))));
    listing
}

fn sinks(health: &Health) -> Table {
    let headings = ["sink", "state", "delivered", "queued", "oldest", "tried again", "dead letters", "lost"];
    let mut table = Table::new(&headings);
    for sink in &health.sinks {
        let state = if sink.failing_since_ms.is_some() { "failing" } else { "working" };
        let oldest = sink.oldest_ms.map_or_else(|| "-".to_owned(), |oldest| span(health.at_ms - oldest));
        let mut row = vec![sink.name.clone(), state.to_owned()];
        row.extend([sink.n_delivered.to_string(), sink.n_queued.to_string(), oldest]);
        row.extend([sink.n_retried, sink.n_dead, sink.n_lost].map(|n| n.to_string()));
        table.row(row);
    }
    table
}

/// Hosts, and accounts and regions, of all sources: those that were silent longest first.
fn clocks(health: &Health, now_ms: i64, width: usize) -> String {
    let mut clocks: Vec<(&SourceHealth, &PartitionHealth)> = health
        .sources
        .iter()
        .flat_map(|source| source.partitions.iter().map(move |partition| (source, partition)))
        .collect();
    if clocks.is_empty() {
        return String::new();
    }
    clocks.sort_by_key(|(_, clock)| clock.newest_ms);
    let headings = ["host, or account and region", "source", "last event", "lag p95", "missing", "losses"];
    let mut table = Table::new(&headings);
    for (source, clock) in clocks.iter().take(MAX_CLOCKS) {
        table.row(vec![
            clock.name.clone(),
            source.name.clone(),
            ago(clock.newest_ms, now_ms),
            clock.lag_p95_ms.map_or_else(|| "-".to_owned(), span),
            clock.n_missing.to_string(),
            clock.n_losses.to_string(),
        ]);
    }
    let mut out = format!("\n{}", table.render(width.max(120)));
    let n_all: u64 = health.sources.iter().map(|source| source.n_partitions).sum();
    let n_more = n_all.saturating_sub(MAX_CLOCKS as u64);
    if n_more > 0 {
        let _ = writeln!(out, "… and {n_more} more that were heard of later");
    }
    out
}

fn ago(at_ms: Option<i64>, now_ms: i64) -> String {
    at_ms.map_or_else(|| "never".to_owned(), |at| format!("{} ago", span(now_ms - at)))
}

/// Of the worst clock of the source, which is what holds others up.
fn row(source: &SourceHealth, now_ms: i64) -> Vec<String> {
    let worst =
        |lag: fn(&PartitionHealth) -> Option<i64>| source.worst(lag).map_or_else(|| "-".to_owned(), span);
    let state = match (source.is_open, source.has_ended) {
        (false, _) => "not open",
        (true, true) => "ended",
        (true, false) => "open",
    };
    let newest = ago(source.newest_ms, now_ms);
    let counts = &source.counts;
    let mut row = vec![source.name.clone(), state.to_owned(), newest];
    row.extend([worst(|of| of.lag_p50_ms), worst(|of| of.lag_p95_ms), worst(|of| of.lag_p99_ms)]);
    row.push(source.n_missing.saturating_add(source.n_losses).to_string());
    let terms =
        [counts.received, counts.evaluated, counts.dropped, counts.duplicate, counts.late, counts.rejected];
    row.extend(terms.map(|n| n.to_string()));
    row
}

fn alerts(by_severity: &BTreeMap<String, u64>) -> String {
    let known = Severity::ALL.iter().rev().map(|severity| severity.as_str());
    let told: Vec<String> =
        known.filter_map(|severity| Some(format!("{} {severity}", by_severity.get(severity)?))).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_that_was_silent_longest_stands_first_and_the_rest_is_counted() {
        let host = |n: i64| PartitionHealth {
            name: format!("web-{n}"),
            newest_ms: Some(1_000_000 - n * 1_000),
            lag_p95_ms: Some(40),
            ..PartitionHealth::default()
        };
        let source = |hosts: std::ops::Range<i64>, n_partitions| SourceHealth {
            name: "sensors".to_owned(),
            partitions: hosts.map(host).collect(),
            n_partitions,
            ..SourceHealth::default()
        };
        let health = Health { sources: vec![source(0..3, 3), source(10..40, 700)], ..Health::default() };
        let told = clocks(&health, 1_000_000, 80);
        let lines: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
        assert!(lines[1].starts_with("web-39 ") && lines[1].contains("39 s ago"), "{told}");
        assert_eq!((lines.len(), lines[21]), (22, "… and 683 more that were heard of later"), "{told}");
        assert_eq!(clocks(&Health::default(), 0, 80), "");
    }
}
