//! A queue for each source, and turns between them: what one has a backlog of does not stand in another's way.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::{Closed, SourceId};
use crate::source::SourceItem;

/// A source's end of its queue. Sending waits while the queue is full: nothing is dropped here.
#[derive(Debug, Clone)]
pub struct Outlet {
    tx: SyncSender<SourceItem>,
    /// Holds at most one ring: whoever hears it looks at every queue.
    bell: SyncSender<()>,
}

impl Outlet {
    /// # Errors
    /// When the merge is gone.
    pub fn send(&self, item: SourceItem) -> Result<(), Closed> {
        self.tx.send(item).map_err(|_closed| Closed)?;
        // Full: it rings already, and whoever comes to look will see this item too.
        let _ = self.bell.try_send(());
        Ok(())
    }
}

/// What waiting for the next item came to.
#[derive(Debug)]
pub(super) enum Waited {
    Item(SourceId, SourceItem),
    Timeout,
    /// Nobody can send any more, and everything was taken.
    Closed,
}

/// The receiving ends.
#[derive(Debug)]
pub(super) struct Inlets {
    capacity: usize,
    queues: Vec<Receiver<SourceItem>>,
    /// Whose turn it is.
    next: usize,
    bell: Receiver<()>,
    /// Gone once the first item is asked for, so that the end of all sources can be heard.
    bell_tx: Option<SyncSender<()>>,
}

impl Inlets {
    /// `capacity` items may wait for each source.
    pub(super) fn new(capacity: usize) -> Self {
        let (bell_tx, bell) = sync_channel(1);
        Self { capacity, queues: Vec::new(), next: 0, bell, bell_tx: Some(bell_tx) }
    }

    pub(super) fn add(&mut self) -> (SourceId, Outlet) {
        let id = SourceId(u32::try_from(self.queues.len()).expect("sources are counted in tens"));
        let bell = self.bell_tx.clone().expect("sources are added before the merge is read");
        let (tx, rx) = sync_channel(self.capacity);
        self.queues.push(rx);
        (id, Outlet { tx, bell })
    }

    /// An item that waits, from the source whose turn it is or the next that has one.
    pub(super) fn try_next(&mut self) -> Waited {
        self.bell_tx = None;
        let mut is_closed = true;
        for turn in 0..self.queues.len() {
            let idx = (self.next + turn) % self.queues.len();
            match self.queues[idx].try_recv() {
                Ok(item) => {
                    self.next = (idx + 1) % self.queues.len();
                    return Waited::Item(SourceId(idx as u32), item);
                }
                Err(TryRecvError::Empty) => is_closed = false,
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
