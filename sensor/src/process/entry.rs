//! How a session came onto the host: the entry leader, which every process below it carries.

use serde::{Deserialize, Serialize};

use super::args::Args;
use super::id::EntityId;
use super::weight::{Weigh, texts};
use super::{Image, base_name};
use crate::clock::BootNs;

/// ECS: `process.entry_leader.entry_meta.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    #[serde(rename = "init")]
    Init,
    #[serde(rename = "sshd")]
    Sshd,
    /// Systems Manager: Run Command or Session Manager. The leader is the agent's worker, whose arguments carry the
    /// command or session id.
    #[serde(rename = "ssm")]
    Ssm,
    #[serde(rename = "container")]
    Container,
    #[serde(rename = "terminal")]
    Terminal,
    #[serde(rename = "cloud-init")]
    CloudInit,
}

/// The process that opened the session, as it was when it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLeader {
    pub kind: EntryKind,
    pub entity_id: EntityId,
    pub pid: u32,
    pub name: String,
    pub executable: Option<String>,
    pub args: Args,
    pub start: BootNs,
}

impl Weigh for EntryLeader {
    fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.args.n_bytes() + texts(self.executable.iter().chain([&self.name]))
    }
}

/// What the decision needs to know of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    pub pid: u32,
    pub image: Option<&'a Image>,
    pub container_id: Option<&'a str>,
    pub has_tty: bool,
}

/// The kind of session that `process` opens, or `None` if it belongs to its parent's.
///
/// Asked when a process got a new image, never at fork: a child that has not run exec yet wears its parent's name.
pub fn opens(
    process: Facts<'_>,
    parent: Option<Facts<'_>>,
    parents_entry: Option<EntryKind>,
) -> Option<EntryKind> {
    let image = process.image?;
    if image.is_program(&["ssm-session-worker", "ssm-document-worker"]) {
        return Some(EntryKind::Ssm);
    }
    if image.is_program(&["cloud-init"]) {
        return Some(EntryKind::CloudInit);
    }
    let parent_image = parent.and_then(|parent| parent.image);
    if parent_image.is_some_and(is_sshd) && !is_sshd(image) {
        return Some(EntryKind::Sshd);
    }
    if process.container_id.is_some() && process.container_id != parent.and_then(|parent| parent.container_id)
    {
        return Some(EntryKind::Container);
    }
    if parent_image.is_some_and(|parent| parent.is_program(&["login", "agetty", "getty", "mingetty"]))
        && !image.is_program(&["login", "agetty", "getty", "mingetty"])
    {
        return Some(EntryKind::Terminal);
    }
    if process.pid == 1 || parent.is_some_and(|parent| parent.pid == 1) {
        return Some(EntryKind::Init);
    }
    // A terminal emulator or multiplexer of a session that has no terminal itself. A pty under sshd or Systems
    // Manager belongs to that session.
    let fresh_tty = process.has_tty && parent.is_some_and(|parent| !parent.has_tty);
    (fresh_tty && matches!(parents_entry, None | Some(EntryKind::Init))).then_some(EntryKind::Terminal)
}

/// The listener, its per-connection process and the split-off `sshd-session` and `sshd-auth` of OpenSSH 9.8.
fn is_sshd(image: &Image) -> bool {
    image.is_program(&["sshd", "sshd-session", "sshd-auth"])
}

impl Image {
    /// Whether this is one of the named programs, by its file name or by the name it was called by (the agent passes
    /// `/usr/bin/ssm-document-worker`; sshd rewrites its own to `sshd: user@pts/0`).
    fn is_program(&self, names: &[&str]) -> bool {
        let called =
            self.args.iter().next().map_or("", |arg| base_name(arg.split([' ', ':']).next().unwrap_or(arg)));
        let mapped = self.executable.as_deref().map_or("", base_name);
        names.iter().any(|name| [self.name.as_str(), called, mapped].contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, args: &[&str]) -> Image {
        Image { name: name.into(), args: args.iter().collect(), ..Image::default() }
    }

    fn facts(pid: u32, image: &Image) -> Facts<'_> {
        Facts { pid, image: Some(image), ..Facts::default() }
    }

    #[test]
    fn systems_manager_workers_open_a_session_even_as_orphans() {
        let systemd = image("systemd", &["/sbin/init"]);
        let worker = image("ssm-document-worker", &["/usr/bin/ssm-document-worker", "b7b32c8a"]);
        assert_eq!(
            opens(facts(9, &worker), Some(facts(1, &systemd)), Some(EntryKind::Init)),
            Some(EntryKind::Ssm)
        );
        let shell = image("sh", &["sh", "-c", "id"]);
        assert_eq!(opens(facts(10, &shell), Some(facts(9, &worker)), Some(EntryKind::Ssm)), None);
        let session = image("ssm-session-worker", &["/usr/bin/ssm-session-worker", "alice-0123"]);
        let pty = Facts { has_tty: true, ..facts(11, &shell) };
        assert_eq!(opens(pty, Some(facts(10, &session)), Some(EntryKind::Ssm)), None);
    }

    #[test]
    fn the_shell_below_sshd_opens_the_session_not_sshd() {
        let listener = image("sshd", &["sshd: /usr/sbin/sshd -D"]);
        let session = image("sshd-session", &["sshd-session: bob [priv]"]);
        let shell = image("bash", &["-bash"]);
        assert_eq!(opens(facts(5, &session), Some(facts(4, &listener)), Some(EntryKind::Init)), None);
        assert_eq!(
            opens(facts(6, &shell), Some(facts(5, &session)), Some(EntryKind::Init)),
            Some(EntryKind::Sshd)
        );
    }

    #[test]
    fn crossing_into_a_container_opens_one() {
        let shim = image("containerd-shim", &["containerd-shim"]);
        let app = image("nginx", &["nginx"]);
        let inside = Facts { container_id: Some("abc"), ..facts(8, &app) };
        assert_eq!(opens(inside, Some(facts(7, &shim)), Some(EntryKind::Init)), Some(EntryKind::Container));
        assert_eq!(opens(inside, Some(inside), Some(EntryKind::Container)), None);
    }

    #[test]
    fn services_login_cloud_init_and_terminals() {
        let systemd = image("systemd", &["/sbin/init"]);
        let cron = image("cron", &["/usr/sbin/cron", "-f"]);
        assert_eq!(opens(facts(1, &systemd), None, None), Some(EntryKind::Init));
        assert_eq!(
            opens(facts(4, &cron), Some(facts(1, &systemd)), Some(EntryKind::Init)),
            Some(EntryKind::Init)
        );
        let cloud =
            image("cloud-init", &["/usr/bin/python3", "/usr/bin/cloud-init", "modules", "--mode=final"]);
        assert_eq!(opens(facts(6, &cloud), Some(facts(1, &systemd)), None), Some(EntryKind::CloudInit));
        let shell = image("bash", &["-bash"]);
        let login = image("login", &["/bin/login", "-p", "--"]);
        assert_eq!(
            opens(facts(7, &shell), Some(facts(5, &login)), Some(EntryKind::Init)),
            Some(EntryKind::Terminal)
        );
        let with_tty = Facts { has_tty: true, ..facts(9, &shell) };
        assert_eq!(opens(with_tty, Some(facts(8, &cron)), Some(EntryKind::Init)), Some(EntryKind::Terminal));
        assert_eq!(opens(facts(9, &shell), Some(facts(8, &cron)), Some(EntryKind::Init)), None);
    }
}
