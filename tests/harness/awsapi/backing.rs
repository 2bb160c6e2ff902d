//! Calls that moto plays: its answer goes back as it is, and is logged as CloudTrail would log it.

use std::net::SocketAddr;

use hyper::StatusCode;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, Protocol};
use super::record;
use super::reply::Reply;
use super::upstream;
use crate::http::Request;
use crate::world::Principal;

/// moto's answer to a call.
pub(super) fn to(call: &Call, request: &Request, moto: SocketAddr, request_id: &str) -> Reply {
    match upstream::pass(moto, request) {
        Ok((status, body)) => {
            let error = (!status.is_success()).then(|| error_of(&body));
            let is_logged = error.is_none() && !record::is_read_only(&call.action);
            let elements = if is_logged { elements(call, &body, request_id) } else { Value::Null };
            Reply { status, body: Bytes::from(body), elements, error }
        }
        Err(err) => Reply {
            status: StatusCode::SERVICE_UNAVAILABLE,
            body: Bytes::new(),
            elements: Value::Null,
            error: Some(("ServiceUnavailable".to_owned(), err.to_string())),
        },
    }
}

/// Whose keys a call brought into the world.
pub(super) fn issued(call: &Call, reply: &Reply, source_ip: &str) -> Vec<Principal> {
    let text = |pointer: &str| reply.elements.pointer(pointer).and_then(Value::as_str);
    let user = || {
        let (key, name) = (text("/accessKey/accessKeyId")?, text("/accessKey/userName")?);
        Some(Principal::of_user(name, key, source_ip))
    };
    let session = || {
        let key = text("/credentials/accessKeyId")?;
        let (_, session) = text("/assumedRoleUser/arn")?.split_once(":assumed-role/")?;
        let (role, name) = session.split_once('/')?;
        let mut principal = Principal::session((role, name), key, source_ip, None);
        principal.access_key = key.to_owned();
        Some(principal)
    };
    match call.action.as_str() {
        "CreateAccessKey" => user().into_iter().collect(),
        "AssumeRole" => session().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn elements(call: &Call, body: &[u8], request_id: &str) -> Value {
    let text = String::from_utf8_lossy(body);
    let mut value = match call.protocol {
        Protocol::Json => serde_json::from_slice(body).map_or(Value::Null, record::camel_keys),
        Protocol::RestJson => serde_json::from_slice(body).unwrap_or_default(),
        // S3 logs no answers.
        Protocol::RestXml => Value::Null,
        Protocol::Ec2 => {
            let mut value = of_xml(&text, None);
            if value.is_object() {
                value["requestId"] = json!(request_id);
            }
            value
        }
        Protocol::Query => of_xml(&text, Some(&format!("{}Result", call.action))),
    };
    hide(&mut value);
    match &value {
        Value::Object(map) if map.is_empty() => Value::Null,
        _ => value,
    }
}

/// What CloudTrail leaves out or blacks out of answers.
fn hide(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("secretAccessKey");
            for (name, value) in map.iter_mut() {
                match name.as_str() {
                    "keyMaterial" => *value = json!("<sensitiveDataRemoved>"),
                    "createDate" | "expiration" => {
                        // IAM and STS log dates as a Java client prints them.
                        if let Some(at) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
                            *value = json!(at.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string());
                        }
                    }
                    _ => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

fn error_of(body: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    if let Ok(json) = serde_json::from_str::<Value>(&text) {
        let code = json["__type"].as_str().or(json["code"].as_str()).unwrap_or("ClientError");
        let message = json["message"].as_str().or(json["Message"].as_str()).unwrap_or_default();
        return (code.rsplit('#').next().unwrap_or(code).to_owned(), message.to_owned());
    }
    let between = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split('<').next().unwrap_or_default().to_owned())
    };
    (between("Code").unwrap_or_else(|| "ClientError".to_owned()), between("Message").unwrap_or_default())
}

/// An answer in XML in the shape that CloudTrail gives it, from its root or from the element of this name.
fn of_xml(text: &str, from: Option<&str>) -> Value {
    let Ok(document) = roxmltree::Document::parse(text) else { return Value::Null };
    let root = match from {
        None => Some(document.root_element()),
        // Each service has a namespace of its own, which says nothing here.
        Some(name) => document.descendants().find(|node| node.is_element() && node.tag_name().name() == name),
    };
    root.map_or(Value::Null, value_of)
}

fn value_of(node: roxmltree::Node<'_, '_>) -> Value {
    let children: Vec<roxmltree::Node<'_, '_>> =
        node.children().filter(roxmltree::Node::is_element).collect();
    if children.is_empty() {
        return match node.text().map(str::trim).unwrap_or_default() {
            "" => json!({}),
            "true" => json!(true),
            "false" => json!(false),
            text => json!(text),
        };
    }
    if children.iter().all(|child| ["item", "member"].contains(&child.tag_name().name())) {
        let items: Vec<Value> = children.into_iter().map(value_of).collect();
        return json!({ "items": items });
    }
    let fields = children.into_iter().map(|child| (record::camel(child.tag_name().name()), value_of(child)));
    Value::Object(fields.collect::<Map<String, Value>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_is_logged_in_json() {
        let ec2 = "<RunInstancesResponse xmlns=\"x\"><requestId>a</requestId><instancesSet><item><instanceId>i-1</instanceId>\
                   <ebsOptimized>false</ebsOptimized></item></instancesSet><groupSet/></RunInstancesResponse>";
        let expected = json!({
            "requestId": "a", "instancesSet": { "items": [{ "instanceId": "i-1", "ebsOptimized": false }] }, "groupSet": {},
        });
        assert_eq!(of_xml(ec2, None), expected);
        let iam = "<CreateAccessKeyResponse xmlns=\"y\"><CreateAccessKeyResult><AccessKey><AccessKeyId>AKIA1</AccessKeyId>\
                   <SecretAccessKey>s</SecretAccessKey><CreateDate>2026-11-21T08:05:09Z</CreateDate></AccessKey>\
                   </CreateAccessKeyResult></CreateAccessKeyResponse>";
        let mut value = of_xml(iam, Some("CreateAccessKeyResult"));
        hide(&mut value);
        let logged = json!({ "accessKeyId": "AKIA1", "createDate": "Nov 21, 2026, 8:05:09 AM" });
        assert_eq!(value, json!({ "accessKey": logged }));
    }

    #[test]
    fn a_refusal_is_told_by_its_code() {
        let xml = b"<Response><Errors><Error><Code>InvalidID</Code><Message>no</Message></Error></Errors></Response>";
        assert_eq!(error_of(xml), ("InvalidID".to_owned(), "no".to_owned()));
        let json = br#"{"__type": "com.amazon#NotFound", "message": "gone"}"#;
        assert_eq!(error_of(json), ("NotFound".to_owned(), "gone".to_owned()));
    }
}
