//! CloudTrail's delivery: records gather, and each flush writes one gzipped file where AWS would put it, at once or as late, as
//! often and in such an order as AWS does.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{shuffle, world};

/// How AWS delivers: late by minutes, some of it twice, and not in order.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub seed: u64,
    /// What a minute of lag lasts here.
    pub minute: Duration,
}

/// Minutes from a call to the file that holds it, by the share of records that came sooner: file names of 23,980 published
/// records less the records' own times.
const LAG: [(f64, f64); 6] = [(0.0, 0.3), (0.1, 0.8), (0.5, 3.0), (0.9, 6.5), (0.99, 8.9), (1.0, 10.1)];
/// The share of those records that came again in another file.
const TWICE: f64 = 0.27;

impl Manner {
    /// When each copy of a record is delivered, counted from its call.
    pub fn copies(self, state: &mut u64) -> Vec<Duration> {
        let n_copies = if shuffle::share(state) < TWICE { 2 } else { 1 };
        (0..n_copies).map(|_| self.minute.mul_f64(minutes_at(shuffle::share(state)))).collect()
    }
}

/// The lag that a share of the records stays below.
pub fn minutes_at(share: f64) -> f64 {
    let above = LAG.iter().position(|(upto, _)| share <= *upto).unwrap_or(LAG.len() - 1).max(1);
    let ((from, low), (upto, high)) = (LAG[above - 1], LAG[above]);
    low + (high - low) * (share - from) / (upto - from)
}

pub struct Trail {
    folder: PathBuf,
    manner: Option<Manner>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Instant, Value)>,
    chance: u64,
    n_files: u64,
}

impl Trail {
    /// Delivers with the next flush.
    pub fn new(folder: &Path) -> Self {
        Trail { folder: folder.to_owned(), manner: None, state: Mutex::default() }
    }

    pub fn delivering(folder: &Path, manner: Manner) -> Self {
        let state = State { chance: manner.seed, ..State::default() };
        Trail { folder: folder.to_owned(), manner: Some(manner), state: Mutex::new(state) }
    }

    pub fn add(&self, record: Value) {
        let mut state = self.state.lock().expect("no holder of the trail panics");
        let now = Instant::now();
        match self.manner {
            None => state.waiting.push((now, record)),
            Some(manner) => {
                for lag in manner.copies(&mut state.chance) {
                    state.waiting.push((now + lag, record.clone()));
                }
            }
        }
    }

    /// Whether everything was delivered.
    pub fn is_idle(&self) -> bool {
        self.state.lock().expect("no holder of the trail panics").waiting.is_empty()
    }

    /// Writes what is due, one file per region, and gives the files' paths.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn flush(&self) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state.lock().expect("no holder of the trail panics");
        let mut by_region: Vec<(String, Vec<Value>)> = Vec::new();
        let now = Instant::now();
        let (due, waiting) = state.waiting.drain(..).partition(|(at, _)| *at <= now);
        state.waiting = waiting;
        let mut due: Vec<(Instant, Value)> = due;
        if self.manner.is_some() {
            state.chance = state.chance.wrapping_add(1);
            due = shuffle::shuffled(&due, state.chance);
        }
        for (_, record) in due {
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

/// Every record in the files below a folder, as often as it was delivered.
///
/// # Errors
/// When a file cannot be read.
pub fn delivered(folder: &Path) -> io::Result<Vec<Value>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            records.extend(delivered(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "gz") {
            let mut file: Value = serde_json::from_reader(GzDecoder::new(fs::File::open(&path)?))?;
            if let Value::Array(items) = file["Records"].take() {
                records.extend(items);
            }
        }
    }
    Ok(records)
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
        GzDecoder::new(fs::File::open(&paths[0]).unwrap()).read_to_string(&mut text).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["Records"].as_array().unwrap().len(), 2);
        assert!(trail.flush().unwrap().is_empty(), "a second flush has nothing left");
    }

    #[test]
    fn lag_and_repetition_are_as_measured() {
        let manner = Manner { seed: 7, minute: Duration::from_secs(60) };
        let mut chance = manner.seed;
        let copies: Vec<Vec<Duration>> = (0..20_000).map(|_| manner.copies(&mut chance)).collect();
        let n_twice = copies.iter().filter(|copies| copies.len() == 2).count();
        assert!((5_200..5_600).contains(&n_twice), "{n_twice} of 20,000");
        let mut minutes: Vec<f64> = copies.iter().map(|copies| copies[0].as_secs_f64() / 60.0).collect();
        minutes.sort_by(f64::total_cmp);
        for (share, expected) in [(0.1, 0.8), (0.5, 3.0), (0.9, 6.5), (0.99, 8.9)] {
            let found = minutes[(share * 20_000.0) as usize];
            assert!((found - expected).abs() < 0.2, "{share}: {found} instead of {expected}");
        }
        assert!(minutes[19_999] <= 10.1);
    }
}
