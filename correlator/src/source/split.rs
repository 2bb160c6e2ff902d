//! Cuts a stream of JSON into the documents it holds, without ever holding the stream.
//!
//! Taken as one are: the elements of `{"Records":[…]}` and its kin, of a bare list, and documents one after another
//! (NDJSON or not). A broken document costs itself: where brackets or quotes do not close, reading goes on at the next
//! place that looks like a record's beginning.

use std::io::Read;

/// Keys whose list holds the records of a file.
const LIST_KEYS: &[&str] = &["Records", "logEvents", "Findings", "findings", "events", "Events"];

/// With what a record begins, in the data seen. A broken document adds its own first key for as long as it is looked
/// at.
const FIRST_KEYS: &[&str] =
    &["eventVersion", "schemaVersion", "SchemaVersion", "awsRegion", "version", "@timestamp"];

/// So many broken documents in a row, and the rest of the stream is given up: each costs a search.
const MAX_BROKEN_IN_A_ROW: u32 = 200;

/// Brackets of JSON that is read here nest no deeper.
const MAX_DEPTH: u32 = 127;

const CHUNK: usize = 64 * 1024;

/// One document, or what was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// `at` is the byte it starts at, `number` counts documents from 1.
    Document {
        text: String,
        at: u64,
        number: u64,
    },
    /// The documents in `[at, end)` did not end where they should.
    Broken {
        at: u64,
        number: u64,
        reason: &'static str,
    },
    TooLarge {
        at: u64,
        number: u64,
    },
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The stream stopped inside a list or a document, or could not be read further.
    Truncated {
        at: u64,
        reason: String,
    },
    /// The receiver had enough.
    Stopped,
}

struct Splitter<R> {
    reader: R,
    max_len: usize,
    /// What was read, from `start` on still needed. What lies before goes when it is half of it: passing over single bytes
    /// must not move the rest each time.
    held: Vec<u8>,
    start: usize,
    /// Place in the stream of the first byte that is needed.
    base: u64,
    /// Bytes that were moved to make room.
    #[cfg(test)]
    n_moved: u64,
    /// Why there is no more, once there is none.
    end: Option<Option<String>>,
    number: u64,
    n_broken: u32,
}

/// Hands every document to `each`, which says whether to go on.
///
/// `is_whole` tells whether a text whose brackets close is a document; one that does not is searched for the documents
/// it swallowed.
pub fn split<R: Read>(
    reader: R,
    max_len: usize,
    is_whole: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(Piece) -> bool,
) -> End {
    Splitter::new(reader, max_len).run(is_whole, each)
}

/// What stands at a place, judged with brackets and quotes alone.
enum Scan {
    /// A document of so many bytes.
    Closed(usize),
    /// An object with a list of records in it: so many bytes until behind its `[`.
    List(usize),
    /// The stream ended first.
    Open,
    TooLarge,
}

/// A list where none should be.
enum Nested {
    /// So many bytes of it.
    Len(usize),
    TooDeep,
    /// Its end is not in sight.
    Open,
}

impl<R: Read> Splitter<R> {
    fn new(reader: R, max_len: usize) -> Self {
        Self {
            reader,
            max_len,
            held: Vec::new(),
            start: 0,
            base: 0,
            #[cfg(test)]
            n_moved: 0,
            end: None,
            number: 0,
            n_broken: 0,
        }
    }

    /// What is needed still, as far as it was read.
    fn buffer(&self) -> &[u8] {
        &self.held[self.start..]
    }

    fn run(&mut self, is_whole: &dyn Fn(&str) -> bool, each: &mut dyn FnMut(Piece) -> bool) -> End {
        // Inside a list of records, `]` ends it and a stray `}` is an error; outside, it closes the wrapping object.
        let mut depth_of_lists = 0_u32;
        let mut n_wrappers = 0_u32;
        loop {
            let Some(byte) = self.byte(0) else { return self.ended(depth_of_lists > 0 || n_wrappers > 0) };
            match byte {
                b'{' => {
                    self.number += 1;
                    match self.scan() {
                        Scan::List(len) => {
                            self.number -= 1;
                            self.skip(len);
                            depth_of_lists += 1;
                            n_wrappers += 1;
                        }
                        Scan::Closed(len) => {
                            let text = String::from_utf8_lossy(&self.buffer()[..len]).into_owned();
                            // What does not parse may have swallowed its successors.
                            if !is_whole(&text)
                                && let Some(next) = self.resync(len)
                            {
                                if !self.broken("a record that does not end where it should", next, each) {
                                    return self.given_up();
                                }
                                continue;
                            }
                            self.n_broken = 0;
                            let piece = Piece::Document { text, at: self.base, number: self.number };
                            self.skip(len);
                            if !each(piece) {
                                return End::Stopped;
                            }
                        }
                        Scan::Open => {
                            let len = self.buffer().len();
                            match self.resync(len) {
                                Some(next) => {
                                    if !self.broken("a record that never ends", next, each) {
                                        return self.given_up();
                                    }
                                }
                                None => return self.ended(true),
                            }
                        }
                        Scan::TooLarge => {
                            let at = self.base;
                            let is_going_on = each(Piece::TooLarge { at, number: self.number });
                            if !is_going_on {
                                return End::Stopped;
                            }
                            self.n_broken += 1;
                            if self.n_broken > MAX_BROKEN_IN_A_ROW {
                                return self.given_up();
                            }
                            self.skip_to_next_start();
                        }
                    }
                }
                b'[' if depth_of_lists == 0 => {
                    self.skip(1);
                    depth_of_lists += 1;
                }
                // No list of records holds lists.
                b'[' => {
                    let at = self.base;
                    let reason = match self.list_len() {
                        Nested::Len(len) => {
                            self.skip(len);
                            "a list where a record should be"
                        }
                        Nested::TooDeep => {
                            self.skip_to_close(0);
                            "brackets that nest deeper than 127"
                        }
                        Nested::Open => {
                            self.skip_foreign();
                            "text between the records"
                        }
                    };
                    self.number += 1;
                    if !each(Piece::Broken { at, number: self.number, reason }) {
                        return End::Stopped;
                    }
                }
                b']' if depth_of_lists > 0 => {
                    self.skip(1);
                    depth_of_lists -= 1;
                    // What follows the list inside its wrapper is passed over up to the wrapper's end.
                    if n_wrappers > 0 && !self.skip_wrapper_rest() {
                        return self.ended(true);
                    }
                    n_wrappers = n_wrappers.saturating_sub(1);
                }
                b',' | b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf | 0x1e => self.skip(1),
                _ => {
                    let at = self.base;
                    self.skip_foreign();
                    self.number += 1;
                    if !each(Piece::Broken { at, number: self.number, reason: "text between the records" }) {
                        return End::Stopped;
                    }
                }
            }
        }
    }

    /// The byte at an offset from here; reads on as needed.
    fn byte(&mut self, offset: usize) -> Option<u8> {
        while offset >= self.buffer().len() {
            if !self.fill() {
                return None;
            }
        }
        Some(self.held[self.start + offset])
    }

    fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        if self.start >= self.buffer().len() {
            #[cfg(test)]
            {
                self.n_moved += self.buffer().len() as u64;
            }
            self.held.drain(..self.start);
            self.start = 0;
        }
        let len = self.held.len();
        self.held.resize(len + CHUNK, 0);
        let read = loop {
            match self.reader.read(&mut self.held[len..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let n_read = match read {
            Ok(n_read) => {
                if n_read == 0 {
                    self.end = Some(None);
                }
                n_read
            }
            Err(error) => {
                self.end = Some(Some(error.to_string()));
                0
            }
        };
        self.held.truncate(len + n_read);
        n_read > 0
    }

    fn skip(&mut self, len: usize) {
        let len = len.min(self.buffer().len());
        self.start += len;
        self.base += len as u64;
    }

    fn ended(&self, is_inside: bool) -> End {
        let at = self.base + self.buffer().len() as u64;
        match &self.end {
            Some(Some(error)) => End::Truncated { at, reason: error.clone() },
            _ if is_inside => {
                End::Truncated { at, reason: "it ends in the middle of a record or list".to_owned() }
            }
            _ => End::Whole,
        }
    }

    fn given_up(&self) -> End {
        if self.n_broken > MAX_BROKEN_IN_A_ROW {
            End::Truncated { at: self.base, reason: format!("{MAX_BROKEN_IN_A_ROW} broken records in a row") }
        } else {
            End::Stopped
        }
    }

    /// Reports the document here and moves to the next.
    fn broken(&mut self, reason: &'static str, next: usize, each: &mut dyn FnMut(Piece) -> bool) -> bool {
        let piece = Piece::Broken { at: self.base, number: self.number, reason };
        self.skip(next);
        self.n_broken += 1;
        each(piece) && self.n_broken <= MAX_BROKEN_IN_A_ROW
    }

    /// Follows the object that starts here to its end.
    fn scan(&mut self) -> Scan {
        let mut depth = 0_usize;
        let mut offset = 0;
        let mut in_string = false;
        let mut string_at = 0;
        // The last string of the outermost object, until something other than `:` follows.
        let mut key: Option<(usize, usize)> = None;
        let mut has_colon = false;
        loop {
            if offset > self.max_len {
                return Scan::TooLarge;
            }
            let Some(byte) = self.byte(offset) else { return Scan::Open };
            if in_string {
                match byte {
                    b'\\' => offset += 1,
                    b'"' => {
                        in_string = false;
                        if depth == 1 {
                            key = Some((string_at, offset));
                            has_colon = false;
                        }
                    }
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => {
                        in_string = true;
                        string_at = offset + 1;
                    }
                    b':' => has_colon = true,
                    b'{' | b'[' => {
                        if byte == b'['
                            && depth == 1
                            && has_colon
                            && let Some((from, to)) = key
                            && LIST_KEYS.iter().any(|name| name.as_bytes() == &self.buffer()[from..to])
                            && self.next_is_object_or_end(offset + 1)
                        {
                            return Scan::List(offset + 1);
                        }
                        depth += 1;
                        key = None;
                    }
                    b'}' | b']' => {
                        depth = depth.saturating_sub(1);
                        if depth == 0 {
                            return Scan::Closed(offset + 1);
                        }
                    }
                    b',' => key = None,
                    _ => {}
                }
            }
            offset += 1;
        }
    }

    /// A list of records holds objects; `"events":["a"]` of some finding does not.
    fn next_is_object_or_end(&mut self, mut offset: usize) -> bool {
        loop {
            match self.byte(offset) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => offset += 1,
                Some(b'{' | b']') => return true,
                _ => return false,
            }
        }
    }

    /// The next place before `len` where a record may begin.
    fn resync(&self, len: usize) -> Option<usize> {
        let own_key = first_key(self.buffer()).map(<[u8]>::to_vec);
        let starts = memchr_all(&self.buffer()[1..len.min(self.buffer().len())], b'{');
        starts.into_iter().map(|at| at + 1).find(|&at| {
            first_key(&self.buffer()[at..]).is_some_and(|key| {
                own_key.as_deref() == Some(key) || FIRST_KEYS.iter().any(|name| name.as_bytes() == key)
            })
        })
    }

    /// Passes over a document of any size, to where the next may begin.
    fn skip_to_next_start(&mut self) {
        loop {
            let len = self.buffer().len();
            if let Some(next) = self.resync(len) {
                return self.skip(next);
            }
            // A beginning may lie across the border.
            self.skip(len.saturating_sub(64).max(1));
            if !self.fill() {
                let len = self.buffer().len();
                return self.skip(len);
            }
        }
    }

    /// To the closing bracket of the object around a list.
    fn skip_wrapper_rest(&mut self) -> bool {
        self.skip_to_close(1)
    }

    /// Behind the bracket that closes what is open, or begins here. False: the stream ends first.
    fn skip_to_close(&mut self, mut depth: u32) -> bool {
        let mut in_string = false;
        loop {
            let Some(byte) = self.byte(0) else { return false };
            match byte {
                b'\\' if in_string => self.skip(1),
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth -= 1,
                _ => {}
            }
            self.skip(1);
            if depth == 0 {
                return true;
            }
        }
    }

    /// The list that begins here, looked at no further than a chunk.
    fn list_len(&mut self) -> Nested {
        let (mut depth, mut in_string, mut offset) = (0_u32, false, 0);
        while offset < CHUNK.min(self.max_len)
            && let Some(byte) = self.byte(offset)
        {
            match byte {
                b'\\' if in_string => offset += 1,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth -= 1,
                _ => {}
            }
            offset += 1;
            match depth {
                0 => return Nested::Len(offset),
                1..=MAX_DEPTH => {}
                _ => return Nested::TooDeep,
            }
        }
        Nested::Open
    }

    /// To the next thing that can begin a document or end a list.
    fn skip_foreign(&mut self) {
        loop {
            let found = self.buffer().iter().position(|byte| matches!(byte, b'{' | b'[' | b']' | b'\n'));
            match found {
                Some(0) => self.skip(1),
                Some(at) => return self.skip(at),
                None => {
                    let len = self.buffer().len();
                    self.skip(len);
                    if !self.fill() {
                        return;
                    }
                }
            }
        }
    }
}

fn memchr_all(bytes: &[u8], wanted: u8) -> Vec<usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == wanted).map(|(at, _)| at).collect()
}

/// The first key of an object that starts here.
fn first_key(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().take(60).position(|byte| *byte == b'"')?;
    rest[end + 1..].trim_ascii_start().starts_with(b":").then_some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Documents as given, `!` for broken ones, `^` for too large ones.
    fn pieces(input: &[u8], max_len: usize) -> (Vec<String>, End) {
        let mut found = Vec::new();
        let is_whole = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
        let end = split(input, max_len, &is_whole, &mut |piece| {
            found.push(match piece {
                Piece::Document { text, .. } => text,
                Piece::Broken { .. } => "!".to_owned(),
                Piece::TooLarge { .. } => "^".to_owned(),
            });
            true
        });
        (found, end)
    }

    fn check(input: &str, expect: &[&str], is_whole: bool) {
        let (found, end) = pieces(input.as_bytes(), 1_000);
        assert_eq!(found, expect, "{input}");
        assert_eq!(end == End::Whole, is_whole, "{input}: {end:?}");
    }

    const A: &str = r#"{"eventVersion":"1","n":[{"x":"}"}]}"#;
    const B: &str = r#"{"eventVersion":"2","s":"a\"}{"}"#;

    #[test]
    fn every_shape_of_file_holds_the_same_documents() {
        check(&format!(r#"{{"Records":[{A},{B}]}}"#), &[A, B], true);
        check(
            &format!(r#"{{"a":{{"Records":"x"}},"Records" : [ {A} , {B} ],"more":{{"x":[1]}}}}"#),
            &[A, B],
            true,
        );
        check(&format!("[{A},\n{B}]\n"), &[A, B], true);
        check(&format!("{A}\n{B}\n"), &[A, B], true);
        check(&format!("{A}{B}"), &[A, B], true);
        check(&format!("{{\"Records\":[{A}]}}\n{{\"Records\":[{B}]}}"), &[A, B], true);
        check(&format!("\u{feff}{A}"), &[A], true);
        check(r#"{"Records":[]}"#, &[], true);
        check("[]", &[], true);
        check("", &[], true);
        check("  \n", &[], true);
        check(r#"{"x":1,"events":["a","b"]}"#, &[r#"{"x":1,"events":["a","b"]}"#], true);
    }

    #[test]
    fn a_broken_record_between_good_ones_costs_only_itself() {
        let balanced = r#"{"eventVersion":,}"#;
        check(&format!(r#"{{"Records":[{A},{balanced},{B}]}}"#), &[A, balanced, B], true);
        let no_end = r#"{"eventVersion":"x","open":{"#;
        check(&format!(r#"{{"Records":[{A},{no_end},{B}]}}"#), &[A, "!", B], true);
        let odd_quote = r#"{"eventVersion":"x","s":"un"closed"}"#;
        check(&format!("{A}\n{odd_quote}\n{B}\n"), &[A, "!", B], true);
    }

    #[test]
    fn a_stray_end_of_a_wrapper_is_passed_over() {
        check(&format!("[{A}}}}},{B}]"), &[A, "!", B], true);
        let wrapped = format!(r#"{{"aws":{{"cloudtrail":{A}"#);
        let (found, _) = pieces(format!("[{wrapped},{B}]").as_bytes(), 1_000);
        assert_eq!(found, ["!", A, B]);
    }

    #[test]
    fn a_truncated_list_yields_its_whole_records() {
        check(&format!(r#"{{"Records":[{A},{B}"#), &[A, B], false);
        check(&format!(r#"{{"Records":[{A},{}"#, &B[..15]), &[A], false);
        check(&format!(r#"[{A},"#), &[A], false);
        check(&format!("{A}\n{}", &B[..15]), &[A], false);
    }

    #[test]
    fn brackets_that_nest_too_deep_are_called_that_and_not_the_streams_end() {
        let reasons = |input: &str| {
            let mut reasons = Vec::new();
            let end = split(input.as_bytes(), 1_000, &|_| true, &mut |piece| {
                reasons.extend(match piece {
                    Piece::Broken { reason, .. } => Some(reason),
                    _ => None,
                });
                true
            });
            (reasons, end)
        };
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let (found, end) = reasons(&deep);
        assert_eq!(found, ["brackets that nest deeper than 127"]);
        assert_eq!(end, End::Whole);
        let (found, end) = reasons(&format!("[[[1],\"]\"],{A}]"));
        assert_eq!((found, end), (vec!["a list where a record should be"], End::Whole));
        check(&format!("[[[1],\"]\"],{A}]"), &["!", A], true);
        assert!(matches!(pieces(format!("[[{A}").as_bytes(), 1_000).1, End::Truncated { .. }));
    }

    #[test]
    fn a_record_past_the_cap_is_passed_over() {
        let large = format!(r#"{{"eventVersion":"3","s":"{}"}}"#, "x".repeat(200_000));
        check(&format!(r#"{{"Records":[{A},{large},{B}]}}"#), &[A, "^", B], true);
        check(&format!("{large}\n{B}\n"), &["^", B], true);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_stream() {
        let mut input = format!("{A}\n").into_bytes();
        input.extend_from_slice(b"{\"eventVersion\":\"\xff\xfe\"}\n");
        input.extend_from_slice(B.as_bytes());
        let (found, end) = pieces(&input, 1_000);
        assert_eq!((found.len(), end), (3, End::Whole));
    }

    #[test]
    fn endless_breakage_is_given_up() {
        let (found, end) = pieces(r#"{"eventVersion":"#.repeat(5_000).as_bytes(), 10_000);
        assert!(found.len() <= 202, "{}", found.len());
        assert!(matches!(end, End::Truncated { .. }), "{end:?}");
    }

    /// Hands out few bytes at a time, as a slow pipe does.
    struct Drip<'b>(&'b [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.1.min(self.0.len()).min(buffer.len());
            let (now, rest) = self.0.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.0 = rest;
            Ok(len)
        }
    }

    #[test]
    fn what_is_passed_over_byte_by_byte_is_not_moved_byte_by_byte() {
        let spaces = " ,\n".repeat(200_000);
        let wrapped = format!("{{\"Records\":[],\"x\":\"{}\"}}", "y".repeat(600_000));
        for text in [spaces, "]}".repeat(300_000), "[".repeat(600_000), wrapped] {
            for step in [1_000, usize::MAX] {
                let mut splitter = Splitter::new(Drip(text.as_bytes(), step), 1_000);
                splitter.run(&|_| true, &mut |_| true);
                let n_moved = splitter.n_moved;
                assert!(n_moved <= text.len() as u64, "{n_moved} of {} bytes moved", text.len());
                assert!(splitter.held.capacity() <= 8 * CHUNK, "{}", splitter.held.capacity());
            }
        }
    }

    #[test]
    fn where_reads_end_makes_no_difference() {
        let input = format!(r#"{{"Records":[{A},{{"eventVersion":"x","open":{{,{B}],"x":[1]}} {A}"#);
        let (whole, end) = pieces(input.as_bytes(), 1_000);
        for step in 1..40 {
            let mut found = Vec::new();
            let is_whole = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
            let dripped = split(Drip(input.as_bytes(), step), 1_000, &is_whole, &mut |piece| {
                found.push(match piece {
                    Piece::Document { text, .. } => text,
                    Piece::Broken { .. } => "!".to_owned(),
                    Piece::TooLarge { .. } => "^".to_owned(),
                });
                true
            });
            assert_eq!((&found, &dripped), (&whole, &end), "{step} bytes at a time");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_places_are_in_order(input in prop::collection::vec(
            prop::sample::select(b"{}[]\":,\\ aR\n\xff".to_vec()), 0..300)) {
            let mut last = 0;
            split(input.as_slice(), 50, &|_| false, &mut |piece| {
                let at = match piece {
                    Piece::Document { at, .. } | Piece::Broken { at, .. } | Piece::TooLarge { at, .. } => at,
                };
                assert!(at >= last && at <= input.len() as u64);
                last = at;
                true
            });
        }

        #[test]
        fn a_file_cut_anywhere_yields_a_prefix_of_its_records(cut in 0_usize..80) {
            let whole = format!(r#"{{"Records":[{A},{B}]}}"#);
            let (found, _) = pieces(&whole.as_bytes()[..cut.min(whole.len())], 1_000);
            prop_assert!([A, B].starts_with(&found.iter().map(String::as_str).collect::<Vec<_>>()), "{:?}", found);
        }
    }
}
