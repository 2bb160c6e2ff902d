//! Who takes syslog, and as what.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

use super::super::reader::{Context, Table};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Udp {
        host: String,
        port: u16,
    },
    Tcp {
        host: String,
        port: u16,
    },
    Tls {
        host: String,
        port: u16,
    },
    /// A socket of datagrams.
    Unix(PathBuf),
}

/// What kind of program speaks, to a syslog server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

impl Default for Facility {
    fn default() -> Self {
        Self(16)
    }
}

impl Facility {
    pub const ALL: [(&'static str, Self); 12] = [
        ("user", Self(1)),
        ("daemon", Self(3)),
        ("auth", Self(4)),
        ("authpriv", Self(10)),
        ("local0", Self(16)),
        ("local1", Self(17)),
        ("local2", Self(18)),
        ("local3", Self(19)),
        ("local4", Self(20)),
        ("local5", Self(21)),
        ("local6", Self(22)),
        ("local7", Self(23)),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, facility)| *facility == self).map_or("local0", |(name, _)| name)
    }
}

impl From<Facility> for u32 {
    fn from(facility: Facility) -> Self {
        facility.0.into()
    }
}

pub(super) fn read(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Peer> {
    let text = table.required("address", ctx)?;
    let peer = match text.value.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Some(Peer::Unix(ctx.base.join(path))),
        Some(_) => None,
        None => parse(&text.value),
    };
    if peer.is_none() {
        let message = format!("\"{}\" is no address of a syslog server", text.value);
        let help = "write \"udp://10.0.0.5:514\", \"tcp://logs.example.net:601\", \"tls://logs.example.net:6514\" or \"unix:/dev/log\"";
        ctx.fault(text.span, message, help);
    }
    peer
}

fn parse(text: &str) -> Option<Peer> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return None;
    }
    let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
    if authority.as_str().len() > host.len() && uri.port_u16().is_none() {
        return None;
    }
    let port = |usual: u16| uri.port_u16().unwrap_or(usual);
    match uri.scheme_str()? {
        "udp" => Some(Peer::Udp { host, port: port(514) }),
        "tcp" => Some(Peer::Tcp { host, port: port(601) }),
        "tls" => Some(Peer::Tls { host, port: port(6514) }),
        _ => None,
    }
}

impl fmt::Display for Peer {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } => write!(f, "udp://{host}:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Tls { host, port } => write!(f, "tls://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_alike() {
        for (text, written) in [
            ("udp://10.0.0.5", "udp://10.0.0.5:514"),
            ("tcp://logs.example.net", "tcp://logs.example.net:601"),
            ("tls://[2001:db8::1]:7000/", "tls://[2001:db8::1]:7000"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), written);
            assert_eq!(parse(written), parse(text));
        }
        for wrong in ["10.0.0.5:514", "http://a", "udp://", "tcp://a/b", "tcp://u@a", "tcp://a:99999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
