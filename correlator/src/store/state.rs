//! What the engine's state is in the store: keys, open alerts, and what goes with them. All of it is written with the
//! events that led to it, in one transaction.

use std::sync::Arc;

use rules::event::EventTime;
use rusqlite::{Transaction, params};
use rustc_hash::FxHashMap;

use super::{Store, StoreError, short};
use crate::alert::AlertId;
use crate::alert::blind::HostLoss;
use crate::keyed::{Eviction, JoinKey};

/// The state of one key of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Where it lies. The run chooses, and keeps it.
    pub place: u64,
    pub rule_id: Arc<str>,
    /// Of what the rule meant.
    pub fingerprint: [u8; 16],
    pub key: JoinKey,
    pub state: Vec<u8>,
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
    /// Places of keys that are gone.
    pub gone: Vec<u64>,
    pub open: Vec<OpenRow>,
    pub evictions: Vec<(String, Eviction)>,
    /// By a rule and its fingerprint: since when it knows its events.
    pub since: Vec<(String, EventTime)>,
    pub losses: Vec<HostLoss>,
}

impl StateRows {
    /// Evictions do not count: they are written anew with whatever else there is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.gone.is_empty()
            && self.open.is_empty()
            && self.losses.is_empty()
            && self.since.is_empty()
    }

    pub(super) fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut delete = tx.prepare_cached("delete from key_state where place = ?1")?;
        for place in &self.gone {
            delete.execute([signed(*place)])?;
        }
        let mut insert = tx.prepare_cached(
            "insert into key_state (place, rule, key, state) values (?1, ?2, ?3, ?4)
             on conflict (place) do update set rule = excluded.rule, key = excluded.key, state = excluded.state",
        )?;
        let mut rules: FxHashMap<&str, i64> = FxHashMap::default();
        let mut buffer = Vec::new();
        for KeyRow { place, rule_id, fingerprint, key, state } in &self.keys {
            let rule = match rules.get(&**rule_id) {
                Some(rule) => *rule,
                None => *rules.entry(rule_id).or_insert(rule_number(tx, rule_id, fingerprint)?),
            };
            buffer.clear();
            buffer = postcard::to_extend(key, buffer).expect("plain data serialises");
            insert.execute(params![signed(*place), rule, buffer, state])?;
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

/// The number that stands for a rule and what it meant.
fn rule_number(tx: &Transaction<'_>, rule_id: &str, fingerprint: &[u8; 16]) -> rusqlite::Result<i64> {
    let named = params![rule_id, &fingerprint[..]];
    tx.prepare_cached("insert or ignore into rule_state (rule_id, fingerprint) values (?1, ?2)")?
        .execute(named)?;
    let mut select =
        tx.prepare_cached("select rule from rule_state where rule_id = ?1 and fingerprint = ?2")?;
    select.query_row(named, |row| row.get(0))
}

/// Places count up from 1, and there are fewer than a signed number holds.
fn signed(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

/// A key's state as it is handed over: its place, rule, what that meant, the key and the state.
#[derive(Debug)]
pub struct ReadKey<'r> {
    pub place: u64,
    pub rule_id: &'r str,
    pub fingerprint: &'r [u8],
    /// None where it cannot be read.
    pub key: Option<JoinKey>,
    pub state: &'r [u8],
}

impl Store {
    /// Hands over every key's state.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn each_key(&self, mut each: impl FnMut(ReadKey<'_>)) -> Result<(), StoreError> {
        let mut read = || {
            let query =
                "select place, rule_id, fingerprint, key, state from key_state join rule_state using (rule)";
            let mut select = self.conn.prepare(query)?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let key = postcard::from_bytes(row.get_ref(3)?.as_blob()?).ok();
                let (rule_id, fingerprint) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_blob()?);
                let place = row.get::<_, i64>(0)?.unsigned_abs();
                each(ReadKey { place, rule_id, fingerprint, key, state: row.get_ref(4)?.as_blob()? });
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

    /// Since when rules know their events, by the names under which it was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn since(&self) -> Result<Vec<(String, EventTime)>, StoreError> {
        self.rows("select substr(name, 7), value from marks where name like 'since %'", |row| {
            Ok((row.get(0)?, EventTime(row.get(1)?)))
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

    /// Single rows that could not be read.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn drop_rows(&mut self, places: &[u64], alerts: &[AlertId]) -> Result<(), StoreError> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.conn.transaction()?;
            for place in places {
                tx.execute("delete from key_state where place = ?1", [signed(*place)])?;
            }
            for id in alerts {
                tx.execute("delete from open_alerts where id = ?1", [id.as_str()])?;
            }
            tx.commit()
        };
        write().map_err(StoreError::Write)
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
                tx.execute(
                    "delete from key_state
                     where rule in (select rule from rule_state where rule_id = ?1 and fingerprint = ?2)",
                    named,
                )?;
                tx.execute("delete from rule_state where rule_id = ?1 and fingerprint = ?2", named)?;
                tx.execute("delete from open_alerts where rule_id = ?1 and fingerprint = ?2", named)?;
            }
            tx.commit()
        };
        write().map_err(StoreError::Write)
    }
}
