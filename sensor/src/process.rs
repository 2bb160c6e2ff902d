//! Processes: who they are, whom they descend from, what image they run.

pub mod args;
pub mod entry;
pub mod id;
pub mod path;
pub mod procfs;
pub mod table;
pub mod weight;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::BootNs;
use crate::container::Container;
use crate::redact;
use args::Args;
use entry::EntryLeader;
use id::{EntityId, Key};
use weight::{Held, Weigh, texts};

/// What a process runs: replaced as a whole by exec, shared by fork.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Base name of the file as executed: a script's own name, not its interpreter's.
    pub name: String,
    /// Resolved path of the binary that is mapped.
    pub executable: Option<String>,
    /// The kernel's walk did not reach the root, and nobody else knew the rest.
    #[serde(default)]
    pub executable_truncated: bool,
    /// The path as it was given to exec. Unknown for processes older than the sensor.
    pub exec_path: Option<String>,
    pub args: Args,
    /// More arguments existed than were captured.
    #[serde(default)]
    pub args_truncated: bool,
    /// A byte sequence that is not UTF-8 was replaced.
    #[serde(default)]
    pub args_lossy: bool,
    pub working_directory: Option<String>,
    /// Allow-listed variables alone, as `KEY=value`.
    pub env_vars: Vec<String>,
    /// There may be allowed variables beside these.
    #[serde(default)]
    pub env_truncated: bool,
    /// A secret among the arguments was masked.
    #[serde(default)]
    pub redacted: bool,
}

impl Image {
    /// Masks secrets. Every image goes through this before anyone else sees it: its arguments are told again with each
    /// child and each process of its session.
    pub fn without_secrets(mut self) -> Self {
        let mut args: Vec<String> = self.args.iter().map(str::to_owned).collect();
        self.redacted = redact::mask_args(&mut args);
        if self.redacted {
            self.args = args.into();
        }
        self
    }

    /// The same with arguments of so many bytes at most.
    pub fn shortened(&self, max_args_bytes: usize) -> Self {
        Self {
            name: self.name.clone(),
            executable: self.executable.clone(),
            exec_path: self.exec_path.clone(),
            args: self.args.cut(max_args_bytes),
            working_directory: self.working_directory.clone(),
            env_vars: self.env_vars.clone(),
            ..*self
        }
    }
}

impl Weigh for Image {
    fn n_bytes(&self) -> usize {
        let paths = [&self.executable, &self.exec_path, &self.working_directory];
        size_of::<Self>()
            + self.args.n_bytes()
            + texts(paths.into_iter().flatten().chain([&self.name]).chain(&self.env_vars))
    }
}

/// User and group ids, real and effective.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    /// Unset for daemons.
    pub login_uid: Option<u32>,
}

/// A controlling terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tty {
    pub major: u32,
    pub minor: u32,
}

impl Tty {
    /// Device number as in `/proc/PID/stat` field 7: minor bits 31-20 and 7-0, major bits 19-8.
    pub fn from_stat(device: i32) -> Option<Self> {
        let device = device as u32;
        let tty = Self { major: (device >> 8) & 0xfff, minor: (device & 0xff) | ((device >> 12) & 0xfff00) };
        (device != 0).then_some(tty)
    }

    /// The name under `/dev`. The unix98 slaves are majors 136 to 143 with 256 minors each.
    pub fn name(self) -> Option<String> {
        match self.major {
            136..=143 => Some(format!("pts/{}", (self.major - 136) * 256 + self.minor)),
            4 if self.minor < 64 => Some(format!("tty{}", self.minor)),
            4 => Some(format!("ttyS{}", self.minor - 64)),
            229 => Some(format!("hvc{}", self.minor)),
            204 => Some(format!("ttyAMA{}", self.minor.checked_sub(64)?)),
            _ => None,
        }
    }
}

/// One process of the table.
#[derive(Debug, Clone)]
pub struct Process {
    pub key: Key,
    pub entity_id: EntityId,
    /// Exact start, known once the kernel has spoken of the process.
    pub start_ns: Option<BootNs>,
    /// Who created it. Kept when the creator dies, so lineage does not decay into pid 1.
    pub parent: Option<Key>,
    pub image: Option<Arc<Held<Image>>>,
    pub credentials: Option<Credentials>,
    pub tty: Option<Tty>,
    pub container: Arc<Held<Container>>,
    pub entry_leader: Option<Arc<Held<EntryLeader>>>,
    pub exited_at: Option<BootNs>,
}

impl Process {
    pub fn start(&self) -> BootNs {
        self.start_ns.unwrap_or_else(|| self.key.start.boot_ns())
    }

    pub fn image(&self) -> Option<&Image> {
        self.image.as_ref().map(|held| &***held)
    }

    pub fn name(&self) -> Option<&str> {
        self.image().map(|image| image.name.as_str())
    }
}

/// The base name of a path: what follows its last slash.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_named_as_under_dev() {
        let check = |device: i32, name: Option<&str>| {
            assert_eq!(Tty::from_stat(device).and_then(Tty::name).as_deref(), name, "{device}");
        };
        check(0, None);
        check(34816, Some("pts/0"));
        check(34816 + 3, Some("pts/3"));
        check((137 << 8) | 1, Some("pts/257"));
        check(0x0401, Some("tty1"));
        check(0x0440, Some("ttyS0"));
        check(229 << 8, Some("hvc0"));
    }
}
