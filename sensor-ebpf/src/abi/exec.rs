//! A process replaced its program: who, from which file, with which arguments.
//!
//! In the ring an exec is an [`Exec`] followed at once by a capture of one of the [`TIERS`]' sizes: the
//! bytes of the new process from `mm->arg_start` on, arguments first, environment after them.

use super::header::Header;
use super::text::{Text, Walk};

/// Sizes of the capture. The kernel reserves a constant number of bytes, so it picks from these.
///
/// Most commands with their environment fit 8 KiB; the last holds 32 KiB of arguments whole.
pub const TIERS: [usize; 3] = [1 << 10, 8 << 10, 40 << 10];

/// Unit in which the capture is read: a page that is not resident costs its neighbours no more than this.
pub const CHUNK_BYTES: usize = 1 << 10;

/// Fixed part of an exec record.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exec {
    pub header: Header,
    /// Inode of the mapped executable: the interpreter's, for a script.
    pub exe_inode: u64,
    /// Its file system's device, in the kernel's own form: major in bits 20 and up, minor below.
    pub exe_dev: u32,
    /// Names the inode still has; 0 once it is deleted, and for a memfd.
    pub exe_nlink: u32,
    /// `i_mode`: file type, set-uid bits, permissions.
    pub exe_mode: u32,
    /// True length of the arguments, each closed by a NUL, whatever was captured.
    pub args_len: u32,
    /// True length of the environment.
    pub env_len: u32,
    /// Bytes of the capture that were asked for; [`Exec::gaps`] says which of them could not be read.
    pub captured: u32,
    /// Bit `i` set: bytes `i * CHUNK_BYTES ..` of the capture could not be read and are zero.
    pub gaps: u64,
    /// Capabilities of the new program, a bit for each by its number.
    pub cap_effective: u64,
    pub cap_permitted: u64,
    /// The path given to `execve`, as given: may be relative; a script's own path.
    pub filename: Text<512>,
    /// The file that was run in the end; differs from `filename` for a script.
    pub interp: Text<256>,
    pub exe: Walk<1024>,
    pub cwd: Walk<1024>,
    /// Path of the cgroup v2 inside its hierarchy.
    pub cgroup: Walk<768>,
}

impl Exec {
    /// True for a program that lives in memory only (`memfd_create`).
    pub fn is_memfd(&self) -> bool {
        self.header.flags & super::header::flag::EXE_DETACHED != 0
            && self.exe.components().next().is_some_and(|name| name.starts_with(b"memfd:"))
    }

    /// Major and minor number of the executable's device, as `stat` shows them.
    pub fn exe_device(&self) -> (u32, u32) {
        (self.exe_dev >> 20, self.exe_dev & 0xf_ffff)
    }

    /// Splits a capture into arguments and environment, by the lengths the kernel gave.
    ///
    /// Total: lengths beyond the capture are cut. An empty last argument survives, as its NUL is inside
    /// `args_len`.
    pub fn split<'a>(&self, capture: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let used = capture.get(..self.captured as usize).unwrap_or(capture);
        let (args, rest) = used.split_at(used.len().min(self.args_len as usize));
        (args, &rest[..rest.len().min(self.env_len as usize)])
    }
}

/// An exec record as the kernel reserves it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExecRecord<const N: usize> {
    pub exec: Exec,
    pub capture: [u8; N],
}

/// What is left of an exec when the ring has no room for more: [`super::header::flag::HEADER_ONLY`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    pub header: Header,
}

const _: () = assert!(size_of::<Brief>() == size_of::<Header>());
const _: () = assert!(size_of::<Exec>() == 3824 && align_of::<Exec>() == 8);
const _: () = assert!(core::mem::offset_of!(Exec, gaps) == 176);
const _: () = assert!(core::mem::offset_of!(Exec, filename) == 200);
const _: () = assert!(core::mem::offset_of!(ExecRecord<1024>, capture) == size_of::<Exec>());
const _: () = assert!(TIERS[2] / CHUNK_BYTES <= u64::BITS as usize);
