//! What every record says about the process it is about.

/// `Header::kind` values. Zero is never written, so that cleared memory is not a record.
pub mod kind {
    pub const EXEC: u32 = 1;
    pub const FORK: u32 = 2;
    pub const EXIT: u32 = 3;
    pub const CONNECT: u32 = 4;
    /// What became of a TCP attempt.
    pub const RESULT: u32 = 5;
    /// A connection that was taken.
    pub const ACCEPT: u32 = 6;
    pub const FILE: u32 = 7;
    /// A word with the metadata service.
    pub const EXCHANGE: u32 = 8;
}

/// `Header::flags` bits: what this record could not hold, and what is special about it.
pub mod flag {
    /// Some of the argument block could not be read: see `Exec::gaps`.
    pub const ARGS_FAULT: u32 = 1 << 0;
    /// The arguments are longer than what was captured; `args_len` is the true length.
    pub const ARGS_TRUNCATED: u32 = 1 << 1;
    /// The environment is longer than what was captured; `env_len` is the true length.
    pub const ENV_TRUNCATED: u32 = 1 << 2;
    /// The walk to the executable's root stopped early: depth, room or a failed read.
    pub const EXE_TRUNCATED: u32 = 1 << 3;
    /// The same for the working directory.
    pub const CWD_TRUNCATED: u32 = 1 << 4;
    /// The same for the cgroup path.
    pub const CGROUP_TRUNCATED: u32 = 1 << 5;
    /// `Exec::filename` fills its room: the rest of the path is missing.
    pub const FILENAME_TRUNCATED: u32 = 1 << 6;
    /// `Exec::interp` fills its room.
    pub const INTERP_TRUNCATED: u32 = 1 << 7;
    /// The executable hangs in no directory tree (memfd and the like); its one name is all there is.
    pub const EXE_DETACHED: u32 = 1 << 8;
    /// The executable has no name left on its file system.
    pub const EXE_DELETED: u32 = 1 << 9;
    /// A field of the header could not be read and is zero.
    pub const TASK_FAULT: u32 = 1 << 10;
    /// The ring was filling up, so the argument block was captured in a smaller tier than it needs.
    pub const DEGRADED: u32 = 1 << 11;
    /// The peer is a metadata or credential service of the cloud; the record wakes the reader at once.
    pub const METADATA_SERVICE: u32 = 1 << 12;
    /// `filename` and the mapped executable differ because the kernel went through an interpreter (`#!`).
    pub const SCRIPT: u32 = 1 << 13;
    /// The task is the kernel's own and runs no program.
    pub const KERNEL_THREAD: u32 = 1 << 14;
    /// The ring was so full that an exec is this header and nothing else.
    pub const HEADER_ONLY: u32 = 1 << 15;
    /// The walk to a file's root stopped early, or its mount is not known: then it ends at its file system's root.
    pub const PATH_TRUNCATED: u32 = 1 << 16;
    /// The same for `File::old_path`.
    pub const OLD_PATH_TRUNCATED: u32 = 1 << 17;
}

/// Value of an id that the kernel has not set (audit's `loginuid` and `sessionid`), or does not have.
pub const UNSET: u32 = u32::MAX;

/// Names a process for as long as the machine is up.
///
/// A thread group id alone comes round again; with the start time of the group's leader it does not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Start of the thread group's leader. Unit: nanoseconds since boot, suspend included. The floor of
    /// this over a clock tick (10 ms) is field 22 of `/proc/PID/stat`.
    pub start_boot_ns: u64,
    pub tgid: u32,
    pub _pad: u32,
}

/// First part of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u32,
    /// Bytes reserved in the ring for this record, header included.
    pub size: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Thread that acted, in the root pid namespace.
    pub tid: u32,
    /// Time the kernel saw the event. Unit: nanoseconds since boot. Source: `bpf_ktime_get_boot_ns`.
    pub boot_ns: u64,
    /// The process this record is about. In a fork record: the child.
    pub process: Key,
    /// Its parent now: `group_leader->real_parent->group_leader`, so never a thread. Zero for none.
    pub parent: Key,
    /// Id of the cgroup v2 the process is in (inode of its directory); 0 if the kernel has none.
    pub cgroup_id: u64,
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    /// Audit login uid, or [`UNSET`].
    pub loginuid: u32,
    /// Audit session, or [`UNSET`].
    pub sessionid: u32,
    /// Inode numbers of the namespaces, as `/proc/PID/ns/*` shows them.
    pub pid_ns: u32,
    pub mnt_ns: u32,
    pub net_ns: u32,
    /// The process's id inside its own pid namespace.
    pub ns_tgid: u32,
    /// Session leader's and process group's ids in the root pid namespace.
    pub sid: u32,
    pub pgid: u32,
    /// Controlling terminal; both 0 for none.
    pub tty_major: u32,
    pub tty_minor: u32,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; 16],
}

impl Header {
    /// The thread's name without its padding.
    pub fn comm(&self) -> &[u8] {
        self.comm.split(|&byte| byte == 0).next().unwrap_or(&[])
    }
}

const _: () = assert!(size_of::<Key>() == 16);
const _: () = assert!(size_of::<Header>() == 144 && align_of::<Header>() == 8);
const _: () = assert!(core::mem::offset_of!(Header, boot_ns) == 16);
const _: () = assert!(core::mem::offset_of!(Header, uid) == 64);
const _: () = assert!(core::mem::offset_of!(Header, comm) == 128);
