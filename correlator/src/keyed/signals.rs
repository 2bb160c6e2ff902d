//! Where alerts that are read as events play a part, so that they can be taken back.

use std::collections::BTreeSet;

use rules::event::EventTime;
use rustc_hash::FxHashMap;

use super::{EventRef, KeyRef};

/// By the alert's id: the keys with a hit of it. Follows from their state, so it is not written.
#[derive(Debug, Default)]
pub(super) struct SignalKeys {
    by_id: FxHashMap<Box<str>, Vec<KeyRef>>,
    by_time: BTreeSet<(EventTime, Box<str>)>,
}

impl SignalKeys {
    pub(super) fn add(&mut self, event: &EventRef, key: &KeyRef) {
        let keys = self.by_id.entry(event.id.clone()).or_default();
        if !keys.contains(key) {
            keys.push(KeyRef::clone(key));
        }
        self.by_time.insert((event.time, event.id.clone()));
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn take(&mut self, id: &str) -> Vec<KeyRef> {
        self.by_id.remove(id).unwrap_or_default()
    }

    /// Forgets what has settled.
    pub(super) fn expire(&mut self, before: EventTime) {
        while self.by_time.first().is_some_and(|(time, _)| *time < before) {
            if let Some((_, id)) = self.by_time.pop_first() {
                self.by_id.remove(&id);
            }
        }
    }
}
