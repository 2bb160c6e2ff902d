//! Messages that cannot be read go here, whole and with the reason, and never away.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::json;
use tokio::runtime::Handle;

use super::access::{Clients, failure};
use crate::config::aws::DeadLetters;

/// A message that is set aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'m> {
    pub(super) queue: &'m str,
    pub(super) id: &'m str,
    pub(super) n_receives: u32,
    pub(super) reason: &'m str,
    pub(super) body: &'m str,
    /// When, as RFC 3339.
    pub(super) at: &'m str,
}

/// Where they go.
pub(super) enum Office {
    File {
        path: PathBuf,
        open: Mutex<Option<File>>,
    },
    Queue {
        url: String,
    },
    /// Nowhere is set up: they stay where they are, for the queue's own policy.
    None,
}

impl Office {
    pub(super) fn new(letters: Option<&DeadLetters>) -> Self {
        match letters {
            Some(DeadLetters::File(path)) => Self::File { path: path.clone(), open: Mutex::default() },
            Some(DeadLetters::Queue(url)) => Self::Queue { url: url.clone() },
            None => Self::None,
        }
    }

    /// Puts a letter where it lasts.
    ///
    /// # Errors
    /// In words. The message must not be deleted then.
    pub(super) fn put(&self, letter: Letter<'_>, clients: &Clients, handle: &Handle) -> Result<(), String> {
        match self {
            Self::File { path, open } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                append(path, &mut open, letter).map_err(|error| {
                    *open = None;
                    format!("cannot write to \"{}\": {error}", path.display())
                })
            }
            Self::Queue { url } => {
                let attribute = |text: &str| {
                    // An attribute must not be empty, and a message with all of its attributes not too long.
                    let text: String = text.chars().take(1_000).collect();
                    let text = if text.is_empty() { "unknown".to_owned() } else { text };
                    MessageAttributeValue::builder().data_type("String").string_value(text).build()
                };
                let reason = attribute(letter.reason).map_err(|error| error.to_string())?;
                let from = attribute(letter.queue).map_err(|error| error.to_string())?;
                let sent = clients
                    .sqs
                    .send_message()
                    .queue_url(url)
                    .message_body(letter.body)
                    .message_attributes("groundtrail.reason", reason)
                    .message_attributes("groundtrail.queue", from)
                    .send();
                let sent = handle.block_on(sent);
                sent.map(|_| ())
                    .map_err(|error| format!("cannot send to \"{url}\": {}", failure(&error).reason()))
            }
            Self::None => {
                Err("no dead_letters or dead_letter_queue is set, so it stays in the queue".to_owned())
            }
        }
    }
}

fn append(path: &Path, open: &mut Option<File>, letter: Letter<'_>) -> io::Result<()> {
    let mut line = json!({
        "@timestamp": letter.at,
        "reason": letter.reason,
        "queue": letter.queue,
        "message_id": letter.id,
        "receive_count": letter.n_receives,
        "body": letter.body,
    })
    .to_string();
    line.push('\n');
    // A file that was moved away or removed is made anew.
    if !path.exists() {
        *open = None;
    }
    if open.is_none() {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        // Notifications name accounts and buckets: for the owner alone.
        let mut file = File::options().create(true).read(true).append(true).mode(0o600).open(path)?;
        // A line that a crash left half written stays one of its own.
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
        *open = Some(file);
    }
    let Some(file) = open else { return Ok(()) };
    file.write_all(line.as_bytes())?;
    file.sync_data()
}
