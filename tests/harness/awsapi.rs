//! A local AWS API that takes what the real AWS CLI (v1 and v2) sends, answers the least that is valid, and writes one
//! faithful CloudTrail record per call.
//!
//! Left out: state. A user created is not listed afterwards; what counts here is the call and the trace it leaves.

mod call;
mod record;
mod reply;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use jiff::Timestamp;

use crate::cloudtrail::Trail;
use crate::http::{Answer, Request, Site};
use crate::world;

pub(crate) use record::camel_keys;

pub use call::{Call, Protocol};
pub use tls::{Authority, HOST_NAMES};

pub struct AwsApi {
    /// Where calls are logged; `None` is an endpoint outside AWS, which logs nothing.
    trail: Option<Arc<Trail>>,
    /// The SSM agent's state folder, which a `SendCommand` is delivered to.
    ssm_documents: Option<PathBuf>,
    session_began: Timestamp,
    n_calls: AtomicU64,
}

impl AwsApi {
    pub fn new(trail: Arc<Trail>, ssm_documents: PathBuf) -> Self {
        AwsApi { trail: Some(trail), ssm_documents: Some(ssm_documents), ..Self::unlogged() }
    }

    /// An S3-compatible or rogue endpoint: the same protocols, and no CloudTrail behind them.
    pub fn unlogged() -> Self {
        AwsApi {
            trail: None,
            ssm_documents: None,
            session_began: Timestamp::now(),
            n_calls: AtomicU64::new(0),
        }
    }

    fn request_id(&self) -> String {
        let n = self.n_calls.fetch_add(1, Ordering::Relaxed);
        crate::digest::uuid(&format!("{}/{}/{n}", std::process::id(), self.session_began))
    }
}

impl Site for AwsApi {
    fn answer(&self, request: Request) -> Answer {
        let request_id = self.request_id();
        let call = match call::read(&request) {
            Ok(call) => call,
            Err(refusal) => return refusal.answer(&request_id),
        };
        let Some(principal) = world::by_access_key(&call.access_key) else {
            // A key of no account: AWS refuses it and no trail of ours hears of it.
            let refusal = call::Refusal::unknown_key(call.protocol);
            return refusal.answer(&request_id);
        };
        let Some(reply) = reply::to(&call, &principal, &request_id, self.ssm_documents.as_deref()) else {
            return call::Refusal::unknown_action(&call).answer(&request_id);
        };
        if let Some(trail) = &self.trail {
            let began = self.session_began.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            trail.add(record::of(
                &call,
                &reply,
                &principal.identity(&began),
                &principal.source_ip,
                &request,
                &request_id,
            ));
        }
        respond(StatusCode::OK, call.protocol, &request_id, reply.body)
    }
}

fn respond(status: StatusCode, protocol: Protocol, request_id: &str, body: String) -> Answer {
    let content_type = match protocol {
        Protocol::Ec2 => "text/xml;charset=UTF-8",
        Protocol::Query => "text/xml",
        Protocol::Json => "application/x-amz-json-1.1",
        Protocol::RestJson => "application/json",
        Protocol::RestXml => "application/xml",
    };
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header("x-amzn-requestid", request_id)
        .body(Full::new(Bytes::from(body)))
        .expect("a status and three plain headers make a response")
}

#[cfg(test)]
mod tests;
