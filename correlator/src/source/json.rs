//! A JSON tree that borrows from its text and keeps the order of keys.
//!
//! Order matters once: Elastic's text form of `requestParameters` depends on it. Borrowing matters always: most of
//! a CloudTrail record is looked at once and thrown away. So the tree lies in an [`Arena`], in as many pieces as it has
//! lists and objects, and is given up as a whole.

mod parser;

use std::cell::Cell;

use crate::source::Scalar;

/// Memory of trees.
pub type Arena = bumpalo::Bump;

/// Characters of a value that a message shows.
const MAX_EXCERPT: usize = 60;

/// One JSON value. Its depth is bounded by the parser (127), so walking it by recursion is safe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
    List(&'a [Json<'a>]),
    /// As written: a key may occur twice, and then the last one counts.
    Object(&'a [(&'a str, Json<'a>)]),
}

/// Runs with an arena that the thread uses again and again.
pub(crate) fn with_arena<T>(work: impl FnOnce(&Arena) -> T) -> T {
    thread_local! {
        static ARENA: Cell<Arena> = Cell::new(Arena::new());
    }
    /// One monstrous record must not hold memory for ever.
    const MAX_KEPT: usize = 1 << 20;
    // Who asks while another works gets an arena of its own.
    let mut arena = ARENA.take();
    let result = work(&arena);
    if arena.allocated_bytes() <= MAX_KEPT {
        arena.reset();
        ARENA.set(arena);
    }
    result
}

impl<'a> Json<'a> {
    /// # Errors
    /// When the text is no JSON, nests deeper than 127, or holds a number beyond any float.
    pub fn parse(text: &'a str, arena: &'a Arena) -> Result<Self, serde_json::Error> {
        parser::parse(text, arena).ok_or_else(|| {
            // Its words say where and what; a property holds the two to the same opinion.
            match serde_json::from_str::<serde_json::Value>(text) {
                Err(error) => error,
                Ok(_) => serde::de::Error::custom("unreadable"),
            }
        })
    }

    pub fn get(&self, key: &str) -> Option<&'a Self> {
        self.entries().iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The value at the end of a chain of keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// A string that says something: not empty.
    pub fn str(&self) -> Option<&'a str> {
        match self {
            Self::Str(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub fn str_at(&self, keys: &[&str]) -> Option<&'a str> {
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
    pub fn items(&self) -> &'a [Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &'a [(&'a str, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub fn scalar(&self) -> Option<Scalar<'a>> {
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
    pub fn leaves(&self, path: &mut String, each: &mut dyn FnMut(&str, Scalar<'a>)) {
        match self {
            Self::Object(entries) => {
                for (key, value) in *entries {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_flattened_like_elasticsearch_does() {
        let arena = Arena::new();
        let json = Json::parse(r#"{"a":{"b":[1,{"c":"x"},[2,null]]},"d.e":true}"#, &arena).unwrap();
        let mut seen = Vec::new();
        json.leaves(&mut String::new(), &mut |path, scalar| seen.push(format!("{path}={scalar:?}")));
        assert_eq!(seen, ["a.b=Int(1)", "a.b.c=Str(\"x\")", "a.b=Int(2)", "d.e=Bool(true)"]);
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let arena = Arena::new();
        let json = Json::parse(r#"{"a":1,"b":2,"a":3}"#, &arena).unwrap();
        assert_eq!(json.get("a"), Some(&Json::Int(3)));
    }

    #[test]
    fn emptiness_is_recursive() {
        for (text, is_empty) in
            [("null", true), (r#"{"a":[{},null,""]}"#, true), ("0", false), ("[[false]]", false)]
        {
            assert_eq!(Json::parse(text, &Arena::new()).unwrap().is_empty(), is_empty, "{text}");
        }
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let (text, arena) = (r#"["plain","es\tcaped"]"#, Arena::new());
        let items = Json::parse(text, &arena).unwrap().items();
        assert_eq!(items, [Json::Str("plain"), Json::Str("es\tcaped")]);
        let is_borrowed =
            |json: &Json<'_>| text.as_bytes().as_ptr_range().contains(&json.str().unwrap().as_ptr());
        assert!(is_borrowed(&items[0]) && !is_borrowed(&items[1]));
    }

    #[test]
    fn an_excerpt_is_json_and_short() {
        for text in [r#"{"a":[1,null,"x\"y"],"b":true}"#, r#""0001-01-01T00:00:00Z""#, "-7", "{}", "[]"] {
            assert_eq!(Json::parse(text, &Arena::new()).unwrap().excerpt(), text);
        }
        for text in [format!("\"{}\"", "é".repeat(100_000)), format!("[{}1]", "1,".repeat(100_000))] {
            assert!(
                Json::parse(&text, &Arena::new()).unwrap().excerpt().chars().count() == MAX_EXCERPT + 1,
                "{text:.80}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(Json::parse(&"[".repeat(100_000), &Arena::new()).is_err());
    }
}
