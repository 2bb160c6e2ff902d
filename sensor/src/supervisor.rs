//! Word to systemd: ready, alive, ending. Where it did not start us, none of this does anything.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Words per interval of the watchdog: one that is late is made up for by the next.
const BEATS: u32 = 3;

/// Who started the sensor, if it wants to hear from it.
#[derive(Debug)]
pub struct Supervisor {
    /// How often it wants a sign of life.
    every: Option<Duration>,
    due: Instant,
}

impl Supervisor {
    pub fn of_this_process(now: Instant) -> Self {
        Self::expecting(sd_notify::watchdog_enabled(), now)
    }

    fn expecting(watchdog: Option<Duration>, now: Instant) -> Self {
        Self { every: watchdog.map(|limit| limit / BEATS), due: now }
    }

    /// The hooks are attached: what happens from here on is seen.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A sign of life. Called from the loop that reads the ring and from nowhere else: a timer of its own would vouch
    /// for a sensor that reads nothing.
    pub fn beat(&mut self, now: Instant) {
        if self.is_due(now) {
            tell(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.due) else { return false };
        self.due = now + every;
        true
    }

    /// How long a wait may last without keeping the watchdog waiting.
    pub fn patience(&self) -> Duration {
        self.every.unwrap_or(Duration::MAX)
    }

    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(words) {
        tracing::warn!(%err, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_told_three_times_in_its_interval() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut supervisor = Supervisor::expecting(Some(Duration::from_secs(30)), start);
        let told: Vec<u64> = (0..30).filter(|second| supervisor.is_due(at(*second))).collect();
        assert_eq!(told, [0, 10, 20]);
        // One that was held up does not speak twice at once.
        assert!(supervisor.is_due(at(60)) && !supervisor.is_due(at(61)));
    }

    #[test]
    fn nobody_is_told_where_nobody_asked() {
        let now = Instant::now();
        let mut supervisor = Supervisor::expecting(None, now);
        assert!(!supervisor.is_due(now + Duration::from_secs(3600)));
        assert_eq!(supervisor.patience(), Duration::MAX);
    }
}
