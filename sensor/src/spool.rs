//! Batches on disk until the correlator has them: SQLite in WAL mode, one row a batch, packed as it will be sent.
//!
//! What is appended is durable. What was acknowledged is deleted. When there is no more room the oldest batches are given up;
//! how many events that cost is kept with them, until the stream itself has told of it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

/// What a row takes beside its body.
const ROW_BYTES: u64 = 64;
/// Written back to the file when the log is this long, in pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 512;

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("cannot open the spool \"{}\": check that this user may write there, or set spool.path", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("cannot make the spool's folder \"{}\": make it, or set spool.path", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another sensor uses the spool \"{}\": end that one, or set spool.path", .0.display())]
    InUse(PathBuf),
    #[error("the spool cannot be written")]
    Write(#[from] rusqlite::Error),
}

impl SpoolError {
    /// Whether there may be room later.
    pub fn is_full(&self) -> bool {
        let Self::Write(err) = self else { return false };
        matches!(
            err.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
        )
    }

    /// Whether the file itself is beyond use: see [`Spool::mend`].
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Write(err) if is_damage(err))
    }
}

fn is_damage(err: &rusqlite::Error) -> bool {
    matches!(err.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Whose events a spool holds, and since which start of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'o> {
    pub host: &'o str,
    pub boot: &'o str,
}

/// Events that will never arrive, by cause, since the spool was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// The oldest, for want of room under the cap.
    pub evicted: u64,
    /// The newest, because the disk was full.
    pub unwritten: u64,
    /// What the correlator will not take.
    pub refused: u64,
}

impl GivenUp {
    pub fn all(&self) -> u64 {
        self.evicted + self.unwritten + self.refused
    }
}

/// Some of the oldest rows, as they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    pub first: u64,
    pub n_rows: u64,
    /// Frames, one after another.
    pub body: Vec<u8>,
}

impl Chunk {
    pub fn last(&self) -> u64 {
        (self.first + self.n_rows).saturating_sub(1)
    }
}

#[derive(Debug)]
pub struct Spool {
    conn: Connection,
    stream: String,
    max_bytes: u64,
    held: Held,
    given_up: GivenUp,
    /// Of that, what the stream itself has told.
    told: GivenUp,
    /// How much of what could not be written is in the file.
    kept_unwritten: u64,
    /// What was acknowledged and, for want of room to write that down, is still in the file.
    undeleted_through: u64,
    /// The file held nothing and was removed; the next append makes another.
    is_gone: bool,
    path: PathBuf,
    host: String,
    boot: String,
}

/// What is in the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub bytes: u64,
    pub batches: u64,
    pub events: u64,
}

impl Held {
    /// The file may have been changed by others: less than nothing is not held.
    fn without(self, bytes: u64, batches: u64, events: u64) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(bytes),
            batches: self.batches.saturating_sub(batches),
            events: self.events.saturating_sub(events),
        }
    }
}

impl Spool {
    /// Opens the spool of a host, and makes it if it is not there. A damaged one is put aside: it must not keep a sensor
    /// from starting.
    ///
    /// # Errors
    /// It cannot be made, or another sensor has it.
    pub fn open(path: &Path, owner: Owner<'_>, max_bytes: u64) -> Result<Self, SpoolError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|source| SpoolError::Folder { path: folder.to_owned(), source })?;
        }
        match Self::open_once(path, owner, max_bytes) {
            Err(err) if is_damage(&err) => {
                let aside = put_aside(path);
                tracing::error!(%err, aside = %aside.display(), "the spool is damaged: what it held is put aside and not sent");
                Self::open_once(path, owner, max_bytes)
            }
            opened => opened,
        }
        .map_err(|source| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SpoolError::InUse(path.to_owned()),
            _ => SpoolError::Open { path: path.to_owned(), source },
        })
    }

    fn open_once(path: &Path, owner: Owner<'_>, max_bytes: u64) -> rusqlite::Result<Self> {
        let Owner { host, boot } = owner;
        let mut conn = Connection::open(path)?;
        // Events hold command lines.
        _ = fs::set_permissions(path, PermissionsExt::from_mode(0o600));
        // Nobody else has business here, and so no shared memory is needed either.
        conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        // What was appended outlasts a power cut.
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        conn.pragma_update(None, "journal_size_limit", u64::from(CHECKPOINT_PAGES) * 4096)?;
        // Pages in memory, in KiB if negative: the sensor is a guest.
        conn.pragma_update(None, "cache_size", -512)?;
        conn.busy_timeout(Duration::from_millis(500))?;
        let tx = conn.transaction()?;
        tx.execute_batch(
            "create table if not exists batches (
                 seq integer primary key autoincrement, n_events integer not null, body blob not null
             );
             create table if not exists spool (
                 id integer primary key check (id = 1), stream text not null, host text not null,
                 evicted integer not null default 0, unwritten integer not null default 0,
                 refused integer not null default 0, told_evicted integer not null default 0,
                 told_unwritten integer not null default 0, told_refused integer not null default 0
             );",
        )?;
        let has_boot: bool = tx.query_row(
            "select count(*) > 0 from pragma_table_info('spool') where name = 'boot'",
            [],
            |row| row.get(0),
        )?;
        if !has_boot {
            tx.execute_batch("alter table spool add column boot text not null default ''")?;
        }
        let of_host: Option<String> =
            tx.query_row("select host from spool", [], |row| row.get(0)).optional()?;
        if of_host.as_deref().is_some_and(|of| of != host) {
            // An image of another machine, or a host with a new name: under this one's certificate its events would be
            // refused, and they are not this one's.
            tracing::error!(of = of_host, "the spool is another host's: what it held is given up");
            tx.execute_batch(
                "update spool set refused = refused + (select coalesce(sum(n_events), 0) from batches);
                 delete from batches;
                 delete from sqlite_sequence where name = 'batches';",
            )?;
            tx.execute("update spool set host = ?1, stream = lower(hex(randomblob(16)))", [host])?;
        }
        tx.execute(
            "insert or ignore into spool (id, stream, host, boot) values (1, lower(hex(randomblob(16))), ?1, ?2)",
            [host, boot],
        )?;
        // A disk put back from a copy comes with a boot, and with numbers that other batches have had since: under the old
        // name new ones would be taken for those. What was sent and not acknowledged comes twice, and is known by its ids.
        tx.execute(
            "update spool set stream = lower(hex(randomblob(16))), boot = ?1 where boot != ?1",
            [boot],
        )?;
        tx.commit()?;
        let (stream, given_up, told) = conn.query_row(
            "select stream, evicted, unwritten, refused, told_evicted, told_unwritten, told_refused from spool",
            [],
            |row| {
                let given_up = GivenUp { evicted: row.get(1)?, unwritten: row.get(2)?, refused: row.get(3)? };
                let told = GivenUp { evicted: row.get(4)?, unwritten: row.get(5)?, refused: row.get(6)? };
                Ok((row.get(0)?, given_up, told))
            },
        )?;
        let held = conn.query_row(
            "select coalesce(sum(length(body)), 0), count(*), coalesce(sum(n_events), 0) from batches",
            [],
            |row| {
                let batches: u64 = row.get(1)?;
                Ok(Held { bytes: row.get::<_, u64>(0)? + batches * ROW_BYTES, batches, events: row.get(2)? })
            },
        )?;
        Ok(Self {
            conn,
            stream,
            max_bytes,
            held,
            given_up,
            told,
            kept_unwritten: given_up.unwritten,
            undeleted_through: 0,
            is_gone: false,
            path: path.to_owned(),
            host: host.to_owned(),
            boot: boot.to_owned(),
        })
    }

    /// What the sequence numbers belong to.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    pub fn held(&self) -> Held {
        self.held
    }

    pub fn given_up(&self) -> GivenUp {
        self.given_up
    }

    /// What an earlier run, or this one, told of it.
    pub fn told(&self) -> GivenUp {
        self.told
    }

    /// Adds a batch, durably. Gives up the oldest ones where the cap asks for it. `told`: what has been told of losses up
    /// to and with this batch.
    ///
    /// # Errors
    /// The disk is full or failing: nothing was added, and nothing given up.
    pub fn append(&mut self, body: &[u8], n_events: u64, told: Option<GivenUp>) -> Result<(), SpoolError> {
        if self.is_gone {
            self.renew()?;
        }
        let (mut held, mut given_up) = (self.held, self.given_up);
        let tx = self.conn.transaction()?;
        held.bytes += body.len() as u64 + ROW_BYTES;
        held.batches += 1;
        held.events += n_events;
        let mut evicted_through = None;
        if held.bytes > self.max_bytes {
            let mut select =
                tx.prepare_cached("select seq, length(body), n_events from batches order by seq")?;
            let mut rows = select.query([])?;
            while held.bytes > self.max_bytes {
                // The newest is kept, however large.
                let Some(row) = rows.next()? else { break };
                let (seq, bytes, events): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                evicted_through = Some(seq);
                held = held.without(bytes + ROW_BYTES, 1, events);
                if seq > self.undeleted_through {
                    given_up.evicted += events;
                }
            }
        }
        if let Some(through) = evicted_through {
            tx.prepare_cached("delete from batches where seq <= ?1")?.execute([through])?;
        }
        if evicted_through.is_some() || given_up.unwritten != self.kept_unwritten {
            tx.prepare_cached("update spool set evicted = ?1, unwritten = ?2")?
                .execute([given_up.evicted, given_up.unwritten])?;
        }
        tx.prepare_cached("insert into batches (n_events, body) values (?1, ?2)")?
            .execute(params![n_events, body])?;
        if let Some(told) = told {
            tx.prepare_cached("update spool set told_evicted = ?1, told_unwritten = ?2, told_refused = ?3")?
                .execute([told.evicted, told.unwritten, told.refused])?;
        }
        tx.commit()?;
        (self.held, self.given_up, self.kept_unwritten) = (held, given_up, given_up.unwritten);
        self.told = told.unwrap_or(self.told);
        Ok(())
    }

    /// The file may have no more pages than this: a full disk, for tests.
    #[cfg(test)]
    pub(crate) fn limit_pages(&mut self, n_pages: u32) {
        self.conn.pragma_update(None, "max_page_count", n_pages).expect("a number of pages");
    }

    /// Counts events that could not be appended. The next append keeps the count.
    pub fn lose(&mut self, n_events: u64) {
        self.given_up.unwritten += n_events;
    }

    /// The oldest batches, so many and so long at most, and one in any case.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oldest(&self, max_rows: u64, max_bytes: usize) -> Result<Option<Chunk>, SpoolError> {
        if self.is_gone {
            return Ok(None);
        }
        let mut select =
            self.conn.prepare_cached("select seq, body from batches where seq > ?2 order by seq limit ?1")?;
        let mut rows = select.query([max_rows, self.undeleted_through])?;
        let mut chunk = Chunk::default();
        while let Some(row) = rows.next()? {
            let (seq, body): (u64, _) = (row.get(0)?, row.get_ref(1)?);
            let body = body.as_blob().map_err(rusqlite::Error::from)?;
            if chunk.n_rows > 0 && (chunk.body.len() + body.len() > max_bytes || seq != chunk.last() + 1) {
                break;
            }
            if chunk.n_rows == 0 {
                chunk.first = seq;
            }
            chunk.n_rows += 1;
            chunk.body.extend_from_slice(body);
        }
        Ok((chunk.n_rows > 0).then_some(chunk))
    }

    /// The correlator has everything up to this number.
    ///
    /// # Errors
    /// The file cannot be written: it is deleted later, and what is sent again is known there.
    pub fn acknowledge(&mut self, through: u64) -> Result<(), SpoolError> {
        let removed = self.remove(through, false);
        if removed.as_ref().is_err_and(SpoolError::is_full) {
            // Even deleting takes room, in the log. Once nothing else is left the file itself can go.
            self.undeleted_through = self.undeleted_through.max(through);
            if self.oldest(1, 0)?.is_none() {
                return self.discard();
            }
        }
        removed
    }

    /// Removes a file that holds nothing any more.
    fn discard(&mut self) -> Result<(), SpoolError> {
        // The old connection holds the file, and its place on the disk, until it is closed.
        self.conn = Connection::open_in_memory()?;
        for end in ["", "-wal", "-shm"] {
            _ = fs::remove_file(named(&self.path, end));
        }
        (self.held, self.is_gone) = (Held::default(), true);
        Ok(())
    }

    /// Makes a file in place of one that was removed, and puts into it what was given up.
    fn renew(&mut self) -> Result<(), SpoolError> {
        let (given_up, told) = (self.given_up, self.told);
        let owner = Owner { host: &self.host, boot: &self.boot };
        let renewed = Self::open_once(&self.path, owner, self.max_bytes)?;
        renewed.conn.execute(
            "update spool set evicted = ?1, unwritten = ?2, refused = ?3, told_evicted = ?4, told_unwritten = ?5, told_refused = ?6",
            [given_up.evicted, given_up.unwritten, given_up.refused, told.evicted, told.unwritten, told.refused],
        )?;
        *self = renewed;
        (self.given_up, self.told, self.kept_unwritten) = (given_up, told, given_up.unwritten);
        Ok(())
    }

    /// Puts a file that turned out to be damaged aside, and makes another. What it held counts as never written.
    ///
    /// # Errors
    /// There cannot be another.
    pub fn mend(&mut self) -> Result<(), SpoolError> {
        self.given_up.unwritten += self.held.events;
        self.held = Held::default();
        self.conn = Connection::open_in_memory()?;
        let aside = put_aside(&self.path);
        tracing::error!(aside = %aside.display(), "the spool is damaged: what it held is put aside and not sent");
        self.is_gone = true;
        self.renew()
    }

    /// The correlator will never take the batch of this number, which is the oldest.
    ///
    /// # Errors
    /// As [`Self::acknowledge`].
    pub fn refuse(&mut self, seq: u64) -> Result<(), SpoolError> {
        self.remove(seq, true)
    }

    fn remove(&mut self, through: u64, is_refused: bool) -> Result<(), SpoolError> {
        let tx = self.conn.transaction()?;
        let (bytes, batches, events, unsent): (u64, u64, u64, u64) = tx
            .prepare_cached(
                "select coalesce(sum(length(body)), 0), count(*), coalesce(sum(n_events), 0),
                   coalesce(sum(case when seq > ?2 then n_events end), 0) from batches where seq <= ?1",
            )?
            .query_row([through, self.undeleted_through], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let mut given_up = self.given_up;
        if is_refused {
            given_up.refused += unsent;
            tx.prepare_cached("update spool set refused = ?1")?.execute([given_up.refused])?;
        }
        tx.prepare_cached("delete from batches where seq <= ?1")?.execute([through])?;
        tx.commit()?;
        self.given_up = given_up;
        self.held = self.held.without(bytes + batches * ROW_BYTES, batches, events);
        Ok(())
    }
}

/// Moves a file, and what SQLite keeps beside it, out of the way.
fn put_aside(path: &Path) -> PathBuf {
    let aside = named(path, ".damaged");
    if let Err(err) = fs::rename(path, &aside) {
        tracing::error!(%err, "the damaged spool cannot be put aside");
    }
    for end in ["-wal", "-shm"] {
        _ = fs::remove_file(named(path, end));
    }
    aside
}

/// The spool's file, or one that SQLite keeps beside it.
fn named(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
