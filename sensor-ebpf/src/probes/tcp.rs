//! A TCP connection attempt, and what became of it.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use sensor_ebpf::abi::connect::{Connect, ConnectResult, ESTABLISHED, origin};
use sensor_ebpf::abi::header::{flag, kind};

use crate::emit::{self, Room, raise};
use crate::kernel::socket::{ends, is_metadata, is_multipath};
use crate::kernel::{Access, Ptr, Typed, task};
use crate::maps::{CONNECTING, OWNERS, called, offset, setting};

/// States of `include/net/tcp_states.h`.
const SYN_SENT: u32 = 2;
const CLOSE: u32 = 7;

/// Runs in the connecting thread, before the first SYN leaves, also for io_uring and TCP Fast Open, which the
/// syscall hooks miss; and again when the socket leaves that state, in whatever thread the answer comes in.
///
/// Prototype, 5.10 to 7.2: `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    called!(inet_sock_set_state);
    let sock: Ptr = ctx.arg(0);
    let old_state = ctx.arg::<u64>(1) as u32;
    let new_state = ctx.arg::<u64>(2) as u32;
    if new_state == SYN_SENT {
        attempt(sock, old_state);
    } else if old_state == SYN_SENT {
        result(sock, new_state);
    }
    0
}

#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would take its room on the stack of 512 bytes once more"
)]
fn attempt(sock: Ptr, old_state: u32) {
    if task::current_tgid() == setting!(own_tgid) || is_multipath::<Typed>(sock) {
        emit::suppress(kind::CONNECT);
        return;
    }
    emit::record(|connect: &mut Connect| {
        connect.origin = origin::TCP_STATE;
        connect.old_state = old_state;
        connect.new_state = SYN_SENT;
        connect.error = 0;
        task::describe_current(&mut connect.header, flag::TASK_FAULT)?;
        ends::<Typed>(connect, sock)?;
        // SAFETY: sixteen bytes aligned to words are four words.
        let peer = unsafe { connect.destination.as_ptr().cast::<[u32; 4]>().read() };
        let is_metadata = is_metadata(connect.family, peer);
        if is_metadata {
            raise(&mut connect.header, flag::METADATA_SERVICE);
        }
        // By way of the stack: kernels before 6.1 take a map's value from nowhere near the ring. A full map costs a
        // result, not an attempt.
        let waiting = connect.header;
        let _ = CONNECTING.insert(sock as u64, &waiting, 0);
        if is_metadata {
            let _ = OWNERS.insert(cookie(sock, connect.cookie), &waiting, 0);
        }
        Some(())
    });
}

/// The cookie that the socket has, or gets where this kernel lets us ask; else `connect4` has asked.
#[inline(always)]
fn cookie(sock: Ptr, known: u64) -> u64 {
    if known == 0 && setting!(has_socket_cookie) != 0 {
        // SAFETY: the helper takes a socket that the verifier knows for one.
        return unsafe { bpf_get_socket_cookie(sock.cast_mut().cast()) };
    }
    known
}

/// Nothing is told of a socket whose attempt was not.
#[inline(always)]
fn result(sock: Ptr, new_state: u32) {
    let key = sock as u64;
    let Some(waiting) = CONNECTING.get_ptr(key) else { return };
    // Both ends sent a SYN at once: neither is an answer to the other.
    if new_state == ESTABLISHED || new_state == CLOSE {
        // SAFETY: as below.
        let room = Room::of(|| unsafe { (*waiting).cgroup_id });
        emit::record_in(&room, |ConnectResult(result): &mut ConnectResult| {
            // SAFETY: the map's value; only this socket's next change, which comes after this one, touches it.
            result.header = unsafe { *waiting };
            result.origin = origin::TCP_STATE;
            result.old_state = SYN_SENT;
            result.new_state = new_state;
            result.error = Typed::load(sock, offset!(sock_err)).unwrap_or(0);
            // The attempt has woken the reader for it.
            result.header.flags &= !flag::METADATA_SERVICE;
            ends::<Typed>(result, sock)
        });
    }
    let _ = CONNECTING.remove(key);
}
