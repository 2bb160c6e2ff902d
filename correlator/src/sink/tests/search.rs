//! Elasticsearch's bulk API and Splunk's collector, as stand-ins that answer as they do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::receiver::{Receiver, Reply, Request};
use super::*;
use crate::untrusted::corpus::hostile;

/// An index as it is after every bulk request, and what it says of items by what their message asks for.
#[derive(Default)]
struct Index {
    documents: BTreeMap<String, (u64, Value)>,
    n_asked: BTreeMap<String, usize>,
}

impl Index {
    /// Item by item, as Elasticsearch does it.
    fn bulk(&mut self, request: &Request) -> Reply {
        assert!(request.path.starts_with("/base/_bulk?filter_path="), "{}", request.path);
        assert_eq!(request.headers["content-type"], "application/x-ndjson");
        assert!(request.body.ends_with('\n'));
        let lines: Vec<Value> =
            request.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let items: Vec<Value> = lines.chunks(2).map(|pair| self.item(&pair[0], &pair[1])).collect();
        let errors = items.iter().any(|item| item.to_string().contains("error"));
        Reply::Status(200, "", json!({"errors": errors, "items": items}).to_string())
    }

    fn item(&mut self, action: &Value, document: &Value) -> Value {
        let (name, action) = action.as_object().unwrap().iter().next().unwrap();
        let id = action["_id"].as_str().unwrap().to_owned();
        assert_eq!(action["_index"], "alerts");
        let n_asked = self.n_asked.entry(format!("{id} {}", action["version"])).or_default();
        *n_asked += 1;
        let message = document["message"].as_str().unwrap();
        let failed = |status: u16, kind: &str| json!({name: {"status": status, "error": {"type": kind, "reason": "as the test wants"}}});
        if message == "busy once" && *n_asked == 1 {
            return failed(429, "es_rejected_execution_exception");
        }
        if message == "poison" {
            return failed(400, "document_parsing_exception");
        }
        let version = action["version"].as_u64().unwrap_or(1);
        let held = self.documents.get(&id).map(|(version, _)| *version);
        let is_conflict = held.is_some_and(|held| name == "create" || held >= version);
        if is_conflict {
            return failed(409, "version_conflict_engine_exception");
        }
        self.documents.insert(id, (version, document.clone()));
        json!({name: {"status": if held.is_some() { 200 } else { 201 }}})
    }
}

fn index() -> (Arc<Mutex<Index>>, Receiver) {
    let index: Arc<Mutex<Index>> = Arc::default();
    let held = Arc::clone(&index);
    let receiver = Receiver::start(move |n, request| match n {
        0 => Reply::status(503),
        1 => Reply::Cut,
        _ => held.lock().unwrap().bulk(request),
    });
    (index, receiver)
}

fn elastic(receiver: &Receiver, more: &str) -> String {
    let url = &receiver.url;
    format!(
        "[[sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurl = \"{url}/base/\"\nindex = \"alerts\"\n{QUICK}{more}\n"
    )
}

#[test]
fn of_a_bulk_request_what_was_busy_is_tried_again_and_what_was_refused_is_set_aside() {
    let (index, receiver) = index();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "canary-key\n").unwrap();
    let mut scene = Scene::within(folder, &elastic(&receiver, "token_file = \"key\""));
    scene.tell(&[
        change("a", 1, Severity::Low, ""),
        change("b", 1, Severity::Low, "busy once"),
        change("c", 1, Severity::Low, "poison"),
        change("a", 2, Severity::Low, "later"),
    ]);
    wait_for("three", || scene.look("es").n_delivered == 3);
    let documents = index.lock().unwrap().documents.clone();
    let versions: Vec<(&str, u64)> =
        documents.iter().map(|(id, (version, _))| (id.as_str(), *version)).collect();
    assert_eq!(versions, [("a", 2), ("b", 1)], "one document for each alert, its last revision");
    assert_eq!(documents["a"].1["message"], "later");
    let last = receiver.came().last().unwrap().clone();
    assert_eq!(last.body.lines().count(), 2, "only the busy one again");
    assert_eq!(last.headers["authorization"], "ApiKey canary-key");
    let letters = lines(&scene.path("dead/es.ndjson"));
    assert_eq!(letters.len(), 1);
    let reason = letters[0]["reason"].as_str().unwrap();
    assert_eq!(reason, "it answered 400 for this alert: document_parsing_exception: as the test wants");
    assert_eq!(scene.look("es").n_queued, 0);
}

#[test]
fn what_comes_twice_or_too_late_changes_nothing() {
    let (index, receiver) = index();
    let mut scene = Scene::new(&elastic(&receiver, ""));
    scene.tell(&[change("a", 2, Severity::Low, "second")]);
    wait_for("the second", || scene.look("es").n_delivered == 1);
    scene.tell(&[change("a", 1, Severity::Low, "first"), change("a", 2, Severity::Low, "second")]);
    wait_for("the others", || scene.look("es").n_delivered == 3);
    assert_eq!(index.lock().unwrap().documents["a"].1["message"], "second");
    assert_eq!(scene.look("es").n_dead, 0);
}

#[test]
fn a_data_stream_gets_each_revision_once() {
    let (index, receiver) = index();
    let more = "documents = \"revision\"\nuser = \"groundtrail\"\npassword_env = \"PATH\"";
    let mut scene = Scene::new(&elastic(&receiver, more));
    scene.tell(&[
        change("a", 1, Severity::Low, ""),
        change("a", 2, Severity::Low, ""),
        change("a", 1, Severity::Low, ""),
    ]);
    wait_for("three", || scene.look("es").n_delivered == 3);
    assert_eq!(index.lock().unwrap().documents.keys().collect::<Vec<_>>(), ["a-1", "a-2"]);
    assert!(receiver.came()[2].headers["authorization"].starts_with("Basic "));
    assert!(receiver.came()[2].body.starts_with("{\"create\":"));
}

#[test]
fn what_is_too_large_together_goes_one_by_one() {
    let receiver = Receiver::start(|_, request| {
        let n = request.body.lines().count() / 2;
        match (n > 1, request.body.contains("huge")) {
            (true, _) | (_, true) => Reply::Status(413, "", "too large".to_owned()),
            _ => Reply::Status(
                200,
                "",
                json!({"errors": false, "items": [{"index": {"status": 201}}]}).to_string(),
            ),
        }
    });
    let mut scene = Scene::new(&elastic(&receiver, ""));
    let alerts =
        ["", "huge", ""].iter().zip(0..).map(|(text, n)| change(&n.to_string(), 1, Severity::Low, text));
    scene.tell(&alerts.collect::<Vec<_>>());
    wait_for("two", || scene.look("es").n_delivered == 2);
    wait_for("one that is refused", || scene.look("es").n_dead == 1);
    assert_eq!(lines(&scene.path("dead/es.ndjson"))[0]["alert_id"], "1");
}

#[test]
fn an_answer_that_is_none_is_no_delivery() {
    let receiver = Receiver::start(|n, _| match n {
        0 => Reply::Status(200, "", "<html>login</html>".to_owned()),
        1 => Reply::Status(200, "", json!({"items": []}).to_string()),
        2 => Reply::Half,
        3 => Reply::Late(Duration::from_millis(1_500), 200),
        _ => Reply::Status(
            200,
            "",
            json!({"errors": false, "items": [{"index": {"status": 201}}]}).to_string(),
        ),
    });
    let more = elastic(&receiver, "").replace("timeout = \"2s\"", "timeout = \"500ms\"");
    let mut scene = Scene::new(&more);
    scene.tell(&[change("a", 1, Severity::Low, "")]);
    wait_for("it", || scene.look("es").n_delivered == 1);
    assert_eq!((receiver.came().len(), scene.look("es").n_retried), (5, 3));
}

/// A collector that says what it was given.
fn collector(answer: impl Fn(usize, &Request) -> Option<Reply> + Send + Sync + 'static) -> Receiver {
    Receiver::start(move |n, request| {
        answer(n, request).unwrap_or_else(|| {
            assert_eq!(request.path, "/services/collector/event");
            Reply::Status(200, "", json!({"text": "Success", "code": 0}).to_string())
        })
    })
}

fn splunk(receiver: &Receiver) -> String {
    let url = &receiver.url;
    format!(
        "[[sink]]\nname = \"hec\"\ntype = \"splunk\"\nurl = \"{url}\"\ntoken_file = \"token\"\nindex = \"security\"\n{QUICK}"
    )
}

fn with_token() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "canary-token\n").unwrap();
    folder
}

#[test]
fn a_collector_gets_events_and_its_codes_say_whose_fault_it_is() {
    let said = |status, code: u32| {
        Some(Reply::Status(status, "", json!({"text": "as the test wants", "code": code}).to_string()))
    };
    let receiver = collector(move |n, request| match n {
        0 => said(503, 9),
        1 => said(403, 4),
        2 => said(400, 7),
        _ if request.body.contains("poison") => said(400, 6),
        _ => None,
    });
    let mut scene = Scene::within(with_token(), &splunk(&receiver));
    scene.tell(&[
        change("a", 1, Severity::Low, "first"),
        change("b", 1, Severity::Low, "poison"),
        change("c", 3, Severity::Low, "third"),
    ]);
    wait_for("two", || scene.look("hec").n_delivered == 2);
    let letters = lines(&scene.path("dead/hec.ndjson"));
    assert_eq!((letters.len(), &letters[0]["alert_id"]), (1, &json!("b")));
    let last = receiver.came().last().unwrap().clone();
    assert_eq!(last.headers["authorization"], "Splunk canary-token");
    let event: Value = serde_json::from_str(last.body.trim_end()).unwrap();
    assert_eq!(event["time"], 1_793_613_600.0);
    assert_eq!((&event["index"], &event["sourcetype"]), (&json!("security"), &json!("groundtrail:alert")));
    assert_eq!(event["fields"], json!({"alert_id": "c", "alert_revision": "3"}));
    assert_eq!(event["event"]["message"], "third");
}

#[test]
fn hostile_text_stays_inside_its_document() {
    let (index, bulk) = index();
    let events = collector(|_, _| None);
    let mut scene = Scene::within(with_token(), &(elastic(&bulk, "") + &splunk(&events)));
    let texts = hostile();
    let alerts: Vec<AlertChange> = texts
        .iter()
        .zip(0..)
        .map(|(text, n)| {
            let mut change = change(&n.to_string(), 1, Severity::Low, text);
            change.document["host"] = json!({"name": text, "id": text});
            change
        })
        .collect();
    scene.tell(&alerts);
    wait_for("all", || {
        let n = texts.len() as u64;
        scene.look("es").n_delivered == n && scene.look("hec").n_delivered == n
    });
    let index = index.lock().unwrap();
    for (text, n) in texts.iter().zip(0..) {
        assert_eq!(index.documents[&n.to_string()].1["message"].as_str(), Some(text.as_str()));
    }
    let came = events.came();
    let mut told = came.iter().flat_map(|request| request.body.lines());
    for text in &texts {
        let event: Value = serde_json::from_str(told.next().unwrap()).unwrap();
        assert_eq!(event["host"].as_str(), Some(text.as_str()));
    }
}
