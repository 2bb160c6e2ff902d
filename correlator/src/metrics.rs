//! The metrics: one table that says what there is and what to do about it, and the Prometheus text made from it.

mod http;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use http::{MetricsError, ask, serve};

use crate::health::Health;

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// One metric. [`METRICS`] is what the text and docs/metrics.md are made from.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub unit: &'static str,
    pub meaning: &'static str,
    /// What to do when it moves.
    pub action: &'static str,
    values: fn(&Health, &mut Samples<'_>),
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
    action: &'static str,
    values: fn(&Health, &mut Samples<'_>),
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, unit, meaning, action, values }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
    action: &'static str,
    values: fn(&Health, &mut Samples<'_>),
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, unit, meaning, action, values }
}

/// Counters start at nought with the run, and so does the account: in every scrape
/// `source_events_total` = the sum of `events_total` over its outcomes, for each source.
pub const METRICS: &[Metric] = &[
    counter(
        "groundtrail_source_events_total",
        &["source"],
        "events",
        "Everything the source handed over, readable or not.",
        "A rate of nought where there should be some: look at the source's end, then at `groundtrail status`.",
        |health, out| {
            health.sources.iter().for_each(|source| out.count(&[&source.name], source.counts.received));
        },
    ),
    counter(
        "groundtrail_events_total",
        &["source", "outcome"],
        "events",
        "What became of them: evaluated, dropped (drop list), duplicate, late (older than what is kept), rejected (unreadable). \
         The five add up to groundtrail_source_events_total.",
        "rejected rises: the log of the run names file, line and reason. late rises: a feed delivers days behind. \
         duplicate is normal for CloudTrail.",
        |health, out| {
            for source in &health.sources {
                let counts = &source.counts;
                let outcomes = [
                    ("evaluated", counts.evaluated),
                    ("dropped", counts.dropped),
                    ("duplicate", counts.duplicate),
                    ("late", counts.late),
                    ("rejected", counts.rejected),
                ];
                outcomes.iter().for_each(|(outcome, n)| out.count(&[&source.name, outcome], *n));
            }
        },
    ),
    counter(
        "groundtrail_late_events_total",
        &["source", "outcome"],
        "events",
        "behind_watermark: came after all sources were taken to be past its time, and still joined; beyond_kept: older than what \
         is kept, so what it needs beside it may be gone.",
        "behind_watermark rises: raise the source's `lateness` where absence matters.",
        |health, out| {
            for source in &health.sources {
                out.count(&[&source.name, "behind_watermark"], source.n_behind);
                out.count(&[&source.name, "beyond_kept"], source.counts.late);
            }
        },
    ),
    counter(
        "groundtrail_misdated_events_total",
        &["source"],
        "events",
        "Events whose time cannot be right; they count as of their arrival.",
        "Set the clock of the host that the log names.",
        |health, out| {
            health.sources.iter().for_each(|source| out.count(&[&source.name], source.counts.misdated));
        },
    ),
    counter(
        "groundtrail_conflicting_events_total",
        &["source"],
        "events",
        "Of the duplicates: one id, two contents. The first counts.",
        "A producer uses ids twice, or somebody forges them: look at the log.",
        |health, out| {
            health.sources.iter().for_each(|source| out.count(&[&source.name], source.counts.conflicting));
        },
    ),
    gauge(
        "groundtrail_source_open",
        &["source"],
        "0 or 1",
        "Whether the source could be opened and read when it was last tried.",
        "0: the path, its permissions, or the sensor at its other end.",
        |health, out| {
            health.sources.iter().for_each(|source| out.flag(&[&source.name], source.is_open));
        },
    ),
    gauge(
        "groundtrail_source_last_event_timestamp_seconds",
        &["source"],
        "seconds since 1970",
        "Time of the source's newest event.",
        "Alert on time() minus this: minutes for a sensor, an hour for CloudTrail.",
        |health, out| {
            health.sources.iter().for_each(|source| out.seconds(&[&source.name], source.newest_ms));
        },
    ),
    gauge(
        "groundtrail_source_silent_seconds",
        &["source"],
        "seconds",
        "Since anything was heard of the source, be it that there is nothing new.",
        "More than a minute: its reader hangs, on a network file system perhaps.",
        |health, out| {
            health.sources.iter().for_each(|source| out.seconds(&[&source.name], Some(source.silent_ms)));
        },
    ),
    gauge(
        "groundtrail_source_partitions",
        &["source"],
        "clocks",
        "Hosts, or accounts and regions, that the source speaks for. The partition metrics show the 500 furthest behind.",
        "A sudden rise: somebody invents host names.",
        |health, out| {
            health.sources.iter().for_each(|source| out.count(&[&source.name], source.n_partitions));
        },
    ),
    gauge(
        "groundtrail_partition_last_event_timestamp_seconds",
        &["source", "partition"],
        "seconds since 1970",
        "Time of the newest event of one host, or one account and region.",
        "One host stops while others go on: it is down, or its sensor was stopped.",
        |health, out| {
            for (source, partition) in partitions(health) {
                out.seconds(&[source, &partition.name], partition.newest_ms);
            }
        },
    ),
    gauge(
        "groundtrail_watermark_lag_seconds",
        &["source", "partition"],
        "seconds",
        "How far the newest event of one host, or one account and region, is behind the clock.",
        "What holds absence back, unless it is idle or astray.",
        |health, out| {
            for (source, partition) in partitions(health) {
                let lag = partition.newest_ms.map(|newest| (health.at_ms - newest).max(0));
                out.seconds(&[source, &partition.name], lag);
            }
        },
    ),
    gauge(
        "groundtrail_event_lag_seconds",
        &["source", "partition", "percentile"],
        "seconds",
        "From an event's time to its arrival, 50th, 95th and 99th percentile of the run, right to a factor of two.",
        "p99 above the source's `lateness`: raise that.",
        |health, out| {
            for (source, partition) in partitions(health) {
                out.seconds(&[source, &partition.name, "50"], partition.lag_p50_ms);
                out.seconds(&[source, &partition.name, "95"], partition.lag_p95_ms);
                out.seconds(&[source, &partition.name, "99"], partition.lag_p99_ms);
            }
        },
    ),
    counter(
        "groundtrail_partition_missing_events_total",
        &["source", "partition"],
        "events",
        "Events of one host that never arrived, by the numbers that its sensor gives them.",
        "Rises: the way from that sensor to here loses events. Absences on that host cannot be believed.",
        |health, out| {
            for (source, partition) in partitions(health).filter(|(_, of)| of.n_missing > 0) {
                out.count(&[source, &partition.name], partition.n_missing);
            }
        },
    ),
    counter(
        "groundtrail_partition_losses_total",
        &["source", "partition"],
        "reports",
        "Times that the sensor of one host reported a loss (`groundtrail_loss`).",
        "Rises: that sensor is overrun; its health event says by what. Absences are withheld meanwhile.",
        |health, out| {
            for (source, partition) in partitions(health).filter(|(_, of)| of.n_losses > 0) {
                out.count(&[source, &partition.name], partition.n_losses);
            }
        },
    ),
    gauge(
        "groundtrail_partition_astray",
        &["source", "partition"],
        "0 or 1",
        "Its clock is behind and does not catch up, so nobody waits for it.",
        "1: set that host's clock.",
        |health, out| {
            for (source, partition) in partitions(health) {
                out.flag(&[source, &partition.name], partition.is_astray);
            }
        },
    ),
    gauge(
        "groundtrail_watermark_timestamp_seconds",
        &[],
        "seconds since 1970",
        "No event before this time is expected of any source.",
        "Stands still: groundtrail_watermark_lag_seconds shows who holds it.",
        |health, out| out.seconds(&[], health.watermark_ms),
    ),
    counter(
        "groundtrail_unreadable_inputs_total",
        &[],
        "files, folders, streams",
        "Inputs that could not be had at all.",
        "The log names each, with the way out.",
        |health, out| out.count(&[], health.n_unreadable_inputs),
    ),
    gauge(
        "groundtrail_rules_loaded",
        &["status"],
        "rules, and rule files for faulty",
        "enabled: in force; faulty: files that are wrong, whose rules are not.",
        "faulty above 0: `groundtrail check`.",
        |health, out| {
            out.count(&["enabled"], health.n_rules);
            out.count(&["faulty"], health.n_faulty_rules);
        },
    ),
    gauge(
        "groundtrail_rules_sha256_info",
        &["sha256"],
        "1",
        "Names what all rules in force mean.",
        "Differs between machines that should be alike: one of them was not reloaded.",
        |health, out| out.count(&[&health.rules_sha256], 1),
    ),
    counter(
        "groundtrail_rule_matches_total",
        &["rule_id", "severity"],
        "alerts",
        "New alerts by rule; severity as the alert was first told.",
        "One rule makes most of them: write an exception, or fix what it shows.",
        |health, out| {
            let rules = health.rules.iter().filter(|rule| rule.n_matches > 0);
            rules.for_each(|rule| out.count(&[&rule.id, &rule.severity], rule.n_matches));
        },
    ),
    counter(
        "groundtrail_alerts_total",
        &["outcome"],
        "alert documents",
        "Told: new, revised (a later revision of one told before), withdrawn.",
        "withdrawn rises: late events change what was said; raise `lateness`.",
        |health, out| {
            out.count(&["new"], health.alerts.values().sum());
            out.count(&["revised"], health.n_revisions);
            out.count(&["withdrawn"], health.n_withdrawn);
        },
    ),
    counter(
        "groundtrail_alerts_untold_total",
        &["reason"],
        "alerts",
        "Stored, and not sent: muted by a silence, or held_back by a sink's `repeat` (counted for each sink) and told by number with the next.",
        "muted rises after a silence was to end: `groundtrail silence list`.",
        |health, out| {
            out.count(&["muted"], health.n_muted);
            out.count(&["held_back"], health.n_held_back);
        },
    ),
    counter(
        "groundtrail_absences_withheld_total",
        &["rule_id", "reason"],
        "matches",
        "Matches that rest on a missing event and were never told, because no feed vouched for it.",
        "Rises: the feed that the reason names is not connected, silent for hours, or loses events. The rule is blind meanwhile.",
        |health, out| {
            health.withheld.iter().for_each(|of| out.count(&[&of.rule_id, &of.reason], of.n));
        },
    ),
    gauge(
        "groundtrail_state_entries",
        &["kind"],
        "entries",
        "keys: hosts, principals and the like with open state; alerts: that can still change; context: events kept to explain alerts.",
        "Near its cap: see groundtrail_state_evictions_total.",
        |health, out| {
            out.count(&["keys"], health.n_keys);
            out.count(&["alerts"], health.n_open_alerts);
            out.count(&["context"], health.n_context_events);
        },
    ),
    counter(
        "groundtrail_state_evictions_total",
        &["rule_id", "reason"],
        "keys, events",
        "State given up for want of room, by rule, over all runs of the store: keys, or hits (events of patterns).",
        "Rises: the rule's `by` is too fine or its span too long, or somebody floods it. Alerts that it may have touched say so.",
        |health, out| {
            for rule in health.rules.iter().filter(|rule| rule.n_keys_lost + rule.n_hits_lost > 0) {
                out.count(&[&rule.id, "keys"], rule.n_keys_lost);
                out.count(&[&rule.id, "hits"], rule.n_hits_lost);
            }
        },
    ),
    counter(
        "groundtrail_context_evictions_total",
        &[],
        "events",
        "Events kept to explain alerts that were given up for want of room.",
        "Alerts that lack them say so.",
        |health, out| out.count(&[], health.n_context_lost),
    ),
    counter(
        "groundtrail_evidence_evictions_total",
        &[],
        "events",
        "Events that state rests on, given up because they took more memory than `limits.memory`.",
        "Alerts that lack them say so. Raise the limit, or give the run a store.",
        |health, out| out.count(&[], health.n_events_lost),
    ),
    gauge(
        "groundtrail_state_bytes",
        &[],
        "bytes",
        "What state and the events it rests on take of memory, about.",
        "Near `limits.memory`: the oldest state goes.",
        |health, out| out.count(&[], health.state_bytes),
    ),
    gauge(
        "groundtrail_store_bytes",
        &[],
        "bytes",
        "What the store holds, with the queues of sinks.",
        "Without those near `store.max_size`: the oldest history goes.",
        |health, out| out.count(&[], health.store_bytes),
    ),
    counter(
        "groundtrail_store_evictions_total",
        &[],
        "rows",
        "Closed alerts, identities and events to explain alerts that went from the store before their time, for want of room.",
        "Rises: raise `store.max_size`, or shorten `store.retention` to choose what goes.",
        |health, out| out.count(&[], health.n_history_lost),
    ),
    counter(
        "groundtrail_state_unreadable_total",
        &[],
        "rows",
        "Half-seen patterns and open alerts of the store that could not be read at a start or a reload, and were forgotten.",
        "Above 0: the file is damaged, or another build wrote it; the log names the rules. Look at the disk.",
        |health, out| out.count(&[], health.n_unreadable_state),
    ),
    counter(
        "groundtrail_dropped_events_total",
        &["line"],
        "events",
        "By the name of the drop list's line. Objects of buckets and queues: `key PATTERN`, the one of `drop_keys`; `keys not kept`, by \
         `keep_keys`; `logs of other services`, such as Config and load balancers, which nothing here reads; `since and until`, older or \
         newer than the source is read for.",
        "A line takes more than it should: `groundtrail check` says what rules it blinds.",
        |health, out| health.drops.iter().for_each(|(line, n)| out.count(&[line], *n)),
    ),
    gauge(
        "groundtrail_store_failing",
        &[],
        "0 or 1",
        "The store cannot be written. Nothing is read or acknowledged meanwhile, and nothing is lost.",
        "1: make room on its disk.",
        |health, out| out.flag(&[], health.is_store_failing),
    ),
    counter(
        "groundtrail_config_reloads_total",
        &["outcome"],
        "reloads",
        "taken, or refused: the run went on with what it had.",
        "refused: the log says what is wrong.",
        |health, out| {
            out.count(&["taken"], health.n_reloads);
            out.count(&["refused"], health.n_reloads_refused);
        },
    ),
    gauge(
        "groundtrail_ready",
        &[],
        "0 or 1",
        "Rules are loaded and every source is open; what /readyz answers by.",
        "0: `groundtrail status` says which source.",
        |health, out| out.flag(&[], health.is_ready),
    ),
    gauge(
        "groundtrail_start_timestamp_seconds",
        &[],
        "seconds since 1970",
        "When the run started.",
        "Changes: it was started anew.",
        |health, out| out.seconds(&[], Some(health.started_ms)),
    ),
    gauge(
        "groundtrail_build_info",
        &["version"],
        "1",
        "The program's version.",
        "Differs between machines: an upgrade was left half-way.",
        |health, out| out.count(&[&health.version], 1),
    ),
    counter(
        "groundtrail_wire_batches_total",
        &["source"],
        "batches",
        "Batches of sensors that were taken in, over TLS or a Unix socket.",
        "Nought where sensors should deliver: `groundtrail-sensor status` on a host says why.",
        |health, out| health.wires.iter().for_each(|wire| out.count(&[&wire.source], wire.n_batches)),
    ),
    counter(
        "groundtrail_wire_bytes_total",
        &["source"],
        "bytes",
        "What they held, unpacked.",
        "For capacity.",
        |health, out| health.wires.iter().for_each(|wire| out.count(&[&wire.source], wire.n_bytes)),
    ),
    counter(
        "groundtrail_wire_refused_total",
        &["source", "cause"],
        "cases",
        "What was not as it should be, by cause. crowded, handshake, peer: connections turned away. name, malformed, version, frame: \
         requests and batches refused. quota, busy, out_of_order: sent again later, nothing lost. forged: events that claimed another \
         host or instance and count as their sender's. foreign: events that are no sensor's. duplicate: batches that came again. \
         missing: batches that never came.",
        "The log of the run names the peer and the reason. forged, foreign, peer: look at that host. missing: its spool was full, or its \
         disk. handshake: a certificate has expired or is revoked, or a stranger knocks.",
        |health, out| {
            for wire in &health.wires {
                wire.causes.iter().for_each(|(cause, n)| out.count(&[&wire.source, cause], *n));
            }
        },
    ),
    gauge(
        "groundtrail_wire_connections",
        &["source"],
        "connections",
        "Sensors that are connected at this moment.",
        "Fewer than there are hosts is normal: a quiet sensor's connection is closed.",
        |health, out| health.wires.iter().for_each(|wire| out.count(&[&wire.source], wire.n_connections)),
    ),
    gauge(
        "groundtrail_wire_certificate_end_seconds",
        &["source"],
        "seconds since 1970",
        "When the server's own certificate ends.",
        "Less than a month from now: `groundtrail ca issue --server` and put the files in place; no restart is needed.",
        |health, out| {
            for wire in &health.wires {
                let ends = wire.certificate_ends_ms.and_then(|ms| u64::try_from(ms / 1000).ok());
                ends.into_iter().for_each(|ends| out.count(&[&wire.source], ends));
            }
        },
    ),
    counter(
        "groundtrail_sink_alerts_total",
        &["sink", "outcome"],
        "revisions of alerts",
        "What became of them: delivered, dead (set aside, because the receiver refused them or took none for too long), lost (the queue was \
         full). retried counts tries that were to be repeated, on top of these.",
        "lost: the receiver is down, or `max_queued` or `max_queued_size` too small; the alerts are in the store still. dead: the file of dead letters has each \
         with its reason. retried: the log names the reason.",
        |health, out| {
            for sink in &health.sinks {
                let outcomes = [
                    ("delivered", sink.n_delivered),
                    ("retried", sink.n_retried),
                    ("dead", sink.n_dead),
                    ("lost", sink.n_lost),
                ];
                outcomes.iter().for_each(|(outcome, n)| out.count(&[&sink.name, outcome], *n));
            }
        },
    ),
    gauge(
        "groundtrail_sink_queued",
        &["sink"],
        "revisions of alerts",
        "Those that wait for the sink, in the store.",
        "It grows: the receiver is down or slow.",
        |health, out| health.sinks.iter().for_each(|sink| out.count(&[&sink.name], sink.n_queued)),
    ),
    gauge(
        "groundtrail_sink_queued_bytes",
        &["sink"],
        "bytes",
        "What they are together.",
        "Near `max_queued_size`: the least severe go.",
        |health, out| health.sinks.iter().for_each(|sink| out.count(&[&sink.name], sink.n_queued_bytes)),
    ),
    gauge(
        "groundtrail_sink_oldest_seconds",
        &["sink"],
        "seconds",
        "How long the oldest of them has waited. None where nothing waits.",
        "Alert on minutes; past `give_up_after` it becomes a dead letter.",
        |health, out| {
            for sink in &health.sinks {
                out.seconds(&[&sink.name], sink.oldest_ms.map(|oldest| (health.at_ms - oldest).max(0)));
            }
        },
    ),
    gauge(
        "groundtrail_sink_failing",
        &["sink"],
        "0 or 1",
        "Whether the last try was in vain.",
        "1 for minutes: `groundtrail status` says why, `groundtrail sink test` tries at once.",
        |health, out| {
            health.sinks.iter().for_each(|sink| out.flag(&[&sink.name], sink.failing_since_ms.is_some()));
        },
    ),
];

fn partitions(health: &Health) -> impl Iterator<Item = (&str, &crate::health::PartitionHealth)> {
    health
        .sources
        .iter()
        .flat_map(|source| source.partitions.iter().map(move |partition| (source.name.as_str(), partition)))
}

/// Takes the values of one metric.
pub struct Samples<'o> {
    name: &'static str,
    labels: &'static [&'static str],
    out: &'o mut String,
}

impl Samples<'_> {
    fn count(&mut self, labels: &[&str], value: u64) {
        self.sample(labels, &value.to_string());
    }

    fn flag(&mut self, labels: &[&str], value: bool) {
        self.count(labels, u64::from(value));
    }

    /// A value that is not known has no sample.
    fn seconds(&mut self, labels: &[&str], millis: Option<i64>) {
        let Some(millis) = millis else { return };
        let sign = if millis < 0 { "-" } else { "" };
        let millis = millis.unsigned_abs();
        self.sample(labels, &format!("{sign}{}.{:03}", millis / 1_000, millis % 1_000));
    }

    fn sample(&mut self, values: &[&str], value: &str) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        self.out.push_str(self.name);
        for (idx, (label, value)) in self.labels.iter().zip(values).enumerate() {
            self.out.push_str(if idx == 0 { "{" } else { "," });
            let _ = write!(self.out, "{label}=\"{}\"", escape(value));
        }
        if !self.labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

/// Label values hold host names and paths, which anybody may choose: what the format gives a meaning to is escaped, and
/// what a terminal would obey is made visible.
fn escape(value: &str) -> String {
    let visible = crate::untrusted::Untrusted(value).to_string();
    visible.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Prometheus text format 0.0.4.
pub fn text(health: &Health) -> String {
    let mut out = String::new();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = metric.meaning.replace('\\', r"\\");
        let _ = writeln!(out, "# HELP {} {help}\n# TYPE {} {kind}", metric.name, metric.name);
        (metric.values)(health, &mut Samples { name: metric.name, labels: metric.labels, out: &mut out });
    }
    out
}

/// docs/metrics.md.
pub fn page() -> String {
    let mut out = String::from(PREFACE);
    for metric in METRICS {
        let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let Metric { name, unit, meaning, action, .. } = metric;
        let cell = |text: &str| text.replace('|', "\\|");
        let _ =
            writeln!(out, "| `{name}` | {kind} | {labels} | {unit} | {} | {} |", cell(meaning), cell(action));
    }
    out
}

const PREFACE: &str = "# Metrics

This page is made from the table in `correlator/src/metrics.rs`; a test holds the two together
(`UPDATE_EXPECT=1 cargo test -p correlator --lib metrics` writes it anew).

```toml
[metrics]
listen = \"127.0.0.1:9109\"   # off where there is no such line; anything but this host takes allow_remote = true
```

| path | answers |
|---|---|
| `/metrics` | Prometheus text format 0.0.4 |
| `/healthz` | 200 while the run moves, or waits for its store; 503 once it has been stuck for 30 s |
| `/readyz` | 200 once rules are loaded and every source is open; else 503 |
| `/status` | the same figures as JSON; `groundtrail status` reads it |

There is no password and no TLS: keep it on this host, or put it behind a proxy that has both. At most 16 clients are served at once, each for
10 seconds; figures are made once a second by the run, and no client can hold it up.

For every source, `groundtrail_source_events_total` is the sum of `groundtrail_events_total` over its outcomes.

| name | type | labels | unit | meaning | when it moves |
|---|---|---|---|---|---|
";
