//! The store's tables, and the steps from each older format to the next.

use rusqlite::Connection;

/// Kept in `user_version`. A store of a later one is refused.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// Step n brings format n to n + 1. A released step never changes.
pub(super) const STEPS: &[&str] = &["
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
", "
    create table identities (
        subject text not null, attribute text not null, value text not null, first integer not null,
        last integer not null, primary key (subject, attribute, value)
    ) without rowid;
    create index identities_by_last on identities (last);
    create table suppression (
        alert_id text primary key, rule_id text not null, grouped text not null, time integer not null,
        until integer not null
    ) without rowid;
    create index suppression_by_until on suppression (until);
    create table settled (
        rule_id text not null, key text not null, through integer not null, until integer not null,
        primary key (rule_id, key)
    ) without rowid;
    create index settled_by_until on settled (until);
    alter table terms add column first_seen integer;
    alter table terms add column until integer not null default 9223372036854775807;
    create index terms_by_until on terms (until);
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
