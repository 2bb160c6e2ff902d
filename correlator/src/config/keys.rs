//! The keys that there are, as the shipped file has them: it documents each with its effect, default and bounds, and a test
//! holds it to what is read. Names of variables and the JSON schema are made from it, so that nothing is written twice.

use serde_json::{Map, Value, json};

use super::DEFAULT;

/// What a key's value is, by the shipped example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Text,
    Span,
    Size,
    Integer,
    Bool,
    Texts,
}

/// A key of the shipped file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// `rules.limits.max_file`, or `source.path` of a list of tables.
    pub(super) path: String,
    pub(super) kind: KeyKind,
    /// The comments about it.
    pub(super) text: String,
    /// It is in a table of which there may be several.
    is_listed: bool,
}

impl KeyKind {
    /// By the value as TOML writes it.
    fn of(value: &str) -> Self {
        let value = value.trim();
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let ends = |units: &[&str]| {
            let text = value.trim_matches('"');
            units.iter().any(|unit| text.strip_suffix(unit).is_some_and(is_number))
        };
        match value.as_bytes().first() {
            Some(b'[') => Self::Texts,
            Some(b'"') if ends(&["KiB", "MiB", "GiB"]) => Self::Size,
            Some(b'"') if ends(&["ms", "s", "m", "h", "d"]) => Self::Span,
            Some(b'"' | b'\'') => Self::Text,
            _ if value == "true" || value == "false" => Self::Bool,
            _ => Self::Integer,
        }
    }

    /// A variable's value as TOML: lists are written with commas. What is no such value stays a text, and is told as such.
    pub(super) fn literal(self, value: &str) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        match self {
            Self::Bool if matches!(value, "true" | "false") => value.to_owned(),
            Self::Integer if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                value.to_owned()
            }
            Self::Texts => {
                let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
                format!("[{}]", items.map(quoted).collect::<Vec<_>>().join(", "))
            }
            _ => quoted(value),
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Span => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
            Self::Size => json!({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$"}),
            Self::Integer => json!({"type": "integer", "minimum": 0}),
            Self::Bool => json!({"type": "boolean"}),
            Self::Texts => json!({"type": "array", "items": {"type": "string"}}),
        }
    }
}

impl Key {
    /// `GROUNDTRAIL_RULES_LIMITS_MAX_FILE`. Of tables of which there are several, none can be meant.
    pub(super) fn variable(&self) -> Option<String> {
        let name = self.path.replace('.', "_").to_uppercase();
        (!self.is_listed).then(|| format!("GROUNDTRAIL_{name}"))
    }
}

/// A line of the file, with what stands commented out as an example read as if it did not.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with('[') || rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        _ => line,
    }
}

/// The keys of the shipped file, each once, in its order.
pub(super) fn shipped() -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let (mut table, mut is_listed) = (String::new(), false);
    let mut comments: Vec<&str> = Vec::new();
    for line in DEFAULT.lines() {
        let line = uncommented(line);
        if let Some(comment) = line.strip_prefix('#') {
            comments.push(comment.trim());
        } else if let Some(name) = line.trim().strip_prefix('[') {
            (table, is_listed) = (name.trim_matches(['[', ']']).to_owned(), name.starts_with('['));
        } else if let Some((name, rest)) = line.split_once(" = ") {
            let (value, comment) =
                rest.split_once("   #").or_else(|| rest.split_once(" # ")).unwrap_or((rest, ""));
            let path = format!("{table}.{}", name.trim());
            // Where a table stands before its keys with comments of its own, they are its first key's.
            let mut text: Vec<&str> = std::mem::take(&mut comments);
            text.extend((!comment.is_empty()).then(|| comment.trim()));
            if !keys.iter().any(|key| key.path == path) {
                keys.push(Key { path, kind: KeyKind::of(value), text: text.join(" "), is_listed });
            }
        } else if line.trim().is_empty() {
            comments.clear();
        }
    }
    keys
}

/// A JSON schema (2020-12) of the file, for editors.
pub fn schema() -> Value {
    let mut root = object();
    for key in shipped() {
        let mut parts: Vec<&str> = key.path.split('.').collect();
        let Some(name) = parts.pop() else { continue };
        let mut at = &mut root;
        for (depth, part) in parts.iter().enumerate() {
            let is_list = key.is_listed && depth == 0;
            let properties = at["properties"].as_object_mut().expect("an object has properties");
            let below = properties.entry(*part).or_insert_with(|| match is_list {
                true => json!({"type": "array", "items": object()}),
                false => object(),
            });
            at = if is_list { &mut below["items"] } else { below };
        }
        let mut of_key = key.kind.schema();
        if !key.text.is_empty() {
            of_key["description"] = key.text.into();
        }
        let properties = at["properties"].as_object_mut().expect("an object has properties");
        properties.insert(name.to_owned(), of_key);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "groundtrail.toml".into();
    root
}

fn object() -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": Map::new()})
}
