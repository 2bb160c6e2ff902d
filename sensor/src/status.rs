//! How the running sensor is, for whoever asks on this host: a Unix socket that answers with one JSON document.
//!
//! No port is listened on. The loop that reads the ring leaves a report here each second; a task of its own hands it out,
//! so that a question never waits for events. The one thing that can be asked for is the canary.

mod report;
mod watch;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use report::{CanaryDoc, Health, StatusDoc, WireDoc, judge};
pub use watch::Watch;

/// Where it is without systemd, which names its folder in a variable.
const DEFAULT_FOLDER: &str = "/run/groundtrail-sensor";
const FILE: &str = "status.sock";
/// What a client may say, and how long it may take.
const CANARY: &[u8] = b"canary";
const STATUS: &[u8] = b"status";
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The socket's usual place.
pub fn default_path() -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| DEFAULT_FOLDER.into(), PathBuf::from).join(FILE)
}

/// The serving end. The socket goes with it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    report: Arc<Mutex<String>>,
    canaries: mpsc::Receiver<Answer>,
}

/// Where a canary's report is waited for.
pub type Answer = oneshot::Sender<String>;

impl Server {
    /// Listens. Must be called inside the runtime.
    ///
    /// # Errors
    /// If there is no such folder and none can be made, or another sensor listens there.
    pub fn listen(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::other("another sensor answers there"));
        }
        // Left behind by one that was killed.
        match std::fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
        let report = Arc::new(Mutex::new(String::from("{}")));
        let (ask, canaries) = mpsc::channel(1);
        tokio::spawn(serve(listener, Arc::clone(&report), ask));
        Ok(Self { path: path.to_owned(), report, canaries })
    }

    pub fn publish(&self, report: &StatusDoc<'_>) {
        let text = serde_json::to_string(report).expect("reports hold text keys and finite numbers");
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Somebody who wants a canary sent.
    pub fn canary(&mut self) -> Option<Answer> {
        self.canaries.try_recv().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(listener: UnixListener, report: Arc<Mutex<String>>, ask: mpsc::Sender<Answer>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (report, ask) = (Arc::clone(&report), ask.clone());
        tokio::spawn(async move { _ = timeout(MAX_WAIT, answer(stream, &report, &ask)).await });
    }
}

async fn answer(
    mut stream: UnixStream,
    report: &Mutex<String>,
    ask: &mpsc::Sender<Answer>,
) -> io::Result<()> {
    let mut word = [0; CANARY.len()];
    stream.read_exact(&mut word).await?;
    let text = if word == CANARY {
        let (tell, told) = oneshot::channel();
        ask.send(tell).await.map_err(io::Error::other)?;
        told.await.map_err(io::Error::other)?
    } else {
        report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// What a running sensor says of itself.
///
/// # Errors
/// If none answers.
pub fn ask(path: &Path) -> io::Result<String> {
    exchange(path, STATUS)
}

/// Lets a running sensor send a canary.
///
/// # Errors
/// As [`ask`].
pub fn ask_for_canary(path: &Path) -> io::Result<String> {
    exchange(path, CANARY)
}

fn exchange(path: &Path, word: &[u8]) -> io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(2 * MAX_WAIT))?;
    stream.write_all(word)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_report_is_handed_out_and_the_socket_is_private_and_goes_with_its_server() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run/status.sock");
        let server = Server::listen(&path).expect("listening");
        *server.report.lock().expect("unpoisoned") = "{\"state\":\"running\"}".to_owned();
        let asked = path.clone();
        let told = tokio::task::spawn_blocking(move || ask(&asked)).await.expect("joined");
        assert_eq!(told.expect("answered"), "{\"state\":\"running\"}");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Server::listen(&path).is_err(), "one sensor, one socket");
        drop(server);
        assert!(!path.exists() && ask(&path).is_err());
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("status.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        Server::listen(&path).expect("listening");
    }
}
