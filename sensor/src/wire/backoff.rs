//! How long to wait before the next try: longer each time, and never all sensors at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
/// A correlator that is back is found within this.
const LONGEST: Duration = Duration::from_secs(30);
/// Where somebody has to act, there is no hurry.
const SELDOM: Duration = Duration::from_secs(60);
/// A word of the correlator's that is longer is taken for this.
const MAX_ASKED: Duration = Duration::from_secs(300);

/// The waits of one sender.
#[derive(Debug)]
pub struct Backoff {
    n_failures: u32,
    /// A number that differs from sensor to sensor.
    seed: u64,
}

impl Backoff {
    pub fn new(seed: u64) -> Self {
        Self { n_failures: 0, seed: seed | 1 }
    }

    pub fn reset(&mut self) {
        self.n_failures = 0;
    }

    /// After a failure that may pass. `asked` is what the correlator asked for.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.n_failures.min(10)).min(LONGEST);
        self.n_failures = self.n_failures.saturating_add(1);
        let jittered = ceiling.mul_f64(0.5 + 0.5 * self.random());
        match asked {
            // A little later than asked, each in its own time.
            Some(asked) => {
                asked.min(MAX_ASKED).mul_f64(1.0 + 0.25 * self.random()).max(Duration::from_millis(50))
            }
            None => jittered,
        }
    }

    /// After a failure that does not pass by itself.
    pub fn seldom(&mut self) -> Duration {
        self.n_failures = self.n_failures.saturating_add(1);
        if self.n_failures <= 3 { self.next(None) } else { SELDOM.mul_f64(0.75 + 0.5 * self.random()) }
    }

    /// From 0 to 1: xorshift, which is as random as this needs to be.
    fn random(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next(None)).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn what_is_asked_for_is_kept_within_reason() {
        let mut backoff = Backoff::new(7);
        let asked = Duration::from_secs(8);
        let wait = backoff.next(Some(asked));
        assert!(wait >= asked && wait <= asked * 2);
        assert!(backoff.next(Some(Duration::from_secs(1 << 40))) <= MAX_ASKED * 2);
    }

    #[test]
    fn sensors_do_not_come_all_at_once() {
        let waits: std::collections::BTreeSet<Duration> = (1..200_u64)
            .map(|seed| Backoff::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next(None))
            .collect();
        assert!(waits.len() > 150);
    }

    #[test]
    fn an_hour_without_a_network_costs_few_tries() {
        let mut backoff = Backoff::new(3);
        let (mut passed, mut n_tries) = (Duration::ZERO, 0);
        while passed < Duration::from_secs(3600) {
            passed += backoff.next(None);
            n_tries += 1;
        }
        assert!((120..300).contains(&n_tries), "{n_tries}");
    }
}
