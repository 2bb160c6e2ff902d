//! A bucket listed from the beginning to its end, for what was written before a queue told of it.
//!
//! Objects are read in the order of their times across accounts and regions, not in that of their names: each folder with
//! dates below it is a strand of its own, and strands are merged. So joins find their halves, and how far each strand has
//! come is a position.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rules::event::EventTime;
use tokio::runtime::Handle;

use super::access::{Clients, Failure, failure};
use super::fetch;
use crate::config::aws::Bucket;
use crate::merge::{Closed, Outlet};
use crate::source::feed::{Feed, Limits, Outcome};
use crate::source::folder::Positions;
use crate::source::layout::{self, Covered, Kind};
use crate::source::normalize::Normalizer;
use crate::source::notice::ObjectAt;
use crate::source::stop::Stop;
use crate::source::{OTHER_SERVICES, OTHER_TIMES, Position, RejectedKind, SourceItem};

/// Names held of each strand.
const PAGE: i32 = 200;
/// Folders nested deeper hold no logs of AWS's.
const MAX_DEPTH: usize = 12;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An object that is refused so often is left out, and said.
const MAX_TRIES: u32 = 6;
/// The same, where the refusal is for what the object is and not for what we may: there may be many such.
const MAX_REFUSED: u32 = 2;

/// A bucket and what of it is read.
pub(crate) struct Listing {
    pub(crate) source: Arc<str>,
    pub(crate) bucket: Bucket,
    pub(crate) limits: Limits,
}

/// Objects in the order of their names, which is that of their times.
struct Strand {
    prefix: String,
    /// Objects of folders below belong to other strands.
    is_flat: bool,
    /// The last name that was listed.
    after: String,
    has_more: bool,
    waiting: VecDeque<(EventTime, String)>,
}

struct Walk<'w> {
    listing: &'w Listing,
    clients: Clients,
    handle: Handle,
    stop: &'w Stop,
    feed: Feed<'w>,
    said: Option<String>,
}

/// Why a walk is over before its end.
enum Cut {
    Stopped,
    Closed(Closed),
}

impl From<Closed> for Cut {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

impl Listing {
    /// Reads every object once, over all runs of one store.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub(crate) fn read(
        &self,
        normalizer: &Normalizer,
        outlet: &Outlet,
        positions: &dyn Positions,
        stop: &Stop,
    ) -> Result<(), Closed> {
        let feed = Feed {
            source: Arc::clone(&self.source),
            normalizer,
            outlet: outlet.clone(),
            limits: self.limits,
        };
        let runtime = match super::runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let reason = format!("cannot start the threads that ask AWS: {error}");
                let at = self.bucket.name.clone();
                return feed.reject(at, reason, RejectedKind::Unreadable, &mut Outcome::default());
            }
        };
        let handle = runtime.handle().clone();
        let clients = handle.block_on(Clients::new(&self.bucket.access));
        let mut walk = Walk { listing: self, clients, handle, stop, feed, said: None };
        let walked = walk.run(positions);
        drop(walk);
        runtime.shutdown_background();
        match walked {
            Ok(()) | Err(Cut::Stopped) => outlet.send(SourceItem::End),
            Err(Cut::Closed(closed)) => Err(closed),
        }
    }

    /// What a position is of: other bounds make another backfill.
    fn key(&self, prefix: &str) -> String {
        let bound = |time: Option<EventTime>| time.map(crate::time::format).unwrap_or_default();
        format!("{prefix} {}/{}", bound(self.bucket.since), bound(self.bucket.until))
    }
}

/// What becomes of an object that was listed.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is read in its turn.
    Read(EventTime),
    /// It is not, and this is why.
    LeftOut(String),
    /// It is nothing that could be read.
    Nothing,
    /// It and all dates that follow are out of bounds: the next that may be of interest comes behind this name.
    Over(String),
}

/// `is_flat` says that the objects lie in their order by chance.
fn fate(bucket: &Bucket, prefix: &str, is_flat: bool, key: &str, written: EventTime) -> Fate {
    // What consoles write for a folder.
    if key.ends_with('/') {
        return Fate::Nothing;
    }
    match layout::kind(key) {
        Kind::Digest => return Fate::Nothing,
        Kind::Foreign => return Fate::LeftOut(OTHER_SERVICES.to_owned()),
        _ => {}
    }
    // The folder's date, not the file's: files of several flow logs lie in one, sorted by whose they are.
    if let (false, Some(until), Some(folder)) = (is_flat, bucket.until, layout::folder_span(key))
        && folder.begin.0.saturating_sub(layout::reach(key).0) >= until.0
        && let Some(behind) = behind_dates(prefix, key)
    {
        return Fate::Over(behind);
    }
    // A name that covers a day is of interest for as long as any of the day is.
    let written = Covered { begin: written, end: EventTime(written.0.saturating_add(1)) };
    let span = layout::span_of(key).unwrap_or(written);
    let is_within = bucket.since.is_none_or(|since| span.end > since)
        && bucket.until.is_none_or(|until| span.begin < until);
    if !is_within {
        return Fate::LeftOut(OTHER_TIMES.to_owned());
    }
    match bucket.keys.leaves_out(key) {
        Some(line) => Fate::LeftOut(line),
        None => Fate::Read(span.begin),
    }
}

/// A name behind all dates that are written as this key's is: `:` comes after the digits. None where its folder begins with
/// no date.
fn behind_dates(prefix: &str, key: &str) -> Option<String> {
    let folder = key.strip_prefix(prefix)?.split('/').next()?;
    let name = folder.find('=').map_or(0, |at| at + 1);
    folder[name..]
        .starts_with(|first: char| first.is_ascii_digit())
        .then(|| format!("{prefix}{}:", &folder[..name]))
}

impl Walk<'_> {
    fn run(&mut self, positions: &dyn Positions) -> Result<(), Cut> {
        let bucket = &self.listing.bucket;
        let mut strands = Vec::new();
        for (prefix, is_flat) in self.strands(&bucket.prefix)? {
            let kept = positions.value(&self.listing.source, &self.listing.key(&prefix));
            let after = kept.unwrap_or_else(|| match bucket.since.filter(|_| !is_flat) {
                // Years of names before that need not be listed.
                Some(since) => format!("{prefix}{}", before_day(&prefix, since)),
                None => String::new(),
            });
            strands.push(Strand { prefix, is_flat, after, has_more: true, waiting: VecDeque::new() });
        }
        loop {
            for strand in &mut strands {
                while strand.waiting.is_empty() && strand.has_more {
                    self.list(strand)?;
                }
            }
            let first = strands
                .iter_mut()
                .filter(|strand| !strand.waiting.is_empty())
                .min_by_key(|strand| strand.waiting.front().map(|(time, _)| *time));
            let Some(strand) = first else { return Ok(()) };
            let Some((_, key)) = strand.waiting.pop_front() else { continue };
            self.read(&key)?;
            let position = Position {
                source: Arc::clone(&self.listing.source),
                key: self.listing.key(&strand.prefix),
                value: key,
            };
            self.feed.outlet.send(SourceItem::Position(position))?;
        }
    }

    /// Folders with dates below them, and folders with objects and no dates.
    fn strands(&mut self, prefix: &str) -> Result<Vec<(String, bool)>, Cut> {
        let mut found = Vec::new();
        let mut folders = vec![(prefix.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let (mut after, mut has_objects, mut below) = (String::new(), false, Vec::new());
            loop {
                let page = self.page(&folder, &after, true)?;
                has_objects |= page.keys.iter().any(|(_, key)| !key.ends_with('/'));
                below.extend(page.folders);
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            if below.iter().any(|path| is_dated(path)) {
                found.push((folder, false));
                continue;
            }
            if has_objects {
                found.push((folder, true));
            }
            if depth < MAX_DEPTH {
                let own = below.into_iter().filter(|path| !is_foreign(path));
                folders.extend(own.map(|path| (path, depth + 1)));
            }
        }
        found.sort();
        Ok(found)
    }

    fn list(&mut self, strand: &mut Strand) -> Result<(), Cut> {
        let page = self.page(&strand.prefix, &strand.after, strand.is_flat)?;
        if let Some((_, last)) = page.keys.last() {
            strand.after.clone_from(last);
        }
        match page.next {
            Some(next) => strand.after = next,
            None => strand.has_more = false,
        }
        for (written, key) in page.keys {
            match fate(&self.listing.bucket, &strand.prefix, strand.is_flat, &key, written) {
                Fate::Read(time) => strand.waiting.push_back((time, key)),
                Fate::LeftOut(line) => self.feed.outlet.send(SourceItem::LeftOut(line.into()))?,
                Fate::Nothing => {}
                Fate::Over(behind) => {
                    (strand.after, strand.has_more) = (behind, true);
                    break;
                }
            }
        }
        Ok(())
    }

    /// One page of names; asked for until it comes.
    fn page(&mut self, prefix: &str, after: &str, with_folders: bool) -> Result<Page, Cut> {
        let mut pause = FIRST_PAUSE;
        let mut region: Option<String> = None;
        loop {
            let request = self
                .clients
                .s3(region.as_deref())
                .list_objects_v2()
                .bucket(&self.listing.bucket.name)
                .prefix(prefix)
                .set_start_after(Some(after.to_owned()).filter(|after| !after.is_empty()))
                .set_delimiter(with_folders.then(|| "/".to_owned()))
                .max_keys(PAGE);
            let answer = self.handle.block_on(super::unless_stopped(self.stop, request.send()));
            match answer.ok_or(Cut::Stopped)? {
                Ok(answer) => {
                    self.feed.outlet.send(SourceItem::Opened)?;
                    self.said = None;
                    let keys = answer.contents().iter().filter_map(|object| {
                        let written =
                            object.last_modified().and_then(|time| i64::try_from(time.as_nanos()).ok());
                        Some((EventTime(written.unwrap_or(0)), object.key()?.to_owned()))
                    });
                    let keys: Vec<_> = keys.collect();
                    let folders: Vec<_> = answer
                        .common_prefixes()
                        .iter()
                        .filter_map(|folder| folder.prefix().map(str::to_owned))
                        .collect();
                    // Names that begin with a folder sort behind it: its last possible name comes before the next one.
                    let last_folder = folders.last().map(|folder| format!("{folder}\u{10ffff}"));
                    let last_key = keys.last().map(|(_, key)| key.clone());
                    let next = last_folder.max(last_key).filter(|_| answer.is_truncated() == Some(true));
                    return Ok(Page { keys, folders, next });
                }
                Err(error) => match failure(&error) {
                    Failure::Elsewhere(other) if region.is_none() => region = Some(other),
                    failed => self.complain(failed.reason(), &mut pause)?,
                },
            }
        }
    }

    fn read(&mut self, key: &str) -> Result<(), Cut> {
        let bucket = &self.listing.bucket.name;
        let name = format!("s3://{bucket}/{key}");
        let object = ObjectAt { bucket: bucket.clone(), key: key.to_owned(), other_key: None, region: None };
        let mut pause = FIRST_PAUSE;
        let mut n_tries = 0;
        loop {
            n_tries += 1;
            let failed = match fetch::open(&self.clients, &self.handle, &object, self.stop) {
                Ok(reader) => {
                    let outcome = self.feed.object(&name, layout::kind(key), reader)?;
                    if !outcome.is_interrupted {
                        return Ok(());
                    }
                    Failure::Unreachable(outcome.first_fault.unwrap_or_default())
                }
                Err(failed) => failed,
            };
            if self.stop.is_set() {
                return Err(Cut::Stopped);
            }
            let is_hopeless = match failed {
                Failure::Missing(_) | Failure::Never(_) => true,
                Failure::Denied(_) | Failure::Elsewhere(_) => n_tries >= MAX_TRIES,
                Failure::Refused(_) => n_tries >= MAX_REFUSED,
                Failure::Unreachable(_) => false,
            };
            if is_hopeless {
                let reason =
                    format!("{}; it is left out: hand it over another way if it matters", failed.reason());
                self.feed.reject(name, reason, RejectedKind::Object, &mut Outcome::default())?;
                return Ok(());
            }
            self.complain(&format!("{name}: {}", failed.reason()), &mut pause)?;
        }
    }

    /// Says once what is in the way, and waits.
    fn complain(&mut self, reason: &str, pause: &mut Duration) -> Result<(), Cut> {
        if self.said.as_deref() != Some(reason) {
            let at = format!("s3://{}/{}", self.listing.bucket.name, self.listing.bucket.prefix);
            let text = format!("{reason}; it is tried again");
            self.feed.reject(at, text, RejectedKind::Unreadable, &mut Outcome::default())?;
            self.said = Some(reason.to_owned());
        }
        if self.stop.wait(*pause) {
            return Err(Cut::Stopped);
        }
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

struct Page {
    keys: Vec<(EventTime, String)>,
    folders: Vec<String>,
    /// Go on behind this.
    next: Option<String>,
}

/// `…/2026/`, `…/year=2026/`, `…/eventDay=20261102/`.
fn is_dated(folder: &str) -> bool {
    let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let year = name.strip_prefix("year=").unwrap_or(name);
    let is_number = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(year, 4) || name.strip_prefix("eventDay=").is_some_and(|day| is_number(day, 8))
}

/// The last name before those of a day, in a folder with dates below it, whichever way they are written.
fn before_day(prefix: &str, since: EventTime) -> String {
    let text = crate::time::format(EventTime(since.0.saturating_sub(layout::reach(prefix).0)));
    let (year, month, day) = (&text[..4], &text[5..7], &text[8..10]);
    if prefix.contains("accountId=") {
        format!("eventDay={year}{month}{day}")
    } else if prefix.contains("aws-service=") {
        format!("year={year}/month={month}/day={day}")
    } else {
        format!("{year}/{month}/{day}")
    }
}

fn is_foreign(key: &str) -> bool {
    matches!(layout::kind(key), Kind::Foreign | Kind::Digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_skipped_to_in_each_layout() {
        let since = crate::time::parse("2026-11-02T10:00:00Z").unwrap();
        for (prefix, key) in [
            ("AWSLogs/1/CloudTrail/eu-west-1/", "AWSLogs/1/CloudTrail/eu-west-1/2026/11/02/a"),
            ("lake/region=x/accountId=1/", "lake/region=x/accountId=1/eventDay=20261102/a"),
            (
                "AWSLogs/aws-service=vpcflowlogs/",
                "AWSLogs/aws-service=vpcflowlogs/year=2026/month=11/day=02/a",
            ),
        ] {
            let after = format!("{prefix}{}", before_day(prefix, since));
            assert!(*after < *key, "{after}");
            assert!(
                after.as_str() > key.replace("02/a", "01/z").replace("1102/a", "1101/z").as_str(),
                "{after}"
            );
            assert!(layout::time_of(key).is_some_and(|time| time <= since), "{key}");
        }
        for (folder, is) in
            [("a/2026/", true), ("a/eventDay=20261102/", true), ("a/11/", false), ("111122223333/", false)]
        {
            assert_eq!(is_dated(folder), is, "{folder}");
        }
    }

    #[test]
    fn what_covers_part_of_the_span_is_read_and_what_has_no_date_ends_nothing() {
        let at = |text: &str| crate::time::parse(text).unwrap();
        let bucket = Bucket {
            name: "trail".to_owned(),
            prefix: String::new(),
            access: crate::config::aws::Access::default(),
            since: Some(at("2026-11-02T10:00:00Z")),
            until: Some(at("2026-11-03T10:00:00Z")),
            keys: crate::config::aws::Keys { drop: vec!["*dropped*".to_owned()], ..Default::default() },
        };
        let prefix = "AWSLogs/111122223333/GuardDuty/eu-west-1/";
        let read = |text: &str| Fate::Read(at(text));
        let left = |why: &str| Fate::LeftOut(why.to_owned());
        let over = || Fate::Over(format!("{prefix}:"));
        let (before, after) = ("2026-11-01T00:00:00Z", "2026-11-20T00:00:00Z");
        for (name, written, expect) in [
            ("2026/11/01/x.gz", after, left("since and until")),
            // Of these days a part counts.
            ("2026/11/02/x.gz", after, read("2026-11-02T00:00:00Z")),
            ("2026/11/03/x.gz", after, read("2026-11-03T00:00:00Z")),
            ("2026/11/02/09/x.gz", after, left("since and until")),
            ("2026/11/02/10/x.gz", after, read("2026-11-02T10:00:00Z")),
            ("2026/11/03/09/x.gz", after, read("2026-11-03T09:00:00Z")),
            ("2026/11/02/a_20261102T0959Z_b.gz", after, left("since and until")),
            ("2026/11/02/a_20261102T1000Z_b.gz", after, read("2026-11-02T10:00:00Z")),
            // Another flow log's files of the morning follow in the same folder.
            ("2026/11/03/fl-1_20261103T1000Z_b.gz", after, left("since and until")),
            ("2026/11/03/10/x.gz", after, over()),
            ("2026/11/04/x.gz", after, over()),
            ("year=2026/month=11/day=04/x.gz", after, Fate::Over(format!("{prefix}year=:"))),
            // Without a date what counts is when it was written, and others follow.
            ("2026/", after, Fate::Nothing),
            ("2026/11/04/", after, Fate::Nothing),
            ("notes.json", after, left("since and until")),
            ("notes.json", before, left("since and until")),
            ("notes.json", "2026-11-02T10:00:00Z", read("2026-11-02T10:00:00Z")),
            ("zone/2026/11/04/x.gz", after, left("since and until")),
            ("2026/11/02/dropped.gz", after, left("key *dropped*")),
        ] {
            let key = format!("{prefix}{name}");
            assert_eq!(fate(&bucket, prefix, false, &key, at(written)), expect, "{name}");
        }
        let flat = fate(&bucket, prefix, true, &format!("{prefix}2026/11/04/x.gz"), at(after));
        assert_eq!(flat, left("since and until"));
        let config =
            fate(&bucket, "", false, "AWSLogs/111122223333/Config/eu-west-1/2026/11/2/x.gz", at(after));
        assert_eq!(config, left("logs of other services"));
        // Flow logs of before midnight end after it, and those of after it may have begun before.
        let prefix = "AWSLogs/111122223333/vpcflowlogs/eu-west-1/";
        let bucket = Bucket {
            since: Some(at("2026-11-02T00:02:00Z")),
            until: Some(at("2026-11-02T23:56:00Z")),
            ..bucket
        };
        for (name, expect) in [
            ("2026/11/01/a_20261101T2350Z_b.gz", left("since and until")),
            ("2026/11/01/a_20261101T2358Z_b.gz", read("2026-11-01T23:48:00Z")),
            ("2026/11/03/a_20261103T0000Z_b.gz", read("2026-11-02T23:50:00Z")),
            ("2026/11/03/a_20261103T0010Z_b.gz", left("since and until")),
            ("2026/11/04/a_20261104T0000Z_b.gz", Fate::Over(format!("{prefix}:"))),
        ] {
            assert_eq!(fate(&bucket, prefix, false, &format!("{prefix}{name}"), at(after)), expect, "{name}");
        }
        assert_eq!(before_day(prefix, at("2026-11-02T00:02:00Z")), "2026/11/01");
        assert!(*behind_dates(prefix, &format!("{prefix}2026/11/04/x")).unwrap() > *format!("{prefix}9999/"));
        assert!(*behind_dates(prefix, &format!("{prefix}2026/11/04/x")).unwrap() < *format!("{prefix}notes"));
    }
}
