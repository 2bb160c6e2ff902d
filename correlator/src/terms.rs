//! New terms: a combination of values that was not seen for a while.

use std::sync::Arc;

use rules::event::{EventTime, Span};
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::{Anchor, Evidence, Hit, Limits, Match, Stage};

/// The key holds the terms; what is left is how long a term counts as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermsShape {
    pub window: Span,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TermsState {
    last_seen: Option<EventTime>,
    /// When the term was last news.
    first_seen: Option<EventTime>,
    /// Both are from the store, and the event that was the news is not among those stepped through. If it comes again it
    /// is the same news, not a known term.
    is_told_only: bool,
}

impl Machine for TermsState {
    type Shape = TermsShape;

    fn new(_shape: &TermsShape) -> Self {
        Self::default()
    }

    fn step(&mut self, shape: &TermsShape, hit: &Arc<Hit>, _limits: &Limits, matches: &mut Matches) -> u64 {
        let time = hit.time();
        let is_told_news = self.is_told_only && self.first_seen.is_some_and(|first| time <= first);
        let is_known = !is_told_news && self.last_seen.is_some_and(|seen| seen >= time - shape.window);
        self.last_seen = self.last_seen.max(Some(time));
        if is_known {
            return 0;
        }
        (self.first_seen, self.is_told_only) = (Some(time), false);
        let event = &hit.event;
        matches.put(
            Match {
                // Two first sights of a term are more than a window apart, so no two share an epoch; and one that a late
                // event moves a little keeps its name.
                anchor: Anchor::Epoch(time.0.div_euclid(shape.window.0.max(1))),
                at: Arc::clone(event),
                evidence: vec![Evidence { stage: Stage::FirstSeen, event: Arc::clone(event) }],
                n_events: 1,
                start: time,
                end: time,
                columns: Vec::new(),
                is_absence: false,
            },
            None,
        );
        0
    }

    fn expire(&mut self, shape: &TermsShape, before: EventTime) {
        self.last_seen = self.last_seen.filter(|seen| *seen >= before - shape.window);
    }

    fn is_empty(&self) -> bool {
        self.last_seen.is_none()
    }
}

impl TermsState {
    /// It was seen then, before all that is stepped through.
    pub(crate) fn learn(&mut self, time: EventTime) {
        self.last_seen = self.last_seen.max(Some(time));
    }

    /// What the store knows of the term.
    pub(crate) fn seed(&mut self, first: Option<EventTime>, last: EventTime) {
        self.last_seen = self.last_seen.max(Some(last));
        (self.first_seen, self.is_told_only) = (first, first.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::testing::{Table, hits, written};
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
    fn what_is_written_of_a_term_is_laid_out_as_it_was() {
        let shape = Shape::Terms(TermsShape { window: Span::from_secs(100) });
        expect_test::expect_file!["keyed/layout/terms.txt"].assert_eq(&written(shape, &hits("A1 A2")));
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
        table.keyed.seed_term(0, JoinKey(Box::new([Some("k".into())])), None, EventTime(0));
        table.push(&hits("A50")[0]);
        assert_eq!(table.shown(), Vec::<String>::new());
    }

    #[test]
    fn the_news_of_an_earlier_run_is_the_same_news_when_its_event_comes_again() {
        let at = |seconds: i64| EventTime(seconds * 1_000_000_000);
        let key = || JoinKey(Box::new([Some("k".into())]));
        let mut table = table("");
        table.keyed.seed_term(0, key(), Some(at(50)), at(90));
        for hit in hits("A50 A60 A90") {
            table.push(&hit);
        }
        assert_eq!(table.shown(), ["A50"]);
        table.push(&hits("A55")[0]);
        assert_eq!(table.shown(), ["A50"]);
    }

    #[test]
    fn a_term_that_is_seen_all_the_time_holds_no_more_than_its_ends() {
        let mut events = String::from("A0");
        (1..900).for_each(|n| events.push_str(&format!(" A{}", f64::from(n) / 10.0)));
        let mut table = table(&events);
        assert_eq!((table.shown(), table.keyed.n_open_hits()), (vec!["A0".to_owned()], 2));
        for late in hits("A45.05 A0.05") {
            table.push(&late);
        }
        assert_eq!(table.shown(), ["A0"]);
    }
}
