//! VPC Flow Logs: lines of text under a header that names the columns, to ECS.
//!
//! A line is read by its header, never by position: AWS lets the user choose columns, and adds new ones.

use std::borrow::Cow;
use std::net::IpAddr;

use rules::event::EventTime;

use crate::link::{Link, Links, is_instance_id};
use crate::source::{FieldSink, Scalar};
use crate::time;

pub(crate) const DATASET: &str = "aws.vpcflow";

/// The columns of version 2, for files without a header.
pub const DEFAULT_HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
                                  start end action log-status";

/// One flow, as pairs of column and value. `-` is no value.
#[derive(Debug)]
pub(crate) struct Flow<'t> {
    columns: Vec<(&'t str, &'t str)>,
}

/// Whether a line is a header: column names, no numbers.
pub fn is_header(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words
        .clone()
        .any(|word| matches!(word, "srcaddr" | "dstaddr" | "interface-id" | "account-id" | "pkt-srcaddr"))
        && words.all(|word| {
            word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        })
        && !line.split_ascii_whitespace().all(|word| word.bytes().all(|b| b.is_ascii_digit()))
}

/// No flow log has more columns, or longer names for them.
const MAX_COLUMNS: usize = 100;
const MAX_HEADER_BYTES: usize = 4096;

/// What is wrong with a header: it is said again with each of its lines, so it must not be of any size.
pub fn header_fault(header: &str) -> Option<String> {
    if header.len() > MAX_HEADER_BYTES {
        let len = header.len();
        return Some(format!(
            "a header of {len} bytes, where {MAX_HEADER_BYTES} is the most; the lines under it are left out"
        ));
    }
    let n_columns = header.split_ascii_whitespace().count();
    (n_columns > MAX_COLUMNS).then(|| {
        format!("a header of {n_columns} columns, where {MAX_COLUMNS} is the most; the lines under it are left out")
    })
}

/// A NODATA line says that there was no traffic. SKIPDATA says that AWS lost some of it, which is an event.
pub fn is_event(header: &str, line: &str) -> bool {
    let status = header.split_ascii_whitespace().position(|name| name == "log-status");
    let status = status.and_then(|at| line.split_ascii_whitespace().nth(at));
    status != Some("NODATA")
}

const COMMON: &[(&str, &str)] = &[
    ("version", "aws.vpcflow.version"),
    ("account-id", "aws.vpcflow.account_id"),
    ("interface-id", "aws.vpcflow.interface_id"),
    ("srcaddr", "aws.vpcflow.srcaddr"),
    ("dstaddr", "aws.vpcflow.dstaddr"),
    ("srcport", "aws.vpcflow.srcport"),
    ("dstport", "aws.vpcflow.dstport"),
    ("protocol", "aws.vpcflow.protocol"),
    ("packets", "aws.vpcflow.packets"),
    ("bytes", "aws.vpcflow.bytes"),
    ("action", "aws.vpcflow.action"),
    ("log-status", "aws.vpcflow.log_status"),
    ("vpc-id", "aws.vpcflow.vpc_id"),
    ("subnet-id", "aws.vpcflow.subnet_id"),
    ("instance-id", "aws.vpcflow.instance_id"),
    ("tcp-flags", "aws.vpcflow.tcp_flags"),
    ("type", "aws.vpcflow.type"),
    ("pkt-srcaddr", "aws.vpcflow.pkt_srcaddr"),
    ("pkt-dstaddr", "aws.vpcflow.pkt_dstaddr"),
    ("region", "aws.vpcflow.region"),
    ("az-id", "aws.vpcflow.az_id"),
    ("flow-direction", "aws.vpcflow.flow_direction"),
    ("traffic-path", "aws.vpcflow.traffic_path"),
];

/// A column under the name of the public mapping. Columns that came later are under their own.
fn field(column: &str) -> Cow<'static, str> {
    // Those of nearly every flow log: a path for each of a million lines a second need not be made.
    if let Some((_, path)) = COMMON.iter().find(|(name, _)| *name == column) {
        return Cow::Borrowed(path);
    }
    let name = match column {
        "pkt-src-aws-service" => "pkt_src_service",
        "pkt-dst-aws-service" => "pkt_dst_service",
        "sublocation-type" => "sublocation.type",
        "sublocation-id" => "sublocation.id",
        "ecs-cluster-arn" => "ecs.cluster.arn",
        "ecs-cluster-name" => "ecs.cluster.name",
        "ecs-container-instance-arn" => "ecs.container_instance.arn",
        "ecs-container-instance-id" => "ecs.container_instance.id",
        "ecs-container-id" => "ecs.container.id",
        "ecs-second-container-id" => "ecs.second_container.id",
        "ecs-service-name" => "ecs.service.name",
        "ecs-task-definition-arn" => "ecs.task_definition.arn",
        "ecs-task-arn" => "ecs.task.arn",
        "ecs-task-id" => "ecs.task.id",
        other => return format!("aws.vpcflow.{}", other.replace('-', "_")).into(),
    };
    format!("aws.vpcflow.{name}").into()
}

impl<'t> Flow<'t> {
    /// Reads one line under its header.
    ///
    /// # Errors
    /// In words, when the line cannot belong to the header or names no time.
    pub(crate) fn parse(header: &'t str, line: &'t str) -> Result<Self, String> {
        let names: Vec<&str> = header.split_ascii_whitespace().collect();
        let values: Vec<&str> = line.split_ascii_whitespace().collect();
        if names.len() != values.len() {
            return Err(format!("{} values under a header of {} columns", values.len(), names.len()));
        }
        let columns = names.into_iter().zip(values).filter(|(_, value)| *value != "-").collect();
        let flow = Self { columns };
        if flow.time().is_none() {
            return Err(
                "no \"end\" or \"start\" column with a time; add one to the flow log's format".to_owned()
            );
        }
        Ok(flow)
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        self.columns.iter().find(|(column, _)| *column == name).map(|(_, value)| *value)
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    fn seconds(&self, name: &str) -> Option<EventTime> {
        self.int(name).and_then(time::from_epoch)
    }

    /// The end of the aggregation interval: what the record says was true by then.
    pub(crate) fn time(&self) -> Option<EventTime> {
        self.seconds("end").or_else(|| self.seconds("start"))
    }

    pub(crate) fn map(&self, sink: &mut dyn FieldSink) {
        let mut put = |path: &str, value: Option<&str>| {
            if let Some(value) = value {
                sink.put(path, Scalar::Str(value));
            }
        };
        put("event.kind", Some("event"));
        put("event.category", Some("network"));
        put("event.type", Some("connection"));
        put("event.module", Some("aws"));
        put("event.dataset", Some(DATASET));
        put("data_stream.type", Some("logs"));
        put("data_stream.dataset", Some(DATASET));
        put("data_stream.namespace", Some("default"));
        put("ecs.version", Some("8.17.0"));
        put("cloud.provider", Some("aws"));
        put("cloud.account.id", self.get("account-id").filter(|id| *id != "unknown"));
        put("cloud.region", self.get("region"));
        put("cloud.instance.id", self.get("instance-id"));
        match self.get("action") {
            Some("ACCEPT") => {
                put("event.action", Some("accept"));
                put("event.outcome", Some("success"));
                put("event.type", Some("allowed"));
            }
            Some("REJECT") => {
                put("event.action", Some("reject"));
                put("event.outcome", Some("failure"));
                put("event.type", Some("denied"));
            }
            // Some of the interval's flows are in no record.
            _ if self.get("log-status") == Some("SKIPDATA") => put("event.action", Some("log_skipped")),
            _ => {}
        }
        for (path, column) in [("event.start", "start"), ("event.end", "end")] {
            put(path, self.seconds(column).map(time::format).as_deref());
        }
        self.ends(sink);
        self.network(sink);
        for (column, value) in &self.columns {
            if !matches!(*column, "start" | "end") {
                sink.put(&field(column), Scalar::Str(value));
            }
        }
        if let Some(flags) = self.int("tcp-flags") {
            for (bit, name) in [(1, "fin"), (2, "syn"), (4, "rst"), (8, "psh"), (16, "ack"), (32, "urg")] {
                if flags & bit != 0 {
                    sink.put("aws.vpcflow.tcp_flags_array", Scalar::Str(name));
                }
            }
        }
        self.links().put(&[], sink);
    }

    /// Source and destination. `pkt-*` are the addresses before translation: where both are known, they name the
    /// real ends, and `related.ip` holds all.
    fn ends(&self, sink: &mut dyn FieldSink) {
        let mut related: Vec<&str> = Vec::new();
        for ([address_path, ip_path, port_path], column, packet, port) in [
            (["source.address", "source.ip", "source.port"], "srcaddr", "pkt-srcaddr", "srcport"),
            (
                ["destination.address", "destination.ip", "destination.port"],
                "dstaddr",
                "pkt-dstaddr",
                "dstport",
            ),
        ] {
            let seen = [self.get(column), self.get(packet)];
            for address in seen.into_iter().flatten().filter(|text| text.parse::<IpAddr>().is_ok()) {
                if !related.contains(&address) {
                    related.push(address);
                }
            }
            if let Some(address) = self.get(column).or_else(|| self.get(packet)) {
                sink.put(address_path, Scalar::Str(address));
                if related.contains(&address) {
                    sink.put(ip_path, Scalar::Str(address));
                }
            }
            if let Some(port) = self.int(port) {
                sink.put(port_path, Scalar::Int(port));
            }
        }
        for address in related {
            sink.put("related.ip", Scalar::Str(address));
        }
    }

    fn network(&self, sink: &mut dyn FieldSink) {
        for (paths, column) in
            [(["network.bytes", "source.bytes"], "bytes"), (["network.packets", "source.packets"], "packets")]
        {
            if let Some(count) = self.int(column) {
                paths.into_iter().for_each(|path| sink.put(path, Scalar::Int(count)));
            }
        }
        if let Some(protocol) = self.get("protocol") {
            sink.put("network.iana_number", Scalar::Str(protocol));
            let name = match protocol {
                "1" => Some("icmp"),
                "6" => Some("tcp"),
                "17" => Some("udp"),
                "47" => Some("gre"),
                "50" => Some("esp"),
                "58" => Some("ipv6-icmp"),
                "132" => Some("sctp"),
                _ => None,
            };
            if let Some(name) = name {
                sink.put("network.transport", Scalar::Str(name));
            }
        }
        let kind = self.get("type").map(str::to_ascii_lowercase).or_else(|| {
            let address: IpAddr = self.get("srcaddr").or_else(|| self.get("pkt-srcaddr"))?.parse().ok()?;
            Some(if address.is_ipv4() { "ipv4" } else { "ipv6" }.to_owned())
        });
        if let Some(kind) = kind {
            sink.put("network.type", Scalar::Str(&kind));
        }
        if let Some(direction) = self.get("flow-direction") {
            sink.put("network.direction", Scalar::Str(direction));
        }
    }

    fn links(&self) -> Links<'t> {
        let mut links = Links::default();
        if let Some(id) = self.get("instance-id").filter(|id| is_instance_id(id)) {
            links.add(Link::InstanceId, id);
        }
        if let Some(id) = self.get("ecs-task-id") {
            links.add(Link::EcsTaskId, id);
        }
        for column in ["ecs-container-id", "ecs-second-container-id"] {
            if let Some(id) = self.get(column) {
                links.add(Link::ContainerId, id);
            }
        }
        links
    }
}

#[cfg(test)]
mod tests;
