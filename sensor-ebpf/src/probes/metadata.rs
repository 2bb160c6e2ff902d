//! What is said to and by the cloud's metadata service.
//!
//! The hooks stand where packets of the host's processes pass and let every one pass. A packet of any other connection costs
//! them a look at its port; they do their work for a few addresses that hand out credentials.
//!
//! A segment is looked through by a program that calls itself again for each of its chunks: the verifier follows every byte of
//! one chunk, and older kernels give up on a loop over all of them.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_skb_load_bytes};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use sensor_ebpf::abi::exchange::{Exchange, op};
use sensor_ebpf::abi::header::kind;
use sensor_ebpf::http::{ANSWERS, Conversation, Machine, Place, REQUESTS};

use crate::emit::{self, Room};
use crate::kernel::socket::{AF_INET, AF_INET6, is_metadata, set_v6};
use crate::maps::{ANSWER_STEPS, CONVERSATIONS, OWNERS, REQUEST_STEPS, called};

const PASS: i32 = 1;

/// The services speak HTTP on its own port; the field is 32 bits wide in network order.
const HTTP: u32 = 80_u32.to_be();

const IPPROTO_TCP: u8 = 6;
const SYN: u8 = 1 << 1;

/// Bytes of a segment that are looked at: a request with all its headers has some 400. What is beyond is said to be.
const MAX_SCANNED: u32 = 1024;
/// Bytes that are looked at in one step.
const CHUNK: u32 = 64;
// Kernels follow a chain of 32 programs, and the first of them takes no step.
const _: () = assert!(MAX_SCANNED / CHUNK < 32);

/// Runs for each packet that a process of the host sends, in whatever thread it leaves. Kernel 4.10 and newer.
#[cgroup_skb(egress)]
fn metadata_request(ctx: SkBuffContext) -> i32 {
    called!(metadata_request);
    let skb = ctx.skb.skb;
    if Peer::of(skb).is_some() && request(skb).is_some() {
        // SAFETY: nothing here is to be dropped.
        unsafe { REQUEST_STEPS.tail_call(&ctx, 0) };
    }
    PASS
}

/// Called by the program above and by itself, never by the kernel.
#[cgroup_skb(egress)]
fn metadata_request_step(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if request_step(skb) == Some(Next::Step) {
        // SAFETY: as above.
        unsafe { REQUEST_STEPS.tail_call(&ctx, 0) };
    }
    PASS
}

/// Runs for each packet that a process of the host is to get; attached only if the ids of keys are wanted.
#[cgroup_skb(ingress)]
fn metadata_answer(ctx: SkBuffContext) -> i32 {
    called!(metadata_answer);
    let skb = ctx.skb.skb;
    if Peer::of(skb).is_some() && answer(skb).is_some() {
        // SAFETY: nothing here is to be dropped.
        unsafe { ANSWER_STEPS.tail_call(&ctx, 0) };
    }
    PASS
}

/// Called by the program above and by itself, never by the kernel.
#[cgroup_skb(ingress)]
fn metadata_answer_step(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if answer_step(skb) == Some(Next::Step) {
        // SAFETY: as above.
        unsafe { ANSWER_STEPS.tail_call(&ctx, 0) };
    }
    PASS
}

/// What comes behind a chunk.
#[derive(PartialEq, Eq)]
enum Next {
    Step,
    Nothing,
}

/// The service at the other end.
struct Peer {
    family: u16,
    address: [u32; 4],
}

impl Peer {
    /// Nothing for anybody else, and that is soon found out.
    #[inline(always)]
    fn of(skb: *mut __sk_buff) -> Option<Self> {
        // SAFETY: the kernel's context outlives the program; the verifier checks each field.
        let skb = unsafe { &*skb };
        if read(&skb.remote_port) != HTTP {
            return None;
        }
        // A socket for both protocols that speaks IPv4 has this address too.
        let v4 = [read(&skb.remote_ip4), 0, 0, 0];
        if is_metadata(AF_INET, v4) {
            return Some(Self { family: AF_INET, address: v4 });
        }
        if read(&skb.family) != u32::from(AF_INET6) {
            return None;
        }
        let [a, b, c, d] = &skb.remote_ip6;
        let v6 = [read(a), read(b), read(c), read(d)];
        is_metadata(AF_INET6, v6).then_some(Self { family: AF_INET6, address: v6 })
    }
}

/// Word by word, as the kernel grants it.
#[inline(always)]
fn read(field: &u32) -> u32 {
    // SAFETY: a reference is readable.
    unsafe { core::ptr::read_volatile(field) }
}

/// What a segment carries.
struct Payload {
    sequence: u32,
    start: u32,
    len: u32,
}

impl Payload {
    /// Nothing for a packet without any, such as an acknowledgement.
    #[inline(always)]
    fn of(skb: *mut __sk_buff) -> Option<Self> {
        let first: u8 = load(skb, 0)?;
        let (ip, protocol) = match first >> 4 {
            4 => (u32::from(first & 0xf) * 4, load::<u8>(skb, 9)?),
            6 => (40, load::<u8>(skb, 6)?),
            _ => return None,
        };
        if protocol != IPPROTO_TCP {
            return None;
        }
        let sequence = u32::from_be(load(skb, ip + 4)?);
        let tcp = u32::from(load::<u8>(skb, ip + 12)? >> 4) * 4;
        let flags: u8 = load(skb, ip + 13)?;
        let start = ip + tcp;
        // SAFETY: as for the peer.
        let len = read(unsafe { &(*skb).len }).checked_sub(start).filter(|&len| len != 0)?;
        // Fast Open's bytes come behind the SYN, which has a number of its own.
        let sequence = sequence.wrapping_add(u32::from(flags & SYN != 0));
        Some(Self { sequence, start, len })
    }
}

#[inline(always)]
fn load<T: Copy>(skb: *mut __sk_buff, at: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: `value` has room for a `T`; the helper fills it whole or says that it did not.
    let status =
        unsafe { bpf_skb_load_bytes(skb.cast(), at, value.as_mut_ptr().cast(), size_of::<T>() as u32) };
    // SAFETY: the helper filled `value`; callers ask for integers alone.
    (status == 0).then(|| unsafe { value.assume_init() })
}

/// What is known of the packet's connection.
#[inline(always)]
fn conversation<'a>(skb: *mut __sk_buff) -> Option<(u64, &'a mut Conversation)> {
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    let talk = CONVERSATIONS.get_ptr_mut(cookie)?;
    // SAFETY: points into the map's value. A socket sends one packet at a time and gets one at a time, and either way writes
    // fields of its own.
    Some((cookie, unsafe { &mut *talk }))
}

/// Begins with a segment that is sent, if there is anything in it to look at.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would take its room on the stack of 512 bytes once more"
)]
fn request(skb: *mut __sk_buff) -> Option<()> {
    let payload = Payload::of(skb)?;
    if conversation(skb).is_none() {
        // SAFETY: the helper takes the program's own context.
        CONVERSATIONS.insert(unsafe { bpf_get_socket_cookie(skb.cast()) }, &EMPTY, 0).ok()?;
    }
    let (_, talk) = conversation(skb)?;
    let seen = talk.ask(payload.sequence, payload.len);
    begin(&mut talk.asked, &payload, seen)
}

#[inline(always)]
fn answer(skb: *mut __sk_buff) -> Option<()> {
    let payload = Payload::of(skb)?;
    let (_, talk) = conversation(skb)?;
    let seen = talk.hear(payload.sequence, payload.len);
    begin(&mut talk.heard, &payload, seen)
}

#[inline(always)]
fn begin(place: &mut Place, payload: &Payload, seen: u32) -> Option<()> {
    (place.left, place.at, place.budget) = (payload.len - seen, payload.start + seen, MAX_SCANNED);
    (place.left != 0).then_some(())
}

#[inline(always)]
fn request_step(skb: *mut __sk_buff) -> Option<Next> {
    let (cookie, talk) = conversation(skb)?;
    scan(skb, &mut talk.asked, &REQUESTS, &mut talk.line)?;
    if talk.asked.is_done(&REQUESTS) {
        talk.asked.restart();
    } else if read(&talk.asked.left) == 0 {
        return Some(Next::Nothing);
    } else if read(&talk.asked.budget) != 0 {
        return Some(Next::Step);
    } else if !talk.give_up() {
        return Some(Next::Nothing);
    }
    tell(op::REQUEST, cookie, &Peer::of(skb)?, talk);
    Some(Next::Nothing)
}

#[inline(always)]
fn answer_step(skb: *mut __sk_buff) -> Option<Next> {
    let (cookie, talk) = conversation(skb)?;
    scan(skb, &mut talk.heard, &ANSWERS, &mut talk.key)?;
    if !talk.heard.is_done(&ANSWERS) {
        let has_more = read(&talk.heard.left) != 0 && read(&talk.heard.budget) != 0;
        return Some(if has_more { Next::Step } else { Next::Nothing });
    }
    talk.heard.restart();
    if talk.has_key() {
        tell(op::CREDENTIALS, cookie, &Peer::of(skb)?, talk);
    }
    Some(Next::Nothing)
}

static EMPTY: Conversation = Conversation::EMPTY;

/// Steps through the bytes of the next chunk. Nothing if the packet does not give them.
#[inline(always)]
fn scan<const N: usize, const R: usize>(
    skb: *mut __sk_buff,
    place: &mut Place,
    machine: &Machine<N>,
    room: &mut [u8; R],
) -> Option<()> {
    let left = read(&place.left);
    // The smaller of what is left and what fits, without a branch: each would double what the verifier follows from here.
    let beyond = left.wrapping_sub(CHUNK);
    let is_last = 0_u32.wrapping_sub(core::hint::black_box(beyond) >> 31);
    let n = ((CHUNK - 1).wrapping_add(beyond & is_last) & (CHUNK - 1)) + 1;
    // What is behind the last byte stays zero, and that is no byte.
    let mut chunk = core::mem::MaybeUninit::<[u64; CHUNK as usize / 8]>::uninit();
    let words = chunk.as_mut_ptr().cast::<u64>();
    for idx in 0..CHUNK as usize / 8 {
        // SAFETY: as many words are there.
        unsafe { words.add(idx).write_volatile(0) };
    }
    let at = read(&place.at);
    // SAFETY: `chunk` has room for `n`; the helper fills it or says that it did not.
    if left == 0 || unsafe { bpf_skb_load_bytes(skb.cast(), at, words.cast(), n) } != 0 {
        return None;
    }
    // SAFETY: points into the map's value.
    let mut moved = unsafe { core::ptr::read_volatile(place) };
    (moved.left, moved.at, moved.budget) = (left.wrapping_sub(n), at.wrapping_add(n), moved.budget - CHUNK);
    for idx in 0..CHUNK as usize {
        // SAFETY: there are as many bytes in the chunk.
        let byte = unsafe { words.cast::<u8>().add(idx).read() };
        moved.step(machine, room, byte);
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(place, moved) };
    Some(())
}

#[inline(always)]
fn tell(op: u32, cookie: u64, peer: &Peer, talk: &Conversation) {
    let Some(owner) = OWNERS.get_ptr(cookie) else {
        // The connection is older than the programs.
        emit::lose(kind::EXCHANGE);
        return;
    };
    // SAFETY: points into the map's value, which is written before the socket sends anything.
    let room = Room::of(|| unsafe { (*owner).cgroup_id });
    emit::record_in(&room, |exchange: &mut Exchange| {
        // SAFETY: as above.
        exchange.header = unsafe { *owner };
        (exchange.family, exchange.destination_port) = (peer.family, 80);
        set_v6(&mut exchange.destination, peer.address);
        (exchange.op, exchange.cookie, exchange._pad) = (op, cookie, 0);
        exchange.signs = talk.asked.signs;
        exchange.line_len = copy(&mut exchange.line, &talk.line, talk.asked.len);
        // Only an answer has one.
        let key_len = if op == op::CREDENTIALS { talk.heard.len } else { 0 };
        exchange.key_len = copy(&mut exchange.key, &talk.key, key_len);
        Some(())
    });
}

/// Copies so many bytes, and none of what may lie behind them; how many.
#[inline(always)]
fn copy<const N: usize, const R: usize>(target: &mut [u8; N], source: &[u8; R], len: u32) -> u32 {
    let len = core::hint::black_box(len).min(N as u32);
    // SAFETY: `target` has room for `len`, and `source` holds them.
    unsafe { bpf_probe_read_kernel(target.as_mut_ptr().cast(), len, source.as_ptr().cast()) };
    len
}
