//! Aggregates: many rows to one cell.

use std::cmp::Ordering;

use super::value::{Cell, Type, compare, from_number, number};
use crate::literal::{FloatBits, Literal, Number};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Avg,
    Count,
    CountDistinct,
    /// By a second column, or in order of time.
    First,
    Last,
    Max,
    Median,
    Min,
    Percentile(FloatBits),
    StdDev,
    Sum,
    Top {
        limit: usize,
        is_falling: bool,
    },
    Values,
    Variance,
}

/// What stands behind the value in the parentheses of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    Nothing,
    /// A precision, which an exact count does not need.
    Ignored,
    /// The column that decides which value is first.
    Order,
    /// Which percentile.
    Percentile,
    /// How many, and `asc` or `desc`.
    Top,
}

pub(super) fn find(name: &str) -> Option<(Aggregate, Extra)> {
    Some(match name {
        "avg" => (Aggregate::Avg, Extra::Nothing),
        "count" => (Aggregate::Count, Extra::Nothing),
        "count_distinct" => (Aggregate::CountDistinct, Extra::Ignored),
        "first" | "earliest" => (Aggregate::First, Extra::Order),
        "last" | "latest" => (Aggregate::Last, Extra::Order),
        "max" => (Aggregate::Max, Extra::Nothing),
        "median" => (Aggregate::Median, Extra::Nothing),
        "min" => (Aggregate::Min, Extra::Nothing),
        "percentile" => (Aggregate::Percentile(FloatBits::new(50.0)), Extra::Percentile),
        "std_dev" => (Aggregate::StdDev, Extra::Nothing),
        "sum" => (Aggregate::Sum, Extra::Nothing),
        "top" => (Aggregate::Top { limit: 0, is_falling: false }, Extra::Top),
        "values" => (Aggregate::Values, Extra::Nothing),
        "variance" => (Aggregate::Variance, Extra::Nothing),
        _ => return None,
    })
}

impl Aggregate {
    /// The type of the result; `None` where the aggregate does not take such values.
    pub(super) fn gives(self, input: Type) -> Option<Type> {
        let is_number = input.is_number() || input == Type::Null;
        match self {
            Self::Count | Self::CountDistinct => Some(Type::Long),
            Self::Avg | Self::Median | Self::Percentile(_) | Self::StdDev | Self::Variance => {
                is_number.then_some(Type::Double)
            }
            Self::Sum => is_number.then_some(input),
            Self::First | Self::Last | Self::Max | Self::Min | Self::Top { .. } | Self::Values => Some(input),
        }
    }

    /// The rows' cells to one cell. `orders` goes with the cells where a second column decides what is first.
    pub(super) fn of(self, cells: &[Cell], orders: &[Cell]) -> Cell {
        let values = || cells.iter().flatten();
        let numbers = || values().filter_map(number).map(Number::as_f64).collect::<Vec<f64>>();
        let one = |literal: Option<&Literal>| literal.cloned().into_iter().collect::<Cell>();
        match self {
            Self::Count => vec![count(values().count())],
            Self::CountDistinct => vec![count(distinct(cells).len())],
            Self::Values => distinct(cells),
            Self::First if orders.is_empty() => one(values().next()),
            Self::Last if orders.is_empty() => one(values().last()),
            Self::First => one(at_the_end(cells, orders, Ordering::Less)),
            Self::Last => one(at_the_end(cells, orders, Ordering::Greater)),
            Self::Max => one(values().reduce(|most, next| pick(most, next, Ordering::Less))),
            Self::Min => one(values().reduce(|least, next| pick(least, next, Ordering::Greater))),
            Self::Sum => values().filter_map(number).reduce(add).map(from_number).into_iter().collect(),
            Self::Avg => of_numbers(&numbers(), mean),
            Self::Variance => of_numbers(&numbers(), variance),
            Self::StdDev => of_numbers(&numbers(), |numbers| variance(numbers).sqrt()),
            Self::Median => percentile(numbers(), 50.0),
            Self::Percentile(share) => percentile(numbers(), share.get()),
            Self::Top { limit, is_falling } => {
                let mut all: Cell = values().cloned().collect();
                all.sort_by(|left, right| {
                    let order = compare(left, right).unwrap_or(Ordering::Equal);
                    if is_falling { order.reverse() } else { order }
                });
                all.truncate(limit);
                all
            }
        }
    }
}

/// In the order in which they were first seen.
fn distinct(cells: &[Cell]) -> Cell {
    let mut seen = rustc_hash::FxHashSet::default();
    cells.iter().flatten().filter(|literal| seen.insert(*literal)).cloned().collect()
}

/// The value beside the least or the greatest of the other column. Rows that lack either say nothing.
fn at_the_end<'c>(cells: &'c [Cell], orders: &'c [Cell], side: Ordering) -> Option<&'c Literal> {
    let pairs = cells.iter().zip(orders).filter_map(|(cell, order)| Some((order.first()?, cell.first()?)));
    let best = pairs.reduce(|best, next| if compare(next.0, best.0) == Some(side) { next } else { best });
    best.map(|(_, value)| value)
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

fn of_numbers(numbers: &[f64], value: impl Fn(&[f64]) -> f64) -> Cell {
    if numbers.is_empty() {
        return Cell::new();
    }
    Some(value(numbers)).filter(|float| float.is_finite()).map(float).unwrap_or_default()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Of the population, as Elasticsearch counts it.
fn variance(numbers: &[f64]) -> f64 {
    let mean = mean(numbers);
    numbers.iter().map(|number| (number - mean) * (number - mean)).sum::<f64>() / numbers.len() as f64
}

/// Between its two neighbours where no value is exactly there.
fn percentile(mut numbers: Vec<f64>, share: f64) -> Cell {
    numbers.sort_by(f64::total_cmp);
    of_numbers(&numbers, |numbers| {
        let place = share.clamp(0.0, 100.0) / 100.0 * (numbers.len() - 1) as f64;
        let (low, high) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
        low + (high - low) * place.fract()
    })
}

fn float(float: f64) -> Cell {
    vec![Literal::Float(FloatBits::new(float))]
}

pub(super) fn count(count: usize) -> Literal {
    Literal::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
