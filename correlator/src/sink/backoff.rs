//! How long to wait before the next try.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// A receiver may ask for as long as this; past that it is tried all the same.
const LONGEST_WISH: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    n_tries: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, n_tries: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.n_tries = 0;
    }

    /// Twice as long each time, between half of it and all of it, so that sinks that fell together do not come back together;
    /// never before the receiver wants to hear of us.
    pub(super) fn next(&mut self, wish: Option<Duration>) -> Duration {
        // Keys of hash maps are random, which is all that jitter asks for.
        self.after(wish, RandomState::new().hash_one(()) as u32)
    }

    fn after(&mut self, wish: Option<Duration>, random: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << self.n_tries.min(20)).min(self.longest);
        self.n_tries = self.n_tries.saturating_add(1);
        let part = whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX));
        part.max(within_reason(wish))
    }
}

/// What a receiver wishes, as far as it is heeded.
pub(super) fn within_reason(wish: Option<Duration>) -> Duration {
    wish.unwrap_or_default().min(LONGEST_WISH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<u64> = (0..6).map(|_| backoff.after(None, u32::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.after(None, 0), Duration::from_secs(5), "half of it at least");
        backoff.reset();
        assert_eq!(backoff.after(None, 0), Duration::from_millis(500));
        (0..100).for_each(|_| assert!(backoff.next(None) <= Duration::from_secs(10)));
    }

    #[test]
    fn a_receiver_says_how_long_within_reason() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        assert_eq!(backoff.next(Some(Duration::from_secs(120))), Duration::from_secs(120));
        assert_eq!(backoff.next(Some(Duration::from_secs(1 << 40))), LONGEST_WISH);
    }
}
