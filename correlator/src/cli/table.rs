//! A plain table: columns as wide as their widest cell, the last one cut to the terminal.

use crate::untrusted::{Untrusted, width};

const GAP: usize = 2;
const MAX_CELL_WIDTH: usize = 64;

/// Rows of cells under headings. Cells may hold foreign strings.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| heading.to_uppercase()).collect()] }
    }

    /// Headings that are names, and not titles.
    pub(crate) fn as_written(headings: &[&str]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(headings.iter().map(|heading| (*heading).to_owned()).collect());
        table
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| Untrusted(cell).fit(MAX_CELL_WIDTH * 2)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub(crate) fn render(&self, max_width: usize) -> String {
        let n_columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..n_columns)
            .map(|idx| {
                self.rows.iter().filter_map(|row| row.get(idx)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .map(|widest| widest.min(MAX_CELL_WIDTH))
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut used = 0;
            for (idx, cell) in row.iter().enumerate() {
                let is_last = idx + 1 == row.len();
                let room = if is_last { max_width.saturating_sub(used).max(8) } else { widths[idx] };
                let cell = clip(cell, room);
                out.push_str(&cell);
                if !is_last {
                    out.push_str(&" ".repeat(widths[idx] - width(&cell) + GAP));
                }
                used += widths[idx] + GAP;
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }
}

/// Cuts a cell that is already safe.
fn clip(cell: &str, max_width: usize) -> String {
    if width(cell) <= max_width {
        return cell.to_owned();
    }
    let mut kept = String::new();
    for c in cell.chars() {
        if width(&kept) + width(c.encode_utf8(&mut [0; 4])) >= max_width {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::corpus::{assert_inert, hostile};

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        for text in hostile() {
            let mut table = Table::new(&["name", "what"]);
            table.row(vec![text.clone(), "x".to_owned()]);
            table.row(vec!["短い".to_owned(), text]);
            let shown = table.render(80);
            assert_inert(&shown);
            assert_eq!(shown.lines().count(), 3, "{shown}");
        }
        let mut table = Table::new(&["name", "what"]);
        table.row(vec!["漢字".to_owned(), "x".to_owned()]);
        assert_eq!(table.render(80), "NAME  WHAT\n漢字  x\n");
    }
}
