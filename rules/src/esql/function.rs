//! The functions: their names, what they take and give, and what they compute.

mod code;
mod point;
pub(super) mod replace;

use std::cmp::Ordering;

use super::value::{Cell, Type, compare, from_number, number, text};
use crate::bounds::MAX_TEXT;
use crate::event::EventTime;
use crate::literal::{FloatBits, Literal, Number, parse_date, parse_ip};

/// A computed list beyond this is null,
const MAX_VALUES: usize = 10_000;
/// and so is one whose texts come to more.
const MAX_BYTES: usize = 8 << 20;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    Text,
    Number,
    Any,
    Date,
    /// Of one type with what stands before it.
    Alike,
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Always(Type),
    LikeFirst,
}

#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    pub(super) params: &'static [Param],
    /// How many of the parameters must be given.
    pub(super) needed: usize,
    /// The last parameter may be repeated.
    pub(super) repeats: bool,
    pub(super) gives: Gives,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    ByteLength,
    Ceil,
    Coalesce,
    Concat,
    Contains,
    DateDiff,
    DateExtract,
    EndsWith,
    Exp,
    Floor,
    FromBase64,
    Greatest,
    IsNear,
    JsonExtract,
    Least,
    Left,
    Length,
    Locate,
    Log,
    Log10,
    MvAppend,
    MvAvg,
    MvConcat,
    MvContains,
    MvCount,
    MvDedupe,
    MvFirst,
    MvIntersection,
    MvLast,
    MvMax,
    MvMin,
    MvSlice,
    MvSort,
    MvSum,
    MvZip,
    Negate,
    PointDistance,
    PointX,
    PointY,
    Power,
    Repeat,
    Replace,
    Reverse,
    Right,
    Round,
    Sign,
    Space,
    Split,
    SquareRoot,
    StartsWith,
    Substring,
    ToBase64,
    ToBoolean,
    ToDate,
    ToDouble,
    ToInt,
    ToIp,
    ToLong,
    ToLower,
    ToPoint,
    ToText,
    ToUnsigned,
    ToUpper,
    Trim,
    TrimLeft,
    TrimRight,
    UrlDecode,
    UrlEncode,
}

use Function as F;
use Gives::{Always, LikeFirst};
use Param::{Alike, Any, Date, Number as Num, Text as Txt};

const fn plain(name: &'static str, function: Function, params: &'static [Param], gives: Gives) -> Signature {
    Signature { name, function, params, needed: params.len(), repeats: false, gives }
}

const fn optional(needed: usize, signature: Signature) -> Signature {
    Signature { needed, ..signature }
}

const fn repeated(signature: Signature) -> Signature {
    Signature { repeats: true, ..signature }
}

pub(super) const SIGNATURES: &[Signature] = &[
    plain("abs", F::Abs, &[Num], LikeFirst),
    plain("byte_length", F::ByteLength, &[Txt], Always(Type::Long)),
    plain("ceil", F::Ceil, &[Num], LikeFirst),
    repeated(optional(1, plain("coalesce", F::Coalesce, &[Any, Alike], LikeFirst))),
    repeated(optional(1, plain("concat", F::Concat, &[Txt, Txt], Always(Type::Text)))),
    plain("contains", F::Contains, &[Txt, Txt], Always(Type::Bool)),
    plain("date_diff", F::DateDiff, &[Txt, Date, Date], Always(Type::Long)),
    plain("date_extract", F::DateExtract, &[Txt, Date], Always(Type::Long)),
    plain("ends_with", F::EndsWith, &[Txt, Txt], Always(Type::Bool)),
    plain("exp", F::Exp, &[Num], Always(Type::Double)),
    plain("floor", F::Floor, &[Num], LikeFirst),
    plain("from_base64", F::FromBase64, &[Txt], Always(Type::Text)),
    repeated(optional(1, plain("greatest", F::Greatest, &[Any, Alike], LikeFirst))),
    plain("json_extract", F::JsonExtract, &[Txt, Txt], Always(Type::Text)),
    repeated(optional(1, plain("least", F::Least, &[Any, Alike], LikeFirst))),
    plain("left", F::Left, &[Txt, Num], Always(Type::Text)),
    plain("length", F::Length, &[Txt], Always(Type::Long)),
    optional(2, plain("locate", F::Locate, &[Txt, Txt, Num], Always(Type::Long))),
    optional(1, plain("log", F::Log, &[Num, Num], Always(Type::Double))),
    plain("log10", F::Log10, &[Num], Always(Type::Double)),
    plain("ltrim", F::TrimLeft, &[Txt], Always(Type::Text)),
    plain("mv_append", F::MvAppend, &[Any, Alike], LikeFirst),
    plain("mv_avg", F::MvAvg, &[Num], Always(Type::Double)),
    plain("mv_concat", F::MvConcat, &[Txt, Txt], Always(Type::Text)),
    plain("mv_contains", F::MvContains, &[Any, Alike], Always(Type::Bool)),
    plain("mv_count", F::MvCount, &[Any], Always(Type::Long)),
    plain("mv_dedupe", F::MvDedupe, &[Any], LikeFirst),
    plain("mv_first", F::MvFirst, &[Any], LikeFirst),
    plain("mv_intersection", F::MvIntersection, &[Any, Alike], LikeFirst),
    plain("mv_last", F::MvLast, &[Any], LikeFirst),
    plain("mv_max", F::MvMax, &[Any], LikeFirst),
    plain("mv_min", F::MvMin, &[Any], LikeFirst),
    optional(2, plain("mv_slice", F::MvSlice, &[Any, Num, Num], LikeFirst)),
    optional(1, plain("mv_sort", F::MvSort, &[Any, Txt], LikeFirst)),
    plain("mv_sum", F::MvSum, &[Num], LikeFirst),
    optional(2, plain("mv_zip", F::MvZip, &[Txt, Txt, Txt], Always(Type::Text))),
    plain("pow", F::Power, &[Num, Num], Always(Type::Double)),
    plain("repeat", F::Repeat, &[Txt, Num], Always(Type::Text)),
    plain("replace", F::Replace, &[Txt, Txt, Txt], Always(Type::Text)),
    plain("reverse", F::Reverse, &[Txt], Always(Type::Text)),
    plain("right", F::Right, &[Txt, Num], Always(Type::Text)),
    optional(1, plain("round", F::Round, &[Num, Num], LikeFirst)),
    plain("rtrim", F::TrimRight, &[Txt], Always(Type::Text)),
    plain("signum", F::Sign, &[Num], Always(Type::Double)),
    plain("space", F::Space, &[Num], Always(Type::Text)),
    plain("split", F::Split, &[Txt, Txt], Always(Type::Text)),
    plain("sqrt", F::SquareRoot, &[Num], Always(Type::Double)),
    plain("st_distance", F::PointDistance, &[Txt, Txt], Always(Type::Double)),
    plain("st_x", F::PointX, &[Txt], Always(Type::Double)),
    plain("st_y", F::PointY, &[Txt], Always(Type::Double)),
    plain("starts_with", F::StartsWith, &[Txt, Txt], Always(Type::Bool)),
    optional(2, plain("substring", F::Substring, &[Txt, Num, Num], Always(Type::Text))),
    plain("to_base64", F::ToBase64, &[Txt], Always(Type::Text)),
    plain("to_bool", F::ToBoolean, &[Any], Always(Type::Bool)),
    plain("to_boolean", F::ToBoolean, &[Any], Always(Type::Bool)),
    plain("to_date", F::ToDate, &[Any], Always(Type::Date)),
    plain("to_datetime", F::ToDate, &[Any], Always(Type::Date)),
    plain("to_dbl", F::ToDouble, &[Any], Always(Type::Double)),
    plain("to_double", F::ToDouble, &[Any], Always(Type::Double)),
    plain("to_dt", F::ToDate, &[Any], Always(Type::Date)),
    plain("to_geopoint", F::ToPoint, &[Txt], Always(Type::Text)),
    plain("to_int", F::ToInt, &[Any], Always(Type::Long)),
    plain("to_integer", F::ToInt, &[Any], Always(Type::Long)),
    plain("to_ip", F::ToIp, &[Any], Always(Type::Ip)),
    plain("to_keyword", F::ToText, &[Any], Always(Type::Text)),
    plain("to_long", F::ToLong, &[Any], Always(Type::Long)),
    plain("to_lower", F::ToLower, &[Txt], Always(Type::Text)),
    plain("to_str", F::ToText, &[Any], Always(Type::Text)),
    plain("to_string", F::ToText, &[Any], Always(Type::Text)),
    plain("to_unsigned_long", F::ToUnsigned, &[Any], Always(Type::Long)),
    plain("to_upper", F::ToUpper, &[Txt], Always(Type::Text)),
    plain("trim", F::Trim, &[Txt], Always(Type::Text)),
    plain("url_decode", F::UrlDecode, &[Txt], Always(Type::Text)),
    plain("url_encode", F::UrlEncode, &[Txt], Always(Type::Text)),
];

pub(super) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

pub(super) fn call(function: Function, args: &[Cell]) -> Cell {
    let is_joined = matches!(function, F::MvAppend | F::MvConcat | F::MvZip);
    if is_joined && !fits(args.iter().flatten()) {
        return Cell::new();
    }
    let cell = over_lists(function, args).unwrap_or_else(|| {
        let single: Option<Vec<&Literal>> =
            args.iter().map(|cell| (cell.len() == 1).then(|| &cell[0])).collect();
        single.map(|args| over_values(function, &args)).unwrap_or_default()
    });
    let is_short = |literal: &Literal| as_text(literal).is_none_or(|text| text.len() <= MAX_TEXT);
    if cell.iter().all(is_short) && fits(cell.iter()) { cell } else { Cell::new() }
}

/// Whether a list may hold so much: whoever writes the events, or the query, chooses what it is made of.
fn fits<'l>(literals: impl Iterator<Item = &'l Literal>) -> bool {
    let (mut n_values, mut n_bytes) = (0, 0);
    for literal in literals {
        n_values += 1;
        n_bytes += as_text(literal).map_or(0, str::len);
    }
    n_values <= MAX_VALUES && n_bytes <= MAX_BYTES
}

/// Functions that take lists as they are, or value by value.
fn over_lists(function: Function, args: &[Cell]) -> Option<Cell> {
    let list = &args[0];
    let one = |literal: Option<&Literal>| literal.cloned().into_iter().collect::<Cell>();
    Some(match function {
        F::Coalesce => args.iter().find(|cell| !cell.is_empty()).cloned().unwrap_or_default(),
        F::MvConcat => match args[1].as_slice() {
            [Literal::Text(separator)] if !list.is_empty() && separator.len() * list.len() <= MAX_TEXT => {
                vec![of_text(list.iter().map(text).collect::<Vec<_>>().join(separator))]
            }
            _ => Cell::new(),
        },
        F::MvContains => vec![Literal::Bool(args[1].iter().all(|item| list.contains(item)))],
        F::MvCount if list.is_empty() => Cell::new(),
        F::MvCount => vec![of_count(list.len())],
        F::MvDedupe => {
            let mut seen = Cell::new();
            list.iter().for_each(|literal| {
                if !seen.contains(literal) {
                    seen.push(literal.clone());
                }
            });
            seen
        }
        F::IsNear => vec![Literal::Bool(is_near(list, args.get(1)?, args.get(2)?))],
        F::MvAppend if list.is_empty() || args[1].is_empty() => Cell::new(),
        F::MvAppend => list.iter().chain(&args[1]).cloned().collect(),
        F::MvIntersection => {
            let mut both = Cell::new();
            for literal in list.iter().filter(|literal| args[1].contains(literal)) {
                if !both.contains(literal) {
                    both.push(literal.clone());
                }
            }
            both
        }
        F::MvAvg | F::MvSum => total(function, list).into_iter().collect(),
        F::MvZip => zip(list, &args[1], args.get(2)),
        F::MvFirst => one(list.first()),
        F::MvLast => one(list.last()),
        F::MvMax => one(list.iter().reduce(|most, next| pick(most, next, Ordering::Less))),
        F::MvMin => one(list.iter().reduce(|least, next| pick(least, next, Ordering::Greater))),
        F::MvSlice => slice(list, args.get(1)?, args.get(2)),
        F::MvSort => {
            let is_falling = matches!(args.get(1).map(Vec::as_slice), Some([Literal::Text(order)]) if order.eq_ignore_ascii_case("desc"));
            let mut sorted = list.clone();
            sorted.sort_by(|left, right| {
                let order = compare(left, right).unwrap_or(Ordering::Equal);
                if is_falling { order.reverse() } else { order }
            });
            sorted
        }
        F::ToBoolean
        | F::ToDate
        | F::ToDouble
        | F::ToInt
        | F::ToIp
        | F::ToLong
        | F::ToLower
        | F::ToText
        | F::ToUnsigned
        | F::ToUpper => list.iter().filter_map(|literal| convert(function, literal)).collect(),
        _ => return None,
    })
}

fn over_values(function: Function, args: &[&Literal]) -> Cell {
    let texts = || args.iter().map(|arg| as_text(arg)).collect::<Option<Vec<&str>>>();
    let result = match function {
        F::Abs => number(args[0]).map(|number| {
            from_number(match number {
                Number::Int(int) => Number::Int(int.saturating_abs()),
                Number::Float(float) => Number::Float(float.abs()),
            })
        }),
        F::Ceil => rounded(args[0], f64::ceil),
        F::Floor => rounded(args[0], f64::floor),
        F::Round => round(args[0], args.get(1).copied()),
        F::Negate => number(args[0]).and_then(|number| match number {
            Number::Int(int) => int.checked_neg().map(Literal::Int),
            Number::Float(float) => Some(from_number(Number::Float(-float))),
        }),
        F::Concat => texts()
            .filter(|texts| texts.iter().map(|text| text.len()).sum::<usize>() <= MAX_TEXT)
            .map(|texts| of_text(texts.concat())),
        F::Contains => texts().map(|texts| Literal::Bool(texts[0].contains(texts[1]))),
        F::StartsWith => texts().map(|texts| Literal::Bool(texts[0].starts_with(texts[1]))),
        F::EndsWith => texts().map(|texts| Literal::Bool(texts[0].ends_with(texts[1]))),
        F::Trim => texts().map(|texts| of_text(texts[0].trim().into())),
        F::Length => texts().map(|texts| of_count(texts[0].chars().count())),
        F::Locate => locate(args),
        F::Left => of_chars(args, |chars, count| &chars[..count.min(chars.len())]),
        F::Right => of_chars(args, |chars, count| &chars[chars.len().saturating_sub(count)..]),
        F::Substring => substring(args),
        F::Replace => texts().and_then(|texts| replace::all(texts[0], texts[1], texts[2])).map(of_text),
        F::Split => {
            return texts()
                .filter(|texts| !texts[1].is_empty())
                .map(|texts| texts[0].split(texts[1]).map(|part| of_text(part.into())).collect())
                .unwrap_or_default();
        }
        F::DateDiff => date_diff(args),
        F::DateExtract => date_extract(args),
        F::ByteLength => texts().map(|texts| of_count(texts[0].len())),
        F::TrimLeft => texts().map(|texts| of_text(texts[0].trim_start().into())),
        F::TrimRight => texts().map(|texts| of_text(texts[0].trim_end().into())),
        F::Reverse => texts().map(|texts| of_text(texts[0].chars().rev().collect())),
        F::Space => repeat(" ", args[0]),
        F::Repeat => as_text(args[0]).and_then(|text| repeat(text, args[1])),
        F::Power | F::SquareRoot | F::Exp | F::Log | F::Log10 | F::Sign => of_floats(function, args),
        F::FromBase64 | F::ToBase64 | F::UrlDecode | F::UrlEncode | F::JsonExtract => {
            texts().and_then(|texts| code::convert(function, &texts)).map(of_text)
        }
        F::ToPoint => texts().and_then(|texts| Some(of_text(point::Point::parse(texts[0])?.to_string()))),
        F::PointX | F::PointY | F::PointDistance => texts()
            .and_then(|texts| point::measure(function, &texts))
            .map(|float| from_number(Number::Float(float))),
        F::Greatest => args.iter().copied().reduce(|most, next| pick(most, next, Ordering::Less)).cloned(),
        F::Least => args.iter().copied().reduce(|least, next| pick(least, next, Ordering::Greater)).cloned(),
        _ => None,
    };
    result.into_iter().collect()
}

fn as_text(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::Text(text) => Some(text),
        _ => None,
    }
}

fn of_text(text: String) -> Literal {
    Literal::Text(text.into())
}

fn of_count(count: usize) -> Literal {
    Literal::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn as_int(literal: &Literal) -> Option<i64> {
    match number(literal)? {
        Number::Int(int) => Some(int),
        Number::Float(float) => Some(float as i64),
    }
}

/// The later one where the first is on the given side of it.
fn pick<'l>(first: &'l Literal, next: &'l Literal, side: Ordering) -> &'l Literal {
    if compare(first, next) == Some(side) { next } else { first }
}

/// Both ends count and may be negative; beyond the list is no value.
fn slice(list: &[Literal], from: &Cell, to: Option<&Cell>) -> Cell {
    let place = |cell: &Cell| {
        let [literal] = cell.as_slice() else { return None };
        let at = as_int(literal)?;
        let len = i64::try_from(list.len()).ok()?;
        Some(if at < 0 { at.saturating_add(len) } else { at })
    };
    let Some(from) = place(from) else { return Cell::new() };
    let Some(to) = to.map_or(Some(from), place) else { return Cell::new() };
    list.iter()
        .zip(0..)
        .filter(|(_, at)| (from..=to).contains(at))
        .map(|(literal, _)| literal.clone())
        .collect()
}

fn convert(function: Function, literal: &Literal) -> Option<Literal> {
    Some(match (function, literal) {
        (F::ToText, literal) => of_text(text(literal)),
        (F::ToLower, Literal::Text(text)) => of_text(text.to_lowercase()),
        (F::ToUpper, Literal::Text(text)) => of_text(text.to_uppercase()),
        (F::ToBoolean, Literal::Bool(bool)) => Literal::Bool(*bool),
        (F::ToBoolean, Literal::Text(text)) => Literal::Bool(text.eq_ignore_ascii_case("true")),
        (F::ToBoolean, Literal::Int(int)) => Literal::Bool(*int != 0),
        (F::ToDate, Literal::Date(time)) => Literal::Date(*time),
        (F::ToDate, Literal::Text(text)) => Literal::Date(parse_date(text)?.first),
        (F::ToDate, Literal::Int(millis)) => Literal::Date(EventTime(millis.checked_mul(1_000_000)?)),
        (F::ToIp, Literal::Ip(ip)) => Literal::Ip(*ip),
        (F::ToIp, Literal::Text(text)) => Literal::Ip(parse_ip(text)?),
        (F::ToLong, Literal::Bool(bool)) => Literal::Int(i64::from(*bool)),
        (F::ToLong, Literal::Date(time)) => Literal::Int(time.0.div_euclid(1_000_000)),
        (F::ToLong, Literal::Text(text)) => Literal::Int(whole(Number::parse(text)?)?),
        (F::ToLong, literal) => Literal::Int(whole(number(literal)?)?),
        (F::ToInt | F::ToUnsigned, literal) => {
            let Literal::Int(int) = convert(F::ToLong, literal)? else { return None };
            let is_within = if function == F::ToInt { i32::try_from(int).is_ok() } else { int >= 0 };
            is_within.then_some(Literal::Int(int))?
        }
        (F::ToDouble, Literal::Text(text)) => Literal::Float(FloatBits::new(Number::parse(text)?.as_f64())),
        (F::ToDouble, literal) => Literal::Float(FloatBits::new(number(literal)?.as_f64())),
        _ => return None,
    })
}

/// The nearest whole number, where there is one of the type.
fn whole(number: Number) -> Option<i64> {
    match number {
        Number::Int(int) => Some(int),
        Number::Float(float) => {
            let nearest = (float + 0.5).floor();
            // The largest is no float: the next above it is the first that is too large.
            (i64::MIN as f64..-(i64::MIN as f64)).contains(&nearest).then_some(nearest as i64)
        }
    }
}

fn rounded(literal: &Literal, round: fn(f64) -> f64) -> Option<Literal> {
    Some(match number(literal)? {
        Number::Int(int) => Literal::Int(int),
        Number::Float(float) => Literal::Float(FloatBits::new(round(float))),
    })
}

fn round(literal: &Literal, places: Option<&Literal>) -> Option<Literal> {
    let places = places.map_or(Some(0), as_int)?.clamp(-300, 300) as i32;
    Some(match number(literal)? {
        Number::Int(int) if places >= 0 => Literal::Int(int),
        Number::Int(int) => {
            let unit = 10f64.powi(-places);
            Literal::Int(((int as f64 / unit).round() * unit) as i64)
        }
        Number::Float(float) => {
            let unit = 10f64.powi(places);
            let scaled = (float * unit).round() / unit;
            Literal::Float(FloatBits::new(if scaled.is_finite() { scaled } else { float }))
        }
    })
}

/// The place of a text in another, from 1; 0 where it is not.
fn locate(args: &[&Literal]) -> Option<Literal> {
    let (text, wanted) = (as_text(args[0])?, as_text(args[1])?);
    let start = usize::try_from(args.get(2).map_or(Some(1), |start| as_int(start))?.max(1) - 1).ok()?;
    let skipped: usize = text.chars().take(start).map(char::len_utf8).sum();
    let found = text[skipped..].find(wanted);
    Some(of_count(found.map_or(0, |at| text[..skipped + at].chars().count() + 1)))
}

fn of_chars(args: &[&Literal], part: fn(&[char], usize) -> &[char]) -> Option<Literal> {
    let chars: Vec<char> = as_text(args[0])?.chars().collect();
    let count = usize::try_from(as_int(args[1])?).unwrap_or(0);
    Some(of_text(part(&chars, count).iter().collect()))
}

/// From a place, from 1 or from the end where it is negative, for so many characters.
fn substring(args: &[&Literal]) -> Option<Literal> {
    let chars: Vec<char> = as_text(args[0])?.chars().collect();
    let start = as_int(args[1])?;
    let start = match usize::try_from(start) {
        Ok(start) => start.saturating_sub(1),
        Err(_) => chars.len().saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let len = match args.get(2) {
        Some(len) => usize::try_from(as_int(len)?).ok()?,
        None => usize::MAX,
    };
    Some(of_text(chars.into_iter().skip(start).take(len).collect()))
}

fn date_diff(args: &[&Literal]) -> Option<Literal> {
    let (Literal::Date(from), Literal::Date(to)) = (args[1], args[2]) else { return None };
    let unit = unit(as_text(args[0])?)?;
    Some(Literal::Int(to.0.checked_sub(from.0)? / unit))
}

/// What `DATE_EXTRACT` takes out of a date.
pub(super) const PARTS: &[&str] = &[
    "year",
    "month_of_year",
    "day_of_month",
    "day_of_year",
    "day_of_week",
    "hour_of_day",
    "minute_of_hour",
    "minute_of_day",
    "second_of_minute",
    "second_of_day",
    "millisecond_of_second",
    "epoch_day",
];

fn date_extract(args: &[&Literal]) -> Option<Literal> {
    let (part, Literal::Date(time)) = (as_text(args[0])?, args[1]) else { return None };
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let number = match part.to_lowercase().as_str() {
        "year" => i64::from(time.year()),
        "month_of_year" => i64::from(time.month()),
        "day_of_month" => i64::from(time.day()),
        "day_of_year" => i64::from(time.day_of_year()),
        "day_of_week" => i64::from(time.weekday().to_monday_one_offset()),
        "hour_of_day" => i64::from(time.hour()),
        "minute_of_hour" => i64::from(time.minute()),
        "second_of_minute" => i64::from(time.second()),
        "second_of_day" => {
            i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second())
        }
        "millisecond_of_second" => time.timestamp().subsec_nanosecond().div_euclid(1_000_000).into(),
        "minute_of_day" => i64::from(time.hour()) * 60 + i64::from(time.minute()),
        "epoch_day" => time.timestamp().as_second().div_euclid(86_400),
        _ => return None,
    };
    Some(Literal::Int(number))
}

fn repeat(text: &str, count: &Literal) -> Option<Literal> {
    let count = usize::try_from(as_int(count)?).ok()?;
    (text.len().checked_mul(count)? <= MAX_TEXT).then(|| of_text(text.repeat(count)))
}

fn of_floats(function: Function, args: &[&Literal]) -> Option<Literal> {
    let first = number(args[0])?.as_f64();
    let second = || args.get(1).and_then(|literal| number(literal)).map(Number::as_f64);
    let float = match function {
        F::Power => first.powf(second()?),
        F::SquareRoot => first.sqrt(),
        F::Exp => first.exp(),
        F::Log10 => first.log10(),
        F::Sign if first == 0.0 => 0.0,
        F::Sign => first.signum(),
        // With two arguments the base stands first.
        _ => second().map_or_else(|| first.ln(), |of| of.log(first)),
    };
    Some(float).filter(|float| float.is_finite()).map(|float| from_number(Number::Float(float)))
}

fn total(function: Function, list: &[Literal]) -> Option<Literal> {
    let numbers: Vec<Number> = list.iter().filter_map(number).collect();
    let sum = numbers.iter().copied().reduce(|sum, next| match (sum, next) {
        (Number::Int(sum), Number::Int(next)) => {
            sum.checked_add(next).map_or(Number::Float(sum as f64 + next as f64), Number::Int)
        }
        (sum, next) => Number::Float(sum.as_f64() + next.as_f64()),
    })?;
    Some(from_number(match function {
        F::MvAvg => Number::Float(sum.as_f64() / numbers.len() as f64),
        _ => sum,
    }))
}

fn zip(left: &[Literal], right: &[Literal], separator: Option<&Cell>) -> Cell {
    let separator = separator.and_then(|cell| cell.first()).map_or_else(|| ",".to_owned(), text);
    let place = |list: &[Literal], at: usize| list.get(at).map(text);
    let joined = |at| match (place(left, at), place(right, at)) {
        (Some(left), Some(right)) => left + &separator + &right,
        (left, right) => left.or(right).unwrap_or_default(),
    };
    (0..left.len().max(right.len())).map(joined).map(of_text).collect()
}

/// Whether one of the texts is the wanted one but for so many slips.
fn is_near(list: &[Literal], wanted: &Cell, slips: &Cell) -> bool {
    let (Some(wanted), Some(slips)) = (wanted.first(), slips.first().and_then(as_int)) else { return false };
    let (wanted, slips) = (text(wanted), usize::try_from(slips).unwrap_or(0));
    list.iter().map(text).any(|text| {
        text.len().abs_diff(wanted.len()) <= slips * 4 && strsim::osa_distance(&text, &wanted) <= slips
    })
}

/// Nanoseconds of a unit that `DATE_DIFF` takes.
pub(super) fn unit(name: &str) -> Option<i64> {
    Some(match name.to_lowercase().as_str() {
        "millisecond" | "milliseconds" | "ms" => 1_000_000,
        "second" | "seconds" | "ss" | "s" => 1_000_000_000,
        "minute" | "minutes" | "mi" | "n" => 60 * 1_000_000_000,
        "hour" | "hours" | "hh" => 3_600 * 1_000_000_000,
        "day" | "days" | "dd" | "d" => 86_400 * 1_000_000_000,
        "week" | "weeks" | "wk" | "ww" => 7 * 86_400 * 1_000_000_000,
        _ => return None,
    })
}
