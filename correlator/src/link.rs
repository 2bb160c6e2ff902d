//! Link fields: the identifiers that stand literally in both halves, host events and AWS's own logs, in one form.
//!
//! Nothing is looked up here. What takes memory (address to instance, key to session) is [`crate::identity`]'s.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::source::cloudtrail::record::ApiCall;
use crate::source::json::Json;
use crate::source::sensor::HostFacts;
use crate::source::user_agent::UserAgent;
use crate::source::{FieldSink, Scalar};

/// What kind of identifier links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    InstanceId,
    AccessKeyId,
    RoleSession,
    SsmCommandId,
    SsmSessionId,
    SsmAssociationId,
    SshKeyFingerprint,
    CliSessionId,
    TlsHost,
    ContainerId,
    EcsTaskId,
    PodUid,
}

impl Link {
    pub const ALL: [Self; 12] = [
        Self::InstanceId,
        Self::AccessKeyId,
        Self::RoleSession,
        Self::SsmCommandId,
        Self::SsmSessionId,
        Self::SsmAssociationId,
        Self::SshKeyFingerprint,
        Self::CliSessionId,
        Self::TlsHost,
        Self::ContainerId,
        Self::EcsTaskId,
        Self::PodUid,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Self::InstanceId => "groundtrail.link.instance_id",
            Self::AccessKeyId => "groundtrail.link.access_key_id",
            Self::RoleSession => "groundtrail.link.role_session",
            Self::SsmCommandId => "groundtrail.link.ssm_command_id",
            Self::SsmSessionId => "groundtrail.link.ssm_session_id",
            Self::SsmAssociationId => "groundtrail.link.ssm_association_id",
            Self::SshKeyFingerprint => "groundtrail.link.ssh_key_fingerprint",
            Self::CliSessionId => "groundtrail.link.cli_session_id",
            Self::TlsHost => "groundtrail.link.tls_host",
            Self::ContainerId => "groundtrail.link.container_id",
            Self::EcsTaskId => "groundtrail.link.ecs_task_id",
            Self::PodUid => "groundtrail.link.pod_uid",
        }
    }
}

/// The links of one event, each once.
#[derive(Debug, Default)]
pub struct Links<'a> {
    found: Vec<(Link, Cow<'a, str>)>,
}

/// The service that takes up a role for an instance.
pub(crate) const EC2: &str = "ec2.amazonaws.com";

/// A call that names more instances than this is about a fleet, not about a host.
const MAX_PER_LINK: usize = 64;

impl<'a> Links<'a> {
    pub fn add(&mut self, link: Link, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        let is_known = self.found.iter().any(|(kind, held)| *kind == link && *held == value);
        let n_held = self.found.iter().filter(|(kind, _)| *kind == link).count();
        if !value.is_empty() && !is_known && n_held < MAX_PER_LINK {
            self.found.push((link, value));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Link, &str)> {
        self.found.iter().map(|(link, value)| (*link, value.as_ref()))
    }

    /// Writes the links that the document does not carry itself.
    pub fn put(&self, known: &[(&str, &str)], sink: &mut dyn FieldSink) {
        for (link, value) in self.iter() {
            if !known.contains(&(link.path(), value)) {
                sink.put(link.path(), Scalar::Str(value));
            }
        }
    }

    fn instance(&mut self, value: Option<&'a str>) {
        if let Some(value) = value.filter(|value| is_instance_id(value)) {
            self.add(Link::InstanceId, value);
        }
    }

    fn access_key(&mut self, value: Option<&'a str>) {
        if let Some(value) = value.filter(|value| is_access_key_id(value)) {
            self.add(Link::AccessKeyId, value);
        }
    }

    /// `ROLE/SESSION` of `arn:…:assumed-role/ROLE/SESSION`.
    fn role_session(&mut self, arn: Option<&'a str>) {
        let Some((_, session)) = arn.and_then(|arn| arn.split_once(":assumed-role/")) else { return };
        self.add(Link::RoleSession, session);
        let Some((_, name)) = session.rsplit_once('/') else { return };
        // A task role's session is named after the task, which is 32 hexadecimal digits.
        if name.len() == 32 && is_hex(name) {
            self.add(Link::EcsTaskId, name);
        }
    }
}

/// Links of a CloudTrail record.
pub fn of_call<'r>(call: &ApiCall<'r>) -> Links<'r> {
    let mut links = Links::default();
    let identity = call.user_identity();
    links.role_session(identity.arn());
    links.instance(identity.delivered_to());
    links.access_key(identity.access_key_id());
    links.access_key(call.response_str(&["credentials", "accessKeyId"]));
    links.access_key(call.response_str(&["accessKey", "accessKeyId"]));
    links.access_key(call.request_str(&["accessKeyId"]));
    let assumed = call.response_str(&["assumedRoleUser", "arn"]);
    links.role_session(assumed);
    if identity.invoked_by() == Some(EC2) {
        links.instance(assumed.and_then(|arn| arn.rsplit('/').next()));
    }
    if let Some(host) = call.tls_host() {
        links.add(Link::TlsHost, host.to_ascii_lowercase());
    }
    if let Some(agent) = call.user_agent()
        && let Some(session) = UserAgent::parse(agent).cli_session_id
    {
        links.add(Link::CliSessionId, session);
    }
    // A listing names hosts without touching them.
    let action = call.event_name().unwrap_or_default();
    if !action.starts_with("Describe") && !action.starts_with("List") {
        targets(call, &mut links);
    }
    match call.event_source() {
        Some("ssm.amazonaws.com") => systems_manager(call, &mut links),
        Some("eks-auth.amazonaws.com" | "sts.amazonaws.com") => pod_tags(call, &mut links),
        _ => {}
    }
    public_key(call, &mut links);
    links
}

fn targets<'r>(call: &ApiCall<'r>, links: &mut Links<'r>) {
    for body in [call.request_parameters(), call.response_elements()].into_iter().flatten() {
        targets_of(body, links);
        // EC2's newer calls say what they say one level down, in `<Call>Request` and `<Call>Response`.
        for (name, inner) in body.entries() {
            if name.ends_with("Request") || name.ends_with("Response") {
                targets_of(inner, links);
                links
                    .instance(inner.at(&["iamInstanceProfileAssociation", "instanceId"]).and_then(Json::str));
            }
        }
    }
}

fn targets_of<'r>(body: &Json<'r>, links: &mut Links<'r>) {
    for key in ["instanceId", "InstanceId", "target"] {
        links.instance(body.str_at(&[key]));
    }
    for list in [body.get("instanceIds"), body.at(&["command", "instanceIds"])].into_iter().flatten() {
        list.items().iter().for_each(|id| links.instance(id.str()));
    }
    for item in body.at(&["instancesSet", "items"]).map_or(&[][..], Json::items) {
        links.instance(item.str_at(&["instanceId"]));
    }
    for target in body.get("targets").map_or(&[][..], Json::items) {
        if target.str_at(&["key"]).is_some_and(|key| key.eq_ignore_ascii_case("InstanceIds")) {
            target.get("values").map_or(&[][..], Json::items).iter().for_each(|id| links.instance(id.str()));
        }
    }
}

fn systems_manager<'r>(call: &ApiCall<'r>, links: &mut Links<'r>) {
    for id in [call.response_str(&["command", "commandId"]), call.request_str(&["commandId"])] {
        if let Some(id) = id.filter(|id| is_uuid(id)) {
            links.add(Link::SsmCommandId, id.to_ascii_lowercase());
        }
    }
    for id in [call.response_str(&["sessionId"]), call.request_str(&["sessionId"])].into_iter().flatten() {
        links.add(Link::SsmSessionId, id);
    }
    let answers = [
        call.response_str(&["associationDescription", "associationId"]),
        call.response_str(&["associationId"]),
        call.request_str(&["associationId"]),
    ];
    let listed =
        call.request_parameters().and_then(|body| body.get("associationIds")).map_or(&[][..], Json::items);
    for id in answers.into_iter().flatten().chain(listed.iter().filter_map(Json::str)) {
        if is_uuid(id) {
            links.add(Link::SsmAssociationId, id.to_ascii_lowercase());
        }
    }
}

/// EKS Pod Identity hands the pod on as session tags.
fn pod_tags<'r>(call: &ApiCall<'r>, links: &mut Links<'r>) {
    const TAG: &str = "kubernetes-pod-uid";
    let Some(request) = call.request_parameters() else { return };
    for tag in request.get("tags").map_or(&[][..], Json::items) {
        if tag.str_at(&["key"]) == Some(TAG)
            && let Some(uid) = tag.str_at(&["value"])
        {
            links.add(Link::PodUid, uid);
        }
    }
    if let Some(uid) = request.str_at(&["principalTags", TAG]) {
        links.add(Link::PodUid, uid);
    }
}

fn public_key<'r>(call: &ApiCall<'r>, links: &mut Links<'r>) {
    let pushed = call.request_str(&["sSHPublicKey"]).or_else(|| call.request_str(&["sSHPublicKeyBody"]));
    if let Some(fingerprint) = pushed.and_then(fingerprint_of_key) {
        links.add(Link::SshKeyFingerprint, fingerprint);
    }
    // `ImportKeyPair` wraps the line once more.
    let imported =
        call.request_str(&["publicKeyMaterial"]).and_then(|text| BASE64_STANDARD.decode(text).ok());
    if let Some(line) = imported.and_then(|line| String::from_utf8(line).ok())
        && let Some(fingerprint) = fingerprint_of_key(&line)
    {
        links.add(Link::SshKeyFingerprint, fingerprint);
    }
}

/// Links of a host event.
pub fn of_host<'j>(facts: &HostFacts<'j>) -> Links<'j> {
    let mut links = Links::default();
    links.instance(facts.instance_id);
    links.instance(facts.host_id);
    for var in &facts.env {
        if let Some((name, value)) = var.split_once('=').filter(|(_, value)| !value.is_empty()) {
            variable(name, value, &mut links);
        }
    }
    if let Some(role) = variable_of(facts, "AWS_ROLE_ARN").and_then(|arn| arn.rsplit('/').next())
        && let Some(session) = variable_of(facts, "AWS_ROLE_SESSION_NAME")
    {
        links.add(Link::RoleSession, format!("{role}/{session}"));
    }
    if let (Some(role), Some(instance)) = (facts.instance_role, facts.instance_id) {
        let role = role.rsplit('/').next().unwrap_or(role);
        links.add(Link::RoleSession, format!("{role}/{instance}"));
    }
    for args in [&facts.args, &facts.parent_args, &facts.leader_args] {
        arguments(args.iter().copied(), &mut links);
    }
    for line in &facts.ancestor_lines {
        arguments(line.split_whitespace(), &mut links);
    }
    for id in &facts.container_ids {
        links.add(Link::ContainerId, *id);
    }
    for uid in &facts.pod_uids {
        links.add(Link::PodUid, *uid);
    }
    for path in &facts.cgroup_paths {
        cgroup(path, &mut links);
    }
    for name in &facts.server_names {
        links.add(Link::TlsHost, name.trim_end_matches('.').to_ascii_lowercase());
    }
    links
}

fn variable_of<'j>(facts: &HostFacts<'j>, name: &str) -> Option<&'j str> {
    facts
        .env
        .iter()
        .find_map(|var| var.strip_prefix(name)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

fn variable<'j>(name: &str, value: &'j str, links: &mut Links<'j>) {
    match name {
        "AWS_ACCESS_KEY_ID" => links.access_key(Some(value)),
        "AWS_SSM_INSTANCE_ID" => links.instance(Some(value)),
        "SSM_COMMAND_ID" => document(value, links),
        "ECS_CONTAINER_METADATA_URI" | "ECS_CONTAINER_METADATA_URI_V4" => {
            // `http://169.254.170.2/v4/<task>-<number>`
            let task = value.rsplit('/').next().and_then(|last| last.split('-').next()).unwrap_or_default();
            if task.len() == 32 && is_hex(task) {
                links.add(Link::EcsTaskId, task);
            }
        }
        _ => {}
    }
}

/// Everything that stands in a command line: the agent's workers with their ids, its paths, a key's fingerprint.
fn arguments<'j>(args: impl Iterator<Item = &'j str>, links: &mut Links<'j>) {
    let mut previous = "";
    let mut is_key_helper = false;
    for (idx, arg) in args.enumerate() {
        let base = arg.rfind('/').map_or(arg, |slash| &arg[slash + 1..]);
        if idx < 3 && matches!(base, "eic_run_authorized_keys" | "eic_parse_authorized_keys" | "logger") {
            is_key_helper = true;
        }
        match previous {
            "ssm-document-worker" => document(arg, links),
            "ssm-session-worker" => links.add(Link::SsmSessionId, arg),
            _ => {}
        }
        if arg.contains("/orchestration/") {
            orchestration(arg, links);
        }
        if is_key_helper {
            fingerprints(arg, links);
        }
        previous = base;
    }
}

/// A document id: a command's, or `<association>.<run>`.
fn document<'j>(id: &'j str, links: &mut Links<'j>) {
    match id.split_once('.') {
        Some((association, _)) if is_uuid(association) => {
            links.add(Link::SsmAssociationId, association.to_ascii_lowercase());
        }
        None if is_uuid(id) => links.add(Link::SsmCommandId, id.to_ascii_lowercase()),
        _ => {}
    }
}

/// `/var/lib/amazon/ssm/<instance>/{document,session}/orchestration/<id>/…`
fn orchestration<'j>(text: &'j str, links: &mut Links<'j>) {
    for (at, marker) in text.match_indices("/orchestration/") {
        let mut parts = text[at + marker.len()..].split(['/', ' ', '\'', '"', ';']);
        let Some(id) = parts.next() else { continue };
        if text[..at].ends_with("/session") {
            links.add(Link::SsmSessionId, id);
        } else if is_uuid(id) {
            // A run of an association is named after its time; a command's step never starts with a year.
            let is_run = parts.next().is_some_and(|next| {
                next.len() >= 10
                    && next.as_bytes()[4] == b'-'
                    && next.bytes().take(4).all(|b| b.is_ascii_digit())
            });
            let link = if is_run { Link::SsmAssociationId } else { Link::SsmCommandId };
            links.add(link, id.to_ascii_lowercase());
        }
        let instance = text[..at].rsplit('/').nth(1);
        links.instance(instance);
    }
}

fn fingerprints<'j>(text: &'j str, links: &mut Links<'j>) {
    for (at, _) in text.match_indices("SHA256:") {
        let end = text[at + 7..]
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/'))
            .map_or(text.len(), |len| at + 7 + len);
        // 32 bytes in base64 without padding.
        if end - at == 7 + 43 {
            links.add(Link::SshKeyFingerprint, &text[at..end]);
        }
    }
}

fn cgroup<'j>(path: &'j str, links: &mut Links<'j>) {
    if let Some((_, rest)) = path.split_once("/ecs/") {
        // `/ecs/<cluster>/<task>/<container>` or `/ecs/<task>/<container>`
        if let Some(task) = rest.split('/').take(2).find(|part| part.len() == 32 && is_hex(part)) {
            links.add(Link::EcsTaskId, task);
        }
    }
    for part in path.split('/') {
        // `pod<uid>`, or `kubepods-burstable-pod<uid>.slice` with underscores for dashes.
        let Some((_, uid)) = part.trim_end_matches(".slice").rsplit_once("pod") else { continue };
        let uid = uid.replace('_', "-");
        if is_uuid(&uid) {
            links.add(Link::PodUid, uid);
        }
    }
}

/// Links of a GuardDuty finding, in either spelling, once its keys are in snake case.
pub fn of_finding<'f>(leaves: &[(String, Cow<'f, str>)]) -> Links<'f> {
    let mut links = Links::default();
    for (path, value) in leaves {
        let leaf = path.rsplit('.').next().unwrap_or(path);
        match leaf {
            "instance_id" if is_instance_id(value) => links.add(Link::InstanceId, value.clone()),
            "access_key_id" if is_access_key_id(value) => links.add(Link::AccessKeyId, value.clone()),
            "principal_id" => {
                if let Some((_, name)) = value.split_once(':').filter(|(_, name)| is_instance_id(name)) {
                    links.add(Link::InstanceId, name.to_owned());
                }
            }
            "id" if path.ends_with("container_details.id") || path.ends_with("containers.id") => {
                links.add(Link::ContainerId, value.clone());
            }
            "uid" if path.ends_with("kubernetes_workload_details.uid") => {
                links.add(Link::PodUid, value.clone())
            }
            _ => {}
        }
    }
    links
}

/// `i-` and 8 or 17 hexadecimal digits; `mi-` and 17 for machines outside EC2.
pub fn is_instance_id(text: &str) -> bool {
    let digits = text.strip_prefix("i-").or_else(|| text.strip_prefix("mi-"));
    digits.is_some_and(|digits| matches!(digits.len(), 8 | 17) && is_hex(digits))
}

/// Twenty capitals and digits; masked ones are none.
pub fn is_access_key_id(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text.starts_with('A')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(idx, byte)| match idx {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `SHA256:…` of an OpenSSH public key line, as `ssh-keygen -l` and sshd write it.
pub fn fingerprint_of_key(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let blob = match words.next()? {
        kind if kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-") => {
            words.next()?
        }
        blob => blob,
    };
    let blob = BASE64_STANDARD.decode(blob).ok().filter(|blob| blob.len() >= 16)?;
    Some(format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&blob))))
}

#[cfg(test)]
mod tests;
