//! Since when events are known that new-terms rules ask about. What was seen before that, nobody here can tell.

use std::collections::{BTreeMap, BTreeSet};

use rules::event::{Event, EventTime, Span};
use rules::plan::Plan;
use rules::program::Program;
use rustc_hash::FxHashMap;

use crate::time;

/// How far back each new-terms rule has seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By new-terms rule: how long it has a term for known.
    windows: BTreeMap<u32, Span>,
    /// By new-terms rule that has seen any event of its indices: the time of the earliest.
    since: BTreeMap<u32, EventTime>,
    /// By index: its earliest event, and the new-terms rules that read it.
    indices: FxHashMap<Box<str>, (EventTime, Box<[u32]>)>,
    /// Rules of which the store does not know it, where there is a store.
    unwritten: Option<BTreeSet<u32>>,
}

impl History {
    pub(crate) fn new(program: &Program) -> Self {
        let window = |(rule, idx): (&rules::rule::Rule, u32)| match &rule.plan {
            Plan::NewTerms(terms) => Some((idx, terms.window)),
            _ => None,
        };
        let windows = program.rules().iter().zip(0_u32..).filter_map(window).collect();
        Self { windows, ..Self::default() }
    }

    /// An event was evaluated.
    pub(crate) fn note(&mut self, program: &Program, event: &Event) {
        if self.windows.is_empty() {
            return;
        }
        let rules = match self.indices.get_mut(&event.index) {
            // Most events are not the earliest.
            Some((earliest, _)) if *earliest <= event.time => return,
            Some((earliest, rules)) => {
                *earliest = event.time;
                rules.clone()
            }
            None => {
                let rules = program.rules();
                let reads = |rule: &&u32| rules[**rule as usize].reads_index(&event.index);
                let rules: Box<[u32]> = self.windows.keys().filter(reads).copied().collect();
                self.indices.insert(event.index.clone(), (event.time, rules.clone()));
                rules
            }
        };
        for rule in rules {
            self.extend(rule, event.time);
        }
    }

    /// The rule knows what was from this time on.
    pub(crate) fn extend(&mut self, rule: u32, since: EventTime) {
        let is_news =
            self.windows.contains_key(&rule) && self.since.get(&rule).is_none_or(|held| since < *held);
        if is_news {
            self.since.insert(rule, since);
            if let Some(unwritten) = &mut self.unwritten {
                unwritten.insert(rule);
            }
        }
    }

    /// Takes back what an earlier run knew.
    pub(crate) fn restore(&mut self, rule: u32, since: EventTime) {
        let is_news =
            self.windows.contains_key(&rule) && self.since.get(&rule).is_none_or(|held| since < *held);
        if is_news {
            self.since.insert(rule, since);
        }
    }

    /// From here on, keeps account of what has to be written.
    pub(crate) fn keep_unwritten(&mut self) {
        self.unwritten.get_or_insert_default();
    }

    pub(crate) fn take_unwritten(&mut self) -> Vec<(u32, EventTime)> {
        let rules = self.unwritten.as_mut().map(std::mem::take).unwrap_or_default();
        rules.into_iter().filter_map(|rule| Some((rule, *self.since.get(&rule)?))).collect()
    }

    pub(crate) fn since(&self, rule: u32) -> Option<EventTime> {
        self.since.get(&rule).copied()
    }

    /// What a first sight at that time cannot rest on: the part of its window before anything was known.
    pub(crate) fn missing(&self, rule: u32, at: EventTime) -> Option<String> {
        let window = *self.windows.get(&rule)?;
        let since = self.since(rule).unwrap_or(at);
        (at - window < since).then(|| {
            format!(
                "whether this was seen before {}: of its {} of history the rule knows {}; `groundtrail seed` reads more",
                time::format(since),
                shown(window),
                shown(at - since)
            )
        })
    }
}

/// Roughly: days, else hours, else minutes.
pub(crate) fn shown(span: Span) -> String {
    let minutes = span.0 / 60_000_000_000;
    match (minutes / 1_440, minutes / 60) {
        (0, 0) if minutes < 1 => "nothing".to_owned(),
        (0, 0) => format!("{minutes} min"),
        (0, hours) if hours < 48 => format!("{hours} h"),
        (days, hours) if days < 2 => format!("{hours} h"),
        (days, _) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::catalogue;
    use rules::schema::Schema;
    use std::path::Path;

    const DAY: i64 = 86_400;

    fn program(indices: &[&str]) -> Program {
        let mut schema = Schema::builtin();
        let mut rules = Vec::new();
        for (n, index) in indices.iter().enumerate() {
            let text = format!(
                "[rule]\nname = \"r\"\nrule_id = \"r{n}\"\ntype = \"new_terms\"\nseverity = \"low\"\nrisk_score = 1\nindex = [\"{index}\"]\n\
                 query = 'host.id:*'\n[rule.new_terms]\nvalue = [\"host.id\"]\n[[rule.new_terms.history_window_start]]\nvalue = \"now-10d\"\n"
            );
            rules.extend(catalogue::text(Path::new("r.toml"), &text, &mut schema).rules);
        }
        assert_eq!(rules.len(), indices.len());
        Program::compile(rules, &schema)
    }

    fn event(index: &str, day: i64) -> Event {
        Event::new("e", EventTime(0) + Span::from_secs(day * DAY), index)
    }

    fn at(day: i64) -> EventTime {
        EventTime(0) + Span::from_secs(day * DAY)
    }

    #[test]
    fn each_rule_knows_since_the_earliest_event_it_reads() {
        let program = program(&["logs-aws.*", "logs-*"]);
        let mut history = History::new(&program);
        for (index, day) in
            [("logs-aws.cloudtrail-default", 20), ("logs-endpoint-x", 5), ("logs-endpoint-x", 9)]
        {
            history.note(&program, &event(index, day));
        }
        assert_eq!([0, 1].map(|rule| history.since(rule)), [Some(at(20)), Some(at(5))]);
        history.note(&program, &event("logs-aws.cloudtrail-default", 3));
        assert_eq!([0, 1].map(|rule| history.since(rule)), [Some(at(3)), Some(at(3))]);
    }

    #[test]
    fn what_is_missing_of_a_window_is_said_until_it_is_whole() {
        let program = program(&["logs-*"]);
        let mut history = History::new(&program);
        history.note(&program, &event("logs-x", 5));
        let said = history.missing(0, at(8)).expect("ten days are not over");
        assert!(
            said.contains("before 1970-01-06T00:00:00")
                && said.contains("10 d")
                && said.contains("knows 3 d"),
            "{said}"
        );
        assert_eq!(history.missing(0, at(15)), None);
        history.extend(0, at(-3));
        assert_eq!(history.missing(0, at(8)), None, "seeded");
    }

    #[test]
    fn only_what_changed_is_written() {
        let program = program(&["logs-*"]);
        let mut history = History::new(&program);
        history.restore(0, at(4));
        history.keep_unwritten();
        history.note(&program, &event("logs-x", 5));
        assert_eq!(history.take_unwritten(), []);
        history.note(&program, &event("logs-x", 2));
        assert_eq!(history.take_unwritten(), [(0, at(2))]);
        assert_eq!(history.take_unwritten(), []);
    }

    #[test]
    fn spans_are_shown_roughly() {
        let hours = |n: i64| shown(Span::from_secs(n * 3_600));
        assert_eq!(
            [hours(0), hours(3), hours(47), hours(48), hours(240)],
            ["nothing", "3 h", "47 h", "2 d", "10 d"]
        );
        assert_eq!(shown(Span::from_secs(300)), "5 min");
    }
}
