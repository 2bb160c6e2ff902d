//! The socket: who is answered with what. HTTP is hyper's.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::board::{self, Board};
use super::door::{Door, Pass};
use super::page;
use crate::httpd::{self, Guest, Manners};
use crate::report;
use crate::sink;
use crate::store::Store;

const MANNERS: Manners = Manners {
    name: "serve",
    max_strangers: 64,
    // A tab that listens keeps a connection.
    max_guests: 64,
    stranger_time: Duration::from_secs(5),
    header_time: Duration::from_secs(30),
    stall_time: Duration::from_secs(30),
    keep_alive: true,
};
/// A stream without news says so: else nobody would notice that the other side has gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
const HTML: &str = "text/html; charset=utf-8";

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {listen}: {source}; is the port taken? Choose another with --listen")]
    Listen { listen: SocketAddr, source: std::io::Error },
}

type Answer = Response<Either<Full<Bytes>, Live>>;

/// What every answer is made from.
#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    /// The board's generation.
    news: watch::Sender<u64>,
    door: Door,
    store: PathBuf,
    /// Of this start: generations of another mean nothing.
    start: String,
}

/// A server on a thread of its own, until the process ends.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Starts to serve on a socket that listens already.
    ///
    /// # Errors
    /// The system has no more of something.
    pub fn start(
        listener: TcpListener,
        door: Door,
        board: Board,
        store: PathBuf,
        start: String,
    ) -> Result<Self, ServeError> {
        let listen = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let failed = |source| ServeError::Listen { listen, source };
        let news = watch::Sender::new(board.generation());
        let shared = Arc::new(Shared { board: Mutex::new(board), news, door, store, start });
        let served = Arc::clone(&shared);
        let answer = move |request, guest| answer(request, guest, Arc::clone(&served));
        httpd::serve(listener, MANNERS, answer).map_err(failed)?;
        Ok(Self { shared })
    }

    /// Changes what is shown; whoever listens is told where `change` says that it did.
    pub fn update(&self, change: impl FnOnce(&mut Board) -> bool) {
        let mut board = self.shared.board();
        if change(&mut board) {
            self.shared.news.send_replace(board.generation());
        }
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(request: Request<Incoming>, guest: Guest, shared: Arc<Shared>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return words(StatusCode::METHOD_NOT_ALLOWED, "Only to look at", "Nothing can be changed from here.");
    }
    match shared.door.pass(request.headers(), request.uri().query()) {
        Pass::In if guest.let_in() => {}
        Pass::In => {
            let text = "As many look at this as there is room for. Close a tab, and load the page anew.";
            return words(StatusCode::SERVICE_UNAVAILABLE, "No room", text);
        }
        Pass::Welcome { cookie } => {
            let mut answer = see(&without_query(request.uri().path()));
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                answer.headers_mut().insert(SET_COOKIE, cookie);
            }
            return answer;
        }
        Pass::Stranger => {
            let text = "Open the address that groundtrail serve printed: it holds a token that lets this browser in.";
            return words(StatusCode::FORBIDDEN, "Not without the token", text);
        }
        Pass::WrongName => {
            let text = "This is served to this host alone, as 127.0.0.1 or localhost.";
            return words(StatusCode::FORBIDDEN, "Not under this name", text);
        }
    }
    let path = request.uri().path().to_owned();
    if path == "/live" {
        return live(&request, &shared);
    }
    // The store is read and long pages are drawn: others are answered meanwhile.
    tokio::task::spawn_blocking(move || look(&path, &shared)).await.unwrap_or_else(|_| {
        words(StatusCode::INTERNAL_SERVER_ERROR, "Not this page", "It cannot be drawn; please report this.")
    })
}

/// The place itself, for a `Location`. It is relative: whatever somebody writes into the path leads nowhere else, and a
/// proxy may serve us below a folder of its own.
fn without_query(path: &str) -> String {
    format!("./{}", path.rsplit('/').next().unwrap_or_default())
}

/// What is at a path.
fn look(path: &str, shared: &Shared) -> Answer {
    match path.trim_start_matches('/').split_once('/') {
        None if path == "/" => {
            let board = shared.board();
            let at = format!("{}-{}", shared.start, board.generation());
            let page = page::list(&board, &shared.store.display().to_string(), &at);
            reply(StatusCode::OK, HTML, page.into(), &page::policy())
        }
        Some(("incident", id)) => incident(id, shared),
        Some(("alert", id)) => match shared.board().incident_of(id) {
            Some(incident) => see(&format!("../incident/{}#alert-{id}", incident.id)),
            None => lost("This alert was withdrawn, or it is older than what is listed here."),
        },
        _ => lost("There is nothing at this address."),
    }
}

/// The page that `report` writes.
fn incident(id: &str, shared: &Shared) -> Answer {
    let Some(incident) = shared.board().incident(id).cloned() else {
        return lost("No incident of what is listed here has this id; one may have become part of another.");
    };
    let read = || -> Result<Vec<Value>, Box<dyn std::error::Error>> {
        let store = Store::open_to_look(&shared.store)?;
        let mut documents = Vec::new();
        for id in board::ids(&incident) {
            if let Some(alert) = store.alert_of(id)? {
                documents.push(serde_json::from_str(&alert.document)?);
            }
        }
        Ok(documents)
    };
    match read() {
        Ok(documents) => {
            let page = report::page(&incident, &documents.iter().collect::<Vec<_>>());
            reply(StatusCode::OK, HTML, page.into(), &report::policy())
        }
        Err(error) => {
            words(StatusCode::INTERNAL_SERVER_ERROR, "The store cannot be read", &error.to_string())
        }
    }
}

/// A stream of what is new, from where the list or an earlier stream ended.
fn live(request: &Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let query = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let at = last.or_else(|| query.into_iter().find_map(|pair| pair.strip_prefix("at=")));
    let known = at.and_then(|at| at.rsplit_once('-')).filter(|(start, _)| *start == shared.start);
    let mut generation = known.and_then(|(_, generation)| generation.parse().ok()).unwrap_or(0);
    let (sender, receiver) = mpsc::channel(1);
    let (shared, mut news) = (Arc::clone(shared), shared.news.subscribe());
    tokio::spawn(async move {
        // At once, so that whoever asked knows that it is answered.
        let mut text = ": here\n\n".to_owned();
        loop {
            if *news.borrow_and_update() > generation {
                let shared = Arc::clone(&shared);
                let told = tokio::task::spawn_blocking(move || {
                    let board = shared.board();
                    let (line, now) = (sink::to_line(&board.news(generation)), board.generation());
                    (format!("id: {}-{now}\nevent: news\ndata: {line}\n\n", shared.start), now)
                });
                let Ok(told) = told.await else { return };
                (text, generation) = told;
            }
            if sender.send(Bytes::from(std::mem::take(&mut text))).await.is_err() {
                return;
            }
            match tokio::time::timeout(HEARTBEAT, news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => text = ": still here\n\n".to_owned(),
            }
        }
    });
    let body = Either::Right(Live(receiver));
    dress(Response::new(body), "text/event-stream", "default-src 'none'")
}

/// A body that goes on.
#[derive(Debug)]
struct Live(mpsc::Receiver<Bytes>);

impl Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn lost(text: &str) -> Answer {
    words(StatusCode::NOT_FOUND, "Not here", text)
}

fn words(status: StatusCode, title: &str, text: &str) -> Answer {
    reply(status, HTML, page::words(title, text).into(), &page::policy())
}

fn see(location: &str) -> Answer {
    let mut answer = reply(StatusCode::SEE_OTHER, "text/plain", Bytes::new(), "default-src 'none'");
    // What was asked for came as one, but a path may hold what a header may not.
    let location = HeaderValue::from_str(location).unwrap_or_else(|_| HeaderValue::from_static("/"));
    answer.headers_mut().insert(LOCATION, location);
    answer
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes, policy: &str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    *answer.status_mut() = status;
    dress(answer, content_type, policy)
}

fn dress(mut answer: Answer, content_type: &'static str, policy: &str) -> Answer {
    let headers = answer.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, fixed(content_type));
    headers.insert(CACHE_CONTROL, fixed("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(X_FRAME_OPTIONS, fixed("DENY"));
    headers.insert(REFERRER_POLICY, fixed("no-referrer"));
    headers.insert("cross-origin-resource-policy", fixed("same-origin"));
    headers.insert("cross-origin-opener-policy", fixed("same-origin"));
    let policy = format!("{policy}; frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy.parse().expect("hashes and keywords are ASCII"));
    answer
}
