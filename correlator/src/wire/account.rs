//! What came over the wire and what was refused, counted by cause, and told in the log without flooding it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use rules::event::EventTime;
use tracing::warn;

use crate::sparing::Sparing;

/// What can be wrong, or worth counting. The names are those of the metrics' `cause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No place for another connection.
    Crowded,
    /// TLS failed: no certificate, a wrong, expired or revoked one, or no TLS at all.
    Handshake,
    /// A Unix peer that may not speak.
    Peer,
    /// The certificate names no host, or the sensor believes to be another.
    Name,
    /// A request that makes no sense.
    Malformed,
    /// A version nobody speaks here.
    Version,
    /// A frame that is damaged or unpacks to too much.
    Frame,
    /// Too much too fast: sent again later.
    Quota,
    /// Nobody took it in time: sent again later.
    Busy,
    /// Frames that came before others: sent again in order.
    OutOfOrder,
    /// Events that claimed to be of another host or instance; they count as their sender's.
    Forged,
    /// Events that are no sensor's.
    Foreign,
    /// Batches that were taken before.
    Duplicate,
    /// Batches that never came.
    Missing,
}

impl Cause {
    pub const ALL: [Self; 14] = [
        Self::Crowded,
        Self::Handshake,
        Self::Peer,
        Self::Name,
        Self::Malformed,
        Self::Version,
        Self::Frame,
        Self::Quota,
        Self::Busy,
        Self::OutOfOrder,
        Self::Forged,
        Self::Foreign,
        Self::Duplicate,
        Self::Missing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Handshake => "handshake",
            Self::Peer => "peer",
            Self::Name => "name",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Frame => "frame",
            Self::Quota => "quota",
            Self::Busy => "busy",
            Self::OutOfOrder => "out_of_order",
            Self::Forged => "forged",
            Self::Foreign => "foreign",
            Self::Duplicate => "duplicate",
            Self::Missing => "missing",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Crowded => "connection refused: there are too many",
            Self::Handshake => "connection refused",
            Self::Peer => "connection refused: this user may not speak for a sensor",
            Self::Name => "batch refused: the sensor is not who it says",
            Self::Malformed => "request refused",
            Self::Version => "request refused: another version of the protocol",
            Self::Frame => "batch refused",
            Self::Quota => "a sensor sends more than its share: it is made to wait, nothing is lost",
            Self::Busy => "a batch has to be sent again: nobody took it in time",
            Self::OutOfOrder => "a batch has to be sent again: others come first",
            Self::Forged => "a sensor claimed to be another: its events count as its own",
            Self::Foreign => "a sensor sent what is no sensor's event: left out",
            Self::Duplicate => "a batch came again: it was taken before",
            Self::Missing => "batches of a sensor never came",
        }
    }

    /// Repetition and waiting are daily business.
    fn is_worth_telling(self) -> bool {
        !matches!(self, Self::Duplicate)
    }
}

/// Peers that are told one by one; whoever can make up names must not fill the memory.
const MAX_TOLD: usize = 10_000;

#[derive(Debug)]
pub struct Account {
    counts: [AtomicU64; Cause::ALL.len()],
    batches: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    connections: AtomicU64,
    /// Nanoseconds since 1970; nought where there is no certificate.
    certificate_ends: AtomicI64,
    told: Sparing<(Cause, Box<str>)>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            counts: Default::default(),
            batches: AtomicU64::default(),
            events: AtomicU64::default(),
            bytes: AtomicU64::default(),
            connections: AtomicU64::default(),
            certificate_ends: AtomicI64::default(),
            told: Sparing::new(MAX_TOLD),
        }
    }
}

impl Account {
    /// Counts, and says so unless it was said of the same peer just now.
    pub(super) fn note(&self, cause: Cause, peer: &str, n: u64, detail: &str) {
        self.counts[cause as usize].fetch_add(n, Ordering::Relaxed);
        if !cause.is_worth_telling() {
            return;
        }
        let others = |(cause, _)| (cause, "others".into());
        let Some(((_, peer), n)) = self.told.due((cause, peer.into()), others, n, Instant::now()) else {
            return;
        };
        warn!(peer = &*peer, n, detail, "{}", cause.what());
    }

    pub(super) fn taken(&self, n_batches: u64, n_events: u64, n_bytes: u64) {
        self.batches.fetch_add(n_batches, Ordering::Relaxed);
        self.events.fetch_add(n_events, Ordering::Relaxed);
        self.bytes.fetch_add(n_bytes, Ordering::Relaxed);
    }

    pub(super) fn certificate_is(&self, not_after: Option<EventTime>) {
        self.certificate_ends.store(not_after.map_or(0, |time| time.0), Ordering::Relaxed);
    }

    pub fn certificate_ends(&self) -> Option<EventTime> {
        Some(EventTime(self.certificate_ends.load(Ordering::Relaxed))).filter(|time| time.0 > 0)
    }

    pub(super) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }

    pub fn n(&self, cause: Cause) -> u64 {
        self.counts[cause as usize].load(Ordering::Relaxed)
    }

    pub fn n_batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub fn n_events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub fn n_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn n_connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection that is counted as long as this is held.
pub(super) struct Connected<'a>(&'a Account);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_causes_are_counted_apart() {
        let account = Account::default();
        for (cause, n) in Cause::ALL.into_iter().zip(1..) {
            account.note(cause, "web-1", n, "");
            account.note(cause, "web-1", n, "");
        }
        let counts: Vec<u64> = Cause::ALL.into_iter().map(|cause| account.n(cause)).collect();
        assert_eq!(counts, (1..=Cause::ALL.len() as u64).map(|n| 2 * n).collect::<Vec<_>>());
    }
}
