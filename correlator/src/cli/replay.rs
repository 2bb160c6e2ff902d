//! `replay`: recorded events on a virtual clock. The same input gives the same final alerts, in any order.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rules::event::{EventTime, Span};

use super::flags::{self, FormatFlag, RecordedFlags, RuleFlags, ThreadsFlag};
use super::inputs;
use super::load::{self, Configured};
use super::output;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::pipeline::{self, Engine, Mode};
use crate::source::Record;
use crate::source::normalize::Normalizer;

/// As a live run does, changes of alerts are gathered for so long before they are told.
const TICK: Span = Span::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    recorded: RecordedFlags,
    /// Print only what stands in the end, ordered by event time
    #[arg(long = "final")]
    is_final: bool,
    /// Take the events in a random order that this number decides
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    #[command(flatten)]
    rules: RuleFlags,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    flags.rules.apply(&mut configured.config);
    flags.format.apply(&mut configured.config);
    flags.threads.apply(&mut configured.config);
    let inputs = flags.recorded.inputs();
    if inputs.is_empty() {
        return Err(CliError::Usage(
            "nothing to replay: give --host, --cloudtrail, --guardduty or --vpcflow".to_owned(),
        ));
    }
    let set = load::rules(&configured);
    set.report(terminal);
    set.refuse_bad_exceptions()?;
    let mut has_faults = set.has_errors();
    let (lists, remarks) = load::lists(&configured.config);
    load::say(&remarks, terminal);
    let (program, schema) = set.into_program();
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::new(lists));

    let stage = flags::stage(&configured.config, &normalizer, &program);
    let mut read = inputs::read_all_by(stage, &inputs, &normalizer);
    inputs::say_rejected(&read.rejected, terminal);
    inputs::say_empty(&read.empty, terminal);
    has_faults |= !read.rejected.is_empty();
    match flags.shuffle {
        Some(seed) => shuffle(&mut read.records, seed),
        None => read.records.sort_by(|(_, a), (_, b)| order(a).cmp(&order(b))),
    }

    let mut sink = output::open(&configured.config.output, terminal);
    let mode = if flags.is_final { Mode::Finals } else { Mode::Revisions };
    let mut engine = Engine::new(program, &schema, configured.config.limits, mode);
    for rejected in &read.rejected {
        engine.reject(rejected);
    }
    let is_ordered = flags.shuffle.is_none();
    let mut last_tick = EventTime(i64::MIN);
    let mut first = None;
    for (source, record) in read.records {
        let time = record.event.time;
        let mut changes = engine.push(&source, record);
        if is_ordered && mode == Mode::Revisions && time >= last_tick + TICK {
            changes.extend(engine.advance(time));
            let since_first = (time - *first.get_or_insert(time)).0.unsigned_abs();
            changes.extend(engine.tick(Duration::from_nanos(since_first)));
            last_tick = time;
        }
        changes.iter().try_for_each(|change| sink.write(&change.document))?;
    }
    let mut rest = engine.advance(EventTime(i64::MAX));
    if mode == Mode::Finals {
        pipeline::sort_finals(&mut rest);
    }
    rest.iter().try_for_each(|change| sink.write(&change.document))?;
    terminal.note("replayed", &engine.stats().to_string());
    engine.stats().by_source_lines().iter().for_each(|line| terminal.note("source", line));
    Ok(if has_faults { Outcome::Faults } else { Outcome::Clean })
}

fn order(record: &Record) -> (EventTime, u64, &str) {
    (record.event.time, record.event.sequence, &record.event.id)
}

/// Fisher-Yates on SplitMix64: the same order from the same seed, on every machine and in every version.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for idx in (1..items.len()).rev() {
        let other = next() % (idx as u64 + 1);
        items.swap(idx, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_order() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..100).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        let mut sorted = shuffled(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
