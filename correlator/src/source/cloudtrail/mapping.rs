//! CloudTrail to ECS, with the field names of Elastic's AWS integration, so that rules written for it hold.

use std::net::IpAddr;

use crate::source::cloudtrail::java_text::java_text;
use crate::source::cloudtrail::record::ApiCall;
use crate::source::json::Json;
use crate::source::user_agent::UserAgent;
use crate::source::{FieldSink, Scalar};

pub(crate) const DATASET: &str = "aws.cloudtrail";

/// Longer text is not split into `flattened.*`: Lucene's limit for one term, and Elastic's for these fields.
const MAX_FLATTENED_LEN: usize = 32_766;

/// Writes everything of a record but its time, which the caller has read to know that it is one.
pub(crate) fn map(call: &ApiCall<'_>, sink: &mut dyn FieldSink) {
    let mut fields = Fields { sink };
    event(call, &mut fields);
    identity(call, &mut fields);
    origin_of_call(call, &mut fields);
    bodies(call, &mut fields);
    resources(call, &mut fields);
    users_and_groups(call, &mut fields);
    fields.text("data_stream.type", Some("logs"));
    fields.text("data_stream.dataset", Some(DATASET));
    fields.text("data_stream.namespace", Some("default"));
    fields.text("ecs.version", Some("8.17.0"));
}

/// Skips what is absent, so that a mapping reads as a table.
struct Fields<'s> {
    sink: &'s mut dyn FieldSink,
}

impl Fields<'_> {
    fn text(&mut self, path: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.sink.put(path, Scalar::Str(value));
        }
    }

    fn bool(&mut self, path: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.sink.put(path, Scalar::Bool(value));
        }
    }

    fn texts(&mut self, path: &str, values: &[&str]) {
        for value in values {
            self.sink.put(path, Scalar::Str(value));
        }
    }
}

fn event(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    fields.text("event.action", call.event_name());
    fields.text("event.provider", call.event_source());
    fields.text("event.kind", Some("event"));
    fields.text("event.module", Some("aws"));
    fields.text("event.dataset", Some(DATASET));
    fields.text("event.outcome", Some(outcome(call)));
    let (category, kind) = categories(call.event_name().unwrap_or_default());
    fields.texts("event.category", category);
    fields.texts("event.type", kind);
    fields.text("aws.cloudtrail.event_version", call.event_version());
    fields.text("aws.cloudtrail.event_category", call.event_category());
    fields.text("aws.cloudtrail.event_type", call.event_type());
    fields.text("aws.cloudtrail.api_version", call.api_version());
    fields.text("aws.cloudtrail.request_id", call.request_id());
    fields.text("aws.cloudtrail.shared_event_id", call.shared_event_id());
    fields.text("aws.cloudtrail.recipient_account_id", call.recipient_account_id());
    fields.text("aws.cloudtrail.error_code", call.error_code());
    fields.text("aws.cloudtrail.error_message", call.error_message());
    fields.bool("aws.cloudtrail.read_only", call.is_read_only());
    fields.bool("aws.cloudtrail.management_event", call.is_management_event());
    let console = call.is_console_session().map(|is_console| if is_console { "true" } else { "false" });
    fields.text("aws.cloudtrail.session_credential_from_console", console);
}

/// An error code or only a message is a failure; `ConsoleLogin` says it in its answer.
fn outcome(call: &ApiCall<'_>) -> &'static str {
    let answer = call.console_login_answer().filter(|_| call.event_name() == Some("ConsoleLogin"));
    match answer {
        Some(answer) if answer.eq_ignore_ascii_case("success") => "success",
        Some(_) => "failure",
        None if call.error_code().is_some() || call.error_message().is_some() => "failure",
        None => "success",
    }
}

fn identity(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    let identity = call.user_identity();
    for (path, value) in [
        ("aws.cloudtrail.user_identity.type", identity.kind()),
        ("aws.cloudtrail.user_identity.arn", identity.arn()),
        ("aws.cloudtrail.user_identity.account_id", identity.account_id()),
        ("aws.cloudtrail.user_identity.principal_id", identity.principal_id()),
        ("aws.cloudtrail.user_identity.user_name", identity.user_name()),
        ("aws.cloudtrail.user_identity.access_key_id", identity.access_key_id()),
        ("aws.cloudtrail.user_identity.invoked_by", identity.invoked_by()),
        ("aws.cloudtrail.user_identity.identity_provider", identity.identity_provider()),
        ("aws.cloudtrail.user_identity.on_behalf_of.user_id", identity.on_behalf_of("userId")),
        (
            "aws.cloudtrail.user_identity.on_behalf_of.identity_store_arn",
            identity.on_behalf_of("identityStoreArn"),
        ),
        ("aws.cloudtrail.user_identity.in_scope_of.issuer_type", identity.in_scope_of("issuerType")),
        (
            "aws.cloudtrail.user_identity.in_scope_of.credentials_issued_to",
            identity.in_scope_of("credentialsIssuedTo"),
        ),
        ("aws.cloudtrail.user_identity.in_scope_of.source_arn", identity.in_scope_of("sourceArn")),
        ("aws.cloudtrail.user_identity.in_scope_of.source_account", identity.in_scope_of("sourceAccount")),
        ("aws.cloudtrail.user_identity.credential_id", identity.credential_id()),
        ("aws.cloudtrail.user_identity.session_context.creation_date", identity.session_created()),
        ("aws.cloudtrail.user_identity.session_context.ec2_role_delivery", identity.ec2_role_delivery()),
        ("aws.cloudtrail.user_identity.session_context.source_identity", identity.source_identity()),
        ("aws.cloudtrail.user_identity.session_context.session_issuer.type", identity.issuer("type")),
        (
            "aws.cloudtrail.user_identity.session_context.session_issuer.principal_id",
            identity.issuer("principalId"),
        ),
        ("aws.cloudtrail.user_identity.session_context.session_issuer.arn", identity.issuer("arn")),
        (
            "aws.cloudtrail.user_identity.session_context.session_issuer.account_id",
            identity.issuer("accountId"),
        ),
        (
            "aws.cloudtrail.user_identity.session_context.session_issuer.user_name",
            identity.issuer_user_name(),
        ),
        (
            "aws.cloudtrail.user_identity.session_context.web_id_federation_data.federated_provider",
            identity.federated_provider(),
        ),
    ] {
        fields.text(path, value);
    }
    // A keyword in Elastic's mapping.
    let mfa = identity.mfa_authenticated().map(|is_mfa| if is_mfa { "true" } else { "false" });
    fields.text("aws.cloudtrail.user_identity.session_context.mfa_authenticated", mfa);

    if let Some(attributes) = identity.federation_attributes() {
        flattened(
            "aws.cloudtrail.user_identity.session_context.web_id_federation_data.attributes",
            attributes,
            fields,
        );
    }

    // For an assumed role the issuer's name, the role's, stands for the user.
    fields.text("user.name", identity.issuer_user_name().or_else(|| identity.user_name()));
    fields.text("user.id", identity.principal_id());
    fields.text("cloud.provider", Some("aws"));
    fields.text("cloud.account.id", identity.account_id().or_else(|| call.recipient_account_id()));
    fields.text("cloud.region", call.region());
}

fn origin_of_call(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    if let Some(address) = call.source_address() {
        fields.text("source.address", Some(address));
        // A service's name, `AWS Internal` and addresses with leading zeros are no addresses.
        if address.parse::<IpAddr>().is_ok() {
            fields.text("source.ip", Some(address));
            fields.text("related.ip", Some(address));
        }
    }
    if let Some(text) = call.user_agent() {
        let agent = UserAgent::parse(text);
        fields.text("user_agent.original", Some(agent.original).filter(|text| !text.is_empty()));
        fields.text("user_agent.name", Some(agent.name.unwrap_or("Other")));
        fields.text("user_agent.version", agent.version);
        fields.text("user_agent.os.name", agent.os_name);
        fields.text("user_agent.os.version", agent.os_version);
        fields.text("groundtrail.aws_cli.command", agent.command);
        fields.text("groundtrail.user_agent.command", agent.command);
        fields.text("groundtrail.user_agent.language", agent.language);
        fields.text("groundtrail.user_agent.os_kernel", agent.kernel());
        fields.text("groundtrail.user_agent.architecture", agent.arch);
        fields.text("groundtrail.user_agent.execution_env", agent.execution_env);
        fields.text("groundtrail.user_agent.app_id", agent.app_id);
        fields.text("groundtrail.user_agent.credential_source", agent.credential_source);
        fields.bool("groundtrail.user_agent.endpoint_override", agent.has_endpoint_override.then_some(true));
    }
    fields.text("aws.cloudtrail.vpc_endpoint_id", call.vpc_endpoint_id());
    fields.text("aws.cloudtrail.vpc_endpoint_account_id", call.vpc_endpoint_account_id());
    fields.text("tls.client.server_name", call.tls_host());
    fields.text("tls.cipher", call.tls_cipher());
    if let Some(version) = call.tls_version() {
        match version.split_once('v') {
            Some((protocol, number)) => {
                fields.text("tls.version", Some(number));
                fields.text("tls.version_protocol", Some(&protocol.to_ascii_lowercase()));
            }
            None => fields.text("tls.version", Some(version)),
        }
    }
}

fn bodies(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    for (path, below, body) in [
        (
            "aws.cloudtrail.request_parameters",
            "aws.cloudtrail.flattened.request_parameters",
            call.request_parameters(),
        ),
        (
            "aws.cloudtrail.response_elements",
            "aws.cloudtrail.flattened.response_elements",
            call.response_elements(),
        ),
        (
            "aws.cloudtrail.additional_eventdata",
            "aws.cloudtrail.flattened.additional_eventdata",
            call.additional_event_data(),
        ),
        (
            "aws.cloudtrail.service_event_details",
            "aws.cloudtrail.flattened.service_event_details",
            call.service_event_details(),
        ),
    ] {
        let Some(body) = body else { continue };
        let text = java_text(body);
        fields.text(path, Some(&text));
        if text.len() < MAX_FLATTENED_LEN {
            flattened(below, body, fields);
        }
    }
    insight(call, fields);
    addendum(call, fields);
    if call.event_name() == Some("ConsoleLogin") {
        let data =
            |key: &str| call.additional_event_data().and_then(|data| data.get(key)).and_then(Json::str);
        let base = "aws.cloudtrail.console_login.additional_eventdata";
        fields.bool(&format!("{base}.mobile_version"), data("MobileVersion").map(|answer| answer != "No"));
        fields.bool(&format!("{base}.mfa_used"), data("MFAUsed").map(|answer| answer != "No"));
        fields.text(&format!("{base}.login_to"), data("LoginTo"));
    }
}

/// What CloudTrail Insights found unusual. The start and the end of one finding share their `sharedEventID`.
fn insight(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    let Some(details) = call.insight_details() else { return };
    let base = "aws.cloudtrail.insight_details";
    for (leaf, key) in [
        ("state", "state"),
        ("event_source", "eventSource"),
        ("event_name", "eventName"),
        ("insight_type", "insightType"),
    ] {
        fields.text(&format!("{base}.{leaf}"), details.str_at(&[key]));
    }
    if let Some(context) = details.get("insightContext") {
        flattened(&format!("{base}.insight_context"), context, fields);
    }
}

/// Why a record came late or once more, and which one it stands for.
fn addendum(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    let Some(addendum) = call.addendum() else { return };
    for (leaf, key) in [
        ("reason", "reason"),
        ("updated_fields", "updatedFields"),
        ("original_request_id", "originalRequestID"),
        ("original_event_id", "originalEventID"),
    ] {
        fields.text(&format!("aws.cloudtrail.addendum.{leaf}"), addendum.str_at(&[key]));
    }
}

/// The leaves of an open object, unless they say nothing.
fn flattened(below: &str, body: &Json<'_>, fields: &mut Fields<'_>) {
    if body.is_object() {
        fields.sink.put_below(below, body);
    }
}

fn resources(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    let mut seen = Vec::new();
    for resource in call.resources() {
        let either = |one, two| resource.get(one).or_else(|| resource.get(two)).and_then(Json::str);
        let parts = (either("ARN", "arn"), resource.str_at(&["accountId"]), resource.str_at(&["type"]));
        if parts == (None, None, None) || seen.contains(&parts) {
            continue;
        }
        seen.push(parts);
        fields.text("aws.cloudtrail.resources.arn", parts.0);
        fields.text("aws.cloudtrail.resources.account_id", parts.1);
        fields.text("aws.cloudtrail.resources.type", parts.2);
    }
}

fn users_and_groups(call: &ApiCall<'_>, fields: &mut Fields<'_>) {
    let identity = call.user_identity();
    let mut related: Vec<&str> = Vec::new();
    let names =
        [identity.user_name(), identity.issuer_user_name(), call.target_user_name(), call.new_user_name()];
    for name in names.into_iter().flatten() {
        if !related.contains(&name) {
            related.push(name);
        }
    }
    fields.texts("related.user", &related);
    fields.text("user.target.name", call.target_user_name());
    fields.text("user.target.id", call.created_user_id());
    fields.text("user.changes.name", call.new_user_name());
    fields.text("group.name", call.target_group_name());
    fields.text("group.id", call.group_id());
}

/// `event.category` and `event.type` by API name; all others are plain `info`.
fn categories(action: &str) -> (&'static [&'static str], &'static [&'static str]) {
    const IAM: &[&str] = &["iam"];
    match action {
        "AssumeRole" | "ConsoleLogin" => (&["authentication"], &["info"]),
        "CreateBucket" => (&["file"], &["creation"]),
        "DeleteBucket" => (&["file"], &["deletion"]),
        "CreateUser" => (IAM, &["user", "creation"]),
        "DeleteUser" => (IAM, &["user", "deletion"]),
        "CreateGroup" => (IAM, &["group", "creation"]),
        "DeleteGroup" => (IAM, &["group", "deletion"]),
        "CreateKeyPair" => (IAM, &["admin", "creation"]),
        "AddUserToGroup"
        | "AttachGroupPolicy"
        | "DeleteGroupPolicy"
        | "DetachGroupPolicy"
        | "PutGroupPolicy"
        | "RemoveUserFromGroup"
        | "UpdateGroup" => (IAM, &["group", "change"]),
        "GetGroup"
        | "GetGroupPolicy"
        | "ListAttachedGroupPolicies"
        | "ListGroupPolicies"
        | "ListGroups"
        | "ListGroupsForUser" => (IAM, &["group", "info"]),
        "GetUser"
        | "GetUserPolicy"
        | "ListAttachedUserPolicies"
        | "ListUserPolicies"
        | "ListUsers"
        | "ListUserTags" => (IAM, &["user", "info"]),
        "AttachUserPolicy"
        | "ChangePassword"
        | "CreateAccessKey"
        | "CreateVirtualMFADevice"
        | "DeactivateMFADevice"
        | "DeleteAccessKey"
        | "DeleteSSHPublicKey"
        | "DeleteUserPermissionsBoundary"
        | "DeleteUserPolicy"
        | "DeleteVirtualMFADevice"
        | "DetachUserPolicy"
        | "EnableMFADevice"
        | "PutUserPermissionsBoundary"
        | "PutUserPolicy"
        | "TagUser"
        | "UntagUser"
        | "UpdateAccessKey"
        | "UpdateLoginProfile"
        | "UpdateSSHPublicKey"
        | "UpdateUser" => (IAM, &["user", "change"]),
        "SetDefaultPolicyVersion"
        | "SetSecurityTokenServicePreferences"
        | "UpdateAccountPasswordPolicy"
        | "UpdateRole" => (IAM, &["admin", "change"]),
        _ => (&[], &["info"]),
    }
}
