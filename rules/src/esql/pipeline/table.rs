//! Commands that look at all rows.

use rustc_hash::FxHashMap;

use super::super::aggregate::Aggregate;
use super::super::evaluate::{self, is_true};
use super::super::ir::Ir;
use super::super::value::Cell;
use super::MAX_ROWS_PER_EVENT;
use super::room::Room;
use super::stage::{SortKey, Stage, run};
use crate::event::EventTime;
use crate::literal::Literal;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TableRow {
    pub(super) slots: Vec<Cell>,
    /// Which event it comes from, as long as it comes from one.
    pub(super) origin: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum TableStage {
    Row(Stage),
    /// `STATS`: a row per group.
    Group(Grouping),
    /// `INLINE STATS`: every row learns of its group.
    Inline(Grouping),
    Sort(Vec<SortKey>),
    Limit(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Grouping {
    /// What is grouped by, and the slot that holds it in the result.
    pub(in super::super) keys: Vec<(Ir, usize)>,
    pub(in super::super) inputs: Vec<Input>,
}

/// One aggregate, what it reads, and the slot of its result.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Input {
    pub(in super::super) aggregate: Aggregate,
    pub(in super::super) value: Ir,
    /// What `FIRST` and `LAST` go by.
    pub(in super::super) order: Option<Ir>,
    pub(in super::super) condition: Option<Ir>,
    pub(in super::super) slot: usize,
}

/// The rows of a group, by their place.
type Members = Vec<usize>;

impl TableStage {
    pub(super) fn run(
        &self,
        mut rows: Vec<TableRow>,
        n_slots: usize,
        now: EventTime,
        room: &mut Room,
    ) -> Vec<TableRow> {
        match self {
            Self::Row(stage) => rows
                .into_iter()
                .flat_map(|row| {
                    let origin = row.origin;
                    let made = run(stage, row.slots, None, now, room).into_iter();
                    made.map(move |slots| TableRow { slots, origin })
                })
                .collect(),
            Self::Group(grouping) => grouping.group(&rows, n_slots, now, room),
            Self::Inline(grouping) => {
                grouping.inform(&mut rows, now, room);
                rows
            }
            Self::Sort(keys) => sorted(rows, keys, now),
            Self::Limit(n) => {
                rows.truncate(*n);
                rows
            }
        }
    }
}

impl Grouping {
    /// In the order in which groups first occur. A list is in the group of each of its values.
    fn group(&self, rows: &[TableRow], n_slots: usize, now: EventTime, room: &mut Room) -> Vec<TableRow> {
        let mut groups: Vec<(Vec<Cell>, Members)> = Vec::new();
        let mut places: FxHashMap<Vec<Cell>, usize> = FxHashMap::default();
        if self.keys.is_empty() {
            // The whole table is a group even where it is empty.
            groups.push((Vec::new(), (0..rows.len()).collect()));
        }
        for (at, row) in rows.iter().enumerate().filter(|_| !self.keys.is_empty()) {
            let row = evaluate::Row { event: None, slots: &row.slots, now };
            for key in combinations(self.key(row)) {
                let place = match places.get(&key) {
                    Some(place) => *place,
                    None if room.copies(&key, 1) == 0 => continue,
                    None => {
                        groups.push((key.clone(), Members::new()));
                        places.insert(key, groups.len() - 1);
                        groups.len() - 1
                    }
                };
                groups[place].1.push(at);
            }
        }
        let row = |(key, members): (Vec<Cell>, Members)| {
            let mut slots = vec![Cell::new(); n_slots];
            self.keys.iter().zip(key).for_each(|((_, slot), cell)| slots[*slot] = cell);
            for (slot, cell) in self.results(rows, &members, now) {
                slots[slot] = cell;
            }
            TableRow { slots, origin: None }
        };
        groups.into_iter().map(row).collect()
    }

    /// A row whose key is a list is in no group, and learns nothing.
    fn inform(&self, rows: &mut [TableRow], now: EventTime, room: &mut Room) {
        let mut groups: FxHashMap<Vec<Cell>, Members> = FxHashMap::default();
        for (at, row) in rows.iter().enumerate() {
            let key = self.key(evaluate::Row { event: None, slots: &row.slots, now });
            if key.iter().all(|cell| cell.len() <= 1) {
                groups.entry(key).or_default().push(at);
            }
        }
        for members in groups.into_values() {
            let results = self.results(rows, &members, now);
            let (slots, cells): (Vec<usize>, Vec<Cell>) = results.into_iter().unzip();
            let n = room.copies(&cells, members.len());
            for at in members.into_iter().take(n) {
                for (slot, cell) in slots.iter().zip(&cells) {
                    rows[at].slots[*slot] = cell.clone();
                }
            }
        }
    }

    pub(super) fn key(&self, row: evaluate::Row<'_>) -> Vec<Cell> {
        self.keys.iter().map(|(key, _)| evaluate::cell(key, row)).collect()
    }

    fn results(&self, rows: &[TableRow], members: &[usize], now: EventTime) -> Vec<(usize, Cell)> {
        let result = |input: &Input| {
            let mut cells = Vec::with_capacity(members.len());
            let mut orders = Vec::new();
            for at in members {
                let row = evaluate::Row { event: None, slots: &rows[*at].slots, now };
                if !input.condition.as_ref().is_none_or(|condition| is_true(condition, row)) {
                    continue;
                }
                cells.push(evaluate::cell(&input.value, row));
                orders.extend(input.order.as_ref().map(|order| evaluate::cell(order, row)));
            }
            (input.slot, input.aggregate.of(&cells, &orders))
        };
        self.inputs.iter().map(result).collect()
    }
}

pub(super) fn combinations(cells: Vec<Cell>) -> Vec<Vec<Cell>> {
    if cells.iter().all(|cell| cell.len() <= 1) {
        return vec![cells];
    }
    let mut keys: Vec<Vec<Cell>> = vec![Vec::with_capacity(cells.len())];
    for cell in cells {
        let mut values: Vec<Cell> = Vec::new();
        for literal in cell {
            let value = vec![literal];
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.is_empty() {
            values.push(Cell::new());
        }
        let with = |key: &Vec<Cell>| {
            let key = key.clone();
            values
                .iter()
                .map(move |value| [key.as_slice(), std::slice::from_ref(value)].concat())
                .collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(with).take(MAX_ROWS_PER_EVENT).collect();
    }
    keys
}

fn sorted(rows: Vec<TableRow>, keys: &[SortKey], now: EventTime) -> Vec<TableRow> {
    let by = |row: &TableRow| -> Vec<Option<Literal>> {
        let row = evaluate::Row { event: None, slots: &row.slots, now };
        keys.iter().map(|key| key.pick(evaluate::cell(&key.value, row))).collect()
    };
    let mut keyed: Vec<(Vec<Option<Literal>>, TableRow)> =
        rows.into_iter().map(|row| (by(&row), row)).collect();
    keyed.sort_by(|(left, _), (right, _)| {
        let sides = keys.iter().zip(left.iter().zip(right));
        let orders = sides.map(|(key, (left, right))| key.order(left.as_ref(), right.as_ref()));
        orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    keyed.into_iter().map(|(_, row)| row).collect()
}
