//! An alert as an event, for rules over alerts: the fields of the event whose time it bears, and what Kibana's alerts say
//! of themselves.

use rules::rule::{Rule, Severity, Threat};
use serde_json::{Map, Value, json};

use super::AlertId;
use crate::keyed::Match;
use crate::source::Record;
use crate::time;

/// Fields of the original event that keep a name of their own.
const ORIGINAL: [&str; 9] =
    ["action", "category", "dataset", "id", "kind", "module", "outcome", "provider", "type"];

/// The document. It depends on the match alone: neither on what explains the alert nor on whether it is suppressed.
pub(crate) fn document(
    id: &AlertId,
    rule: &Rule,
    found: &Match,
    at: &Record,
    severity: Severity,
    risk_score: u64,
) -> Value {
    let mut root = match at.document() {
        Value::Object(root) => root,
        _ => Map::new(),
    };
    let mut event = match root.remove("event") {
        Some(Value::Object(event)) => event,
        _ => Map::new(),
    };
    // A producer may write paths with dots, and whatever it says about alerts is not ours.
    for name in root.keys().filter(|name| name.starts_with("event.")).cloned().collect::<Vec<_>>() {
        if let Some(value) = root.remove(&name) {
            event.insert(name["event.".len()..].to_owned(), value);
        }
    }
    root.retain(|name, _| !name.starts_with("kibana.") && !name.starts_with("signal."));
    let original: Map<String, Value> =
        ORIGINAL.iter().filter_map(|name| Some((name.to_string(), event.get(*name)?.clone()))).collect();
    event.insert("kind".into(), "signal".into());
    event.insert("id".into(), id.as_str().into());
    let mut alert = json!({
        "uuid": id.as_str(),
        "severity": severity.as_str(),
        "risk_score": risk_score,
        "status": "active",
        "workflow_status": "open",
        "depth": 1,
        "original_time": time::format(found.at.time),
        "original_event": original,
        "rule": {
            "consumer": "siem",
            "name": rule.name,
            "description": rule.description.trim(),
            "rule_id": rule.id,
            "uuid": rule.id,
            "type": rule.kind.as_str(),
            "tags": rule.tags,
            "threat": threat(&rule.threat),
        },
    });
    if rule.is_building_block {
        alert["building_block_type"] = "default".into();
    }
    root.insert("@timestamp".into(), time::format(found.at.time).into());
    root.insert("event".into(), event.into());
    root.insert(
        "signal".into(),
        json!({"rule": {
            "name": rule.name,
            "tags": rule.tags,
            "threat": threat(&rule.threat),
        }}),
    );
    root.insert("kibana".into(), json!({"alert": alert}));
    Value::Object(root)
}

fn threat(threats: &[Threat]) -> Value {
    let one = |threat: &Threat| {
        let techniques: Vec<Value> = threat
            .techniques
            .iter()
            .map(|technique| json!({"id": technique.entry.id, "name": technique.entry.name}))
            .collect();
        json!({"tactic": {"id": threat.tactic.id, "name": threat.tactic.name}, "technique": techniques})
    };
    threats.iter().map(one).collect()
}
