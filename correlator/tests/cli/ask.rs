//! What is asked of what was seen: who, incidents, pages, and why a rule was silent.

use std::fs;
use std::path::Path;

use crate::{RULE, call, demo, groundtrail, rule_folder};

#[test]
fn who_answers_from_recorded_events_and_says_when_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let call = r#"{"Records":[{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE0000000001:i-0123456789abcdef0","arn":"arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0","accountId":"111122223333","accessKeyId":"ASIARTX3GSDSWPZ6EXQM","sessionContext":{"ec2RoleDelivery":"2.0"}},"eventTime":"2026-11-02T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"GetCallerIdentity","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.10","userAgent":"aws-cli/2.17","requestParameters":null,"responseElements":null,"requestID":"r","eventID":"e","readOnly":true,"eventType":"AwsApiCall","recipientAccountId":"111122223333"}]}"#;
    fs::write(folder.path().join("trail.json"), call).unwrap();

    let told = groundtrail(folder.path(), &["who", "ASIARTX3GSDSWPZ6EXQM", "--cloudtrail", "trail.json"], "");
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    for part in ["web/i-0123456789abcdef0", "111122223333", "2026-11-02T10:00:00Z"] {
        assert!(told.stdout.contains(part), "{part} is missing: {}", told.stdout);
    }
    let json = groundtrail(
        folder.path(),
        &["who", "i-0123456789abcdef0", "--cloudtrail", "trail.json", "-o", "json"],
        "",
    );
    let answers: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(answers[0]["kind"], "host");

    let early = ["who", "i-0123456789abcdef0", "--cloudtrail", "trail.json", "--at", "2026-11-01T00:00:00Z"];
    let told = groundtrail(folder.path(), &early, "");
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.contains("note: nothing is known of \"i-0123456789abcdef0\""), "{}", told.stderr);
    let told = groundtrail(folder.path(), &["who", "x"], "");
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert!(told.stderr.contains("--store PATH"), "{}", told.stderr);
}

#[test]
fn incidents_tell_alerts_as_stories() {
    let folder = tempfile::tempdir().unwrap();
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/traces/demo/alerts.expected.json");
    let table = groundtrail(folder.path(), &["incidents", "--alerts", alerts], "");
    assert_eq!((table.code, table.stderr.as_str()), (0, ""));
    assert_eq!(table.stdout.lines().count(), 2, "one intrusion is one line: {}", table.stdout);
    let id = table.stdout.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();

    let page = groundtrail(folder.path(), &["incidents", &id, "--alerts", alerts], "");
    for part in ["user/mallory", "CloudTrail logging stopped", "aws ssm cancel-command --command-id"] {
        assert!(page.stdout.contains(part), "{part} is missing: {}", page.stdout);
    }
    let json = groundtrail(folder.path(), &["incidents", "--alerts", alerts, "-o", "json"], "");
    let told: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(told[0]["id"], id.as_str());

    assert_eq!(groundtrail(folder.path(), &["incidents", "zz", "--alerts", alerts], "").code, 1);
    assert_eq!(groundtrail(folder.path(), &["incidents"], "").code, 2);
    let first = fs::read_to_string(alerts).unwrap().lines().next().unwrap().to_owned();
    for no_alert in ["nonsense", "{}", r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"action":"exec"}}"#] {
        fs::write(folder.path().join("bad.ndjson"), format!("{first}\n{no_alert}\n")).unwrap();
        let refused = groundtrail(folder.path(), &["incidents", "--alerts", "bad.ndjson"], "");
        assert_eq!((refused.code, refused.stdout.as_str()), (3, ""));
        assert!(refused.stderr.contains("line 2 is no alert document"), "{}", refused.stderr);
    }
    for verb in [
        &["incidents"][..],
        &["report", "--alert", "x", "-o", "-"],
        &["explain", "x"],
        &["who", "x"],
        &["tail", "--no-follow"],
        &["tree", "h"],
        &["why-not", "ee605a11"],
        &["status"],
    ] {
        let missing = groundtrail(folder.path(), &[verb, &["--store", "nowhere.db"]].concat(), "");
        assert_eq!(missing.code, 3, "{verb:?}: {}", missing.stderr);
        assert!(missing.stderr.contains("there is no store at \"nowhere.db\""), "{}", missing.stderr);
    }
}

#[test]
fn a_report_is_one_file_with_the_story() {
    let folder = tempfile::tempdir().unwrap();
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/traces/demo/alerts.expected.json");
    let asked = ["report", "--alert", "45a3658162981235", "--alerts", alerts, "-o", "page.html"];
    let written = groundtrail(folder.path(), &asked, "");
    assert_eq!((written.code, written.stdout.as_str()), (0, ""), "{}", written.stderr);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    for part in ["<!DOCTYPE html>", "ssm-document-worker", "cloudtrail:StopLogging", "aws ssm cancel-command"]
    {
        assert!(page.contains(part), "{part} is missing");
    }
    let unknown =
        groundtrail(folder.path(), &["report", "--incident", "zz", "--alerts", alerts, "-o", "-"], "");
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("groundtrail incidents"), "{}", unknown.stderr);
}

#[test]
fn why_not_says_what_was_missing_and_whether_it_fired_after_all() {
    let dir = tempfile::tempdir().unwrap();
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/traces");
    let ask = |rule: &str, trace: &str, more: &[&str]| {
        let trace = traces.join(trace);
        let mut args = vec!["why-not", rule, "--trace", trace.to_str().unwrap()];
        args.extend(more);
        groundtrail(dir.path(), &args, "")
    };
    let fired = ask("aws cli sent to a custom endpoint", "system1", &[]);
    assert_eq!(fired.code, 0, "{}", fired.stderr);
    assert!(fired.stdout.contains("fired on"), "{}", fired.stdout);

    let missed = ask("ee605a11", "system5", &[]);
    let absent = "groundtrail.endpoint.domain is absent; the rule asks for a value";
    assert!(missed.code == 0 && missed.stdout.contains(absent), "{}", missed.stdout);
    assert_eq!(missed.stdout.matches("nearest").count(), 1, "{}", missed.stdout);
    let missed = ask("ee605a11", "system5", &["-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&missed.stdout).unwrap();
    assert_eq!((&said["reasons"][0]["kind"], &said["is_met"]), (&"absent".into(), &false.into()));

    let unknown = ask("AWS CLI sent to a custom endpoit", "system1", &[]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("did you mean \"AWS CLI sent to a custom endpoint\""),
        "{}",
        unknown.stderr
    );
    assert_eq!(ask("ee605a11", "system1", &["--event", "no-such-event"]).code, 2);

    // A rule over alerts is asked about the alerts of the others.
    let folder = rule_folder("");
    let over = RULE
        .replace("5a0e6a52-64f5", "5a0e6a52-64f8")
        .replace("Access key created", "Key alert of bob")
        .replace("logs-aws.cloudtrail-*", ".alerts-security.*")
        .replace(
            "data_stream.dataset:\"aws.cloudtrail\" and event.action:CreateAccessKey",
            "kibana.alert.rule.name:* and user.name:bob",
        );
    let over = over.split("[[tests]]").next().unwrap();
    fs::write(folder.path().join("over.toml"), over).unwrap();
    fs::write(folder.path().join("calls.json"), call("k1", "CreateAccessKey")).unwrap();
    let rules = ["--rules", "rule.toml", "over.toml", "--no-builtin-rules"];
    let args = [&["why-not", "Key alert of bob", "--cloudtrail", "calls.json"], &rules[..]].concat();
    let missed = groundtrail(folder.path(), &args, "");
    let said = "user.name is \"mallory\"; the rule asks for \"bob\"";
    assert!(missed.code == 0 && missed.stdout.contains(said), "{}{}", missed.stdout, missed.stderr);
    assert!(missed.stdout.contains(".alerts-security.alerts-default"), "{}", missed.stdout);
}

#[test]
fn why_not_says_by_how_much_an_event_is_too_late_for_a_run() {
    let rule = r#"
[rule]
name = "Downloaded"
rule_id = "00000000-0000-4000-8000-00000000000c"
description = "d"
type = "eql"
language = "eql"
severity = "low"
risk_score = 21
query = '''
sequence by host.id with maxspan=1m
  [process where event.action == "exec"]
  [network where event.action == "connection_attempted"]
'''
"#;
    let event = |id: &str, category: &str, action: &str, time: &str| {
        format!(
            r#"{{"@timestamp":"2026-11-02T{time}Z","event":{{"id":"{id}","category":["{category}"],"action":"{action}"}},"host":{{"id":"web-1"}}}}"#
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("rule.toml", rule);
    let host = [event("a", "process", "exec", "10:00:00"), event("b", "process", "exec", "12:00:00")];
    write("host.ndjson", &host.join("\n"));
    write("late.ndjson", &event("late", "network", "connection_attempted", "10:00:30"));
    let config = "[store]\npath = \"s.db\"\n[rules]\nbuiltin = false\npaths = [\"rule.toml\"]\n\
                  [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = false\n";
    write("groundtrail.toml", config);
    let ran = groundtrail(folder.path(), &["--config", "groundtrail.toml", "run"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ask = |file: &str, id: &str| {
        let asked = ["--config", "groundtrail.toml", "why-not", "Downloaded", "--store", "s.db"];
        groundtrail(folder.path(), &[&asked[..], &["--host", file, "--event", id]].concat(), "").stdout
    };
    let said = ask("late.ndjson", "late");
    assert!(said.contains("119 min behind it") && said.contains("waits 15 min"), "{said}");
    assert!(said.contains("it came 104 min too late"), "{said}");
    write("timely.ndjson", &event("timely", "network", "connection_attempted", "12:00:30"));
    assert!(!ask("timely.ndjson", "timely").contains("late:"), "it is ahead of the run");
}

#[test]
fn an_id_that_several_begin_with_is_refused_with_those_it_could_be() {
    for verb in [&["explain", ""][..], &["tree", "--alert", ""], &["report", "--alert", "", "-o", "-"]] {
        let refused = groundtrail(demo(), &[verb, &["--store", "gt.db"]].concat(), "");
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{verb:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("several alerts have an id that begins with"), "{}", refused.stderr);
        assert!(refused.stderr.contains("02cfac51"), "they are named: {}", refused.stderr);
    }
    // Among those of one rule it may be one.
    let tune = ["tune", "CloudTrail logging stopped", "--owner", "o", "--reason", "r", "--alert", ""];
    let told = groundtrail(demo(), &[&tune[..], &["--store", "gt.db"]].concat(), "");
    assert!(told.stderr.contains("1 silenced"), "{}", told.stderr);
}

#[test]
fn an_alert_is_explained_in_each_form() {
    let explain = |form: &str| {
        let told = groundtrail(demo(), &["explain", "45a36581", "--store", "gt.db", "-o", form], "");
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{form}");
        told.stdout
    };
    let (line, record) = (explain("ndjson"), explain("json"));
    assert_eq!(line.lines().count(), 1);
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&line), parse(&record));
    assert!(explain("csv").starts_with("time,part,stage,event_id,"), "{}", explain("csv"));
    for page in ["table", "pretty"] {
        assert!(explain(page).contains("CloudTrail logging stopped"));
    }
}

#[test]
fn answers_come_as_rows_too() {
    let trace = crate::demo_trace().join("cloudtrail.json");
    let ask = |form: &str| {
        let args = [
            "who",
            "arn:aws:iam::111122223333:user/mallory",
            "--cloudtrail",
            trace.to_str().unwrap(),
            "-o",
            form,
        ];
        groundtrail(demo(), &args, "").stdout
    };
    assert!(
        ask("csv").starts_with("kind,name,known,value,first_seen,last_seen,strength\r\n"),
        "{}",
        ask("csv")
    );
    let first: serde_json::Value = serde_json::from_str(ask("ndjson").lines().next().unwrap()).unwrap();
    assert!(first["known"].is_array(), "{first}");
    let trace = crate::demo_trace().join("../system5");
    let why = ["why-not", "ee605a11", "--trace", trace.to_str().unwrap(), "-o", "csv"];
    let why = groundtrail(demo(), &why, "");
    assert!(why.stdout.starts_with("kind,reason,field,actual,wanted,off_by_ms\r\nabsent,"), "{}", why.stdout);
    let status = groundtrail(demo(), &["status", "--store", "gt.db", "-o", "csv"], "");
    assert!(status.stdout.starts_with("source,state,last_event,"), "{}", status.stdout);
    assert_eq!(status.stdout.lines().count(), 5, "a row for each of four sources: {}", status.stdout);
}

#[test]
fn a_run_that_is_away_for_a_moment_does_not_end_top() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let health = correlator::health::Health { at_ms: 12_000, started_ms: 1_000, ..Default::default() };
    let body = serde_json::to_string(&health).unwrap();
    let answering = std::thread::spawn(move || {
        for n in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            // The second is not answered.
            if n != 1 {
                let _ = stream.read(&mut [0; 1_024]);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        }
    });
    let args = ["top", "--url", &url, "-n", "3", "--interval", "1", "-o", "ndjson"];
    let looked = groundtrail(demo(), &args, "");
    answering.join().unwrap();
    assert_eq!(looked.code, 0, "{}", looked.stderr);
    assert_eq!(looked.stdout.lines().count(), 2, "{}", looked.stdout);
    assert!(looked.stderr.contains("no answer from") && looked.stderr.contains("trying again"));
    let gone = groundtrail(demo(), &["top", "--url", &url], "");
    assert_eq!(gone.code, 3, "one that never answered is not waited for: {}", gone.stderr);
    assert_eq!(groundtrail(demo(), &["top", "--url", &url, "-o", "json"], "").code, 2);
}
