//! `sink resend`: dead letters once more.

use super::receiver::{Receiver, Reply};
use super::*;
use crate::sink::resend::{Resent, resend};

/// What each of the dead letters is of.
fn letters(path: &Path) -> Vec<String> {
    lines(path).iter().map(|letter| letter["alert_id"].as_str().unwrap().to_owned()).collect()
}

fn scene(receiver: &Receiver) -> Scene {
    Scene::new(&format!(
        "[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"{}/hook\"\n{QUICK}",
        receiver.url
    ))
}

#[test]
fn what_is_taken_leaves_the_dead_letters_and_the_rest_stays_whole() {
    let mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let so = std::sync::Arc::clone(&mended);
    let receiver = Receiver::start(move |n, request| {
        let is_mended = so.load(std::sync::atomic::Ordering::Relaxed);
        let is_bad = request.body.contains("bad") || (!is_mended && request.body.contains("mapping"));
        // Not at the first try either.
        match (is_bad, is_mended && n % 2 == 1) {
            (true, _) => Reply::Status(400, "", "no".to_owned()),
            (false, true) => Reply::status(503),
            (false, false) => Reply::ok(),
        }
    });
    let mut scene = scene(&receiver);
    scene.tell(&[
        change("a", 1, Severity::Low, "mapping"),
        change("b", 1, Severity::Low, "bad"),
        change("c", 2, Severity::Low, "mapping"),
    ]);
    let path = scene.path("dead/hook.ndjson");
    wait_for("three letters", || lines(&path).len() == 3);
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}no letter\n")).unwrap();
    mended.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = resend(&scene.sinks[0], &path).unwrap();
    assert_eq!((sent.n_taken, sent.n_refused, sent.n_unreadable, sent.n_left), (2, 1, 1, 0), "{sent:?}");
    assert!(!sent.is_all_taken() && sent.reason.is_some());
    let left = std::fs::read_to_string(&path).unwrap();
    assert!(left.contains(whole.lines().nth(1).unwrap()) && left.contains("no letter\n"), "{left}");
    assert_eq!(left.lines().count(), 2);
    let came: Vec<(String, u64)> = receiver
        .came()
        .iter()
        .skip(3)
        .map(|request| ids(&[serde_json::from_str(&request.body).unwrap()]).remove(0))
        .collect();
    assert!(came.contains(&("a".to_owned(), 1)) && came.contains(&("c".to_owned(), 2)), "{came:?}");
    assert!(!scene.path("dead/hook.ndjson.resending").exists());
    // A run that goes on puts its own beside them.
    scene.tell(&[change("d", 1, Severity::Low, "bad")]);
    wait_for("another", || std::fs::read_to_string(&path).unwrap().lines().count() == 3);
}

#[test]
fn a_receiver_that_is_down_takes_nothing_from_the_file_and_what_a_kill_left_is_found() {
    let receiver = Receiver::start(|_, _| Reply::status(503));
    let scene = scene(&receiver);
    let path = scene.path("dead/hook.ndjson");
    std::fs::create_dir(scene.path("dead")).unwrap();
    let letter = |id: &str| {
        let document = change(id, 1, Severity::Low, "").document;
        format!(
            "{}\n",
            json!({"@timestamp": "2026-11-02T10:00:00Z", "alert_id": id, "revision": 1, "reason": "x", "document": document})
        )
    };
    std::fs::write(&path, letter("a")).unwrap();
    std::fs::write(scene.path("dead/hook.ndjson.resending"), letter("b")).unwrap();
    let sent = resend(&scene.sinks[0], &path).unwrap();
    assert_eq!((sent.n_taken, sent.n_left), (0, 2), "{sent:?}");
    assert!(sent.reason.is_some_and(|reason| reason.contains("503")));
    let mut left = letters(&path);
    left.sort();
    assert_eq!(left, ["a", "b"]);
    let none = resend(&scene.sinks[0], &scene.path("dead/other.ndjson")).unwrap();
    assert_eq!(none, Resent::default());
}
