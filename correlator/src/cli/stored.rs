//! The store that a verb looks into, and alerts out of it or out of a file.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::CliError;
use crate::alert::view::text;
use crate::store::Store;
use crate::untrusted::Untrusted;

/// Where alerts are.
#[derive(Debug, Clone, Args)]
pub(super) struct StoredFlags {
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    pub(super) store: Option<PathBuf>,
    /// Alerts as `run` and `replay` write them, one document a line, instead of a store
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub(super) alerts: Option<PathBuf>,
}

impl StoredFlags {
    /// Every alert there is.
    ///
    /// # Errors
    /// There is neither store nor file, or it cannot be read.
    pub(super) fn read(&self, configured: Option<&Path>) -> Result<Vec<Value>, CliError> {
        match &self.alerts {
            Some(path) => from_file(path),
            None => from_store(&open(self.path(configured).ok_or_else(none)?)?),
        }
    }

    /// The store, where one is meant.
    pub(super) fn path<'p>(&'p self, configured: Option<&'p Path>) -> Option<&'p Path> {
        self.store.as_deref().or(configured).filter(|_| self.alerts.is_none())
    }
}

fn none() -> CliError {
    CliError::Usage("no store is configured: give --store PATH or --alerts FILE".to_owned())
}

/// # Errors
/// There is no store, or it cannot be read.
pub(super) fn open(path: &Path) -> Result<Store, CliError> {
    must_exist(path)?;
    Store::open_to_look(path).map_err(failed)
}

/// Opening would make an empty one, or say less.
///
/// # Errors
/// Nothing is at the path.
pub(super) fn must_exist(path: &Path) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    Err(CliError::Run {
        what: format!("there is no store at \"{}\"", path.display()),
        source: "`groundtrail run --store PATH` makes one".into(),
    })
}

/// # Errors
/// It cannot be read, or holds what is no alert.
pub(super) fn from_store(store: &Store) -> Result<Vec<Value>, CliError> {
    let stored = store.alerts().map_err(failed)?;
    stored.iter().map(|alert| serde_json::from_str(&alert.document).map_err(failed)).collect()
}

/// How many of several candidates are named.
const MAX_CANDIDATES: usize = 5;

/// What an id that somebody typed stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant<'i> {
    One(&'i str),
    Nothing,
}

/// The id that is meant by how it begins; the whole of one is never taken for the beginning of another.
///
/// # Errors
/// It is how several begin: which of them is not for us to choose.
pub(super) fn meant<'i>(
    what: &str,
    asked: &str,
    ids: impl Iterator<Item = &'i str>,
) -> Result<Meant<'i>, CliError> {
    let mut like: Vec<&str> = ids.filter(|id| id.starts_with(asked)).collect();
    like.sort_unstable();
    // Revisions of one alert have its id.
    like.dedup();
    if let Some(whole) = like.iter().find(|id| **id == asked) {
        return Ok(Meant::One(whole));
    }
    match like.as_slice() {
        [] => Ok(Meant::Nothing),
        [only] => Ok(Meant::One(only)),
        several => {
            let mut named: Vec<String> =
                several.iter().take(MAX_CANDIDATES).map(|id| Untrusted(id).fit(64)).collect();
            if several.len() > MAX_CANDIDATES {
                named.push(format!("{} more", several.len() - MAX_CANDIDATES));
            }
            Err(CliError::Usage(format!(
                "several {what}s have an id that begins with \"{}\": {}; give more of the one that is meant",
                Untrusted(asked),
                named.join(", ")
            )))
        }
    }
}

/// The ids of alert documents.
pub(super) fn alert_ids<'a>(alerts: impl IntoIterator<Item = &'a Value>) -> impl Iterator<Item = &'a str> {
    alerts.into_iter().filter_map(|alert| text(alert, "groundtrail.alert.id"))
}

/// Says that nothing has such an id.
pub(super) fn unknown_alert(asked: &str) -> String {
    format!("no alert's id begins with \"{}\"; `groundtrail tail` lists them", Untrusted(asked))
}

pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(source: E) -> CliError {
    CliError::Run { what: "cannot read the alerts".to_owned(), source: source.into() }
}

fn from_file(path: &Path) -> Result<Vec<Value>, CliError> {
    let failed = |what: String, source| CliError::Run { what, source };
    let content = match path == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => fs::read_to_string(path),
    };
    let content =
        content.map_err(|error| failed(format!("cannot read \"{}\"", path.display()), error.into()))?;
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(idx, line)| {
            let failed = |source| {
                failed(format!("\"{}\" line {} is no alert document", path.display(), idx + 1), source)
            };
            let document: Value = serde_json::from_str(line).map_err(|error| failed(error.into()))?;
            match text(&document, "groundtrail.alert.id") {
                Some(_) => Ok(document),
                None => Err(failed(
                    "it has no groundtrail.alert.id; give what `run` or `replay -o ndjson` wrote".into(),
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &str, ids: &[&str], expect: Result<Meant<'_>, &str>) {
        let found = meant("alert", asked, ids.iter().copied());
        match (found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect, "{asked}"),
            (Err(CliError::Usage(found)), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, expect) => panic!("{asked}: {found:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn an_id_is_told_by_how_it_begins_where_only_one_does() {
        check("ab", &["abc", "xyz", "abc"], Ok(Meant::One("abc")));
        check("abc", &["abcd", "abc"], Ok(Meant::One("abc")));
        check("b", &["abc"], Ok(Meant::Nothing));
        check("a", &["abc", "abd"], Err("\"a\": abc, abd; give more"));
        check("", &["1", "2", "3", "4", "5", "6", "7"], Err("1, 2, 3, 4, 5, 2 more;"));
    }
}
