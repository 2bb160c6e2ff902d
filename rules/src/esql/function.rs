//! The functions: their names, what they take and give, and what they compute.

use std::cmp::Ordering;

use super::value::{Cell, Type, compare, from_number, number, text};
use crate::event::EventTime;
use crate::literal::{FloatBits, Literal, Number, parse_date, parse_ip};

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    Text,
    Number,
    Any,
    /// Of one type with the first.
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
    Ceil,
    Coalesce,
    Concat,
    Contains,
    DateDiff,
    EndsWith,
    Floor,
    Greatest,
    Least,
    Left,
    Length,
    Locate,
    MvConcat,
    MvContains,
    MvCount,
    MvDedupe,
    MvFirst,
    MvLast,
    MvMax,
    MvMin,
    MvSlice,
    MvSort,
    Negate,
    Replace,
    Right,
    Round,
    Split,
    StartsWith,
    Substring,
    ToBoolean,
    ToDate,
    ToDouble,
    ToIp,
    ToLong,
    ToLower,
    ToText,
    ToUpper,
    Trim,
}

use Function as F;
use Gives::{Always, LikeFirst};
use Param::{Alike, Any, Number as Num, Text as Txt};

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
    plain("ceil", F::Ceil, &[Num], LikeFirst),
    repeated(optional(1, plain("coalesce", F::Coalesce, &[Any, Alike], LikeFirst))),
    repeated(optional(1, plain("concat", F::Concat, &[Txt, Txt], Always(Type::Text)))),
    plain("contains", F::Contains, &[Txt, Txt], Always(Type::Bool)),
    plain("date_diff", F::DateDiff, &[Txt, Any, Alike], Always(Type::Long)),
    plain("ends_with", F::EndsWith, &[Txt, Txt], Always(Type::Bool)),
    plain("floor", F::Floor, &[Num], LikeFirst),
    repeated(optional(1, plain("greatest", F::Greatest, &[Any, Alike], LikeFirst))),
    repeated(optional(1, plain("least", F::Least, &[Any, Alike], LikeFirst))),
    plain("left", F::Left, &[Txt, Num], Always(Type::Text)),
    plain("length", F::Length, &[Txt], Always(Type::Long)),
    optional(2, plain("locate", F::Locate, &[Txt, Txt, Num], Always(Type::Long))),
    plain("mv_concat", F::MvConcat, &[Txt, Txt], Always(Type::Text)),
    plain("mv_contains", F::MvContains, &[Any, Alike], Always(Type::Bool)),
    plain("mv_count", F::MvCount, &[Any], Always(Type::Long)),
    plain("mv_dedupe", F::MvDedupe, &[Any], LikeFirst),
    plain("mv_first", F::MvFirst, &[Any], LikeFirst),
    plain("mv_last", F::MvLast, &[Any], LikeFirst),
    plain("mv_max", F::MvMax, &[Any], LikeFirst),
    plain("mv_min", F::MvMin, &[Any], LikeFirst),
    optional(2, plain("mv_slice", F::MvSlice, &[Any, Num, Num], LikeFirst)),
    optional(1, plain("mv_sort", F::MvSort, &[Any, Txt], LikeFirst)),
    plain("replace", F::Replace, &[Txt, Txt, Txt], Always(Type::Text)),
    plain("right", F::Right, &[Txt, Num], Always(Type::Text)),
    optional(1, plain("round", F::Round, &[Num, Num], LikeFirst)),
    plain("split", F::Split, &[Txt, Txt], Always(Type::Text)),
    plain("starts_with", F::StartsWith, &[Txt, Txt], Always(Type::Bool)),
    optional(2, plain("substring", F::Substring, &[Txt, Num, Num], Always(Type::Text))),
    plain("to_bool", F::ToBoolean, &[Any], Always(Type::Bool)),
    plain("to_boolean", F::ToBoolean, &[Any], Always(Type::Bool)),
    plain("to_date", F::ToDate, &[Any], Always(Type::Date)),
    plain("to_datetime", F::ToDate, &[Any], Always(Type::Date)),
    plain("to_dt", F::ToDate, &[Any], Always(Type::Date)),
    plain("to_dbl", F::ToDouble, &[Any], Always(Type::Double)),
    plain("to_double", F::ToDouble, &[Any], Always(Type::Double)),
    plain("to_int", F::ToLong, &[Any], Always(Type::Long)),
    plain("to_integer", F::ToLong, &[Any], Always(Type::Long)),
    plain("to_ip", F::ToIp, &[Any], Always(Type::Ip)),
    plain("to_keyword", F::ToText, &[Any], Always(Type::Text)),
    plain("to_long", F::ToLong, &[Any], Always(Type::Long)),
    plain("to_lower", F::ToLower, &[Txt], Always(Type::Text)),
    plain("to_str", F::ToText, &[Any], Always(Type::Text)),
    plain("to_string", F::ToText, &[Any], Always(Type::Text)),
    plain("to_upper", F::ToUpper, &[Txt], Always(Type::Text)),
    plain("trim", F::Trim, &[Txt], Always(Type::Text)),
];

pub(super) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

pub(super) fn call(function: Function, args: &[Cell]) -> Cell {
    if let Some(cell) = over_lists(function, args) {
        return cell;
    }
    let single: Option<Vec<&Literal>> = args.iter().map(|cell| (cell.len() == 1).then(|| &cell[0])).collect();
    single.map(|args| over_values(function, &args)).unwrap_or_default()
}

/// Functions that take lists as they are, or value by value.
fn over_lists(function: Function, args: &[Cell]) -> Option<Cell> {
    let list = &args[0];
    let one = |literal: Option<&Literal>| literal.cloned().into_iter().collect::<Cell>();
    Some(match function {
        F::Coalesce => args.iter().find(|cell| !cell.is_empty()).cloned().unwrap_or_default(),
        F::MvConcat => match args[1].as_slice() {
            [Literal::Text(separator)] if !list.is_empty() => {
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
        | F::ToIp
        | F::ToLong
        | F::ToLower
        | F::ToText
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
        F::Concat => texts().map(|texts| of_text(texts.concat())),
        F::Contains => texts().map(|texts| Literal::Bool(texts[0].contains(texts[1]))),
        F::StartsWith => texts().map(|texts| Literal::Bool(texts[0].starts_with(texts[1]))),
        F::EndsWith => texts().map(|texts| Literal::Bool(texts[0].ends_with(texts[1]))),
        F::Trim => texts().map(|texts| of_text(texts[0].trim().into())),
        F::Length => texts().map(|texts| of_count(texts[0].chars().count())),
        F::Locate => locate(args),
        F::Left => of_chars(args, |chars, count| &chars[..count.min(chars.len())]),
        F::Right => of_chars(args, |chars, count| &chars[chars.len().saturating_sub(count)..]),
        F::Substring => substring(args),
        F::Replace => texts().and_then(|texts| replace(texts[0], texts[1], texts[2])),
        F::Split => {
            return texts()
                .filter(|texts| !texts[1].is_empty())
                .map(|texts| texts[0].split(texts[1]).map(|part| of_text(part.into())).collect())
                .unwrap_or_default();
        }
        F::DateDiff => date_diff(args),
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
        (F::ToLong, Literal::Text(text)) => Literal::Int(Number::parse(text)?.as_f64() as i64),
        (F::ToLong, literal) => Literal::Int(as_int(literal)?),
        (F::ToDouble, Literal::Text(text)) => Literal::Float(FloatBits::new(Number::parse(text)?.as_f64())),
        (F::ToDouble, literal) => Literal::Float(FloatBits::new(number(literal)?.as_f64())),
        _ => return None,
    })
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

/// The pattern is a regular expression that need not match the whole. One that does not compile gives null.
fn replace(text: &str, pattern: &str, new: &str) -> Option<Literal> {
    let pattern = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().ok()?;
    Some(of_text(pattern.replace_all(text, new).into_owned()))
}

fn date_diff(args: &[&Literal]) -> Option<Literal> {
    let (Literal::Date(from), Literal::Date(to)) = (args[1], args[2]) else { return None };
    let unit = unit(as_text(args[0])?)?;
    Some(Literal::Int(to.0.checked_sub(from.0)? / unit))
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
