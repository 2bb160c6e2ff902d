//! The drop list: calls by the million that no rule reads, each line on a condition.

use crate::plan::PredicateId;

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
