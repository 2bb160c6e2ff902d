//! An exception that is learned from alerts, laid over the configuration, and does what was shown.

use std::fs;

use crate::{RULE, call, groundtrail};

const TUNE: [&str; 7] =
    ["tune", "Access key created", "--owner", "platform team", "--reason", "the key job", "--alerts"];

/// A rule with a case that must fire for somebody else, and alerts of mallory's and of the job's.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rule.toml"), RULE.replace("EVENT", &call("c", "CreateAccessKey"))).unwrap();
    fs::write(folder.path().join("gt.toml"), "[rules]\nbuiltin = false\npaths = [\"rule.toml\"]\n").unwrap();
    let job = |id: &str| call(id, "CreateAccessKey").replace("mallory", "key-job");
    let trail = [job("j1"), job("j2"), call("m1", "CreateAccessKey")].join(",");
    fs::write(folder.path().join("trail.json"), format!("{{\"Records\":[{trail}]}}")).unwrap();
    let alerts = replay(&folder);
    assert_eq!(alerts.len(), 3);
    fs::write(folder.path().join("alerts.ndjson"), alerts.join("\n")).unwrap();
    folder
}

fn replay(folder: &tempfile::TempDir) -> Vec<String> {
    let args = ["replay", "-c", "gt.toml", "--final", "-o", "ndjson", "--cloudtrail", "trail.json"];
    let ran = groundtrail(folder.path(), &args, "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout.lines().map(String::from).collect()
}

/// The beginnings of the ids of alerts with this text in them.
fn ids(folder: &tempfile::TempDir, with: &str) -> Vec<String> {
    let alerts = fs::read_to_string(folder.path().join("alerts.ndjson")).unwrap();
    let alerts = alerts.lines().filter(|line| line.contains(with));
    alerts
        .map(|line| {
            let alert: serde_json::Value = serde_json::from_str(line).unwrap();
            alert["groundtrail"]["alert"]["id"].as_str().unwrap()[..10].to_owned()
        })
        .collect()
}

#[test]
fn an_exception_is_proposed_proved_and_does_what_was_shown() {
    let folder = folder();
    let ids = ids(&folder, "key-job");
    let mut args =
        [&TUNE[..], &["alerts.ndjson", "-c", "gt.toml", "--expires", "2027-01-01", "--alert"]].concat();
    args.extend(ids.iter().map(String::as_str));
    let proposed = groundtrail(folder.path(), &args, "");
    assert_eq!(proposed.code, 0, "{}", proposed.stderr);
    for part in ["2 silenced, 1 stay", "all 1 cases that must fire still do", "user/key-job"] {
        assert!(proposed.stderr.contains(part), "{part} is missing: {}", proposed.stderr);
    }
    for part in ["[[exceptions]]", "owner = \"platform team\"", "expires = \"2027-01-01\"", "takes = ["] {
        assert!(proposed.stdout.contains(part), "{part} is missing: {}", proposed.stdout);
    }
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/key-job.toml"), &proposed.stdout).unwrap();
    let left = replay(&folder);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("user/mallory"), "{left:?}");
    let checked = groundtrail(folder.path(), &["check", "-c", "gt.toml"], "");
    assert!(!checked.stderr.contains("takes"), "{}", checked.stderr);
    let shown = groundtrail(folder.path(), &["config", "show", "-c", "gt.toml"], "");
    assert!(shown.stdout.contains("owner = \"platform team\""), "{}", shown.stdout);

    // Somebody edits the query and not what it is for.
    let edited =
        proposed.stdout.replace("user/key-job\"'", "user/other\"'").replacen("user/key-job", "user/other", 1);
    fs::write(folder.path().join("conf.d/key-job.toml"), edited).unwrap();
    let checked = groundtrail(folder.path(), &["check", "-c", "gt.toml"], "");
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("\"the key job\"") && said.contains("does not take event 1"), "{said}");
}

#[test]
fn an_exception_that_blinds_the_rule_is_not_written() {
    let folder = folder();
    // The rule's own case is mallory's.
    let ids = ids(&folder, "user/mallory");
    let args =
        [&TUNE[..], &["alerts.ndjson", "-c", "gt.toml", "-o", "out.toml", "--alert", &ids[0]]].concat();
    let refused = groundtrail(folder.path(), &args, "");
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(
        refused.stderr.contains("a key is created") && refused.stderr.contains("nothing is written"),
        "{}",
        refused.stderr
    );
    assert!(!folder.path().join("out.toml").exists());
}

#[test]
fn what_cannot_be_tuned_is_said() {
    let folder = folder();
    let ask = |more: &[&str]| {
        groundtrail(folder.path(), &[&TUNE[..], &["alerts.ndjson", "-c", "gt.toml"], more].concat(), "")
    };
    let none = ask(&["--alert", "zz"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("no alert's id begins with \"zz\""), "{}", none.stderr);
    let none = ask(&["--on", "file.path"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("nothing in common"), "{}", none.stderr);
    assert_eq!(groundtrail(folder.path(), &["tune", "x", "--owner", "o", "--reason", "r"], "").code, 2);
    let unowned =
        groundtrail(folder.path(), &["tune", "Access key created", "--alerts", "alerts.ndjson"], "");
    assert_eq!(unowned.code, 2);
    fs::write(folder.path().join("held.toml"), "").unwrap();
    let ids = ids(&folder, "key-job");
    let held = ask(&["-o", "held.toml", "--alert", &ids[0], &ids[1]]);
    assert_eq!(held.code, 3, "what is there is not written over: {}", held.stderr);
}

#[test]
fn a_case_that_failed_before_proves_nothing() {
    let folder = folder();
    let rule = fs::read_to_string(folder.path().join("rule.toml")).unwrap();
    let broken = format!(
        "{rule}\n[[tests]]\nname = \"never fired\"\nexpect = 1\nevents = \'\'\'\n{}\n\'\'\'\n",
        call("d", "DeleteAccessKey")
    );
    fs::write(folder.path().join("rule.toml"), broken).unwrap();
    let ids = ids(&folder, "key-job");
    let mut args = [&TUNE[..], &["alerts.ndjson", "-c", "gt.toml", "--alert"]].concat();
    args.extend(ids.iter().map(String::as_str));
    let told = groundtrail(folder.path(), &args, "");
    assert_eq!(told.code, 0, "{}", told.stderr);
    for part in ["fails without it already", "never fired", "1 of 2 cases that must fire still do"] {
        assert!(told.stderr.contains(part), "{part} is missing: {}", told.stderr);
    }

    // Where none is left that could show it, it is not shown.
    let only = rule.replace(&call("c", "CreateAccessKey"), &call("c", "DeleteAccessKey"));
    fs::write(folder.path().join("rule.toml"), only).unwrap();
    let refused = groundtrail(folder.path(), &args, "");
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("0 of 1 cases") && refused.stderr.contains("groundtrail test"),
        "{}",
        refused.stderr
    );
}
