//! Places where a run may be cut off, so that tests can cut it off at each of them. Nothing of it is in a program that is
//! not a test.

#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicI64, Ordering};

/// What the run is about to do, or has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// One thing was taken from the sources.
    Taken,
    BeforeCommit,
    /// Written, and not delivered.
    Committed,
    /// One alert was delivered; others may wait.
    Delivered,
    /// All were delivered, which is not written yet.
    BeforeMark,
}

/// Counts down over all points and cuts the run off at zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    #[cfg(test)]
    n_left: Option<Arc<AtomicI64>>,
}

impl Faults {
    #[cfg(test)]
    pub(super) fn after(n_points: i64) -> Self {
        Self { n_left: Some(Arc::new(AtomicI64::new(n_points))) }
    }

    /// How many points were passed.
    #[cfg(test)]
    pub(super) fn n_passed(&self, of: i64) -> i64 {
        self.n_left.as_ref().map_or(0, |left| of - left.load(Ordering::SeqCst))
    }

    #[cfg(test)]
    pub(super) fn is_cut(&self, _point: Point) -> bool {
        self.n_left.as_ref().is_some_and(|left| left.fetch_sub(1, Ordering::SeqCst) <= 0)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "it is a test's to say")]
    pub(super) const fn is_cut(&self, _point: Point) -> bool {
        false
    }
}
