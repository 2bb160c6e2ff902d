//! An alert as OCSF: class 2004, Detection Finding, of schema 1.2.0; later ones read it as well.
//!
//! One entry of `evidences` for each event of the alert's evidence, host and cloud alike. What OCSF has no place for is under
//! `unmapped`.

use serde_json::{Map, Value, json};

use crate::health::millis;
use crate::time;

const SCHEMA: &str = "1.2.0";
/// Beyond so many, evidence is counted and not repeated: receivers bound their events.
const MAX_EVIDENCE: usize = 32;

pub(super) fn finding(alert: &Value) -> Value {
    let own = &alert["groundtrail"]["alert"];
    let state = own["state"].as_str().unwrap_or_default();
    let (activity, activity_name) = match state {
        "open" => (1, "Create"),
        "withdrawn" => (3, "Close"),
        _ => (2, "Update"),
    };
    let (status, status_name) = if state == "withdrawn" { (3, "Suppressed") } else { (1, "New") };
    let (severity, severity_name) = match own["severity"].as_str() {
        Some("low") => (2, "Low"),
        Some("medium") => (3, "Medium"),
        Some("high") => (4, "High"),
        Some("critical") => (5, "Critical"),
        _ => (0, "Unknown"),
    };
    let mut profiles = vec!["host"];
    profiles.extend(alert["cloud"].is_object().then_some("cloud"));
    object([
        ("activity_id", Some(activity.into())),
        ("activity_name", Some(activity_name.into())),
        ("category_uid", Some(2.into())),
        ("category_name", Some("Findings".into())),
        ("class_uid", Some(2004.into())),
        ("class_name", Some("Detection Finding".into())),
        ("type_uid", Some((200_400 + activity).into())),
        ("type_name", Some(format!("Detection Finding: {activity_name}").into())),
        ("time", moment(alert, "@timestamp").or(Some(0.into()))),
        ("start_time", moment(alert, "event.start")),
        ("end_time", moment(alert, "event.end")),
        ("severity_id", Some(severity.into())),
        ("severity", Some(severity_name.into())),
        ("status_id", Some(status.into())),
        ("status", Some(status_name.into())),
        ("message", value(alert, "message")),
        ("metadata", Some(metadata(alert, own, &profiles))),
        ("finding_info", Some(info(alert, own))),
        ("risk_score", own.get("risk_score").cloned()),
        ("evidences", list(events(own).take(MAX_EVIDENCE).map(evidence))),
        ("resources", list(resources(alert).into_iter())),
        ("device", device(alert)),
        ("cloud", cloud(alert)),
        ("observables", list(observables(alert).into_iter())),
        ("unmapped", Some(unmapped(own))),
    ])
}

fn metadata(alert: &Value, own: &Value, profiles: &[&str]) -> Value {
    let (id, revision) = (own["id"].as_str().unwrap_or_default(), &own["revision"]);
    object([
        ("version", Some(SCHEMA.into())),
        (
            "product",
            Some(json!({
                "name": "groundtrail", "vendor_name": "groundtrail", "version": env!("CARGO_PKG_VERSION"),
            })),
        ),
        ("profiles", Some(json!(profiles))),
        ("uid", Some(format!("{id}-{revision}").into())),
        ("original_time", value(alert, "@timestamp")),
        ("event_code", value(alert, "rule.id")),
        (
            "labels",
            alert.get("tags").filter(|tags| tags.as_array().is_some_and(|tags| !tags.is_empty())).cloned(),
        ),
    ])
}

fn info(alert: &Value, own: &Value) -> Value {
    let related = events(own).filter_map(|event| {
        let uid = text(event, "event.id")?;
        Some(object([
            ("uid", Some(uid.into())),
            ("type", value(event, "event.dataset")),
            ("type_name", value(event, "event.action")),
        ]))
    });
    object([
        ("uid", Some(own["id"].as_str().unwrap_or("unknown").into())),
        ("title", Some(text(alert, "rule.name").unwrap_or("unknown").into())),
        ("desc", value(alert, "rule.description")),
        ("src_url", value(alert, "rule.reference")),
        ("types", alert.get("tags").filter(|tags| tags.is_array()).cloned()),
        (
            "analytic",
            Some(object([
                ("type_id", Some(1.into())),
                ("type", Some("Rule".into())),
                ("uid", value(alert, "rule.id")),
                ("name", value(alert, "rule.name").or(Some("unknown".into()))),
                ("version", value(alert, "rule.version")),
            ])),
        ),
        ("attacks", list(attacks(alert).into_iter())),
        ("related_events", list(related.take(MAX_EVIDENCE))),
        ("first_seen_time", moment(alert, "event.start")),
        ("last_seen_time", moment(alert, "event.end")),
    ])
}

/// An entry for each technique, and each sub-technique, with its tactic.
fn attacks(alert: &Value) -> Vec<Value> {
    let named = |of: &Value| {
        object([("uid", value(of, "id")), ("name", value(of, "name")), ("src_url", value(of, "reference"))])
    };
    let of = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut attacks = Vec::new();
    for threat in of(&alert["threat"]) {
        let tactic = named(&threat["tactic"]);
        let techniques = of(&threat["technique"]);
        if techniques.is_empty() {
            attacks.push(json!({"tactic": tactic}));
        }
        for technique in techniques {
            let below = of(&technique["subtechnique"]);
            let named_technique = named(&technique);
            if below.is_empty() {
                attacks.push(json!({"tactic": tactic, "technique": named_technique}));
            }
            for sub in below {
                let sub = named(&sub);
                attacks.push(json!({"tactic": tactic, "technique": named_technique, "sub_technique": sub}));
            }
        }
    }
    attacks
}

fn events(own: &Value) -> impl Iterator<Item = &Value> {
    own["evidence"].as_array().into_iter().flatten().map(|entry| &entry["event"])
}

fn evidence(event: &Value) -> Value {
    let process = process(&event["process"], event);
    let user = user(event);
    let actor = (process.is_some() || user.is_some()).then(|| object([("process", process), ("user", user)]));
    let file = text(event, "file.path").map(|path| {
        let name = text(event, "file.name").or_else(|| path.rsplit('/').next()).unwrap_or(path);
        json!({"name": name, "path": path, "type_id": 1})
    });
    let data = object([
        ("event_id", value(event, "event.id")),
        ("dataset", value(event, "event.dataset")),
        ("action", value(event, "event.action")),
        ("time", value(event, "@timestamp")),
        ("host", value(event, "host.id")),
    ]);
    let made = object([
        ("actor", actor),
        ("api", api(event)),
        ("src_endpoint", endpoint(event, "source")),
        ("dst_endpoint", endpoint(event, "destination")),
        ("connection_info", connection(event)),
        ("file", file),
        ("container", value(event, "container.id").map(|uid| json!({"uid": uid}))),
    ]);
    let Value::Object(mut made) = made else { return data };
    made.insert("data".to_owned(), data);
    made.into()
}

/// Only with what identifies it: a pid or our own id.
fn process(of: &Value, event: &Value) -> Option<Value> {
    let (pid, uid) = (value(of, "pid"), value(of, "entity_id"));
    if pid.is_none() && uid.is_none() {
        return None;
    }
    let file = text(of, "executable").map(|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        json!({"name": name, "path": path, "type_id": 1})
    });
    let user = text(event, "user.id")
        .map(|id| object([("uid", Some(id.into())), ("name", value(event, "user.name"))]));
    Some(object([
        ("pid", pid),
        ("uid", uid),
        ("name", value(of, "name")),
        ("cmd_line", value(of, "command_line")),
        ("created_time", moment(of, "start")),
        ("file", file),
        ("user", user),
        ("parent_process", of.get("parent").and_then(|parent| process(parent, &Value::Null))),
    ]))
}

/// A principal of AWS's.
fn user(event: &Value) -> Option<Value> {
    let identity = event.pointer("/aws/cloudtrail/user_identity")?;
    let (kind, kind_name) = match text(identity, "type") {
        Some("Root") => (2, "Admin"),
        Some("IAMUser") => (1, "User"),
        Some("AWSService") => (3, "System"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    };
    let account =
        value(event, "cloud.account.id").map(|uid| json!({"uid": uid, "type_id": 10, "type": "AWS Account"}));
    let user = object([
        ("uid", value(identity, "arn")),
        ("name", value(event, "user.name")),
        ("credential_uid", value(identity, "access_key_id")),
        ("account", account),
    ]);
    let Value::Object(mut user) = user else { return None };
    if user.is_empty() {
        return None;
    }
    user.insert("type_id".to_owned(), kind.into());
    user.insert("type".to_owned(), text(identity, "type").unwrap_or(kind_name).into());
    Some(user.into())
}

fn api(event: &Value) -> Option<Value> {
    if text(event, "event.dataset") != Some("aws.cloudtrail") {
        return None;
    }
    let operation = text(event, "event.action")?;
    let request = text(event, "aws.cloudtrail.request_id").map(|uid| json!({"uid": uid}));
    let response = text(event, "aws.cloudtrail.error_code").map(|error| {
        object([
            ("error", Some(error.into())),
            ("error_message", value(event, "aws.cloudtrail.error_message")),
        ])
    });
    Some(object([
        ("operation", Some(operation.into())),
        ("service", value(event, "event.provider").map(|name| json!({"name": name}))),
        ("request", request),
        ("response", response),
    ]))
}

fn endpoint(event: &Value, side: &str) -> Option<Value> {
    let of = event.get(side)?;
    let (ip, domain) = (value(of, "ip"), value(of, "domain"));
    (ip.is_some() || domain.is_some())
        .then(|| object([("ip", ip), ("hostname", domain), ("port", value(of, "port"))]))
}

fn connection(event: &Value) -> Option<Value> {
    let (direction, name) = match text(event, "network.direction") {
        Some("ingress" | "inbound") => (1, "Inbound"),
        Some("egress" | "outbound") => (2, "Outbound"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    };
    let protocol = value(event, "network.transport");
    (direction != 0 || protocol.is_some()).then(|| {
        object([
            ("direction_id", Some(direction.into())),
            ("direction", Some(name.into())),
            ("protocol_name", protocol),
        ])
    })
}

fn device(alert: &Value) -> Option<Value> {
    let host = alert.get("host").filter(|host| host.is_object())?;
    let instance = value(alert, "cloud.instance.id");
    let (kind, name) = if instance.is_some() { (6, "Virtual") } else { (0, "Unknown") };
    Some(object([
        ("type_id", Some(kind.into())),
        ("type", Some(name.into())),
        ("uid", value(host, "id")),
        ("hostname", value(host, "name")),
        ("ip", value(host, "ip")),
        ("instance_uid", instance),
        ("region", value(alert, "cloud.region")),
        (
            "os",
            text(host, "os.type")
                .map(|name| json!({"name": name, "type_id": if name == "linux" { 200 } else { 0 }})),
        ),
    ]))
}

fn cloud(alert: &Value) -> Option<Value> {
    let cloud = alert.get("cloud").filter(|cloud| cloud.is_object())?;
    Some(object([
        ("provider", Some(text(cloud, "provider").unwrap_or("aws").to_uppercase().into())),
        ("region", value(cloud, "region")),
        ("zone", value(cloud, "availability_zone")),
        (
            "account",
            value(cloud, "account.id").map(|uid| json!({"uid": uid, "type_id": 10, "type": "AWS Account"})),
        ),
    ]))
}

/// What was acted on or with: the hosts, and the principals of AWS's.
fn resources(alert: &Value) -> Vec<Value> {
    let mut resources = Vec::new();
    if let Some(uid) = value(alert, "cloud.instance.id") {
        resources.push(object([
            ("uid", Some(uid)),
            ("name", value(alert, "host.name")),
            ("type", Some("AWS::EC2::Instance".into())),
            ("region", value(alert, "cloud.region")),
        ]));
    } else if let Some(uid) = value(alert, "host.id") {
        let name = value(alert, "host.name");
        resources.push(object([("uid", Some(uid)), ("name", name), ("type", Some("host".into()))]));
    }
    if let Some(uid) = value(alert, "aws.cloudtrail.user_identity.arn") {
        resources.push(json!({"uid": uid, "type": "AWS::IAM::Principal"}));
    }
    resources
}

fn observables(alert: &Value) -> Vec<Value> {
    let kinds = [("ip", 2, "IP Address"), ("hosts", 1, "Hostname"), ("user", 4, "User Name")];
    let mut observables = Vec::new();
    for (key, kind, name) in kinds {
        for value in alert["related"][key].as_array().into_iter().flatten() {
            observables.push(json!({
                "name": format!("related.{key}"), "type_id": kind, "type": name, "value": value,
            }));
        }
    }
    observables
}

fn unmapped(own: &Value) -> Value {
    let n_events = events(own).count();
    let kept = [
        "revision",
        "state",
        "could_not_see",
        "join",
        "note",
        "rests_on_absence",
        "is_test",
        "is_shortened",
        "suppressed",
    ];
    let mut unmapped: Map<String, Value> = kept
        .iter()
        .filter_map(|key| Some((format!("groundtrail.alert.{key}"), own.get(key)?.clone())))
        .collect();
    if n_events > MAX_EVIDENCE {
        unmapped.insert("groundtrail.alert.evidence_more".to_owned(), (n_events - MAX_EVIDENCE).into());
    }
    unmapped.into()
}

/// Without what is not known, and what would be empty.
fn object<const N: usize>(attributes: [(&str, Option<Value>); N]) -> Value {
    let known = attributes.into_iter().filter_map(|(name, value)| {
        let value =
            value.filter(|value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()))?;
        Some((name.to_owned(), value))
    });
    Value::Object(known.collect())
}

fn list(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then(|| items.into())
}

/// Milliseconds since 1970.
fn moment(of: &Value, path: &str) -> Option<Value> {
    text(of, path).and_then(time::parse).map(|time| millis(time).into())
}

/// The first of what is under a dotted path.
fn value(of: &Value, path: &str) -> Option<Value> {
    let found = path.split('.').try_fold(of, |value, name| value.get(name))?;
    let found = found.as_array().map_or(Some(found), |items| items.first())?;
    (!found.is_null()).then(|| found.clone())
}

fn text<'v>(of: &'v Value, path: &str) -> Option<&'v str> {
    let found = path.split('.').try_fold(of, |value, name| value.get(name))?;
    found.as_array().map_or(Some(found), |items| items.first())?.as_str()
}
