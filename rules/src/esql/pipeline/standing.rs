//! What the rows of a window add up to, kept up as rows come at its end and leave at its beginning. So it can be asked at
//! every event whether anything is left of the window, without going through all of it again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::super::aggregate::{Aggregate, count};
use super::super::evaluate::{self, is_true};
use super::super::ir::Ir;
use super::super::value::{Cell, compare};
use super::room::Room;
use super::stage::Stage;
use super::table::{Grouping, Input, TableRow, TableStage, combinations};
use super::{MAX_BYTES_PER_WINDOW, MAX_ROWS_PER_WINDOW, Pipeline, Row, Table};
use crate::event::EventTime;
use crate::literal::Literal;

/// Among more groups than this, the window is gone through as a whole: that is hardly more work then.
const MAX_GROUPS: usize = 256;

/// The sums of a window's rows, by group of the query's first `STATS`.
#[derive(Debug, Clone)]
pub struct Standing {
    /// By aggregate of the first `STATS`. None: no later command reads what it comes to.
    blank: Vec<Option<Sum>>,
    groups: FxHashMap<Vec<Cell>, Group>,
    /// The groups in the order of their first rows.
    order: BTreeMap<u64, Vec<Cell>>,
    n_added: u64,
    latest: EventTime,
    /// Something came that sums do not keep up with: what a query says has to be computed from the rows.
    is_lost: bool,
}

#[derive(Debug, Clone)]
struct Group {
    /// Their numbers, for as long as they are in the window.
    rows: VecDeque<u64>,
    sums: Vec<Option<Sum>>,
}

/// What the cells of one column come to, as [`Aggregate::of`] would have it.
#[derive(Debug, Clone)]
enum Sum {
    Count(usize),
    Distinct(FxHashMap<Literal, usize>),
    Values(Values),
    /// All of them: the first, or the last, says it.
    First(VecDeque<Literal>),
    Last(VecDeque<Literal>),
    Least(Edge),
    Most(Edge),
    /// Of whole numbers that cannot overflow, in whatever order they are added.
    Total {
        n: usize,
        sum: i64,
        of_amounts: i64,
    },
}

/// Distinct values in the order in which they are first there.
#[derive(Debug, Clone, Default)]
struct Values {
    n_added: u64,
    places: FxHashMap<Literal, VecDeque<u64>>,
    order: BTreeMap<u64, Literal>,
}

/// Those values that will be the least, or the most, once all before them are gone.
#[derive(Debug, Clone, Default)]
struct Edge {
    n_added: u64,
    n_gone: u64,
    best: VecDeque<(u64, Literal)>,
}

/// A sum cannot follow.
struct Lost;

impl Pipeline {
    /// What to keep up with a window's rows. None: only all of its rows together say what the query comes to.
    pub fn standing(&self) -> Option<Standing> {
        let (grouping, rest) = self.table.as_ref()?.grouped()?;
        let reads_now = grouping.reads().any(|ir| ir.has(&|part| matches!(part, Ir::Now)));
        if reads_now {
            return None;
        }
        // How many rows fit depends on all that is in them.
        let is_expanded = rest.iter().any(|stage| matches!(stage, TableStage::Row(Stage::Expand(..))));
        let is_read = |input: &Input| {
            let is_its = |part: &Ir| matches!(part, Ir::Slot(slot) if *slot == input.slot);
            is_expanded || rest.iter().any(|stage| stage.reads().iter().any(|ir| ir.has(&is_its)))
        };
        let sum = |input: &Input| match is_read(input) {
            true => Sum::of(input).map(Some),
            false => Some(None),
        };
        Some(Standing {
            blank: grouping.inputs.iter().map(sum).collect::<Option<_>>()?,
            groups: FxHashMap::default(),
            order: BTreeMap::new(),
            n_added: 0,
            latest: EventTime(i64::MIN),
            is_lost: false,
        })
    }
}

impl Table {
    /// The grouping, where it is the first command, and what comes after it.
    fn grouped(&self) -> Option<(&Grouping, &[TableStage])> {
        match self.stages.split_first()? {
            (TableStage::Group(grouping), rest) => Some((grouping, rest)),
            _ => None,
        }
    }
}

impl Standing {
    /// Takes in the row that is now the last. `pipeline` is the one that this was made for.
    pub fn add(&mut self, pipeline: &Pipeline, row: &Row) {
        if row.time < self.latest {
            self.lose();
        }
        self.latest = row.time;
        let Some((grouping, slots)) = self.taken(pipeline, row) else { return };
        let row = evaluate::Row { event: None, slots: &slots, now: row.time };
        for key in combinations(grouping.key(row)) {
            let group = match self.groups.get_mut(&key) {
                Some(group) => group,
                None => {
                    self.order.insert(self.n_added, key.clone());
                    let group = Group { rows: VecDeque::new(), sums: self.blank.clone() };
                    self.groups.entry(key).or_insert(group)
                }
            };
            group.rows.push_back(self.n_added);
            self.n_added += 1;
            let sums = grouping.inputs.iter().zip(&mut group.sums);
            let added = sums
                .filter_map(|(input, sum)| Some((input, sum.as_mut()?)))
                .filter(|(input, _)| input.counts(row))
                .try_for_each(|(input, sum)| sum.add(evaluate::cell(&input.value, row)));
            if added.is_err() {
                return self.lose();
            }
        }
    }

    /// Lets go of the row that was the first.
    pub fn drop_first(&mut self, pipeline: &Pipeline, row: &Row) {
        let Some((grouping, slots)) = self.taken(pipeline, row) else { return };
        let row = evaluate::Row { event: None, slots: &slots, now: row.time };
        for key in combinations(grouping.key(row)) {
            let Some(group) = self.groups.get_mut(&key) else { return self.lose() };
            let Some(number) = group.rows.pop_front() else { return self.lose() };
            self.order.remove(&number);
            match group.rows.front() {
                Some(first) => drop(self.order.insert(*first, key)),
                None => {
                    self.groups.remove(&key);
                    continue;
                }
            }
            for (input, sum) in grouping.inputs.iter().zip(&mut group.sums) {
                if let Some(sum) = sum.as_mut().filter(|_| input.counts(row)) {
                    sum.drop_first(&evaluate::cell(&input.value, row));
                }
            }
        }
    }

    /// Whether anything is left of the window's rows after all commands. None: they have to be asked.
    pub fn is_left(&self, pipeline: &Pipeline) -> Option<bool> {
        let table = pipeline.table.as_ref()?;
        let (grouping, rest) = table.grouped()?;
        if self.is_lost || self.order.len() > MAX_GROUPS {
            return None;
        }
        let mut room = Room::new(MAX_ROWS_PER_WINDOW, MAX_BYTES_PER_WINDOW);
        let mut rows = Vec::with_capacity(self.order.len());
        for key in self.order.values() {
            if !key.is_empty() && room.copies(key, 1) == 0 {
                continue;
            }
            let mut slots = vec![Cell::new(); table.slots];
            for ((_, slot), cell) in grouping.keys.iter().zip(key) {
                slots[*slot].clone_from(cell);
            }
            for (input, sum) in grouping.inputs.iter().zip(&self.groups.get(key)?.sums) {
                if let Some(sum) = sum {
                    slots[input.slot] = sum.cell();
                }
            }
            rows.push(TableRow { slots, origin: None });
        }
        let left = rest.iter().fold(rows, |rows, stage| {
            room.clear();
            stage.run(rows, table.slots, self.latest, &mut room)
        });
        Some(!left.is_empty())
    }

    /// Nothing is kept up: the whole window is gone through when it is asked.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// How much there is to go through when it is asked.
    pub fn n_groups(&self) -> usize {
        self.order.len()
    }

    fn taken<'p>(&self, pipeline: &'p Pipeline, row: &Row) -> Option<(&'p Grouping, Vec<Cell>)> {
        let table = pipeline.table.as_ref().filter(|_| !self.is_lost)?;
        let (grouping, _) = table.grouped()?;
        Some((grouping, table.row(&row.key, row, 0).slots))
    }

    fn lose(&mut self) {
        self.is_lost = true;
        (self.groups, self.order) = (FxHashMap::default(), BTreeMap::new());
    }
}

impl Grouping {
    fn reads(&self) -> impl Iterator<Item = &Ir> {
        let inputs = self.inputs.iter();
        let inputs =
            inputs.flat_map(|input| [Some(&input.value), input.order.as_ref(), input.condition.as_ref()]);
        self.keys.iter().map(|(key, _)| key).chain(inputs.flatten())
    }
}

impl Input {
    fn counts(&self, row: evaluate::Row<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| is_true(condition, row))
    }
}

impl TableStage {
    /// What it looks at.
    fn reads(&self) -> Vec<&Ir> {
        match self {
            Self::Row(Stage::Filter(ir) | Stage::Set(_, ir) | Stage::Expand(_, ir)) => vec![ir],
            Self::Row(Stage::Dissect { input, .. } | Stage::Grok { input, .. }) => vec![input],
            Self::Group(grouping) | Self::Inline(grouping) => grouping.reads().collect(),
            Self::Sort(keys) => keys.iter().map(|key| &key.value).collect(),
            Self::Limit(_) => Vec::new(),
        }
    }
}

impl Sum {
    fn of(input: &Input) -> Option<Self> {
        Some(match input.aggregate {
            Aggregate::Count => Self::Count(0),
            Aggregate::CountDistinct => Self::Distinct(FxHashMap::default()),
            Aggregate::Values => Self::Values(Values::default()),
            Aggregate::First if input.order.is_none() => Self::First(VecDeque::new()),
            Aggregate::Last if input.order.is_none() => Self::Last(VecDeque::new()),
            Aggregate::Min => Self::Least(Edge::default()),
            Aggregate::Max => Self::Most(Edge::default()),
            Aggregate::Sum => Self::Total { n: 0, sum: 0, of_amounts: 0 },
            // Floats come to something else where they are added in another order.
            Aggregate::First
            | Aggregate::Last
            | Aggregate::Avg
            | Aggregate::Median
            | Aggregate::Percentile(_)
            | Aggregate::StdDev
            | Aggregate::Variance
            | Aggregate::Top { .. } => return None,
        })
    }

    fn add(&mut self, cell: Cell) -> Result<(), Lost> {
        match self {
            Self::Count(n) => *n += cell.len(),
            Self::Distinct(times) => cell.into_iter().for_each(|value| *times.entry(value).or_default() += 1),
            Self::Values(values) => cell.into_iter().for_each(|value| values.add(value)),
            Self::First(all) | Self::Last(all) => all.extend(cell),
            Self::Least(edge) => edge.add(cell, Ordering::Greater)?,
            Self::Most(edge) => edge.add(cell, Ordering::Less)?,
            Self::Total { n, sum, of_amounts } => {
                for value in cell {
                    let Literal::Int(int) = value else { return Err(Lost) };
                    *of_amounts =
                        int.checked_abs().and_then(|amount| amount.checked_add(*of_amounts)).ok_or(Lost)?;
                    // No part of them comes to more than their amounts.
                    (*n, *sum) = (*n + 1, *sum + int);
                }
            }
        }
        Ok(())
    }

    /// Lets go of what was added first, which was this.
    fn drop_first(&mut self, cell: &[Literal]) {
        match self {
            Self::Count(n) => *n -= cell.len(),
            Self::Distinct(times) => {
                for value in cell {
                    if let Some(n) = times.get_mut(value) {
                        *n -= 1;
                        if *n == 0 {
                            times.remove(value);
                        }
                    }
                }
            }
            Self::Values(values) => cell.iter().for_each(|value| values.drop_first(value)),
            Self::First(all) | Self::Last(all) => drop(all.drain(..cell.len())),
            Self::Least(edge) | Self::Most(edge) => edge.drop_first(cell.len()),
            Self::Total { n, sum, of_amounts } => {
                for value in cell {
                    if let Literal::Int(int) = value {
                        (*n, *sum, *of_amounts) = (*n - 1, *sum - int, *of_amounts - int.abs());
                    }
                }
            }
        }
    }

    fn cell(&self) -> Cell {
        let one = |literal: Option<&Literal>| literal.cloned().into_iter().collect();
        match self {
            Self::Count(n) => vec![count(*n)],
            Self::Distinct(times) => vec![count(times.len())],
            Self::Values(values) => values.order.values().cloned().collect(),
            Self::First(all) => one(all.front()),
            Self::Last(all) => one(all.back()),
            Self::Least(edge) | Self::Most(edge) => one(edge.best.front().map(|(_, value)| value)),
            Self::Total { n: 0, .. } => Cell::new(),
            Self::Total { sum, .. } => vec![Literal::Int(*sum)],
        }
    }
}

impl Values {
    fn add(&mut self, value: Literal) {
        let places = self.places.entry(value.clone()).or_default();
        if places.is_empty() {
            self.order.insert(self.n_added, value);
        }
        places.push_back(self.n_added);
        self.n_added += 1;
    }

    fn drop_first(&mut self, value: &Literal) {
        let Some(places) = self.places.get_mut(value) else { return };
        let value = places.pop_front().and_then(|first| self.order.remove(&first));
        match (places.front(), value) {
            (Some(next), Some(value)) => drop(self.order.insert(*next, value)),
            (None, Some(value)) => drop(self.places.remove(&value)),
            (_, None) => {}
        }
    }
}

impl Edge {
    /// `worse`: how one stands to a later one that takes its place.
    fn add(&mut self, cell: Cell, worse: Ordering) -> Result<(), Lost> {
        for value in cell {
            while let Some((_, last)) = self.best.back() {
                match compare(last, &value) {
                    // Of those that are equal the first counts.
                    Some(order) if order == worse => drop(self.best.pop_back()),
                    Some(_) => break,
                    None => return Err(Lost),
                }
            }
            self.best.push_back((self.n_added, value));
            self.n_added += 1;
        }
        Ok(())
    }

    fn drop_first(&mut self, n: usize) {
        self.n_gone += n as u64;
        while self.best.front().is_some_and(|(number, _)| *number < self.n_gone) {
            self.best.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
