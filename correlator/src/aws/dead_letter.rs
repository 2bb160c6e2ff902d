//! Messages that cannot be read go here, whole and with the reason, and never away.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::json;
use tokio::runtime::Handle;

use super::access::{Clients, Failure, failure};
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
    Paper(Paper),
    Queue {
        url: String,
        otherwise: Option<Paper>,
    },
    /// Nowhere is set up: they stay where they are, for the queue's own policy.
    None,
}

impl Office {
    pub(super) fn new(letters: Option<&DeadLetters>) -> Self {
        match letters {
            Some(DeadLetters::File(path)) => Self::Paper(Paper::new(path)),
            Some(DeadLetters::Queue { url, otherwise }) => {
                Self::Queue { url: url.clone(), otherwise: otherwise.as_deref().map(Paper::new) }
            }
            None => Self::None,
        }
    }

    /// Puts a letter where it lasts.
    ///
    /// # Errors
    /// In words. The message must not be deleted then.
    pub(super) fn put(&self, letter: Letter<'_>, clients: &Clients, handle: &Handle) -> Result<(), String> {
        match self {
            Self::Paper(paper) => paper.put(letter),
            Self::Queue { url, otherwise } => {
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
                let Err(error) = handle.block_on(sent) else { return Ok(()) };
                let failed = failure(&error);
                let refused = format!("cannot send to \"{url}\": {}", failed.reason());
                match (failed, otherwise) {
                    // It will not take this one, as where there is no room left for a reason.
                    (Failure::Refused(_), Some(paper)) => {
                        let reason = format!("{}; {refused}", letter.reason);
                        paper.put(Letter { reason: &reason, ..letter })
                    }
                    _ => Err(refused),
                }
            }
            Self::None => {
                Err("no dead_letters or dead_letter_queue is set, so it stays in the queue".to_owned())
            }
        }
    }
}

/// A file that is written to its end.
pub(super) struct Paper {
    path: PathBuf,
    open: Mutex<Option<File>>,
}

impl Paper {
    fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), open: Mutex::default() }
    }

    fn put(&self, letter: Letter<'_>) -> Result<(), String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        append(&self.path, &mut open, letter).map_err(|error| {
            *open = None;
            format!("cannot write to \"{}\": {error}", self.path.display())
        })
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
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
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
        // A file whose name is not on the disk is gone with the power, whatever is in it.
        File::open(folder)?.sync_all()?;
        *open = Some(file);
    }
    let Some(file) = open else { return Ok(()) };
    file.write_all(line.as_bytes())?;
    file.sync_data()
}
