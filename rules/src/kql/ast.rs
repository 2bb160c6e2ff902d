//! What a KQL query says, as written. Printing a tree gives a text that parses to it.

use std::fmt;
use std::ops::Range;

use crate::pattern::wildcard::Piece;

#[derive(Debug, Clone)]
pub struct Node {
    pub span: Range<usize>,
    pub kind: Kind,
}

/// Places do not count.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// The empty query.
    All,
    /// Something that did not parse and is reported already.
    Invalid,
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    /// `field: values`
    Is {
        field: Value,
        values: Values,
    },
    /// `field >= value`
    Range {
        field: Value,
        comparison: RangeComparison,
        value: Value,
    },
    /// `field: { query }`
    Nested {
        field: Value,
        query: Box<Node>,
    },
    /// A value without a field.
    Bare(Value),
}

/// What a field may hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    One(Value),
    Or(Vec<Values>),
    And(Vec<Values>),
    Not(Box<Values>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeComparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value or a field name. Quoted ones have no wildcard.
#[derive(Debug, Clone)]
pub struct Value {
    pub span: Range<usize>,
    /// Neighbours are never both texts.
    pub pieces: Vec<Piece>,
    /// In a field of free text the words stand one behind the other.
    pub is_quoted: bool,
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }
}

impl Value {
    /// The text, where there is no wildcard.
    pub fn as_text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// `*` alone.
    pub fn is_anything(&self) -> bool {
        !self.pieces.is_empty() && self.pieces.iter().all(|piece| *piece == Piece::Many)
    }
}

impl RangeComparison {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::All => Ok(()),
            Kind::Invalid => f.write_str("<invalid>"),
            Kind::Or(parts) => write_chain(f, parts, "or"),
            Kind::And(parts) => write_chain(f, parts, "and"),
            Kind::Not(part) => write!(f, "not {}", Grouped(part)),
            Kind::Is { field, values } => write!(f, "{field}: {values}"),
            Kind::Range { field, comparison, value } => write!(f, "{field} {} {value}", comparison.as_str()),
            Kind::Nested { field, query } => write!(f, "{field}: {{ {query} }}"),
            Kind::Bare(value) => write!(f, "{value}"),
        }
    }
}

/// A part of a chain, in parentheses where it is one itself.
struct Grouped<'a>(&'a Node);

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Or(_) | Kind::And(_) | Kind::Not(_) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

fn write_chain(f: &mut fmt::Formatter<'_>, parts: &[Node], word: &str) -> fmt::Result {
    for (idx, part) in parts.iter().enumerate() {
        if idx > 0 {
            write!(f, " {word} ")?;
        }
        write!(f, "{}", Grouped(part))?;
    }
    Ok(())
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            f.write_str("(")?;
            for (idx, part) in parts.iter().enumerate() {
                if idx > 0 {
                    write!(f, " {word} ")?;
                }
                write!(f, "{part}")?;
            }
            f.write_str(")")
        };
        match self {
            Self::One(value) => write!(f, "{value}"),
            Self::Or(parts) => list(f, parts, "or"),
            Self::And(parts) => list(f, parts, "and"),
            Self::Not(part) => write!(f, "(not {part})"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => write_quoted(f, text),
            None => self.pieces.iter().try_for_each(|piece| match piece {
                Piece::Many => f.write_str("*"),
                Piece::One => f.write_str("?"),
                Piece::Text(text) => write_unquoted(f, text),
            }),
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

fn write_unquoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            // Blanks would be trimmed, or make words of the text that could be keywords.
            c if c.is_whitespace() => write!(f, "\\u{:04x}", c as u32)?,
            c if is_special(c) => write!(f, "\\{c}")?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

/// Characters that end an unquoted value unless escaped.
pub(super) fn is_special(c: char) -> bool {
    matches!(c, '\\' | '(' | ')' | ':' | '<' | '>' | '"' | '*' | '{' | '}')
}
