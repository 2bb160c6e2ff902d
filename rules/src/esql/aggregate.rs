//! Aggregates: many rows to one cell.

use std::cmp::Ordering;

use super::value::{Cell, Type, compare, from_number, number};
use crate::literal::{FloatBits, Literal, Number};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Avg,
    Count,
    CountDistinct,
    First,
    Last,
    Max,
    Median,
    Min,
    Sum,
    Values,
}

pub(super) fn find(name: &str) -> Option<Aggregate> {
    Some(match name {
        "avg" => Aggregate::Avg,
        "count" => Aggregate::Count,
        "count_distinct" => Aggregate::CountDistinct,
        "first" => Aggregate::First,
        "last" => Aggregate::Last,
        "max" => Aggregate::Max,
        "median" => Aggregate::Median,
        "min" => Aggregate::Min,
        "sum" => Aggregate::Sum,
        "values" => Aggregate::Values,
        _ => return None,
    })
}

impl Aggregate {
    /// The type of the result; `None` where the aggregate does not take such values.
    pub(super) fn gives(self, input: Type) -> Option<Type> {
        match self {
            Self::Count | Self::CountDistinct => Some(Type::Long),
            Self::Avg | Self::Median => (input.is_number() || input == Type::Null).then_some(Type::Double),
            Self::Sum => (input.is_number() || input == Type::Null).then_some(input),
            Self::First | Self::Last | Self::Max | Self::Min | Self::Values => Some(input),
        }
    }

    /// The rows' cells in order of time to one cell.
    pub(super) fn of(self, cells: &[Cell]) -> Cell {
        let values = || cells.iter().flatten();
        let numbers = || values().filter_map(number).map(Number::as_f64).collect::<Vec<f64>>();
        let one = |literal: Option<&Literal>| literal.cloned().into_iter().collect::<Cell>();
        match self {
            Self::Count => vec![count(values().count())],
            Self::CountDistinct => vec![count(distinct(cells).len())],
            Self::Values => distinct(cells),
            Self::First => one(values().next()),
            Self::Last => one(values().last()),
            Self::Max => one(values().reduce(|most, next| pick(most, next, Ordering::Less))),
            Self::Min => one(values().reduce(|least, next| pick(least, next, Ordering::Greater))),
            Self::Sum => values().filter_map(number).reduce(add).map(from_number).into_iter().collect(),
            Self::Avg => match numbers() {
                numbers if numbers.is_empty() => Cell::new(),
                numbers => float(numbers.iter().sum::<f64>() / numbers.len() as f64),
            },
            Self::Median => median(numbers()),
        }
    }
}

/// In the order in which they were first seen.
fn distinct(cells: &[Cell]) -> Cell {
    let mut seen = rustc_hash::FxHashSet::default();
    cells.iter().flatten().filter(|literal| seen.insert(*literal)).cloned().collect()
}

fn pick<'l>(first: &'l Literal, next: &'l Literal, side: Ordering) -> &'l Literal {
    if compare(first, next) == Some(side) { next } else { first }
}

/// Whole numbers stay whole while they fit.
fn add(left: Number, right: Number) -> Number {
    match (left, right) {
        (Number::Int(left), Number::Int(right)) => {
            left.checked_add(right).map_or(Number::Float(left as f64 + right as f64), Number::Int)
        }
        (left, right) => Number::Float(left.as_f64() + right.as_f64()),
    }
}

fn median(mut numbers: Vec<f64>) -> Cell {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => Cell::new(),
        len if len % 2 == 1 => float(numbers[len / 2]),
        len => float((numbers[len / 2 - 1] + numbers[len / 2]) / 2.0),
    }
}

fn float(float: f64) -> Cell {
    vec![Literal::Float(FloatBits::new(float))]
}

fn count(count: usize) -> Literal {
    Literal::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
