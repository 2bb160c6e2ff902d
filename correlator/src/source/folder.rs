//! A folder of AWS's log files: read once, or followed as files arrive.
//!
//! Any layout is walked: AWS's own (`[prefix/]AWSLogs/[o-org/]account/CloudTrail/region/year/month/day/…`) and flat
//! ones. In AWS's, only the feed's own part is read. A file counts as read by its path, size and time: one that
//! changes is read again, and what it said before is known by its event ids.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

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
    /// Reads every file once, in the order of [`written_at`].
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn read_once(&self, normalizer: &Normalizer, outlet: &Outlet) -> Result<(), Closed> {
        let mut walk = Walk::new(self, normalizer, outlet, &NoPositions, Retry::Never);
        let look = walk.list()?;
        for (path, stamp) in in_order(&look) {
            walk.read(path, stamp)?;
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
            for (path, stamp) in in_order(&look) {
                if walk.is_done(path, stamp) {
                    continue;
                }
                if last_look.get(path) == Some(&stamp) {
                    walk.read(path, stamp)?;
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

/// The files as they were written, so that a backlog of several accounts and regions moves through time as one: read
/// account by account, all but the first would come long after their time.
fn in_order(look: &BTreeMap<PathBuf, Stamp>) -> Vec<(&PathBuf, Stamp)> {
    let mut files: Vec<(&PathBuf, Stamp)> = look.iter().map(|(path, stamp)| (path, *stamp)).collect();
    files.sort_by_cached_key(|(path, _)| (written_at(path), *path));
    files
}

/// `20261102T1005Z` in the file's name, or else the day of its folder, in digits. Nothing where neither tells.
fn written_at(path: &Path) -> String {
    let is_time = |part: &&str| {
        part.len() == 14
            && part.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                13 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let of_name = name.split(['_', '.']).find(is_time).map(str::to_owned);
    let of_folder = || path.parent().and_then(day_of).map(|day| day.replace('/', ""));
    of_name.or_else(of_folder).unwrap_or_default()
}

/// Whether what cannot be read now is tried later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    EachLook,
}

/// A file is looked at in each look until it has stood still for so long.
const YOUNG: Duration = Duration::from_secs(10);
/// A folder whose time of change is as it was is listed again after so long: its files may have grown, and not every
/// file system keeps that time.
const RELIST: Duration = Duration::from_secs(10);
/// The same for past days in AWS's layout, of which there are many and which hardly ever change.
const RELIST_OLD: Duration = Duration::from_secs(300);

/// What stood in a folder.
struct Listed {
    modified: Option<u128>,
    /// Listed again since the time of change was first seen: what came within one tick of the clock is in it.
    is_settled: bool,
    at: Instant,
    folders: Vec<PathBuf>,
    files: HashMap<PathBuf, Seen>,
}

impl Listed {
    fn is_current(&self, modified: Option<u128>, is_old: bool) -> bool {
        let relist = if is_old { RELIST_OLD } else { RELIST };
        self.is_settled && modified.is_some() && self.modified == modified && self.at.elapsed() < relist
    }
}

struct Seen {
    stamp: Stamp,
    /// When it was first seen so.
    since: Instant,
}

impl Seen {
    fn see(&mut self, stamp: Stamp) {
        if self.stamp != stamp {
            *self = Self { stamp, since: Instant::now() };
        }
    }
}

/// `2026/11/02` at the end of a path.
fn day_of(path: &Path) -> Option<String> {
    let mut parts = path.iter().rev().filter_map(|part| part.to_str());
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(day, 2) && is_number(month, 2) && is_number(year, 4)).then(|| format!("{year}/{month}/{day}"))
}

struct Walk<'w> {
    folder: &'w Folder,
    feed: Feed<'w>,
    positions: &'w dyn Positions,
    retry: Retry,
    /// Read in this run, or known from an earlier one.
    done: BTreeMap<PathBuf, Stamp>,
    /// What the last look saw, by folder. Only of a folder that is followed.
    cached: HashMap<PathBuf, Listed>,
    /// The two newest days that AWS's layout has a folder for.
    newest_days: BTreeSet<String>,
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
        Self {
            folder,
            feed,
            positions,
            retry,
            done: BTreeMap::new(),
            cached: HashMap::new(),
            newest_days: BTreeSet::new(),
            unreadable: BTreeMap::new(),
        }
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
        let mut kept = HashMap::new();
        while let Some((folder, depth)) = folders.pop() {
            let modified = fs::metadata(&folder).ok().map(|data| stamp_of(&data).1);
            let mut listed = match self.cached.remove(&folder) {
                Some(held) if held.is_current(modified, self.is_old(&folder)) => held,
                held => match self.list_one(&folder, modified, held)? {
                    Some(listed) => listed,
                    None => continue,
                },
            };
            for (path, file) in &mut listed.files {
                let is_done = self.done.get(path) == Some(&file.stamp);
                // A file may grow in place, which its folder does not tell.
                if (!is_done || file.since.elapsed() < YOUNG)
                    && let Ok(data) = fs::metadata(path)
                {
                    file.see(stamp_of(&data));
                }
                found.insert(path.clone(), file.stamp);
            }
            if depth < MAX_DEPTH {
                folders.extend(listed.folders.iter().map(|path| (path.clone(), depth + 1)));
            }
            if self.retry == Retry::EachLook {
                kept.insert(folder, listed);
            }
        }
        self.cached = kept;
        // A file that is gone need not be remembered.
        self.done.retain(|path, _| found.contains_key(path));
        Ok(found)
    }

    /// What stands in one folder; none where it cannot be read.
    fn list_one(
        &mut self,
        folder: &Path,
        modified: Option<u128>,
        held: Option<Listed>,
    ) -> Result<Option<Listed>, Closed> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => {
                self.unreadable.remove(folder);
                entries
            }
            Err(error) => {
                self.complain(folder, &error, "folder")?;
                return Ok(None);
            }
        };
        let is_settled = held.as_ref().is_some_and(|held| held.modified == modified);
        let mut known = held.map(|held| held.files).unwrap_or_default();
        let mut listed =
            Listed { modified, is_settled, at: Instant::now(), folders: Vec::new(), files: HashMap::new() };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            // A link to a folder could lead round in a circle; one to a file cannot.
            if kind.is_dir() {
                if !self.is_foreign(&path) {
                    self.note_day(&path);
                    listed.folders.push(path);
                }
            } else if is_log(&path)
                && !self.is_foreign(&path)
                && let Ok(data) = fs::metadata(&path)
                && data.is_file()
            {
                let stamp = stamp_of(&data);
                let mut seen = known.remove(&path).unwrap_or(Seen { stamp, since: Instant::now() });
                seen.see(stamp);
                listed.files.insert(path, seen);
            }
        }
        Ok(Some(listed))
    }

    fn note_day(&mut self, path: &Path) {
        if let Some(day) = day_of(path)
            && !self.newest_days.contains(&day)
        {
            self.newest_days.insert(day);
            if self.newest_days.len() > 2 {
                self.newest_days.pop_first();
            }
        }
    }

    /// A folder of a day that two later ones have followed.
    fn is_old(&self, path: &Path) -> bool {
        self.newest_days.len() > 1
            && day_of(path).is_some_and(|day| self.newest_days.first().is_some_and(|first| day < *first))
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
    let is_known = [".json", ".jsonl", ".ndjson", ".log", ".txt", ".cloudtrail", ".parquet"]
        .iter()
        .any(|end| plain.ends_with(end));
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
