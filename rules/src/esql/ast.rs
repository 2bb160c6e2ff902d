//! The tree of a query, as written. Names are not looked up yet.

use std::ops::Range;

pub(super) type Span = Range<usize>;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) index: Vec<String>,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Where(Expr),
    Eval(Vec<Assignment>),
    /// Patterns over names.
    Keep(Vec<Name>),
    Drop(Vec<Name>),
    /// Old and new.
    Rename(Vec<(Name, Name)>),
    Stats {
        aggregates: Vec<Aggregate>,
        by: Vec<Assignment>,
        /// `INLINE STATS`: the rows stay.
        is_inline: bool,
    },
    Sort(Vec<SortKey>),
    Limit(usize),
    Grok {
        input: Expr,
        patterns: Vec<Pattern>,
    },
    Dissect {
        input: Expr,
        pattern: Pattern,
        separator: String,
    },
    Expand(Name),
}

/// `name = expr`, or an expression that is named as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    pub(super) name: Name,
    pub(super) expr: Expr,
}

/// `name = aggregate WHERE condition`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aggregate {
    pub(super) column: Assignment,
    pub(super) condition: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct SortKey {
    pub(super) value: Expr,
    pub(super) is_falling: bool,
    /// Where it is not said, a null counts as the greatest.
    pub(super) has_nulls_first: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    pub(super) text: String,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expr {
    pub(super) node: Node,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Nanoseconds.
    Duration(i64),
    Column(String),
    /// `*` of `COUNT(*)`
    Star,
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Binary, Box<(Expr, Expr)>),
    In(Box<Expr>, Vec<Expr>),
    Like(Box<Expr>, Vec<Pattern>),
    Rlike(Box<Expr>, Vec<Pattern>),
    IsNull(Box<Expr>),
    Call(Name, Vec<Expr>),
    /// `field : query`
    Match(Box<Expr>, Box<Expr>),
    /// `{ "option": value }`
    Options(Vec<(String, Expr)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}
