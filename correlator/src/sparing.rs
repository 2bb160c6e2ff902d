//! What happens again and again is told at once and then seldom, with how often it happened: whoever can bring about a line of
//! the log must not be able to fill it, or the memory of what was told.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Said again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// When something was last told, and how often it happened since.
#[derive(Debug)]
pub(crate) struct Sparing<K> {
    /// Things that are told one by one.
    max: usize,
    told: Mutex<HashMap<K, (Instant, u64)>>,
}

impl<K: Clone + Eq + Hash> Sparing<K> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, told: Mutex::default() }
    }

    /// Counts, and says whether it is to be told now, and then as what and of how many. Where there is too much else,
    /// `others` says what it goes with; that should be one of few.
    pub(crate) fn due(&self, key: K, others: impl FnOnce(K) -> K, n: u64, now: Instant) -> Option<(K, u64)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < AGAIN;
        if told.len() >= self.max && !told.contains_key(&key) {
            told.retain(|_, (at, _)| is_recent(*at));
        }
        let key = if told.len() >= self.max && !told.contains_key(&key) { others(key) } else { key };
        let n_before = match told.get_mut(&key) {
            Some((at, n_silent)) if is_recent(*at) => {
                *n_silent += n;
                return None;
            }
            Some((_, n_silent)) => *n_silent,
            None => 0,
        };
        told.insert(key.clone(), (now, 0));
        Some((key, n + n_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_by_their_number() {
        let (sparing, start) = (Sparing::new(3), Instant::now());
        let due = |key: &'static str, seconds| {
            sparing.due(key, |_| "others", 1, start + Duration::from_secs(seconds))
        };
        assert_eq!(due("a", 0), Some(("a", 1)));
        assert_eq!((due("a", 1), due("a", 59)), (None, None));
        assert_eq!(due("b", 30), Some(("b", 1)));
        assert_eq!(due("a", 60), Some(("a", 3)), "this one and the two before");
        assert_eq!(due("c", 61), Some(("c", 1)));
        // There are three by now.
        assert_eq!(due("d", 62), Some(("others", 1)));
        assert_eq!((due("e", 63), due("a", 64)), (None, None));
        assert_eq!(due("f", 122), Some(("f", 1)), "the others are long enough ago");
    }

    #[test]
    fn made_up_things_do_not_fill_the_memory() {
        let (sparing, now) = (Sparing::new(100), Instant::now());
        let n_told = (0..10_000).filter(|n| sparing.due(*n, |_| u64::MAX, 1, now).is_some()).count();
        assert_eq!(n_told, 101);
        assert_eq!(sparing.told.lock().unwrap().len(), 101);
    }
}
