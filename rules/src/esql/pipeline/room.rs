//! What a query may make of the values it was given. Whoever writes the events chooses how many there are.

use super::super::value::Cell;
use crate::literal::Literal;

/// Room for rows, and for the values in them, at each stage.
#[derive(Debug)]
pub(super) struct Room {
    most: (usize, usize),
    rows: usize,
    bytes: usize,
    /// Something did not fit and was left out.
    pub(super) is_over: bool,
}

impl Room {
    pub(super) fn new(rows: usize, bytes: usize) -> Self {
        Self { most: (rows, bytes), rows, bytes, is_over: false }
    }

    /// What was made before is gone.
    pub(super) fn clear(&mut self) {
        (self.rows, self.bytes) = self.most;
    }

    /// How many of `n` rows with these values still fit. They are taken for made.
    pub(super) fn copies(&mut self, cells: &[Cell], n: usize) -> usize {
        let size: usize = cells.iter().flatten().map(size).sum::<usize>() + size_of_val(cells);
        let fit = n.min(self.rows).min(self.bytes / size.max(1));
        self.rows -= fit;
        self.bytes -= fit * size;
        self.is_over |= fit < n;
        fit
    }
}

fn size(literal: &Literal) -> usize {
    let text = if let Literal::Text(text) = literal { text.len() } else { 0 };
    size_of::<Literal>() + text
}
