//! Commands that look at many rows: `STATS`, `INLINE STATS`, `SORT` and `LIMIT`.

use super::super::Purpose;
use super::super::aggregate::Aggregate;
use super::super::ast::{self, Assignment, SortKey};
use super::super::ir::Ir;
use super::super::pipeline::{self, Carried, Grouping, Input, Table, TableStage};
use super::super::scope::{Column, Scope};
use super::super::value::Type;
use super::{Behind, Checker, Typed, each};
use crate::event::Span;

/// What `STATS` has so far.
#[derive(Default)]
pub(super) struct Stats {
    /// By name, at the slots of the result.
    pub(super) keys: Vec<(String, Column)>,
    inputs: Vec<(Input, Type)>,
    condition: Option<Ir>,
    /// Inside the parentheses of an aggregate the rows' columns are read, outside the group's.
    pub(super) is_inside: bool,
    /// Slots of the result, where the table does not have any yet.
    n_slots: usize,
}

/// A column that is grouped by, before and behind the command.
struct Key {
    name: String,
    from: Column,
}

impl Checker<'_> {
    /// From here on the rows of many events are looked at together.
    pub(super) fn close_head(&mut self) {
        if self.behind.is_none() {
            self.behind = Some(Behind { head_slots: self.n_slots, ..Behind::default() });
            self.n_slots = 0;
        }
    }

    fn behind(&mut self) -> &mut Behind {
        self.close_head();
        self.behind.as_mut().expect("closed just now")
    }

    pub(super) fn sort(&mut self, keys: &[SortKey]) -> Option<()> {
        // Events arrive in order of time and groups end one by one: in front of them there is nothing to put in order.
        if self.behind.is_none() && self.purpose == Purpose::Stream {
            return each(keys, |key| self.expr(&key.value).map(|_| ()));
        }
        self.close_head();
        let mut sorted = Vec::new();
        for key in keys {
            let value = self.expr(&key.value)?.ir;
            let has_nulls_first = key.has_nulls_first.unwrap_or(key.is_falling);
            sorted.push(pipeline::SortKey { value, is_falling: key.is_falling, has_nulls_first });
        }
        self.behind().stages.push(TableStage::Sort(sorted));
        Some(())
    }

    pub(super) fn limit(&mut self, n: usize) -> Option<()> {
        if self.behind.is_some() || self.purpose == Purpose::Batch {
            self.behind().stages.push(TableStage::Limit(n));
        }
        Some(())
    }

    pub(super) fn stats(
        &mut self,
        aggregates: &[ast::Aggregate],
        by: &[Assignment],
        is_inline: bool,
    ) -> Option<()> {
        let (keys, mut is_whole) = self.keys(by);
        let mut stats = Stats::default();
        let is_first = self.behind.is_none();
        for (at, key) in keys.iter().enumerate() {
            let slot = self.result_slot(&mut stats);
            let nth = if is_first { Some(at) } else { key.from.key };
            let column = Column { ir: Ir::Slot(slot), is_of_event: false, key: nth, ..key.from.clone() };
            stats.keys.push((key.name.clone(), column));
        }
        self.stats = Some(stats);
        let mut outputs = Vec::new();
        for aggregate in aggregates {
            match self.output(aggregate) {
                Some(typed) => outputs.push((aggregate.column.name.text.clone(), typed)),
                None => is_whole = false,
            }
        }
        let stats = self.stats.take()?;
        if !is_whole {
            return None;
        }
        let grouping = self.grouping(keys, &stats);
        let stage = if is_inline { TableStage::Inline(grouping) } else { TableStage::Group(grouping) };
        self.behind().stages.push(stage);
        if !is_inline {
            self.scope = Scope::closed();
        }
        for (name, Typed { ir, kind }) in outputs {
            match ir {
                Ir::Slot(_) => {
                    let column = Column { ir, kind, bucket: None, key: None, is_of_event: false };
                    self.scope.set(name, column);
                }
                computed => self.set_column(name, computed, kind),
            }
        }
        if !is_inline {
            stats.keys.into_iter().for_each(|(name, column)| self.scope.set(name, column));
        }
        Some(())
    }

    /// What is grouped by. Keys that are computed in place become columns first, so that one way of reading them is
    /// enough.
    fn keys(&mut self, by: &[Assignment]) -> (Vec<Key>, bool) {
        let mut keys = Vec::new();
        for key in by {
            let name = key.name.text.clone();
            let is_plain = matches!(&key.expr.node, ast::Node::Column(path) if *path == name);
            let column = match is_plain {
                true => self.column(&name, &key.expr.span),
                false => self.assign(key).and_then(|()| self.scope.get(&name).cloned()),
            };
            keys.extend(column.map(|from| Key { name, from }));
        }
        let is_whole = keys.len() == by.len();
        (keys, is_whole)
    }

    /// Closes the head if this is the first to group: then what it reads is computed once per event and carried.
    fn grouping(&mut self, keys: Vec<Key>, stats: &Stats) -> Grouping {
        let is_first = self.behind.is_none();
        self.close_head();
        if is_first {
            self.n_slots = stats.n_slots;
        }
        let n_keys = keys.len();
        let results = stats.keys.iter().map(|(_, column)| &column.ir);
        let mut grouped = Vec::with_capacity(n_keys);
        let mut named = Vec::with_capacity(n_keys);
        for (key, result) in keys.into_iter().zip(results) {
            let Ir::Slot(slot) = *result else { continue };
            let Column { ir, kind, bucket, key, is_of_event } = key.from;
            named.push(key);
            let from = match is_of_event {
                true if is_first => self.partition(ir, kind, bucket),
                true => self.carry(ir, kind),
                false => ir,
            };
            grouped.push((from, slot));
        }
        let inputs = stats.inputs.iter().map(|(input, kind)| match is_first {
            true => self.carried_input(input.clone(), *kind),
            false => input.clone(),
        });
        let inputs = inputs.collect();
        let behind = self.behind();
        if !is_first || behind.has_grouped {
            // A later command mixes rows that differ in a key that it does not have.
            for (at, (.., is_shared)) in behind.keys.iter_mut().enumerate() {
                *is_shared &= named.contains(&Some(at));
            }
        }
        behind.has_grouped = true;
        Grouping { keys: grouped, inputs }
    }

    /// A key of the first grouping: rows that differ in it need never meet.
    fn partition(&mut self, ir: Ir, kind: Type, bucket: Option<Span>) -> Ir {
        let slot = self.n_slots;
        self.n_slots += 1;
        self.behind().keys.push((Carried { ir, kind, slot }, bucket, true));
        Ir::Slot(slot)
    }

    fn carried_input(&mut self, input: Input, kind: Type) -> Input {
        let Input { aggregate, value, order, condition, slot } = input;
        let on_condition = |value: Ir| match &condition {
            Some(condition) => Ir::Case(vec![(condition.clone(), value)], Ir::Null.into()),
            None => value,
        };
        let value = self.carry(on_condition(value), kind);
        let order = order.map(|order| self.carry(on_condition(order), Type::Date));
        Input { aggregate, value, order, condition: None, slot }
    }

    fn output(&mut self, aggregate: &ast::Aggregate) -> Option<Typed> {
        if let Some(condition) = &aggregate.condition {
            self.inside(true);
            let condition = self.condition(condition);
            self.inside(false);
            let condition = condition?;
            self.stats.as_mut()?.condition = Some(condition);
        }
        let output = self.expr(&aggregate.column.expr);
        if let Some(stats) = &mut self.stats {
            stats.condition = None;
        }
        output
    }

    pub(super) fn inside(&mut self, is_inside: bool) {
        if let Some(stats) = &mut self.stats {
            stats.is_inside = is_inside;
        }
    }

    /// An aggregate becomes the slot that holds its result.
    pub(super) fn add_aggregate(
        &mut self,
        aggregate: Aggregate,
        value: Typed,
        order: Option<Typed>,
    ) -> Option<Typed> {
        let kind = aggregate.gives(value.kind)?;
        let mut stats = self.stats.take()?;
        let condition = stats.condition.clone();
        let slot = self.result_slot(&mut stats);
        let input = Input { aggregate, value: value.ir, order: order.map(|order| order.ir), condition, slot };
        let is_alike = |known: &Input| Input { slot, ..known.clone() } == input;
        let slot = match stats.inputs.iter().find(|(known, _)| is_alike(known)) {
            Some((known, _)) => known.slot,
            None => {
                stats.inputs.push((input, value.kind));
                slot
            }
        };
        self.stats = Some(stats);
        Some(Typed { ir: Ir::Slot(slot), kind })
    }

    fn result_slot(&mut self, stats: &mut Stats) -> usize {
        match self.behind {
            Some(_) => self.slot(),
            None => {
                stats.n_slots += 1;
                stats.n_slots - 1
            }
        }
    }
}

impl Behind {
    pub(super) fn table(self, slots: usize, purpose: Purpose) -> Table {
        let mut carried = self.carried;
        let mut partition = Vec::new();
        let mut bucket = None;
        for (key, span, is_shared) in self.keys {
            match is_shared && purpose == Purpose::Stream {
                true => {
                    bucket = bucket.or(span);
                    partition.push(key);
                }
                false => carried.push(key),
            }
        }
        Table { partition, carried, stages: self.stages, slots, bucket }
    }
}
