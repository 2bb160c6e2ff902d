//! What the sensor lets go of once its programs are attached. Capabilities belong to threads, so each lets go for itself.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::loader::KernelRelease;

/// To see other users' processes in `/proc`: their executable, directory and environment.
const READING: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// From this kernel on a map that is open can be read by whoever has its descriptor; before, each read asks for CAP_BPF
/// where unprivileged BPF is disabled, and that is everywhere.
const READS_OPEN_MAPS: (u32, u32) = (5, 19);

/// What a running sensor needs.
///
/// `has_socket`: a socket's owner may be another user, and only who may override that connects to it.
pub fn needed(kernel: &KernelRelease, has_socket: bool) -> CapabilitySet {
    let mut needed = READING;
    if kernel.is_older_than(READS_OPEN_MAPS) {
        // Before 5.8 that was a part of this one; the oldest kernel we run on has its own.
        needed |= CapabilitySet::BPF;
    }
    if has_socket {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    needed
}

/// Keeps of this thread's capabilities no more than these, for good.
///
/// # Errors
/// If the kernel does not let go, which it has no reason to.
pub fn keep(needed: CapabilitySet) -> io::Result<CapabilitySet> {
    // Whoever may not change the bounding set holds nothing that it could give back either.
    for capability in CapabilitySet::all().difference(needed).iter() {
        _ = remove_capability_from_bounding_set(capability);
    }
    clear_ambient_capability_set()?;
    let kept = capabilities(None)?.permitted.intersection(needed);
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    set_no_new_privs(true)?;
    Ok(kept)
}

/// For the thread that delivers: it opens the spool and the keys as the user it is, and parses what comes from a network.
/// Only to a socket that is another user's it may have to get past that socket's mode.
pub fn drop_to_deliver(has_socket: bool) {
    let needed = if has_socket { CapabilitySet::DAC_OVERRIDE } else { CapabilitySet::empty() };
    if let Err(err) = keep(needed) {
        tracing::debug!(%err, "a thread keeps its capabilities");
    }
}

/// For a thread that only writes, or waits: it needs none at all.
pub fn drop_all() {
    if let Err(err) = keep(CapabilitySet::empty()) {
        tracing::debug!(%err, "a thread keeps its capabilities");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_depends_on_kernel_and_output() {
        let check = |release: &str, has_socket, expect: CapabilitySet| {
            assert_eq!(needed(&KernelRelease::parse(release), has_socket), expect, "{release} {has_socket}");
        };
        check("6.12.1", false, READING);
        check("5.10.223", false, READING | CapabilitySet::BPF);
        check("6.1.0", true, READING | CapabilitySet::DAC_OVERRIDE);
    }

    #[test]
    fn a_thread_that_let_go_has_nothing_and_the_others_keep_theirs() {
        let before = capabilities(None).expect("readable");
        std::thread::spawn(|| {
            drop_all();
            let after = capabilities(None).expect("readable");
            assert!(after.permitted.is_empty() && after.effective.is_empty() && after.inheritable.is_empty());
        })
        .join()
        .expect("a thread");
        assert_eq!(capabilities(None).expect("readable"), before);
    }
}
