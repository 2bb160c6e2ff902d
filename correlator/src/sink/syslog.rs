//! Syslog as RFC 5424 has it: over UDP, TCP with octet counting (RFC 6587), TLS (RFC 5425), or a Unix socket.
//!
//! Syslog acknowledges nothing. What was handed to the system for a peer that was there counts as taken.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use rules::rule::Severity;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UdpSocket, UnixDatagram};
use tokio_rustls::TlsConnector;

use super::format::Format;
use super::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use super::{SinkError, http, tls};
use crate::config::sinks::{Peer, Syslog};
use crate::untrusted::Untrusted;

/// The number that RFC 5612 keeps for examples: there is none of our own.
const ELEMENT: &str = "groundtrail@32473";
/// A datagram over IPv4 holds no more.
const MAX_DATAGRAM: usize = 65_507;

pub(super) struct Wire {
    to: Syslog,
    format: Format,
    host: String,
    tls: Option<TlsConnector>,
    open: Option<Open>,
}

enum Open {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Stream(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Wire {
    /// # Errors
    /// There is nothing to know the receiver's certificate by.
    pub(super) fn open(to: &Syslog, format: Format) -> Result<Self, SinkError> {
        let tls = match &to.peer {
            Peer::Tls { .. } => Some(tls::connector(to.ca.as_deref())?),
            _ => None,
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self { to: to.clone(), format, host: host.trim().to_owned(), tls, open: None })
    }

    /// Where a message is longer than what the receiver takes, it is what the alert says in short.
    fn message(&self, item: &Item, max_bytes: usize) -> Option<String> {
        let head = self.head(item);
        let whole = format!("{head} \u{feff}{}", item.line(self.format));
        if whole.len() <= max_bytes {
            return Some(whole);
        }
        let room = max_bytes.checked_sub(head.len() + 4)?;
        let short = self.format.short(&item.document, room)?;
        Some(format!("{head} \u{feff}{short}"))
    }

    fn head(&self, item: &Item) -> String {
        let document = &item.document;
        let priority = u32::from(self.to.facility) * 8 + level(item.severity());
        let time = document["@timestamp"].as_str().and_then(stamp).unwrap_or_else(|| "-".to_owned());
        let mut head = format!(
            "<{priority}>1 {time} {} {} {} alert [{ELEMENT}",
            name(&self.host, 255),
            name(&self.to.app_name, 48),
            std::process::id()
        );
        let own = &document["groundtrail"]["alert"];
        for (key, value) in [
            ("alert_id", item.alert_id.as_str()),
            ("revision", &item.revision.to_string()),
            ("state", own["state"].as_str().unwrap_or_default()),
            ("severity", own["severity"].as_str().unwrap_or_default()),
            ("rule_id", document["rule"]["id"].as_str().unwrap_or_default()),
            ("rule", document["rule"]["name"].as_str().unwrap_or_default()),
            ("host_id", document["host"]["id"].as_str().unwrap_or_default()),
        ] {
            if !value.is_empty() {
                let _ = write!(head, " {key}=\"{}\"", parameter(value));
            }
        }
        head.push(']');
        head
    }

    async fn deliver(&mut self, items: &[Item]) -> Answer {
        let max_bytes = match self.to.peer {
            Peer::Udp { .. } | Peer::Unix(_) => self.to.max_message.min(MAX_DATAGRAM),
            _ => self.to.max_message,
        };
        let mut verdicts = Vec::new();
        for item in items {
            let Some(message) = self.message(item, max_bytes) else {
                let reason = format!("not even its short form fits into {max_bytes} bytes (max_message)");
                verdicts.push(Verdict::Refused(reason));
                continue;
            };
            match self.write(&message).await {
                Ok(()) => verdicts.push(Verdict::Taken),
                Err(reason) => {
                    self.open = None;
                    // Those behind it keep their place.
                    let left = items.len() - verdicts.len();
                    verdicts.extend(std::iter::repeat_n(Verdict::Later(reason), left));
                    break;
                }
            }
        }
        Answer::each(verdicts)
    }

    async fn write(&mut self, message: &str) -> Result<(), String> {
        if let Some(Open::Stream(stream)) = &mut self.open
            && has_ended(stream).await
        {
            self.open = None;
        }
        // Taken out for as long as a message is half written: who is cut off in between leaves no connection on which the
        // next message would be the rest of this one.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let peer = &self.to.peer;
        let failed = |error: io::Error| format!("cannot write to {peer}: {error}");
        match &mut open {
            Open::Udp(socket) => socket.send(message.as_bytes()).await.map(|_| ()).map_err(failed),
            Open::Unix(socket) => socket.send(message.as_bytes()).await.map(|_| ()).map_err(failed),
            Open::Stream(stream) => {
                let framed = format!("{} {message}", message.len());
                stream.write_all(framed.as_bytes()).await.map_err(failed)?;
                stream.flush().await.map_err(failed)
            }
        }?;
        self.open = Some(open);
        Ok(())
    }

    async fn connect(&self) -> Result<Open, String> {
        let failed = |error: io::Error| format!("cannot connect to {}: {error}", self.to.peer);
        match (&self.to.peer, &self.tls) {
            (Peer::Udp { host, port }, _) => {
                let address = http::resolve(host, *port).await?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await.map_err(failed)?;
                socket.connect(address).await.map_err(failed)?;
                Ok(Open::Udp(socket))
            }
            (Peer::Unix(path), _) => unix(path).map(Open::Unix).map_err(failed),
            (Peer::Tls { host, port }, Some(tls)) => {
                let stream = http::secure(tls, host, http::connect(host, *port).await?).await?;
                Ok(Open::Stream(Box::new(stream)))
            }
            (Peer::Tcp { host, port } | Peer::Tls { host, port }, _) => {
                Ok(Open::Stream(Box::new(http::connect(host, *port).await?)))
            }
        }
    }
}

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// Whether the other end has gone. Syslog says nothing back, so whatever can be read is its end.
async fn has_ended(stream: &mut Box<dyn Stream>) -> bool {
    let mut byte = [0];
    tokio::select! {
        biased;
        read = stream.read(&mut byte) => !matches!(read, Ok(1)),
        () = std::future::ready(()) => false,
    }
}

impl Transport for Wire {
    fn portion(&self) -> Portion {
        // What was written before a time limit cut in is written again; one message at a time that is one.
        match self.to.peer {
            Peer::Tcp { .. } | Peer::Tls { .. } => Portion::ONE,
            Peer::Udp { .. } | Peer::Unix(_) => Portion::of(64, 1 << 20),
        }
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(self.deliver(items))
    }
}

/// critical, error, warning, notice.
pub(super) fn level(severity: Severity) -> u32 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
    }
}

/// With microseconds at most, which is as fine as syslog goes.
fn stamp(time: &str) -> Option<String> {
    let (seconds, fraction) =
        time.strip_suffix('Z')?.split_once('.').unwrap_or((time.strip_suffix('Z')?, "0"));
    let is_plain = seconds.bytes().all(|byte| byte.is_ascii_digit() || b"-:T".contains(&byte));
    let digits: String = fraction.chars().take(6).collect();
    (is_plain && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| format!("{seconds}.{digits}Z"))
}

/// A name of the header: printable ASCII without spaces.
fn name(text: &str, max: usize) -> String {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let name: String = text.chars().take(max).map(plain).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// A value of structured data: on one line, with what ends it escaped.
fn parameter(text: &str) -> String {
    let mut value = String::new();
    for c in Untrusted(text).fit(1_024).chars() {
        if matches!(c, '"' | '\\' | ']') {
            value.push('\\');
        }
        value.push(c);
    }
    value
}
