use serde_json::{Value, json};

use super::*;
use crate::source::Origin;
use crate::source::normalize::tests::{document, normalizer};

fn finding() -> Value {
    json!({
        "schemaVersion": "2.0", "accountId": "111122223333", "region": "us-east-1", "id": "f00d",
        "type": "UnauthorizedAccess:EC2/SSHBruteForce", "severity": 8, "title": "An instance is tried",
        "createdAt": "2026-11-02T09:00:00.000Z", "updatedAt": "2026-11-02T10:00:00.000Z",
        "resource": {
            "resourceType": "Instance",
            "instanceDetails": {"instanceId": "i-0123456789abcdef0", "instanceType": "m5.large",
                "networkInterfaces": [{"privateIpAddress": "10.0.1.10", "publicIp": "198.51.100.9"}]},
            "accessKeyDetails": {"accessKeyId": "ASIAEXAMPLE000000001", "principalId": "AROA1:i-0123456789abcdef0", "userName": "web"}
        },
        "service": {
            "count": 3, "eventFirstSeen": "2026-11-02T08:00:00Z", "eventLastSeen": "2026-11-02T09:59:00Z",
            "action": {"actionType": "NETWORK_CONNECTION", "networkConnectionAction": {
                "connectionDirection": "INBOUND", "protocol": "TCP",
                "remoteIpDetails": {"ipAddressV4": "192.0.2.66"}, "remotePortDetails": {"port": 40_000},
                "localPortDetails": {"port": 22}}}
        }
    })
}

/// The finding as the API spells it.
fn pascal(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let upper = |key: &String| format!("{}{}", key[..1].to_ascii_uppercase(), &key[1..]);
            Value::Object(map.iter().map(|(key, value)| (upper(key), pascal(value))).collect())
        }
        Value::Array(items) => items.iter().map(pascal).collect(),
        other => other.clone(),
    }
}

fn check(finding: &Value, expect: &[(&str, Value)]) {
    let found = document(Origin::GuardDuty, &finding.to_string());
    for (path, value) in expect {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert_eq!(found.pointer(&pointer).unwrap_or(&Value::Null), value, "{pointer} of {found:#}");
    }
}

#[test]
fn both_spellings_are_one_finding() {
    let camel = document(Origin::GuardDuty, &finding().to_string());
    let upper = document(Origin::GuardDuty, &pascal(&finding()).to_string());
    assert_eq!(camel, upper);
    check(
        &finding(),
        &[
            ("@timestamp", json!("2026-11-02T10:00:00.000Z")),
            ("event.kind", json!("alert")),
            ("event.severity", json!(8)),
            ("groundtrail.guardduty.severity", json!("high")),
            ("aws.guardduty.severity.value", json!(8)),
            ("aws.guardduty.type", json!("UnauthorizedAccess:EC2/SSHBruteForce")),
            ("aws.guardduty.resource.instance_details.instance_id", json!("i-0123456789abcdef0")),
            (
                "aws.guardduty.service.action.network_connection_action.remote_ip_details.ip_address_v4",
                json!("192.0.2.66"),
            ),
            ("cloud.account.id", json!("111122223333")),
            ("cloud.instance.id", json!("i-0123456789abcdef0")),
            ("source.ip", json!("192.0.2.66")),
            ("source.port", json!(40_000)),
            ("destination.port", json!(22)),
            ("network.transport", json!("tcp")),
            ("user.name", json!("web")),
            ("related.ip", json!(["192.0.2.66", "10.0.1.10", "198.51.100.9"])),
            ("groundtrail.link.instance_id", json!(["i-0123456789abcdef0"])),
            ("groundtrail.link.access_key_id", json!(["ASIAEXAMPLE000000001"])),
        ],
    );
}

#[test]
fn an_update_is_an_event_of_its_own_with_the_same_finding_id() {
    let id = |finding: &Value| normalizer().read(Origin::GuardDuty, finding.to_string()).unwrap().event.id;
    let mut later = finding();
    later["service"]["count"] = json!(4);
    assert_eq!(id(&finding()), id(&later));
    later["updatedAt"] = json!("2026-11-02T11:00:00.000Z");
    assert_ne!(id(&finding()), id(&later));
    check(&later, &[("aws.guardduty.id", json!("f00d"))]);
}

#[test]
fn severities_fall_into_guarddutys_bands() {
    for (severity, label) in [
        (1.0, "low"),
        (3.9, "low"),
        (4.0, "medium"),
        (6.9, "medium"),
        (7.0, "high"),
        (8.9, "high"),
        (9.0, "critical"),
    ] {
        let mut finding = finding();
        finding["severity"] = json!(severity);
        check(&finding, &[("groundtrail.guardduty.severity", json!(label))]);
    }
}

#[test]
fn outbound_dns_api_and_probe_actions() {
    let act = |action: Value| {
        let mut finding = finding();
        finding["service"]["action"] = action;
        finding
    };
    check(
        &act(json!({"networkConnectionAction": {"connectionDirection": "OUTBOUND",
            "remoteIpDetails": {"ipAddressV4": "192.0.2.66"}, "remotePortDetails": {"port": 443}}})),
        &[
            ("destination.ip", json!("192.0.2.66")),
            ("destination.port", json!(443)),
            ("source.ip", Value::Null),
        ],
    );
    check(
        &act(json!({"dnsRequestAction": {"domain": "rogue.example.net"}})),
        &[("dns.question.name", json!("rogue.example.net"))],
    );
    check(
        &act(
            json!({"awsApiCallAction": {"api": "ListBuckets", "remoteIpDetails": {"ipAddressV4": "192.0.2.66"}}}),
        ),
        &[
            ("source.ip", json!("192.0.2.66")),
            ("aws.guardduty.service.action.aws_api_call_action.api", json!("ListBuckets")),
        ],
    );
    check(
        &act(json!({"portProbeAction": {"portProbeDetails": [
            {"localPortDetails": {"port": 22}, "remoteIpDetails": {"ipAddressV4": "192.0.2.66"}},
            {"localPortDetails": {"port": 22}, "remoteIpDetails": {"ipAddressV4": "192.0.2.67"}}]}})),
        &[("source.ip", json!(["192.0.2.66", "192.0.2.67"]))],
    );
}

#[test]
fn names_in_snake_case() {
    for (key, expect) in [
        ("ipAddressV4", "ip_address_v4"),
        ("InstanceId", "instance_id"),
        ("executableSha256", "executable_sha256"),
        ("awsApiCallAction", "aws_api_call_action"),
        ("IPSet", "ip_set"),
        ("arn", "arn"),
        ("", ""),
    ] {
        let mut path = String::new();
        push_snake(key, &mut path);
        assert_eq!(path, expect, "{key}");
    }
}
