//! Where lines go: stdout, a file, or a Unix socket. It knows bytes and lines, not what they mean.

mod socket;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{Permit, Receiver, Sender, channel};

use crate::config::OutputConfig;
use crate::private;

/// Batches that may wait for the writer. A full channel makes the reader wait, and the ring then counts what it loses.
const MAX_BATCHES: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("cannot open \"{path}\" for events: check that its folder exists and is writable")]
    Open { path: String, source: io::Error },
    #[error("cannot write events")]
    Write { source: io::Error },
}

/// The sending end. Lines are written in the order they were sent.
#[derive(Debug)]
pub struct Output {
    sender: Sender<Vec<u8>>,
    writer: Writer,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Writer {
    Thread(std::thread::JoinHandle<io::Result<()>>),
    Task(tokio::task::JoinHandle<()>),
}

impl Output {
    /// Opens the output. Must be called inside the runtime.
    ///
    /// # Errors
    /// `Open` if a file cannot be. A socket that is not there yet is waited for instead.
    pub fn open(config: &OutputConfig) -> Result<Self, OutputError> {
        let (sender, receiver) = channel(MAX_BATCHES);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = match config {
            OutputConfig::Stdout => {
                Writer::Thread(std::thread::spawn(move || write_all(receiver, io::stdout())))
            }
            OutputConfig::File(path) => {
                let file = append_to(path)?;
                Writer::Thread(std::thread::spawn(move || write_all(receiver, file)))
            }
            OutputConfig::Socket(path) => {
                Writer::Task(tokio::spawn(socket::run(path.clone(), receiver, Arc::clone(&lost))))
            }
        };
        Ok(Self { sender, writer, lost })
    }

    /// A place for one batch; waits while the writer is behind. Nothing once there is no writer any more.
    pub async fn reserve(&self) -> Option<Permit<'_, Vec<u8>>> {
        self.sender.reserve().await.ok()
    }

    /// Events that were taken and then dropped, because nobody listened for too long.
    pub fn n_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes what is under way and closes.
    ///
    /// # Errors
    /// What stopped the writer. A reader that went away is no error: `… | head` is a usual thing to say.
    pub async fn finish(self) -> Result<(), OutputError> {
        drop(self.sender);
        let result = match self.writer {
            Writer::Thread(thread) => {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                joined.map_err(io::Error::other).and_then(|result| result.expect("the writer does not panic"))
            }
            Writer::Task(task) => task.await.map_err(io::Error::other),
        };
        match result {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|source| OutputError::Write { source }),
        }
    }
}

fn append_to(path: &Path) -> Result<File, OutputError> {
    private::append_to(path).map_err(|source| OutputError::Open { path: path.display().to_string(), source })
}

fn write_all(mut receiver: Receiver<Vec<u8>>, mut to: impl Write) -> io::Result<()> {
    while let Some(batch) = receiver.blocking_recv() {
        to.write_all(&batch)?;
        to.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_appended_to_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.ndjson");
        for line in ["one\n", "two\n"] {
            let output = Output::open(&OutputConfig::File(path.clone())).expect("opened");
            output.reserve().await.expect("a writer").send(line.into());
            output.finish().await.expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "one\ntwo\n");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_named() {
        let err = Output::open(&OutputConfig::File("/nowhere/events".into())).expect_err("no such folder");
        assert_eq!(
            err.to_string(),
            "cannot open \"/nowhere/events\" for events: check that its folder exists and is writable"
        );
    }
}
