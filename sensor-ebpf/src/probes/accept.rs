//! A process took a connection that somebody made to it.

use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;
use sensor_ebpf::abi::connect::{Accepted, origin};
use sensor_ebpf::abi::header::{flag, kind};

use crate::emit;
use crate::kernel::socket::ends;
use crate::kernel::{Ptr, Typed, task};
use crate::maps::{called, setting};

/// Prototype, 6.10 to 7.2: `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)`.
#[fexit(function = "inet_csk_accept")]
fn accept_by_arg(ctx: FExitContext) -> i32 {
    called!(accept_by_arg);
    accepted(ctx.arg(2))
}

/// Prototype, 5.10 to 6.9: `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)`.
#[fexit(function = "inet_csk_accept")]
fn accept_by_flags(ctx: FExitContext) -> i32 {
    called!(accept_by_flags);
    accepted(ctx.arg(4))
}

#[inline(always)]
fn accepted(sock: Ptr) -> i32 {
    if sock.is_null() {
        return 0;
    }
    if task::current_tgid() == setting!(own_tgid) {
        emit::suppress(kind::ACCEPT);
        return 0;
    }
    emit::record(|Accepted(accept): &mut Accepted| {
        accept.origin = origin::ACCEPT;
        (accept.old_state, accept.new_state, accept.error) = (0, 0, 0);
        task::describe_current(&mut accept.header, flag::TASK_FAULT)?;
        ends::<Typed>(accept, sock)
    });
    0
}
