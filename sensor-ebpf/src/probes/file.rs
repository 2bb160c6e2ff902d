//! Files on watched paths.
//!
//! The hooks stand behind the kernel's own permission checks, and all but the open's behind those of its security
//! modules: what is told was allowed. They cost what they cost on every open, so they do little until a name fits.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use sensor_ebpf::abi::file::{File, MAX_ABOVE, NameKey, op, watch};
use sensor_ebpf::abi::header::flag;

use crate::emit::{self, raise};
use crate::kernel::path::{self, Ended};
use crate::kernel::{Access, Ptr, Typed, copy_name, task};
use crate::maps::{WATCHED, called, offset, setting};

/// Bits of `f_mode` (`include/linux/fs.h`), the same from 5.10 to 7.2.
const FMODE_WRITE: u32 = 1 << 1;
const FMODE_CREATED: u32 = 1 << 20;

/// Bits of `i_mode`.
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// Runs for each open, io_uring's too, once the file's own permissions have allowed it.
///
/// Prototype, 5.10 to 7.2: `int security_file_open(struct file *file)`.
#[fentry(function = "security_file_open")]
fn security_file_open(ctx: FEntryContext) -> i32 {
    called!(security_file_open);
    opened(ctx.arg(0));
    0
}

/// Prototype, 5.10 to 7.2: `int security_inode_unlink(struct inode *dir, struct dentry *dentry)`.
#[fexit(function = "security_inode_unlink")]
fn security_inode_unlink(ctx: FExitContext) -> i32 {
    called!(security_inode_unlink);
    let dentry: Ptr = ctx.arg(1);
    if ctx.arg::<i32>(2) == 0 && is_change_watched(dentry) {
        report(op::DELETE, dentry, None, None);
    }
    0
}

/// Prototype, 5.10 to 7.2: `int security_inode_rename(struct inode *old_dir, struct dentry *old_dentry, struct inode
/// *new_dir, struct dentry *new_dentry, unsigned int flags)`.
#[fexit(function = "security_inode_rename")]
fn security_inode_rename(ctx: FExitContext) -> i32 {
    called!(security_inode_rename);
    let (old, new): (Ptr, Ptr) = (ctx.arg(1), ctx.arg(3));
    if ctx.arg::<i32>(5) == 0 && (is_change_watched(old) || is_change_watched(new)) {
        report(op::RENAME, new, Some(old), None);
    }
    0
}

/// Prototype, 5.10 to 7.2: `int security_inode_link(struct dentry *old_dentry, struct inode *dir, struct dentry
/// *new_dentry)`.
#[fexit(function = "security_inode_link")]
fn security_inode_link(ctx: FExitContext) -> i32 {
    called!(security_inode_link);
    let (old, new): (Ptr, Ptr) = (ctx.arg(0), ctx.arg(2));
    if ctx.arg::<i32>(3) == 0 && is_change_watched(new) {
        report(op::LINK, new, Some(old), None);
    }
    0
}

/// Prototype, 5.10 to 7.2: `int security_inode_symlink(struct inode *dir, struct dentry *dentry, const char *old_name)`.
#[fexit(function = "security_inode_symlink")]
fn security_inode_symlink(ctx: FExitContext) -> i32 {
    called!(security_inode_symlink);
    let dentry: Ptr = ctx.arg(1);
    if ctx.arg::<i32>(3) == 0 && is_change_watched(dentry) {
        report(op::SYMLINK, dentry, None, None);
    }
    0
}

#[inline(always)]
fn opened(file: Ptr) {
    let Some(mode) = Typed::load::<u32>(file, offset!(file_mode)) else { return };
    let Some(dentry) = Typed::load::<Ptr>(file, offset!(file_path) + offset!(path_dentry)) else { return };
    let is_change = mode & (FMODE_WRITE | FMODE_CREATED) != 0;
    let is_watched = if is_change { is_change_watched(dentry) } else { is_read_watched(dentry) };
    if !is_watched {
        return;
    }
    let kind = Typed::load::<Ptr>(file, offset!(file_inode))
        .and_then(|inode| Typed::load::<u16>(inode, offset!(inode_mode)));
    if kind.is_none_or(|mode| u32::from(mode) & S_IFMT != S_IFREG) {
        return;
    }
    let op = match mode {
        _ if mode & FMODE_CREATED != 0 => op::CREATE,
        _ if is_change => op::WRITE,
        _ => op::READ,
    };
    let mount = Typed::load::<Ptr>(file, offset!(file_path) + offset!(path_mnt));
    report(op, dentry, None, mount);
}

/// Whether a change of this file may be of interest: its name is, or a directory's above it.
#[inline(always)]
fn is_change_watched(dentry: Ptr) -> bool {
    if bits(dentry) & watch::FILE != 0 {
        return true;
    }
    let mut dentry = dentry;
    for _ in 0..MAX_ABOVE {
        let Some(above) = Typed::load::<Ptr>(dentry, offset!(dentry_parent)) else { return false };
        if above == dentry {
            return false;
        }
        if bits(above) & watch::FOLDER != 0 {
            return true;
        }
        dentry = above;
    }
    false
}

#[inline(always)]
fn is_read_watched(dentry: Ptr) -> bool {
    let is_folder_watched = || {
        let above = Typed::load::<Ptr>(dentry, offset!(dentry_parent));
        above.is_some_and(|above| bits(above) & watch::READ_FOLDER != 0)
    };
    bits(dentry) & watch::READ_FILE != 0 || is_folder_watched()
}

/// What the dentry's name is looked for as.
#[inline(always)]
fn bits(dentry: Ptr) -> u32 {
    let Some(name) = Typed::load::<Ptr>(dentry, offset!(dentry_name)) else { return 0 };
    let mut key: NameKey = [0; 16];
    copy_name(&mut key, name);
    // SAFETY: the value is copied at once, and nobody writes it while the programs run.
    unsafe { WATCHED.get(key) }.copied().unwrap_or(0)
}

#[inline(always)]
fn report(op: u32, dentry: Ptr, old: Option<Ptr>, mount: Option<Ptr>) {
    if task::current_tgid() == setting!(own_tgid) {
        return;
    }
    emit::record(|file: &mut File| {
        (file.op, file._pad) = (op, 0);
        task::describe_current(&mut file.header, flag::TASK_FAULT)?;
        inode(file, dentry);
        let sb = Typed::load::<Ptr>(dentry, offset!(dentry_sb)).unwrap_or(core::ptr::null());
        let mount = mount.or_else(|| path::mount_of(sb)).unwrap_or(core::ptr::null());
        if path::walk_from(&mut file.path, dentry, mount) != Ended::Complete {
            raise(&mut file.header, flag::PATH_TRUNCATED);
        }
        (file.old_path.len, file.old_path.depth) = (0, 0);
        if let Some(old) = old
            && path::walk_from(&mut file.old_path, old, mount) != Ended::Complete
        {
            raise(&mut file.header, flag::OLD_PATH_TRUNCATED);
        }
        Some(())
    });
}

#[inline(always)]
fn inode(file: &mut File, dentry: Ptr) {
    (file.inode, file.dev, file.mode) = (0, 0, 0);
    if let Some(inode) = Typed::load::<Ptr>(dentry, offset!(dentry_inode)).filter(|inode| !inode.is_null()) {
        file.inode = Typed::load(inode, offset!(inode_ino)).unwrap_or(0);
        file.mode = Typed::load::<u16>(inode, offset!(inode_mode)).unwrap_or(0).into();
    }
    let sb = Typed::load::<Ptr>(dentry, offset!(dentry_sb));
    file.dev = sb.and_then(|sb| Typed::load(sb, offset!(sb_dev))).unwrap_or(0);
}
