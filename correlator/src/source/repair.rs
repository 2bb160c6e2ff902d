//! JSON with a value that no JSON reader takes: it costs that value, and not the record around it.
//!
//! Producers write numbers beyond any float (`1e999`) and escapes of half a character (`\ud800`), and attackers know which
//! readers stop there. Such a number becomes null, half a character the replacement character. Other faults stay faults.

/// The text with such values replaced, or none where there are none.
pub(crate) fn repair(text: &str) -> Option<String> {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_changed = false;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        repaired.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = if rest.starts_with('"') {
            let len = string_len(rest);
            is_changed |= copy_string(&rest[..len], &mut repaired);
            len
        } else {
            let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
            let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let is_too_large = rest[..len].parse::<f64>().is_ok_and(f64::is_infinite);
            repaired.push_str(if is_too_large { "null" } else { &rest[..len] });
            is_changed |= is_too_large;
            len
        };
        rest = &rest[len..];
    }
    repaired.push_str(rest);
    is_changed.then_some(repaired)
}

/// With both quotes; to the end where one is missing.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Copies a string; halves of characters are replaced. Says whether there were any.
fn copy_string(text: &str, into: &mut String) -> bool {
    let mut rest = text;
    let mut is_changed = false;
    while let Some(at) = rest.find('\\') {
        into.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = match unit(rest) {
            Some(0xd800..=0xdbff) if matches!(rest.get(6..).and_then(unit), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                is_changed = true;
                into.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // The backslash and what it escapes.
            _ => rest.chars().take(2).map(char::len_utf8).sum(),
        };
        into.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    into.push_str(rest);
    is_changed
}

/// The UTF-16 unit of a `\u` escape at the front.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        let repaired = repair(text);
        assert_eq!(repaired.as_deref(), expect, "{text}");
        if let Some(repaired) = repaired {
            assert!(serde_json::from_str::<serde_json::Value>(&repaired).is_ok(), "{repaired}");
        }
    }

    #[test]
    fn a_bad_value_is_replaced_and_the_rest_is_kept() {
        check(r#"{"a":1e999,"b":-1e999,"c":1e9}"#, Some(r#"{"a":null,"b":null,"c":1e9}"#));
        check(r#"{"a":"x\ud800y","b":"\udc00"}"#, Some(r#"{"a":"x\ufffdy","b":"\ufffd"}"#));
        check(r#"["\ud83d\ude00","\ud83d\ud83d\ude00"]"#, Some(r#"["\ud83d\ude00","\ufffd\ud83d\ude00"]"#));
        check(r#"["1e999","\\ud800","\"1e999",1e999]"#, Some(r#"["1e999","\\ud800","\"1e999",null]"#));
    }

    #[test]
    fn nothing_to_repair_is_said() {
        for text in ["", "{}", r#"{"a":[1,-2.5e3,"x\"y\\"]}"#, r#"{"open":"never closed \"#, "{\"a\":é\\u"] {
            check(text, None);
        }
    }
}
