//! The value of a checked expression for one row. Three-valued: a null operand makes a null, and so does a multi-value
//! where one value is meant.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::function;
use super::ir::{Comparison, Ir, Operator};
use super::value::{Cell, Type, compare, from_number, number, of_field};
use crate::eval;
use crate::event::{Event, EventTime, Span};
use crate::literal::{Literal, Number};

/// Where columns are read from.
#[derive(Clone, Copy)]
pub(super) struct Row<'r> {
    /// `None` behind a command that looks at many rows.
    pub(super) event: Option<&'r Event>,
    pub(super) slots: &'r [Cell],
    pub(super) now: EventTime,
}

/// Whether a `WHERE` keeps the row: null does not.
pub(super) fn is_true(ir: &Ir, row: Row<'_>) -> bool {
    truth(ir, row) == Some(true)
}

pub(super) fn cell(ir: &Ir, row: Row<'_>) -> Cell {
    match ir {
        Ir::Null => Cell::new(),
        Ir::Literal(literal) => vec![literal.clone()],
        Ir::Field(field, kind) => row.event.map(|event| of_field(event, *field, *kind)).unwrap_or_default(),
        Ir::EventTime => row.event.map(|event| Literal::Date(event.time)).into_iter().collect(),
        Ir::Now => vec![Literal::Date(row.now)],
        Ir::EventId => row.event.map(|event| Literal::Text(event.id.clone())).into_iter().collect(),
        Ir::EventIndex => row.event.map(|event| Literal::Text(event.index.clone())).into_iter().collect(),
        Ir::Slot(slot) => row.slots.get(*slot).cloned().unwrap_or_default(),
        Ir::Arithmetic(operator, kind, sides) => {
            let numbers = single(&sides.0, row).zip(single(&sides.1, row));
            numbers
                .and_then(|(left, right)| arithmetic(*operator, *kind, left.as_ref(), right.as_ref()))
                .into_iter()
                .collect()
        }
        Ir::Shift(date, nanos) => date_of(date, row)
            .and_then(|time| time.0.checked_add(*nanos))
            .map(|nanos| Literal::Date(EventTime(nanos)))
            .into_iter()
            .collect(),
        Ir::Truncate(date, span) => {
            date_of(date, row).map(|time| Literal::Date(bucket(time, *span))).into_iter().collect()
        }
        Ir::Call(function, args) => {
            let args: Vec<Cell> = args.iter().map(|arg| cell(arg, row)).collect();
            function::call(*function, &args)
        }
        Ir::Case(arms, otherwise) => {
            let arm = arms.iter().find(|(condition, _)| is_true(condition, row));
            cell(arm.map_or(otherwise, |(_, value)| value), row)
        }
        boolean => truth(boolean, row).map(Literal::Bool).into_iter().collect(),
    }
}

fn truth(ir: &Ir, row: Row<'_>) -> Option<bool> {
    match ir {
        Ir::All(parts) => parts
            .iter()
            .try_fold(Some(true), |so_far, part| match truth(part, row) {
                Some(false) => Err(Some(false)),
                None => Ok(None),
                Some(true) => Ok(so_far),
            })
            .unwrap_or_else(|decided| decided),
        Ir::Any(parts) => parts
            .iter()
            .try_fold(Some(false), |so_far, part| match truth(part, row) {
                Some(true) => Err(Some(true)),
                None => Ok(None),
                Some(false) => Ok(so_far),
            })
            .unwrap_or_else(|decided| decided),
        Ir::Not(part) => truth(part, row).map(|truth| !truth),
        Ir::Compare(comparison, sides) => {
            let (left, right) = (single(&sides.0, row)?, single(&sides.1, row)?);
            holds(*comparison, compare(left.as_ref(), right.as_ref())?)
        }
        Ir::In(value, items) => is_in(single(value, row)?.as_ref(), items, row),
        Ir::Like(value, patterns) => {
            let text = text_of(value, row)?;
            Some(patterns.iter().any(|pattern| pattern.is_match(&text)))
        }
        Ir::Rlike(value, patterns) => {
            let text = text_of(value, row)?;
            Some(patterns.iter().any(|pattern| pattern.is_match(&text)))
        }
        Ir::Cidr(value, nets) => match single(value, row)?.as_ref() {
            Literal::Ip(ip) => Some(nets.contains(*ip)),
            _ => None,
        },
        Ir::IsNull(value) => Some(is_null(value, row)),
        Ir::Predicate(predicate) => row.event.map(|event| eval::matches(predicate, event)),
        value => match single(value, row)?.as_ref() {
            Literal::Bool(bool) => Some(*bool),
            _ => None,
        },
    }
}

/// Buckets are counted from the epoch, a Thursday; but one of a week begins on Monday.
fn bucket(time: EventTime, span: Span) -> EventTime {
    const DAY: i64 = 86_400 * 1_000_000_000;
    let start = if span.0 == 7 * DAY { 4 * DAY } else { 0 };
    EventTime(time.0.saturating_sub(time.0.saturating_sub(start).rem_euclid(span.0)))
}

/// True where an item is equal; null where none is and one of them is null.
fn is_in(value: &Literal, items: &[Ir], row: Row<'_>) -> Option<bool> {
    let mut answer = Some(false);
    for item in items {
        match single(item, row).and_then(|item| compare(value, item.as_ref())) {
            Some(Ordering::Equal) => return Some(true),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

fn holds(comparison: Comparison, order: Ordering) -> Option<bool> {
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

/// The value where there is one and no more.
fn single<'r>(ir: &'r Ir, row: Row<'r>) -> Option<Cow<'r, Literal>> {
    match ir {
        Ir::Literal(literal) => Some(Cow::Borrowed(literal)),
        Ir::Slot(slot) => match row.slots.get(*slot)?.as_slice() {
            [one] => Some(Cow::Borrowed(one)),
            _ => None,
        },
        computed => {
            let mut cell = cell(computed, row);
            match cell.len() {
                1 => cell.pop().map(Cow::Owned),
                _ => None,
            }
        }
    }
}

fn is_null(ir: &Ir, row: Row<'_>) -> bool {
    match ir {
        Ir::Slot(slot) => row.slots.get(*slot).is_none_or(Cell::is_empty),
        computed => cell(computed, row).is_empty(),
    }
}

fn text_of<'r>(ir: &'r Ir, row: Row<'r>) -> Option<Cow<'r, str>> {
    match single(ir, row)? {
        Cow::Borrowed(Literal::Text(text)) => Some(Cow::Borrowed(text)),
        Cow::Owned(Literal::Text(text)) => Some(Cow::Owned(text.into_string())),
        _ => None,
    }
}

fn date_of(ir: &Ir, row: Row<'_>) -> Option<EventTime> {
    match single(ir, row)?.as_ref() {
        Literal::Date(time) => Some(*time),
        _ => None,
    }
}

/// Null where the result is no number of its type, as Elasticsearch warns and gives null.
fn arithmetic(operator: Operator, kind: Type, left: &Literal, right: &Literal) -> Option<Literal> {
    let result = match (number(left)?, number(right)?) {
        (Number::Int(left), Number::Int(right)) if kind == Type::Long => Number::Int(match operator {
            Operator::Add => left.checked_add(right)?,
            Operator::Subtract => left.checked_sub(right)?,
            Operator::Multiply => left.checked_mul(right)?,
            Operator::Divide => left.checked_div(right)?,
            Operator::Modulo => left.checked_rem(right)?,
        }),
        (left, right) => {
            let (left, right) = (left.as_f64(), right.as_f64());
            let float = match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide => left / right,
                Operator::Modulo => left % right,
            };
            Number::Float(Some(float).filter(|float| float.is_finite())?)
        }
    };
    Some(from_number(result))
}
