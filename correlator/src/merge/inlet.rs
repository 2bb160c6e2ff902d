//! A queue for each source, and turns between them: what one has a backlog of does not stand in another's way.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rules::event::EventTime;

use super::known::Known;
use super::{Closed, Pace, SourceId};
use crate::source::SourceItem;
use crate::stage::{Batch, Stage, Sum, Tally, Work};
use crate::time::Clock;

/// An item on its way. What it says holds as of its sending, however long it waits to be taken.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: EventTime,
    /// The queue was full, so its source stood still for a while after `at`.
    pub(super) has_waited: bool,
    pub(super) item: SourceItem,
}

/// A source's end of its queue. Sending waits while the queue is full: nothing is dropped here.
pub struct Outlet {
    tx: SyncSender<Sent>,
    /// Holds at most one ring: whoever hears it looks at every queue.
    bell: SyncSender<()>,
    clock: Arc<dyn Clock>,
    /// Who reads, and asks the rules, for this source.
    stage: Option<Stage>,
    /// The batch that was promised last, as long as nothing was sent after it.
    filling: Mutex<Option<Arc<Batch>>>,
    tally: Arc<Tally>,
}

/// Each fills batches of its own, and has an account of its own.
impl Clone for Outlet {
    fn clone(&self) -> Self {
        let (tx, bell, clock) = (self.tx.clone(), self.bell.clone(), Arc::clone(&self.clock));
        Self { tx, bell, clock, stage: self.stage.clone(), filling: Mutex::default(), tally: Arc::default() }
    }
}

impl Outlet {
    /// Sends something behind all that was sent before.
    ///
    /// # Errors
    /// When the merge is gone.
    pub fn send(&self, item: SourceItem) -> Result<(), Closed> {
        match (&self.stage, item) {
            (None, item) => self.put(item),
            (Some(stage), SourceItem::Record(record)) => self.work(stage, Work::Ask(record)),
            (Some(_), item) => {
                let mut filling = self.filling();
                *filling = None;
                self.put(item)
            }
        }
    }

    pub(super) fn with_stage(mut self, stage: Option<Stage>) -> Self {
        self.stage = stage;
        self
    }

    pub(crate) fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    /// The account of what was handed over to be read.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// What came of all that was handed over to be read, since this was last asked.
    pub(crate) fn settle(&self) -> Sum {
        self.tally.settle()
    }

    /// Has work done by whoever is free, and sends what comes of it behind all that was sent before.
    ///
    /// # Errors
    /// When the merge is gone.
    pub(crate) fn work(&self, stage: &Stage, work: Work) -> Result<(), Closed> {
        // Held until the promise is in the queue: of several senders, none may add to a batch that another has passed.
        let mut filling = self.filling();
        let left = match &*filling {
            Some(batch) => batch.add(work),
            None => Some(work),
        };
        let Some(work) = left else { return Ok(()) };
        let batch = Batch::of(work);
        stage.begin(&batch);
        self.put(SourceItem::Soon(Arc::clone(&batch)))?;
        *filling = Some(batch);
        Ok(())
    }

    fn filling(&self) -> MutexGuard<'_, Option<Arc<Batch>>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, item: SourceItem) -> Result<(), Closed> {
        let sent = Sent { at: self.clock.now(), has_waited: false, item };
        if let Some(held_up) = self.offer(sent)? {
            self.tx.send(held_up).map_err(|_closed| Closed)?;
            self.ring();
        }
        Ok(())
    }

    /// Gives the item back if there is no room for it.
    pub(super) fn offer(&self, sent: Sent) -> Result<Option<Sent>, Closed> {
        match self.tx.try_send(sent) {
            Ok(()) => {
                self.ring();
                Ok(None)
            }
            Err(TrySendError::Full(sent)) => Ok(Some(Sent { has_waited: true, ..sent })),
            Err(TrySendError::Disconnected(_)) => Err(Closed),
        }
    }

    fn ring(&self) {
        // Full: it rings already, and whoever comes to look will see this item too.
        let _ = self.bell.try_send(());
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

/// Longer than a source takes for an event, and nothing to whoever waits for an alert.
const NAP: Duration = Duration::from_micros(50);

/// What waiting for the next item came to.
#[derive(Debug)]
pub(super) enum Waited {
    Item(SourceId, Sent),
    Timeout,
    /// Nobody can send any more, and everything was taken.
    Closed,
}

#[derive(Debug)]
struct Queue {
    rx: Receiver<Sent>,
    known: Known,
}

/// The receiving ends.
pub(super) struct Inlets {
    capacity: usize,
    queues: Vec<Queue>,
    /// Whose turn it is.
    next: usize,
    bell: Receiver<()>,
    /// Gone once the first item is asked for, so that the end of all sources can be heard.
    bell_tx: Option<SyncSender<()>>,
    clock: Arc<dyn Clock>,
}

impl Inlets {
    /// `capacity` items may wait for each source.
    pub(super) fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let (bell_tx, bell) = sync_channel(1);
        Self { capacity, queues: Vec::new(), next: 0, bell, bell_tx: Some(bell_tx), clock }
    }

    pub(super) fn add(&mut self, pace: Pace) -> (SourceId, Outlet) {
        let id = SourceId(u32::try_from(self.queues.len()).expect("sources are counted in tens"));
        let bell = self.bell_tx.clone().expect("sources are added before the merge is read");
        let (tx, rx) = sync_channel(self.capacity);
        self.queues.push(Queue { rx, known: Known::new(self.clock.now(), pace) });
        let clock = Arc::clone(&self.clock);
        (id, Outlet { tx, bell, clock, stage: None, filling: Mutex::default(), tally: Arc::default() })
    }

    /// How far this source is known, by what was taken of it and by looks that found nothing.
    pub(super) fn known(&self, id: SourceId) -> &Known {
        &self.queues[id.0 as usize].known
    }

    /// An item that waits, from the source whose turn it is or the next that has one.
    pub(super) fn try_next(&mut self) -> Waited {
        self.bell_tx = None;
        let mut is_closed = true;
        let mut looked = None;
        let n_queues = self.queues.len();
        for turn in 0..n_queues {
            let idx = (self.next + turn) % n_queues;
            let queue = &mut self.queues[idx];
            match queue.rx.try_recv() {
                Ok(sent) => {
                    self.next = (idx + 1) % n_queues;
                    queue.known.take(&sent);
                    return Waited::Item(SourceId(idx as u32), sent);
                }
                Err(TryRecvError::Empty) => {
                    is_closed = false;
                    // As of before the look.
                    queue.known.see_empty(*looked.get_or_insert_with(|| self.clock.now()));
                }
                Err(TryRecvError::Disconnected) => {}
            }
        }
        if is_closed { Waited::Closed } else { Waited::Timeout }
    }

    pub(super) fn next_before(&mut self, deadline: Instant) -> Waited {
        loop {
            match self.try_next() {
                Waited::Timeout => {}
                other => return other,
            }
            // A source that is at work sends more in a moment. To be woken for each one costs both sides more than reading it.
            if deadline.saturating_duration_since(Instant::now()) > NAP {
                std::thread::sleep(NAP);
                match self.try_next() {
                    Waited::Timeout => {}
                    other => return other,
                }
            }
            match self.bell.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return Waited::Timeout,
                // The last of them has left. What it sent first is still there.
                Err(RecvTimeoutError::Disconnected) => return self.rest(deadline),
            }
        }
    }

    /// The bell's senders go just before or after the queues' do.
    fn rest(&mut self, deadline: Instant) -> Waited {
        loop {
            match self.try_next() {
                Waited::Timeout if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(50)),
                other => return other,
            }
        }
    }
}
