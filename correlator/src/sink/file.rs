//! A line for each revision into a file that is set aside once it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::dead::ends_within_a_line;
use super::format::Format;
use super::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use crate::config::sinks::FileOutput;

/// Appends to `path`; a full file becomes `path.1`, that one `path.2`, and so on; the oldest goes.
pub(super) struct RotatedFile {
    output: FileOutput,
    format: Format,
    open: Option<Open>,
}

struct Open {
    file: File,
    n_bytes: u64,
}

impl RotatedFile {
    pub(super) fn new(output: FileOutput, format: Format) -> Self {
        Self { output, format, open: None }
    }

    /// All of them, on the disk itself, or none.
    fn append(&mut self, items: &[Item]) -> io::Result<()> {
        if !self.is_still_there() {
            self.open = None;
        }
        let lines: String = items.iter().map(|item| item.line(self.format) + "\n").collect();
        let n_new = lines.len() as u64;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.output.path)?,
        };
        if open.n_bytes > 0 && open.n_bytes + n_new > self.output.max_bytes {
            drop(open);
            self.rotate()?;
            open = Open::at(&self.output.path)?;
        }
        // Others may have cut or added to it meanwhile: log rotation by copying does.
        open.n_bytes = open.file.metadata()?.len();
        // One write call: a reader that follows the file never sees half a line of ours next to another's.
        if let Err(error) = open.file.write_all(lines.as_bytes()).and_then(|()| open.file.sync_data()) {
            // What a full disk took of it would be half a line, and come again.
            let _ = open.file.set_len(open.n_bytes);
            return Err(error);
        }
        open.n_bytes += n_new;
        self.open = Some(open);
        Ok(())
    }

    /// Whoever moves or removes the file gets a new one.
    fn is_still_there(&self) -> bool {
        let named = fs::metadata(&self.output.path);
        let held = self.open.as_ref().map(|open| open.file.metadata());
        match (named, held) {
            (Ok(named), Some(Ok(held))) => (named.dev(), named.ino()) == (held.dev(), held.ino()),
            _ => false,
        }
    }

    fn rotate(&self) -> io::Result<()> {
        let FileOutput { path, keep, .. } = &self.output;
        if *keep == 0 {
            return fs::remove_file(path);
        }
        for number in (1..*keep).rev() {
            rename_if_there(&numbered(path, number), &numbered(path, number + 1))?;
        }
        rename_if_there(path, &numbered(path, 1))
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        // As closed to everybody as the store is, which holds the same.
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)?;
        if ends_within_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        let n_bytes = file.metadata()?.len();
        Ok(Self { file, n_bytes })
    }
}

impl Transport for RotatedFile {
    fn portion(&self) -> Portion {
        // A portion never goes past a file's size by itself, unless one line does.
        let bytes = usize::try_from(self.output.max_bytes).unwrap_or(usize::MAX).min(1 << 20);
        Portion::of(256, bytes)
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        let verdict = match self.append(items) {
            Ok(()) => Verdict::Taken,
            Err(error) => {
                Verdict::Later(format!("cannot append to \"{}\": {error}", self.output.path.display()))
            }
        };
        Box::pin(std::future::ready(Answer::whole(items.len(), verdict)))
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::transport::item;
    use serde_json::{Value, json};

    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()).collect()
    }

    /// A line is `{"n":1}` and a newline: three fit.
    fn sink(path: &Path, keep: u32) -> RotatedFile {
        RotatedFile::new(FileOutput { path: path.to_owned(), max_bytes: 24, keep }, Format::Ecs)
    }

    fn write(sink: &mut RotatedFile, n: u64) {
        sink.append(&[item("a", 1, json!({ "n": n }))]).unwrap();
    }

    #[test]
    fn full_files_are_set_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        let mut sink = sink(&path, 2);
        (0..9).for_each(|n| write(&mut sink, n));
        assert_eq!(numbers(&path), [6, 7, 8]);
        assert_eq!(numbers(&numbered(&path, 1)), [3, 4, 5]);
        assert_eq!(numbers(&numbered(&path, 2)), [0, 1, 2]);
        write(&mut sink, 9);
        assert_eq!(numbers(&numbered(&path, 2)), [3, 4, 5]);
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn a_second_run_appends_and_keeps_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        (0..4).for_each(|n| write(&mut sink(&path, 1), n));
        assert_eq!(numbers(&path), [3]);
        assert_eq!(numbers(&numbered(&path, 1)), [0, 1, 2]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        let mut sink = sink(&path, 1);
        write(&mut sink, 0);
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        write(&mut sink, 1);
        assert_eq!(numbers(&path), [1]);
        assert_eq!(numbers(&folder.path().join("elsewhere")), [0]);
    }

    #[test]
    fn a_disk_that_is_full_is_told_and_leaves_no_half_line() {
        let mut sink = sink(Path::new("/dev/full"), 1);
        let items = [item("a", 1, json!({"n": 1}))];
        let answer = crate::sink::now(sink.send(&items));
        assert!(
            matches!(&answer.verdicts[..], [Verdict::Later(reason)] if reason.contains("/dev/full")),
            "{answer:?}"
        );
    }
}
