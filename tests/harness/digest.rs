//! Short ids out of text, for names that must be the same on every run.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// SHA-256 in lower-case hex.
pub fn hex(text: &str) -> String {
    hex_of(text.as_bytes())
}

/// The same of bytes.
pub fn hex_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string");
        out
    })
}

/// A version-4-shaped UUID that depends on `text` alone.
pub fn uuid(text: &str) -> String {
    let hash = hex(text);
    format!("{}-{}-4{}-a{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}
