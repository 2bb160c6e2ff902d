//! New terms: a combination of values that was not seen for a while.

use std::sync::Arc;

use rules::event::{EventTime, Span};

use crate::keyed::machine::Matches;
use crate::keyed::{Anchor, Evidence, Hit, Match, Stage};

/// The key holds the terms; what is left is how long a term counts as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermsShape {
    pub window: Span,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TermsState {
    pub(crate) last_seen: Option<EventTime>,
}

impl TermsState {
    pub(crate) fn step(&mut self, shape: &TermsShape, hit: &Arc<Hit>, matches: &mut Matches) {
        let time = hit.time();
        let is_known = self.last_seen.is_some_and(|seen| seen >= time - shape.window);
        self.last_seen = self.last_seen.max(Some(time));
        if is_known {
            return;
        }
        let record = &hit.record;
        matches.put(
            Match {
                // Two first sights of a term are more than a window apart, so no two share an epoch; and one that a late
                // event moves a little keeps its name.
                anchor: Anchor::Epoch(time.0.div_euclid(shape.window.0.max(1))),
                at: Arc::clone(record),
                evidence: vec![Evidence { stage: Stage::FirstSeen, record: Arc::clone(record) }],
                n_events: 1,
                start: time,
                end: time,
                columns: Vec::new(),
                is_absence: false,
            },
            None,
        );
    }

    pub(crate) fn expire(&mut self, shape: &TermsShape, before: EventTime) {
        self.last_seen = self.last_seen.filter(|seen| *seen >= before - shape.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::testing::{Table, hits};
    use crate::keyed::{JoinKey, Limits, Shape};

    fn table(events: &str) -> Table {
        let shape = Shape::Terms(TermsShape { window: Span::from_secs(100) });
        let mut table = Table::new(shape, Limits::default());
        for hit in hits(events) {
            table.push(&hit);
        }
        table
    }

    #[test]
    fn a_term_is_news_once_and_again_after_the_window() {
        assert_eq!(table("A1 A2 A3").shown(), ["A1"]);
        assert_eq!(table("A1 A2 A102").shown(), ["A1"], "seen within the window before");
        assert_eq!(table("A1 A2 A103").shown(), ["A1", "A103"]);
    }

    #[test]
    fn a_late_earlier_event_takes_the_news_over() {
        let mut table = table("A50");
        table.push(&hits("A10")[0]);
        assert_eq!(table.shown(), ["A10"]);
        assert_eq!((table.n_put, table.n_gone), (2, 0), "the same alert, revised");
    }

    #[test]
    fn each_key_has_its_own_history() {
        let mut table = table("");
        for key in ["one", "two", "one"] {
            table.push_key(key, &hits("A5")[0]);
        }
        assert_eq!(table.shown(), ["A5", "A5"]);
    }

    #[test]
    fn what_the_store_knows_is_no_news() {
        let mut table = table("");
        table.keyed.seed_last_seen(0, JoinKey(Box::new([Some("k".into())])), EventTime(0));
        table.push(&hits("A50")[0]);
        assert_eq!(table.shown(), Vec::<String>::new());
    }

    #[test]
    fn certain_sights_go_to_the_store() {
        let mut table = table("A1 A2");
        table.advance(1.5);
        assert!(table.keyed.take_seen().is_empty(), "an earlier one may still come");
        table.advance(2000.0);
        let seen = table.keyed.take_seen();
        assert_eq!(seen.iter().map(|(_, time)| time.0).collect::<Vec<_>>(), [2_000_000_000]);
        assert_eq!(table.keyed.n_keys(), 0);
    }
}
