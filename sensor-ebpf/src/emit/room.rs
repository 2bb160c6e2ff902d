//! How full the ring is, and whether whoever acts has taken more than its share of it.
//!
//! A ring that fills up is shared by cgroup: one that floods it is cut short from the crowded mark on, and what is above
//! stays free for all others. Below the mark nobody is cut, and below the wake mark nothing is even counted.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_PROD_POS};
use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use sensor_ebpf::abi::drops::{N_KINDS, Share};

use super::Record;
use crate::kernel::boot_ns;
use crate::maps::{LINEAGE, RECORDS, SHARES, setting};

/// The ring at the time of one event.
pub(crate) struct Room {
    pub(super) boot_ns: u64,
    waiting: u64,
    /// The account of the acting task's cgroup; null while there is room enough for all.
    share: *mut Share,
    is_heavy: bool,
}

impl Room {
    /// For what the running task does.
    #[inline(always)]
    pub(crate) fn look() -> Self {
        // SAFETY: takes nothing, returns a number: where cgroups are not used all share one.
        Self::of(|| unsafe { bpf_get_current_cgroup_id() })
    }

    /// For what happens to a cgroup while some other task runs.
    #[inline(always)]
    pub(crate) fn of(cgroup: impl FnOnce() -> u64) -> Self {
        let waiting = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
        let mut room = Self { boot_ns: boot_ns(), waiting, share: core::ptr::null_mut(), is_heavy: false };
        if waiting >= u64::from(setting!(wake_bytes))
            && let Some(share) = share(cgroup())
        {
            room.share = share;
            // SAFETY: points into the map's value, which lives as long as the program.
            room.is_heavy = unsafe { (*share).bytes } >= u64::from(setting!(share_bytes));
        }
        room
    }

    /// Bytes that the reader has not taken yet.
    #[inline(always)]
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Whether an exec may be no more than its header.
    #[inline(always)]
    pub(crate) fn is_for_headers(&self) -> bool {
        self.is_heavy && self.waiting >= u64::from(setting!(crowded_bytes))
    }

    /// Whether a record of this kind is to be shed.
    #[inline(always)]
    pub(super) fn refuses<R: Record>(&self) -> bool {
        if !self.is_for_headers() {
            return false;
        }
        !R::IS_LINEAGE
            || LINEAGE.query(u64::from(BPF_RB_AVAIL_DATA)) >= u64::from(setting!(lineage_reserved_bytes))
    }

    /// Whether what is left of the ring is for others.
    #[inline(always)]
    pub(super) fn keeps_out<R: Record>(&self) -> bool {
        R::IS_LINEAGE && self.is_heavy && self.waiting >= u64::from(setting!(reserved_bytes))
    }

    #[inline(always)]
    pub(super) fn charge(&self, bytes: u64) {
        if !self.share.is_null() {
            // SAFETY: points into the map's value. Two CPUs may lose each other's sum: shares are rough.
            unsafe { (*self.share).bytes += bytes };
        }
    }

    #[inline(always)]
    pub(super) fn count_shed(&self, kind: u32) {
        if self.share.is_null() || kind >= N_KINDS {
            return;
        }
        // SAFETY: points into the map's value, which lives as long as the program.
        let share = unsafe { &mut *self.share };
        if share.first_shed_ns == 0 {
            share.first_shed_ns = self.boot_ns;
        }
        share.last_shed_ns = self.boot_ns;
        super::add(share, |share| &raw mut share.shed[kind as usize]);
    }
}

/// The account of a cgroup, its window moved on. Nothing if the map is full of busy ones.
#[inline(always)]
fn share(cgroup: u64) -> Option<*mut Share> {
    let written = RECORDS.query(u64::from(BPF_RB_PROD_POS));
    let Some(found) = SHARES.get_ptr_mut(cgroup) else {
        // Another CPU may be faster; then its account is found.
        let _ =
            SHARES.insert(cgroup, Share::starting_at(written), u64::from(aya_ebpf::bindings::BPF_NOEXIST));
        return SHARES.get_ptr_mut(cgroup);
    };
    // SAFETY: points into the map's value, which lives as long as the program.
    let share = unsafe { &mut *found };
    let window = u64::from(setting!(window_bytes));
    let passed = written.wrapping_sub(share.window_start);
    if passed >= window {
        share.window_start = written;
        // Who filled half a window is not innocent in the next one; after some windows all is forgotten.
        share.bytes = if passed >= 4 * window { 0 } else { share.bytes / 2 };
    }
    Some(found)
}
