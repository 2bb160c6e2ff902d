//! What the kernel said of the helper beside what `/proc` says of it, group by group. Pure but for [`Told::by_proc`].

use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sensor_ebpf::abi::connect::Connect;
use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::header::{Header, Key, flag};
use sensor_ebpf::abi::text::Walk;

use super::helper::Helper;
use super::{Finding, Group, Seen};
use crate::clock::BootNs;
use crate::decode::{self, Record};
use crate::loader::{cgroup2_root, is_in_root_pid_namespace};

/// The first user and cgroup namespaces (`include/linux/proc_ns.h`): elsewhere `/proc` shows other ids and paths.
const ROOT_USER_NAMESPACE: &str = "user:[4026531837]";
const ROOT_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";

const AF_INET: u16 = 2;
const TCP: u16 = 6;

/// Why a group is not compared.
type Reason = &'static str;

/// The helper as `/proc` and we ourselves know it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Process id, start ticks and parent's id, start ticks.
    pub(super) identity: Result<[(u32, u64); 2], Reason>,
    pub(super) pid: u32,
    /// uid, euid, suid, gid, egid, sgid.
    pub(super) ids: Result<[u32; 6], Reason>,
    pub(super) audit: Result<[u32; 2], Reason>,
    /// pid, mnt, net.
    pub(super) namespaces: Result<[u32; 3], Reason>,
    /// Session, process group.
    pub(super) session: Result<[u32; 2], Reason>,
    pub(super) tty: Option<(u32, u32)>,
    pub(super) cgroup: Result<(Option<u64>, String), Reason>,
    pub(super) args: Vec<String>,
    pub(super) exe: Result<(String, u64), Reason>,
    pub(super) cwd: Result<String, Reason>,
    pub(super) port: u16,
}

impl Told {
    /// # Errors
    /// Why nothing can be compared.
    pub(super) fn by_proc(proc: &Path, helper: &Helper) -> Result<Self, String> {
        let dir = proc.join(helper.id().to_string());
        let read = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).ok();
        let gone = || format!("\"{}\" cannot be read", dir.display());
        let stat = Stat::parse(&read(&dir, "stat").ok_or_else(gone)?).ok_or_else(gone)?;
        let own = read(&proc.join("self"), "stat").and_then(|text| Stat::parse(&text)).ok_or_else(gone)?;
        let link = |name: &str| fs::read_link(dir.join("ns").join(name)).ok();
        let inode = |name: &str| {
            let text = link(name)?.to_str()?.to_owned();
            text.strip_suffix(']')?.rsplit_once('[')?.1.parse::<u32>().ok()
        };
        let is = |name: &str, root: &str| link(name).is_none_or(|link| link.as_os_str() == root);
        let at_root = is_in_root_pid_namespace(proc) == Some(true);
        let elsewhere = "this is a container's pid namespace";
        let status = read(&dir, "status").unwrap_or_default();
        let ids = |key: &str| -> Option<[u32; 3]> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let mut ids = line.split_whitespace().map(|id| id.parse().ok());
            Some([ids.next()??, ids.next()??, ids.next()??])
        };
        let both = ids("Uid:").zip(ids("Gid:")).map(|([a, b, c], [d, e, f])| [a, b, c, d, e, f]);
        let number = |file: &str| read(&dir, file)?.trim().parse::<u32>().ok();
        Ok(Self {
            identity: if at_root {
                Ok([(helper.id(), stat.start), (std::process::id(), own.start)])
            } else {
                Err(elsewhere)
            },
            pid: helper.id(),
            ids: match both {
                _ if !is("user", ROOT_USER_NAMESPACE) => Err("this is a container's user namespace"),
                both => both.ok_or("/proc does not show them"),
            },
            audit: number("loginuid")
                .zip(number("sessionid"))
                .map(|(login, session)| [login, session])
                .ok_or("this kernel has no audit"),
            namespaces: (|| Some([inode("pid")?, inode("mnt")?, inode("net")?]))()
                .ok_or("/proc does not show them"),
            session: if at_root { Ok([stat.session, stat.group]) } else { Err(elsewhere) },
            tty: stat.tty,
            cgroup: if is("cgroup", ROOT_CGROUP_NAMESPACE) {
                cgroup(&read(&dir, "cgroup").unwrap_or_default())
            } else {
                Err("this is a container's cgroup namespace")
            },
            args: helper.args().to_vec(),
            exe: file(&dir.join("exe")).ok_or("/proc does not show it"),
            cwd: file(&dir.join("cwd")).map(|(path, _)| path).ok_or("/proc does not show it"),
            port: helper.port(),
        })
    }
}

/// Path of what a link of `/proc` leads to, and its inode.
fn file(link: &Path) -> Option<(String, u64)> {
    let path = fs::read_link(link).ok()?;
    Some((String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(), fs::metadata(link).ok()?.ino()))
}

fn cgroup(text: &str) -> Result<(Option<u64>, String), Reason> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).ok_or("there is no cgroup v2")?;
    let inode = cgroup2_root().and_then(|root| fs::metadata(root.join(path.trim_start_matches('/'))).ok());
    Ok((inode.map(|data| data.ino()), path.to_owned()))
}

/// The fields of `/proc/PID/stat` that are compared.
struct Stat {
    group: u32,
    session: u32,
    tty: Option<(u32, u32)>,
    start: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let tty = crate::process::Tty::from_stat(fields.get(4)?.parse().ok()?);
        Some(Self {
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            tty: tty.map(|tty| (tty.major, tty.minor)),
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

pub(super) fn compare(seen: &Seen, told: &Told) -> Vec<(Group, Finding)> {
    let exec = seen.exec.as_deref().and_then(|bytes| match decode::decode(bytes).ok()? {
        Record::Exec(exec, capture) => Some((capture.args(&exec).strings, exec)),
        _ => None,
    });
    let connect = seen.connect.as_deref().and_then(|bytes| match decode::decode(bytes).ok()? {
        Record::Connect(connect) => Some(connect),
        _ => None,
    });
    let of = |group: Group| match (group, &exec) {
        (Group::Socket, _) => socket(connect.as_ref(), told),
        (_, None) => Finding::Untested("its exec did not come in time".to_owned()),
        (group, Some((args, exec))) => of_exec(group, exec, args, told),
    };
    Group::ALL.iter().map(|group| (*group, of(*group))).collect()
}

fn of_exec(group: Group, exec: &Exec, args: &[String], told: &Told) -> Finding {
    let head = &exec.header;
    match group {
        Group::Identity => same(told.identity.as_ref(), &[named(head.process), named(head.parent)]),
        Group::Credentials => {
            same(told.ids.as_ref(), &[head.uid, head.euid, head.suid, head.gid, head.egid, head.sgid])
        }
        Group::Audit => same(told.audit.as_ref(), &[head.loginuid, head.sessionid]),
        Group::Namespaces => namespaces(head, told),
        Group::Session => match same(told.session.as_ref(), &[head.sid, head.pgid]) {
            Finding::Agrees => {
                let tty = (head.tty_major != 0).then_some((head.tty_major, head.tty_minor));
                same(Ok(&told.tty), &tty)
            }
            finding => finding,
        },
        Group::Cgroup => cgroups(exec, told),
        Group::Arguments => same(Ok(&&told.args[..]), &args.get(1..).unwrap_or_default()),
        Group::Executable => match &told.exe {
            Err(reason) => Finding::Untested((*reason).to_owned()),
            Ok((_, inode)) if *inode != exec.exe_inode => differ(inode, &exec.exe_inode),
            Ok((path, _)) => path_of(path, &exec.exe, head.flags & flag::EXE_TRUNCATED == 0),
        },
        Group::WorkingDirectory => match &told.cwd {
            Err(reason) => Finding::Untested((*reason).to_owned()),
            Ok(path) => path_of(path, &exec.cwd, head.flags & flag::CWD_TRUNCATED == 0),
        },
        Group::Socket => Finding::Untested("an exec has none".to_owned()),
    }
}

fn named(key: Key) -> (u32, u64) {
    (key.tgid, BootNs(key.start_boot_ns).ticks().0)
}

fn namespaces(head: &Header, told: &Told) -> Finding {
    let [pid_ns, mnt_ns, net_ns] = match told.namespaces {
        Ok(inodes) => inodes,
        Err(reason) => return Finding::Untested(reason.to_owned()),
    };
    // A kernel without network or pid namespaces shows no such field, and the record then has zero.
    let net_ns = if head.net_ns == 0 { 0 } else { net_ns };
    let pid_ns = if head.pid_ns == 0 { 0 } else { pid_ns };
    same(Ok(&[pid_ns, mnt_ns, net_ns, told.pid]), &[head.pid_ns, head.mnt_ns, head.net_ns, head.ns_tgid])
}

fn cgroups(exec: &Exec, told: &Told) -> Finding {
    match &told.cgroup {
        Err(reason) => Finding::Untested((*reason).to_owned()),
        Ok((Some(id), _)) if *id != exec.header.cgroup_id => differ(id, &exec.header.cgroup_id),
        Ok((_, path)) => {
            same(Ok(path), &decode::path(&exec.cgroup, exec.header.flags & flag::CGROUP_TRUNCATED == 0))
        }
    }
}

fn path_of<const N: usize>(told: &str, walk: &Walk<N>, is_whole: bool) -> Finding {
    let seen = decode::path(walk, is_whole);
    // Below a root of our own `/proc` shows less of the path; a walk that stopped early shows less of it too.
    let tail = seen.trim_start_matches('…');
    if seen.ends_with(told) || (!is_whole && tail.len() > 1 && told.ends_with(tail)) {
        return Finding::Agrees;
    }
    differ(&told, &seen)
}

fn socket(connect: Option<&Connect>, told: &Told) -> Finding {
    let Some(connect) = connect else {
        return Finding::Untested(
            "no connection attempt of its came in time: is the loopback up?".to_owned(),
        );
    };
    let address = connect.destination.first_chunk::<4>().copied().unwrap_or_default();
    let seen = (connect.family, connect.protocol, address, connect.destination_port);
    same(Ok(&(AF_INET, TCP, [127, 0, 0, 1], told.port)), &seen)
}

fn same<T: PartialEq + Debug>(told: Result<&T, &Reason>, seen: &T) -> Finding {
    match told {
        Err(reason) => Finding::Untested((*reason).to_owned()),
        Ok(told) if told == seen => Finding::Agrees,
        Ok(told) => differ(told, seen),
    }
}

fn differ(told: &impl Debug, seen: &impl Debug) -> Finding {
    Finding::Disagrees(format!("the kernel's record has {seen:?} where /proc has {told:?}"))
}

#[cfg(test)]
mod tests;
