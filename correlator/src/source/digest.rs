//! CloudTrail's digests: each lists the log files of an hour with their hashes, is signed, and names the one before it. So a
//! log file that is missing or was changed can be told, and a digest that is.
//!
//! Pure: what a digest says, whether a signature is AWS's, and the event that a finding becomes. Reading is the caller's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// The dataset of what feeds say about themselves.
pub(crate) const DATASET: &str = "groundtrail.feed";

/// One digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Digest {
    aws_account_id: String,
    digest_end_time: String,
    digest_s3_bucket: String,
    digest_s3_object: String,
    digest_public_key_fingerprint: Option<String>,
    #[serde(default)]
    previous_digest_s3_bucket: Option<String>,
    #[serde(default)]
    previous_digest_s3_object: Option<String>,
    #[serde(default)]
    previous_digest_hash_value: Option<String>,
    #[serde(default)]
    previous_digest_signature: Option<String>,
    #[serde(default)]
    pub(crate) log_files: Vec<LogFile>,
    #[serde(skip)]
    sha256: String,
}

/// A log file as its digest knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogFile {
    #[serde(rename = "s3Bucket")]
    pub(crate) bucket: String,
    #[serde(rename = "s3Object")]
    pub(crate) object: String,
    /// Of the unpacked content, in hexadecimal digits.
    #[serde(rename = "hashValue")]
    pub(crate) hash: String,
    #[serde(default)]
    hash_algorithm: Option<String>,
}

impl LogFile {
    /// By another function than ours nothing can be said.
    pub(crate) fn is_sha256(&self) -> bool {
        self.hash_algorithm.as_deref().is_none_or(|name| name.eq_ignore_ascii_case("SHA-256"))
    }
}

/// Something that a digest, or a look at what it lists, brings to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding<'d> {
    FileMissing(&'d LogFile),
    /// With the hash that was found.
    FileAltered(&'d LogFile, &'d str),
    /// It is there and cannot be read to its end; why.
    FileUnchecked(&'d LogFile, &'d str),
    PreviousMissing,
    PreviousAltered(&'d str),
    /// AWS did not sign this.
    SignatureInvalid,
    /// Whether AWS did cannot be said: the key is not among those given.
    SignatureUnknown,
    /// It lies elsewhere than it says.
    Misplaced,
}

/// Whether AWS signed a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    Yes,
    No,
    /// The key is not among those given.
    Unknown,
}

impl Digest {
    /// # Errors
    /// In words, when the text is no digest.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut digest: Self =
            serde_json::from_slice(text).map_err(|error| format!("is no CloudTrail digest: {error}"))?;
        digest.sha256 = hex(&Sha256::digest(text));
        Ok(digest)
    }

    pub(crate) fn is_at(&self, bucket: &str, key: &str) -> bool {
        self.digest_s3_bucket == bucket && self.digest_s3_object == key
    }

    /// Bucket and key of the one before. The first of a trail has none.
    pub(crate) fn previous(&self) -> Option<(&str, &str)> {
        let object = self.previous_digest_s3_object.as_deref()?;
        Some((self.previous_digest_s3_bucket.as_deref().unwrap_or(&self.digest_s3_bucket), object))
    }

    /// Whether the one before has this content still; its hash where not.
    pub(crate) fn altered_previous(&self, content: &[u8]) -> Option<String> {
        let expected = self.previous_digest_hash_value.as_deref()?;
        let found = hex(&Sha256::digest(content));
        (!expected.eq_ignore_ascii_case(&found)).then_some(found)
    }

    /// Whether this is the signature of one of these keys' owner: RSA over what CloudTrail's documentation says is signed.
    pub(crate) fn is_signed(&self, signature: Option<&str>, keys: &PublicKeys) -> Signed {
        let fingerprint = self.digest_public_key_fingerprint.as_deref().unwrap_or_default();
        let Some(key) = keys.get(fingerprint) else { return Signed::Unknown };
        let Some(signature) = signature.and_then(unhex) else { return Signed::No };
        match verify(key, self.to_sign().as_bytes(), &signature) {
            true => Signed::Yes,
            false => Signed::No,
        }
    }

    fn to_sign(&self) -> String {
        let previous = self.previous_digest_signature.as_deref().unwrap_or("null");
        let Self { digest_end_time, digest_s3_bucket, digest_s3_object, sha256, .. } = self;
        format!("{digest_end_time}\n{digest_s3_bucket}/{digest_s3_object}\n{sha256}\n{previous}")
    }

    /// A finding as an ECS document. The same finding is the same event.
    pub(crate) fn event(&self, finding: Finding<'_>) -> String {
        let own = format!("s3://{}/{}", self.digest_s3_bucket, self.digest_s3_object);
        let before = self.previous().map(|(bucket, object)| format!("s3://{bucket}/{object}"));
        let of = |file: &LogFile| format!("s3://{}/{}", file.bucket, file.object);
        let (action, path, expected, found, message) = match finding {
            Finding::FileMissing(file) => (
                "log_file_missing",
                of(file),
                Some(&*file.hash),
                None,
                "a log file that CloudTrail wrote is gone",
            ),
            Finding::FileAltered(file, found) => {
                let message = "a log file is not as CloudTrail wrote it";
                ("log_file_altered", of(file), Some(&*file.hash), Some(found), message)
            }
            Finding::FileUnchecked(file, _) => {
                let message = "a log file could not be checked";
                ("log_file_unchecked", of(file), Some(&*file.hash), None, message)
            }
            Finding::PreviousMissing => {
                let message = "a digest is gone, and with it the list of an hour's log files";
                ("log_digest_missing", before.unwrap_or_default(), None, None, message)
            }
            Finding::PreviousAltered(found) => {
                let expected = self.previous_digest_hash_value.as_deref();
                let message = "a digest is not as CloudTrail wrote it";
                ("log_digest_altered", before.unwrap_or_default(), expected, Some(found), message)
            }
            Finding::SignatureInvalid => (
                "log_digest_altered",
                own.clone(),
                None,
                Some(&*self.sha256),
                "a digest is not signed by CloudTrail",
            ),
            Finding::SignatureUnknown => (
                "log_digest_unchecked",
                own.clone(),
                None,
                Some(&*self.sha256),
                "a digest is signed with a key that is not among the digest_keys",
            ),
            Finding::Misplaced => (
                "log_digest_altered",
                own.clone(),
                None,
                Some(&*self.sha256),
                "a digest lies elsewhere than it says",
            ),
        };
        let region =
            self.digest_s3_object.split("/CloudTrail-Digest/").nth(1).and_then(|rest| rest.split('/').next());
        let mut event = json!({
            "@timestamp": self.digest_end_time,
            "message": message,
            "event": {
                "id": hex(&Sha256::digest(format!("{action}\n{path}\n{message}").as_bytes())[..16]),
                "kind": "event", "type": ["info"], "action": action, "outcome": "failure",
                "module": "groundtrail", "dataset": DATASET, "provider": "cloudtrail.amazonaws.com",
            },
            "data_stream": { "type": "logs", "dataset": DATASET, "namespace": "default" },
            "ecs": { "version": "8.17.0" },
            "cloud": { "provider": "aws", "account": { "id": self.aws_account_id } },
            "file": { "path": path },
            "groundtrail": { "feed": { "digest": own } },
        });
        if let Some(region) = region {
            event["cloud"]["region"] = Value::from(region);
        }
        if let Finding::FileUnchecked(_, reason) = finding {
            event["event"]["reason"] = Value::from(reason);
        }
        if let Some(found) = found {
            event["file"]["hash"] = json!({ "sha256": found });
        }
        if let Some(expected) = expected {
            event["groundtrail"]["feed"]["expected_sha256"] = Value::from(expected);
        }
        event.to_string()
    }
}

/// Keys that CloudTrail signs with, by fingerprint: PKCS #1, in DER.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PublicKeys(Vec<(String, Vec<u8>)>);

impl PublicKeys {
    /// Reads what `aws cloudtrail list-public-keys` prints.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            public_key_list: Vec<Key>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Key {
            value: String,
            fingerprint: String,
        }
        let listed: Listed = serde_json::from_str(text)
            .map_err(|error| format!("is not what \"aws cloudtrail list-public-keys\" prints: {error}"))?;
        let key = |key: Key| match BASE64_STANDARD.decode(&key.value) {
            Ok(der) => Ok((key.fingerprint, der)),
            Err(error) => Err(format!("the key {} is not base64: {error}", key.fingerprint)),
        };
        listed.public_key_list.into_iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    fn get(&self, fingerprint: &str) -> Option<&[u8]> {
        self.0.iter().find(|(held, _)| held.eq_ignore_ascii_case(fingerprint)).map(|(_, key)| &**key)
    }
}

fn verify(key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(text, signature).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests;
