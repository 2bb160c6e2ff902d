//! Which columns there are at a place of the query.

use crate::event::Span;
use crate::pattern::Case;
use crate::pattern::wildcard::{Wildcard, pieces};

use super::ir::Ir;
use super::value::Type;

/// A column as later expressions see it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) ir: Ir,
    pub(super) kind: Type,
    /// Is the start of a bucket of the event's time.
    pub(super) bucket: Option<Span>,
}

/// Names of columns. Open while the event's own fields are among them.
#[derive(Debug, Default)]
pub(super) struct Scope {
    computed: Vec<(String, Column)>,
    /// Names that are gone, as patterns.
    dropped: Vec<Wildcard>,
    /// Where there is a `KEEP`: the names that stay.
    kept: Option<Vec<Wildcard>>,
    pub(super) is_closed: bool,
}

impl Scope {
    pub(super) fn closed() -> Self {
        Self { is_closed: true, ..Self::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Column> {
        self.computed.iter().find(|(known, _)| known == name).map(|(_, column)| column)
    }

    pub(super) fn set(&mut self, name: String, column: Column) {
        self.computed.retain(|(known, _)| *known != name);
        self.computed.push((name, column));
    }

    /// Whether a field of the event is still a column.
    pub(super) fn has_field(&self, name: &str) -> bool {
        let is_in = |patterns: &[Wildcard]| patterns.iter().any(|pattern| pattern.is_match(name));
        !self.is_closed && !is_in(&self.dropped) && self.kept.as_deref().is_none_or(is_in)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.computed.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.computed.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// Keeps what matches, in the order of the patterns.
    pub(super) fn keep(&mut self, patterns: &[&str]) {
        let patterns: Vec<Wildcard> = patterns.iter().map(|pattern| compile(pattern)).collect();
        let mut kept = Vec::new();
        for pattern in &patterns {
            let (now, later) =
                std::mem::take(&mut self.computed).into_iter().partition(|(name, _)| pattern.is_match(name));
            kept.extend::<Vec<_>>(now);
            self.computed = later;
        }
        self.computed = kept;
        self.kept = Some(patterns);
    }

    pub(super) fn drop_matching(&mut self, pattern: &str) {
        let pattern = compile(pattern);
        self.computed.retain(|(name, _)| !pattern.is_match(name));
        self.dropped.push(pattern);
    }
}

fn compile(pattern: &str) -> Wildcard {
    Wildcard::new(pieces(pattern), Case::Sensitive)
}
