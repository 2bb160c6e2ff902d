//! Detection Findings, held to the attributes that OCSF 1.2.0 has, on every alert that the recorded traces lead to.

use std::collections::BTreeSet;

use super::*;
use crate::sink::Format;

/// An object's attributes: those it must have, those of which it must have one, and the others that we use.
struct Shape {
    name: &'static str,
    required: &'static [&'static str],
    one_of: &'static [&'static str],
    others: &'static [&'static str],
    /// Attributes that are objects, or lists of them, and their shapes.
    below: &'static [(&'static str, &'static str)],
}

const fn shape(
    name: &'static str,
    required: &'static [&'static str],
    one_of: &'static [&'static str],
    others: &'static [&'static str],
    below: &'static [(&'static str, &'static str)],
) -> Shape {
    Shape { name, required, one_of, others, below }
}

const SHAPES: &[Shape] = &[
    shape(
        "detection_finding",
        &[
            "activity_id",
            "category_uid",
            "class_uid",
            "type_uid",
            "time",
            "severity_id",
            "metadata",
            "finding_info",
        ],
        &[],
        &[
            "activity_name",
            "category_name",
            "class_name",
            "type_name",
            "start_time",
            "end_time",
            "severity",
            "status_id",
            "status",
            "message",
            "risk_score",
            "evidences",
            "resources",
            "device",
            "cloud",
            "observables",
            "unmapped",
        ],
        &[
            ("metadata", "metadata"),
            ("finding_info", "finding_info"),
            ("evidences", "evidences"),
            ("cloud", "cloud"),
            ("resources", "resource_details"),
            ("device", "device"),
            ("observables", "observable"),
        ],
    ),
    shape(
        "metadata",
        &["product", "version"],
        &[],
        &["profiles", "uid", "original_time", "event_code", "labels"],
        &[("product", "product")],
    ),
    shape("product", &["vendor_name"], &["name", "uid"], &["version"], &[]),
    shape(
        "finding_info",
        &["title", "uid"],
        &[],
        &[
            "desc",
            "src_url",
            "types",
            "analytic",
            "attacks",
            "related_events",
            "first_seen_time",
            "last_seen_time",
        ],
        &[("analytic", "analytic"), ("attacks", "attack"), ("related_events", "related_event")],
    ),
    shape("analytic", &["type_id"], &["name", "uid"], &["type", "version"], &[]),
    shape(
        "attack",
        &[],
        &["tactic", "technique", "sub_technique"],
        &[],
        &[("tactic", "entity"), ("technique", "entity"), ("sub_technique", "entity")],
    ),
    shape("entity", &[], &["name", "uid"], &["src_url"], &[]),
    shape("related_event", &["uid"], &[], &["type", "type_name"], &[]),
    shape(
        "evidences",
        &[],
        &["actor", "api", "connection_info", "data", "dst_endpoint", "file", "src_endpoint"],
        &["container"],
        &[
            ("actor", "actor"),
            ("api", "api"),
            ("connection_info", "connection"),
            ("dst_endpoint", "endpoint"),
            ("src_endpoint", "endpoint"),
            ("file", "file"),
            ("container", "entity"),
        ],
    ),
    shape("actor", &[], &["process", "user"], &[], &[("process", "process"), ("user", "user")]),
    shape(
        "process",
        &[],
        &["pid", "uid"],
        &["name", "cmd_line", "created_time", "file", "user", "parent_process"],
        &[("file", "file"), ("user", "user"), ("parent_process", "process")],
    ),
    shape(
        "user",
        &[],
        &["account", "name", "uid"],
        &["credential_uid", "type", "type_id"],
        &[("account", "account")],
    ),
    shape("account", &[], &["name", "uid"], &["type", "type_id"], &[]),
    shape("file", &["name", "type_id"], &[], &["path"], &[]),
    shape(
        "api",
        &["operation"],
        &[],
        &["service", "request", "response"],
        &[("service", "entity"), ("request", "request"), ("response", "response")],
    ),
    shape("request", &["uid"], &[], &[], &[]),
    shape("response", &[], &["error", "error_message"], &[], &[]),
    shape("endpoint", &[], &["ip", "hostname"], &["port"], &[]),
    shape("connection", &["direction_id"], &[], &["direction", "protocol_name"], &[]),
    shape("resource_details", &[], &["name", "uid"], &["type", "region"], &[]),
    shape(
        "device",
        &["type_id"],
        &[],
        &["type", "uid", "hostname", "ip", "instance_uid", "region", "os"],
        &[("os", "os")],
    ),
    shape("os", &["name", "type_id"], &[], &[], &[]),
    shape("cloud", &["provider"], &[], &["region", "zone", "account"], &[("account", "account")]),
    shape("observable", &["name", "type_id"], &[], &["type", "value"], &[]),
];

/// Everything about `value` that is not of the shape, with its place.
fn faults(value: &Value, name: &str, at: &str, faults: &mut Vec<String>) {
    let shape = SHAPES.iter().find(|shape| shape.name == name).unwrap();
    let Some(object) = value.as_object() else {
        faults.push(format!("{at} is no object"));
        return;
    };
    let missing = shape.required.iter().filter(|key| !object.contains_key(**key));
    faults.extend(missing.map(|key| format!("{at} lacks {key}")));
    if !shape.one_of.is_empty() && !shape.one_of.iter().any(|key| object.contains_key(*key)) {
        faults.push(format!("{at} has none of {:?}", shape.one_of));
    }
    for (key, value) in object {
        let all = shape.required.iter().chain(shape.one_of).chain(shape.others);
        if !all.into_iter().any(|known| known == key) {
            faults.push(format!("{at} has {key}, which OCSF does not know"));
        }
        if value.is_null() {
            faults.push(format!("{at}.{key} is null"));
        }
        if key.ends_with("_id") && !value.is_u64()
            || (key.ends_with("time") && key != "original_time" && !value.is_i64())
        {
            faults.push(format!("{at}.{key} is no number: {value}"));
        }
        if let Some((_, below)) = shape.below.iter().find(|(name, _)| name == key) {
            let items = value.as_array().map_or_else(|| vec![value], |items| items.iter().collect());
            for (item, n) in items.into_iter().zip(0..) {
                self::faults(item, below, &format!("{at}.{key}[{n}]"), faults);
            }
        }
    }
}

#[track_caller]
fn check(alert: &Value) -> Value {
    let finding = Format::Ocsf.document(alert);
    let mut found = Vec::new();
    faults(&finding, "detection_finding", "finding", &mut found);
    assert_eq!(found, [""; 0], "{finding:#}");
    assert_eq!(finding["class_uid"], 2004);
    assert_eq!(finding["type_uid"].as_u64().unwrap(), 200_400 + finding["activity_id"].as_u64().unwrap());
    finding
}

#[test]
fn every_alert_of_the_traces_is_a_finding_with_all_of_its_evidence() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/traces");
    let (mut n_alerts, mut seen) = (0, BTreeSet::new());
    for folder in std::fs::read_dir(traces).unwrap() {
        let path = folder.unwrap().path().join("alerts.expected.json");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let alerts: Vec<Value> = match serde_json::from_str(&text) {
            Ok(Value::Array(alerts)) => alerts,
            _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        };
        for alert in &alerts {
            let finding = check(alert);
            n_alerts += 1;
            let events = alert["groundtrail"]["alert"]["evidence"].as_array().unwrap();
            let evidences = finding["evidences"].as_array().unwrap();
            assert_eq!(evidences.len(), events.len().min(32));
            for (evidence, event) in evidences.iter().zip(events) {
                assert_eq!(evidence["data"]["event_id"], event["event"]["event"]["id"]);
                seen.extend(evidence.as_object().unwrap().keys().cloned());
            }
            assert_eq!(finding["finding_info"]["uid"], alert["groundtrail"]["alert"]["id"]);
            assert_eq!(finding["finding_info"]["title"], alert["rule"]["name"]);
        }
    }
    assert!(n_alerts > 10, "{n_alerts}");
    for kind in ["actor", "api", "dst_endpoint", "src_endpoint", "data"] {
        assert!(seen.contains(kind), "no alert of the traces has {kind}: {seen:?}");
    }
}

#[test]
fn both_halves_are_evidence_and_a_withdrawal_closes_the_finding() {
    let alert = json!({
        "@timestamp": "2026-11-02T10:00:00.5Z",
        "message": "A command came through Systems Manager.",
        "event": {"start": "2026-11-02T09:59:00Z", "end": "2026-11-02T10:00:00.5Z"},
        "rule": {"id": "r1", "name": "A rule", "version": "2", "description": "Says what."},
        "tags": ["Domain: Cloud"],
        "threat": [{"framework": "MITRE ATT&CK", "tactic": {"id": "TA0002", "name": "Execution", "reference": "https://attack.mitre.org/tactics/TA0002/"},
            "technique": [{"id": "T1651", "name": "Cloud Administration Command", "reference": "https://attack.mitre.org/techniques/T1651/",
                "subtechnique": [{"id": "T1651.001", "name": "Sub", "reference": "x"}]}]}],
        "host": {"id": "i-1", "name": "web-1", "os": {"type": "linux"}},
        "cloud": {"provider": "aws", "region": "eu-west-1", "account": {"id": "111122223333"}, "instance": {"id": "i-1"}},
        "related": {"ip": ["198.51.100.7"], "user": ["mallory"], "hosts": ["web-1"]},
        "groundtrail": {"alert": {
            "id": "a1", "revision": 3, "state": "withdrawn", "severity": "high", "risk_score": 73, "could_not_see": ["gap"],
            "evidence": [
                {"event": {"event": {"id": "e1", "dataset": "aws.cloudtrail", "action": "SendCommand", "provider": "ssm.amazonaws.com"},
                    "source": {"ip": "198.51.100.7"}, "user": {"name": "mallory"}, "cloud": {"account": {"id": "111122223333"}},
                    "aws": {"cloudtrail": {"request_id": "q1", "error_code": "AccessDenied",
                        "user_identity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory", "access_key_id": "AKIAEXAMPLE"}}}}},
                {"event": {"event": {"id": "e2", "dataset": "endpoint.events.process", "action": "exec"}, "user": {"id": "0", "name": "root"},
                    "process": {"pid": 7, "entity_id": "p7", "name": "sh", "executable": "/bin/sh", "command_line": "sh -c id",
                        "start": "2026-11-02T09:59:59Z", "parent": {"pid": 6, "entity_id": "p6", "name": "ssm-document-worker"}}}},
            ],
        }},
    });
    let finding = check(&alert);
    assert_eq!((&finding["activity_id"], &finding["status"]), (&json!(3), &json!("Suppressed")));
    assert_eq!((&finding["severity_id"], &finding["time"]), (&json!(4), &json!(1_793_613_600_500_i64)));
    assert_eq!(finding["metadata"]["uid"], "a1-3");
    let attack = &finding["finding_info"]["attacks"][0];
    assert_eq!(
        (&attack["tactic"]["uid"], &attack["sub_technique"]["uid"]),
        (&json!("TA0002"), &json!("T1651.001"))
    );
    let [cloud, host] = finding["evidences"].as_array().unwrap().as_slice() else { panic!("two halves") };
    assert_eq!(
        (&cloud["api"]["operation"], &cloud["api"]["response"]["error"]),
        (&json!("SendCommand"), &json!("AccessDenied"))
    );
    assert_eq!(cloud["actor"]["user"]["credential_uid"], "AKIAEXAMPLE");
    assert_eq!(host["actor"]["process"]["cmd_line"], "sh -c id");
    assert_eq!(host["actor"]["process"]["parent_process"]["uid"], "p6");
    assert_eq!(finding["device"]["instance_uid"], "i-1");
    assert_eq!(finding["unmapped"]["groundtrail.alert.could_not_see"], json!(["gap"]));
    check(&json!({}));
    let short: Value = serde_json::from_str(&Format::Ocsf.short(&alert, 1_500).unwrap()).unwrap();
    assert_eq!(short["finding_info"]["uid"], "a1");
    assert_eq!(short["unmapped"]["groundtrail.alert.is_shortened"], true);
}
