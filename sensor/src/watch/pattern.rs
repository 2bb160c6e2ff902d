//! A pattern of paths: `*` is anything within one name, `**` any number of directories.

use sensor_ebpf::abi::file::watch;
use thiserror::Error;

/// Why a pattern cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("\"{0}\" does not begin with /: a pattern is of a whole path")]
    Relative(String),
    #[error("\"{0}\" has a \"{1}\" in it, which no path has once it is resolved")]
    Unresolved(String, &'static str),
    #[error("\"{0}\" has ** beside other characters: it stands for whole directories")]
    MixedStars(String),
    #[error("\"{0}\" names no directory and no file: it would watch everything")]
    Nameless(String),
    #[error(
        "\"{0}\" cannot be watched for reading: end it with a file's name, or with a pattern right below a named directory"
    )]
    TooWideToRead(String),
    #[error("more than 1024 names: watch directories instead")]
    TooMany,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Name(String),
    /// With stars in it.
    Like(String),
    /// `**`
    Folders,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or_else(|| PatternError::Relative(text.to_owned()))?;
        let parts = rest.split('/').map(|part| match part {
            "" => Err(PatternError::Unresolved(text.to_owned(), "//")),
            "." => Err(PatternError::Unresolved(text.to_owned(), ".")),
            ".." => Err(PatternError::Unresolved(text.to_owned(), "..")),
            "**" => Ok(Part::Folders),
            part if part.contains("**") => Err(PatternError::MixedStars(text.to_owned())),
            part if part.contains('*') => Ok(Part::Like(part.to_owned())),
            part => Ok(Part::Name(part.to_owned())),
        });
        let pattern = Self { parts: parts.collect::<Result<_, _>>()? };
        if pattern.names().next().is_none() {
            return Err(PatternError::Nameless(text.to_owned()));
        }
        Ok(pattern)
    }

    fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Like(_) | Part::Folders => None,
        })
    }

    /// The file's own name, if every path of the pattern ends alike.
    pub(super) fn file_name(&self) -> Option<&str> {
        match self.parts.last() {
            Some(Part::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// The named directory that is next above the files.
    pub(super) fn folder(&self) -> &str {
        self.names().next_back().expect("parse refuses a pattern without names")
    }

    /// What the programs look for when a file is read: fewer names than for changes, as files are read all the time.
    pub(super) fn read_key(&self) -> Result<(&str, u32), PatternError> {
        match &self.parts[..] {
            [.., Part::Name(file)] => Ok((file, watch::READ_FILE)),
            [.., Part::Name(folder), Part::Like(_)] => Ok((folder, watch::READ_FOLDER)),
            _ => Err(PatternError::TooWideToRead(self.to_string())),
        }
    }

    /// Whether the path is one of these. Of a path that is not whole the end alone is known, and then it is enough that
    /// the pattern ends like it.
    pub(super) fn matches(&self, path: &str, is_whole: bool) -> bool {
        let names: Vec<&str> = path.trim_start_matches('…').trim_start_matches('/').split('/').collect();
        if is_whole {
            return fit(&self.parts, &names);
        }
        (0..self.parts.len()).any(|start| {
            let end = &self.parts[start..];
            end.iter().any(|part| matches!(part, Part::Name(_))) && fit(end, &names)
        })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Name(text) | Part::Like(text) => write!(f, "/{text}"),
            Part::Folders => f.write_str("/**"),
        })
    }
}

fn fit(parts: &[Part], names: &[&str]) -> bool {
    match (parts, names) {
        ([], []) => true,
        // At the end it stands for what is below, not for the directory itself.
        ([Part::Folders], names) => !names.is_empty(),
        ([Part::Folders, rest @ ..], names) => (0..=names.len()).any(|skipped| fit(rest, &names[skipped..])),
        ([Part::Name(name), parts @ ..], [first, names @ ..]) => name == first && fit(parts, names),
        ([Part::Like(like), parts @ ..], [first, names @ ..]) => is_like(like, first) && fit(parts, names),
        _ => false,
    }
}

/// Whether the stars of `like` can be filled so that it reads `name`.
fn is_like(like: &str, name: &str) -> bool {
    let Some((head, rest)) = like.split_once('*') else { return like == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut rest = rest;
    // Each literal where it is first found: what is behind it then has the most to choose from.
    while let Some((middle, more)) = rest.split_once('*') {
        let Some(at) = left.find(middle) else { return false };
        left = &left[at + middle.len()..];
        rest = more;
    }
    left.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expect: bool) {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        assert_eq!(pattern.matches(path, true), expect, "{pattern} {path}");
    }

    #[test]
    fn stars_stay_within_a_name_and_double_stars_do_not() {
        check("/etc/cron.d/*", "/etc/cron.d/job", true);
        check("/etc/cron.d/*", "/etc/cron.d/a/job", false);
        check("/etc/cron.d/*", "/etc/cron.d", false);
        check("/etc/ssh/**", "/etc/ssh/a/b", true);
        check("/etc/ssh/**", "/etc/ssh", false);
        check("/run/**/token", "/run/token", true);
        check("/run/**/token", "/run/a/b/token", true);
        check("/run/**/token", "/run/a/b/tokens", false);
        check("/home/*/.ssh/id_*", "/home/bob/.ssh/id_rsa", true);
        check("/home/*/.ssh/id_*", "/home/.ssh/id_rsa", false);
        check("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_rsa_key", true);
        check("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_rsa_key.pub", false);
        check("/a/*x*y", "/a/xyxy", true);
        check("/a/*x*y", "/a/yx", false);
        check("/a/ab*ba", "/a/aba", false);
    }

    #[test]
    fn of_a_path_in_part_the_end_decides() {
        let pattern = Pattern::parse("/home/*/.ssh/*").expect("a pattern");
        assert!(pattern.matches("…/bob/.ssh/authorized_keys", false));
        assert!(pattern.matches("…/.ssh/authorized_keys", false));
        assert!(!pattern.matches("…/authorized_keys", false), "anything could be above it");
        assert!(!pattern.matches("…/srv/home/bob/.ssh/authorized_keys", false));
    }
}
