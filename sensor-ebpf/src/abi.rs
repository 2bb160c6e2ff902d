//! Record layouts: fixed-width integers and byte arrays, explicit padding, little surprise.
//!
//! Every record starts with a [`header::Header`]; `header.kind` says which struct it is. Bytes come from a
//! ring that is never cleared, so what lies beyond a length field is left over from older records.

pub mod calls;
pub mod connect;
pub mod drops;
pub mod exchange;
pub mod exec;
pub mod exit;
pub mod file;
pub mod fork;
pub mod header;
pub mod settings;
pub mod text;

/// Version of everything in this crate's library; the loader compares it before it attaches anything.
pub const VERSION: u32 = 8;
