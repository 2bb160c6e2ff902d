//! A rule file of any text: it loads or is reported, and what loaded can be run.

use std::path::Path;

use rules::catalogue;
use rules::diagnostic::render::Style;
use rules::event::{Event, EventTime, Value};
use rules::program::{Program, Scratch};
use rules::rule::format;
use rules::schema::Schema;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(once) = format::format(text) {
        assert_eq!(format::format(&once).ok(), Some(once.clone()), "laid out once more it stays as it is");
    }
    load("input.toml", text);
}

/// Loads the text as a file of that name, and lets what loaded look at events.
pub(crate) fn load(name: &str, text: &str) {
    let mut schema = Schema::builtin();
    let loaded = catalogue::text(Path::new(name), text, &mut schema);
    for report in &loaded.reports {
        assert!(!report.render(Style::Plain).is_empty(), "a finding says something");
    }
    let program = Program::with_drops(loaded.rules, loaded.drops, &schema);
    let mut scratch = Scratch::default();
    for event in [Event::new("empty", EventTime(0), ""), full(&schema)] {
        program.hits(&event, &mut scratch, |_| {});
        program.drop_reason(&event, &mut scratch);
    }
}

/// An event that has every field, with a value that most readings take.
pub(crate) fn full(schema: &Schema) -> Event {
    let mut event = Event::new("full", EventTime(0), "logs-endpoint.events.process-default");
    for (field, _) in schema.iter() {
        event.push(field, Value::str("10.0.0.1"));
        event.push(field, Value::Int(1));
    }
    event
}
