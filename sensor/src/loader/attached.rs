//! Hooks that others can let go of: a link of the cgroup tree can be detached by whoever may administer the network, or goes
//! with its cgroup. The programs stay loaded then, and see nothing any more.

use std::fs;
use std::path::PathBuf;

use aya::programs::links::FdLink;

use crate::probes::Probe;

/// The links that are looked after.
#[derive(Default)]
pub(super) struct Links(Vec<Held>);

struct Held {
    probe: &'static Probe,
    /// Where the kernel says how it is. aya keeps the descriptor to itself.
    info: Option<PathBuf>,
    _link: FdLink,
}

impl Links {
    pub(super) fn keep(&mut self, probe: &'static Probe, link: FdLink) {
        let info = link.info().ok().and_then(|info| info_of(info.id()));
        self.0.push(Held { probe, info, _link: link });
    }

    /// Takes out those that no longer hold.
    pub(super) fn take_lost(&mut self) -> Vec<&'static Probe> {
        let mut lost = Vec::new();
        self.0.retain(|held| {
            // Where nobody can look nothing is claimed.
            let info = held.info.as_ref().and_then(|path| fs::read_to_string(path).ok());
            let holds = info.is_none_or(|info| is_attached(&info));
            if !holds {
                lost.push(held.probe);
            }
            holds
        });
        lost
    }

    pub(super) fn let_go(&mut self) {
        self.0.clear();
    }
}

/// The description of our descriptor for the link of this id.
fn info_of(id: u32) -> Option<PathBuf> {
    let mut own = fs::read_dir("/proc/self/fdinfo").ok()?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let info = fs::read_to_string(path).unwrap_or_default();
        info.lines()
            .any(|line| line.strip_prefix("link_id:").is_some_and(|found| found.trim() == id.to_string()))
    };
    own.find(is_it)
}

/// A link of a cgroup names it, and names none once it is detached.
fn is_attached(fdinfo: &str) -> bool {
    !fdinfo.lines().any(|line| line.strip_prefix("cgroup_id:").is_some_and(|id| id.trim() == "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_link_names_no_cgroup() {
        assert!(is_attached("pos:\t0\nlink_type:\tcgroup\ncgroup_id:\t1\nattach_type:\t10\n"));
        assert!(!is_attached("pos:\t0\nlink_type:\tcgroup\ncgroup_id:\t0\nattach_type:\t10\n"));
        assert!(is_attached("link_type:\tcgroup\nlink_id:\t5\n"), "kernels that do not tell");
    }
}
