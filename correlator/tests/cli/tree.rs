//! Processes as a tree, from a store, from alerts, from recorded events.

use serde_json::Value;

use crate::{demo, demo_trace, groundtrail};

const HOST: &str = "ip-10-0-1-10";

#[test]
fn a_pid_is_drawn_with_what_is_above_and_below_it() {
    // The worker of Systems Manager's agent.
    let drawn = groundtrail(demo(), &["tree", HOST, "26371", "--store", "gt.db"], "");
    assert_eq!((drawn.code, drawn.stderr.as_str()), (0, ""));
    let row = |with: &str| {
        let found = drawn.stdout.lines().position(|line| line.contains(with));
        found.unwrap_or_else(|| panic!("\"{with}\" is missing:\n{}", drawn.stdout))
    };
    assert!(row("amazon-ssm-agent(") < row("ssm-document-worker(26371)"), "{}", drawn.stdout);
    assert!(row("ssm-document-worker(26371)") < row("_script.sh"), "{}", drawn.stdout);
    assert!(drawn.stdout.contains("as root"), "{}", drawn.stdout);
    assert!(!drawn.stdout.contains("list-functions"), "a cousin is no part of it:\n{}", drawn.stdout);
    assert!(row("11:57:55") > 0, "times are told");
}

#[test]
fn the_processes_of_an_alert_are_drawn_with_what_they_connected_to_and_the_alerts_on_them() {
    let alerts = groundtrail(demo(), &["tail", "--no-follow", "--store", "gt.db", "-o", "ndjson"], "");
    let alerts: Vec<Value> = alerts.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asks = |alert: &&Value| alert["rule"]["name"] == "Unusual process asks the instance metadata service";
    let id = alerts.iter().find(asks).unwrap()["groundtrail"]["alert"]["id"].as_str().unwrap();

    let drawn = groundtrail(demo(), &["tree", "--alert", &id[..10], "--store", "gt.db"], "");
    assert_eq!((drawn.code, drawn.stderr.as_str()), (0, ""));
    for part in ["curl(", "→ 169.254.169.254:80", "ALERTS", &id[..8], "Unusual process asks"] {
        assert!(drawn.stdout.contains(part), "{part} is missing:\n{}", drawn.stdout);
    }

    let json = groundtrail(demo(), &["tree", "--alert", id, "--store", "gt.db", "-o", "ndjson"], "");
    let members: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let curl = members.iter().find(|member| member["name"] == "curl").unwrap();
    assert_eq!(curl["alerts"][0]["alert"], id);
    assert!(curl["deeds"].as_array().unwrap().iter().any(|deed| deed["what"] == "→ 169.254.169.254:80 tcp"));
    let parent = members.iter().find(|member| member["entity_id"] == curl["parent_entity_id"]).unwrap();
    assert_eq!(parent["depth"].as_u64().unwrap() + 1, curl["depth"].as_u64().unwrap());
    let csv = groundtrail(demo(), &["tree", "--alert", id, "--store", "gt.db", "-o", "csv"], "");
    assert!(csv.stdout.starts_with("host,depth,time,pid,user,name,command_line,exit_code,deeds,alerts\r\n"));
    // A command line may hold newlines of its own.
    let n_rows = csv.stdout.lines().filter(|line| line.starts_with("ip-10-0-1-10.ec2.internal")).count();
    assert_eq!(n_rows, members.len());
}

#[test]
fn recorded_events_need_no_store() {
    let events = demo_trace().join("host.ndjson");
    let args = ["tree", HOST, "--host", events.to_str().unwrap()];
    let drawn = groundtrail(demo(), &args, "");
    assert_eq!((drawn.code, drawn.stderr.as_str()), (0, ""));
    assert!(drawn.stdout.contains("amazon-ssm-agent") && drawn.stdout.contains("list-functions"));
}

#[test]
fn whoever_is_not_known_is_answered_with_who_is() {
    let unknown = groundtrail(demo(), &["tree", "db-7", "1", "--store", "gt.db"], "");
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("ip-10-0-1-10.ec2.internal"), "{}", unknown.stderr);
    let unknown = groundtrail(demo(), &["tree", HOST, "999999", "--store", "gt.db"], "");
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("groundtrail tree ip-10-0-1-10"), "{}", unknown.stderr);
    let unknown = groundtrail(demo(), &["tree", "--alert", "zz", "--store", "gt.db"], "");
    assert_eq!(unknown.code, 1);
    assert_eq!(groundtrail(demo(), &["tree", "--store", "gt.db"], "").code, 2);
    assert_eq!(groundtrail(demo(), &["tree", HOST, "1"], "").code, 2);
    assert_eq!(groundtrail(demo(), &["tree", HOST, "1", "--store", "no.db"], "").code, 3);
}
