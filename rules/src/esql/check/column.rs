//! What a name means where it stands.

use super::super::ir::Ir;
use super::super::pipeline::Carried;
use super::super::scope::Column;
use super::super::value::Type;
use super::{Checker, Place, Typed};
use crate::diagnostic::{Code, Diagnostic};
use crate::literal::Literal;

impl Checker<'_> {
    /// The column of that name where the query is now.
    pub(super) fn column(&mut self, name: &str, span: &Place) -> Option<Column> {
        if let Some(stats) = &self.stats
            && !stats.is_inside
        {
            if let Some((_, column)) = stats.keys.iter().find(|(key, _)| key == name) {
                return Some(column.clone());
            }
            let message = format!("\"{name}\" is neither a group column nor inside an aggregate");
            let help = format!("write VALUES({name}), or add it behind BY");
            let code = Code::MisplacedAggregate;
            return self.report(Diagnostic::error(code, span.clone(), message).with_help(help));
        }
        if let Some(column) = self.scope.get(name).cloned() {
            return Some(if self.behind.is_some() { self.in_table(name, column) } else { column });
        }
        if self.scope.has_field(name) {
            return match self.behind.as_ref().map(|behind| behind.fields.get(name).cloned()) {
                None => self.event_column(name, span),
                Some(Some(carried)) => Some(carried),
                Some(None) => {
                    let column = self.event_column(name, span)?;
                    let carried = self.carried(column);
                    self.behind.as_mut()?.fields.insert(name.to_owned(), carried.clone());
                    Some(carried)
                }
            };
        }
        self.no_column(name, span)
    }

    fn no_column<T>(&mut self, name: &str, span: &Place) -> Option<T> {
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

    /// A column of the scope, carried if it is still one of the event's row.
    pub(super) fn in_table(&mut self, name: &str, column: Column) -> Column {
        if !column.is_of_event {
            return column;
        }
        let carried = self.carried(column);
        self.scope.move_to(name, carried.clone());
        carried
    }

    fn carried(&mut self, column: Column) -> Column {
        let key = column.key.or_else(|| self.key_of(&column.ir));
        let ir = self.carry(column.ir, column.kind);
        Column { ir, is_of_event: false, key, ..column }
    }

    /// Which of what the first `STATS` groups by an expression over the event is.
    fn key_of(&self, ir: &Ir) -> Option<usize> {
        self.behind.as_ref()?.keys.iter().position(|(carried, ..)| carried.ir == *ir)
    }

    /// A value of the event's, under a slot of the table.
    pub(super) fn carry(&mut self, ir: Ir, kind: Type) -> Ir {
        let Some(behind) = &mut self.behind else { return ir };
        let known = behind.carried.iter().chain(behind.keys.iter().map(|(carried, ..)| carried));
        if let Some(carried) = known.into_iter().find(|carried| carried.ir == ir) {
            return Ir::Slot(carried.slot);
        }
        let slot = self.n_slots;
        behind.carried.push(Carried { ir, kind, slot });
        self.n_slots += 1;
        Ir::Slot(slot)
    }

    fn event_column(&mut self, name: &str, span: &Place) -> Option<Column> {
        let (ir, kind) = match name {
            "@timestamp" => (Ir::EventTime, Type::Date),
            "_id" => (Ir::EventId, Type::Text),
            "_index" => (Ir::EventIndex, Type::Text),
            // Events here are never rewritten.
            "_version" => (Ir::Literal(Literal::Int(1)), Type::Long),
            _ => {
                let Typed { ir, kind } = self.field(name, span)?;
                (ir, kind)
            }
        };
        Some(Column { ir, kind, bucket: None, key: None, is_of_event: true })
    }

    pub(super) fn field(&mut self, name: &str, span: &Place) -> Option<Typed> {
        match self.schema.resolve(name) {
            Ok(id) => {
                let kind = Type::of_field(self.schema.field(id).kind);
                Some(Typed { ir: Ir::Field(id, kind), kind })
            }
            Err(unknown) => {
                let message = format!("no field is called \"{name}\"");
                let diagnostic = Diagnostic::error(Code::UnknownField, span.clone(), message)
                    .with_label("not in the field table");
                self.report(match unknown.suggestion {
                    Some(path) => diagnostic.with_help(format!("did you mean \"{path}\"?")),
                    None => diagnostic,
                })
            }
        }
    }
}
