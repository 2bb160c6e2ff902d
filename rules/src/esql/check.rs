//! Looks up names, checks types, and cuts the query where it first looks at many rows.

mod column;
mod expression;
mod rows;

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::ast::{self, Assignment, Command, Name, Query};
use super::dissect::Dissect;
use super::extract;
use super::grok::Grok;
use super::ir::Ir;
use super::pipeline::{Carried, Pipeline, Stage, TableStage};
use super::scope::{Column, Scope};
use super::value::Type;
use super::{Esql, Purpose};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Span;
use crate::expr::Expr;
use crate::schema::Schema;
use rows::Stats;

/// An expression with its type.
pub(super) struct Typed {
    pub(super) ir: Ir,
    pub(super) kind: Type,
}

pub(super) struct Checker<'c> {
    schema: &'c mut Schema,
    found: &'c mut Vec<Diagnostic>,
    purpose: Purpose,
    scope: Scope,
    /// Of the head until it is closed, then of the table.
    n_slots: usize,
    predicate: Vec<Expr>,
    head: Vec<Stage>,
    /// Behind the first command that looks at many rows.
    behind: Option<Behind>,
    /// While `STATS` is read.
    stats: Option<Stats>,
}

/// What follows the head.
#[derive(Default)]
struct Behind {
    head_slots: usize,
    stages: Vec<TableStage>,
    carried: Vec<Carried>,
    /// The event's own fields that are carried, by name.
    fields: FxHashMap<String, Column>,
    /// What the first `STATS` groups by, and whether each later one does too.
    keys: Vec<(Carried, Option<Span>, bool)>,
    has_grouped: bool,
}

/// The query, or nothing where a finding is an error.
pub(super) fn check(
    query: &Query,
    purpose: Purpose,
    schema: &mut Schema,
    found: &mut Vec<Diagnostic>,
) -> Option<Esql> {
    let mut checker = Checker {
        schema,
        found,
        purpose,
        scope: Scope::default(),
        n_slots: 0,
        predicate: Vec::new(),
        head: Vec::new(),
        behind: None,
        stats: None,
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
    fn finish(mut self, index: Vec<String>) -> Esql {
        if self.purpose == Purpose::Batch {
            self.close_head();
        }
        let names: Vec<String> = self.scope.names().map(str::to_owned).collect();
        let columns = names.into_iter().filter_map(|name| {
            let column = self.scope.get(&name)?.clone();
            let column = if self.behind.is_some() { self.in_table(&name, column) } else { column };
            match column.ir {
                Ir::Slot(slot) => Some((name, slot)),
                _ => None,
            }
        });
        let columns = columns.collect();
        let open = self.scope.open_fields();
        let is_aggregate = self.behind.is_some();
        let has_filter = self.head.iter().any(|stage| matches!(stage, Stage::Filter(_)));
        let (head, head_slots, table) = match self.behind {
            Some(behind) => {
                let head_slots = behind.head_slots;
                (self.head, head_slots, Some(behind.table(self.n_slots, self.purpose)))
            }
            None => (self.head, self.n_slots, None),
        };
        let pipeline = Pipeline { head, head_slots, table, columns, open };
        let pipeline = (is_aggregate || has_filter).then(|| Arc::new(pipeline));
        Esql { index, predicate: Expr::and(self.predicate), pipeline, is_aggregate }
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
            Command::Sort(keys) => self.sort(keys),
            Command::Limit(n) => self.limit(*n),
            Command::Stats { aggregates, by, is_inline } => self.stats(aggregates, by, *is_inline),
            Command::Dissect { input, pattern, separator } => self.dissect(input, pattern, separator),
            Command::Grok { input, patterns } => self.grok(input, patterns),
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
            // Behind the head there is no event to look at.
            let predicate = if self.behind.is_none() { extract::truth(&part) } else { None };
            match predicate {
                Some(predicate) => self.predicate.push(predicate),
                None => self.stage(Stage::Filter(part)),
            }
        }
        Some(())
    }

    fn stage(&mut self, stage: Stage) {
        match &mut self.behind {
            Some(behind) => behind.stages.push(TableStage::Row(stage)),
            None => self.head.push(stage),
        }
    }

    fn assign(&mut self, assignment: &Assignment) -> Option<()> {
        let Typed { ir, kind } = self.expr(&assignment.expr)?;
        let name = assignment.name.text.clone();
        // A column under another name is still what it was.
        let known = match &assignment.expr.node {
            ast::Node::Column(path) => self.scope.get(path).map(|column| (column.bucket, column.key)),
            _ => None,
        };
        let bucket = match &ir {
            Ir::Truncate(date, span) if matches!(**date, Ir::EventTime) => Some(*span),
            _ => known.and_then(|(bucket, _)| bucket),
        };
        let column = self.named(Column {
            ir,
            kind,
            bucket,
            key: known.and_then(|(_, key)| key),
            is_of_event: self.behind.is_none(),
        });
        self.scope.set(name, column);
        Some(())
    }

    /// The value under a slot, so that it is a column whatever it is computed from.
    fn named(&mut self, column: Column) -> Column {
        let slot = self.slot();
        self.stage(Stage::Set(slot, column.ir));
        Column { ir: Ir::Slot(slot), is_of_event: self.behind.is_none(), ..column }
    }

    fn set_column(&mut self, name: String, ir: Ir, kind: Type) {
        let is_of_event = self.behind.is_none();
        let column = self.named(Column { ir, kind, bucket: None, key: None, is_of_event });
        self.scope.set(name, column);
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
                let names = dissect.names().iter().map(|name| (name.clone(), Type::Text)).collect();
                let slots = self.text_columns(names);
                self.stage(Stage::Dissect { input: typed.ir, dissect, slots });
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

    fn grok(&mut self, input: &ast::Expr, patterns: &[ast::Pattern]) -> Option<()> {
        let typed = self.expr(input)?;
        self.expect(&typed, Type::Text, &input.span, "GROK")?;
        // The first pattern that matches is taken.
        let texts: Vec<&str> = patterns.iter().map(|pattern| pattern.text.as_str()).collect();
        match Grok::first_of(&texts) {
            Ok(grok) => {
                let slots = self.text_columns(grok.columns().to_vec());
                self.stage(Stage::Grok { input: typed.ir, grok, slots });
                Some(())
            }
            Err((at, message)) => {
                let span = patterns[at].span.clone();
                self.report(Diagnostic::error(Code::BadPattern, span, message))
            }
        }
    }

    /// New columns that a stage will write.
    fn text_columns(&mut self, columns: Vec<(String, Type)>) -> Vec<usize> {
        let is_of_event = self.behind.is_none();
        let mut slots = Vec::new();
        for (name, kind) in columns {
            let slot = self.slot();
            let ir = Ir::Slot(slot);
            self.scope.set(name, Column { ir, kind, bucket: None, key: None, is_of_event });
            slots.push(slot);
        }
        slots
    }

    fn expand(&mut self, name: &Name) -> Option<()> {
        let column = self.column(&name.text, &name.span)?;
        let slot = self.slot();
        self.stage(Stage::Expand(slot, column.ir));
        let is_of_event = self.behind.is_none();
        let column = Column { ir: Ir::Slot(slot), bucket: None, key: None, is_of_event, ..column };
        match self.scope.get(&name.text) {
            Some(_) => self.scope.move_to(&name.text, column),
            None => self.scope.set(name.text.clone(), column),
        }
        Some(())
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

/// A place in the query.
type Place = Range<usize>;
