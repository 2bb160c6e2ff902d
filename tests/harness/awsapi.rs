//! A local AWS API that takes what the real AWS CLI (v1 and v2) sends, answers the least that is valid, and writes one
//! faithful CloudTrail record per call.
//!
//! By itself it keeps no state: a user created is not listed afterwards. With moto behind it, it does: what moto can play is
//! passed on to it, and the record is made of what moto says.

mod backing;
mod call;
mod fleet;
mod record;
mod reply;
mod tls;
mod upstream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use jiff::Timestamp;

use crate::cloudtrail::Trail;
use crate::http::{Answer, Request, Site};
use crate::world::{self, Principal};

pub(crate) use record::camel_keys;

pub use call::{Call, Protocol};
pub use fleet::{Fleet, Machine};
pub use tls::{Authority, HOST_NAMES};
pub use upstream::ask;

pub struct AwsApi {
    /// Where calls are logged; `None` is an endpoint outside AWS, which logs nothing.
    trail: Option<Arc<Trail>>,
    /// The instances that commands, sessions and keys go to.
    fleet: Fleet,
    /// moto, where it plays what it can.
    moto: Option<SocketAddr>,
    /// Whose keys came to be while this answered.
    issued: Mutex<HashMap<String, Principal>>,
    session_began: Timestamp,
    n_calls: AtomicU64,
}

impl AwsApi {
    /// The stage's: one instance, whose agent's state folder this is.
    pub fn new(trail: Arc<Trail>, ssm_documents: PathBuf) -> Self {
        AwsApi { trail: Some(trail), fleet: Fleet::one(ssm_documents), ..Self::unlogged() }
    }

    /// The range's: many instances, and moto behind it.
    pub fn backed(trail: Arc<Trail>, fleet: Fleet, moto: SocketAddr) -> Self {
        AwsApi { trail: Some(trail), fleet, moto: Some(moto), ..Self::unlogged() }
    }

    /// Lets whoever holds these keys call.
    pub fn admit(&self, principal: Principal) {
        let key = principal.access_key.clone();
        self.issued.lock().expect("no holder of the keys panics").insert(key, principal);
    }

    fn caller(&self, key: &str) -> Option<Principal> {
        let issued = self.issued.lock().expect("no holder of the keys panics").get(key).cloned();
        issued.or_else(|| world::by_access_key(key)).or_else(|| self.fleet.by_access_key(key))
    }

    /// An S3-compatible or rogue endpoint: the same protocols, and no CloudTrail behind them.
    pub fn unlogged() -> Self {
        AwsApi {
            trail: None,
            fleet: Fleet::default(),
            moto: None,
            issued: Mutex::default(),
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
        let Some(principal) = self.caller(&call.access_key) else {
            // A key of no account: AWS refuses it and no trail of ours hears of it.
            let refusal = call::Refusal::unknown_key(call.protocol);
            return refusal.answer(&request_id);
        };
        let source_ip = self.fleet.seen_as(request.peer.ip(), &principal);
        let source_ip = source_ip.unwrap_or_else(|| principal.source_ip.clone());
        let reply = match self.moto.filter(|_| !reply::is_ours(&call)) {
            Some(moto) => Some(backing::to(&call, &request, moto, &request_id)),
            None => reply::to(&call, &principal, &request_id, &self.fleet),
        };
        let Some(reply) = reply else {
            return call::Refusal::unknown_action(&call).answer(&request_id);
        };
        for principal in backing::issued(&call, &reply, &source_ip) {
            self.admit(principal);
        }
        if let Some(trail) = self.trail.as_ref().filter(|_| !call.is_of_data()) {
            let began = self.session_began.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let identity = principal.identity(&began);
            trail.add(record::of(&call, &reply, &identity, &source_ip, &request, &request_id));
        }
        respond(reply.status, call.protocol, &request_id, reply.body)
    }
}

fn respond(status: StatusCode, protocol: Protocol, request_id: &str, body: impl Into<Bytes>) -> Answer {
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
        .body(Full::new(body.into()))
        .expect("a status and three plain headers make a response")
}

#[cfg(test)]
mod tests;
