//! A process ended, whatever the reason.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use sensor_ebpf::abi::exit::Exit;
use sensor_ebpf::abi::header::flag;

use crate::emit::{self, raise};
use crate::kernel::{Ptr, Typed, task};
use crate::maps::{called, setting};

/// Runs for every thread that ends, also one killed by a signal; the last one closes the process.
///
/// Prototype, 5.10 to 6.12: `sched_process_exit(struct task_struct *p)`;
/// 6.13 to 7.2: `sched_process_exit(struct task_struct *p, bool group_dead)`.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    called!(sched_process_exit);
    let ending: Ptr = ctx.arg(0);
    let is_last = if setting!(exit_has_group_dead) != 0 {
        ctx.arg::<u64>(1) as u8 != 0
    } else {
        task::is_last_thread::<Typed>(ending).unwrap_or(true)
    };
    if is_last {
        emit::record(|exit: &mut Exit| fill(exit, ending));
    }
    0
}

#[inline(always)]
fn fill(exit: &mut Exit, ending: Ptr) -> Option<()> {
    // A dying task has often lost its namespaces already, so their absence is no fault here.
    task::describe::<Typed>(&mut exit.header, ending, 0)?;
    exit._pad = 0;
    let status = task::exit_status::<Typed>(ending);
    exit.status = status.unwrap_or(0);
    if status.is_none() {
        raise(&mut exit.header, flag::TASK_FAULT);
    }
    Some(())
}
