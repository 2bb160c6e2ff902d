//! One type as the table holds it: a fixed head, then what its kind asks for.

/// Bytes of `struct btf_type`.
const HEAD_BYTES: usize = 12;

/// Kinds that the reader looks at; the others it only steps over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ptr,
    Struct,
    Union,
    Typedef,
    /// `const`, `volatile`, `restrict` and type tags: they change nothing about a layout.
    Modifier,
    Func,
    FuncProto,
    Other,
}

impl Kind {
    pub(super) fn is_composite(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }
}

/// Head of a type and the bytes behind it.
#[derive(Clone, Copy)]
pub(super) struct Type<'a> {
    /// Offset of the name in the strings; 0 for none.
    pub(super) name: u32,
    info: u32,
    /// Size in bytes, or the id of the type it refers to.
    pub(super) size_or_type: u32,
    tail: &'a [u8],
}

/// A field of a struct or union.
pub(super) struct Member {
    pub(super) name: u32,
    pub(super) ty: u32,
    /// From the start of the struct; `None` for a bit field.
    pub(super) offset_bytes: Option<u32>,
}

impl<'a> Type<'a> {
    pub(super) fn read(types: &'a [u8], at: usize) -> Option<Self> {
        let bytes = types.get(at..)?;
        Some(Self {
            name: u32_at(bytes, 0)?,
            info: u32_at(bytes, 4)?,
            size_or_type: u32_at(bytes, 8)?,
            tail: &bytes[HEAD_BYTES..],
        })
    }

    /// Kind number. Five bits up to kernel 7.0, with zeros above; read wide, so that newer kinds are named.
    pub(super) fn raw_kind(&self) -> u32 {
        (self.info >> 24) & 0x7f
    }

    /// Number of members or parameters. Sixteen bits, with zeros above that newer kernels may use.
    pub(super) fn n_parts(&self) -> usize {
        (self.info & 0xff_ffff) as usize
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Some(match self.raw_kind() {
            2 => Kind::Ptr,
            4 => Kind::Struct,
            5 => Kind::Union,
            8 => Kind::Typedef,
            9..=11 | 18 => Kind::Modifier,
            12 => Kind::Func,
            13 => Kind::FuncProto,
            1 | 3 | 6 | 7 | 14..=17 | 19 => Kind::Other,
            _ => return None,
        })
    }

    /// Bytes of the whole type in the table (`Documentation/bpf/btf.rst`).
    pub(super) fn size_in_table(&self) -> Option<usize> {
        let n = self.n_parts();
        let tail = match self.raw_kind() {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * n,
            6 | 13 => 8 * n,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None,
        };
        Some(HEAD_BYTES + tail)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        let has_bit_fields = self.info >> 31 != 0;
        self.tail.chunks_exact(12).take(self.n_parts()).filter_map(move |bytes| {
            let place = u32_at(bytes, 8)?;
            let (bits, width) = if has_bit_fields { (place & 0xff_ffff, place >> 24) } else { (place, 0) };
            Some(Member {
                name: u32_at(bytes, 0)?,
                ty: u32_at(bytes, 4)?,
                offset_bytes: (width == 0 && bits % 8 == 0).then_some(bits / 8),
            })
        })
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}
