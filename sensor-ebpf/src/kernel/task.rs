//! What is known of a task: identity, credentials, namespaces, cgroup, terminal.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use sensor_ebpf::abi::header::{Header, Key, UNSET, flag};

use super::{Access, Probed, Ptr, Typed};
use crate::emit::raise;
use crate::maps::{offset, setting};

/// Indices into `signal_struct.pids`, the same since 4.20 (`include/linux/pid_types.h`).
const PIDTYPE_TGID: u32 = 1;
const PIDTYPE_PGID: u32 = 2;
const PIDTYPE_SID: u32 = 3;
const POINTER_BYTES: u32 = 8;

/// `SIGNAL_GROUP_EXIT` of `include/linux/sched/signal.h`.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `PF_KTHREAD` of `include/linux/sched.h`, the same since 2.6.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The running task, to be read with [`Probed`].
pub(crate) fn current() -> Ptr {
    // SAFETY: takes nothing, returns the address of the running task.
    unsafe { bpf_get_current_task() as Ptr }
}

/// [`describe`] for the running task, where the kernel has it by plain loads: the helper that gives a typed pointer came
/// with 5.11, and forty copies by the other one are half of what a connection costs before.
///
/// For tracing programs. The verifier takes the setting for a constant and never looks at the other branch.
#[inline(always)]
pub(crate) fn describe_current(header: &mut Header, absence: u32) -> Option<()> {
    if setting!(has_typed_current) != 0 {
        // SAFETY: takes nothing, returns the running task.
        let current = unsafe { bpf_get_current_task_btf() };
        describe::<Typed>(header, current as Ptr, absence)
    } else {
        describe::<Probed>(header, current(), absence)
    }
}

/// Id of the running process in the root pid namespace.
pub(crate) fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Id of the process that `task` is a thread of.
#[inline(always)]
pub(crate) fn tgid<A: Access>(task: Ptr) -> Option<u32> {
    A::load(task, offset!(task_tgid))
}

/// Writes down the process that `task` is a thread of.
///
/// In place: a key handed over as an `Option` lies in registers that are written only if there is one, and whatever the compiler
/// makes of the other path may store them, which the verifier refuses.
#[inline(always)]
pub(crate) fn key<A: Access>(into: &mut Key, task: Ptr) -> Option<()> {
    let leader = A::load::<Ptr>(task, offset!(task_group_leader))?;
    key_of_leader::<A>(into, leader)
}

#[inline(always)]
fn key_of_leader<A: Access>(into: &mut Key, leader: Ptr) -> Option<()> {
    into.start_boot_ns = A::load(leader, offset!(task_start_boottime))?;
    into.tgid = A::load(leader, offset!(task_tgid))?;
    into._pad = 0;
    Some(())
}

#[inline(always)]
pub(crate) fn tid<A: Access>(task: Ptr) -> Option<u32> {
    A::load(task, offset!(task_pid))
}

/// The node of the task's cgroup v2.
#[inline(always)]
pub(crate) fn cgroup_node<A: Access>(task: Ptr) -> Option<Ptr> {
    let set = A::load::<Ptr>(task, offset!(task_cgroups))?;
    let cgroup = A::load::<Ptr>(set, offset!(css_set_dfl_cgrp))?;
    A::load::<Ptr>(cgroup, offset!(cgroup_kn))
}

/// True once no thread of the process is left but those already past their end.
#[inline(always)]
pub(crate) fn is_last_thread<A: Access>(task: Ptr) -> Option<bool> {
    let signal = A::load::<Ptr>(task, offset!(task_signal))?;
    Some(A::load::<u32>(signal, offset!(signal_live))? == 0)
}

/// The status that `wait` will report.
#[inline(always)]
pub(crate) fn exit_status<A: Access>(task: Ptr) -> Option<u32> {
    let signal = A::load::<Ptr>(task, offset!(task_signal))?;
    if A::load::<u32>(signal, offset!(signal_flags))? & SIGNAL_GROUP_EXIT != 0 {
        return A::load(signal, offset!(signal_group_exit_code));
    }
    let leader = A::load::<Ptr>(task, offset!(task_group_leader))?;
    A::load(leader, offset!(task_exit_code))
}

/// Fills the header from `task`, all but kind, size and time. `None` if the task has no identity; what else
/// could not be read is zero, and `absence` is raised for it.
#[inline(always)]
pub(crate) fn describe<A: Access>(header: &mut Header, task: Ptr, absence: u32) -> Option<()> {
    let leader = A::load::<Ptr>(task, offset!(task_group_leader))?;
    key_of_leader::<A>(&mut header.process, leader)?;
    header.tid = tid::<A>(task)?;
    if parent::<A>(header, leader).is_none() {
        header.parent = Key { start_boot_ns: 0, tgid: 0, _pad: 0 };
        raise(header, absence);
    }
    // SAFETY: two words and sixteen bytes are the same memory; the header is aligned to words.
    let comm = unsafe { &mut *(&raw mut header.comm).cast::<[u64; 2]>() };
    match A::load(task, offset!(task_comm)) {
        Some(name) => *comm = name,
        None => {
            *comm = [0; 2];
            raise(header, absence);
        }
    }
    header.loginuid = A::load(task, offset!(task_loginuid)).unwrap_or(UNSET);
    header.sessionid = A::load(task, offset!(task_sessionid)).unwrap_or(UNSET);
    let cgroup = cgroup_node::<A>(task).and_then(|node| A::load::<u64>(node, offset!(kernfs_id)));
    header.cgroup_id = cgroup.unwrap_or(0);
    if credentials::<A>(header, task).is_none() {
        raise(header, absence);
    }
    if namespaces::<A>(header, task).is_none() {
        raise(header, absence);
    }
    if groups::<A>(header, task).is_none() {
        raise(header, absence);
    }
    terminal::<A>(header, task);
    if A::load::<u32>(task, offset!(task_flags)).unwrap_or(0) & PF_KTHREAD != 0 {
        raise(header, flag::KERNEL_THREAD);
    }
    Some(())
}

#[inline(always)]
fn parent<A: Access>(header: &mut Header, leader: Ptr) -> Option<()> {
    let parent = A::load::<Ptr>(leader, offset!(task_real_parent))?;
    key::<A>(&mut header.parent, parent)
}

#[inline(always)]
fn credentials<A: Access>(header: &mut Header, task: Ptr) -> Option<()> {
    (header.uid, header.gid, header.euid) = (0, 0, 0);
    (header.egid, header.suid, header.sgid) = (0, 0, 0);
    let cred = A::load::<Ptr>(task, offset!(task_cred))?;
    header.uid = A::load(cred, offset!(cred_uid))?;
    header.gid = A::load(cred, offset!(cred_gid))?;
    header.euid = A::load(cred, offset!(cred_euid))?;
    header.egid = A::load(cred, offset!(cred_egid))?;
    header.suid = A::load(cred, offset!(cred_suid))?;
    header.sgid = A::load(cred, offset!(cred_sgid))?;
    Some(())
}

#[inline(always)]
fn namespaces<A: Access>(header: &mut Header, task: Ptr) -> Option<()> {
    (header.mnt_ns, header.net_ns) = (0, 0);
    let nsproxy = A::load::<Ptr>(task, offset!(task_nsproxy))?;
    let mnt_ns = A::load::<Ptr>(nsproxy, offset!(nsproxy_mnt_ns))?;
    header.mnt_ns = A::load(mnt_ns, offset!(mnt_ns_inum))?;
    let net = A::load::<Ptr>(nsproxy, offset!(nsproxy_net_ns))?;
    header.net_ns = A::load(net, offset!(net_inum))?;
    Some(())
}

/// Process group, session, and the process's id in the innermost of its pid namespaces.
#[inline(always)]
fn groups<A: Access>(header: &mut Header, task: Ptr) -> Option<()> {
    (header.ns_tgid, header.pid_ns, header.pgid, header.sid) = (0, 0, 0, 0);
    let signal = A::load::<Ptr>(task, offset!(task_signal))?;
    header.pgid = root_id::<A>(signal, PIDTYPE_PGID)?;
    header.sid = root_id::<A>(signal, PIDTYPE_SID)?;
    // A number, not a typed pointer: the index of the innermost namespace is known only at run time, and the
    // verifier takes constant offsets alone for typed ones.
    let pid = Probed::load::<Ptr>(signal, offset!(signal_pids) + PIDTYPE_TGID * POINTER_BYTES)?;
    let level = Probed::load::<u32>(pid, offset!(pid_level))?;
    let innermost = pid.wrapping_add(level as usize * offset!(upid_size) as usize);
    let innermost = innermost.wrapping_add(offset!(pid_numbers) as usize);
    header.ns_tgid = Probed::load(innermost, offset!(upid_nr))?;
    let pid_ns = Probed::load::<Ptr>(innermost, offset!(upid_ns))?;
    header.pid_ns = Probed::load(pid_ns, offset!(pid_ns_inum))?;
    Some(())
}

/// A process id as the root pid namespace has it.
#[inline(always)]
fn root_id<A: Access>(signal: Ptr, kind: u32) -> Option<u32> {
    let pid = A::load::<Ptr>(signal, offset!(signal_pids) + kind * POINTER_BYTES)?;
    A::load(pid, offset!(pid_numbers) + offset!(upid_nr))
}

#[inline(always)]
fn terminal<A: Access>(header: &mut Header, task: Ptr) {
    (header.tty_major, header.tty_minor) = device::<A>(task).unwrap_or((0, 0));
}

#[inline(always)]
fn device<A: Access>(task: Ptr) -> Option<(u32, u32)> {
    let signal = A::load::<Ptr>(task, offset!(task_signal))?;
    let tty = A::load::<Ptr>(signal, offset!(signal_tty)).filter(|tty| !tty.is_null())?;
    let driver = A::load::<Ptr>(tty, offset!(tty_driver))?;
    let major = A::load::<u32>(driver, offset!(tty_driver_major))?;
    let first = A::load::<u32>(driver, offset!(tty_driver_minor_start))?;
    Some((major, first.wrapping_add(A::load::<u32>(tty, offset!(tty_index))?)))
}
