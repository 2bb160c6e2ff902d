//! How long events take to arrive, as percentiles, in a fixed few bytes.

use rules::event::Span;

/// Bucket n holds lags below 2^n ms and not below half of that: the last one a day and longer.
const N_BUCKETS: usize = 28;

#[derive(Debug, Clone, Default)]
pub(super) struct Lags {
    buckets: [u64; N_BUCKETS],
    n: u64,
}

impl Lags {
    pub(super) fn note(&mut self, lag: Span) {
        let millis = u64::try_from(lag.0 / 1_000_000).unwrap_or(0);
        let bucket = (u64::BITS - millis.leading_zeros()) as usize;
        self.buckets[bucket.min(N_BUCKETS - 1)] += 1;
        self.n += 1;
    }

    /// The lag that so many of a hundred events stay below: right to a factor of two, and never too good.
    pub(super) fn percentile(&self, percent: u64) -> Option<Span> {
        let wanted = (self.n * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= wanted
        })?;
        Some(Span::from_millis(1 << bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_upper_bounds() {
        let mut lags = Lags::default();
        assert_eq!(lags.percentile(50), None);
        for millis in 1..=100 {
            lags.note(Span::from_millis(millis));
        }
        assert_eq!(lags.percentile(50), Some(Span::from_millis(64)));
        assert_eq!(lags.percentile(99), Some(Span::from_millis(128)));
        lags.note(Span::from_secs(-5));
        lags.note(Span(i64::MAX));
        assert!(lags.percentile(100).is_some());
    }
}
