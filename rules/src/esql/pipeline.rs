//! A compiled query, cut where time comes in: one event gives rows, and the rows inside a window give a table.
//!
//! The head looks at one event at a time. From the first command on that looks at several rows, what later commands read of
//! an event is carried in its row, so that a window holds rows and no events.

mod room;
mod stage;
mod standing;
mod table;

use self::room::Room;
pub(super) use self::stage::{SortKey, Stage};
use self::stage::{change, run};
pub use self::standing::Standing;
use self::table::TableRow;
pub(super) use self::table::{Grouping, Input, TableStage};
use super::evaluate;
use super::ir::Ir;
use super::scope::OpenFields;
use super::value::{Cell, Type, from_value, to_value};
use crate::event::{Event, EventTime, Span, Value};
use crate::literal::Literal;
use crate::schema::{FieldId, Schema};

/// An event must not be able to buy unbounded work: lists beyond this are cut where rows are made from them.
const MAX_ROWS_PER_EVENT: usize = 1024;
/// What one event's rows may hold.
const MAX_BYTES_PER_EVENT: usize = 4 << 20;
/// Rows that a window's table may come to on the way, and what they may hold: it is made anew as events come.
const MAX_ROWS_PER_WINDOW: usize = 10_000;
const MAX_BYTES_PER_WINDOW: usize = 24 << 20;
/// What the rows of a query may hold that a person waits for.
const MAX_BYTES_PER_QUERY: usize = 1 << 30;
/// The column that says that a window came to more rows than are looked at.
const CUT: &str = "groundtrail.rows_left_out";
/// Values that one column of an alert shows where its window gives several rows.
const MAX_MERGED: usize = 1024;

/// A compiled query.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub(super) head: Vec<Stage>,
    pub(super) head_slots: usize,
    /// `None`: the query looks at one event at a time.
    pub(super) table: Option<Table>,
    /// The computed columns of the result and where they are, in order.
    pub(super) columns: Vec<(String, usize)>,
    /// Which of the event's own fields are columns of the result.
    pub(super) open: Option<OpenFields>,
}

/// What happens to the rows of many events.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// Rows that differ in one of these never meet: each combination is a table of its own on a stream.
    pub(super) partition: Vec<Carried>,
    pub(super) carried: Vec<Carried>,
    pub(super) stages: Vec<TableStage>,
    pub(super) slots: usize,
    pub(super) bucket: Option<Span>,
}

/// A value that is read from the event and travels with its row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Carried {
    pub(super) ir: Ir,
    pub(super) kind: Type,
    pub(super) slot: usize,
}

/// What one event brings to one table.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Which table. A null is an empty list. Holds the start of the time bucket where the query has one.
    pub key: Vec<Value>,
    /// What later commands read. A null is an empty list.
    pub inputs: Vec<Value>,
    pub time: EventTime,
}

/// The columns of a result, in the order of the query, without those that are null.
pub type Columns = Vec<(String, Value)>;

/// A table as a person reads it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultTable {
    pub columns: Vec<String>,
    /// A null is an empty list.
    pub rows: Vec<Vec<Value>>,
    /// How many of the columns the query makes. Where all fields are open, they are the last.
    pub n_computed: usize,
}

/// A query came to more rows than are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query makes more than {0} rows: narrow it with WHERE before MV_EXPAND and the like")]
pub struct TooManyRows(pub usize);

impl Pipeline {
    /// The length of the time bucket that parts the rows.
    pub fn bucket(&self) -> Option<Span> {
        self.table.as_ref()?.bucket
    }

    /// Whether the result has every field of an event: there is neither a `KEEP` nor a `STATS`.
    pub fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(OpenFields::is_all)
    }

    /// Whether an event passes what looks at single events.
    pub fn keeps(&self, event: &Event) -> bool {
        !self.run_head(event).is_empty()
    }

    fn run_head(&self, event: &Event) -> Vec<Vec<Cell>> {
        let mut row = vec![Cell::new(); self.head_slots];
        // Nearly always there is one row to the end.
        let n_single = self.head.iter().take_while(|stage| !matches!(stage, Stage::Expand(..))).count();
        let (single, rest) = self.head.split_at(n_single);
        if !single.iter().all(|stage| change(stage, &mut row, Some(event), event.time)) {
            return Vec::new();
        }
        let mut rows = vec![row];
        for stage in rest {
            let mut room = Room::new(MAX_ROWS_PER_EVENT, MAX_BYTES_PER_EVENT);
            let made = |slots| run(stage, slots, Some(event), event.time, &mut room);
            rows = rows.into_iter().flat_map(made).take(MAX_ROWS_PER_EVENT).collect();
        }
        rows
    }

    /// The event's rows: none where a `WHERE` leaves it out, several where what parts the rows has several values.
    pub fn rows(&self, event: &Event) -> Vec<Row> {
        let Some(table) = &self.table else { return Vec::new() };
        self.run_head(event)
            .iter()
            .flat_map(|slots| {
                let row = evaluate::Row { event: Some(event), slots, now: event.time };
                let read = |carried: &Carried| to_value(&evaluate::cell(&carried.ir, row));
                let inputs: Vec<Value> = table.carried.iter().map(read).collect();
                let parts = table.partition.iter().map(|carried| evaluate::cell(&carried.ir, row)).collect();
                let keys = combinations(parts, table.keeps_lists_whole()).into_iter();
                keys.map(move |key| Row { key, inputs: inputs.clone(), time: event.time })
            })
            .take(MAX_ROWS_PER_EVENT)
            .collect()
    }

    /// The result over the rows of one key, in order of time. `None`: nothing is left of them. Where several rows are
    /// left, a column holds the values of all. Where there were more on the way than are looked at, the last column says
    /// so.
    pub fn finish(&self, key: &[Value], rows: &[&Row]) -> Option<Columns> {
        let table = self.table.as_ref()?;
        let now = rows.iter().map(|row| row.time).max()?;
        let rows = rows.iter().zip(0..).map(|(row, origin)| table.row(key, row, origin)).collect();
        let mut room = Room::new(MAX_ROWS_PER_WINDOW, MAX_BYTES_PER_WINDOW);
        let rows = table.run(rows, now, &mut room);
        if rows.is_empty() {
            return None;
        }
        let cut = room.is_over.then(|| (CUT.to_owned(), Value::Bool(true)));
        let columns = self.columns.iter().filter_map(|(name, slot)| {
            let merged = merged(rows.iter().map(|row| &row.slots[*slot]));
            (!merged.is_empty()).then(|| (name.clone(), to_value(&merged)))
        });
        Some(columns.chain(cut).collect())
    }

    /// What the rows of one key add up to, whether or not the filters after `STATS` keep it: for the explanation of what did
    /// not fire. Empty where that depends on the filters.
    pub fn sums(&self, key: &[Value], rows: &[&Row]) -> Columns {
        let is_filter = |stage: &TableStage| matches!(stage, TableStage::Row(Stage::Filter(_)));
        let Some(table) = &self.table else { return Columns::new() };
        let kept = table.stages.iter().filter(|stage| !is_filter(stage)).cloned().collect();
        let unfiltered = Self { table: Some(Table { stages: kept, ..table.clone() }), ..self.clone() };
        unfiltered.finish(key, rows).unwrap_or_default()
    }

    /// The whole query over events, in the order they are given. For a query that was compiled as a batch.
    ///
    /// # Errors
    /// There would be more than `max_rows` rows at one time.
    pub fn table(
        &self,
        events: &[&Event],
        schema: &Schema,
        max_rows: usize,
    ) -> Result<ResultTable, TooManyRows> {
        let Some(table) = &self.table else { return Ok(ResultTable::default()) };
        let now = events.iter().map(|event| event.time).max().unwrap_or_default();
        let mut rows = Vec::new();
        for (event, origin) in events.iter().zip(0..) {
            for slots in self.run_head(event) {
                let row = evaluate::Row { event: Some(event), slots: &slots, now: event.time };
                let mut taken = vec![Cell::new(); table.slots];
                for carried in table.partition.iter().chain(&table.carried) {
                    taken[carried.slot] = evaluate::cell(&carried.ir, row);
                }
                rows.push(TableRow { slots: taken, origin: Some(origin) });
            }
            if rows.len() > max_rows {
                return Err(TooManyRows(max_rows));
            }
        }
        let mut room = Room::new(max_rows, MAX_BYTES_PER_QUERY);
        let rows = table.run(rows, now, &mut room);
        if room.is_over || rows.len() > max_rows {
            return Err(TooManyRows(max_rows));
        }
        Ok(self.result(&rows, events, schema))
    }

    fn result(&self, rows: &[TableRow], events: &[&Event], schema: &Schema) -> ResultTable {
        let of = |row: &TableRow| row.origin.map(|origin| events[origin]);
        let fields = match &self.open {
            Some(open) => open.fields(rows.iter().filter_map(of), schema),
            None => Vec::new(),
        };
        let places = match &self.open {
            Some(open) => open.arrange(&self.columns, &fields),
            None => self.columns.iter().map(|(name, slot)| (name.clone(), Place::Slot(*slot))).collect(),
        };
        let cell = |row: &TableRow, place: &Place| match place {
            Place::Slot(slot) => to_value(&row.slots[*slot]),
            Place::Time => of(row).map_or_else(none, |event| to_value(&[Literal::Date(event.time)])),
            Place::Field(field) => of(row).and_then(|event| event.get(*field)).cloned().unwrap_or_else(none),
        };
        ResultTable {
            rows: rows.iter().map(|row| places.iter().map(|(_, place)| cell(row, place)).collect()).collect(),
            columns: places.into_iter().map(|(name, _)| name).collect(),
            n_computed: self.columns.len(),
        }
    }
}

/// Where a column of a result is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Slot(usize),
    Field(FieldId),
    Time,
}

fn none() -> Value {
    to_value(&[])
}

impl Table {
    /// `INLINE STATS` leaves rows whole; `STATS` counts a row in the group of each value of a list.
    fn keeps_lists_whole(&self) -> bool {
        matches!(self.stages.first(), Some(TableStage::Inline(_)))
    }

    fn row(&self, key: &[Value], row: &Row, origin: usize) -> TableRow {
        let mut slots = vec![Cell::new(); self.slots];
        let parts = self.partition.iter().zip(key).chain(self.carried.iter().zip(&row.inputs));
        for (carried, value) in parts {
            slots[carried.slot] = from_value(value, carried.kind);
        }
        TableRow { slots, origin: Some(origin) }
    }

    fn run(&self, rows: Vec<TableRow>, now: EventTime, room: &mut Room) -> Vec<TableRow> {
        self.stages.iter().fold(rows, |rows, stage| {
            room.clear();
            stage.run(rows, self.slots, now, room)
        })
    }
}

fn merged<'c>(cells: impl Iterator<Item = &'c Cell>) -> Cell {
    let mut cells = cells.peekable();
    let Some(first) = cells.next() else { return Cell::new() };
    if cells.peek().is_none() {
        return first.clone();
    }
    let mut seen = rustc_hash::FxHashSet::default();
    let all = std::iter::once(first).chain(cells).flatten();
    all.filter(|literal| seen.insert(*literal)).take(MAX_MERGED).cloned().collect()
}

/// A multi-value is in the table of each of its values; a null has a table of its own.
fn combinations(cells: Vec<Cell>, keeps_lists_whole: bool) -> Vec<Vec<Value>> {
    if keeps_lists_whole {
        return vec![cells.iter().map(|cell| to_value(cell)).collect()];
    }
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
            .take(MAX_ROWS_PER_EVENT)
            .collect();
    }
    keys
}
