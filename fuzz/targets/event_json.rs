//! Bytes of any origin as an event: they are read or refused, and the shipped rules can look at what was read.

use std::cell::RefCell;
use std::sync::Arc;

use correlator::source::normalize::Normalizer;
use rules::catalogue;
use rules::program::{Program, Scratch};
use rules::schema::Schema;

struct Bench {
    normalizer: Normalizer,
    program: Program,
    scratch: Scratch,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

impl Bench {
    fn new() -> Self {
        let mut schema = Schema::builtin();
        let loaded = catalogue::builtin(&mut schema);
        let program = Program::with_drops(loaded.rules, loaded.drops, &schema);
        let normalizer = Normalizer::new(Arc::new(schema), Arc::default());
        Self { normalizer, program, scratch: Scratch::default() }
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    BENCH.with_borrow_mut(|Bench { normalizer, program, scratch }| {
        for record in normalizer.read_any(text).into_iter().flatten() {
            program.hits(&record.event, scratch, |_| {});
            program.drop_reason(&record.event, scratch);
            assert!(record.document().is_object(), "an event is a document");
        }
    });
}
