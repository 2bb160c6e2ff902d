//! Replay: all events of a set on a virtual clock, and what stands in the end.

use std::sync::Arc;

use rules::event::EventTime;
use rules::program::Program;
use rules::schema::Schema;

use super::engine::{Engine, Mode};
use crate::alert::AlertChange;
use crate::keyed::Limits;
use crate::source::Record;
use crate::stats::Stats;

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// Final alerts, by event time, then id.
    pub alerts: Vec<AlertChange>,
    pub stats: Stats,
}

/// Takes the events in the order given; any other order of the same events, with any of them repeated, ends the same.
pub fn replay(
    program: Arc<Program>,
    schema: &Schema,
    limits: Limits,
    inputs: impl IntoIterator<Item = (Arc<str>, Record)>,
) -> Replayed {
    let mut engine = Engine::new(program, schema, limits, Mode::Finals);
    for (source, record) in inputs {
        engine.push(&source, record);
    }
    finish(engine)
}

/// Lets time run out and puts what is left in order.
pub fn finish(mut engine: Engine) -> Replayed {
    let mut alerts = engine.advance(EventTime(i64::MAX));
    sort_finals(&mut alerts);
    Replayed { alerts, stats: engine.stats().clone() }
}

/// The same, and the alerts that were events to rules over alerts, if they were kept.
pub fn finish_with_signals(mut engine: Engine) -> (Replayed, Vec<Record>) {
    let mut alerts = engine.advance(EventTime(i64::MAX));
    sort_finals(&mut alerts);
    let signals = engine.take_signals();
    (Replayed { alerts, stats: engine.stats().clone() }, signals)
}

pub fn sort_finals(alerts: &mut [AlertChange]) {
    alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
}
