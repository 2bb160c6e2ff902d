//! One way to lay out a rule file, so that a difference between two versions is one of meaning.
//!
//! Tables and keys come in one order, a long list has an item a line, a query stands in a text of its own lines. Comments stay
//! with what they stand before. What is written is read again, and given out only if it says the same.

mod value;

use std::cmp::Ordering;

use toml_edit::{ArrayOfTables, DocumentMut, Item, RawString, Table};

use crate::catalogue::is_drop_list;
use crate::rule::file;
use crate::schema::Schema;

/// Why a file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("line {line}: {message}; `groundtrail check` shows the place")]
    Toml { line: usize, message: String },
    #[error("laid out anew it would say something else, so it is left alone; please report it with the file")]
    Meaning,
}

/// Keys in their order, by table. Others follow in theirs, but for those that are long and come last.
const ORDER: &[(&str, &[&str])] = &[
    ("", &["metadata", "rule", "drop", "tests", "transform"]),
    ("metadata", &["creation_date", "maturity", "updated_date"]),
    (
        "rule",
        &[
            "name",
            "rule_id",
            "upstream_id",
            "version",
            "author",
            "license",
            "description",
            "type",
            "language",
            "index",
            "event_category_override",
            "from",
            "interval",
            "severity",
            "risk_score",
            "building_block_type",
            "tags",
            "references",
            "false_positives",
        ],
    ),
    ("rule.threat", &["framework", "tactic", "technique"]),
    ("rule.threat.tactic", &["id", "name", "reference"]),
    ("rule.threat.technique", &["id", "name", "reference", "subtechnique"]),
    ("rule.threat.technique.subtechnique", &["id", "name", "reference"]),
    ("rule.context", &["name", "link", "dataset", "language", "query", "before", "after"]),
    ("rule.exception", &["name", "language", "query", "reason", "expires"]),
    ("rule.threshold", &["field", "value"]),
    ("tests", &["name", "expect", "contains", "trace", "events"]),
    ("drop", &["name", "query", "reason"]),
];
/// Keys and tables of a rule that come behind all others.
const LAST: &[&str] = &[
    "setup",
    "note",
    "query",
    "threshold",
    "new_terms",
    "alert_suppression",
    "severity_mapping",
    "risk_score_mapping",
    "threat",
    "context",
    "exception",
];

/// The same file, laid out. Laid out once more it stays as it is.
///
/// # Errors
/// Where it is no TOML, or where laying it out would change what it says.
pub fn format(text: &str) -> Result<String, FormatError> {
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_at(end_of_head(&text));
    let mut document: DocumentMut = body.parse().map_err(|error| refusal(&text, head.len(), &error))?;
    lay_out(document.as_table_mut(), "", &mut 0);
    let end = format!("{}\n", document.trailing().as_str().unwrap_or_default());
    document.set_trailing(comments(&end, Blank::One).trim_end());
    let parts = [comments(head, Blank::One), document.to_string()];
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    let mut out = parts.join("\n\n");
    if !out.is_empty() {
        out.push('\n');
    }
    if says_the_same(&text, &out) { Ok(out) } else { Err(FormatError::Meaning) }
}

/// Comments at the very start are the file's own, up to the last empty line among them.
fn end_of_head(text: &str) -> usize {
    let (mut at, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        at += line.len();
        match line.trim() {
            "" => end = at,
            line if line.starts_with('#') => {}
            _ => return end,
        }
    }
    text.len()
}

fn refusal(text: &str, n_before: usize, error: &toml_edit::TomlError) -> FormatError {
    let start = error.span().map_or(0, |span| n_before + span.start).min(text.len());
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    FormatError::Toml { line, message: error.message().lines().next().unwrap_or_default().to_owned() }
}

/// Lays out a table and all below it. `place` counts tables in the order in which they are to stand.
fn lay_out(table: &mut Table, name: &str, place: &mut isize) {
    let order = ORDER.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, order)| order);
    // A stable sort: keys that are not known keep their order.
    table.sort_values_by(|one, _, other, _| compare(order, one.get(), other.get()));
    for (mut key, item) in table.iter_mut() {
        let below = if name.is_empty() { key.get().to_owned() } else { format!("{name}.{}", key.get()) };
        match item {
            Item::Value(value) => {
                let before = key.leaf_decor().prefix().and_then(RawString::as_str).unwrap_or_default();
                let before = comments(before, Blank::None);
                let is_query = key.get() == "query";
                let width = key.get().len();
                key.leaf_decor_mut().set_prefix(before);
                key.leaf_decor_mut().set_suffix(" ");
                value::lay_out(value, width, is_query);
            }
            Item::Table(table) => enter(table, &below, place),
            Item::ArrayOfTables(tables) => enter_all(tables, &below, place),
            Item::None => {}
        }
    }
}

fn enter_all(tables: &mut ArrayOfTables, name: &str, place: &mut isize) {
    for table in tables.iter_mut() {
        enter(table, name, place);
    }
}

fn enter(table: &mut Table, name: &str, place: &mut isize) {
    if !table.is_dotted() {
        table.set_position(Some(*place));
        *place += 1;
        let before = table.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
        let before = format!("\n{}", comments(before, Blank::One));
        let after = value::comment_behind(table.decor().suffix().and_then(RawString::as_str));
        table.decor_mut().set_prefix(before);
        table.decor_mut().set_suffix(after);
    }
    lay_out(table, name, place);
}

fn compare(order: &[&str], one: &str, other: &str) -> Ordering {
    let rank = |key: &str| {
        let known = order.iter().position(|held| *held == key);
        let last = LAST.iter().position(|held| *held == key);
        match (known, last) {
            (Some(at), _) => (0, at),
            (None, None) => (1, 0),
            (None, Some(at)) => (2, at),
        }
    };
    rank(one).cmp(&rank(other))
}

/// What becomes of empty lines among comments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blank {
    None,
    /// Several are one, and none leads.
    One,
}

/// The comments before something, each on a line of its own. What follows the last line break is the thing's own place.
fn comments(before: &str, blank: Blank) -> String {
    let mut out = String::new();
    let mut is_blank_due = false;
    let n_lines = before.matches('\n').count();
    for line in before.split('\n').take(n_lines).map(str::trim) {
        if line.is_empty() {
            is_blank_due = blank == Blank::One && !out.is_empty();
            continue;
        }
        if std::mem::take(&mut is_blank_due) {
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    // A comment of the whole file stands apart from its first table.
    if is_blank_due {
        out.push('\n');
    }
    out
}

fn says_the_same(before: &str, after: &str) -> bool {
    let values =
        |text: &str| text.parse::<toml::Table>().map(|table| value::plain(toml::Value::Table(table)));
    let (Ok(one), Ok(other)) = (values(before), values(after)) else { return false };
    one == other && (is_drop_list(before) || means_the_same(before, after))
}

/// Line ends of a query are white space in each language; this holds it to that.
fn means_the_same(before: &str, after: &str) -> bool {
    let mut schema = Schema::builtin();
    let mut read = |text: &str| file::read(std::path::Path::new("rule.toml"), text, &mut schema).0;
    match (read(before), read(after)) {
        (Some(one), Some(other)) => {
            (&one.plan, &one.contexts, &one.exceptions) == (&other.plan, &other.contexts, &other.exceptions)
        }
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
