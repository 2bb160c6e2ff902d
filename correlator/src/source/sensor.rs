//! Host events: ECS documents, one a line, from our sensor or a producer like it.

use crate::endpoint;
use crate::link;
use crate::source::json::Json;
use crate::source::{FieldSink, Scalar};
use crate::time;
use rules::event::EventTime;

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
    /// Link and endpoint fields the document already carries, and so must not get twice.
    known: Vec<(String, &'j str)>,
}

/// Writes the document's own fields and collects what the derived ones need.
pub(crate) fn map<'j>(json: &'j Json<'_>, sink: &mut dyn FieldSink) -> (Head<'j>, HostFacts<'j>) {
    let mut head = Head::default();
    let mut facts = HostFacts::default();
    json.leaves(&mut String::new(), &mut |path, scalar| {
        head.collect(path, scalar);
        if let Scalar::Str(text) = scalar {
            facts.collect(path, text);
        }
        sink.put(path, scalar);
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
    json.at(&[object, key]).is_some() || json.get(&format!("{object}.{key}")).is_some()
}

/// Writes what follows from the document: links and the endpoint of an `aws` command.
pub(crate) fn derive(facts: &HostFacts<'_>, sink: &mut dyn FieldSink) {
    let known: Vec<(&str, &str)> = facts.known.iter().map(|(path, value)| (path.as_str(), *value)).collect();
    let mut links = link::of_host(facts);
    let has_endpoint = known.iter().any(|(path, _)| path.starts_with("groundtrail.endpoint."));
    let is_exec =
        matches!(facts.action, Some("exec" | "exec_event" | "executed" | "process_started" | "start"));
    if is_exec && !has_endpoint {
        let found = endpoint::of_command(facts.process_name, &facts.args, &facts.env);
        if let Some(endpoint) = found {
            endpoint.put(sink);
            links.add(link::Link::TlsHost, endpoint.domain);
        }
    }
    links.put(&known, sink);
}

impl<'j> Head<'j> {
    fn collect(&mut self, path: &str, scalar: Scalar<'j>) {
        match (path, scalar) {
            ("@timestamp", Scalar::Str(text)) => self.time = time::parse(text),
            ("@timestamp", Scalar::Int(number)) => self.time = time::from_epoch(number),
            ("event.id", Scalar::Str(text)) if !text.is_empty() => self.id = Some(text),
            ("event.sequence", Scalar::Int(number)) => self.sequence = u64::try_from(number).unwrap_or(0),
            ("data_stream.type", Scalar::Str(text)) => self.stream_type = Some(text),
            ("data_stream.dataset", Scalar::Str(text)) => self.dataset = Some(text),
            ("event.dataset", Scalar::Str(text)) => self.dataset = self.dataset.or(Some(text)),
            ("data_stream.namespace", Scalar::Str(text)) => self.namespace = Some(text),
            _ => {}
        }
    }

    /// The index the document would go to. A name with a dot in front is the engine's own: no event of a source gets
    /// into it by what it says of itself.
    pub(crate) fn index(&self) -> String {
        format!(
            "{}-{}-{}",
            self.stream_type.filter(|kind| !kind.starts_with('.')).unwrap_or("logs"),
            self.dataset.unwrap_or("generic"),
            self.namespace.unwrap_or("default")
        )
    }
}

impl<'j> HostFacts<'j> {
    fn collect(&mut self, path: &str, text: &'j str) {
        match path {
            "cloud.instance.id" => self.instance_id = Some(text),
            "host.id" => self.host_id = Some(text),
            "cloud.instance.role" | "groundtrail.host.role" => self.instance_role = Some(text),
            "process.name" => self.process_name = Some(text),
            "event.action" => self.action = Some(text),
            "process.args" => self.args.push(text),
            "process.parent.args" => self.parent_args.push(text),
            "process.entry_leader.args" => self.leader_args.push(text),
            "groundtrail.process.ancestors.command_line" | "process.parent.command_line" => {
                self.ancestor_lines.push(text);
            }
            "process.env_vars" => self.env.push(text),
            "container.id" => self.container_ids.push(text),
            "kubernetes.pod.uid" => self.pod_uids.push(text),
            "process.cgroup.path"
            | "groundtrail.process.cgroup_path"
            | "groundtrail.container.cgroup_path" => {
                self.cgroup_paths.push(text);
            }
            "tls.client.server_name" | "destination.domain" => self.server_names.push(text),
            _ if path.starts_with("groundtrail.link.") || path.starts_with("groundtrail.endpoint.") => {
                self.known.push((path.to_owned(), text));
            }
            _ => {}
        }
    }
}
