//! Digests that a queue tells of, and the log files in them: are they there, and as CloudTrail wrote them?

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::access::Failure;
use super::queue::{Shared, Verdict, refused_object, worse};
use crate::hex::hex;
use crate::merge::Closed;
use crate::source::RejectedKind;
use crate::source::digest::{Digest, Finding, LogFile, PublicKeys, Signed};
use crate::source::feed::{Feed, INTERRUPTED, Outcome};
use crate::source::layout::Kind;
use crate::source::notice::ObjectAt;

/// A digest of a busy hour has some thousand files at 500 bytes each.
const MAX_DIGEST_BYTES: u64 = 64 << 20;

/// What a look at a log file came to.
enum Looked {
    Hash([u8; 32]),
    Missing,
    /// There is something, and what it hashes to cannot be said.
    Unchecked(String),
    /// Nothing can be said yet, and this is to become of the digest.
    Not(Verdict),
}

impl Shared<'_> {
    /// Holds a digest to what it says of itself, and the log files in it to what it says of them. One that was not read
    /// since the start is read now: its events are known, or were missing.
    pub(super) fn read_digest(&self, object: &ObjectAt, feed: &Feed<'_>) -> Result<Verdict, Closed> {
        let name = format!("s3://{}/{}", object.bucket, object.key);
        let (text, key, signature) = match self.whole(object) {
            Ok(whole) => whole,
            Err(refused) => return refused_object(&name, &refused, feed),
        };
        let digest = match Digest::parse(&text) {
            Ok(digest) => digest,
            Err(reason) => {
                feed.reject(name, reason.clone(), RejectedKind::Object, &mut Outcome::default())?;
                return Ok(Verdict::Dead(reason));
            }
        };
        let tell = |finding: Finding<'_>| {
            let event = digest.event(finding);
            warn!(digest = name.as_str(), event = event.as_str(), "a finding of CloudTrail's digests");
            feed.document(&event, &|| name.clone(), &mut Outcome::default())
        };
        if !digest.is_at(&object.bucket, &key) {
            tell(Finding::Misplaced)?;
        }
        if let Some(keys) = self.keys.look(feed)? {
            match digest.is_signed(signature.as_deref(), &keys) {
                Signed::Yes => {}
                Signed::No => tell(Finding::SignatureInvalid)?,
                // Whoever writes a digest of their own names a key that nobody has.
                Signed::Unknown => tell(Finding::SignatureUnknown)?,
            }
        }
        let mut verdict = Verdict::Done;
        if let Some((bucket, before)) = digest.previous() {
            match self.whole(&at(bucket, before)) {
                Ok((text, _, _)) => {
                    if let Some(found) = digest.altered_previous(&text) {
                        tell(Finding::PreviousAltered(&found))?;
                    }
                }
                Err(Failure::Missing(_)) => tell(Finding::PreviousMissing)?,
                Err(refused) => verdict = refused_object(&format!("s3://{bucket}/{before}"), &refused, feed)?,
            }
        }
        for file in digest.log_files.iter().filter(|file| file.is_sha256()) {
            let looked = match self.hashes.get(&file.bucket, &file.object) {
                Some(hash) => Looked::Hash(hash),
                None => self.look_at(file, feed)?,
            };
            match looked {
                Looked::Hash(hash) if hex(&hash).eq_ignore_ascii_case(&file.hash) => {}
                Looked::Hash(hash) => tell(Finding::FileAltered(file, &hex(&hash)))?,
                Looked::Missing => tell(Finding::FileMissing(file))?,
                Looked::Unchecked(reason) => tell(Finding::FileUnchecked(file, &reason))?,
                Looked::Not(other) => verdict = worse(verdict, other),
            }
        }
        Ok(verdict)
    }

    /// Reads a log file for its events and its hash; where the configuration leaves it out, for its hash alone.
    fn look_at(&self, file: &LogFile, feed: &Feed<'_>) -> Result<Looked, Closed> {
        let name = format!("s3://{}/{}", file.bucket, file.object);
        let is_left_out = self.queue.keys.leaves_out(&file.object).is_some();
        let mut outcome = Outcome::default();
        // What cannot be read to its end as records may still be hashed.
        for is_fed in [true, false] {
            if is_fed && is_left_out {
                continue;
            }
            let reader = match self.open(&at(&file.bucket, &file.object)) {
                Ok(reader) => reader,
                Err(Failure::Missing(_)) => return Ok(Looked::Missing),
                Err(refused) => return refused_object(&name, &refused, feed).map(Looked::Not),
            };
            outcome = if is_fed { feed.object(&name, Kind::CloudTrail, reader)? } else { feed.hash(reader) };
            if outcome.is_interrupted || outcome.sha256.is_some() {
                break;
            }
        }
        let fault = outcome.first_fault.unwrap_or_default();
        Ok(match outcome.sha256 {
            _ if outcome.is_interrupted => Looked::Not(Verdict::Later(format!("{name}: {fault}"))),
            Some(hash) => {
                self.hashes.put(&file.bucket, &file.object, hash);
                Looked::Hash(hash)
            }
            None => Looked::Unchecked(fault),
        })
    }

    /// A small object unpacked, the key it was found at, and its signature.
    fn whole(&self, object: &ObjectAt) -> Result<(Vec<u8>, String, Option<String>), Failure> {
        let reader = self.open(object)?;
        let (key, signature) = (reader.key().to_owned(), reader.signature().map(str::to_owned));
        let mut text = Vec::new();
        let mut unpacked = MultiGzDecoder::new(BufReader::new(reader)).take(MAX_DIGEST_BYTES + 1);
        match unpacked.read_to_end(&mut text) {
            Ok(_) if text.len() as u64 > MAX_DIGEST_BYTES => Err(Failure::Never(format!(
                "unpacks to more than {MAX_DIGEST_BYTES} bytes, which no digest does"
            ))),
            Ok(_) => Ok((text, key, signature)),
            Err(error) if error.kind() == INTERRUPTED => Err(Failure::Unreachable(error.to_string())),
            Err(error) => Err(Failure::Never(format!("cannot be unpacked: {error}"))),
        }
    }
}

fn at(bucket: &str, key: &str) -> ObjectAt {
    ObjectAt { bucket: bucket.to_owned(), key: key.to_owned(), other_key: None, region: None }
}

/// By what a file is known to be another: when it was written, its length, and which one it is.
type Stamp = (SystemTime, u64, u64);

/// The keys that digests are held to: read again when their file changes, as they do every few weeks.
pub(super) struct Keys {
    path: Option<PathBuf>,
    held: Mutex<(Option<Stamp>, Arc<PublicKeys>)>,
}

impl Keys {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, held: Mutex::default() }
    }

    /// The keys as they are now; none where there shall be none. A file that cannot be read is said once, and the keys of
    /// before go on being used.
    pub(super) fn look(&self, feed: &Feed<'_>) -> Result<Option<Arc<PublicKeys>>, Closed> {
        let Some(path) = &self.path else { return Ok(None) };
        let (keys, fault) = self.read();
        if let Some(fault) = fault {
            let reason = format!("{fault}; signatures of digests are held to the keys of before, or to none");
            let at = path.display().to_string();
            feed.reject(at, reason, RejectedKind::Object, &mut Outcome::default())?;
        }
        Ok(Some(keys))
    }

    fn read(&self) -> (Arc<PublicKeys>, Option<String>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return (Arc::clone(&held.1), None) };
        let stamp = fs::metadata(path)
            .and_then(|data| Ok((data.modified()?, data.len(), data.ino())))
            .unwrap_or((SystemTime::UNIX_EPOCH, 0, 0));
        if held.0 == Some(stamp) {
            return (Arc::clone(&held.1), None);
        }
        held.0 = Some(stamp);
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        match text.and_then(|text| PublicKeys::parse(&text)) {
            Ok(keys) => {
                held.1 = Arc::new(keys);
                (Arc::clone(&held.1), None)
            }
            Err(reason) => (Arc::clone(&held.1), Some(reason)),
        }
    }
}

/// Log files are remembered by hash until their digest comes, an hour later or two. With more than these, the oldest are read again.
const MAX_HASHES: usize = 100_000;

/// What was read, by the hash of its name.
#[derive(Default)]
pub(super) struct Hashes(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    by_name: HashMap<[u8; 32], [u8; 32]>,
    /// Names, the oldest first.
    order: VecDeque<[u8; 32]>,
}

impl Hashes {
    fn name(bucket: &str, key: &str) -> [u8; 32] {
        Sha256::digest(format!("{bucket}/{key}").as_bytes()).into()
    }

    pub(super) fn put(&self, bucket: &str, key: &str, hash: [u8; 32]) {
        let name = Self::name(bucket, key);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.by_name.insert(name, hash).is_none() {
            held.order.push_back(name);
        }
        if held.order.len() > MAX_HASHES
            && let Some(oldest) = held.order.pop_front()
        {
            held.by_name.remove(&oldest);
        }
    }

    fn get(&self, bucket: &str, key: &str) -> Option<[u8; 32]> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.by_name.get(&Self::name(bucket, key)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_again_when_their_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let keys = Keys::new(Some(path.clone()));
        let (none, fault) = keys.read();
        assert!(fault.is_some(), "a file that is not there is said");
        assert_eq!(keys.read(), (Arc::clone(&none), None), "once");
        fs::write(&path, include_str!("../source/digest/keys.json")).unwrap();
        let (some, fault) = keys.read();
        assert!(some != none && fault.is_none());
        fs::write(&path, "[").unwrap();
        let (kept, fault) = keys.read();
        assert!(kept == some && fault.is_some(), "half written: those of before");
        assert_eq!(keys.read(), (some, None));
    }
}
