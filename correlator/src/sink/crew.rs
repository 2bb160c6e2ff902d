//! All sinks of a run: their queues for the store, their workers, and their end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::account::Account;
use super::dead::{self, DeadLetters, Letter};
use super::transport::Item;
use super::worker::{Retry, Worker};
use super::{SinkError, open};
use crate::config::sinks::{Sink, duration};
use crate::health::Board;
use crate::store::{Queue, Reader, Store, StoreError, Waiting};
use crate::time::{Clock as _, SystemClock};

/// How long the last alerts of a run may take to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the sinks of a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the sink \"{sink}\": {source}")]
    Sink { sink: String, source: SinkError },
    #[error("what waits for the sink \"{sink}\", which the configuration has no more, cannot be set aside in \"{}\": {source}", path.display())]
    SetAside { sink: String, path: PathBuf, source: std::io::Error },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// The workers of a run.
pub struct Crew {
    closing: watch::Sender<Option<Instant>>,
    ended: Vec<(Arc<str>, std::sync::mpsc::Receiver<()>)>,
}

impl Crew {
    /// Has the store feed these sinks, and starts a worker for each.
    ///
    /// # Errors
    /// A sink's settings cannot be used, or the store cannot be read.
    pub fn start(sinks: &[Sink], store: &mut Store, path: &Path, board: &Board) -> Result<Self, CrewError> {
        set_strangers_aside(sinks, store, path)?;
        let (closing, closes) = watch::channel(None);
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        for sink in sinks {
            let name: Arc<str> = sink.name.as_str().into();
            let failed = |source| CrewError::Sink { sink: sink.name.clone(), source };
            let account: Arc<Account> = Arc::default();
            queues.push(Queue {
                sink: Arc::clone(&name),
                min_severity: sink.min_severity,
                repeat: sink.repeat,
                max_len: sink.max_queued.into(),
                max_bytes: sink.max_queued_bytes,
                line: Arc::clone(account.line()),
            });
            board.add_sink(Arc::clone(&name), Arc::clone(&account));
            let dead = sink.dead_letters.clone().unwrap_or_else(|| dead::default_path(path, &name));
            workers.push(Worker {
                reader: Reader::open(path, Arc::clone(&name))?,
                transport: open(sink).map_err(failed)?,
                account,
                dead: DeadLetters::new(dead, &name),
                retry: Retry {
                    first: duration(sink.retry_from),
                    longest: duration(sink.retry_to),
                    give_up_after: sink.give_up_after,
                },
                timeout: duration(sink.timeout),
                closing: closes.clone(),
                sink: name,
            });
        }
        store.feed(queues)?;
        let ended = workers.into_iter().map(spawn).collect::<Result<_, _>>();
        Ok(Self { closing, ended: ended.map_err(CrewError::Thread)? })
    }

    /// Lets what is queued leave, within reason. What does not waits for the next run.
    pub fn finish(self) {
        let deadline = Instant::now() + PATIENCE;
        self.closing.send_replace(Some(deadline));
        for (sink, ended) in self.ended {
            // A worker whose disk or peer hangs is left behind: the process ends without it.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(500);
            if ended.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                warn!(sink = &*sink, "the sink hangs: what it did not take waits for the next run");
            }
        }
    }
}

fn spawn(worker: Worker) -> std::io::Result<(Arc<str>, std::sync::mpsc::Receiver<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sink = Arc::clone(&worker.sink);
    // Gone when the thread is, however it ends.
    let (alive, ended) = std::sync::mpsc::sync_channel::<()>(0);
    std::thread::Builder::new().name(format!("sink {sink}")).spawn(move || {
        let _alive = alive;
        runtime.block_on(worker.run());
        // A name that is being looked up cannot be called off, and need not be waited for.
        runtime.shutdown_background();
    })?;
    Ok((sink, ended))
}

/// What waits for a sink that was renamed or taken out is kept where a person finds it: no queue may grow old unseen.
fn set_strangers_aside(sinks: &[Sink], store: &mut Store, path: &Path) -> Result<(), CrewError> {
    for stranger in store.waited_for()? {
        if sinks.iter().any(|sink| sink.name == stranger) {
            continue;
        }
        let letters = DeadLetters::new(dead::default_path(path, &stranger), &stranger);
        let reader = Reader::open(path, stranger.as_str().into())?;
        let (mut after, mut n_letters) = (0, 0_u64);
        loop {
            let waiting = reader.next(after, 1_024, 16 << 20)?;
            let Some(last) = waiting.last() else { break };
            after = last.seq;
            n_letters += waiting.len() as u64;
            let item = |waiting: Waiting| match Item::of(waiting) {
                Ok(item) => item,
                Err((waiting, _)) => Item::unread(&waiting),
            };
            let items: Vec<Item> = waiting.into_iter().map(item).collect();
            let reason = "the configuration has no sink of this name any more";
            // Written to the disk together: of ten thousand, one by one, a start would take minutes.
            letters.put_all(items.iter().map(|item| Letter::of(item, reason)), SystemClock.now()).map_err(
                |source| CrewError::SetAside {
                    sink: stranger.clone(),
                    path: letters.path().to_owned(),
                    source,
                },
            )?;
        }
        store.forget_sink(&stranger)?;
        info!(
            sink = stranger.as_str(),
            alerts = n_letters,
            dead_letters = %letters.path().display(),
            "what waited for a sink that is no more was set aside"
        );
    }
    Ok(())
}
