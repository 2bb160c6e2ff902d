//! Each event once, as long as a repetition may come.

use std::collections::BTreeMap;

use rules::event::{EventTime, Span};
use rustc_hash::FxHashSet;
use sha2::{Digest as _, Sha256};

/// An event's id, shortened to what keeps strangers apart.
pub(crate) type ShortId = [u8; 16];

const HOUR: i64 = 3_600_000_000_000;

/// The ids seen, by the hour of their event.
#[derive(Debug)]
pub(crate) struct Dedup {
    seen: FxHashSet<ShortId>,
    by_hour: BTreeMap<i64, Vec<ShortId>>,
    max_ids: usize,
    retention: Span,
}

impl Dedup {
    pub(crate) fn new(max_ids: usize, retention: Span) -> Self {
        Self { seen: FxHashSet::default(), by_hour: BTreeMap::new(), max_ids, retention }
    }

    /// Whether the id is new.
    pub(crate) fn insert(&mut self, id: ShortId, time: EventTime) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.by_hour.entry(time.0.div_euclid(HOUR)).or_default().push(id);
        while self.seen.len() > self.max_ids {
            self.forget_oldest();
        }
        true
    }

    pub(crate) fn expire(&mut self, watermark: EventTime) {
        let oldest = (watermark - self.retention).0.div_euclid(HOUR);
        while self.by_hour.first_key_value().is_some_and(|(hour, _)| *hour < oldest) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, ids)) = self.by_hour.pop_first() else { return };
        for id in ids {
            self.seen.remove(&id);
        }
    }
}

pub(crate) fn short_id(id: &str) -> ShortId {
    let digest = Sha256::digest(id.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_again_after_the_retention() {
        let mut dedup = Dedup::new(100, Span(2 * HOUR));
        assert!(dedup.insert(short_id("a"), EventTime(0)));
        assert!(!dedup.insert(short_id("a"), EventTime(5)));
        dedup.expire(EventTime(2 * HOUR));
        assert!(!dedup.insert(short_id("a"), EventTime(0)));
        dedup.expire(EventTime(4 * HOUR));
        assert!(dedup.insert(short_id("a"), EventTime(0)));
    }

    #[test]
    fn the_cap_holds() {
        let mut dedup = Dedup::new(10, Span(HOUR));
        for n in 0..100 {
            dedup.insert(short_id(&n.to_string()), EventTime(n * HOUR));
            assert!(dedup.seen.len() <= 10);
        }
    }
}
