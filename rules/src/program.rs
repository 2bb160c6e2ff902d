//! All rules together, ready to meet events: predicates shared over all rules, each evaluated at most once per event, and
//! only where the event holds a value without which it cannot match.
//!
//! Order over time is not known here: a hit says which rule saw which event in which role.

mod clause;
mod glob;
mod graph;
mod index;
mod key;
mod matched;
mod over_alerts;
mod scratch;

use crate::catalogue::drops::DropLine;
use crate::event::Event;
use crate::expr::Expr;
use crate::plan::{Plan, PredicateId};
use crate::rule::Rule;
use crate::schema::{FieldId, Schema};

use clause::Chooser;
use glob::IndexGlobs;
use graph::{Graph, GraphBuilder};
use index::Index;
pub use matched::Part;
pub use over_alerts::ALERTS_INDEX;
use scratch::Admitted;
pub use scratch::Scratch;

/// A rule of a program, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIdx(pub u32);

/// What an event is to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Satisfies the plan's one predicate.
    Match,
    /// Satisfies a step of its sequence, counted from 0.
    Step(u16),
    /// Ends its sequences.
    Until,
    /// Explains its alerts: one of its contexts, counted from 0.
    Context(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    pub rule: RuleIdx,
    pub role: Role,
}

/// The rules, compiled.
#[derive(Debug)]
pub struct Program {
    rules: Vec<Rule>,
    drops: Vec<DropLine<PredicateId>>,
    graph: Graph,
    /// By predicate: who asks for it. In order of rules.
    uses: Vec<Vec<Hit>>,
    index: Index,
    /// By rule.
    globs: Vec<IndexGlobs>,
    /// By rule: whether alerts of other rules are events to it.
    over_alerts: Vec<bool>,
    /// By rule: whose alerts its matches are to rules over alerts.
    signals: Vec<Option<RuleIdx>>,
    /// Tells the scratch of one program from that of another.
    token: u64,
}

impl Program {
    /// Rules keep their order. `schema` is the one they were loaded with.
    pub fn compile(rules: Vec<Rule<Expr>>, schema: &Schema) -> Self {
        Self::with_drops(rules, Vec::new(), schema)
    }

    /// The rules and the drop list.
    pub fn with_drops(rules: Vec<Rule<Expr>>, drops: Vec<DropLine<Expr>>, schema: &Schema) -> Self {
        let mut builder = GraphBuilder::default();
        let (rules, over_alerts, signals) = over_alerts::with_twins(rules, schema);
        let globs = rules.iter().map(|rule| IndexGlobs::new(&rule.index)).collect();
        let rules: Vec<Rule> =
            rules.into_iter().map(|rule| rule.map(&mut |expr| builder.predicate(expr))).collect();
        let drops = drops.into_iter().map(|line| line.map(&mut |expr| builder.predicate(expr))).collect();
        let graph = builder.finish();
        let uses = uses(&rules, graph.predicates());
        let asked = (0..).map(PredicateId).zip(&uses).filter(|(_, uses)| !uses.is_empty()).map(|(id, _)| id);
        let index = Index::new(&graph, asked, schema);
        let token = scratch::next_token();
        Self { rules, drops, graph, uses, index, globs, over_alerts, signals, token }
    }

    /// Those that were loaded, in their order; behind them, what feeds rules over alerts in place of one of them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// # Panics
    /// If the number is of another program.
    pub fn rule(&self, idx: RuleIdx) -> &Rule {
        &self.rules[idx.0 as usize]
    }

    /// Whether alerts of other rules are events to the rule.
    pub fn is_over_alerts(&self, idx: RuleIdx) -> bool {
        self.over_alerts[idx.0 as usize]
    }

    /// The predicate written out again, its parts in the order in which they are tried.
    ///
    /// # Panics
    /// If the number is of another program.
    pub fn expr(&self, predicate: PredicateId) -> Expr {
        self.graph.expr(self.graph.root(predicate))
    }

    /// The predicates of a rule's missing events, in the order of its steps.
    ///
    /// # Panics
    /// If the number is of another program.
    pub fn missing(&self, idx: RuleIdx) -> Vec<Expr> {
        let Plan::Sequence(sequence) = &self.rule(idx).plan else { return Vec::new() };
        let missing = sequence.steps.iter().filter(|step| step.is_missing);
        missing.map(|step| self.expr(step.predicate)).collect()
    }

    /// The loaded rule whose alerts the matches of this one are, to rules over alerts.
    pub fn signals(&self, idx: RuleIdx) -> Option<RuleIdx> {
        self.signals[idx.0 as usize]
    }

    /// The rule itself, or the loaded one whose place it takes towards rules over alerts.
    pub fn loaded(&self, idx: RuleIdx) -> RuleIdx {
        self.signals(idx).unwrap_or(idx)
    }

    pub fn n_loaded(&self) -> usize {
        (0..).map(RuleIdx).take(self.rules.len()).filter(|idx| self.loaded(*idx) == *idx).count()
    }

    /// The rule that feeds rules over alerts in place of this one, if one does.
    pub fn twin(&self, idx: RuleIdx) -> Option<RuleIdx> {
        let is_twin = |other: &RuleIdx| *other != idx && self.signals(*other) == Some(idx);
        (0..).map(RuleIdx).take(self.rules.len()).find(is_twin)
    }

    pub fn drops(&self) -> &[DropLine<PredicateId>] {
        &self.drops
    }

    /// How many different predicates the rules have.
    pub fn n_predicates(&self) -> usize {
        self.graph.predicates()
    }

    /// Whether the event satisfies the predicate.
    pub fn holds(&self, predicate: PredicateId, event: &Event, scratch: &mut Scratch) -> bool {
        scratch.start(self.token, self.graph.nodes());
        self.graph.holds(predicate, event, &mut scratch.memo)
    }

    /// Calls `visit` with what the event is to each rule, in order of rules and roles.
    pub fn hits(&self, event: &Event, scratch: &mut Scratch, mut visit: impl FnMut(Hit)) {
        scratch.start(self.token, self.graph.nodes());
        let admitted = scratch.admitted.of(&event.index, || self.admit(&event.index));
        self.index.look_up(event, &mut scratch.planes);
        scratch.hits.clear();
        for predicate in scratch.planes.candidates(&admitted.predicates) {
            if self.graph.holds(predicate, event, &mut scratch.memo) {
                let uses = self.uses[predicate.0 as usize].iter();
                scratch.hits.extend(uses.filter(|hit| admitted.admits(**hit)));
            }
        }
        scratch.hits.sort_unstable();
        for hit in &scratch.hits {
            if self.keeps(*hit, event, &mut scratch.memo) {
                visit(*hit);
            }
        }
    }

    /// The fields by whose values the predicate is found. None: it is looked at for every event of its rules' indices.
    pub fn looked_up_by(&self, predicate: PredicateId, schema: &Schema) -> Vec<FieldId> {
        let clauses = Chooser::new(&self.graph, &[predicate], schema).clauses(predicate);
        let mut fields: Vec<FieldId> = clauses
            .first()
            .map(|clause| clause.keys.iter().map(|key| key.field).collect())
            .unwrap_or_default();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// The line of the drop list that takes the event, if one does.
    pub fn drop_reason(&self, event: &Event, scratch: &mut Scratch) -> Option<&DropLine<PredicateId>> {
        scratch.start(self.token, self.graph.nodes());
        self.drops.iter().find(|line| self.graph.holds(line.predicate, event, &mut scratch.memo))
    }

    /// What reads events of an index.
    fn admit(&self, index: &str) -> Admitted {
        let is_alerts = index == ALERTS_INDEX;
        let admits =
            |(globs, over_alerts): (&IndexGlobs, &bool)| globs.admit(index) && (!is_alerts || *over_alerts);
        let rules = self.globs.iter().zip(&self.over_alerts).map(admits).collect();
        let admitted = Admitted { rules, predicates: Box::default() };
        let is_asked = |idx: usize| self.uses[idx].iter().any(|hit| admitted.admits(*hit));
        let predicates = index::mask(self.graph.predicates(), is_asked);
        Admitted { predicates, ..admitted }
    }

    /// Exceptions, and what a query asks beyond its predicate.
    fn keeps(&self, hit: Hit, event: &Event, memo: &mut graph::Memo) -> bool {
        let rule = self.rule(hit.rule);
        match hit.role {
            Role::Context(_) | Role::Until => true,
            Role::Match | Role::Step(_) => {
                let mut exceptions =
                    rule.exceptions.iter().filter(|exception| exception.is_in_force(event.time));
                !exceptions.any(|exception| self.graph.holds(exception.predicate, event, memo))
                    && rule.residue.as_ref().is_none_or(|residue| residue.keeps(event))
            }
        }
    }
}

impl Admitted {
    /// `index` narrows a rule's own query. A context reads the dataset that it names.
    fn admits(&self, hit: Hit) -> bool {
        matches!(hit.role, Role::Context(_)) || self.rules[hit.rule.0 as usize]
    }
}

impl<P> Rule<P> {
    /// Whether the rule reads events of the index at all.
    pub fn reads_index(&self, index: &str) -> bool {
        reads_index(&self.index, index)
    }
}

/// Whether the globs admit the index.
pub(crate) fn reads_index(globs: &[String], index: &str) -> bool {
    IndexGlobs::new(globs).admit(index)
}

fn uses(rules: &[Rule], n_predicates: usize) -> Vec<Vec<Hit>> {
    let mut uses = vec![Vec::new(); n_predicates];
    let mut add = |predicate: PredicateId, rule, role| uses[predicate.0 as usize].push(Hit { rule, role });
    for (rule, idx) in rules.iter().zip((0..).map(RuleIdx)) {
        match &rule.plan {
            Plan::Sample(sample) => {
                for (step, role) in sample.steps.iter().zip((0..).map(Role::Step)) {
                    add(step.predicate, idx, role);
                }
            }
            Plan::Sequence(sequence) => {
                for (step, role) in sequence.steps.iter().zip((0..).map(Role::Step)) {
                    add(step.predicate, idx, role);
                }
                if let Some(until) = &sequence.until {
                    add(until.predicate, idx, Role::Until);
                }
            }
            Plan::Correlation(correlation) => {
                for (leaf, role) in correlation.leaves.iter().zip((0..).map(Role::Step)) {
                    add(leaf.predicate, idx, role);
                }
            }
            single => single.predicates().into_iter().for_each(|id| add(*id, idx, Role::Match)),
        }
        for (context, role) in rule.contexts.iter().zip((0..).map(Role::Context)) {
            add(context.predicate, idx, role);
        }
    }
    uses
}

#[cfg(test)]
mod tests;
