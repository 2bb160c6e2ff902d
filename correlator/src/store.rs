//! The embedded store: what has to outlive the process. SQLite in WAL mode, one writer.
//!
//! Everything of one stretch of input is written in one transaction: the ids that were seen, the events state rests on,
//! the terms that are known, the alerts, and last the sources' positions. So after a crash either all of it happened or
//! none, and what was not acknowledged is read again. Alerts are marked once a sink has them; those a crash left unmarked
//! are handed out again under the same id and revision.

mod follow;
mod gate;
mod health;
mod outbox;
mod room;
mod schema;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rules::event::{EventTime, Span};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, params};

pub use follow::Follower;
pub use outbox::{Line, Queue, Reader, Taken, Waiting};
pub use room::Kept;
#[cfg(test)]
pub(crate) use schema::STEPS;
pub use state::{KeyRow, OpenRow, ReadKey, StateRows};

use crate::alert::blind::Heard;
use crate::alert::book::Told;
use crate::alert::{AlertChange, AlertId, AlertState};
use crate::identity::{Changes, Row};
use crate::keyed::JoinKey;
use crate::source::{Origin, Position};

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the store \"{}\": {source}; check the path and that this user may write there", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the store \"{}\" has format {found} and this program knows up to {known}: use a newer groundtrail, or another store path",
        path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("\"{}\" is no store of groundtrail's: give another path with --store or [store] path", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "another run uses the store \"{}\": end that one first, or give this one a store of its own with --store",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error("cannot lock the store with \"{}\": {source}; check that this user may write there", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error(
        "cannot write to the store: {0}; nothing after the last commit is acknowledged, and it will be read again"
    )]
    Write(rusqlite::Error),
    #[error("cannot read the store: {0}")]
    Read(rusqlite::Error),
}

impl StoreError {
    /// Whether trying again may help: the disk is full, failing, or busy.
    pub fn may_pass(&self) -> bool {
        let Self::Write(error) = self else { return false };
        let code = error.sqlite_error_code();
        matches!(
            code,
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
            )
        )
    }
}

/// How long after ids are forgotten the account of what was heard goes.
const FORGET_HEARD: Span = Span::from_secs(24 * 3_600);
const FORGET_LOSSES: Span = Span::from_secs(48 * 3_600);

/// An event that state rests on, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEvent {
    pub id: [u8; 16],
    pub origin: Origin,
    pub raw: Arc<str>,
    pub time: EventTime,
    /// When nothing rests on it any more.
    pub until: EventTime,
    pub role: HeldRole,
}

/// Where an event is to be found: by its time, or, where it is an alert and its time may change, at the beginning.
pub(crate) fn moment(origin: Origin, time: EventTime) -> EventTime {
    if origin == Origin::Signal { EventTime(0) } else { time }
}

/// An event that was there, by its short id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenId {
    pub id: [u8; 16],
    /// To the hour.
    pub time: EventTime,
    /// A fingerprint of what it said; 0 where that is not known.
    pub content: u32,
}

const HOUR: i64 = 3_600_000_000_000;

/// What a held event is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldRole {
    /// State refers to it.
    Evidence = 0,
    /// State refers to it, or did where an older build wrote it, and it may explain alerts as well.
    Both = 1,
    /// An older format held events and no state: that is computed from them once more.
    All = 2,
    /// It may explain alerts, which is asked anew at every start, and nothing else rests on it.
    Context = 3,
}

/// A term of a new-terms rule and when it was last seen, as formats up to 2 held it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTerm {
    pub rule_id: String,
    pub key: JoinKey,
    /// When it was last news. Unknown in what older versions wrote.
    pub first_seen: Option<EventTime>,
    pub last_seen: EventTime,
}

/// A window that is over, as format 2 held it: its events are not to start another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    pub rule_id: String,
    pub key: JoinKey,
    pub through: EventTime,
}

/// An alert of a rule with suppression, while it may speak for others or another for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMember {
    pub rule_id: String,
    pub group: Vec<Box<str>>,
    pub time: EventTime,
    pub until: EventTime,
    pub id: AlertId,
}

/// An alert as it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAlert {
    pub id: AlertId,
    pub revision: u32,
    pub content: [u8; 16],
    pub is_withdrawn: bool,
    pub document: String,
}

/// A held event and until when it is needed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOff {
    pub id: [u8; 16],
    /// See [`moment`].
    pub moment: EventTime,
    pub until: EventTime,
}

/// One stretch of input and what it led to.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    pub ids: Vec<SeenId>,
    pub held: Vec<HeldEvent>,
    /// Held events that are needed for longer.
    pub put_off: Vec<PutOff>,
    pub state: StateRows,
    pub heard: Vec<Heard>,
    pub identities: Changes,
    pub members: Vec<KeptMember>,
    pub members_gone: Vec<AlertId>,
    pub alerts: &'a [AlertChange],
    pub positions: Vec<Position>,
    /// What is older than this is not needed against repetition.
    pub forget_ids_before: Option<EventTime>,
    /// What nothing rests on at this time goes.
    pub watermark: Option<EventTime>,
    /// Alerts, and what was known of hosts and keys, are kept for this long before `watermark`.
    pub retention: Span,
}

impl Batch<'_> {
    /// Whether there is nothing new to write.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.held.is_empty()
            && self.put_off.is_empty()
            && self.state.is_empty()
            && self.heard.is_empty()
            && self.identities.is_empty()
            && self.members.is_empty()
            && self.members_gone.is_empty()
            && self.alerts.is_empty()
            && self.positions.is_empty()
    }
}

#[derive(Debug)]
pub struct Store {
    conn: Connection,
    /// Held as long as this is a run's store. The system lets go of it when the process ends, however it ends.
    lock: Option<File>,
    /// Each commit is on the disk itself when it returns.
    is_synced: bool,
    outbox: outbox::Outbox,
}

impl Store {
    /// Of what it writes. A store of a later one is refused.
    pub const FORMAT: u32 = schema::VERSION;

    /// Opens a store for a run, as [`Self::open`] does, and keeps other runs out: two would take each other's positions
    /// and alerts for their own.
    ///
    /// # Errors
    /// As [`Self::open`], or another run has it.
    pub fn open_for_run(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let mut store = Self::open(path)?;
        store.lock = Some(lock);
        Ok(store)
    }

    /// Opens a store, making it if it is not there and bringing an older one up to date.
    ///
    /// # Errors
    /// It cannot be opened, or a newer program wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        // Command lines and answers of AWS are in it: nothing for everybody, whatever the umask. What SQLite puts beside
        // it gets the same mode. A path that cannot be opened is SQLite's to tell of.
        let _ = File::options().append(true).create(true).mode(0o640).open(path);
        let conn = Connection::open(path).map_err(failed)?;
        schema::refuse_others(&conn, path)?;
        // With WAL, NORMAL loses at most the last transactions on a power cut, never the file; whatever is lost was
        // not acknowledged to a source that could not be read again.
        conn.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        conn.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        // Indices of some hundred MiB stay at hand, and are written back seldom instead of for every thousand pages.
        conn.pragma_update(None, "cache_size", -65_536).map_err(failed)?;
        conn.pragma_update(None, "wal_autocheckpoint", 16_384).map_err(failed)?;
        conn.pragma_update(None, "journal_size_limit", 64 << 20).map_err(failed)?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        Self::prepare(conn, path)
    }

    /// A second connection to the same file, for reading. None where there is no file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn shelf(&self) -> Result<Option<Self>, StoreError> {
        let path = self.conn.path().filter(|path| !path.is_empty());
        let open = |path: &str| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(path, flags)
                .map_err(|source| StoreError::Open { path: path.into(), source })?;
            Ok(Self { conn, lock: None, is_synced: false, outbox: outbox::Outbox::default() })
        };
        path.map(open).transpose()
    }

    /// One event that state rests on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn held_event(&self, moment: EventTime, id: &[u8; 16]) -> Result<Option<HeldEvent>, StoreError> {
        let read = || {
            let mut select = self.conn.prepare_cached(
                "select id, origin, raw, time, until, role from held where moment = ?1 and id = ?2",
            )?;
            select.query_row(params![moment.0, &id[..]], held_row).optional()
        };
        read().map_err(StoreError::Read)
    }

    /// A store that ends with the process.
    ///
    /// # Errors
    /// Out of memory, in effect.
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let conn = Connection::open_in_memory()
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Self::prepare(conn, path)
    }

    fn prepare(mut conn: Connection, path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found > schema::VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        schema::migrate(&mut conn, found).map_err(failed)?;
        Ok(Self { conn, lock: None, is_synced: false, outbox: outbox::Outbox::default() })
    }

    /// Writes a batch, all of it or nothing.
    ///
    /// # Errors
    /// The disk is full or failing: nothing of the batch is acknowledged.
    pub fn commit(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut changes = self.outbox.begin();
        let written = self.write(batch, &mut changes);
        match written {
            Ok(()) => self.outbox.settle(changes),
            Err(_) => self.outbox.undo(changes),
        }
        written.map_err(StoreError::Write)
    }

    /// Has everything that was committed on the disk itself: see [`Self::open`] for what is not there by then.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        // A commit that writes the log through takes all before it along, whoever reads meanwhile. From now on every commit
        // is such a one.
        let all = || {
            if !self.is_synced {
                self.conn.pragma_update(None, "synchronous", "FULL")?;
                self.conn.execute("insert or replace into marks (name, value) values ('synced', 1)", [])?;
            }
            Ok(())
        };
        all().map_err(StoreError::Write)?;
        self.is_synced = true;
        Ok(())
    }

    fn write(&mut self, batch: &Batch<'_>, changes: &mut outbox::Changes) -> rusqlite::Result<()> {
        let tx = self.conn.transaction()?;
        {
            write_ids(&tx, &batch.ids)?;
            let mut insert = tx.prepare_cached(
                "insert into held (id, origin, raw, time, until, role, moment) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 on conflict (moment, id) do update set
                   until = max(until, excluded.until),
                   role = case when role = excluded.role then role when 2 in (role, excluded.role) then 2 else 1 end,
                   -- An event is what it first was; an alert that is read as one changes.
                   raw = case when excluded.origin = 'signal' then excluded.raw else raw end,
                   time = case when excluded.origin = 'signal' then excluded.time else time end",
            )?;
            for held in &batch.held {
                insert.execute(params![
                    &held.id[..],
                    origin_name(held.origin),
                    held.raw,
                    held.time.0,
                    held.until.0,
                    held.role as u8,
                    moment(held.origin, held.time).0
                ])?;
            }
            let mut update =
                tx.prepare_cached("update held set until = ?3 where moment = ?2 and id = ?1 and until < ?3")?;
            for PutOff { id, moment, until } in &batch.put_off {
                update.execute(params![&id[..], moment.0, until.0])?;
            }
            // A dataset has no minute; -1 stands for that, since null would not be unique.
            let mut insert =
                tx.prepare_cached("insert or ignore into heard (name, minute) values (?1, ?2)")?;
            for heard in &batch.heard {
                insert.execute(params![heard.name, heard.minute.unwrap_or(-1)])?;
            }
            batch.state.write(&tx)?;
            write_identities(&tx, &batch.identities)?;
            write_members(&tx, batch)?;
            let mut insert = tx.prepare_cached(
                "insert into alerts (id, rule_id, time, revision, content, state, is_delivered, document, worst)
                 values (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)
                 on conflict (id) do update set time = excluded.time, revision = excluded.revision,
                   content = excluded.content, state = excluded.state, is_delivered = 0, document = excluded.document,
                   worst = max(worst, excluded.worst)
                 returning worst",
            )?;
            for alert in batch.alerts {
                let document = alert.document.to_string();
                let row = params![
                    alert.id.as_str(),
                    &*alert.rule_id,
                    alert.time.0,
                    alert.revision,
                    &alert.content[..],
                    alert.state.as_str(),
                    document,
                    outbox::rank(alert.severity())
                ];
                let worst = insert.query_row(row, |row| row.get(0))?;
                self.outbox.put(&tx, alert, (worst, &document), changes)?;
            }
            self.outbox.clear(&tx, changes)?;
            let mut insert = tx.prepare_cached(
                "insert into positions (source, key, value) values (?1, ?2, ?3)
                 on conflict (source, key) do update set value = excluded.value",
            )?;
            for position in &batch.positions {
                insert.execute(params![&*position.source, position.key, position.value])?;
            }
            if let Some(before) = batch.forget_ids_before {
                let hour = before.0.div_euclid(HOUR);
                tx.prepare_cached("delete from seen_ids where hour < ?1")?.execute([hour])?;
                // Alerts look back a day and their contexts' span further.
                let minute = (before - FORGET_HEARD).0.div_euclid(60_000_000_000);
                tx.prepare_cached("delete from heard where minute between 0 and ?1")?.execute([minute])?;
            }
            for (name, since) in &batch.state.since {
                tx.prepare_cached("insert or replace into marks (name, value) values ('since ' || ?1, ?2)")?
                    .execute(params![name, since.0])?;
            }
            if let Some(watermark) = batch.watermark {
                tx.prepare_cached("delete from held where until < ?1")?.execute([watermark.0])?;
                tx.prepare_cached("insert or replace into marks (name, value) values ('watermark', ?1)")?
                    .execute([watermark.0])?;
                tx.prepare_cached("delete from losses where time < ?1")?
                    .execute([(watermark - FORGET_LOSSES).0])?;
                tx.prepare_cached("delete from suppression where until < ?1")?.execute([watermark.0])?;
                let oldest = (watermark - batch.retention).0;
                tx.prepare_cached("delete from identities where last < ?1")?.execute([oldest])?;
                tx.prepare_cached("delete from alerts where time < ?1 and is_delivered = 1")?
                    .execute([oldest])?;
            }
        }
        tx.commit()
    }

    /// Sinks have these.
    ///
    /// # Errors
    /// As [`Self::commit`]: they will be handed out once more after a restart.
    pub fn mark_delivered(&mut self, alerts: &[AlertChange]) -> Result<(), StoreError> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.conn.transaction()?;
            {
                let mut update =
                    tx.prepare_cached("update alerts set is_delivered = 1 where id = ?1 and revision = ?2")?;
                for alert in alerts {
                    update.execute(params![alert.id.as_str(), alert.revision])?;
                }
            }
            tx.commit()
        };
        write().map_err(StoreError::Write)
    }

    /// # Errors
    /// The file cannot be read.
    pub fn each_id(&self, mut each: impl FnMut(SeenId)) -> Result<(), StoreError> {
        let mut read = || {
            let mut select = self.conn.prepare("select hour, ids from seen_ids")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let time = EventTime(row.get::<_, i64>(0)?.saturating_mul(HOUR));
                for one in row.get_ref(1)?.as_blob()?.chunks_exact(ID_BYTES) {
                    let mut content = [0; 4];
                    content.copy_from_slice(&one[16..]);
                    each(SeenId { id: short(one), time, content: u32::from_le_bytes(content) });
                }
            }
            Ok(())
        };
        read().map_err(StoreError::Read)
    }

    /// The events that may explain alerts, in event order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn contexts(&self) -> Result<Vec<HeldEvent>, StoreError> {
        let query =
            "select id, origin, raw, time, until, role from held where role in (1, 3) order by time, id";
        self.rows(query, held_row)
    }

    /// The events that are held for a role alone, in event order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn held(&self, role: HeldRole) -> Result<Vec<HeldEvent>, StoreError> {
        let query = format!(
            "select id, origin, raw, time, until, role from held where role = {} order by time, id",
            role as u8
        );
        self.rows(&query, held_row)
    }

    /// What was read from an older format is now written as state.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn forget_older(&mut self) -> Result<(), StoreError> {
        let script =
            "begin; update held set role = 1 where role = 2; delete from terms; delete from settled; commit";
        self.conn.execute_batch(script).map_err(StoreError::Write)
    }

    /// # Errors
    /// The file cannot be read.
    pub fn heard(&self) -> Result<Vec<Heard>, StoreError> {
        self.rows("select name, minute from heard", |row| {
            let minute: i64 = row.get(1)?;
            Ok(Heard { name: row.get(0)?, minute: Some(minute).filter(|minute| *minute >= 0) })
        })
    }

    /// # Errors
    /// The file cannot be read.
    pub fn terms(&self) -> Result<Vec<SeenTerm>, StoreError> {
        self.rows("select rule_id, key, first_seen, last_seen from terms", |row| {
            Ok(SeenTerm {
                rule_id: row.get(0)?,
                key: key_of(row.get_ref(1)?.as_str()?),
                first_seen: row.get::<_, Option<i64>>(2)?.map(EventTime),
                last_seen: EventTime(row.get(3)?),
            })
        })
    }

    /// What was known of hosts and keys.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn identities(&self) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows("select subject, attribute, value, first, last from identities", |row| {
            let (subject, attribute) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            // Written by a version that knows more kinds: nothing this one could show.
            let (Ok(subject), Ok(attribute)) =
                (serde_json::from_str(subject), serde_json::from_str(attribute))
            else {
                return Ok(None);
            };
            Ok(Some(Row { subject, attribute, value: row.get(2)?, first: row.get(3)?, last: row.get(4)? }))
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// # Errors
    /// The file cannot be read.
    pub fn members(&self) -> Result<Vec<KeptMember>, StoreError> {
        self.rows(
            "select rule_id, grouped, time, until, alert_id from suppression order by time, alert_id",
            |row| {
                Ok(KeptMember {
                    rule_id: row.get(0)?,
                    group: serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default(),
                    time: EventTime(row.get(2)?),
                    until: EventTime(row.get(3)?),
                    id: AlertId::from_store(row.get_ref(4)?.as_str()?),
                })
            },
        )
    }

    /// # Errors
    /// The file cannot be read.
    pub fn settled(&self) -> Result<Vec<SettledRow>, StoreError> {
        self.rows("select rule_id, key, through from settled", |row| {
            Ok(SettledRow {
                rule_id: row.get(0)?,
                key: key_of(row.get_ref(1)?.as_str()?),
                through: EventTime(row.get(2)?),
            })
        })
    }

    /// What was last told of each alert, without the documents, which are most of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn told(&self) -> Result<Vec<(AlertId, Told)>, StoreError> {
        self.rows("select id, revision, content, state from alerts order by time, id", |row| {
            let is_withdrawn = row.get_ref(3)?.as_str()? == AlertState::Withdrawn.as_str();
            let told =
                Told { revision: row.get(1)?, content: short(row.get_ref(2)?.as_blob()?), is_withdrawn };
            Ok((AlertId::from_store(row.get_ref(0)?.as_str()?), told))
        })
    }

    /// # Errors
    /// The file cannot be read.
    pub fn alerts(&self) -> Result<Vec<StoredAlert>, StoreError> {
        self.rows(&format!("{} order by time, id", self.select_alerts()?), stored_alert)
    }

    /// Alerts that a crash kept from the sinks, or may have.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn undelivered(&self) -> Result<Vec<StoredAlert>, StoreError> {
        let query = "select id, revision, content, state, document from alerts where is_delivered = 0 order by time, id";
        self.rows(query, stored_alert)
    }

    /// Marks what [`Self::undelivered`] gave as delivered.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn mark_all_delivered(&mut self) -> Result<(), StoreError> {
        let done = self.conn.execute("update alerts set is_delivered = 1 where is_delivered = 0", []);
        done.map(|_| ()).map_err(StoreError::Write)
    }

    /// The ids that begin like this, in order and no more than `max` of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_ids_like(&self, prefix: &str, max: usize) -> Result<Vec<String>, StoreError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut select = self
                .conn
                .prepare("select id from alerts where substr(id, 1, length(?1)) = ?1 order by id limit ?2")?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            select.query_map(params![prefix, max], |row| row.get(0))?.collect()
        };
        read().map_err(StoreError::Read)
    }

    /// How far all sources had come.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn all_positions(&self) -> Result<Vec<Position>, StoreError> {
        self.rows("select source, key, value from positions order by source, key", |row| {
            Ok(Position { source: row.get::<_, String>(0)?.into(), key: row.get(1)?, value: row.get(2)? })
        })
    }

    fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let all = || -> rusqlite::Result<Vec<T>> { self.conn.prepare(query)?.query_map([], read)?.collect() };
        all().map_err(StoreError::Read)
    }
}

/// As it lies in `seen_ids`.
const ID_BYTES: usize = 20;

/// A row for each hour of events.
fn write_ids(tx: &Transaction<'_>, ids: &[SeenId]) -> rusqlite::Result<()> {
    let mut by_hour: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for SeenId { id, time, content } in ids {
        let row = by_hour.entry(time.0.div_euclid(HOUR)).or_default();
        row.extend_from_slice(id);
        row.extend_from_slice(&content.to_le_bytes());
    }
    let mut insert = tx.prepare_cached("insert into seen_ids (hour, ids) values (?1, ?2)")?;
    for (hour, ids) in by_hour {
        insert.execute(params![hour, ids])?;
    }
    Ok(())
}

fn write_identities(tx: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<()> {
    let mut delete =
        tx.prepare_cached("delete from identities where subject = ?1 and attribute = ?2 and value = ?3")?;
    for (subject, attribute, value) in &changes.gone {
        delete.execute(params![json_text(subject), json_text(attribute), value])?;
    }
    let mut insert = tx.prepare_cached(
        "insert into identities (subject, attribute, value, first, last) values (?1, ?2, ?3, ?4, ?5)
         on conflict (subject, attribute, value) do update set
           first = min(first, excluded.first), last = max(last, excluded.last)",
    )?;
    for row in &changes.rows {
        let (subject, attribute) = (json_text(&row.subject), json_text(&row.attribute));
        insert.execute(params![subject, attribute, row.value, row.first, row.last])?;
    }
    Ok(())
}

fn write_members(tx: &Transaction<'_>, batch: &Batch<'_>) -> rusqlite::Result<()> {
    let mut delete = tx.prepare_cached("delete from suppression where alert_id = ?1")?;
    for id in &batch.members_gone {
        delete.execute([id.as_str()])?;
    }
    let mut insert = tx.prepare_cached(
        "insert or replace into suppression (alert_id, rule_id, grouped, time, until) values (?1, ?2, ?3, ?4, ?5)",
    )?;
    for member in &batch.members {
        let KeptMember { rule_id, group, time, until, id } = member;
        insert.execute(params![id.as_str(), rule_id, json_text(group), time.0, until.0])?;
    }
    Ok(())
}

fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and unit variants serialise")
}

/// A file of its own: closing a second handle on the database would drop SQLite's locks on it.
fn lock(store: &Path) -> Result<File, StoreError> {
    let mut path = store.as_os_str().to_owned();
    path.push("-lock");
    let path = PathBuf::from(path);
    let failed = |source| StoreError::Lock { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: store.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn stored_alert(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredAlert> {
    Ok(StoredAlert {
        id: AlertId::from_store(row.get_ref(0)?.as_str()?),
        revision: row.get(1)?,
        content: short(row.get_ref(2)?.as_blob()?),
        is_withdrawn: row.get_ref(3)?.as_str()? == AlertState::Withdrawn.as_str(),
        document: row.get(4)?,
    })
}

fn held_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<HeldEvent> {
    Ok(HeldEvent {
        id: short(row.get_ref(0)?.as_blob()?),
        origin: origin_of(row.get_ref(1)?.as_str()?),
        raw: row.get_ref(2)?.as_str()?.into(),
        time: EventTime(row.get(3)?),
        until: EventTime(row.get(4)?),
        role: match row.get(5)? {
            0_u8 => HeldRole::Evidence,
            1 => HeldRole::Both,
            3 => HeldRole::Context,
            _ => HeldRole::All,
        },
    })
}

fn short(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    let n = bytes.len().min(16);
    short[..n].copy_from_slice(&bytes[..n]);
    short
}

fn key_of(text: &str) -> JoinKey {
    let parts: Vec<Option<Box<str>>> = serde_json::from_str(text).unwrap_or_default();
    JoinKey(parts.into())
}

const ORIGINS: [(Origin, &str); 5] = [
    (Origin::Sensor, "sensor"),
    (Origin::CloudTrail, "cloudtrail"),
    (Origin::GuardDuty, "guardduty"),
    (Origin::VpcFlow, "vpcflow"),
    (Origin::Signal, "signal"),
];

fn origin_name(origin: Origin) -> &'static str {
    ORIGINS.iter().find(|(held, _)| *held == origin).map_or("sensor", |(_, name)| name)
}

fn origin_of(name: &str) -> Origin {
    ORIGINS.iter().find(|(_, held)| *held == name).map_or(Origin::Sensor, |(origin, _)| *origin)
}
