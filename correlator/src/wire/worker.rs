//! Threads that take batches in: unpack, read, hold to what the sender may say, hand on. A host's batches are all of one
//! thread, one after another.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::body::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::account::{Account, Cause};
use super::claims::{Claimed, Claims, corrected};
use super::frames::{self, Bounds, FrameError};
use super::hosts::Host;
use super::ledger::{Offer, Verdict};
use super::name::Named;
use crate::merge::{Closed, Outlet};
use crate::source::normalize::Normalizer;
use crate::source::{Origin, Position, Receipt, Record, Rejected, RejectedKind, SourceItem};

/// Batches that wait for a thread.
const MAX_WAITING: usize = 64;

/// One request's batch, on its way in.
pub(super) struct Job {
    pub(super) host: Arc<Host>,
    /// None over a Unix socket.
    pub(super) named: Option<Arc<Named>>,
    /// How many frames it has is not known yet.
    pub(super) offer: Offer,
    pub(super) body: Bytes,
    /// Its share of what may be in memory.
    pub(super) _room: OwnedSemaphorePermit,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Reply {
    /// It was handed on, now or before, up to this number.
    Taken {
        through: u64,
    },
    OutOfOrder {
        expected: u64,
    },
    Refused {
        error: FrameError,
    },
    Impossible,
    /// The run is over.
    Ended,
}

/// What all threads need.
pub(super) struct Intake {
    pub(super) source: Arc<str>,
    pub(super) normalizer: Arc<Normalizer>,
    pub(super) claims: Claims,
    pub(super) outlet: Outlet,
    pub(super) account: Arc<Account>,
    pub(super) max_record_bytes: usize,
}

/// The sending ends of the threads.
#[derive(Clone)]
pub(super) struct Workers(Arc<[Sender<Job>]>);

impl Workers {
    pub(super) fn start(intake: Intake, n_threads: usize) -> (Self, Vec<JoinHandle<()>>) {
        let intake = Arc::new(intake);
        let (queues, threads): (Vec<_>, Vec<_>) = (0..n_threads.max(1))
            .map(|_| {
                let (queue, jobs) = channel(MAX_WAITING);
                let intake = Arc::clone(&intake);
                (queue, std::thread::spawn(move || intake.work(jobs)))
            })
            .unzip();
        (Self(queues.into()), threads)
    }

    /// Waits while the host's thread has enough to do. Says whether it is there at all.
    pub(super) async fn send(&self, job: Job) -> bool {
        let queue = &self.0[job.host.shard % self.0.len()];
        queue.send(job).await.is_ok()
    }
}

impl Intake {
    fn work(&self, mut jobs: Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            let reply = self.take(&job).unwrap_or(Reply::Ended);
            // Whoever asked may be gone; what was taken is taken.
            let _ = job.reply.send(reply);
        }
    }

    fn take(&self, job: &Job) -> Result<Reply, Closed> {
        let bounds = Bounds::default();
        let frames = match frames::split(&job.body, &bounds) {
            Ok(frames) => frames,
            Err(error) => return Ok(Reply::Refused { error }),
        };
        let offer = Offer { n_frames: frames.len() as u64, ..job.offer };
        let Some(last) = offer.last() else { return Ok(Reply::Impossible) };
        let host = &job.host;
        let (skip, n_missing) = match host.judge(&offer) {
            Verdict::OutOfOrder { expected } => return Ok(Reply::OutOfOrder { expected }),
            Verdict::Known => {
                self.account.note(Cause::Duplicate, &host.id, offer.n_frames, "");
                return Ok(Reply::Taken { through: last });
            }
            Verdict::Take { skip, n_missing } => (skip, n_missing),
        };
        // All of it or nothing.
        let skip_frames = usize::try_from(skip).unwrap_or(usize::MAX);
        let texts = match frames::unpack(&frames, skip_frames, &bounds) {
            Ok(texts) => texts,
            Err(error) => return Ok(Reply::Refused { error }),
        };
        if skip > 0 {
            self.account.note(Cause::Duplicate, &host.id, skip, "");
        }
        if n_missing > 0 {
            let detail = format!(
                "{n_missing} before number {}: its spool gave them up, or another store has them",
                offer.first
            );
            self.account.note(Cause::Missing, &host.id, n_missing, &detail);
        }
        let (mut n_events, mut n_bytes) = (0, 0);
        for (text, number) in texts.iter().zip(offer.first + skip..) {
            n_bytes += text.len() as u64;
            n_events += self.frame(job, text, number)?;
        }
        host.charge(n_events, n_bytes);
        self.account.taken(texts.len() as u64, n_events, n_bytes);
        let value = host.take(offer.stream, last);
        let position = Position { source: Arc::clone(&self.source), key: host.id.to_string(), value };
        self.outlet.send(SourceItem::Position(position))?;
        let (waits, stream) = (Arc::clone(host), offer.stream);
        self.outlet.send(SourceItem::Receipt(Receipt::new(move || waits.settle(stream, last))))?;
        Ok(Reply::Taken { through: last })
    }

    /// Reads a frame's lines. Returns how many there were.
    fn frame(&self, job: &Job, text: &[u8], number: u64) -> Result<u64, Closed> {
        let mut n_events = 0;
        for (line, nth) in text.split(|byte| *byte == b'\n').zip(1_u64..) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            n_events += 1;
            // A fault of ours that one line finds costs that line, and not all hosts of this thread.
            let read = panic::catch_unwind(AssertUnwindSafe(|| self.line(job, line)));
            let fault = || {
                let reason = "reading it failed by a fault of groundtrail's, told above: please report it";
                Err((RejectedKind::Record, reason.to_owned()))
            };
            let item = match read.unwrap_or_else(|_| fault()) {
                Ok(record) => SourceItem::Record(record),
                Err((kind, reason)) => SourceItem::Rejected(Rejected {
                    source: Arc::clone(&self.source),
                    at: format!("{}, batch {number}, line {nth}", job.host.id),
                    reason,
                    kind,
                }),
            };
            self.outlet.send(item)?;
        }
        Ok(n_events)
    }

    fn line(&self, job: &Job, line: &[u8]) -> Result<Record, (RejectedKind, String)> {
        if line.len() > self.max_record_bytes {
            let reason = format!(
                "longer than {} bytes; raise \"max_record\" of the source if such records are real",
                self.max_record_bytes
            );
            return Err((RejectedKind::TooLarge, reason));
        }
        let unreadable =
            |error: crate::source::normalize::Unreadable| (RejectedKind::Record, error.to_string());
        // Bytes that are no UTF-8 are replaced, not refused: they are evidence.
        let record =
            self.normalizer.read(Origin::Sensor, &*String::from_utf8_lossy(line)).map_err(unreadable)?;
        let named = job.named.as_deref();
        match (self.claims.judge(&record.event, named), named) {
            (Claimed::Rightly, _) => Ok(record),
            (claimed @ (Claimed::Wrongly | Claimed::Misnamed), Some(named)) => {
                let detail = "see groundtrail.claimed_host_id of its events; [host] id of its sensor.toml, or the instance \
                              its certificate names (`groundtrail ca issue --instance`), may be wrong";
                if claimed == Claimed::Wrongly {
                    self.account.note(Cause::Forged, &job.host.id, 1, detail);
                }
                let text = corrected(&record.raw, named);
                let record = text.and_then(|text| self.normalizer.read(Origin::Sensor, text).ok());
                record
                    .filter(|record| self.claims.judge(&record.event, Some(named)) == Claimed::Rightly)
                    .ok_or_else(|| (RejectedKind::Record, "it speaks for another host".to_owned()))
            }
            (_, _) => {
                self.account.note(Cause::Foreign, &job.host.id, 1, "");
                let reason = "a sensor's events have event.dataset \"endpoint.…\" or \"groundtrail.sensor\"; logs of AWS come \
                              from AWS";
                Err((RejectedKind::Record, reason.to_owned()))
            }
        }
    }
}
