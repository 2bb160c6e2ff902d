//! The wire of the stand-ins: hyper serves, a [`Site`] answers one whole request at a time.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsAcceptor;

/// A request with its body read to the end.
pub struct Request {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub peer: SocketAddr,
    /// The TLS version and cipher suite, where the connection has any.
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub version: String,
    pub cipher_suite: String,
}

impl Request {
    /// A header as text; empty where it is missing or not ASCII.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

pub type Answer = Response<Full<Bytes>>;

/// What answers on one address.
pub trait Site: Send + Sync + 'static {
    fn answer(&self, request: Request) -> Answer;
}

/// Serves `site` on a bound listener, on a thread of its own, for as long as the process lives.
///
/// # Errors
/// When the runtime cannot be made or the listener cannot be switched to non-blocking.
pub fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, site: Arc<dyn Site>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, accept(listener, tls, site));
    });
    Ok(())
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, site: Arc<dyn Site>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let (site, tls) = (Arc::clone(&site), tls.clone());
        // A client that hangs up or fails its handshake is its own affair; the next one is served all the same.
        tokio::task::spawn_local(async move {
            match tls {
                None => talk(TokioIo::new(stream), peer, None, site).await,
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let facts = Tls {
                        version: match session.protocol_version() {
                            Some(tokio_rustls::rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
                            _ => "TLSv1.3".to_owned(),
                        },
                        cipher_suite: session
                            .negotiated_cipher_suite()
                            .map(|suite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1))
                            .unwrap_or_default(),
                    };
                    talk(TokioIo::new(stream), peer, Some(facts), site).await;
                }
            }
        });
    }
}

async fn talk<S>(stream: TokioIo<S>, peer: SocketAddr, tls: Option<Tls>, site: Arc<dyn Site>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (site, tls) = (Arc::clone(&site), tls.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(site.answer(Request {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or("").to_owned(),
                headers: parts.headers,
                body,
                peer,
                tls,
            }))
        }
    });
    // AWS's front ends write `Content-Type`, hyper's default is `content-type`.
    drop(http1::Builder::new().title_case_headers(true).serve_connection(stream, service).await);
}
