//! What sinks have still to be given. A revision enters the queues of its sinks in the transaction that writes it, and leaves
//! one when that sink's worker says that it is done with it.
//!
//! The run is the one writer here, too: workers read through connections of their own and leave word in a [`Line`], which the
//! next transaction takes along. So no sink, however slow, is ever waited for by the store.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rules::rule::Severity;
use rusqlite::{Connection, OpenFlags, Transaction, params};
use tokio::sync::Notify;

use super::{Store, StoreError};
use crate::alert::AlertChange;
use crate::health::millis;
use crate::time::{Clock, SystemClock};

/// One sink's queue, as the store knows it.
#[derive(Debug, Clone)]
pub struct Queue {
    pub sink: Arc<str>,
    /// An alert that never was so severe is not for this sink.
    pub min_severity: Severity,
    /// Past this the least severe go, the oldest of them first.
    pub max_len: u64,
    pub line: Arc<Line>,
}

/// What the store and a sink's worker tell each other.
#[derive(Debug, Default)]
pub struct Line {
    /// Rows in the queue; some of them may be done with.
    n_rows: AtomicU64,
    n_lost: AtomicU64,
    done: Mutex<Vec<i64>>,
    news: Notify,
}

impl Line {
    /// The worker is through with these.
    pub fn done(&self, seqs: impl Iterator<Item = i64>) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).extend(seqs);
    }

    /// Until something may have come. May say so when nothing has.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    pub fn n_waiting(&self) -> u64 {
        let n_done = self.done.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        self.n_rows.load(Ordering::Relaxed).saturating_sub(n_done)
    }

    /// How many went because the queue was full.
    pub fn n_lost(&self) -> u64 {
        self.n_lost.load(Ordering::Relaxed)
    }
}

/// One revision that waits for one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Counts up, over all runs.
    pub seq: i64,
    pub alert_id: String,
    pub revision: u32,
    pub queued_ms: i64,
    pub document: String,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queues: Vec<Queue>,
}

/// What a transaction changes of one queue, in force once it is committed.
pub(super) struct Change {
    n_rows: u64,
    n_lost: u64,
    has_news: bool,
    done: Vec<i64>,
}

impl Outbox {
    fn has_done(&self) -> bool {
        self.queues
            .iter()
            .any(|queue| !queue.line.done.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }

    /// What workers are done with. It is to be given back if the transaction fails.
    pub(super) fn begin(&self) -> Vec<Change> {
        let change = |queue: &Queue| Change {
            n_rows: queue.line.n_rows.load(Ordering::Relaxed),
            n_lost: 0,
            has_news: false,
            done: std::mem::take(&mut *queue.line.done.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        self.queues.iter().map(change).collect()
    }

    /// Puts a revision into the queues that want it. `worst` is how severe its alert has ever been: what a sink was told
    /// once, it is told the end of.
    pub(super) fn put(
        &self,
        tx: &Transaction<'_>,
        alert: &AlertChange,
        (worst, document): (u8, &str),
        changes: &mut [Change],
    ) -> rusqlite::Result<()> {
        let wants = |queue: &Queue| rank(queue.min_severity) <= worst;
        if !self.queues.iter().any(wants) {
            return Ok(());
        }
        tx.prepare_cached(
            "insert into told (alert_id, revision, queued_ms, document) values (?1, ?2, ?3, ?4)",
        )?
        .execute(params![alert.id.as_str(), alert.revision, millis(SystemClock.now()), document])?;
        let seq = tx.last_insert_rowid();
        let mut insert = tx.prepare_cached("insert into outbox (sink, seq, severity) values (?1, ?2, ?3)")?;
        for (queue, change) in self.queues.iter().zip(changes).filter(|(queue, _)| wants(queue)) {
            insert.execute(params![&*queue.sink, seq, worst])?;
            change.n_rows += 1;
            change.has_news = true;
        }
        Ok(())
    }

    /// Takes out what is done with, and what there is no room for.
    pub(super) fn clear(&self, tx: &Transaction<'_>, changes: &mut [Change]) -> rusqlite::Result<()> {
        for (queue, change) in self.queues.iter().zip(changes) {
            for seq in &change.done {
                change.n_rows = change.n_rows.saturating_sub(take_out(tx, &queue.sink, *seq)?);
            }
            let n_over = change.n_rows.saturating_sub(queue.max_len);
            if n_over == 0 {
                continue;
            }
            let mut select =
                tx.prepare_cached("select seq from outbox where sink = ?1 order by severity, seq limit ?2")?;
            let n_over = i64::try_from(n_over).unwrap_or(i64::MAX);
            let over = select.query_map(params![&*queue.sink, n_over], |row| row.get(0))?;
            for seq in over.collect::<rusqlite::Result<Vec<i64>>>()? {
                let n_gone = take_out(tx, &queue.sink, seq)?;
                change.n_rows = change.n_rows.saturating_sub(n_gone);
                change.n_lost += n_gone;
            }
        }
        Ok(())
    }

    pub(super) fn settle(&self, changes: Vec<Change>) {
        for (queue, change) in self.queues.iter().zip(changes) {
            queue.line.n_rows.store(change.n_rows, Ordering::Relaxed);
            queue.line.n_lost.fetch_add(change.n_lost, Ordering::Relaxed);
            if change.has_news {
                queue.line.news.notify_one();
            }
        }
    }

    pub(super) fn undo(&self, changes: Vec<Change>) {
        for (queue, change) in self.queues.iter().zip(changes) {
            queue.line.done(change.done.into_iter());
        }
    }
}

fn take_out(tx: &Transaction<'_>, sink: &str, seq: i64) -> rusqlite::Result<u64> {
    let n_gone =
        tx.prepare_cached("delete from outbox where sink = ?1 and seq = ?2")?.execute(params![sink, seq])?;
    // The last to wait for a revision takes its text along.
    tx.prepare_cached(
        "delete from told where seq = ?1 and not exists (select 1 from outbox where seq = ?1)",
    )?
    .execute([seq])?;
    Ok(n_gone as u64)
}

/// Severities in their order.
pub(super) fn rank(severity: Severity) -> u8 {
    severity as u8
}

impl Store {
    /// From now on what is committed enters these queues.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn feed(&mut self, queues: Vec<Queue>) -> Result<(), StoreError> {
        for queue in &queues {
            let count = "select count(*) from outbox where sink = ?1";
            let n_rows: i64 =
                self.conn.query_row(count, [&*queue.sink], |row| row.get(0)).map_err(StoreError::Read)?;
            queue.line.n_rows.store(n_rows.unsigned_abs(), Ordering::Relaxed);
        }
        self.outbox.queues = queues;
        Ok(())
    }

    /// Whether workers are done with something that is still in a queue.
    pub fn has_delivered(&self) -> bool {
        self.outbox.has_done()
    }

    /// Sinks for which something waits, whether the configuration has them or not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn waited_for(&self) -> Result<Vec<String>, StoreError> {
        self.rows("select distinct sink from outbox order by sink", |row| row.get(0))
    }

    /// Empties the queue of a sink that is no more.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn forget_sink(&mut self, sink: &str) -> Result<(), StoreError> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.conn.transaction()?;
            tx.execute("delete from outbox where sink = ?1", [sink])?;
            tx.execute("delete from told where seq not in (select seq from outbox)", [])?;
            tx.commit()
        };
        write().map_err(StoreError::Write)
    }
}

/// A worker's way into its queue: a connection of its own that only reads.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    sink: Arc<str>,
}

impl Reader {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, sink: Arc<str>) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        Ok(Self { conn, sink })
    }

    /// The first so many after `after`, and no more bytes of them than that; one at least.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&self, after: i64, max_rows: usize, max_bytes: usize) -> Result<Vec<Waiting>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Waiting>> {
            let mut select = self.conn.prepare_cached(
                "select seq, alert_id, revision, queued_ms, document from outbox join told using (seq)
                 where sink = ?1 and seq > ?2 order by seq",
            )?;
            let mut rows = select.query(params![&*self.sink, after])?;
            let (mut waiting, mut n_bytes) = (Vec::new(), 0);
            while waiting.len() < max_rows
                && let Some(row) = rows.next()?
            {
                let document = row.get_ref(4)?.as_str()?;
                n_bytes += document.len();
                if n_bytes > max_bytes && !waiting.is_empty() {
                    break;
                }
                let (seq, alert_id, revision, queued_ms) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                waiting.push(Waiting { seq, alert_id, revision, queued_ms, document: document.to_owned() });
            }
            Ok(waiting)
        };
        read().map_err(StoreError::Read)
    }
}
