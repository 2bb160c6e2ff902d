//! KQL text to tokens. An unquoted value may hold blanks, so words come one by one and the parser joins them.

use std::ops::Range;

use super::ast::{RangeComparison, is_special};
use crate::diagnostic::{Code, Diagnostic};
use crate::pattern::wildcard::Piece;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    And,
    Or,
    Not,
    Word(Vec<Piece>),
    Quoted(String),
    Colon,
    Range(RangeComparison),
    OpenParen,
    CloseParen,
    OpenBrace,
    CloseBrace,
    End,
}

impl TokenKind {
    /// As a syntax error names it.
    pub(super) fn describe(&self, written: &str) -> String {
        match self {
            Self::End => "the end of the query".to_owned(),
            Self::Quoted(_) => "a text".to_owned(),
            _ => format!("`{written}`"),
        }
    }
}

pub(super) fn lex(text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer = Lexer { text, at: 0, found: Vec::new() };
    let mut tokens = Vec::new();
    loop {
        let rest = &text[lexer.at..];
        lexer.at += rest.len() - rest.trim_start().len();
        let start = lexer.at;
        let kind = lexer.next();
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, span: start..lexer.at });
        if is_end {
            return (tokens, lexer.found);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    found: Vec<Diagnostic>,
}

impl Lexer<'_> {
    fn next(&mut self) -> TokenKind {
        let rest = &self.text[self.at..];
        let (kind, len) = match rest.as_bytes() {
            [] => (TokenKind::End, 0),
            [b'(', ..] => (TokenKind::OpenParen, 1),
            [b')', ..] => (TokenKind::CloseParen, 1),
            [b'{', ..] => (TokenKind::OpenBrace, 1),
            [b'}', ..] => (TokenKind::CloseBrace, 1),
            [b':', ..] => (TokenKind::Colon, 1),
            [b'<', b'=', ..] => (TokenKind::Range(RangeComparison::LessOrEqual), 2),
            [b'>', b'=', ..] => (TokenKind::Range(RangeComparison::GreaterOrEqual), 2),
            [b'<', ..] => (TokenKind::Range(RangeComparison::Less), 1),
            [b'>', ..] => (TokenKind::Range(RangeComparison::Greater), 1),
            [b'"', ..] => return self.quoted(),
            _ => return self.word(),
        };
        self.at += len;
        kind
    }

    fn quoted(&mut self) -> TokenKind {
        let start = self.at;
        let mut value = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let mut chars = rest.chars();
            match chars.next() {
                None => {
                    let found =
                        Diagnostic::error(Code::UnclosedText, start..start + 1, "the text is not closed");
                    self.found.push(found.with_help("close it with `\"`"));
                    break;
                }
                Some('"') => {
                    self.at += 1;
                    break;
                }
                // A backslash that escapes nothing stands for itself: `"C:\Windows"`.
                Some('\\') => match escape(rest, |c| matches!(c, '\\' | '"')) {
                    Some((c, len)) => {
                        value.push(c);
                        self.at += len;
                    }
                    None => {
                        value.push('\\');
                        self.at += 1;
                    }
                },
                Some(c) => {
                    value.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        TokenKind::Quoted(value)
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        let mut pieces = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(c) = rest.chars().next() else { break };
            let (piece, len) = match c {
                '*' => (Piece::Many, 1),
                '\\' => self.unquoted_escape(rest),
                c if c.is_whitespace() || is_special(c) => break,
                c => (Piece::Text(c.into()), c.len_utf8()),
            };
            push(&mut pieces, piece);
            self.at += len;
        }
        match &self.text[start..self.at] {
            word if word.eq_ignore_ascii_case("and") => TokenKind::And,
            word if word.eq_ignore_ascii_case("or") => TokenKind::Or,
            word if word.eq_ignore_ascii_case("not") => TokenKind::Not,
            _ => TokenKind::Word(pieces),
        }
    }

    fn unquoted_escape(&mut self, rest: &str) -> (Piece, usize) {
        if let Some((c, len)) = escape(rest, is_special) {
            return (Piece::Text(c.into()), len);
        }
        // `\and`, `\or` and `\not` are words, not operators.
        let word = &rest[1..];
        let keyword = ["and", "or", "not"].into_iter().find(|keyword| {
            word.get(..keyword.len()).is_some_and(|start| start.eq_ignore_ascii_case(keyword))
        });
        if let Some(keyword) = keyword {
            return (Piece::Text(word[..keyword.len()].to_owned()), 1 + keyword.len());
        }
        let found =
            Diagnostic::error(Code::UnknownEscape, self.at..self.at + 1, "the backslash escapes nothing");
        self.found.push(found.with_help("write `\\\\` for a backslash, or put the value in quotes"));
        (Piece::Text("\\".to_owned()), 1)
    }
}

/// Texts grow together.
pub(super) fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
        (_, piece) => pieces.push(piece),
    }
}

/// The character that an escape at the start of `rest` stands for, and the bytes it takes.
fn escape(rest: &str, is_escapable: fn(char) -> bool) -> Option<(char, usize)> {
    let c = rest[1..].chars().next()?;
    match c {
        't' => Some(('\t', 2)),
        'r' => Some(('\r', 2)),
        'n' if !rest[1..].get(..3).is_some_and(|word| word.eq_ignore_ascii_case("not")) => Some(('\n', 2)),
        'u' => {
            let digits =
                rest.get(2..6).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, 6))
        }
        c if is_escapable(c) => Some((c, 2)),
        _ => None,
    }
}
