//! GuardDuty findings, in the camelCase of exports and EventBridge or the PascalCase of the API, to ECS.
//!
//! A finding is updated in place for as long as it goes on: one id, new `updatedAt`. Each update is an event of its
//! own here; that they are one finding is said by `aws.guardduty.id`.

use std::borrow::Cow;
use std::net::IpAddr;

use rules::event::EventTime;

use crate::link;
use crate::source::json::Json;
use crate::source::{FieldSink, Scalar};
use crate::time;

pub(crate) const DATASET: &str = "aws.guardduty";

/// What identifies one update of a finding.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) time: EventTime,
}

/// A key in either spelling.
fn get<'j, 'a>(json: &'j Json<'a>, camel: &str) -> Option<&'j Json<'a>> {
    json.get(camel).or_else(|| {
        let mut pascal = camel.to_owned();
        pascal[..1].make_ascii_uppercase();
        json.get(&pascal)
    })
}

fn at<'j, 'a>(json: &'j Json<'a>, keys: &[&str]) -> Option<&'j Json<'a>> {
    keys.iter().try_fold(json, |value, key| get(value, key))
}

fn text<'j>(json: &'j Json<'_>, keys: &[&str]) -> Option<&'j str> {
    at(json, keys)?.str()
}

/// Whether a document is one.
pub(crate) fn is_finding(json: &Json<'_>) -> bool {
    get(json, "service").is_some_and(Json::is_object)
        && text(json, &["type"]).is_some()
        && get(json, "severity").is_some()
}

pub(crate) fn head(json: &Json<'_>) -> Option<Head> {
    let updated = text(json, &["updatedAt"])
        .or_else(|| text(json, &["service", "eventLastSeen"]))
        .or_else(|| text(json, &["createdAt"]))?;
    let time = time::parse(updated)?;
    let id = text(json, &["id"]).or_else(|| text(json, &["arn"]))?;
    Some(Head { id: format!("{id}@{}", time::format(time)), time })
}

/// GuardDuty's own bands. The console calls 9 and more critical.
pub(crate) fn severity_label(severity: f64) -> &'static str {
    match severity {
        value if value >= 9.0 => "critical",
        value if value >= 7.0 => "high",
        value if value >= 4.0 => "medium",
        _ => "low",
    }
}

pub(crate) fn map(json: &Json<'_>, sink: &mut dyn FieldSink) {
    let mut leaves: Vec<(String, Cow<'_, str>)> = Vec::new();
    snake_leaves(json, &mut "aws.guardduty".to_owned(), &mut |path, scalar| {
        if let Scalar::Str(text) = scalar {
            leaves.push((path.to_owned(), Cow::Borrowed(text)));
        }
        // Elastic splits the severity into a number and a word.
        if path != "aws.guardduty.severity" {
            sink.put(path, scalar);
        }
    });
    let mut put = |path: &str, value: Option<&str>| {
        if let Some(value) = value {
            sink.put(path, Scalar::Str(value));
        }
    };
    put("event.kind", Some("alert"));
    put("event.category", Some("intrusion_detection"));
    put("event.type", Some("info"));
    put("event.module", Some("aws"));
    put("event.provider", Some("guardduty.amazonaws.com"));
    put("event.dataset", Some(DATASET));
    put("data_stream.type", Some("logs"));
    put("data_stream.dataset", Some(DATASET));
    put("data_stream.namespace", Some("default"));
    put("ecs.version", Some("8.17.0"));
    put("event.action", text(json, &["type"]));
    put("message", text(json, &["title"]).or_else(|| text(json, &["description"])));
    put("rule.name", text(json, &["title"]));
    put("rule.category", text(json, &["type"]));
    put("cloud.provider", Some("aws"));
    put("cloud.service.name", Some("guardduty"));
    put("cloud.account.id", text(json, &["accountId"]));
    put("cloud.region", text(json, &["region"]));
    let instance = at(json, &["resource", "instanceDetails"]);
    let of_instance = |keys: &[&str]| instance.and_then(|instance| text(instance, keys));
    put("cloud.instance.id", of_instance(&["instanceId"]));
    put("host.id", of_instance(&["instanceId"]));
    put("cloud.machine.type", of_instance(&["instanceType"]));
    put("cloud.availability_zone", of_instance(&["availabilityZone"]));
    let key = at(json, &["resource", "accessKeyDetails"]);
    put("user.name", key.and_then(|key| text(key, &["userName"])));
    put("user.id", key.and_then(|key| text(key, &["principalId"])));
    put("container.id", text(json, &["resource", "containerDetails", "id"]));
    for (path, keys) in
        [("event.start", &["service", "eventFirstSeen"]), ("event.end", &["service", "eventLastSeen"])]
    {
        put(path, text(json, keys));
    }
    put("event.created", text(json, &["createdAt"]));

    if let Some(severity) = severity(json) {
        sink.put("event.severity", number(severity));
        sink.put("aws.guardduty.severity.value", number(severity));
        sink.put("aws.guardduty.severity.code", number(severity));
        sink.put("groundtrail.guardduty.severity", Scalar::Str(severity_label(severity)));
    }
    let mut addresses = Vec::new();
    action(json, sink, &mut addresses);
    process(json, sink);
    own_addresses(instance, &mut addresses);
    for address in addresses {
        sink.put("related.ip", Scalar::Str(address));
    }
    link::of_finding(&leaves).put(&[], sink);
}

fn severity(json: &Json<'_>) -> Option<f64> {
    match get(json, "severity")? {
        Json::Int(int) => Some(*int as f64),
        Json::Float(float) => Some(*float),
        Json::Str(text) => text.parse().ok().filter(|float: &f64| float.is_finite()),
        _ => None,
    }
}

/// A whole severity is written as such: rules compare it with integers.
fn number(float: f64) -> Scalar<'static> {
    if float.fract() == 0.0 && float.abs() < 1e9 { Scalar::Int(float as i64) } else { Scalar::Float(float) }
}

fn put_ip<'j>(
    path: &str,
    json: Option<&'j Json<'_>>,
    sink: &mut dyn FieldSink,
    addresses: &mut Vec<&'j str>,
) {
    let Some(address) = json.and_then(Json::str).filter(|text| text.parse::<IpAddr>().is_ok()) else {
        return;
    };
    sink.put(path, Scalar::Str(address));
    if path.ends_with(".ip") {
        sink.put(&path.replace(".ip", ".address"), Scalar::Str(address));
    }
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

/// What was done, and by which remote side.
fn action<'j>(json: &'j Json<'_>, sink: &mut dyn FieldSink, addresses: &mut Vec<&'j str>) {
    let Some(action) = at(json, &["service", "action"]) else { return };
    if let Some(connection) = get(action, "networkConnectionAction") {
        let is_outbound = text(connection, &["connectionDirection"]) != Some("INBOUND");
        let (local, remote) = if is_outbound { ("source", "destination") } else { ("destination", "source") };
        put_ip(&format!("{remote}.ip"), at(connection, &["remoteIpDetails", "ipAddressV4"]), sink, addresses);
        put_ip(&format!("{local}.ip"), at(connection, &["localIpDetails", "ipAddressV4"]), sink, addresses);
        for (path, details) in [(remote, "remotePortDetails"), (local, "localPortDetails")] {
            if let Some(port) = at(connection, &[details, "port"]).and_then(Json::int) {
                sink.put(&format!("{path}.port"), Scalar::Int(port));
            }
        }
        if let Some(protocol) = text(connection, &["protocol"]) {
            sink.put("network.transport", Scalar::Str(&protocol.to_ascii_lowercase()));
        }
        if let Some(direction) = text(connection, &["connectionDirection"]) {
            sink.put("network.direction", Scalar::Str(&direction.to_ascii_lowercase()));
        }
    }
    if let Some(domain) = text(action, &["dnsRequestAction", "domain"]) {
        sink.put("dns.question.name", Scalar::Str(domain));
        sink.put("destination.domain", Scalar::Str(domain));
    }
    for kind in ["awsApiCallAction", "kubernetesApiCallAction", "rdsLoginAttemptAction"] {
        let Some(call) = get(action, kind) else { continue };
        put_ip("source.ip", at(call, &["remoteIpDetails", "ipAddressV4"]), sink, addresses);
        if let Some(agent) = text(call, &["userAgent"]) {
            sink.put("user_agent.original", Scalar::Str(agent));
        }
    }
    let probes = at(action, &["portProbeAction", "portProbeDetails"]).map_or(&[][..], Json::items);
    for probe in probes {
        put_ip("source.ip", at(probe, &["remoteIpDetails", "ipAddressV4"]), sink, addresses);
        if let Some(port) = at(probe, &["localPortDetails", "port"]).and_then(Json::int) {
            sink.put("destination.port", Scalar::Int(port));
        }
    }
}

/// Runtime monitoring names the process.
fn process(json: &Json<'_>, sink: &mut dyn FieldSink) {
    let Some(process) = at(json, &["service", "runtimeDetails", "process"]) else { return };
    for (path, key) in [
        ("process.name", "name"),
        ("process.executable", "executablePath"),
        ("process.hash.sha256", "executableSha256"),
        ("process.working_directory", "pwd"),
        ("process.start", "startTime"),
    ] {
        if let Some(value) = text(process, &[key]) {
            sink.put(path, Scalar::Str(value));
        }
    }
    if let Some(pid) = get(process, "pid").and_then(Json::int) {
        sink.put("process.pid", Scalar::Int(pid));
    }
}

fn own_addresses<'j>(instance: Option<&'j Json<'_>>, addresses: &mut Vec<&'j str>) {
    let interfaces =
        instance.and_then(|instance| get(instance, "networkInterfaces")).map_or(&[][..], Json::items);
    for interface in interfaces {
        for key in ["privateIpAddress", "publicIp"] {
            let address = text(interface, &[key]).filter(|text| text.parse::<IpAddr>().is_ok());
            if let Some(address) = address.filter(|address| !addresses.contains(address)) {
                addresses.push(address);
            }
        }
    }
}

/// The finding under `aws.guardduty`, keys in snake case in whichever spelling they came.
fn snake_leaves<'j>(json: &'j Json<'_>, path: &mut String, each: &mut dyn FnMut(&str, Scalar<'j>)) {
    match json {
        Json::Object(entries) => {
            for (key, value) in *entries {
                let len = path.len();
                path.push('.');
                match public_name(key, &path[..len]) {
                    Some(name) => path.push_str(name),
                    None => push_snake(key, path),
                }
                snake_leaves(value, path, each);
                path.truncate(len);
            }
        }
        Json::List(items) => items.iter().for_each(|item| snake_leaves(item, path, each)),
        scalar => {
            if let Some(scalar) = scalar.scalar().filter(|scalar| *scalar != Scalar::Str("")) {
                each(path, scalar);
            }
        }
    }
}

/// Where the public mapping says otherwise than the finding.
fn public_name(key: &str, object: &str) -> Option<&'static str> {
    Some(match (object, key) {
        ("aws.guardduty.resource", "resourceType" | "ResourceType") => "type",
        ("aws.guardduty.service.action", "actionType" | "ActionType") => "type",
        (_, "portName" | "PortName") if object.ends_with("_port_details") => "name",
        _ => return None,
    })
}

/// `ipAddressV4` → `ip_address_v4`, `InstanceId` → `instance_id`, `executableSha256` → `executable_sha256`.
fn push_snake(key: &str, path: &mut String) {
    let mut previous_is_lower = false;
    let mut chars = key.chars().peekable();
    let mut is_first = true;
    while let Some(c) = chars.next() {
        let ends_acronym =
            !is_first && !previous_is_lower && chars.peek().is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (previous_is_lower || ends_acronym) {
            path.push('_');
        }
        path.push(c.to_ascii_lowercase());
        previous_is_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        is_first = false;
    }
}

#[cfg(test)]
mod tests;
