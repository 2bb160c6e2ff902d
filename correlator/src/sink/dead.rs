//! What no sink will ever take goes here, whole and with the reason, and never away.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rules::event::EventTime;
use serde_json::{Value, json};

use super::to_line;
use super::transport::Item;
use crate::time;

/// A file of one sink's dead letters: a JSON document to the line.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    sink: String,
}

/// One that was given up.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'l> {
    pub alert_id: &'l str,
    pub revision: u32,
    pub reason: &'l str,
    pub document: &'l Value,
}

impl<'l> Letter<'l> {
    pub fn of(item: &'l Item, reason: &'l str) -> Self {
        Self { alert_id: &item.alert_id, revision: item.revision, reason, document: &item.document }
    }
}

impl DeadLetters {
    pub fn new(path: PathBuf, sink: &str) -> Self {
        Self { path, sink: sink.to_owned() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a letter where it lasts.
    ///
    /// # Errors
    /// The disk says no. Whoever is left with the letter must keep it.
    pub fn put(&self, letter: Letter<'_>, now: EventTime) -> io::Result<()> {
        self.put_all(std::iter::once(letter), now)
    }

    /// All of them, or none. The file is opened each time: it is seldom, and whoever moved it away finds a new one.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_all<'l>(&self, letters: impl Iterator<Item = Letter<'l>>, now: EventTime) -> io::Result<()> {
        let mut text = String::new();
        for Letter { alert_id, revision, reason, document } in letters {
            let line = json!({
                "@timestamp": time::format(now),
                "sink": self.sink,
                "reason": reason,
                "alert_id": alert_id,
                "revision": revision,
                "document": document,
            });
            text += &to_line(&line);
            text.push('\n');
        }
        append(&self.path, &text)
    }
}

/// Whole lines, where they last; all of them or none.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = loop {
        let file = File::options().create(true).read(true).append(true).mode(0o600).open(path)?;
        file.lock()?;
        // Whoever takes letters out has moved it away otherwise.
        if is_at(&file, path) {
            break file;
        }
    };
    let text = if ends_within_a_line(&mut file)? { format!("\n{text}") } else { text.to_owned() };
    let n_bytes = file.metadata()?.len();
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| {
        // They come again, whole.
        let _ = file.set_len(n_bytes);
    })
}

/// Whether this is the file of that name still.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let name = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let held = file.metadata().map(name);
    held.is_ok_and(|held| std::fs::metadata(path).map(name).is_ok_and(|named| named == held))
}

/// Whether a crash, or a full disk, cut the last line short.
pub(super) fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [b'\n'];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Where a sink's dead letters go if nothing else is said: in a folder beside the store.
pub(super) fn default_path(store: &Path, sink: &str) -> PathBuf {
    store.with_file_name("dead").join(format!("{sink}.ndjson"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_whole_lines_whatever_they_say_and_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = default_path(&folder.path().join("groundtrail.db"), "siem");
        let letters = DeadLetters::new(path.clone(), "siem");
        let document = json!({"message": "two\nlines \u{202e}"});
        let letter = Letter { alert_id: "a", revision: 2, reason: "said\n\u{1b}[31mno", document: &document };
        letters.put(letter, EventTime(0)).unwrap();
        // Cut short by a crash.
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"half\":").unwrap();
        letters.put(letter, EventTime(0)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], lines[2]);
        let read: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(read["document"], document);
        assert_eq!(
            (read["reason"].as_str(), read["revision"].as_u64()),
            (Some("said\n\u{1b}[31mno"), Some(2))
        );
        crate::untrusted::corpus::assert_inert(lines[0]);
    }
}
