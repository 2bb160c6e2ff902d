//! A word with the cloud's metadata service: what was asked, or the id of the key that an answer handed out.
//!
//! Of a request there is its first line without a query, and which of the service's headers came with it. Tokens, secrets and
//! whatever else an answer holds never get here.

use super::header::Header;

/// Room for a request's first line.
pub const LINE_BYTES: usize = 256;
/// Room for the id of an access key; the usual ones have 20 characters.
pub const KEY_BYTES: usize = 32;

/// `Exchange::op` values.
pub mod op {
    /// A request went out, whole with its headers.
    pub const REQUEST: u32 = 1;
    /// An answer with credentials came in. [`super::Exchange::line`] is that of the last request.
    pub const CREDENTIALS: u32 = 2;
}

/// `Exchange::signs` bits.
pub mod sign {
    /// The header that proves a session came along: the second version of the protocol.
    pub const TOKEN: u32 = 1 << 0;
    /// The header that asks for such a session.
    pub const TOKEN_TTL: u32 = 1 << 1;
    /// The target has a query, which is left out.
    pub const QUERY: u32 = 1 << 2;
    /// The line ended out of sight.
    pub const LINE_CUT: u32 = 1 << 3;
    /// The headers go on beyond what is looked at: one that was not found may be there.
    pub const HEADERS_CUT: u32 = 1 << 4;
    /// More followed without a pause: another request, perhaps, that is not told.
    pub const MORE: u32 = 1 << 5;
}

/// The process, its thread and its credentials are those that made the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    pub header: Header,
    /// The service, as in [`super::connect::Connect`].
    pub destination: [u8; 16],
    pub family: u16,
    pub destination_port: u16,
    /// One of [`op`].
    pub op: u32,
    /// Bits of [`sign`].
    pub signs: u32,
    pub line_len: u32,
    /// Socket cookie.
    pub cookie: u64,
    pub line: [u8; LINE_BYTES],
    /// Of [`op::CREDENTIALS`] alone.
    pub key: [u8; KEY_BYTES],
    pub key_len: u32,
    pub _pad: u32,
}

impl Exchange {
    /// Whether the line is not all there: it ended out of sight, or fills its room.
    pub fn is_line_cut(&self) -> bool {
        self.signs & sign::LINE_CUT != 0 || self.line_len as usize >= LINE_BYTES
    }

    /// The request's first line, without its end.
    pub fn line(&self) -> &[u8] {
        &self.line[..LINE_BYTES.min(self.line_len as usize)]
    }

    /// The id of the key that was handed out; empty for a request.
    pub fn key(&self) -> &[u8] {
        &self.key[..KEY_BYTES.min(self.key_len as usize)]
    }
}

const _: () = assert!(size_of::<Exchange>() == 480);
const _: () = assert!(core::mem::offset_of!(Exchange, line) == 184);
const _: () = assert!(core::mem::offset_of!(Exchange, key) == 440);
