//! Takes a sink's queue to its transport: one portion at a time, what was not taken again later, what never will be to the
//! dead letters. Each worker has a thread of its own and shares nothing with the others, nor with the run, but its queue.

use std::sync::Arc;
use std::time::Duration;

use rules::event::{EventTime, Span};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::account::Account;
use super::backoff::{Backoff, within_reason};
use super::dead::{DeadLetters, Letter};
use super::progress::{Again, Progress};
use super::transport::{Answer, Item, Portion, Transport, Verdict};
use crate::health::millis;
use crate::store::{Reader, Taken, Waiting};
use crate::time::{Clock, SystemClock};
use crate::untrusted::Untrusted;

/// How often a trouble that lasts is said again.
const REMIND: Duration = Duration::from_secs(600);
/// The queue is looked at so often whether word came or not.
const LOOK: Duration = Duration::from_secs(30);

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub first: Duration,
    pub longest: Duration,
    /// What has waited for so long, and was tried, becomes a dead letter.
    pub give_up_after: Span,
}

pub struct Worker {
    pub sink: Arc<str>,
    pub reader: Reader,
    pub transport: Box<dyn Transport + Send>,
    pub account: Arc<Account>,
    pub dead: DeadLetters,
    pub retry: Retry,
    /// For one portion.
    pub timeout: Duration,
    /// Once it says when, what is left by then is left to the next run.
    pub closing: watch::Receiver<Option<Instant>>,
}

impl Worker {
    /// Until the run closes. What was read and not taken stays in the queue.
    pub async fn run(mut self) {
        let mut at = Progress::new(Backoff::new(self.retry.first, self.retry.longest));
        loop {
            if let Some((alert_id, seq)) = at.next_put_by(Instant::now()) {
                if !self.try_put_by(&alert_id, seq, &mut at).await {
                    return;
                }
                continue;
            }
            if at.pending.is_empty() && !self.read(&mut at).await {
                return;
            }
            self.account.set_oldest(at.oldest_ms());
            if at.pending.is_empty() {
                continue;
            }
            let n = if at.n_alone > 0 { 1 } else { at.pending.len() };
            let Some(answer) = self.send(&at.pending[..n]).await else { return };
            let wish = answer.retry_after;
            if self.sort(answer, &mut at) {
                // Where a portion is one thing, as an object is, none of it is to blame alone, and it comes again as it was.
                if !self.transport.portion().is_one {
                    let put_by = at.let_others_pass(n, Instant::now() + self.retry.longest);
                    self.account.line().release(put_by.iter().map(|item| item.seq));
                }
                let pause = at.backoff.next(wish);
                if self.sleep(pause).await {
                    return;
                }
            }
        }
    }

    /// Asks once more of an alert that was put by. Nothing waits for it. False: the run is over.
    async fn try_put_by(&mut self, alert_id: &str, seq: i64, at: &mut Progress) -> bool {
        let Retry { first: gap, longest, .. } = self.retry;
        let again = |pause, wish| Again { pause, wish, gap };
        let line = Arc::clone(self.account.line());
        let item = match line.take(|| self.reader.one(seq)) {
            Ok(Taken::These(waiting)) => match waiting.into_iter().next().map(Item::of) {
                Some(Ok(item)) => item,
                Some(Err((waiting, error))) => {
                    if self.set_aside(&waiting, &error.to_string()) {
                        at.put_by_is_gone(alert_id, Instant::now());
                    } else {
                        line.release(std::iter::once(seq));
                        at.put_back(alert_id, Instant::now(), &again(longest, Duration::ZERO));
                    }
                    return true;
                }
                // There was no room for it in the queue.
                None => {
                    at.forget(seq);
                    at.put_by_is_gone(alert_id, Instant::now());
                    return true;
                }
            },
            Ok(Taken::LookAgain) => {
                at.put_back(alert_id, Instant::now(), &again(gap, Duration::ZERO));
                return true;
            }
            Err(error) => {
                self.complain(at, &format!("its queue cannot be read: {error}"));
                at.put_back(alert_id, Instant::now(), &again(longest, Duration::ZERO));
                return true;
            }
        };
        let Some(answer) = self.send(std::slice::from_ref(&item)).await else { return false };
        let wish = within_reason(answer.retry_after);
        let is_taken = answer.verdicts.first() == Some(&Verdict::Taken);
        let waits = std::mem::replace(&mut at.pending, vec![item]);
        let n_alone = std::mem::take(&mut at.n_alone);
        self.sort(answer, at);
        match at.pending.pop() {
            Some(item) => {
                line.release(std::iter::once(item.seq));
                at.put_back(alert_id, Instant::now(), &again(longest, wish));
            }
            None if is_taken => at.put_by_goes_on(alert_id, Instant::now()),
            None => at.put_by_is_gone(alert_id, Instant::now()),
        }
        (at.pending, at.n_alone) = (waits, n_alone);
        true
    }

    /// Fills `pending`, or waits for something to do so with. False: the run is over.
    async fn read(&mut self, at: &mut Progress) -> bool {
        let portion = self.transport.portion();
        let line = Arc::clone(self.account.line());
        let read = line.take(|| self.reader.next(at.cursor, portion.items, portion.bytes));
        match read.map(Taken::these) {
            Ok(waiting) if waiting.is_empty() => {
                self.account.set_oldest(at.oldest_ms());
                if self.is_closing() {
                    return false;
                }
                let look = Instant::now() + LOOK;
                let look = at.put_by_due().map_or(look, |due| look.min(due));
                tokio::select! {
                    () = line.news() => {}
                    () = tokio::time::sleep_until(look) => {}
                    // Where the run itself is gone, nobody waits.
                    changed = self.closing.changed() => return changed.is_ok(),
                }
            }
            Ok(waiting) if self.may_grow(&waiting, &portion).await => {}
            Ok(waiting) => {
                at.cursor = waiting.last().map_or(at.cursor, |last| last.seq);
                for waiting in waiting {
                    match Item::of(waiting) {
                        Ok(item) => {
                            let seq = item.seq;
                            if !at.add(item) {
                                line.release(std::iter::once(seq));
                            }
                        }
                        Err((waiting, error)) => {
                            if !self.set_aside(&waiting, &error.to_string()) {
                                line.release(std::iter::once(waiting.seq));
                                at.put_by(&waiting, Instant::now() + self.retry.longest);
                            }
                        }
                    }
                }
            }
            Err(error) => {
                self.complain(at, &format!("its queue cannot be read: {error}"));
                let pause = at.backoff.next(None);
                return !self.sleep(pause).await;
            }
        }
        true
    }

    /// Waits for a portion to fill, for as long as its first may be held back. True: it is to be read again.
    async fn may_grow(&mut self, waiting: &[Waiting], portion: &Portion) -> bool {
        let n_bytes: usize = waiting.iter().map(|waiting| waiting.document.len()).sum();
        let is_full = waiting.len() >= portion.items || n_bytes > portion.bytes / 2;
        let queued_ms = waiting.first().map_or(0, |first| first.queued_ms);
        let age_ms = u64::try_from(millis(SystemClock.now()) - queued_ms).unwrap_or_default();
        let left = portion.wait.saturating_sub(Duration::from_millis(age_ms));
        if is_full || left.is_zero() || self.is_closing() {
            return false;
        }
        self.account.set_oldest(Some(queued_ms));
        let line = Arc::clone(self.account.line());
        line.release(waiting.iter().map(|waiting| waiting.seq));
        tokio::select! {
            () = line.news() => {}
            () = tokio::time::sleep(left) => {}
            changed = self.closing.changed() => return changed.is_ok(),
        }
        true
    }

    /// None: the run is over.
    async fn send(&mut self, items: &[Item]) -> Option<Answer> {
        let n = items.len();
        let mut closing = self.closing.clone();
        tokio::select! {
            answer = self.transport.send(items) => {
                assert_eq!(answer.verdicts.len(), n, "a transport says of each what became of it");
                Some(answer)
            }
            () = tokio::time::sleep(self.timeout) => {
                let reason = format!("no answer within {} ms", self.timeout.as_millis());
                Some(Answer::whole(n, Verdict::Later(reason)))
            }
            () = past_deadline(&mut closing) => None,
        }
    }

    /// Does with each of `pending` what the answer says. True: it is better to wait before the next try.
    fn sort(&self, answer: Answer, at: &mut Progress) -> bool {
        let now = SystemClock.now();
        let n = answer.verdicts.len();
        let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
        if answer.is_whole && n > 1 && answer.verdicts.iter().all(is_refused) {
            at.n_alone = n;
            return false;
        }
        at.n_alone = at.n_alone.saturating_sub(1);
        let (mut taken, mut later, mut first_reason) = (Vec::new(), Vec::new(), None);
        let rest = at.pending.split_off(n);
        for (item, verdict) in std::mem::take(&mut at.pending).into_iter().zip(answer.verdicts) {
            let (reason, is_over) = match verdict {
                Verdict::Taken => {
                    at.forget(item.seq);
                    taken.push(item.seq);
                    continue;
                }
                Verdict::Later(reason) => {
                    let failing = at.fails(item.seq);
                    let is_over = self.is_given_up(&item, failing, now);
                    // Set aside or not, that the receiver takes nothing is the same.
                    first_reason.get_or_insert_with(|| reason.clone());
                    (reason, is_over)
                }
                Verdict::Refused(reason) => (reason, true),
            };
            if is_over && self.bury(&item, &reason, now) {
                at.forget(item.seq);
                continue;
            }
            first_reason.get_or_insert(reason);
            later.push(item);
        }
        let is_taking = !taken.is_empty();
        if !taken.is_empty() {
            self.account.count_delivered(taken.len() as u64);
            self.account.line().done(taken.into_iter());
            at.backoff.reset();
        }
        self.account.count_retried(later.len() as u64);
        let must_wait = first_reason.is_some();
        // In the order of their queue still.
        later.extend(rest);
        at.pending = later;
        match first_reason {
            Some(reason) => self.complain(at, &reason),
            // To be refused is no proof that anything is taken.
            None if !is_taking => {}
            None => {
                at.backoff.reset();
                at.said = None;
                if let Some(since_ms) = self.account.works_again() {
                    let seconds = (millis(now) - since_ms) / 1_000;
                    info!(
                        sink = &*self.sink,
                        seconds, "the sink takes alerts again; none was lost meanwhile but those counted"
                    );
                }
            }
        }
        must_wait
    }

    /// Whether it was asked of for long enough. How long it lay in the queue while no run was there is not the receiver's
    /// doing.
    fn is_given_up(&self, item: &Item, failing: Duration, now: EventTime) -> bool {
        let longest_ms = self.retry.give_up_after.0 / 1_000_000;
        let failing_ms = i64::try_from(failing.as_millis()).unwrap_or(i64::MAX);
        failing_ms.min(millis(now) - item.queued_ms) > longest_ms
    }

    /// Whether it is among the dead letters now. If not, it is kept and tried again.
    fn bury(&self, item: &Item, reason: &str, now: EventTime) -> bool {
        let Item { seq, alert_id, revision, .. } = item;
        if let Err(error) = self.dead.put(Letter::of(item, reason), now) {
            error!(sink = &*self.sink, %error, "a dead letter cannot be written: it is tried again");
            return false;
        }
        warn!(
            sink = &*self.sink,
            alert = alert_id.as_str(),
            revision,
            reason = Untrusted(reason).fit(400),
            dead_letters = %self.dead.path().display(),
            "an alert was set aside: this sink will not take it"
        );
        self.account.count_dead(1);
        self.account.line().done(std::iter::once(*seq));
        true
    }

    /// What the store itself holds and nobody can read. As [`Self::bury`].
    fn set_aside(&self, waiting: &Waiting, reason: &str) -> bool {
        self.bury(
            &Item::unread(waiting),
            &format!("the store holds no JSON of it: {reason}"),
            SystemClock.now(),
        )
    }

    fn complain(&self, at: &mut Progress, reason: &str) {
        let is_first = self.account.is_failing(reason, SystemClock.now());
        if is_first || at.said.is_none_or(|said| said.elapsed() > REMIND) {
            at.said = Some(Instant::now());
            let queued = self.account.line().n_waiting();
            warn!(
                sink = &*self.sink,
                reason = Untrusted(reason).fit(400),
                queued,
                "the sink does not take alerts: they wait in its queue, and it is tried again"
            );
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.borrow().is_some()
    }

    /// Says whether the run is over: it has ended, and there would be no time for another try.
    async fn sleep(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let deadline = tokio::select! {
            () = tokio::time::sleep_until(until) => return false,
            // Where the run itself is gone, nobody waits.
            closing = self.closing.wait_for(Option::is_some) => closing.ok().and_then(|closing| *closing),
        };
        if deadline.is_none_or(|deadline| deadline <= until) {
            return true;
        }
        tokio::time::sleep_until(until).await;
        false
    }
}

/// Comes back once the run is over and the time for the rest is as well.
async fn past_deadline(closing: &mut watch::Receiver<Option<Instant>>) {
    let deadline = closing.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    // The run itself is gone: nobody waits.
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}
