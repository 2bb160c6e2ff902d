//! Groups of fields that stand or fall together, and what a record looks like without one.

use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::header::{Header, Key, UNSET, flag};
use sensor_ebpf::abi::text::Walk;

use crate::decode::Record;

/// Fields that come from the same few offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Identity,
    Credentials,
    Audit,
    Namespaces,
    Session,
    Cgroup,
    Arguments,
    Executable,
    WorkingDirectory,
    Socket,
}

impl Group {
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::Credentials,
        Self::Audit,
        Self::Namespaces,
        Self::Session,
        Self::Cgroup,
        Self::Arguments,
        Self::Executable,
        Self::WorkingDirectory,
        Self::Socket,
    ];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "process ids, start times and parents",
            Self::Credentials => "user and group ids",
            Self::Audit => "login user and audit session",
            Self::Namespaces => "namespaces",
            Self::Session => "terminal, session and process group",
            Self::Cgroup => "cgroup",
            Self::Arguments => "arguments and environment",
            Self::Executable => "executable",
            Self::WorkingDirectory => "working directory",
            Self::Socket => "socket addresses",
        }
    }
}

/// A set of groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups(u16);

impl FromIterator<Group> for Groups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        Self(groups.into_iter().fold(0, |bits, group| bits | 1 << group as u16))
    }
}

impl Groups {
    pub fn has(self, group: Group) -> bool {
        self.0 & 1 << group as u16 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The record as if the kernel had not said what these groups hold.
    pub fn blank(self, record: &mut Record<'_>) {
        self.blank_header(record.header_mut());
        match record {
            Record::Exec(exec, _) => self.blank_exec(exec),
            Record::Fork(fork) if self.has(Group::Identity) => fork.caller = fork.header.process,
            Record::Connect(connect) | Record::Result(connect) if self.has(Group::Socket) => {
                (connect.family, connect.protocol) = (0, 0);
                (connect.source_port, connect.destination_port) = (0, 0);
                (connect.source, connect.destination) = ([0; 16], [0; 16]);
            }
            _ => {}
        }
    }

    fn blank_header(self, head: &mut Header) {
        if self.has(Group::Identity) {
            // Its own key names it whatever it is made of; a wrong parent would be a lie about somebody else.
            head.parent = Key::default();
        }
        if self.has(Group::Audit) {
            (head.loginuid, head.sessionid) = (UNSET, UNSET);
        }
        if self.has(Group::Namespaces) {
            (head.pid_ns, head.mnt_ns, head.net_ns, head.ns_tgid) = (0, 0, 0, 0);
        }
        if self.has(Group::Session) {
            (head.tty_major, head.tty_minor, head.sid, head.pgid) = (0, 0, 0, 0);
        }
        if self.has(Group::Cgroup) {
            head.cgroup_id = 0;
        }
    }

    fn blank_exec(self, exec: &mut Exec) {
        let flags = &mut exec.header.flags;
        if self.has(Group::Cgroup) {
            empty(&mut exec.cgroup);
            *flags &= !flag::CGROUP_TRUNCATED;
        }
        if self.has(Group::Arguments) {
            (exec.args_len, exec.env_len, exec.captured, exec.gaps) = (0, 0, 0, 0);
            *flags |= flag::ARGS_TRUNCATED | flag::ENV_TRUNCATED;
        }
        if self.has(Group::Executable) {
            empty(&mut exec.exe);
            (exec.exe_inode, exec.exe_dev, exec.exe_nlink, exec.exe_mode) = (0, 0, 0, 0);
            *flags &= !(flag::EXE_DETACHED | flag::EXE_DELETED);
            *flags |= flag::EXE_TRUNCATED;
        }
        if self.has(Group::WorkingDirectory) {
            empty(&mut exec.cwd);
            *flags |= flag::CWD_TRUNCATED;
        }
    }
}

fn empty<const N: usize>(walk: &mut Walk<N>) {
    (walk.len, walk.depth) = (0, 0);
}
