//! The kernel fields that the programs read: where each lies on the running kernel.
//!
//! Names that changed between 5.10 and 7.2 are listed with their alternatives; fields that a kernel may be
//! built without are optional.

use sensor_ebpf::abi::settings::{ABSENT, Offsets};

use crate::btf::{Btf, BtfError};

/// Resolved offsets, and the optional fields this kernel lacks.
pub struct Resolved {
    pub offsets: Offsets,
    pub absent: Vec<&'static str>,
}

struct Field {
    slot: fn(&mut Offsets) -> &mut u32,
    /// Newest name first.
    paths: &'static [&'static str],
    is_required: bool,
}

const fn need(slot: fn(&mut Offsets) -> &mut u32, paths: &'static [&'static str]) -> Field {
    Field { slot, paths, is_required: true }
}

const fn want(slot: fn(&mut Offsets) -> &mut u32, paths: &'static [&'static str]) -> Field {
    Field { slot, paths, is_required: false }
}

/// Every offset but `upid_size`, which is a size.
const FIELDS: [Field; 86] = [
    need(|o| &mut o.task_flags, &["task_struct.flags"]),
    need(|o| &mut o.task_pid, &["task_struct.pid"]),
    need(|o| &mut o.task_tgid, &["task_struct.tgid"]),
    need(|o| &mut o.task_group_leader, &["task_struct.group_leader"]),
    need(|o| &mut o.task_real_parent, &["task_struct.real_parent"]),
    need(|o| &mut o.task_start_boottime, &["task_struct.start_boottime"]),
    need(|o| &mut o.task_cred, &["task_struct.cred"]),
    need(|o| &mut o.task_comm, &["task_struct.comm"]),
    need(|o| &mut o.task_mm, &["task_struct.mm"]),
    need(|o| &mut o.task_fs, &["task_struct.fs"]),
    need(|o| &mut o.task_nsproxy, &["task_struct.nsproxy"]),
    need(|o| &mut o.task_signal, &["task_struct.signal"]),
    need(|o| &mut o.task_thread_pid, &["task_struct.thread_pid"]),
    want(|o| &mut o.task_cgroups, &["task_struct.cgroups"]),
    need(|o| &mut o.task_exit_code, &["task_struct.exit_code"]),
    want(|o| &mut o.task_loginuid, &["task_struct.loginuid.val"]),
    want(|o| &mut o.task_sessionid, &["task_struct.sessionid"]),
    need(|o| &mut o.cred_uid, &["cred.uid.val"]),
    need(|o| &mut o.cred_gid, &["cred.gid.val"]),
    need(|o| &mut o.cred_euid, &["cred.euid.val"]),
    need(|o| &mut o.cred_egid, &["cred.egid.val"]),
    need(|o| &mut o.cred_suid, &["cred.suid.val"]),
    need(|o| &mut o.cred_sgid, &["cred.sgid.val"]),
    need(|o| &mut o.cred_cap_effective, &["cred.cap_effective"]),
    need(|o| &mut o.cred_cap_permitted, &["cred.cap_permitted"]),
    need(|o| &mut o.mm_arg_start, &["mm_struct.arg_start"]),
    need(|o| &mut o.mm_arg_end, &["mm_struct.arg_end"]),
    need(|o| &mut o.mm_env_start, &["mm_struct.env_start"]),
    need(|o| &mut o.mm_env_end, &["mm_struct.env_end"]),
    need(|o| &mut o.fs_pwd, &["fs_struct.pwd"]),
    need(|o| &mut o.fs_root, &["fs_struct.root"]),
    need(|o| &mut o.nsproxy_mnt_ns, &["nsproxy.mnt_ns"]),
    want(|o| &mut o.nsproxy_net_ns, &["nsproxy.net_ns"]),
    need(|o| &mut o.mnt_ns_inum, &["mnt_namespace.ns.inum"]),
    want(|o| &mut o.net_inum, &["net.ns.inum"]),
    want(|o| &mut o.pid_ns_inum, &["pid_namespace.ns.inum"]),
    need(|o| &mut o.signal_live, &["signal_struct.live.counter"]),
    need(|o| &mut o.signal_flags, &["signal_struct.flags"]),
    need(|o| &mut o.signal_group_exit_code, &["signal_struct.group_exit_code"]),
    need(|o| &mut o.signal_pids, &["signal_struct.pids"]),
    want(|o| &mut o.signal_tty, &["signal_struct.tty"]),
    want(|o| &mut o.tty_driver, &["tty_struct.driver"]),
    want(|o| &mut o.tty_index, &["tty_struct.index"]),
    want(|o| &mut o.tty_driver_major, &["tty_driver.major"]),
    want(|o| &mut o.tty_driver_minor_start, &["tty_driver.minor_start"]),
    need(|o| &mut o.pid_level, &["pid.level"]),
    need(|o| &mut o.pid_numbers, &["pid.numbers"]),
    need(|o| &mut o.upid_nr, &["upid.nr"]),
    need(|o| &mut o.upid_ns, &["upid.ns"]),
    want(|o| &mut o.css_set_dfl_cgrp, &["css_set.dfl_cgrp"]),
    want(|o| &mut o.cgroup_kn, &["cgroup.kn"]),
    want(|o| &mut o.kernfs_id, &["kernfs_node.id"]),
    want(|o| &mut o.kernfs_name, &["kernfs_node.name"]),
    // 6.15 put underscores before it, to keep people from reading it without RCU.
    want(|o| &mut o.kernfs_parent, &["kernfs_node.__parent", "kernfs_node.parent"]),
    need(|o| &mut o.bprm_file, &["linux_binprm.file"]),
    need(|o| &mut o.bprm_filename, &["linux_binprm.filename"]),
    need(|o| &mut o.bprm_interp, &["linux_binprm.interp"]),
    need(|o| &mut o.file_path, &["file.f_path", "file.__f_path"]),
    need(|o| &mut o.file_inode, &["file.f_inode"]),
    need(|o| &mut o.file_mode, &["file.f_mode"]),
    need(|o| &mut o.inode_ino, &["inode.i_ino"]),
    need(|o| &mut o.inode_nlink, &["inode.i_nlink", "inode.__i_nlink"]),
    need(|o| &mut o.inode_mode, &["inode.i_mode"]),
    need(|o| &mut o.inode_sb, &["inode.i_sb"]),
    need(|o| &mut o.sb_dev, &["super_block.s_dev"]),
    need(|o| &mut o.path_mnt, &["path.mnt"]),
    need(|o| &mut o.path_dentry, &["path.dentry"]),
    need(|o| &mut o.dentry_parent, &["dentry.d_parent"]),
    need(|o| &mut o.dentry_name, &["dentry.d_name.name", "dentry.__d_name.name"]),
    need(|o| &mut o.dentry_inode, &["dentry.d_inode"]),
    need(|o| &mut o.dentry_sb, &["dentry.d_sb"]),
    need(|o| &mut o.vfsmount_sb, &["vfsmount.mnt_sb"]),
    need(|o| &mut o.vfsmount_root, &["vfsmount.mnt_root"]),
    need(|o| &mut o.mount_mnt, &["mount.mnt"]),
    need(|o| &mut o.mount_parent, &["mount.mnt_parent"]),
    need(|o| &mut o.mount_mountpoint, &["mount.mnt_mountpoint"]),
    need(|o| &mut o.sock_family, &["sock.__sk_common.skc_family"]),
    need(|o| &mut o.sock_protocol, &["sock.sk_protocol"]),
    need(|o| &mut o.sock_daddr, &["sock.__sk_common.skc_daddr"]),
    need(|o| &mut o.sock_rcv_saddr, &["sock.__sk_common.skc_rcv_saddr"]),
    need(|o| &mut o.sock_dport, &["sock.__sk_common.skc_dport"]),
    need(|o| &mut o.sock_num, &["sock.__sk_common.skc_num"]),
    want(|o| &mut o.sock_v6_daddr, &["sock.__sk_common.skc_v6_daddr"]),
    want(|o| &mut o.sock_v6_rcv_saddr, &["sock.__sk_common.skc_v6_rcv_saddr"]),
    want(|o| &mut o.sock_cookie, &["sock.__sk_common.skc_cookie"]),
    want(|o| &mut o.sock_err, &["sock.sk_err"]),
];

/// Looks up every field.
///
/// # Errors
/// The first required field that this kernel does not have, under its newest name.
pub fn resolve(btf: &Btf<'_>) -> Result<Resolved, BtfError> {
    let mut offsets = ABSENT_OFFSETS;
    let mut absent = Vec::new();
    offsets.upid_size = btf.size("upid")?;
    for field in &FIELDS {
        let mut answers = field.paths.iter().map(|path| btf.offset(path));
        let first = answers.next().unwrap_or_else(|| Err(BtfError::NoType(String::new())));
        match first.or_else(|err| answers.find_map(Result::ok).ok_or(err)) {
            Ok(offset) => *(field.slot)(&mut offsets) = offset,
            Err(err) if field.is_required => return Err(err),
            Err(_) => absent.extend(field.paths.first()),
        }
    }
    Ok(Resolved { offsets, absent })
}

const ABSENT_OFFSETS: Offsets = Offsets::filled(ABSENT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::KERNEL_BTF;

    #[test]
    fn the_table_fills_every_slot_once() {
        let mut offsets = Offsets::filled(0);
        for field in &FIELDS {
            *(field.slot)(&mut offsets) += 1;
        }
        offsets.upid_size += 1;
        assert_eq!(format!("{offsets:?}"), format!("{:?}", Offsets::filled(1)));
    }

    #[test]
    fn the_running_kernel_has_what_is_required() {
        let Ok(bytes) = std::fs::read(KERNEL_BTF) else {
            println!("skipped: this kernel shows no {KERNEL_BTF}");
            return;
        };
        let resolved = resolve(&Btf::parse(&bytes).unwrap()).unwrap();
        assert_ne!(resolved.offsets.task_tgid, ABSENT);
    }
}
