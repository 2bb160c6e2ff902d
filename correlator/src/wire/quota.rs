//! What one sensor may send: so many events and bytes a second, with a burst of a few seconds' worth. A batch is never cut;
//! who has overdrawn waits until the debt is paid, and loses nothing by it.

use std::time::Duration;

/// So many seconds' worth may come at once: a sensor that was cut off has something to make up for.
const BURST_S: f64 = 10.0;

/// Per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    pub events: u32,
    pub bytes: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { events: 5_000, bytes: 16 << 20 }
    }
}

/// One sensor's account. Time is counted from any fixed start.
#[derive(Debug, Clone)]
pub struct Quota {
    events: Bucket,
    bytes: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    per_s: f64,
    left: f64,
    at: Duration,
}

impl Quota {
    pub fn new(rates: Rates, now: Duration) -> Self {
        Self {
            events: Bucket::full(f64::from(rates.events), now),
            bytes: Bucket::full(rates.bytes as f64, now),
        }
    }

    /// How long the sensor has to wait before it may send again.
    pub fn wait(&mut self, now: Duration) -> Option<Duration> {
        let wait = self.events.wait(now).max(self.bytes.wait(now));
        (wait > Duration::ZERO).then_some(wait)
    }

    pub fn charge(&mut self, n_events: u64, n_bytes: u64) {
        self.events.left -= n_events as f64;
        self.bytes.left -= n_bytes as f64;
    }
}

impl Bucket {
    fn full(per_s: f64, now: Duration) -> Self {
        Self { per_s, left: per_s * BURST_S, at: now }
    }

    fn wait(&mut self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_s).min(self.per_s * BURST_S);
        self.at = now.max(self.at);
        if self.left > 0.0 { Duration::ZERO } else { Duration::from_secs_f64(1e-3 - self.left / self.per_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { events: 100, bytes: 1_000 };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_and_a_flood_waits() {
        let mut quota = Quota::new(RATES, at(0));
        quota.charge(999, 10);
        assert_eq!(quota.wait(at(0)), None);
        quota.charge(101, 10);
        // A hundred events of debt, at a hundred a second.
        assert_eq!(quota.wait(at(0)), Some(at(1_001)));
        assert_eq!(quota.wait(at(500)), Some(at(501)));
        assert_eq!(quota.wait(at(1_001)), None);
    }

    #[test]
    fn bytes_count_as_well() {
        let mut quota = Quota::new(RATES, at(0));
        quota.charge(1, 12_000);
        assert_eq!(quota.wait(at(0)), Some(at(2_001)));
    }

    #[test]
    fn over_a_long_time_no_more_passes_than_the_rate_and_one_burst() {
        let mut quota = Quota::new(RATES, at(0));
        let mut n_passed = 0;
        for ms in 0..100_000 {
            if quota.wait(at(ms)).is_none() {
                quota.charge(50, 1);
                n_passed += 50;
            }
        }
        assert!((11_000..=11_100).contains(&n_passed), "{n_passed}");
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing_away() {
        let mut quota = Quota::new(RATES, at(5_000));
        quota.charge(1_100, 0);
        assert_eq!(quota.wait(at(5_000)), Some(at(1_001)));
        assert_eq!(quota.wait(at(1_000)), Some(at(1_001)));
        assert_eq!(quota.wait(at(6_001)), None);
    }
}
