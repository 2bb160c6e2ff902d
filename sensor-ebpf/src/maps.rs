//! Every map and every constant the loader sets, once, with its size and the reason for it.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use sensor_ebpf::abi::calls::{Marks, PROGRAMS};
use sensor_ebpf::abi::drops::{N_KINDS, Share, Tally};
use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::file::{MAX_WATCHED, NameKey};
use sensor_ebpf::abi::header::Header;
use sensor_ebpf::abi::settings::{ABSENT, MARKER, Offsets, Settings};
use sensor_ebpf::http::Conversation;

/// The way out. One ring for all kinds, so that records stay in the order of their reservation. The loader
/// sets the size; this one is only what the object says by itself.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Where lineage (fork, exec as a header, exit) goes when [`RECORDS`] has no room for it: who is whose child is what
/// everything after a flood hangs on. A sixteenth of the other's size, as both are mapped twice; 512 KiB hold 3,000 records.
#[map]
pub(crate) static LINEAGE: RingBuf = RingBuf::with_byte_size(512 << 10, 0);

/// What each cgroup takes of the ring, by its id. 2048 are 250 KiB of kernel memory; the kernel forgets the least
/// recent one when it runs out.
#[map]
pub(crate) static SHARES: LruHashMap<u64, Share> = LruHashMap::with_max_entries(2048, 0);

/// One [`Tally`] per kind of record.
#[map]
pub(crate) static TALLIES: Array<Tally> = Array::with_max_entries(N_KINDS, 0);

/// Where an exec is put together before it is known how much of it goes to the ring. It belongs to one program alone: the
/// kernel calls none that is at work on that processor already, so nobody writes over what was put here.
#[map]
pub(crate) static EXEC: PerCpuArray<Exec> = PerCpuArray::with_max_entries(1, 0);

/// Peers that a socket has lately sent datagrams to, with the time of the record about it. A resolver's or
/// a metrics client's every packet would otherwise be a record. 4096 pairs are 300 KiB of kernel memory;
/// the kernel forgets the least recent one when it runs out.
#[map]
pub(crate) static RECENT_SENDS: LruHashMap<SendKey, u64> = LruHashMap::with_max_entries(4096, 0);

/// Names that the file hooks look for, with bits of [`watch`](sensor_ebpf::abi::file::watch). Filled before they are
/// attached, and left alone then.
#[map]
pub(crate) static WATCHED: HashMap<NameKey, u32> = HashMap::with_max_entries(MAX_WATCHED, 0);

/// Who is waiting for an answer to a first SYN, by the socket's address. Every socket that enters leaves when its state
/// changes next, so that nothing is ever stale; 4096 are 900 KiB of kernel memory, and the results of attempts beyond
/// them stay unknown.
#[map]
pub(crate) static CONNECTING: HashMap<u64, Header> = HashMap::with_max_entries(4096, 0);

/// Who made a connection to the metadata service, by the socket's cookie. 512 are 120 KiB of kernel memory; the kernel
/// forgets the least recent one when it runs out.
#[map]
pub(crate) static OWNERS: LruHashMap<u64, Header> = LruHashMap::with_max_entries(512, 0);

/// What is going over such a connection, by the same cookie: 350 KiB.
#[map]
pub(crate) static CONVERSATIONS: LruHashMap<u64, Conversation> = LruHashMap::with_max_entries(512, 0);

/// The programs that go through what is said over one, chunk by chunk; see `probes/metadata.rs`. An array is of one kind of
/// program.
#[map]
pub(crate) static REQUEST_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub(crate) static ANSWER_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// One socket and one peer.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SendKey {
    pub(crate) cookie: u64,
    pub(crate) address: [u8; 16],
    pub(crate) port: u32,
    pub(crate) _pad: u32,
}

/// Set by the loader from the running kernel's type information.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::filled(ABSENT);

/// Set by the loader.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings::ZERO;

/// What the kernel has called. A byte of each program's own, written once: that costs a call three instructions, where the
/// kernel's own counting is for whoever may administer the whole system.
#[unsafe(no_mangle)]
static mut CALLED: Marks = [0; PROGRAMS.len()];

#[inline(always)]
pub(crate) fn mark_called(at: usize) {
    let mark = (&raw mut CALLED).cast::<u8>().wrapping_add(at);
    // SAFETY: the index is one that the table gave while compiling. Whoever else writes it writes the same.
    if unsafe { mark.read_volatile() } == 0 {
        // SAFETY: as above.
        unsafe { mark.write_volatile(1) };
    }
}

/// Found by the loader in the object's bytes, before the kernel sees any of them. In a section of its own, as
/// every `.rodata` section would become a map.
#[unsafe(link_section = "abi")]
#[unsafe(no_mangle)]
#[used]
static ABI: Marker = Marker { text: MARKER, version: sensor_ebpf::abi::VERSION.to_le_bytes() };

#[repr(C)]
struct Marker {
    text: [u8; 16],
    version: [u8; 4],
}

/// Offset of a field in the running kernel, by its name in [`Offsets`].
///
/// Volatile, because the value in the object is not the one that runs. The map behind it is frozen, so the
/// verifier takes the load for a constant.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: points into a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$field) }
    }};
}

/// A setting of this run, by its name in [`Settings`].
macro_rules! setting {
    ($field:ident) => {{
        // SAFETY: points into a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::SETTINGS.$field) }
    }};
}

/// Says that the program of this name was called: what each begins with.
macro_rules! called {
    ($program:ident) => {{
        const AT: usize = sensor_ebpf::abi::calls::mark_of(stringify!($program));
        $crate::maps::mark_called(AT);
    }};
}

pub(crate) use {called, offset, setting};
