//! Host events: ECS documents, one a line, from our sensor or a producer like it.

use std::net::IpAddr;

use rules::event::EventTime;

use crate::aws_cli::Called;
use crate::endpoint;
use crate::link::{self, Link};
use crate::source::json::Json;
use crate::source::paths::Paths;
use crate::source::{FieldSink, Scalar};
use crate::time;

/// What an ECS document says about itself, beside its fields.
#[derive(Debug, Default)]
pub(crate) struct Head<'j> {
    pub(crate) id: Option<&'j str>,
    pub(crate) time: Option<EventTime>,
    pub(crate) sequence: u64,
    pub(crate) stream_type: Option<&'j str>,
    pub(crate) dataset: Option<&'j str>,
    pub(crate) namespace: Option<&'j str>,
}

/// The fields of a host event that links and endpoints are read from.
#[derive(Debug, Default)]
pub struct HostFacts<'j> {
    pub instance_id: Option<&'j str>,
    pub host_id: Option<&'j str>,
    pub instance_role: Option<&'j str>,
    pub process_name: Option<&'j str>,
    pub action: Option<&'j str>,
    pub args: Vec<&'j str>,
    pub parent_args: Vec<&'j str>,
    pub leader_args: Vec<&'j str>,
    pub ancestor_lines: Vec<&'j str>,
    pub env: Vec<&'j str>,
    pub container_ids: Vec<&'j str>,
    pub pod_uids: Vec<&'j str>,
    pub cgroup_paths: Vec<&'j str>,
    pub server_names: Vec<&'j str>,
    /// Links the document already carries, and so must not get twice.
    known: Vec<(&'static str, &'j str)>,
    has_endpoint: bool,
    has_called: bool,
    /// Somebody said already where an end of it is.
    pub(crate) has_place: bool,
    /// What indicator lists are asked about.
    pub(crate) addresses: Vec<(&'static str, IpAddr)>,
    pub(crate) domains: Vec<(&'static str, &'j str)>,
}

/// What a path of a host event is to us, beside a field for rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Time,
    Id,
    Sequence,
    StreamType,
    /// `data_stream.dataset` goes before `event.dataset`.
    StreamDataset,
    EventDataset,
    Namespace,
    InstanceId,
    HostId,
    InstanceRole,
    ProcessName,
    Action,
    Args,
    ParentArgs,
    LeaderArgs,
    AncestorLine,
    Env,
    ContainerId,
    PodUid,
    CgroupPath,
    /// The name of a server that was spoken to.
    ServerName(&'static str),
    Domain(&'static str),
    Address(&'static str),
    Place,
    Link(&'static str),
    Endpoint,
    Called,
}

pub(crate) const PARTS: &[(&str, Part)] = &[
    ("@timestamp", Part::Time),
    ("event.id", Part::Id),
    ("event.sequence", Part::Sequence),
    ("data_stream.type", Part::StreamType),
    ("data_stream.dataset", Part::StreamDataset),
    ("event.dataset", Part::EventDataset),
    ("data_stream.namespace", Part::Namespace),
    ("cloud.instance.id", Part::InstanceId),
    ("host.id", Part::HostId),
    ("cloud.instance.role", Part::InstanceRole),
    ("groundtrail.host.role", Part::InstanceRole),
    ("process.name", Part::ProcessName),
    ("event.action", Part::Action),
    ("process.args", Part::Args),
    ("process.parent.args", Part::ParentArgs),
    ("process.entry_leader.args", Part::LeaderArgs),
    ("groundtrail.process.ancestors.command_line", Part::AncestorLine),
    ("process.parent.command_line", Part::AncestorLine),
    ("process.env_vars", Part::Env),
    ("container.id", Part::ContainerId),
    ("kubernetes.pod.uid", Part::PodUid),
    ("process.cgroup.path", Part::CgroupPath),
    ("groundtrail.process.cgroup_path", Part::CgroupPath),
    ("groundtrail.container.cgroup_path", Part::CgroupPath),
    ("tls.client.server_name", Part::ServerName("tls.client.server_name")),
    ("destination.domain", Part::ServerName("destination.domain")),
    ("dns.question.name", Part::Domain("dns.question.name")),
    ("url.domain", Part::Domain("url.domain")),
    ("destination.ip", Part::Address("destination.ip")),
    ("source.ip", Part::Address("source.ip")),
    ("aws.vpcflow.pkt_dstaddr", Part::Address("aws.vpcflow.pkt_dstaddr")),
    ("aws.vpcflow.pkt_srcaddr", Part::Address("aws.vpcflow.pkt_srcaddr")),
];

/// What a path is to us.
pub(crate) fn part(path: &str) -> Option<Part> {
    if let Some((_, part)) = PARTS.iter().find(|(named, _)| *named == path) {
        return Some(*part);
    }
    if ["source.geo.", "source.as.", "destination.geo.", "destination.as."]
        .iter()
        .any(|at| path.starts_with(at))
    {
        return Some(Part::Place);
    }
    if path.starts_with("groundtrail.endpoint.") {
        return Some(Part::Endpoint);
    }
    if path.starts_with("groundtrail.aws_cli.") {
        return Some(Part::Called);
    }
    Link::ALL.into_iter().map(Link::path).find(|link| *link == path).map(Part::Link)
}

/// Writes the document's own fields, but for its time and id, and collects what the derived ones need.
pub(crate) fn map<'j, S: FieldSink + ?Sized>(
    json: &Json<'j>,
    paths: &Paths,
    sink: &mut S,
) -> (Head<'j>, HostFacts<'j>) {
    let mut head = Head::default();
    let mut facts = HostFacts::default();
    paths.walk(json, &mut |place, scalar| {
        let is_of_head = place.part.is_some_and(|part| {
            if let Scalar::Str(text) = scalar {
                facts.collect(part, text);
            }
            facts.has_place |= part == Part::Place;
            head.collect(part, scalar)
        });
        if let Some((field, kind)) = place.field.filter(|_| !is_of_head) {
            sink.put_field(field, kind, scalar);
        }
    });
    // Rules ask for either name of the data set.
    match (json_has(json, "event", "dataset"), json_has(json, "data_stream", "dataset"), head.dataset) {
        (false, true, Some(dataset)) => sink.put("event.dataset", Scalar::Str(dataset)),
        (true, false, Some(dataset)) => {
            sink.put("data_stream.type", Scalar::Str("logs"));
            sink.put("data_stream.dataset", Scalar::Str(dataset));
            sink.put("data_stream.namespace", Scalar::Str("default"));
        }
        _ => {}
    }
    (head, facts)
}

fn json_has(json: &Json<'_>, object: &str, key: &str) -> bool {
    json.at(&[object, key]).is_some()
        || json
            .entries()
            .iter()
            .any(|(name, _)| name.strip_prefix(object).and_then(|rest| rest.strip_prefix('.')) == Some(key))
}

/// Writes what follows from the document: links, and what an `aws` command calls and where.
pub(crate) fn derive(facts: &HostFacts<'_>, sink: &mut dyn FieldSink) {
    let mut links = link::of_host(facts);
    let is_exec =
        matches!(facts.action, Some("exec" | "exec_event" | "executed" | "process_started" | "start"));
    if is_exec && !facts.has_endpoint {
        let found = endpoint::of_command(facts.process_name, &facts.args, &facts.env);
        if let Some(endpoint) = found {
            endpoint.put(sink);
            links.add(Link::TlsHost, endpoint.domain);
        }
    }
    // How a command ended stands on its exit alone.
    if (is_exec || facts.action == Some("end"))
        && !facts.has_called
        && let Some(called) = Called::of_command(facts.process_name, &facts.args)
    {
        called.put(sink);
    }
    links.put(&facts.known, sink);
}

impl<'j> Head<'j> {
    /// Whether the value is the event's time or id, of which the event has one alone, as read.
    fn collect(&mut self, part: Part, scalar: Scalar<'j>) -> bool {
        match (part, scalar) {
            (Part::Time, Scalar::Str(text)) => self.time = time::parse(text),
            (Part::Time, Scalar::Int(number)) => self.time = time::from_epoch(number),
            (Part::Id, Scalar::Str(text)) if !text.is_empty() => {
                self.id = Some(text);
                return true;
            }
            (Part::Sequence, Scalar::Int(number)) => self.sequence = u64::try_from(number).unwrap_or(0),
            (Part::StreamType, Scalar::Str(text)) => self.stream_type = Some(text),
            (Part::StreamDataset, Scalar::Str(text)) => self.dataset = Some(text),
            (Part::EventDataset, Scalar::Str(text)) => self.dataset = self.dataset.or(Some(text)),
            (Part::Namespace, Scalar::Str(text)) => self.namespace = Some(text),
            _ => {}
        }
        part == Part::Time
    }

    /// The index the document would go to. A name with a dot in front is the engine's own: no event of a source gets
    /// into it by what it says of itself.
    pub(crate) fn index(&self) -> String {
        let kind = self.stream_type.filter(|kind| !kind.starts_with('.')).unwrap_or("logs");
        [kind, self.dataset.unwrap_or("generic"), self.namespace.unwrap_or("default")].join("-")
    }
}

impl<'j> HostFacts<'j> {
    fn collect(&mut self, part: Part, text: &'j str) {
        match part {
            Part::InstanceId => self.instance_id = Some(text),
            Part::HostId => self.host_id = Some(text),
            Part::InstanceRole => self.instance_role = Some(text),
            Part::ProcessName => self.process_name = Some(text),
            Part::Action => self.action = Some(text),
            Part::Args => self.args.push(text),
            Part::ParentArgs => self.parent_args.push(text),
            Part::LeaderArgs => self.leader_args.push(text),
            Part::AncestorLine => self.ancestor_lines.push(text),
            Part::Env => self.env.push(text),
            Part::ContainerId => self.container_ids.push(text),
            Part::PodUid => self.pod_uids.push(text),
            Part::CgroupPath => self.cgroup_paths.push(text),
            Part::ServerName(field) => {
                self.server_names.push(text);
                self.domains.push((field, text));
            }
            Part::Domain(field) => self.domains.push((field, text)),
            Part::Address(field) => note_address(field, text, &mut self.addresses),
            Part::Link(path) => self.known.push((path, text)),
            Part::Endpoint => self.has_endpoint = true,
            Part::Called => self.has_called = true,
            Part::Place
            | Part::Time
            | Part::Id
            | Part::Sequence
            | Part::StreamType
            | Part::StreamDataset
            | Part::EventDataset
            | Part::Namespace => {}
        }
    }
}

pub(crate) fn note_address(field: &'static str, text: &str, addresses: &mut Vec<(&'static str, IpAddr)>) {
    if let Ok(address) = text.parse() {
        addresses.push((field, address));
    }
}
