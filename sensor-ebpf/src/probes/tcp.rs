//! A TCP connection attempt.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use sensor_ebpf::abi::connect::{Connect, origin};
use sensor_ebpf::abi::header::{flag, kind};

use crate::emit::{self, raise};
use crate::kernel::socket::{ends, is_metadata, is_multipath};
use crate::kernel::{Probed, Ptr, Typed, task};
use crate::maps::setting;

/// `TCP_SYN_SENT` of `include/net/tcp_states.h`.
const SYN_SENT: u32 = 2;

/// Runs in the connecting thread, before the first SYN leaves; also for io_uring and TCP Fast Open, which
/// the syscall hooks miss.
///
/// Prototype, 5.10 to 7.2: `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let old_state = ctx.arg::<u64>(1) as u32;
    let new_state = ctx.arg::<u64>(2) as u32;
    if new_state != SYN_SENT {
        return 0;
    }
    let sock: Ptr = ctx.arg(0);
    if task::current_tgid() == setting!(own_tgid) || is_multipath::<Typed>(sock) {
        emit::suppress(kind::CONNECT);
        return 0;
    }
    emit::record(|connect: &mut Connect| {
        connect.origin = origin::TCP_STATE;
        connect.old_state = old_state;
        connect.new_state = new_state;
        connect._pad = 0;
        fill(connect, sock)
    });
    0
}

#[inline(always)]
fn fill(connect: &mut Connect, sock: Ptr) -> Option<()> {
    task::describe::<Probed>(&mut connect.header, task::current(), flag::TASK_FAULT)?;
    ends::<Typed>(connect, sock)?;
    // SAFETY: sixteen bytes aligned to words are four words.
    let peer = unsafe { connect.destination.as_ptr().cast::<[u32; 4]>().read() };
    if is_metadata(connect.family, peer) {
        raise(&mut connect.header, flag::METADATA_SERVICE);
    }
    Some(())
}
