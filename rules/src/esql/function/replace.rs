//! `REPLACE`: a regular expression that need not match the whole, and a text in which `$1` is what its first group matched.

use std::cell::RefCell;

use regex::{Regex, RegexBuilder};
use rustc_hash::FxHashMap;

use crate::bounds::MAX_TEXT;

const MAX_SIZE: usize = 1 << 20;
const MAX_TRIED: usize = 8 * MAX_TEXT;
/// A query's patterns are few. One that is put together of the event's values may be another each time.
const MAX_KEPT: usize = 64;

thread_local! {
    static COMPILED: RefCell<FxHashMap<Box<str>, Option<Regex>>> = RefCell::default();
}

/// Why a pattern does not compile.
pub(in crate::esql) fn fault(pattern: &str) -> Option<String> {
    let fault = compile(pattern).err()?;
    Some(match fault {
        regex::Error::CompiledTooBig(_) => "the expression compiles to more than a mebibyte".to_owned(),
        // The last line of the crate's message, without the picture.
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).nest_limit(100).build()
}

/// `None`: the pattern does not compile, or the result is too long.
pub(super) fn all(text: &str, pattern: &str, new: &str) -> Option<String> {
    COMPILED.with_borrow_mut(|compiled| {
        if compiled.len() >= MAX_KEPT && !compiled.contains_key(pattern) {
            compiled.clear();
        }
        let regex = compiled.entry(pattern.into()).or_insert_with(|| compile(pattern).ok()).as_ref()?;
        let new = java(new);
        let n_groups = new.matches('$').count();
        let mut out = String::new();
        let mut rest = 0;
        for found in regex.captures_iter(text) {
            let place = found.get_match();
            out.push_str(&text[rest..place.start()]);
            // No group is longer than the whole: what could come to so much is not tried.
            if out.len() + new.len() + n_groups.saturating_mul(place.len()) > MAX_TRIED {
                return None;
            }
            found.expand(&new, &mut out);
            rest = place.end();
            if out.len() > MAX_TEXT {
                return None;
            }
        }
        out.push_str(&text[rest..]);
        (out.len() <= MAX_TEXT).then_some(out)
    })
}

/// Java reads `$1x` as the first group and an x, and a backslash makes the next character plain.
fn java(new: &str) -> String {
    let mut out = String::with_capacity(new.len());
    let mut chars = new.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(plain) => out.push(plain),
                None => out.push('\\'),
            },
            '$' => match chars.next_if(char::is_ascii_digit) {
                Some(digit) => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                None if chars.peek() == Some(&'{') => out.push('$'),
                None => out.push_str("$$"),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_as_in_java() {
        for (text, pattern, new, expect) in [
            ("ab", "(a)", "$1x", Some("axb")),
            ("a-b", "(?P<left>.)-", "${left}+", Some("a+b")),
            ("ab", "b", "\\$1", Some("a$1")),
            ("ab", "b", "$", Some("a$")),
            ("ab", "c", "x", Some("ab")),
            ("ab", "(", "x", None),
        ] {
            assert_eq!(all(text, pattern, new).as_deref(), expect, "{text} {pattern} {new}");
        }
    }

    #[test]
    fn what_would_be_too_long_is_null() {
        let long = "a".repeat(MAX_TEXT);
        assert_eq!(all(&long, "a", &long), None);
        assert_eq!(all(&long, "(a+)", &"$1".repeat(20_000)), None);
        assert_eq!(all(&long, "b", "x"), Some(long.clone()));
        assert_eq!(all(&long, "(a+)", "$1"), Some(long.clone()));
    }

    #[test]
    fn a_pattern_that_does_not_compile_says_why() {
        assert_eq!(fault("a+"), None);
        assert!(fault("(?!x)").is_some_and(|fault| fault.contains("look")));
    }
}
