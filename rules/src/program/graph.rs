//! Predicates of all rules as one graph: equal parts are one node, and a node is evaluated at most once per event.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::eval;
use crate::event::Event;
use crate::expr::{Expr, Test};
use crate::plan::PredicateId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u32);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    And(Box<[NodeId]>),
    Or(Box<[NodeId]>),
    Not(NodeId),
    /// Anything else, constants included.
    Atom(Expr),
}

#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// By predicate.
    roots: Vec<NodeId>,
}

/// Shares equal nodes while the graph grows.
#[derive(Debug, Default)]
pub(super) struct GraphBuilder {
    nodes: Vec<Node>,
    costs: Vec<u32>,
    ids: FxHashMap<Node, NodeId>,
    roots: Vec<NodeId>,
    predicates: FxHashMap<NodeId, PredicateId>,
}

impl GraphBuilder {
    /// The predicate's number: the same for equal ones, whatever the order of their parts.
    pub(super) fn predicate(&mut self, expr: Expr) -> PredicateId {
        let root = self.node(expr);
        let next = PredicateId(number(self.roots.len()));
        let id = *self.predicates.entry(root).or_insert(next);
        if id == next {
            self.roots.push(root);
        }
        id
    }

    pub(super) fn finish(self) -> Graph {
        Graph { nodes: self.nodes, roots: self.roots }
    }

    fn node(&mut self, expr: Expr) -> NodeId {
        match expr {
            Expr::And(parts) => {
                let parts = self.parts(parts);
                self.intern(Node::And(parts))
            }
            Expr::Or(parts) => {
                let parts = self.parts(parts);
                self.intern(Node::Or(parts))
            }
            Expr::Not(part) => {
                let part = self.node(*part);
                self.intern(Node::Not(part))
            }
            atom => self.intern(Node::Atom(atom)),
        }
    }

    /// Cheap parts first: most of them decide the whole.
    fn parts(&mut self, parts: Box<[Expr]>) -> Box<[NodeId]> {
        let mut ids: Vec<NodeId> = parts.into_iter().map(|part| self.node(part)).collect();
        ids.sort_unstable_by_key(|id| (self.costs[id.0 as usize], *id));
        ids.dedup();
        ids.into()
    }

    fn intern(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.ids.get(&node) {
            return *id;
        }
        let id = NodeId(number(self.nodes.len()));
        self.costs.push(self.cost(&node));
        self.nodes.push(node.clone());
        self.ids.insert(node, id);
        id
    }

    fn cost(&self, node: &Node) -> u32 {
        match node {
            Node::And(parts) | Node::Or(parts) => {
                parts.iter().fold(0, |sum: u32, id| sum.saturating_add(self.costs[id.0 as usize]))
            }
            Node::Not(part) => self.costs[part.0 as usize],
            Node::Atom(Expr::Const(_)) => 0,
            Node::Atom(Expr::Exists(_) | Expr::IsSingle(_)) => 1,
            Node::Atom(Expr::Any(_, Test::Equals(_)) | Expr::Item(_, _, Test::Equals(_) | Test::In(_))) => 2,
            Node::Atom(Expr::Any(_, Test::In(_) | Test::Range(_))) => 3,
            Node::Atom(Expr::Any(_, Test::Cidr(_))) => 6,
            Node::Atom(Expr::Any(_, Test::Wildcard(_))) => 8,
            Node::Atom(_) => 40,
        }
    }
}

impl Graph {
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn predicates(&self) -> usize {
        self.roots.len()
    }

    pub(super) fn root(&self, predicate: PredicateId) -> NodeId {
        self.roots[predicate.0 as usize]
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node as it was written, but for the order of parts.
    pub(super) fn expr(&self, id: NodeId) -> Expr {
        let all = |parts: &[NodeId]| parts.iter().map(|part| self.expr(*part)).collect();
        match self.node(id) {
            Node::And(parts) => Expr::And(all(parts)),
            Node::Or(parts) => Expr::Or(all(parts)),
            Node::Not(part) => Expr::Not(self.expr(*part).into()),
            Node::Atom(atom) => atom.clone(),
        }
    }

    pub(super) fn holds(&self, predicate: PredicateId, event: &Event, memo: &mut Memo) -> bool {
        self.node_holds(self.root(predicate), event, memo)
    }

    fn node_holds(&self, id: NodeId, event: &Event, memo: &mut Memo) -> bool {
        if let Some(known) = memo.get(id) {
            return known;
        }
        let holds = match self.node(id) {
            Node::And(parts) => parts.iter().all(|part| self.node_holds(*part, event, memo)),
            Node::Or(parts) => parts.iter().any(|part| self.node_holds(*part, event, memo)),
            Node::Not(part) => !self.node_holds(*part, event, memo),
            Node::Atom(atom) => eval::matches(atom, event),
        };
        memo.set(id, holds);
        holds
    }
}

/// What is known of the event at hand. Forgetting costs nothing: an entry counts only in its own epoch.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// The epoch, shifted left by one, and the truth.
    entries: Vec<u32>,
    epoch: u32,
}

impl Memo {
    pub(super) fn reset(&mut self, n_nodes: usize) {
        self.epoch += 1;
        if self.entries.len() != n_nodes || self.epoch >= u32::MAX >> 1 {
            self.entries.clear();
            self.entries.resize(n_nodes, 0);
            self.epoch = 1;
        }
    }

    fn get(&self, id: NodeId) -> Option<bool> {
        let entry = self.entries[id.0 as usize];
        (entry >> 1 == self.epoch).then_some(entry & 1 == 1)
    }

    fn set(&mut self, id: NodeId, holds: bool) {
        self.entries[id.0 as usize] = self.epoch << 1 | u32::from(holds);
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("fewer nodes than numbers")
}
