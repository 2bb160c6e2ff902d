//! Values of scalar expressions.

use std::cmp::Ordering;

use super::{function, matches, passes};
use crate::event::{Event, Value};
use crate::expr::{Comparison, Scalar};
use crate::literal::{Literal, number_of};

/// A function over several multi-valued fields sees every combination of their values, up to this many. Beyond, the
/// remaining ones are not looked at: an event must not be able to buy unbounded work.
const MAX_COMBINATIONS: usize = 4096;

/// The values of a scalar for one event. None: null.
pub(super) fn values(scalar: &Scalar, event: &Event) -> Vec<Value> {
    match scalar {
        Scalar::Null => Vec::new(),
        Scalar::Literal(literal) => vec![value_of(literal)],
        Scalar::Field(field) => event.get(*field).map(|value| value.scalars().to_vec()).unwrap_or_default(),
        Scalar::Call(function, args) => {
            let args: Vec<Vec<Value>> = args.iter().map(|arg| values(arg, event)).collect();
            let mut results = Vec::new();
            each_combination(&args, &mut |args| results.extend(function::call(*function, args)));
            results
        }
        Scalar::Compare(comparison, sides) => {
            let args = [values(&sides.0, event), values(&sides.1, event)];
            let mut results = Vec::new();
            each_combination(&args, &mut |args| {
                results.extend(compare(args[0], args[1]).map(|order| Value::Bool(holds(*comparison, order))));
            });
            results
        }
        Scalar::Test(scalar, test) => {
            values(scalar, event).iter().map(|value| Value::Bool(passes(test, value))).collect()
        }
        Scalar::Is(expr) => vec![Value::Bool(matches(expr, event))],
    }
}

pub(super) fn is_true(value: &Value) -> bool {
    matches!(value, Value::Bool(true))
}

pub(super) fn value_of(literal: &Literal) -> Value {
    match literal {
        Literal::Text(text) => Value::str(&**text),
        Literal::Int(int) => Value::Int(*int),
        Literal::Float(float) => Value::Float(float.get()),
        Literal::Bool(bool) => Value::Bool(*bool),
        Literal::Ip(ip) => Value::str(ip.to_string()),
        Literal::Date(time) => Value::Int(time.0 / 1_000_000),
    }
}

/// Counts through the combinations like an odometer, the last operand fastest.
fn each_combination(args: &[Vec<Value>], visit: &mut dyn FnMut(&[&Value])) {
    if args.iter().any(Vec::is_empty) {
        return;
    }
    let mut at = vec![0; args.len()];
    for _ in 0..MAX_COMBINATIONS {
        let picked: Vec<&Value> = args.iter().zip(&at).map(|(values, at)| &values[*at]).collect();
        visit(&picked);
        let Some(turn) = (0..args.len()).rev().find(|idx| at[*idx] + 1 < args[*idx].len()) else { return };
        at[turn] += 1;
        at[turn + 1..].fill(0);
    }
}

pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (left, right) => number_of(left)?.partial_cmp(&number_of(right)?),
    }
}

pub(super) fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}
