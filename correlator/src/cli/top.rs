//! `top`: what a run does right now, from two looks at its endpoint: rates, lag, losses, hot rules, open state.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use clap::Args;
use rules::event::EventTime;
use serde_json::Value;

use super::listing::{self, Form, csv_line};
use super::load::{self, Configured};
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::health::{Health, PartitionHealth, SourceHealth, span};
use crate::metrics;
use crate::untrusted::Untrusted;

const MAX_RULES: usize = 10;
const MAX_SOURCES: usize = 20;
/// To the top left corner, and nothing below what is written.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// By a rule's id.
type Names = BTreeMap<String, String>;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The run's endpoint, if it is not the configuration's: http://127.0.0.1:9109
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    interval: u32,
    /// Look so many times and end; without it, until it is interrupted
    #[arg(long, short = 'n', value_name = "N")]
    times: Option<u32>,
    /// table, ndjson (each look), csv (the sources of each), or with -n json (all looks)
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

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let listen = configured.config.metrics.listen.map(|listen| format!("http://{listen}"));
    let Some(url) = flags.url.or(listen) else {
        let text = "no run to ask: give --url, or [metrics] listen in the configuration";
        return Err(CliError::Usage(text.to_owned()));
    };
    // A run tells of its rules by their ids; those of another configuration stay that.
    let names: Names = load::rules(&configured).rules.into_iter().map(|rule| (rule.id, rule.name)).collect();
    if flags.output == Form::Json && flags.times.is_none() {
        let text = "a list that goes on has no end: give -n as well, or -o ndjson";
        return Err(CliError::Usage(text.to_owned()));
    }
    let screen = Screen { form: flags.output, url: &url, names: &names, terminal };
    let mut looks = Vec::new();
    let mut before: Option<Health> = None;
    for n in 1_u32.. {
        let now = match metrics::ask(&url) {
            Ok(now) => Some(now),
            // A run that is started anew is there again in a moment; one that never answered may not be there at all.
            Err(error) if n > 1 => {
                screen.miss(&error.to_string())?;
                None
            }
            Err(error) => return Err(CliError::Run { what: "no look".to_owned(), source: error.into() }),
        };
        if let Some(now) = &now {
            match flags.output {
                Form::Json => looks.push(look(now, &url)),
                _ => screen.show(now, before.as_ref(), n == 1)?,
            }
        }
        if flags.times == Some(n) {
            break;
        }
        before = now.or(before);
        thread::sleep(Duration::from_secs(flags.interval.into()));
    }
    if flags.output == Form::Json {
        terminal.data(&listing::json(Form::Json, &looks))?;
    }
    Ok(Outcome::Clean)
}

/// Where looks go.
struct Screen<'a> {
    form: Form,
    url: &'a str,
    names: &'a Names,
    terminal: &'a Terminal,
}

impl Screen<'_> {
    fn show(&self, now: &Health, before: Option<&Health>, is_first: bool) -> Result<(), CliError> {
        let terminal = self.terminal;
        let text = match self.form {
            Form::Table => {
                let page = page(now, before, self.names, self.url, terminal.stdout.width);
                if terminal.is_stdout_terminal { in_place(&page, is_first) } else { format!("{page}\n") }
            }
            Form::Csv => rows(now, before, is_first, terminal.is_stdout_terminal),
            Form::Json | Form::Ndjson => listing::record(Form::Ndjson, &look(now, self.url)),
        };
        Ok(terminal.data(&text)?)
    }

    /// What was seen last goes on standing there.
    fn miss(&self, why: &str) -> Result<(), CliError> {
        let text = format!("{}; trying again", Untrusted(why));
        if self.form == Form::Table && self.terminal.is_stdout_terminal {
            let width = self.terminal.stdout.width;
            return Ok(self.terminal.data(&format!("{HOME}{}{CLEAR_LINE}", Untrusted(why).fit(width)))?);
        }
        self.terminal.note("warning", &text);
        Ok(())
    }
}

/// A look as a document, as `status` gives it.
fn look(now: &Health, from: &str) -> Value {
    let mut json = serde_json::to_value(now).expect("plain data serialises");
    json["from"] = from.into();
    json["reasons"] = now.reasons().into();
    json
}

/// A row for each source.
fn rows(now: &Health, before: Option<&Health>, is_first: bool, is_terminal: bool) -> String {
    let (headings, rows) = sources(now, before, usize::MAX);
    let at = crate::time::format(EventTime(now.at_ms.saturating_mul(1_000_000)));
    let mut out = String::new();
    if is_first {
        let headings = std::iter::once("time".to_owned())
            .chain(headings.iter().map(|heading| heading.replace(' ', "_")));
        out.push_str(&csv_line(headings.collect(), false));
    }
    for row in rows {
        let cells = std::iter::once(at.clone()).chain(row).collect();
        out.push_str(&csv_line(cells, is_terminal));
    }
    out
}

/// Over what was there: a screen that is cleared first would flicker.
fn in_place(page: &str, is_first: bool) -> String {
    let clear = if is_first { "\x1b[2J" } else { "" };
    let lines: String = page.lines().map(|line| format!("{line}{CLEAR_LINE}\n")).collect();
    format!("{clear}{HOME}{lines}{CLEAR_BELOW}")
}

fn page(now: &Health, before: Option<&Health>, names: &Names, from: &str, width: usize) -> String {
    // Another run answers there by now: what it counts has nothing to do with what was counted.
    let before = before.filter(|before| before.started_ms == now.started_ms && before.at_ms < now.at_ms);
    let reasons = now.reasons();
    let state = if reasons.is_empty() { "well" } else { "degraded" };
    let mut out = String::new();
    let _ = writeln!(out, "{state}, from {}, up {}", Untrusted(from), span(now.at_ms - now.started_ms));
    for reason in &reasons {
        let _ = writeln!(out, "  {}", Untrusted(reason).fit(width.saturating_sub(2)));
    }
    let n_alerts: u64 = now.alerts.values().sum();
    let _ = writeln!(
        out,
        "open: {} half-seen patterns, {} alerts that can change, {} events to explain, {} of memory, store {}",
        now.n_keys,
        now.n_open_alerts,
        now.n_context_events,
        bytes(now.state_bytes),
        bytes(now.store_bytes)
    );
    let _ = writeln!(
        out,
        "alerts: {n_alerts} new, {} revised, {} withdrawn; lost for want of room: {} events, {} explanations\n",
        now.n_revisions, now.n_withdrawn, now.n_events_lost, now.n_context_lost
    );
    let (headings, rows) = sources(now, before, MAX_SOURCES);
    let mut table = Table::new(&headings);
    rows.into_iter().for_each(|row| table.row(row));
    out.push_str(&table.render(width.max(110)));
    out.push('\n');
    out.push_str(&rules(now, before, names).render(width));
    out
}

fn sources(now: &Health, before: Option<&Health>, max: usize) -> ([&'static str; 10], Vec<Vec<String>>) {
    // Another run answers there by now.
    let before = before.filter(|before| before.started_ms == now.started_ms && before.at_ms < now.at_ms);
    let headings = [
        "source",
        "events/s",
        "events",
        "last event",
        "lag p50",
        "p99",
        "dropped",
        "late",
        "rejected",
        "lost",
    ];
    let seconds = before.map(|before| (now.at_ms - before.at_ms) as f64 / 1_000.0);
    let received = |health: &Health, name: &str| {
        health.sources.iter().find(|source| source.name == name).map(|source| source.counts.received)
    };
    // The busiest first.
    let mut sources: Vec<(f64, &SourceHealth)> = now
        .sources
        .iter()
        .map(|source| {
            let then = before.and_then(|before| received(before, &source.name)).unwrap_or(0);
            (source.counts.received.saturating_sub(then) as f64, source)
        })
        .collect();
    sources.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.name.cmp(&other.name)));
    let row = |(n_new, source): (f64, &SourceHealth)| {
        let rate = seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1}", n_new / seconds));
        let worst =
            |lag: fn(&PartitionHealth) -> Option<i64>| source.worst(lag).map_or_else(|| "-".to_owned(), span);
        let newest = match source.newest_ms {
            _ if !source.is_open => "not open".to_owned(),
            Some(newest) => format!("{} ago", span(now.at_ms - newest)),
            None => "never".to_owned(),
        };
        let counts = &source.counts;
        vec![
            source.name.clone(),
            rate,
            counts.received.to_string(),
            newest,
            worst(|of| of.lag_p50_ms),
            worst(|of| of.lag_p99_ms),
            counts.dropped.to_string(),
            counts.late.to_string(),
            counts.rejected.to_string(),
            source.n_missing.saturating_add(source.n_losses).to_string(),
        ]
    };
    (headings, sources.into_iter().take(max).map(row).collect())
}

/// Those that match most now, then those that did most.
fn rules(now: &Health, before: Option<&Health>, names: &Names) -> Table {
    let mut table = Table::new(&["rule", "severity", "new", "alerts", "state lost"]);
    let then: BTreeMap<&str, u64> = before
        .into_iter()
        .flat_map(|before| before.rules.iter().map(|rule| (rule.id.as_str(), rule.n_matches)))
        .collect();
    let mut hot: Vec<(u64, _)> = now
        .rules
        .iter()
        .map(|rule| {
            let n_before =
                before.map_or(rule.n_matches, |_| then.get(rule.id.as_str()).copied().unwrap_or(0));
            (rule.n_matches.saturating_sub(n_before), rule)
        })
        .collect();
    hot.sort_by(|(a, one), (b, other)| (b, other.n_matches, &one.id).cmp(&(a, one.n_matches, &other.id)));
    for (n_new, rule) in hot.into_iter().take(MAX_RULES) {
        table.row(vec![
            names.get(&rule.id).unwrap_or(&rule.id).clone(),
            rule.severity.clone(),
            n_new.to_string(),
            rule.n_matches.to_string(),
            rule.n_keys_lost.saturating_add(rule.n_hits_lost).to_string(),
        ]);
    }
    table
}

fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.1} KiB", n as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", n as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::RuleHealth;
    use crate::stats::Counts;
    use crate::untrusted::corpus::{assert_inert, hostile};

    fn health(at_ms: i64, received: u64, n_matches: u64) -> Health {
        let counts = Counts { received, ..Counts::default() };
        let source = |name: &str, counts| SourceHealth {
            name: name.to_owned(),
            is_open: true,
            newest_ms: Some(at_ms - 3_000),
            counts,
            ..SourceHealth::default()
        };
        let rule = |id: &str, n_matches| RuleHealth {
            id: id.to_owned(),
            severity: "low".to_owned(),
            n_matches,
            ..RuleHealth::default()
        };
        Health {
            at_ms,
            started_ms: 1_000,
            is_ready: true,
            sources: vec![source("quiet", Counts::default()), source("busy", counts)],
            rules: vec![rule("cold", 50), rule("id-of-hot", n_matches)],
            state_bytes: 3 << 20,
            ..Health::default()
        }
    }

    fn names() -> Names {
        [("id-of-hot".to_owned(), "hot".to_owned())].into()
    }

    fn row<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
        let line =
            page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {page}"));
        line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect()
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (then, now) = (health(10_000, 100, 1), health(12_000, 400, 4));
        let page = page(&now, Some(&then), &names(), "x", 120);
        assert_eq!(row(&page, "busy")[1..4], ["150.0", "400", "3 s ago"]);
        assert_eq!(row(&page, "quiet")[1], "0.0");
        assert_eq!(row(&page, "hot")[2..4], ["3", "4"]);
        assert!(page.find("busy").unwrap() < page.find("quiet").unwrap(), "the busiest first: {page}");
        assert!(page.find("\nhot").unwrap() < page.find("\ncold").unwrap(), "the hottest first: {page}");
        assert!(page.contains("3.0 MiB"), "{page}");
    }

    #[test]
    fn a_first_look_and_another_run_have_no_rate() {
        let (mut then, now) = (health(10_000, 100, 1), health(12_000, 400, 4));
        assert_eq!(row(&page(&now, None, &names(), "x", 120), "busy")[1], "-");
        then.started_ms = 500;
        assert_eq!(row(&page(&now, Some(&then), &names(), "x", 120), "busy")[1], "-");
    }

    #[test]
    fn nothing_of_a_run_moves_the_cursor() {
        for bad in hostile() {
            let mut now = health(12_000, 1, 1);
            now.sources[0].name = bad.clone();
            now.sources[1].is_open = false;
            now.rules[0].id = bad.clone();
            now.rules[0].severity = bad.clone();
            assert_inert(&page(&now, None, &names(), &bad, 80));
        }
    }
}
