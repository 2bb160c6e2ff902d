//! A query by itself, outside of any rule: for looking through events that are all there.

use std::sync::Arc;

use crate::diagnostic::{Compiled, Diagnostic};
use crate::esql::{self, Pipeline, Purpose};
use crate::expr::Expr;
use crate::plan::Plan;
use crate::program::reads_index;
use crate::rule::{self, Rule, query};
use crate::schema::Schema;
use crate::{eql, kql};

/// What a query can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Kuery,
    Eql,
    Esql,
}

/// A compiled query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What `FROM` names. Empty: any index.
    pub index: Vec<String>,
    pub meaning: Meaning,
}

/// What a query is to find.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// Each event that satisfies it.
    Events(Expr),
    /// Events that belong together, as a rule that can be run.
    Together(Box<Rule<Expr>>),
    /// A table of the events that satisfy the predicate.
    Table { predicate: Expr, pipeline: Arc<Pipeline> },
}

/// The language that a query is most likely written in: `FROM` begins ES|QL, and in EQL a category is followed by
/// `where`.
pub fn guess_language(text: &str) -> Language {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let words: Vec<String> = lines.flat_map(str::split_whitespace).take(2).map(str::to_lowercase).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["from", ..] => Language::Esql,
        ["sequence" | "sample", ..] | [_, "where"] => Language::Eql,
        _ => Language::Kuery,
    }
}

/// Compiles a query.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in text order.
pub fn compile(
    language: Language,
    text: &str,
    schema: &mut Schema,
) -> Result<Compiled<Query>, Vec<Diagnostic>> {
    match language {
        Language::Kuery => {
            let Compiled { plan, warnings } = kql::compile(text, schema)?;
            let query = Query { index: Vec::new(), meaning: Meaning::Events(plan) };
            Ok(Compiled { plan: query, warnings })
        }
        Language::Eql => {
            let Compiled { plan, warnings } = eql::compile(text, schema)?;
            let meaning = match query::plan_of(plan, None) {
                Plan::Query(expr) => Meaning::Events(expr),
                plan => Meaning::Together(Box::new(Rule::bare(
                    "query",
                    rule::Kind::Eql,
                    rule::Language::Eql,
                    text,
                    plan,
                ))),
            };
            Ok(Compiled { plan: Query { index: Vec::new(), meaning }, warnings })
        }
        Language::Esql => {
            let Compiled { plan, warnings } = esql::compile_for(Purpose::Batch, text, schema)?;
            let esql::Esql { index, predicate, pipeline, .. } = plan;
            let meaning = match pipeline {
                Some(pipeline) => Meaning::Table { predicate, pipeline },
                None => Meaning::Events(predicate),
            };
            Ok(Compiled { plan: Query { index, meaning }, warnings })
        }
    }
}

impl Query {
    /// Whether the query reads events of the index at all.
    pub fn reads(&self, index: &str) -> bool {
        reads_index(&self.index, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_told_by_the_first_words() {
        for (text, expect) in [
            ("FROM logs-* | LIMIT 1", Language::Esql),
            ("// what they did\nfrom logs-*", Language::Esql),
            ("process where true", Language::Eql),
            ("any where process.name == \"x\"", Language::Eql),
            ("sequence by host.id [process where true]", Language::Eql),
            ("sample by host.id", Language::Eql),
            ("process.name:curl and not user.id:0", Language::Kuery),
            ("", Language::Kuery),
        ] {
            assert_eq!(guess_language(text), expect, "{text}");
        }
    }
}
