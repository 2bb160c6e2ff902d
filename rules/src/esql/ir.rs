//! Expressions with names looked up and types checked: what is evaluated.

use crate::event::Span;
use crate::expr;
use crate::literal::Literal;
use crate::pattern::cidr::CidrSet;
use crate::pattern::regex::Regex;
use crate::pattern::wildcard::Wildcard;
use crate::schema::FieldId;

use super::function::Function;
use super::value::Type;

/// A checked expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ir {
    Null,
    Literal(Literal),
    Field(FieldId, Type),
    /// `@timestamp`
    EventTime,
    /// `NOW()`: when the event happened, and for many rows when the last of them did.
    Now,
    EventId,
    EventIndex,
    /// A computed column.
    Slot(usize),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Compare(Comparison, Box<(Self, Self)>),
    In(Box<Self>, Vec<Self>),
    Like(Box<Self>, Vec<Wildcard>),
    Rlike(Box<Self>, Vec<Regex>),
    Cidr(Box<Self>, CidrSet),
    IsNull(Box<Self>),
    Arithmetic(Operator, Type, Box<(Self, Self)>),
    /// A date moved by so many nanoseconds.
    Shift(Box<Self>, i64),
    /// The start of the bucket of that length.
    Truncate(Box<Self>, Span),
    Call(Function, Vec<Self>),
    /// Conditions with their values, and the value otherwise.
    Case(Vec<(Self, Self)>, Box<Self>),
    /// `KQL("...")`
    Predicate(expr::Expr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Ir {
    /// Whether it is, or any part of it is, what is looked for.
    pub(super) fn has(&self, is_it: &dyn Fn(&Self) -> bool) -> bool {
        let any = |parts: &[Self]| parts.iter().any(|part| part.has(is_it));
        is_it(self)
            || match self {
                Self::Null
                | Self::Literal(_)
                | Self::Field(..)
                | Self::EventTime
                | Self::Now
                | Self::EventId
                | Self::EventIndex
                | Self::Slot(_)
                | Self::Predicate(_) => false,
                Self::All(parts) | Self::Any(parts) | Self::Call(_, parts) => any(parts),
                Self::Not(part)
                | Self::Like(part, _)
                | Self::Rlike(part, _)
                | Self::Cidr(part, _)
                | Self::IsNull(part)
                | Self::Shift(part, _)
                | Self::Truncate(part, _) => part.has(is_it),
                Self::Compare(_, sides) | Self::Arithmetic(_, _, sides) => {
                    sides.0.has(is_it) || sides.1.has(is_it)
                }
                Self::In(value, items) => value.has(is_it) || any(items),
                Self::Case(arms, otherwise) => {
                    otherwise.has(is_it)
                        || arms.iter().any(|(condition, value)| condition.has(is_it) || value.has(is_it))
                }
            }
    }
}
