//! Which columns there are at a place of the query.

use rustc_hash::FxHashSet;

use crate::event::{Event, Span};
use crate::pattern::Case;
use crate::pattern::wildcard::{Wildcard, pieces};
use crate::schema::{FieldId, Schema};

use super::ir::Ir;
use super::pipeline::Place;
use super::value::Type;

/// A column as later expressions see it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) ir: Ir,
    pub(super) kind: Type,
    /// Is the start of a bucket of the event's time.
    pub(super) bucket: Option<Span>,
    /// Is the nth of what the first `STATS` groups by.
    pub(super) key: Option<usize>,
    /// Its slot is one of a single event's row. Behind a command that looks at many rows it has to be carried.
    pub(super) is_of_event: bool,
}

/// Names of columns. Open while the event's own fields are among them.
#[derive(Debug, Default)]
pub(super) struct Scope {
    computed: Vec<(String, Column)>,
    open: OpenFields,
    pub(super) is_closed: bool,
}

/// Which of the event's own fields are columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OpenFields {
    /// Names that are gone, as patterns.
    dropped: Vec<Wildcard>,
    /// Where there is a `KEEP`: the names that stay.
    kept: Option<Vec<Wildcard>>,
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

    /// The same column at another place.
    pub(super) fn move_to(&mut self, name: &str, column: Column) {
        if let Some((_, held)) = self.computed.iter_mut().find(|(known, _)| known == name) {
            *held = column;
        }
    }

    /// Whether a field of the event is still a column.
    pub(super) fn has_field(&self, name: &str) -> bool {
        !self.is_closed && self.open.has(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.computed.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn open_fields(&self) -> Option<OpenFields> {
        (!self.is_closed).then(|| self.open.clone())
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
        self.open.keep(patterns);
    }

    pub(super) fn drop_matching(&mut self, pattern: &str) {
        let pattern = compile(pattern);
        self.computed.retain(|(name, _)| !pattern.is_match(name));
        self.open.dropped.push(pattern);
    }
}

impl OpenFields {
    fn has(&self, name: &str) -> bool {
        let is_in = |patterns: &[Wildcard]| patterns.iter().any(|pattern| pattern.is_match(name));
        !is_in(&self.dropped) && self.kept.as_deref().is_none_or(is_in)
    }

    pub(super) fn is_all(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| {
            kept.iter().any(|pattern| pattern.is_match("@timestamp") && pattern.is_match("_"))
        })
    }

    /// What an earlier `KEEP` took away does not come back.
    fn keep(&mut self, patterns: Vec<Wildcard>) {
        let before = self.kept.take();
        self.kept = Some(match before {
            Some(before) if before.iter().all(|pattern| pattern.as_exact().is_some()) => before
                .into_iter()
                .filter(|name| {
                    patterns.iter().any(|pattern| pattern.is_match(name.as_exact().unwrap_or_default()))
                })
                .collect(),
            _ => patterns,
        });
    }

    /// Those that some of the events have, by name.
    pub(super) fn fields<'e>(
        &self,
        events: impl Iterator<Item = &'e Event>,
        schema: &Schema,
    ) -> Vec<(String, Place)> {
        let mut seen: FxHashSet<FieldId> = FxHashSet::default();
        // A column that is asked for by name is there even where it has no value.
        let exact = self.kept.iter().flatten().filter_map(|pattern| schema.id(pattern.as_exact()?));
        seen.extend(exact);
        events.for_each(|event| seen.extend(event.fields().map(|(id, _)| id)));
        let named = seen.into_iter().map(|id| (schema.field(id).path.to_string(), Place::Field(id)));
        let time = std::iter::once(("@timestamp".to_owned(), Place::Time));
        let mut fields: Vec<(String, Place)> = time
            .chain(named.filter(|(name, _)| name != "@timestamp"))
            .filter(|(name, _)| self.has(name))
            .collect();
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        fields
    }

    /// Fields and computed columns together: in the order of `KEEP` where there is one, else the fields first. A computed
    /// column hides a field of its name.
    pub(super) fn arrange(
        &self,
        computed: &[(String, usize)],
        fields: &[(String, Place)],
    ) -> Vec<(String, Place)> {
        let computed: Vec<(String, Place)> =
            computed.iter().map(|(name, slot)| (name.clone(), Place::Slot(*slot))).collect();
        let is_hidden = |name: &str| computed.iter().any(|(known, _)| known == name);
        let fields = fields.iter().filter(|(name, _)| !is_hidden(name));
        let mut all: Vec<(String, Place)> = fields.cloned().chain(computed.iter().cloned()).collect();
        let Some(kept) = &self.kept else { return all };
        let mut arranged = Vec::new();
        for pattern in kept {
            let (now, later): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(name, _)| pattern.is_match(name));
            arranged.extend(now);
            all = later;
        }
        arranged.extend(all);
        arranged
    }
}

fn compile(pattern: &str) -> Wildcard {
    Wildcard::new(pieces(pattern), Case::Sensitive)
}
