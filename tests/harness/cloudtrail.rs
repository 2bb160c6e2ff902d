//! CloudTrail's delivery: records gather, and each flush writes one gzipped file where AWS would put it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world;

pub struct Trail {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Value>,
    n_files: u64,
}

impl Trail {
    pub fn new(folder: &Path) -> Self {
        Trail { folder: folder.to_owned(), state: Mutex::default() }
    }

    pub fn add(&self, record: Value) {
        self.state.lock().expect("no holder of the trail panics").waiting.push(record);
    }

    /// Writes what is waiting, one file per region, and gives the files' paths.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn flush(&self) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state.lock().expect("no holder of the trail panics");
        let mut by_region: Vec<(String, Vec<Value>)> = Vec::new();
        for record in state.waiting.drain(..) {
            let region = record["awsRegion"].as_str().unwrap_or(world::REGION).to_owned();
            match by_region.iter_mut().find(|(name, _)| *name == region) {
                Some((_, records)) => records.push(record),
                None => by_region.push((region, vec![record])),
            }
        }
        let mut paths = Vec::new();
        for (region, records) in by_region {
            state.n_files += 1;
            let salt = crate::digest::hex(&format!("{}/{}", std::process::id(), state.n_files));
            let name = object_name(&region, Timestamp::now(), &salt);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(json!({ "Records": records }).to_string().as_bytes())?;
            paths.push(put(&self.folder, &name, &gzip.finish()?)?);
        }
        Ok(paths)
    }
}

/// Puts a whole object in place at once, as S3 does: a reader sees all of it or nothing.
///
/// # Errors
/// When the folder cannot be written.
pub fn put(folder: &Path, key: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(key);
    let parent = path.parent().expect("a key has a folder");
    fs::create_dir_all(parent)?;
    let partial = folder.join(format!(".{}.partial", crate::digest::hex(key)));
    fs::write(&partial, bytes)?;
    fs::rename(&partial, &path)?;
    Ok(path)
}

/// `AWSLogs/ACCT/CloudTrail/REGION/Y/M/D/ACCT_CloudTrail_REGION_YYYYMMDDTHHmmZ_<16>.json.gz`
fn object_name(region: &str, at: Timestamp, salt: &str) -> String {
    let account = world::ACCOUNT;
    let unique: String = salt.chars().take(16).map(|digit| digit.to_ascii_uppercase()).collect();
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/{}/{account}_CloudTrail_{region}_{}_{unique}.json.gz",
        at.strftime("%Y/%m/%d"),
        at.strftime("%Y%m%dT%H%MZ"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_flush_is_one_file_where_aws_puts_it() {
        let folder = tempfile::tempdir().unwrap();
        let trail = Trail::new(folder.path());
        for id in ["a", "b"] {
            trail.add(json!({ "eventID": id, "awsRegion": "us-east-1" }));
        }
        let paths = trail.flush().unwrap();
        assert_eq!(paths.len(), 1);
        let key = paths[0].strip_prefix(folder.path()).unwrap().to_str().unwrap();
        assert!(key.starts_with("AWSLogs/111122223333/CloudTrail/us-east-1/2"), "{key}");
        assert!(key.contains("/111122223333_CloudTrail_us-east-1_2") && key.ends_with(".json.gz"), "{key}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(fs::File::open(&paths[0]).unwrap()).read_to_string(&mut text).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["Records"].as_array().unwrap().len(), 2);
        assert!(trail.flush().unwrap().is_empty(), "a second flush has nothing left");
    }
}
