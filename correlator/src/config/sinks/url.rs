//! The address of an HTTP receiver.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

use super::super::reader::{Context, Table};

/// Scheme, host and path, each fit for a request as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    written: String,
    pub is_tls: bool,
    /// A name, or an address; IPv6 in brackets.
    pub host: String,
    pub port: u16,
    /// With the query, if there is one; without a slash at its end.
    pub path: String,
}

pub(super) fn read(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Url> {
    let text = table.required("url", ctx)?;
    match Url::parse(&text.value) {
        Ok(url) => Some(url),
        Err(reason) => {
            // What was written may hold a password: it is shown at its place, and nowhere else.
            ctx.fault(
                text.span,
                format!("this is no address of a receiver: {reason}"),
                "write \"https://siem.example.net/hook\"",
            );
            None
        }
    }
}

impl Url {
    /// # Errors
    /// In words.
    pub fn parse(written: &str) -> Result<Self, &'static str> {
        let uri: Uri = written.parse().map_err(|_invalid| "it cannot be read")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins with neither https:// nor http://"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user or a password, which belong into a file");
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("it has no host")?.to_owned();
        if authority.as_str().len() > host.len() && uri.port_u16().is_none() {
            return Err("its port is no port");
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let path = path.to_owned();
        Ok(Self { written: written.to_owned(), is_tls, host, port, path })
    }

    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// As the `Host` header has it.
    pub fn authority(&self) -> String {
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it is this machine, by how it is written.
    pub fn is_loopback(&self) -> bool {
        self.bare_host() == "localhost" || self.bare_host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether it is a metadata service, by how it is written.
    pub fn is_metadata(&self) -> bool {
        self.bare_host().parse().is_ok_and(is_metadata)
    }
}

/// Link-local IPv4, where EC2, ECS and EKS hand out credentials, and their IPv6 addresses. Whoever chooses what a name
/// resolves to must not have a token of ours go there.
pub fn is_metadata(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0xfd00, 0x0ec2],
    }
}

impl fmt::Display for Url {
    /// Without path and query, which some services take for the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_into_its_parts() {
        let url = Url::parse("https://siem.example.net/hook/T0/secret?key=1").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("siem.example.net", 443, "/hook/T0/secret?key=1")
        );
        assert_eq!(url.to_string(), "https://siem.example.net", "a path may be the secret");
        let url = Url::parse("http://[::1]:9200/").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("[::1]", 9200, "/"));
        assert_eq!(url.authority(), "[::1]:9200");
        assert!(url.is_loopback() && !Url::parse("http://10.0.0.1").unwrap().is_loopback());
        let url = Url::parse("https://siem.example.net/hook/").unwrap();
        assert_eq!(url.path, "/hook/", "what is at the end of a path is part of it");
        for wrong in [
            "siem.example.net",
            "ftp://a/b",
            "https://",
            "https://u:p@host/",
            "https://a:99999/",
            "https://a b/",
            "",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }
}
