//! Text to tree. The grammar, the limits and the reading of numbers are those of `serde_json`, which this is measured
//! against; what is its own is that a string without escapes stays where it is and a container is one piece of the arena.

use super::{Arena, Json};

/// As many containers inside one another, less one, are read.
const MAX_DEPTH: u32 = 128;

/// The document; `None` where the text is none.
pub(super) fn parse<'a>(text: &'a str, arena: &'a Arena) -> Option<Json<'a>> {
    let mut parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        depth: 0,
        arena,
        items: Vec::new(),
        entries: Vec::with_capacity(64),
        unescaped: String::new(),
    };
    let json = parser.value()?;
    parser.skip_blanks();
    (parser.at == text.len()).then_some(json)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    arena: &'a Arena,
    /// What the lists that are open hold so far, outermost first; likewise the objects'.
    items: Vec<Json<'a>>,
    entries: Vec<(&'a str, Json<'a>)>,
    unescaped: String,
}

impl<'a> Parser<'a> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The next byte that is no blank. It is not passed.
    fn next(&mut self) -> Option<u8> {
        match self.byte() {
            Some(b' ' | b'\n' | b'\t' | b'\r') => {
                self.skip_blanks();
                self.byte()
            }
            byte => byte,
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self) -> Option<Json<'a>> {
        match self.next()? {
            b'"' => {
                self.at += 1;
                self.string().map(Json::Str)
            }
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::list),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, json: Json<'a>) -> Option<Json<'a>> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            json
        })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Json<'a>>) -> Option<Json<'a>> {
        self.at += 1;
        self.depth += 1;
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let json = read(self)?;
        self.depth -= 1;
        Some(json)
    }

    fn object(&mut self) -> Option<Json<'a>> {
        let first = self.entries.len();
        if self.next()? == b'}' {
            self.at += 1;
            return Some(Json::Object(&[]));
        }
        loop {
            self.expect(b'"')?;
            let key = self.string()?;
            self.expect(b':')?;
            let value = self.value()?;
            self.entries.push((key, value));
            match self.next()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        let entries = self.arena.alloc_slice_copy(&self.entries[first..]);
        self.entries.truncate(first);
        Some(Json::Object(entries))
    }

    fn list(&mut self) -> Option<Json<'a>> {
        let first = self.items.len();
        if self.next()? == b']' {
            self.at += 1;
            return Some(Json::List(&[]));
        }
        loop {
            let item = self.value()?;
            self.items.push(item);
            match self.next()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        let items = self.arena.alloc_slice_copy(&self.items[first..]);
        self.items.truncate(first);
        Some(Json::List(items))
    }

    /// The string whose opening quote is behind us.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.at = plain_end(self.bytes, start);
        match self.byte()? {
            b'"' => {
                self.at += 1;
                Some(&self.text[start..self.at - 1])
            }
            b'\\' => self.escaped(start),
            _ => None,
        }
    }

    /// The string from `start` on, which has an escape here.
    fn escaped(&mut self, start: usize) -> Option<&'a str> {
        self.unescaped.clear();
        let mut copied = start;
        loop {
            self.at = plain_end(self.bytes, self.at);
            self.unescaped.push_str(&self.text[copied..self.at]);
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(self.arena.alloc_str(&self.unescaped));
                }
                b'\\' => {
                    let c = self.escape()?;
                    self.unescaped.push(c);
                    copied = self.at;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex()?;
                match unit {
                    // Half a character counts only with its other half behind it.
                    0xd800..=0xdbff => {
                        let has_more = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                        self.at += 2;
                        let low = has_more.then(|| self.hex()).flatten()?;
                        char::decode_utf16([unit, low]).next()?.ok()?
                    }
                    unit => char::from_u32(unit.into())?,
                }
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit: u16, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(unit << 4 | u16::try_from(digit).expect("four bits"))
        })
    }

    fn number(&mut self) -> Option<Json<'a>> {
        let start = self.at;
        let is_negative = self.bytes[start] == b'-';
        self.at += usize::from(is_negative);
        let first = self.at;
        let mut int: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            // Wrong past 19 digits, and not looked at then.
            int = int.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let n_digits = self.at - first;
        if n_digits == 0 || (n_digits > 1 && self.bytes[first] == b'0') {
            return None;
        }
        let is_whole = !matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        if is_whole && n_digits <= 18 && !(is_negative && int == 0) {
            let int = int.cast_signed();
            return Some(Json::Int(if is_negative { -int } else { int }));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        // Minus zero is a float.
        if is_whole && let Some(int) = text.parse().ok().filter(|int| *int != 0) {
            return Some(Json::Int(int));
        }
        text.parse().ok().filter(|float: &f64| float.is_finite()).map(Json::Float)
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// Where the text stops standing for itself: at a quote, a backslash or a control character, or at its end.
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match special(u64::from_le_bytes(*chunk)) {
            0 => at += 8,
            marks => return at + marks.trailing_zeros() as usize / 8,
        }
    }
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    bytes.get(at..).map_or(at, |rest| at + rest.iter().take_while(|byte| is_plain(byte)).count())
}

/// Marks the highest bit of the first of eight bytes that ends plain text. Bits above it mean nothing: a borrow may have
/// gone through them.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let below = |word: u64, than: u8| word.wrapping_sub(u64::from(than) * ONES) & !word;
    let quote = below(word ^ (u64::from(b'"') * ONES), 1);
    let backslash = below(word ^ (u64::from(b'\\') * ONES), 1);
    (quote | backslash | below(word, b' ')) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn value(json: Json<'_>) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(bool) => bool.into(),
            Json::Int(int) => int.into(),
            Json::Float(float) => float.into(),
            Json::Str(text) => text.into(),
            Json::List(items) => items.iter().map(|item| value(*item)).collect(),
            Json::Object(entries) => {
                Value::Object(entries.iter().map(|(key, json)| ((*key).to_owned(), value(*json))).collect())
            }
        }
    }

    /// `serde_json` is a float's last bit off at times, and takes whole numbers that no signed one holds.
    fn is_alike(left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => {
                let (one, two) = (left.as_f64().unwrap_or_default(), right.as_f64().unwrap_or_default());
                left == right
                    || ((one - two).abs() <= (one.abs() * f64::EPSILON * 2.0).max(f64::MIN_POSITIVE)
                        && left.is_f64()
                        && !right.is_i64())
            }
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_alike(left, right))
            }
            (Value::Object(left), Value::Object(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .all(|(key, left)| right.get(key).is_some_and(|right| is_alike(left, right)))
            }
            (left, right) => left == right,
        }
    }

    #[track_caller]
    fn agrees(text: &str) {
        let arena = Arena::new();
        let ours = parse(text, &arena).map(value);
        let theirs = serde_json::from_str::<Value>(text).ok();
        let is_same = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => is_alike(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        assert!(is_same, "{text:?}: {ours:?} and {theirs:?}");
    }

    #[test]
    fn the_edges_of_the_grammar_are_serdes() {
        for text in [
            "",
            " ",
            "{}",
            "[]",
            "[ ]",
            "{ }",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "nul",
            "nulla",
            "true",
            "truefalse",
            "1 2",
            "\u{feff}1",
            "\"",
            "\"\\",
            "\"\\u12\"",
            "\"\\u00e9\\n\\/\\b\\f\\r\\t\\\"\\\\\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ud83dx\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ud83d\\n\"",
            "\"\\x\"",
            "\"a\nb\"",
            "\"a\u{1f}b\"",
            "\"a\u{7f}b\"",
            "\"a\0\"",
            "\"abcdefgh\\ni\"",
            "\"äöü€😀äöü€\"",
            "\"éééé\u{1}\"",
            "0",
            "-0",
            "-",
            "00",
            "01",
            "-01",
            "1.",
            ".5",
            "1.5",
            "-1.5e3",
            "1e",
            "1e+",
            "1e-7",
            "1E5",
            "0e1",
            "0.0",
            "-0.0",
            "1e308",
            "1e309",
            "-1e999",
            "1e-999",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678",
            "1234567890123456789",
            "99999999999999999999999999999999999999999",
            "0.1234567890123456789012345678901234567890",
            "+1",
            "1_000",
            "{\"a\":1,\"a\":2}",
            "{\"\\u0061\":1}",
            "\t[\r\n1 , 2\t]\n",
            "{\"a\" : [ { } , null ] }",
        ] {
            agrees(text);
        }
        for depth in [1, 2, 126, 127, 128, 129, 1000] {
            agrees(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            agrees(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z/\\\\\" ]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn documents_are_read_as_serde_reads_them(document in document(), is_pretty in any::<bool>()) {
            let text = if is_pretty { format!("{document:#}") } else { document.to_string() };
            agrees(&text);
        }

        #[test]
        fn damaged_documents_are_judged_as_serde_judges_them(document in document(), at in any::<prop::sample::Index>(),
            with in prop::sample::select(vec!["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "\u{1}", "é", "u"])) {
            let mut text = document.to_string();
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            let until = text.ceil_char_boundary((at + 1).min(text.len()));
            text.replace_range(at..until, with);
            agrees(&text);
        }

        #[test]
        fn no_text_is_judged_otherwise(text in "[\\[\\]{}\",:\\\\ 0-9a-fntrulse.+-]{0,24}") {
            agrees(&text);
        }

        #[test]
        fn marks_stand_at_the_first_special_byte(bytes in prop::collection::vec(
            prop::sample::select(b"ab \"\\\x1f\x7f\x80\xff\xa2\xdc".to_vec()), 0..40), at in 0_usize..10) {
            let expect = bytes.iter().skip(at).position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
            let found = plain_end(&bytes, at);
            prop_assert_eq!(found, expect.map_or(at.max(bytes.len()), |more| at + more));
        }
    }
}
