//! rsigma over a folder of Sigma rules and a file of events, a line each: what it takes for what the benches beside this
//! measure of groundtrail. Prints one line of JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use rsigma_parser::{SigmaRule, parse_sigma_yaml};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// As groundtrail has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_ROUNDS: usize = 3;

fn main() {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(rules), Some(events)) = (args.next(), args.next()) else {
        panic!("two arguments: a folder of rules and a file of events");
    };
    let mut found = Vec::new();
    collect(&rules, &mut found);
    let began = on_processor();
    let mut engine = Engine::new();
    let refused = engine.add_rules(&found);
    let load = on_processor() - began;
    let text = fs::read_to_string(events).expect("events are readable");
    let n_events = text.lines().count();
    let mut n_matches = 0;
    let rounds = (0..N_ROUNDS).map(|_| {
        n_matches = 0;
        let began = on_processor();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("an event is JSON");
            n_matches += engine.evaluate(&JsonEvent::borrow(&event)).len();
        }
        on_processor() - began
    });
    let took = rounds.min().expect("a round").as_secs_f64();
    let found = json!({
        "rules": engine.rule_count(),
        "refused": refused.len(),
        "load_ms": load.as_secs_f64() * 1e3,
        "events_per_s": n_events as f64 / took,
        "hits_per_event": n_matches as f64 / n_events as f64,
    });
    println!("{found}");
}

/// Rules of detection, in files of YAML at any depth.
fn collect(path: &Path, into: &mut Vec<SigmaRule>) {
    if path.is_dir() {
        let mut below: Vec<PathBuf> =
            fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        below.sort();
        below.iter().for_each(|path| collect(path, into));
    } else if path.extension().is_some_and(|ending| ending == "yml") {
        let text = fs::read_to_string(path).expect("a rule is text");
        into.extend(parse_sigma_yaml(&text).into_iter().flat_map(|found| found.rules));
    }
}

/// Time this thread ran.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
