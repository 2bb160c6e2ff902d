//! Tokens of EQL. Keywords are words like any other: EQL lets most of them be field names, so the parser decides.

use std::fmt;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Word(String),
    /// A word with `~` right behind it, without the `~`.
    TildeWord(String),
    /// In backticks.
    Quoted(String),
    Text(String),
    Int(i64),
    Float(f64),
    Symbol(Symbol),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Colon,
    Assign,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Dot,
    Comma,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Question,
    Bang,
    Pipe,
}

impl Symbol {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Colon => ":",
            Self::Assign => "=",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Star => "*",
            Self::Slash => "/",
            Self::Percent => "%",
            Self::Dot => ".",
            Self::Comma => ",",
            Self::OpenParen => "(",
            Self::CloseParen => ")",
            Self::OpenBracket => "[",
            Self::CloseBracket => "]",
            Self::Question => "?",
            Self::Bang => "!",
            Self::Pipe => "|",
        }
    }
}

impl TokenKind {
    pub(super) fn is_word(&self, expected: &str) -> bool {
        matches!(self, Self::Word(word) if word == expected)
    }
}

/// As a syntax error names it.
impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::TildeWord(word) => write!(f, "`{word}~`"),
            Self::Quoted(_) => f.write_str("a field in backticks"),
            Self::Text(_) => f.write_str("a text"),
            Self::Int(int) => write!(f, "`{int}`"),
            Self::Float(float) => write!(f, "`{float}`"),
            Self::Symbol(symbol) => write!(f, "`{}`", symbol.as_str()),
            Self::End => f.write_str("the end of the query"),
        }
    }
}
