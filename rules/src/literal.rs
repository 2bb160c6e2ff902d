//! Constants of the rule languages, typed, and how a field's value is read as each type. Documents are not always typed
//! as the schema says (a port as text, a user id as a number), so every reading converts.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::civil;
use jiff::tz::TimeZone;

use crate::event::{EventTime, Value};

/// A constant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Literal {
    Text(Box<str>),
    Int(i64),
    Float(FloatBits),
    Bool(bool),
    Ip(IpAddr),
    Date(EventTime),
}

/// A float that can be a key: equal when the bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FloatBits(u64);

impl FloatBits {
    pub fn new(float: f64) -> Self {
        // Both zeros are one number.
        Self(if float == 0.0 { 0 } else { float.to_bits() })
    }

    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A number as documents and rules write them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(int) = text.parse() {
            return Some(Self::Int(int));
        }
        // `parse` also takes "nan" and "inf", which no document writes as a number.
        let starts_like_a_number =
            text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        let float = starts_like_a_number.then(|| text.parse::<f64>().ok()).flatten()?;
        float.is_finite().then_some(Self::Float(float))
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// An integer where the value is one, so that `80` and `80.0` become one literal.
    pub fn literal(self) -> Literal {
        match self {
            Self::Int(int) => Literal::Int(int),
            Self::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => Literal::Int(float as i64),
            Self::Float(float) => Literal::Float(FloatBits::new(float)),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (left, right) => left.as_f64().partial_cmp(&right.as_f64()),
        }
    }
}

impl Literal {
    /// How the constant compares with a scalar read as the constant's type; `None` where it cannot be read so.
    pub(crate) fn compare(&self, value: &Value) -> Option<Ordering> {
        match self {
            Self::Text(text) => Some(text_of(value).as_ref().cmp(text)),
            Self::Int(int) => number_of(value)?.partial_cmp(&Number::Int(*int)),
            Self::Float(float) => number_of(value)?.partial_cmp(&Number::Float(float.get())),
            Self::Bool(bool) => Some(bool_of(value)?.cmp(bool)),
            Self::Ip(ip) => Some(ip_of(value)?.cmp(ip)),
            Self::Date(time) => Some(date_of(value)?.cmp(time)),
        }
    }

    pub(crate) fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(text), Value::Str(held)) => **text == **held,
            (Self::Int(int), Value::Int(held)) => int == held,
            _ => self.compare(value) == Some(Ordering::Equal),
        }
    }
}

pub(crate) fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Str(text) => Cow::Borrowed(text),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        other => Cow::Owned(other.to_string()),
    }
}

/// As Java writes it, and so Elasticsearch: `5.0`, `1.0E20`.
pub(crate) fn float_text(float: f64) -> String {
    if float == 0.0 || (1e-3..1e7).contains(&float.abs()) || !float.is_finite() {
        return format!("{float:?}");
    }
    let text = format!("{float:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

pub(crate) fn number_of(value: &Value) -> Option<Number> {
    match value {
        Value::Int(int) => Some(Number::Int(*int)),
        Value::Float(float) => Some(Number::Float(*float)),
        Value::Str(text) => Number::parse(text),
        Value::Bool(_) | Value::List(_) => None,
    }
}

fn bool_of(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(bool) => Some(*bool),
        Value::Str(text) => text.parse().ok(),
        _ => None,
    }
}

pub(crate) fn ip_of(value: &Value) -> Option<IpAddr> {
    parse_ip(value.as_str()?)
}

/// An address; IPv4 written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address, as in an Elasticsearch `ip` field.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

pub(crate) fn date_of(value: &Value) -> Option<EventTime> {
    match value {
        Value::Str(text) => parse_date(text).map(|period| period.first),
        // `epoch_millis`, the other default format of an Elasticsearch date field.
        Value::Int(millis) => millis.checked_mul(1_000_000).map(EventTime),
        _ => None,
    }
}

/// What a date literal covers: `2026-01-02` is a whole day, a full timestamp one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub first: EventTime,
    pub last: EventTime,
}

/// Reads `2026`, `2026-01`, `2026-01-02` and ISO 8601 timestamps; without an offset they are UTC.
pub fn parse_date(text: &str) -> Option<Period> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        let time = event_time(instant)?;
        return Some(Period { first: time, last: time });
    }
    if text.contains(['T', ':']) {
        let time = civil_time(text.parse().ok()?)?;
        return Some(Period { first: time, last: time });
    }
    let (first, next) = match text.split('-').count() {
        1 => {
            let first = civil::Date::new(text.parse().ok()?, 1, 1).ok()?;
            (first, first.checked_add(jiff::Span::new().years(1)).ok()?)
        }
        2 => {
            let (year, month) = text.split_once('-')?;
            let first = civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
            (first, first.checked_add(jiff::Span::new().months(1)).ok()?)
        }
        _ => {
            let first: civil::Date = text.parse().ok()?;
            (first, first.tomorrow().ok()?)
        }
    };
    let next = civil_time(next.to_datetime(civil::Time::midnight()))?;
    Some(Period {
        first: civil_time(first.to_datetime(civil::Time::midnight()))?,
        last: EventTime(next.0 - 1),
    })
}

fn civil_time(time: civil::DateTime) -> Option<EventTime> {
    event_time(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn event_time(instant: jiff::Timestamp) -> Option<EventTime> {
    i64::try_from(instant.as_nanosecond()).ok().map(EventTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_over_their_types() {
        assert_eq!(Number::parse("80.0").map(Number::literal), Some(Literal::Int(80)));
        assert!(Number::Int(80) < Number::Float(80.5));
        assert_eq!(Number::parse("nan"), None);
        assert_eq!(Number::parse("0x10"), None);
    }

    #[test]
    fn values_read_as_the_literals_type() {
        assert!(Literal::Text("0".into()).equals(&Value::Int(0)));
        assert!(Literal::Int(443).equals(&Value::str("443")));
        assert!(Literal::Bool(true).equals(&Value::str("true")));
        let ip = parse_ip("10.0.0.1").expect("an address");
        assert!(Literal::Ip(ip).equals(&Value::str("::ffff:10.0.0.1")));
        assert!(!Literal::Ip(ip).equals(&Value::str("host")));
    }

    #[test]
    fn a_date_covers_what_it_leaves_open() {
        let day = parse_date("2026-01-02").expect("a day");
        assert_eq!(day.last.0 - day.first.0, 86_400_000_000_000 - 1);
        let year = parse_date("2026").expect("a year");
        assert_eq!(Some(year.first), parse_date("2026-01-01T00:00:00Z").map(|period| period.first));
        assert_eq!(parse_date("2026-01-01T02:00:00+02:00").map(|period| period.first), Some(year.first));
        assert_eq!(parse_date("2026-13"), None);
        assert_eq!(parse_date("now-1d"), None);
    }
}
