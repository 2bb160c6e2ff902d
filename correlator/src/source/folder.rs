//! A folder of AWS's log files: read once, or followed as files arrive.
//!
//! Any layout is walked: AWS's own (`[prefix/]AWSLogs/[o-org/]account/CloudTrail/region/year/month/day/…`) and flat
//! ones. In AWS's, only the feed's own part is read. A file counts as read by its path, size and time: one that
//! changes is read again, and what it said before is known by its event ids.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::merge::{Closed, Outlet};
use crate::source::feed::{Feed, Limits, Outcome};
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::{Position, RejectedKind, SourceItem};

/// What the files of a folder hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    CloudTrail,
    GuardDuty,
    VpcFlow,
}

/// One folder.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The name trouble is reported and positions are kept under.
    pub source: Arc<str>,
    pub path: PathBuf,
    pub content: Content,
    pub limits: Limits,
}

/// What was read in earlier runs.
pub trait Positions: Send + Sync {
    /// The value last kept for a key of a source.
    fn value(&self, source: &str, key: &str) -> Option<String>;
}

/// Nothing was.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPositions;

impl Positions for NoPositions {
    fn value(&self, _source: &str, _key: &str) -> Option<String> {
        None
    }
}

/// Folders nested deeper hold no logs of AWS's.
const MAX_DEPTH: usize = 24;

/// Size and time of change: another pair is another content.
type Stamp = (u64, u128);

impl Folder {
    /// Reads every file once, in the order of their paths, which in AWS's layout is that of time.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn read_once(&self, normalizer: &Normalizer, outlet: &Outlet) -> Result<(), Closed> {
        let mut walk = Walk::new(self, normalizer, outlet, &NoPositions, Retry::Never);
        for (path, stamp) in walk.list()? {
            walk.read(&path, stamp)?;
        }
        outlet.send(SourceItem::End)
    }

    /// Reads what is there and goes on looking every `poll`, until told to stop.
    ///
    /// A file is read once it looks the same in two looks, so that a copy under way is not taken for a short file.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn follow(
        &self,
        poll: Duration,
        normalizer: &Normalizer,
        outlet: &Outlet,
        positions: &dyn Positions,
        stop: &Stop,
    ) -> Result<(), Closed> {
        let mut walk = Walk::new(self, normalizer, outlet, positions, Retry::EachLook);
        let mut last_look: BTreeMap<PathBuf, Stamp> = BTreeMap::new();
        loop {
            let look = walk.list()?;
            let mut n_waiting = 0;
            for (path, stamp) in &look {
                if walk.is_done(path, *stamp) {
                    continue;
                }
                if last_look.get(path) == Some(stamp) {
                    walk.read(path, *stamp)?;
                } else {
                    n_waiting += 1;
                }
                if stop.is_set() {
                    return outlet.send(SourceItem::End);
                }
            }
            if n_waiting == 0 {
                outlet.send(SourceItem::Idle)?;
            }
            last_look = look;
            if stop.wait(poll) {
                return outlet.send(SourceItem::End);
            }
        }
    }
}

/// Whether what cannot be read now is tried later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    EachLook,
}

struct Walk<'w> {
    folder: &'w Folder,
    feed: Feed<'w>,
    positions: &'w dyn Positions,
    retry: Retry,
    /// Read in this run, or known from an earlier one.
    done: BTreeMap<PathBuf, Stamp>,
    /// Folders and files that could not be read: said once, tried every time.
    unreadable: BTreeMap<PathBuf, String>,
}

impl<'w> Walk<'w> {
    fn new(
        folder: &'w Folder,
        normalizer: &'w Normalizer,
        outlet: &Outlet,
        positions: &'w dyn Positions,
        retry: Retry,
    ) -> Self {
        let feed = Feed {
            source: Arc::clone(&folder.source),
            normalizer,
            outlet: outlet.clone(),
            limits: folder.limits,
        };
        Self { folder, feed, positions, retry, done: BTreeMap::new(), unreadable: BTreeMap::new() }
    }

    /// Every file that looks like a log of this feed.
    fn list(&mut self) -> Result<BTreeMap<PathBuf, Stamp>, Closed> {
        let mut found = BTreeMap::new();
        // One file, by whatever name, was meant.
        if let Ok(data) = fs::metadata(&self.folder.path)
            && data.is_file()
        {
            found.insert(self.folder.path.clone(), stamp_of(&data));
            return Ok(found);
        }
        let mut folders = vec![(self.folder.path.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => {
                    self.unreadable.remove(&folder);
                    entries
                }
                Err(error) => {
                    self.complain(&folder, &error, "folder")?;
                    continue;
                }
            };
            for entry in entries.flatten() {
                let path = entry.path();
                let Ok(kind) = entry.file_type() else { continue };
                // A link to a folder could lead round in a circle; one to a file cannot.
                if kind.is_dir() {
                    if depth < MAX_DEPTH && !self.is_foreign(&path) {
                        folders.push((path, depth + 1));
                    }
                } else if is_log(&path)
                    && !self.is_foreign(&path)
                    && let Ok(data) = fs::metadata(&path)
                    && data.is_file()
                {
                    found.insert(path, stamp_of(&data));
                }
            }
        }
        // A file that is gone need not be remembered.
        self.done.retain(|path, _| found.contains_key(path));
        Ok(found)
    }

    /// Parts of AWS's layout that belong to another service, and digests, which hold no events.
    fn is_foreign(&self, path: &Path) -> bool {
        let own: &[&str] = match self.folder.content {
            Content::CloudTrail => &["CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity"],
            Content::GuardDuty => &["GuardDuty"],
            Content::VpcFlow => &["vpcflowlogs"],
        };
        let relative = path.strip_prefix(&self.folder.path).unwrap_or(path);
        let mut is_inside = false;
        for part in relative.iter().filter_map(|part| part.to_str()) {
            if part == "CloudTrail-Digest" {
                return true;
            }
            is_inside |=
                part == "AWSLogs" || (part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit()));
            let is_service = matches!(
                part,
                "CloudTrail"
                    | "CloudTrail-Insight"
                    | "CloudTrail-NetworkActivity"
                    | "GuardDuty"
                    | "vpcflowlogs"
                    | "Config"
                    | "elasticloadbalancing"
                    | "WAFLogs"
                    | "vpcdnsquerylogs"
                    | "network-firewall"
            );
            if is_inside && is_service {
                return !own.contains(&part);
            }
        }
        false
    }

    fn key<'p>(&self, path: &'p Path) -> std::borrow::Cow<'p, str> {
        let relative = path.strip_prefix(&self.folder.path).ok().filter(|rest| !rest.as_os_str().is_empty());
        relative.unwrap_or(path).to_string_lossy()
    }

    fn is_done(&mut self, path: &Path, stamp: Stamp) -> bool {
        match self.done.get(path) {
            Some(held) => *held == stamp,
            None => {
                let kept = self.positions.value(&self.folder.source, &self.key(path));
                let is_done = kept.as_deref() == Some(&value_of(stamp));
                if is_done {
                    self.done.insert(path.to_owned(), stamp);
                }
                is_done
            }
        }
    }

    fn read(&mut self, path: &Path, stamp: Stamp) -> Result<(), Closed> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return self.complain(path, &error, "file"),
        };
        self.unreadable.remove(path);
        let name = path.display().to_string();
        match self.folder.content {
            Content::CloudTrail | Content::GuardDuty => self.feed.json(&name, file)?,
            Content::VpcFlow => self.feed.flow_log(&name, file)?,
        };
        self.done.insert(path.to_owned(), stamp);
        let key = self.key(path).into_owned();
        let source = Arc::clone(&self.folder.source);
        self.feed.outlet.send(SourceItem::Position(Position { source, key, value: value_of(stamp) }))
    }

    /// Says once what cannot be read, and again when the reason changes.
    fn complain(&mut self, path: &Path, error: &std::io::Error, what: &str) -> Result<(), Closed> {
        let text = error.to_string();
        if self.unreadable.get(path) == Some(&text) {
            return Ok(());
        }
        let way_out = match self.retry {
            Retry::Never => {
                "its events are not in the result; check that it exists and that this user may read it"
            }
            Retry::EachLook => "it is tried again; check that it exists and that this user may read it",
        };
        let reason = format!("cannot read this {what}: {text}; {way_out}");
        self.unreadable.insert(path.to_owned(), text);
        let mut outcome = Outcome::default();
        self.feed.reject(path.display().to_string(), reason, RejectedKind::Unreadable, &mut outcome)
    }
}

/// By name: what AWS writes, what people unpack, and nothing hidden or under way.
fn is_log(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let is_known =
        [".json", ".jsonl", ".ndjson", ".log", ".txt", ".cloudtrail"].iter().any(|end| plain.ends_with(end));
    is_known && !name.starts_with('.') && !name.ends_with("_backfill.json.gz")
}

fn stamp_of(data: &fs::Metadata) -> Stamp {
    let modified = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (data.len(), modified.map_or(0, |since| since.as_nanos()))
}

fn value_of((len, modified): Stamp) -> String {
    format!("{len}:{modified}")
}

#[cfg(test)]
mod tests;
