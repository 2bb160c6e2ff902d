//! ES|QL, Elastic's piped query language, from text to a predicate and a pipeline: the part of it that can run on a
//! stream. Sorting and limits are read and mean nothing; commands that look at other rows or other tables are refused.

mod aggregate;
mod ast;
mod check;
mod dissect;
mod evaluate;
mod extract;
mod function;
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

pub use pipeline::{Columns, Pipeline, Row};

/// What a query means.
#[derive(Debug, Clone, PartialEq)]
pub struct Esql {
    /// What `FROM` names.
    pub index: Vec<String>,
    /// What `WHERE`s ask of the event's own fields.
    pub predicate: Expr,
    /// The rest. `None`: the predicate says it all.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Has a `STATS`.
    pub is_aggregate: bool,
}

/// Compiles a query.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in text order.
pub fn compile(text: &str, schema: &mut Schema) -> Result<Compiled<Esql>, Vec<Diagnostic>> {
    let (query, mut found) = parser::parse(text);
    let plan = query.and_then(|query| check::check(&query, schema, &mut found));
    conclude(plan, found)
}

#[cfg(test)]
mod tests;
