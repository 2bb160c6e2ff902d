//! A process was made.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use sensor_ebpf::abi::fork::Fork;
use sensor_ebpf::abi::header::flag;

use crate::emit;
use crate::kernel::{Ptr, Typed, task};
use crate::maps::called;

/// Runs in the caller, before the child has run.
///
/// Prototype, 5.10 to 7.2: `sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    called!(sched_process_fork);
    let caller: Ptr = ctx.arg(0);
    let child: Ptr = ctx.arg(1);
    if !is_thread(child) {
        emit::record(|fork: &mut Fork| fill(fork, caller, child));
    }
    0
}

fn is_thread(child: Ptr) -> bool {
    let process = task::tgid::<Typed>(child);
    process.is_some() && process != task::tid::<Typed>(child)
}

#[inline(always)]
fn fill(fork: &mut Fork, caller: Ptr, child: Ptr) -> Option<()> {
    task::describe::<Typed>(&mut fork.header, child, flag::TASK_FAULT)?;
    task::key::<Typed>(&mut fork.caller, caller)?;
    fork.caller_tid = task::tid::<Typed>(caller)?;
    fork._pad = 0;
    Some(())
}
