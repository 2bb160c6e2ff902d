//! The drop list: calls by the million that no rule reads, each line on a condition.

use super::report::Finding;
use crate::expr::Expr;
use crate::plan::PredicateId;
use crate::rule::query::side_query;
use crate::rule::table::{self, Findings, Table};
use crate::schema::Schema;

/// One line of a drop list.
///
/// `P` is a predicate: an [`crate::expr::Expr`] as loaded, a [`PredicateId`] once it is part of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct DropLine<P = PredicateId> {
    /// Counted under this name.
    pub name: String,
    pub reason: String,
    pub predicate: P,
}

impl<P> DropLine<P> {
    /// The same line over other predicates.
    pub fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> DropLine<Q> {
        DropLine { name: self.name, reason: self.reason, predicate: f(self.predicate) }
    }
}

/// Reads a file of `[[drop]]` lines. A bad line is reported, and the others count.
pub(super) fn read(text: &str, schema: &mut Schema) -> (Vec<DropLine<Expr>>, Vec<Finding>) {
    let mut found = Findings::default();
    let Some(document) = table::parse(text, &mut found) else { return (Vec::new(), found.0) };
    let mut file = Table::new("", document.get_ref(), 0..0);
    let lines = file.tables("drop", &mut found);
    let lines = lines.into_iter().filter_map(|line| read_line(line, schema, &mut found)).collect();
    file.finish(&mut found);
    (lines, found.0)
}

fn read_line(mut table: Table<'_>, schema: &mut Schema, found: &mut Findings) -> Option<DropLine<Expr>> {
    let name = table.needed_text("name", found);
    let reason = table.needed_text("reason", found);
    let predicate = side_query(&mut table, schema, found);
    table.finish(found);
    Some(DropLine { name: name?.value, reason: reason?.value, predicate: predicate? })
}
