//! Listings: the same rows as a table for people, or as JSON, NDJSON or CSV for programs.

use clap::ValueEnum;
use serde::Serialize;

use super::table::Table;
use super::terminal::Terminal;
use crate::sink;
use crate::untrusted::{Untrusted, is_active};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    #[value(aliases = ["text", "pretty"])]
    Table,
    /// One list.
    Json,
    /// A row per line.
    Ndjson,
    Csv,
}

/// Rows of cells as they are: what is safe to look at is made of them where they are written.
pub(super) struct Listing {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Listing {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn table(&self, width: usize) -> String {
        let mut table = Table::new(&self.headings);
        self.rows.iter().for_each(|row| table.row(row.clone()));
        table.render(width)
    }

    /// The table and CSV are of the rows; JSON is of `whole`, which may say more.
    pub(super) fn print<T: Serialize>(&self, form: Form, whole: &[T], terminal: &Terminal) -> String {
        match form {
            Form::Table => self.table(terminal.stdout.width),
            Form::Csv => {
                let headings = self.headings.iter().map(|heading| heading.replace(' ', "_"));
                csv(headings, self.rows.iter().cloned(), terminal.is_stdout_terminal)
            }
            Form::Json | Form::Ndjson => json(form, whole),
        }
    }
}

/// Values as one list, or a line each.
pub(super) fn json<T: Serialize>(form: Form, values: &[T]) -> String {
    let line = |value: &T| {
        sink::to_line(&serde_json::to_value(value).expect("what is listed has names for keys and serialises"))
    };
    match form {
        Form::Ndjson => values.iter().map(|value| line(value) + "\n").collect(),
        _ => format!("[{}]\n", values.iter().map(line).collect::<Vec<_>>().join(",\n ")),
    }
}

/// One thing, that is no list: on lines for people to read, or on one.
pub(super) fn record<T: Serialize>(form: Form, value: &T) -> String {
    let value = serde_json::to_value(value).expect("what is told has names for keys and serialises");
    let safe = |c: char| match c {
        // Between the strings, where it lays out.
        '\n' => c.to_string(),
        c if is_active(c) => sink::json_escape(c),
        c => c.to_string(),
    };
    match form {
        Form::Ndjson => sink::to_line(&value) + "\n",
        _ => format!("{value:#}\n").chars().map(safe).collect(),
    }
}

/// RFC 4180. A file gets the texts as they are; a terminal gets nothing that it would act on.
pub(super) fn csv(
    headings: impl Iterator<Item = String>,
    rows: impl Iterator<Item = Vec<String>>,
    is_terminal: bool,
) -> String {
    let mut out = csv_line(headings.collect(), is_terminal);
    rows.for_each(|row| out.push_str(&csv_line(row, is_terminal)));
    out
}

/// One line of what [`csv`] makes, for what goes on.
pub(super) fn csv_line(cells: Vec<String>, is_terminal: bool) -> String {
    let cell = |text: String| {
        let text = if is_terminal { Untrusted(text).to_string() } else { text };
        match text.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    cells.into_iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Style;
    use crate::untrusted::corpus::{assert_inert, hostile};

    fn terminal(is_stdout_terminal: bool) -> Terminal {
        let stdout = Style { width: 80, is_coloured: false };
        Terminal { is_stdout_terminal, stdout, is_stderr_coloured: false }
    }

    #[test]
    fn every_form_holds_every_row() {
        let mut listing = Listing::new(&["name", "what it is"]);
        listing.row(vec!["a, \"b\"".to_owned(), "x\ny".to_owned()]);
        let print = |form| listing.print(form, &[["a", "x"]], &terminal(false));
        assert_eq!(print(Form::Table), "NAME    WHAT IT IS\na, \"b\"  x\\ny\n");
        assert_eq!(print(Form::Csv), "name,what_it_is\r\n\"a, \"\"b\"\"\",\"x\ny\"\r\n");
        assert_eq!(print(Form::Json), "[[\"a\",\"x\"]]\n");
        assert_eq!(print(Form::Ndjson), "[\"a\",\"x\"]\n");
    }

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_act_on() {
        for text in hostile() {
            let mut listing = Listing::new(&["name"]);
            listing.row(vec![text.clone()]);
            for form in [Form::Table, Form::Csv, Form::Json, Form::Ndjson] {
                assert_inert(&listing.print(form, &[&text], &terminal(true)).replace("\r\n", "\n"));
            }
            for form in [Form::Json, Form::Ndjson] {
                let whole = serde_json::json!({"a": {"b": [text]}});
                let shown = record(form, &whole);
                assert_inert(&shown);
                assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), whole);
            }
        }
    }
}
