use serde_json::json;

use super::*;
use crate::source::Origin;
use crate::source::normalize::tests::document;

const INSTANCE: &str = "i-0123456789abcdef0";
const COMMAND: &str = "11112222-3333-4444-5555-666677778888";
const ASSOCIATION: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
/// An all-zero ed25519 key, in OpenSSH's form.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA amy@example";

fn links(document: &serde_json::Value) -> serde_json::Value {
    document.pointer("/groundtrail/link").cloned().unwrap_or_else(|| json!({}))
}

fn call(source: &str, name: &str, parts: &serde_json::Value) -> serde_json::Value {
    let mut record = json!({"eventVersion": "1.11", "eventTime": "2026-11-02T10:00:00Z",
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name});
    for (key, value) in parts.as_object().unwrap() {
        record[key] = value.clone();
    }
    links(&document(Origin::CloudTrail, &record.to_string()))
}

fn host(parts: &serde_json::Value) -> serde_json::Value {
    let event = json!({"@timestamp": "2026-11-02T10:00:00Z", "event": {"action": "exec"}});
    let mut event = event;
    for (key, value) in parts.as_object().unwrap() {
        event[key] = value.clone();
    }
    links(&document(Origin::Sensor, &event.to_string()))
}

#[test]
fn the_cloud_half() {
    let table = [
        (
            "ssm",
            "SendCommand",
            json!({"requestParameters": {"instanceIds": [INSTANCE]},
                "responseElements": {"command": {"commandId": COMMAND, "instanceIds": [INSTANCE], "expiresAfter": "Aug 2, 2024, 11:08:56 AM"}}}),
            json!({"instance_id": [INSTANCE], "ssm_command_id": [COMMAND]}),
        ),
        (
            "ssm",
            "SendCommand",
            json!({"errorCode": "AccessDenied", "responseElements": null,
                "requestParameters": {"targets": [{"key": "tag:env", "values": ["prod"]}], "instanceIds": []}}),
            json!({}),
        ),
        (
            "ec2",
            "ModifyInstanceMetadataOptions",
            json!({"requestParameters": {"ModifyInstanceMetadataOptionsRequest": {"HttpTokens": "optional", "InstanceId": INSTANCE}}}),
            json!({"instance_id": [INSTANCE]}),
        ),
        (
            "ec2",
            "ReplaceIamInstanceProfileAssociation",
            json!({"requestParameters": {"ReplaceIamInstanceProfileAssociationRequest": {"AssociationId": "iip-assoc-0123456789abcdef0"}},
                "responseElements": {"ReplaceIamInstanceProfileAssociationResponse": {"iamInstanceProfileAssociation": {"instanceId": INSTANCE}}}}),
            json!({"instance_id": [INSTANCE]}),
        ),
        (
            "ssm",
            "GetCommandInvocation",
            json!({"requestParameters": {"commandId": COMMAND, "instanceId": "mi-0123456789abcdef0"}}),
            json!({"instance_id": ["mi-0123456789abcdef0"], "ssm_command_id": [COMMAND]}),
        ),
        (
            "ssm",
            "StartSession",
            json!({"requestParameters": {"target": INSTANCE}, "responseElements": {"sessionId": "amy-x7", "tokenValue": "HIDDEN"}}),
            json!({"instance_id": [INSTANCE], "ssm_session_id": ["amy-x7"]}),
        ),
        (
            "ssm",
            "TerminateSession",
            json!({"requestParameters": {"sessionId": "amy-x7"}}),
            json!({"ssm_session_id": ["amy-x7"]}),
        ),
        (
            "ssm",
            "StartAssociationsOnce",
            json!({"requestParameters": {"associationIds": [ASSOCIATION]}}),
            json!({"ssm_association_id": [ASSOCIATION]}),
        ),
        (
            "ec2",
            "DescribeInstances",
            json!({"requestParameters": {"instancesSet": {"items": [{"instanceId": INSTANCE}]}}}),
            json!({}),
        ),
        (
            "ec2",
            "RunInstances",
            json!({"responseElements": {"instancesSet": {"items": [{"instanceId": "i-01234567"}]}}}),
            json!({"instance_id": ["i-01234567"]}),
        ),
        (
            "sts",
            "AssumeRole",
            json!({"responseElements": {"credentials": {"accessKeyId": "ASIAEXAMPLE000000002"},
                "assumedRoleUser": {"arn": "arn:aws:sts::111122223333:assumed-role/deploy/build-7"}}}),
            json!({"access_key_id": ["ASIAEXAMPLE000000002"], "role_session": ["deploy/build-7"]}),
        ),
        (
            "s3",
            "ListBuckets",
            json!({"userIdentity": {"arn": format!("arn:aws:sts::111122223333:assumed-role/web/{INSTANCE}"),
                "principalId": format!("AROAEXAMPLE:{INSTANCE}"), "sessionContext": {"ec2RoleDelivery": "2.0"}}}),
            json!({"instance_id": [INSTANCE], "role_session": [format!("web/{INSTANCE}")]}),
        ),
        // Anybody may call a session so.
        (
            "s3",
            "ListBuckets",
            json!({"userIdentity": {"arn": format!("arn:aws:sts::111122223333:assumed-role/web/{INSTANCE}"),
                "principalId": format!("AROAEXAMPLE:{INSTANCE}"), "sessionContext": {}}}),
            json!({"role_session": [format!("web/{INSTANCE}")]}),
        ),
        (
            "iam",
            "CreateAccessKey",
            json!({"responseElements": {"accessKey": {"accessKeyId": "AKIAEXAMPLE000000003"}},
            "userIdentity": {"accessKeyId": "AKIA****************"}}),
            json!({"access_key_id": ["AKIAEXAMPLE000000003"]}),
        ),
        (
            "s3",
            "GetObject",
            json!({"userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/task/0123456789abcdef0123456789abcdef"},
                "tlsDetails": {"clientProvidedHostHeader": "B.s3.amazonaws.com"}, "userAgent": "[aws-cli/2.17 sid/0123456789ab]"}),
            json!({"role_session": ["task/0123456789abcdef0123456789abcdef"], "ecs_task_id": ["0123456789abcdef0123456789abcdef"],
                "tls_host": ["b.s3.amazonaws.com"], "cli_session_id": ["0123456789ab"]}),
        ),
        (
            "ec2-instance-connect",
            "SendSSHPublicKey",
            json!({"requestParameters": {"instanceId": INSTANCE, "sSHPublicKey": KEY}}),
            json!({"instance_id": [INSTANCE], "ssh_key_fingerprint": [fingerprint_of_key(KEY).unwrap()]}),
        ),
        (
            "ec2-instance-connect",
            "SendSSHPublicKey",
            json!({"requestParameters": {"sSHPublicKey": "ssh-rsa not base64!"}}),
            json!({}),
        ),
        (
            "eks-auth",
            "AssumeRoleForPodIdentity",
            json!({"requestParameters": {"tags": [{"key": "kubernetes-pod-uid", "value": COMMAND}]}}),
            json!({"pod_uid": [COMMAND]}),
        ),
    ];
    for (source, name, parts, expect) in table {
        assert_eq!(call(source, name, &parts), expect, "{name} {parts}");
    }
}

#[test]
fn the_host_half() {
    let worker = "/usr/bin/ssm-document-worker";
    let script =
        format!("/var/lib/amazon/ssm/{INSTANCE}/document/orchestration/{COMMAND}/step one/_script.sh");
    let table = [
        (json!({"process": {"args": [worker, COMMAND]}}), json!({"ssm_command_id": [COMMAND]})),
        (
            json!({"process": {"args": ["id"], "entry_leader": {"args": [worker, COMMAND]}}}),
            json!({"ssm_command_id": [COMMAND]}),
        ),
        (
            json!({"process": {"args": ["id"], "parent": {"args": [worker, COMMAND]}}}),
            json!({"ssm_command_id": [COMMAND]}),
        ),
        (
            json!({"process": {"args": ["sh", "-c", script]}}),
            json!({"ssm_command_id": [COMMAND], "instance_id": [INSTANCE]}),
        ),
        (
            json!({"process": {"env_vars": [format!("SSM_COMMAND_ID={COMMAND}"), format!("AWS_SSM_INSTANCE_ID={INSTANCE}")]}}),
            json!({"ssm_command_id": [COMMAND], "instance_id": [INSTANCE]}),
        ),
        (
            json!({"groundtrail": {"process": {"ancestors": [{"command_line": format!("{worker} {COMMAND}")}]}}}),
            json!({"ssm_command_id": [COMMAND]}),
        ),
        (
            json!({"process": {"args": [worker, format!("{ASSOCIATION}.2026-11-02T10-00-00.000Z")]}}),
            json!({"ssm_association_id": [ASSOCIATION]}),
        ),
        (
            json!({"process": {"args": ["sh", format!("/var/lib/amazon/ssm/{INSTANCE}/document/orchestration/{ASSOCIATION}/2026-11-02T10-00-00.000Z/x/_script.sh")]}}),
            json!({"ssm_association_id": [ASSOCIATION], "instance_id": [INSTANCE]}),
        ),
        (
            json!({"process": {"args": ["/usr/bin/ssm-session-worker", "amy-x7"]}}),
            json!({"ssm_session_id": ["amy-x7"]}),
        ),
        (json!({"process": {"args": ["grep", "ssm-document-worker.log"]}}), json!({})),
        (json!({"process": {"args": [worker, "not-a-command"]}}), json!({})),
        (
            json!({"process": {"env_vars": ["AWS_ACCESS_KEY_ID=ASIAEXAMPLE000000001", "AWS_ACCESS_KEY_ID=$KEY",
            "AWS_ROLE_ARN=arn:aws:iam::111122223333:role/path/deploy", "AWS_ROLE_SESSION_NAME=build-7"]}}),
            json!({"access_key_id": ["ASIAEXAMPLE000000001"], "role_session": ["deploy/build-7"]}),
        ),
        (
            json!({"cloud": {"instance": {"id": INSTANCE}}, "host": {"id": INSTANCE}}),
            json!({"instance_id": [INSTANCE]}),
        ),
        (
            json!({"host": {"id": "6f0b1c"}, "container": {"id": "c0ffee"}}),
            json!({"container_id": ["c0ffee"]}),
        ),
        (
            json!({"process": {"args": ["/usr/share/ec2-instance-connect/eic_run_authorized_keys", "ubuntu", fingerprint_of_key(KEY).unwrap()]}}),
            json!({"ssh_key_fingerprint": [fingerprint_of_key(KEY).unwrap()]}),
        ),
        (
            json!({"process": {"args": ["/usr/bin/logger", "-i", "-p", "authpriv.info",
            format!("Providing ssh key from EC2 Instance Connect with fingerprint: {}, request-id: r, for IAM principal: p", fingerprint_of_key(KEY).unwrap())]}}),
            json!({"ssh_key_fingerprint": [fingerprint_of_key(KEY).unwrap()]}),
        ),
        (
            json!({"process": {"env_vars": ["ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/0123456789abcdef0123456789abcdef-123"]}}),
            json!({"ecs_task_id": ["0123456789abcdef0123456789abcdef"]}),
        ),
        (
            json!({"process": {"cgroup": {"path": format!("/kubepods.slice/kubepods-pod{}.slice/x.scope", COMMAND.replace('-', "_"))}}}),
            json!({"pod_uid": [COMMAND]}),
        ),
    ];
    for (parts, expect) in table {
        assert_eq!(host(&parts), expect, "{parts}");
    }
}

#[test]
fn both_halves_of_a_sent_command_meet() {
    let cloud = call(
        "ssm",
        "SendCommand",
        &json!({"responseElements": {"command": {"commandId": COMMAND.to_uppercase()}}}),
    );
    let host = host(&json!({"process": {"args": ["/usr/bin/ssm-document-worker", COMMAND]}}));
    assert_eq!(cloud["ssm_command_id"], host["ssm_command_id"]);
}

/// `ssh-keygen -lf` of the key above.
#[test]
fn a_fingerprint_is_that_of_ssh_keygen() {
    assert_eq!(fingerprint_of_key(KEY).unwrap(), "SHA256:kmYcvdi2GkPeWxB6XLjrZB8JHsy2Hm8luHMFp9GMvqk");
    for text in ["", "ssh-rsa", "ssh-rsa AAAA", "x y z"] {
        assert_eq!(fingerprint_of_key(text), None, "{text}");
    }
}

#[test]
fn what_is_and_is_not_an_instance_id() {
    for (text, is_one) in [
        ("i-01234567", true),
        (INSTANCE, true),
        ("mi-0123456789abcdef0", true),
        ("i-0123", false),
        ("i-0123456789abcdefg", false),
        ("", false),
        ("eni-01234567", false),
    ] {
        assert_eq!(is_instance_id(text), is_one, "{text}");
    }
}
