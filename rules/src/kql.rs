//! KQL, Kibana's query language, from text to a predicate.
//!
//! Keyword values compare by case. Documents are flat here, so `f:{ a:1 and b:2 }` may be met by different objects of
//! one array; and a wildcard in a field name means the fields of the table.

pub mod ast;
mod compile;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use crate::bounds::Bounds;
use crate::diagnostic::{Compiled, Diagnostic, conclude};
use crate::expr::Expr;
use crate::schema::Schema;

/// The tree of a query, as far as there is one, and what its syntax lacks.
pub fn parse(text: &str) -> (Option<ast::Node>, Vec<Diagnostic>) {
    parser::parse(text, &Bounds::default())
}

/// Compiles a query. An empty one matches everything.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in text order.
pub fn compile(text: &str, schema: &mut Schema) -> Result<Compiled<Expr>, Vec<Diagnostic>> {
    let (query, mut found) = parser::parse(text, schema.bounds());
    let plan = query.and_then(|query| compile::compile(&query, schema, &mut found));
    conclude(plan, found)
}
