//! Predicates over one event: what every rule language compiles to. Equal predicates are equal values, so that rules
//! can share them.
//!
//! Two-valued: an absent field makes an atom false, and `Not` is plain negation. A language with other rules for nulls
//! spells them out (`a != "x"` of ES|QL is `Exists(a)` and not `Any(a, Equals("x"))`).

use std::ops::Bound;

use crate::literal::Literal;
use crate::pattern::Case;
use crate::pattern::cidr::CidrSet;
use crate::pattern::regex::Regex;
use crate::pattern::set::TextSet;
use crate::pattern::wildcard::Wildcard;
use crate::schema::FieldId;

/// A predicate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expr {
    Const(bool),
    And(Box<[Expr]>),
    Or(Box<[Expr]>),
    Not(Box<Expr>),
    /// The field has a value.
    Exists(FieldId),
    /// The field has exactly one value.
    IsSingle(FieldId),
    /// At least one of the field's values passes.
    Any(FieldId, Test),
    /// The field's value at that place, counted from 0, passes.
    Item(FieldId, u32, Test),
    /// The scalar is true; false and null are not.
    Holds(Scalar),
    /// The scalar has no value.
    IsNull(Scalar),
}

/// A test of one value. The value is read as the type the test speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    Equals(Literal),
    /// The text is one of a set, by case or folded as the set is. One folded text is a set of one.
    In(TextSet),
    Wildcard(Wildcard),
    Regex(Regex),
    Range(Range),
    Cidr(CidrSet),
    /// A part of a point in time, by the clock of UTC.
    Part(DatePart, Range),
}

/// What a calendar or a clock shows of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatePart {
    Minute,
    Hour,
    /// Of the month, from 1.
    Day,
    /// ISO 8601, from 1.
    Week,
    /// From 1.
    Month,
    Year,
}

/// An interval whose bounds are of one type. Texts order by code point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Range {
    pub low: Bound<Literal>,
    pub high: Bound<Literal>,
}

/// An expression with a value, or none: null wherever an operand is. A field with several values gives several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    Null,
    Literal(Literal),
    Field(FieldId),
    Call(Function, Box<[Scalar]>),
    Compare(Comparison, Box<(Scalar, Scalar)>),
    Test(Box<Scalar>, Test),
    /// True or false, never null.
    Is(Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A function over scalars. Positions and lengths count UTF-16 units, as Elasticsearch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    Add,
    Subtract,
    Multiply,
    /// Truncates when both operands are integers; null when the divisor is zero.
    Divide,
    Modulo,
    Negate,
    /// Source, left, right and optionally whether to reach for the last right.
    Between(Case),
    Concat,
    Contains(Case),
    EndsWith(Case),
    /// Null where the text is not found.
    IndexOf(Case),
    Length,
    StartsWith(Case),
    /// Source, start and optionally end; negative positions count from the end.
    Substring,
    ToLower,
    /// Text and optionally its base; null where the text is no number.
    ToNumber,
    ToText,
    ToUpper,
}

impl Expr {
    /// All hold. Flattens, drops what is always true, and is false at once where a part is.
    pub fn and(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Const(true) => {}
                Self::Const(false) => return Self::Const(false),
                Self::And(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 => Self::Const(true),
            1 => flat.remove(0),
            _ => Self::And(flat.into()),
        }
    }

    /// One holds. Flattens, drops what is never true, and is true at once where a part is.
    pub fn or(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Const(false) => {}
                Self::Const(true) => return Self::Const(true),
                Self::Or(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 => Self::Const(false),
            1 => flat.remove(0),
            _ => Self::Or(flat.into()),
        }
    }

    pub fn negate(part: Self) -> Self {
        match part {
            Self::Const(bool) => Self::Const(!bool),
            Self::Not(inner) => *inner,
            part => Self::Not(part.into()),
        }
    }

    /// The field has a value that equals the literal.
    pub fn equals(field: FieldId, literal: Literal) -> Self {
        Self::Any(field, Test::Equals(literal))
    }

    /// Calls `visit` with each field the predicate reads, repeated as it is read.
    pub fn each_field(&self, visit: &mut impl FnMut(FieldId)) {
        match self {
            Self::Const(_) => {}
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_field(visit)),
            Self::Not(part) => part.each_field(visit),
            Self::Exists(field) | Self::IsSingle(field) | Self::Any(field, _) | Self::Item(field, ..) => {
                visit(*field);
            }
            Self::Holds(scalar) | Self::IsNull(scalar) => scalar.each_field(visit),
        }
    }
}

impl Scalar {
    fn each_field(&self, visit: &mut impl FnMut(FieldId)) {
        match self {
            Self::Null | Self::Literal(_) => {}
            Self::Field(field) => visit(*field),
            Self::Call(_, args) => args.iter().for_each(|arg| arg.each_field(visit)),
            Self::Compare(_, sides) => {
                sides.0.each_field(visit);
                sides.1.each_field(visit);
            }
            Self::Test(scalar, _) => scalar.each_field(visit),
            Self::Is(expr) => expr.each_field(visit),
        }
    }
}

impl Test {
    /// Equality with a text, or a set of one where case does not count.
    pub fn text(text: &str, case: Case) -> Self {
        match case {
            Case::Sensitive => Self::Equals(Literal::Text(text.into())),
            Case::Folded => Self::In(TextSet::new([text], case)),
        }
    }

    /// The cheapest test that means the same as the pattern.
    pub fn wildcard(pattern: Wildcard) -> Self {
        match pattern.as_exact() {
            Some(text) => Self::text(text, pattern.case()),
            None => Self::Wildcard(pattern),
        }
    }
}
