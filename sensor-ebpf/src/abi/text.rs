//! Strings inside records: one text, or the components of a path.

/// A byte string cut to the `N` bytes that the record has room for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    /// Bytes in use, without a closing NUL. At most `N`, but check: [`Text::as_bytes`] does.
    pub len: u32,
    pub _pad: u32,
    pub bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// The text as the kernel copied it; not necessarily UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or(&self.bytes)
    }
}

/// The names met on the way from a file to the root of its mount namespace (or of the cgroup tree).
///
/// Leaf first, each closed by a NUL; the root itself has no name, so `/` is an empty walk. Leaf first
/// because a walk that runs out of room then loses the end that matters least.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Walk<const N: usize> {
    /// Bytes in use, closing NULs included.
    pub len: u32,
    /// Number of components.
    pub depth: u32,
    pub bytes: [u8; N],
}

impl<const N: usize> Walk<N> {
    /// Names from the leaf up to the root, without their NULs.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        let used = self.bytes.get(..self.len as usize).unwrap_or(&self.bytes);
        used.split_inclusive(|&byte| byte == 0).map(|name| name.strip_suffix(&[0]).unwrap_or(name))
    }
}

/// Longest name of one path component, NUL included (`NAME_MAX` + 1).
///
/// A walk stops once less than this is free, so that every name read has a constant upper bound.
pub const NAME_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Walk<16> {
        let mut walk = Walk { len: bytes.len() as u32, depth: 0, bytes: [0xaa; 16] };
        walk.bytes[..bytes.len()].copy_from_slice(bytes);
        walk
    }

    #[test]
    fn components_run_from_the_leaf_and_ignore_stale_bytes() {
        let names = walk(b"true\0bin\0usr\0");
        assert!(names.components().eq([&b"true"[..], b"bin", b"usr"]));
        assert_eq!(walk(b"").components().count(), 0);
    }

    #[test]
    fn a_length_beyond_the_array_is_cut_not_trusted() {
        let text = Text::<4> { len: 99, _pad: 0, bytes: *b"abcd" };
        assert_eq!(text.as_bytes(), b"abcd");
        let mut names = walk(b"a\0");
        names.len = u32::MAX;
        assert_eq!(names.components().next(), Some(&b"a"[..]));
    }
}
