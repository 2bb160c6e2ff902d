//! What a sensor may say. Its certificate says which host it speaks for, and its events are held to that: not one of
//! them is of another host, of another instance, or of AWS.

use rules::event::Event;
use rules::schema::{FieldId, Schema};
use serde_json::{Map, Value};

use super::name::Named;

/// The data sets of a sensor. What AWS says comes from AWS.
const DATASETS: [&str; 2] = ["endpoint.", "groundtrail."];

/// Fields by which an event says whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claims {
    host: Option<FieldId>,
    instance: Option<FieldId>,
    link: Option<FieldId>,
    datasets: [Option<FieldId>; 2],
}

/// How an event's claims compare with what its sender may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    Rightly,
    /// It speaks for another host or instance: see [`corrected`].
    Wrongly,
    /// It is not a sensor's event at all.
    Foreign,
}

impl Claims {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            host: schema.id("host.id"),
            instance: schema.id("cloud.instance.id"),
            link: schema.id("groundtrail.link.instance_id"),
            datasets: [schema.id("event.dataset"), schema.id("data_stream.dataset")],
        }
    }

    /// `named` is none where nobody vouches: what comes over a Unix socket is taken at its word, as far as it is about
    /// hosts.
    pub(super) fn judge(&self, event: &Event, named: Option<&Named>) -> Claimed {
        let is_ours = |dataset: &str| DATASETS.iter().any(|ours| dataset.starts_with(ours));
        let is_own_dataset = all(event, self.datasets[0], is_ours)
            && all(event, self.datasets[1], is_ours)
            && event.index.strip_prefix("logs-").is_some_and(is_ours);
        if !is_own_dataset {
            return Claimed::Foreign;
        }
        let Some(named) = named else { return Claimed::Rightly };
        let instance = named.instance.as_deref();
        let is_host = self.host.and_then(|field| event.get(field)).is_some()
            && all(event, self.host, |host| *host == *named.host);
        let is_rightly = is_host
            && all(event, self.instance, |id| Some(id) == instance)
            && all(event, self.link, |id| Some(id) == instance || *id == *named.host);
        if is_rightly { Claimed::Rightly } else { Claimed::Wrongly }
    }
}

fn all(event: &Event, field: Option<FieldId>, is_right: impl Fn(&str) -> bool) -> bool {
    let value = field.and_then(|field| event.get(field));
    value.is_none_or(|value| value.scalars().iter().all(|value| value.as_str().is_some_and(&is_right)))
}

/// The event with what its sender may say, and nothing that it may not. What it claimed stays, as a claim.
pub(super) fn corrected(text: &str, named: &Named) -> Option<String> {
    let Ok(Value::Object(mut root)) = serde_json::from_str(text) else { return None };
    let claimed = find(&root, &["host", "id"]).or_else(|| root.get("host.id").cloned());
    for path in ["host.id", "cloud.instance.id", "groundtrail.link", "groundtrail.claimed_host_id"] {
        strip(&mut root, path);
    }
    put(&mut root, &["host", "id"], (*named.host).into());
    if let Some(instance) = &named.instance {
        put(&mut root, &["cloud", "instance", "id"], (**instance).into());
    }
    if let Some(Value::String(claimed)) = claimed.filter(|claimed| *claimed != *named.host) {
        put(&mut root, &["groundtrail", "claimed_host_id"], claimed.into());
    }
    serde_json::to_string(&root).ok()
}

fn find(root: &Map<String, Value>, path: &[&str]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let value = root.get(*first)?;
    match (rest.is_empty(), value) {
        (true, value) => Some(value.clone()),
        (false, Value::Object(inner)) => find(inner, rest),
        (false, _) => None,
    }
}

/// Removes a path however it is written: nested, dotted, or a part of each, in objects and in lists of them.
fn strip(map: &mut Map<String, Value>, path: &str) {
    map.retain(|key, value| {
        if key == path || key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')) {
            return false;
        }
        if let Some(rest) = path.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('.')) {
            strip_value(value, rest);
        }
        true
    });
}

fn strip_value(value: &mut Value, path: &str) {
    match value {
        Value::Object(map) => strip(map, path),
        Value::Array(items) => items.iter_mut().for_each(|item| strip_value(item, path)),
        _ => {}
    }
}

fn put(map: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        map.insert((*first).to_owned(), value);
        return;
    }
    let inner = map.entry((*first).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rules::event::EventTime;

    use super::*;
    use crate::source::Origin;
    use crate::source::normalize::Normalizer;

    fn named() -> Named {
        Named { host: "web-1".into(), instance: Some("i-0123456789abcdef0".into()), not_after: EventTime(0) }
    }

    fn judged(text: &str) -> Claimed {
        let schema = Arc::new(Schema::builtin());
        let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
        let record = normalizer.read(Origin::Sensor, text).unwrap();
        Claims::new(&schema).judge(&record.event, Some(&named()))
    }

    fn event(rest: &str) -> String {
        let dataset = r#""event":{"dataset":"endpoint.events.process"}"#;
        format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z",{dataset},{rest}}}"#)
    }

    #[test]
    fn ones_own_events_pass() {
        assert_eq!(judged(&event(r#""host":{"id":"web-1"}"#)), Claimed::Rightly);
        let of_instance = r#""host":{"id":"web-1"},"cloud":{"instance":{"id":"i-0123456789abcdef0"}}"#;
        assert_eq!(judged(&event(of_instance)), Claimed::Rightly);
    }

    /// Every way to say another's name that the reader understands.
    const FORGED: &[&str] = &[
        r#""host":{"id":"db-1"}"#,
        r#""host":{"id":["web-1","db-1"]}"#,
        r#""host":[{"id":"web-1"},{"id":"db-1"}]"#,
        r#""host.id":"db-1""#,
        r#""host":{"id":"web-1"},"host.id":"db-1""#,
        r#""host":{"id":"web-1"},"host":{"id":"db-1"}"#,
        r#""host":{"\u0069d":"db-1"}"#,
        r#""host":{"name":"web-1"}"#,
        r#""host":"db-1""#,
        r#""host":{"id":"web-1"},"cloud":{"instance":{"id":"i-0fedcba9876543210"}}"#,
        r#""host":{"id":"web-1"},"cloud.instance":{"id":"i-0fedcba9876543210"}"#,
        r#""host":{"id":"web-1"},"cloud.instance.id":"i-0fedcba9876543210""#,
        r#""host":{"id":"web-1"},"groundtrail":{"link":{"instance_id":["i-0fedcba9876543210"]}}"#,
        r#""host":{"id":"web-1"},"groundtrail.link":{"instance_id":"i-0fedcba9876543210"}"#,
    ];

    #[test]
    fn anothers_name_is_noticed_and_replaced_however_it_is_written() {
        for forged in FORGED {
            let text = event(forged);
            assert_eq!(judged(&text), Claimed::Wrongly, "{text}");
            let text = corrected(&text, &named()).unwrap();
            assert_eq!(judged(&text), Claimed::Rightly, "{text}");
            assert!(!text.contains("i-0fedcba9876543210"), "{text}");
        }
        let text = corrected(&event(FORGED[0]), &named()).unwrap();
        assert!(text.contains(r#""claimed_host_id":"db-1""#), "the claim itself is evidence: {text}");
    }

    #[test]
    fn a_sensor_does_not_speak_for_aws() {
        let host = r#""host":{"id":"web-1"}"#;
        for dataset in [
            r#""event":{"dataset":"aws.cloudtrail"}"#,
            r#""event.dataset":"aws.cloudtrail","event":{"dataset":"endpoint.events.process"}"#,
            r#""data_stream":{"dataset":"aws.cloudtrail"}"#,
            r#""event":{"dataset":"endpoint.events.process"},"data_stream":{"dataset":"aws.cloudtrail"}"#,
            r#""event":{"dataset":"endpoint.events.process"},"data_stream":{"type":"metrics"}"#,
            r#""event":{"kind":"event"}"#,
        ] {
            let text = format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z",{dataset},{host}}}"#);
            assert_eq!(judged(&text), Claimed::Foreign, "{text}");
        }
    }
}
