//! What is told to people of an alert, and what is not: silences, and how often a thing is said again. Neither touches what
//! is stored, counted, or seen by other rules; they stand before the queues of sinks and nowhere else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rules::event::EventTime;
use serde_json::{Value, json};

use crate::alert::view::{scalar, text};
use crate::alert::wanted::Wanted;
use crate::incident::{self, EntityKind};
use crate::time;

/// The rule that finds the canaries of `groundtrail selftest`.
pub(crate) const CANARY_RULE: &str = "0b5a7c1e-6c0e-4d1b-9a53-2f8f1d3c7e64";

/// Alerts of this kind are told to nobody until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub name: String,
    pub wanted: Wanted,
    /// By the clock of this machine: it is about telling, and that happens now.
    pub until: EventTime,
    pub owner: String,
    pub reason: String,
}

impl Silence {
    pub fn is_over(&self, now: EventTime) -> bool {
        self.until <= now
    }

    /// What the store keeps of it beside an alert that it muted.
    pub fn said(&self) -> Value {
        json!({
            "silence": self.name, "owner": self.owner, "reason": self.reason, "until": time::format(self.until)
        })
    }
}

/// The silences in force, and how much was not told. The run, the store and the reader of signals share it.
#[derive(Debug, Default)]
pub struct Hush {
    silences: RwLock<Arc<[Silence]>>,
    n_muted: AtomicU64,
    n_held_back: AtomicU64,
}

impl Hush {
    pub fn new(silences: Vec<Silence>) -> Self {
        let hush = Self::default();
        hush.set(silences);
        hush
    }

    pub fn set(&self, silences: Vec<Silence>) {
        *self.silences.write().unwrap_or_else(PoisonError::into_inner) = silences.into();
    }

    /// The first silence that takes the alert.
    pub(crate) fn over(&self, alert: &Value, now: EventTime) -> Option<Silence> {
        let silences = Arc::clone(&self.silences.read().unwrap_or_else(PoisonError::into_inner));
        silences.iter().find(|silence| !silence.is_over(now) && silence.wanted.lets(alert)).cloned()
    }

    pub(crate) fn count_muted(&self) {
        self.n_muted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_held_back(&self) {
        self.n_held_back.fetch_add(1, Ordering::Relaxed);
    }

    /// Alerts that a silence kept from sinks, since the start.
    pub fn n_muted(&self) -> u64 {
        self.n_muted.load(Ordering::Relaxed)
    }

    /// Alerts that were held back as repeats, since the start, counted for each sink.
    pub fn n_held_back(&self) -> u64 {
        self.n_held_back.load(Ordering::Relaxed)
    }
}

/// What alerts say the same thing: of one rule, about the same principals and hosts of one account.
pub(crate) fn group(alert: &Value) -> String {
    let mut entities: Vec<String> = incident::entities(alert)
        .into_iter()
        .filter(|entity| matches!(entity.kind, EntityKind::Principal | EntityKind::Host))
        .map(|entity| entity.id)
        .collect();
    entities.sort_unstable();
    entities.dedup();
    let rule = text(alert, "rule.id").unwrap_or_default();
    json!([rule, scalar(alert, "cloud.account.id"), entities]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str) -> Value {
        json!({"rule": {"id": "r-1", "name": name}, "groundtrail": {"alert": {"id": "a", "severity": "high"}}})
    }

    fn silence(rule: &str, until: i64) -> Silence {
        Silence {
            name: "s".to_owned(),
            wanted: Wanted { rules: vec![rule.to_owned()], ..Wanted::default() },
            until: EventTime(until),
            owner: "o".to_owned(),
            reason: "r".to_owned(),
        }
    }

    #[test]
    fn a_silence_takes_what_it_means_until_it_ends() {
        let hush = Hush::new(vec![silence("logging", 10)]);
        assert!(hush.over(&alert("Logging stopped"), EventTime(9)).is_some());
        assert!(hush.over(&alert("Logging stopped"), EventTime(10)).is_none(), "it is over");
        assert!(hush.over(&alert("Key created"), EventTime(9)).is_none());
        hush.set(Vec::new());
        assert!(hush.over(&alert("Logging stopped"), EventTime(9)).is_none());
    }

    #[test]
    fn a_group_is_a_rule_and_whom_it_is_about() {
        let mut one = alert("x");
        one["groundtrail"]["alert"]["hosts"] = json!([{"id": "i-1", "name": "web"}]);
        let mut other = one.clone();
        other["groundtrail"]["alert"]["id"] = json!("b");
        assert_eq!(group(&one), group(&other));
        other["groundtrail"]["alert"]["hosts"] = json!([{"id": "i-2", "name": "web"}]);
        assert_ne!(group(&one), group(&other));
        other = one.clone();
        other["rule"]["id"] = json!("r-2");
        assert_ne!(group(&one), group(&other));
    }
}
