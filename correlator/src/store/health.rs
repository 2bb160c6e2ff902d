//! What a run says of itself in its store, for `status`: replaced each time, and nothing rests on it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::outbox::Outbox;
use super::{Store, StoreError, schema};
use crate::health::Health;

impl Store {
    /// Opens a store to look at it, whoever uses it, and changes nothing.
    ///
    /// # Errors
    /// It is not there, cannot be opened, or a newer program wrote it.
    pub fn open_to_look(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        if schema::refuse_others(&conn, path)? == schema::Whose::Nobodys {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found > schema::VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        Ok(Self { conn, lock: None, is_synced: false, outbox: Outbox::default() })
    }

    /// # Errors
    /// As [`Self::commit`].
    pub fn keep_health(&mut self, health: &Health) -> Result<(), StoreError> {
        let document = serde_json::to_string(health).expect("plain data serialises");
        let insert = "insert or replace into health (id, document) values (1, ?1)";
        self.conn.execute(insert, [document]).map_err(StoreError::Write)?;
        Ok(())
    }

    /// What the run said last. None: it never said anything, or in a form of another version.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn health(&self) -> Result<Option<Health>, StoreError> {
        let is_there = "select 1 from sqlite_master where name = 'health'";
        let read = || -> rusqlite::Result<Option<String>> {
            if self.conn.query_row(is_there, [], |_| Ok(())).optional()?.is_none() {
                return Ok(None);
            }
            self.conn.query_row("select document from health", [], |row| row.get(0)).optional()
        };
        Ok(read().map_err(StoreError::Read)?.and_then(|document| serde_json::from_str(&document).ok()))
    }

    /// How many alerts stand, by severity.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn n_alerts_by_severity(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let query =
            "select coalesce(json_extract(document, '$.groundtrail.alert.severity'), 'unknown'), count(*)
                     from alerts where state <> 'withdrawn' group by 1";
        let rows = self.rows(query, |row| {
            Ok((row.get::<_, String>(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// How many rows each table has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn n_rows(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let tables: Vec<String> =
            self.rows("select name from sqlite_master where type = 'table' order by name", |row| row.get(0))?;
        let count = |name: String| {
            // Only tables of ours are in a file that was opened.
            let count = format!("select count(*) from \"{}\"", name.replace('"', "\"\""));
            let n: i64 = self.conn.query_row(&count, [], |row| row.get(0)).map_err(StoreError::Read)?;
            Ok((name, n.unsigned_abs()))
        };
        tables.into_iter().map(count).collect()
    }
}
