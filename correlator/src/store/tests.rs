use serde_json::json;

use super::*;
use crate::alert::blind::HostLoss;
use crate::identity::{Attribute, Changes, Row, Subject};
use crate::keyed::{Anchor, Eviction};

fn seen(n: u8, time: i64) -> SeenId {
    SeenId { id: [n; 16], time: EventTime(time), content: u32::from(n) }
}

fn ids(store: &Store) -> Vec<SeenId> {
    let mut ids = Vec::new();
    store.each_id(|seen| ids.push(seen)).unwrap();
    ids
}

fn change(name: &str, revision: u32, state: AlertState) -> AlertChange {
    AlertChange {
        id: AlertId::new("rule", &JoinKey::default(), &Anchor::Event(name.into())),
        time: EventTime(7),
        rule_id: "rule".into(),
        state,
        revision,
        content: [revision as u8; 16],
        document: json!({"name": name, "revision": revision}),
    }
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let held = HeldEvent {
        id: [3; 16],
        origin: Origin::GuardDuty,
        raw: "{}".into(),
        time: EventTime(1),
        until: EventTime(50),
        role: HeldRole::Context,
    };
    let key = KeyRow {
        place: 4,
        rule_id: "rule".into(),
        key: JoinKey(Box::new([Some("a\"b".into()), None])),
        fingerprint: [7; 16],
        state: vec![1, 2, 3],
    };
    let open = OpenRow { id: AlertId::from_store("a1"), state: Some(("rule".into(), [7; 16], vec![4])) };
    let eviction = Eviction { n_keys: 3, n_hits: 4, newest: EventTime(5) };
    let loss = HostLoss { host: "web-1".into(), time: EventTime(6), what: "12 records".into() };
    let position = Position { source: "trail".into(), key: "file".into(), value: "done".into() };
    {
        let mut store = Store::open(&path).unwrap();
        let alerts = [change("a", 1, AlertState::Open)];
        let batch = Batch {
            ids: vec![seen(1, 5)],
            held: vec![held.clone()],
            state: StateRows {
                since: vec![("r 07".to_owned(), EventTime(-5))],
                keys: vec![key.clone()],
                gone: vec![3],
                open: vec![open.clone()],
                evictions: vec![("rule".into(), eviction)],
                losses: vec![loss.clone()],
            },
            watermark: Some(EventTime(4)),
            alerts: &alerts,
            positions: vec![position.clone()],
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
    }
    let store = Store::open(&path).unwrap();
    assert_eq!(ids(&store), [SeenId { time: EventTime(0), ..seen(1, 5) }], "the time to the hour");
    assert_eq!(store.contexts().unwrap(), std::slice::from_ref(&held));
    assert_eq!(store.held_event(held.time, &held.id).unwrap(), Some(held));
    let mut keys = Vec::new();
    store
        .each_key(|ReadKey { place, rule_id, fingerprint, key, state }| {
            let key = key.unwrap();
            let (rule_id, state) = (rule_id.into(), state.to_vec());
            keys.push(KeyRow { place, rule_id, key, fingerprint: short(fingerprint), state });
        })
        .unwrap();
    assert_eq!(keys, [key]);
    assert_eq!(store.open_alerts().unwrap(), [open]);
    assert_eq!(store.evictions().unwrap(), [("rule".to_owned(), eviction)]);
    assert_eq!(store.losses().unwrap(), [loss]);
    assert_eq!(store.watermark().unwrap(), Some(EventTime(4)));
    assert_eq!(store.since().unwrap(), [("r 07".to_owned(), EventTime(-5))]);
    assert_eq!(store.all_positions().unwrap(), [position]);
    let alerts = store.alerts().unwrap();
    assert_eq!((alerts.len(), alerts[0].revision, alerts[0].is_withdrawn), (1, 1, false));
}

#[test]
fn an_alert_keeps_its_row_over_revisions_and_is_delivered_again() {
    let mut store = Store::in_memory().unwrap();
    let first = [change("a", 1, AlertState::Open)];
    store.commit(&Batch { alerts: &first, ..Batch::default() }).unwrap();
    assert_eq!(store.undelivered().unwrap().len(), 1);
    store.mark_delivered(&first).unwrap();
    assert!(store.undelivered().unwrap().is_empty());
    let second = [change("a", 2, AlertState::Withdrawn)];
    store.commit(&Batch { alerts: &second, ..Batch::default() }).unwrap();
    store.mark_delivered(&first).unwrap();
    let left = store.undelivered().unwrap();
    assert_eq!((left.len(), left[0].revision, left[0].is_withdrawn), (1, 2, true));
    assert_eq!(store.alerts().unwrap().len(), 1);
}

#[test]
fn what_nothing_needs_is_forgotten() {
    let mut store = Store::in_memory().unwrap();
    let held = |n: u8, until| HeldEvent {
        id: [n; 16],
        origin: Origin::Sensor,
        raw: "".into(),
        time: EventTime(0),
        until: EventTime(until),
        role: HeldRole::Evidence,
    };
    let day = 24 * HOUR;
    let all = vec![seen(1, 5), seen(2, day + 50)];
    store.commit(&Batch { ids: all, held: vec![held(1, 5), held(2, 50)], ..Batch::default() }).unwrap();
    let at = Some(EventTime(10));
    let before = Some(EventTime(day));
    store.commit(&Batch { forget_ids_before: before, watermark: at, ..Batch::default() }).unwrap();
    assert_eq!(ids(&store), [SeenId { time: EventTime(day), ..seen(2, 0) }]);
    assert_eq!(store.held(HeldRole::Evidence).unwrap(), [held(2, 50)]);
}

#[test]
fn state_of_an_edited_rule_goes_and_that_of_others_stays() {
    let mut store = Store::in_memory().unwrap();
    let key = |rule_id: &str, n: u8| KeyRow {
        place: n.into(),
        rule_id: rule_id.into(),
        key: JoinKey::default(),
        fingerprint: [n; 16],
        state: vec![n],
    };
    let state = StateRows { keys: vec![key("a", 1), key("b", 2)], ..StateRows::default() };
    store.commit(&Batch { state, ..Batch::default() }).unwrap();
    store.drop_keys(&[("a".into(), [1; 16]), ("b".into(), [9; 16])]).unwrap();
    let mut left = Vec::new();
    store.each_key(|read| left.push(read.rule_id.to_owned())).unwrap();
    assert_eq!(left, ["b"]);
    let state = StateRows { gone: vec![2], ..StateRows::default() };
    store.commit(&Batch { state, ..Batch::default() }).unwrap();
    store.each_key(|_| panic!("nothing is left")).unwrap();
}

#[test]
fn a_newer_store_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("has format 99") && error.contains("use a newer groundtrail"), "{error}");
}

#[test]
fn another_programs_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    let tables = |path: &Path| -> Vec<String> {
        let conn = Connection::open(path).unwrap();
        let mut select = conn.prepare("select name from sqlite_master").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    Connection::open(&path).unwrap().execute_batch("create table alerts (a)").unwrap();
    for error in [Store::open(&path).unwrap_err(), Store::open_to_look(&path).unwrap_err()] {
        assert!(error.to_string().contains("is no store of groundtrail's"), "{error}");
    }
    assert_eq!(tables(&path), ["alerts"]);
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "these are my notes, and they are longer than a header").unwrap();
    assert!(matches!(Store::open(&text), Err(StoreError::Foreign { .. })));
    let empty = dir.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(Store::open_to_look(&empty), Err(StoreError::Foreign { .. })), "nothing to look at");
    Store::open(&empty).unwrap();
    Store::open_to_look(&empty).unwrap();
}

#[test]
fn a_store_is_nothing_for_everybody() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut store = Store::open(&path).unwrap();
    store.commit(&Batch { watermark: Some(EventTime(1)), ..Batch::default() }).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{}: {mode:o}", entry.path().display());
    }
}

#[test]
fn an_alert_is_found_by_the_beginning_of_its_id() {
    let mut store = Store::in_memory().unwrap();
    let alerts = [change("a", 1, AlertState::Open), change("b", 1, AlertState::Open)];
    store.commit(&Batch { alerts: &alerts, ..Batch::default() }).unwrap();
    let id = alerts[1].id.as_str();
    assert_eq!(store.alert_ids_like(&id[..8], 2).unwrap(), [id]);
    assert_eq!(store.alert_ids_like("", 0).unwrap(), [""; 0]);
    assert_eq!(store.alert_ids_like("%", 2).unwrap(), [""; 0]);
}

#[test]
fn two_runs_do_not_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let first = Store::open_for_run(&path).unwrap();
    let error = Store::open_for_run(&path).unwrap_err().to_string();
    assert!(
        error.contains(&*path.to_string_lossy()) && error.contains("give this one a store of its own"),
        "{error}"
    );
    assert!(Store::open(&path).is_ok(), "looking an alert up disturbs nobody");
    drop(first);
    assert!(Store::open_for_run(&path).is_ok());
}

#[test]
fn an_older_store_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(STEPS[0]).unwrap();
    old.execute_batch("insert into terms (rule_id, key, last_seen) values ('r', '[]', 9)").unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let mut store = Store::open(&path).unwrap();
    let term = store.terms().unwrap().remove(0);
    assert_eq!((term.first_seen, term.last_seen), (None, EventTime(9)));
    store.forget_older().unwrap();
    assert!(store.terms().unwrap().is_empty(), "it is part of the keys' state now");
}

#[test]
fn settled_windows_of_an_older_store_are_not_read_as_those_of_today() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let old = Connection::open(&path).unwrap();
    STEPS[..5].iter().for_each(|step| old.execute_batch(step).unwrap());
    old.execute_batch(
        "insert into rule_state (rule, rule_id, fingerprint) values (1, 'r', zeroblob(16));
         insert into key_state (place, rule, key, state) values
         (1, 1, x'00', x'0100aa'), (2, 1, x'00', x'0102aa'), (3, 1, x'00', x'0104aa'), (4, 1, x'00', x'0002aa'),
         (5, 1, x'00', x'0102000000000000bb'), (6, 1, x'00', x'01040200000000bb');",
    )
    .unwrap();
    old.pragma_update(None, "user_version", 5).unwrap();
    drop(old);
    let mut kept = Vec::new();
    Store::open(&path).unwrap().each_key(|read| kept.push((read.place, read.state.to_vec()))).unwrap();
    kept.sort();
    // A sequence, and keys of which nothing had settled.
    let expect: [(u64, &[u8]); 4] =
        [(1, &[1, 0, 0xaa]), (4, &[0, 2, 0xaa]), (5, &[0, 0xbb]), (6, &[0, 0xbb])];
    assert_eq!(kept, expect.map(|(place, state)| (place, state.to_vec())));
}

#[test]
fn what_has_had_its_time_goes() {
    let mut store = Store::in_memory().unwrap();
    let row = Row {
        subject: Subject::Host("web-1".into()),
        attribute: Attribute::Role,
        value: "web".into(),
        first: 1,
        last: 7,
    };
    let alerts = [change("a", 1, AlertState::Open)];
    let identities = Changes { rows: vec![row], gone: Vec::new() };
    store.commit(&Batch { alerts: &alerts, identities, ..Batch::default() }).unwrap();
    let mut at = |time| {
        let retention = Span(100);
        store.commit(&Batch { watermark: Some(EventTime(time)), retention, ..Batch::default() }).unwrap();
        let counts = [store.identities().unwrap().len(), store.told().unwrap().len()];
        store.mark_delivered(&alerts).unwrap();
        counts
    };
    assert_eq!(at(107), [1, 1]);
    assert_eq!(at(108), [0, 0], "all of it is older than the retention");
}

#[test]
fn an_alert_that_no_sink_has_is_kept_however_old() {
    let mut store = Store::in_memory().unwrap();
    let alerts = [change("a", 1, AlertState::Open)];
    store.commit(&Batch { alerts: &alerts, ..Batch::default() }).unwrap();
    store.commit(&Batch { watermark: Some(EventTime(1_000)), ..Batch::default() }).unwrap();
    assert_eq!(store.undelivered().unwrap().len(), 1);
}

#[test]
fn a_full_disk_takes_nothing_of_a_batch_and_may_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("store.db")).unwrap();
    let position = |value: &str| Position { source: "s".into(), key: "k".into(), value: value.into() };
    store.commit(&Batch { positions: vec![position("before")], ..Batch::default() }).unwrap();
    let pages: i64 = store.conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.conn.pragma_update(None, "max_page_count", pages + 1).unwrap();
    let held = HeldEvent {
        id: [1; 16],
        origin: Origin::Sensor,
        raw: "x".repeat(100_000).into(),
        time: EventTime(0),
        until: EventTime(9),
        role: HeldRole::Evidence,
    };
    let batch = Batch { held: vec![held], positions: vec![position("after")], ..Batch::default() };
    let error = store.commit(&batch).unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("nothing after the last commit is acknowledged"));
    assert_eq!(store.all_positions().unwrap(), [position("before")]);
    store.conn.pragma_update(None, "max_page_count", 100_000).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(store.all_positions().unwrap(), [position("after")]);
}

#[test]
fn the_oldest_history_goes_where_there_is_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("store.db")).unwrap();
    let long = |n: i64| AlertChange {
        time: EventTime(n),
        document: json!({"n": n, "text": "x".repeat(2_000)}),
        ..change(&format!("a{n}"), 1, AlertState::Open)
    };
    let alerts: Vec<AlertChange> = (0..3_000).map(long).collect();
    let state = StateRows {
        open: vec![OpenRow { id: alerts[0].id.clone(), state: Some(("rule".into(), [7; 16], vec![4])) }],
        ..StateRows::default()
    };
    store.commit(&Batch { alerts: &alerts, state, ..Batch::default() }).unwrap();
    let max = store.used_bytes().unwrap() / 2;
    assert_eq!(store.keep_within(max, Vec::new).unwrap().n_gone, 0, "no sink has them");
    store.mark_delivered(&alerts).unwrap();
    let kept = store.keep_within(max, Vec::new).unwrap();
    assert!(kept.n_bytes <= max && kept.n_bytes > max * 8 / 10, "{kept:?} of {max}");
    let left = store.alerts().unwrap();
    assert_eq!(left.len() as u64 + kept.n_gone, 3_000);
    assert_eq!(left[0].id, alerts[0].id, "it can still change");
    assert_eq!(left.last().map(|alert| &alert.id), alerts.last().map(|alert| &alert.id));
    assert_eq!(store.keep_within(max, Vec::new).unwrap().n_gone, 0);
}

#[test]
fn what_open_alerts_show_and_what_state_rests_on_stays_where_there_is_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("store.db")).unwrap();
    let held = |n: u8, role| HeldEvent {
        id: [n; 16],
        origin: Origin::Sensor,
        raw: "x".repeat(20_000).into(),
        time: EventTime(n.into()),
        until: EventTime(n.into()),
        role,
    };
    let roles = |n: u8| match n % 3 {
        0 => HeldRole::Evidence,
        1 => HeldRole::Both,
        _ => HeldRole::Context,
    };
    store.commit(&Batch { held: (0..90).map(|n| held(n, roles(n))).collect(), ..Batch::default() }).unwrap();
    // One that explained alerts, and is found later to be what state rests on.
    store.commit(&Batch { held: vec![held(5, HeldRole::Evidence)], ..Batch::default() }).unwrap();
    let kept = store.keep_within(1, || vec![[8; 16], [11; 16]]).unwrap();
    assert_eq!(kept.n_gone, 27);
    let left: Vec<u8> = store.contexts().unwrap().iter().map(|held| held.id[0]).collect();
    let expected: Vec<u8> = (0..90).filter(|n| n % 3 == 1 || [5, 8, 11].contains(n)).collect();
    assert_eq!(left, expected);
    assert_eq!(store.held(HeldRole::Evidence).unwrap().len(), 30);
}
