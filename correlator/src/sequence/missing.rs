//! Missing events: where one must not have been for a match to hold, and when that is certain.

use std::sync::Arc;

use rules::event::{EventTime, Span};
use serde::{Deserialize, Serialize};

use super::SequenceShape;
use crate::keyed::{Anchor, EventRef, skew};

/// `![ ... ]` in a sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) step: u16,
    /// The stage that follows; as many as there are stages where none does.
    pub(super) before: usize,
}

/// One end of a stretch of time.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Bound {
    /// Right before, or right after, an event.
    Event(Arc<EventRef>),
    /// Up to and including a time that lies `maxspan` from this event.
    Time(EventTime, Arc<EventRef>),
}

/// What a match with missing events claims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Absence {
    pub(super) anchor: Anchor,
    /// Certain once nothing before this is expected any more.
    pub(super) due: EventTime,
    /// By missing event: nothing strictly after the first and before the second.
    stretches: Vec<(Bound, Bound)>,
}

impl Absence {
    /// A leading missing event reaches back `maxspan` from the last event, a trailing one forward from the first.
    pub(super) fn new(shape: &SequenceShape, events: &[Arc<EventRef>], anchor: Anchor) -> Self {
        let (first, last) = (&events[0], &events[events.len() - 1]);
        let maxspan = shape.maxspan.unwrap_or(shape.open_span);
        let stretch = |missing: &Missing| {
            let from = match missing.before.checked_sub(1) {
                Some(stage) => Bound::Event(Arc::clone(&events[stage])),
                None => Bound::Time(last.time - maxspan, Arc::clone(last)),
            };
            let to = match events.get(missing.before) {
                Some(record) => Bound::Event(Arc::clone(record)),
                None => Bound::Time(first.time + maxspan, Arc::clone(first)),
            };
            (from, to)
        };
        let stretches: Vec<_> = shape.missing.iter().map(stretch).collect();
        let ends = stretches.iter().map(|(_, to)| match to {
            Bound::Event(record) => record.time,
            Bound::Time(time, _) => *time,
        });
        let due = ends.max().unwrap_or(last.time) + shape.skew;
        Self { anchor, due, stretches }
    }

    /// Whether an event of the missing kind lies where there must be none. Doubt about the clocks speaks against the claim.
    pub(super) fn is_disproved_by(&self, missing: usize, record: &EventRef, between: Span) -> bool {
        let (from, to) = &self.stretches[missing];
        is_after(from, record, between) && is_before(to, record, between)
    }
}

fn is_after(bound: &Bound, record: &EventRef, between: Span) -> bool {
    match bound {
        Bound::Event(event) if skew(event, record, between) == Span(0) => record.order() > event.order(),
        Bound::Event(event) => record.time + between >= event.time,
        Bound::Time(time, event) => record.time + skew(event, record, between) >= *time,
    }
}

fn is_before(bound: &Bound, record: &EventRef, between: Span) -> bool {
    match bound {
        Bound::Event(event) if skew(event, record, between) == Span(0) => record.order() < event.order(),
        Bound::Event(event) => record.time <= event.time + between,
        Bound::Time(time, event) => record.time <= *time + skew(event, record, between),
    }
}
