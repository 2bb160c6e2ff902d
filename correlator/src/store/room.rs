//! How much the store's file holds, and what goes from it where that is too much.

use rusqlite::params;

use super::{Store, StoreError};

/// What goes at a time, oldest first, until there is room: a table of history, and how its rows are ordered by age. What
/// only remembers comes before what explains, and that before what tells repetition apart. Alerts that no sink has, or that
/// can still change, stay, with what explains these; so does state, and what it rests on.
const HISTORY: &[&str] = &[
    "delete from alerts where id in (
        select id from alerts where is_delivered = 1 and id not in (select id from open_alerts) order by time limit 64)",
    "delete from identities where (subject, attribute, value) in (
        select subject, attribute, value from identities order by last limit 64)",
    "delete from held where row in (
        select row from held where role = 3 and id not in (select id from temp.standing) order by until limit 64)",
    "delete from seen_ids where hour = (select min(hour) from seen_ids)",
];

/// One look does so much, and the next goes on: the run has other things to do.
const MAX_STEPS: usize = 512;

/// What a look at the store's size came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub n_bytes: u64,
    /// Of these, what waits for sinks.
    pub n_queued_bytes: u64,
    /// Rows that went before their time.
    pub n_gone: u64,
}

impl Kept {
    /// Whether it is more than this without what waits for sinks.
    pub fn is_over(&self, max_bytes: u64) -> bool {
        self.n_bytes.saturating_sub(self.n_queued_bytes) > max_bytes
    }
}

impl Store {
    /// What the file holds. Room that was freed is in the file and not counted: it is filled again first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn used_bytes(&self) -> Result<u64, StoreError> {
        let ask = |what: &str| self.conn.pragma_query_value(None, what, |row| row.get::<_, i64>(0));
        let used = || Ok((ask("page_count")? - ask("freelist_count")?) * ask("page_size")?);
        used().map(i64::unsigned_abs).map_err(StoreError::Read)
    }

    /// Of what the file holds, what waits for sinks, nearly. It has bounds of its own, and pushes out no history.
    pub fn queued_bytes(&self) -> u64 {
        self.outbox.n_bytes()
    }

    /// Lets the oldest history go while the file holds more than this besides the queues of sinks. `standing`: events that open alerts show; asked for
    /// where something has to go.
    ///
    /// # Errors
    /// The disk is failing. What went is gone, the rest is there.
    pub fn keep_within(
        &mut self,
        max_bytes: u64,
        standing: impl FnOnce() -> Vec<[u8; 16]>,
    ) -> Result<Kept, StoreError> {
        let n_queued_bytes = self.queued_bytes();
        let mut kept = Kept { n_bytes: self.used_bytes()?, n_queued_bytes, n_gone: 0 };
        if kept.is_over(max_bytes) {
            self.spare(&standing()).map_err(StoreError::Write)?;
        }
        // A little further, so that not every event that comes makes another go.
        let enough = if kept.is_over(max_bytes) { max_bytes - max_bytes / 20 } else { max_bytes };
        let (mut history, mut n_steps) = (HISTORY.iter(), 0);
        let mut script = history.next();
        while let Some(delete) = script
            && kept.is_over(enough)
            && n_steps < MAX_STEPS
        {
            let n_gone = self.conn.execute(delete, []).map_err(StoreError::Write)?;
            if n_gone == 0 {
                script = history.next();
            }
            n_steps += 1;
            kept.n_bytes = self.used_bytes()?;
            kept.n_gone += n_gone as u64;
        }
        Ok(kept)
    }

    fn spare(&self, standing: &[[u8; 16]]) -> rusqlite::Result<()> {
        self.conn.execute_batch(
            "create temp table if not exists standing (id blob primary key) without rowid; delete from temp.standing",
        )?;
        let mut insert = self.conn.prepare_cached("insert or ignore into temp.standing (id) values (?1)")?;
        standing.iter().try_for_each(|id| insert.execute(params![&id[..]]).map(|_| ()))
    }
}
