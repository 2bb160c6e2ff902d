//! Facts about the machine that decide whether and how the programs can be loaded.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Version of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRelease {
    pub major: u32,
    pub minor: u32,
    /// As the kernel names itself, such as `6.1.0-50-cloud-amd64`.
    pub name: String,
}

impl KernelRelease {
    pub(crate) fn parse(name: &str) -> Self {
        let mut numbers = name.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { major, minor, name: name.to_owned() }
    }

    pub(crate) fn is_older_than(&self, version: (u32, u32)) -> bool {
        (self.major, self.minor) < version
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(super) fn kernel_release() -> KernelRelease {
    KernelRelease::parse(fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim())
}

/// True if lockdown keeps programs from reading kernel memory. In integrity mode they may.
pub(super) fn is_locked_down() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// Capabilities by number (`include/uapi/linux/capability.h`).
const CAP_SYS_ADMIN: u32 = 21;
const NEEDED: [(u32, &str); 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN")];

/// The capabilities that loading wants and this process lacks, or `None` if it has them all.
pub(super) fn missing_capabilities() -> Option<String> {
    missing_from(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn missing_from(status: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |capability: u32| effective & (1 << capability) != 0;
    let missing = NEEDED.iter().filter(|(number, _)| !has(*number) && !has(CAP_SYS_ADMIN));
    let names: Vec<&str> = missing.map(|(_, name)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The first pid namespace, `PROC_PID_INIT_INO` in `include/linux/proc_ns.h`.
const ROOT_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether the process that `proc` shows as `self` is in the host's pid namespace; nothing if it cannot be told.
pub fn is_in_root_pid_namespace(proc: &Path) -> Option<bool> {
    fs::read_link(proc.join("self/ns/pid")).ok().map(|link| link.as_os_str() == ROOT_PID_NAMESPACE)
}

/// Where the cgroup v2 hierarchy is mounted, whole if there is a choice.
pub fn cgroup2_root() -> Option<PathBuf> {
    cgroup2_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Directories looked at for one cgroup: more than a busy host has.
const MAX_CGROUPS: usize = 20_000;

/// Path of a cgroup inside its hierarchy, by the id that the kernel has for it: the inode of its directory.
pub fn cgroup_path(id: u64) -> Option<String> {
    path_of_inode(&cgroup2_root()?, id)
}

fn path_of_inode(root: &Path, inode: u64) -> Option<String> {
    let mut waiting = vec![root.to_owned()];
    for _ in 0..MAX_CGROUPS {
        let path = waiting.pop()?;
        if fs::metadata(&path).is_ok_and(|data| data.ino() == inode) {
            return Some(format!("/{}", path.strip_prefix(root).ok()?.display()));
        }
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        waiting.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    None
}

/// Fields by number as in proc(5): 4 is the part of the file system that is mounted, 5 the place, and the type
/// is the first after the separator.
fn cgroup2_in(mountinfo: &str) -> Option<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (part, place) = (fields.next()?, fields.next()?);
        rest.starts_with("cgroup2 ").then_some((part != "/", place))
    });
    mounts.min_by_key(|(is_part, _)| *is_part).map(|(_, place)| PathBuf::from(unescape(place)))
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(place: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(place.to_owned(), |place, (escape, plain)| place.replace(escape, plain))
}

/// Lifts the limit on locked memory, against which kernels before 5.11 count maps.
pub(super) fn raise_memlock() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid `rlimit` for the length of the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the system back what is free: at the start what reading the kernel's type information took, about 20 MB, and later what
/// a burst of events did.
pub(crate) fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_shapes_are_read() {
        let check = |name: &str, version| {
            let release = KernelRelease::parse(name);
            assert_eq!((release.major, release.minor), version, "{name}");
        };
        check("6.18.44", (6, 18));
        check("5.10.0-32-cloud-amd64", (5, 10));
        check("6.12.107+deb13-cloud-amd64", (6, 12));
        check("7.2-rc1", (7, 2));
        check("", (0, 0));
        assert!(KernelRelease::parse("5.4.0-1").is_older_than((5, 10)));
        assert!(!KernelRelease::parse("6.1.0").is_older_than((5, 10)));
    }

    #[test]
    fn missing_capabilities_are_named() {
        let status = |caps: &str| format!("Name:\tx\nCapEff:\t{caps}\nCapBnd:\t0\n");
        assert_eq!(missing_from(&status("000001ffffffffff")), None);
        assert_eq!(missing_from(&status("0000000000200000")), None);
        assert_eq!(missing_from(&status("0000004000000000")).as_deref(), Some("CAP_BPF, CAP_NET_ADMIN"));
        assert_eq!(
            missing_from(&status("0000000000000000")).as_deref(),
            Some("CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN")
        );
    }

    #[test]
    fn the_pid_namespace_is_told_by_its_inode() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("self/ns/pid");
        assert_eq!(is_in_root_pid_namespace(dir.path()), None);
        for (target, expect) in [("pid:[4026531836]", true), ("pid:[4026532201]", false)] {
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert_eq!(is_in_root_pid_namespace(dir.path()), Some(expect));
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn a_cgroup_is_found_by_its_inode() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(path_of_inode(dir.path(), inode(&inner)).as_deref(), Some("/a/b"));
        assert_eq!(path_of_inode(dir.path(), inode(dir.path())).as_deref(), Some("/"));
        assert_eq!(path_of_inode(dir.path(), u64::MAX), None);
    }

    #[test]
    fn the_whole_hierarchy_is_preferred_to_a_part() {
        let table = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                     31 30 0:27 /kubepods /mnt/part rw shared:9 - cgroup2 cgroup2 rw\n\
                     32 30 0:27 / /sys/fs/cgroup/uni\\040fied rw shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_in(table), Some(PathBuf::from("/sys/fs/cgroup/uni fied")));
        let part = table.lines().take(2).collect::<Vec<_>>().join("\n");
        assert_eq!(cgroup2_in(&part), Some(PathBuf::from("/mnt/part")));
        assert_eq!(cgroup2_in("30 24 0:26 / /sys rw - sysfs s rw\n"), None);
        assert_eq!(cgroup2_in("junk - cgroup2 x"), None);
    }
}
