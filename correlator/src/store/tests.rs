use serde_json::json;

use super::*;
use crate::identity::{Attribute, Subject};
use crate::keyed::Anchor;

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
    };
    let term = SeenTerm {
        rule_id: "rule".into(),
        key: JoinKey(Box::new([Some("a\"b".into()), None])),
        first_seen: Some(EventTime(8)),
        last_seen: EventTime(9),
        until: EventTime(90),
    };
    let position = Position { source: "trail".into(), key: "file".into(), value: "done".into() };
    {
        let mut store = Store::open(&path).unwrap();
        let alerts = [change("a", 1, AlertState::Open)];
        let batch = Batch {
            ids: vec![([1; 16], EventTime(5))],
            held: vec![held.clone()],
            terms: vec![term.clone()],
            alerts: &alerts,
            positions: vec![position.clone()],
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
    }
    let store = Store::open(&path).unwrap();
    assert_eq!(store.ids().unwrap(), [([1; 16], EventTime(5))]);
    assert_eq!(store.held().unwrap(), [held]);
    assert_eq!(store.terms().unwrap(), [term]);
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
        raw: String::new(),
        time: EventTime(0),
        until: EventTime(until),
    };
    let ids = vec![([1; 16], EventTime(5)), ([2; 16], EventTime(50))];
    store.commit(&Batch { ids, held: vec![held(1, 5), held(2, 50)], ..Batch::default() }).unwrap();
    let at = Some(EventTime(10));
    store.commit(&Batch { forget_ids_before: at, watermark: at, ..Batch::default() }).unwrap();
    assert_eq!(store.ids().unwrap(), [([2; 16], EventTime(50))]);
    assert_eq!(store.held().unwrap(), [held(2, 50)]);
}

#[test]
fn a_term_never_goes_back_in_time() {
    let mut store = Store::in_memory().unwrap();
    let term = |time| SeenTerm {
        rule_id: "r".into(),
        key: JoinKey::default(),
        first_seen: Some(EventTime(time)),
        last_seen: EventTime(time),
        until: EventTime(time),
    };
    store.commit(&Batch { terms: vec![term(9)], ..Batch::default() }).unwrap();
    store.commit(&Batch { terms: vec![term(3)], ..Batch::default() }).unwrap();
    assert_eq!(store.terms().unwrap(), [term(9)]);
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
fn an_alert_is_found_by_the_beginning_of_its_id() {
    let mut store = Store::in_memory().unwrap();
    let alerts = [change("a", 1, AlertState::Open), change("b", 1, AlertState::Open)];
    store.commit(&Batch { alerts: &alerts, ..Batch::default() }).unwrap();
    let id = alerts[1].id.as_str();
    assert_eq!(store.alert(&id[..8]).unwrap().unwrap().id.as_str(), id);
    assert_eq!(store.alert("%").unwrap(), None);
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
    old.execute_batch(schema::STEPS[0]).unwrap();
    old.execute_batch("insert into terms (rule_id, key, last_seen) values ('r', '[]', 9)").unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let mut store = Store::open(&path).unwrap();
    let term = store.terms().unwrap().remove(0);
    assert_eq!((term.first_seen, term.last_seen), (None, EventTime(9)));
    store.commit(&Batch { watermark: Some(EventTime(i64::MAX / 2)), ..Batch::default() }).unwrap();
    assert_eq!(store.terms().unwrap().len(), 1, "how long it counts as known is not known yet");
}

#[test]
fn what_has_had_its_time_goes() {
    let mut store = Store::in_memory().unwrap();
    let term = SeenTerm {
        rule_id: "r".into(),
        key: JoinKey::default(),
        first_seen: None,
        last_seen: EventTime(5),
        until: EventTime(50),
    };
    let row = Row {
        subject: Subject::Host("web-1".into()),
        attribute: Attribute::Role,
        value: "web".into(),
        first: 1,
        last: 7,
    };
    let alerts = [change("a", 1, AlertState::Open)];
    let (terms, identities) = (vec![term], vec![row]);
    store.commit(&Batch { alerts: &alerts, terms, identities, ..Batch::default() }).unwrap();
    let mut at = |time| {
        let retention = Span(100);
        store.commit(&Batch { watermark: Some(EventTime(time)), retention, ..Batch::default() }).unwrap();
        let counts =
            [store.terms().unwrap().len(), store.identities().unwrap().len(), store.told().unwrap().len()];
        store.mark_delivered(&alerts).unwrap();
        counts
    };
    assert_eq!(at(50), [1, 1, 1]);
    assert_eq!(at(51), [0, 1, 1]);
    assert_eq!(at(107), [0, 1, 1]);
    assert_eq!(at(108), [0, 0, 0], "all of it is older than the retention");
}

#[test]
fn an_alert_that_no_sink_has_is_kept_however_old() {
    let mut store = Store::in_memory().unwrap();
    let alerts = [change("a", 1, AlertState::Open)];
    store.commit(&Batch { alerts: &alerts, ..Batch::default() }).unwrap();
    store.commit(&Batch { watermark: Some(EventTime(1_000)), ..Batch::default() }).unwrap();
    assert_eq!(store.undelivered().unwrap().len(), 1);
}
