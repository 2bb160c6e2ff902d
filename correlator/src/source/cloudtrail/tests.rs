//! The traps of CloudTrail records, each by its symptom in the mapped document.

use serde_json::{Value, json};

use crate::source::Origin;
use crate::source::normalize::tests::{document, normalizer};

/// A record with the given parts over a plain one.
fn record(parts: &Value) -> String {
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE0000000001:i-0123456789abcdef0",
            "arn": "arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0",
            "accountId": "111122223333", "accessKeyId": "ASIAEXAMPLE000000001",
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "principalId": "AROAEXAMPLE0000000001", "userName": "web",
                    "arn": "arn:aws:iam::111122223333:role/web", "accountId": "111122223333"},
                "attributes": {"creationDate": "2026-11-02T09:00:00Z", "mfaAuthenticated": "false"},
                "ec2RoleDelivery": "2.0"
            }
        },
        "eventTime": "2026-11-02T10:00:00Z", "eventSource": "ec2.amazonaws.com", "eventName": "RunInstances",
        "awsRegion": "us-east-1", "sourceIPAddress": "198.51.100.23",
        "userAgent": "aws-cli/2.17.20 os/linux#6.1.0 md/command#ec2.run-instances sid/0123456789ab",
        "requestParameters": null, "responseElements": null,
        "requestID": "r-1", "eventID": "00000000-0000-0000-0000-000000000001", "readOnly": false,
        "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333",
        "eventCategory": "Management"
    });
    for (key, value) in parts.as_object().unwrap() {
        record[key] = value.clone();
    }
    record.to_string()
}

/// Maps the record and looks at places of the document.
fn check(parts: Value, expect: &[(&str, Value)]) {
    let found = document(Origin::CloudTrail, &record(&parts));
    for (pointer, value) in expect {
        let pointer = format!("/{}", pointer.replace('.', "/"));
        assert_eq!(found.pointer(&pointer).unwrap_or(&Value::Null), value, "{pointer} of {found:#}");
    }
}

#[test]
fn a_plain_record_in_ecs() {
    check(
        json!({"tlsDetails": {"tlsVersion": "TLSv1.3", "clientProvidedHostHeader": "ec2.us-east-1.amazonaws.com"}}),
        &[
            ("@timestamp", json!("2026-11-02T10:00:00.000Z")),
            ("event.action", json!("RunInstances")),
            ("event.provider", json!("ec2.amazonaws.com")),
            ("event.outcome", json!("success")),
            ("event.kind", json!("event")),
            ("event.type", json!(["info"])),
            ("event.id", json!("00000000-0000-0000-0000-000000000001")),
            ("event.dataset", json!("aws.cloudtrail")),
            ("data_stream.dataset", json!("aws.cloudtrail")),
            ("aws.cloudtrail.user_identity.type", json!("AssumedRole")),
            ("aws.cloudtrail.user_identity.access_key_id", json!("ASIAEXAMPLE000000001")),
            (
                "aws.cloudtrail.user_identity.session_context.session_issuer.arn",
                json!("arn:aws:iam::111122223333:role/web"),
            ),
            ("aws.cloudtrail.user_identity.session_context.ec2_role_delivery", json!("2.0")),
            ("user.name", json!("web")),
            ("user.id", json!("AROAEXAMPLE0000000001:i-0123456789abcdef0")),
            ("cloud.account.id", json!("111122223333")),
            ("cloud.region", json!("us-east-1")),
            ("source.ip", json!("198.51.100.23")),
            ("user_agent.name", json!("aws-cli")),
            ("user_agent.version", json!("2.17.20")),
            ("groundtrail.aws_cli.command", json!("ec2.run-instances")),
            ("tls.version", json!("1.3")),
            ("tls.version_protocol", json!("tls")),
            ("tls.client.server_name", json!("ec2.us-east-1.amazonaws.com")),
            ("related.user", json!(["web"])),
            ("groundtrail.link.instance_id", json!(["i-0123456789abcdef0"])),
            ("groundtrail.link.role_session", json!(["web/i-0123456789abcdef0"])),
            ("groundtrail.link.access_key_id", json!(["ASIAEXAMPLE000000001"])),
            ("groundtrail.link.cli_session_id", json!(["0123456789ab"])),
        ],
    );
}

#[test]
fn null_bodies_are_absent() {
    check(
        json!({"requestParameters": null, "responseElements": {}, "errorCode": "", "additionalEventData": {"a": null}}),
        &[
            ("aws.cloudtrail.request_parameters", Value::Null),
            ("aws.cloudtrail.response_elements", Value::Null),
            ("aws.cloudtrail.additional_eventdata", Value::Null),
            ("aws.cloudtrail.error_code", Value::Null),
            ("event.outcome", json!("success")),
        ],
    );
}

#[test]
fn a_string_may_stand_where_an_object_is_expected() {
    check(
        json!({"eventSource": "ssm.amazonaws.com", "eventName": "SendCommand",
            "requestParameters": {"documentName": "AWS-RunShellScript", "parameters": "HIDDEN_DUE_TO_SECURITY_REASONS"},
            "responseElements": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
        &[
            ("aws.cloudtrail.response_elements", json!("HIDDEN_DUE_TO_SECURITY_REASONS")),
            ("aws.cloudtrail.flattened.response_elements", Value::Null),
            (
                "aws.cloudtrail.flattened.request_parameters.parameters",
                json!("HIDDEN_DUE_TO_SECURITY_REASONS"),
            ),
            ("groundtrail.link.ssm_command_id", Value::Null),
        ],
    );
}

#[test]
fn a_source_that_is_no_address_is_kept_as_text_only() {
    for address in ["ssm.amazonaws.com", "AWS Internal", "253.252.51.07", "198.51.100.XXX"] {
        check(
            json!({"sourceIPAddress": address}),
            &[("source.address", json!(address)), ("source.ip", Value::Null), ("related.ip", Value::Null)],
        );
    }
    check(json!({"sourceIPAddress": "2001:db8::7"}), &[("source.ip", json!("2001:db8::7"))]);
}

#[test]
fn brackets_of_a_user_agent_are_stripped() {
    check(
        json!({"userAgent": "[aws-cli/1.32.1 Python/3.11.2 Linux/6.1.0-50 botocore/1.34.1]"}),
        &[
            ("user_agent.original", json!("aws-cli/1.32.1 Python/3.11.2 Linux/6.1.0-50 botocore/1.34.1")),
            ("user_agent.name", json!("aws-cli")),
            ("user_agent.os.version", json!("6.1.0-50")),
        ],
    );
}

#[test]
fn principals_with_no_and_with_several_colons() {
    let identity = |principal: &str| json!({"userIdentity": {"type": "IAMUser", "principalId": principal, "userName": "amy"}});
    check(
        identity("AIDAEXAMPLE0000000001"),
        &[
            ("user.id", json!("AIDAEXAMPLE0000000001")),
            ("user.name", json!("amy")),
            ("groundtrail.link.instance_id", Value::Null),
        ],
    );
    check(
        identity("arn:aws:iam::111122223333:saml-provider/x:amy:1"),
        &[("user.id", json!("arn:aws:iam::111122223333:saml-provider/x:amy:1"))],
    );
}

#[test]
fn request_parameters_left_out_by_aws_stay_visible() {
    check(
        json!({"requestParameters": {"omitted": true, "originalSize": 110_000, "reason": "requestParameters too large"}}),
        &[
            ("aws.cloudtrail.flattened.request_parameters.omitted", json!("true")),
            ("aws.cloudtrail.flattened.request_parameters.reason", json!("requestParameters too large")),
        ],
    );
}

#[test]
fn the_shared_event_id_in_both_spellings() {
    for key in ["sharedEventID", "sharedEventId"] {
        check(json!({key: "s-1"}), &[("aws.cloudtrail.shared_event_id", json!("s-1"))]);
    }
}

#[test]
fn an_addendum_names_the_event_it_changes() {
    check(
        json!({"addendum": {"reason": "UPDATED_DATA", "updatedFields": "userAgent", "originalEventID": "e-0"}}),
        &[
            ("aws.cloudtrail.addendum.reason", json!("UPDATED_DATA")),
            ("aws.cloudtrail.addendum.original_event_id", json!("e-0")),
        ],
    );
}

#[test]
fn an_insight_names_what_was_unusual() {
    check(
        json!({"eventType": "AwsCloudTrailInsight", "eventCategory": "Insight", "sharedEventID": "s-1",
            "eventSource": null, "eventName": null,
            "insightDetails": {"state": "Start", "eventSource": "ec2.amazonaws.com", "eventName": "RunInstances",
                "insightType": "ApiCallRateInsight",
                "insightContext": {"statistics": {"baseline": {"average": 0.02}, "insight": {"average": 9}}}}}),
        &[
            ("aws.cloudtrail.event_category", json!("Insight")),
            ("aws.cloudtrail.shared_event_id", json!("s-1")),
            ("aws.cloudtrail.insight_details.state", json!("Start")),
            ("aws.cloudtrail.insight_details.event_name", json!("RunInstances")),
            ("aws.cloudtrail.insight_details.insight_context.statistics.insight.average", json!("9")),
        ],
    );
}

/// Each kind of `userIdentity` that AWS documents.
#[test]
fn identities_of_every_type() {
    let base = "aws.cloudtrail.user_identity";
    let at = |leaf: &str| format!("{base}.{leaf}");
    for (identity, leaf, value) in [
        (
            json!({"type": "Root", "principalId": "111122223333", "arn": "arn:aws:iam::111122223333:root"}),
            "principal_id",
            "111122223333",
        ),
        (json!({"type": "IAMUser", "userName": "amy"}), "user_name", "amy"),
        (
            json!({"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"userName": "web"}}}),
            "session_context.session_issuer.user_name",
            "web",
        ),
        (json!({"type": "Role", "accountId": "111122223333"}), "account_id", "111122223333"),
        (
            json!({"type": "FederatedUser", "principalId": "111122223333:amy"}),
            "principal_id",
            "111122223333:amy",
        ),
        (json!({"type": "Directory", "userName": "amy"}), "user_name", "amy"),
        (json!({"type": "AWSAccount", "accountId": "444455556666"}), "account_id", "444455556666"),
        (
            json!({"type": "AWSService", "invokedBy": "config.amazonaws.com"}),
            "invoked_by",
            "config.amazonaws.com",
        ),
        (
            json!({"type": "IdentityCenterUser", "onBehalfOf": {"userId": "u-1", "identityStoreArn": "arn:aws:identitystore::1:identitystore/d-1"}}),
            "on_behalf_of.identity_store_arn",
            "arn:aws:identitystore::1:identitystore/d-1",
        ),
        (
            json!({"type": "SAMLUser", "identityProvider": "idp", "userName": "amy"}),
            "identity_provider",
            "idp",
        ),
        (
            json!({"type": "WebIdentityUser", "identityProvider": "arn:aws:iam::1:oidc-provider/x", "userName": "system:serviceaccount:ns:sa"}),
            "user_name",
            "system:serviceaccount:ns:sa",
        ),
        (json!({"type": "Unknown", "principalId": "p"}), "principal_id", "p"),
        (
            json!({"type": "AssumedRole", "inScopeOf": {"issuerType": "AWS::Lambda::Function", "credentialsIssuedTo": "arn:aws:lambda:x"}}),
            "in_scope_of.credentials_issued_to",
            "arn:aws:lambda:x",
        ),
        (
            json!({"type": "AssumedRole", "sessionContext": {"webIdFederationData": {"federatedProvider": "accounts.example.net", "attributes": {"aud": "a"}}}}),
            "session_context.web_id_federation_data.attributes.aud",
            "a",
        ),
    ] {
        let kind = identity["type"].clone();
        check(json!({"userIdentity": identity}), &[(&at("type"), kind), (&at(leaf), json!(value))]);
    }
}

#[test]
fn a_failure_without_an_error_code() {
    check(json!({"errorMessage": "denied"}), &[("event.outcome", json!("failure"))]);
    check(
        json!({"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}}),
        &[("event.outcome", json!("failure")), ("event.category", json!(["authentication"]))],
    );
    check(
        json!({"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"},
            "additionalEventData": {"MFAUsed": "No", "LoginTo": "https://console.aws.amazon.com/x"}}),
        &[
            ("event.outcome", json!("success")),
            ("aws.cloudtrail.console_login.additional_eventdata.mfa_used", json!(false)),
        ],
    );
}

#[test]
fn equal_resources_count_once() {
    let bucket = json!({"ARN": "arn:aws:s3:::b", "accountId": "111122223333", "type": "AWS::S3::Bucket"});
    check(
        json!({"resources": [bucket, bucket, {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::b/k"}]}),
        &[
            ("aws.cloudtrail.resources.arn", json!(["arn:aws:s3:::b", "arn:aws:s3:::b/k"])),
            ("aws.cloudtrail.resources.account_id", json!("111122223333")),
        ],
    );
}

#[test]
fn a_service_event_has_no_identity_type() {
    check(
        json!({"userIdentity": {"accountId": "111122223333", "invokedBy": "batch.amazonaws.com"},
            "eventType": "AwsServiceEvent", "sessionCredentialFromConsole": "true"}),
        &[
            ("aws.cloudtrail.user_identity.type", Value::Null),
            ("aws.cloudtrail.user_identity.invoked_by", json!("batch.amazonaws.com")),
            ("aws.cloudtrail.session_credential_from_console", json!("true")),
        ],
    );
}

#[test]
fn a_record_that_was_indexed_before_has_only_a_timestamp() {
    let text =
        r#"{"eventSource":"s3.amazonaws.com","eventName":"GetObject","@timestamp":"2026-11-02T10:00:00.5Z"}"#;
    assert_eq!(document(Origin::CloudTrail, text)["@timestamp"], json!("2026-11-02T10:00:00.500Z"));
    let error =
        normalizer().read(Origin::CloudTrail, r#"{"eventSource":"s3","eventName":"GetObject"}"#).unwrap_err();
    assert!(error.to_string().contains("eventTime"), "{error}");
}

#[test]
fn a_huge_body_is_text_and_not_split() {
    let big = "x".repeat(40_000);
    check(
        json!({"requestParameters": {"policy": big}}),
        &[("aws.cloudtrail.flattened.request_parameters", Value::Null)],
    );
}
