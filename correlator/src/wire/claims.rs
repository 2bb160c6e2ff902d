//! What a sensor may say. Its certificate says which host it speaks for, and its events are held to that: not one of
//! them is of another host, of another instance, or of AWS.

use rules::event::Event;
use rules::schema::{FieldId, Schema};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::name::Named;

/// The data sets of a sensor. What AWS says comes from AWS, and what we say of its logs from ourselves.
fn is_of_sensors(dataset: &str) -> bool {
    dataset.starts_with("endpoint.") || dataset == "groundtrail.sensor"
}

/// Whether an index is one that a sensor's events have: `logs-endpoint.events.process-default`.
fn is_index_of_sensors(index: &str) -> bool {
    let name = index.strip_prefix("logs-").unwrap_or_default();
    name.starts_with("endpoint.") || name.starts_with("groundtrail.sensor-")
}

/// Whether an event may be called so by this host. Ids are names over all sources, and the first event under one is the
/// one that counts: a sensor that could give CloudTrail's id of an event would make that event a repetition of its own.
fn is_own_id(id: &str, host: &str) -> bool {
    // 128 bits in base64, which hold the boot id that nobody else knows.
    let is_of_our_sensor =
        id.len() == 22 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    let is_after_the_host = |rest: &str| rest.len() > 1 && rest.starts_with(['.', '-', ':', '/']);
    is_of_our_sensor || id.strip_prefix(host).is_some_and(is_after_the_host)
}

/// Whether a data set is one that a producer on a host has no business with: AWS's, or our own about them.
fn is_of_others(dataset: &str) -> bool {
    dataset.starts_with("aws.") || (dataset.starts_with("groundtrail.") && dataset != "groundtrail.sensor")
}

/// Fields by which an event says whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claims {
    host: Option<FieldId>,
    instance: Option<FieldId>,
    link: Option<FieldId>,
    id: Option<FieldId>,
    datasets: [Option<FieldId>; 2],
}

/// How an event's claims compare with what its sender may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    Rightly,
    /// It speaks for another host or instance: see [`corrected`].
    Wrongly,
    /// Its id is not one that only this host could have given: see [`corrected`].
    Misnamed,
    /// It is not a sensor's event at all.
    Foreign,
}

impl Claims {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            host: schema.id("host.id"),
            instance: schema.id("cloud.instance.id"),
            link: schema.id("groundtrail.link.instance_id"),
            id: schema.id("event.id"),
            datasets: [schema.id("event.dataset"), schema.id("data_stream.dataset")],
        }
    }

    /// Whether an event, of whatever producer on a host, pretends to be one of AWS's or ours.
    pub(crate) fn is_disguised(&self, event: &Event) -> bool {
        let is_own = |dataset: &str| !is_of_others(dataset);
        let index = event.index.strip_prefix("logs-").unwrap_or(&event.index);
        let index = index.split_once('-').map_or(index, |(dataset, _)| dataset);
        is_of_others(index) || !self.datasets.into_iter().all(|field| all(event, field, is_own))
    }

    /// `named` is none where nobody vouches: what comes over a Unix socket is taken at its word, as far as it is about
    /// hosts.
    pub(super) fn judge(&self, event: &Event, named: Option<&Named>) -> Claimed {
        let is_own_dataset = all(event, self.datasets[0], is_of_sensors)
            && all(event, self.datasets[1], is_of_sensors)
            && is_index_of_sensors(&event.index);
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
        if !is_rightly {
            Claimed::Wrongly
        } else if all(event, self.id, |id| is_own_id(id, &named.host)) {
            Claimed::Rightly
        } else {
            Claimed::Misnamed
        }
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
    let id = find(&root, &["event", "id"]).or_else(|| root.get("event.id").cloned());
    for path in
        ["host.id", "cloud.instance.id", "event.id", "groundtrail.link", "groundtrail.claimed_host_id"]
    {
        strip(&mut root, path);
    }
    // Without an id it is called by what it says.
    let id = match id {
        Some(Value::String(id)) => id,
        _ => short_name(text),
    };
    let id = if is_own_id(&id, &named.host) { id } else { format!("{}:{id}", named.host) };
    put(&mut root, &["event", "id"], id.into());
    put(&mut root, &["host", "id"], (*named.host).into());
    if let Some(instance) = &named.instance {
        put(&mut root, &["cloud", "instance", "id"], (**instance).into());
    }
    if let Some(Value::String(claimed)) = claimed.filter(|claimed| *claimed != *named.host) {
        put(&mut root, &["groundtrail", "claimed_host_id"], claimed.into());
    }
    serde_json::to_string(&root).ok()
}

fn short_name(text: &str) -> String {
    crate::hex::hex(&Sha256::digest(text.as_bytes())[..16])
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
        let dataset = r#""event":{"dataset":"endpoint.events.process","id":"RLMM60C3APMmHfDK+/43vA"}"#;
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
    fn an_id_that_another_source_could_give_becomes_the_hosts_own() {
        let event = |id: &str| {
            format!(
                r#"{{"@timestamp":"2026-11-02T10:00:00Z","event":{{"dataset":"endpoint.events.process","id":{id}}},"host":{{"id":"web-1"}}}}"#
            )
        };
        for own in [r#""RLMM60C3APMmHfDK+/43vA""#, r#""web-1-17""#, r#""web-1:x""#] {
            assert_eq!(judged(&event(own)), Claimed::Rightly, "{own}");
        }
        for (foreign, named_so) in [
            // CloudTrail's, a digest's, another host's, and what only looks like a host's own.
            (r#""e3b0c442-98fc-4c14-9afb-f4c8996fb924""#, "web-1:e3b0c442-98fc-4c14-9afb-f4c8996fb924"),
            (r#""e3b0c44298fc1c149afbf4c8996fb924""#, "web-1:e3b0c44298fc1c149afbf4c8996fb924"),
            (r#""db-1-17""#, "web-1:db-1-17"),
            (r#""web-1""#, "web-1:web-1"),
            (r#""web-17""#, "web-1:web-17"),
        ] {
            let text = event(foreign);
            assert_eq!(judged(&text), Claimed::Misnamed, "{text}");
            let text = corrected(&text, &named()).unwrap();
            assert_eq!(judged(&text), Claimed::Rightly, "{text}");
            let root: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(root["event"]["id"], named_so, "{text}");
            assert_eq!(root["groundtrail"]["claimed_host_id"], Value::Null, "{text}");
        }
        for unnamed in ["null", r#"["RLMM60C3APMmHfDK+/43vA","db-1-17"]"#] {
            let text = corrected(&event(unnamed), &named()).unwrap();
            assert_eq!(judged(&text), Claimed::Rightly, "{text}");
        }
    }

    #[test]
    fn a_sensor_does_not_speak_for_aws() {
        let host = r#""host":{"id":"web-1"}"#;
        for dataset in [
            r#""event":{"dataset":"aws.cloudtrail"}"#,
            r#""event.dataset":"aws.cloudtrail","event":{"dataset":"endpoint.events.process"}"#,
            r#""data_stream":{"dataset":"aws.cloudtrail"}"#,
            r#""event":{"dataset":"groundtrail.feed"}"#,
            r#""event":{"dataset":"groundtrail.alert"}"#,
            r#""event":{"dataset":"endpoint.events.process"},"data_stream":{"dataset":"aws.cloudtrail"}"#,
            r#""event":{"dataset":"endpoint.events.process"},"data_stream":{"type":"metrics"}"#,
            r#""event":{"kind":"event"}"#,
        ] {
            let text = format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z",{dataset},{host}}}"#);
            assert_eq!(judged(&text), Claimed::Foreign, "{text}");
        }
    }
}
