//! What a query finds, as rows under columns.

use rules::adhoc::{Meaning, Query};
use rules::esql::{ResultTable, TooManyRows};
use rules::eval;
use rules::event::{Event, Value};
use rules::schema::Schema;
use rustc_hash::FxHashMap;

use crate::hunt;
use crate::source::Record;
use crate::time;

/// Rows that are held at one time.
const MAX_ROWS: usize = 1_000_000;

/// What tells a reader most about an event, where nobody says which columns to show.
const TELLING: &[&str] = &[
    "@timestamp",
    "event.action",
    "event.outcome",
    "host.id",
    "user.name",
    "source.ip",
    "destination.ip",
    "destination.port",
    "file.path",
    "process.pid",
    "process.command_line",
];

/// Columns that are in no field table.
pub(super) const OF_EVERY_EVENT: &[&str] = &["@timestamp", "_id", "_index"];

pub(super) struct Answer {
    pub(super) columns: Vec<String>,
    /// A null is an empty list.
    pub(super) rows: Vec<Vec<Value>>,
    /// By row, the whole event, where a row is one.
    pub(super) events: Vec<Option<serde_json::Value>>,
    /// Columns with values that are not among these.
    pub(super) n_hidden: usize,
}

/// # Errors
/// The query makes more rows than are held.
pub(super) fn answer(
    query: Query,
    schema: &Schema,
    records: &[Record],
    wanted: &[String],
) -> Result<Answer, TooManyRows> {
    match query.meaning {
        Meaning::Events(predicate) => {
            let found = records.iter().filter(|record| eval::matches(&predicate, &record.event));
            Ok(events(found.map(|record| (Vec::new(), record)).collect(), &[], schema, wanted))
        }
        Meaning::Together(rule) => {
            let by_id: FxHashMap<&str, &Record> =
                records.iter().map(|record| (&*record.event.id, record)).collect();
            let mut rows = Vec::new();
            for (found, n) in hunt::matches(*rule, schema, records).iter().zip(1_i64..) {
                for item in &found.evidence {
                    let record = by_id.get(&*item.event.id);
                    let place = vec![Value::Int(n), Value::str(item.stage.to_string())];
                    rows.extend(record.map(|record| (place, *record)));
                }
            }
            Ok(events(rows, &["match", "role"], schema, wanted))
        }
        Meaning::Table { predicate, pipeline } => {
            let found: Vec<&Event> = records
                .iter()
                .map(|record| &record.event)
                .filter(|event| eval::matches(&predicate, event))
                .collect();
            let table = pipeline.table(&found, schema, MAX_ROWS)?;
            Ok(select(table, pipeline.is_open(), wanted))
        }
    }
}

/// All columns, or those that are wanted. Where a query leaves all fields open: those that tell most.
fn select(table: ResultTable, is_open: bool, wanted: &[String]) -> Answer {
    let ResultTable { columns, rows, n_computed } = table;
    let is_shown = |at: usize, name: &str| match wanted.is_empty() {
        true => !is_open || TELLING.contains(&name) || at + n_computed >= columns.len(),
        false => wanted.iter().any(|column| column == name),
    };
    let mut places: Vec<usize> = (0..columns.len()).filter(|at| is_shown(*at, &columns[*at])).collect();
    let rank = |name: &str| {
        let list = wanted.iter().position(|column| column == name);
        let telling = || TELLING.iter().position(|column| *column == name).unwrap_or(usize::MAX);
        list.unwrap_or_else(telling)
    };
    if is_open || !wanted.is_empty() {
        places.sort_by_key(|at| rank(&columns[*at]));
    }
    Answer {
        n_hidden: columns.len() - places.len(),
        rows: rows.iter().map(|row| places.iter().map(|at| row[*at].clone()).collect()).collect(),
        events: vec![None; rows.len()],
        columns: places.iter().map(|at| columns[*at].clone()).collect(),
    }
}

/// Events in front of which some values stand.
fn events(rows: Vec<(Vec<Value>, &Record)>, first: &[&str], schema: &Schema, wanted: &[String]) -> Answer {
    let columns: Vec<&str> = match wanted.is_empty() {
        true => TELLING.to_vec(),
        false => wanted.iter().map(String::as_str).collect(),
    };
    let value = |record: &Record, column: &str| match column {
        "@timestamp" => Value::str(time::format(record.event.time)),
        "_id" => Value::str(&*record.event.id),
        "_index" => Value::str(&*record.event.index),
        column => schema
            .id(column)
            .and_then(|field| record.event.get(field).cloned())
            .unwrap_or_else(|| Value::List([].into())),
    };
    let has_value =
        |column: &str| rows.iter().any(|(_, record)| value(record, column) != Value::List([].into()));
    let columns: Vec<&str> =
        columns.into_iter().filter(|column| !wanted.is_empty() || has_value(column)).collect();
    Answer {
        rows: rows
            .iter()
            .map(|(place, record)| {
                place.iter().cloned().chain(columns.iter().map(|column| value(record, column))).collect()
            })
            .collect(),
        events: rows.iter().map(|(_, record)| Some(record.document())).collect(),
        columns: first.iter().chain(&columns).map(|column| (*column).to_owned()).collect(),
        n_hidden: 0,
    }
}
