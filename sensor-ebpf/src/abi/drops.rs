//! What became of every event the kernel saw, kind by kind.

/// Number of entries of the tally map; index with [`super::header::kind`], entry 0 stays empty.
pub const N_KINDS: u32 = 6;

/// Counters of one kind of record since the programs were loaded.
///
/// Identity: `seen == submitted + ring_full + unreadable + suppressed` once the programs are at rest. The
/// remaining counters tell of records that went out with something missing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub seen: u64,
    pub submitted: u64,
    /// Lost: no room in the ring.
    pub ring_full: u64,
    /// Lost: the task itself could not be read.
    pub unreadable: u64,
    /// Left out on purpose: the sensor's own, or a repeat of a datagram to the same peer.
    pub suppressed: u64,
    /// Sent with a gap in the arguments.
    pub args_fault: u64,
    /// Sent with arguments or environment cut.
    pub truncated: u64,
    /// Sent with a path cut or not readable.
    pub path_fault: u64,
    /// Sent smaller than wanted, because the ring was filling up.
    pub degraded: u64,
    /// Boot time of the first and the last loss (`ring_full`, `unreadable`); 0 for none.
    pub first_lost_ns: u64,
    pub last_lost_ns: u64,
}

impl Tally {
    /// Events of this kind that never reached the reader.
    pub fn lost(&self) -> u64 {
        self.ring_full.saturating_add(self.unreadable)
    }
}

const _: () = assert!(size_of::<Tally>() == 88);
