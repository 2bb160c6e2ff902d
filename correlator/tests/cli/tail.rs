//! Alerts of a store, a line each, as they come.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{call, demo, groundtrail, rule_folder};

fn lines(args: &[&str]) -> Vec<String> {
    let shown = groundtrail(demo(), &[&["tail", "--no-follow", "--store", "gt.db"], args].concat(), "");
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    shown.stdout.lines().map(String::from).collect()
}

#[test]
fn an_alert_is_a_line_with_when_how_bad_which_who_and_where() {
    let shown = lines(&[]);
    assert_eq!(shown.len(), 9, "{shown:#?}");
    let line = shown.iter().find(|line| line.contains("CloudTrail logging stopped")).unwrap();
    for part in ["11-21 11:57:53", "high", "45a36581", "user/mallory", "111122223333"] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    assert!(shown.is_sorted_by_key(|line| line[..14].to_owned()), "{shown:#?}");
    assert_eq!(lines(&["-n", "2"]), shown[7..]);
    assert!(!shown.iter().any(|line| line.contains('\x1b')), "no colour into a pipe");
    assert!(lines(&["--color", "always"])[0].contains('\x1b'));
}

#[test]
fn filters_narrow_what_is_shown() {
    let n_all = lines(&[]).len();
    let high = lines(&["--severity", "high"]);
    assert!(!high.is_empty() && high.len() < n_all);
    assert!(high.iter().all(|line| line.contains(" high ")), "{high:#?}");
    assert_eq!(lines(&["--rule", "logging stopped"]).len(), 1);
    assert_eq!(lines(&["--rule", "logging stopped", "--host", "ip-10-0-1-10"]).len(), 0);
    assert_eq!(lines(&["--principal", "mallory"]).len(), 2);
    assert_eq!(lines(&["--account", "999999999999"]).len(), 0);
    let refused = groundtrail(demo(), &["tail", "--severity", "urgent", "--store", "gt.db"], "");
    assert_eq!(refused.code, 2);
}

#[test]
fn what_a_run_writes_later_is_shown_when_it_is_there() {
    let folder = rule_folder("");
    let trail = folder.path().join("trail");
    fs::create_dir(&trail).unwrap();
    fs::write(
        folder.path().join("gt.toml"),
        "[store]\npath = \"gt.db\"\n[rules]\nbuiltin = false\npaths = [\"rule.toml\"]\n\
         [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\nfollow = false\n",
    )
    .unwrap();
    let record = |id: &str| format!(r#"{{"Records":[{}]}}"#, call(id, "CreateAccessKey"));
    fs::write(trail.join("1.json"), record("first")).unwrap();
    let run = ["run", "-c", "gt.toml", "-o", "ndjson"];
    assert_eq!(groundtrail(folder.path(), &run, "").code, 0);
    let mut tail = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["tail", "-c", "gt.toml", "-o", "ndjson"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(tail.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        shown.read_line(&mut line).unwrap();
        let alert: Value = serde_json::from_str(&line).unwrap();
        alert["groundtrail"]["alert"]["evidence"][0]["event"]["event"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "first");
    fs::write(trail.join("2.json"), record("second")).unwrap();
    assert_eq!(groundtrail(folder.path(), &run, "").code, 0);
    assert_eq!(next(), "second");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_store_that_is_not_there_is_no_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let refused = groundtrail(folder.path(), &["tail", "--store", "gt.db"], "");
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("gt.db") && refused.stderr.contains("run --store"), "{}", refused.stderr);
    assert!(!folder.path().join("gt.db").exists());
}

#[test]
fn each_form_says_the_same() {
    let n = lines(&[]).len();
    let list: Value = serde_json::from_str(&lines(&["-o", "json"]).concat()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), n);
    let csv = lines(&["-o", "csv"]);
    assert_eq!(csv.len(), n + 1);
    assert!(csv[0].starts_with("time,severity,state,alert,"), "{}", csv[0]);
    assert!(csv.iter().any(|row| row.contains("CloudTrail logging stopped")), "{csv:#?}");
    let endless = groundtrail(demo(), &["tail", "--store", "gt.db", "-o", "json"], "");
    assert_eq!(endless.code, 2);
    assert!(
        endless.stderr.contains("--no-follow") && endless.stderr.contains("ndjson"),
        "{}",
        endless.stderr
    );
}

#[test]
fn a_document_that_cannot_be_read_is_named_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(demo().join("gt.db"), folder.path().join("gt.db")).unwrap();
    let store = rusqlite::Connection::open(folder.path().join("gt.db")).unwrap();
    let id: String =
        store.query_row("select id from alerts order by time limit 1", [], |row| row.get(0)).unwrap();
    store.execute("update alerts set document = 'no JSON' where id = ?1", [&id]).unwrap();
    drop(store);
    let shown = groundtrail(folder.path(), &["tail", "--no-follow", "--store", "gt.db"], "");
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert_eq!(shown.stdout.lines().count(), 8, "{}", shown.stdout);
    assert!(shown.stderr.contains(&format!("skipped: alert {id} cannot be read")), "{}", shown.stderr);

    // The same of one that comes while it looks.
    let mut tail = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["tail", "--store", "gt.db", "-o", "ndjson", "-n", "10"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(tail.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut shown = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.next().unwrap().contains(&id), "it has begun");
    assert_eq!(shown.by_ref().take(8).count(), 8);
    let store = rusqlite::Connection::open(folder.path().join("gt.db")).unwrap();
    store.execute("update alerts set revision = revision + 1", []).unwrap();
    assert!(told.next().unwrap().contains(&id));
    let next: Value = serde_json::from_str(&shown.next().unwrap()).unwrap();
    assert_ne!(next["groundtrail"]["alert"]["id"], id.as_str());
    tail.kill().unwrap();
    tail.wait().unwrap();
}
