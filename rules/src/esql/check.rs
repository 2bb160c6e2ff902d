//! Looks up names, checks types, and cuts the query at its `STATS`.

mod expression;

use std::ops::Range;
use std::sync::Arc;

use super::Esql;
use super::aggregate::Aggregate;
use super::ast::{self, Assignment, Command, Name, Query};
use super::dissect::Dissect;
use super::extract;
use super::ir::Ir;
use super::pipeline::{Grouping, Input, Pipeline, Stage};
use super::scope::{Column, Scope};
use super::value::Type;
use crate::diagnostic::{Code, Diagnostic};
use crate::expr::Expr;
use crate::literal::Literal;
use crate::schema::Schema;

/// An expression with its type.
pub(super) struct Typed {
    pub(super) ir: Ir,
    pub(super) kind: Type,
}

pub(super) struct Checker<'c> {
    schema: &'c mut Schema,
    found: &'c mut Vec<Diagnostic>,
    scope: Scope,
    /// Of the side of `STATS` that is being read.
    n_slots: usize,
    stages: Vec<Stage>,
    predicate: Vec<Expr>,
    /// While `STATS` is read.
    stats: Option<Stats>,
    before: Option<Before>,
}

/// What `STATS` has so far.
#[derive(Default)]
struct Stats {
    keys: Vec<(String, Column)>,
    inputs: Vec<Input>,
    gives: Vec<Type>,
    condition: Option<Ir>,
    /// Inside the parentheses of an aggregate the event's columns are read, outside the group's.
    is_inside: bool,
}

/// The finished side before `STATS`.
struct Before {
    stages: Vec<Stage>,
    n_slots: usize,
    grouping: Grouping,
}

/// The query, or nothing where a finding is an error.
pub(super) fn check(query: &Query, schema: &mut Schema, found: &mut Vec<Diagnostic>) -> Option<Esql> {
    let mut checker = Checker {
        schema,
        found,
        scope: Scope::default(),
        n_slots: 0,
        stages: Vec::new(),
        predicate: Vec::new(),
        stats: None,
        before: None,
    };
    let mut is_whole = true;
    for command in &query.commands {
        if checker.command(command).is_none() {
            is_whole = false;
            // What comes later would only be told of columns that a faulty command did not make.
            if !matches!(command, Command::Where(_) | Command::Sort(_)) {
                break;
            }
        }
    }
    is_whole.then(|| checker.finish(query.index.clone()))
}

impl Checker<'_> {
    fn finish(self, index: Vec<String>) -> Esql {
        let columns = self.scope.columns().filter_map(|(name, column)| match column.ir {
            Ir::Slot(slot) => Some((name.to_owned(), slot)),
            _ => None,
        });
        let columns = columns.collect();
        let is_aggregate = self.before.is_some();
        let pipeline = match self.before {
            Some(Before { stages, n_slots, grouping }) => Some(Pipeline {
                before: stages,
                grouping: Some(grouping),
                after: self.stages,
                slots_before: n_slots,
                slots_after: self.n_slots,
                columns,
            }),
            None => self.stages.iter().any(|stage| matches!(stage, Stage::Filter(_))).then_some(Pipeline {
                before: self.stages,
                grouping: None,
                after: Vec::new(),
                slots_before: self.n_slots,
                slots_after: 0,
                columns,
            }),
        };
        Esql { index, predicate: Expr::and(self.predicate), pipeline: pipeline.map(Arc::new), is_aggregate }
    }

    fn command(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Where(condition) => self.filter(condition),
            Command::Eval(assignments) => each(assignments, |assignment| self.assign(assignment)),
            Command::Keep(names) => self.keep(names),
            Command::Drop(names) => {
                self.named_columns(names)?;
                names.iter().for_each(|name| self.scope.drop_matching(&name.text));
                Some(())
            }
            Command::Rename(pairs) => each(pairs, |(old, new)| {
                let column = self.column(&old.text, &old.span)?;
                self.scope.drop_matching(&old.text);
                self.scope.set(new.text.clone(), column);
                Some(())
            }),
            // Groups end one by one on a stream: their order, and how many there are, say nothing.
            Command::Sort(keys) => each(keys, |key| self.expr(key).map(|_| ())),
            Command::Limit => Some(()),
            Command::Stats { aggregates, by, span } => self.stats(aggregates, by, span),
            Command::Dissect { input, pattern, separator } => self.dissect(input, pattern, separator),
            Command::Expand(name) => self.expand(name),
        }
    }

    fn filter(&mut self, condition: &ast::Expr) -> Option<()> {
        let ir = self.condition(condition)?;
        let parts = match ir {
            Ir::All(parts) => parts,
            one => vec![one],
        };
        for part in parts {
            // Behind STATS there is no event to look at.
            let predicate = if self.before.is_none() { extract::truth(&part) } else { None };
            match predicate {
                Some(predicate) => self.predicate.push(predicate),
                None => self.stages.push(Stage::Filter(part)),
            }
        }
        Some(())
    }

    fn assign(&mut self, assignment: &Assignment) -> Option<()> {
        let Typed { ir, kind } = self.expr(&assignment.expr)?;
        let bucket = match &ir {
            Ir::Truncate(date, span) if matches!(**date, Ir::EventTime) => Some(*span),
            Ir::Slot(_) => {
                self.scope.columns().find(|(_, column)| column.ir == ir).and_then(|(_, column)| column.bucket)
            }
            _ => None,
        };
        self.set_column(assignment.name.text.clone(), ir, kind, bucket);
        Some(())
    }

    fn set_column(&mut self, name: String, ir: Ir, kind: Type, bucket: Option<crate::event::Span>) {
        let slot = self.slot();
        self.stages.push(Stage::Set(slot, ir));
        self.scope.set(name, Column { ir: Ir::Slot(slot), kind, bucket });
    }

    fn slot(&mut self) -> usize {
        self.n_slots += 1;
        self.n_slots - 1
    }

    fn keep(&mut self, names: &[Name]) -> Option<()> {
        self.named_columns(names)?;
        let patterns: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
        self.scope.keep(&patterns);
        Some(())
    }

    /// Names without a `*` have to be there.
    fn named_columns(&mut self, names: &[Name]) -> Option<()> {
        let plain = names.iter().filter(|name| !name.text.contains('*'));
        each(plain, |name| self.column(&name.text, &name.span).map(|_| ()))
    }

    fn dissect(&mut self, input: &ast::Expr, pattern: &ast::Pattern, separator: &str) -> Option<()> {
        let typed = self.expr(input)?;
        self.expect(&typed, Type::Text, &input.span, "DISSECT")?;
        match Dissect::new(&pattern.text, separator) {
            Ok(dissect) => {
                let names: Vec<String> = dissect.names().to_vec();
                let slots: Vec<usize> = names.iter().map(|_| self.slot()).collect();
                self.stages.push(Stage::Dissect { input: typed.ir, dissect, slots: slots.clone() });
                for (name, slot) in names.into_iter().zip(slots) {
                    self.scope.set(name, Column { ir: Ir::Slot(slot), kind: Type::Text, bucket: None });
                }
                Some(())
            }
            Err((message, _)) => {
                let help = "keys stand in %{name}, delimiters between them: \"%{}:%{account}/%{name}\"";
                self.report(
                    Diagnostic::error(Code::BadPattern, pattern.span.clone(), message).with_help(help),
                )
            }
        }
    }

    fn expand(&mut self, name: &Name) -> Option<()> {
        if self.before.is_some() {
            let help = "expand before STATS";
            let message = "MV_EXPAND behind STATS is not run here";
            return self.report(
                Diagnostic::error(Code::UnsupportedCommand, name.span.clone(), message).with_help(help),
            );
        }
        let column = self.column(&name.text, &name.span)?;
        let slot = self.slot();
        self.stages.push(Stage::Expand(slot, column.ir));
        self.scope.set(name.text.clone(), Column { ir: Ir::Slot(slot), kind: column.kind, bucket: None });
        Some(())
    }

    fn stats(&mut self, aggregates: &[ast::Aggregate], by: &[Assignment], span: &Range<usize>) -> Option<()> {
        if self.before.is_some() {
            let message = "a second STATS is not run here: a group of groups has no end on a stream";
            return self.report(Diagnostic::error(Code::UnsupportedCommand, span.clone(), message));
        }
        // Keys that are computed in place become columns first, so that one way of reading them is enough.
        let mut keys: Vec<(String, Column)> = Vec::new();
        let mut is_whole = true;
        for key in by {
            let is_plain = matches!(&key.expr.node, ast::Node::Column(path) if *path == key.name.text);
            let column = match is_plain {
                true => self.column(&key.name.text, &key.expr.span),
                false => self.assign(key).and_then(|()| self.scope.get(&key.name.text).cloned()),
            };
            match column {
                Some(column) => keys.push((key.name.text.clone(), column)),
                None => is_whole = false,
            }
        }
        let bucket = keys.iter().find_map(|(_, column)| column.bucket);
        self.stats = Some(Stats { keys, ..Stats::default() });
        let mut outputs = Vec::new();
        for aggregate in aggregates {
            match self.output(aggregate) {
                Some(typed) => outputs.push((aggregate.column.name.text.clone(), typed)),
                None => is_whole = false,
            }
        }
        let Stats { keys, inputs, .. } = self.stats.take()?;
        if !is_whole {
            return None;
        }
        let n_group_slots = keys.len() + inputs.len();
        self.before = Some(Before {
            stages: std::mem::take(&mut self.stages),
            n_slots: self.n_slots,
            grouping: Grouping {
                keys: keys.iter().map(|(_, column)| (column.ir.clone(), column.kind)).collect(),
                inputs,
                bucket,
            },
        });
        self.n_slots = n_group_slots;
        self.scope = Scope::closed();
        for (name, Typed { ir, kind }) in outputs {
            match ir {
                Ir::Slot(_) => self.scope.set(name, Column { ir, kind, bucket: None }),
                computed => self.set_column(name, computed, kind, None),
            }
        }
        for ((name, column), slot) in keys.into_iter().zip(0..) {
            self.scope.set(name, Column { ir: Ir::Slot(slot), ..column });
        }
        Some(())
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

    fn inside(&mut self, is_inside: bool) {
        if let Some(stats) = &mut self.stats {
            stats.is_inside = is_inside;
        }
    }

    /// An aggregate becomes the slot that holds its result.
    fn add_aggregate(&mut self, aggregate: Aggregate, value: Typed) -> Option<Typed> {
        let kind = aggregate.gives(value.kind)?;
        let stats = self.stats.as_mut()?;
        let input =
            Input { aggregate, value: value.ir, kind: value.kind, condition: stats.condition.clone() };
        let at = match stats.inputs.iter().position(|known| *known == input) {
            Some(at) => at,
            None => {
                stats.inputs.push(input);
                stats.gives.push(kind);
                stats.inputs.len() - 1
            }
        };
        Some(Typed { ir: Ir::Slot(stats.keys.len() + at), kind })
    }

    /// The column of that name where the query is now.
    fn column(&mut self, name: &str, span: &Range<usize>) -> Option<Column> {
        if let Some(stats) = &self.stats
            && !stats.is_inside
        {
            let place = stats.keys.iter().position(|(key, _)| key == name);
            return match place {
                Some(slot) => Some(Column { ir: Ir::Slot(slot), ..stats.keys[slot].1.clone() }),
                None => {
                    let message = format!("\"{name}\" is neither a group column nor inside an aggregate");
                    let help = format!("write VALUES({name}), or add it behind BY");
                    let code = Code::MisplacedAggregate;
                    self.report(Diagnostic::error(code, span.clone(), message).with_help(help))
                }
            };
        }
        if let Some(column) = self.scope.get(name) {
            return Some(column.clone());
        }
        if self.scope.has_field(name) {
            return self.event_column(name, span);
        }
        let mut diagnostic = Diagnostic::error(
            Code::UnknownColumn,
            span.clone(),
            format!("there is no column \"{name}\" here"),
        );
        let near = self.scope.names().map(|known| (strsim::osa_distance(name, known), known));
        diagnostic = match near.filter(|(distance, _)| *distance <= 1 + name.len() / 4).min() {
            Some((_, known)) => diagnostic.with_help(format!("did you mean \"{known}\"?")),
            None if !self.scope.is_closed => {
                diagnostic.with_help("a KEEP, DROP or RENAME before took it away")
            }
            None => {
                let names: Vec<&str> = self.scope.names().collect();
                diagnostic.with_help(format!("columns here: {}", names.join(", ")))
            }
        };
        self.report(diagnostic)
    }

    fn event_column(&mut self, name: &str, span: &Range<usize>) -> Option<Column> {
        let (ir, kind) = match name {
            "@timestamp" => (Ir::EventTime, Type::Date),
            "_id" => (Ir::EventId, Type::Text),
            "_index" => (Ir::EventIndex, Type::Text),
            // Events here are never rewritten.
            "_version" => (Ir::Literal(Literal::Int(1)), Type::Long),
            _ => match self.schema.resolve(name) {
                Ok(id) => {
                    let kind = Type::of_field(self.schema.field(id).kind);
                    (Ir::Field(id, kind), kind)
                }
                Err(unknown) => {
                    let message = format!("no field is called \"{name}\"");
                    let diagnostic = Diagnostic::error(Code::UnknownField, span.clone(), message)
                        .with_label("not in the field table");
                    return self.report(match unknown.suggestion {
                        Some(path) => diagnostic.with_help(format!("did you mean \"{path}\"?")),
                        None => diagnostic,
                    });
                }
            },
        };
        Some(Column { ir, kind, bucket: None })
    }

    fn report<T>(&mut self, diagnostic: Diagnostic) -> Option<T> {
        self.found.push(diagnostic);
        None
    }
}

/// Does all of them, so that every fault is seen. `None` where one failed.
fn each<T>(items: impl IntoIterator<Item = T>, mut check: impl FnMut(T) -> Option<()>) -> Option<()> {
    let n_failed = items.into_iter().filter_map(|item| check(item).is_none().then_some(())).count();
    (n_failed == 0).then_some(())
}
