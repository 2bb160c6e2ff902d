//! Where a worker stands: what it has read and not done with, and what it has put by so that the rest goes on.
//!
//! A receiver that answers with a failure may be down, or unable to take that one alert. Both look the same from here, so an
//! alert that failed a few times at the front is put by, and asked of again once in a while. A later revision of it waits
//! behind it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::transport::Item;

/// An alert at the front that failed so often lets others pass.
const MAX_TRIES: u32 = 4;
/// So many may be put by. Where all of them fail it is the receiver, and the queue waits.
const MAX_PUT_BY: usize = 64;

pub(super) struct Progress {
    /// The last that was read.
    pub(super) cursor: i64,
    /// Read and not done with, in order.
    pub(super) pending: Vec<Item>,
    /// So many at the front go one by one, since one of them is to blame for all.
    pub(super) n_alone: usize,
    pub(super) backoff: Backoff,
    pub(super) said: Option<Instant>,
    put_by: VecDeque<Item>,
    /// When those are asked of again.
    put_by_until: Option<Instant>,
    /// What failed: since when, and how often.
    failed: HashMap<i64, (Instant, u32)>,
}

impl Progress {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            cursor: 0,
            pending: Vec::new(),
            n_alone: 0,
            backoff,
            said: None,
            put_by: VecDeque::new(),
            put_by_until: None,
            failed: HashMap::new(),
        }
    }

    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.pending.iter().chain(&self.put_by).map(|item| item.queued_ms).min()
    }

    /// Takes in what was read: behind a revision of its own that was put by, or to be sent.
    pub(super) fn add(&mut self, item: Item) {
        if self.put_by.iter().any(|held| held.alert_id == item.alert_id) {
            self.put_by.push_back(item);
        } else {
            self.pending.push(item);
        }
    }

    /// The next of those that were put by, where it is time.
    pub(super) fn next_put_by(&mut self) -> Option<Item> {
        self.put_by_until.filter(|until| *until <= Instant::now())?;
        let next = self.put_by.pop_front();
        if next.is_none() {
            self.put_by_until = None;
        }
        next
    }

    /// How long until then.
    pub(super) fn put_by_due(&self) -> Option<Instant> {
        self.put_by_until.filter(|_| !self.put_by.is_empty())
    }

    /// One that was put by failed again: it waits, behind the others, but before what it must not be passed by.
    pub(super) fn put_back(&mut self, item: Item, pause: Duration) {
        let (mut own, others): (VecDeque<Item>, VecDeque<Item>) =
            self.put_by.drain(..).partition(|held| held.alert_id == item.alert_id);
        self.put_by = others;
        self.put_by.push_back(item);
        self.put_by.append(&mut own);
        self.put_by_until = Some(Instant::now() + pause);
    }

    /// Puts the first of `pending` by, with what must not pass it, if it failed often enough. Where it failed with others,
    /// they are sent one by one from here on: any of them may be to blame.
    pub(super) fn let_others_pass(&mut self, n_sent: usize, pause: Duration) {
        let tries = |item: &Item| self.failed.get(&item.seq).map_or(0, |(_, tries)| *tries);
        let Some(first) = self.pending.first().filter(|first| tries(first) >= MAX_TRIES) else { return };
        if n_sent > 1 {
            self.n_alone = n_sent.min(self.pending.len());
            return;
        }
        let id = first.alert_id.clone();
        let n_own = self.pending.iter().filter(|item| item.alert_id == id).count();
        if self.put_by.len() + n_own > MAX_PUT_BY {
            return;
        }
        let (own, others) = self.pending.drain(..).partition(|item| item.alert_id == id);
        self.pending = others;
        self.put_by.extend::<Vec<Item>>(own);
        self.n_alone = self.n_alone.saturating_sub(n_own);
        self.put_by_until.get_or_insert(Instant::now() + pause);
    }

    /// The receiver took one of those put by: the next of them may go at once.
    pub(super) fn put_by_goes_on(&mut self) {
        self.put_by_until = Some(Instant::now());
    }

    /// Counts a failure. For how long it has been failing.
    pub(super) fn fails(&mut self, seq: i64) -> Duration {
        let (since, tries) = self.failed.entry(seq).or_insert((Instant::now(), 0));
        *tries += 1;
        since.elapsed()
    }

    pub(super) fn forget(&mut self, seq: i64) {
        self.failed.remove(&seq);
    }
}
