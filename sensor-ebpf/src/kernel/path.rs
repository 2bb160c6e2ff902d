//! From a dentry or a cgroup node up to its root.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use core::ptr::{read_volatile, write_volatile};
use sensor_ebpf::abi::settings::ABSENT;
use sensor_ebpf::abi::text::{NAME_BYTES, Walk};

use super::{Ptr, task};
use crate::maps::offset;

/// Components of a path that are followed: the verifier wants a bound, and deeper paths are cut at the root
/// end.
const MAX_DEPTH: u32 = 48;
const MAX_CGROUP_DEPTH: u32 = 24;

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the root.
    Complete,
    /// Before the root: too deep, too long, or a failed read.
    Truncated,
    /// At a dentry that hangs in no tree: a memfd, a pipe.
    Detached,
}

/// Walks a `struct path` that lies at `path`, crossing mounts, up to the root of its mount namespace.
#[inline(always)]
pub(crate) fn walk<const N: usize>(out: &mut Walk<N>, path: Ptr) -> Ended {
    walk_from(out, peek(path, offset!(path_dentry)), peek(path, offset!(path_mnt)))
}

/// Walks from a dentry in this mount; without one to the root of the file system, and then it is `Detached`.
#[inline(always)]
pub(crate) fn walk_from<const N: usize>(out: &mut Walk<N>, dentry: Ptr, mnt: Ptr) -> Ended {
    start(out);
    let (mut dentry, mut mnt) = (dentry, mnt);
    let mut root = peek(mnt, offset!(vfsmount_root));
    for _ in 0..MAX_DEPTH {
        if dentry == root {
            let mount = mnt.wrapping_sub(offset!(mount_mnt) as usize);
            let above = peek(mount, offset!(mount_parent));
            if above == mount {
                return Ended::Complete;
            }
            dentry = peek(mount, offset!(mount_mountpoint));
            mnt = above.wrapping_add(offset!(mount_mnt) as usize);
            root = peek(mnt, offset!(vfsmount_root));
            continue;
        }
        let parent = peek(dentry, offset!(dentry_parent));
        if !push(out, peek(dentry, offset!(dentry_name))) {
            return Ended::Truncated;
        }
        if parent == dentry {
            return Ended::Detached;
        }
        dentry = parent;
    }
    Ended::Truncated
}

/// The mount in which the current task most likely met this file system: that of its working directory or of its root.
#[inline(always)]
pub(crate) fn mount_of(sb: Ptr) -> Option<Ptr> {
    let fs = peek(task::current(), offset!(task_fs));
    [offset!(fs_pwd), offset!(fs_root)].into_iter().find_map(|place| {
        let mnt = peek(fs, place + offset!(path_mnt));
        (peek(mnt, offset!(vfsmount_sb)) == sb).then_some(mnt)
    })
}

/// Walks from a `struct kernfs_node` up to the root of the cgroup hierarchy.
#[inline(always)]
pub(crate) fn walk_cgroup<const N: usize>(out: &mut Walk<N>, node: Ptr) -> Ended {
    start(out);
    if offset!(kernfs_parent) == ABSENT || offset!(kernfs_name) == ABSENT {
        return Ended::Truncated;
    }
    let mut node = node;
    for _ in 0..MAX_CGROUP_DEPTH {
        let parent = peek(node, offset!(kernfs_parent));
        if parent.is_null() {
            return Ended::Complete;
        }
        if !push(out, peek(node, offset!(kernfs_name))) {
            return Ended::Truncated;
        }
        node = parent;
    }
    Ended::Truncated
}

/// A pointer field, null if it cannot be read: the walk then ends at the next name, which cannot be read
/// either. A branch for each failed read would multiply what the verifier has to follow.
#[inline(always)]
fn peek(object: Ptr, offset: u32) -> Ptr {
    let mut value: Ptr = core::ptr::null();
    let source = object.wrapping_add(offset as usize);
    // SAFETY: `value` has room for a pointer; the helper takes any source address and clears it on a fault.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<Ptr>() as u32, source.cast()) };
    value
}

fn start<const N: usize>(out: &mut Walk<N>) {
    out.len = 0;
    out.depth = 0;
}

/// Appends one name; false if there is no room or no name.
#[inline(always)]
fn push<const N: usize>(out: &mut Walk<N>, name: Ptr) -> bool {
    // The length lives in the record and is read back each time. Kept in a register the verifier would
    // follow its range through every mix of crossings and names, a number of states quadratic in the depth.
    // SAFETY: points into the record.
    let len = unsafe { read_volatile(&raw const out.len) } as usize;
    if len > N - NAME_BYTES {
        return false;
    }
    // SAFETY: at least `NAME_BYTES` are left behind `len`.
    let copied = unsafe {
        let target = out.bytes.as_mut_ptr().add(len);
        bpf_probe_read_kernel_str(target.cast(), NAME_BYTES as u32, name.cast())
    };
    if copied <= 0 {
        return false;
    }
    // SAFETY: points into the record.
    unsafe { write_volatile(&raw mut out.len, len as u32 + copied as u32) };
    out.depth += 1;
    true
}
