//! The endpoint, and the client that `status` asks it with. HTTP is hyper's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::text;
use crate::health::{Board, Health};
use crate::httpd::{self, Guest, Manners};

/// A scraper asks once and comes again, and nobody else has business here: nobody is more than a stranger.
const MANNERS: Manners = Manners {
    name: "metrics",
    max_strangers: 16,
    max_guests: 0,
    stranger_time: MAX_TIME,
    header_time: Duration::from_secs(3),
    stall_time: MAX_TIME,
    keep_alive: false,
};
/// For everything, asked or answered.
const MAX_TIME: Duration = Duration::from_secs(10);
/// What `status` reads of an answer.
const MAX_ANSWER: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("cannot listen on {listen}: {source}; is the port taken? Change [metrics] listen")]
    Listen { listen: SocketAddr, source: io::Error },
    #[error("\"{0}\" is no address to ask: write http://127.0.0.1:9109; there is no TLS")]
    Url(String),
    #[error("no answer from {at}: {reason}; is the run up, and [metrics] listen set?")]
    NoAnswer { at: String, reason: String },
}

/// Serves on a thread of its own, until the process ends. Returns where.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(listen: SocketAddr, board: Arc<Board>) -> Result<SocketAddr, MetricsError> {
    let failed = |source| MetricsError::Listen { listen, source };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    let answer = move |request: Request<Incoming>, _: Guest| {
        let answer = answer(&request, &board);
        async move { answer }
    };
    httpd::serve(listener, MANNERS, answer).map_err(failed)?;
    Ok(at)
}

fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned());
    }
    let health = board.look();
    match (request.uri().path(), health) {
        ("/healthz", _) if board.is_stuck() => reply(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            "stuck: the run has not moved for 30 s\n".to_owned(),
        ),
        ("/healthz", _) => reply(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        ("/readyz", Some(health)) if health.is_ready => reply(StatusCode::OK, PLAIN, "ready\n".to_owned()),
        ("/readyz", Some(health)) => {
            let reasons = health.reasons().join("\n");
            reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready\n{reasons}\n"))
        }
        ("/metrics", Some(health)) => {
            reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text(&health))
        }
        ("/status", Some(health)) => {
            let json = serde_json::to_string(&health).expect("plain data serialises");
            reply(StatusCode::OK, "application/json", json)
        }
        ("/readyz" | "/metrics" | "/status", None) => {
            reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "starting\n".to_owned())
        }
        _ => {
            let known = "not found; there are /metrics, /healthz, /readyz and /status\n";
            reply(StatusCode::NOT_FOUND, PLAIN, known.to_owned())
        }
    }
}

fn reply(status: StatusCode, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store")
        .header("x-content-type-options", "nosniff");
    response.body(Full::new(Bytes::from(body))).expect("these headers are right")
}

/// Asks a run's endpoint how it is.
///
/// # Errors
/// It does not answer, or is something else.
pub fn ask(url: &str) -> Result<Health, MetricsError> {
    let wrong = || MetricsError::Url(url.to_owned());
    let at = url.strip_prefix("http://").ok_or_else(wrong)?;
    let at = at.split('/').next().filter(|at| !at.is_empty()).ok_or_else(wrong)?;
    let at = if at.parse::<std::net::IpAddr>().is_ok() || !at.contains(':') {
        format!("{at}:9109")
    } else {
        at.to_owned()
    };
    let no_answer = |reason: String| MetricsError::NoAnswer { at: at.clone(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let asked = runtime.map_err(|error| no_answer(error.to_string()))?.block_on(async {
        tokio::time::timeout(MAX_TIME, get(&at)).await.unwrap_or_else(|_| Err("it took too long".into()))
    });
    let body = asked.map_err(|error| no_answer(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| {
        no_answer(format!("what answers there is no groundtrail run of this version ({error})"))
    })
}

async fn get(at: &str) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(at).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/status").header(HOST, at).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    if status != StatusCode::OK {
        return Err(format!("it answers {status}: {}", String::from_utf8_lossy(&body).trim()).into());
    }
    Ok(body)
}
