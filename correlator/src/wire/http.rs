//! One request to one answer. HTTP is hyper's; what a batch means is `worker`'s.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Semaphore, oneshot};

use super::account::{Account, Cause};
use super::hosts::{Host, Hosts};
use super::ledger::{Offer, parse_stream};
use super::name::{self, Named};
use super::worker::{Job, Reply, Workers};
use super::{
    ACKNOWLEDGED, EVENTS_PATH, EXPECTED, HELLO_PATH, HOST, OLDEST, PROTOCOL, PROTOCOLS, REFUSED, SEQUENCE,
    STREAM,
};

/// A body has so long to arrive: one byte a minute is no batch.
const MAX_BODY_TIME: Duration = Duration::from_secs(30);
/// So long a body is read that was refused by its head.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(5);
/// How long a batch may wait for room in memory, and for what it led to to be written. Longer is the sender's to try again.
const MAX_ROOM_TIME: Duration = Duration::from_secs(10);
const MAX_COMMIT_TIME: Duration = Duration::from_secs(20);
/// Bodies in memory, all together.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// What all connections share.
pub(super) struct Service {
    pub(super) hosts: Hosts,
    pub(super) workers: Workers,
    pub(super) account: Arc<Account>,
    pub(super) max_batch_bytes: usize,
    room: Arc<Semaphore>,
}

/// Who is at the other end.
#[derive(Clone)]
pub(super) enum Peer {
    /// A client whose certificate was looked at.
    Named(Arc<Named>),
    /// A client whose certificate is good and names nobody.
    Nobody { from: String, why: String },
    /// Somebody whom the kernel lets through, by user id.
    Local(u32),
}

/// Why a request is not answered with an acknowledgement.
struct Denied {
    status: StatusCode,
    cause: Cause,
    detail: String,
    /// A header that says what to do instead.
    hint: Option<(&'static str, String)>,
}

type Answer = Response<Full<Bytes>>;

impl Service {
    pub(super) fn new(hosts: Hosts, workers: Workers, account: Arc<Account>, max_batch_bytes: usize) -> Self {
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Self { hosts, workers, account, max_batch_bytes, room }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Answer {
        match self.serve(request, peer).await {
            Ok(answer) => answer,
            Err(denied) => {
                self.account.note(denied.cause, &peer.to_string(), 1, &denied.detail);
                let mut answer = reply(denied.status, &format!("{}\n", denied.detail));
                if let Some((name, value)) = denied.hint
                    && let Ok(value) = value.parse()
                {
                    answer.headers_mut().insert(name, value);
                }
                answer
            }
        }
    }

    async fn serve(&self, request: Request<Incoming>, peer: &Peer) -> Result<Answer, Denied> {
        let headers = request.headers();
        speaks_our_version(headers)?;
        match (request.uri().path(), request.method()) {
            (HELLO_PATH, &Method::GET) => {
                let host = host_of(headers, peer)?;
                let text = serde_json::json!({ "protocols": PROTOCOLS, "host": host });
                Ok(reply(StatusCode::OK, &format!("{text}\n")))
            }
            (EVENTS_PATH, &Method::POST) => self.events(request, peer).await,
            (EVENTS_PATH | HELLO_PATH, _) => Err(malformed(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("POST {EVENTS_PATH} or GET {HELLO_PATH}"),
            )),
            _ => Err(malformed(StatusCode::NOT_FOUND, format!("there are {EVENTS_PATH} and {HELLO_PATH}"))),
        }
    }

    async fn events(&self, request: Request<Incoming>, peer: &Peer) -> Result<Answer, Denied> {
        let (head, body) = request.into_parts();
        let (host, offer, length) = match self.admit(&head.headers, &body, peer) {
            Ok(admitted) => admitted,
            Err(denied) => {
                // An answer to one who is still talking is lost with the connection.
                drain(Limited::new(body, self.max_batch_bytes)).await;
                return Err(denied);
            }
        };
        let _request = host.enter().ok_or_else(|| busy("this host has other requests under way", 1))?;
        let room = async {
            let own = host.room_for(length).await?;
            let n_bytes = u32::try_from(length.clamp(1, MAX_WAITING_BYTES)).unwrap_or(u32::MAX);
            let shared = Arc::clone(&self.room).acquire_many_owned(n_bytes).await.ok()?;
            Some((own, shared))
        };
        let (own_room, room) = tokio::time::timeout(MAX_ROOM_TIME, room)
            .await
            .ok()
            .flatten()
            .ok_or_else(|| busy("too much waits to be read", 2))?;
        let body = Limited::new(body, self.max_batch_bytes).collect();
        let body = tokio::time::timeout(MAX_BODY_TIME, body)
            .await
            .map_err(|_elapsed| {
                malformed(StatusCode::REQUEST_TIMEOUT, "the batch took too long to arrive".into())
            })?
            .map_err(|error| malformed(StatusCode::BAD_REQUEST, format!("the batch broke off: {error}")))?
            .to_bytes();
        drop(own_room);
        self.take(host, peer, offer, body, room).await
    }

    /// What can be said of a batch before it is read.
    fn admit(
        &self,
        headers: &HeaderMap,
        body: &Incoming,
        peer: &Peer,
    ) -> Result<(Arc<Host>, Offer, usize), Denied> {
        let id = host_of(headers, peer)?;
        let offer = offer(headers)?;
        let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("none");
        if encoding != "zstd" {
            let detail = format!("content-encoding is \"{encoding}\": pack batches with zstd");
            return Err(malformed(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let length = body.size_hint().exact().ok_or_else(|| {
            malformed(
                StatusCode::LENGTH_REQUIRED,
                "say how long the batch is: content-length is missing".into(),
            )
        })?;
        let max = self.max_batch_bytes;
        let length = usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(|| Denied {
            cause: Cause::Frame,
            ..malformed(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a batch has at most {max} bytes: send fewer at a time"),
            )
        })?;
        let host = self.hosts.get(&id).ok_or_else(|| busy("too many hosts send here", 60))?;
        if let Some(wait) = self.hosts.wait(&host) {
            let detail = "over events_per_second or bytes_per_second of this source";
            return Err(Denied {
                status: StatusCode::TOO_MANY_REQUESTS,
                cause: Cause::Quota,
                ..busy(detail, wait.as_secs() + 1)
            });
        }
        Ok((host, offer, length))
    }

    async fn take(
        &self,
        host: Arc<Host>,
        peer: &Peer,
        offer: Offer,
        body: Bytes,
        room: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Answer, Denied> {
        let (reply_to, told) = oneshot::channel();
        let named = match peer {
            Peer::Named(named) => Some(Arc::clone(named)),
            Peer::Nobody { .. } | Peer::Local(_) => None,
        };
        let job = Job { host: Arc::clone(&host), named, offer, body, _room: room, reply: reply_to };
        let sent = tokio::time::timeout(MAX_ROOM_TIME, self.workers.send(job)).await;
        if sent != Ok(true) {
            return Err(busy("the correlator is behind", 1));
        }
        let told = tokio::time::timeout(MAX_COMMIT_TIME, told).await;
        let through = match told {
            Ok(Ok(Reply::Taken { through })) => through,
            Ok(Ok(Reply::OutOfOrder { expected })) => {
                return Err(Denied {
                    status: StatusCode::CONFLICT,
                    cause: Cause::OutOfOrder,
                    detail: format!("number {expected} comes first: send from the oldest on"),
                    hint: Some((EXPECTED, expected.to_string())),
                });
            }
            Ok(Ok(Reply::Refused { error })) => {
                let hint = error.nth().map(|nth| (REFUSED, (offer.first + nth as u64).to_string()));
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Denied { status, cause: Cause::Frame, detail: error.to_string(), hint });
            }
            Ok(Ok(Reply::Impossible)) => {
                let detail = format!("{SEQUENCE} counts from 1 on");
                return Err(malformed(StatusCode::BAD_REQUEST, detail));
            }
            Ok(Ok(Reply::Ended) | Err(_)) => return Err(busy("the correlator is ending", 2)),
            Err(_elapsed) => return Err(busy("the correlator is behind", 2)),
        };
        // What is acknowledged is forgotten by the sender: it has to be written by then.
        if !host.is_safe(offer.stream, through, MAX_COMMIT_TIME).await {
            return Err(busy("the store cannot be written, or is slow", 2));
        }
        let mut answer = reply(StatusCode::OK, "");
        answer.headers_mut().insert(ACKNOWLEDGED, through.into());
        Ok(answer)
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(named) => f.write_str(&named.host),
            Self::Nobody { from, .. } => f.write_str(from),
            Self::Local(user) => write!(f, "user {user}"),
        }
    }
}

/// Reads what nobody wants, for a while.
async fn drain(mut body: Limited<Incoming>) {
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(MAX_DRAIN_TIME, read).await;
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn speaks_our_version(headers: &HeaderMap) -> Result<(), Denied> {
    let spoken = text(headers, PROTOCOL).and_then(|version| version.parse().ok());
    if spoken.is_some_and(|version: u32| PROTOCOLS.contains(&version)) {
        return Ok(());
    }
    let ours = PROTOCOLS.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    Err(Denied {
        status: StatusCode::UPGRADE_REQUIRED,
        cause: Cause::Version,
        detail: format!("{PROTOCOL} has to be one of: {ours}"),
        hint: Some((PROTOCOL, ours)),
    })
}

/// The host of a request: what the certificate says, and what the sensor says has to be the same. A sensor that was set
/// up for another host is told so at once, before its events are under the wrong name.
fn host_of(headers: &HeaderMap, peer: &Peer) -> Result<Box<str>, Denied> {
    let claimed = text(headers, HOST).filter(|id| name::is_host_id(id));
    let Some(claimed) = claimed else {
        let detail = format!("{HOST} is missing, or cannot be a host id");
        return Err(malformed(StatusCode::BAD_REQUEST, detail));
    };
    match peer {
        Peer::Nobody { why, .. } => {
            Err(Denied { status: StatusCode::FORBIDDEN, cause: Cause::Name, detail: why.clone(), hint: None })
        }
        Peer::Named(named) if *named.host != *claimed => Err(Denied {
            status: StatusCode::FORBIDDEN,
            cause: Cause::Name,
            detail: format!(
                "the sensor says host \"{claimed}\" and its certificate \"{}\": set [host] id in its sensor.toml, or issue it \
                 a certificate of its own",
                named.host
            ),
            hint: None,
        }),
        _ => Ok(claimed.into()),
    }
}

fn offer(headers: &HeaderMap) -> Result<Offer, Denied> {
    let wrong = |name: &str, what: &str| {
        malformed(StatusCode::BAD_REQUEST, format!("{name} is missing, or no {what}"))
    };
    let number = |name: &str| text(headers, name).and_then(|text| text.parse::<u64>().ok());
    let first = number(SEQUENCE).ok_or_else(|| wrong(SEQUENCE, "number"))?;
    Ok(Offer {
        stream: text(headers, STREAM).and_then(parse_stream).ok_or_else(|| wrong(STREAM, "32 hex digits"))?,
        first,
        n_frames: 1,
        oldest: number(OLDEST).ok_or_else(|| wrong(OLDEST, "number"))?.min(first),
    })
}

fn malformed(status: StatusCode, detail: String) -> Denied {
    Denied { status, cause: Cause::Malformed, detail, hint: None }
}

fn busy(detail: &str, seconds: u64) -> Denied {
    Denied {
        status: StatusCode::SERVICE_UNAVAILABLE,
        cause: Cause::Busy,
        detail: detail.to_owned(),
        hint: Some((RETRY_AFTER.as_str(), seconds.to_string())),
    }
}

/// The connection's certificate is to be shown anew.
pub(super) fn reconnect() -> Answer {
    let mut answer = reply(StatusCode::SERVICE_UNAVAILABLE, "connect again: certificates have changed\n");
    answer.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    answer.headers_mut().insert(RETRY_AFTER, 0.into());
    answer
}

fn reply(status: StatusCode, text: &str) -> Answer {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(PROTOCOL, PROTOCOLS.last().copied().unwrap_or_default());
    response.body(Full::new(Bytes::copy_from_slice(text.as_bytes()))).expect("these headers are right")
}
