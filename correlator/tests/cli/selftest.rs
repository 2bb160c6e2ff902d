//! The canary where something is missing on its way. That it comes through is shown with a real sensor, where the kernel allows it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{demo, groundtrail};

#[test]
fn without_a_run_the_hop_is_named() {
    let ended = groundtrail(
        demo(),
        &["selftest", "--store", "gt.db", "--timeout", "1", "--sensor-socket", "none.sock"],
        "",
    );
    // The demo's run has ended; whether a minute has gone by since is not for us to know.
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(ended.stdout.contains("sensor") && ended.stdout.contains("unknown"), "{}", ended.stdout);
    assert!(ended.stdout.contains("FAILED"), "{}", ended.stdout);
    assert_eq!(groundtrail(demo(), &["selftest"], "").code, 2);
    assert_eq!(groundtrail(demo(), &["selftest", "--store", "no.db"], "").code, 3);
}

#[test]
fn without_a_sensor_the_hop_is_named_and_when_it_was_heard_last() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("host.ndjson"), "").unwrap();
    fs::write(
        folder.path().join("gt.toml"),
        "[store]\npath = \"gt.db\"\n[rules]\nbuiltin = false\n[[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\n",
    )
    .unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "-c", "gt.toml", "-o", "none"])
        .current_dir(folder.path())
        .env_clear()
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let status = ["status", "-c", "gt.toml"];
    while groundtrail(folder.path(), &status, "").stdout.is_empty() {
        assert!(Instant::now() < until, "the run does not begin");
    }
    while groundtrail(folder.path(), &status, "").stdout.contains("no run") {
        assert!(Instant::now() < until, "the run writes nothing");
    }
    let args = ["selftest", "-c", "gt.toml", "--timeout", "1", "-o", "json", "--sensor-socket", "none.sock"];
    let ended = groundtrail(folder.path(), &args, "");
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
    let hops: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let states: Vec<(&str, &str)> = hops
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| (hop["hop"].as_str().unwrap(), hop["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [("sensor", "unknown"), ("run", "passed"), ("exec and connection", "passed"), ("events", "failed")],
        "{hops:#}"
    );
    assert!(hops[3]["what"].as_str().unwrap().contains("none ever came"), "{hops:#}");
}
