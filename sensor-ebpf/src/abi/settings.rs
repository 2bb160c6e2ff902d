//! What the loader writes into the programs before the kernel verifies them: constants from then on.

/// An offset of a field that the running kernel does not have. The verifier prunes the branch that would
/// read it.
pub const ABSENT: u32 = u32::MAX;

/// An id that no process has.
pub const NOBODY: u32 = u32::MAX;

/// Name of the global that holds [`Offsets`] in the object.
pub const OFFSETS: &str = "OFFSETS";
/// Name of the global that holds [`Settings`].
pub const SETTINGS: &str = "SETTINGS";
/// Stands in the object's bytes before the [`super::VERSION`] it was built with (four bytes, little endian).
pub const MARKER: [u8; 16] = *b"groundtrail-abi:";

/// How this run behaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The sensor itself, in the root pid namespace: its connections are not reported. Its lineage always is.
    /// [`NOBODY`] if it does not know that id.
    pub own_tgid: u32,
    /// Bytes waiting in the ring from which on records wake the reader, and from which on each cgroup's share is
    /// counted.
    pub wake_bytes: u32,
    /// Bytes waiting from which on execs are captured in a smaller tier.
    pub degrade_bytes: u32,
    /// Bytes waiting from which on execs are captured in the smallest tier.
    pub minimal_bytes: u32,
    /// Bytes waiting from which on a cgroup that has taken more than its share gets headers for its execs and
    /// nothing for what is not lineage.
    pub crowded_bytes: u32,
    /// Bytes waiting from which on such a cgroup's lineage goes to the ring of its own.
    pub reserved_bytes: u32,
    /// Bytes waiting in that ring from which on such a cgroup gets nothing.
    pub lineage_reserved_bytes: u32,
    /// Bytes written over which a share is counted.
    pub window_bytes: u32,
    /// Bytes of a window that are more than a share.
    pub share_bytes: u32,
    /// 1 if `sched_process_exit` passes `group_dead` (kernel 6.13 and newer).
    pub exit_has_group_dead: u32,
    /// 1 if the kernel has `bpf_get_current_task_btf` (5.11 and newer).
    pub has_typed_current: u32,
    /// 1 if tracing programs can ask for a socket's cookie (5.12 and newer).
    pub has_socket_cookie: u32,
}

impl Settings {
    /// What stands in the object before the loader sets it.
    pub const ZERO: Self = Self {
        own_tgid: 0,
        wake_bytes: 0,
        degrade_bytes: 0,
        minimal_bytes: 0,
        crowded_bytes: 0,
        reserved_bytes: 0,
        lineage_reserved_bytes: 0,
        window_bytes: 0,
        share_bytes: 0,
        exit_has_group_dead: 0,
        has_typed_current: 0,
        has_socket_cookie: 0,
    };

    /// The marks for a ring of this size and a lineage ring of that.
    pub const fn for_rings(ring: u32, lineage: u32) -> Self {
        Self {
            wake_bytes: ring / 4,
            degrade_bytes: ring / 2,
            minimal_bytes: ring / 5 * 4,
            // What is above is the part of those who did not fill the ring.
            crowded_bytes: ring / 4 * 3,
            reserved_bytes: ring / 8 * 7,
            lineage_reserved_bytes: lineage / 4 * 3,
            window_bytes: ring / 2,
            share_bytes: ring / 16,
            ..Self::ZERO
        }
    }
}

/// Where the running kernel keeps its fields: bytes from the start of the struct, [`ABSENT`] if it has none.
///
/// A field that is named `a_b` is `b` of `struct a`; the loader's table gives the exact path.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Offsets {
    pub task_flags: u32,
    pub task_pid: u32,
    pub task_tgid: u32,
    pub task_group_leader: u32,
    pub task_real_parent: u32,
    pub task_start_boottime: u32,
    pub task_cred: u32,
    pub task_comm: u32,
    pub task_mm: u32,
    pub task_fs: u32,
    pub task_nsproxy: u32,
    pub task_signal: u32,
    pub task_thread_pid: u32,
    pub task_cgroups: u32,
    pub task_exit_code: u32,
    pub task_loginuid: u32,
    pub task_sessionid: u32,
    pub cred_uid: u32,
    pub cred_gid: u32,
    pub cred_euid: u32,
    pub cred_egid: u32,
    pub cred_suid: u32,
    pub cred_sgid: u32,
    pub cred_cap_effective: u32,
    pub cred_cap_permitted: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub mm_env_start: u32,
    pub mm_env_end: u32,
    pub fs_pwd: u32,
    pub fs_root: u32,
    pub nsproxy_mnt_ns: u32,
    pub nsproxy_net_ns: u32,
    pub mnt_ns_inum: u32,
    pub net_inum: u32,
    pub pid_ns_inum: u32,
    pub signal_live: u32,
    pub signal_flags: u32,
    pub signal_group_exit_code: u32,
    pub signal_pids: u32,
    pub signal_tty: u32,
    pub tty_driver: u32,
    pub tty_index: u32,
    pub tty_driver_major: u32,
    pub tty_driver_minor_start: u32,
    pub pid_level: u32,
    pub pid_numbers: u32,
    pub upid_nr: u32,
    pub upid_ns: u32,
    /// Size of `struct upid`, the stride of `pid.numbers`.
    pub upid_size: u32,
    pub css_set_dfl_cgrp: u32,
    pub cgroup_kn: u32,
    pub kernfs_id: u32,
    pub kernfs_name: u32,
    pub kernfs_parent: u32,
    pub bprm_file: u32,
    pub bprm_filename: u32,
    pub bprm_interp: u32,
    pub file_path: u32,
    pub file_inode: u32,
    pub file_mode: u32,
    pub inode_ino: u32,
    pub inode_nlink: u32,
    pub inode_mode: u32,
    pub inode_sb: u32,
    pub sb_dev: u32,
    pub path_mnt: u32,
    pub path_dentry: u32,
    pub dentry_parent: u32,
    pub dentry_name: u32,
    pub dentry_inode: u32,
    pub dentry_sb: u32,
    pub vfsmount_root: u32,
    pub vfsmount_sb: u32,
    pub mount_mnt: u32,
    pub mount_parent: u32,
    pub mount_mountpoint: u32,
    pub sock_family: u32,
    pub sock_protocol: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_dport: u32,
    pub sock_num: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_cookie: u32,
    pub sock_err: u32,
}

impl Offsets {
    /// The same value in every place: a start to fill in.
    pub const fn filled(value: u32) -> Self {
        Self {
            task_flags: value,
            task_pid: value,
            task_tgid: value,
            task_group_leader: value,
            task_real_parent: value,
            task_start_boottime: value,
            task_cred: value,
            task_comm: value,
            task_mm: value,
            task_fs: value,
            task_nsproxy: value,
            task_signal: value,
            task_thread_pid: value,
            task_cgroups: value,
            task_exit_code: value,
            task_loginuid: value,
            task_sessionid: value,
            cred_uid: value,
            cred_gid: value,
            cred_euid: value,
            cred_egid: value,
            cred_suid: value,
            cred_sgid: value,
            cred_cap_effective: value,
            cred_cap_permitted: value,
            mm_arg_start: value,
            mm_arg_end: value,
            mm_env_start: value,
            mm_env_end: value,
            fs_pwd: value,
            fs_root: value,
            nsproxy_mnt_ns: value,
            nsproxy_net_ns: value,
            mnt_ns_inum: value,
            net_inum: value,
            pid_ns_inum: value,
            signal_live: value,
            signal_flags: value,
            signal_group_exit_code: value,
            signal_pids: value,
            signal_tty: value,
            tty_driver: value,
            tty_index: value,
            tty_driver_major: value,
            tty_driver_minor_start: value,
            pid_level: value,
            pid_numbers: value,
            upid_nr: value,
            upid_ns: value,
            upid_size: value,
            css_set_dfl_cgrp: value,
            cgroup_kn: value,
            kernfs_id: value,
            kernfs_name: value,
            kernfs_parent: value,
            bprm_file: value,
            bprm_filename: value,
            bprm_interp: value,
            file_path: value,
            file_inode: value,
            file_mode: value,
            inode_ino: value,
            inode_nlink: value,
            inode_mode: value,
            inode_sb: value,
            sb_dev: value,
            path_mnt: value,
            path_dentry: value,
            dentry_parent: value,
            dentry_name: value,
            dentry_inode: value,
            dentry_sb: value,
            vfsmount_root: value,
            vfsmount_sb: value,
            mount_mnt: value,
            mount_parent: value,
            mount_mountpoint: value,
            sock_family: value,
            sock_protocol: value,
            sock_daddr: value,
            sock_rcv_saddr: value,
            sock_dport: value,
            sock_num: value,
            sock_v6_daddr: value,
            sock_v6_rcv_saddr: value,
            sock_cookie: value,
            sock_err: value,
        }
    }
}

const _: () = assert!(size_of::<Settings>() == 48);
const _: () = assert!(size_of::<Offsets>() == 87 * 4);
