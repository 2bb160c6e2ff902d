//! Encodings: Base64, percent signs, and what stands in a JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Function;

/// `None`: the text is not what the function takes.
pub(super) fn convert(function: Function, texts: &[&str]) -> Option<String> {
    match function {
        Function::FromBase64 => text_of(&from_base64(texts[0])?),
        Function::ToBase64 => Some(STANDARD.encode(texts[0])),
        Function::UrlDecode => url_decode(texts[0]),
        Function::UrlEncode => Some(url_encode(texts[0])),
        Function::JsonExtract => json(texts[0], texts[1]),
        _ => None,
    }
}

/// What a person's tools wrote in UTF-16, or in no encoding at all, is still to be looked at.
fn text_of(bytes: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// Either alphabet, padded or not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}

fn url_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    text_of(&bytes)
}

fn url_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// `a.b[0].c`, with or without `$.` in front. A text is itself, anything else as JSON writes it.
fn json(text: &str, path: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(text).ok()?;
    let path = path.trim_start_matches('$').trim_start_matches('.');
    let mut at = &document;
    for part in path.split(['.', '[']).map(|part| part.trim_end_matches(']').trim_matches(['\'', '"'])) {
        at = match at {
            serde_json::Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            object => object.get(part)?,
        };
    }
    match at {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(function: Function, texts: &[&str], expect: Option<&str>) {
        assert_eq!(convert(function, texts).as_deref(), expect, "{function:?} of {texts:?}");
    }

    #[test]
    fn encodings() {
        check(Function::FromBase64, &["Y3VybCAtcw=="], Some("curl -s"));
        check(Function::FromBase64, &["Y3VybCAtcw"], Some("curl -s"));
        check(Function::FromBase64, &["no base64"], None);
        check(Function::FromBase64, &[""], Some(""));
        for text in ["", "a", "ab", "abc", "abcd", "äöü"] {
            let encoded = STANDARD.encode(text);
            check(Function::FromBase64, &[&encoded], Some(text));
            check(Function::UrlDecode, &[&url_encode(text)], Some(text));
        }
        check(Function::ToBase64, &["curl -s"], Some("Y3VybCAtcw=="));
        check(Function::UrlDecode, &["%2e%2e%2Fetc+x"], Some("../etc x"));
        check(Function::UrlDecode, &["100%"], None);
        check(Function::UrlEncode, &["a b/ü"], Some("a+b%2F%C3%BC"));
    }

    #[test]
    fn values_in_json() {
        let text = r#"{"a":{"b":[{"c":"x"},7]},"n":null}"#;
        check(Function::JsonExtract, &[text, "a.b[0].c"], Some("x"));
        check(Function::JsonExtract, &[text, "$.a.b[1]"], Some("7"));
        check(Function::JsonExtract, &[text, "a.b[0]"], Some(r#"{"c":"x"}"#));
        check(Function::JsonExtract, &[text, "n"], None);
        check(Function::JsonExtract, &[text, "a.z"], None);
        check(Function::JsonExtract, &["{", "a"], None);
    }
}
