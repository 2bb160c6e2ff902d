//! Which files are watched: patterns of whole paths, and the names that the programs look for on their behalf.

mod defaults;
mod pattern;

use std::collections::BTreeMap;

use sensor_ebpf::abi::file::{MAX_WATCHED, NameKey, name_key, watch};
use serde::{Deserialize, Serialize};

use pattern::Pattern;
pub use pattern::PatternError;

/// Watched paths: some for every change, some for being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWatch {
    changes: Vec<Pattern>,
    reads: Vec<Pattern>,
}

/// `[files]`: a list as it is written and as it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesConfig {
    pub patterns: Patterns,
    pub watch: FileWatch,
}

/// The patterns as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patterns {
    pub changes: Vec<String>,
    pub reads: Vec<String>,
}

impl Default for Patterns {
    fn default() -> Self {
        let own = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect();
        Self { changes: own(&defaults::CHANGES), reads: own(&defaults::READS) }
    }
}

impl Default for FileWatch {
    fn default() -> Self {
        Self::new(&Patterns::default()).expect("a test compiles them")
    }
}

impl FileWatch {
    /// # Errors
    /// The first pattern that cannot be watched, and why.
    pub fn new(patterns: &Patterns) -> Result<Self, PatternError> {
        let parsed = |list: &[String]| -> Result<Vec<Pattern>, PatternError> {
            list.iter().map(|text| Pattern::parse(text)).collect()
        };
        let watch = Self { changes: parsed(&patterns.changes)?, reads: parsed(&patterns.reads)? };
        for pattern in &watch.reads {
            pattern.read_key()?;
        }
        if watch.keys().len() > MAX_WATCHED as usize {
            return Err(PatternError::TooMany);
        }
        Ok(watch)
    }

    /// Whether nothing is watched at all.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.reads.is_empty()
    }

    /// What the programs look for: more than is watched, never less.
    pub fn keys(&self) -> Vec<(NameKey, u32)> {
        let changes = self.changes.iter().map(|pattern| match pattern.file_name() {
            Some(name) => (name, watch::FILE),
            None => (pattern.folder(), watch::FOLDER),
        });
        let reads = self.reads.iter().filter_map(|pattern| pattern.read_key().ok());
        let mut keys = BTreeMap::new();
        for (name, bit) in changes.chain(reads) {
            *keys.entry(name_key(name.as_bytes())).or_insert(0) |= bit;
        }
        keys.into_iter().collect()
    }

    /// Whether a change of this path is to be told. `is_whole` is false for one whose beginning is not known.
    pub fn wants_change(&self, path: &str, is_whole: bool) -> bool {
        self.changes.iter().any(|pattern| pattern.matches(path, is_whole))
    }

    /// Whether a read of it is.
    pub fn wants_read(&self, path: &str, is_whole: bool) -> bool {
        self.reads.iter().any(|pattern| pattern.matches(path, is_whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(changes: &[&str], reads: &[&str]) -> Result<FileWatch, String> {
        let own = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect();
        FileWatch::new(&Patterns { changes: own(changes), reads: own(reads) }).map_err(|err| err.to_string())
    }

    #[test]
    fn the_defaults_are_patterns_and_few_enough() {
        let watch = FileWatch::default();
        assert!(watch.keys().len() < 200, "{}", watch.keys().len());
        for path in [
            "/etc/cron.d/job",
            "/home/bob/.ssh/authorized_keys",
            "/etc/systemd/system/a.service.d/b.conf",
            "/var/lib/amazon/ssm/i-1/document/orchestration/x/y/_script.sh",
            "/etc/sudoers",
        ] {
            assert!(watch.wants_change(path, true), "{path}");
        }
        for path in ["/root/.aws/credentials", "/home/bob/.ssh/id_ed25519", "/etc/shadow"] {
            assert!(watch.wants_read(path, true), "{path}");
        }
        assert!(!watch.wants_read("/etc/passwd", true) && !watch.wants_change("/tmp/x", true));
    }

    #[test]
    fn programs_look_for_the_names_that_decide_most() {
        let key = |name: &str| name_key(name.as_bytes());
        let watch = watch(
            &["/etc/sudoers", "/etc/cron.d/*", "/home/*/.config/systemd/user/**", "/home/*/.bash*"],
            &["/etc/sudoers", "/home/*/.ssh/id_*"],
        );
        let mut keys = watch.expect("patterns").keys();
        let mut expect = vec![
            (key("sudoers"), watch::FILE | watch::READ_FILE),
            (key("cron.d"), watch::FOLDER),
            (key("user"), watch::FOLDER),
            (key("home"), watch::FOLDER),
            (key(".ssh"), watch::READ_FOLDER),
        ];
        keys.sort_unstable();
        expect.sort_unstable();
        assert_eq!(keys, expect);
    }

    #[test]
    fn what_cannot_be_watched_is_said() {
        let refuses = |changes: &[&str], reads: &[&str], expect: &str| {
            assert_eq!(watch(changes, reads).err().as_deref(), Some(expect));
        };
        refuses(&["etc/x"], &[], "\"etc/x\" does not begin with /: a pattern is of a whole path");
        refuses(&["/*"], &[], "\"/*\" names no directory and no file: it would watch everything");
        refuses(&["/a/../b"], &[], "\"/a/../b\" has a \"..\" in it, which no path has once it is resolved");
        refuses(
            &["/a/**x"],
            &[],
            "\"/a/**x\" has ** beside other characters: it stands for whole directories",
        );
        refuses(
            &[],
            &["/root/**"],
            "\"/root/**\" cannot be watched for reading: end it with a file's name, or with a pattern right below a named \
             directory",
        );
        let many: Vec<String> = (0..2000).map(|n| format!("/a/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        refuses(&many, &[], "more than 1024 names: watch directories instead");
    }
}
