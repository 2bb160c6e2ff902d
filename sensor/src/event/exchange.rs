//! `http.*`, `url.*`, and what ECS has no name for in a word with a metadata service.

use serde::Serialize;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct HttpDoc {
    pub request: RequestDoc,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RequestDoc {
    pub method: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UrlDoc {
    pub path: String,
    pub scheme: &'static str,
}

/// `groundtrail.imds.*`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MetadataDoc {
    /// `ec2`, `ecs` or `eks`: who hands out credentials at that address.
    pub service: &'static str,
    /// Of EC2's, as CloudTrail's `ec2RoleDelivery` says it: `2.0` with a session, `1.0` without one. Nothing if the headers went
    /// on out of sight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// Whether a session's token came along; nothing if it may have, out of sight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_header: Option<bool>,
    /// A session was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub token_ttl_header: bool,
    /// The target had a query, which is not told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub query_omitted: bool,
    /// The path is longer than what is told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub path_truncated: bool,
    /// More was sent at once than one request; what it was is not told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pipelined: bool,
}

/// `groundtrail.link.*`: what joins the event to what AWS logs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LinkDoc {
    pub access_key_id: [String; 1],
}
