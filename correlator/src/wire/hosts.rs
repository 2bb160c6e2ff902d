//! The hosts that send: what each has sent, what it may still send, and who waits for what of it to be safe.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::ledger::{Ledger, Offer, StreamId, Verdict};
use super::quota::{Quota, Rates};
use crate::source::folder::Positions;

/// More are turned away. Certificates bound it; over a Unix socket nothing else does.
const MAX_HOSTS: usize = 20_000;
/// Requests of one host under way at a time: its own, and those a broken connection left behind.
const MAX_REQUESTS: usize = 4;
/// Connections of one host: its own, and those that a cut left behind. More take other sensors' places.
const MAX_CONNECTIONS: usize = 16;
/// Bytes of one host's bodies that are awaited at a time: a batch, of what there is room for altogether.
const MAX_AWAITED: usize = 4 << 20;

/// One sensor's host.
pub(super) struct Host {
    pub(super) id: Box<str>,
    /// Which of the workers it belongs to: its batches are taken one after another.
    pub(super) shard: usize,
    ledger: Mutex<Ledger>,
    quota: Mutex<Quota>,
    changed: Notify,
    n_requests: AtomicUsize,
    n_connections: AtomicUsize,
    room: Arc<Semaphore>,
}

pub(super) struct Hosts {
    source: Arc<str>,
    positions: Arc<dyn Positions>,
    rates: Rates,
    start: Instant,
    known: Mutex<HashMap<Box<str>, Arc<Host>>>,
}

impl Hosts {
    pub(super) fn new(source: Arc<str>, positions: Arc<dyn Positions>, rates: Rates) -> Self {
        Self { source, positions, rates, start: Instant::now(), known: Mutex::default() }
    }

    /// None if there are too many.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Host>> {
        let mut known = lock(&self.known);
        if let Some(host) = known.get(id) {
            return Some(Arc::clone(host));
        }
        if known.len() >= MAX_HOSTS {
            return None;
        }
        let ledger = self.positions.value(&self.source, id).map(|kept| Ledger::parse(&kept));
        let host = Arc::new(Host {
            id: id.into(),
            shard: known.len(),
            ledger: Mutex::new(ledger.unwrap_or_default()),
            quota: Mutex::new(Quota::new(self.rates, self.start.elapsed())),
            changed: Notify::new(),
            n_requests: AtomicUsize::new(0),
            n_connections: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(MAX_AWAITED)),
        });
        known.insert(id.into(), Arc::clone(&host));
        Some(host)
    }

    /// How long this host has to wait before it may send more.
    pub(super) fn wait(&self, host: &Host) -> Option<Duration> {
        lock(&host.quota).wait(self.start.elapsed())
    }
}

impl Host {
    /// A place for a request. None if it has enough under way.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        Place::take(self, |host| &host.n_requests, MAX_REQUESTS)
    }

    /// A place for a connection. None if it has enough of them.
    pub(super) fn connect(self: &Arc<Self>) -> Option<Place> {
        Place::take(self, |host| &host.n_connections, MAX_CONNECTIONS)
    }

    /// Waits until as much of this host's may be on its way: what one host takes its time over is not the others' room.
    pub(super) async fn room_for(&self, n_bytes: usize) -> Option<OwnedSemaphorePermit> {
        let n_bytes = u32::try_from(n_bytes.clamp(1, MAX_AWAITED)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(n_bytes).await.ok()
    }

    pub(super) fn charge(&self, n_events: u64, n_bytes: u64) {
        lock(&self.quota).charge(n_events, n_bytes);
    }

    pub(super) fn judge(&self, offer: &Offer) -> Verdict {
        lock(&self.ledger).judge(offer)
    }

    /// What is to be kept now that everything up to `through` was handed on.
    pub(super) fn take(&self, stream: StreamId, through: u64) -> String {
        let mut ledger = lock(&self.ledger);
        ledger.take(stream, through);
        ledger.position()
    }

    pub(super) fn settle(&self, stream: StreamId, through: u64) {
        lock(&self.ledger).settle(stream, through);
        self.changed.notify_waiters();
    }

    pub(super) fn safe(&self, stream: StreamId) -> u64 {
        lock(&self.ledger).safe(stream)
    }

    /// Waits until everything up to `through` is safe. False if that takes too long.
    pub(super) async fn is_safe(&self, stream: StreamId, through: u64, patience: Duration) -> bool {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Listens before it looks, so that nothing falls in between.
                changed.as_mut().enable();
                if self.safe(stream) >= through {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }
}

/// One of the places that a host has of something, until this is dropped.
pub(super) struct Place {
    host: Arc<Host>,
    taken: fn(&Host) -> &AtomicUsize,
}

impl Place {
    fn take(host: &Arc<Host>, taken: fn(&Host) -> &AtomicUsize, max: usize) -> Option<Self> {
        let entered =
            taken(host).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1));
        entered.is_ok().then(|| Self { host: Arc::clone(host), taken })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.taken)(&self.host).fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::folder::NoPositions;

    const S: StreamId = [1; 16];

    fn host() -> Arc<Host> {
        Hosts::new("wire".into(), Arc::new(NoPositions), Rates::default()).get("web-1").unwrap()
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_what_is_safe() {
        let host = host();
        host.take(S, 5);
        assert!(!host.is_safe(S, 5, Duration::from_millis(20)).await);
        let waiting = Arc::clone(&host);
        let waits = tokio::spawn(async move { waiting.is_safe(S, 5, Duration::from_secs(30)).await });
        tokio::task::yield_now().await;
        host.settle(S, 4);
        tokio::task::yield_now().await;
        host.settle(S, 5);
        assert!(waits.await.unwrap());
        assert!(host.is_safe(S, 3, Duration::ZERO).await, "it is safe already");
    }

    #[test]
    fn a_host_has_a_few_requests_under_way() {
        let host = host();
        let mut held: Vec<Place> = (0..MAX_REQUESTS).map(|_| host.enter().unwrap()).collect();
        assert!(host.enter().is_none());
        held.pop();
        assert!(host.enter().is_some());
    }

    #[test]
    fn what_was_kept_is_known() {
        struct Kept;
        impl Positions for Kept {
            fn value(&self, source: &str, key: &str) -> Option<String> {
                (source == "wire" && key == "web-1").then(|| format!("{}:7", "01".repeat(16)))
            }
        }
        let hosts = Hosts::new("wire".into(), Arc::new(Kept), Rates::default());
        assert_eq!(hosts.get("web-1").unwrap().safe(S), 7);
        assert_eq!(hosts.get("web-2").unwrap().safe(S), 0);
    }
}
