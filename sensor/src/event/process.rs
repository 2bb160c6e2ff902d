//! `process.*`, `user.*`, `group.*` and `container.*`.

use serde::Serialize;

use super::capabilities::CapabilitiesDoc;
use crate::clock::Utc;
use crate::process::args::Shown;
use crate::process::entry::EntryKind;
use crate::process::id::EntityId;

#[derive(Debug, Default, Serialize)]
pub struct ProcessDoc<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<&'a EntityId>,
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    #[serde(flatten)]
    pub image: ImageDoc<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub env_vars: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<TtyDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_user: Option<UserDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_user: Option<UserDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_group: Option<GroupDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_group: Option<GroupDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<ProcessDoc<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_leader: Option<EntryLeaderDoc<'a>>,
    #[serde(rename = "Ext", skip_serializing_if = "Option::is_none")]
    pub ext: Option<ExtDoc<'a>>,
}

/// What a process runs.
#[derive(Debug, Default, Serialize)]
pub struct ImageDoc<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<&'a str>,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub args: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub struct ThreadDoc {
    pub id: u32,
    /// Of an exec alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<CapabilitiesDoc>,
}

#[derive(Debug, Serialize)]
pub struct TtyDoc {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub char_device: CharDeviceDoc,
}

#[derive(Debug, Serialize)]
pub struct CharDeviceDoc {
    pub major: u32,
    pub minor: u32,
}

#[derive(Debug, Serialize)]
pub struct EntryLeaderDoc<'a> {
    pub entity_id: &'a EntityId,
    pub pid: u32,
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<&'a str>,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub args: Shown<'a>,
    pub start: Utc,
    pub entry_meta: EntryMetaDoc,
}

#[derive(Debug, Serialize)]
pub struct EntryMetaDoc {
    #[serde(rename = "type")]
    pub kind: EntryKind,
}

/// Elastic Defend's extensions that rules ask for.
#[derive(Debug, Serialize)]
pub struct ExtDoc<'a> {
    /// Parent first.
    pub ancestry: Vec<&'a EntityId>,
}

/// Ids are text in ECS.
#[derive(Debug, Clone, Serialize)]
pub struct UserDoc {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GroupDoc {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ContainerDoc<'a> {
    pub id: &'a str,
}

/// `groundtrail.process.*`.
#[derive(Debug, Serialize)]
pub struct OwnProcessDoc<'a> {
    /// The path as it was given to exec; may be relative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_path: Option<&'a str>,
    /// Who logged in, whatever `su` and `sudo` made of it: the kernel's audit login uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_user: Option<UserDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_lossy: Option<bool>,
    /// There may be allowed variables beside those of `process.env_vars`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_truncated: Option<bool>,
    /// The root end of `process.executable` is missing, and `…` stands in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable_truncated: Option<bool>,
    /// A secret among the arguments was masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted: Option<bool>,
    /// The kernel acted for itself: a worker's connection, such as a subflow of MPTCP or a mount over the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_kernel_thread: Option<bool>,
    /// The tree above, so that it can be drawn by whoever never saw it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AncestorDoc<'a>>,
}

#[derive(Debug, Serialize)]
pub struct AncestorDoc<'a> {
    pub entity_id: &'a EntityId,
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
}
