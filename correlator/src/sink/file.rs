//! NDJSON into a file that is set aside once it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Sink;
use super::ndjson::to_line;
use crate::config::FileOutput;

/// Appends to `path`; a full file becomes `path.1`, that one `path.2`, and so on; the oldest goes.
pub struct RotatedFile {
    output: FileOutput,
    file: File,
    written: u64,
}

impl RotatedFile {
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(output: FileOutput) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&output.path)?;
        let written = file.metadata()?.len();
        Ok(Self { output, file, written })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let FileOutput { path, keep, .. } = &self.output;
        if *keep == 0 {
            fs::remove_file(path)?;
        } else {
            for number in (1..*keep).rev() {
                rename_if_there(&numbered(path, number), &numbered(path, number + 1))?;
            }
            rename_if_there(path, &numbered(path, 1))?;
        }
        self.file = OpenOptions::new().create(true).append(true).open(path)?;
        self.written = self.file.metadata()?.len();
        Ok(())
    }
}

impl Sink for RotatedFile {
    fn write(&mut self, alert: &Value) -> io::Result<()> {
        let line = to_line(alert) + "\n";
        let n_bytes = line.len() as u64;
        if self.written > 0 && self.written + n_bytes > self.output.max_bytes {
            self.rotate()?;
        }
        // One write call: a reader that follows the file never sees half a line of ours next to another's.
        self.file.write_all(line.as_bytes())?;
        self.written += n_bytes;
        Ok(())
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
    use serde_json::json;

    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()).collect()
    }

    #[test]
    fn full_files_are_set_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        // A line is `{"n":1}` and a newline: three fit.
        let output = FileOutput { path: path.clone(), max_bytes: 24, keep: 2 };
        let mut sink = RotatedFile::open(output).unwrap();
        for n in 0..9 {
            sink.write(&json!({ "n": n })).unwrap();
        }
        assert_eq!(numbers(&path), [6, 7, 8]);
        assert_eq!(numbers(&numbered(&path, 1)), [3, 4, 5]);
        assert_eq!(numbers(&numbered(&path, 2)), [0, 1, 2]);
        sink.write(&json!({ "n": 9 })).unwrap();
        assert_eq!(numbers(&numbered(&path, 2)), [3, 4, 5]);
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn a_second_run_appends_and_keeps_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        let output = FileOutput { path: path.clone(), max_bytes: 24, keep: 1 };
        for n in 0..4 {
            RotatedFile::open(output.clone()).unwrap().write(&json!({ "n": n })).unwrap();
        }
        assert_eq!(numbers(&path), [3]);
        assert_eq!(numbers(&numbered(&path, 1)), [0, 1, 2]);
    }
}
