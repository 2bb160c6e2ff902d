use rules::rule::Severity;
use serde_json::json;

use super::*;
use crate::alert::AlertId;
use crate::alert::wanted::Wanted;
use crate::notify::Silence;
use crate::store::{Batch, Line, Reader};
use crate::time::{Clock as _, SystemClock};

const HOUR: i64 = 3_600_000_000_000;

struct Scene {
    _folder: tempfile::TempDir,
    store: Store,
    reader: Reader,
    hush: Arc<Hush>,
}

impl Scene {
    fn new(repeat: Span) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let mut store = Store::open(&path).unwrap();
        let hush: Arc<Hush> = Arc::default();
        store.hush(Arc::clone(&hush));
        let queue = Queue {
            sink: "pager".into(),
            min_severity: Severity::Low,
            repeat,
            max_len: 100,
            max_bytes: 1 << 20,
            line: Arc::new(Line::default()),
        };
        store.feed(vec![queue]).unwrap();
        let reader = Reader::open(&path, "pager".into()).unwrap();
        Self { _folder: folder, store, reader, hush }
    }

    fn tell(&mut self, id: &str, revision: u32, state: AlertState, severity: &str) {
        let change = AlertChange {
            id: AlertId::from_store(id),
            rule_id: "r".into(),
            time: EventTime(i64::from(revision)),
            revision,
            content: [0; 16],
            state,
            document: json!({"rule": {"id": "r", "name": "Logging stopped"}, "host": {"id": "i-1"},
                "groundtrail": {"alert": {"id": id, "severity": severity, "hosts": [{"id": "i-1"}]}}}),
        };
        self.store.commit(&Batch { alerts: &[change], ..Batch::default() }).unwrap();
    }

    /// What the sink has been given so far: ids, revisions and how many each speaks for.
    fn told(&self) -> Vec<(String, u32, u64)> {
        let waiting = self.reader.next(0, 100, 1 << 20).unwrap();
        waiting
            .into_iter()
            .map(|waiting| {
                let document: Value = serde_json::from_str(&waiting.document).unwrap();
                let held = &document["groundtrail"]["alert"]["held_back"]["count"];
                (waiting.alert_id, waiting.revision, held.as_u64().unwrap_or(0))
            })
            .collect()
    }

    /// As though the interval had gone by.
    fn wait(&mut self) {
        let past = SystemClock.now().0 / MS - 1;
        self.store.conn.execute("update repeats set due_ms = ?1", [past]).unwrap();
    }

    fn muted_by(&self, id: &str) -> Option<String> {
        let alert = self.store.alert_of(id).unwrap().expect("it is in the store, muted or not");
        let document: Value = serde_json::from_str(&alert.document).unwrap();
        Some(document["groundtrail"]["alert"]["muted_by"]["silence"].as_str()?.to_owned())
    }
}

fn silence(until: i64) -> Silence {
    Silence {
        name: "quiet".to_owned(),
        wanted: Wanted { rules: vec!["logging".to_owned()], ..Wanted::default() },
        until: EventTime(until),
        owner: "o".to_owned(),
        reason: "r".to_owned(),
    }
}

fn told(of: &[(&str, u32, u64)]) -> Vec<(String, u32, u64)> {
    of.iter().map(|(id, revision, n)| ((*id).to_owned(), *revision, *n)).collect()
}

#[test]
fn a_muted_alert_is_stored_and_told_to_no_sink() {
    let mut scene = Scene::new(Span(0));
    let now = SystemClock.now().0;
    scene.tell("before", 1, AlertState::Open, "high");
    scene.hush.set(vec![silence(now + HOUR)]);
    scene.tell("muted", 1, AlertState::Open, "high");
    scene.tell("muted", 2, AlertState::Revised, "high");
    // What was told before is taken back all the same.
    scene.tell("before", 2, AlertState::Withdrawn, "high");
    assert_eq!(scene.told(), told(&[("before", 1, 0), ("before", 2, 0)]));
    assert_eq!(scene.muted_by("muted").as_deref(), Some("quiet"));
    assert_eq!(scene.muted_by("before"), None);
    assert_eq!(scene.hush.n_muted(), 1, "one alert, however often it changes");
    assert_eq!(scene.store.n_muted_by_silence().unwrap(), [("quiet".to_owned(), 1)].into());
    let all = scene.store.alerts().unwrap();
    assert_eq!(all.iter().filter(|alert| alert.document.contains("muted_by")).count(), 1);

    // Once it is over, what the alert learns is told.
    scene.hush.set(vec![silence(now - 1)]);
    scene.tell("muted", 3, AlertState::Revised, "high");
    assert_eq!(scene.told().last(), Some(&("muted".to_owned(), 3, 0)));
    assert_eq!(scene.muted_by("muted"), None);
}

#[test]
fn what_is_held_back_is_counted_by_what_is_told_next() {
    let mut scene = Scene::new(Span(HOUR));
    for id in ["a", "b", "c"] {
        scene.tell(id, 1, AlertState::Open, "high");
    }
    // What a sink was told once, it is told the end of; what it was not, it is not.
    scene.tell("a", 2, AlertState::Revised, "high");
    scene.tell("b", 2, AlertState::Revised, "high");
    assert_eq!(scene.told(), told(&[("a", 1, 0), ("a", 2, 0)]));
    assert_eq!(scene.hush.n_held_back(), 2);
    assert!(!scene.store.has_delivered(), "nothing is due");

    scene.wait();
    scene.store.commit(&Batch::default()).unwrap();
    let last = scene.told().pop().unwrap();
    assert_eq!((last.0.as_str(), last.2), ("b", 1), "the last to change speaks for the other");
    scene.store.commit(&Batch::default()).unwrap();
    assert_eq!(scene.told().len(), 3, "once");
    assert_eq!(scene.store.alerts().unwrap().len(), 3, "nothing is lost");

    scene.tell("d", 1, AlertState::Open, "high");
    assert_eq!(scene.told().len(), 3, "a new interval has begun");
    scene.tell("e", 1, AlertState::Open, "critical");
    assert_eq!(scene.told().last(), Some(&("e".to_owned(), 1, 1)), "what is worse is no repetition");
}

#[test]
fn what_proved_wrong_while_it_was_held_back_is_not_told() {
    let mut scene = Scene::new(Span(HOUR));
    scene.tell("a", 1, AlertState::Open, "high");
    scene.tell("b", 1, AlertState::Open, "high");
    scene.tell("b", 2, AlertState::Withdrawn, "high");
    scene.wait();
    scene.store.commit(&Batch::default()).unwrap();
    assert_eq!(scene.told(), told(&[("a", 1, 0)]));
}

#[test]
fn it_is_known_when_something_is_due_and_what_is_over_is_forgotten() {
    let mut scene = Scene::new(Span(HOUR));
    scene.tell("a", 1, AlertState::Open, "high");
    scene.tell("b", 1, AlertState::Open, "high");
    scene.wait();
    // As the next commit of anything finds it.
    scene.store.commit(&Batch::default()).unwrap();
    assert_eq!(scene.told().len(), 2);
    scene.wait();
    scene.store.commit(&Batch::default()).unwrap();
    let n: i64 = scene.store.conn.query_row("select count(*) from repeats", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 0);
    scene.store.conn.execute("delete from alerts", []).unwrap();
    let n: i64 = scene.store.conn.query_row("select count(*) from notified", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 0, "they go with their alerts");
}
