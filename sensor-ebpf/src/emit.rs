//! Reserve, fill, submit, or count the loss.
//!
//! Records are built inside the ring. Scratch space per CPU that programs share would carry another event's bytes where one
//! is preempted between filling and copying it; [`EXEC`](crate::maps::EXEC) belongs to one program, which the kernel does
//! not call while it is at work.

mod room;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::maps::ring_buf::RingBufEntry;
use core::arch::asm;
use sensor_ebpf::abi::connect::{Accepted, Connect, ConnectResult};
use sensor_ebpf::abi::drops::Tally;
use sensor_ebpf::abi::exchange::Exchange;
use sensor_ebpf::abi::exec::{Brief, ExecRecord};
use sensor_ebpf::abi::exit::Exit;
use sensor_ebpf::abi::file::File;
use sensor_ebpf::abi::fork::Fork;
use sensor_ebpf::abi::header::{Header, flag, kind};

use crate::kernel::boot_ns;
use crate::maps::{LINEAGE, RECORDS, TALLIES, setting};

pub(crate) use room::Room;

/// Bytes the kernel puts before each record in the ring.
const RING_HEADER_BYTES: u64 = 8;

/// A record layout.
///
/// # Safety
/// `repr(C)` with a `Header` as its first field, and every bit pattern is a value.
pub(crate) unsafe trait Record: 'static {
    const KIND: u32;
    /// Whether it says who is whose child: then it has a second ring to go to.
    const IS_LINEAGE: bool;
}

// SAFETY: so defined in `abi::fork`.
unsafe impl Record for Fork {
    const KIND: u32 = kind::FORK;
    const IS_LINEAGE: bool = true;
}
// SAFETY: so defined in `abi::exit`.
unsafe impl Record for Exit {
    const KIND: u32 = kind::EXIT;
    const IS_LINEAGE: bool = true;
}
// SAFETY: so defined in `abi::connect`.
unsafe impl Record for Connect {
    const KIND: u32 = kind::CONNECT;
    const IS_LINEAGE: bool = false;
}
// SAFETY: so defined in `abi::connect`.
unsafe impl Record for Accepted {
    const KIND: u32 = kind::ACCEPT;
    const IS_LINEAGE: bool = false;
}
// SAFETY: so defined in `abi::file`.
unsafe impl Record for File {
    const KIND: u32 = kind::FILE;
    const IS_LINEAGE: bool = false;
}
// SAFETY: so defined in `abi::connect`.
unsafe impl Record for ConnectResult {
    const KIND: u32 = kind::RESULT;
    const IS_LINEAGE: bool = false;
}
// SAFETY: so defined in `abi::exchange`.
unsafe impl Record for Exchange {
    const KIND: u32 = kind::EXCHANGE;
    const IS_LINEAGE: bool = false;
}
// SAFETY: so defined in `abi::exec`.
unsafe impl<const N: usize> Record for ExecRecord<N> {
    const KIND: u32 = kind::EXEC;
    const IS_LINEAGE: bool = false;
}
// SAFETY: so defined in `abi::exec`.
unsafe impl Record for Brief {
    const KIND: u32 = kind::EXEC;
    const IS_LINEAGE: bool = true;
}

/// Sets bits of [`flag`] in a record that is being filled.
///
/// Through memory on purpose: the verifier follows the value of a register through every branch, so flags kept
/// in one would double its work with each flag. What it reads back from the ring it takes for any value.
#[inline(always)]
pub(crate) fn raise(header: &mut Header, flags: u32) {
    let slot = &raw mut header.flags;
    // SAFETY: points into the record.
    unsafe { slot.write_volatile(slot.read_volatile() | flags) };
}

/// Puts one record into the ring. `fill` writes every field but the header's kind, size and time, and adds its
/// flags with [`raise`]; `None` gives the record up as unreadable.
#[inline(always)]
pub(crate) fn record<R: Record>(fill: impl FnOnce(&mut R) -> Option<()>) {
    record_in(&Room::look(), fill);
}

/// The same for a hook that has looked at the ring already.
#[inline(always)]
pub(crate) fn record_in<R: Record>(room: &Room, fill: impl FnOnce(&mut R) -> Option<()>) {
    let Some(tally) = TALLIES.get_ptr_mut(R::KIND) else { return };
    room.charge(size_of::<R>() as u64);
    if room.refuses::<R>() {
        room.count_shed(R::KIND);
        add(tally, |tally| &raw mut tally.seen);
        add(tally, |tally| &raw mut tally.shed);
        mark_lost(tally, room.boot_ns);
        return;
    }
    let first = if room.keeps_out::<R>() { None } else { RECORDS.reserve::<R>(0) };
    let entry = match first {
        None if R::IS_LINEAGE => LINEAGE.reserve::<R>(0),
        entry => entry,
    };
    match entry {
        Some(entry) => finish(entry, tally, room.boot_ns, fill),
        None => {
            add(tally, |tally| &raw mut tally.seen);
            add(tally, |tally| &raw mut tally.ring_full);
            mark_lost(tally, room.boot_ns);
        }
    }
}

/// The same for a record that has a smaller form: false if there is no room for this one, and then nothing is counted.
#[inline(always)]
pub(crate) fn offer<R: Record>(room: &Room, fill: impl FnOnce(&mut R) -> Option<()>) -> bool {
    let Some(tally) = TALLIES.get_ptr_mut(R::KIND) else { return true };
    let Some(entry) = RECORDS.reserve::<R>(0) else { return false };
    room.charge(size_of::<R>() as u64);
    finish(entry, tally, room.boot_ns, fill);
    true
}

#[inline(always)]
fn finish<R: Record>(
    mut entry: RingBufEntry<R>,
    tally: *mut Tally,
    boot_ns: u64,
    fill: impl FnOnce(&mut R) -> Option<()>,
) {
    add(tally, |tally| &raw mut tally.seen);
    let target = entry.as_mut_ptr();
    // SAFETY: a record starts with its header; the kernel reserved its bytes, aligned to 8.
    let flags = unsafe { &raw mut (*target.cast::<Header>()).flags };
    // SAFETY: points into the record.
    unsafe { flags.write_volatile(0) };
    // SAFETY: the kernel reserved the record's bytes; any bytes are a `Record`.
    let Some(()) = fill(unsafe { &mut *target }) else {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
        add(tally, |tally| &raw mut tally.unreadable);
        mark_lost(tally, boot_ns);
        return;
    };
    // SAFETY: points into the record.
    let flags = unsafe { flags.read_volatile() };
    // SAFETY: a record starts with its header.
    let header = unsafe { &mut *target.cast::<Header>() };
    header.kind = R::KIND;
    header.size = size_of::<R>() as u32;
    header.boot_ns = boot_ns;
    count_defects(tally, flags);
    entry.submit(wakeup(size_of::<R>() as u64, flags));
    add(tally, |tally| &raw mut tally.submitted);
}

/// Counts an event that is left out on purpose.
#[inline(always)]
pub(crate) fn suppress(kind: u32) {
    let Some(tally) = TALLIES.get_ptr_mut(kind) else { return };
    add(tally, |tally| &raw mut tally.seen);
    add(tally, |tally| &raw mut tally.suppressed);
}

/// Counts an event whose process is not known.
#[inline(always)]
pub(crate) fn lose(kind: u32) {
    let Some(tally) = TALLIES.get_ptr_mut(kind) else { return };
    add(tally, |tally| &raw mut tally.seen);
    add(tally, |tally| &raw mut tally.unreadable);
    mark_lost(tally, boot_ns());
}

/// To wake the reader costs 14 µs in a guest, a record without it less than one. So the reader polls on a
/// timer, and is woken where waiting would cost a loss or where minutes matter.
#[inline(always)]
fn wakeup(size: u64, flags: u32) -> u64 {
    if flags & flag::METADATA_SERVICE != 0 {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    }
    let mark = u64::from(setting!(wake_bytes));
    let waiting = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    let has_crossed = waiting >= mark && waiting < mark + size + RING_HEADER_BYTES;
    u64::from(if has_crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

#[inline(always)]
fn count_defects(tally: *mut Tally, flags: u32) {
    const PATHS: u32 = flag::EXE_TRUNCATED
        | flag::CWD_TRUNCATED
        | flag::CGROUP_TRUNCATED
        | flag::FILENAME_TRUNCATED
        | flag::INTERP_TRUNCATED
        | flag::PATH_TRUNCATED
        | flag::OLD_PATH_TRUNCATED;
    if flags & flag::ARGS_FAULT != 0 {
        add(tally, |tally| &raw mut tally.args_fault);
    }
    if flags & (flag::ARGS_TRUNCATED | flag::ENV_TRUNCATED) != 0 {
        add(tally, |tally| &raw mut tally.truncated);
    }
    if flags & PATHS != 0 {
        add(tally, |tally| &raw mut tally.path_fault);
    }
    if flags & flag::DEGRADED != 0 {
        add(tally, |tally| &raw mut tally.degraded);
    }
    if flags & flag::HEADER_ONLY != 0 {
        add(tally, |tally| &raw mut tally.header_only);
    }
}

/// First and last loss. Two CPUs may race for the first; both are first enough.
#[inline(always)]
fn mark_lost(tally: *mut Tally, boot_ns: u64) {
    // SAFETY: points into the map's value, which lives as long as the program.
    let tally = unsafe { &mut *tally };
    if tally.first_lost_ns == 0 {
        tally.first_lost_ns = boot_ns;
    }
    tally.last_lost_ns = boot_ns;
}

/// Adds one, atomically: a program can be preempted by another on its own CPU.
///
/// By hand, because Rust offers no read-modify-write for this target. This form, which does not give the sum
/// back, is the one that kernels before 5.12 know.
#[inline(always)]
fn add<T>(value: *mut T, counter: impl FnOnce(&mut T) -> *mut u64) {
    // SAFETY: points into the map's value, which lives as long as the program.
    let counter = counter(unsafe { &mut *value });
    // SAFETY: adds to one counter, which is aligned to 8, and touches nothing else.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) 1_u64) };
}
