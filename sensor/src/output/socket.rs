//! A Unix socket as output: connects as often as it takes, and keeps the newest events while nobody listens.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::gauge::{Gauge, n_lines};
use super::{Batch, Telling};

/// What waits for a listener at most: some thousands of events.
const MAX_QUEUE_BYTES: usize = 16 << 20;
const RETRY: Duration = Duration::from_millis(200);
/// How long a closing sensor waits for a listener to take the rest.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Batches of whole lines, bounded in bytes.
#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<(Vec<u8>, Option<Telling>)>,
    n_bytes: usize,
}

impl Queue {
    /// Adds a batch; makes room from the old end. Returns how many events that cost.
    fn push(&mut self, lines: Vec<u8>, told: Option<Telling>, max_bytes: usize) -> u64 {
        self.n_bytes += lines.len();
        self.batches.push_back((lines, told));
        let mut n_lost = 0;
        while self.n_bytes > max_bytes && self.batches.len() > 1 {
            n_lost += self.pop().map_or(0, |(lines, _)| n_lines(&lines));
        }
        n_lost
    }

    fn pop(&mut self) -> Option<(Vec<u8>, Option<Telling>)> {
        let (lines, told) = self.batches.pop_front()?;
        self.n_bytes -= lines.len();
        Some((lines, told))
    }

    fn n_events(&self) -> u64 {
        self.batches.iter().map(|(lines, _)| n_lines(lines)).sum()
    }
}

/// Runs until the sending end is closed and the rest is written, or nobody takes it.
pub(super) async fn run(path: PathBuf, mut receiver: UnboundedReceiver<Batch>, gauge: &Gauge) {
    let mut queue = Queue::default();
    let mut closing: Option<Instant> = None;
    let mut was_refused = false;
    loop {
        match UnixStream::connect(&path).await {
            Ok(mut stream) => {
                tracing::info!(path = %path.display(), "connected");
                was_refused = false;
                match deliver(&mut stream, &mut queue, &mut receiver, gauge).await {
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
        if !wait(&mut queue, &mut receiver, gauge, &mut closing).await {
            gauge.dropped(queue.n_events());
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
    receiver: &mut UnboundedReceiver<Batch>,
    gauge: &Gauge,
) -> io::Result<()> {
    loop {
        while let Some((lines, _)) = queue.batches.front() {
            stream.write_all(lines).await?;
            gauge.written(lines);
            gauge.works();
            if let Some((_, Some(told))) = queue.pop() {
                told.written();
            }
        }
        match receiver.recv().await {
            Some(batch) => _ = queue.push(batch.lines, batch.told, usize::MAX),
            None => return stream.shutdown().await,
        }
    }
}

/// Takes in batches until it is time to try again. False if the sensor is closing and has waited long enough.
async fn wait(
    queue: &mut Queue,
    receiver: &mut UnboundedReceiver<Batch>,
    gauge: &Gauge,
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
                // Lines that tell of it would be dropped in their turn: it is told once somebody takes lines again.
                Some(batch) => gauge.dropped(queue.push(batch.lines, batch.told, MAX_QUEUE_BYTES)),
                None => *closing = Some(Instant::now()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::UnixListener;
    use tokio::sync::oneshot;

    use super::super::{Output, OutputError};
    use super::*;
    use crate::config::OutputConfig;

    const LONG: Duration = Duration::from_secs(10);

    async fn send(output: &Output, lines: &str) {
        output.reserve(lines.len()).await.expect("open").send(lines.into());
    }

    #[test]
    fn the_queue_keeps_the_newest_and_counts_events() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(b"a\nb\n".to_vec(), None, 8), 0);
        assert_eq!(queue.push(b"c\n".to_vec(), None, 8), 0);
        assert_eq!(queue.push(b"dddd\n".to_vec(), None, 8), 2);
        assert_eq!((queue.n_events(), queue.n_bytes), (2, 7));
    }

    #[tokio::test]
    async fn lines_arrive_over_a_late_listener_and_a_reconnection() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sock");
        let output = Output::open(&OutputConfig::Socket(path.clone()), "web-1").expect("opened");
        send(&output, "early\n").await;
        sleep(RETRY * 2).await;
        let listener = UnixListener::bind(&path).expect("bound");
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.expect("readable").as_deref(), Some("early"));
        drop(lines);
        // The first write after the end may still land in the buffer of a socket that nobody reads.
        for n in 0..3 {
            send(&output, &format!("{n}\n")).await;
            sleep(RETRY).await;
        }
        let (stream, _) = listener.accept().await.expect("a connection");
        assert_eq!(output.n_lost(), (0, 0));
        let finished = tokio::spawn(output.finish(LONG));
        let mut lines = BufReader::new(stream).lines();
        let mut last = None;
        while let Some(line) = lines.next_line().await.expect("readable") {
            last = Some(line);
        }
        assert_eq!(last.as_deref(), Some("2"));
        finished.await.expect("ends").expect("all of it was taken");
    }

    #[tokio::test]
    async fn what_an_absence_costs_can_be_told_once_lines_are_taken_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sock");
        let output = Output::open(&OutputConfig::Socket(path.clone()), "web-1").expect("opened");
        let (written, mut fate) = oneshot::channel();
        let told = Some(Telling { lines: 0..5, spool: None, written });
        output.reserve(5).await.expect("open").send_telling(b"lost\n".to_vec(), told);
        let mebibyte = "0123456\n".repeat(1 << 17);
        for _ in 0..18 {
            send(&output, &mebibyte).await;
        }
        assert!(tokio::time::timeout(LONG, &mut fate).await.expect("known").is_err(), "it was dropped");
        let is_dropped = async {
            while output.n_lost() != (0, (2 << 17) + 1) {
                sleep(RETRY / 10).await;
            }
        };
        tokio::time::timeout(LONG, is_dropped).await.expect("counted, and not to be told yet");
        let listener = UnixListener::bind(&path).expect("bound");
        let (stream, _) = listener.accept().await.expect("a connection");
        let (written, fate) = oneshot::channel();
        let told = Some(Telling { lines: 0..5, spool: None, written });
        output.reserve(5).await.expect("open").send_telling(b"lost\n".to_vec(), told);
        let mut lines = BufReader::new(stream).lines();
        while lines.next_line().await.expect("readable").expect("more") != "lost" {}
        fate.await.expect("written");
        assert_eq!(output.n_lost(), ((2 << 17) + 1, 0));
    }

    #[tokio::test]
    async fn what_nobody_takes_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let output = Output::open(&OutputConfig::Socket(dir.path().join("sock")), "web-1").expect("opened");
        send(&output, "1\n2\n").await;
        let err = output.finish(LONG).await.expect_err("nobody came");
        assert!(matches!(err, OutputError::Untaken { n_lost: 2 }), "{err}");
    }
}
