//! Through the spool to the correlator: a thread that packs batches, keeps them on disk, and delivers them from there. The
//! loop that reads the kernel's events sees nothing of TLS and waits for no disk.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::gauge::{Gauge, n_lines};
use super::{Batch, OutputError, Telling};
use crate::config::SpoolConfig;
use crate::privileges;
use crate::spool::{GivenUp, Held, Owner, Spool, SpoolError};
use crate::wire::answer::{self, Next};
use crate::wire::backoff::Backoff;
use crate::wire::client::{Client, Transport};
use crate::wire::names;

/// Lines of so many bytes make a batch, and lines that come within so long: small ones pack badly.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Of one request, packed and in batches.
const MAX_BODY: usize = 1 << 20;
const MAX_ROWS: u64 = 512;
/// Fast, and about a tenth of the size.
const LEVEL: i32 = 1;
/// A full disk is waited for so long before what comes is given up, and looked at again so often.
const DISK_PATIENCE: Duration = Duration::from_secs(2);
const DISK_RETRY: Duration = Duration::from_millis(200);
/// How long a closing sensor goes on delivering. The rest stays in the spool for the next one.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A failure that lasts is told this often.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// How the wire is, for the loop and for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireState {
    pub held: Held,
    pub given_up: GivenUp,
    /// Events put into the spool since the start.
    pub appended: u64,
    /// Up to here the correlator has everything.
    pub acknowledged: u64,
    /// What is wrong. Nothing while batches arrive.
    pub trouble: Option<String>,
}

/// The same, shared by who writes it and who shows it.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<WireState>);

impl Shown {
    pub(super) fn get(&self) -> WireState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, change: impl FnOnce(&mut WireState)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Opens the spool and starts the thread. Returns how the spool was found.
///
/// # Errors
/// If the spool cannot be used.
pub(super) fn start(
    config: &SpoolConfig,
    host: &str,
    receiver: UnboundedReceiver<Batch>,
    gauge: Arc<Gauge>,
    shown: Arc<Shown>,
    end: oneshot::Sender<io::Result<()>>,
) -> Result<GivenUp, OutputError> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let (config, host) = (config.clone(), host.to_owned());
    std::thread::Builder::new()
        .name("wire".to_owned())
        .spawn(move || {
            let has_socket = matches!(config.to, crate::wire::Place::Unix(_));
            privileges::drop_to_deliver(has_socket);
            names::from_files_and_dns();
            // Opened by who will write it: the unprivileged user's file, or none.
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            let owner = Owner { host: &host, boot: boot.trim() };
            let spool = match Spool::open(&config.path, owner, config.max_bytes) {
                Ok(spool) => spool,
                Err(err) => {
                    _ = tell.send(Err(OutputError::Spool(err)));
                    return;
                }
            };
            _ = tell.send(Ok(spool.told()));
            let client = Client::new(config.to.clone(), host, config.files.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime =
                runtime.expect("a runtime needs an epoll and a timer, which every kernel we run on has");
            runtime.block_on(run(spool, client, receiver, &gauge, &shown));
            runtime.shutdown_background();
            _ = end.send(Ok(()));
        })
        .map_err(|source| OutputError::Open { path: "the wire's thread".to_owned(), source })?;
    told.recv().unwrap_or_else(|_gone| {
        Err(OutputError::Open { path: "the spool".to_owned(), source: io::Error::other("its thread ended") })
    })
}

async fn run(
    spool: Spool,
    transport: impl Transport,
    receiver: UnboundedReceiver<Batch>,
    gauge: &Gauge,
    shown: &Shown,
) {
    shown.set(|state| (state.held, state.given_up) = (spool.held(), spool.given_up()));
    let seed =
        spool.stream().bytes().fold(0x9e37_79b9_u64, |seed, byte| seed.wrapping_mul(31) ^ u64::from(byte));
    let spool = Rc::new(RefCell::new(spool));
    let news = Notify::new();
    let (close, closing) = watch::channel(false);
    let write = async {
        keep(&spool, receiver, gauge, shown, &news).await;
        close.send_replace(true);
    };
    let deliver = async {
        let mut delivery =
            Delivery { spool: &spool, transport, backoff: Backoff::new(seed), shown, told: None };
        tokio::select! {
            () = delivery.run(&news) => {}
            () = last_words(closing, &spool) => {}
        }
    };
    tokio::join!(write, deliver);
    let left = spool.borrow().held();
    if left.events > 0 {
        tracing::info!(events = left.events, "left in the spool for the next start");
    }
}

/// Returns when the sensor is closing and has delivered what it holds, or tried for long enough.
async fn last_words(mut closing: watch::Receiver<bool>, spool: &RefCell<Spool>) {
    _ = closing.wait_for(|is_closing| *is_closing).await;
    let until = Instant::now() + LAST_WORDS;
    while spool.borrow().held().batches > 0 && Instant::now() < until {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Puts batches into the spool as they come, until there are no more.
async fn keep(
    spool: &RefCell<Spool>,
    mut receiver: UnboundedReceiver<Batch>,
    gauge: &Gauge,
    shown: &Shown,
    news: &Notify,
) {
    let mut packer = Compressor::new(LEVEL).expect("zstd knows its own levels");
    // What a disk damages is noticed where it is unpacked, and costs itself.
    packer.set_parameter(CParameter::ChecksumFlag(true)).expect("zstd knows its own parameters");
    let mut is_full = false;
    while let Some(first) = receiver.recv().await {
        let Batch { mut lines, told, _room } = first;
        let mut told = Vec::from_iter(told);
        let mut rooms = vec![_room];
        let until = Instant::now() + BATCH_TIME;
        while lines.len() < BATCH_BYTES {
            let Ok(Some(more)) = timeout_at(until, receiver.recv()).await else { break };
            lines.extend_from_slice(&more.lines);
            told.extend(more.told);
            rooms.push(more._room);
        }
        let told_spool = told.iter().rev().find_map(|told| told.spool);
        let n_events = n_lines(&lines);
        let body = packer.compress(&lines).expect("the room for it is what zstd itself says is enough");
        let patience = Instant::now() + if is_full { Duration::ZERO } else { DISK_PATIENCE };
        let mut is_mended = false;
        loop {
            let appended = spool.borrow_mut().append(&body, n_events, told_spool);
            match appended {
                Ok(()) => {
                    if std::mem::take(&mut is_full) {
                        tracing::info!("the spool can be written again");
                    }
                    gauge.written(&lines);
                    told.into_iter().for_each(Telling::written);
                    shown.set(|state| state.appended += n_events);
                    news.notify_one();
                    break;
                }
                Err(err) if err.is_full() && Instant::now() < patience => {
                    // What is acknowledged meanwhile makes room.
                    sleep(DISK_RETRY).await;
                }
                Err(err)
                    if err.is_damage()
                        && !std::mem::replace(&mut is_mended, true)
                        && spool.borrow_mut().mend().is_ok() => {}
                Err(err) => {
                    if !std::mem::replace(&mut is_full, true) {
                        let cause = source_of(&err);
                        tracing::error!(%err, cause, "events are lost until the spool can be written again");
                    }
                    spool.borrow_mut().lose(n_events);
                    break;
                }
            }
        }
        let spool = spool.borrow();
        shown.set(|state| (state.held, state.given_up) = (spool.held(), spool.given_up()));
    }
}

fn source_of(err: &SpoolError) -> String {
    std::error::Error::source(err).map_or_else(String::new, ToString::to_string)
}

/// Hands batches to the correlator, oldest first, and forgets what it has.
struct Delivery<'s, T> {
    spool: &'s RefCell<Spool>,
    transport: T,
    backoff: Backoff,
    shown: &'s Shown,
    /// The trouble that was told last, and when.
    told: Option<(String, Instant, Instant)>,
}

impl<T: Transport> Delivery<'_, T> {
    /// Goes on for ever.
    async fn run(&mut self, news: &Notify) {
        let mut max_rows = MAX_ROWS;
        loop {
            let oldest = self.spool.borrow().oldest(max_rows, MAX_BODY);
            let chunk = match oldest {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    news.notified().await;
                    continue;
                }
                Err(err) if err.is_damage() && self.spool.borrow_mut().mend().is_ok() => continue,
                Err(err) => {
                    let wait = self.backoff.seldom();
                    self.trouble(&format!("{err}: {}", source_of(&err)));
                    sleep(wait).await;
                    continue;
                }
            };
            let stream = self.spool.borrow().stream().to_owned();
            let next = match self.transport.send(&stream, &chunk).await {
                Ok(answer) => answer::next(&answer, chunk.first, chunk.n_rows),
                Err(err) => {
                    let cause = std::error::Error::source(&err)
                        .map_or_else(String::new, |cause| format!(": {cause}"));
                    // Most of them say it themselves.
                    let why = err.to_string();
                    let why = if why.contains(cause.trim_start_matches(": ")) { why } else { why + &cause };
                    Next::Again { after: None, why }
                }
            };
            match next {
                // Another file has other numbers.
                Next::Forget { .. } | Next::GiveUp { .. } if self.spool.borrow().stream() != stream => {}
                Next::Forget { through } => {
                    self.well(through);
                    max_rows = MAX_ROWS;
                    self.forget(|spool| spool.acknowledge(through));
                }
                Next::GiveUp { seq } => {
                    tracing::error!(seq, "the correlator will not take a batch: it is given up");
                    max_rows = MAX_ROWS;
                    self.forget(|spool| spool.refuse(seq));
                }
                Next::SendFewer { n_rows } => max_rows = n_rows.max(1),
                Next::Again { after, why } => {
                    let wait = self.backoff.next(after);
                    self.trouble(&why);
                    sleep(wait).await;
                }
                Next::Stuck { why } => {
                    let wait = self.backoff.seldom();
                    self.trouble(&why);
                    sleep(wait).await;
                }
            }
        }
    }

    fn forget(&mut self, forget: impl FnOnce(&mut Spool) -> Result<(), SpoolError>) {
        let mut spool = self.spool.borrow_mut();
        if let Err(err) = forget(&mut spool) {
            // It is sent again, which the correlator notices.
            tracing::warn!(%err, cause = source_of(&err), "what was delivered cannot be deleted");
        }
        self.shown.set(|state| (state.held, state.given_up) = (spool.held(), spool.given_up()));
    }

    fn well(&mut self, through: u64) {
        self.backoff.reset();
        self.shown.set(|state| (state.trouble, state.acknowledged) = (None, through));
        if let Some((_, since, _)) = self.told.take() {
            tracing::info!(seconds = since.elapsed().as_secs(), "the correlator takes events again");
        }
    }

    fn trouble(&mut self, why: &str) {
        self.shown.set(|state| state.trouble = Some(why.to_owned()));
        let now = Instant::now();
        let since = match &self.told {
            Some((said, _, at)) if said == why && at.elapsed() < TELL_AGAIN => return,
            Some((_, since, _)) => *since,
            None => now,
        };
        let events = self.spool.borrow().held().events;
        tracing::warn!(
            why,
            waiting = events,
            "the correlator does not take events: they are kept in the spool"
        );
        self.told = Some((why.to_owned(), since, now));
    }
}

/// Asks whoever is there whom it takes us for, for `doctor`.
///
/// # Errors
/// Why there is no good answer.
pub fn greet(config: &SpoolConfig, host: &str) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|err| err.to_string())?;
    names::from_files_and_dns();
    let mut client = Client::new(config.to.clone(), host.to_owned(), config.files.clone());
    let asked = runtime.block_on(async { timeout(Duration::from_secs(15), client.hello()).await });
    runtime.shutdown_background();
    match asked {
        Ok(Ok(answer)) if answer.status == 200 => Ok(()),
        Ok(Ok(answer)) => Err(format!("it answers {}: {}", answer.status, answer.text.trim())),
        Ok(Err(err)) => Err(err.to_string()),
        Err(_elapsed) => Err("no answer within 15 s".to_owned()),
    }
}

#[cfg(test)]
mod tests;
