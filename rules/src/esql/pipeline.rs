//! A compiled query, cut where time comes in: one event gives rows, and the rows of one group give columns.

use std::cmp::min;

use super::aggregate::Aggregate;
use super::dissect::Dissect;
use super::evaluate::{self, is_true};
use super::ir::Ir;
use super::value::{Cell, Type, from_value, to_value};
use crate::event::{Event, Span, Value};
use crate::literal::Literal;

/// An event must not be able to buy unbounded work: lists beyond this are cut where rows are made from them.
const MAX_ROWS: usize = 1024;

/// A compiled query.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub(super) before: Vec<Stage>,
    pub(super) grouping: Option<Grouping>,
    pub(super) after: Vec<Stage>,
    /// Slots that the stages of each side write.
    pub(super) slots_before: usize,
    pub(super) slots_after: usize,
    /// The columns of the result and where they are, in order.
    pub(super) columns: Vec<(String, usize)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    Filter(Ir),
    Set(usize, Ir),
    Dissect {
        input: Ir,
        dissect: Dissect,
        slots: Vec<usize>,
    },
    /// A row per value.
    Expand(usize, Ir),
}

/// `STATS`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grouping {
    pub(super) keys: Vec<(Ir, Type)>,
    pub(super) inputs: Vec<Input>,
    pub(super) bucket: Option<Span>,
}

/// One aggregate and what it reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Input {
    pub(super) aggregate: Aggregate,
    pub(super) value: Ir,
    pub(super) kind: Type,
    pub(super) condition: Option<Ir>,
}

/// What one event brings to one group.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// The group. A null is an empty list. Holds the start of the time bucket where the query has one.
    pub key: Vec<Value>,
    /// What the aggregates read. A null is an empty list.
    pub inputs: Vec<Value>,
}

/// The columns of a result, in the order of the query, without those that are null.
pub type Columns = Vec<(String, Value)>;

impl Pipeline {
    /// The length of the time bucket that is part of the group.
    pub fn bucket(&self) -> Option<Span> {
        self.grouping.as_ref()?.bucket
    }

    /// Whether an event passes what comes before `STATS`.
    pub fn keeps(&self, event: &Event) -> bool {
        !run(&self.before, Some(event), vec![Cell::new(); self.slots_before]).is_empty()
    }

    /// The event's rows: none where a `WHERE` leaves it out, several where a group field has several values.
    pub fn rows(&self, event: &Event) -> Vec<Row> {
        let Some(grouping) = &self.grouping else { return Vec::new() };
        run(&self.before, Some(event), vec![Cell::new(); self.slots_before])
            .iter()
            .flat_map(|slots| {
                let row = evaluate::Row { event: Some(event), slots };
                let inputs: Vec<Value> = grouping.inputs.iter().map(|input| input.read(row)).collect();
                let keys = grouping.keys.iter().map(|(key, _)| evaluate::cell(key, row)).collect();
                combinations(keys).into_iter().map(move |key| Row { key, inputs: inputs.clone() })
            })
            .take(MAX_ROWS)
            .collect()
    }

    /// The result of one group; its rows in order of time. `None`: the group does not pass what follows `STATS`.
    pub fn finish(&self, key: &[Value], rows: &[&Row]) -> Option<Columns> {
        let grouping = self.grouping.as_ref()?;
        let mut slots: Vec<Cell> =
            key.iter().zip(&grouping.keys).map(|(value, (_, kind))| from_value(value, *kind)).collect();
        for (idx, input) in grouping.inputs.iter().enumerate() {
            let cells: Vec<Cell> = rows
                .iter()
                .map(|row| row.inputs.get(idx).map(|value| from_value(value, input.kind)).unwrap_or_default())
                .collect();
            slots.push(input.aggregate.of(&cells));
        }
        slots.resize(slots.len().max(self.slots_after), Cell::new());
        let slots = run(&self.after, None, slots).into_iter().next()?;
        let columns = self.columns.iter().filter(|(_, slot)| !slots[*slot].is_empty());
        Some(columns.map(|(name, slot)| (name.clone(), to_value(&slots[*slot]))).collect())
    }
}

impl Input {
    fn read(&self, row: evaluate::Row<'_>) -> Value {
        match self.condition.as_ref().is_none_or(|condition| is_true(condition, row)) {
            true => to_value(&evaluate::cell(&self.value, row)),
            false => to_value(&[]),
        }
    }
}

/// The rows that are left.
fn run(stages: &[Stage], event: Option<&Event>, slots: Vec<Cell>) -> Vec<Vec<Cell>> {
    let mut rows = vec![slots];
    for stage in stages {
        match stage {
            Stage::Filter(condition) => {
                rows.retain(|slots| is_true(condition, evaluate::Row { event, slots }))
            }
            Stage::Set(slot, value) => {
                for slots in &mut rows {
                    slots[*slot] = evaluate::cell(value, evaluate::Row { event, slots });
                }
            }
            Stage::Dissect { input, dissect, slots: targets } => {
                for slots in &mut rows {
                    let texts = take_apart(dissect, &evaluate::cell(input, evaluate::Row { event, slots }));
                    for (idx, slot) in targets.iter().enumerate() {
                        let text = texts.as_ref().map(|texts| Literal::Text(texts[idx].as_str().into()));
                        slots[*slot] = text.into_iter().collect();
                    }
                }
            }
            Stage::Expand(slot, value) => {
                rows = rows
                    .iter()
                    .flat_map(|slots| {
                        expanded(slots, *slot, evaluate::cell(value, evaluate::Row { event, slots }))
                    })
                    .collect();
                rows.truncate(MAX_ROWS);
            }
        }
    }
    rows
}

fn take_apart(dissect: &Dissect, input: &[Literal]) -> Option<Vec<String>> {
    match input {
        [Literal::Text(text)] => dissect.take_apart(text),
        _ => None,
    }
}

fn expanded(slots: &[Cell], slot: usize, cell: Cell) -> Vec<Vec<Cell>> {
    let with = |value: Cell| {
        let mut slots = slots.to_vec();
        slots[slot] = value;
        slots
    };
    match cell.len() {
        0 => vec![with(cell)],
        len => cell.into_iter().take(min(len, MAX_ROWS)).map(|literal| with(vec![literal])).collect(),
    }
}

/// A multi-value is a member of the group of each of its values; a null has a group of its own.
fn combinations(cells: Vec<Cell>) -> Vec<Vec<Value>> {
    let mut keys: Vec<Vec<Value>> = vec![Vec::with_capacity(cells.len())];
    for cell in cells {
        let mut values: Vec<Value> = Vec::new();
        for literal in &cell {
            let value = to_value(std::slice::from_ref(literal));
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.is_empty() {
            values.push(to_value(&[]));
        }
        keys = keys
            .iter()
            .flat_map(|key| {
                values.iter().map(move |value| [key.as_slice(), std::slice::from_ref(value)].concat())
            })
            .take(MAX_ROWS)
            .collect();
    }
    keys
}
