//! Webhooks and files, with receivers that refuse, stall and hang up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::receiver::{Receiver, Reply};
use super::*;
use crate::sink::signature::sign;
use crate::sink::transport::Verdict;
use crate::sink::{Secret, trial};
use crate::untrusted::corpus::{assert_inert, hostile};

fn hook(name: &str, receiver: &Receiver, more: &str) -> String {
    format!(
        "[[sink]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"{}/hook\"\n{QUICK}{more}\n",
        receiver.url
    )
}

fn bodies(receiver: &Receiver) -> Vec<Value> {
    receiver.came().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
}

fn pair(id: &str, revision: u64) -> (String, u64) {
    (id.to_owned(), revision)
}

#[test]
fn a_webhook_gets_each_revision_in_order_signed_and_named() {
    let receiver = Receiver::start(|_, _| Reply::ok());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "hush\n").unwrap();
    std::fs::write(folder.path().join("token"), "canary-token").unwrap();
    let more = "secret_file = \"secret\"\ntoken_file = \"token\"";
    let mut scene = Scene::within(folder, &hook("hook", &receiver, more));
    let alerts: Vec<AlertChange> = (1..6).map(|n| change("a", n, Severity::Low, "told")).collect();
    scene.tell(&alerts);
    wait_for("five requests", || receiver.came().len() == 5);
    assert_eq!(ids(&bodies(&receiver)), (1..6).map(|n| pair("a", n)).collect::<Vec<_>>());
    let request = &receiver.came()[1];
    let header = |name: &str| request.headers[name].clone();
    assert_eq!(request.path, "/hook");
    assert_eq!(header("groundtrail-event-id"), "a-2");
    assert_eq!(header("idempotency-key"), "a-2");
    assert_eq!(header("authorization"), "Bearer canary-token");
    assert_eq!(header("content-type"), "application/json");
    let secret = Secret::File(scene.path("secret")).read().unwrap();
    let seconds = header("groundtrail-timestamp").parse().unwrap();
    assert_eq!(header("groundtrail-signature"), sign(&secret, seconds, request.body.as_bytes()));
    wait_for("word of it", || scene.look("hook").n_delivered == 5);
    assert!(!scene.sinks.iter().any(|sink| format!("{sink:?}").contains("canary")));
}

#[test]
fn what_fails_is_tried_again_and_what_is_refused_is_set_aside() {
    let receiver = Receiver::start(|n, request| match n {
        0 => Reply::Cut,
        1 => Reply::Half,
        2 => Reply::status(503),
        3 => Reply::status(401),
        4 => Reply::status(404),
        5 => Reply::Status(302, "location: http://127.0.0.1:1/elsewhere\r\n", String::new()),
        _ if request.body.contains("poison") => {
            Reply::Status(400, "", "no such\nfield \u{1b}[31m".to_owned())
        }
        _ => Reply::ok(),
    });
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    scene.tell(&[
        change("a", 1, Severity::Low, ""),
        change("b", 1, Severity::Low, "poison"),
        change("c", 1, Severity::Low, ""),
    ]);
    wait_for("the last", || scene.look("hook").n_delivered == 2);
    let health = scene.look("hook");
    assert_eq!((health.n_dead, health.n_queued, health.failing_since_ms), (1, 0, None));
    assert!(health.n_retried >= 5, "{health:?}");
    let letters = lines(&scene.path("dead/hook.ndjson"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["alert_id"], "b");
    assert_eq!(letters[0]["document"]["message"], "poison");
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it answered 400 Bad Request: no such field"), "{reason}");
    let reasons = scene.board.look().unwrap().reasons();
    assert!(reasons.iter().any(|reason| reason.contains("set 1 alerts aside")), "{reasons:?}");
}

#[test]
fn a_receiver_that_asks_for_time_is_given_it() {
    let receiver = Receiver::start(|n, _| match n {
        0 => Reply::Status(429, "retry-after: 1\r\n", String::new()),
        _ => Reply::ok(),
    });
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    let began = Instant::now();
    scene.tell(&[change("a", 1, Severity::Low, "")]);
    wait_for("the second try", || receiver.came().len() == 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "not before it wants to hear of us");
    wait_for("word of it", || scene.look("hook").n_delivered == 1);
}

#[test]
fn a_sink_that_hangs_holds_neither_another_nor_the_store() {
    let hanging = Receiver::start(|_, _| Reply::Late(Duration::from_secs(60), 200));
    let quick = Receiver::start(|_, _| Reply::ok());
    let config = hook("hangs", &hanging, "timeout = \"10m\"").replacen("timeout = \"2s\"\n", "", 1)
        + &hook("quick", &quick, "")
        + "[[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"out.ndjson\"\n";
    let mut scene = Scene::new(&config);
    for n in 0..20 {
        scene.tell(&[change(&n.to_string(), 1, Severity::Low, "")]);
    }
    wait_for("the others", || quick.came().len() == 20 && lines(&scene.path("out.ndjson")).len() == 20);
    assert_eq!(hanging.came().len(), 1);
    let health = scene.look("hangs");
    assert_eq!((health.n_delivered, health.n_queued), (0, 20));
    assert!(health.oldest_ms.is_some());
    let began = Instant::now();
    let folder = scene.end();
    assert!(began.elapsed() < Duration::from_secs(8), "nor the end of the run");
    let receiver = Receiver::start(|_, _| Reply::ok());
    let scene = Scene::within(folder, &(hook("hangs", &receiver, "") + &hook("quick", &quick, "")));
    wait_for("what it did not take", || scene.look("hangs").n_delivered == 20);
    assert_eq!(quick.came().len(), 20, "the other has all of its own");
}

#[test]
fn what_waits_too_long_is_set_aside() {
    let receiver = Receiver::start(|_, _| Reply::status(500));
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    scene.sinks[0].give_up_after = rules::event::Span::from_millis(150);
    scene.crew.take().unwrap().finish();
    scene.start_anew();
    scene.tell(&[change("a", 1, Severity::Low, "")]);
    wait_for("a dead letter", || lines(&scene.path("dead/hook.ndjson")).len() == 1);
    assert!(receiver.came().len() > 1);
}

#[test]
fn one_alert_that_a_receiver_chokes_on_holds_up_no_other() {
    let chokes = Arc::new(AtomicBool::new(true));
    let so = Arc::clone(&chokes);
    let receiver = Receiver::start(move |_, request| {
        let is_poison = request.body.contains("poison") && so.load(Ordering::Relaxed);
        Reply::status(if is_poison { 500 } else { 200 })
    });
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    scene.tell(&[
        change("a", 1, Severity::Low, "poison"),
        change("b", 1, Severity::Low, ""),
        change("a", 2, Severity::Low, "the same alert later"),
        change("c", 1, Severity::Low, ""),
    ]);
    wait_for("the others", || scene.look("hook").n_delivered == 2);
    let delivered = |ok: bool| -> Vec<(String, u64)> {
        let came = receiver.came();
        let fine = came.iter().filter(|request| ok || !request.body.contains("poison"));
        ids(&fine.map(|request| serde_json::from_str(&request.body).unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(
        delivered(false),
        [("b".to_owned(), 1), ("c".to_owned(), 1)],
        "and no revision goes before another"
    );
    assert!(lines(&scene.path("dead/hook.ndjson")).is_empty(), "nothing is given up");
    chokes.store(false, Ordering::Relaxed);
    wait_for("all of them", || scene.look("hook").n_delivered == 4);
    assert_eq!(delivered(true).last(), Some(&("a".to_owned(), 2)));
}

#[test]
fn a_receiver_that_refuses_or_is_given_up_on_is_not_called_well() {
    let receiver = Receiver::start(|_, _| Reply::status(500));
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    scene.sinks[0].give_up_after = rules::event::Span::from_millis(50);
    scene.crew.take().unwrap().finish();
    scene.start_anew();
    scene.tell(&[change("a", 1, Severity::Low, "")]);
    wait_for("a dead letter", || lines(&scene.path("dead/hook.ndjson")).len() == 1);
    std::thread::sleep(Duration::from_millis(100));
    assert!(scene.look("hook").failing_since_ms.is_some(), "it still takes nothing");
}

#[test]
fn what_lay_in_the_queue_while_no_run_was_there_is_not_given_up_at_once() {
    let is_up = Arc::new(AtomicBool::new(false));
    let so = Arc::clone(&is_up);
    let receiver =
        Receiver::start(move |_, _| Reply::status(if so.load(Ordering::Relaxed) { 200 } else { 503 }));
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    scene.crew.take().unwrap().finish();
    scene.tell(&[change("a", 1, Severity::Low, "")]);
    std::thread::sleep(Duration::from_millis(700));
    scene.sinks[0].give_up_after = rules::event::Span::from_millis(600);
    scene.start_anew();
    wait_for("a try", || !receiver.came().is_empty());
    is_up.store(true, Ordering::Relaxed);
    wait_for("its delivery", || scene.look("hook").n_delivered == 1);
    assert!(lines(&scene.path("dead/hook.ndjson")).is_empty());
}

#[test]
fn whatever_an_alert_says_it_is_one_request_or_one_line() {
    let receiver = Receiver::start(|_, _| Reply::ok());
    let config =
        hook("hook", &receiver, "") + "[[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"out.ndjson\"\n";
    let mut scene = Scene::new(&config);
    let texts = hostile();
    let alerts: Vec<AlertChange> = texts
        .iter()
        .map(|text| change(&format!("x{text}").chars().take(40).collect::<String>(), 1, Severity::Low, text))
        .collect();
    // An id is ours and plain. Were it not, the alert would wait, and nothing would be put into a header.
    let plain: Vec<AlertChange> =
        texts.iter().zip(0..).map(|(text, n)| change(&format!("{n}"), 1, Severity::Low, text)).collect();
    scene.tell(&plain);
    wait_for("all lines", || lines(&scene.path("out.ndjson")).len() == texts.len());
    wait_for("all requests", || scene.look("hook").n_delivered == texts.len() as u64);
    for (document, text) in bodies(&receiver).iter().zip(&texts) {
        assert_eq!(document["message"].as_str(), Some(text.as_str()));
    }
    receiver.came().iter().for_each(|request| assert_inert(&request.body));
    let n_came = receiver.came().len();
    scene.tell(&alerts[..1]);
    wait_for("a complaint", || scene.look("hook").failing_since_ms.is_some());
    assert!(scene.look("hook").reason.contains("cannot be in a header"));
    assert_eq!(receiver.came().len(), n_came);
}

#[test]
fn a_trial_sends_one_alert_that_says_what_it_is() {
    let receiver =
        Receiver::start(|n, _| if n == 0 { Reply::ok() } else { Reply::Status(403, "", "no".to_owned()) });
    let scene = Scene::new(&hook("hook", &receiver, "min_severity = \"high\""));
    let tried = trial(&scene.sinks[0]).unwrap();
    assert_eq!(tried.verdict, Verdict::Taken);
    let document = &bodies(&receiver)[0];
    assert_eq!(document["rule"]["name"], "groundtrail sink test");
    assert_eq!(document["groundtrail"]["alert"]["is_test"], true);
    assert_eq!(document["groundtrail"]["alert"]["severity"], "high");
    assert_eq!(document["groundtrail"]["alert"]["id"], tried.alert_id);
    assert!(
        matches!(trial(&scene.sinks[0]).unwrap().verdict, Verdict::Later(reason) if reason.contains("403"))
    );
}

#[test]
fn a_secret_that_is_not_there_is_told_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\nsecret_file = \"missing\"\n";
    let config = Config::parse(text, &folder.path().join("groundtrail.toml")).unwrap();
    let path = folder.path().join("store.db");
    let mut store = Store::open(&path).unwrap();
    let error =
        Crew::start(&config.sinks, &mut store, &path, &Board::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the sink \"hook\": cannot read the secret in"), "{error}");
}

#[test]
fn more_bad_alerts_than_any_number_do_not_stop_a_sink() {
    let receiver =
        Receiver::start(|_, request| Reply::status(if request.body.contains("poison") { 500 } else { 200 }));
    let quick = "retry_from = \"10ms\"\nretry_to = \"10ms\"\n";
    let mut scene = Scene::new(&hook("hook", &receiver, "").replacen(QUICK, quick, 1));
    let mut alerts: Vec<AlertChange> =
        (0..80).map(|n| change(&format!("bad-{n}"), 1, Severity::Low, "poison")).collect();
    alerts.push(change("good", 1, Severity::Low, ""));
    scene.tell(&alerts);
    wait_for("the one behind them", || scene.look("hook").n_delivered == 1);
    assert_eq!(scene.look("hook").n_dead, 0, "and nothing is given up");
}

#[test]
fn one_that_was_put_by_waits_for_as_long_as_the_receiver_asks() {
    let receiver = Receiver::start(|n, request| match (request.body.contains("poison"), n) {
        (true, 0..4) => Reply::status(500),
        (true, _) => Reply::Status(503, "retry-after: 60\r\n", String::new()),
        _ => Reply::ok(),
    });
    let mut scene = Scene::new(&hook("hook", &receiver, ""));
    scene.tell(&[change("a", 1, Severity::Low, "poison"), change("b", 1, Severity::Low, "")]);
    wait_for("the other", || scene.look("hook").n_delivered == 1);
    let n_poison = || receiver.came().iter().filter(|request| request.body.contains("poison")).count();
    wait_for("the fifth try", || n_poison() == 5);
    // Ten times as long as it would have waited.
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(n_poison(), 5);
    scene.tell(&[change("c", 1, Severity::Low, "")]);
    wait_for("another meanwhile", || scene.look("hook").n_delivered == 2);
}

#[test]
fn a_token_that_comes_back_is_shown_nowhere() {
    let receiver = Receiver::start(|_, request| {
        let said = format!("{}no such token: {}", " ".repeat(290), request.headers["authorization"]);
        Reply::Status(if request.body.contains("bad") { 400 } else { 401 }, "", said)
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "canary-token-0451").unwrap();
    let mut scene = Scene::within(folder, &hook("hook", &receiver, "token_file = \"token\""));
    scene.tell(&[change("a", 1, Severity::Low, "bad"), change("b", 1, Severity::Low, "")]);
    wait_for("a complaint", || scene.look("hook").reason.contains("401"));
    let reason = scene.look("hook").reason;
    assert!(reason.contains("no such token: Bearer (secret)") && !reason.contains("canary"), "{reason}");
    let letters = lines(&scene.path("dead/hook.ndjson"));
    assert!(letters[0]["reason"].as_str().is_some_and(|reason| reason.contains("(secret)")), "{letters:?}");
    assert!(!letters[0].to_string().contains("canary"));
}
