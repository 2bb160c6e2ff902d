//! A new process (never a new thread).

use super::header::{Header, Key};

/// The header describes the child; its `parent` is the child's parent, which `CLONE_PARENT` can make
/// another process than the one that called.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Fork {
    pub header: Header,
    /// The process that called `fork`, `vfork` or `clone`.
    pub caller: Key,
    /// The thread of it that called.
    pub caller_tid: u32,
    pub _pad: u32,
}

const _: () = assert!(size_of::<Fork>() == 168);
const _: () = assert!(core::mem::offset_of!(Fork, caller) == 144);
