//! Lines of the log: what happened and how often stays, whom it happened to does not.

use serde_json::{Map, Value};

use super::masked;

/// Of a message, words longer than this are no words.
const MAX_WORD: usize = 16;

/// The lines as they may be shown. What is no line of ours is counted by its length.
pub(crate) fn lines(log: &str) -> String {
    let line = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(fields)) if fields.contains_key("message") => {
            Value::Object(entry(&fields)).to_string()
        }
        _ => Value::String(masked(line)).to_string(),
    };
    log.lines().filter(|text| !text.trim().is_empty()).map(|text| line(text) + "\n").collect()
}

/// Whether a text is what a stamp may be.
type Judge = fn(&str) -> bool;

/// Keys whose texts are ours, as what they have to look like.
const STAMPS: [(&str, Judge); 3] = [("timestamp", is_stamp), ("level", is_stamp), ("target", is_target)];

fn entry(line: &Map<String, Value>) -> Map<String, Value> {
    let mut entry = Map::new();
    for (key, value) in line {
        let is_ours = |text: &str| STAMPS.iter().any(|(name, is_it)| name == key && is_it(text));
        let value = match value {
            Value::String(text) if key == "message" => words(text).into(),
            Value::String(text) if is_ours(text) => text.as_str().into(),
            Value::String(text) => masked(text).into(),
            Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
            Value::Array(_) | Value::Object(_) => masked(&value.to_string()).into(),
        };
        // Names of fields are ours, and a line that is not ours could have any.
        entry.insert(words(key), value);
    }
    entry
}

/// A module of ours.
fn is_target(text: &str) -> bool {
    text.strip_prefix("correlator::").is_some_and(|rest| {
        rest.len() <= 60 && rest.bytes().all(|byte| byte.is_ascii_lowercase() || b":_".contains(&byte))
    })
}

/// A time or a level.
fn is_stamp(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_uppercase() || b"0123456789-:.".contains(&byte))
}

/// A sentence of ours, without what stands in quotes in it and without what is no plain word.
fn words(message: &str) -> String {
    let outside: String =
        message.split('"').enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "\"…\"" }).collect();
    let is_word = |word: &str| {
        let bare = word.trim_matches(|c: char| ",;:.!?()'\"…".contains(c));
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || b"'-_".contains(&byte);
        bare.len() <= MAX_WORD && bare.bytes().all(is_plain)
            || bare.len() <= 6 && bare.bytes().all(|byte| byte.is_ascii_digit())
    };
    outside.split(' ').map(|word| if is_word(word) { word } else { "…" }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: &str) {
        let (shown, expect): (Value, Value) =
            (serde_json::from_str(&lines(line)).unwrap(), serde_json::from_str(expect).unwrap());
        assert_eq!(shown, expect);
    }

    #[test]
    fn what_happened_stays_and_whom_it_happened_to_does_not() {
        check(
            r#"{"timestamp":"2026-11-02T10:00:00.123Z","level":"WARN","message":"could not be read","source":"trail /x","n":3,"secret":"CANARY","target":"correlator::cli::run"}"#,
            r#"{"timestamp":"2026-11-02T10:00:00.123Z","level":"WARN","message":"could not be read","source":"(masked, 8 bytes)","n":3,"secret":"(masked, 6 bytes)","target":"correlator::cli::run"}"#,
        );
        check(
            r#"{"message":"source \"CANARY one\" is silent for 30 s, token=abc sk_LIVE4 https://x/y"}"#,
            r#"{"message":"source \"…\" is silent for 30 s, … … …"}"#,
        );
        check("thread 'main' panicked at CANARY", "\"(masked, 32 bytes)\"");
        check(r#"{"token":"CANARY"}"#, "\"(masked, 18 bytes)\"");
        check(
            r#"{"message":"","level":"a secret of 12","target":"CANARY","CANARY":1,"span":{"name":"CANARY"}}"#,
            r#"{"message":"","level":"(masked, 14 bytes)","target":"(masked, 6 bytes)","…":1,"span":"(masked, 17 bytes)"}"#,
        );
    }
}
