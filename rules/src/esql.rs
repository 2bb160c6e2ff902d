//! ES|QL, Elastic's piped query language, from text to a predicate and a pipeline. As a rule it runs on a stream: the
//! pipeline is cut where it first looks at many rows. As a batch it makes a table of all events. Commands that look at other
//! tables are refused.

mod aggregate;
mod ast;
mod check;
mod dissect;
mod evaluate;
mod extract;
mod function;
mod grok;
mod ir;
mod lexer;
mod parser;
mod pipeline;
mod scope;
mod value;

use std::sync::Arc;

use crate::diagnostic::{Compiled, Diagnostic, conclude};
use crate::expr::Expr;
use crate::schema::Schema;

pub use pipeline::{Columns, Pipeline, ResultTable, Row, Standing, TooManyRows};

/// What a query is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Events come one by one and for ever. `SORT` and `LIMIT` in front of `STATS` mean nothing.
    Stream,
    /// All events are there: every command has its full meaning.
    Batch,
}

/// What a query means.
#[derive(Debug, Clone, PartialEq)]
pub struct Esql {
    /// What `FROM` names.
    pub index: Vec<String>,
    /// What `WHERE`s ask of the event's own fields.
    pub predicate: Expr,
    /// The rest. `None`: the predicate says it all.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Looks at many events together.
    pub is_aggregate: bool,
}

/// Compiles a rule's query.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in text order.
pub fn compile(text: &str, schema: &mut Schema) -> Result<Compiled<Esql>, Vec<Diagnostic>> {
    compile_for(Purpose::Stream, text, schema)
}

/// Compiles a query for a purpose.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in text order.
pub fn compile_for(
    purpose: Purpose,
    text: &str,
    schema: &mut Schema,
) -> Result<Compiled<Esql>, Vec<Diagnostic>> {
    let (query, mut found) = parser::parse(text, schema.bounds());
    let plan = query.and_then(|query| check::check(&query, purpose, schema, &mut found));
    conclude(plan, found)
}

#[cfg(test)]
mod tests;
