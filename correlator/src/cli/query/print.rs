//! Rows as a table, as JSON or as CSV.

use rules::event::Value;
use serde_json::{Map, Number, Value as Json};

use super::super::listing::{self, Form};
use super::super::table::Table;
use super::super::terminal::Terminal;
use super::answer::Answer;

pub(super) fn print(answer: &Answer, form: Form, n_rows: usize, terminal: &Terminal) -> String {
    match form {
        Form::Table => table(answer, n_rows, terminal.stdout.width),
        Form::Ndjson | Form::Json => {
            let rows: Vec<Json> = (0..n_rows).map(|at| object(answer, at)).collect();
            listing::json(form, &rows)
        }
        Form::Csv => {
            let rows = answer.rows.iter().take(n_rows).map(|row| row.iter().map(Value::to_string).collect());
            listing::csv(answer.columns.iter().cloned(), rows, terminal.is_stdout_terminal)
        }
    }
}

fn table(answer: &Answer, n_rows: usize, width: usize) -> String {
    let headings: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let mut table = Table::as_written(&headings);
    for row in answer.rows.iter().take(n_rows) {
        table.row(row.iter().map(Value::to_string).collect());
    }
    table.render(width)
}

/// The columns by name; a row that is an event is the whole event, with what stands in front of it.
fn object(answer: &Answer, at: usize) -> Json {
    let row = &answer.rows[at];
    let cells = answer.columns.iter().zip(row).map(|(name, value)| (name.clone(), json(value)));
    match &answer.events[at] {
        None => Json::Object(cells.collect()),
        Some(event) => {
            let mut object: Map<String, Json> =
                cells.filter(|(name, _)| matches!(name.as_str(), "match" | "role")).collect();
            if let Json::Object(fields) = event {
                object.extend(fields.clone());
            }
            Json::Object(object)
        }
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Str(text) => Json::String(text.to_string()),
        Value::Int(int) => Json::Number((*int).into()),
        Value::Float(float) => Number::from_f64(*float).map_or(Json::Null, Json::Number),
        Value::Bool(bool) => Json::Bool(*bool),
        Value::List(items) if items.is_empty() => Json::Null,
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
    }
}
