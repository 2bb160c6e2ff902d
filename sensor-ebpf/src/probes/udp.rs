//! Peers of sockets that are not TCP: given by `connect`, or by each send.
//!
//! The cgroup hooks are the ones that see UDP on every kernel. They fail open: they always allow.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use sensor_ebpf::abi::connect::{Connect, origin};
use sensor_ebpf::abi::header::{flag, kind};

use crate::emit::{self, raise};
use crate::kernel::socket::{AF_INET, AF_INET6, is_metadata, is_stream, set_v6};
use crate::kernel::{Probed, boot_ns, task};
use crate::maps::{RECENT_SENDS, SendKey, called, setting};

/// What a cgroup program returns to let the call go on.
const ALLOW: i32 = 1;

/// A datagram to a peer already reported within this time is not reported again.
const REPEAT_NS: u64 = 60_000_000_000;

/// `connect` on an IPv4 socket. Kernel 4.17 and newer.
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    called!(connect4);
    let peer = Peer::v4(&ctx);
    connected(&ctx, &peer);
    ALLOW
}

/// `connect` on an IPv6 socket, v4-mapped peers included. Kernel 4.17 and newer.
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    called!(connect6);
    let peer = Peer::v6(&ctx);
    connected(&ctx, &peer);
    ALLOW
}

/// `sendto` or `sendmsg` with an address on an IPv4 UDP socket. Kernel 4.18 and newer.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    called!(sendmsg4);
    let peer = Peer::v4(&ctx);
    report_once(&ctx, &peer);
    ALLOW
}

/// The same on an IPv6 UDP socket. Kernel 4.18 and newer.
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    called!(sendmsg6);
    let peer = Peer::v6(&ctx);
    report_once(&ctx, &peer);
    ALLOW
}

struct Peer {
    family: u16,
    protocol: u32,
    address: [u32; 4],
    port: u16,
}

impl Peer {
    #[inline(always)]
    fn v4(ctx: &SockAddrContext) -> Self {
        // SAFETY: the kernel's context outlives the program; the verifier checks each field.
        let addr = unsafe { &*ctx.sock_addr };
        Self { address: [read(&addr.user_ip4), 0, 0, 0], ..Self::of(addr, AF_INET) }
    }

    #[inline(always)]
    fn v6(ctx: &SockAddrContext) -> Self {
        // SAFETY: as above.
        let addr = unsafe { &*ctx.sock_addr };
        let [a, b, c, d] = &addr.user_ip6;
        Self { address: [read(a), read(b), read(c), read(d)], ..Self::of(addr, AF_INET6) }
    }

    #[inline(always)]
    fn of(addr: &bpf_sock_addr, family: u16) -> Self {
        let port = u16::from_be(read(&addr.user_port) as u16);
        Self { family, protocol: read(&addr.protocol), address: [0; 4], port }
    }
}

/// Word by word, as the kernel grants it: without this the compiler would join neighbours into one load.
#[inline(always)]
fn read(field: &u32) -> u32 {
    // SAFETY: a reference is readable.
    unsafe { core::ptr::read_volatile(field) }
}

#[inline(always)]
fn connected(ctx: &SockAddrContext, peer: &Peer) {
    // `inet_sock_set_state` reports TCP.
    if !is_stream(peer.protocol) {
        report(ctx, peer, origin::CONNECT);
    } else if is_metadata(peer.family, peer.address) {
        // To ask for a cookie is to make one: before 5.12 that hook cannot.
        let _ = cookie(ctx);
    }
}

#[inline(always)]
fn report_once(ctx: &SockAddrContext, peer: &Peer) {
    let key =
        SendKey { cookie: cookie(ctx), address: bytes(peer.address), port: u32::from(peer.port), _pad: 0 };
    let now = boot_ns();
    // SAFETY: the value is copied at once; a concurrent update is another recent time.
    let last = unsafe { RECENT_SENDS.get(key) }.copied();
    if last.is_some_and(|last| now.wrapping_sub(last) < REPEAT_NS) {
        emit::suppress(kind::CONNECT);
        return;
    }
    // A full or busy map means a record too many, never one too few.
    let _ = RECENT_SENDS.insert(key, now, 0);
    report(ctx, peer, origin::SENDMSG);
}

#[inline(always)]
fn report(ctx: &SockAddrContext, peer: &Peer, origin: u32) {
    if task::current_tgid() == setting!(own_tgid) {
        emit::suppress(kind::CONNECT);
        return;
    }
    let cookie = cookie(ctx);
    emit::record(|connect: &mut Connect| {
        connect.family = peer.family;
        connect.protocol = peer.protocol as u16;
        connect.source_port = 0;
        connect.destination_port = peer.port;
        set_v6(&mut connect.source, [0; 4]);
        set_v6(&mut connect.destination, peer.address);
        connect.cookie = cookie;
        (connect.old_state, connect.new_state) = (0, 0);
        connect.origin = origin;
        connect.error = 0;
        task::describe::<Probed>(&mut connect.header, task::current(), flag::TASK_FAULT)?;
        if is_metadata(peer.family, peer.address) {
            raise(&mut connect.header, flag::METADATA_SERVICE);
        }
        Some(())
    });
}

#[inline(always)]
fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: the same sixteen bytes, less strictly aligned.
    unsafe { core::mem::transmute(words) }
}
