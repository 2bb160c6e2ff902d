//! How a sink is: what it was given, what became of it, and what is wrong with it now.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::health::{SinkHealth, millis};
use crate::store::Line;
use rules::event::EventTime;

/// Counted by the sink's worker; anybody may look.
#[derive(Debug, Default)]
pub struct Account {
    pub(super) line: Arc<Line>,
    n_delivered: AtomicU64,
    n_retried: AtomicU64,
    n_dead: AtomicU64,
    /// When the oldest that waits was queued; 0: nothing waits.
    oldest_ms: AtomicI64,
    trouble: Mutex<Option<Trouble>>,
}

/// Why nothing goes out at the moment.
#[derive(Debug, Clone)]
struct Trouble {
    since_ms: i64,
    reason: String,
}

impl Account {
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    pub(super) fn count_delivered(&self, n: u64) {
        self.n_delivered.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn count_retried(&self, n: u64) {
        self.n_retried.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn count_dead(&self, n: u64) {
        self.n_dead.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set_oldest(&self, queued_ms: Option<i64>) {
        self.oldest_ms.store(queued_ms.unwrap_or(0), Ordering::Relaxed);
    }

    /// Says whether this is the first of it.
    pub(super) fn is_failing(&self, reason: &str, now: EventTime) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since_ms = trouble.as_ref().map(|trouble| trouble.since_ms);
        *trouble =
            Some(Trouble { since_ms: since_ms.unwrap_or_else(|| millis(now)), reason: reason.to_owned() });
        since_ms.is_none()
    }

    /// Says since when it did not work, if it did not.
    pub(super) fn works_again(&self) -> Option<i64> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.take().map(|trouble| trouble.since_ms)
    }

    pub(crate) fn look(&self, sink: &str) -> SinkHealth {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let n_queued = self.line.n_waiting();
        let oldest = self.oldest_ms.load(Ordering::Relaxed);
        SinkHealth {
            name: sink.to_owned(),
            n_delivered: self.n_delivered.load(Ordering::Relaxed),
            n_retried: self.n_retried.load(Ordering::Relaxed),
            n_dead: self.n_dead.load(Ordering::Relaxed),
            n_lost: self.line.n_lost(),
            n_queued,
            n_queued_bytes: self.line.n_bytes(),
            oldest_ms: Some(oldest).filter(|oldest| *oldest > 0 && n_queued > 0),
            failing_since_ms: trouble.as_ref().map(|trouble| trouble.since_ms),
            reason: trouble.map(|trouble| trouble.reason).unwrap_or_default(),
        }
    }
}
