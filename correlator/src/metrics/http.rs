//! The endpoint, and the client that `status` asks it with. HTTP is hyper's.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::text;
use crate::health::{Board, Health};

/// Served at once. More are turned away: a scraper comes again, and nobody else has business here.
const MAX_CLIENTS: usize = 16;
/// A client has so long to say what it wants, and so long for everything.
const MAX_HEADER_TIME: Duration = Duration::from_secs(3);
const MAX_TIME: Duration = Duration::from_secs(10);
/// Of a request's head; hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;
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
    listener.set_nonblocking(true).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed)?
    };
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(accept(listener, board)))
        .map_err(failed)?;
    Ok(at)
}

async fn accept(listener: tokio::net::TcpListener, board: Arc<Board>) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the next try must not be at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let board = Arc::clone(&board);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&request, &board);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(MAX_HEADER_TIME)
                .keep_alive(false)
                .max_headers(64)
                .max_buf_size(MAX_HEAD);
            // A client that errs or dawdles has only itself to blame.
            let _ =
                tokio::time::timeout(MAX_TIME, http.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
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
