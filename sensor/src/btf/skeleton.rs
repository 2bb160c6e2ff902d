//! The same ids with almost nothing in them.
//!
//! aya wants type information to find a tracepoint's id, and parsing a kernel's whole costs it tens of
//! milliseconds and 17 MB. All it asks is the id of a few names, so it gets a table in which every other type
//! is an empty forward declaration.

use super::types::Kind;
use super::{Btf, HEADER_BYTES, MAGIC};

const FORWARD: u32 = 7 << 24;
const TYPEDEF: u32 = 8 << 24;

impl Btf<'_> {
    /// Type information as long as this one, in which only the typedefs of these names are left.
    pub fn skeleton(&self, typedefs: &[String]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut kept = Vec::new();
        for name in typedefs {
            if let Some((id, _)) = self.named(name, Kind::Typedef) {
                kept.push((id, strings.len() as u32));
                strings.extend_from_slice(name.as_bytes());
                strings.push(0);
            }
        }
        let types_len = self.starts.len() * 12;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + types_len + strings.len());
        bytes.extend_from_slice(&MAGIC.to_ne_bytes());
        bytes.extend_from_slice(&[1, 0]);
        for word in [HEADER_BYTES, 0, types_len, types_len, strings.len()] {
            bytes.extend_from_slice(&(word as u32).to_ne_bytes());
        }
        for id in 1..=self.starts.len() as u32 {
            let name = kept.iter().find(|(kept, _)| *kept == id).map(|(_, name)| *name);
            let head = [name.unwrap_or(0), if name.is_some() { TYPEDEF } else { FORWARD }, 0];
            head.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
        }
        bytes.extend_from_slice(&strings);
        bytes
    }
}
