//! The correlator's core on a virtual clock: events in any order and number, final alerts out.

use std::sync::Arc;

use correlator::indicator::Indicators;
use correlator::keyed::Limits;
use correlator::lists::Lists;
use correlator::pipeline::{self, Replayed};
use correlator::source::Record;
use correlator::source::normalize::{Normalizer, Unreadable};
use rules::catalogue::{self, Loaded};
use rules::diagnostic::render::Style;
use rules::program::Program;
use rules::schema::Schema;

/// The shipped catalogue, compiled.
pub struct Shipped {
    pub loaded: Loaded,
    schema: Arc<Schema>,
    program: Arc<Program>,
    normalizer: Normalizer,
}

impl Shipped {
    /// # Panics
    /// When a shipped file has an error; the message is its report.
    pub fn load() -> Self {
        Self::with_indicators("")
    }

    /// With an indicator list of these lines.
    ///
    /// # Panics
    /// As [`Shipped::load`], and when a line is no address.
    pub fn with_indicators(lines: &str) -> Self {
        let mut schema = Schema::builtin();
        let mut loaded = catalogue::builtin(&mut schema);
        // Their own cases are of those, too, whose matches only feed other rules.
        loaded.rules.iter_mut().for_each(|rule| rule.notifies = true);
        let said: String = loaded.reports.iter().map(|report| report.render(Style::Plain)).collect();
        assert!(!loaded.has_errors(), "the shipped catalogue has faults:\n{said}");
        let (program, drops) = (loaded.rules.clone(), loaded.drops.clone());
        let program = Arc::new(Program::with_drops(program, drops, &schema));
        let mut indicators = Indicators::default();
        let list = indicators.load(lines, "test");
        assert!(list.bad.is_empty(), "{:?}", list.bad);
        let schema = Arc::new(schema);
        let normalizer =
            Normalizer::new(Arc::clone(&schema), Arc::new(Lists { indicators, ..Lists::default() }));
        Shipped { loaded, schema, program, normalizer }
    }

    /// Reads lines that each hold an event of any kind, or an envelope around several.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn read(&self, lines: &str) -> Result<Vec<Record>, Unreadable> {
        let texts = lines.lines().filter(|line| !line.trim().is_empty());
        texts.flat_map(|line| self.normalizer.read_any(line)).collect()
    }

    pub fn replay(&self, records: Vec<Record>) -> Replayed {
        let inputs = records.into_iter().map(|record| (Arc::from(format!("{:?}", record.origin)), record));
        pipeline::replay(Arc::clone(&self.program), &self.schema, Limits::default(), inputs)
    }
}
