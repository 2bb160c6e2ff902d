//! Makes the run's [`Health`] out of engine and merge, now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rules::event::EventTime;
use rules::program::RuleIdx;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use super::engine::Engine;
use crate::alert::{AlertChange, AlertState};
use crate::health::{Board, Health, RuleHealth, SourceHealth, Withheld, millis};
use crate::merge::Merge;
use crate::stats::{Counts, Stats};

/// How often the board is written anew, and how often the store.
const LOOK: Duration = Duration::from_secs(1);
pub(super) const KEEP: Duration = Duration::from_secs(10);
/// State that was given up is a reason to worry for so long.
const WORRY: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) board: Arc<Board>,
    started: Option<EventTime>,
    /// New alerts by rule and severity.
    told: BTreeMap<(Arc<str>, String), u64>,
    pub(super) n_reloads: u64,
    /// What the store holds, and what went from it before its time.
    pub(super) store_bytes: u64,
    pub(super) n_history_lost: u64,
    /// Rows of state that could not be read at a start or a reload.
    pub(super) n_unreadable_state: u64,
    /// How much state was given up, and when that last rose.
    lost: (u64, Option<Instant>),
    last_look: Option<Instant>,
    last_kept: Option<Instant>,
}

impl Meter {
    pub(super) fn note_told(&mut self, alerts: &[AlertChange]) {
        for alert in alerts.iter().filter(|alert| alert.state == AlertState::Open) {
            let severity = alert.document["groundtrail"]["alert"]["severity"].as_str().unwrap_or("unknown");
            *self.told.entry((Arc::clone(&alert.rule_id), severity.to_owned())).or_default() += 1;
        }
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self) -> bool {
        self.last_look.is_none_or(|last| last.elapsed() >= LOOK)
    }

    /// Whether it is time to write down what was seen.
    pub(super) fn is_worth_keeping(&mut self, is_end: bool) -> bool {
        let is_due = is_end || self.last_kept.is_none_or(|last| last.elapsed() >= KEEP);
        if is_due {
            self.last_kept = Some(Instant::now());
        }
        is_due
    }

    /// Looks, puts it on the board, and hands it on.
    pub(super) fn look(&mut self, engine: &Engine, merge: &Merge) -> Health {
        self.last_look = Some(Instant::now());
        let now = merge.now();
        let stats = engine.stats();
        let n_lost = stats.n_keys_lost + stats.n_hits_lost + stats.n_context_lost + stats.n_events_lost;
        if n_lost > self.lost.0 {
            self.lost = (n_lost, Some(Instant::now()));
        }
        let mut counts = stats.by_source.clone();
        let mut sources: Vec<SourceHealth> = Vec::new();
        for progress in merge.progress() {
            // Sources of one name, such as one folder given twice, share an account, and so a row.
            if let Some(same) = sources.iter_mut().find(|source| *source.name == *progress.name) {
                same.join(SourceHealth::new(&progress, Counts::default(), now));
                continue;
            }
            let counts = counts.remove(&progress.name).unwrap_or_default();
            sources.push(SourceHealth::new(&progress, counts, now));
        }
        // Nothing that was counted is left out.
        for (name, counts) in counts {
            let name = name.to_string();
            sources.push(SourceHealth {
                name,
                counts,
                is_open: true,
                has_ended: true,
                is_once: true,
                ..SourceHealth::default()
            });
        }
        let mut health = Health {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_ms: millis(now),
            started_ms: millis(*self.started.get_or_insert(now)),
            is_ready: sources.iter().all(|source| source.is_open),
            is_losing_state: self.lost.1.is_some_and(|since| since.elapsed() < WORRY),
            watermark_ms: merge.watermark().map(millis),
            sources,
            n_unreadable_inputs: stats.n_unreadable_inputs,
            n_rules: engine.program().n_loaded() as u64,
            rules_sha256: sha256(engine),
            rules: self.rules(engine),
            drops: stats.by_drop.clone(),
            n_keys: engine.n_keys() as u64,
            n_open_alerts: engine.n_open_alerts() as u64,
            n_context_events: engine.n_context_events() as u64,
            n_context_lost: stats.n_context_lost,
            n_events_lost: stats.n_events_lost,
            state_bytes: engine.n_bytes(),
            store_bytes: self.store_bytes,
            n_history_lost: self.n_history_lost,
            n_unreadable_state: self.n_unreadable_state,
            alerts: self.by_severity(),
            n_revisions: stats.n_revisions,
            n_withdrawn: stats.n_withdrawn,
            withheld: withheld(stats),
            n_reloads: self.n_reloads,
            ..Health::default()
        };
        self.board.complete(&mut health);
        self.board.put(health.clone());
        health
    }

    fn by_severity(&self) -> BTreeMap<String, u64> {
        let mut alerts = BTreeMap::new();
        for ((_, severity), n) in &self.told {
            *alerts.entry(severity.clone()).or_default() += n;
        }
        alerts
    }

    /// A rule has a row for each severity it told alerts of; what it gave up is in the row of its own severity.
    fn rules(&self, engine: &Engine) -> Vec<RuleHealth> {
        let mut rows: BTreeMap<(Arc<str>, String), RuleHealth> = BTreeMap::new();
        for ((rule_id, severity), n) in &self.told {
            let row = rows.entry((Arc::clone(rule_id), severity.clone())).or_default();
            row.n_matches = *n;
        }
        let rules = engine.program().rules();
        let evictions: FxHashMap<u32, _> = engine.evictions().collect();
        for (rule, eviction) in evictions {
            let rule = &rules[engine.program().loaded(RuleIdx(rule)).0 as usize];
            let row = rows.entry((rule.id.as_str().into(), rule.severity.as_str().to_owned())).or_default();
            row.n_keys_lost += eviction.n_keys;
            row.n_hits_lost += eviction.n_hits;
        }
        rows.into_iter()
            .map(|((id, severity), row)| RuleHealth { id: id.to_string(), severity, ..row })
            .collect()
    }
}

fn withheld(stats: &Stats) -> Vec<Withheld> {
    let row = |((rule_id, _, reason), n): (&(String, String, String), &u64)| Withheld {
        rule_id: rule_id.clone(),
        reason: reason.clone(),
        n: *n,
    };
    stats.withheld.iter().map(row).collect()
}

fn sha256(engine: &Engine) -> String {
    let rules = engine.program().rules().iter().zip(0..);
    let mut named: Vec<(&str, &[u8; 16])> =
        rules.map(|(rule, idx)| (rule.id.as_str(), engine.fingerprint(idx))).collect();
    named.sort_unstable();
    let mut hash = Sha256::new();
    for (id, fingerprint) in named {
        hash.update(id.as_bytes());
        hash.update([0]);
        hash.update(fingerprint);
    }
    crate::hex::hex(&hash.finalize())
}
