//! What enrichment asks of the outside world, behind a trait: live, recorded, or played back.

use std::path::Path;

use crate::config::EnvAllow;
use crate::host::users::Names;
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
    proc: ProcFs,
    names: Names,
}

impl Live {
    pub fn new(root: &Path, env: EnvAllow) -> Self {
        Self { proc: ProcFs::new(root.join("proc"), env), names: Names::new(root) }
    }

    pub fn proc(&self) -> &ProcFs {
        &self.proc
    }

    /// Follows changes of the user and group files. Called between batches.
    pub fn refresh(&mut self) {
        self.names.refresh();
    }
}

impl Lookups for Live {
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot> {
        self.proc.one(tgid)
    }

    fn user(&mut self, uid: u32) -> Option<String> {
        self.names.user(uid).map(str::to_owned)
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        self.names.group(gid).map(str::to_owned)
    }
}
