//! What is read once: every record accounted for, and nothing that was not seen taken for an absence.

use std::fs;
use std::process::{Command, Stdio};

use crate::{call, groundtrail, rule_folder, run::get};

#[test]
fn a_replay_prints_one_line_per_alert_and_counts_what_it_could_not_read() {
    let folder = rule_folder("");
    let trail = [
        call("1", "CreateAccessKey"),
        "{broken".to_owned(),
        call("2", "ListUsers"),
        call("3", "CreateAccessKey"),
    ];
    fs::write(folder.path().join("trail.ndjson"), trail.join("\n")).unwrap();
    let args =
        ["replay", "--cloudtrail", "trail.ndjson", "--rules", "rule.toml", "--no-builtin-rules", "--final"];
    let ended = groundtrail(folder.path(), &args, "");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let alerts: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(alerts.len(), 2, "{}", ended.stdout);
    assert!(alerts.iter().all(|alert| alert["groundtrail"]["alert"]["state"] == "final"));
    assert!(ended.stderr.contains("trail.ndjson"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 unreadable; 2 alerts"), "{}", ended.stderr);
    for seed in ["1", "2", "3"] {
        let shuffled = groundtrail(folder.path(), &[&args[..], &["--shuffle", seed]].concat(), "");
        assert_eq!(shuffled.stdout, ended.stdout);
    }
    let pretty = groundtrail(folder.path(), &[&args[..], &["-o", "pretty"]].concat(), "");
    assert!(pretty.stdout.contains("iam:CreateAccessKey"), "{}", pretty.stdout);
}

#[test]
fn an_absence_without_its_feed_is_withheld_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let ran = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"id":"w-1","kind":"event","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"},"data_stream":{"type":"logs","dataset":"endpoint.events.process","namespace":"default"},"host":{"id":"web-1","os":{"type":"linux"}},"process":{"entity_id":"e9","pid":4009,"name":"ssm-document-worker","args":["ssm-document-worker","11111111-2222-4333-8444-555555555555"],"command_line":"ssm-document-worker 11111111-2222-4333-8444-555555555555"}}"#;
    fs::write(folder.path().join("host.ndjson"), format!("{ran}\n")).unwrap();
    let call = |id: &str, time: &str| {
        format!(
            r#"{{"eventID":"{id}","eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"DescribeRegions","recipientAccountId":"111122223333"}}"#
        )
    };
    let calls = [call("c-1", "2026-11-02T06:00:00Z"), call("c-2", "2026-11-02T10:10:00Z")].join(",");
    fs::write(folder.path().join("calls.json"), format!("{{\"Records\":[{calls}]}}")).unwrap();
    let name = "Systems Manager command ran that no trail of ours shows";

    let host = ["replay", "--host", "host.ndjson", "--final", "-o", "ndjson"];
    let alone = groundtrail(folder.path(), &host, "");
    assert_eq!((alone.code, alone.stdout.as_str()), (0, ""));
    let said = format!("1 absence of \"{name}\" withheld: no CloudTrail feed");
    assert!(alone.stderr.contains(&said), "{}", alone.stderr);
    let asked = groundtrail(folder.path(), &["why-not", "5d32fe61", "--host", "host.ndjson"], "");
    let said = "1 matches were withheld, since nothing vouches for what is missing: no CloudTrail feed";
    assert!(asked.stdout.contains(said), "{}{}", asked.stdout, asked.stderr);

    let both = [&host[..], &["--cloudtrail", "calls.json"]].concat();
    let told = groundtrail(folder.path(), &both, "");
    assert!(told.stdout.contains(name), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains(r#""heard_from":"2026-11-02T06:00:00.000Z""#), "{}", told.stdout);
    assert!(!told.stderr.contains("withheld"), "{}", told.stderr);
}

#[test]
fn nothing_to_replay_is_a_mistake_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let ended = groundtrail(folder.path(), &["replay"], "");
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("give --host, --cloudtrail, --guardduty or --vpcflow"), "{}", ended.stderr);
}

/// The numbers of a line such as `5 events: 2 evaluated, 3 repeated; 1 alert`: the first, and the others up to the alerts.
pub(crate) fn account(line: &str) -> (u64, Vec<u64>) {
    let of_events = line.split(';').next().unwrap();
    let numbers = of_events.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    (numbers.remove(0), numbers)
}

#[test]
fn whatever_comes_in_every_record_is_accounted_for() {
    let dir = rule_folder("");
    let folder = dir.path();
    fs::create_dir(folder.join("trail")).unwrap();
    let at = |id: &str, time: &str| call(id, "ListUsers").replace("2026-11-02T10:00:00Z", time);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let huge = |n: usize| "x".repeat(n);
    let records = [
        call("a", "CreateAccessKey"),
        call("a", "CreateAccessKey"),
        call("a", "DeleteTrail"),
        at("old", "1970-01-01T00:00:00Z"),
        at("ahead", "2199-01-01T00:00:00Z"),
        at("none", "yesterday"),
        call("deep", "ListUsers")
            .replace("\"eventID\"", &format!("\"requestParameters\":{deep},\"eventID\"")),
        call("key", "ListUsers").replace(
            "\"eventID\"",
            &format!("\"requestParameters\":{{\"{}\":1}},\"eventID\"", huge(900_000)),
        ),
        call("user", "ListUsers").replace("mallory", &huge(400_000)),
        call("large", "ListUsers").replace("mallory", &huge(2_000_000)),
        "not json".to_owned(),
        "{\"eventID\":\"half".to_owned(),
        "\u{0}\u{1b}[2J".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
    ];
    fs::write(folder.join("trail/hostile.json"), records.join("\n")).unwrap();
    fs::write(folder.join("trail/good.json"), call("b", "ListUsers")).unwrap();
    let config = "[store]\npath = \"gt.db\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
                  [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\n[drop]\npaths = [\"drop.toml\"]\n";
    fs::write(folder.join("gt.toml"), config).unwrap();
    fs::write(
        folder.join("drop.toml"),
        "[[drop]]\nname = \"b\"\nquery = 'event.id: b'\nreason = \"a test's\"\n",
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "-c", "gt.toml", "--rules", "rule.toml", "--no-builtin-rules", "-o", "ndjson"])
        .current_dir(folder)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let said = lines.by_ref().map(Result::unwrap).find(|line| line.contains("\"metrics\"")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let at = said["listen"].as_str().unwrap().to_owned();
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // "b" is in the file that comes last.
    let mut metrics = String::new();
    while !metrics.contains("outcome=\"dropped\"} 1") {
        assert!(std::time::Instant::now() < until, "{metrics}");
        std::thread::sleep(std::time::Duration::from_millis(100));
        metrics = get(&at, "/metrics");
    }
    let sum = |name: &str| -> u64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    let received = sum("groundtrail_source_events_total{");
    // What follows a record that never ends is one piece with it.
    assert!(received >= 10, "{metrics}");
    assert_eq!(received, sum("groundtrail_events_total{"), "{metrics}");
    assert!(metrics.contains("outcome=\"duplicate\"} 2"), "{metrics}");
    assert_eq!(sum("groundtrail_conflicting_events_total{"), 1);
    assert_eq!(sum("groundtrail_misdated_events_total{"), 2, "{metrics}");
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success() && child.wait().unwrap().success());
    let said = rest.join().unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("ended: ")).unwrap_or_else(|| panic!("{said}"));
    let (all, terms) = account(line);
    assert_eq!((all, terms.iter().sum::<u64>()), (received, received), "{line}");
    let health = said.lines().find(|line| line.starts_with("health: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(health.contains("lag p50") && health.contains("no gaps"), "{health}");
}
