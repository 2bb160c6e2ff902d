//! Types as far as comparing goes, and a query's constants read as the type they are compared with.

use std::ops::{Bound, Range};

use crate::diagnostic::{Code, Diagnostic};
use crate::event::EventTime;
use crate::expr::{self, Comparison, Test};
use crate::literal::{Literal, Number, Period, parse_date, parse_ip};
use crate::pattern::Case;
use crate::pattern::cidr::{CidrSet, parse_net};
use crate::schema::FieldType;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// Nothing but null, which fits everywhere.
    Null,
    Boolean,
    Number,
    Text,
    Ip,
    Date,
}

impl Type {
    pub(crate) fn of(kind: FieldType) -> Self {
        match kind {
            FieldType::Keyword | FieldType::Flattened => Self::Text,
            FieldType::Long | FieldType::Double => Self::Number,
            FieldType::Boolean => Self::Boolean,
            FieldType::Date => Self::Date,
            FieldType::Ip => Self::Ip,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Ip => "an IP address",
            Self::Date => "a date",
        }
    }
}

/// The test that a value of type `ty` stands in the relation to the literal. `NotEqual` is the caller's negation.
pub(crate) fn compare(
    ty: Type,
    comparison: Comparison,
    literal: &Literal,
    case: Case,
    span: Range<usize>,
) -> Result<Test, Diagnostic> {
    let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    match ty {
        Type::Text | Type::Null => match literal {
            Literal::Int(_) | Literal::Float(_) if !is_equality => {
                Err(Diagnostic::error(Code::WrongType, span, "a text does not order against a number")
                    .with_help("convert it, as in `number(user.id) < 1000`, or compare with a text"))
            }
            literal if is_equality => Ok(Test::text(&text(literal), case)),
            literal => Ok(ordered(comparison, Literal::Text(text(literal).into()))),
        },
        Type::Number => match as_number(literal) {
            Some(number) => Ok(relation(comparison, number)),
            None => Err(mismatch(ty, literal, span, "compare it with a number")),
        },
        Type::Boolean => match as_boolean(literal) {
            Some(bool) if is_equality => Ok(Test::Equals(bool)),
            Some(_) => Err(Diagnostic::error(Code::WrongType, span, "booleans have no order")
                .with_help("compare with `== true` or `== false`")),
            None => Err(mismatch(ty, literal, span, "compare it with `true` or `false`")),
        },
        Type::Ip => address(comparison, literal, span),
        Type::Date => match period(literal) {
            Some(period) => Ok(dated(comparison, period)),
            None => Err(date_error(literal, span)),
        },
    }
}

fn text(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => text.to_string(),
        Literal::Int(int) => int.to_string(),
        Literal::Float(float) => float.get().to_string(),
        Literal::Bool(bool) => bool.to_string(),
        Literal::Ip(ip) => ip.to_string(),
        Literal::Date(time) => time.0.to_string(),
    }
}

fn as_number(literal: &Literal) -> Option<Literal> {
    match literal {
        Literal::Int(_) => Some(literal.clone()),
        Literal::Float(float) => Some(Number::Float(float.get()).literal()),
        Literal::Text(text) => Number::parse(text).map(Number::literal),
        _ => None,
    }
}

fn as_boolean(literal: &Literal) -> Option<Literal> {
    match literal {
        Literal::Bool(_) => Some(literal.clone()),
        Literal::Text(text) => text.parse().ok().map(Literal::Bool),
        _ => None,
    }
}

/// An address, or for equality a network that holds it, as in an Elasticsearch `ip` field.
fn address(comparison: Comparison, literal: &Literal, span: Range<usize>) -> Result<Test, Diagnostic> {
    let Literal::Text(text) = literal else {
        return Err(mismatch(Type::Ip, literal, span, "compare it with a text such as \"10.0.0.1\""));
    };
    let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if let Some(ip) = parse_ip(text) {
        return Ok(relation(comparison, Literal::Ip(ip)));
    }
    match parse_net(text) {
        Some(net) if is_equality => Ok(Test::Cidr(CidrSet::new(vec![net]))),
        _ => Err(Diagnostic::error(Code::BadAddress, span, format!("{text:?} is no IP address"))
            .with_label("compared with an IP address")
            .with_help("write an address, or a network such as \"10.0.0.0/8\"")),
    }
}

fn period(literal: &Literal) -> Option<Period> {
    match literal {
        Literal::Text(text) => parse_date(text),
        Literal::Int(millis) => {
            let time = EventTime(millis.checked_mul(1_000_000)?);
            Some(Period { first: time, last: time })
        }
        _ => None,
    }
}

fn date_error(literal: &Literal, span: Range<usize>) -> Diagnostic {
    match literal {
        Literal::Text(text) if text.starts_with("now") || text.contains("||") => Diagnostic::error(
            Code::DateMath,
            span,
            format!("{text:?} is relative to the time of the search"),
        )
        .with_help(
            "a rule sees each event once, as it comes: write a fixed date, or leave the condition out",
        ),
        Literal::Text(text) => Diagnostic::error(Code::BadDate, span, format!("{text:?} is no date"))
            .with_help("write \"2026-01-31\" or \"2026-01-31T12:00:00Z\""),
        other => mismatch(Type::Date, other, span, "compare it with a text such as \"2026-01-31T12:00:00Z\""),
    }
}

fn mismatch(ty: Type, literal: &Literal, span: Range<usize>, help: &str) -> Diagnostic {
    let given = match literal {
        Literal::Text(text) => format!("{text:?}"),
        other => format!("`{}`", text(other)),
    };
    Diagnostic::error(Code::WrongType, span, format!("{} is compared with {given}", ty.as_str()))
        .with_help(help)
}

fn relation(comparison: Comparison, literal: Literal) -> Test {
    match comparison {
        Comparison::Equal | Comparison::NotEqual => Test::Equals(literal),
        _ => ordered(comparison, literal),
    }
}

fn ordered(comparison: Comparison, literal: Literal) -> Test {
    let (low, high) = match comparison {
        Comparison::Less => (Bound::Unbounded, Bound::Excluded(literal)),
        Comparison::LessOrEqual => (Bound::Unbounded, Bound::Included(literal)),
        Comparison::Greater => (Bound::Excluded(literal), Bound::Unbounded),
        Comparison::GreaterOrEqual => (Bound::Included(literal), Bound::Unbounded),
        Comparison::Equal | Comparison::NotEqual => {
            (Bound::Included(literal.clone()), Bound::Included(literal))
        }
    };
    Test::Range(expr::Range { low, high })
}

/// A date that leaves its time open is rounded away from the range: `> 2026-01-02` starts with the next day.
fn dated(comparison: Comparison, period: Period) -> Test {
    let first = || Bound::Included(Literal::Date(period.first));
    let last = || Bound::Included(Literal::Date(period.last));
    let (low, high) = match comparison {
        Comparison::Equal | Comparison::NotEqual => (first(), last()),
        Comparison::Less => (Bound::Unbounded, Bound::Excluded(Literal::Date(period.first))),
        Comparison::LessOrEqual => (Bound::Unbounded, last()),
        Comparison::Greater => (Bound::Excluded(Literal::Date(period.last)), Bound::Unbounded),
        Comparison::GreaterOrEqual => (first(), Bound::Unbounded),
    };
    Test::Range(expr::Range { low, high })
}
