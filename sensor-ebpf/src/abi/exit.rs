//! The last thread of a process ended.

use super::header::Header;

/// Several dying threads can each see themselves as the last on kernels before 6.13, so a process may be
/// closed twice: the reader takes the first.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub header: Header,
    /// As `wait` reports it: low seven bits the signal, bit 7 core dumped, bits 8 to 15 the exit status.
    pub status: u32,
    pub _pad: u32,
}

impl Exit {
    /// Exit status, if the process was not killed by a signal.
    pub fn code(&self) -> Option<u8> {
        (self.status & 0x7f == 0).then_some((self.status >> 8) as u8)
    }

    /// The signal that ended the process.
    pub fn signal(&self) -> Option<u8> {
        Some((self.status & 0x7f) as u8).filter(|&signal| signal != 0)
    }
}

const _: () = assert!(size_of::<Exit>() == 152);
