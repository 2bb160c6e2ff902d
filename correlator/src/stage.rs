//! Stage one on several threads: texts to records, and what each rule says about them. Stateless, so any thread will do.
//!
//! A source puts its work into a batch and the batch, as a promise, into its own queue. A worker that is free takes what is
//! in the batch by then; the source goes on filling it until that happens. So batches are as small as the workers are idle,
//! nobody has to say that nothing more comes, and what leaves a source's queue is in the order it went in.

mod batch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rules::program::Program;

use crate::detect::{Detect, Detected};
use crate::pipeline::dedup::{self, Content, ShortId};
use crate::source::normalize::{Normalizer, Unreadable};
use crate::source::{Record, SourceItem};

pub use batch::Batch;
pub(crate) use batch::{Spot, Sum, Tally, Text, Work};

/// What the rules say about a record, found before its turn came.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    program: Arc<Program>,
    pub(crate) id: ShortId,
    pub(crate) content: Content,
    /// The line of the drop list that takes it.
    pub(crate) drop: Option<String>,
    pub(crate) detected: Detected,
}

impl Prepared {
    pub(crate) fn new(program: &Arc<Program>, detect: &mut Detect, record: &Record) -> Self {
        let drop = detect.drop_reason(&record.event);
        let detected = if drop.is_none() { detect.detect(record) } else { detect.detect_dropped(record) };
        let (id, content) = (dedup::short_id(&record.event.id), dedup::content(&record.raw));
        Self { program: Arc::clone(program), id, content, drop, detected }
    }

    /// Whether these are the rules it was asked of.
    pub(crate) fn is_of(&self, program: &Arc<Program>) -> bool {
        Arc::ptr_eq(&self.program, program)
    }
}

/// The workers. They end when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Stage {
    jobs: SyncSender<Arc<Batch>>,
    program: Arc<RwLock<Arc<Program>>>,
}

impl Stage {
    /// Starts so many workers.
    pub fn new(n_threads: usize, normalizer: &Normalizer, program: &Arc<Program>) -> Self {
        let (jobs, queue) = sync_channel(4 * n_threads);
        let queue = Arc::new(Mutex::new(queue));
        let program = Arc::new(RwLock::new(Arc::clone(program)));
        for _ in 0..n_threads {
            let (queue, normalizer, program) = (Arc::clone(&queue), normalizer.clone(), Arc::clone(&program));
            std::thread::spawn(move || work(&queue, &normalizer, &program));
        }
        Self { jobs, program }
    }

    /// From now on, asks these rules. What was asked of others before is asked again when its turn comes.
    pub(crate) fn replace(&self, program: &Arc<Program>) {
        *self.program.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(program);
    }

    /// Waits while the workers have enough to do.
    pub(crate) fn begin(&self, batch: &Arc<Batch>) {
        // They go on as long as anybody can send.
        let _ = self.jobs.send(Arc::clone(batch));
    }
}

fn work(queue: &Mutex<Receiver<Arc<Batch>>>, normalizer: &Normalizer, program: &RwLock<Arc<Program>>) {
    let now = || Arc::clone(&program.read().unwrap_or_else(PoisonError::into_inner));
    let mut asked = now();
    let mut detect = Detect::new(Arc::clone(&asked));
    loop {
        let batch = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return };
        let current = now();
        if !Arc::ptr_eq(&current, &asked) {
            detect = Detect::new(Arc::clone(&current));
            asked = current;
        }
        let mut done = Vec::new();
        for work in batch.take() {
            match work {
                Work::Read(text) => done.extend(read(text, normalizer, &asked, &mut detect)),
                Work::Ask(record) => done.push(SourceItem::Record(ask(record, &asked, &mut detect))),
            }
        }
        batch.finish(done);
    }
}

/// What is in a text, and what could not be read of it.
fn read(
    text: Text,
    normalizer: &Normalizer,
    program: &Arc<Program>,
    detect: &mut Detect,
) -> impl Iterator<Item = SourceItem> {
    let read = catch_unwind(AssertUnwindSafe(|| text.read(normalizer)));
    // The panic has said where. The run goes on without this one, as it does without one that cannot be read.
    let found = read.unwrap_or_else(|_| vec![Err(Unreadable::Failed)]);
    let found: Vec<_> = found.into_iter().map(|one| one.map(|record| ask(record, program, detect))).collect();
    text.found(found)
}

fn ask(mut record: Record, program: &Arc<Program>, detect: &mut Detect) -> Record {
    let prepared = catch_unwind(AssertUnwindSafe(|| Prepared::new(program, detect, &record)));
    match prepared {
        Ok(prepared) => record.prepared = Some(Box::new(prepared)),
        // It is asked again when its turn comes, by whoever asks without workers, and goes the way that it would go there.
        Err(_) => *detect = Detect::new(Arc::clone(program)),
    }
    record
}

#[cfg(test)]
mod tests;
