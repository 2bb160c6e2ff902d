//! What the engine's state is in the store: keys, open alerts, and what goes with them. All of it is written with the
//! events that led to it, in one transaction.

use rules::event::EventTime;
use rusqlite::{Transaction, params};

use super::{Store, StoreError, short};
use crate::alert::AlertId;
use crate::alert::blind::HostLoss;
use crate::keyed::{Eviction, JoinKey};

/// The state of one key of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub rule_id: String,
    pub key: JoinKey,
    /// Of what the rule meant.
    pub fingerprint: [u8; 16],
    /// None: it is gone.
    pub state: Option<Vec<u8>>,
}

/// An alert that can still change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRow {
    pub id: AlertId,
    /// Rule, its fingerprint, the alert. None: it is closed.
    pub state: Option<(String, [u8; 16], Vec<u8>)>,
}

/// The engine's state, as far as it has changed.
#[derive(Debug, Default)]
pub struct StateRows {
    pub keys: Vec<KeyRow>,
    pub open: Vec<OpenRow>,
    pub evictions: Vec<(String, Eviction)>,
    pub losses: Vec<HostLoss>,
}

impl StateRows {
    /// Evictions do not count: they are written anew with whatever else there is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.open.is_empty() && self.losses.is_empty()
    }

    pub(super) fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut delete = tx.prepare_cached("delete from keys where rule_id = ?1 and key = ?2")?;
        let mut insert = tx.prepare_cached(
            "insert into keys (rule_id, key, fingerprint, state) values (?1, ?2, ?3, ?4)
             on conflict (rule_id, key) do update set fingerprint = excluded.fingerprint, state = excluded.state",
        )?;
        for KeyRow { rule_id, key, fingerprint, state } in &self.keys {
            let key = postcard::to_stdvec(key).expect("plain data serialises");
            match state {
                Some(state) => insert.execute(params![rule_id, key, &fingerprint[..], state])?,
                None => delete.execute(params![rule_id, key])?,
            };
        }
        let mut delete = tx.prepare_cached("delete from open_alerts where id = ?1")?;
        let mut insert = tx.prepare_cached(
            "insert or replace into open_alerts (id, rule_id, fingerprint, state) values (?1, ?2, ?3, ?4)",
        )?;
        for OpenRow { id, state } in &self.open {
            match state {
                Some((rule_id, fingerprint, state)) => {
                    insert.execute(params![id.as_str(), rule_id, &fingerprint[..], state])?
                }
                None => delete.execute([id.as_str()])?,
            };
        }
        let mut insert = tx.prepare_cached(
            "insert or replace into evictions (rule_id, n_keys, n_hits, newest) values (?1, ?2, ?3, ?4)",
        )?;
        for (rule_id, eviction) in &self.evictions {
            let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            let Eviction { n_keys, n_hits, newest } = eviction;
            insert.execute(params![rule_id, count(*n_keys), count(*n_hits), newest.0])?;
        }
        let mut insert =
            tx.prepare_cached("insert or replace into losses (time, host, what) values (?1, ?2, ?3)")?;
        for HostLoss { host, time, what } in &self.losses {
            insert.execute(params![time.0, host, what])?;
        }
        Ok(())
    }
}

impl Store {
    /// Hands over every key's state.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn each_key(&self, mut each: impl FnMut(&str, &[u8], JoinKey, &[u8])) -> Result<(), StoreError> {
        let mut read = || {
            let mut select = self.conn.prepare("select rule_id, key, fingerprint, state from keys")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let Ok(key) = postcard::from_bytes(row.get_ref(1)?.as_blob()?) else { continue };
                let (rule_id, fingerprint) = (row.get_ref(0)?.as_str()?, row.get_ref(2)?.as_blob()?);
                each(rule_id, fingerprint, key, row.get_ref(3)?.as_blob()?);
            }
            Ok(())
        };
        read().map_err(StoreError::Read)
    }

    /// # Errors
    /// The file cannot be read.
    pub fn open_alerts(&self) -> Result<Vec<OpenRow>, StoreError> {
        self.rows("select id, rule_id, fingerprint, state from open_alerts order by id", |row| {
            let state = (row.get(1)?, short(row.get_ref(2)?.as_blob()?), row.get(3)?);
            Ok(OpenRow { id: AlertId::from_store(row.get_ref(0)?.as_str()?), state: Some(state) })
        })
    }

    /// # Errors
    /// The file cannot be read.
    pub fn evictions(&self) -> Result<Vec<(String, Eviction)>, StoreError> {
        self.rows("select rule_id, n_keys, n_hits, newest from evictions", |row| {
            let count = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or_default());
            let eviction = Eviction { n_keys: count(1)?, n_hits: count(2)?, newest: EventTime(row.get(3)?) };
            Ok((row.get(0)?, eviction))
        })
    }

    /// # Errors
    /// The file cannot be read.
    pub fn losses(&self) -> Result<Vec<HostLoss>, StoreError> {
        self.rows("select host, time, what from losses", |row| {
            Ok(HostLoss { host: row.get(0)?, time: EventTime(row.get(1)?), what: row.get(2)? })
        })
    }

    /// How far time had come.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn watermark(&self) -> Result<Option<EventTime>, StoreError> {
        let rows = self.rows("select value from marks where name = 'watermark'", |row| row.get(0))?;
        Ok(rows.first().copied().map(EventTime))
    }

    /// State of rules that are gone, or mean something else now.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn drop_keys(&mut self, gone: &[(String, [u8; 16])]) -> Result<(), StoreError> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.conn.transaction()?;
            for (rule_id, fingerprint) in gone {
                let named = params![rule_id, &fingerprint[..]];
                tx.execute("delete from keys where rule_id = ?1 and fingerprint = ?2", named)?;
                tx.execute("delete from open_alerts where rule_id = ?1 and fingerprint = ?2", named)?;
            }
            tx.commit()
        };
        write().map_err(StoreError::Write)
    }
}
