//! Before the queues of sinks: what a silence mutes, and what says again what a sink was told a while ago.
//!
//! All of it is written in the transaction that writes the alert, so that a crash tells nothing twice and forgets nothing
//! that was held back. The alert itself is stored whatever happens here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rules::event::{EventTime, Span};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};

use super::outbox::Queue;
use super::{Store, StoreError};
use crate::alert::{AlertChange, AlertState};
use crate::notify::{CANARY_RULE, Hush, group};
use crate::time;

const MS: i64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) hush: Arc<Hush>,
    /// When something that was held back is to be told; 0: there is nothing.
    due_ms: AtomicI64,
}

/// What becomes of an alert on its way to one sink.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Passage {
    /// As it is.
    Passes,
    /// With what was held back before it.
    Speaks {
        n_held: u64,
        since: EventTime,
    },
    Held,
}

/// What was held back and is told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) alert_id: String,
    pub(super) revision: u32,
    pub(super) worst: u8,
    pub(super) document: String,
}

impl Gate {
    /// Whether a silence keeps the alert from being told. It is written down beside it by which.
    pub(super) fn mutes(
        &self,
        tx: &Transaction<'_>,
        alert: &AlertChange,
        now: EventTime,
    ) -> rusqlite::Result<bool> {
        // A canary is to be found in the store, and nobody is to be called for it.
        if &*alert.rule_id == CANARY_RULE {
            return Ok(true);
        }
        let id = alert.id.as_str();
        let muted: Option<bool> = tx
            .prepare_cached("select was_told from muted where alert_id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let was_told = muted.unwrap_or(alert.revision > 1);
        if alert.state == AlertState::Withdrawn && alert.revision > 1 {
            // What was told is taken back, whatever is silent now; what nobody heard of is not.
            return Ok(!was_told);
        }
        let Some(silence) = self.hush.over(&alert.document, now) else {
            // Of one that was muted, this is told.
            if muted.is_some() {
                tx.prepare_cached("delete from muted where alert_id = ?1")?.execute([id])?;
            }
            return Ok(false);
        };
        tx.prepare_cached("insert or replace into muted (alert_id, said, was_told) values (?1, ?2, ?3)")?
            .execute(params![id, silence.said().to_string(), was_told])?;
        if muted.is_none() {
            self.hush.count_muted();
        }
        Ok(true)
    }

    /// Whether a sink that is not to hear the same thing all the time hears this.
    pub(super) fn passage(
        &self,
        tx: &Transaction<'_>,
        queue: &Queue,
        alert: &AlertChange,
        worst: u8,
        now: EventTime,
    ) -> rusqlite::Result<Passage> {
        if queue.repeat == Span(0) {
            return Ok(Passage::Passes);
        }
        let (sink, id) = (&*queue.sink, alert.id.as_str());
        let known: Option<(bool, u8)> = tx
            .prepare_cached("select is_held, severity from notified where sink = ?1 and alert_id = ?2")?
            .query_row([sink, id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        // What a sink was told once, it is told the end of.
        if known.is_some_and(|(is_held, _)| !is_held) {
            return Ok(Passage::Passes);
        }
        if known.is_some() && alert.state == AlertState::Withdrawn {
            return Ok(Passage::Held);
        }
        let group = group(&alert.document);
        let last: Option<(i64, i64, u64, u8)> = tx
            .prepare_cached(
                "select last_ms, due_ms, n_held, severity from repeats where sink = ?1 and grouped = ?2",
            )?
            .query_row([sink, group.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs(), row.get(3)?))
            })
            .optional()?;
        let now_ms = now.0 / MS;
        // Worse than what was told of it is no repetition.
        let is_repeat = last.is_some_and(|(_, due_ms, _, told)| now_ms < due_ms && worst <= told);
        let mut note = tx.prepare_cached(
            "insert or replace into notified (sink, alert_id, grouped, is_held, severity) values (?1, ?2, ?3, ?4, ?5)",
        )?;
        note.execute(params![sink, id, group, is_repeat, worst])?;
        if is_repeat {
            if known.is_none() {
                tx.prepare_cached("update repeats set n_held = n_held + 1 where sink = ?1 and grouped = ?2")?
                    .execute([sink, group.as_str()])?;
                self.hush.count_held_back();
            }
            return Ok(Passage::Held);
        }
        let n_held = last.map_or(0, |(_, _, n_held, _)| n_held);
        // One of those that were held back is this one.
        let n_held = n_held.saturating_sub(u64::from(known.is_some()));
        tell(tx, queue, &group, worst, now_ms)?;
        Ok(match last {
            Some((last_ms, ..)) if n_held > 0 => {
                Passage::Speaks { n_held, since: EventTime(last_ms.saturating_mul(MS)) }
            }
            _ => Passage::Passes,
        })
    }

    /// What was held back long enough for this sink: of each group the last alert, which speaks for the others.
    pub(super) fn due(
        &self,
        tx: &Transaction<'_>,
        queue: &Queue,
        now: EventTime,
    ) -> rusqlite::Result<Vec<Due>> {
        let (sink, now_ms) = (&*queue.sink, now.0 / MS);
        // A sink that hears everything now hears what was held back before.
        let until_ms = if queue.repeat == Span(0) { i64::MAX } else { now_ms };
        let groups: Vec<(String, i64, i64)> = tx
            .prepare_cached(
                "select grouped, last_ms, n_held from repeats where sink = ?1 and n_held > 0 and due_ms <= ?2",
            )?
            .query_map(params![sink, until_ms], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut due = Vec::new();
        for (group, last_ms, n_held) in groups {
            let last: Option<(String, u32, u8, String)> = tx
                .prepare_cached(
                    "select id, revision, alerts.worst, document from notified join alerts on id = alert_id
                     where sink = ?1 and grouped = ?2 and is_held = 1 and state <> 'withdrawn'
                     order by time desc, id desc limit 1",
                )?
                .query_row([sink, group.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let worst = last.as_ref().map_or(0, |(_, _, worst, _)| *worst);
            let is_silent = |document: &str| {
                let document = serde_json::from_str::<Value>(document);
                document.is_ok_and(|document| self.hush.over(&document, now).is_some())
            };
            if last.as_ref().is_some_and(|(.., document)| is_silent(document)) {
                continue;
            }
            tell(tx, queue, &group, worst, now_ms)?;
            // All of them were withdrawn: there is nothing to tell.
            let Some((alert_id, revision, worst, document)) = last else { continue };
            tx.prepare_cached("update notified set is_held = 0 where sink = ?1 and alert_id = ?2")?
                .execute([sink, alert_id.as_str()])?;
            let n_others = n_held.unsigned_abs().saturating_sub(1);
            let document = match serde_json::from_str::<Value>(&document) {
                Ok(whole) => {
                    speaking_for(&whole, n_others, EventTime(last_ms.saturating_mul(MS))).to_string()
                }
                Err(_) => document,
            };
            due.push(Due { alert_id, revision, worst, document });
        }
        Ok(due)
    }

    /// Drops what was held back for sinks that are no more; the alerts are in the store.
    pub(super) fn forget_others(&self, conn: &Connection, queues: &[Queue]) -> rusqlite::Result<()> {
        let names: Vec<String> = conn
            .prepare_cached("select distinct sink from repeats")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for name in names.iter().filter(|name| queues.iter().all(|queue| *queue.sink != ***name)) {
            conn.prepare_cached("delete from repeats where sink = ?1")?.execute([name])?;
        }
        Ok(())
    }

    /// Looks up when something is to be told next; for after a transaction that may have changed it.
    pub(super) fn look_ahead(&self, conn: &Connection, now: EventTime) -> rusqlite::Result<()> {
        conn.prepare_cached("delete from repeats where due_ms <= ?1 and n_held = 0")?
            .execute([now.0 / MS])?;
        let due: Option<i64> = conn
            .prepare_cached("select min(due_ms) from repeats where n_held > 0")?
            .query_row([], |row| row.get(0))?;
        self.due_ms.store(due.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn is_due(&self, now: EventTime) -> bool {
        let due_ms = self.due_ms.load(Ordering::Relaxed);
        due_ms != 0 && due_ms <= now.0 / MS
    }
}

/// From now on the group has been told of; those that were held back and were not sent stay so.
fn tell(tx: &Transaction<'_>, queue: &Queue, group: &str, worst: u8, now_ms: i64) -> rusqlite::Result<()> {
    let due_ms = now_ms.saturating_add(queue.repeat.0 / MS);
    tx.prepare_cached(
        "insert into repeats (sink, grouped, last_ms, due_ms, n_held, severity) values (?1, ?2, ?3, ?4, 0, ?5)
         on conflict (sink, grouped) do update set last_ms = excluded.last_ms, due_ms = excluded.due_ms, n_held = 0,
           severity = excluded.severity",
    )?
    .execute(params![&*queue.sink, group, now_ms, due_ms, worst])?;
    Ok(())
}

/// The alert as it is sent where it speaks for others of its rule and entities.
pub(super) fn speaking_for(alert: &Value, n_held: u64, since: EventTime) -> Value {
    let mut alert = alert.clone();
    if n_held > 0
        && let Some(own) = alert.pointer_mut("/groundtrail/alert").and_then(Value::as_object_mut)
    {
        own.insert("held_back".to_owned(), json!({"count": n_held, "since": time::format(since)}));
    }
    alert
}

/// An alert as it is looked at: one that a silence muted says so, and by whom and why. What was written of it stays as it is.
const SELECT_MUTED: &str = "select id, revision, content, state,
        case when said is null or not json_valid(document) then document
        else json_set(document, '$.groundtrail.alert.muted_by', json(said)) end
    from alerts left join muted on alert_id = id";
const SELECT: &str = "select id, revision, content, state, document from alerts";

impl Store {
    /// What reads alerts to look at them.
    pub(super) fn select_alerts(&self) -> Result<&'static str, StoreError> {
        Ok(if self.knows_silences()? { SELECT_MUTED } else { SELECT })
    }

    /// False: it is looked at, and a program before there were silences wrote it.
    fn knows_silences(&self) -> Result<bool, StoreError> {
        let is_there = || -> rusqlite::Result<bool> {
            let mut select = self
                .conn
                .prepare_cached("select 1 from sqlite_master where type = 'table' and name = 'muted'")?;
            select.exists([])
        };
        is_there().map_err(StoreError::Read)
    }

    /// How many alerts of the store each silence has muted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn n_muted_by_silence(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        if !self.knows_silences()? {
            return Ok(BTreeMap::new());
        }
        let count = "select said ->> 'silence', count(*) from muted group by 1";
        let rows = self.rows(count, |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(rows.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
