//! How a run is, as one value: what the metrics, `status` and the store show. Made by the run once a second; nobody who
//! asks can hold it up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::merge::{PartitionProgress, Progress};
use crate::notify::Hush;
use crate::sink::Account as SinkAccount;
use crate::stats::Counts;
use crate::time::Watermark;
use crate::untrusted::Untrusted;
use crate::wire::account::{Account, Cause};
use rules::event::{EventTime, Span};

/// Hosts, or accounts and regions, that are shown of one source: those furthest behind. Whoever can invent host names
/// must not be able to grow what is scraped.
pub const MAX_PARTITIONS: usize = 500;
/// A run that has not moved for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// What a store says of its run is this old at most while the run lives: see [`crate::pipeline`].
const STORE_SILENT_MS: i64 = 60_000;
/// A receiver may restart without a word.
const SINK_FAILING_MS: i64 = 30_000;

/// All times are milliseconds since 1970, UTC. What an older run did not write down counts as nought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    pub version: String,
    pub at_ms: i64,
    pub started_ms: i64,
    /// Rules are loaded and every source is open.
    pub is_ready: bool,
    pub is_store_failing: bool,
    /// Open state was given up for want of room within the last minutes.
    pub is_losing_state: bool,
    pub watermark_ms: Option<i64>,
    pub sources: Vec<SourceHealth>,
    /// Inputs that could not be had at all.
    pub n_unreadable_inputs: u64,
    pub n_rules: u64,
    pub n_faulty_rules: u64,
    /// Of what all the rules mean.
    pub rules_sha256: String,
    pub rules: Vec<RuleHealth>,
    /// By the line of the drop list.
    pub drops: BTreeMap<String, u64>,
    pub n_keys: u64,
    pub n_open_alerts: u64,
    pub n_context_events: u64,
    pub n_context_lost: u64,
    #[serde(default)]
    pub n_events_lost: u64,
    /// What state and the events it rests on take of memory, about.
    #[serde(default)]
    pub state_bytes: u64,
    /// What the store's file holds.
    #[serde(default)]
    pub store_bytes: u64,
    /// Old alerts and the like that went from the store before their time.
    #[serde(default)]
    pub n_history_lost: u64,
    /// Keys and open alerts whose state could not be read at the start.
    #[serde(default)]
    pub n_unreadable_state: u64,
    /// New ones by severity, as they were first told.
    pub alerts: BTreeMap<String, u64>,
    pub n_revisions: u64,
    pub n_withdrawn: u64,
    /// Those that a silence kept from sinks.
    pub n_muted: u64,
    /// Those that were held back as repeats, for each sink.
    pub n_held_back: u64,
    /// Absences that closed untold: by rule and what was missing to vouch for them.
    pub withheld: Vec<Withheld>,
    pub n_reloads: u64,
    pub n_reloads_refused: u64,
    /// Where sensors deliver batches.
    #[serde(default)]
    pub wires: Vec<WireHealth>,
    /// Where alerts go, besides standard output.
    pub sinks: Vec<SinkHealth>,
}

/// One sink and its queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkHealth {
    pub name: String,
    /// Revisions that the receiver has.
    pub n_delivered: u64,
    /// Tries that were to be repeated.
    pub n_retried: u64,
    /// Set aside, since the receiver will never take them, or did not for too long.
    pub n_dead: u64,
    /// Gone, since the queue was full.
    pub n_lost: u64,
    pub n_queued: u64,
    pub n_queued_bytes: u64,
    /// When the oldest that waits was queued.
    pub oldest_ms: Option<i64>,
    pub failing_since_ms: Option<i64>,
    /// What the receiver, or the way there, said last.
    pub reason: String,
}

/// One socket that sensors deliver to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireHealth {
    pub source: String,
    pub n_connections: u64,
    pub n_batches: u64,
    pub n_events: u64,
    pub n_bytes: u64,
    /// By cause, those that never occurred included.
    pub causes: BTreeMap<String, u64>,
    /// Of the server's own certificate.
    pub certificate_ends_ms: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceHealth {
    pub name: String,
    pub is_open: bool,
    pub has_ended: bool,
    /// It is read once, so that its end is no loss.
    pub is_once: bool,
    pub newest_ms: Option<i64>,
    /// Since anything was heard of it, by our clock.
    pub silent_ms: i64,
    pub watermark_ms: Option<i64>,
    pub counts: Counts,
    /// Records that came behind the watermark.
    pub n_behind: u64,
    pub n_partitions: u64,
    /// Of all its clocks: events that never arrived, and times that a sensor reported a loss.
    pub n_missing: u64,
    pub n_losses: u64,
    /// At most [`MAX_PARTITIONS`].
    pub partitions: Vec<PartitionHealth>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionHealth {
    pub name: String,
    pub newest_ms: Option<i64>,
    pub n_events: u64,
    pub n_misdated: u64,
    pub is_astray: bool,
    pub lag_p50_ms: Option<i64>,
    pub lag_p95_ms: Option<i64>,
    pub lag_p99_ms: Option<i64>,
    /// Events that never arrived, by the numbers that the sensor gives them.
    pub n_missing: u64,
    /// Times that the sensor itself reported a loss.
    pub n_losses: u64,
}

/// Absences of a rule for which no feed vouched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Withheld {
    pub rule_id: String,
    pub reason: String,
    pub n: u64,
}

/// A rule that matched, or lost state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleHealth {
    pub id: String,
    pub severity: String,
    pub n_matches: u64,
    pub n_keys_lost: u64,
    pub n_hits_lost: u64,
}

pub(crate) fn millis(time: EventTime) -> i64 {
    time.0.div_euclid(1_000_000)
}

impl SourceHealth {
    pub(crate) fn new(progress: &Progress, counts: Counts, now: EventTime) -> Self {
        let mut partitions: Vec<&PartitionProgress> = progress.partitions.iter().collect();
        partitions.sort_by(|a, b| (a.newest, &a.name).cmp(&(b.newest, &b.name)));
        partitions.truncate(MAX_PARTITIONS);
        let lag = |lag: Option<Span>| lag.map(|Span(nanos)| nanos / 1_000_000);
        let partition = |of: &PartitionProgress| PartitionHealth {
            name: of.name.to_string(),
            newest_ms: of.newest.map(millis),
            n_events: of.n_events,
            n_misdated: of.n_misdated,
            is_astray: of.is_astray,
            lag_p50_ms: lag(of.lag_p50),
            lag_p95_ms: lag(of.lag_p95),
            lag_p99_ms: lag(of.lag_p99),
            n_missing: of.n_missing,
            n_losses: of.n_losses,
        };
        Self {
            name: progress.name.to_string(),
            is_open: progress.is_open,
            has_ended: progress.has_ended,
            is_once: false,
            newest_ms: progress.newest.map(millis),
            silent_ms: ((now - progress.last_heard).0 / 1_000_000).max(0),
            watermark_ms: match progress.watermark {
                Watermark::At(time) => Some(millis(time)),
                Watermark::Idle => None,
            },
            counts,
            n_behind: progress.n_late,
            n_partitions: progress.partitions.len() as u64,
            n_missing: progress.partitions.iter().fold(0, |sum, of| sum.saturating_add(of.n_missing)),
            n_losses: progress.partitions.iter().map(|of| of.n_losses).sum(),
            partitions: partitions.into_iter().map(partition).collect(),
        }
    }
}

impl SourceHealth {
    /// Takes in another of the same name: it is open if both are, has ended when both have, and is as far as the one that
    /// is further behind. Their account is one already.
    pub(crate) fn join(&mut self, other: Self) {
        self.is_open &= other.is_open;
        self.has_ended &= other.has_ended;
        self.newest_ms = self.newest_ms.max(other.newest_ms);
        self.silent_ms = self.silent_ms.min(other.silent_ms);
        self.watermark_ms = match (self.watermark_ms, other.watermark_ms) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.n_behind += other.n_behind;
        for partition in other.partitions {
            match self.partitions.iter_mut().find(|held| held.name == partition.name) {
                Some(held) => held.join(&partition),
                None => self.partitions.push(partition),
            }
        }
        self.partitions.sort_by(|a, b| (a.newest_ms, &a.name).cmp(&(b.newest_ms, &b.name)));
        self.n_partitions = self.n_partitions.max(other.n_partitions).max(self.partitions.len() as u64);
        self.partitions.truncate(MAX_PARTITIONS);
        self.n_missing = self.n_missing.saturating_add(other.n_missing);
        self.n_losses += other.n_losses;
    }
}

impl PartitionHealth {
    fn join(&mut self, other: &Self) {
        self.newest_ms = self.newest_ms.max(other.newest_ms);
        self.n_events += other.n_events;
        self.n_misdated += other.n_misdated;
        self.is_astray |= other.is_astray;
        self.lag_p50_ms = self.lag_p50_ms.max(other.lag_p50_ms);
        self.lag_p95_ms = self.lag_p95_ms.max(other.lag_p95_ms);
        self.lag_p99_ms = self.lag_p99_ms.max(other.lag_p99_ms);
        self.n_missing = self.n_missing.saturating_add(other.n_missing);
        self.n_losses += other.n_losses;
    }
}

impl WireHealth {
    fn new(source: &str, account: &Account) -> Self {
        let cause = |cause: Cause| (cause.name().to_owned(), account.n(cause));
        Self {
            source: source.to_owned(),
            n_connections: account.n_connections(),
            n_batches: account.n_batches(),
            n_events: account.n_events(),
            n_bytes: account.n_bytes(),
            causes: Cause::ALL.into_iter().map(cause).collect(),
            certificate_ends_ms: account.certificate_ends().map(millis),
        }
    }
}

impl SourceHealth {
    /// The worst clock's, which is what holds others up.
    pub fn worst(&self, lag: impl Fn(&PartitionHealth) -> Option<i64>) -> Option<i64> {
        self.partitions.iter().filter_map(lag).max()
    }

    /// Last event, lag and gaps in a line, for the end of a run.
    pub fn line(&self) -> String {
        let newest = self.newest_ms.map_or_else(
            || "no event".to_owned(),
            |newest| {
                format!("last event {}", crate::time::format(EventTime(newest.saturating_mul(1_000_000))))
            },
        );
        let lags = [
            ("p50", self.worst(|of| of.lag_p50_ms)),
            ("p95", self.worst(|of| of.lag_p95_ms)),
            ("p99", self.worst(|of| of.lag_p99_ms)),
        ];
        let lags: Vec<String> =
            lags.iter().filter_map(|(name, lag)| Some(format!("{name} {}", span(*lag.as_ref()?)))).collect();
        let lags = if lags.is_empty() { String::new() } else { format!(", lag {}", lags.join(", ")) };
        let gaps = match (self.n_missing, self.n_losses) {
            (0, 0) => ", no gaps".to_owned(),
            (n, losses) => format!(", {n} missing, {losses} losses reported"),
        };
        format!("{}: {newest}{lags}{gaps}, {} behind the watermark", Untrusted(&self.name), self.n_behind)
    }
}

impl SinkHealth {
    /// What became of its alerts, for the end of a run.
    pub fn line(&self, now_ms: i64) -> String {
        let Self { name, n_delivered, n_queued, .. } = self;
        let mut line = format!("{name}: {n_delivered} delivered, {n_queued} queued");
        if let Some(oldest) = self.oldest_ms {
            let _ = write!(line, " (the oldest for {})", span(now_ms - oldest));
        }
        let rest = [
            (self.n_retried, "tried again"),
            (self.n_dead, "set aside as dead letters"),
            (self.n_lost, "lost to a full queue"),
        ];
        for (n, what) in rest.into_iter().filter(|(n, _)| *n > 0) {
            let _ = write!(line, ", {n} {what}");
        }
        if self.failing_since_ms.is_some() {
            let _ = write!(line, "; it takes none: {}", Untrusted(&self.reason).fit(200));
        }
        line
    }

    fn reasons(&self, now_ms: i64) -> Vec<String> {
        let Self { name, n_queued, n_dead, n_lost, .. } = self;
        let mut reasons = Vec::new();
        if let Some(since) = self.failing_since_ms.filter(|since| now_ms - since >= SINK_FAILING_MS) {
            let (reason, since) = (Untrusted(&self.reason).fit(200), span(now_ms - since));
            reasons.push(format!(
                "sink \"{name}\" has taken no alert for {since}, and {n_queued} wait: {reason}"
            ));
        }
        if *n_lost > 0 {
            reasons.push(format!(
                "sink \"{name}\" lost {n_lost} alerts to a full queue; `groundtrail incidents` has them, and max_queued and max_queued_size make room"
            ));
        }
        if *n_dead > 0 {
            reasons.push(format!("sink \"{name}\" set {n_dead} alerts aside: its dead letters say why"));
        }
        reasons
    }
}

/// Milliseconds as people say them.
pub(crate) fn span(millis: i64) -> String {
    match millis.max(0) {
        0..1_000 => format!("{} ms", millis.max(0)),
        1_000..120_000 => format!("{} s", millis / 1_000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        7_200_000..172_800_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

impl Health {
    /// Why this run does not see, or keep, all it should. Empty: it is well.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.is_store_failing {
            reasons
                .push("the store cannot be written: nothing is read or acknowledged until it can".to_owned());
        }
        for source in self.sources.iter().filter(|source| !source.is_open) {
            reasons.push(format!("source \"{}\" cannot be read, or has not been opened yet", source.name));
        }
        // With the last of them the run itself ends.
        let is_over = self.sources.iter().all(|source| source.has_ended);
        for source in self.sources.iter().filter(|source| source.has_ended && !source.is_once && !is_over) {
            reasons.push(format!(
                "source \"{}\" has ended and nothing more comes of it; once it can be read again, restart the run",
                source.name
            ));
        }
        for source in &self.sources {
            let astray = source.partitions.iter().filter(|partition| partition.is_astray);
            for partition in astray {
                let (clock, source) = (&partition.name, &source.name);
                reasons.push(format!(
                    "the clock of \"{clock}\" in source \"{source}\" is behind and does not catch up"
                ));
            }
            if source.n_losses > 0 || source.n_missing > 0 {
                let (n, losses, source) = (source.n_missing, source.n_losses, &source.name);
                reasons.push(format!(
                    "events were lost on the way to source \"{source}\": {n} missing by their numbers, {losses} losses reported by sensors"
                ));
            }
            if !source.counts.is_balanced() {
                reasons
                    .push(format!("the account of source \"{}\" does not add up: report this", source.name));
            }
        }
        for sink in &self.sinks {
            reasons.extend(sink.reasons(self.at_ms));
        }
        if self.n_faulty_rules > 0 {
            let n = self.n_faulty_rules;
            reasons
                .push(format!("{n} rule files are wrong and not in force; `groundtrail check` names them"));
        }
        if self.is_losing_state {
            reasons.push(
                "there is more to remember than room: half-seen patterns are given up; the alerts touched say so"
                    .to_owned(),
            );
        }
        reasons
    }

    /// As [`Self::reasons`], of what a run left in its store.
    pub fn reasons_of_store(&self, now: EventTime) -> Vec<String> {
        let mut reasons = self.reasons();
        let age_ms = millis(now) - self.at_ms;
        if age_ms > STORE_SILENT_MS {
            let age = span(age_ms);
            reasons.insert(
                0,
                format!("no run has written to this store for {age}; this is how the last one left it"),
            );
        }
        reasons
    }
}

/// Where the run puts its [`Health`] and others look at it.
#[derive(Debug, Default)]
pub struct Board {
    latest: Mutex<Option<(Instant, Arc<Health>)>>,
    is_store_failing: AtomicBool,
    n_faulty_rules: AtomicU64,
    n_reloads_refused: AtomicU64,
    wires: Mutex<Vec<(Arc<str>, Arc<Account>)>>,
    sinks: Mutex<Vec<(Arc<str>, Arc<SinkAccount>)>>,
    hush: Mutex<Arc<Hush>>,
    /// Sources that are read once.
    once: Mutex<Vec<Arc<str>>>,
}

impl Board {
    /// Shows this account of a socket from here on.
    pub(crate) fn add_wire(&self, source: Arc<str>, account: Arc<Account>) {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).push((source, account));
    }

    /// Shows this account of a sink from here on.
    pub(crate) fn add_sink(&self, sink: Arc<str>, account: Arc<SinkAccount>) {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).push((sink, account));
    }

    /// Shows how much of this is not told.
    pub(crate) fn set_hush(&self, hush: Arc<Hush>) {
        *self.hush.lock().unwrap_or_else(PoisonError::into_inner) = hush;
    }

    /// This source is read to its end, which is no reason to worry.
    pub(crate) fn add_once(&self, source: Arc<str>) {
        self.once.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    pub fn put(&self, health: Health) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::new(health)));
    }

    /// The latest, with what changes while the run itself waits.
    pub fn look(&self) -> Option<Health> {
        let (_, health) = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let mut health = (*health).clone();
        self.complete(&mut health);
        Some(health)
    }

    pub(crate) fn complete(&self, health: &mut Health) {
        health.is_store_failing = self.is_store_failing.load(Ordering::Relaxed);
        health.n_faulty_rules = self.n_faulty_rules.load(Ordering::Relaxed);
        health.n_reloads_refused = self.n_reloads_refused.load(Ordering::Relaxed);
        let hush = self.hush.lock().unwrap_or_else(PoisonError::into_inner);
        (health.n_muted, health.n_held_back) = (hush.n_muted(), hush.n_held_back());
        let once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        for source in &mut health.sources {
            source.is_once |= once.iter().any(|name| **name == *source.name);
        }
        let wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        health.wires = wires.iter().map(|(source, account)| WireHealth::new(source, account)).collect();
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        health.sinks = sinks.iter().map(|(sink, account)| account.look(sink)).collect();
    }

    /// A run that waits for its store is alive; one that does nothing at all is not.
    pub fn is_stuck(&self) -> bool {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_store_failing.load(Ordering::Relaxed)
            && latest.as_ref().is_some_and(|(since, _)| since.elapsed() > STUCK)
    }

    pub fn set_store_failing(&self, is_failing: bool) {
        self.is_store_failing.store(is_failing, Ordering::Relaxed);
    }

    pub fn set_faulty_rules(&self, n: usize) {
        self.n_faulty_rules.store(n as u64, Ordering::Relaxed);
    }

    pub fn refuse_reload(&self) {
        self.n_reloads_refused.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_of_one_name_are_one_row() {
        let partition = |name: &str, newest| PartitionHealth {
            name: name.to_owned(),
            newest_ms: Some(newest),
            n_events: 1,
            lag_p99_ms: Some(newest),
            ..PartitionHealth::default()
        };
        let source = |partitions: Vec<PartitionHealth>, newest, watermark_ms| SourceHealth {
            name: "trail".to_owned(),
            is_open: true,
            has_ended: newest > 5,
            newest_ms: Some(newest),
            silent_ms: newest,
            watermark_ms,
            n_behind: 2,
            n_partitions: partitions.len() as u64,
            n_missing: 1,
            partitions,
            ..SourceHealth::default()
        };
        let mut one = source(vec![partition("a", 9), partition("b", 3)], 9, Some(7));
        one.join(source(vec![partition("b", 4)], 4, Some(2)));
        let lag = |row: &SourceHealth| {
            row.partitions.iter().map(|of| (of.lag_p99_ms, of.n_events)).collect::<Vec<_>>()
        };
        assert_eq!(lag(&one), [(Some(4), 2), (Some(9), 1)], "the one further behind first");
        assert_eq!((one.newest_ms, one.watermark_ms, one.silent_ms), (Some(9), Some(2), 4));
        assert_eq!((one.n_behind, one.n_missing, one.n_partitions), (4, 2, 2));
        assert!(one.is_open && !one.has_ended, "more comes of the other");
        one.join(SourceHealth::default());
        assert!(!one.is_open, "one of them is not");
        assert_eq!(one.watermark_ms, Some(2), "a silent one holds nobody up");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut health = Health { is_ready: true, at_ms: 1_000_000, ..Health::default() };
        assert_eq!(health.reasons(), [""; 0]);
        health.sources.push(SourceHealth { name: "trail".to_owned(), ..SourceHealth::default() });
        assert!(health.reasons()[0].contains("\"trail\" cannot be read"), "{:?}", health.reasons());
        health.sources[0].is_open = true;
        health.sources[0].n_missing = 3;
        assert!(health.reasons()[0].contains("3 missing by their numbers"), "{:?}", health.reasons());
        health.sources[0].n_missing = 0;
        health.sources[0].counts.received = 1;
        assert!(health.reasons()[0].contains("does not add up"));
        health.sources[0].counts.received = 0;
        health.sources[0].has_ended = true;
        assert_eq!(health.reasons(), [""; 0], "the only one: the run ends with it");
        health.sources.push(SourceHealth { is_open: true, ..SourceHealth::default() });
        assert!(health.reasons()[0].contains("\"trail\" has ended"), "{:?}", health.reasons());
        health.sources[0].is_once = true;
        assert_eq!(health.reasons(), [""; 0], "it was to be read once");
        health.sources.clear();
        assert_eq!(health.reasons_of_store(EventTime(1_059_000_000_000)), [""; 0]);
        let reasons = health.reasons_of_store(EventTime(1_090_000_000_000));
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].contains("for 90 s"), "{reasons:?}");
        let board = Board::default();
        assert!(board.look().is_none() && !board.is_stuck());
        board.put(health);
        board.set_store_failing(true);
        assert!(board.look().unwrap().reasons()[0].contains("store cannot be written"));
    }
}
