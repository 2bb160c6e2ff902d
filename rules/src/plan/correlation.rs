//! Sigma's correlations: events of several rules, counted, measured or put in order, per group in a window.

use super::PredicateId;
use crate::event::Span;
use crate::expr::Comparison;
use crate::literal::FloatBits;
use crate::schema::FieldId;

/// A correlation, those below it included.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation<P = PredicateId> {
    /// The rules of single events, in the order in which the nodes name them.
    pub leaves: Vec<Leaf<P>>,
    /// What is judged, each before those that rest on it. The last one tells.
    pub nodes: Vec<Node>,
}

/// A rule of single events in a correlation.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf<P = PredicateId> {
    pub predicate: P,
    /// What is read of an event: of each, the first field that has a value.
    pub fields: Vec<Box<[FieldId]>>,
    /// Places in `fields`: by these, state is kept apart. As many in each leaf.
    pub key: Vec<usize>,
}

/// One `correlation:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub measure: Measure,
    /// In the order of the rule.
    pub members: Vec<Member>,
    /// `group-by`, for people.
    pub by_names: Vec<String>,
    /// By leaf: places in its `fields`. Empty for leaves that are not below.
    pub by: Vec<Vec<usize>>,
    /// By leaf: what is measured. Empty where nothing but events is counted.
    pub value: Vec<Vec<usize>>,
    pub span: Span,
    /// All hold.
    pub bounds: Vec<(Comparison, FloatBits)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    Leaf(usize),
    /// Matches of another node.
    Node(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    EventCount,
    ValueCount,
    /// How many of the members there are.
    Temporal,
    /// How many of the members there are, from the first on, each after the one before.
    TemporalOrdered,
    Sum,
    Average,
    /// Of 100, between the values where it falls between two.
    Percentile(u8),
}

impl Node {
    /// More events never make it false again, so that it is judged with each event. Else a window is judged as a whole.
    pub fn is_eager(&self) -> bool {
        let is_lower = |(comparison, _): &(Comparison, FloatBits)| {
            matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual)
        };
        !matches!(self.measure, Measure::Average | Measure::Percentile(_)) && self.bounds.iter().all(is_lower)
    }
}

impl<P> Correlation<P> {
    /// The same correlation over other predicates.
    pub fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> Correlation<Q> {
        let leaf = |Leaf { predicate, fields, key }| Leaf { predicate: f(predicate), fields, key };
        Correlation { leaves: self.leaves.into_iter().map(leaf).collect(), nodes: self.nodes }
    }

    /// Whether it tells nothing as long as one of its rules has no event.
    pub fn needs_each(&self) -> bool {
        let each = |node: &Node| {
            let least = (Comparison::GreaterOrEqual, FloatBits::new(node.members.len() as f64));
            matches!(node.measure, Measure::Temporal | Measure::TemporalOrdered)
                && node.bounds.contains(&least)
        };
        self.nodes.iter().all(|node| each(node) || node.members.len() == 1)
    }

    /// How far apart two events can be and still matter to each other.
    pub fn span(&self) -> Span {
        let mut reach: Vec<Span> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let below = node.members.iter().filter_map(|member| match member {
                Member::Leaf(_) => None,
                Member::Node(node) => reach.get(*node).copied(),
            });
            let below = below.max().unwrap_or_default();
            reach.push(node.span + below);
        }
        reach.last().copied().unwrap_or_default()
    }
}
