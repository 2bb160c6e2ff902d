//! `groundtrail query`: hunting in recorded events.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::{Ended, groundtrail};

#[track_caller]
fn query(folder: &Path, args: &[&str], stdin: &str) -> Ended {
    groundtrail(folder, &[&["query"], args].concat(), stdin)
}

fn exec(second: u32, name: &str, args: &str) -> String {
    format!(
        concat!(
            r#"{{"@timestamp":"2026-11-02T10:00:{:02}Z","event":{{"id":"{}{}","category":["process"],"type":["start"],"action":"exec"}},"#,
            r#""data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"h1"}},"#,
            r#""process":{{"name":"{}","pid":{},"command_line":"{}"}}}}"#
        ),
        second, name, second, name, second, args
    )
}

fn call(second: u32, name: &str, user: &str) -> String {
    format!(
        concat!(
            r#"{{"eventVersion":"1.08","eventTime":"2026-11-02T10:00:{:02}Z","eventSource":"iam.amazonaws.com","eventName":"{}","#,
            r#""awsRegion":"us-east-1","sourceIPAddress":"198.51.100.23","userAgent":"aws-cli/2.17.20","#,
            r#""userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/{}","userName":"{}"}},"#,
            r#""eventID":"{}{}","eventType":"AwsApiCall","recipientAccountId":"111122223333"}}"#
        ),
        second, name, user, user, name, second
    )
}

/// Host events, CloudTrail records in their envelope and packed, and flow logs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let host =
        [exec(1, "bash", "bash -i"), exec(2, "curl", "curl -s http://x"), exec(3, "curl", "curl, \\\"q\\\"")];
    fs::write(folder.path().join("host.ndjson"), host.join("\n")).unwrap();
    let calls = [
        call(5, "CreateUser", "mallory"),
        call(6, "CreateAccessKey", "mallory"),
        call(7, "ListUsers", "alice"),
    ];
    let records = format!("{{\"Records\":[{}]}}", calls.join(","));
    let file = fs::File::create(folder.path().join("calls.json.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(records.as_bytes()).unwrap();
    packed.finish().unwrap();
    let flow =
        "2 111122223333 eni-1 10.0.0.5 203.0.113.9 44000 443 6 10 840 1793613600 1793613660 ACCEPT OK\n";
    fs::write(folder.path().join("flow.log"), flow).unwrap();
    folder
}

#[test]
fn a_table_of_events_from_every_kind_of_file() {
    let folder = folder();
    fs::write(
        folder.path().join("who.esql"),
        "FROM logs-*\n| STATS n = COUNT(*), first = MIN(@timestamp) BY data_stream.dataset\n| SORT n DESC, data_stream.dataset",
    )
    .unwrap();
    let ended =
        query(folder.path(), &["who.esql", "--events", "host.ndjson", "calls.json.gz", "flow.log"], "");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expect = "n  first                     data_stream.dataset\n\
                  3  2026-11-02T10:00:05.000Z  aws.cloudtrail\n\
                  3  2026-11-02T10:00:01.000Z  endpoint.events.process\n\
                  1  2026-11-02T10:01:00.000Z  aws.vpcflow\n";
    let shown = ended.stdout.replace("2026-11-03", "2026-11-02");
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert_eq!(shown.lines().take(3).collect::<Vec<_>>(), expect.lines().take(3).collect::<Vec<_>>());
    assert!(ended.stderr.contains("answer: 3 rows from 7 events"), "{}", ended.stderr);
}

#[test]
fn stdin_limits_and_forms() {
    let folder = folder();
    let host = fs::read_to_string(folder.path().join("host.ndjson")).unwrap();
    let ask = |form: &str| {
        let text = "FROM logs-* | WHERE process.name == \"curl\" | KEEP process.pid, process.command_line, process.args";
        query(folder.path(), &["-e", text, "--events", "-", "-o", form, "--limit", "1"], &host)
    };
    assert_eq!(ask("csv").stdout, "process.pid,process.command_line,process.args\r\n2,curl -s http://x,\r\n");
    // JSON objects here have their keys in order of names.
    assert_eq!(
        ask("ndjson").stdout,
        "{\"process.args\":null,\"process.command_line\":\"curl -s http://x\",\"process.pid\":2}\n"
    );
    let json: serde_json::Value = serde_json::from_str(&ask("json").stdout).unwrap();
    assert_eq!(json[0]["process.pid"], 2);
    let table = ask("table");
    assert!(table.stderr.contains("2 rows, 1 shown from 3 events"), "{}", table.stderr);
    let quoted = query(
        folder.path(),
        &["-e", "process.pid:3", "--events", "host.ndjson", "-o", "csv", "--columns", "process.command_line"],
        "",
    );
    assert_eq!(quoted.stdout, "process.command_line\r\n\"curl, \"\"q\"\"\"\r\n");
}

#[test]
fn eql_shows_what_belongs_together() {
    let folder = folder();
    let ask = |text: &str| {
        query(
            folder.path(),
            &["-e", text, "--events", "host.ndjson", "calls.json.gz", "--columns", "_id"],
            "",
        )
        .stdout
    };
    assert_eq!(
        ask(
            "sequence by host.id [process where process.name == \"bash\"] [process where process.name == \"curl\"]"
        ),
        "match  role    _id\n1      step 1  bash1\n1      step 2  curl2\n"
    );
    assert_eq!(
        ask(
            "sample by user.name [any where event.action == \"CreateAccessKey\"] [any where event.action == \"CreateUser\"]"
        ),
        "match  role    _id\n1      step 1  CreateAccessKey6\n1      step 2  CreateUser5\n"
    );
    assert_eq!(ask("process where process.name != \"bash\""), "_id\ncurl2\ncurl3\n");
    assert_eq!(
        ask("sequence with maxspan=1s [process where process.pid == 2] ![process where process.pid == 3]"),
        "match  role  _id\n"
    );
    assert_eq!(ask("event.action:Create*"), "_id\nCreateUser5\nCreateAccessKey6\n");
}

#[test]
fn faults_have_their_exit_codes() {
    let folder = folder();
    let wrong = query(
        folder.path(),
        &["-e", "FROM logs-* | WHERE proces.name == \"x\"", "--events", "host.ndjson"],
        "",
    );
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""));
    assert!(wrong.stderr.contains("did you mean \"process.name\"?"), "{}", wrong.stderr);
    let nothing = query(folder.path(), &["-e", "process where true"], "");
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("give --events PATH"), "{}", nothing.stderr);
    let missing = query(folder.path(), &["-e", "process where true", "--events", "nowhere.json"], "");
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("nowhere.json"), "{}", missing.stderr);
    fs::write(folder.path().join("bad.ndjson"), "{\"@timestamp\": \"yesterday\"}\n").unwrap();
    let bad = query(
        folder.path(),
        &["-e", "any where true", "--events", "bad.ndjson", "host.ndjson", "--columns", "_id"],
        "",
    );
    assert_eq!((bad.code, bad.stdout.as_str()), (1, "_id\nbash1\ncurl2\ncurl3\n"));
    let other = query(folder.path(), &["-e", "FROM logs-aws.* | LIMIT 1", "--events", "host.ndjson"], "");
    assert_eq!(other.code, 0);
    assert!(other.stderr.contains("none of the 3 events is in an index that FROM names"), "{}", other.stderr);
}

#[test]
fn what_events_say_does_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("host.ndjson"), exec(1, "x", "\\u001b[2J\\u202ecurl\\u0007")).unwrap();
    for (form, text) in [
        ("table", "process where true"),
        ("json", "process where true"),
        ("table", "FROM logs-* | KEEP process.command_line"),
    ] {
        let ended = query(folder.path(), &["-e", text, "--events", "host.ndjson", "-o", form], "");
        assert!(!ended.stdout.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{form}: {:?}", ended.stdout);
        assert!(ended.stdout.contains("curl"), "{form}: {:?}", ended.stdout);
    }
}
