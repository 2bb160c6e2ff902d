//! What one CloudTrail record says about who is who.

use std::net::IpAddr;

use super::{Attribute, Fact, Subject};
use crate::link::{EC2, is_access_key_id, is_instance_id};
use crate::source::cloudtrail::record::ApiCall;
use crate::source::json::Json;
use crate::source::user_agent::UserAgent;

/// Facts of a CloudTrail record.
pub(crate) fn of_call(call: &ApiCall<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    caller(call, &mut facts);
    issued_key(call, &mut facts);
    ordered_work(call, &mut facts);
    match call.event_name() {
        Some("UpdateInstanceInformation") => heartbeat(call, &mut facts),
        Some("RunInstances") => launched(call, &mut facts),
        Some("TerminateInstances") => {
            for id in instances(call.response_elements()).filter_map(|item| item.str_at(&["instanceId"])) {
                push(&mut facts, &host(id), Attribute::Terminated, Some(""));
            }
        }
        _ => {}
    }
    facts
}

fn push(facts: &mut Vec<Fact>, subject: &Subject, attribute: Attribute, value: Option<&str>) {
    if let Some(value) = value {
        facts.push(Fact { subject: subject.clone(), attribute, value: value.into() });
    }
}

fn host(id: &str) -> Subject {
    Subject::Host(id.into())
}

fn instances<'j, 'a>(body: Option<&'j Json<'a>>) -> impl Iterator<Item = &'j Json<'a>> {
    body.and_then(|body| body.at(&["instancesSet", "items"])).map_or(&[][..], Json::items).iter()
}

/// A call by an instance's own role session tells what the instance is.
fn caller(call: &ApiCall<'_>, facts: &mut Vec<Fact>) {
    let identity = call.user_identity();
    let Some(name) = identity.delivered_to().filter(|name| is_instance_id(name)) else { return };
    let Some(session) = identity.arn().and_then(|arn| arn.split_once(":assumed-role/")).map(|(_, rest)| rest)
    else {
        return;
    };
    let Some((role, _)) = session.rsplit_once('/') else { return };
    let subject = host(name);
    push(facts, &subject, Attribute::Role, Some(role));
    push(facts, &subject, Attribute::Account, identity.account_id());
    if let Some(agent) = call.user_agent().map(UserAgent::parse) {
        push(facts, &subject, Attribute::Kernel, agent.os_version.filter(|_| agent.os_name == Some("Linux")));
    }
    let address = call.source_address().and_then(|text| text.parse::<IpAddr>().ok().map(|_| text));
    // Through a VPC endpoint the address is the instance's own.
    let attribute = if call.vpc_endpoint_id().is_some() { Attribute::PrivateIp } else { Attribute::EgressIp };
    push(facts, &subject, attribute, address);
    if let Some(key) = identity.access_key_id().filter(|key| is_access_key_id(key)) {
        let key = Subject::Key(key.into());
        push(facts, &key, Attribute::Role, Some(role));
        push(facts, &key, Attribute::RoleSession, Some(session));
        push(facts, &key, Attribute::Host, Some(name));
    }
}

fn issued_key(call: &ApiCall<'_>, facts: &mut Vec<Fact>) {
    let issued = call
        .response_str(&["credentials", "accessKeyId"])
        .or_else(|| call.response_str(&["accessKey", "accessKeyId"]))
        .filter(|key| is_access_key_id(key));
    let Some(key) = issued else { return };
    let identity = call.user_identity();
    let subject = Subject::Key(key.into());
    let creator = identity.arn().or_else(|| identity.invoked_by()).or_else(|| identity.principal_id());
    push(facts, &subject, Attribute::Creator, creator);
    push(facts, &subject, Attribute::Issuer, identity.access_key_id().filter(|key| is_access_key_id(key)));
    let arn = call.response_str(&["assumedRoleUser", "arn"]);
    if let Some((_, session)) = arn.and_then(|arn| arn.split_once(":assumed-role/")) {
        push(facts, &subject, Attribute::RoleSession, Some(session));
        push(facts, &subject, Attribute::Role, session.rsplit_once('/').map(|(role, _)| role));
        // EC2 takes up the role for an instance: the session says which. Anybody else's session may say anything.
        let is_by_ec2 = identity.invoked_by() == Some(EC2);
        let named = session.rsplit_once('/').filter(|(_, name)| is_by_ec2 && is_instance_id(name));
        if let Some((role, name)) = named {
            push(facts, &host(name), Attribute::Role, Some(role));
            push(facts, &host(name), Attribute::Account, call.recipient_account_id());
            push(facts, &subject, Attribute::Host, Some(name));
        }
    }
}

/// A command or a session: who asked for it, and for which hosts.
fn ordered_work(call: &ApiCall<'_>, facts: &mut Vec<Fact>) {
    let subject = match call.event_name() {
        Some("SendCommand") => call
            .response_str(&["command", "commandId"])
            .map(|id| Subject::Command(id.to_ascii_lowercase().into())),
        Some("StartSession") => call.response_str(&["sessionId"]).map(|id| Subject::Session(id.into())),
        _ => None,
    };
    let Some(subject) = subject.filter(|_| call.event_source() == Some("ssm.amazonaws.com")) else { return };
    push(facts, &subject, Attribute::Creator, call.user_identity().arn());
    push(facts, &subject, Attribute::Account, call.recipient_account_id());
    push(facts, &subject, Attribute::Region, call.region());
    push(facts, &subject, Attribute::Issuer, call.user_identity().access_key_id());
    let listed = call.response_elements().and_then(|body| body.at(&["command", "instanceIds"]));
    let targets = listed.map_or(&[][..], Json::items).iter().filter_map(Json::str);
    for id in targets.chain(call.request_str(&["target"])).filter(|id| is_instance_id(id)) {
        push(facts, &subject, Attribute::Host, Some(id));
    }
}

/// The SSM agent reports its host every few minutes.
fn heartbeat(call: &ApiCall<'_>, facts: &mut Vec<Fact>) {
    let Some(id) = call.request_str(&["instanceId"]).filter(|id| is_instance_id(id)) else { return };
    let subject = host(id);
    push(facts, &subject, Attribute::Account, call.recipient_account_id());
    push(facts, &subject, Attribute::Region, call.region());
    push(facts, &subject, Attribute::PrivateIp, call.request_str(&["iPAddress"]));
    push(facts, &subject, Attribute::Name, call.request_str(&["computerName"]));
    push(facts, &subject, Attribute::SsmAgent, call.request_str(&["agentVersion"]));
    let egress = call.source_address().filter(|text| text.parse::<IpAddr>().is_ok());
    push(facts, &subject, Attribute::EgressIp, egress.filter(|_| call.vpc_endpoint_id().is_none()));
}

fn launched(call: &ApiCall<'_>, facts: &mut Vec<Fact>) {
    for item in instances(call.response_elements()) {
        let Some(id) = item.str_at(&["instanceId"]).filter(|id| is_instance_id(id)) else { continue };
        let subject = host(id);
        push(facts, &subject, Attribute::Account, call.recipient_account_id());
        push(facts, &subject, Attribute::Region, call.region());
        push(facts, &subject, Attribute::Creator, call.user_identity().arn());
        for (attribute, key) in [
            (Attribute::PrivateIp, "privateIpAddress"),
            (Attribute::Image, "imageId"),
            (Attribute::InstanceType, "instanceType"),
            (Attribute::Vpc, "vpcId"),
            (Attribute::Architecture, "architecture"),
        ] {
            push(facts, &subject, attribute, item.str_at(&[key]));
        }
    }
}
