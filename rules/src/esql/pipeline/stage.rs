//! Commands that look at one row: they leave it out, add to it, or make several of it.

use std::cmp::Ordering;

use super::super::dissect::Dissect;
use super::super::evaluate::{self, is_true};
use super::super::grok::Grok;
use super::super::ir::Ir;
use super::super::value::{Cell, compare};
use super::MAX_ROWS_PER_EVENT;
use super::room::Room;
use crate::event::{Event, EventTime};
use crate::literal::Literal;

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Stage {
    Filter(Ir),
    Set(usize, Ir),
    Dissect {
        input: Ir,
        dissect: Dissect,
        slots: Vec<usize>,
    },
    Grok {
        input: Ir,
        grok: Grok,
        slots: Vec<usize>,
    },
    /// A row per value.
    Expand(usize, Ir),
}

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct SortKey {
    pub(in super::super) value: Ir,
    pub(in super::super) is_falling: bool,
    pub(in super::super) has_nulls_first: bool,
}

impl SortKey {
    /// The value of a cell that decides: the least of a list, or the greatest where the order falls.
    pub(super) fn pick(&self, cell: Cell) -> Option<Literal> {
        let side = if self.is_falling { Ordering::Greater } else { Ordering::Less };
        cell.into_iter().reduce(|best, next| if compare(&next, &best) == Some(side) { next } else { best })
    }

    pub(super) fn order(&self, left: Option<&Literal>, right: Option<&Literal>) -> Ordering {
        match (left, right) {
            (Some(left), Some(right)) => {
                let order = compare(left, right).unwrap_or(Ordering::Equal);
                if self.is_falling { order.reverse() } else { order }
            }
            (None, None) => Ordering::Equal,
            (left, _) if left.is_none() == self.has_nulls_first => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

/// What becomes of a row.
pub(super) fn run(
    stage: &Stage,
    mut slots: Vec<Cell>,
    event: Option<&Event>,
    now: EventTime,
    room: &mut Room,
) -> Vec<Vec<Cell>> {
    if let Stage::Expand(slot, value) = stage {
        let cell = evaluate::cell(value, evaluate::Row { event, slots: &slots, now });
        return expanded(slots, *slot, cell, room);
    }
    match change(stage, &mut slots, event, now) {
        true => vec![slots],
        false => Vec::new(),
    }
}

/// The same for a row that stays one. Says whether it is kept; one that is to be expanded stays as it is.
pub(super) fn change(stage: &Stage, slots: &mut [Cell], event: Option<&Event>, now: EventTime) -> bool {
    let row = evaluate::Row { event, slots, now };
    match stage {
        Stage::Filter(condition) => return is_true(condition, row),
        Stage::Set(slot, value) => {
            let cell = evaluate::cell(value, row);
            slots[*slot] = cell;
        }
        Stage::Dissect { input, dissect, slots: targets } => {
            let parts = taken_apart(&evaluate::cell(input, row), targets.len(), |text| {
                let texts = dissect.take_apart(text)?;
                Some(texts.into_iter().map(|text| vec![Literal::Text(text.into())]).collect())
            });
            put(slots, targets, parts);
        }
        Stage::Grok { input, grok, slots: targets } => {
            let parts = taken_apart(&evaluate::cell(input, row), targets.len(), |text| grok.take_apart(text));
            put(slots, targets, parts);
        }
        Stage::Expand(..) => {}
    }
    true
}

fn put(slots: &mut [Cell], targets: &[usize], parts: Vec<Cell>) {
    for (slot, part) in targets.iter().zip(parts) {
        slots[*slot] = part;
    }
}

/// Each text of the input gives its part to each column.
fn taken_apart(input: &[Literal], n_columns: usize, take: impl Fn(&str) -> Option<Vec<Cell>>) -> Vec<Cell> {
    let mut columns = vec![Cell::new(); n_columns];
    let texts = input.iter().filter_map(|literal| match literal {
        Literal::Text(text) => Some(text),
        _ => None,
    });
    for parts in texts.filter_map(|text| take(text)) {
        for (column, part) in columns.iter_mut().zip(parts) {
            column.extend(part);
        }
    }
    columns
}

fn expanded(mut slots: Vec<Cell>, slot: usize, cell: Cell, room: &mut Room) -> Vec<Vec<Cell>> {
    slots[slot] = Cell::new();
    if cell.is_empty() {
        return vec![slots];
    }
    let n = room.copies(&slots, cell.len().min(MAX_ROWS_PER_EVENT));
    let with = |literal: Literal| {
        let mut slots = slots.clone();
        slots[slot] = vec![literal];
        slots
    };
    cell.into_iter().take(n).map(with).collect()
}
