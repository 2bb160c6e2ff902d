//! What enters a queue, what leaves it, and what there is no room for.

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
