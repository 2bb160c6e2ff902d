//! Thrift's compact protocol, as far as a look at Parquet's headers needs it. Stricter than its readers: fields in their order,
//! each once, and nothing longer than what there is.

pub(super) const I32: u8 = 5;
pub(super) const BYTES: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

const MAX_DEPTH: u8 = 16;

/// Bytes that are read one after the other. Whatever does not fit comes to `None`.
pub(super) struct Compact<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: u8,
}

/// Is told of each field, by its number and kind, and reads it.
type Each<'e> = &'e mut dyn FnMut(&mut Compact<'_>, i16, u8) -> Option<()>;

impl<'b> Compact<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    pub(super) fn n_read(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, len: u64) -> Option<&'b [u8]> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    /// A number without a sign.
    pub(super) fn length(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn int(&mut self) -> Option<i64> {
        let value = self.length()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of 32 bits that is not below nought.
    pub(super) fn size(&mut self) -> Option<u64> {
        let value = i32::try_from(self.int()?).ok()?;
        u64::try_from(value).ok()
    }

    /// The number of a list's items, and their kind.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let n_items = match head >> 4 {
            15 => self.length()?,
            few => u64::from(few),
        };
        Some((n_items, head & 0x0f))
    }

    /// Each field of the struct that begins here, to its end.
    pub(super) fn fields(&mut self, each: Each<'_>) -> Option<()> {
        self.depth = self.depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                self.depth -= 1;
                return Some(());
            }
            let id = match i16::from(head >> 4) {
                0 => i16::try_from(self.int()?).ok()?,
                step => last.checked_add(step)?,
            };
            if id <= last {
                return None;
            }
            last = id;
            each(self, id, head & 0x0f)?;
        }
    }

    /// Passes over a field.
    pub(super) fn skip(&mut self, kind: u8) -> Option<()> {
        match kind {
            // Yes and no are said by the kind itself.
            1 | 2 => Some(()),
            3 => self.take(1).map(|_| ()),
            4..=6 => self.length_of_ten(),
            7 => self.take(8).map(|_| ()),
            BYTES => {
                let len = self.length()?;
                self.take(len).map(|_| ())
            }
            LIST | 10 => {
                let (n_items, kind) = self.list()?;
                self.items(n_items, &[kind])
            }
            11 => {
                let n_items = self.length()?;
                if n_items == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                self.items(n_items, &[kinds >> 4, kinds & 0x0f])
            }
            STRUCT => self.fields(&mut |compact, _, kind| compact.skip(kind)),
            _ => None,
        }
    }

    /// A number of 64 bits may have a tenth byte.
    fn length_of_ten(&mut self) -> Option<()> {
        for _ in 0..10 {
            if self.byte()? & 0x80 == 0 {
                return Some(());
            }
        }
        None
    }

    fn items(&mut self, n_items: u64, kinds: &[u8]) -> Option<()> {
        self.depth = self.depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
        for _ in 0..n_items {
            for kind in kinds {
                // In a list, yes and no take a byte.
                match kind {
                    1 | 2 => self.take(1).map(|_| ())?,
                    kind => self.skip(*kind)?,
                }
            }
        }
        self.depth -= 1;
        Some(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn field(step: u8, kind: u8) -> Vec<u8> {
        vec![step << 4 | kind]
    }

    /// A number as a field holds it.
    pub(in super::super) fn number(value: u64) -> Vec<u8> {
        let (mut rest, mut bytes) = (value << 1, Vec::new());
        while rest > 127 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    #[test]
    fn numbers_have_signs_and_ends() {
        for value in [0, 1, 127, 128, 300, 1 << 31, 1 << 40] {
            assert_eq!(Compact::new(&number(value)).int(), Some(value as i64));
        }
        assert_eq!(Compact::new(&[1]).int(), Some(-1));
        assert_eq!(Compact::new(&[1]).size(), None);
        assert_eq!(Compact::new(&number(1 << 31)).size(), None, "too large for its 32 bits");
        assert_eq!(Compact::new(&[0xff; 20]).length(), None);
        assert_eq!(Compact::new(&[0x80]).length(), None);
    }

    #[test]
    fn anything_is_passed_over_and_nothing_beyond_the_end() {
        let inner = [field(1, I32), number(5), vec![0]].concat();
        let all = [
            field(1, 1),
            field(1, 3),
            vec![9],
            field(1, 6),
            vec![0xff; 9],
            vec![1],
            field(1, 7),
            vec![0; 8],
            field(1, BYTES),
            vec![3, 1, 2, 3],
            field(1, LIST),
            vec![0x20 | STRUCT],
            inner.clone(),
            inner.clone(),
            field(1, LIST),
            vec![0x21, 1, 0],
            field(1, 11),
            vec![1, 0x58, 2, 1, 7],
            field(1, 11),
            vec![0],
            field(1, STRUCT),
            inner,
            vec![0],
        ]
        .concat();
        let mut compact = Compact::new(&all);
        assert_eq!((compact.skip(STRUCT), compact.n_read()), (Some(()), all.len()));
        for cut in 0..all.len() {
            assert_eq!(Compact::new(&all[..cut]).skip(STRUCT), None, "{cut}");
        }
        let long = [field(1, BYTES), vec![0xff, 0xff, 0xff, 0xff, 0x0f], vec![0; 9]].concat();
        assert_eq!(Compact::new(&long).skip(STRUCT), None);
        assert_eq!(Compact::new(&[0x1c; 1_000]).skip(STRUCT), None, "too deep");
        let twice = [field(2, 1), vec![1, 2], vec![0]].concat();
        assert_eq!(Compact::new(&twice).skip(STRUCT), None, "back to a field of before");
        proptest::proptest!(|(bytes in proptest::collection::vec(0_u8.., 0..60))| {
            let _ = Compact::new(&bytes).skip(STRUCT);
        });
    }
}
