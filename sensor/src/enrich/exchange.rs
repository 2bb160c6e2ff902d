//! What a word with a metadata service says.

use std::net::{IpAddr, Ipv4Addr};

use sensor_ebpf::abi::exchange::{Exchange, op, sign};

use crate::event::Kind;
use crate::event::exchange::{HttpDoc, LinkDoc, MetadataDoc, RequestDoc, UrlDoc};
use crate::event::network;

/// Whoever knows what follows gets the credentials of a task.
const CREDENTIALS: &str = "/credentials/";
const MASK: &str = "***";

/// An exchange, its line read once.
pub(super) struct Talk {
    pub(super) kind: Kind,
    /// The service.
    pub(super) peer: IpAddr,
    pub(super) port: u16,
    /// Tells two of one moment apart.
    pub(super) salt: u64,
    signs: u32,
    is_line_cut: bool,
    method: String,
    path: String,
    version: Option<String>,
    key: Option<String>,
}

impl Talk {
    /// Nothing for an operation or an address that this build does not know.
    pub(super) fn of(exchange: &Exchange) -> Option<Self> {
        let kind = match exchange.op {
            op::REQUEST => Kind::MetadataRequest,
            op::CREDENTIALS => Kind::MetadataCredentials,
            _ => return None,
        };
        let line = String::from_utf8_lossy(exchange.line());
        let (method, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (target, version) = match rest.rsplit_once(" HTTP/") {
            Some((target, version)) => (target, Some(version.to_owned())),
            None => (rest, None),
        };
        let key = String::from_utf8_lossy(exchange.key()).into_owned();
        Some(Self {
            kind,
            peer: network::address(exchange.family, exchange.destination)?,
            port: exchange.destination_port,
            salt: exchange.cookie,
            signs: exchange.signs,
            is_line_cut: exchange.is_line_cut(),
            method: method.to_owned(),
            path: masked(path(target)),
            version,
            key: (kind == Kind::MetadataCredentials && !key.is_empty()).then_some(key),
        })
    }

    pub(super) fn http(&self) -> HttpDoc {
        HttpDoc { request: RequestDoc { method: self.method.clone() }, version: self.version.clone() }
    }

    pub(super) fn url(&self) -> UrlDoc {
        UrlDoc { path: self.path.clone(), scheme: "http" }
    }

    pub(super) fn link(&self) -> Option<LinkDoc> {
        self.key.clone().map(|key| LinkDoc { access_key_id: [key] })
    }

    pub(super) fn doc(&self) -> MetadataDoc {
        let has = |bit: u32| self.signs & bit != 0;
        let service = service(self.peer);
        let has_session = has(sign::TOKEN) || has(sign::TOKEN_TTL);
        let is_known = has_session || !has(sign::HEADERS_CUT);
        let version = if has_session { "2.0" } else { "1.0" };
        MetadataDoc {
            service,
            version: (service == "ec2" && is_known).then_some(version),
            token_header: (has(sign::TOKEN) || !has(sign::HEADERS_CUT)).then_some(has(sign::TOKEN)),
            token_ttl_header: has(sign::TOKEN_TTL),
            query_omitted: has(sign::QUERY),
            path_truncated: self.is_line_cut,
            pipelined: has(sign::MORE),
        }
    }
}

/// Whose credentials the address hands out.
fn service(peer: IpAddr) -> &'static str {
    match peer {
        IpAddr::V4(address) if address == Ipv4Addr::new(169, 254, 170, 2) => "ecs",
        IpAddr::V4(address) if address == Ipv4Addr::new(169, 254, 170, 23) => "eks",
        IpAddr::V6(address) if address.segments()[7] == 0x23 => "eks",
        IpAddr::V4(_) | IpAddr::V6(_) => "ec2",
    }
}

/// The path of a target, which may be a whole address: a server takes both.
fn path(target: &str) -> &str {
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// ECS tells tasks apart by an id in the path that nobody else is to know.
fn masked(path: &str) -> String {
    match path.find(CREDENTIALS) {
        Some(at) if at + CREDENTIALS.len() < path.len() => {
            format!("{}{MASK}", &path[..at + CREDENTIALS.len()])
        }
        _ => path.to_owned(),
    }
}

/// Where in a line that id stands, if it has one.
pub(crate) fn secret_of_line(line: &[u8]) -> Option<std::ops::Range<usize>> {
    let needle = CREDENTIALS.as_bytes();
    let start = line.windows(needle.len()).position(|bytes| bytes == needle)? + needle.len();
    let len = line[start..].iter().position(|&byte| byte == b' ').unwrap_or(line.len() - start);
    (len != 0).then_some(start..start + len)
}
