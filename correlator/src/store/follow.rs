//! Alerts as they come and change in a store that a run writes, seen by somebody else.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::OptionalExtension as _;

use super::{Store, StoreError, stored_alert};
use crate::alert::AlertId;
use crate::store::StoredAlert;

/// Looking takes no more than this part of the time.
const SHARE: u32 = 20;

/// Follows one store. It is looked at and never written, so that the run does not notice.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    store: Store,
    /// Of the file that is open: another may lie there later.
    inode: u64,
    version: Option<i64>,
    /// The revision that was given out last.
    told: HashMap<AlertId, u32>,
    rest_until: Option<Instant>,
}

impl Follower {
    /// # Errors
    /// As [`Store::open_to_look`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Store::open_to_look(path)?;
        let inode = inode(path).unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            store,
            inode,
            version: None,
            told: HashMap::new(),
            rest_until: None,
        })
    }

    /// The latest alerts that are wanted, in order of time. All that are there count as given out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest(
        &mut self,
        n: usize,
        mut is_wanted: impl FnMut(&StoredAlert) -> bool,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        self.version = Some(self.version()?);
        let rows = self.revisions()?;
        let mut newest = Vec::new();
        for (id, _) in rows.iter().rev() {
            if newest.len() == n {
                break;
            }
            newest.extend(self.store.alert_of(id.as_str())?.filter(&mut is_wanted));
        }
        newest.reverse();
        self.told = rows.into_iter().collect();
        self.told.extend(newest.iter().map(|alert| (alert.id.clone(), alert.revision)));
        Ok(newest)
    }

    /// Gives out alerts of which a new revision is there since this was last asked, in order of time; at first, all.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn poll(&mut self, now: Instant, mut each: impl FnMut(StoredAlert)) -> Result<(), StoreError> {
        if self.rest_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        // None: it was taken away and is not there again yet. What is open goes on being there.
        if let Some(found) = inode(&self.path)
            && found != self.inode
        {
            self.store = Store::open_to_look(&self.path)?;
            (self.inode, self.version) = (found, None);
        }
        let version = self.version()?;
        if self.version == Some(version) {
            return Ok(());
        }
        let started = Instant::now();
        let rows = self.revisions()?;
        let mut told = HashMap::with_capacity(rows.len());
        for (id, revision) in rows {
            let mut given = revision;
            if self.told.get(&id) != Some(&revision)
                // None: its time was up in between.
                && let Some(alert) = self.store.alert_of(id.as_str())?
            {
                // One that came in between, perhaps.
                given = alert.revision;
                each(alert);
            }
            told.insert(id, given);
        }
        self.told = told;
        self.version = Some(version);
        let rest = started.elapsed() * SHARE;
        self.rest_until = (rest > Duration::from_millis(100)).then(|| now + rest);
        Ok(())
    }

    /// Changes whenever anybody else has written.
    fn version(&self) -> Result<i64, StoreError> {
        let conn = &self.store.conn;
        conn.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(StoreError::Read)
    }

    fn revisions(&self) -> Result<Vec<(AlertId, u32)>, StoreError> {
        self.store.rows("select id, revision from alerts order by time, id", |row| {
            Ok((AlertId::from_store(row.get_ref(0)?.as_str()?), row.get(1)?))
        })
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|data| data.ino())
}

impl Store {
    /// An alert by its whole id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_of(&self, id: &str) -> Result<Option<StoredAlert>, StoreError> {
        let select = format!("{} where id = ?1", self.select_alerts()?);
        let read = || self.conn.prepare_cached(&select)?.query_row([id], stored_alert).optional();
        read().map_err(StoreError::Read)
    }

    /// The events of sensors that state rests on or alerts may be explained by, with a text in them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn each_host_event(&self, with: &str, mut each: impl FnMut(&str)) -> Result<(), StoreError> {
        let mut read = || {
            let mut select =
                self.conn.prepare("select raw from held where origin = 'sensor' order by time")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let raw = row.get_ref(0)?.as_str()?;
                if raw.contains(with) {
                    each(raw);
                }
            }
            Ok(())
        };
        read().map_err(StoreError::Read)
    }
}

#[cfg(test)]
mod tests {
    use rules::event::EventTime;
    use serde_json::json;

    use super::*;
    use crate::alert::{AlertChange, AlertState};
    use crate::store::Batch;

    fn commit(store: &mut Store, id: &str, time: i64, revision: u32) {
        let change = AlertChange {
            id: AlertId::from_store(id),
            rule_id: "r".into(),
            time: EventTime(time),
            revision,
            content: [0; 16],
            state: AlertState::Open,
            document: json!({"revision": revision}),
        };
        store.commit(&Batch { alerts: &[change], ..Batch::default() }).unwrap();
    }

    #[track_caller]
    fn check(follower: &mut Follower, expect: &[(&str, u32)]) {
        follower.rest_until = None;
        let mut given = Vec::new();
        follower.poll(Instant::now(), |alert| given.push((alert.id, alert.revision))).unwrap();
        let given: Vec<(&str, u32)> = given.iter().map(|(id, revision)| (id.as_str(), *revision)).collect();
        assert_eq!(given, expect);
    }

    #[test]
    fn each_revision_is_given_out_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.db");
        let mut store = Store::open(&path).unwrap();
        commit(&mut store, "b", 2, 1);
        commit(&mut store, "a", 1, 1);
        let mut follower = Follower::open(&path).unwrap();
        check(&mut follower, &[("a", 1), ("b", 1)]);
        check(&mut follower, &[]);
        commit(&mut store, "a", 1, 2);
        commit(&mut store, "c", 0, 1);
        check(&mut follower, &[("c", 1), ("a", 2)]);
        check(&mut follower, &[]);
    }

    #[test]
    fn the_newest_are_those_that_are_wanted_and_nothing_of_before_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.db");
        let mut store = Store::open(&path).unwrap();
        for (time, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            commit(&mut store, id, time as i64, 1);
        }
        let mut follower = Follower::open(&path).unwrap();
        let newest = follower.newest(2, |alert| alert.id.as_str() != "c").unwrap();
        let newest: Vec<&str> = newest.iter().map(|alert| alert.id.as_str()).collect();
        assert_eq!(newest, ["b", "d"]);
        check(&mut follower, &[]);
        commit(&mut store, "e", 9, 1);
        check(&mut follower, &[("e", 1)]);
    }

    #[test]
    fn a_store_that_was_replaced_is_followed_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.db");
        let mut store = Store::open(&path).unwrap();
        commit(&mut store, "a", 1, 1);
        let mut follower = Follower::open(&path).unwrap();
        check(&mut follower, &[("a", 1)]);
        std::fs::rename(&path, folder.path().join("old.db")).unwrap();
        check(&mut follower, &[]);
        let mut store = Store::open(&path).unwrap();
        commit(&mut store, "b", 1, 1);
        check(&mut follower, &[("b", 1)]);
    }
}
