//! Where a worker stands: what it has read and not done with, and what it has put by so that the rest goes on.
//!
//! A receiver that answers with a failure may be down, or unable to take that one alert. Both look the same from here, so an
//! alert that failed a few times at the front is put by, and asked of again once in a while, each at a time of its own. A
//! later revision of it waits behind it. What is put by lies in the queue alone, so that any number of them may.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::transport::Item;
use crate::store::Waiting;

/// An alert at the front that failed so often lets others pass.
const MAX_TRIES: u32 = 4;

pub(super) struct Progress {
    /// The last that was read.
    pub(super) cursor: i64,
    /// Read and not done with, in order.
    pub(super) pending: Vec<Item>,
    /// So many at the front go one by one, since one of them is to blame for all.
    pub(super) n_alone: usize,
    pub(super) backoff: Backoff,
    pub(super) said: Option<Instant>,
    /// By alert.
    put_by: HashMap<String, Group>,
    /// None of them is asked of before: however many there are, a receiver that is down is not hammered.
    put_by_from: Instant,
    /// One of them was asked of last: it is the turn of the rest.
    is_others_turn: bool,
    /// What failed: since when, and how often.
    failed: HashMap<i64, (Instant, u32)>,
}

/// An alert that was put by: its revisions that wait, in order.
struct Group {
    revisions: VecDeque<Held>,
    due: Instant,
    /// The receiver does not want to hear of it before.
    wished: Instant,
}

/// Where a revision lies in the queue, and since when.
struct Held {
    seq: i64,
    queued_ms: i64,
}

/// When those that were put by are asked of again, after one of them failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again {
    /// This one, at the earliest,
    pub(super) pause: Duration,
    /// and not before the receiver wants to hear of it.
    pub(super) wish: Duration,
    /// Any other.
    pub(super) gap: Duration,
}

impl From<&Item> for Held {
    fn from(item: &Item) -> Self {
        Self { seq: item.seq, queued_ms: item.queued_ms }
    }
}

impl Progress {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            cursor: 0,
            pending: Vec::new(),
            n_alone: 0,
            backoff,
            said: None,
            put_by: HashMap::new(),
            put_by_from: Instant::now(),
            is_others_turn: false,
            failed: HashMap::new(),
        }
    }

    pub(super) fn oldest_ms(&self) -> Option<i64> {
        let put_by = self.put_by.values().filter_map(|group| group.revisions.front());
        let pending = self.pending.iter().map(|item| item.queued_ms);
        pending.chain(put_by.map(|held| held.queued_ms)).min()
    }

    /// Takes in what was read. False: it waits behind a revision of its own that was put by.
    pub(super) fn add(&mut self, item: Item) -> bool {
        if let Some(group) = self.put_by.get_mut(&item.alert_id) {
            group.revisions.push_back(Held::from(&item));
            return false;
        }
        self.pending.push(item);
        true
    }

    /// The next of those that were put by, where it is time: its alert, and its place in the queue. The rest gets its turn
    /// between any two of them.
    pub(super) fn next_put_by(&mut self, now: Instant) -> Option<(String, i64)> {
        if std::mem::take(&mut self.is_others_turn) || self.put_by_due()? > now {
            return None;
        }
        let (id, group) = self.put_by.iter().min_by_key(|(_, group)| group.due)?;
        let next = (id.clone(), group.revisions.front()?.seq);
        self.is_others_turn = true;
        Some(next)
    }

    /// When that is.
    pub(super) fn put_by_due(&self) -> Option<Instant> {
        let due = self.put_by.values().map(|group| group.due).min();
        due.map(|due| due.max(self.put_by_from))
    }

    /// It failed again.
    pub(super) fn put_back(&mut self, alert_id: &str, now: Instant, again: &Again) {
        let Again { pause, wish, gap } = *again;
        self.put_by_from = now + gap;
        if let Some(group) = self.put_by.get_mut(alert_id) {
            group.wished = now + wish;
            group.due = (now + pause).max(group.wished);
        }
    }

    /// The receiver took the first of this alert: the next of them may go at once, and so may one of another.
    pub(super) fn put_by_goes_on(&mut self, alert_id: &str, now: Instant) {
        self.put_by_is_gone(alert_id, now);
        self.put_by_from = now;
        if let Some(next) = self.put_by.values_mut().min_by_key(|group| group.due) {
            next.due = next.due.min(now.max(next.wished));
        }
    }

    /// The first of this alert is done with, and whether the receiver takes any is not known.
    pub(super) fn put_by_is_gone(&mut self, alert_id: &str, now: Instant) {
        if let Some(group) = self.put_by.get_mut(alert_id) {
            group.revisions.pop_front();
            group.due = now.max(group.wished);
            if group.revisions.is_empty() {
                self.put_by.remove(alert_id);
            }
        }
    }

    /// Cannot be sent, nor set aside yet: it waits with those that were put by.
    pub(super) fn put_by(&mut self, waiting: &Waiting, due: Instant) {
        let held = Held { seq: waiting.seq, queued_ms: waiting.queued_ms };
        let group = self.put_by.entry(waiting.alert_id.clone());
        let group = group.or_insert_with(|| Group { revisions: VecDeque::new(), due, wished: due });
        group.revisions.push_back(held);
    }

    /// Puts the first of `pending` by, with what must not pass it, if it failed often enough; these are given back. Where it
    /// failed with others, they are sent one by one from here on: any of them may be to blame.
    pub(super) fn let_others_pass(&mut self, n_sent: usize, due: Instant) -> Vec<Item> {
        let tries = |item: &Item| self.failed.get(&item.seq).map_or(0, |(_, tries)| *tries);
        let Some(first) = self.pending.first().filter(|first| tries(first) >= MAX_TRIES) else {
            return Vec::new();
        };
        if n_sent > 1 {
            self.n_alone = n_sent.min(self.pending.len());
            return Vec::new();
        }
        let id = first.alert_id.clone();
        let (own, others): (Vec<Item>, Vec<Item>) =
            self.pending.drain(..).partition(|item| item.alert_id == id);
        self.pending = others;
        self.n_alone = self.n_alone.saturating_sub(own.len());
        let revisions = own.iter().map(Held::from).collect();
        self.put_by.insert(id, Group { revisions, due, wished: due });
        own
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sink::transport::item;

    const PAUSE: Duration = Duration::from_secs(60);
    const GAP: Duration = Duration::from_secs(1);
    const AGAIN: Again = Again { pause: PAUSE, wish: Duration::ZERO, gap: GAP };

    /// So many alerts that failed until they were put by, and when they are due.
    fn stand(n: usize) -> (Progress, Instant) {
        let mut at = Progress::new(Backoff::new(GAP, PAUSE));
        let due = Instant::now() + PAUSE;
        for n in 0..n {
            let id = format!("{n:03}");
            let item = Item { seq: n as i64, ..item(&id, 1, json!({})) };
            assert!(at.add(item));
            for _ in 0..MAX_TRIES {
                at.fails(n as i64);
            }
            assert_eq!(at.let_others_pass(1, due).len(), 1);
        }
        (at, due)
    }

    #[test]
    fn any_number_is_put_by_and_each_is_asked_of_within_its_own_time() {
        let (mut at, due) = stand(100);
        assert_eq!(at.next_put_by(due - GAP), None);
        let mut asked = std::collections::BTreeSet::new();
        for n in 0..100 {
            let now = due + GAP * n;
            let (id, _) = at.next_put_by(now).expect("one that is due");
            assert_eq!(at.next_put_by(now), None, "the rest has its turn");
            at.put_back(&id, now, &Again { pause: PAUSE * 3, ..AGAIN });
            assert_eq!(at.next_put_by(now), None, "a receiver that is down is not hammered");
            assert!(asked.insert(id), "each once");
        }
        assert_eq!(at.next_put_by(due + GAP * 100), None);
        assert!(at.next_put_by(due + PAUSE * 3).is_some());
    }

    #[test]
    fn what_there_was_no_room_for_says_nothing_of_the_receiver() {
        let (mut at, due) = stand(2);
        let (first, _) = at.next_put_by(due).unwrap();
        at.put_back(&first, due, &Again { wish: PAUSE * 10, ..AGAIN });
        at.next_put_by(due);
        let (second, _) = at.next_put_by(due + GAP).unwrap();
        at.put_by_is_gone(&second, due + GAP);
        assert_eq!(at.put_by_due(), Some(due + PAUSE * 10));
    }

    #[test]
    fn one_waits_for_as_long_as_the_receiver_wishes_and_no_other_does() {
        let (mut at, due) = stand(2);
        let (first, _) = at.next_put_by(due).unwrap();
        at.put_back(&first, due, &Again { wish: PAUSE * 10, ..AGAIN });
        at.next_put_by(due);
        let (second, _) = at.next_put_by(due + GAP).unwrap();
        assert_ne!(first, second);
        // Even where the receiver takes another.
        at.put_by_goes_on(&second, due + GAP);
        at.next_put_by(due);
        assert_eq!(at.next_put_by(due + PAUSE * 9), None);
        assert_eq!(at.next_put_by(due + PAUSE * 10).map(|(id, _)| id), Some(first));
    }

    #[test]
    fn a_later_revision_waits_behind_its_own_and_goes_after_it_at_once() {
        let (mut at, due) = stand(1);
        assert!(!at.add(Item { seq: 7, ..item("000", 2, json!({})) }));
        assert_eq!(at.next_put_by(due), Some(("000".to_owned(), 0)));
        at.put_by_goes_on("000", due);
        at.next_put_by(due);
        assert_eq!(at.next_put_by(due), Some(("000".to_owned(), 7)));
        at.put_by_goes_on("000", due);
        assert_eq!((at.put_by_due(), at.oldest_ms()), (None, None));
    }
}
