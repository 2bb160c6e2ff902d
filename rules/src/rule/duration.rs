//! Lengths of time as rule files write them: `10m`, `now-9m`.

use super::table::{At, Findings};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Span;

/// `90s`, `15m`, `2h`, `10d`, `1w`, `500ms`.
pub(crate) fn parse(text: &str) -> Option<Span> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let nanos: i64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        "w" => 7 * 86_400 * 1_000_000_000,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(nanos).map(Span)
}

/// `now-9m`; a rounding such as `/d` moves the start of a batch run and has no meaning on a stream.
pub(crate) fn look_back(text: &str) -> Option<Span> {
    let text = text.split_once('/').map_or(text, |(text, _)| text);
    parse(text.strip_prefix("now-")?)
}

/// A length of time, or a finding that says how to write one.
pub(crate) fn checked(at: &At<String>, found: &mut Findings) -> Option<Span> {
    parse(&at.value).or_else(|| refuse(at, "write a number with its unit: 500ms, 30s, 9m, 2h, 10d", found))
}

/// A look-back, or a finding that says how to write one.
pub(crate) fn checked_look_back(at: &At<String>, found: &mut Findings) -> Option<Span> {
    look_back(&at.value)
        .or_else(|| refuse(at, "write now- and a number with its unit: now-9m, now-10d", found))
}

fn refuse(at: &At<String>, help: &str, found: &mut Findings) -> Option<Span> {
    let message = format!("\"{}\" is no length of time", at.value);
    found.add(Diagnostic::error(Code::BadSpan, at.span.clone(), message).with_help(help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let minutes = |count: i64| Some(Span::from_secs(count * 60));
        assert_eq!(parse("9m"), minutes(9));
        assert_eq!(parse("500ms"), Some(Span::from_millis(500)));
        assert_eq!(look_back("now-119m"), minutes(119));
        assert_eq!(look_back("now-30d/d"), minutes(30 * 24 * 60));
        for bad in
            ["", "m", "9", "9 m", "-9m", "9x", "now-9m", "99999999999999999999d", "9223372036854775807w"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(look_back("9m"), None);
    }
}
