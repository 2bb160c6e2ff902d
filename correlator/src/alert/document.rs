//! The alert as an ECS document: everything sinks and renderers know.

use std::collections::BTreeSet;
use std::sync::Arc;

use rules::event::{EventTime, Value as Scalar};
use rules::rule::{Rule, Severity, Threat, ThreatEntry};
use serde_json::{Map, Value, json};

use super::{AlertId, AlertState, story};
use crate::identity::{HostCard, KeyCard};
use crate::keyed::{JoinKey, Match};
use crate::source::Record;
use crate::time;

/// What one context has to say, as documents.
pub(super) struct Explained {
    pub(super) name: String,
    pub(super) events: Vec<Value>,
    pub(super) n_more: u64,
    /// Part of the alert's sentence.
    pub(super) is_told: bool,
}

/// All that goes into a document.
pub(super) struct Parts<'a> {
    pub(super) id: &'a AlertId,
    pub(super) rule: &'a Rule,
    pub(super) key: &'a JoinKey,
    pub(super) key_names: &'a [Arc<str>],
    pub(super) found: &'a Match,
    /// The match's events, as in its evidence.
    pub(super) evidence: Vec<Arc<Record>>,
    /// By event of the evidence, the conditions that it meets.
    pub(super) matched: Vec<Vec<Value>>,
    /// The event whose time the alert bears.
    pub(super) at: Arc<Record>,
    pub(super) contexts: Vec<Explained>,
    pub(super) could_not_see: Vec<String>,
    /// What vouches for an absence.
    pub(super) rests_on: Vec<Value>,
    pub(super) severity: Severity,
    pub(super) risk_score: u64,
    pub(super) n_suppressed: u64,
    pub(super) hosts: Vec<HostCard>,
    pub(super) keys: Vec<KeyCard>,
}

/// Objects that an alert takes over from the first event that has them: the anchor's, then the evidence, then contexts.
const SECTIONS: &[&str] = &[
    "host",
    "cloud",
    "user",
    "process",
    "source",
    "destination",
    "user_agent",
    "container",
    "orchestrator",
    "file",
];

/// What the alert says, as its final form: without revision, which [`stamp`] adds.
pub(super) fn build(parts: Parts<'_>) -> Value {
    let Parts { found, rule, .. } = &parts;
    let documents: Vec<Value> = parts.evidence.iter().map(|record| record.document()).collect();
    // Mostly it is one of the evidence, and its document is made.
    let at_hand = parts.evidence.iter().position(|record| Arc::ptr_eq(record, &parts.at));
    let made = if at_hand.is_none() { Some(parts.at.document()) } else { None };
    let anchor = made.as_ref().or(at_hand.map(|idx| &documents[idx]));
    let evidence: Vec<&Value> = documents.iter().collect();
    let of_context = parts.contexts.iter().flat_map(|context| &context.events);
    let all: Vec<&Value> = anchor.into_iter().chain(&documents).chain(of_context).collect();

    let mut root = Map::new();
    root.insert("@timestamp".into(), time::format(found.at.time).into());
    root.insert("ecs".into(), json!({"version": "8.17.0"}));
    root.insert("message".into(), story::tell(&rule.name, &evidence, &parts.contexts).into());
    root.insert("event".into(), event(&parts, &evidence));
    root.insert("rule".into(), rule_object(rule));
    root.insert("tags".into(), json!(rule.tags));
    root.insert("threat".into(), threat(&rule.threat));
    for section in SECTIONS {
        if let Some(object) = all.iter().find_map(|document| at(document, section)) {
            root.insert((*section).into(), object.clone());
        }
    }
    if let Some(identity) = all.iter().find_map(|document| at(document, "aws.cloudtrail.user_identity")) {
        root.insert("aws".into(), object([("cloudtrail", object([("user_identity", identity.clone())]))]));
    }
    root.insert("related".into(), related(&all));
    root.insert("groundtrail".into(), object([("alert", own(parts, documents))]));
    Value::Object(root)
}

/// Takes values as they are: `json!` would copy whole documents, once for each object around them.
fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Adds what tells one revision from another, and what no event before was expected any more when it was told.
pub(super) fn stamp(
    mut document: Value,
    state: AlertState,
    revision: u32,
    watermark: Option<EventTime>,
) -> Value {
    if let Some(Value::Object(alert)) = document.pointer_mut("/groundtrail/alert") {
        alert.insert("state".into(), state.as_str().into());
        if state != AlertState::Final {
            alert.insert("revision".into(), revision.into());
            alert.insert("watermark".into(), watermark.map(time::format).into());
        }
    }
    document
}

fn event(parts: &Parts<'_>, evidence: &[&Value]) -> Value {
    let categories: BTreeSet<&str> =
        evidence.iter().flat_map(|document| texts(document, "event.category")).collect();
    json!({
        "kind": "alert",
        "id": parts.id.as_str(),
        "dataset": "groundtrail.alert",
        "category": categories,
        "severity": parts.risk_score,
        "risk_score": parts.risk_score,
        "start": time::format(parts.found.start),
        "end": time::format(parts.found.end),
    })
}

fn rule_object(rule: &Rule) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), rule.id.clone().into());
    object.insert("uuid".into(), rule.id.clone().into());
    object.insert("name".into(), rule.name.clone().into());
    object.insert("version".into(), rule.version.to_string().into());
    object.insert("description".into(), rule.description.trim().into());
    if let Some(reference) = rule.references.first() {
        object.insert("reference".into(), reference.clone().into());
    }
    Value::Object(object)
}

/// One entry per tactic.
fn threat(threats: &[Threat]) -> Value {
    let one = |threat: &Threat| {
        let techniques: Vec<Value> = threat
            .techniques
            .iter()
            .map(|technique| {
                let mut object = entry(&technique.entry);
                if !technique.subtechniques.is_empty() {
                    let below: Vec<Value> = technique.subtechniques.iter().map(entry).collect();
                    object["subtechnique"] = below.into();
                }
                object
            })
            .collect();
        json!({"framework": threat.framework, "tactic": entry(&threat.tactic), "technique": techniques})
    };
    threats.iter().map(one).collect()
}

fn entry(entry: &ThreatEntry) -> Value {
    json!({"id": entry.id, "name": entry.name, "reference": entry.reference})
}

fn related(all: &[&Value]) -> Value {
    let gather = |paths: &[&str]| -> BTreeSet<String> {
        let mut values = BTreeSet::new();
        for document in all {
            for path in paths {
                values.extend(texts(document, path).into_iter().map(str::to_owned));
            }
        }
        values
    };
    json!({
        "ip": gather(&["related.ip", "source.ip", "destination.ip"]),
        "user": gather(&["related.user", "user.name"]),
        "hosts": gather(&["related.hosts", "host.name", "host.id", "cloud.instance.id"]),
    })
}

fn own(parts: Parts<'_>, documents: Vec<Value>) -> Value {
    let Parts { id, rule, key, key_names, found, contexts, could_not_see, .. } = parts;
    let join: Map<String, Value> = key_names
        .iter()
        .zip(&key.0)
        .map(|(name, value)| (name.to_string(), value.as_deref().map_or(Value::Null, Value::from)))
        .collect();
    let evidence: Vec<Value> = found
        .evidence
        .iter()
        .zip(documents)
        .zip(parts.matched)
        .map(|((item, document), matched)| {
            object([
                ("stage", item.stage.to_string().into()),
                ("matched", matched.into()),
                ("event", document),
            ])
        })
        .collect();
    let contexts: Vec<Value> = contexts
        .into_iter()
        .map(|context| {
            object([
                ("name", context.name.into()),
                ("events", context.events.into()),
                ("more", context.n_more.into()),
            ])
        })
        .collect();
    let columns: Map<String, Value> =
        found.columns.iter().map(|(name, value)| (name.clone(), scalar(value))).collect();
    let window = [("start", time::format(found.start).into()), ("end", time::format(found.end).into())];
    let mut alert = object([
        ("id", id.as_str().into()),
        ("state", AlertState::Final.as_str().into()),
        ("severity", parts.severity.as_str().into()),
        ("risk_score", parts.risk_score.into()),
        ("join", Value::Object(join)),
        ("window", object(window)),
        ("evidence", evidence.into()),
        ("context", contexts.into()),
        ("columns", Value::Object(columns)),
        ("could_not_see", could_not_see.into()),
        ("rule_hash", rule.hash.clone().into()),
    ]);
    if !parts.hosts.is_empty() {
        alert["hosts"] = json!(parts.hosts);
    }
    if !parts.keys.is_empty() {
        alert["keys"] = json!(parts.keys);
    }
    let n_more = found.n_events.saturating_sub(found.evidence.len() as u64);
    if n_more > 0 {
        alert["evidence_more"] = n_more.into();
    }
    if parts.n_suppressed > 0 {
        alert["suppressed"] = parts.n_suppressed.into();
    }
    if rule.is_building_block {
        alert["building_block"] = true.into();
    }
    if found.is_absence {
        alert["rests_on_absence"] = true.into();
        alert["rests_on"] = parts.rests_on.into();
    }
    if !rule.note.trim().is_empty() {
        alert["note"] = rule.note.trim().into();
    }
    alert
}

pub(super) fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Str(text) => Value::from(&**text),
        Scalar::Int(int) => Value::from(*int),
        Scalar::Float(float) => Value::from(*float),
        Scalar::Bool(bool) => Value::from(*bool),
        Scalar::List(items) => items.iter().map(scalar).collect(),
    }
}

/// What a document has under a dotted path.
pub(super) fn at<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    path.split('.').try_fold(document, |value, name| value.get(name)).filter(|value| !value.is_null())
}

/// The first text under a path.
pub(super) fn text<'d>(document: &'d Value, path: &str) -> Option<&'d str> {
    texts(document, path).into_iter().next()
}

/// All texts under a path: itself, or a list's elements.
pub(super) fn texts<'d>(document: &'d Value, path: &str) -> Vec<&'d str> {
    match at(document, path) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
