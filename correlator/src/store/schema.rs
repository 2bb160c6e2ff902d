//! The store's tables, and the steps from each older format to the next.

use rusqlite::Connection;

/// Kept in `user_version`. A store of a later one is refused.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// Step n brings format n to n + 1. A released step never changes.
const STEPS: &[&str] = &["
    create table seen (id blob primary key, time integer not null) without rowid;
    create index seen_by_time on seen (time);
    create table held (
        id blob primary key, origin text not null, raw text not null, time integer not null, until integer not null
    );
    create index held_by_until on held (until);
    create table heard (name text not null, minute integer not null, primary key (name, minute)) without rowid;
    create table terms (
        rule_id text not null, key text not null, last_seen integer not null, primary key (rule_id, key)
    ) without rowid;
    create table alerts (
        id text primary key, rule_id text not null, time integer not null, revision integer not null,
        content blob not null, state text not null, is_delivered integer not null, document text not null
    );
    create index alerts_by_time on alerts (time);
    create table positions (
        source text not null, key text not null, value text not null, primary key (source, key)
    ) without rowid;
"];

pub(super) fn migrate(conn: &mut Connection, found: u32) -> rusqlite::Result<()> {
    for (step, version) in STEPS.iter().zip(1..).skip(found as usize) {
        let tx = conn.transaction()?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}
