//! Which predicates an event could satisfy at all. A witness of a predicate is a set of (field, value) pairs of which an
//! event must hold one; events are looked up by the values they have, so cost follows the rules that could match.

use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::{Graph, Node, NodeId};
use crate::event::Event;
use crate::expr::{Expr, Test};
use crate::literal::{Literal, text_of};
use crate::pattern::fold;
use crate::plan::PredicateId;
use crate::schema::{FieldId, Schema};

/// Fields that sort events into a few classes: a poor witness, and better than none.
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

/// A value that a predicate cannot do without, letters folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key(FieldId, Box<str>);

/// Predicates by witness.
#[derive(Debug)]
pub(super) struct Witnesses {
    /// By field number: the place in `tables` plus one, or 0.
    watched: Vec<u32>,
    tables: Vec<FxHashMap<Box<str>, Vec<PredicateId>>>,
    /// Without a witness: always looked at.
    always: Vec<PredicateId>,
}

impl Witnesses {
    pub(super) fn choose(graph: &Graph, asked: impl Iterator<Item = PredicateId>, schema: &Schema) -> Self {
        let asked: Vec<PredicateId> = asked.collect();
        let chooser = Chooser { graph, weights: weights(graph, &asked, schema) };
        let mut all = Self { watched: vec![0; schema.len()], tables: Vec::new(), always: Vec::new() };
        for predicate in asked {
            match chooser.best(graph.root(predicate)) {
                Some(best) => best.keys.into_iter().for_each(|key| all.insert(key, predicate)),
                None => all.always.push(predicate),
            }
        }
        all
    }

    fn insert(&mut self, Key(field, text): Key, predicate: PredicateId) {
        let place = &mut self.watched[field.index()];
        if *place == 0 {
            self.tables.push(FxHashMap::default());
            *place = u32::try_from(self.tables.len()).expect("fewer tables than fields");
        }
        self.tables[*place as usize - 1].entry(text).or_default().push(predicate);
    }

    /// Puts the predicates that the event could satisfy into `candidates`.
    pub(super) fn candidates(&self, event: &Event, candidates: &mut Candidates) {
        self.always.iter().for_each(|predicate| candidates.add(*predicate));
        for (field, value) in event.fields() {
            let Some(table) = self.table(field) else { continue };
            for scalar in value.scalars() {
                let text = text_of(scalar);
                let found = table.get(fold(&text).as_ref());
                found.into_iter().flatten().for_each(|predicate| candidates.add(*predicate));
            }
        }
    }

    fn table(&self, field: FieldId) -> Option<&FxHashMap<Box<str>, Vec<PredicateId>>> {
        // A field that was added after the rules were compiled is watched by none of them.
        let place = *self.watched.get(field.index())?;
        (place > 0).then(|| &self.tables[place as usize - 1])
    }
}

/// The predicates to look at for one event, each once.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    listed: Vec<PredicateId>,
    is_listed: Vec<bool>,
}

impl Candidates {
    pub(super) fn reset(&mut self, n_predicates: usize) {
        self.listed.clear();
        self.is_listed.clear();
        self.is_listed.resize(n_predicates, false);
    }

    fn add(&mut self, predicate: PredicateId) {
        let is_listed = &mut self.is_listed[predicate.0 as usize];
        if !std::mem::replace(is_listed, true) {
            self.listed.push(predicate);
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = PredicateId> + '_ {
        for predicate in &self.listed {
            self.is_listed[predicate.0 as usize] = false;
        }
        self.listed.drain(..)
    }
}

struct Best {
    keys: FxHashSet<Key>,
    weight: u64,
}

struct Chooser<'a> {
    graph: &'a Graph,
    weights: FxHashMap<Key, u64>,
}

impl Chooser<'_> {
    /// The lightest witness. `None`: the node can be true of an event with none of its values.
    fn best(&self, id: NodeId) -> Option<Best> {
        match self.graph.node(id) {
            Node::And(parts) => {
                parts.iter().filter_map(|part| self.best(*part)).min_by_key(|best| best.weight)
            }
            Node::Or(parts) => {
                let mut union = Best { keys: FxHashSet::default(), weight: 0 };
                for part in parts {
                    let best = self.best(*part)?;
                    union.keys.extend(best.keys);
                    union.weight = union.weight.saturating_add(best.weight);
                }
                Some(union)
            }
            Node::Not(_) => None,
            Node::Atom(Expr::Const(false)) => Some(Best { keys: FxHashSet::default(), weight: 0 }),
            Node::Atom(atom) => {
                let keys: FxHashSet<Key> = atom_keys(atom)?.into_iter().collect();
                let weight = keys.iter().map(|key| self.weights.get(key).copied().unwrap_or(1)).sum();
                Some(Best { keys, weight })
            }
        }
    }
}

/// A value that many predicates name is likely one that many events have.
fn weights(graph: &Graph, asked: &[PredicateId], schema: &Schema) -> FxHashMap<Key, u64> {
    let ids =
        |paths: &[&str]| paths.iter().filter_map(|path| schema.id(path)).collect::<FxHashSet<FieldId>>();
    let (classes, broad) = (ids(CLASSES), ids(BROAD));
    let mut weights: FxHashMap<Key, u64> = FxHashMap::default();
    for predicate in asked {
        let mut keys = FxHashSet::default();
        collect_keys(graph, graph.root(*predicate), &mut keys);
        for key in keys {
            let weight = match key.0 {
                field if classes.contains(&field) => CLASS_WEIGHT,
                field if broad.contains(&field) => BROAD_WEIGHT,
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
        Node::Atom(atom) => keys.extend(atom_keys(atom).into_iter().flatten()),
    }
}

/// Only texts: a number may be written in several ways in a document, and so may an address.
fn atom_keys(atom: &Expr) -> Option<Vec<Key>> {
    match atom {
        Expr::Any(field, Test::Equals(Literal::Text(text))) => Some(vec![Key(*field, fold(text).into())]),
        Expr::Any(field, Test::In(set)) => {
            Some(set.items().iter().map(|text| Key(*field, fold(text).into())).collect())
        }
        _ => None,
    }
}
