//! The sockets: a TCP port behind TLS, or a Unix socket. One thread for all connections; who dawdles is cut off, and who
//! is one too many is turned away.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rules::schema::Schema;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::account::{Account, Cause};
use super::claims::Claims;
use super::hosts::Hosts;
use super::http::{self, Peer, Service};
use super::name::Named;
use super::people;
use super::porch::Porch;
use super::prefixed::Prefixed;
use super::quota::Rates;
use super::tls::{Tls, TlsError, TlsFiles};
use super::worker::{Intake, Workers};
use crate::merge::{Closed, Outlet};
use crate::source::SourceItem;
use crate::source::folder::Positions;
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::stream::Stream;
use crate::time::{Clock as _, SystemClock};

const MAX_HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const MAX_HEADER_TIME: Duration = Duration::from_secs(20);
/// Of a request's head; hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;
/// How often it is looked whether to stop, and every so many times, whether certificates have changed.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_PER_FILE: u64 = 5;
/// Sensors of the first version, which only write lines.
const MAX_STREAMS: usize = 256;

/// Where sensors are listened for, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub place: Place,
    pub rates: Rates,
    pub max_batch_bytes: u64,
    pub max_connections: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Tls {
        listen: SocketAddr,
        files: TlsFiles,
    },
    /// Users (by name or number) whose processes may speak for this host's sensor, besides root and our own.
    Unix {
        path: PathBuf,
        users: Vec<String>,
    },
}

/// Why nobody can be listened for.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {listen}: {source}; is the port taken?")]
    Tcp { listen: SocketAddr, source: io::Error },
    #[error("cannot listen on \"{}\": {source}; is another correlator running, and does its folder exist?", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot start the listener: {0}")]
    Runtime(io::Error),
}

/// A bound socket.
pub struct Listener {
    settings: Settings,
    runtime: Runtime,
    socket: Socket,
}

enum Socket {
    Tls { listener: tokio::net::TcpListener, tls: Arc<Tls> },
    Unix { listener: tokio::net::UnixListener, allowed: Arc<[u32]>, path: PathBuf },
}

/// What a listener works with.
pub struct Around<'a> {
    pub stream: Stream,
    pub normalizer: &'a Arc<Normalizer>,
    pub schema: &'a Schema,
    pub positions: &'a Arc<dyn Positions>,
    pub account: &'a Arc<Account>,
    pub outlet: &'a Outlet,
    pub stop: &'a Stop,
}

impl Listener {
    /// # Errors
    /// The socket cannot be made, or the certificates cannot be used.
    pub fn bind(settings: Settings) -> Result<Self, ListenError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ListenError::Runtime)?;
        let inside = runtime.enter();
        let socket = match &settings.place {
            Place::Tls { listen, files } => {
                let tls = Arc::new(Tls::open(files.clone())?);
                let failed = |source| ListenError::Tcp { listen: *listen, source };
                let listener = TcpListener::bind(listen).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Socket::Tls { listener: tokio::net::TcpListener::from_std(listener).map_err(failed)?, tls }
            }
            Place::Unix { path, users } => {
                let failed = |source| ListenError::Unix { path: path.clone(), source };
                let listener = bind_unix(path).map_err(failed)?;
                let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
                let own = fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data));
                let named = users.iter().filter_map(|user| people::user(user)).map(|(user, _)| user);
                let allowed = named.chain(own.ok()).chain([0]).collect();
                Socket::Unix { listener, allowed, path: path.clone() }
            }
        };
        drop(inside);
        Ok(Self { settings, runtime, socket })
    }

    /// The port, where it was left to the system.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tls { listener, .. } => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn run(self, around: &Around<'_>) -> Result<(), Closed> {
        let Self { settings, runtime, socket } = self;
        let account = Arc::clone(around.account);
        let intake = Intake {
            source: Arc::clone(&around.stream.source),
            normalizer: Arc::clone(around.normalizer),
            claims: Claims::new(around.schema),
            outlet: around.outlet.clone(),
            account: Arc::clone(&account),
            max_record_bytes: around.stream.limits.max_record_bytes,
        };
        let n_threads =
            std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1)).clamp(1, 8);
        let (workers, threads) = Workers::start(intake, n_threads);
        let hosts =
            Hosts::new(Arc::clone(&around.stream.source), Arc::clone(around.positions), settings.rates);
        let max_batch = usize::try_from(settings.max_batch_bytes).unwrap_or(usize::MAX);
        let service = Arc::new(Service::new(hosts, workers, Arc::clone(&account), max_batch));
        let door = Arc::new(Door {
            service,
            account,
            places: Arc::new(Semaphore::new(settings.max_connections as usize)),
            porch: Arc::default(),
            raw: Raw {
                stream: around.stream.clone(),
                normalizer: Arc::clone(around.normalizer),
                outlet: around.outlet.clone(),
                stop: around.stop.clone(),
                places: Arc::new(Semaphore::new(MAX_STREAMS)),
            },
        });
        let mut left_behind = None;
        runtime.block_on(async {
            match socket {
                Socket::Tls { listener, tls } => tokio::select! {
                    () = attend(Some(&tls), around) => {}
                    _ = accept_tls(listener, &tls, &door) => {}
                },
                Socket::Unix { listener, allowed, path } => {
                    left_behind = Some(path);
                    tokio::select! {
                        () = attend(None, around) => {}
                        _ = accept_unix(listener, &allowed, &door) => {}
                    }
                }
            }
        });
        // Connections end here, and with them the last who can send to the threads.
        runtime.shutdown_timeout(Duration::from_millis(100));
        drop(door);
        threads.into_iter().for_each(|thread| drop(thread.join()));
        if let Some(path) = left_behind {
            // It may have been taken away by somebody else.
            let _ = fs::remove_file(path);
        }
        around.outlet.send(SourceItem::End)
    }
}

/// Returns when it is time to stop; looks after the certificates until then.
async fn attend(tls: Option<&Tls>, around: &Around<'_>) {
    around.account.certificate_is(tls.and_then(|tls| tls.current().not_after));
    for n in 1_u64.. {
        tokio::time::sleep(LOOK).await;
        if around.stop.is_set() {
            return;
        }
        if n % LOOKS_PER_FILE == 0
            && let Some(tls) = tls
        {
            tls.look();
            around.account.certificate_is(tls.current().not_after);
        }
    }
}

/// What every connection passes.
struct Door {
    service: Arc<Service>,
    account: Arc<Account>,
    places: Arc<Semaphore>,
    porch: Arc<Porch>,
    raw: Raw,
}

impl Door {
    /// A place for a connection, for as long as it lasts.
    fn enter(&self, peer: &str) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_none() {
            self.account.note(
                Cause::Crowded,
                peer,
                1,
                "raise max_connections of the source if these are sensors",
            );
        }
        place
    }

    async fn serve<S>(&self, stream: S, peer: Peer, is_stale: impl Fn() -> bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let _place = match &peer {
            Peer::Named(named) => match self.service.hosts.get(&named.host).map(|host| host.connect()) {
                Some(Some(place)) => Some(place),
                Some(None) => {
                    let detail = "it has too many connections: a sensor needs one";
                    return self.account.note(Cause::Crowded, &named.host, 1, detail);
                }
                None => return self.account.note(Cause::Crowded, &named.host, 1, "too many hosts send here"),
            },
            Peer::Nobody { .. } | Peer::Local(_) => None,
        };
        let _counted = self.account.connected();
        let (peer, is_stale) = (&peer, &is_stale);
        let service = service_fn(move |request| async move {
            let answer = match is_stale() {
                true => http::reconnect(),
                false => self.service.answer(request, peer).await,
            };
            Ok::<_, Infallible>(answer)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(MAX_HEADER_TIME)
            .max_headers(64)
            .max_buf_size(MAX_HEAD);
        // A client that errs or dawdles has only itself to blame.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }
}

async fn accept_tls(listener: tokio::net::TcpListener, tls: &Arc<Tls>, door: &Arc<Door>) -> Infallible {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                out_of_descriptors(&door.account, &error).await;
                continue;
            }
        };
        let (address, from) = (from.ip(), from.ip().to_string());
        let Some(stranger) = door.porch.enter(address) else {
            door.account.note(
                Cause::Crowded,
                &from,
                1,
                "too many connections that have shown no certificate yet",
            );
            continue;
        };
        let (tls, door) = (Arc::clone(tls), Arc::clone(door));
        tokio::spawn(async move {
            let loaded = tls.current();
            let shake = async {
                let _ = stream.set_nodelay(true);
                TlsAcceptor::from(Arc::clone(&loaded.config)).accept(stream).await
            };
            let stream = match timeout(MAX_HANDSHAKE_TIME, shake).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return door.account.note(Cause::Handshake, &from, 1, &error.to_string()),
                Err(_elapsed) => return door.account.note(Cause::Handshake, &from, 1, "it took too long"),
            };
            drop(stranger);
            let Some(place) = door.enter(&from) else { return };
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let named = certificate.map(|certificate| Named::of_certificate(certificate));
            let not_after = match &named {
                Some(Ok(named)) => Some(named.not_after),
                _ => None,
            };
            let peer = match named {
                Some(Ok(named)) => Peer::Named(Arc::new(named)),
                Some(Err(error)) => Peer::Nobody { from, why: error.to_string() },
                None => Peer::Nobody { from, why: "no certificate".to_owned() },
            };
            // A connection may outlive its certificate, or the trust in it.
            let is_stale = || {
                tls.current().generation != loaded.generation
                    || not_after.is_some_and(|not_after| SystemClock.now() > not_after)
            };
            door.serve(stream, peer, is_stale).await;
            drop(place);
        });
    }
}

async fn accept_unix(listener: tokio::net::UnixListener, allowed: &[u32], door: &Arc<Door>) -> Infallible {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                out_of_descriptors(&door.account, &error).await;
                continue;
            }
        };
        let user = match stream.peer_cred() {
            Ok(peer) if allowed.contains(&peer.uid()) => peer.uid(),
            Ok(peer) => {
                let detail = "add it to the source's users if it is a sensor's";
                door.account.note(Cause::Peer, &format!("user {}", peer.uid()), 1, detail);
                continue;
            }
            Err(error) => {
                door.account.note(Cause::Peer, "unknown", 1, &error.to_string());
                continue;
            }
        };
        let Some(place) = door.enter(&format!("user {user}")) else { continue };
        let door = Arc::clone(door);
        tokio::spawn(async move {
            let mut stream = stream;
            let mut head = vec![0; 64];
            // A sensor that only writes lines says nothing until something happens.
            let Ok(n) = stream.read(&mut head).await else { return };
            head.truncate(n);
            match head.first() {
                None => {}
                Some(b'G' | b'P') => {
                    door.serve(Prefixed::new(head, stream), Peer::Local(user), || false).await;
                }
                Some(_) => door.raw.serve(head, stream),
            }
            drop(place);
        });
    }
}

async fn out_of_descriptors(account: &Account, error: &io::Error) {
    let detail = format!("{error}; raise LimitNOFILE of the service if descriptors ran out");
    account.note(Cause::Crowded, "listener", 1, &detail);
    // The next try must not be at once.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Sensors of the version before batches: lines without end, which nobody acknowledges.
struct Raw {
    stream: Stream,
    normalizer: Arc<Normalizer>,
    outlet: Outlet,
    stop: Stop,
    places: Arc<Semaphore>,
}

impl Raw {
    fn serve(&self, head: Vec<u8>, stream: tokio::net::UnixStream) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let Ok(connection) = stream.into_std() else { return };
        let (stream, normalizer) = (self.stream.clone(), Arc::clone(&self.normalizer));
        let (outlet, stop) = (self.outlet.clone(), self.stop.clone());
        std::thread::spawn(move || {
            // Closed: the run is over.
            let _ = stream.serve(
                "a sensor that does not wait for acknowledgements",
                head,
                connection,
                &normalizer,
                &outlet,
                &stop,
            );
            drop(place);
        });
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // A socket left behind by an earlier run answers nobody.
    let is_stale = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
        && UnixStream::connect(path).is_err();
    if is_stale {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Whom the group lets in is looked at again by who they are.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
