//! By which of its parts an event satisfies a predicate: what an alert shows as the reason for a hit.

use super::Program;
use super::graph::{Graph, Node, NodeId};
use crate::eval;
use crate::event::Event;
use crate::expr::Expr;
use crate::plan::PredicateId;

/// A part of a predicate that has no parts of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'p> {
    pub atom: &'p Expr,
    /// The predicate asks that the atom does not hold, and it does not.
    pub is_negated: bool,
}

impl Program {
    /// The parts by which the event satisfies the predicate; of alternatives all that hold. None where it does not.
    /// Their order depends on the other rules.
    pub fn matched(&self, predicate: PredicateId, event: &Event) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let root = self.graph.root(predicate);
        if holds(&self.graph, root, event) {
            collect(&self.graph, root, true, event, &mut parts);
        }
        parts
    }
}

/// `wanted`: what the node is known to come to.
fn collect<'p>(graph: &'p Graph, id: NodeId, wanted: bool, event: &Event, parts: &mut Vec<Part<'p>>) {
    match graph.node(id) {
        Node::Atom(Expr::Const(_)) => {}
        Node::Atom(atom) => parts.push(Part { atom, is_negated: !wanted }),
        Node::Not(part) => collect(graph, *part, !wanted, event, parts),
        Node::And(all) | Node::Or(all) => {
            for part in all.iter().filter(|part| holds(graph, **part, event) == wanted) {
                collect(graph, *part, wanted, event, parts);
            }
        }
    }
}

fn holds(graph: &Graph, id: NodeId, event: &Event) -> bool {
    match graph.node(id) {
        Node::And(parts) => parts.iter().all(|part| holds(graph, *part, event)),
        Node::Or(parts) => parts.iter().any(|part| holds(graph, *part, event)),
        Node::Not(part) => !holds(graph, *part, event),
        Node::Atom(atom) => eval::matches(atom, event),
    }
}
