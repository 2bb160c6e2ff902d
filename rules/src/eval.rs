//! The truth of a predicate for one event. Pure: no clock, no state, no I/O.

mod date;
mod function;
mod scalar;

use std::cmp::Ordering;
use std::ops::Bound;

use crate::event::{Event, Value};
use crate::expr::{Comparison, Expr, Function, Range, Test};
use crate::literal::{FloatBits, Literal, date_of, ip_of, text_of};

/// Whether the event satisfies the predicate.
pub fn matches(expr: &Expr, event: &Event) -> bool {
    match expr {
        Expr::Const(bool) => *bool,
        Expr::And(parts) => parts.iter().all(|part| matches(part, event)),
        Expr::Or(parts) => parts.iter().any(|part| matches(part, event)),
        Expr::Not(part) => !matches(part, event),
        Expr::Exists(field) => event.get(*field).is_some(),
        Expr::IsSingle(field) => event.get(*field).is_some_and(|value| value.scalars().len() == 1),
        Expr::Any(field, test) => {
            event.get(*field).is_some_and(|value| value.scalars().iter().any(|value| passes(test, value)))
        }
        Expr::Item(field, at, test) => event
            .get(*field)
            .and_then(|value| value.scalars().get(*at as usize))
            .is_some_and(|value| passes(test, value)),
        Expr::Holds(scalar) => scalar::values(scalar, event).iter().any(scalar::is_true),
        Expr::IsNull(scalar) => scalar::values(scalar, event).is_empty(),
    }
}

/// The function's value for constants; `None` for null.
pub(crate) fn constant(function: Function, args: &[&Literal]) -> Option<Literal> {
    let args: Vec<Value> = args.iter().map(|arg| scalar::value_of(arg)).collect();
    match function::call(function, &args.iter().collect::<Vec<_>>())? {
        Value::Str(text) => Some(Literal::Text(text.as_str().into())),
        Value::Int(int) => Some(Literal::Int(int)),
        Value::Float(float) => Some(Literal::Float(FloatBits::new(float))),
        Value::Bool(bool) => Some(Literal::Bool(bool)),
        Value::List(_) => None,
    }
}

/// How two constants compare; `None` where their types do not.
pub(crate) fn compare_literals(comparison: Comparison, left: &Literal, right: &Literal) -> Option<bool> {
    scalar::compare(&scalar::value_of(left), &scalar::value_of(right))
        .map(|order| scalar::holds(comparison, order))
}

/// Whether one scalar passes a test.
pub fn passes(test: &Test, value: &Value) -> bool {
    match test {
        Test::Equals(literal) => literal.equals(value),
        Test::In(set) => set.contains(&text_of(value)),
        Test::Wildcard(wildcard) => wildcard.is_match(&text_of(value)),
        Test::Regex(regex) => regex.is_match(&text_of(value)),
        Test::Range(range) => is_within(range, value),
        Test::Cidr(nets) => ip_of(value).is_some_and(|ip| nets.contains(ip)),
        Test::Part(part, range) => {
            date_of(value).is_some_and(|time| is_within(range, &Value::Int(date::part(*part, time))))
        }
    }
}

fn is_within(range: &Range, value: &Value) -> bool {
    let above = |literal: &Literal, is_equal_enough: bool| match literal.compare(value) {
        Some(Ordering::Greater) => true,
        Some(Ordering::Equal) => is_equal_enough,
        _ => false,
    };
    let below = |literal: &Literal, is_equal_enough: bool| match literal.compare(value) {
        Some(Ordering::Less) => true,
        Some(Ordering::Equal) => is_equal_enough,
        _ => false,
    };
    let is_low_enough = match &range.high {
        Bound::Unbounded => true,
        Bound::Included(literal) => below(literal, true),
        Bound::Excluded(literal) => below(literal, false),
    };
    is_low_enough
        && match &range.low {
            Bound::Unbounded => true,
            Bound::Included(literal) => above(literal, true),
            Bound::Excluded(literal) => above(literal, false),
        }
}
