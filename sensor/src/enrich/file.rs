//! What a file record says, and whether anybody wants to know.

use sensor_ebpf::abi::file::{File, op};
use sensor_ebpf::abi::header::flag;

use crate::decode;
use crate::event::Kind;
use crate::event::file::{FileDoc, FileExtDoc, OriginalDoc};
use crate::watch::FileWatch;

/// A file record, its paths read once.
pub(super) struct Touched {
    pub(super) kind: Kind,
    path: String,
    old_path: Option<String>,
    pub(super) is_path_whole: bool,
    is_old_path_whole: bool,
    is_symlink: bool,
    pub(super) inode: u64,
}

impl Touched {
    /// Nothing for an operation that this build does not know.
    pub(super) fn of(file: &File) -> Option<Self> {
        let kind = match file.op {
            op::CREATE | op::LINK | op::SYMLINK => Kind::FileCreation,
            op::RENAME => Kind::FileRename,
            op::DELETE => Kind::FileDeletion,
            op::READ => Kind::FileOpen,
            op::WRITE => Kind::FileModification,
            _ => return None,
        };
        let is_path_whole = file.header.flags & flag::PATH_TRUNCATED == 0;
        let is_old_path_whole = file.header.flags & flag::OLD_PATH_TRUNCATED == 0;
        let has_old_path = matches!(file.op, op::RENAME | op::LINK);
        Some(Self {
            kind,
            path: decode::path(&file.path, is_path_whole),
            old_path: has_old_path.then(|| decode::path(&file.old_path, is_old_path_whole)),
            is_path_whole,
            is_old_path_whole,
            is_symlink: file.op == op::SYMLINK,
            inode: file.inode,
        })
    }

    pub(super) fn is_watched(&self, watch: &FileWatch) -> bool {
        if self.kind == Kind::FileOpen {
            return watch.wants_read(&self.path, self.is_path_whole);
        }
        let is_old_watched = |old: &String| watch.wants_change(old, self.is_old_path_whole);
        watch.wants_change(&self.path, self.is_path_whole)
            || (self.kind == Kind::FileRename && self.old_path.as_ref().is_some_and(is_old_watched))
    }

    pub(super) fn doc(&self) -> FileDoc {
        let kind = if self.is_symlink { "symlink" } else { "file" };
        let doc = FileDoc::new(self.path.clone(), kind, self.inode);
        let Some(old_path) = self.old_path.clone() else { return doc };
        match self.kind {
            Kind::FileRename => {
                FileDoc { ext: Some(FileExtDoc { original: OriginalDoc::new(old_path) }), ..doc }
            }
            _ => FileDoc { target_path: Some(old_path), ..doc },
        }
    }
}
