//! Finds requests, and the id of a handed-out key, in what goes over one connection to the metadata service: byte by byte, as a
//! segment ends wherever it likes. Of everything but a request's first line and such an id it remembers where in which word it is.
//!
//! It runs in the kernel, where the verifier follows each branch at each byte. So what is looked for lies in tables, and a step
//! is the same few instructions whatever the byte.

mod tables;
#[cfg(test)]
mod tests;

use crate::abi::exchange::{KEY_BYTES, LINE_BYTES, sign};
pub use tables::{ANSWERS, Machine, REQUESTS};
use tables::{IDLE, is_in_headers, is_in_line};

/// Room for what is kept, twice what is used of it: what is not kept is written behind it, as nothing.
pub const LINE_ROOM: usize = 2 * LINE_BYTES;
pub const KEY_ROOM: usize = 2 * KEY_BYTES;

/// Shortest id of an access key, as AWS says.
const MIN_KEY: u32 = 16;

/// Where in the bytes of one direction we are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    state: u32,
    /// Bytes that are kept.
    pub len: u32,
    /// Bits of [`sign`].
    pub signs: u32,
    /// Bytes of the segment that are still to come, where in its packet they begin, and how many of them may be looked at.
    pub left: u32,
    pub at: u32,
    pub budget: u32,
}

impl Place {
    const START: Self = Self { state: IDLE as u32, len: 0, signs: 0, left: 0, at: 0, budget: 0 };

    /// Takes a byte; zero is none. Behind what is looked for it goes nowhere until [`Place::restart`].
    ///
    /// Without a branch, and so it must stay: at each byte the verifier would follow both of its ways.
    #[inline(always)]
    pub fn step<const N: usize, const R: usize>(
        &mut self,
        machine: &Machine<N>,
        room: &mut [u8; R],
        byte: u8,
    ) {
        let state = u32::from(machine.next[self.state as usize & (N - 1)][byte as usize]);
        let is_some = (u32::from(byte) + 255) >> 8;
        let does = machine.does[state as usize & (N - 1)] & 0_u32.wrapping_sub(is_some);
        let (keep, restart) = (does & tables::KEEP, does >> 1 & 1);
        let held = restart.wrapping_sub(1);
        self.signs = self.signs & held | does >> tables::SIGN_SHIFT;
        let len = self.len & held;
        room[len as usize & (R - 1)] = byte & 0_u8.wrapping_sub(keep as u8);
        let has_room = len.wrapping_sub(R as u32 / 2) >> 31;
        self.len = len + (keep & has_room);
        self.state = state;
    }

    /// Whether what is looked for is whole.
    #[inline(always)]
    pub fn is_done<const N: usize>(&self, machine: &Machine<N>) -> bool {
        machine.does[self.state as usize & (N - 1)] & tables::DONE != 0
    }

    /// Looks for the next. What was kept stays until it begins.
    #[inline(always)]
    pub fn restart(&mut self) {
        self.state = IDLE.into();
    }
}

/// Both directions of one connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    pub asked: Place,
    pub heard: Place,
    /// Sequence numbers of the bytes that are to come.
    next: u32,
    answer_next: u32,
    is_begun: u32,
    is_answer_begun: u32,
    pub line: [u8; LINE_ROOM],
    pub key: [u8; KEY_ROOM],
}

impl Conversation {
    pub const EMPTY: Self = Self {
        asked: Place::START,
        heard: Place::START,
        next: 0,
        answer_next: 0,
        is_begun: 0,
        is_answer_begun: 0,
        line: [0; LINE_ROOM],
        key: [0; KEY_ROOM],
    };

    /// A segment of so many bytes goes out: how many of its first ones went out before.
    #[inline(always)]
    pub fn ask(&mut self, sequence: u32, len: u32) -> u32 {
        pass(&mut self.next, &mut self.is_begun, &mut self.asked, sequence, len)
    }

    /// The same for an answer's.
    #[inline(always)]
    pub fn hear(&mut self, sequence: u32, len: u32) -> u32 {
        pass(&mut self.answer_next, &mut self.is_answer_begun, &mut self.heard, sequence, len)
    }

    /// The segment goes on beyond what is looked at. True if a request was under way, and that is all that is known of it.
    #[inline(always)]
    pub fn give_up(&mut self) -> bool {
        let state = self.asked.state as u8;
        self.asked.state = IDLE.into();
        if is_in_line(state) {
            self.asked.signs |= sign::LINE_CUT | sign::HEADERS_CUT;
        } else if is_in_headers(state) {
            self.asked.signs |= sign::HEADERS_CUT;
        } else {
            return false;
        }
        true
    }

    /// Whether what was found in an answer can be the id of a key.
    #[inline(always)]
    pub fn has_key(&self) -> bool {
        self.heard.len >= MIN_KEY && self.heard.len < KEY_BYTES as u32
    }
}

/// Moves on to the end of a segment. How many of its bytes lie before what was expected next.
#[inline(always)]
fn pass(next: &mut u32, is_begun: &mut u32, place: &mut Place, sequence: u32, len: u32) -> u32 {
    let ahead = if *is_begun == 0 { 0 } else { next.wrapping_sub(sequence) };
    let has_gap = ahead > u32::MAX / 2;
    if has_gap {
        // Something is missing in between: what was begun ends here.
        place.state = IDLE.into();
    }
    *is_begun = 1;
    if has_gap || ahead <= len {
        *next = sequence.wrapping_add(len);
    }
    if has_gap { 0 } else { ahead.min(len) }
}

const _: () = assert!(size_of::<Conversation>() == 640 && align_of::<Conversation>() == 4);
const _: () = assert!(LINE_ROOM.is_power_of_two() && KEY_ROOM.is_power_of_two());
