//! What one host has sent: how far each of its streams was taken in, and how far that is safe. Sequence numbers make a
//! repetition harmless and a hole visible.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// A spool's name: made with it, so that a spool that starts anew is not taken for repetition.
pub type StreamId = [u8; 16];

/// A host has one spool. Older ones are remembered in case a disk is put back.
const MAX_STREAMS: usize = 4;

/// The streams of one host, the one heard of last at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    streams: VecDeque<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    stream: StreamId,
    /// Everything up to here was handed on.
    taken: u64,
    /// And this far it was written.
    safe: u64,
}

/// Frames that somebody wants to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub stream: StreamId,
    pub first: u64,
    pub n_frames: u64,
    /// The sender holds nothing below this any more.
    pub oldest: u64,
}

/// What is to be done with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take the frames after `skip`. Before the first, `n_missing` never came and never will.
    Take { skip: u64, n_missing: u64 },
    /// All of them were taken before.
    Known,
    /// Others have to come first.
    OutOfOrder { expected: u64 },
}

impl Offer {
    /// The number of the last frame. None for numbers that no sender can reach.
    pub fn last(&self) -> Option<u64> {
        let last = self.first.checked_add(self.n_frames)?.checked_sub(1)?;
        (self.first > 0 && self.n_frames > 0 && last <= i64::MAX as u64).then_some(last)
    }
}

impl Ledger {
    /// Reads what [`Self::position`] wrote. What was written was safe.
    pub fn parse(position: &str) -> Self {
        let streams = position.split(' ').filter_map(|part| {
            let (stream, through) = part.split_once(':')?;
            let through = through.parse().ok()?;
            Some(Progress { stream: parse_stream(stream)?, taken: through, safe: through })
        });
        let mut ledger = Self { streams: streams.collect() };
        while ledger.streams.len() > MAX_STREAMS {
            ledger.streams.pop_front();
        }
        ledger
    }

    /// What has to be kept beside what was taken.
    pub fn position(&self) -> String {
        let mut text = String::new();
        for progress in &self.streams {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&crate::hex::hex(&progress.stream));
            write!(text, ":{}", progress.taken).expect("writing to a string cannot fail");
        }
        text
    }

    fn progress(&self, stream: StreamId) -> Option<&Progress> {
        self.streams.iter().find(|progress| progress.stream == stream)
    }

    pub fn judge(&self, offer: &Offer) -> Verdict {
        let taken = self.progress(offer.stream).map(|progress| progress.taken);
        let expected = taken.unwrap_or(0) + 1;
        let end = offer.first.saturating_add(offer.n_frames);
        if end <= expected {
            return Verdict::Known;
        }
        if offer.first <= expected {
            return Verdict::Take { skip: expected - offer.first, n_missing: 0 };
        }
        // Nothing before it is to come, or it has to wait for what is.
        if offer.oldest < offer.first {
            return Verdict::OutOfOrder { expected: expected.max(offer.oldest) };
        }
        // Of a stream that is news we do not know whether somebody else took its beginning.
        Verdict::Take { skip: 0, n_missing: taken.map_or(0, |_| offer.first - expected) }
    }

    /// Everything up to `through` is handed on.
    pub fn take(&mut self, stream: StreamId, through: u64) {
        let held = self.streams.iter().position(|progress| progress.stream == stream);
        let mut progress =
            held.and_then(|idx| self.streams.remove(idx)).unwrap_or(Progress { stream, taken: 0, safe: 0 });
        progress.taken = progress.taken.max(through);
        self.streams.push_back(progress);
        if self.streams.len() > MAX_STREAMS {
            self.streams.pop_front();
        }
    }

    /// Everything up to `through` is written.
    pub fn settle(&mut self, stream: StreamId, through: u64) {
        if let Some(progress) = self.streams.iter_mut().find(|progress| progress.stream == stream) {
            progress.safe = progress.safe.max(through.min(progress.taken));
        }
    }

    pub fn safe(&self, stream: StreamId) -> u64 {
        self.progress(stream).map_or(0, |progress| progress.safe)
    }
}

/// 32 hex digits.
pub fn parse_stream(text: &str) -> Option<StreamId> {
    let bytes = text.as_bytes();
    if bytes.len() != 32 || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut stream = [0; 16];
    for (byte, pair) in stream.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(stream)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: StreamId = [7; 16];

    fn offer(first: u64, n_frames: u64, oldest: u64) -> Offer {
        Offer { stream: S, first, n_frames, oldest }
    }

    fn at(taken: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.take(S, taken);
        ledger
    }

    #[test]
    fn what_follows_is_taken_and_what_came_before_is_not() {
        let ledger = at(10);
        let take = |skip, n_missing| Verdict::Take { skip, n_missing };
        assert_eq!(ledger.judge(&offer(11, 3, 11)), take(0, 0));
        assert_eq!(ledger.judge(&offer(9, 2, 9)), Verdict::Known);
        assert_eq!(ledger.judge(&offer(1, 10, 1)), Verdict::Known);
        assert_eq!(ledger.judge(&offer(8, 6, 8)), take(3, 0), "three of them were taken");
    }

    #[test]
    fn what_comes_too_early_waits_for_what_the_sender_still_holds() {
        let ledger = at(10);
        assert_eq!(ledger.judge(&offer(14, 1, 11)), Verdict::OutOfOrder { expected: 11 });
        assert_eq!(ledger.judge(&offer(14, 1, 12)), Verdict::OutOfOrder { expected: 12 });
        // The sender gave up 11 to 13: they are missed once.
        assert_eq!(ledger.judge(&offer(14, 1, 14)), Verdict::Take { skip: 0, n_missing: 3 });
        assert_eq!(Ledger::default().judge(&offer(500, 1, 500)), Verdict::Take { skip: 0, n_missing: 0 });
    }

    #[test]
    fn impossible_numbers_are_told() {
        assert_eq!(offer(0, 1, 0).last(), None);
        assert_eq!(offer(1, 0, 1).last(), None);
        assert_eq!(offer(u64::MAX, 2, 1).last(), None);
        assert_eq!(offer(3, 2, 1).last(), Some(4));
    }

    #[test]
    fn a_few_streams_are_remembered_and_the_rest_forgotten() {
        let mut ledger = Ledger::default();
        for n in 0..10_u8 {
            ledger.take([n; 16], u64::from(n) + 1);
        }
        ledger.take([6; 16], 9);
        let again = Ledger::parse(&ledger.position());
        assert_eq!(again.streams.iter().map(|progress| progress.taken).collect::<Vec<_>>(), [8, 9, 10, 9]);
        assert_eq!(again.safe([6; 16]), 9, "what was kept is safe");
        assert_eq!(Ledger::parse("nonsense 12:x"), Ledger::default());
    }

    #[test]
    fn safe_follows_taken() {
        let mut ledger = at(10);
        assert_eq!(ledger.safe(S), 0);
        ledger.settle(S, 12);
        assert_eq!(ledger.safe(S), 10, "nothing is safe that was not taken");
    }

    proptest! {
        /// Whatever is repeated, reordered or forgotten by a crash: each frame that is not given up is taken in once, in order.
        #[test]
        fn every_frame_is_taken_once(steps in proptest::collection::vec((0..4_u8, 1..30_u64, 1..6_u64), 1..200)) {
            let (mut ledger, mut written) = (Ledger::default(), String::new());
            // What was taken in, by the state that a restart would find and by the one that runs.
            let (mut taken, mut kept): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
            for (what, first, n_frames) in steps {
                match what {
                    // The state is written, with what was taken.
                    0 => {
                        kept.clone_from(&taken);
                        written = ledger.position();
                    }
                    // kill -9: what was not written is gone, and so is what was taken with it.
                    1 => {
                        taken.clone_from(&kept);
                        ledger = Ledger::parse(&written);
                    }
                    // Some frames, in whatever order; the sender holds all that was never given up.
                    _ => {
                        let offer = offer(first, n_frames, 1);
                        if let Verdict::Take { skip, n_missing } = ledger.judge(&offer) {
                            prop_assert_eq!(n_missing, 0);
                            taken.extend(first + skip..first + n_frames);
                            ledger.take(S, first + n_frames - 1);
                        }
                    }
                }
                let in_order: Vec<u64> = (1..=taken.len() as u64).collect();
                prop_assert_eq!(&taken, &in_order);
            }
        }
    }
}
