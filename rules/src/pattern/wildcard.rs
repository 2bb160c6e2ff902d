//! Wildcard patterns: `*` is any text, `?` one character. Which characters of a query are wildcards, the language
//! decides; a pattern arrives here in pieces.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::{Case, ascii, fold};

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    Text(String),
    /// `?`
    One,
    /// `*`
    Many,
}

/// Pieces of a text in which every `*` and `?` is a wildcard, as in EQL, where nothing escapes them.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for c in text.chars() {
        match c {
            '*' => pieces.push(Piece::Many),
            '?' => pieces.push(Piece::One),
            c => match pieces.last_mut() {
                Some(Piece::Text(text)) => text.push(c),
                _ => pieces.push(Piece::Text(c.into())),
            },
        }
    }
    pieces
}

/// A compiled pattern that matches a whole value.
#[derive(Debug, Clone)]
pub struct Wildcard {
    pieces: Box<[Piece]>,
    case: Case,
    shape: Shape,
}

/// The cases worth a shortcut. Texts are folded where the pattern is.
#[derive(Debug, Clone)]
enum Shape {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    /// Literal head and tail, and the literals to be found between them in order.
    Ordered {
        head: Box<str>,
        middle: Box<[Box<str>]>,
        tail: Box<str>,
    },
    /// Holds a `?`.
    Chars(Box<[CharPiece]>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum CharPiece {
    Char(char),
    One,
    Many,
}

impl Wildcard {
    pub fn new(pieces: Vec<Piece>, case: Case) -> Self {
        let mut normal: Vec<Piece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match (normal.last_mut(), piece) {
                (Some(Piece::Many), Piece::Many) => {}
                (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&case.apply(&more)),
                (_, Piece::Text(text)) if text.is_empty() => {}
                (_, Piece::Text(text)) => normal.push(Piece::Text(case.apply(&text).into_owned())),
                (_, piece) => normal.push(piece),
            }
        }
        let shape = Shape::of(&normal);
        Self { pieces: normal.into(), case, shape }
    }

    pub fn prefix(text: &str, case: Case) -> Self {
        Self::new(vec![Piece::Text(text.to_owned()), Piece::Many], case)
    }

    pub fn suffix(text: &str, case: Case) -> Self {
        Self::new(vec![Piece::Many, Piece::Text(text.to_owned())], case)
    }

    pub fn contains(text: &str, case: Case) -> Self {
        Self::new(vec![Piece::Many, Piece::Text(text.to_owned()), Piece::Many], case)
    }

    pub fn is_match(&self, text: &str) -> bool {
        match self.case {
            Case::Sensitive => self.shape.is_match(text),
            Case::Folded if text.is_ascii() => self.shape.is_ascii_match(text),
            Case::Folded => self.shape.is_match(&fold(text)),
        }
    }

    /// How many wildcards are left once runs of `*` are one.
    pub fn n_wildcards(&self) -> usize {
        self.pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count()
    }

    /// The pattern's one text where it has no wildcard.
    pub fn as_exact(&self) -> Option<&str> {
        match &self.shape {
            Shape::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// Literals that every match holds, folded where [`Self::case`] says so.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::One | Piece::Many => None,
        })
    }

    /// In order, texts folded where [`Self::case`] says so.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn case(&self) -> Case {
        self.case
    }
}

impl Shape {
    fn of(pieces: &[Piece]) -> Self {
        use Piece::{Many, Text};
        match pieces {
            [] => Self::Exact("".into()),
            [Text(text)] => Self::Exact(text.as_str().into()),
            [Text(text), Many] => Self::Prefix(text.as_str().into()),
            [Many, Text(text)] => Self::Suffix(text.as_str().into()),
            [Many, Text(text), Many] => Self::Contains(text.as_str().into()),
            _ if pieces.contains(&Piece::One) => Self::Chars(chars(pieces)),
            _ => Self::ordered(pieces),
        }
    }

    fn ordered(pieces: &[Piece]) -> Self {
        let text = |piece: Option<&Piece>| match piece {
            Some(Piece::Text(text)) => text.as_str().into(),
            _ => "".into(),
        };
        let middle = match pieces {
            [_, middle @ .., _] => middle,
            _ => &[],
        };
        let middle = middle.iter().filter(|piece| **piece != Piece::Many).map(|piece| text(Some(piece)));
        Self::Ordered { head: text(pieces.first()), middle: middle.collect(), tail: text(pieces.last()) }
    }

    fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Contains(part) => text.contains(&**part),
            Self::Ordered { head, middle, tail } => {
                let Some(rest) = text.strip_prefix(&**head).and_then(|rest| rest.strip_suffix(&**tail))
                else {
                    return false;
                };
                holds_in_order(rest, middle)
            }
            Self::Chars(pieces) => chars_match(pieces, text),
        }
    }
}

/// Matching without case over ASCII, which is nearly all there is, copies nothing. Patterns are in lower case.
impl Shape {
    fn is_ascii_match(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        match self {
            Self::Exact(exact) => text.eq_ignore_ascii_case(exact),
            Self::Prefix(prefix) => ascii::strip_prefix(bytes, prefix.as_bytes()).is_some(),
            Self::Suffix(suffix) => ascii::strip_suffix(bytes, suffix.as_bytes()).is_some(),
            Self::Contains(part) => ascii::find(bytes, part.as_bytes()).is_some(),
            Self::Ordered { head, middle, tail } => {
                let rest = ascii::strip_prefix(bytes, head.as_bytes());
                let rest = rest.and_then(|rest| ascii::strip_suffix(rest, tail.as_bytes()));
                let Some(mut rest) = rest else { return false };
                for part in middle {
                    let Some(at) = ascii::find(rest, part.as_bytes()) else { return false };
                    rest = &rest[at + part.len()..];
                }
                true
            }
            Self::Chars(pieces) => chars_match(pieces, &text.to_ascii_lowercase()),
        }
    }
}

fn holds_in_order(mut rest: &str, parts: &[Box<str>]) -> bool {
    for part in parts {
        let Some(at) = rest.find(&**part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn chars(pieces: &[Piece]) -> Box<[CharPiece]> {
    let mut chars = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => chars.extend(text.chars().map(CharPiece::Char)),
            Piece::One => chars.push(CharPiece::One),
            Piece::Many => chars.push(CharPiece::Many),
        }
    }
    chars.into()
}

/// Greedy with one point of return, the last `*`: quadratic at worst, never exponential.
fn chars_match(pattern: &[CharPiece], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        match pattern.get(at) {
            Some(CharPiece::Many) => {
                at += 1;
                retry = Some((at, rest.clone()));
                continue;
            }
            Some(CharPiece::One) if rest.next().is_some() => {
                at += 1;
                continue;
            }
            Some(CharPiece::Char(c)) if rest.next() == Some(*c) => {
                at += 1;
                continue;
            }
            None if rest.as_str().is_empty() => return true,
            _ => {}
        }
        let Some((resume_at, resume)) = &mut retry else { return false };
        if resume.next().is_none() {
            return false;
        }
        (at, rest) = (*resume_at, resume.clone());
    }
}

impl PartialEq for Wildcard {
    fn eq(&self, other: &Self) -> bool {
        self.case == other.case && self.pieces == other.pieces
    }
}

impl Eq for Wildcard {}

impl Hash for Wildcard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pieces.hash(state);
        self.case.hash(state);
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::One => f.write_str("?")?,
                Piece::Many => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, text: &str, expect: bool) {
        let is_match = Wildcard::new(pieces(pattern), Case::Sensitive).is_match(text);
        assert_eq!(is_match, expect, "{pattern} on {text}");
    }

    #[test]
    fn each_shape_matches_whole_values() {
        for (pattern, text, expect) in [
            ("", "", true),
            ("", "a", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("*x*", "abc", false),
            ("a*c", "abc", true),
            ("a*a", "a", false),
            ("aa*aa", "aaa", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("*a*b*", "xbxa", false),
            ("?", "", false),
            ("?", "é", true),
            ("a?c*", "abcd", true),
            ("*?b", "b", false),
            ("*?b", "ab", true),
            (r"C:\*\cmd.exe", r"C:\Windows\cmd.exe", true),
        ] {
            check(pattern, text, expect);
        }
    }

    #[test]
    fn folded_patterns_ignore_case_beyond_ascii() {
        let wildcard = Wildcard::new(pieces("*ÄRGER?"), Case::Folded);
        assert!(wildcard.is_match("Viel Ärger!"));
        assert_eq!(Wildcard::new(pieces("A*"), Case::Folded), Wildcard::new(pieces("a**"), Case::Folded));
    }

    /// The definition, exponential and obviously right.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, rest) => rest.is_none(),
            (Some('*'), _) => {
                reference(&pattern[1..], text) || (!text.is_empty() && reference(pattern, &text[1..]))
            }
            (Some('?'), Some(_)) => reference(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) if p == t => reference(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn folding_agrees_with_lower_case(pattern in "[abAB*?é]{0,7}", text in "[abABé]{0,8}|[abAB]{0,8}") {
            let expect = Wildcard::new(pieces(&pattern.to_lowercase()), Case::Sensitive).is_match(&text.to_lowercase());
            prop_assert_eq!(Wildcard::new(pieces(&pattern), Case::Folded).is_match(&text), expect);
        }

        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,7}", text in "[abé]{0,8}") {
            let expect = reference(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(Wildcard::new(pieces(&pattern), Case::Sensitive).is_match(&text), expect);
        }
    }
}
