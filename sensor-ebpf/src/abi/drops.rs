//! What became of every event the kernel saw, kind by kind, and which cgroup paid for a crowded ring.

/// Number of entries of the tally map; index with [`super::header::kind`], entry 0 stays empty.
pub const N_KINDS: u32 = 9;

/// Counters of one kind of record since the programs were loaded.
///
/// Identity: `seen == submitted + ring_full + shed + unreadable + suppressed` once the programs are at rest. The
/// remaining counters tell of records that went out with something missing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub seen: u64,
    pub submitted: u64,
    /// Lost: no room in the ring, nor in the one that lineage falls back on.
    pub ring_full: u64,
    /// Lost: the ring was crowded, and its cgroup had taken more than its share: see [`Share`].
    pub shed: u64,
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
    /// Of those, sent as a header alone.
    pub header_only: u64,
    /// Boot time of the first and the last loss (`ring_full`, `shed`, `unreadable`); 0 for none.
    pub first_lost_ns: u64,
    pub last_lost_ns: u64,
}

impl Tally {
    /// Events of this kind that never reached the reader.
    pub fn lost(&self) -> u64 {
        self.ring_full.saturating_add(self.shed).saturating_add(self.unreadable)
    }

    /// Whether every event that was seen is accounted for. Not so while a program is at work on one.
    pub fn is_balanced(&self) -> bool {
        self.seen == self.submitted.saturating_add(self.lost()).saturating_add(self.suppressed)
    }
}

/// What one cgroup has lately put into the ring, counted only while the ring is filling up.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Position of the ring's writers when the count began. The window moves with what is written and not with
    /// time, so that a slow flood into a slow reader is one too.
    pub window_start: u64,
    /// Bytes it wanted to put there since, those that were shed included.
    pub bytes: u64,
    /// Boot time of its first and last event that was shed.
    pub first_shed_ns: u64,
    pub last_shed_ns: u64,
    /// Its events that were shed, by [`super::header::kind`].
    pub shed: [u64; N_KINDS as usize],
}

impl Share {
    pub const fn starting_at(window_start: u64) -> Self {
        Self { window_start, bytes: 0, first_shed_ns: 0, last_shed_ns: 0, shed: [0; N_KINDS as usize] }
    }
}

const _: () = assert!(size_of::<Tally>() == 104);
const _: () = assert!(size_of::<Share>() == 32 + 8 * N_KINDS as usize);
