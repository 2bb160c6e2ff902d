//! Which keys a predicate cannot do without: a few clauses, each a set of keys of which an event must hold one. Those are
//! taken first whose keys the fewest predicates name: a value that many rules name is likely one that many events have.

use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::{Graph, Node, NodeId};
use super::key::{Holds, Key, of_atom};
use crate::plan::PredicateId;
use crate::schema::{FieldId, Schema};

/// Clauses per predicate. With one, every rule about `bash` is looked at whenever a shell starts; each further clause
/// divides those again.
pub(super) const MAX_CLAUSES: usize = 4;

/// Fields that sort events into a few classes: a poor clause, and better than none.
const CLASSES: &[&str] = &[
    "agent.type",
    "cloud.provider",
    "data_stream.dataset",
    "data_stream.namespace",
    "data_stream.type",
    "event.category",
    "event.dataset",
    "event.kind",
    "event.module",
    "event.outcome",
    "event.type",
    "host.os.family",
    "host.os.platform",
    "host.os.type",
    "network.direction",
    "network.protocol",
    "network.transport",
    "network.type",
];
const CLASS_WEIGHT: u64 = 1_000_000;
/// Half of all process events are one action, and one provider may be half of an account's calls.
const BROAD: &[&str] = &["event.action", "event.provider", "user.id", "user.name"];
const BROAD_WEIGHT: u64 = 50;
/// That a field is there says little of a field that most events have.
const SOMETHING_WEIGHT: u64 = 10_000;

/// The fields that sort events into a few classes, with those that do so for most events.
pub(super) fn classes(schema: &Schema) -> FxHashSet<FieldId> {
    CLASSES.iter().chain(&["event.action", "event.provider"]).filter_map(|path| schema.id(path)).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// Sorted, each once. Empty: no event satisfies the predicate.
    pub(super) keys: Vec<Key>,
    weight: u64,
}

pub(super) struct Chooser<'a> {
    graph: &'a Graph,
    weights: FxHashMap<Key, u64>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(graph: &'a Graph, asked: &[PredicateId], schema: &Schema) -> Self {
        Self { graph, weights: weights(graph, asked, schema) }
    }

    /// The lightest clauses of a predicate, at most [`MAX_CLAUSES`]. None: it can be true of any event.
    pub(super) fn clauses(&self, predicate: PredicateId) -> Vec<Clause> {
        self.of_node(self.graph.root(predicate))
    }

    fn of_node(&self, id: NodeId) -> Vec<Clause> {
        match self.graph.node(id) {
            Node::And(parts) => lightest(parts.iter().flat_map(|part| self.of_node(*part)).collect()),
            Node::Or(parts) => {
                let parts: Vec<Vec<Clause>> = parts.iter().map(|part| self.of_node(*part)).collect();
                lightest(either(&parts))
            }
            Node::Not(_) => Vec::new(),
            Node::Atom(atom) => of_atom(atom).map(|keys| self.clause(keys)).into_iter().collect(),
        }
    }

    fn clause(&self, mut keys: Vec<Key>) -> Clause {
        keys.sort_unstable();
        keys.dedup();
        let weigh = |key: &Key| self.weights.get(key).copied().unwrap_or(1);
        let weight = keys.iter().map(weigh).fold(0, u64::saturating_add);
        Clause { keys, weight }
    }
}

/// Of alternatives, an event satisfies a clause of one: the lightest of each together are a clause of the whole, and so are
/// the second lightest.
fn either(parts: &[Vec<Clause>]) -> Vec<Clause> {
    if parts.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let n_clauses = parts.iter().map(Vec::len).max().unwrap_or(1);
    (0..n_clauses)
        .map(|nth| {
            let mut all = Clause { keys: Vec::new(), weight: 0 };
            for part in parts {
                let clause = &part[nth.min(part.len() - 1)];
                all.keys.extend_from_slice(&clause.keys);
                all.weight = all.weight.saturating_add(clause.weight);
            }
            all.keys.sort_unstable();
            all.keys.dedup();
            all
        })
        .collect()
}

fn lightest(mut clauses: Vec<Clause>) -> Vec<Clause> {
    clauses.sort_by_key(|clause| clause.weight);
    let mut kept: Vec<Clause> = Vec::new();
    for clause in clauses {
        if kept.len() < MAX_CLAUSES && !kept.contains(&clause) {
            kept.push(clause);
        }
    }
    kept
}

fn weights(graph: &Graph, asked: &[PredicateId], schema: &Schema) -> FxHashMap<Key, u64> {
    let ids =
        |paths: &[&str]| paths.iter().filter_map(|path| schema.id(path)).collect::<FxHashSet<FieldId>>();
    let (classes, broad) = (ids(CLASSES), ids(BROAD));
    let mut weights: FxHashMap<Key, u64> = FxHashMap::default();
    for predicate in asked {
        let mut keys = FxHashSet::default();
        collect_keys(graph, graph.root(*predicate), &mut keys);
        for key in keys {
            let weight = match &key {
                key if classes.contains(&key.field) => CLASS_WEIGHT,
                Key { holds: Holds::Something, .. } => SOMETHING_WEIGHT,
                key if broad.contains(&key.field) => BROAD_WEIGHT,
                _ => 1,
            };
            *weights.entry(key).or_default() += weight;
        }
    }
    weights
}

fn collect_keys(graph: &Graph, id: NodeId, keys: &mut FxHashSet<Key>) {
    match graph.node(id) {
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| collect_keys(graph, *part, keys)),
        Node::Not(_) => {}
        Node::Atom(atom) => keys.extend(of_atom(atom).into_iter().flatten()),
    }
}
