//! What a bench found, as a table that reads the same on a terminal and as Markdown, with where and when it was measured.

use std::fmt;
use std::fs;
use std::process::Command;

use crate::shell;

/// The tables of one subject.
pub(crate) struct Report {
    machine: Machine,
    tables: Vec<Table>,
}

/// One table: what its rows are, the rows, and what a reader must know to judge them.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

/// Figures mean nothing without it.
struct Machine {
    processor: String,
    n_processors: usize,
    kernel: String,
    /// The load averages when measuring began.
    load: String,
}

impl Report {
    /// Looks at the machine before anything is measured: measuring is a load of its own.
    pub(crate) fn begin() -> Self {
        Self { machine: Machine::look(), tables: Vec::new() }
    }

    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
        Self { title: title.into(), rows: vec![headings], notes: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Machine {
    fn look() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processor: model.map_or("a processor of unknown name", |(_, name)| name.trim()).to_owned(),
            n_processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, n_processors, kernel, load } = &self.machine;
        let load_after = Machine::look().load;
        let day = shell::output(Command::new("date").args(["-u", "+%F"])).unwrap_or_default();
        writeln!(
            out,
            "Measured {day} on {processor}, {n_processors} of them, Linux {kernel}; load {load} before, {load_after} after."
        )?;
        self.tables.iter().try_for_each(|table| write!(out, "\n{table}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "**{}**\n", self.title)?;
        let n_columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..n_columns).map(width).collect();
        for (idx, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                match column {
                    0 => write!(out, "| {cell:width$} ")?,
                    _ => write!(out, "| {cell:>width$} ")?,
                }
            }
            writeln!(out, "|")?;
            if idx == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let (dashes, end) = ("-".repeat(width + 1), if column == 0 { "-" } else { ":" });
                    write!(out, "|{dashes}{end}")?;
                }
                writeln!(out, "|")?;
            }
        }
        if !self.notes.is_empty() {
            writeln!(out)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "- {note}"))
    }
}

/// A count with its thousands apart.
pub(crate) fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut out = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let mut table = Table::new("Rules", &["rules", "events/s"]);
        table.row(["950".to_owned(), grouped(1_234_567.8)]);
        table.note("one core");
        let expected = "**Rules**\n\n| rules |  events/s |\n|-------|----------:|\n| 950   | 1,234,568 |\n\n- one core\n";
        assert_eq!(table.to_string(), expected);
    }
}
