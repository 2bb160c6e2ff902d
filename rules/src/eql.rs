//! EQL, Elastic's event query language, from text to predicates: everything Elasticsearch documents but pipes.

pub mod ast;
mod check;
mod compile;
mod functions;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod token;

use std::num::NonZeroU32;

use crate::bounds::Bounds;
use crate::diagnostic::{Compiled, Diagnostic, Severity, conclude};
use crate::event::Span;
use crate::expr::Expr;
use crate::plan::KeyPart;
use crate::schema::Schema;

/// What an EQL query means, its predicates not yet shared with other rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EqlRule {
    /// Each matching event.
    Event(Expr),
    Sequence {
        /// Every step has as many key parts as the others.
        steps: Vec<EqlStep>,
        /// First to last event, inclusive. Always present where a step is missing.
        maxspan: Option<Span>,
        until: Option<EqlStep>,
    },
    /// One event per step, in any order, that share a key.
    Sample { steps: Vec<EqlStep> },
}

/// One step of a sequence or sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EqlStep {
    pub expr: Expr,
    /// The join key: the global `by` first, then the step's own.
    pub by: Vec<KeyPart>,
    pub runs: NonZeroU32,
    /// `![...]`
    pub is_missing: bool,
}

/// What the rule file says about the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options<'a> {
    /// Holds an event's categories. `event_category_override` of a rule file.
    pub category_field: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { category_field: "event.category" }
    }
}

/// The tree of a query, as far as there is one, and what its syntax lacks.
pub fn parse(text: &str) -> (Option<ast::Query>, Vec<Diagnostic>) {
    parser::parse(text, &Bounds::default())
}

/// Compiles a query that takes its categories from `event.category`.
pub fn compile(text: &str, schema: &mut Schema) -> Result<Compiled<EqlRule>, Vec<Diagnostic>> {
    compile_with(text, schema, &Options::default())
}

/// Compiles a query.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in text order.
pub fn compile_with(
    text: &str,
    schema: &mut Schema,
    options: &Options<'_>,
) -> Result<Compiled<EqlRule>, Vec<Diagnostic>> {
    let (query, mut found) = parser::parse(text, schema.bounds());
    let checked = query.and_then(|query| check::check(&query, schema, options.category_field, &mut found));
    let is_sound = found.iter().all(|diagnostic| diagnostic.severity == Severity::Warning);
    let plan = checked.filter(|_| is_sound).map(|checked| compile::compile(&checked, &mut found));
    conclude(plan, found)
}
