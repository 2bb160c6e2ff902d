//! The store's tables, and the steps from each older format to the next.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::StoreError;

/// Kept in `application_id`: "grtr". Stores of the first formats have none.
const APPLICATION: i32 = 0x6772_7472;

/// Kept in `user_version`. A store of a later one is refused.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// Step n brings format n to n + 1. A released step never changes. What `keys` and `open_alerts` hold is serialised by the
/// shapes in `keyed` and `alert::book`: a change of those is a step here, too, which rewrites or empties the tables. Tests of
/// each kind of state fail where it was forgotten.
pub(crate) const STEPS: &[&str] = &["
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
", "
    create table keys (
        rule_id text not null, key blob not null, fingerprint blob not null, state blob not null,
        primary key (rule_id, key)
    );
    create table open_alerts (
        id text primary key, rule_id text not null, fingerprint blob not null, state blob not null
    ) without rowid;
    create table evictions (
        rule_id text primary key, n_keys integer not null, n_hits integer not null, newest integer not null
    ) without rowid;
    create table losses (
        time integer not null, host text not null, what text not null, primary key (time, host)
    ) without rowid;
    create table marks (name text primary key, value integer not null) without rowid;
    alter table held add column role integer not null default 2;
    create index held_by_role on held (role) where role > 0;
", "
    create table health (id integer primary key check (id = 1), document text not null);
", "
    -- A key's state lies where the run says, which knows the place: no index is searched or rewritten for it.
    create table rule_state (
        rule integer primary key, rule_id text not null, fingerprint blob not null, unique (rule_id, fingerprint)
    );
    create table key_state (
        place integer primary key, rule integer not null, key blob not null, state blob not null
    );
    insert into rule_state (rule_id, fingerprint) select distinct rule_id, fingerprint from keys;
    insert into key_state (rule, key, state)
        select rule, key, cast(x'01' || state as blob) from keys join rule_state using (rule_id, fingerprint);
    drop table keys;
    -- Ids are asked for in memory alone, and go by the hour. 16 bytes of each, and 4 of what it said.
    create table seen_ids (hour integer not null, ids blob not null);
    create index seen_ids_by_hour on seen_ids (hour);
    insert into seen_ids select time / 3600000000000, cast(id || x'00000000' as blob) from seen;
    drop table seen;
    -- Events come nearly in the order of their time, so that an index by it grows at its end.
    drop index held_by_until;
    drop index held_by_role;
    alter table held rename to held_before;
    create table held (
        row integer primary key, moment integer not null, id blob not null, origin text not null, raw text not null,
        time integer not null, until integer not null, role integer not null
    );
    insert into held (moment, id, origin, raw, time, until, role)
        select case origin when 'signal' then 0 else time end, id, origin, raw, time, until, role
        from held_before order by time;
    drop table held_before;
    create unique index held_by_moment on held (moment, id);
    create index held_by_until on held (until);
    create index held_by_role on held (role) where role > 0;
", "
    -- Windows and correlations count apart from what they keep. Where nothing of theirs had settled there is nothing to
    -- read otherwise; the rest does not read as what it would be now.
    update key_state set state = cast(x'00' || substr(state, 9) as blob) where substr(state, 1, 8) = x'0102000000000000';
    update key_state set state = cast(x'00' || substr(state, 7) as blob) where substr(state, 1, 6) = x'010401000000';
    update key_state set state = cast(x'00' || substr(state, 8) as blob) where substr(state, 1, 7) = x'01040200000000';
    update key_state set state = cast(x'00' || substr(state, 9) as blob) where substr(state, 1, 8) = x'0104030000000000';
    delete from key_state where substr(state, 1, 2) in (x'0102', x'0104');
", "
    -- What sinks have still to be given: each revision once, and who waits for it. A number is never given twice, since
    -- workers go by it. `worst` is how severe an alert ever was.
    alter table alerts add column worst integer not null default 0;
    create table told (
        seq integer primary key autoincrement, alert_id text not null, revision integer not null,
        queued_ms integer not null, document text not null
    );
    create table outbox (
        sink text not null, seq integer not null, severity integer not null, primary key (sink, seq)
    ) without rowid;
    create index outbox_by_severity on outbox (sink, severity, seq);
    create index outbox_by_seq on outbox (seq);
", "
    -- What is told to nobody, by which silence, and whether it was told before that began; what each sink was told of a rule and the same entities, when it may
    -- hear it again, and how much was held back since.
    create table muted (
        alert_id text primary key, said text not null, was_told integer not null
    ) without rowid;
    create table notified (
        sink text not null, alert_id text not null, grouped text not null, is_held integer not null,
        severity integer not null, primary key (sink, alert_id)
    ) without rowid;
    create index notified_by_alert on notified (alert_id);
    create index notified_by_group on notified (sink, grouped) where is_held;
    create table repeats (
        sink text not null, grouped text not null, last_ms integer not null, due_ms integer not null,
        n_held integer not null, severity integer not null, primary key (sink, grouped)
    ) without rowid;
    create index repeats_by_due on repeats (due_ms);
    create trigger alert_gone after delete on alerts begin
        delete from muted where alert_id = old.id;
        delete from notified where alert_id = old.id;
    end;
"];

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    /// Nothing is in it yet.
    Nobodys,
}

/// Leaves another program's database as it is.
pub(super) fn refuse_others(conn: &Connection, path: &Path) -> Result<Whose, StoreError> {
    let look = || -> rusqlite::Result<Option<Whose>> {
        let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let (n_tables, n_ours): (u32, u32) = conn.query_row(
            "select count(*), count(case when name in ('alerts', 'held', 'positions') then 1 end)
             from sqlite_master where type = 'table'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(match (application, n_tables, n_ours) {
            (APPLICATION, ..) | (0, _, 3) => Some(Whose::Ours),
            (0, 0, _) => Some(Whose::Nobodys),
            _ => None,
        })
    };
    let foreign = || StoreError::Foreign { path: path.to_owned() };
    match look() {
        Ok(whose) => whose.ok_or_else(foreign),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Err(foreign()),
        Err(source) => Err(StoreError::Open { path: path.to_owned(), source }),
    }
}

pub(super) fn migrate(conn: &mut Connection, found: u32) -> rusqlite::Result<()> {
    for (step, version) in STEPS.iter().zip(1..).skip(found as usize) {
        let tx = conn.transaction()?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    conn.pragma_update(None, "application_id", APPLICATION)
}

#[cfg(test)]
mod tests {
    use super::VERSION;

    #[test]
    fn the_changelog_names_the_format() {
        let said =
            format!("The store's format is {VERSION}; stores of formats 1 to {} are taken over", VERSION - 1);
        assert!(include_str!("../../../CHANGELOG.md").contains(&said), "CHANGELOG.md lacks: {said}");
    }
}
