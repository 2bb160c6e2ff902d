//! What sinks have still to be given. A revision enters the queues of its sinks in the transaction that writes it, and leaves
//! one when that sink's worker says that it is done with it.
//!
//! The run is the one writer here, too: workers read through connections of their own and leave word in a [`Line`], which the
//! next transaction takes along. So no sink, however slow, is ever waited for by the store.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rules::event::{EventTime, Span};
use rules::rule::Severity;
use rusqlite::{Connection, OpenFlags, Transaction, params};
use tokio::sync::Notify;

use super::gate::{self, Gate, Passage};
use super::{Store, StoreError};
use crate::alert::AlertChange;
use crate::health::millis;
use crate::notify::Hush;
use crate::time::{Clock, SystemClock};

/// One sink's queue, as the store knows it.
#[derive(Debug, Clone)]
pub struct Queue {
    pub sink: Arc<str>,
    /// An alert that never was so severe is not for this sink.
    pub min_severity: Severity,
    /// The same thing is not said again sooner; nought: it is.
    pub repeat: Span,
    /// Past either of these the least severe go, the oldest of them first.
    pub max_len: u64,
    pub max_bytes: u64,
    pub line: Arc<Line>,
}

/// What the store and a sink's worker tell each other.
#[derive(Debug, Default)]
pub struct Line {
    /// Rows in the queue; some of them may be done with.
    n_rows: AtomicU64,
    n_bytes: AtomicU64,
    n_lost: AtomicU64,
    done: Mutex<Vec<i64>>,
    hands: Mutex<Hands>,
    news: Notify,
}

/// Who has which revision in hand. What the worker holds is not given up for want of room, and what is being given up the
/// worker does not take: so each is either delivered or counted as lost.
#[derive(Debug, Default)]
struct Hands {
    /// The worker's.
    held: HashSet<i64>,
    /// Given up by a transaction that is not committed yet.
    going: HashSet<i64>,
    is_reading: bool,
    /// Committed while the worker read, which may have seen what was before.
    gone: HashSet<i64>,
}

/// What a worker has read and holds from now on.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    These(Vec<Waiting>),
    /// What is there may be gone in a moment.
    LookAgain,
}

impl Taken {
    pub fn these(self) -> Vec<Waiting> {
        match self {
            Self::These(waiting) => waiting,
            Self::LookAgain => Vec::new(),
        }
    }
}

impl Line {
    /// The worker is through with these. It holds them until the store has taken them out.
    pub fn done(&self, seqs: impl Iterator<Item = i64>) {
        lock(&self.done).extend(seqs);
    }

    /// The worker has these in hand no longer, and is not through with them.
    pub fn release(&self, seqs: impl Iterator<Item = i64>) {
        let mut hands = lock(&self.hands);
        for seq in seqs {
            hands.held.remove(&seq);
        }
    }

    /// Has the worker hold what it reads, but for what is not to be had any more.
    ///
    /// # Errors
    /// The reader's.
    pub fn take<E>(&self, read: impl Fn() -> Result<Vec<Waiting>, E>) -> Result<Taken, E> {
        loop {
            lock(&self.hands).is_reading = true;
            let read = read();
            let mut hands = lock(&self.hands);
            hands.is_reading = false;
            let gone = std::mem::take(&mut hands.gone);
            let mut waiting = read?;
            let n_read = waiting.len();
            let going = waiting.iter().position(|waiting| hands.going.contains(&waiting.seq));
            waiting.truncate(going.unwrap_or(n_read));
            waiting.retain(|waiting| !gone.contains(&waiting.seq));
            if waiting.is_empty() && n_read > 0 {
                match going {
                    Some(_) => return Ok(Taken::LookAgain),
                    // A look from now on does not see them.
                    None => continue,
                }
            }
            hands.held.extend(waiting.iter().map(|waiting| waiting.seq));
            return Ok(Taken::These(waiting));
        }
    }

    /// Until something may have come. May say so when nothing has.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    pub fn n_waiting(&self) -> u64 {
        let n_done = lock(&self.done).len() as u64;
        self.n_rows.load(Ordering::Relaxed).saturating_sub(n_done)
    }

    /// What the queue holds; some of it may be done with.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes.load(Ordering::Relaxed)
    }

    /// How many went because the queue was full.
    pub fn n_lost(&self) -> u64 {
        self.n_lost.load(Ordering::Relaxed)
    }

    /// Whether this one may be given up: then the worker does not take it any more.
    fn give_up(&self, seq: i64) -> bool {
        let mut hands = lock(&self.hands);
        let is_free = !hands.held.contains(&seq);
        if is_free {
            hands.going.insert(seq);
        }
        is_free
    }

    /// What was given up is gone for good, or was not to be.
    fn given_up(&self, is_for_good: bool) {
        let mut hands = lock(&self.hands);
        let going = std::mem::take(&mut hands.going);
        if going.is_empty() {
            return;
        }
        if is_for_good && hands.is_reading {
            hands.gone.extend(going);
        }
        drop(hands);
        self.news.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// What all queues together take of the file.
    n_bytes: u64,
    gate: Gate,
}

/// What a transaction changes, in force once it is committed.
pub(super) struct Changes {
    queues: Vec<Change>,
    n_bytes: u64,
}

struct Change {
    n_rows: u64,
    n_bytes: u64,
    n_lost: u64,
    has_news: bool,
    done: Vec<i64>,
}

impl Change {
    fn comes(&mut self, tx: &Transaction<'_>, queue: &Queue, told: Told, worst: u8) -> rusqlite::Result<()> {
        tx.prepare_cached("insert into outbox (sink, seq, severity) values (?1, ?2, ?3)")?
            .execute(params![&*queue.sink, told.seq, worst])?;
        self.n_rows += 1;
        self.n_bytes += told.n_bytes;
        self.has_news = true;
        Ok(())
    }

    fn goes(&mut self, gone: &Gone) {
        self.n_rows = self.n_rows.saturating_sub(1);
        self.n_bytes = self.n_bytes.saturating_sub(gone.n_bytes);
    }
}

/// A revision as sinks are given it.
#[derive(Clone, Copy)]
struct Told {
    seq: i64,
    n_bytes: u64,
}

/// Writes down what sinks are to be given; each of them that gets it has it in its queue.
fn tell(
    tx: &Transaction<'_>,
    (id, revision): (&str, u32),
    document: &str,
    now: EventTime,
    n_bytes: &mut u64,
) -> rusqlite::Result<Told> {
    tx.prepare_cached("insert into told (alert_id, revision, queued_ms, document) values (?1, ?2, ?3, ?4)")?
        .execute(params![id, revision, millis(now), document])?;
    *n_bytes += room_of(document.len() as u64);
    Ok(Told { seq: tx.last_insert_rowid(), n_bytes: document.len() as u64 })
}

/// So many candidates to be given up are looked at together.
const LOOK: i64 = 64;

impl Outbox {
    fn has_done(&self) -> bool {
        self.queues.iter().any(|queue| !lock(&queue.line.done).is_empty())
    }

    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// What workers are done with. It is to be given back if the transaction fails.
    pub(super) fn begin(&self) -> Changes {
        let change = |queue: &Queue| Change {
            n_rows: queue.line.n_rows.load(Ordering::Relaxed),
            n_bytes: queue.line.n_bytes.load(Ordering::Relaxed),
            n_lost: 0,
            has_news: false,
            done: std::mem::take(&mut *lock(&queue.line.done)),
        };
        Changes { queues: self.queues.iter().map(change).collect(), n_bytes: self.n_bytes }
    }

    /// Puts a revision into the queues that want it. `worst` is how severe its alert has ever been: what a sink was told
    /// once, it is told the end of.
    pub(super) fn put(
        &self,
        tx: &Transaction<'_>,
        alert: &AlertChange,
        (worst, document): (u8, &str),
        changes: &mut Changes,
    ) -> rusqlite::Result<()> {
        let now = SystemClock.now();
        if self.gate.mutes(tx, alert, now)? {
            return Ok(());
        }
        let Changes { queues, n_bytes } = changes;
        let name = (alert.id.as_str(), alert.revision);
        // As it is, once for all sinks that get it so.
        let mut plain = None;
        let wants = |queue: &Queue| rank(queue.min_severity) <= worst;
        for (queue, change) in self.queues.iter().zip(queues).filter(|(queue, _)| wants(queue)) {
            let told = match (self.gate.passage(tx, queue, alert, worst, now)?, plain) {
                (Passage::Held, _) => continue,
                (Passage::Passes, Some(told)) => told,
                (Passage::Passes, None) => *plain.insert(tell(tx, name, document, now, n_bytes)?),
                (Passage::Speaks { n_held, since }, _) => {
                    let document = gate::speaking_for(&alert.document, n_held, since).to_string();
                    tell(tx, name, &document, now, n_bytes)?
                }
            };
            change.comes(tx, queue, told, worst)?;
        }
        Ok(())
    }

    /// Puts into the queues what was held back long enough.
    fn put_due(&self, tx: &Transaction<'_>, changes: &mut Changes) -> rusqlite::Result<()> {
        let now = SystemClock.now();
        let Changes { queues, n_bytes } = changes;
        for (queue, change) in self.queues.iter().zip(queues) {
            for due in self.gate.due(tx, queue, now)? {
                let told = tell(tx, (&due.alert_id, due.revision), &due.document, now, n_bytes)?;
                change.comes(tx, queue, told, due.worst)?;
            }
        }
        self.gate.look_ahead(tx, now)
    }

    /// Takes out what is done with, and what there is no room for.
    pub(super) fn clear(&self, tx: &Transaction<'_>, changes: &mut Changes) -> rusqlite::Result<()> {
        self.put_due(tx, changes)?;
        let Changes { queues, n_bytes } = changes;
        let mut take_out = |sink: &str, seq, change: &mut Change| {
            let gone = take_out(tx, sink, seq)?;
            if let Some(gone) = &gone {
                change.goes(gone);
                *n_bytes = n_bytes.saturating_sub(if gone.is_last { room_of(gone.n_bytes) } else { 0 });
            }
            Ok::<_, rusqlite::Error>(gone.is_some())
        };
        for (queue, change) in self.queues.iter().zip(queues) {
            for seq in change.done.clone() {
                take_out(&queue.sink, seq, change)?;
            }
            let mut after = (-1, 0);
            while change.n_rows > queue.max_len || change.n_bytes > queue.max_bytes {
                let mut select = tx.prepare_cached(
                    "select severity, seq from outbox where sink = ?1 and (severity, seq) > (?2, ?3)
                     order by severity, seq limit ?4",
                )?;
                let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                let found = select.query_map(params![&*queue.sink, after.0, after.1, LOOK], row)?;
                let found: Vec<(i64, i64)> = found.collect::<rusqlite::Result<_>>()?;
                let Some(last) = found.last() else { break };
                after = *last;
                // Only as many as must go are the store's to give up.
                for (_, seq) in found {
                    if change.n_rows <= queue.max_len && change.n_bytes <= queue.max_bytes {
                        break;
                    }
                    if queue.line.give_up(seq) && take_out(&queue.sink, seq, change)? {
                        change.n_lost += 1;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, changes: Changes) {
        self.n_bytes = changes.n_bytes;
        for (queue, change) in self.queues.iter().zip(changes.queues) {
            queue.line.n_rows.store(change.n_rows, Ordering::Relaxed);
            queue.line.n_bytes.store(change.n_bytes, Ordering::Relaxed);
            queue.line.n_lost.fetch_add(change.n_lost, Ordering::Relaxed);
            queue.line.release(change.done.into_iter());
            queue.line.given_up(true);
            if change.has_news {
                queue.line.news.notify_one();
            }
        }
    }

    pub(super) fn undo(&self, changes: Changes) {
        for (queue, change) in self.queues.iter().zip(changes.queues) {
            queue.line.given_up(false);
            lock(&queue.line.done).extend(change.done);
        }
    }
}

/// What a document takes of the file: what does not fit into a page lies in pages of its own.
fn room_of(n_bytes: u64) -> u64 {
    const PAGE: u64 = 4_096;
    // Its row, and the rows and index entries of those who wait for it.
    n_bytes + n_bytes / PAGE * 4 + 250
}

/// One revision that left a queue.
struct Gone {
    n_bytes: u64,
    /// Nobody else waited for it.
    is_last: bool,
}

fn take_out(tx: &Transaction<'_>, sink: &str, seq: i64) -> rusqlite::Result<Option<Gone>> {
    let mut delete = tx.prepare_cached("delete from outbox where sink = ?1 and seq = ?2")?;
    if delete.execute(params![sink, seq])? == 0 {
        return Ok(None);
    }
    let mut size = tx.prepare_cached("select octet_length(document) from told where seq = ?1")?;
    let n_bytes: i64 = size.query_row([seq], |row| row.get(0))?;
    // The last to wait for a revision takes its text along.
    let n_told = tx
        .prepare_cached(
            "delete from told where seq = ?1 and not exists (select 1 from outbox where seq = ?1)",
        )?
        .execute([seq])?;
    Ok(Some(Gone { n_bytes: n_bytes.unsigned_abs(), is_last: n_told > 0 }))
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
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        for queue in &queues {
            let count = "select count(*), coalesce(sum(octet_length(document)), 0)
                         from outbox join told using (seq) where sink = ?1";
            let (n_rows, n_bytes) =
                self.conn.query_row(count, [&*queue.sink], pair).map_err(StoreError::Read)?;
            queue.line.n_rows.store(n_rows.unsigned_abs(), Ordering::Relaxed);
            queue.line.n_bytes.store(n_bytes.unsigned_abs(), Ordering::Relaxed);
        }
        let mut sizes =
            self.conn.prepare("select octet_length(document) from told").map_err(StoreError::Read)?;
        let sizes = sizes.query_map([], |row| row.get::<_, i64>(0)).map_err(StoreError::Read)?;
        let total =
            sizes.map(|size| size.map(|size| room_of(size.unsigned_abs()))).sum::<rusqlite::Result<u64>>();
        let gate = std::mem::take(&mut self.outbox.gate);
        gate.forget_others(&self.conn, &queues).map_err(StoreError::Read)?;
        // What an earlier run held back is due some time.
        gate.look_ahead(&self.conn, SystemClock.now()).map_err(StoreError::Read)?;
        self.outbox = Outbox { queues, n_bytes: total.map_err(StoreError::Read)?, gate };
        Ok(())
    }

    /// From now on these silences hold, as they are changed.
    pub fn hush(&mut self, hush: Arc<Hush>) {
        self.outbox.gate.hush = hush;
    }

    /// Whether workers are done with something that is still in a queue, or something that was held back is to enter one.
    pub fn has_delivered(&self) -> bool {
        self.outbox.has_done() || self.outbox.gate.is_due(SystemClock.now())
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
        self.from(after.saturating_add(1), max_rows, max_bytes)
    }

    /// This one, if it is in the queue still.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn one(&self, seq: i64) -> Result<Vec<Waiting>, StoreError> {
        let mut waiting = self.from(seq, 1, 0)?;
        waiting.retain(|waiting| waiting.seq == seq);
        Ok(waiting)
    }

    fn from(&self, first: i64, max_rows: usize, max_bytes: usize) -> Result<Vec<Waiting>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Waiting>> {
            let mut select = self.conn.prepare_cached(
                "select seq, alert_id, revision, queued_ms, document from outbox join told using (seq)
                 where sink = ?1 and seq >= ?2 order by seq",
            )?;
            let mut rows = select.query(params![&*self.sink, first])?;
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
