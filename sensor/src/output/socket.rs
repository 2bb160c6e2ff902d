//! A Unix socket as output: connects as often as it takes, and keeps the newest events while nobody listens.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

/// What waits for a listener at most: some thousands of events.
const MAX_QUEUE_BYTES: usize = 16 << 20;
const RETRY: Duration = Duration::from_millis(200);
/// How long a closing sensor waits for a listener to take the rest.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Batches of whole lines, bounded in bytes.
#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Vec<u8>>,
    n_bytes: usize,
}

impl Queue {
    /// Adds a batch; makes room from the old end. Returns how many events that cost.
    fn push(&mut self, batch: Vec<u8>, max_bytes: usize) -> u64 {
        self.n_bytes += batch.len();
        self.batches.push_back(batch);
        let mut n_lost = 0;
        while self.n_bytes > max_bytes && self.batches.len() > 1 {
            n_lost += self.pop().map_or(0, |batch| n_lines(&batch));
        }
        n_lost
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let batch = self.batches.pop_front()?;
        self.n_bytes -= batch.len();
        Some(batch)
    }

    fn n_events(&self) -> u64 {
        self.batches.iter().map(|batch| n_lines(batch)).sum()
    }
}

fn n_lines(batch: &[u8]) -> u64 {
    batch.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Runs until the sending end is closed and the rest is written, or nobody takes it.
pub(super) async fn run(path: PathBuf, mut receiver: Receiver<Vec<u8>>, lost: Arc<AtomicU64>) {
    let mut queue = Queue::default();
    let mut closing: Option<Instant> = None;
    let mut was_refused = false;
    loop {
        match UnixStream::connect(&path).await {
            Ok(mut stream) => {
                tracing::info!(path = %path.display(), "connected");
                was_refused = false;
                match deliver(&mut stream, &mut queue, &mut receiver).await {
                    Ok(()) => return,
                    Err(err) => {
                        tracing::warn!(path = %path.display(), %err, "listener went away, connecting again")
                    }
                }
            }
            Err(err) if !was_refused => {
                was_refused = true;
                tracing::warn!(path = %path.display(), %err, "nobody listens yet, events are kept");
            }
            Err(_) => {}
        }
        if !wait(&mut queue, &mut receiver, &lost, &mut closing).await {
            lost.fetch_add(queue.n_events(), Ordering::Relaxed);
            tracing::warn!(n_events = queue.n_events(), "nobody took the last events");
            return;
        }
    }
}

/// Writes until the sending end is closed. A batch that was cut short by the listener's end is sent whole again:
/// events have ids, and twice is better than never.
async fn deliver(
    stream: &mut UnixStream,
    queue: &mut Queue,
    receiver: &mut Receiver<Vec<u8>>,
) -> io::Result<()> {
    loop {
        while let Some(batch) = queue.batches.front() {
            stream.write_all(batch).await?;
            queue.pop();
        }
        match receiver.recv().await {
            Some(batch) => _ = queue.push(batch, usize::MAX),
            None => return stream.shutdown().await,
        }
    }
}

/// Takes in batches until it is time to try again. False if the sensor is closing and has waited long enough.
async fn wait(
    queue: &mut Queue,
    receiver: &mut Receiver<Vec<u8>>,
    lost: &AtomicU64,
    closing: &mut Option<Instant>,
) -> bool {
    let retry_at = Instant::now() + RETRY;
    loop {
        if let Some(since) = *closing {
            sleep(RETRY).await;
            return since.elapsed() < LAST_WORDS && !queue.batches.is_empty();
        }
        tokio::select! {
            () = sleep_until(retry_at) => return true,
            batch = receiver.recv() => match batch {
                Some(batch) => _ = lost.fetch_add(queue.push(batch, MAX_QUEUE_BYTES), Ordering::Relaxed),
                None => *closing = Some(Instant::now()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::UnixListener;
    use tokio::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_queue_keeps_the_newest_and_counts_events() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(b"a\nb\n".to_vec(), 8), 0);
        assert_eq!(queue.push(b"c\n".to_vec(), 8), 0);
        assert_eq!(queue.push(b"dddd\n".to_vec(), 8), 2);
        assert_eq!((queue.n_events(), queue.n_bytes), (2, 7));
    }

    #[tokio::test]
    async fn lines_arrive_over_a_late_listener_and_a_reconnection() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sock");
        let (sender, receiver) = channel(4);
        let lost = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(path.clone(), receiver, Arc::clone(&lost)));
        sender.send(b"early\n".to_vec()).await.expect("open");
        sleep(RETRY * 2).await;
        let listener = UnixListener::bind(&path).expect("bound");
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.expect("readable").as_deref(), Some("early"));
        drop(lines);
        // The first write after the end may still land in the buffer of a socket that nobody reads.
        for n in 0..3 {
            sender.send(format!("{n}\n").into_bytes()).await.expect("open");
            sleep(RETRY).await;
        }
        let (stream, _) = listener.accept().await.expect("a connection");
        drop(sender);
        let mut lines = BufReader::new(stream).lines();
        let mut last = None;
        while let Some(line) = lines.next_line().await.expect("readable") {
            last = Some(line);
        }
        assert_eq!(last.as_deref(), Some("2"));
        task.await.expect("ends");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let (sender, receiver) = channel(4);
        let lost = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(dir.path().join("sock"), receiver, Arc::clone(&lost)));
        sender.send(b"1\n2\n".to_vec()).await.expect("open");
        drop(sender);
        task.await.expect("ends");
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }
}
