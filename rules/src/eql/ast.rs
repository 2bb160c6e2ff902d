//! What an EQL query says, as written: names unresolved, types unknown. Printing a tree gives a text that parses to it.

use std::fmt;
use std::ops::Range;

/// Where a node stands in the text. Places do not count when trees are compared.
#[derive(Debug, Clone, Default)]
pub struct Place(pub Range<usize>);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl Place {
    pub fn to(&self, last: &Self) -> Self {
        Self(self.0.start..last.0.end)
    }

    pub fn span(&self) -> Range<usize> {
        self.0.clone()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    Event(Filter),
    Sequence(Sequence),
    Sample(Sample),
}

/// `process where ...`
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Empty: `any`.
    pub categories: Vec<String>,
    pub condition: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    pub place: Place,
    pub by: Vec<Key>,
    pub maxspan: Option<Maxspan>,
    pub steps: Vec<Step>,
    pub until: Option<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub place: Place,
    pub by: Vec<Key>,
    pub steps: Vec<Step>,
}

/// `[process where ...] by ... with runs=n`
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub place: Place,
    pub is_missing: bool,
    pub filter: Filter,
    pub by: Vec<Key>,
    pub runs: Option<Runs>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub place: Place,
    pub path: String,
    pub is_optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Runs {
    pub place: Place,
    pub count: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Maxspan {
    pub place: Place,
    pub amount: i64,
    pub unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Millis,
    Seconds,
    Minutes,
    Hours,
    Days,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub place: Place,
    pub kind: ExprKind,
    /// Levels of the tree from here down. Bounded by the parser, so that walking a tree needs a bounded stack.
    height: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// Something that did not parse and is reported already.
    Invalid,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Field {
        path: String,
        is_optional: bool,
    },
    Call {
        name: String,
        is_folded: bool,
        args: Vec<Expr>,
    },
    Negate(Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Compare(Compare, Box<Expr>, Box<Expr>),
    Match(Box<Match>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// `operand not in (...)`, `operand : "..."` and their kin.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub operand: Expr,
    pub operator: Matcher,
    pub operator_place: Place,
    pub is_negated: bool,
    pub values: Vec<Expr>,
    /// In parentheses.
    pub is_list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matcher {
    Colon,
    In,
    InFolded,
    Like,
    LikeFolded,
    Regex,
    RegexFolded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Words that cannot start a field without backticks.
pub(super) const KEYWORDS: [&str; 19] = [
    "and", "any", "by", "false", "in", "join", "like", "maxspan", "not", "null", "of", "or", "regex",
    "sample", "sequence", "true", "until", "where", "with",
];

impl Expr {
    pub fn new(place: Place, kind: ExprKind) -> Self {
        let below = |parts: &[Self]| parts.iter().map(|part| part.height).max().unwrap_or(0);
        let height = 1 + match &kind {
            ExprKind::Call { args, .. } => below(args),
            ExprKind::Negate(operand) | ExprKind::Not(operand) => operand.height,
            ExprKind::Arithmetic(_, left, right) | ExprKind::Compare(_, left, right) => {
                left.height.max(right.height)
            }
            ExprKind::Match(test) => test.operand.height.max(below(&test.values)),
            ExprKind::And(parts) | ExprKind::Or(parts) => below(parts),
            _ => 0,
        };
        Self { place, kind, height }
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }
}

impl Matcher {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Colon => ":",
            Self::In => "in",
            Self::InFolded => "in~",
            Self::Like => "like",
            Self::LikeFolded => "like~",
            Self::Regex => "regex",
            Self::RegexFolded => "regex~",
        }
    }
}

impl Arithmetic {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

impl Compare {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
            Self::Days => "d",
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(filter) => write!(f, "{filter}"),
            Self::Sequence(sequence) => write!(f, "{sequence}"),
            Self::Sample(sample) => {
                f.write_str("sample")?;
                write_keys(f, &sample.by)?;
                sample.steps.iter().try_for_each(|step| write!(f, " {step}"))
            }
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sequence")?;
        write_keys(f, &self.by)?;
        if let Some(maxspan) = &self.maxspan {
            write!(f, " with maxspan={}{}", maxspan.amount, maxspan.unit.as_str())?;
        }
        self.steps.iter().try_for_each(|step| write!(f, " {step}"))?;
        match &self.until {
            Some(until) => write!(f, " until {until}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", if self.is_missing { "!" } else { "" }, self.filter)?;
        write_keys(f, &self.by)?;
        match &self.runs {
            Some(runs) => write!(f, " with runs={}", runs.count),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.categories.is_empty() {
            f.write_str("any")?;
        }
        for (idx, category) in self.categories.iter().enumerate() {
            f.write_str(if idx > 0 { ", " } else { "" })?;
            if is_plain(category) { f.write_str(category)? } else { write_text(f, category)? }
        }
        write!(f, " where {}", self.condition)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Invalid => f.write_str("<invalid>"),
            ExprKind::Null => f.write_str("null"),
            ExprKind::Bool(bool) => write!(f, "{bool}"),
            ExprKind::Int(int) => write!(f, "{int}"),
            ExprKind::Float(float) => write!(f, "{float:?}"),
            ExprKind::Text(text) => write_text(f, text),
            ExprKind::Field { path, is_optional } => write_field(f, path, *is_optional),
            ExprKind::Call { name, is_folded, args } => {
                write!(f, "{name}{}(", if *is_folded { "~" } else { "" })?;
                write_list(f, args)?;
                f.write_str(")")
            }
            ExprKind::Negate(operand) => write!(f, "-{}", Operand(operand)),
            ExprKind::Arithmetic(operator, left, right) => {
                write!(f, "{} {} {}", Operand(left), operator.as_str(), Operand(right))
            }
            ExprKind::Compare(operator, left, right) => {
                write!(f, "{} {} {}", Operand(left), operator.as_str(), Operand(right))
            }
            ExprKind::Match(test) => write!(f, "{test}"),
            ExprKind::Not(operand) => write!(f, "not {}", Operand(operand)),
            ExprKind::And(parts) => write_chain(f, parts, "and"),
            ExprKind::Or(parts) => write_chain(f, parts, "or"),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.is_negated { "not " } else { "" };
        write!(f, "{} {not}{} ", Operand(&self.operand), self.operator.as_str())?;
        match self.values.as_slice() {
            [value] if !self.is_list => write!(f, "{value}"),
            values => {
                f.write_str("(")?;
                write_list(f, values)?;
                f.write_str(")")
            }
        }
    }
}

/// An operand, in parentheses unless it is one piece.
struct Operand<'a>(&'a Expr);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            ExprKind::Negate(_)
            | ExprKind::Arithmetic(..)
            | ExprKind::Compare(..)
            | ExprKind::Match(_)
            | ExprKind::Not(_)
            | ExprKind::And(_)
            | ExprKind::Or(_) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

fn write_chain(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str) -> fmt::Result {
    for (idx, part) in parts.iter().enumerate() {
        if idx > 0 {
            write!(f, " {word} ")?;
        }
        write!(f, "{}", Operand(part))?;
    }
    Ok(())
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[Expr]) -> fmt::Result {
    for (idx, item) in items.iter().enumerate() {
        f.write_str(if idx > 0 { ", " } else { "" })?;
        write!(f, "{item}")?;
    }
    Ok(())
}

fn write_keys(f: &mut fmt::Formatter<'_>, keys: &[Key]) -> fmt::Result {
    for (idx, key) in keys.iter().enumerate() {
        f.write_str(if idx > 0 { ", " } else { " by " })?;
        write_field(f, &key.path, key.is_optional)?;
    }
    Ok(())
}

fn write_field(f: &mut fmt::Formatter<'_>, path: &str, is_optional: bool) -> fmt::Result {
    f.write_str(if is_optional { "?" } else { "" })?;
    let is_keyword = KEYWORDS.contains(&path);
    if !is_keyword && path.split('.').all(is_plain) {
        return f.write_str(path);
    }
    write!(f, "`{}`", path.replace('`', "``"))
}

fn is_plain(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '@'))
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@'))
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{{{:02x}}}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}
