//! A file came, went, changed its name, or was opened; and what the loader tells the programs to look for.
//!
//! The programs only sort out what is surely of no interest: they know names, not paths. Whether a path is watched the
//! reader decides, by the whole of it.

use super::header::Header;
use super::text::Walk;

/// `File::op` values.
pub mod op {
    /// Made by `open`.
    pub const CREATE: u32 = 1;
    /// Another name, in `File::path`; the one it had is in `File::old_path`.
    pub const RENAME: u32 = 2;
    pub const DELETE: u32 = 3;
    /// Opened for reading alone.
    pub const READ: u32 = 4;
    /// A file that was there was opened for writing.
    pub const WRITE: u32 = 5;
    /// A further name of a file that has others; `File::old_path` is one of them.
    pub const LINK: u32 = 6;
    /// A symbolic link was made.
    pub const SYMLINK: u32 = 7;
}

/// What happened to one file. The kernel has allowed it by then and begun; that it fails later takes a broken disk.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct File {
    pub header: Header,
    /// 0 where the name has no inode yet.
    pub inode: u64,
    /// Device of the file system, in the kernel's own form: major in bits 20 and up, minor below.
    pub dev: u32,
    /// `i_mode`, or 0.
    pub mode: u32,
    /// One of [`op`].
    pub op: u32,
    pub _pad: u32,
    pub path: Walk<1024>,
    /// Empty unless [`op`] says what it is.
    pub old_path: Walk<1024>,
}

/// Name of the map from [`NameKey`] to bits of [`watch`].
pub const WATCHED: &str = "WATCHED";
/// Room for this many names.
pub const MAX_WATCHED: u32 = 1024;

/// Beginning of a file's or directory's name: 15 bytes and a NUL. Names that begin alike are told apart by the reader.
pub type NameKey = [u8; 16];

/// What a name is looked for as.
pub mod watch {
    /// Files of this name, for changes.
    pub const FILE: u32 = 1 << 0;
    /// Files below directories of this name, for changes.
    pub const FOLDER: u32 = 1 << 1;
    /// Files of this name, for reading.
    pub const READ_FILE: u32 = 1 << 2;
    /// Files directly in directories of this name, for reading.
    pub const READ_FOLDER: u32 = 1 << 3;
}

/// Directories above a file that are looked at. A watched one further up is not found.
pub const MAX_ABOVE: u32 = 8;

/// The key of a name.
pub fn name_key(name: &[u8]) -> NameKey {
    let mut key = [0; 16];
    let len = name.len().min(key.len() - 1);
    key[..len].copy_from_slice(&name[..len]);
    key
}

const _: () = assert!(size_of::<File>() == 144 + 24 + 2 * 1032);
const _: () = assert!(core::mem::offset_of!(File, path) == 168);
