//! How many values of a column one row may have, and how long they may be: a row is put together whole, and a list of it may
//! name one long text of a dictionary any number of times.

use super::thrift::Compact;

/// What was seen of one column so far.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Values of the row that is not over yet.
    current: u64,
    longest: u64,
    /// The longest text that may stand for a value.
    largest: u64,
}

impl Lists {
    /// Texts of a dictionary, each behind its length. Those that stand in the pages themselves take their room there.
    pub(super) fn see_texts(&mut self, mut bytes: &[u8]) {
        while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
            let len = u32::from_le_bytes(*len);
            self.see_text(u64::from(len));
            bytes = rest.get(len as usize..).unwrap_or_default();
        }
    }

    /// Texts that may each be as long as this, whatever room they take.
    pub(super) fn see_text(&mut self, len: u64) {
        self.largest = self.largest.max(len);
    }

    /// The places of so many values in their lists, packed in runs of `width` bits: nought begins a row. None where they are
    /// not what they should be.
    pub(super) fn see_places(&mut self, bytes: &[u8], width: u32, n_values: u64) -> Option<()> {
        let mut runs = Compact::new(bytes);
        let mut left = n_values;
        while left > 0 {
            let head = runs.length()?;
            let n = head >> 1;
            if head & 1 == 1 {
                let packed = runs.take(n.checked_mul(u64::from(width))?)?;
                let n = n.checked_mul(8)?.min(left);
                for value in 0..n {
                    let bits = value * u64::from(width)..(value + 1) * u64::from(width);
                    let is_first =
                        bits.into_iter().all(|bit| packed[(bit / 8) as usize] >> (bit % 8) & 1 == 0);
                    self.add(1, is_first);
                }
                left -= n;
            } else {
                let is_first = runs.take(u64::from(width.div_ceil(8)))?.iter().all(|byte| *byte == 0);
                let n = n.min(left);
                if is_first {
                    self.add(n.min(1), true);
                } else {
                    self.add(n, false);
                }
                left -= n;
            }
            if n == 0 {
                return None;
            }
        }
        Some(())
    }

    fn add(&mut self, n: u64, is_first: bool) {
        self.current = if is_first { n } else { self.current + n };
        self.longest = self.longest.max(self.current);
    }

    /// The most that a row's values may come to.
    pub(super) fn most(&self) -> u64 {
        self.longest.saturating_mul(self.largest)
    }
}

/// Bits that a number up to this takes.
pub(super) fn width(max: i16) -> u32 {
    u16::BITS - max.unsigned_abs().leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(bytes: &[u8], width: u32, n_values: u64) -> Option<u64> {
        let mut lists = Lists::default();
        lists.see_places(bytes, width, n_values).map(|()| lists.longest)
    }

    #[test]
    fn rows_begin_at_nought() {
        assert_eq!((width(1), width(2), width(3), width(4)), (1, 2, 2, 3));
        // Ten noughts: rows of one value each.
        assert_eq!(longest(&[20, 0], 1, 10), Some(1));
        // A nought and nine that go on.
        assert_eq!(longest(&[2, 0, 18, 1], 1, 10), Some(10));
        // Eight bits, of which a row of four begins with the third.
        assert_eq!(longest(&[3, 0b0011_1010], 1, 8), Some(4));
        // Two bits each: 0 2 2 0 1 1 1 0.
        assert_eq!(longest(&[3, 0b0010_1000, 0b0001_0101], 2, 8), Some(4));
        for (bytes, n_values) in [(&[20][..], 10), (&[3], 8), (&[], 1), (&[0, 0], 1)] {
            assert_eq!(longest(bytes, 1, n_values), None, "{bytes:?}");
        }
        let mut lists = Lists::default();
        for _ in 0..3 {
            // Rows go on over the ends of pages.
            lists.see_places(&[200, 1, 1], 1, 100).unwrap();
        }
        lists.see_texts(b"\x02\0\0\0ab\x05\0\0\0abcde\x01\0\0\0a\xff\xff");
        assert_eq!((lists.longest, lists.largest, lists.most()), (300, 5, 1_500));
    }
}
