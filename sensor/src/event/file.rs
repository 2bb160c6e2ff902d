//! `file.*`.

use serde::Serialize;

use crate::process::base_name;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileDoc {
    pub path: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<String>,
    /// Of a link: another name of the same file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_path: Option<String>,
    #[serde(rename = "Ext", skip_serializing_if = "Option::is_none")]
    pub ext: Option<FileExtDoc>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileExtDoc {
    pub original: OriginalDoc,
}

/// What a renamed file was called before.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct OriginalDoc {
    pub path: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
}

impl FileDoc {
    pub fn new(path: String, kind: &'static str, inode: u64) -> Self {
        let (name, extension) = (base_name(&path).to_owned(), extension(&path));
        let inode = (inode != 0).then(|| inode.to_string());
        Self { path, name, extension, kind, inode, target_path: None, ext: None }
    }
}

impl OriginalDoc {
    pub fn new(path: String) -> Self {
        let (name, extension) = (base_name(&path).to_owned(), extension(&path));
        Self { path, name, extension }
    }
}

/// What follows the last dot of the name; a hidden file's first dot is none.
fn extension(path: &str) -> Option<String> {
    let (stem, extension) = base_name(path).rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_follow_the_last_dot_of_a_name() {
        let check = |path, expect: Option<&str>| assert_eq!(extension(path).as_deref(), expect, "{path}");
        check("/etc/cron.d/job", None);
        check("/root/.bashrc", None);
        check("/etc/systemd/system/a.b.service", Some("service"));
        check("/tmp/x.", None);
    }
}
