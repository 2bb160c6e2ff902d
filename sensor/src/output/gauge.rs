//! How many lines went in, came out, and were dropped on the way.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Gauge {
    taken: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Of those, the ones that can be told of: a line that says so would itself be dropped before there is room again.
    tellable: AtomicU64,
}

impl Gauge {
    pub(super) fn taken(&self, lines: &[u8]) {
        self.taken.fetch_add(n_lines(lines), Ordering::Relaxed);
    }

    /// Counts lines that are whole: a cut one is as good as none.
    pub(super) fn written(&self, lines: &[u8]) {
        self.written.fetch_add(n_lines(lines), Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// Lines were taken: what was dropped before can be told now.
    pub(super) fn works(&self) {
        self.tellable.store(self.n_dropped(), Ordering::Relaxed);
    }

    /// Dropped on purpose, to keep newer ones, or for want of room.
    pub(super) fn n_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn n_tellable(&self) -> u64 {
        self.tellable.load(Ordering::Relaxed)
    }

    /// Taken and not written, for whatever reason.
    pub(super) fn n_unwritten(&self) -> u64 {
        self.taken.load(Ordering::Relaxed).saturating_sub(self.written.load(Ordering::Relaxed))
    }
}

pub(super) fn n_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}
