//! Any text as a query in each language, over an event of any text: it compiles or is reported, and what compiled ends.
//!
//! The query comes first; behind a line of `---`, host events, a JSON document a line.

use std::cell::RefCell;
use std::sync::Arc;

use correlator::hunt;
use correlator::source::normalize::Normalizer;
use correlator::source::{Origin, Record};
use rules::adhoc::{self, Language, Meaning};
use rules::diagnostic::render::{Source, Style, render};
use rules::eval;
use rules::event::{Event, EventTime};
use rules::schema::Schema;

use crate::rule_text;

/// Rows of a table; more is an answer too.
const MAX_ROWS: usize = 10_000;

thread_local! {
    static SCHEMA: RefCell<Schema> = RefCell::new(Schema::builtin());
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (query, events) = text.split_once("\n---\n").unwrap_or((text, ""));
    for language in [Language::Kuery, Language::Eql, Language::Esql] {
        let mut schema = SCHEMA.with_borrow(Clone::clone);
        match adhoc::compile(language, query, &mut schema) {
            Ok(compiled) => ask(compiled.plan.meaning, schema, events),
            Err(found) => {
                assert!(!found.is_empty(), "what does not compile is told why");
                render(Source::query("input", query), &found, Style::Plain);
            }
        }
    }
}

fn ask(meaning: Meaning, schema: Schema, events: &str) {
    let schema = Arc::new(schema);
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
    let mut records: Vec<Record> =
        events.lines().filter_map(|line| normalizer.read(Origin::Sensor, line).ok()).take(16).collect();
    let extra = [Event::new("empty", EventTime(0), ""), rule_text::full(&schema)];
    match meaning {
        Meaning::Events(predicate) => {
            for event in extra.iter().chain(records.iter().map(|record| &record.event)) {
                let holds = eval::matches(&predicate, event);
                assert_eq!(eval::matches(&predicate, event), holds, "asked twice it says the same");
            }
        }
        Meaning::Together(rule) => {
            let before = hunt::matches((*rule).clone(), &schema, &records).len();
            records.reverse();
            assert_eq!(hunt::matches(*rule, &schema, &records).len(), before, "in any order");
        }
        Meaning::Table { predicate, pipeline } => {
            let all = extra.iter().chain(records.iter().map(|record| &record.event));
            let found: Vec<&Event> = all.filter(|event| eval::matches(&predicate, event)).collect();
            // Too many rows are refused, and that is an answer.
            if let Ok(table) = pipeline.table(&found, &schema, MAX_ROWS) {
                assert!(
                    table.rows.iter().all(|row| row.len() == table.columns.len()),
                    "a row has each column"
                );
            }
        }
    }
}
