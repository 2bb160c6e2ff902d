//! What the sensor emits: typed ECS documents, for serializing alone. The serde names are the contract.

pub mod capabilities;
pub mod exchange;
pub mod file;
pub mod host;
pub mod network;
pub mod process;
pub mod report;

use serde::Serialize;

use crate::clock::Utc;
use exchange::{HttpDoc, LinkDoc, MetadataDoc, UrlDoc};
use file::FileDoc;
use host::{AgentDoc, CloudDoc, HostDoc};
use network::{EndpointDoc, ErrorDoc, NetworkDoc};
use process::{ContainerDoc, GroupDoc, OwnProcessDoc, ProcessDoc, UserDoc};
use report::{LossDoc, SensorDoc};

/// ECS release that the field names are from.
const ECS_VERSION: &str = "8.17.0";

/// One event. Absent parts are left out of the document, never `null`.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    #[serde(rename = "@timestamp")]
    pub timestamp: Utc,
    pub event: EventDoc,
    pub data_stream: DataStreamDoc,
    pub ecs: EcsDoc,
    pub agent: AgentDoc<'a>,
    pub host: HostDoc<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudDoc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessDoc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerDoc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<EndpointDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<EndpointDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlDoc>,
    #[serde(skip_serializing_if = "OwnDoc::is_empty")]
    pub groundtrail: OwnDoc<'a>,
}

/// `event.*`.
#[derive(Debug, Serialize)]
pub struct EventDoc {
    pub id: String,
    pub kind: &'static str,
    pub category: [&'static str; 1],
    #[serde(rename = "type")]
    pub kinds: [&'static str; 1],
    pub action: &'static str,
    pub dataset: &'static str,
    pub module: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    pub sequence: u64,
    /// When the sensor read the record. Absent in recordings: it would differ on every replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Utc>,
}

#[derive(Debug, Serialize)]
pub struct DataStreamDoc {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub dataset: &'static str,
    pub namespace: &'static str,
}

#[derive(Debug, Serialize)]
pub struct EcsDoc {
    pub version: &'static str,
}

/// What ECS has no name for.
#[derive(Debug, Default, Serialize)]
pub struct OwnDoc<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<OwnProcessDoc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<OwnFileDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<OwnHostDoc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds: Option<MetadataDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorDoc>,
}

impl OwnDoc<'_> {
    fn is_empty(&self) -> bool {
        let Self { process, file, host, imds, link, loss, sensor } = self;
        let is_about_host = process.is_some() || file.is_some() || host.is_some();
        !is_about_host && imds.is_none() && link.is_none() && loss.is_none() && sensor.is_none()
    }
}

#[derive(Debug, Serialize)]
pub struct OwnFileDoc {
    /// The beginning of `file.path` is missing, and `…` stands in its place.
    pub path_truncated: bool,
}

#[derive(Debug, Serialize)]
pub struct OwnHostDoc<'a> {
    pub role: &'a str,
}

/// The kinds of event, as CONTRACT names them on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Exec,
    Fork,
    Exit,
    Connect,
    /// What became of a TCP attempt.
    Result,
    /// A connection that somebody made to a process here.
    Accept,
    FileCreation,
    FileRename,
    FileDeletion,
    FileModification,
    FileOpen,
    /// What a process asked a metadata service for.
    MetadataRequest,
    /// A metadata service handed credentials to a process.
    MetadataCredentials,
    Loss,
    Health,
}

impl Kind {
    pub fn action(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "end",
            Self::Connect => "connection_attempted",
            Self::Result => "connection_result",
            Self::Accept => "connection_accepted",
            Self::FileCreation => "creation",
            Self::FileRename => "rename",
            Self::FileDeletion => "deletion",
            Self::FileModification => "modification",
            Self::FileOpen => "open",
            Self::MetadataRequest => "metadata_request",
            Self::MetadataCredentials => "metadata_credentials",
            Self::Loss => "groundtrail_loss",
            Self::Health => "groundtrail_health",
        }
    }

    pub fn dataset(self) -> &'static str {
        match self {
            Self::Exec | Self::Fork | Self::Exit => "endpoint.events.process",
            Self::Connect
            | Self::Result
            | Self::Accept
            | Self::MetadataRequest
            | Self::MetadataCredentials => "endpoint.events.network",
            Self::FileCreation
            | Self::FileRename
            | Self::FileDeletion
            | Self::FileModification
            | Self::FileOpen => "endpoint.events.file",
            Self::Loss | Self::Health => "groundtrail.sensor",
        }
    }

    /// The `event.*` part, with the sequence still to be given by whoever sends it.
    pub fn doc(self, id: String) -> EventDoc {
        let (category, kind) = match self {
            Self::Exec | Self::Fork => ("process", "start"),
            Self::Exit => ("process", "end"),
            Self::Connect | Self::Accept => ("network", "start"),
            Self::FileCreation => ("file", "creation"),
            Self::FileRename | Self::FileModification => ("file", "change"),
            Self::FileDeletion => ("file", "deletion"),
            Self::FileOpen => ("file", "access"),
            // Not "start" again: who counts connections counts attempts.
            Self::Result => ("network", "connection"),
            Self::MetadataRequest => ("network", "protocol"),
            Self::MetadataCredentials => ("network", "info"),
            Self::Loss | Self::Health => ("host", "info"),
        };
        EventDoc {
            id,
            kind: if category == "host" { "metric" } else { "event" },
            category: [category],
            kinds: [kind],
            action: self.action(),
            dataset: self.dataset(),
            module: "endpoint",
            outcome: self.outcome(),
            sequence: 0,
            created: None,
        }
    }

    /// Where it is the same for all events of a kind.
    fn outcome(self) -> Option<&'static str> {
        match self {
            // Told before the first SYN: nobody knows yet.
            Self::Connect => Some("unknown"),
            Self::Accept | Self::MetadataCredentials => Some("success"),
            // It is on its way.
            Self::MetadataRequest => Some("unknown"),
            // Told when the kernel has allowed it, before the file system has done it.
            Self::FileCreation
            | Self::FileRename
            | Self::FileDeletion
            | Self::FileModification
            | Self::FileOpen => Some("unknown"),
            _ => None,
        }
    }

    pub fn data_stream(self) -> DataStreamDoc {
        DataStreamDoc { kind: "logs", dataset: self.dataset(), namespace: "default" }
    }
}

pub fn ecs() -> EcsDoc {
    EcsDoc { version: ECS_VERSION }
}
