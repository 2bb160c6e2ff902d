//! Strings that somebody else wrote, made safe for one line of a terminal, a log or a report.
//!
//! Command lines, user agents, host names and file names are chosen by the people we watch. This is the one place
//! that turns them into something to look at: nothing that moves a cursor, changes a title, reorders or hides text, or
//! begins a new line gets through, and what was there stays visible as an escape. Storage and matching never come here.

use std::fmt::{self, Display, Write};

use unicode_width::UnicodeWidthChar;

/// How many combining marks may sit on one character; more than that is painting, not language.
const MAX_MARKS: usize = 3;

/// A string of unknown origin. `Display` writes it on one line, with escapes for whatever is not plain text.
///
/// A backslash is doubled, so what is shown stands for exactly one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untrusted<T>(pub T);

impl<T: AsRef<str>> Untrusted<T> {
    /// The safe form, at most `max_width` terminal columns, with `…` where it was cut.
    ///
    /// Reads no further than it has to: a string of megabytes costs no more than one that fits.
    pub fn fit(&self, max_width: usize) -> String {
        fit(self.0.as_ref(), max_width)
    }
}

impl<T: AsRef<str>> Display for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = Pieces::new(self.0.as_ref());
        while let Some(piece) = pieces.next_piece() {
            f.write_str(piece.as_str())?;
        }
        Ok(())
    }
}

/// Whether a terminal or a viewer would do something with the character other than draw it.
///
/// Controls, everything that reorders or hides text, invisible fillers, tag and variation characters, line and paragraph
/// separators, and what is no character: receivers refuse a text for it.
pub fn is_active(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Terminal columns of a string that is already safe.
pub(crate) fn width(safe: &str) -> usize {
    safe.chars().map(|c| c.width().unwrap_or(0)).sum()
}

fn fit(text: &str, max_width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    // Where the text must end, should it turn out to need an ellipsis.
    let mut cut_at = 0;
    let mut pieces = Pieces::new(text);
    while let Some(piece) = pieces.next_piece() {
        if used + piece.width > max_width {
            out.truncate(cut_at);
            if max_width > 0 {
                out.push('…');
            }
            return out;
        }
        out.push_str(piece.as_str());
        used += piece.width;
        if used < max_width {
            cut_at = out.len();
        }
    }
    out
}

/// A character as it will be shown, and its columns.
struct Piece {
    text: shown::Text,
    width: usize,
}

impl Piece {
    fn as_str(&self) -> &str {
        self.text.as_str()
    }
}

struct Pieces<'a> {
    chars: std::str::Chars<'a>,
    marks: usize,
}

impl<'a> Pieces<'a> {
    fn new(text: &'a str) -> Self {
        // A mark at the very start would sit on whatever we print before the string.
        Self { chars: text.chars(), marks: MAX_MARKS }
    }

    fn next_piece(&mut self) -> Option<Piece> {
        let c = self.chars.next()?;
        let columns = c.width().unwrap_or(0);
        let is_mark = columns == 0 && !is_active(c);
        self.marks = if is_mark { self.marks + 1 } else { 0 };
        let mut text = shown::Text::default();
        let written = match c {
            '\n' => text.write_str("\\n"),
            '\r' => text.write_str("\\r"),
            '\t' => text.write_str("\\t"),
            '\\' => text.write_str("\\\\"),
            '\u{0}'..='\u{1f}' | '\u{7f}' => write!(text, "\\x{:02x}", u32::from(c)),
            c if is_active(c) || self.marks > MAX_MARKS => write!(text, "\\u{{{:x}}}", u32::from(c)),
            c => text.write_char(c),
        };
        written.expect("the longest escape is ten bytes");
        let width = width(text.as_str());
        Some(Piece { text, width })
    }
}

/// Room for one shown character on the stack.
mod shown {
    #[derive(Default)]
    pub(super) struct Text {
        bytes: [u8; 12],
        len: usize,
    }

    impl Text {
        pub(super) fn as_str(&self) -> &str {
            std::str::from_utf8(&self.bytes[..self.len]).expect("only whole strings are written")
        }
    }

    impl std::fmt::Write for Text {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.len += text.len();
            Ok(())
        }
    }
}

/// Strings that have broken viewers before: every renderer is tested with all of them.
#[cfg(test)]
pub(crate) mod corpus {
    pub(crate) fn hostile() -> Vec<String> {
        let mut strings: Vec<String> = [
            "\x1b[31mred\x1b[0m",
            "\x1b]0;owned\x07",
            "\x1b]8;;http://example.invalid\x1b\\click\x1b]8;;\x1b\\",
            "\x1b]52;c;ZWNobyBoaQ==\x07",
            "\x1bP$q\"p\x1b\\",
            "\u{9b}31mC1 CSI",
            "\u{9d}0;C1 OSC\u{9c}",
            "bell\x07 back\x08space \x7fdel nul\0",
            "first\nsecond\r\nthird\rover",
            "tab\there\x0bvertical\x0cform",
            "line\u{2028}separator\u{2029}paragraph\u{85}next",
            "gpj.\u{202e}exe.evil\u{202c}",
            "\u{2066}isolate\u{2069}\u{200e}\u{200f}\u{61c}",
            "zero\u{200b}width\u{200c}join\u{200d}er\u{2060}\u{feff}",
            "tags\u{e0041}\u{e007f} vs\u{fe0f}\u{e0100}",
            "filler\u{3164}\u{115f}\u{ffa0}\u{ad}\u{180e}",
            "漢字かな交じり文 🦀🔥 wide",
            "back\\slash \\x1b[0m literal",
            "{\"json\":\"inside\"}\n{\"event\":{\"kind\":\"alert\"}}",
            "│ └─ fake tree",
            "",
            " ",
        ]
        .map(String::from)
        .to_vec();
        strings.push(format!("z{}", "\u{301}\u{489}".repeat(500)));
        strings.push("A".repeat(200_000));
        strings.push("\x1b[".repeat(100_000));
        strings.push("界".repeat(50_000));
        strings
    }

    /// Panics when the text could do anything to a terminal, but for newlines and the colours we write ourselves.
    pub(crate) fn assert_inert(text: &str) {
        for line in strip_own_colours(text).split('\n') {
            if let Some(bad) = line.chars().find(|&c| super::is_active(c)) {
                panic!("{bad:?} reached the output in {line:?}");
            }
        }
    }

    /// Removes `ESC [ digits ; digits m`, the only sequence our styles write.
    pub(crate) fn strip_own_colours(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("\x1b[") {
            out.push_str(&rest[..at]);
            let tail = &rest[at + 2..];
            let end = tail.find(|c: char| !c.is_ascii_digit() && c != ';');
            match end {
                Some(end) if tail[end..].starts_with('m') => rest = &tail[end + 1..],
                _ => {
                    out.push('\x1b');
                    rest = tail;
                }
            }
        }
        out + rest
    }
}

#[cfg(test)]
mod tests {
    use super::corpus::{assert_inert, hostile};
    use super::*;

    #[track_caller]
    fn check(input: &str, expect: &str) {
        assert_eq!(Untrusted(input).to_string(), expect);
    }

    #[test]
    fn plain_text_is_left_alone() {
        check("curl -s http://169.254.169.254/latest/", "curl -s http://169.254.169.254/latest/");
        check("naïve 漢字 🦀", "naïve 漢字 🦀");
        check("e\u{301}te\u{301}", "e\u{301}te\u{301}");
    }

    #[test]
    fn what_a_terminal_acts_on_becomes_visible() {
        check("\x1b]0;owned\x07", "\\x1b]0;owned\\x07");
        check("a\nb\tc\rd", "a\\nb\\tc\\rd");
        check("\u{9b}31m", "\\u{9b}31m");
        check("gpj.\u{202e}exe", "gpj.\\u{202e}exe");
        check("a\u{2028}b\u{feff}", "a\\u{2028}b\\u{feff}");
    }

    #[test]
    fn an_escape_and_its_literal_text_look_different() {
        check("\x1b", "\\x1b");
        check("\\x1b", "\\\\x1b");
    }

    #[test]
    fn marks_cannot_pile_up_nor_sit_on_our_own_text() {
        check("a\u{301}\u{301}\u{301}\u{301}", "a\u{301}\u{301}\u{301}\\u{301}");
        check("\u{301}a", "\\u{301}a");
    }

    #[test]
    fn a_cut_string_ends_in_an_ellipsis_and_fits() {
        assert_eq!(Untrusted("abcdef").fit(6), "abcdef");
        assert_eq!(Untrusted("abcdefg").fit(6), "abcde…");
        assert_eq!(Untrusted("漢字漢字").fit(5), "漢字…");
        assert_eq!(Untrusted("漢字漢字").fit(6), "漢字…");
        assert_eq!(Untrusted("a\x1bb").fit(4), "a…");
        assert_eq!(Untrusted("abc").fit(0), "");
        assert_eq!(Untrusted("abc").fit(1), "…");
    }

    #[test]
    fn nothing_of_the_corpus_gets_through_at_any_width() {
        for text in hostile() {
            assert_inert(&Untrusted(&text).to_string());
            assert!(!Untrusted(&text).to_string().contains('\n'));
            for max_width in [0, 1, 2, 7, 80] {
                let fitted = Untrusted(&text).fit(max_width);
                assert_inert(&fitted);
                assert!(width(&fitted) <= max_width, "{fitted:?} is wider than {max_width}");
                assert!(fitted.len() <= max_width * 12 + 3, "a narrow cell holds {} bytes", fitted.len());
            }
        }
    }
}
