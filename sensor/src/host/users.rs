//! Names of users and groups, from the files under `/etc` alone.
//!
//! A directory service is not asked: it would mean a network call, and a call into libnss, per event.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A cached `passwd` or `group` file, read again when it changes.
#[derive(Debug)]
struct NameFile {
    path: PathBuf,
    modified: Option<SystemTime>,
    names: HashMap<u32, String>,
}

/// Most names that are kept of one file: a host with more has them from a directory service.
const MAX_NAMES: usize = 65_536;

impl NameFile {
    fn new(path: PathBuf) -> Self {
        let mut file = Self { path, modified: None, names: HashMap::new() };
        file.refresh();
        file
    }

    fn refresh(&mut self) {
        let modified = fs::metadata(&self.path).and_then(|meta| meta.modified()).ok();
        if modified.is_some() && modified == self.modified {
            return;
        }
        self.modified = modified;
        let text = fs::read(&self.path).unwrap_or_default();
        self.names = parse(&String::from_utf8_lossy(&text));
    }
}

/// `name:password:id:…`; the first entry of an id wins, as for libc.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines().take(MAX_NAMES) {
        let mut parts = line.split(':');
        let (Some(name), Some(Ok(id))) = (parts.next(), parts.nth(1).map(str::parse)) else { continue };
        names.entry(id).or_insert_with(|| name.to_owned());
    }
    names
}

#[derive(Debug)]
pub struct Names {
    users: NameFile,
    groups: NameFile,
}

impl Names {
    pub fn new(root: &Path) -> Self {
        Self { users: NameFile::new(root.join("etc/passwd")), groups: NameFile::new(root.join("etc/group")) }
    }

    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.names.get(&uid).map(String::as_str)
    }

    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.names.get(&gid).map(String::as_str)
    }

    /// Reads the files again if they changed. Two `stat` calls: done once per batch, not per event.
    pub fn refresh(&mut self) {
        self.users.refresh();
        self.groups.refresh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_files_and_follow_them() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("etc")).expect("a directory");
        let passwd = dir.path().join("etc/passwd");
        fs::write(&passwd, "root:x:0:0::/root:/bin/sh\n\nbroken\nbob:x:1000:1000::/:\ntoor:x:0:0::/:\n")
            .expect("written");
        let mut names = Names::new(dir.path());
        assert_eq!((names.user(0), names.user(1000), names.user(7)), (Some("root"), Some("bob"), None));
        assert_eq!(names.group(0), None);
        fs::write(&passwd, "eve:x:7:7::/:\n").expect("written");
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&passwd)
            .and_then(|file| file.set_modified(later))
            .expect("touched");
        names.refresh();
        assert_eq!((names.user(0), names.user(7)), (None, Some("eve")));
    }
}
