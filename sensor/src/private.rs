//! Files that hold command lines: their owner alone may read them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Opens a file to go on with. A last line that an earlier run could not finish is closed first, so that it spoils no
/// line but itself.
///
/// # Errors
/// If the file cannot be opened or closed off.
pub fn append_to(path: &Path) -> io::Result<File> {
    let mut file = options().append(true).open(path)?;
    // A pipe or a device is not looked into: reading would take from whoever is meant.
    if file.metadata()?.is_file() && last_byte(path)?.is_some_and(|byte| byte != b'\n') {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Opens a file to write it anew.
///
/// # Errors
/// If the file cannot be opened, or belongs to somebody else who lets others read it.
pub fn create(path: &Path) -> io::Result<File> {
    let file = options().write(true).truncate(true).open(path)?;
    // The mode counts at birth only: a file that others could read before is closed to them now.
    let meta = file.metadata()?;
    if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Makes a folder and those above it, unless they are there.
///
/// # Errors
/// If one of them cannot be made.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn options() -> OpenOptions {
    let mut options = File::options();
    options.create(true).mode(0o600);
    options
}

fn last_byte(path: &Path) -> io::Result<Option<u8>> {
    let mut file = File::open(path)?;
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(None);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(Some(last[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("exists").permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_the_owners_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("a/b");
        create_folder(&folder).expect("made");
        create_folder(&folder).expect("there already");
        assert_eq!(mode(&folder), 0o700);
        create(&folder.join("new")).expect("made");
        append_to(&folder.join("log")).expect("made");
        assert_eq!((mode(&folder.join("new")), mode(&folder.join("log"))), (0o600, 0o600));
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("host.ndjson");
        std::fs::write(&path, "old").expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
        create(&path).expect("made anew");
        assert_eq!((mode(&path), std::fs::read(&path).expect("readable").len()), (0o600, 0));
    }

    #[test]
    fn an_unfinished_line_is_closed_before_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events");
        let check = |held: &str, expect: &str| {
            std::fs::write(&path, held).expect("written");
            append_to(&path).expect("opened").write_all(b"next\n").expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("readable"), expect);
        };
        check("", "next\n");
        check("whole\n", "whole\nnext\n");
        check("{\"half", "{\"half\nnext\n");
    }
}
