//! What enrichment asks of the outside world, behind a trait: live, recorded, or played back.

use std::path::Path;

use crate::config::EnvAllow;
use crate::host::users::Names;
use crate::loader::is_in_root_pid_namespace;
use crate::process::id::Tgid;
use crate::process::procfs::{ProcFs, Snapshot};

pub trait Lookups {
    /// The process that has this pid now. The caller checks that it is the one it means.
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot>;
    fn user(&mut self, uid: u32) -> Option<String>;
    fn group(&mut self, gid: u32) -> Option<String>;
}

/// The running machine.
#[derive(Debug)]
pub struct Live {
    /// Nothing where `/proc` is of another pid namespace than the kernel's records: there a pid of the one is somebody
    /// else's in the other.
    proc: Option<ProcFs>,
    names: Names,
}

impl Live {
    pub fn new(root: &Path, env: EnvAllow) -> Self {
        let proc = root.join("proc");
        let is_foreign = is_in_root_pid_namespace(&proc) == Some(false);
        Self { proc: (!is_foreign).then(|| ProcFs::new(proc, env)), names: Names::new(root) }
    }

    /// Every process there is, as far as it can be known.
    pub fn processes(&self) -> Vec<Snapshot> {
        self.proc.as_ref().map_or(Vec::new(), ProcFs::all)
    }

    /// Follows changes of the user and group files. Called between batches.
    pub fn refresh(&mut self) {
        self.names.refresh();
    }
}

impl Lookups for Live {
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot> {
        self.proc.as_ref()?.one(tgid)
    }

    fn user(&mut self, uid: u32) -> Option<String> {
        self.names.user(uid).map(str::to_owned)
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        self.names.group(gid).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_of_another_namespace_are_nobodys() {
        let dir = tempfile::tempdir().expect("a directory");
        let proc = dir.path().join("proc");
        std::fs::create_dir_all(proc.join("self/ns")).expect("a directory");
        let pid = std::process::id().to_string();
        std::os::unix::fs::symlink(format!("/proc/{pid}"), proc.join(&pid)).expect("a link");
        let link = proc.join("self/ns/pid");
        for (namespace, is_known) in [("pid:[4026531836]", true), ("pid:[4026532201]", false)] {
            std::os::unix::fs::symlink(namespace, &link).expect("a link");
            let mut live = Live::new(dir.path(), EnvAllow::default());
            assert_eq!(live.process(Tgid(std::process::id())).is_some(), is_known, "{namespace}");
            assert_eq!(live.processes().is_empty(), !is_known, "{namespace}");
            std::fs::remove_file(&link).expect("removed");
        }
    }
}
