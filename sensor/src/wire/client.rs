//! Requests to the correlator, over a connection that is kept while it lasts. HTTP is hyper's, TLS rustls'.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST as HTTP_HOST, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::answer::Answer;
use super::tls::{TlsError, TlsFiles};
use super::{
    ACKNOWLEDGED, EVENTS_PATH, HELLO_PATH, HOST, OLDEST, PROTOCOL, PROTOCOLS, Place, REFUSED, SEQUENCE,
    STREAM,
};
use crate::spool::Chunk;

const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);
/// The correlator answers when it has written: longer than all that it waits for on the way together.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(100);
/// Words for people in an answer.
const MAX_ANSWER: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no connection to {place}: {source}{hint}")]
    Connect { place: String, hint: &'static str, source: io::Error },
    #[error("no connection to {place}: it took too long; is the address right, and nothing in between?")]
    Silent { place: String },
    #[error(transparent)]
    Files(#[from] TlsError),
    #[error("\"{0}\" is no name that a certificate could have")]
    Name(String),
    #[error("the connection to {place} broke: {reason}")]
    Broken { place: String, reason: String },
    #[error("{place} did not answer in time: is it a correlator of this version, and does it keep up?")]
    NoAnswer { place: String },
}

/// Who sends batches, and hears what became of them.
pub trait Transport {
    /// # Errors
    /// Nobody answered.
    fn send(&mut self, stream: &str, chunk: &Chunk) -> impl Future<Output = Result<Answer, ClientError>>;
}

/// The real one.
pub struct Client {
    place: Place,
    host: String,
    files: Option<TlsFiles>,
    kept: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// `host` is the `host.id` we speak for; files are for a place behind TLS.
    pub fn new(place: Place, host: String, files: Option<TlsFiles>) -> Self {
        Self { place, host, files, kept: None }
    }

    /// Asks who answers there, and whom it takes us for.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn hello(&mut self) -> Result<Answer, ClientError> {
        let request = self.request(Method::GET, HELLO_PATH).body(Full::default());
        self.exchange(request.expect("these headers are right")).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let authority = match &self.place {
            Place::Https { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Https { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(HTTP_HOST, authority)
            .header(PROTOCOL, PROTOCOLS.last().copied().unwrap_or_default())
            .header(HOST, &self.host)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let place = self.place.to_string();
        // One that was kept may have been closed at the other end meanwhile: that is no failure, but one more try.
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
        {
            match timeout(MAX_ANSWER_TIME, ask(&mut kept, request.clone())).await {
                Ok(Ok(answer)) => {
                    self.kept = Some(kept);
                    return Ok(answer);
                }
                Ok(Err(err)) => tracing::debug!(err, "the kept connection was closed"),
                Err(_elapsed) => return Err(ClientError::NoAnswer { place }),
            }
        }
        let mut fresh = match timeout(MAX_CONNECT_TIME, self.connect()).await {
            Ok(connected) => connected?,
            Err(_elapsed) => return Err(ClientError::Silent { place }),
        };
        // With TLS 1.3 a server says no to a certificate after the handshake, to one who listens: whoever starts with a batch
        // learns of it as a broken pipe.
        if self.files.is_some() && request.uri().path() != HELLO_PATH {
            let hello = self.request(Method::GET, HELLO_PATH).body(Full::default());
            match timeout(MAX_CONNECT_TIME, ask(&mut fresh, hello.expect("these headers are right"))).await {
                Ok(Ok(answer)) if answer.status == 200 => {}
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(reason)) => return Err(ClientError::Broken { place, reason }),
                Err(_elapsed) => return Err(ClientError::NoAnswer { place }),
            }
            // One request at a time: the connection has to be done with the last.
            if let Err(err) = fresh.ready().await {
                return Err(ClientError::Broken { place, reason: said(&err) });
            }
        }
        match timeout(MAX_ANSWER_TIME, ask(&mut fresh, request)).await {
            Ok(Ok(answer)) => {
                self.kept = Some(fresh);
                Ok(answer)
            }
            Ok(Err(reason)) => Err(ClientError::Broken { place, reason }),
            Err(_elapsed) => Err(ClientError::NoAnswer { place }),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        match (&self.place, &self.files) {
            (Place::Unix(path), _) => {
                let stream = UnixStream::connect(path).await.map_err(|err| self.failed(err))?;
                self.speak(stream).await
            }
            (Place::Https { host, port }, Some(files)) => {
                let connector = files.connector()?;
                let name =
                    ServerName::try_from(host.clone()).map_err(|_invalid| ClientError::Name(host.clone()))?;
                let stream = TcpStream::connect((&**host, *port)).await.map_err(|err| self.failed(err))?;
                _ = stream.set_nodelay(true);
                let stream = connector.connect(name, stream).await.map_err(|err| self.failed(err))?;
                self.speak(stream).await
            }
            (Place::Https { .. }, None) => {
                Err(ClientError::Files(TlsError::Pem { path: Path::new("").into(), what: "certificate" }))
            }
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken =
            |err: hyper::Error| ClientError::Broken { place: self.place.to_string(), reason: said(&err) };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // It ends with its sender.
        tokio::spawn(async move { _ = connection.await });
        Ok(sender)
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let hint = match (source.kind(), &self.place) {
            (ErrorKind::PermissionDenied, Place::Https { .. }) => {
                "; the service may reach only the addresses its unit allows: add IPAddressAllow= with `systemctl edit \
                 groundtrail-sensor`"
            }
            (ErrorKind::PermissionDenied, Place::Unix(_)) => {
                "; the sensor's user has to be in the socket's group"
            }
            (ErrorKind::NotFound | ErrorKind::ConnectionRefused, _) => "; is the correlator running there?",
            _ => "",
        };
        ClientError::Connect { place: self.place.to_string(), hint, source }
    }
}

impl Transport for Client {
    async fn send(&mut self, stream: &str, chunk: &Chunk) -> Result<Answer, ClientError> {
        let request = self
            .request(Method::POST, EVENTS_PATH)
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header(CONTENT_ENCODING, "zstd")
            .header(STREAM, stream)
            .header(SEQUENCE, chunk.first)
            // Always the oldest that is held: what was before it is not to come any more.
            .header(OLDEST, chunk.first)
            .body(Full::new(Bytes::copy_from_slice(&chunk.body)));
        self.exchange(request.expect("these headers are right")).await
    }
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let response = sender.send_request(request).await.map_err(|err| said(&err))?;
    let headers = response.headers();
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
    let mut answer = Answer {
        status: response.status().as_u16(),
        acknowledged: number(ACKNOWLEDGED),
        refused: number(REFUSED),
        retry_after: number(RETRY_AFTER.as_str()).map(Duration::from_secs),
        protocols: text(PROTOCOL).map(str::to_owned),
        text: String::new(),
    };
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    if let Ok(body) = body {
        // It is shown to people: nothing but text.
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        answer.text = body.chars().filter(|c| !c.is_control()).take(500).collect();
    }
    Ok(answer)
}

/// An error of hyper's with what is behind it: that is where TLS says why.
fn said(err: &hyper::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| (*cause).source());
    causes.fold(err.to_string(), |text, cause| format!("{text}: {cause}"))
}
