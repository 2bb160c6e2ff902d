//! Each event once, as long as a repetition may come.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::hash::Hasher as _;
use std::num::NonZeroU32;

use rules::event::{EventTime, Span};
use rustc_hash::{FxHashMap, FxHasher};
use sha2::{Digest as _, Sha256};

/// An event's id, shortened to what keeps strangers apart.
pub(crate) type ShortId = [u8; 16];

const HOUR: i64 = 3_600_000_000_000;

/// A fingerprint of an event's text: enough to notice another one under the same id, and not to prove equality.
pub(crate) type Content = NonZeroU32;

pub(crate) fn content(raw: &str) -> Content {
    let mut hasher = FxHasher::default();
    hasher.write(raw.as_bytes());
    let hash = hasher.finish();
    NonZeroU32::new((hash ^ (hash >> 32)) as u32).unwrap_or(NonZeroU32::MIN)
}

/// What an id was to us until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Never,
    Before,
    /// Under it came another text: a producer that uses ids twice, or somebody who forges them.
    AsAnother,
}

/// The ids seen, by the hour of their event.
#[derive(Debug)]
pub(crate) struct Dedup {
    /// With what was seen under the id, where it was in this run.
    seen: FxHashMap<ShortId, Option<Content>>,
    by_hour: BTreeMap<i64, Vec<ShortId>>,
    max_ids: usize,
    retention: Span,
}

impl Dedup {
    pub(crate) fn new(max_ids: usize, retention: Span) -> Self {
        Self { seen: FxHashMap::default(), by_hour: BTreeMap::new(), max_ids, retention }
    }

    pub(crate) fn insert(&mut self, id: ShortId, time: EventTime, content: Option<Content>) -> Seen {
        match self.seen.entry(id) {
            Entry::Occupied(held) => {
                let is_other = held.get().zip(content).is_some_and(|(held, content)| held != content);
                return if is_other { Seen::AsAnother } else { Seen::Before };
            }
            Entry::Vacant(place) => place.insert(content),
        };
        self.by_hour.entry(time.0.div_euclid(HOUR)).or_default().push(id);
        while self.seen.len() > self.max_ids {
            self.forget_oldest();
        }
        Seen::Never
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
        assert_eq!(dedup.insert(short_id("a"), EventTime(0), None), Seen::Never);
        assert_eq!(dedup.insert(short_id("a"), EventTime(5), None), Seen::Before);
        dedup.expire(EventTime(2 * HOUR));
        assert_eq!(dedup.insert(short_id("a"), EventTime(0), None), Seen::Before);
        dedup.expire(EventTime(4 * HOUR));
        assert_eq!(dedup.insert(short_id("a"), EventTime(0), None), Seen::Never);
    }

    #[test]
    fn the_cap_holds() {
        let mut dedup = Dedup::new(10, Span(HOUR));
        for n in 0..100 {
            dedup.insert(short_id(&n.to_string()), EventTime(n * HOUR), None);
            assert!(dedup.seen.len() <= 10);
        }
    }

    #[test]
    fn another_text_under_the_same_id_is_noticed() {
        let mut dedup = Dedup::new(10, Span(HOUR));
        let mut insert = |id: &str, raw: &str| dedup.insert(short_id(id), EventTime(0), Some(content(raw)));
        assert_eq!(insert("a", "one"), Seen::Never);
        assert_eq!(insert("a", "one"), Seen::Before);
        assert_eq!(insert("a", "two"), Seen::AsAnother);
        dedup.insert(short_id("b"), EventTime(0), None);
        assert_eq!(
            dedup.insert(short_id("b"), EventTime(0), Some(content("x"))),
            Seen::Before,
            "of an earlier run"
        );
    }
}
