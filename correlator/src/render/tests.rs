use super::*;
use crate::untrusted::corpus::{assert_inert, hostile};
use crate::untrusted::width;
use expect_test::{Expect, expect};
use serde_json::json;

fn process(id: &str, pid: u64, name: &str, command_line: &str) -> Value {
    json!({"entity_id": id, "pid": pid, "name": name, "executable": format!("/usr/bin/{name}"),
        "command_line": command_line, "args": command_line.split(' ').collect::<Vec<_>>()})
}

fn host_event(
    id: &str,
    at: &str,
    category: &str,
    action: &str,
    mut process: Value,
    chain: &[Value],
) -> Value {
    process["parent"] = chain[0].clone();
    json!({
        "@timestamp": at,
        "event": {"id": id, "category": [category], "type": ["start"], "action": action,
            "dataset": format!("endpoint.events.{category}")},
        "host": {"id": "i-0abcdef0123456789", "name": "web-1"},
        "user": {"name": "root", "id": "0"},
        "process": process,
        "groundtrail": {"process": {"ancestors": chain}},
    })
}

fn call(id: &str, at: &str, action: &str, outcome: &str) -> Value {
    json!({
        "@timestamp": at,
        "event": {"id": id, "category": ["process"], "type": ["info"], "dataset": "aws.cloudtrail",
            "provider": "ssm.amazonaws.com", "action": action, "outcome": outcome},
        "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:sts::123456789012:assumed-role/deploy/alice"}}},
        "source": {"ip": "198.51.100.7", "address": "198.51.100.7"},
        "user_agent": {"original": "aws-cli/2.15.0 Python/3.11.6 Linux/6.1 exe/x86_64"},
    })
}

/// A command sent through Systems Manager, with what it started and what that did.
fn ssm_alert() -> Value {
    let systemd = process("e1", 1, "systemd", "/usr/lib/systemd/systemd --system");
    let agent = process("e2", 812, "amazon-ssm-agent", "/usr/bin/amazon-ssm-agent");
    let worker = process("e3", 2211, "ssm-document-worker", "/usr/bin/ssm-document-worker 11111111-2222");
    let sh = process(
        "e4",
        2212,
        "sh",
        "sh -c /var/lib/amazon/ssm/i-0abcdef0123456789/document/orchestration/_script.sh",
    );
    let curl = process(
        "e5",
        2213,
        "curl",
        "curl -s http://169.254.169.254/latest/meta-data/iam/security-credentials/web",
    );
    let id = process("e6", 2214, "id", "id");
    let up = [worker.clone(), agent.clone(), systemd.clone()];
    let up_sh = [sh.clone(), worker, agent, systemd];
    let mut connect =
        host_event("h3", "2026-03-01T12:00:03.250Z", "network", "connection_attempted", curl.clone(), &up_sh);
    connect["destination"] = json!({"ip": "169.254.169.254", "port": 80});
    connect["network"] = json!({"transport": "tcp"});
    connect["event"]["outcome"] = json!("unknown");
    json!({
        "@timestamp": "2026-03-01T12:00:00Z",
        "message": "alice (role deploy) sent a command to i-0abcdef0123456789 through Systems Manager; there it ran sh, curl and id as root.",
        "event": {"kind": "alert", "id": "9f86d081884c7d65", "dataset": "groundtrail.alert"},
        "rule": {"id": "6a1f0c1e-0000-4000-8000-000000000004", "name": "Command sent through Systems Manager", "version": "1"},
        "threat": [{"framework": "MITRE ATT&CK", "tactic": {"id": "TA0002", "name": "Execution"},
            "technique": [{"id": "T1651", "name": "Cloud Administration Command"}]}],
        "host": {"id": "i-0abcdef0123456789", "name": "web-1"},
        "cloud": {"account": {"id": "123456789012"}, "region": "eu-central-1", "instance": {"id": "i-0abcdef0123456789"}},
        "source": {"ip": "198.51.100.7"},
        "user_agent": {"original": "aws-cli/2.15.0 Python/3.11.6 Linux/6.1 exe/x86_64"},
        "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:sts::123456789012:assumed-role/deploy/alice",
            "type": "AssumedRole", "access_key_id": "ASIAEXAMPLEEXAMPLE12"}}},
        "groundtrail": {"alert": {
            "id": "9f86d081884c7d65", "revision": 1, "state": "open", "severity": "medium", "risk_score": 47,
            "join": {"groundtrail.link.ssm_command_id": "11111111-2222-3333-4444-555555555555"},
            "evidence": [{"stage": "match", "event": call("c1", "2026-03-01T12:00:00Z", "SendCommand", "success")}],
            "context": [{"name": "commands on the host", "more": 2, "events": [
                host_event("h1", "2026-03-01T12:00:02.100Z", "process", "exec", sh, &up),
                host_event("h2", "2026-03-01T12:00:03.200Z", "process", "exec", curl, &up_sh),
                connect,
                host_event("h4", "2026-03-01T12:00:03.900Z", "process", "exec", id, &up_sh),
                call("c2", "2026-03-01T12:00:09Z", "GetCommandInvocation", "success"),
                call("c3", "2026-03-01T12:00:10Z", "GetCommandInvocation", "success"),
                {"@timestamp": "2026-03-01T12:00:11Z", "event": {"id": "c4", "dataset": "aws.cloudtrail",
                    "provider": "s3.amazonaws.com", "action": "PutObject", "outcome": "failure"},
                    "aws": {"cloudtrail": {"error_code": "AccessDenied", "user_identity": {
                        "arn": "arn:aws:sts::123456789012:assumed-role/web/i-0abcdef0123456789"}}},
                    "source": {"ip": "203.0.113.9"}, "user_agent": {"original": "Boto3/1.34"}},
            ]}],
            "could_not_see": ["file events: the sensor's tier on web-1 does not cover them"],
        }},
    })
}

/// One host process and its connection, no API call.
fn imds_alert() -> Value {
    let bash = process("e1", 900, "bash", "-bash");
    let curl = process("e2", 901, "curl", "curl http://169.254.169.254/");
    let mut connect = host_event(
        "h2",
        "2026-03-01T00:00:00.010Z",
        "network",
        "connection_attempted",
        curl.clone(),
        std::slice::from_ref(&bash),
    );
    connect["destination"] = json!({"ip": "fd00:ec2::254", "port": 80});
    connect["event"]["outcome"] = json!("success");
    json!({
        "@timestamp": "2026-03-01T00:00:00.010Z",
        "message": "curl asked the metadata service.",
        "rule": {"name": "Unusual process asks the metadata service"},
        "groundtrail": {"alert": {"id": "a1", "revision": 1, "state": "open", "severity": "high",
            "evidence": [
                {"stage": "step 1", "event": host_event("h1", "2026-02-28T23:59:59.990Z", "process", "exec", curl, std::slice::from_ref(&bash))},
                {"stage": "step 2", "event": connect},
            ]}},
    })
}

#[track_caller]
fn check(shown: &str, expect: Expect, max_width: usize) {
    for line in shown.lines() {
        assert!(width(line) <= max_width, "{} columns: {line}", width(line));
    }
    expect.assert_eq(shown);
}

fn plain(width: usize) -> Style {
    Style { width, is_coloured: false }
}

#[test]
fn wide_terminals_show_tree_and_calls_side_by_side() {
    check(
        &alert(&ssm_alert(), plain(140)),
        expect![[r#"
            ▌ MEDIUM  Command sent through Systems Manager                                                                       2026-03-01 12:00:00 UTC
            ▌ alice (role deploy) sent a command to i-0abcdef0123456789 through Systems Manager; there it ran sh, curl and id as root.
            ▌
            ▌ PROCESSES  web-1 · i-0abcdef0123456789                                      │ API CALLS
            ▌              systemd(1)  /usr/lib/systemd/systemd --system                  │ assumed-role/deploy/alice · 198.51.100.7 · aws-cli/2.15.0
            ▌              └─ amazon-ssm-agent(812)                                       │ 12:00:00.000 ● ssm:SendCommand success ‹match›
            ▌                └─ ssm-document-worker(2211)  11111111-2222                  │ 12:00:09.000   ssm:GetCommandInvocation success ×2
            ▌ 12:00:02.100     └─ sh(2212) as root                                        │ assumed-role/web/i-0abcdef0123456789 · 203.0.113.9
            ▌                    │   -c /var/lib/amazon/ssm/i-0abcdef0123456789/document/ │ Boto3/1.34
            ▌                    │   orchestration/_script.sh                             │ 12:00:11.000   s3:PutObject AccessDenied
            ▌ 12:00:03.200       ├─ curl(2213)                                            │
            ▌                    │     -s http://169.254.169.254/latest/meta-data/iam/    │
            ▌                    │     security-credentials/web                           │
            ▌ 12:00:03.250       │     → 169.254.169.254:80 tcp                           │
            ▌ 12:00:03.900       └─ id(2214)                                              │
            ▌
            ▌ who       arn:aws:sts::123456789012:assumed-role/deploy/alice · AssumedRole · key ASIAEXAMPLEEXAMPLE12
            ▌ from      198.51.100.7 · aws-cli/2.15.0 Python/3.11.6 Linux/6.1 exe/x86_64
            ▌ where     account 123456789012 · eu-central-1 · instance i-0abcdef0123456789 · host web-1
            ▌ joined by groundtrail.link.ssm_command_id = 11111111-2222-3333-4444-555555555555
            ▌ more      2 further events of "commands on the host"
            ▌ unseen    file events: the sensor's tier on web-1 does not cover them
            ▌ att&ck    TA0002 Execution › T1651 Cloud Administration Command
            ▌ rule      6a1f0c1e-0000-4000-8000-000000000004 · version 1 · risk 47
            ▌ alert     9f86d081884c7d65 · revision 1 · open
        "#]],
        140,
    );
}

#[test]
fn narrow_terminals_show_the_tree_above_the_calls() {
    check(
        &alert(&ssm_alert(), plain(80)),
        expect![[r#"
            ▌ MEDIUM  Command sent through Systems Manager           2026-03-01 12:00:00 UTC
            ▌ alice (role deploy) sent a command to i-0abcdef0123456789 through Systems
            ▌ Manager; there it ran sh, curl and id as root.
            ▌
            ▌ PROCESSES  web-1 · i-0abcdef0123456789
            ▌          systemd(1)  /usr/lib/systemd/systemd --system
            ▌          └─ amazon-ssm-agent(812)
            ▌            └─ ssm-document-worker(2211)  11111111-2222
            ▌ 12:00:02     └─ sh(2212) as root
            ▌                │   -c /var/lib/amazon/ssm/i-0abcdef0123456789/document/
            ▌                │   orchestration/_script.sh
            ▌ 12:00:03       ├─ curl(2213)
            ▌                │     -s http://169.254.169.254/latest/meta-data/iam/
            ▌                │     security-credentials/web
            ▌ 12:00:03       │     → 169.254.169.254:80 tcp
            ▌ 12:00:03       └─ id(2214)
            ▌
            ▌ API CALLS
            ▌ assumed-role/deploy/alice · 198.51.100.7 · aws-cli/2.15.0
            ▌ 12:00:00 ● ssm:SendCommand success ‹match›
            ▌ 12:00:09   ssm:GetCommandInvocation success ×2
            ▌ assumed-role/web/i-0abcdef0123456789 · 203.0.113.9 · Boto3/1.34
            ▌ 12:00:11   s3:PutObject AccessDenied
            ▌
            ▌ who       arn:aws:sts::123456789012:assumed-role/deploy/alice · AssumedRole ·
            ▌           key ASIAEXAMPLEEXAMPLE12
            ▌ from      198.51.100.7 · aws-cli/2.15.0 Python/3.11.6 Linux/6.1 exe/x86_64
            ▌ where     account 123456789012 · eu-central-1 · instance i-0abcdef0123456789
            ▌           · host web-1
            ▌ joined by groundtrail.link.ssm_command_id = 11111111-2222-3333-4444-5555555555
            ▌           55
            ▌ more      2 further events of "commands on the host"
            ▌ unseen    file events: the sensor's tier on web-1 does not cover them
            ▌ att&ck    TA0002 Execution › T1651 Cloud Administration Command
            ▌ rule      6a1f0c1e-0000-4000-8000-000000000004 · version 1 · risk 47
            ▌ alert     9f86d081884c7d65 · revision 1 · open
        "#]],
        80,
    );
}

#[test]
fn a_single_half_takes_the_whole_width_and_days_are_told_apart() {
    check(
        &alert(&imds_alert(), plain(100)),
        expect![[r#"
        ▌ HIGH  Unusual process asks the metadata service                            2026-03-01 00:00:00 UTC
        ▌ curl asked the metadata service.
        ▌
        ▌ PROCESSES  web-1 · i-0abcdef0123456789
        ▌                bash(900)  -bash
        ▌ 02-28 23:59:59 └─● curl(901) as root ‹step 1›  http://169.254.169.254/
        ▌ 03-01 00:00:00     ● → [fd00:ec2::254]:80 success ‹step 2›
        ▌
        ▌ alert     a1 · revision 1 · open
    "#]],
        100,
    );
}

#[test]
fn a_revision_tells_what_was_gained() {
    let full = ssm_alert();
    let mut first = full.clone();
    first["groundtrail"]["alert"]["context"] = json!([]);
    first["groundtrail"]["alert"]["severity"] = json!("low");
    first["groundtrail"]["alert"]["could_not_see"] = json!(["no sensor event for host i-0abcdef0123456789"]);
    let mut second = full;
    second["groundtrail"]["alert"]["revision"] = json!(2);
    check(
        &revision(&second, &Shown::of(&first), plain(100)),
        expect![[r#"
            ▌ MEDIUM  Command sent through Systems Manager · revision 2                  2026-03-01 12:00:00 UTC
            ▌ gained 7 events, severity low → medium
            ▌ no longer unseen: no sensor event for host i-0abcdef0123456789
            ▌ unseen: file events: the sensor's tier on web-1 does not cover them
            ▌
            ▌ PROCESSES  web-1 · i-0abcdef0123456789                │ API CALLS
            ▌          systemd(1)  /usr/lib/systemd/systemd --syst… │ assumed-role/deploy/alice · 198.51.100.7
            ▌          └─ amazon-ssm-agent(812)                     │ aws-cli/2.15.0
            ▌            └─ ssm-document-worker(2211)               │ 12:00:09   ssm:GetCommandInvo… success ×2
            ▌              │   11111111-2222                        │ assumed-role/web/i-0abcdef0123456789
            ▌ 12:00:02     └─ sh(2212) as root                      │ 203.0.113.9 · Boto3/1.34
            ▌                │   -c /var/lib/amazon/ssm/            │ 12:00:11   s3:PutObject AccessDenied
            ▌                │   i-0abcdef0123456789/document/      │
            ▌                │   orchestration/_script.sh           │
            ▌ 12:00:03       ├─ curl(2213)                          │
            ▌                │     -s http://169.254.169.254/       │
            ▌                │     latest/meta-data/iam/            │
            ▌                │     security-credentials/web         │
            ▌ 12:00:03       │     → 169.254.169.254:80 tcp         │
            ▌ 12:00:03       └─ id(2214)                            │
            ▌
            ▌ alert     9f86d081884c7d65
        "#]],
        100,
    );
}

#[test]
fn what_is_new_is_placed_below_what_was_shown_before() {
    let full = ssm_alert();
    let mut first = full.clone();
    let events = first["groundtrail"]["alert"]["context"][0]["events"].as_array_mut().unwrap();
    events.retain(|event| event["event"]["id"] != "h4");
    check(
        &revision(&full, &Shown::of(&first), plain(80)),
        expect![[r#"
            ▌ MEDIUM  Command sent through Systems M… · revision 1   2026-03-01 12:00:00 UTC
            ▌ gained 1 event
            ▌
            ▌ PROCESSES  web-1 · i-0abcdef0123456789
            ▌          systemd(1)  /usr/lib/systemd/systemd --system
            ▌          └─ amazon-ssm-agent(812)
            ▌            └─ ssm-document-worker(2211)  11111111-2222
            ▌              └─ sh(2212) as root  -c /var/lib/amazon/ssm/i-0abcdef0123456789/…
            ▌ 12:00:03       └─ id(2214)
            ▌
            ▌ alert     9f86d081884c7d65
        "#]],
        80,
    );
}

#[test]
fn a_withdrawn_alert_is_two_lines() {
    let mut document = imds_alert();
    document["groundtrail"]["alert"]["state"] = json!("withdrawn");
    check(
        &alert(&document, plain(100)),
        expect![[r#"
        ▌ HIGH  Unusual process asks the metadata service · withdrawn                2026-03-01 00:00:00 UTC
        ▌ events that came later show that it did not happen this way; alert a1
    "#]],
        100,
    );
}

#[test]
fn colour_changes_nothing_but_colour() {
    let document = ssm_alert();
    let coloured = alert(&document, Style { width: 120, is_coloured: true });
    assert!(coloured.contains("\x1b["));
    assert_eq!(crate::untrusted::corpus::strip_own_colours(&coloured), alert(&document, plain(120)));
}

/// Puts the text in the place of every string of the document, keys and times excepted.
fn poison(value: &mut Value, text: &str) {
    match value {
        Value::String(held)
            if held.starts_with("2026-") || held.starts_with("endpoint.") || held.starts_with("aws.cl") => {}
        Value::String(held) if ["process", "network", "start"].contains(&held.as_str()) => {}
        // Ids keep apart what they kept apart.
        Value::String(held) if held.len() <= 2 => held.push_str(text),
        Value::String(held) => *held = text.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, text)),
        Value::Object(map) => map.values_mut().for_each(|item| poison(item, text)),
        _ => {}
    }
}

#[test]
fn hostile_strings_stay_inert_and_in_their_columns() {
    for text in hostile() {
        for mut document in [ssm_alert(), imds_alert()] {
            let before = Shown::of(&json!({}));
            poison(&mut document, &text);
            for columns in [40, 80, 100, 140] {
                for shown in [alert(&document, plain(columns)), revision(&document, &before, plain(columns))]
                {
                    assert_inert(&shown);
                    for line in shown.lines() {
                        assert!(line.starts_with('▌'), "a line of its own: {line:?}");
                        assert!(width(line) <= columns, "{} columns for {columns}: {line:?}", width(line));
                    }
                    assert!(shown.lines().count() < 200);
                }
            }
            assert_inert(&alert(&document, Style { width: 100, is_coloured: true }));
        }
    }
}

#[test]
fn a_ring_of_parents_ends() {
    let (one, two) = (process("e1", 1, "one", "one"), process("e2", 2, "two", "two"));
    let mut document = imds_alert();
    document["groundtrail"]["alert"]["evidence"] = json!([
        {"stage": "a", "event": host_event("h1", "2026-03-01T00:00:00Z", "process", "exec", one.clone(), std::slice::from_ref(&two))},
        {"stage": "b", "event": host_event("h2", "2026-03-01T00:00:01Z", "process", "exec", two, std::slice::from_ref(&one))},
    ]);
    let shown = alert(&document, plain(80));
    assert!(shown.contains("one(1)") && shown.contains("two(2)"), "{shown}");
}

#[test]
fn hostile_strings_in_an_incident_stay_inert() {
    for text in hostile() {
        let mut documents = [ssm_alert(), imds_alert()];
        documents.iter_mut().for_each(|document| poison(document, &text));
        for told in crate::incident::incidents(&documents, crate::incident::DEFAULT_WINDOW) {
            let shown = incident(&told, plain(100));
            assert_inert(&shown);
            assert!(shown.lines().all(|line| line.starts_with('▌')), "{shown}");
        }
    }
}

#[test]
fn the_conditions_that_were_met_are_shown_with_their_values() {
    let mut told = imds_alert();
    told["groundtrail"]["alert"]["window"] =
        json!({"start": "2026-02-28T23:59:59.990Z", "end": "2026-03-01T00:00:00.010Z"});
    told["groundtrail"]["alert"]["watermark"] = json!("2026-03-01T00:00:02.000Z");
    told["groundtrail"]["alert"]["evidence"][0]["matched"] = json!([
        {"clause": "process.name is one of \"curl\", \"wget\"", "field": "process.name", "value": "curl"},
        {"clause": "event.action is \"exec\"", "field": "event.action", "value": "exec"},
        {"clause": "user.name is not \"root\"", "field": "user.name", "value": null},
        {"clause": "length(process.args) > 2", "field": "process.args", "value": ["a\u{1b}[2J", "b"]},
    ]);
    let shown = explained(&told, plain(100));
    let why = shown.split("WHY IT FIRED").nth(1).unwrap();
    expect![[r#"

        ▌ step 1: event h1 at 2026-02-28T23:59:59.990Z
        ▌   process.name is one of "curl", "wget"  [curl]
        ▌   event.action is "exec"
        ▌   user.name is not "root"  [no value]
        ▌   length(process.args) > 2  [a\x1b[2J, b]
        ▌ step 2: event h2 at 2026-03-01T00:00:00.010Z
        ▌ window 2026-02-28T23:59:59.990Z to 2026-03-01T00:00:00.010Z
        ▌ watermark 2026-03-01T00:00:02.000Z
    "#]]
    .assert_eq(why);
}
