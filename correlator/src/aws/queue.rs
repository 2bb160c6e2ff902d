//! A queue followed: receive, read what each message speaks of, hand over, and delete once that is durable.
//!
//! A message leaves the queue in two ways only: all it led to is written (its receipt was given), or it is a dead letter
//! that is written. Whatever ends a run in between, the message comes again, and its events are known by their ids.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::warn;

use super::access::{Clients, Failure, failure};
use super::dead_letter::{Letter, Office};
use super::digests::{Hashes, Keys};
use super::fetch::{self, Fetch};
use super::hand::Hand;
use crate::config::aws::Queue;
use crate::merge::{Closed, Outlet};
use crate::source::feed::{Feed, Limits, Outcome};
use crate::source::layout::{self, Kind};
use crate::source::normalize::Normalizer;
use crate::source::notice::{self, Notice, ObjectAt};
use crate::source::stop::Stop;
use crate::source::{OTHER_SERVICES, Receipt, RejectedKind, SourceItem};
use crate::time::{Clock, SystemClock};

/// The longest that a queue holds an empty answer back.
const LONG_POLL_SECONDS: i32 = 20;
/// As many as one call may speak of.
const BATCH: usize = 10;
/// How often is looked for messages that need hiding, and deletions are gathered.
const TICK: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A message that could not be worked on comes again after so long, doubled each time up to [`LONGEST_REST`].
const FIRST_REST_SECONDS: i32 = 15;
const LONGEST_REST_SECONDS: i32 = 900;
/// A message that came so many times `max_receives` is set aside, whatever is in its way: an end that does not come would
/// otherwise be that of the queue's retention, at which it is gone. With the rests between, ten receives thrice are six hours.
const PATIENCE: u32 = 3;
/// How long the last deletions may take once the run is over.
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// A queue and how it is read.
pub(crate) struct Queued {
    pub(crate) source: Arc<str>,
    pub(crate) queue: Queue,
    pub(crate) limits: Limits,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// It comes again: nothing is wrong with it. Not for ever.
    Later(String),
    /// It is tried again a few times.
    Doubtful(String),
    Dead(String),
}

/// What the threads of one queue share.
pub(super) struct Shared<'q> {
    pub(super) queue: &'q Queue,
    clients: Clients,
    handle: Handle,
    hand: Hand,
    office: Office,
    /// Of log files that were read since the start.
    pub(super) hashes: Hashes,
    pub(super) keys: Keys,
    stop: Stop,
    done: UnboundedSender<String>,
}

impl Queued {
    /// Follows the queue until told to stop.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub(crate) fn follow(&self, normalizer: &Normalizer, outlet: &Outlet, stop: &Stop) -> Result<(), Closed> {
        let feed = Feed {
            source: Arc::clone(&self.source),
            normalizer,
            outlet: outlet.clone(),
            limits: self.limits,
        };
        let runtime = match super::runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let reason = format!("cannot start the threads that ask AWS: {error}");
                return feed.reject(
                    self.queue.url.clone(),
                    reason,
                    RejectedKind::Unreadable,
                    &mut Outcome::default(),
                );
            }
        };
        let handle = runtime.handle().clone();
        let (done, given) = unbounded_channel();
        let shared = Shared {
            clients: handle.block_on(Clients::new(&self.queue.access)),
            handle,
            hand: Hand::default(),
            hashes: Hashes::default(),
            keys: Keys::new(self.queue.digest_keys.clone()),
            office: Office::new(self.queue.dead_letters.as_ref()),
            queue: &self.queue,
            stop: stop.clone(),
            done,
        };
        let (work, waiting) = sync_channel(self.queue.workers as usize);
        // The workers' alone: with the last of them gone, nobody is waited for.
        let waiting = Arc::new(Mutex::new(waiting));
        // A file that cannot be used is said at the start, not with the first digest.
        shared.keys.look(&feed)?;
        let result = std::thread::scope(|scope| {
            let (shared, feed) = (&shared, &feed);
            let worker = |waiting: Arc<_>| scope.spawn(move || shared.work(&waiting, feed));
            let workers: Vec<_> = (0..self.queue.workers).map(|_| worker(Arc::clone(&waiting))).collect();
            drop(waiting);
            let deleting = scope.spawn(|| shared.handle.block_on(shared.tend(given)));
            let received = shared.receive(work, feed);
            let worked = workers.into_iter().map(|worker| worker.join().unwrap_or(Err(Closed)));
            let result = worked.fold(received, Result::and);
            // What was handed over is being written; its receipts come now, or not at all.
            let ended = feed.outlet.send(SourceItem::End);
            let _ = deleting.join();
            result.and(ended)
        });
        // A call that still waits for an answer must not hold the end of the run up.
        runtime.shutdown_background();
        result
    }
}

impl Shared<'_> {
    /// Receives until it is time to stop.
    fn receive(&self, work: SyncSender<Message>, feed: &Feed<'_>) -> Result<(), Closed> {
        let mut said: Option<String> = None;
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_set() {
            let request = self
                .clients
                .sqs
                .receive_message()
                .queue_url(&self.queue.url)
                .max_number_of_messages(BATCH as i32)
                .wait_time_seconds(LONG_POLL_SECONDS)
                .visibility_timeout(self.visibility_seconds())
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            let asked = Instant::now();
            let Some(answer) = self.handle.block_on(super::unless_stopped(&self.stop, request.send())) else {
                break;
            };
            match answer {
                Ok(answer) => {
                    pause = FIRST_PAUSE;
                    if said.take().is_some() {
                        tracing::info!(queue = self.queue.url.as_str(), "the queue can be asked again");
                    }
                    feed.outlet.send(SourceItem::Opened)?;
                    let messages = answer.messages.unwrap_or_default();
                    if messages.is_empty() && self.hand.is_empty() {
                        feed.outlet.send(SourceItem::Idle)?;
                    }
                    for message in messages {
                        let (Some(id), Some(handle)) = (message.message_id(), message.receipt_handle())
                        else {
                            continue;
                        };
                        // Counted from before it was asked for: it is hidden since then at the earliest.
                        if self.hand.take(id, handle, asked) && work.send(message).is_err() {
                            return Err(Closed);
                        }
                    }
                }
                Err(error) => {
                    let reason = failure(&error).reason().to_owned();
                    if said.as_ref() != Some(&reason) {
                        let text = format!("cannot receive: {reason}; it is tried again");
                        feed.reject(
                            self.queue.url.clone(),
                            text,
                            RejectedKind::Unreadable,
                            &mut Outcome::default(),
                        )?;
                        said = Some(reason);
                    }
                    if self.stop.wait(pause) {
                        break;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        Ok(())
    }

    fn visibility_seconds(&self) -> i32 {
        (self.queue.visibility.0 / 1_000_000_000).clamp(1, 43_200) as i32
    }

    /// Works on one message after the other until there are no more.
    fn work(&self, waiting: &Mutex<Receiver<Message>>, feed: &Feed<'_>) -> Result<(), Closed> {
        loop {
            // The lock is held while waiting: whoever waits is the one who gets it.
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(message) = next else { return Ok(()) };
            let (Some(id), Some(body)) = (message.message_id(), message.body()) else { continue };
            let n_receives = message
                .attributes()
                .and_then(|held| held.get(&MessageSystemAttributeName::ApproximateReceiveCount))
                .and_then(|count| count.parse().ok())
                .unwrap_or(1);
            if self.stop.is_set() {
                self.hand_back(id, 0);
                continue;
            }
            let read = match unread(n_receives, self.queue.max_receives) {
                Some(reason) => Err(reason),
                None => unless_it_panics(|| self.read(id, body, feed)),
            };
            let verdict = match read {
                Ok(read) => read?,
                Err(reason) => {
                    self.say(id, reason.clone(), feed)?;
                    Verdict::Dead(reason)
                }
            };
            self.settle(id, body, n_receives, verdict, feed)?;
        }
    }

    fn say(&self, id: &str, reason: String, feed: &Feed<'_>) -> Result<(), Closed> {
        let at = format!("message {id} of {}", self.queue.url);
        feed.reject(at, reason, RejectedKind::Object, &mut Outcome::default())
    }

    /// Reads what a message speaks of.
    fn read(&self, id: &str, body: &str, feed: &Feed<'_>) -> Result<Verdict, Closed> {
        match notice::parse(body) {
            Err(reason) => {
                self.say(id, reason.clone(), feed)?;
                Ok(Verdict::Dead(reason))
            }
            Ok(Notice::Nothing(_)) => Ok(Verdict::Done),
            Ok(Notice::Records(text)) => {
                let mut outcome = Outcome::default();
                feed.document(&text, &|| format!("message {id} of {}", self.queue.url), &mut outcome)?;
                Ok(outcome.first_fault.map_or(Verdict::Done, Verdict::Dead))
            }
            Ok(Notice::Objects(objects)) => {
                let mut verdict = Verdict::Done;
                for object in &objects {
                    verdict = worse(verdict, self.read_object(object, feed)?);
                }
                Ok(verdict)
            }
        }
    }

    /// Begins to read an object, where the configuration lets the bucket be read: who may send to the queue chooses it.
    pub(super) fn open(&self, object: &ObjectAt) -> Result<Fetch<'_>, Failure> {
        if !notice::is_bucket(&object.bucket) {
            return Err(Failure::Never("that is no bucket's name".to_owned()));
        }
        if !self.queue.may_read(&object.bucket) {
            let text =
                "the source's \"buckets\" does not have this bucket: add it, if its logs are to be read";
            return Err(Failure::Never(text.to_owned()));
        }
        fetch::open(&self.clients, &self.handle, object, &self.stop)
    }

    fn read_object(&self, object: &ObjectAt, feed: &Feed<'_>) -> Result<Verdict, Closed> {
        if let Some(line) = self.queue.keys.leaves_out(&object.key) {
            feed.outlet.send(SourceItem::LeftOut(line.into()))?;
            return Ok(Verdict::Done);
        }
        let kind = layout::kind(&object.key);
        match kind {
            Kind::Foreign => {
                feed.outlet.send(SourceItem::LeftOut(OTHER_SERVICES.into()))?;
                return Ok(Verdict::Done);
            }
            Kind::Digest => return self.read_digest(object, feed),
            _ => {}
        }
        let mut name = format!("s3://{}/{}", object.bucket, object.key);
        let reader = match self.open(object) {
            Ok(reader) => reader,
            Err(refused) => return refused_object(&name, &refused, feed),
        };
        let key = reader.key().to_owned();
        if key != object.key {
            name = format!("s3://{}/{key}", object.bucket);
        }
        let outcome = feed.object(&name, layout::kind(&key), reader)?;
        if let Some(hash) = outcome.sha256 {
            self.hashes.put(&object.bucket, &key, hash);
        }
        let fault = outcome.first_fault.unwrap_or_default();
        Ok(match (outcome.is_interrupted, outcome.n_rejected) {
            (true, _) => Verdict::Later(format!("{name}: {fault}")),
            (false, 0) => Verdict::Done,
            (false, _) => Verdict::Dead(fault),
        })
    }

    /// Does with a message what was found to be right.
    fn settle(
        &self,
        id: &str,
        body: &str,
        n_receives: u32,
        verdict: Verdict,
        feed: &Feed<'_>,
    ) -> Result<(), Closed> {
        let reason = match last_word(verdict, n_receives, self.queue.max_receives) {
            Verdict::Done => return self.send_receipt(id, feed),
            Verdict::Dead(reason) => reason,
            Verdict::Doubtful(reason) | Verdict::Later(reason) => {
                let rest = FIRST_REST_SECONDS.saturating_mul(1 << n_receives.saturating_sub(1).min(10));
                let seconds = rest.min(LONGEST_REST_SECONDS);
                warn!(queue = self.queue.url.as_str(), message = id, %reason, seconds, "tried again later");
                self.hand_back(id, if self.stop.is_set() { 0 } else { seconds });
                return Ok(());
            }
        };
        let at = crate::time::format(SystemClock.now());
        let letter = Letter { queue: &self.queue.url, id, n_receives, reason: &reason, body, at: &at };
        match self.office.put(letter, &self.clients, &self.handle) {
            Ok(()) => {
                warn!(queue = self.queue.url.as_str(), message = id, %reason, "set aside with the dead letters");
                self.send_receipt(id, feed)
            }
            Err(trouble) => {
                self.say(id, format!("could not be set aside: {trouble}; it comes again ({reason})"), feed)?;
                self.hand_back(id, LONGEST_REST_SECONDS);
                Ok(())
            }
        }
    }

    fn send_receipt(&self, id: &str, feed: &Feed<'_>) -> Result<(), Closed> {
        let (done, id) = (self.done.clone(), id.to_owned());
        feed.outlet.send(SourceItem::Receipt(Receipt::new(move || {
            // Gone: the run is over, and the message comes again.
            let _ = done.send(id.clone());
        })))
    }

    /// Lets the queue show the message again, after a while.
    fn hand_back(&self, id: &str, seconds: i32) {
        let Some(handle) = self.hand.release(id) else { return };
        let change = self
            .clients
            .sqs
            .change_message_visibility()
            .queue_url(&self.queue.url)
            .receipt_handle(handle)
            .visibility_timeout(seconds);
        // It comes again in any case, a little later.
        let change = async { tokio::time::timeout(LAST_PATIENCE, change.send()).await };
        if let Ok(Err(error)) = self.handle.block_on(change) {
            tracing::debug!(message = id, reason = failure(&error).reason(), "not handed back early");
        }
    }

    /// Hides what is worked on, and deletes what is done with, until all receipts are given or given up.
    async fn tend(&self, mut given: UnboundedReceiver<String>) {
        let mut done: Vec<String> = Vec::new();
        let mut last_look = Instant::now();
        let mut ending: Option<Instant> = None;
        loop {
            let came = tokio::time::timeout(TICK, given.recv()).await;
            if let Ok(Some(id)) = came {
                done.push(id);
                while done.len() < BATCH
                    && let Ok(id) = given.try_recv()
                {
                    done.push(id);
                }
            }
            self.delete(&mut done).await;
            if last_look.elapsed() >= TICK {
                last_look = Instant::now();
                self.hide(last_look).await;
            }
            if self.stop.is_set() {
                let since = *ending.get_or_insert_with(Instant::now);
                if self.hand.is_empty() || since.elapsed() > LAST_PATIENCE {
                    return;
                }
            }
        }
    }

    async fn hide(&self, now: Instant) {
        let visibility = Duration::from_secs(self.visibility_seconds() as u64);
        let due = self.hand.due(visibility, now);
        for batch in due.chunks(BATCH) {
            let entries = batch.iter().enumerate().filter_map(|(idx, (_, handle))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(idx.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(self.visibility_seconds())
                    .build()
                    .ok()
            });
            let request = self
                .clients
                .sqs
                .change_message_visibility_batch()
                .queue_url(&self.queue.url)
                .set_entries(Some(entries.collect()));
            if let Err(error) = request.send().await {
                let reason = failure(&error).reason().to_owned();
                warn!(queue = self.queue.url.as_str(), reason, "messages in work may be shown to others");
                let ids: Vec<String> = batch.iter().map(|(id, _)| id.clone()).collect();
                self.hand.still_due(&ids, visibility, Instant::now());
            }
        }
    }

    /// Deletes, and keeps in the list what could not be.
    async fn delete(&self, done: &mut Vec<String>) {
        let mut failed = Vec::new();
        for batch in done.chunks(BATCH) {
            let handles: Vec<(String, String)> =
                batch.iter().filter_map(|id| Some((id.clone(), self.hand.release(id)?))).collect();
            let entries = handles.iter().enumerate().filter_map(|(idx, (_, handle))| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(idx.to_string())
                    .receipt_handle(handle)
                    .build()
                    .ok()
            });
            let entries: Vec<_> = entries.collect();
            if entries.is_empty() {
                continue;
            }
            let request =
                self.clients.sqs.delete_message_batch().queue_url(&self.queue.url).set_entries(Some(entries));
            let n_failed = match request.send().await {
                Ok(answer) => {
                    // What is our own fault does not pass: the message was shown to another meanwhile, and comes again.
                    let refused = answer.failed().iter().filter(|entry| !entry.sender_fault());
                    let refused: Vec<usize> = refused.filter_map(|entry| entry.id().parse().ok()).collect();
                    failed.extend(refused.iter().filter_map(|idx| handles.get(*idx).cloned()));
                    refused.len()
                }
                Err(error) => {
                    warn!(
                        reason = failure(&error).reason(),
                        "messages that are done with could not be deleted"
                    );
                    failed.extend(handles.iter().cloned());
                    handles.len()
                }
            };
            if n_failed > 0 {
                tracing::debug!(n_failed, "deletions are tried again");
            }
        }
        done.clear();
        // Back in the hand, so that they stay hidden until the next try.
        for (id, handle) in failed {
            self.hand.take(&id, &handle, Instant::now());
            done.push(id);
        }
    }
}

/// Says what AWS refused, and what is to become of the message.
pub(super) fn refused_object(name: &str, refused: &Failure, feed: &Feed<'_>) -> Result<Verdict, Closed> {
    let reason = format!("{name}: {}", refused.reason());
    let say = |way_out: &str| {
        let text = format!("{}; {way_out}", refused.reason());
        feed.reject(name.to_owned(), text, RejectedKind::Object, &mut Outcome::default())
    };
    Ok(match refused {
        Failure::Missing(_) => {
            say("its events are lost unless the object is put back; the notification is set aside")?;
            Verdict::Dead(reason)
        }
        Failure::Never(_) => {
            say("the notification is set aside")?;
            Verdict::Dead(reason)
        }
        Failure::Denied(_) | Failure::Refused(_) | Failure::Elsewhere(_) => {
            say("the notification is tried again, and set aside in the end")?;
            Verdict::Doubtful(reason)
        }
        Failure::Unreachable(_) => Verdict::Later(reason),
    })
}

/// A message that cannot be worked on is given up in the end.
fn last_word(verdict: Verdict, n_receives: u32, max_receives: u32) -> Verdict {
    let (reason, most) = match &verdict {
        Verdict::Doubtful(reason) => (reason, max_receives),
        Verdict::Later(reason) => (reason, max_receives.saturating_mul(PATIENCE)),
        Verdict::Done | Verdict::Dead(_) => return verdict,
    };
    match n_receives >= most {
        true => Verdict::Dead(format!("{reason}; given up after {n_receives} tries")),
        false => verdict,
    }
}

/// Why a message is not even looked into: it may be what ended the runs before.
fn unread(n_receives: u32, max_receives: u32) -> Option<String> {
    (n_receives > max_receives.saturating_mul(PATIENCE))
        .then(|| format!("it came {n_receives} times and was never done with, so it is not read again"))
}

/// What came of `work`, or in words that it ended in a panic: a fault of ours that one message brings out must not take
/// the others along.
fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason");
        format!("reading it ended in a panic, which is a fault of groundtrail's: {text}")
    })
}

pub(super) fn worse(one: Verdict, other: Verdict) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Done => 0,
        Verdict::Dead(_) => 1,
        // A message of which one object may still be had comes again as a whole.
        Verdict::Doubtful(_) => 2,
        Verdict::Later(_) => 3,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

#[cfg(test)]
mod tests;
