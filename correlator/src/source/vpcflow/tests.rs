use serde_json::{Value, json};

use super::*;
use crate::source::Origin;
use crate::source::normalize::tests::{document, normalizer};

fn check(header: &str, line: &str, expect: &[(&str, Value)]) {
    let found = document(Origin::VpcFlow, &format!("{header}\n{line}"));
    for (path, value) in expect {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert_eq!(found.pointer(&pointer).unwrap_or(&Value::Null), value, "{pointer} of {found:#}");
    }
}

#[test]
fn the_default_columns() {
    check(
        DEFAULT_HEADER,
        "2 111122223333 eni-0a1b2c3d 192.0.2.9 10.0.1.10 48316 22 6 19 7119 1795219200 1795219260 ACCEPT OK",
        &[
            ("@timestamp", json!("2026-11-21T00:01:00.000Z")),
            ("event.start", json!("2026-11-21T00:00:00.000Z")),
            ("event.action", json!("accept")),
            ("event.outcome", json!("success")),
            ("event.type", json!(["connection", "allowed"])),
            ("source.ip", json!("192.0.2.9")),
            ("source.port", json!(48316)),
            ("destination.ip", json!("10.0.1.10")),
            ("destination.port", json!(22)),
            ("network.transport", json!("tcp")),
            ("network.iana_number", json!("6")),
            ("network.bytes", json!(7119)),
            ("network.packets", json!(19)),
            ("network.type", json!("ipv4")),
            ("cloud.account.id", json!("111122223333")),
            ("related.ip", json!(["192.0.2.9", "10.0.1.10"])),
            ("aws.vpcflow.interface_id", json!("eni-0a1b2c3d")),
            ("event.dataset", json!("aws.vpcflow")),
        ],
    );
}

#[test]
fn any_columns_in_any_order() {
    check(
        "end dstaddr pkt-dstaddr srcaddr action instance-id ecs-task-id some-new-field type reject-reason flow-direction",
        "1795219260 10.0.0.5 198.51.100.7 2001:db8::1 REJECT i-0123456789abcdef0 task1 x IPv6 BPA egress",
        &[
            ("destination.ip", json!("10.0.0.5")),
            ("related.ip", json!(["2001:db8::1", "10.0.0.5", "198.51.100.7"])),
            ("event.outcome", json!("failure")),
            ("network.type", json!("ipv6")),
            ("network.direction", json!("egress")),
            ("aws.vpcflow.some_new_field", json!("x")),
            ("aws.vpcflow.reject_reason", json!("BPA")),
            ("cloud.instance.id", json!("i-0123456789abcdef0")),
            ("groundtrail.link.instance_id", json!(["i-0123456789abcdef0"])),
            ("groundtrail.link.ecs_task_id", json!(["task1"])),
        ],
    );
}

#[test]
fn a_dash_is_no_value() {
    check(
        "srcaddr instance-id end action",
        "- - 1795219260 -",
        &[("source", Value::Null), ("cloud.instance", Value::Null), ("event.action", Value::Null)],
    );
}

#[test]
fn a_line_that_does_not_fit_its_header_is_refused() {
    for (text, expect) in [
        ("srcaddr end\n192.0.2.1", "1 values under a header of 2 columns"),
        ("srcaddr dstaddr\n192.0.2.1 192.0.2.2", "no \"end\""),
        ("srcaddr end\n192.0.2.1 yesterday", "no \"end\""),
    ] {
        let error = normalizer().read(Origin::VpcFlow, text).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn headers_are_told_from_lines() {
    assert!(is_header(DEFAULT_HEADER));
    assert!(is_header("srcaddr dstaddr some-new-field"));
    assert!(!is_header("2 111122223333 eni-0a 192.0.2.9 10.0.1.10 1 2 6 1 1 1 1 ACCEPT OK"));
    assert!(!is_header(""));
    assert!(is_event(DEFAULT_HEADER, "2 1 eni-0 192.0.2.9 10.0.1.10 1 2 6 1 1 1 1 ACCEPT OK"));
    assert!(!is_event(DEFAULT_HEADER, "2 1 eni-0 - - - - - - - 1 1 - NODATA"));
    assert!(is_event(DEFAULT_HEADER, "2 1 eni-0 - - - - - - - 1 1 - SKIPDATA"));
}

#[test]
fn equal_lines_are_one_event() {
    let line = "srcaddr end\n192.0.2.1 1795219260";
    let id = |text: &str| normalizer().read(Origin::VpcFlow, text).unwrap().event.id;
    assert_eq!(id(line), id(line));
    assert_ne!(id(line), id("srcaddr end\n192.0.2.2 1795219260"));
}

#[test]
fn flows_that_aws_lost_are_an_event() {
    check(
        DEFAULT_HEADER,
        "2 111122223333 eni-0a - - - - - - - 1795219200 1795219260 - SKIPDATA",
        &[
            ("event.action", json!("log_skipped")),
            ("aws.vpcflow.log_status", json!("SKIPDATA")),
            ("aws.vpcflow.interface_id", json!("eni-0a")),
            ("source", Value::Null),
        ],
    );
}

#[test]
fn columns_go_by_the_names_of_the_public_mapping() {
    check(
        "end pkt-dst-aws-service sublocation-id ecs-cluster-name tcp-flags",
        "1795219260 S3 wlz-1 main 18",
        &[
            ("aws.vpcflow.pkt_dst_service", json!("S3")),
            ("aws.vpcflow.sublocation.id", json!("wlz-1")),
            ("aws.vpcflow.ecs.cluster.name", json!("main")),
            ("aws.vpcflow.tcp_flags", json!("18")),
            ("aws.vpcflow.tcp_flags_array", json!(["syn", "ack"])),
        ],
    );
}
