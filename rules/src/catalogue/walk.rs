//! Rule files on disk.

use std::path::{Path, PathBuf};

/// Links may make a circle.
const MAX_DEPTH: usize = 32;

#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("cannot read \"{}\": {source}; check the path and its permissions", path.to_string_lossy())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("\"{}\" is not UTF-8 text (byte {at}); save it as UTF-8", path.to_string_lossy())]
    NotText { path: PathBuf, at: usize },
    #[error(
        "\"{}\" has {bytes} bytes, more than the {max} of \"max_file\" in [rules.limits]",
        path.to_string_lossy()
    )]
    TooLong { path: PathBuf, bytes: u64, max: u64 },
    #[error("\"{}\" lies more than {MAX_DEPTH} folders deep: is a link a circle?", path.to_string_lossy())]
    TooDeep { path: PathBuf },
}

impl Unreadable {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotText { path, .. }
            | Self::TooLong { path, .. }
            | Self::TooDeep { path } => path,
        }
    }
}

/// The path itself, or the rule files below it.
pub(super) fn files(path: &Path) -> Vec<Result<PathBuf, Unreadable>> {
    let mut files = Vec::new();
    match path.is_dir() {
        true => walk(path, 0, &mut files),
        false => files.push(Ok(path.to_owned())),
    }
    files
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<Result<PathBuf, Unreadable>>) {
    if depth > MAX_DEPTH {
        files.push(Err(Unreadable::TooDeep { path: folder.to_owned() }));
        return;
    }
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> = match entries {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).filter(|path| is_wanted(path)).collect(),
        Err(source) => {
            files.push(Err(Unreadable::Io { path: folder.to_owned(), source }));
            return;
        }
    };
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, depth + 1, files);
        } else if path.extension().is_some_and(|extension| extension == "toml") || super::is_yaml(&path) {
            files.push(Ok(path));
        }
    }
}

fn is_wanted(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && name != "_deprecated"
}

/// A rule is a page of text; a file of more than `max` bytes is something else.
pub(super) fn read(path: &Path, max: u64) -> Result<String, Unreadable> {
    let io = |source| Unreadable::Io { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > max {
        return Err(Unreadable::TooLong { path: path.to_owned(), bytes, max });
    }
    let bytes = std::fs::read(path).map_err(io)?;
    String::from_utf8(bytes)
        .map_err(|err| Unreadable::NotText { path: path.to_owned(), at: err.utf8_error().valid_up_to() })
}
