//! Runs that are cut off anywhere and started again: nothing acknowledged is lost, no alert comes twice in two versions,
//! and in the end stands what an undisturbed run says.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rules::event::Span;
use serde_json::Value;

use super::faults::Faults;
use super::over_alerts_tests::world_over_alerts;
use super::tests::{World, connect, described, exec, sent, world_of_all};
use super::{Delivery, Mode, RunError, Runner};
use crate::alert::AlertChange;
use crate::merge::{Doubt, Merge, Pace};
use crate::source::stop::Stop;
use crate::source::{Position, Receipt, Rejected, SourceItem};
use crate::store::Store;
use crate::time::{Lateness, VirtualClock};

/// Points that a test visits where somebody waits for it, and where nobody does.
const FEW: i64 = 200;
const MANY: i64 = 1_000;

/// What a sink was given over all runs: each (alert, revision) once, or the same again.
#[derive(Default)]
struct Sink {
    told: BTreeMap<(String, u64), String>,
}

impl Sink {
    fn take(&mut self, document: &Value) {
        let own = &document["groundtrail"]["alert"];
        let name = (own["id"].as_str().unwrap().to_owned(), own["revision"].as_u64().unwrap());
        let text = document.to_string();
        let held = self.told.entry(name).or_insert_with(|| text.clone());
        assert_eq!(*held, text, "one revision of one alert says one thing");
    }

    /// What stands: the last revision of each alert that is not withdrawn, without its number.
    fn stands(&self) -> BTreeMap<String, Value> {
        let mut last = BTreeMap::new();
        for ((id, revision), text) in &self.told {
            assert!(*revision == 1 || self.told.contains_key(&(id.clone(), revision - 1)), "none is skipped");
            let mut document: Value = serde_json::from_str(text).unwrap();
            let own = document["groundtrail"]["alert"].as_object_mut().unwrap();
            own.remove("revision");
            own.remove("watermark");
            let state = own.remove("state").unwrap();
            last.insert(id.clone(), (state != "withdrawn").then_some(document));
        }
        last.into_iter().filter_map(|(id, document)| Some((id, document?))).collect()
    }
}

impl Delivery for Sink {
    fn alert(&mut self, change: &AlertChange) -> io::Result<()> {
        self.take(&change.document);
        Ok(())
    }

    fn again(&mut self, document: &str) -> io::Result<()> {
        self.take(&serde_json::from_str(document)?);
        Ok(())
    }

    fn rejected(&mut self, _rejected: &Rejected) {}

    fn doubt(&mut self, _doubt: &Doubt) {}
}

/// Both halves, out of order, with time going on so that state settles, closes and is forgotten on the way.
fn lines(n_rounds: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for round in 0..n_rounds {
        let at = round * 450;
        let moved = |line: String| line.replace("T10:", &format!("T1{}:", round / 2));
        lines.extend([sent(at), exec("sh", at + 20), described("Images", at + 10)].map(moved));
        lines.extend([exec("curl", at + 100), described("Regions", at + 5)].map(moved));
        lines.extend([connect(at + 104), described("Snapshots", at + 50), exec("sh", at + 20)].map(moved));
    }
    lines
}

/// From where the store stands, one line at a time, to the end or to the fault.
fn run(
    world: &World,
    path: &Path,
    lines: &[String],
    faults: &Faults,
    sink: &mut Sink,
) -> Result<(), RunError> {
    let store = Store::open_for_run(path).unwrap();
    let from = store.all_positions().unwrap().first().map_or(0, |position| position.value.parse().unwrap());
    let position = |idx: usize| {
        let value = (idx + 1).to_string();
        SourceItem::Position(Position { source: "test".into(), key: "f".into(), value })
    };
    run_from(world, store, lines, from, &position, faults, sink)
}

/// The same from a sender that forgets each line it has a receipt for, whatever the store knows.
fn run_receipted(
    world: &World,
    path: &Path,
    lines: &[String],
    forgotten: &Arc<AtomicUsize>,
    faults: &Faults,
    sink: &mut Sink,
) -> Result<(), RunError> {
    let store = Store::open_for_run(path).unwrap();
    let receipt = |idx: usize| {
        let forgotten = Arc::clone(forgotten);
        SourceItem::Receipt(Receipt::new(move || forgotten.store(idx + 1, Ordering::SeqCst)))
    };
    let from = forgotten.load(Ordering::SeqCst);
    run_from(world, store, lines, from, &receipt, faults, sink)
}

fn run_from(
    world: &World,
    store: Store,
    lines: &[String],
    from: usize,
    after: &dyn Fn(usize) -> SourceItem,
    faults: &Faults,
    sink: &mut Sink,
) -> Result<(), RunError> {
    let clock = Arc::new(VirtualClock::at(crate::time::parse("2026-11-02T18:00:00Z").unwrap()));
    let mut merge = Merge::new(1_024, Pace::Replay, clock);
    let outlet = merge.add("test", Lateness(Span::from_secs(60)));
    for (idx, line) in lines.iter().enumerate().skip(from) {
        outlet.send(SourceItem::Record(world.read(line))).unwrap();
        outlet.send(after(idx)).unwrap();
    }
    drop(outlet);
    let engine = world.engine(Mode::Revisions);
    let runner = Runner::new(engine, Mode::Revisions, Some(store), &world.normalizer)?;
    runner.torn_by(faults.clone()).run(&mut merge, &Stop::default(), sink).map(|_| ())
}

/// Runs with a fault after `n` points, and so on until a run comes to its end.
fn torn_every(world: &World, lines: &[String], n: i64) -> BTreeMap<String, Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut sink = Sink::default();
    // Each start gets a little further, however close the faults lie.
    for more in 0.. {
        if run(world, &path, lines, &Faults::after(n + more), &mut sink).is_ok() {
            break;
        }
    }
    sink.stands()
}

fn undisturbed(world: &World, lines: &[String]) -> (BTreeMap<String, Value>, i64) {
    let dir = tempfile::tempdir().unwrap();
    let (mut sink, faults) = (Sink::default(), Faults::after(i64::MAX));
    run(world, &dir.path().join("store.db"), lines, &faults, &mut sink).unwrap();
    (sink.stands(), faults.n_passed(i64::MAX))
}

/// One fault at each of so many points spread over a run, then a run to the end.
fn cut_at(world: &World, n_rounds: u32, n_cuts: i64) {
    let lines = lines(n_rounds);
    let (expected, n_points) = undisturbed(world, &lines);
    assert!(expected.len() > 12 && n_points >= n_cuts, "{} alerts, {n_points} points", expected.len());
    for cut in 0..n_cuts {
        let at = cut * n_points / n_cuts;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut sink = Sink::default();
        assert!(run(world, &path, &lines, &Faults::after(at), &mut sink).is_err(), "cut at {at}");
        run(world, &path, &lines, &Faults::default(), &mut sink).unwrap();
        assert_eq!(sink.stands(), expected, "cut at point {at} of {n_points}");
    }
}

#[test]
fn a_run_that_is_cut_off_anywhere_ends_as_if_it_had_not_been() {
    cut_at(&world_of_all(), 6, FEW);
}

#[test]
fn rules_over_alerts_know_their_alerts_after_a_cut() {
    cut_at(&world_over_alerts(), 6, FEW / 5);
}

#[test]
fn a_run_that_is_cut_off_again_and_again_ends_as_if_it_had_not_been() {
    let (world, lines) = (world_of_all(), lines(6));
    let (expected, _) = undisturbed(&world, &lines);
    for n in [3, 17, 101] {
        assert_eq!(torn_every(&world, &lines, n), expected, "a fault every {n} points or so");
    }
}

#[test]
fn what_has_a_receipt_is_not_needed_again() {
    let (world, lines) = (world_of_all(), lines(6));
    let (expected, n_points) = undisturbed(&world, &lines);
    for cut in 0..FEW / 5 {
        let at = cut * n_points / (FEW / 5);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let (mut sink, forgotten) = (Sink::default(), Arc::new(AtomicUsize::new(0)));
        assert!(
            run_receipted(&world, &path, &lines, &forgotten, &Faults::after(at), &mut sink).is_err(),
            "cut at {at}"
        );
        run_receipted(&world, &path, &lines, &forgotten, &Faults::default(), &mut sink).unwrap();
        assert_eq!(sink.stands(), expected, "cut at point {at} of {n_points}");
        assert_eq!(forgotten.load(Ordering::SeqCst), lines.len(), "every line has its receipt in the end");
    }
}

#[test]
#[ignore = "minutes; `cargo test -p correlator -- --ignored soak` runs it"]
fn soak_a_thousand_cuts() {
    cut_at(&world_of_all(), 14, MANY);
}
