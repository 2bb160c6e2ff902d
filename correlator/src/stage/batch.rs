//! Work on its way through the workers, and what came of it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::source::normalize::{Normalizer, Unreadable};
use crate::source::{Origin, Record, Rejected, RejectedKind, SourceItem};

/// More than this goes into another batch, so that several workers have something to do.
const MAX_WORK: usize = 16;
/// The same in bytes. With the length of its queue it bounds what waits for a source.
const MAX_BYTES: usize = 64 * 1_024;

/// What a worker is to do.
#[derive(Debug)]
pub(crate) enum Work {
    Read(Text),
    /// It was read, and the rules have not seen it yet.
    Ask(Record),
}

impl Work {
    fn len(&self) -> usize {
        match self {
            Self::Read(text) => text.text.len(),
            Self::Ask(record) => record.raw.len(),
        }
    }
}

/// A text on its way into records.
#[derive(Debug)]
pub(crate) struct Text {
    /// Known, or for the reader to find out: then it may hold several.
    pub(crate) origin: Option<Origin>,
    pub(crate) text: String,
    pub(crate) source: Arc<str>,
    /// Of the file or stream that it stands in.
    pub(crate) name: Box<str>,
    pub(crate) spot: Spot,
    pub(crate) tally: Arc<Tally>,
}

/// Where in its file or stream a text stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spot {
    Record { number: u64, at: u64 },
    Line { number: u64 },
}

impl Spot {
    pub(crate) fn of(self, name: &str) -> String {
        match self {
            Self::Record { number, at } => format!("{name}, record {number} at byte {at}"),
            Self::Line { number } => format!("{name}, line {number}"),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Record { number, .. } | Self::Line { number } => number,
        }
    }
}

impl Text {
    pub(super) fn read(&self, normalizer: &Normalizer) -> Vec<Result<Record, Unreadable>> {
        match self.origin {
            Some(origin) => vec![normalizer.read(origin, self.text.as_str())],
            None => normalizer.read_any(&self.text),
        }
    }

    /// What becomes of it, for the source's queue and for its account.
    pub(super) fn found(self, found: Vec<Result<Record, Unreadable>>) -> impl Iterator<Item = SourceItem> {
        let Self { source, name, spot, tally, .. } = self;
        let fault = found.iter().find_map(|one| one.as_ref().err());
        let first_fault = fault.map(|error| format!("{}: {error}", spot.of(&name)));
        let n_rejected = found.iter().filter(|one| one.is_err()).count() as u64;
        tally
            .done(spot.number(), Sum { n_records: found.len() as u64 - n_rejected, n_rejected, first_fault });
        found.into_iter().map(move |one| match one {
            Ok(record) => SourceItem::Record(record),
            Err(error) => SourceItem::Rejected(Rejected {
                source: Arc::clone(&source),
                at: spot.of(&name),
                reason: error.to_string(),
                kind: RejectedKind::Record,
            }),
        })
    }
}

/// What became of the texts that one sender handed over: positions and verdicts hang on it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    state: Mutex<Account>,
    is_settled: Condvar,
}

#[derive(Debug, Default)]
struct Account {
    n_waiting: u64,
    sum: Sum,
    /// Number of the text that [`Sum::first_fault`] is about: workers are done in any order.
    first: u64,
}

/// What was found in texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) n_records: u64,
    pub(crate) n_rejected: u64,
    pub(crate) first_fault: Option<String>,
}

impl Tally {
    pub(crate) fn begin(&self) {
        self.account().n_waiting += 1;
    }

    fn done(&self, number: u64, sum: Sum) {
        let mut account = self.account();
        account.n_waiting -= 1;
        account.sum.n_records += sum.n_records;
        account.sum.n_rejected += sum.n_rejected;
        if sum.first_fault.is_some() && (account.sum.first_fault.is_none() || number < account.first) {
            (account.sum.first_fault, account.first) = (sum.first_fault, number);
        }
        if account.n_waiting == 0 {
            self.is_settled.notify_all();
        }
    }

    /// What was found since this was last asked. Waits for what is being read: workers wait for nobody.
    pub(crate) fn settle(&self) -> Sum {
        let settled = self.is_settled.wait_while(self.account(), |account| account.n_waiting > 0);
        std::mem::take(&mut settled.unwrap_or_else(PoisonError::into_inner).sum)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work of one source, on its way: what is promised to its queue.
#[derive(Debug)]
pub struct Batch {
    state: Mutex<State>,
    is_done: Condvar,
}

#[derive(Debug)]
enum State {
    Open { work: Vec<Work>, n_bytes: usize },
    Taken,
    Done(Vec<SourceItem>),
}

impl Batch {
    pub(crate) fn of(work: Work) -> Arc<Self> {
        let state = State::Open { n_bytes: work.len(), work: vec![work] };
        Arc::new(Self { state: Mutex::new(state), is_done: Condvar::new() })
    }

    /// Adds to it, unless a worker has it or there is enough in it: then the work comes back.
    pub(crate) fn add(&self, more: Work) -> Option<Work> {
        match &mut *self.state() {
            State::Open { work, n_bytes } if work.len() < MAX_WORK && *n_bytes < MAX_BYTES => {
                *n_bytes += more.len();
                work.push(more);
                None
            }
            _ => Some(more),
        }
    }

    /// What became of it. Waits until that is known.
    pub(crate) fn wait(&self) -> Vec<SourceItem> {
        let is_open = |state: &mut State| !matches!(state, State::Done(_));
        let waited = self.is_done.wait_while(self.state(), is_open);
        match &mut *waited.unwrap_or_else(PoisonError::into_inner) {
            State::Done(items) => std::mem::take(items),
            State::Open { .. } | State::Taken => Vec::new(),
        }
    }

    pub(super) fn take(&self) -> Vec<Work> {
        match std::mem::replace(&mut *self.state(), State::Taken) {
            State::Open { work, .. } => work,
            State::Taken | State::Done(_) => Vec::new(),
        }
    }

    pub(super) fn finish(&self, items: Vec<SourceItem>) {
        *self.state() = State::Done(items);
        self.is_done.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
