//! The functions of the rule languages. Each gets one value per operand; null operands never get here.

use std::borrow::Cow;

use crate::bounds::MAX_TEXT;
use crate::event::Value;
use crate::expr::Function;
use crate::literal::{Number, float_text, number_of, text_of};
use crate::pattern::Case;

/// The function's value, `None` for null.
pub(super) fn call(function: Function, args: &[&Value]) -> Option<Value> {
    match function {
        Function::Add => arithmetic(args, i64::checked_add, |left, right| left + right),
        Function::Subtract => arithmetic(args, i64::checked_sub, |left, right| left - right),
        Function::Multiply => arithmetic(args, i64::checked_mul, |left, right| left * right),
        Function::Divide => arithmetic(args, i64::checked_div, |left, right| left / right),
        Function::Modulo => arithmetic(args, i64::checked_rem, |left, right| left % right),
        Function::Negate => arithmetic(&[&Value::Int(0), args.first()?], i64::checked_sub, |_, right| -right),
        Function::Between(case) => between(args, case),
        Function::Concat => concat(args),
        Function::Contains(case) => on_texts(args, case, |text, part| text.contains(part)),
        Function::EndsWith(case) => on_texts(args, case, |text, part| text.ends_with(part)),
        Function::StartsWith(case) => on_texts(args, case, |text, part| text.starts_with(part)),
        Function::IndexOf(case) => index_of(args, case),
        Function::Length => Some(Value::Int(units(&text_of(args.first()?)) as i64)),
        Function::Substring => substring(args),
        Function::ToLower => Some(Value::str(text_of(args.first()?).to_lowercase())),
        Function::ToUpper => Some(Value::str(text_of(args.first()?).to_uppercase())),
        Function::ToNumber => to_number(args),
        Function::ToText => Some(match args.first()? {
            Value::Float(float) => Value::str(float_text(*float)),
            other => Value::str(text_of(other)),
        }),
    }
}

fn concat(args: &[&Value]) -> Option<Value> {
    let mut whole = String::new();
    for arg in args {
        let text = text_of(arg);
        if whole.len() + text.len() > MAX_TEXT {
            return None;
        }
        whole.push_str(&text);
    }
    Some(Value::str(whole))
}

/// Integers stay integers; overflow and division by zero are null.
fn arithmetic(
    args: &[&Value],
    on_ints: fn(i64, i64) -> Option<i64>,
    on_floats: fn(f64, f64) -> f64,
) -> Option<Value> {
    let [left, right] = args else { return None };
    match (number_of(left)?, number_of(right)?) {
        (Number::Int(left), Number::Int(right)) => on_ints(left, right).map(Value::Int),
        (left, right) => {
            let float = on_floats(left.as_f64(), right.as_f64());
            float.is_finite().then_some(Value::Float(float))
        }
    }
}

fn on_texts(args: &[&Value], case: Case, test: fn(&str, &str) -> bool) -> Option<Value> {
    let [text, part] = args else { return None };
    Some(Value::Bool(test(&case.apply(&text_of(text)), &case.apply(&text_of(part)))))
}

/// The text between the first `left` and the `right` after it; empty where one of them is absent.
fn between(args: &[&Value], case: Case) -> Option<Value> {
    let [text, left, right, rest @ ..] = args else { return None };
    let is_greedy = matches!(rest.first(), Some(Value::Bool(true)));
    let (text, left, right) = (text_of(text), text_of(left), text_of(right));
    let (seen, left, right) =
        (aligned_fold(&text, case), aligned_fold(&left, case), aligned_fold(&right, case));
    let found = seen.find(&*left).and_then(|at| {
        let start = at + left.len();
        let rest = &seen[start..];
        let len = if is_greedy { rest.rfind(&*right) } else { rest.find(&*right) }?;
        Some(&text[start..start + len])
    });
    Some(Value::str(found.unwrap_or_default()))
}

/// Lower case that keeps every byte where it was, so that positions in it are positions in the text. The few letters
/// whose lower case has another length stay as they are.
fn aligned_fold(text: &str, case: Case) -> Cow<'_, str> {
    if case == Case::Sensitive {
        return Cow::Borrowed(text);
    }
    let fold = |c: char| {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(lower), None) if lower.len_utf8() == c.len_utf8() => lower,
            _ => c,
        }
    };
    Cow::Owned(text.chars().map(fold).collect())
}

fn index_of(args: &[&Value], case: Case) -> Option<Value> {
    let [text, part, rest @ ..] = args else { return None };
    let (text, part) = (text_of(text), text_of(part));
    let (text, part) = (aligned_fold(&text, case), aligned_fold(&part, case));
    let from = match rest.first() {
        Some(start) => int_of(start)?.max(0) as usize,
        None => 0,
    };
    let from = byte_at(&text, from.min(units(&text)));
    let at = from + text[from..].find(&*part)?;
    Some(Value::Int(units(&text[..at]) as i64))
}

fn substring(args: &[&Value]) -> Option<Value> {
    let [text, start, rest @ ..] = args else { return None };
    let text = text_of(text);
    let len = units(&text) as i64;
    let place = |at: i64| (if at < 0 { len.saturating_add(at) } else { at }).clamp(0, len);
    let start = place(int_of(start)?);
    let end = match rest.first() {
        Some(end) => place(int_of(end)?),
        None => len,
    };
    if start >= end {
        return Some(Value::str(""));
    }
    Some(Value::str(&text[byte_at(&text, start as usize)..byte_at(&text, end as usize)]))
}

fn to_number(args: &[&Value]) -> Option<Value> {
    let text = text_of(args.first()?);
    let base = match args.get(1) {
        Some(base) => Some(u32::try_from(int_of(base)?).ok().filter(|base| (2..=36).contains(base))?),
        None => None,
    };
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match (base, digits) {
        (None | Some(16), Some(digits)) => i64::from_str_radix(digits, 16).ok().map(Value::Int),
        (Some(base), _) if base != 10 => i64::from_str_radix(&text, base).ok().map(Value::Int),
        _ => match Number::parse(&text)? {
            Number::Int(int) => Some(Value::Int(int)),
            Number::Float(float) => Some(Value::Float(float)),
        },
    }
}

fn int_of(value: &Value) -> Option<i64> {
    match number_of(value)? {
        Number::Int(int) => Some(int),
        Number::Float(float) => Some(float as i64),
    }
}

/// Length in UTF-16 units.
fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

/// The byte at a position in UTF-16 units; inside a surrogate pair, the character's start.
fn byte_at(text: &str, unit: usize) -> usize {
    if text.is_ascii() {
        return unit.min(text.len());
    }
    let mut seen = 0;
    for (at, c) in text.char_indices() {
        seen += c.len_utf16();
        if seen > unit {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(function: Function, args: &[Value], expect: Option<Value>) {
        let args: Vec<&Value> = args.iter().collect();
        assert_eq!(call(function, &args), expect, "{function:?} {args:?}");
    }

    fn text(text: &str) -> Value {
        Value::str(text)
    }

    #[test]
    fn integers_truncate_and_overflow_is_null() {
        check(Function::Divide, &[Value::Int(83), Value::Int(2)], Some(Value::Int(41)));
        check(Function::Divide, &[Value::Int(-7), Value::Int(2)], Some(Value::Int(-3)));
        check(Function::Divide, &[Value::Int(83), Value::Float(2.0)], Some(Value::Float(41.5)));
        check(Function::Divide, &[Value::Int(1), Value::Int(0)], None);
        check(Function::Divide, &[Value::Float(1.0), Value::Int(0)], None);
        check(Function::Modulo, &[Value::Int(7), Value::Int(4)], Some(Value::Int(3)));
        check(Function::Add, &[Value::Int(i64::MAX), Value::Int(1)], None);
        check(Function::Negate, &[Value::Int(i64::MIN)], None);
        check(Function::Negate, &[Value::Float(0.5)], Some(Value::Float(-0.5)));
    }

    #[test]
    fn positions_count_utf16_units() {
        check(Function::Length, &[text("aé😀")], Some(Value::Int(4)));
        check(Function::IndexOf(Case::Sensitive), &[text("é😀b"), text("b")], Some(Value::Int(3)));
        check(Function::Substring, &[text("é😀b"), Value::Int(-1)], Some(text("b")));
        check(Function::Substring, &[text("😀b"), Value::Int(1)], Some(text("😀b")));
    }

    #[test]
    fn substring_takes_bounds_from_both_ends() {
        for (start, end, expect) in [
            (0, Some(4), "cmd."),
            (-4, None, ".exe"),
            (-4, Some(-1), ".ex"),
            (3, Some(2), ""),
            (100, None, ""),
            (-100, Some(100), "cmd.exe"),
        ] {
            let mut args = vec![text("cmd.exe"), Value::Int(start)];
            args.extend(end.map(Value::Int));
            check(Function::Substring, &args, Some(text(expect)));
        }
    }

    #[test]
    fn between_is_shy_unless_told() {
        let source = text("System Idle Process");
        check(Function::Between(Case::Sensitive), &[source.clone(), text("s"), text("e")], Some(text("t")));
        check(
            Function::Between(Case::Sensitive),
            &[source.clone(), text("s"), text("e"), Value::Bool(true)],
            Some(text("tem Idle Proc")),
        );
        check(Function::Between(Case::Sensitive), &[source.clone(), text("X"), text("e")], Some(text("")));
        check(
            Function::Between(Case::Folded),
            &[source, text("SYSTEM "), text(" PROCESS")],
            Some(text("Idle")),
        );
    }

    #[test]
    fn index_of_is_null_where_nothing_is_found() {
        let source = text("explorer.exe");
        check(Function::IndexOf(Case::Sensitive), &[source.clone(), text("plore")], Some(Value::Int(2)));
        check(
            Function::IndexOf(Case::Sensitive),
            &[source.clone(), text("e"), Value::Int(1)],
            Some(Value::Int(6)),
        );
        check(Function::IndexOf(Case::Sensitive), &[source.clone(), text("PLORE")], None);
        check(Function::IndexOf(Case::Folded), &[source.clone(), text("PLORE")], Some(Value::Int(2)));
        check(Function::IndexOf(Case::Sensitive), &[source, text("e"), Value::Int(100)], None);
    }

    #[test]
    fn numbers_parse_in_their_base() {
        check(Function::ToNumber, &[text("1337")], Some(Value::Int(1337)));
        check(Function::ToNumber, &[text("0xdeadbeef"), Value::Int(16)], Some(Value::Int(3_735_928_559)));
        check(Function::ToNumber, &[text("0x10")], Some(Value::Int(16)));
        check(Function::ToNumber, &[text("ff"), Value::Int(16)], Some(Value::Int(255)));
        check(Function::ToNumber, &[text("4.5")], Some(Value::Float(4.5)));
        check(Function::ToNumber, &[text("x")], None);
        check(Function::ToNumber, &[text("10"), Value::Int(1)], None);
    }

    #[test]
    fn concat_joins_mixed_types() {
        check(Function::Concat, &[text("a"), Value::Int(1), Value::Bool(true)], Some(text("a1true")));
    }
}
