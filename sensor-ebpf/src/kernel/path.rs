//! From a dentry or a cgroup node up to its root.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use core::ptr::{read_volatile, write_volatile};
use sensor_ebpf::abi::text::{NAME_BYTES, Walk};

use super::{Access, Probed, Ptr};
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
    start(out);
    let (Some(mut dentry), Some(mut mnt)) =
        (Probed::load::<Ptr>(path, offset!(path_dentry)), Probed::load::<Ptr>(path, offset!(path_mnt)))
    else {
        return Ended::Truncated;
    };
    for _ in 0..MAX_DEPTH {
        let Some(root) = Probed::load::<Ptr>(mnt, offset!(vfsmount_root)) else { return Ended::Truncated };
        if dentry == root {
            let mount = mnt.wrapping_sub(offset!(mount_mnt) as usize);
            let Some(above) = Probed::load::<Ptr>(mount, offset!(mount_parent)) else {
                return Ended::Truncated;
            };
            if above == mount {
                return Ended::Complete;
            }
            let Some(mountpoint) = Probed::load::<Ptr>(mount, offset!(mount_mountpoint)) else {
                return Ended::Truncated;
            };
            dentry = mountpoint;
            mnt = above.wrapping_add(offset!(mount_mnt) as usize);
            continue;
        }
        let (Some(parent), Some(name)) = (
            Probed::load::<Ptr>(dentry, offset!(dentry_parent)),
            Probed::load::<Ptr>(dentry, offset!(dentry_name)),
        ) else {
            return Ended::Truncated;
        };
        if !push(out, name) {
            return Ended::Truncated;
        }
        if parent == dentry {
            return Ended::Detached;
        }
        dentry = parent;
    }
    Ended::Truncated
}

/// Walks from a `struct kernfs_node` up to the root of the cgroup hierarchy.
#[inline(always)]
pub(crate) fn walk_cgroup<const N: usize>(out: &mut Walk<N>, node: Ptr) -> Ended {
    start(out);
    let mut node = node;
    for _ in 0..MAX_CGROUP_DEPTH {
        let Some(parent) = Probed::load::<Ptr>(node, offset!(kernfs_parent)) else { return Ended::Truncated };
        if parent.is_null() {
            return Ended::Complete;
        }
        let Some(name) = Probed::load::<Ptr>(node, offset!(kernfs_name)) else { return Ended::Truncated };
        if !push(out, name) {
            return Ended::Truncated;
        }
        node = parent;
    }
    Ended::Truncated
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
