//! Processes as `/proc` shows them: the seed at start, and the repair of a parent whose events were lost.
//!
//! A pid read here proves nothing by itself. Whoever asks compares the start time with the one he knows.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::id::Tgid;
use super::{Credentials, Image, Tty, base_name, path};
use crate::clock::StartTicks;

/// Longest argument block that is taken from `/proc`: what the kernel side captures at most.
const MAX_ARGS_BYTES: usize = 32 << 10;

/// One process at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub tgid: Tgid,
    pub start_ticks: u64,
    pub parent: Option<ParentSnapshot>,
    pub image: Image,
    pub credentials: Option<Credentials>,
    pub tty: Option<Tty>,
    pub cgroup: Option<String>,
}

/// A parent whose identity held while its child was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentSnapshot {
    pub tgid: Tgid,
    pub start_ticks: u64,
}

impl Snapshot {
    pub fn start(&self) -> StartTicks {
        StartTicks(self.start_ticks)
    }
}

/// A mounted proc file system.
#[derive(Debug, Clone)]
pub struct ProcFs {
    root: PathBuf,
    keep_env: crate::config::EnvAllow,
}

impl ProcFs {
    pub fn new(root: impl Into<PathBuf>, keep_env: crate::config::EnvAllow) -> Self {
        Self { root: root.into(), keep_env }
    }

    /// Every process there is, parents before children where start times tell.
    pub fn all(&self) -> Vec<Snapshot> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut all: Vec<Snapshot> = pids.filter_map(|pid| self.one(Tgid(pid))).collect();
        all.sort_by_key(|process| (process.start_ticks, process.tgid));
        all
    }

    /// Reads one process, or nothing if it went away or was replaced meanwhile.
    pub fn one(&self, tgid: Tgid) -> Option<Snapshot> {
        let dir = self.root.join(tgid.0.to_string());
        let before = Stat::read(&dir)?;
        let image = self.image(&dir, &before);
        let credentials = credentials(&dir);
        let cgroup = fs::read_to_string(dir.join("cgroup")).ok().and_then(|text| cgroup_path(&text));
        let parent = self.parent(&before);
        let after = Stat::read(&dir)?;
        if after.start_ticks != before.start_ticks {
            return None;
        }
        Some(Snapshot {
            tgid,
            start_ticks: before.start_ticks,
            // Re-parented while we looked: the pid that was read may name somebody else by now.
            parent: parent.filter(|_| after.parent == before.parent),
            image,
            credentials,
            tty: before.tty,
            cgroup,
        })
    }

    /// A parent starts no later than its child; one that did is a stranger with a recycled pid.
    fn parent(&self, child: &Stat) -> Option<ParentSnapshot> {
        let parent = Stat::read(&self.root.join(child.parent.to_string()))?;
        (parent.start_ticks <= child.start_ticks)
            .then_some(ParentSnapshot { tgid: Tgid(child.parent), start_ticks: parent.start_ticks })
    }

    fn image(&self, dir: &Path, stat: &Stat) -> Image {
        let executable = target(dir, "exe");
        let raw = fs::read(dir.join("cmdline")).unwrap_or_default();
        let split = crate::decode::split_strings(&raw[..raw.len().min(MAX_ARGS_BYTES)]);
        let (env_vars, env_truncated) =
            self.keep_env.pick(&fs::read(dir.join("environ")).unwrap_or_default());
        let image = Image {
            name: name(&stat.comm, executable.as_deref(), &split.strings),
            executable,
            args_truncated: raw.len() > MAX_ARGS_BYTES,
            args_lossy: split.is_lossy,
            args: split.strings.into(),
            working_directory: target(dir, "cwd"),
            env_vars,
            env_truncated,
            ..Image::default()
        };
        image.without_secrets()
    }
}

/// The executed file's base name, as far as it can still be told.
///
/// The kernel cut it to 15 bytes for `comm`; the executable or, for a script, one of the first arguments has it whole.
fn name(comm: &str, executable: Option<&str>, args: &[String]) -> String {
    let whole = |path: &str| {
        let base = base_name(path);
        (base == comm || (comm.len() == 15 && base.starts_with(comm))).then(|| base.to_owned())
    };
    executable
        .and_then(whole)
        .or_else(|| args.iter().take(4).find_map(|arg| whole(arg)))
        // A program run by descriptor has its number for a name, before 6.14.
        .or_else(|| {
            let is_number = comm.bytes().all(|byte| byte.is_ascii_digit());
            executable.filter(|_| is_number).map(|path| base_name(path).to_owned())
        })
        .unwrap_or_else(|| comm.to_owned())
}

/// The few fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: String,
    parent: u32,
    tty: Option<Tty>,
    start_ticks: u64,
}

impl Stat {
    fn read(dir: &Path) -> Option<Self> {
        let stat = procfs::process::Stat::from_reader_bytes(&fs::read(dir.join("stat")).ok()?)?;
        Some(Self {
            comm: stat.comm,
            parent: u32::try_from(stat.ppid).ok()?,
            tty: Tty::from_stat(stat.tty_nr),
            start_ticks: stat.starttime,
        })
    }
}

/// `FromRead` under a name that says what it does with bytes that are not UTF-8: it takes them.
trait FromBytes: Sized {
    fn from_reader_bytes(bytes: &[u8]) -> Option<Self>;
}

impl FromBytes for procfs::process::Stat {
    fn from_reader_bytes(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        procfs::FromRead::from_read(text.as_bytes()).ok()
    }
}

fn credentials(dir: &Path) -> Option<Credentials> {
    let text = fs::read(dir.join("status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let ids = |key: &str| -> Option<Vec<u32>> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().map(|id| id.parse().ok()).collect()
    };
    let ([uid, euid, suid, _], [gid, egid, sgid, _]) =
        (ids("Uid:")?.try_into().ok()?, ids("Gid:")?.try_into().ok()?);
    let login_uid = fs::read_to_string(dir.join("loginuid")).ok().and_then(|text| text.trim().parse().ok());
    Some(Credentials {
        uid,
        gid,
        euid,
        egid,
        suid,
        sgid,
        login_uid: login_uid.filter(|&uid| uid != u32::MAX),
    })
}

/// The cgroup v2 line, else the longest v1 path: container runtimes put the same id in every v1 hierarchy.
fn cgroup_path(text: &str) -> Option<String> {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.nth(1)?))
        })
        .collect();
    let unified = lines.iter().find(|(id, _)| *id == "0").map(|(_, path)| *path).filter(|path| *path != "/");
    let longest = || lines.iter().map(|(_, path)| *path).max_by_key(|path| path.len());
    unified.or_else(longest).map(str::to_owned)
}

/// Where one of a process' links leads.
fn target(dir: &Path, link: &str) -> Option<String> {
    let link = dir.join(link);
    let target = fs::read_link(&link).ok()?;
    let text = String::from_utf8_lossy(target.as_os_str().as_bytes());
    // Following the link leads to the very file; following its text, to whatever has that name now.
    let file = |path: &Path| fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
    Some(path::from_proc(&text, |text| {
        let named = dir.join("root").join(text.trim_start_matches('/'));
        file(&link).is_some_and(|held| file(&named) == Some(held))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EnvAllow;

    #[test]
    fn a_name_is_completed_from_executable_or_arguments() {
        let check = |comm: &str, exe: Option<&str>, args: &[&str], expect: &str| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert_eq!(name(comm, exe, &args), expect);
        };
        check("bash", Some("/usr/bin/bash"), &["-bash"], "bash");
        check(
            "aws",
            Some("/usr/bin/python3.11"),
            &["/usr/bin/python3", "/usr/local/bin/aws", "s3", "ls"],
            "aws",
        );
        check("ssm-document-wo", Some("/usr/bin/ssm-document-worker"), &[], "ssm-document-worker");
        check("3", Some("memfd:evil"), &["x"], "memfd:evil");
        check("3", Some("/usr/bin/python3"), &["/usr/bin/python3", "/dev/fd/3"], "3");
        check("kworker/0:1", None, &[], "kworker/0:1");
        check("nginx-renamed", Some("/usr/sbin/nginx"), &["nginx: worker"], "nginx-renamed");
    }

    #[test]
    fn cgroup_prefers_the_unified_path() {
        assert_eq!(cgroup_path("0::/system.slice/x.service\n").as_deref(), Some("/system.slice/x.service"));
        assert_eq!(
            cgroup_path("9:name=systemd:/\n4:memory:/docker/abc\n0::/\n").as_deref(),
            Some("/docker/abc")
        );
        assert_eq!(cgroup_path(""), None);
    }

    #[test]
    fn this_process_is_read_as_it_is() {
        let proc = ProcFs::new("/proc", EnvAllow::default());
        let me = proc.one(Tgid(std::process::id())).expect("this process exists");
        assert_eq!(me.parent.map(|parent| parent.tgid.0), Some(std::os::unix::process::parent_id()));
        assert_eq!(me.image.args, std::env::args().collect());
        assert_eq!(me.image.executable.as_deref(), std::env::current_exe().expect("an executable").to_str());
        assert!(proc.all().iter().any(|process| process.tgid == me.tgid));
    }

    #[test]
    fn links_are_spelled_as_the_kernel_spells_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = dir.path().join("gone");
        fs::create_dir(&gone).expect("a directory");
        let kept = dir.path().join("kept (deleted)");
        fs::create_dir(&kept).expect("a directory");
        let cwd = |dir: &Path, then: &dyn Fn()| {
            let mut child =
                std::process::Command::new("sleep").arg("60").current_dir(dir).spawn().expect("sleep");
            then();
            let found = target(Path::new(&format!("/proc/{}", child.id())), "cwd");
            child.kill().and_then(|()| child.wait()).expect("a child");
            found.expect("a directory")
        };
        let remove = || fs::remove_dir(&gone).expect("empty");
        assert_eq!(
            cwd(&gone, &remove),
            fs::canonicalize(dir.path()).expect("a path").join("gone").to_str().expect("UTF-8")
        );
        assert_eq!(cwd(&kept, &|| ()), fs::canonicalize(&kept).expect("a path").to_str().expect("UTF-8"));
    }

    #[test]
    fn a_stranger_with_a_recycled_pid_is_no_parent() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |pid: u32, ppid: u32, start: u64| {
            fs::create_dir_all(dir.path().join(pid.to_string())).expect("a directory");
            let stat = format!(
                "{pid} (x) S {ppid} 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 {start} 1 1 1 1 1 1 1 1 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 0"
            );
            fs::write(dir.path().join(pid.to_string()).join("stat"), stat).expect("written");
        };
        write(10, 5, 100);
        write(5, 1, 101);
        let proc = ProcFs::new(dir.path(), EnvAllow::default());
        assert_eq!(proc.one(Tgid(10)).expect("readable").parent, None);
        write(5, 1, 100);
        assert_eq!(
            proc.one(Tgid(10)).expect("readable").parent,
            Some(ParentSnapshot { tgid: Tgid(5), start_ticks: 100 })
        );
    }
}
