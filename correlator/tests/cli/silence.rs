//! Alerts that nobody is told of for a while, and what is said of them all the same.

use std::fs;

use serde_json::Value;

use crate::{call, groundtrail, rule_folder};

const ADD: [&str; 12] = [
    "silence",
    "add",
    "-c",
    "gt.toml",
    "--rule",
    "access key",
    "--owner",
    "platform team",
    "--reason",
    "keys are moved",
    "--name",
    "moving",
];

/// A folder with one alert's worth of input, and a sink that writes what it is told into a file.
fn folder() -> tempfile::TempDir {
    let folder = rule_folder("");
    fs::create_dir(folder.path().join("trail")).unwrap();
    fs::write(
        folder.path().join("gt.toml"),
        "[store]\npath = \"gt.db\"\n[rules]\nbuiltin = false\npaths = [\"rule.toml\"]\n\
         [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\nfollow = false\n\
         [[sink]]\nname = \"out\"\ntype = \"file\"\npath = \"out.ndjson\"\n",
    )
    .unwrap();
    folder
}

/// What the sink was told by a run over one more call.
fn told(folder: &tempfile::TempDir, id: &str) -> Vec<Value> {
    let record = format!(r#"{{"Records":[{}]}}"#, call(id, "CreateAccessKey"));
    fs::write(folder.path().join(format!("trail/{id}.json")), record).unwrap();
    let ran = groundtrail(folder.path(), &["run", "-c", "gt.toml", "-o", "none"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told = fs::read_to_string(folder.path().join("out.ndjson")).unwrap_or_default();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_silence_mutes_sinks_and_tail_and_leaves_everything_else() {
    let folder = folder();
    let ask = |args: &[&str]| groundtrail(folder.path(), args, "");
    let added = ask(&[&ADD[..], &["--until", "2h"]].concat());
    assert_eq!(added.code, 0, "{}", added.stderr);
    assert!(
        added.stderr.contains("conf.d/silence-moving.toml") && added.stderr.contains("reload"),
        "{}",
        added.stderr
    );
    assert_eq!(told(&folder, "one"), Vec::<Value>::new());

    let tail = |more: &[&str]| ask(&[&["tail", "-c", "gt.toml", "--no-follow"], more].concat()).stdout;
    assert_eq!(tail(&[]), "");
    assert!(tail(&["--muted"]).contains("Access key created") && tail(&["--muted"]).contains("muted"));
    let alert: Value = serde_json::from_str(tail(&["--muted", "-o", "ndjson"]).trim()).unwrap();
    let muted_by = &alert["groundtrail"]["alert"]["muted_by"];
    assert_eq!((&muted_by["silence"], &muted_by["owner"]), (&"moving".into(), &"platform team".into()));
    let id = alert["groundtrail"]["alert"]["id"].as_str().unwrap();
    let page = ask(&["explain", "-c", "gt.toml", id, "-o", "table"]).stdout;
    assert!(page.contains("by the silence moving until") && page.contains("keys are moved"), "{page}");
    let incidents = ask(&["incidents", "-c", "gt.toml"]).stdout;
    assert_eq!(incidents.lines().count(), 2, "it is part of incidents: {incidents}");
    let report = ask(&["report", "-c", "gt.toml", "--alert", id, "-o", "-"]).stdout;
    assert!(report.contains("Nobody was told: muted by the silence moving"));
    let listed: Value =
        serde_json::from_str(&ask(&["silence", "list", "-c", "gt.toml", "-o", "json"]).stdout).unwrap();
    assert_eq!((&listed[0]["state"], &listed[0]["muted"]), (&"in force".into(), &1.into()), "{listed}");
    let status = ask(&["status", "-c", "gt.toml"]).stdout;
    assert!(status.contains("1 muted by silences"), "{status}");

    let ended = ask(&["silence", "end", "-c", "gt.toml", "moving"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!folder.path().join("conf.d/silence-moving.toml").exists());
    let told = told(&folder, "two");
    assert_eq!(told.len(), 1, "what came while it was muted is not told later: {told:#?}");
    assert!(tail(&[]).lines().count() == 1);
}

#[test]
fn a_silence_that_is_over_is_told() {
    let folder = folder();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    let text = "[[silence]]\nname = \"old\"\nrules = [\"access key\"]\nuntil = \"2026-01-01T00:00:00Z\"\nowner = \"o\"\nreason = \"r\"\n";
    fs::write(folder.path().join("conf.d/mine.toml"), text).unwrap();
    assert_eq!(told(&folder, "one").len(), 1);
    let checked = groundtrail(folder.path(), &["check", "-c", "gt.toml"], "");
    assert!(checked.stdout.contains("it ended at 2026-01-01T00:00:00.000Z"), "{}", checked.stdout);
    let listed = groundtrail(folder.path(), &["silence", "list", "-c", "gt.toml"], "");
    assert!(
        listed.stdout.contains("ended") && listed.stdout.contains("rule access key"),
        "{}",
        listed.stdout
    );
    let by_hand = groundtrail(folder.path(), &["silence", "end", "-c", "gt.toml", "old"], "");
    assert_eq!(by_hand.code, 2, "it is in a file of somebody's: {}", by_hand.stderr);
    assert!(folder.path().join("conf.d/mine.toml").exists());
}

#[test]
fn a_silence_that_cannot_be_is_refused() {
    let folder = folder();
    let add = |args: &[&str]| {
        let head = ["silence", "add", "-c", "gt.toml", "--owner", "o", "--reason", "r"];
        let ended = groundtrail(folder.path(), &[&head[..], args].concat(), "");
        (ended.code, ended.stderr)
    };
    let (code, words) = add(&["--until", "2h"]);
    assert!(code == 2 && words.contains("every alert"), "{words}");
    for (until, part) in [
        ("2020-01-01T00:00:00Z", "over already"),
        ("91d", "90 days"),
        ("soon", "30m, 2h or 7d"),
        ("0m", "over already"),
    ] {
        let (code, words) = add(&["--rule", "x", "--until", until]);
        assert!(code == 2 && words.contains(part), "{until}: {words}");
    }
    assert_eq!(groundtrail(folder.path(), &["silence", "end", "-c", "gt.toml", "none"], "").code, 1);
    let faulty = "[[silence]]\nname = \"a b\"\nuntil = \"never\"\nowner = \"o\"\nreason = \"r\"\n";
    fs::write(folder.path().join("faulty.toml"), faulty).unwrap();
    let checked = groundtrail(folder.path(), &["check", "-c", "faulty.toml"], "");
    assert_eq!(checked.code, 2);
    for part in ["this silence is of every alert", "\"never\" is no time", "\"a b\" is no name"] {
        assert!(checked.stderr.contains(part), "{part} is missing: {}", checked.stderr);
    }
}
