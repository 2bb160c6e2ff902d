//! What enters a queue, what leaves it, and what there is no room for.

use super::receiver::{Receiver, Reply};
use super::*;
use crate::store::Reader;

/// A sink that takes nothing: its folder is not there.
fn stuck(name: &str, more: &str) -> String {
    format!(
        "[[sink]]\nname = \"{name}\"\ntype = \"file\"\npath = \"missing/{name}\"\nretry_from = \"10m\"\nretry_to = \"10m\"\n{more}\n"
    )
}

fn waiting(scene: &Scene, sink: &str) -> Vec<(String, u32)> {
    let reader = Reader::open(&scene.path("store.db"), sink.into()).unwrap();
    let waiting = reader.next(0, 1_000, usize::MAX).unwrap();
    waiting.into_iter().map(|waiting| (waiting.alert_id, waiting.revision)).collect()
}

fn pairs(of: &[(&str, u32)]) -> Vec<(String, u32)> {
    of.iter().map(|(id, revision)| ((*id).to_owned(), *revision)).collect()
}

#[test]
fn a_sink_is_told_of_what_is_severe_enough_and_then_of_all_that_becomes_of_it() {
    let mut scene = Scene::new(&(stuck("all", "") + &stuck("few", "min_severity = \"high\"")));
    scene.tell(&[change("a", 1, Severity::Low, ""), change("b", 1, Severity::High, "")]);
    scene.tell(&[change("a", 2, Severity::Critical, ""), change("b", 2, Severity::Low, "")]);
    scene.tell(&[change("a", 3, Severity::Low, "")]);
    assert_eq!(waiting(&scene, "all"), pairs(&[("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]));
    assert_eq!(
        waiting(&scene, "few"),
        pairs(&[("b", 1), ("a", 2), ("b", 2), ("a", 3)]),
        "it hears the end of what it heard the beginning of"
    );
    let health = scene.look("few");
    assert_eq!((health.n_queued, health.n_delivered, health.n_lost), (4, 0, 0));
}

#[test]
fn a_full_queue_gives_up_the_least_severe_and_says_so() {
    let mut scene = Scene::new(&stuck("siem", "max_queued = 10"));
    let severities = [Severity::Medium, Severity::Low, Severity::Critical, Severity::Low];
    for n in 0..12 {
        scene.tell(&[change(&format!("{n:02}"), 1, severities[n % 4], "")]);
        // What it has in hand is not given up.
        wait_for("the first to fail", || scene.look("siem").failing_since_ms.is_some());
    }
    let left: Vec<String> = waiting(&scene, "siem").into_iter().map(|(id, _)| id).collect();
    assert_eq!(
        left,
        ["00", "02", "04", "05", "06", "07", "08", "09", "10", "11"],
        "01 and 03 were low and oldest"
    );
    let health = scene.look("siem");
    assert_eq!((health.n_queued, health.n_lost), (10, 2));
    let reasons = scene.board.look().unwrap().reasons();
    assert!(reasons.iter().any(|reason| reason.contains("lost 2 alerts to a full queue")), "{reasons:?}");
}

#[test]
fn what_nobody_waits_for_any_more_leaves_the_store() {
    let out = "[[sink]]\nname = \"out\"\ntype = \"file\"\npath = \"out.ndjson\"\n";
    let mut scene = Scene::new(&(out.to_owned() + &stuck("stuck", "")));
    scene.tell(&[change("a", 1, Severity::Low, ""), change("b", 1, Severity::Low, "")]);
    wait_for("two lines", || lines(&scene.path("out.ndjson")).len() == 2);
    wait_for("word of it", || scene.look("out").n_queued == 0);
    scene.tell(&[]);
    assert_eq!(waiting(&scene, "out"), []);
    assert_eq!(waiting(&scene, "stuck").len(), 2, "another waits for both still");
    assert_eq!(n_told(&scene), 2);
    let folder = scene.end();
    let scene = Scene::within(folder, out);
    assert_eq!(n_told(&scene), 0, "what waited for a sink that is no more was set aside");
    let letters = lines(&scene.path("dead/stuck.ndjson"));
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["reason"], "the configuration has no sink of this name any more");
    assert_eq!(letters[1]["document"]["groundtrail"]["alert"]["id"], "b");
}

fn n_told(scene: &Scene) -> i64 {
    let conn = rusqlite::Connection::open(scene.path("store.db")).unwrap();
    conn.query_row("select count(*) from told", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_a_run_did_not_deliver_the_next_one_does_once() {
    let receiver_comes_later = |path: &Path| std::fs::create_dir(path).unwrap();
    let mut scene = Scene::new(&stuck("late", ""));
    scene.tell(&[change("a", 1, Severity::Low, ""), change("a", 2, Severity::Low, "")]);
    let folder = scene.end();
    receiver_comes_later(&folder.path().join("missing"));
    let scene = Scene::within(folder, &stuck("late", ""));
    let path = scene.path("missing/late");
    wait_for("both", || lines(&path).len() == 2);
    let folder = scene.end();
    let mut scene = Scene::within(folder, &stuck("late", ""));
    scene.tell(&[change("a", 3, Severity::Low, "")]);
    wait_for("the third", || lines(&path).len() >= 3);
    let expected = [("a".to_owned(), 1), ("a".to_owned(), 2), ("a".to_owned(), 3)];
    assert_eq!(ids(&lines(&path)), expected, "none twice after an orderly end");
}

#[test]
fn a_run_that_dies_before_it_wrote_down_a_delivery_delivers_again() {
    let out = "[[sink]]\nname = \"out\"\ntype = \"file\"\npath = \"out.ndjson\"\n";
    let mut scene = Scene::new(out);
    scene.tell(&[change("a", 1, Severity::Low, "")]);
    wait_for("a line", || lines(&scene.path("out.ndjson")).len() == 1);
    // No commit after it: as after a kill.
    let Scene { folder, store, crew, .. } = scene;
    drop(store);
    crew.unwrap().finish();
    let scene = Scene::within(folder, out);
    wait_for("it again", || lines(&scene.path("out.ndjson")).len() == 2);
    assert_eq!(ids(&lines(&scene.path("out.ndjson"))), [("a".to_owned(), 1), ("a".to_owned(), 1)]);
}

#[test]
fn a_queue_is_bounded_by_bytes_as_well() {
    let mut scene = Scene::new(&stuck("siem", "max_queued_size = \"1MiB\""));
    let long = "x".repeat(200 << 10);
    for n in 0..8 {
        let severity = if n == 3 { Severity::Low } else { Severity::High };
        scene.tell(&[change(&n.to_string(), 1, severity, &long)]);
        wait_for("the first to fail", || scene.look("siem").failing_since_ms.is_some());
    }
    let left: Vec<String> = waiting(&scene, "siem").into_iter().map(|(id, _)| id).collect();
    // The first is in the worker's hands.
    assert_eq!(left, ["0", "4", "5", "6", "7"]);
    let health = scene.look("siem");
    assert_eq!((health.n_queued, health.n_lost), (5, 3));
    assert!((5 * (200 << 10)..=1 << 20).contains(&health.n_queued_bytes), "{health:?}");
}

#[test]
fn what_is_being_sent_is_delivered_and_not_counted_as_lost() {
    let receiver = Receiver::start(|_, request| {
        let is_slow = request.body.contains("slow");
        Reply::Late(Duration::from_millis(if is_slow { 700 } else { 0 }), 200)
    });
    let config = format!(
        "[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"{}/\"\n{QUICK}max_queued = 10\n",
        receiver.url
    );
    let mut scene = Scene::new(&config);
    scene.tell(&[change("slow", 1, Severity::Low, "slow")]);
    wait_for("it being sent", || !receiver.came().is_empty());
    // It is the least severe and the oldest.
    let others: Vec<AlertChange> = (0..12).map(|n| change(&n.to_string(), 1, Severity::High, "")).collect();
    scene.tell(&others);
    wait_for("the rest", || scene.look("hook").n_delivered >= 10);
    scene.tell(&[]);
    let health = scene.look("hook");
    assert_eq!((health.n_delivered, health.n_lost, health.n_queued), (10, 3, 0));
    assert!(receiver.came()[0].body.contains("slow"));
}

#[test]
fn queues_push_no_history_out() {
    let mut scene = Scene::new(&stuck("siem", ""));
    let long = "x".repeat(3_000);
    let alerts: Vec<AlertChange> =
        (0..500).map(|n| change(&n.to_string(), 1, Severity::Low, &long)).collect();
    let before = scene.store.used_bytes().unwrap();
    scene.tell(&alerts);
    scene.store.mark_delivered(&alerts).unwrap();
    let used = scene.store.used_bytes().unwrap();
    let queued = scene.store.queued_bytes();
    // Half of it is the alerts themselves.
    assert!(queued.abs_diff((used - before) / 2) < used / 10, "{queued} of {used}");
    let kept = scene.store.keep_within(used - queued + used / 20, Vec::new).unwrap();
    assert_eq!((kept.n_gone, kept.n_queued_bytes), (0, queued));
    assert!(scene.store.keep_within(used / 4, Vec::new).unwrap().n_gone > 0, "history itself is bounded");
    assert_eq!(waiting(&scene, "siem").len(), 500);
    let folder = scene.end();
    let scene = Scene::within(folder, &stuck("siem", ""));
    assert_eq!(scene.store.queued_bytes(), queued, "the next run counts the same");
}
