//! One receiver over HTTP/1.1: a connection that is kept, made anew when it is gone. HTTP and TLS are hyper's and rustls's.
//!
//! Redirects are not followed, and addresses of metadata services are not connected to: an alert, and the token that goes with
//! it, reach the host that the configuration names or none.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rules::event::EventTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::login::Login;
use super::mask::Masks;
use super::tls::{self, TlsError};
use crate::causes::chain;
use crate::config::sinks::{Url, is_metadata};
use crate::health::millis;
use crate::time::{Clock as _, SystemClock};

/// For each address of the host.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// What is read of an answer.
const MAX_ANSWER: usize = 8 << 20;
/// What is searched of one for secrets, and then shown of it.
const MAX_SEARCHED: usize = 64 << 10;
const MAX_SHOWN: usize = 300;

pub(super) const AGENT: &str = concat!("groundtrail/", env!("CARGO_PKG_VERSION"));

pub(super) struct Client {
    url: Url,
    masks: Masks,
    tls: Option<TlsConnector>,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// What the receiver said.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
    pub(super) masks: Masks,
}

impl Client {
    /// # Errors
    /// There is nothing to know the receiver's certificate by.
    pub(super) fn new(url: &Url, ca: Option<&Path>, logins: Vec<Login>) -> Result<Self, TlsError> {
        let tls = if url.is_tls { Some(tls::connector(ca)?) } else { None };
        let masks = Masks { logins: logins.into(), path: url.path.as_str().into() };
        Ok(Self { url: url.clone(), masks, tls, open: None })
    }

    /// Sends a body there and reads the answer.
    ///
    /// # Errors
    /// In words: nothing is known of what became of the body.
    pub(super) async fn post(
        &mut self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, String> {
        // A connection that was kept may have been closed by its other end meanwhile. That is no trouble of the receiver's.
        if let Some(mut kept) = self.open.take()
            && kept.ready().await.is_ok()
            && let Ok(reply) = self.exchange(kept, path, &headers, &body).await
        {
            return Ok(reply);
        }
        let fresh = self.connect().await?;
        self.exchange(fresh, path, &headers, &body).await
    }

    async fn exchange(
        &mut self,
        mut sender: SendRequest<Full<Bytes>>,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Reply, String> {
        let request = self.request(path, headers, body)?;
        let url = &self.url;
        let failed = |error: &dyn std::error::Error| format!("no answer from {url}: {}", chain(error));
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| failed(&*error))?;
        self.open = Some(sender);
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        Ok(Reply { status: head.status, retry_after, body: body.to_bytes(), masks: self.masks.clone() })
    }

    fn request(&self, path: &str, headers: &HeaderMap, body: &Bytes) -> Result<Request<Full<Bytes>>, String> {
        let path = match path {
            "" if self.url.path.is_empty() => "/".to_owned(),
            "" => self.url.path.clone(),
            below => format!("{}{below}", self.url.path.trim_end_matches('/')),
        };
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            path.parse().map_err(|error| format!("no path for HTTP: \"{path}\": {error}"))?;
        *request.headers_mut() = headers.clone();
        let host = HeaderValue::from_str(&self.url.authority())
            .map_err(|error| format!("no host for HTTP: {error}"))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(request)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = connect(&self.url.host, self.url.port).await?;
        let failed = |error: &dyn std::error::Error| format!("cannot talk to {}: {}", self.url, chain(error));
        let (sender, connection) = match &self.tls {
            None => {
                let (sender, connection) =
                    handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
                (sender, tokio::spawn(async move { drop(connection.await) }))
            }
            Some(tls) => {
                let stream = secure(tls, &self.url.host, stream).await?;
                let (sender, connection) =
                    handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
                (sender, tokio::spawn(async move { drop(connection.await) }))
            }
        };
        // It ends with its sender.
        drop(connection);
        Ok(sender)
    }
}

impl Reply {
    /// What it said, short, for a person.
    pub(super) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(MAX_SEARCHED)]);
        // Before it is cut, since half a token is not found.
        let text = self.masks.cover(&text);
        let text: String =
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_SHOWN).collect();
        let moved = if self.status.is_redirection() {
            "; redirects are not followed, so set the address that it leads to"
        } else {
            ""
        };
        let colon = if text.is_empty() { "" } else { ": " };
        format!("it answered {}{colon}{text}{moved}", self.status)
    }
}

/// The host's addresses, but for those that no alert is sent to.
async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let found = found.map_err(|error| format!("cannot find the host \"{host}\": {error}"))?;
    let (metadata, fit): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.partition(|address| is_metadata(address.ip()));
    match metadata.first() {
        Some(address) if fit.is_empty() => Err(format!(
            "the host \"{host}\" has the address {}, which is for metadata of instances: no alert is sent there",
            address.ip()
        )),
        None if fit.is_empty() => Err(format!("the host \"{host}\" has no address")),
        _ => Ok(fit),
    }
}

/// Where datagrams for the host go.
pub(super) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    addresses(host, port).await.map(|addresses| addresses[0])
}

/// A connection to one of the host's addresses.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut last = String::new();
    for address in addresses(host, port).await? {
        match tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is written at once, and its answer is waited for.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("cannot connect to {host} at {address}: {error}"),
            Err(_) => last = format!("cannot connect to {host} at {address}: it took too long"),
        }
    }
    Err(last)
}

pub(super) async fn secure(
    tls: &TlsConnector,
    host: &str,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare)
        .map_err(|error| format!("\"{host}\" cannot be in a certificate: {error}"))?;
    tls.connect(name, stream).await.map_err(|error| format!("no TLS with {host}: {error}"))
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    until(date.as_millisecond(), SystemClock.now())
}

fn until(then_ms: i64, now: EventTime) -> Option<Duration> {
    u64::try_from(then_ms - millis(now)).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_no_receivers() {
        for ip in
            ["169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fd00:ec2::254", "fd00:ec2::23"]
        {
            assert!(is_metadata(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "198.51.100.1"] {
            assert!(!is_metadata(ip.parse().unwrap()), "{ip}");
        }
        let refused = crate::sink::now(connect("169.254.169.254", 80)).unwrap_err();
        assert!(refused.contains("for metadata"), "{refused}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None, "it is over");
        let wait = retry_after("Wed, 21 Oct 2099 07:28:00 GMT").unwrap();
        assert!(wait > Duration::from_secs(86_400 * 365));
    }
}
