//! The same ids with almost nothing in them.
//!
//! aya wants type information to find the id of a tracepoint or a function, and parsing a kernel's whole costs it tens of
//! milliseconds and 17 MB. All it asks is the id of a few names, so it gets a table in which every other type
//! is an empty forward declaration.

use super::types::Kind;
use super::{Btf, HEADER_BYTES, MAGIC};

const FORWARD: u32 = 7 << 24;
const TYPEDEF: u32 = 8 << 24;
const FUNCTION: u32 = 12 << 24;

impl Btf<'_> {
    /// Type information as long as this one, in which only these typedefs and functions are left.
    pub fn skeleton(&self, typedefs: &[String], functions: &[&str]) -> Vec<u8> {
        let typedefs = typedefs.iter().map(|name| (name.as_str(), Kind::Typedef, TYPEDEF));
        let functions = functions.iter().map(|name| (*name, Kind::Func, FUNCTION));
        let mut strings = vec![0];
        let mut kept = Vec::new();
        for (name, kind, info) in typedefs.chain(functions) {
            if let Some((id, _)) = self.named(name, kind) {
                kept.push((id, strings.len() as u32, info));
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
            let kept = kept.iter().find(|(kept, ..)| *kept == id);
            let (name, info) = kept.map_or((0, FORWARD), |(_, name, info)| (*name, *info));
            let head = [name, info, 0];
            head.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
        }
        bytes.extend_from_slice(&strings);
        bytes
    }
}
