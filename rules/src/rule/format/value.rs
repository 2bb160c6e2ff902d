//! Values: texts, lists and what stands behind them.

use toml_edit::{Array, RawString, Value};

/// A list that does not fit so many columns has an item a line.
const MAX_WIDTH: usize = 120;
const INDENT: &str = "    ";

/// `width`: of the key before it.
pub(super) fn lay_out(value: &mut Value, width: usize, is_query: bool) {
    let after = comment_behind(value.decor().suffix().and_then(RawString::as_str));
    if is_query && let Some(laid_out) = value.as_str().and_then(query) {
        *value = laid_out;
    }
    if let Some(array) = value.as_array_mut() {
        list(array, width);
    }
    value.decor_mut().set_prefix(" ");
    value.decor_mut().set_suffix(after);
}

/// A comment on the same line, one space away.
pub(super) fn comment_behind(suffix: Option<&str>) -> String {
    match suffix.map(str::trim) {
        Some(comment) if !comment.is_empty() => format!(" {comment}"),
        _ => String::new(),
    }
}

/// A query of several lines between lines of quotes, without white space at its ends and those of its lines. None: it is of
/// one line, or cannot be written without escapes.
fn query(text: &str) -> Option<Value> {
    let is_plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
    // A quoted text over several lines would lose spaces of its own.
    if !text.trim().contains('\n')
        || text.contains("'''")
        || text.contains("\"\"\"")
        || !text.chars().all(is_plain)
    {
        return None;
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let first = lines.iter().position(|line| !line.is_empty())?;
    let last = lines.iter().rposition(|line| !line.is_empty())?;
    format!("'''\n{}\n'''", lines[first..=last].join("\n")).parse().ok()
}

fn list(array: &mut Array, width: usize) {
    let has_comment =
        |raw: Option<&RawString>| raw.and_then(RawString::as_str).is_some_and(|text| text.contains('#'));
    let is_commented = has_comment(Some(array.trailing()))
        || array.iter().any(|item| has_comment(item.decor().prefix()) || has_comment(item.decor().suffix()));
    if is_commented {
        // Whoever wrote comments into a list has laid it out.
        return;
    }
    for item in array.iter_mut() {
        item.decor_mut().clear();
        if let Some(inner) = item.as_array_mut() {
            list(inner, 0);
        }
    }
    let items: Vec<String> = array.iter().map(|item| item.to_string().trim().to_owned()).collect();
    let is_short = items.iter().all(|item| !item.contains('\n'));
    let n_columns = width + " = []".len() + items.join(", ").chars().count();
    let is_one_line = is_short && n_columns <= MAX_WIDTH;
    for (place, item) in array.iter_mut().enumerate() {
        let before = match (is_one_line, place) {
            (true, 0) => String::new(),
            (true, _) => " ".to_owned(),
            (false, _) => format!("\n{INDENT}"),
        };
        item.decor_mut().set_prefix(before);
        item.decor_mut().set_suffix("");
    }
    array.set_trailing_comma(!is_one_line);
    array.set_trailing(if is_one_line { "" } else { "\n" });
}

/// The value as what it says: of queries, white space at the ends of lines says nothing.
pub(super) fn plain(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(table) => toml::Value::Table(
            table
                .into_iter()
                .map(|(key, value)| match value {
                    toml::Value::String(text) if key == "query" => {
                        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                        let text = lines.join("\n").trim_matches('\n').to_owned();
                        (key, toml::Value::String(text))
                    }
                    other => (key, plain(other)),
                })
                .collect(),
        ),
        toml::Value::Array(items) => toml::Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}
