//! Cells of a row: no value is null, several are a multi-value. And their types.

use std::cmp::Ordering;

use crate::event::{Event, EventTime, Value};
use crate::literal::{FloatBits, Literal, Number, float_text, number_of, parse_date, parse_ip, text_of};
use crate::schema::{FieldId, FieldType};

/// The values of a column in one row.
pub(super) type Cell = Vec<Literal>;

/// The type of a column. Known when a query is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Text,
    Long,
    Double,
    Bool,
    Date,
    Ip,
    /// A literal only.
    Duration,
}

impl Type {
    pub(super) fn of_field(kind: FieldType) -> Self {
        match kind {
            FieldType::Keyword | FieldType::Flattened => Self::Text,
            FieldType::Long => Self::Long,
            FieldType::Double => Self::Double,
            FieldType::Boolean => Self::Bool,
            FieldType::Date => Self::Date,
            FieldType::Ip => Self::Ip,
        }
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Long | Self::Double)
    }

    /// The type of a value that may be of either.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (left, right) if left == right => Some(left),
            (Self::Null, one) | (one, Self::Null) => Some(one),
            (left, right) if left.is_number() && right.is_number() => Some(Self::Double),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text => "text",
            Self::Long => "whole number",
            Self::Double => "number",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Ip => "address",
            Self::Duration => "length of time",
        }
    }
}

/// A field of the event, read as its type. What cannot be read so is no value.
pub(super) fn of_field(event: &Event, field: FieldId, kind: Type) -> Cell {
    match event.get(field) {
        Some(value) => value.scalars().iter().filter_map(|value| read(value, kind)).collect(),
        None => Cell::new(),
    }
}

pub(super) fn read(value: &Value, kind: Type) -> Option<Literal> {
    match kind {
        Type::Text => Some(Literal::Text(text_of(value).as_ref().into())),
        Type::Long => match number_of(value)? {
            Number::Int(int) => Some(Literal::Int(int)),
            Number::Float(float) => Some(Literal::Int(float as i64)),
        },
        Type::Double => Some(Literal::Float(FloatBits::new(number_of(value)?.as_f64()))),
        Type::Bool => match value {
            Value::Bool(bool) => Some(Literal::Bool(*bool)),
            other => other.as_str()?.parse().ok().map(Literal::Bool),
        },
        Type::Date => match value {
            Value::Int(millis) => millis.checked_mul(1_000_000).map(|nanos| Literal::Date(EventTime(nanos))),
            other => parse_date(other.as_str()?).map(|period| Literal::Date(period.first)),
        },
        Type::Ip => parse_ip(value.as_str()?).map(Literal::Ip),
        Type::Null | Type::Duration => None,
    }
}

/// How the cell leaves the pipeline. A null is an empty list.
pub(super) fn to_value(cell: &[Literal]) -> Value {
    match cell {
        [one] => scalar(one),
        many => Value::List(many.iter().map(scalar).collect()),
    }
}

/// What [`to_value`] wrote.
pub(super) fn from_value(value: &Value, kind: Type) -> Cell {
    value.scalars().iter().filter_map(|value| read(value, kind)).collect()
}

fn scalar(literal: &Literal) -> Value {
    match literal {
        Literal::Text(text) => Value::str(&**text),
        Literal::Int(int) => Value::Int(*int),
        Literal::Float(float) => Value::Float(float.get()),
        Literal::Bool(bool) => Value::Bool(*bool),
        Literal::Ip(_) | Literal::Date(_) => Value::str(text(literal)),
    }
}

/// `TO_STRING` of a value.
pub(super) fn text(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => text.to_string(),
        Literal::Int(int) => int.to_string(),
        Literal::Float(float) => float_text(float.get()),
        Literal::Bool(bool) => bool.to_string(),
        Literal::Ip(ip) => ip.to_string(),
        Literal::Date(time) => date_text(*time),
    }
}

/// Milliseconds where they say it all, as Elasticsearch writes dates.
fn date_text(time: EventTime) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time.0)) {
        Ok(instant) if time.0 % 1_000_000 == 0 => format!("{instant:.3}"),
        Ok(instant) => instant.to_string(),
        Err(_) => time.0.to_string(),
    }
}

pub(super) fn number(literal: &Literal) -> Option<Number> {
    match literal {
        Literal::Int(int) => Some(Number::Int(*int)),
        Literal::Float(float) => Some(Number::Float(float.get())),
        Literal::Date(time) => Some(Number::Int(time.0)),
        _ => None,
    }
}

pub(super) fn from_number(number: Number) -> Literal {
    match number {
        Number::Int(int) => Literal::Int(int),
        Number::Float(float) => Literal::Float(FloatBits::new(float)),
    }
}

/// Values of one type in their order; `None` where they have none.
pub(super) fn compare(left: &Literal, right: &Literal) -> Option<Ordering> {
    match (left, right) {
        (Literal::Text(left), Literal::Text(right)) => Some(left.cmp(right)),
        (Literal::Bool(left), Literal::Bool(right)) => Some(left.cmp(right)),
        (Literal::Ip(left), Literal::Ip(right)) => Some(left.cmp(right)),
        (left, right) => number(left)?.partial_cmp(&number(right)?),
    }
}
