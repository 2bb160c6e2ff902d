//! What follows what: for each state and byte the next state, and what a state does.

use crate::abi::exchange::sign;

/// States by the bytes that lead on from them, and what entering one does.
pub struct Machine<const N: usize> {
    pub(super) next: [[u8; 256]; N],
    pub(super) does: [u32; N],
}

/// The byte is kept.
pub(super) const KEEP: u32 = 1 << 0;
/// What was kept is forgotten first.
const RESTART: u32 = 1 << 1;
/// What is looked for is whole.
pub(super) const DONE: u32 = 1 << 2;
/// Signs of [`sign`] come above.
pub(super) const SIGN_SHIFT: u32 = 3;

/// Between two requests.
pub(super) const IDLE: u8 = 0;
/// At the first byte of a method.
const START: u8 = 1;
const METHOD: u8 = 2;
/// Behind the method.
const TARGET: u8 = 3;
const LINE: u8 = 4;
/// In the line, behind a carriage return.
const LINE_END: u8 = 5;
const QUERY: u8 = 6;
/// In a line that is no request's: maybe a part of a header that began out of sight, so nothing of it is kept.
const OTHER: u8 = 7;
/// Behind the names of the service's headers.
const TOKEN: u8 = 8;
const TOKEN_TTL: u8 = 9;
/// In a header that is of no interest.
const HEADER: u8 = 10;
/// Behind the carriage return of an empty line.
const BLANK: u8 = 11;
const END: u8 = 12;
/// Behind more than one request.
const BEYOND: u8 = 13;
/// At the beginning of a header, and from here on inside the name as far as it fits.
const NAME: u8 = 14;
const NAME_TEXT: &[u8] = b"x-aws-ec2-metadata-token";

pub(super) const fn is_in_line(state: u8) -> bool {
    matches!(state, LINE | LINE_END | QUERY)
}

pub(super) const fn is_in_headers(state: u8) -> bool {
    matches!(state, TOKEN | TOKEN_TTL | HEADER | BLANK) || state >= NAME
}

/// Requests of HTTP: their first line without its query, and which of the service's headers they have.
pub static REQUESTS: Machine<64> = requests();

const fn requests() -> Machine<64> {
    let mut machine = Machine { next: [[IDLE; 256]; 64], does: [0; 64] };
    let mut state = 0;
    while state <= NAME + NAME_TEXT.len() as u8 {
        let mut byte = 0;
        while byte < 256 {
            machine.next[state as usize][byte] = if byte == 0 { state } else { after(state, byte as u8) };
            byte += 1;
        }
        state += 1;
    }
    machine.does[START as usize] = KEEP | RESTART;
    machine.does[METHOD as usize] = KEEP;
    machine.does[TARGET as usize] = KEEP;
    machine.does[LINE as usize] = KEEP;
    machine.does[QUERY as usize] = sign::QUERY << SIGN_SHIFT;
    machine.does[TOKEN as usize] = sign::TOKEN << SIGN_SHIFT;
    machine.does[TOKEN_TTL as usize] = sign::TOKEN_TTL << SIGN_SHIFT;
    machine.does[END as usize] = DONE;
    machine.does[BEYOND as usize] = DONE | sign::MORE << SIGN_SHIFT;
    machine
}

const fn after(state: u8, byte: u8) -> u8 {
    match (state, byte) {
        (END | BEYOND, _) => BEYOND,
        (IDLE, b'\r' | b'\n') => IDLE,
        (IDLE, b'A'..=b'Z') => START,
        (START | METHOD | TARGET | OTHER, b'\n') => IDLE,
        (START | METHOD, b'A'..=b'Z') => METHOD,
        (START | METHOD, b' ') => TARGET,
        // A whole address is allowed too.
        (TARGET, b'/' | b'h' | b'H') => LINE,
        (IDLE | START | METHOD | TARGET | OTHER, _) => OTHER,
        (LINE | LINE_END | QUERY, b'\n') => NAME,
        (QUERY, b' ') => LINE,
        (QUERY, _) => QUERY,
        (LINE | LINE_END, b'\r') => LINE_END,
        (LINE | LINE_END, b'?') => QUERY,
        (LINE | LINE_END, _) => LINE,
        (BLANK | NAME, b'\n') => END,
        (NAME, b'\r') => BLANK,
        (TOKEN | TOKEN_TTL | HEADER | NAME.., b'\n') => NAME,
        (TOKEN | TOKEN_TTL | HEADER | BLANK, _) => HEADER,
        (NAME.., _) => {
            let n_matched = (state - NAME) as usize;
            if n_matched == NAME_TEXT.len() {
                match byte {
                    b':' => TOKEN,
                    b'-' => TOKEN_TTL,
                    _ => HEADER,
                }
            } else if byte.to_ascii_lowercase() == NAME_TEXT[n_matched] {
                state + 1
            } else {
                HEADER
            }
        }
    }
}

/// The name of a key's id and its closing quote; a state for each byte that fits so far.
const KEY_NAME: &[u8] = b"AccessKeyId\"";
/// Behind it.
const GAP: u8 = KEY_NAME.len() as u8;
/// Behind the quote that opens the id.
const OPEN: u8 = GAP + 1;
const ID: u8 = GAP + 2;
const CLOSED: u8 = GAP + 3;

/// Answers with credentials: the id of the key, and nothing else.
pub static ANSWERS: Machine<32> = answers();

const fn answers() -> Machine<32> {
    let mut machine = Machine { next: [[IDLE; 256]; 32], does: [0; 32] };
    let mut state = 0;
    while state <= CLOSED {
        let mut byte = 0;
        while byte < 256 {
            machine.next[state as usize][byte] =
                if byte == 0 { state } else { after_answer(state, byte as u8) };
            byte += 1;
        }
        state += 1;
    }
    machine.does[OPEN as usize] = RESTART;
    machine.does[ID as usize] = KEEP;
    machine.does[CLOSED as usize] = DONE;
    machine
}

const fn after_answer(state: u8, byte: u8) -> u8 {
    match (state, byte) {
        (GAP, b':' | b' ' | b'\t' | b'\r' | b'\n') => GAP,
        (GAP, b'"') => OPEN,
        (OPEN, b'A') | (ID, b'A'..=b'Z' | b'0'..=b'9') => ID,
        (ID, b'"') | (CLOSED, _) => CLOSED,
        (0..GAP, _) if byte == KEY_NAME[state as usize] => state + 1,
        // The name's first byte is in it once.
        (_, b'A') => 1,
        _ => IDLE,
    }
}

const _: () = assert!((NAME as usize + NAME_TEXT.len()) < 64 && (CLOSED as usize) < 32);
