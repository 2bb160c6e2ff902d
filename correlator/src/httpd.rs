//! Small servers of HTTP on this host: one thread, one accept loop. HTTP is hyper's.
//!
//! Whoever connects is a stranger until it has been answered as one of ours. Strangers have little time, and where there are
//! too many of them the oldest goes: holding connections open keeps nobody else out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Sleep;

/// What a server puts up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Of its thread.
    pub(crate) name: &'static str,
    pub(crate) max_strangers: usize,
    /// Those that were let in.
    pub(crate) max_guests: usize,
    /// Of a stranger: for everything.
    pub(crate) stranger_time: Duration,
    /// Of a guest: to say what it wants next.
    pub(crate) header_time: Duration,
    /// Of anybody: to take something of what is written to it.
    pub(crate) stall_time: Duration,
    pub(crate) keep_alive: bool,
}

/// Of a request's head; hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;
/// Threads for what has to be read or drawn.
const MAX_BLOCKING: usize = 4;

/// Serves on a thread of its own, until the process ends.
///
/// # Errors
/// The system has no more of something.
pub(crate) fn serve<F, A, B>(listener: TcpListener, manners: Manners, answer: F) -> io::Result<()>
where
    F: Fn(Request<Incoming>, Guest) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(MAX_BLOCKING)
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let serving = move || runtime.block_on(accept(listener, manners, answer));
    std::thread::Builder::new().name(manners.name.to_owned()).spawn(serving)?;
    Ok(())
}

async fn accept<F, A, B>(listener: tokio::net::TcpListener, manners: Manners, answer: F)
where
    F: Fn(Request<Incoming>, Guest) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let house = Arc::new(House {
        outside: Mutex::default(),
        places: Arc::new(Semaphore::new(manners.max_guests)),
        max_strangers: manners.max_strangers,
    });
    for id in 0_u64.. {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the next try must not be at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let guest = Guest(Arc::new(Visit { id, house: Arc::clone(&house), place: Mutex::default() }));
        let answer = answer.clone();
        let visit = guest.clone();
        let task = tokio::spawn(async move {
            let asked = visit.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request, asked.clone());
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(manners.header_time)
                .keep_alive(manners.keep_alive)
                .max_headers(64)
                .max_buf_size(MAX_HEAD);
            let stream = Patient { stream, stall_time: manners.stall_time, waits: None };
            let mut served = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            // A client that errs or dawdles has only itself to blame.
            let _ = match tokio::time::timeout(manners.stranger_time, &mut served).await {
                Ok(served) => served,
                Err(_) if visit.is_in() => served.await,
                Err(_) => return,
            };
        });
        house.stands_outside(id, task.abort_handle());
        drop(guest);
    }
}

/// Who is there.
#[derive(Debug)]
struct House {
    /// By when they came.
    outside: Mutex<BTreeMap<u64, AbortHandle>>,
    places: Arc<Semaphore>,
    max_strangers: usize,
}

impl House {
    fn stands_outside(&self, id: u64, task: AbortHandle) {
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that were served and went before they were written down here.
        outside.retain(|_, task| !task.is_finished());
        outside.insert(id, task);
        while outside.len() > self.max_strangers
            && let Some((_, oldest)) = outside.pop_first()
        {
            oldest.abort();
        }
    }
}

/// One connection, as what is asked over it sees it.
#[derive(Debug, Clone)]
pub(crate) struct Guest(Arc<Visit>);

#[derive(Debug)]
struct Visit {
    id: u64,
    house: Arc<House>,
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Guest {
    /// From now on it is no stranger, where there is a place for it.
    pub(crate) fn let_in(&self) -> bool {
        let Visit { id, house, place } = &*self.0;
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Arc::clone(&house.places).try_acquire_owned().ok();
            if place.is_some() {
                house.outside.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
            }
        }
        place.is_some()
    }

    fn is_in(&self) -> bool {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// A stream that gives up where the other side takes nothing.
struct Patient {
    stream: TcpStream,
    stall_time: Duration,
    waits: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn mind<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waits = None;
            return done;
        }
        let stall_time = self.stall_time;
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_time)));
        ready!(waits.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.mind(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.mind(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.mind(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.mind(context, done)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::SocketAddr;
    use std::net::TcpStream as Plain;
    use std::time::Instant;

    use http_body_util::Full;

    use super::*;

    const MANNERS: Manners = Manners {
        name: "test",
        max_strangers: 4,
        max_guests: 2,
        stranger_time: Duration::from_secs(600),
        header_time: Duration::from_secs(600),
        stall_time: Duration::from_millis(200),
        keep_alive: true,
    };

    /// `/in` lets in; `/much` is more than a socket holds.
    fn server(manners: Manners) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let answer = |request: Request<Incoming>, guest: Guest| async move {
            let body = match request.uri().path() {
                "/in" => guest.let_in().to_string().into(),
                "/much" => Bytes::from(vec![b'x'; 64 << 20]),
                _ => Bytes::from_static(b"stranger"),
            };
            Response::new(Full::new(body))
        };
        serve(listener, manners, answer).unwrap();
        at
    }

    fn ask(stream: &mut Plain, path: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = [0; 1_024];
        let n = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }

    #[test]
    fn strangers_that_hold_connections_keep_nobody_out() {
        let at = server(MANNERS);
        let mut guest = Plain::connect(at).unwrap();
        assert!(ask(&mut guest, "/in").ends_with("true"));
        let mut held: Vec<Plain> = (0..40).map(|_| Plain::connect(at).unwrap()).collect();
        let mut newcomer = Plain::connect(at).unwrap();
        assert!(ask(&mut newcomer, "/").ends_with("stranger"));
        assert!(ask(&mut guest, "/in").ends_with("true"), "whoever was let in stays");
        let n = held[0].read(&mut [0; 16]).unwrap_or(0);
        assert_eq!(n, 0, "the oldest of them was shown out");
    }

    #[test]
    fn there_are_so_many_places_and_one_that_is_left_is_free() {
        let at = server(MANNERS);
        let mut one = Plain::connect(at).unwrap();
        let mut other = Plain::connect(at).unwrap();
        let mut third = Plain::connect(at).unwrap();
        assert!(ask(&mut one, "/in").ends_with("true"));
        assert!(ask(&mut other, "/in").ends_with("true"));
        assert!(ask(&mut third, "/in").ends_with("false"));
        drop(one);
        let until = Instant::now() + Duration::from_secs(60);
        while ask(&mut third, "/in").ends_with("false") {
            assert!(Instant::now() < until, "its place is never free");
        }
    }

    #[test]
    fn a_stranger_has_little_time_and_nobody_may_leave_an_answer_lying() {
        let at = server(Manners { stranger_time: Duration::from_millis(100), ..MANNERS });
        let mut silent = Plain::connect(at).unwrap();
        assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0, "it is ended without a word");

        let at = server(MANNERS);
        let mut guest = Plain::connect(at).unwrap();
        assert!(ask(&mut guest, "/in").ends_with("true"));
        guest.write_all(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut other = Plain::connect(at).unwrap();
        assert!(ask(&mut other, "/in").ends_with("true"));
        // The place of the one that reads nothing becomes free.
        let mut third = Plain::connect(at).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while ask(&mut third, "/in").ends_with("false") {
            assert!(Instant::now() < until, "it holds its place for ever");
        }
    }
}
