//! `host.*`, `cloud.*` and `agent.*`: the same on every event of a run.

use std::net::IpAddr;

use serde::Serialize;

use crate::host::HostFacts;

#[derive(Debug, Serialize)]
pub struct HostDoc<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub hostname: &'a str,
    pub architecture: &'a str,
    pub boot: BootDoc<'a>,
    pub os: OsDoc<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub ip: &'a [IpAddr],
}

#[derive(Debug, Serialize)]
pub struct BootDoc<'a> {
    pub id: &'a str,
}

#[derive(Debug, Serialize)]
pub struct OsDoc<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub struct CloudDoc<'a> {
    pub provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<IdDoc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<IdDoc<'a>>,
}

#[derive(Debug, Serialize)]
pub struct IdDoc<'a> {
    pub id: &'a str,
}

#[derive(Debug, Serialize)]
pub struct AgentDoc<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub version: &'static str,
}

impl<'a> HostDoc<'a> {
    pub fn new(facts: &'a HostFacts) -> Self {
        Self {
            id: &facts.id,
            name: &facts.name,
            hostname: &facts.hostname,
            architecture: &facts.architecture,
            boot: BootDoc { id: &facts.boot_id },
            os: OsDoc {
                kind: "linux",
                kernel: &facts.kernel,
                name: facts.os_name.as_deref(),
                platform: facts.os_platform.as_deref(),
                version: facts.os_version.as_deref(),
            },
            ip: &facts.ips,
        }
    }
}

impl<'a> CloudDoc<'a> {
    /// Nothing for a host of which nothing says that it is in the cloud.
    pub fn new(facts: &'a HostFacts) -> Option<Self> {
        let id = |value: &'a Option<String>| value.as_deref().map(|id| IdDoc { id });
        let (instance, region, account) =
            (id(&facts.instance_id), facts.region.as_deref(), id(&facts.account));
        let is_cloud = instance.is_some() || region.is_some() || account.is_some();
        is_cloud.then_some(Self { provider: "aws", instance, region, account })
    }
}

impl<'a> AgentDoc<'a> {
    /// The sensor has no identity beside its host's.
    pub fn new(facts: &'a HostFacts) -> Self {
        Self { id: &facts.id, kind: "groundtrail-sensor", version: env!("CARGO_PKG_VERSION") }
    }
}
