//! The CloudTrail record of a call: AWS's field names, its case, and what it hides.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, Protocol};
use super::reply::Reply;
use crate::http::Request;
use crate::world;

const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";
const REMOVED: &str = "<sensitiveDataRemoved>";

pub(super) fn of(
    call: &Call,
    reply: &Reply,
    identity: &Value,
    source_ip: &str,
    request: &Request,
    request_id: &str,
) -> Value {
    let user_agent = request.header("user-agent");
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": identity,
        // The completion time at the service, to the second.
        "eventTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": format!("{}.amazonaws.com", call.service),
        "eventName": call.action,
        "awsRegion": call.region,
        "sourceIPAddress": source_ip,
        // S3 logs the agent in square brackets, the other services as sent.
        "userAgent": if call.service == "s3" { format!("[{user_agent}]") } else { user_agent.to_owned() },
        "requestParameters": parameters(call),
        "responseElements": reply.elements,
        "requestID": request_id,
        "eventID": crate::digest::uuid(&format!("event of {request_id}")),
        "readOnly": is_read_only(&call.action),
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": world::ACCOUNT,
        "eventCategory": "Management",
    });
    if let Some((code, message)) = &reply.error {
        record["errorCode"] = json!(code);
        record["errorMessage"] = json!(message);
    }
    if let Some(tls) = &request.tls {
        record["tlsDetails"] = json!({
            "tlsVersion": tls.version,
            "cipherSuite": tls.cipher_suite,
            "clientProvidedHostHeader": request.header("host"),
        });
    }
    record
}

pub(super) fn is_read_only(action: &str) -> bool {
    ["Describe", "Get", "Head", "List"].iter().any(|verb| action.starts_with(verb))
}

fn parameters(call: &Call) -> Value {
    let value = match call.protocol {
        Protocol::Ec2 => ec2(call),
        Protocol::Query => flat(call),
        Protocol::Json => camel_keys(Value::Object(call.params.clone())),
        Protocol::RestJson | Protocol::RestXml => Value::Object(call.params.clone()),
    };
    match value {
        // No parameters at all are logged as null, except where EC2 names the empty sets it was asked for.
        Value::Object(map) if map.is_empty() => Value::Null,
        mut value => {
            if call.service == "ssm" && value.get("parameters").is_some() {
                value["parameters"] = HIDDEN.into();
            }
            value
        }
    }
}

/// IAM and STS: each parameter under its own name; passwords are left out altogether.
fn flat(call: &Call) -> Value {
    let mut out = Map::new();
    for (name, value) in &call.params {
        if name.ends_with("Password") {
            continue;
        }
        match name.split_once(".member.") {
            None => {
                out.insert(camel(name), value.clone());
            }
            Some((list, _)) => {
                if let Value::Array(items) = out.entry(camel(list)).or_insert_with(|| json!([])) {
                    items.push(value.clone());
                }
            }
        }
    }
    Value::Object(out)
}

/// EC2 logs its own shapes: numbered parameters as sets of items, newer actions wrapped in their request's name.
fn ec2(call: &Call) -> Value {
    match call.action.as_str() {
        "RunInstances" => run_instances(call),
        "DeleteFlowLogs" => {
            let ids: Vec<Value> = call
                .numbered("FlowLogId")
                .iter()
                .enumerate()
                .map(|(n, id)| json!({ "tag": n + 1, "content": id }))
                .collect();
            let ids =
                if ids.len() == 1 { ids.into_iter().next().unwrap_or_default() } else { Value::Array(ids) };
            json!({ "DeleteFlowLogsRequest": { "FlowLogId": ids } })
        }
        "CreateInstanceExportTask" => json!({
            "instanceId": call.text("InstanceId"),
            "targetEnvironment": call.text("TargetEnvironment"),
            "exportToS3": {
                "s3Bucket": call.text("ExportToS3.S3Bucket"),
                "diskImageFormat": call.text("ExportToS3.DiskImageFormat"),
                "containerFormat": call.text("ExportToS3.ContainerFormat"),
            },
        }),
        action => {
            let mut out = Map::new();
            if let Some(what) = action.strip_prefix("Describe") {
                // `DescribeKeyPairs` → `keyPairSet`; instances are the one irregular plural.
                let set = if what == "Instances" {
                    "instancesSet".into()
                } else {
                    format!("{}Set", camel(what.trim_end_matches('s')))
                };
                out.insert(set, json!({}));
                out.insert("filterSet".into(), filters(call));
                return Value::Object(out);
            }
            let mut out = Value::Object(out);
            for (name, value) in &call.params {
                let parts: Vec<&str> = name.split('.').collect();
                nest(&mut out, &parts, value);
            }
            if out.get("userData").is_some() {
                out["userData"] = REMOVED.into();
            }
            out
        }
    }
}

/// `CreateVolumePermission.Add.1.UserId` lies below `createVolumePermission.add.items[0].userId`; `InstanceId.1` is an item of
/// `instancesSet`, as every other list of ids is of its own.
fn nest(out: &mut Value, parts: &[&str], value: &Value) {
    match parts {
        [] => *out = value.clone(),
        [name, number] if number.parse::<usize>().is_ok() && name.ends_with("Id") => {
            let set = format!("{}sSet", camel(name.trim_end_matches("Id")));
            push(&mut out[set]["items"], json!({ camel(name): value }));
        }
        [name, number, rest @ ..] if number.parse::<usize>().is_ok() => {
            let at = number.parse::<usize>().unwrap_or(1).saturating_sub(1);
            let items = &mut out[camel(name)]["items"];
            if !items.is_array() {
                *items = json!([]);
            }
            if let Value::Array(items) = items {
                items.resize(items.len().max(at + 1), Value::Null);
                nest(&mut items[at], rest, value);
            }
        }
        // `UserData.Value` and the like say nothing by their second half.
        [name, "Value"] => out[camel(name)] = value.clone(),
        [name, rest @ ..] => nest(&mut out[camel(name)], rest, value),
    }
}

fn push(items: &mut Value, item: Value) {
    match items {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn filters(call: &Call) -> Value {
    let items: Vec<Value> = (1..)
        .map_while(|n| {
            let name = call.params.get(&format!("Filter.{n}.Name"))?;
            let values = call
                .numbered(&format!("Filter.{n}.Value"))
                .into_iter()
                .map(|value| json!({ "value": value }));
            Some(json!({ "name": name, "valueSet": { "items": values.collect::<Vec<_>>() } }))
        })
        .collect();
    if items.is_empty() { json!({}) } else { json!({ "items": items }) }
}

fn run_instances(call: &Call) -> Value {
    let count = |name: &str| call.text(name).parse::<u64>().unwrap_or(1);
    let mut out = json!({
        "instancesSet": { "items": [{
            "imageId": call.text("ImageId"), "minCount": count("MinCount"), "maxCount": count("MaxCount"),
        }] },
        "instanceType": call.text("InstanceType"),
        "blockDeviceMapping": {},
        "monitoring": { "enabled": false },
        "disableApiTermination": false,
        "disableApiStop": false,
        "clientToken": call.text("ClientToken"),
    });
    if call.params.contains_key("UserData") {
        out["userData"] = REMOVED.into();
    }
    out
}

/// CloudTrail lowers the first letter of a parameter's name and no more: `SSHPublicKey` becomes `sSHPublicKey`.
pub(super) fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

pub(crate) fn camel_keys(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (camel(&key), camel_keys(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(camel_keys).collect()),
        other => other,
    }
}
