//! `network.*`, `source.*`, `destination.*` and `error.*`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct NetworkDoc {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    pub iana_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    pub direction: &'static str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EndpointDoc {
    pub address: IpAddr,
    pub ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// `error.*`: why an attempt failed, by the name that `connect(2)` gives it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ErrorDoc {
    pub code: Cow<'static, str>,
}

impl ErrorDoc {
    /// Nothing for no error.
    pub fn new(errno: u32) -> Option<Self> {
        let name = match errno as i32 {
            0 => return None,
            libc::ECONNREFUSED => "ECONNREFUSED",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::EHOSTUNREACH => "EHOSTUNREACH",
            libc::ENETUNREACH => "ENETUNREACH",
            libc::EHOSTDOWN => "EHOSTDOWN",
            libc::ENETDOWN => "ENETDOWN",
            libc::ECONNRESET => "ECONNRESET",
            libc::ECONNABORTED => "ECONNABORTED",
            libc::EACCES => "EACCES",
            libc::EPERM => "EPERM",
            libc::EPIPE => "EPIPE",
            libc::EPROTO => "EPROTO",
            libc::ENOPROTOOPT => "ENOPROTOOPT",
            _ => return Some(Self { code: errno.to_string().into() }),
        };
        Some(Self { code: name.into() })
    }
}

impl NetworkDoc {
    pub fn outbound(ip: IpAddr, protocol: u16) -> Self {
        Self {
            kind: if ip.is_ipv4() { "ipv4" } else { "ipv6" },
            transport: transport(protocol),
            iana_number: protocol.to_string(),
            protocol: None,
            direction: "egress",
        }
    }

    /// For a request to this peer.
    pub fn http(peer: IpAddr) -> Self {
        Self { protocol: Some("http"), ..Self::outbound(peer, 6) }
    }

    /// For a connection from this peer.
    pub fn inbound(peer: IpAddr, protocol: u16) -> Self {
        Self { direction: "ingress", ..Self::outbound(peer, protocol) }
    }
}

impl EndpointDoc {
    /// Nothing for an unspecified address: a socket that is not bound yet.
    pub fn new(ip: IpAddr, port: u16) -> Option<Self> {
        (!ip.is_unspecified()).then_some(Self { address: ip, ip, port: (port != 0).then_some(port) })
    }
}

/// An address as the kernel keeps it. A v4-mapped one is the IPv4 address that goes onto the wire.
pub fn address(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(bytes).to_canonical()),
        _ => None,
    }
}

/// IANA's protocol numbers that a socket can have here.
fn transport(protocol: u16) -> Option<&'static str> {
    match protocol {
        1 => Some("icmp"),
        6 => Some("tcp"),
        17 => Some("udp"),
        58 => Some("ipv6-icmp"),
        132 => Some("sctp"),
        136 => Some("udplite"),
        262 => Some("mptcp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(family: i32, bytes: [u8; 16], expect: Option<&str>) {
        assert_eq!(address(family as u16, bytes).map(|ip| ip.to_string()).as_deref(), expect);
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        let v4 = |tail: [u8; 4]| [tail[0], tail[1], tail[2], tail[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        check(libc::AF_INET, v4([169, 254, 169, 254]), Some("169.254.169.254"));
        let mapped = Ipv4Addr::new(169, 254, 169, 254).to_ipv6_mapped().octets();
        check(libc::AF_INET6, mapped, Some("169.254.169.254"));
        let imds: Ipv6Addr = "fd00:ec2::254".parse().expect("an address");
        check(libc::AF_INET6, imds.octets(), Some("fd00:ec2::254"));
        check(libc::AF_UNIX, [0; 16], None);
    }

    #[test]
    fn an_unbound_source_is_left_out() {
        assert_eq!(EndpointDoc::new(Ipv4Addr::UNSPECIFIED.into(), 80), None);
        assert_eq!(EndpointDoc::new(Ipv4Addr::LOCALHOST.into(), 0).expect("bound").port, None);
    }
}
