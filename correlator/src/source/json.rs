//! A JSON tree that borrows from its text and keeps the order of keys.
//!
//! Order matters once: Elastic's text form of `requestParameters` depends on it. Borrowing matters always: most of
//! a CloudTrail record is looked at once and thrown away.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::source::Scalar;

/// Characters of a value that a message shows.
const MAX_EXCERPT: usize = 60;

/// One JSON value. Its depth is bounded by the parser (128), so walking it by recursion is safe.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Cow<'a, str>),
    List(Vec<Json<'a>>),
    /// As written: a key may occur twice, and then the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => {
                entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The value at the end of a chain of keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// A string that says something: not empty.
    pub fn str(&self) -> Option<&str> {
        match self {
            Self::Str(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub fn str_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys)?.str()
    }

    /// A number, also one written as a string.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Str(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A truth value, also one written as a string, as AWS does in places.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(bool) => Some(*bool),
            Self::Str(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Str(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A list's elements; nothing for anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &[(Cow<'a, str>, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Self::Bool(bool) => Some(Scalar::Bool(*bool)),
            Self::Int(int) => Some(Scalar::Int(*int)),
            Self::Float(float) => Some(Scalar::Float(*float)),
            Self::Str(text) => Some(Scalar::Str(text)),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Null, the empty string, and containers that hold nothing else: what Elastic's pipelines throw away first.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Str(text) => text.is_empty(),
            Self::List(items) => items.iter().all(Self::is_empty),
            Self::Object(entries) => entries.iter().all(|(_, value)| value.is_empty()),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => false,
        }
    }

    /// The value as JSON text, cut where it gets long: for messages.
    pub fn excerpt(&self) -> String {
        let mut out = String::new();
        self.write_excerpt(&mut out);
        match out.char_indices().nth(MAX_EXCERPT) {
            Some((end, _)) => format!("{}…", &out[..end]),
            None => out,
        }
    }

    /// Stops soon after there is enough, however large the value is.
    fn write_excerpt(&self, out: &mut String) {
        if out.len() > MAX_EXCERPT * 4 {
            return;
        }
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
            Self::Int(int) => out.push_str(&int.to_string()),
            Self::Float(float) => out.push_str(&float.to_string()),
            Self::Str(text) => write_quoted(text, out),
            Self::List(items) => {
                out.push('[');
                for (idx, item) in items.iter().enumerate().take(MAX_EXCERPT) {
                    if idx > 0 {
                        out.push(',');
                    }
                    item.write_excerpt(out);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (idx, (key, value)) in entries.iter().enumerate().take(MAX_EXCERPT) {
                    if idx > 0 {
                        out.push(',');
                    }
                    write_quoted(key, out);
                    out.push(':');
                    value.write_excerpt(out);
                }
                out.push('}');
            }
        }
    }

    /// Calls back with every scalar under its dotted path, lists flattened, as Elasticsearch indexes a document.
    ///
    /// `path` is a prefix without its last dot and is as before when this returns.
    pub fn leaves<'j>(&'j self, path: &mut String, each: &mut dyn FnMut(&str, Scalar<'j>)) {
        match self {
            Self::Object(entries) => {
                for (key, value) in entries {
                    let len = path.len();
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                    value.leaves(path, each);
                    path.truncate(len);
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.leaves(path, each)),
            scalar => {
                if let Some(scalar) = scalar.scalar() {
                    each(path, scalar);
                }
            }
        }
    }
}

fn write_quoted(text: &str, out: &mut String) {
    let head: String = text.chars().take(MAX_EXCERPT).collect();
    out.push_str(&serde_json::Value::String(head).to_string());
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(bool))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Self::Value, E> {
        Ok(Json::Int(int))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(int).map_or(Json::Float(int as f64), Json::Int))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Self::Value, E> {
        Ok(Json::Float(float))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Str(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Str(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Json::Str(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            entries.push((key, map.next_value()?));
        }
        Ok(Json::Object(entries))
    }
}

/// `Cow`'s own `Deserialize` always copies; a key without escapes can be borrowed.
struct KeySeed;

impl<'de> serde::de::DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_flattened_like_elasticsearch_does() {
        let json = Json::parse(r#"{"a":{"b":[1,{"c":"x"},[2,null]]},"d.e":true}"#).unwrap();
        let mut seen = Vec::new();
        json.leaves(&mut String::new(), &mut |path, scalar| seen.push(format!("{path}={scalar:?}")));
        assert_eq!(seen, ["a.b=Int(1)", "a.b.c=Str(\"x\")", "a.b=Int(2)", "d.e=Bool(true)"]);
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let json = Json::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(json.get("a"), Some(&Json::Int(3)));
    }

    #[test]
    fn emptiness_is_recursive() {
        for (text, is_empty) in
            [("null", true), (r#"{"a":[{},null,""]}"#, true), ("0", false), ("[[false]]", false)]
        {
            assert_eq!(Json::parse(text).unwrap().is_empty(), is_empty, "{text}");
        }
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let json = Json::parse(r#"["plain","es\tcaped"]"#).unwrap();
        assert!(matches!(&json.items()[0], Json::Str(Cow::Borrowed("plain"))));
        assert!(matches!(&json.items()[1], Json::Str(Cow::Owned(_))));
    }

    #[test]
    fn an_excerpt_is_json_and_short() {
        for text in [r#"{"a":[1,null,"x\"y"],"b":true}"#, r#""0001-01-01T00:00:00Z""#, "-7", "{}", "[]"] {
            assert_eq!(Json::parse(text).unwrap().excerpt(), text);
        }
        for text in [format!("\"{}\"", "é".repeat(100_000)), format!("[{}1]", "1,".repeat(100_000))] {
            assert!(Json::parse(&text).unwrap().excerpt().chars().count() == MAX_EXCERPT + 1, "{text:.80}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }
}
