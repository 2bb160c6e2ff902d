//! ES|QL, Elastic's piped query language: the part of it that can run on a stream. Cut where time comes in: one event
//! gives rows, and the rows of one group give columns.

use std::sync::Arc;

use crate::diagnostic::{Compiled, Diagnostic};
use crate::event::{Event, Span, Value};
use crate::expr::Expr;
use crate::schema::Schema;

/// What a query means.
#[derive(Debug, Clone, PartialEq)]
pub struct Esql {
    /// What `FROM` names.
    pub index: Vec<String>,
    /// What the leading `WHERE`s ask of an event.
    pub predicate: Expr,
    /// The rest. `None`: the predicate says it all.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Has a `STATS`.
    pub is_aggregate: bool,
}

/// A compiled query.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {}

/// What one event brings to one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The group. A null is an empty list. Holds the start of the time bucket where the query has one.
    pub key: Vec<Value>,
    /// What the aggregates read. A null is an empty list.
    pub inputs: Vec<Value>,
}

/// The columns of a result, in the order of the query, without those that are null.
pub type Columns = Vec<(String, Value)>;

impl Pipeline {
    /// The length of the time bucket that is part of the group.
    pub fn bucket(&self) -> Option<Span> {
        None
    }

    /// Whether an event passes a query without `STATS`.
    pub fn keeps(&self, _event: &Event) -> bool {
        true
    }

    /// The event's rows: none where a `WHERE` leaves it out, several where a group field has several values.
    pub fn rows(&self, _event: &Event) -> Vec<Row> {
        vec![Row { key: Vec::new(), inputs: Vec::new() }]
    }

    /// The result of one group. `None`: the group does not pass what follows `STATS`.
    pub fn finish(&self, _key: &[Value], _rows: &[&Row]) -> Option<Columns> {
        Some(Columns::new())
    }
}

/// Compiles a query.
///
/// # Errors
/// Everything that is wrong with it, in text order.
pub fn compile(text: &str, _schema: &mut Schema) -> Result<Compiled<Esql>, Vec<Diagnostic>> {
    Err(vec![Diagnostic::error(crate::diagnostic::Code::UnsupportedCommand, 0..text.len().min(4), "ES|QL")])
}
