//! What the engine costs: the whole catalogue over CloudTrail against reading the same alone, state in memory, in the store
//! and taken back, and what writing it costs. Prints a JSON line per measurement; `cargo xtask bench engine` makes tables.

#[path = "generate/calls.rs"]
mod calls;
#[path = "generate/random.rs"]
mod random;

use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use correlator::alert::AlertChange;
use correlator::keyed::Limits;
use correlator::merge::{Doubt, Merge, Pace};
use correlator::pipeline::{Delivery, Engine, Mode, Runner};
use correlator::source::json::{Arena, Json};
use correlator::source::normalize::Normalizer;
use correlator::source::stop::Stop;
use correlator::source::{Origin, Rejected, SourceItem};
use correlator::store::Store;
use correlator::time::{Lateness, SystemClock};
use rules::catalogue;
use rules::event::{EventTime, Span};
use rules::program::Program;
use rules::schema::Schema;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_CALLS: usize = 50_000;
const N_ROUNDS: usize = 3;
const MILLION: usize = 1_000_000;
/// A run that has much to do lets time pass once for so many records.
const STRIDE: usize = 1_024;

#[derive(Parser)]
struct Options {
    /// Measure one thing, in this process
    #[arg(long)]
    only: Option<What>,
    /// Measure CloudTrail through the rules of this folder instead of the shipped ones, and nothing else
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Write the CloudTrail records to this file, a line each, for other engines, and measure nothing
    #[arg(long)]
    write: Option<PathBuf>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// CloudTrail through the whole catalogue
    Calls,
    /// A million half-seen sequences: memory, store, and taking them back
    Partials,
    /// A million keys where a tenth may be held
    Cap,
}

fn main() {
    let options = Options::parse();
    if let Some(file) = &options.write {
        return fs::write(file, calls::calls(11, N_CALLS).join("\n")).expect("calls are written");
    }
    if let Some(folder) = &options.rules {
        return println!("{}", calls_through(&of_folder(folder)));
    }
    match options.only {
        Some(What::Calls) => println!("{}", calls_through(&shipped())),
        Some(What::Partials) => println!("{}", partials(MILLION, Limits::default())),
        Some(What::Cap) => {
            println!("{}", partials(MILLION, Limits { max_keys: MILLION / 10, ..Limits::default() }));
        }
        None => What::value_variants().iter().for_each(|what| in_process_of_its_own(*what)),
    }
}

/// So that the memory of one is not what another has left behind.
fn in_process_of_its_own(what: What) {
    let own = std::env::current_exe().expect("the path of this program");
    let name = what.to_possible_value().expect("a name").get_name().to_owned();
    let status = Command::new(own).args(["--only", &name]).status();
    assert!(status.is_ok_and(|status| status.success()), "measuring {name}");
}

struct World {
    schema: Arc<Schema>,
    program: Arc<Program>,
    normalizer: Normalizer,
}

fn shipped() -> World {
    let mut schema = Schema::builtin();
    let loaded = catalogue::builtin(&mut schema);
    let program = Arc::new(Program::with_drops(loaded.rules, loaded.drops, &schema));
    world(schema, program)
}

fn of_folder(folder: &Path) -> World {
    let mut schema = Schema::builtin();
    let loaded = catalogue::load([folder], &mut schema);
    let program = Arc::new(Program::with_drops(loaded.rules, loaded.drops, &schema));
    world(schema, program)
}

fn world(schema: Schema, program: Arc<Program>) -> World {
    let schema = Arc::new(schema);
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
    World { schema, program, normalizer }
}

const RULE: &str = r#"
[rule]
name = "Half seen"
rule_id = "00000000-0000-4000-8000-000000000001"
description = "d"
type = "eql"
language = "eql"
severity = "low"
risk_score = 21
query = '''
sequence by host.id, process.parent.entity_id with maxspan=1h
  [process where event.action == "exec" and process.name == "curl"]
  [network where event.action == "connection_attempted"]
'''
"#;

fn calls_through(world: &World) -> Value {
    let texts = calls::calls(11, N_CALLS);
    let mut arena = Arena::new();
    let json = best(|| {
        for text in &texts {
            black_box(Json::parse(text, &arena).expect("JSON"));
            arena.reset();
        }
    });
    let read = |text: &String| world.normalizer.read(Origin::CloudTrail, text.as_str()).expect("readable");
    let parse = best(|| texts.iter().for_each(|text| drop(black_box(read(text)))));
    let source: Arc<str> = "trail".into();
    let engine =
        || Engine::new(Arc::clone(&world.program), &world.schema, Limits::default(), Mode::Revisions);
    let mut n_alerts = 0;
    let mut work = || {
        let (mut engine, mut newest) = (engine(), EventTime(i64::MIN));
        for (n, text) in texts.iter().enumerate() {
            let record = read(text);
            newest = newest.max(record.event.time);
            black_box(engine.push(&source, record));
            if n % STRIDE == STRIDE - 1 {
                black_box(engine.advance(newest - Lateness::CLOUDTRAIL.0));
            }
        }
        n_alerts = engine.stats().n_alerts;
    };
    let both = best(&mut work);
    // A source's thread and the engine's: the busier of the two says how many events two free cores take.
    let rounds = (0..N_ROUNDS).map(|_| {
        let mut runner = Runner::new(engine(), Mode::Revisions, None, &world.normalizer).expect("it starts");
        let mut merge = Merge::new(256, Pace::Replay, Arc::new(SystemClock));
        let outlet = merge.add("trail", Lateness::CLOUDTRAIL);
        std::thread::scope(|scope| {
            let (texts, read) = (&texts, &read);
            // The outlet goes with it: the run ends when nobody is left who could send.
            let reader = scope.spawn(move || {
                for text in texts {
                    outlet.send(SourceItem::Record(read(text))).expect("somebody reads");
                }
                outlet.send(SourceItem::End).expect("somebody reads");
                on_processor()
            });
            let began = on_processor();
            runner.run(&mut merge, &Stop::default(), &mut Nobody).expect("it runs");
            let engine = on_processor() - began;
            engine.max(reader.join().expect("the reader ends"))
        })
    });
    let on_two = rounds.min().expect("a round");
    let n_bytes: usize = texts.iter().map(String::len).sum();
    let per_s = |took: Duration| N_CALLS as f64 / took.as_secs_f64();
    json!({
        "name": "calls",
        "rules": world.program.rules().len(),
        "bytes_per_event": n_bytes / N_CALLS,
        "alerts": n_alerts,
        "hits_per_event": n_alerts as f64 / N_CALLS as f64,
        "json_per_s": per_s(json),
        "parse_per_s": per_s(parse),
        "events_per_s": per_s(both),
        "on_two_per_s": per_s(on_two),
    })
}

/// First steps of a sequence, each of a key of its own, into a run with a store; then the next run's start.
fn partials(n_events: usize, limits: Limits) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rule.toml"), RULE).expect("a rule is written");
    let mut schema = Schema::builtin();
    let loaded = catalogue::load([folder.path()], &mut schema);
    assert_eq!(loaded.rules.len(), 1);
    let program = Arc::new(Program::compile(loaded.rules, &schema));
    let world = world(schema, program);
    let path = folder.path().join("store.db");
    let engine = || Engine::new(Arc::clone(&world.program), &world.schema, limits, Mode::Revisions);
    let started = |engine| {
        let store = Store::open_for_run(&path).expect("a store");
        Runner::new(engine, Mode::Revisions, Some(store), &world.normalizer).expect("it starts")
    };
    let (before, began) = (resident_kib(), Instant::now());
    let mut runner = started(engine());
    let stop = Stop::default();
    let mut merge = Merge::new(256, Pace::Replay, Arc::new(SystemClock));
    let outlet = merge.add("host", Lateness(Span::from_secs(24 * 3_600)));
    let stats = std::thread::scope(|scope| {
        let (its_stop, normalizer) = (stop.clone(), &world.normalizer);
        scope.spawn(move || {
            for n in 0..n_events {
                let record = normalizer.read(Origin::Sensor, exec(n)).expect("readable");
                outlet.send(SourceItem::Record(record)).expect("somebody reads");
            }
            // Just before the end, so that it is kept open and not closed.
            its_stop.stop();
        });
        runner.run(&mut merge, &stop, &mut Nobody).expect("it runs")
    });
    let took = began.elapsed();
    let (n_keys, kib) = (runner.engine().n_keys(), resident_kib().saturating_sub(before));
    assert!(n_keys <= limits.max_keys, "{n_keys} keys");
    drop(runner);
    let mib = fs::metadata(&path).map_or(0, |file| file.len()) / 1_048_576;
    let began = Instant::now();
    let next = started(engine());
    let resumed = began.elapsed();
    assert_eq!(next.engine().n_keys(), n_keys, "all of it is taken back");
    json!({
        "name": if limits == Limits::default() { "partials" } else { "cap" },
        "events": n_events,
        "keys": n_keys,
        "keys_given_up": stats.n_keys_lost,
        "resident_mib": kib / 1_024,
        "store_mib": mib,
        "written_per_s": n_events as f64 / took.as_secs_f64(),
        "resume_s": resumed.as_secs_f64(),
    })
}

/// An exec event of about 1 KB.
fn exec(n: usize) -> String {
    let (second, nanos) = (n / 1_000 % 3_600, n % 1_000 * 1_000_000);
    let (minute, second) = (second / 60, second % 60);
    let padding = "/usr/share/some/longer/path/of/an/argument".repeat(12);
    format!(
        r#"{{"@timestamp":"2026-11-02T10:{minute:02}:{second:02}.{nanos:09}Z","event":{{"id":"{n:032x}","kind":"event","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"host":{{"id":"i-0123456789abcdef0","name":"web-1"}},"user":{{"id":"33","name":"www-data"}},"process":{{"name":"curl","executable":"/usr/bin/curl","entity_id":"c{n:020x}","pid":{n},"parent":{{"entity_id":"p{n:020x}","pid":1}},"args":["curl","{padding}"],"command_line":"curl {padding}"}}}}"#
    )
}

struct Nobody;

impl Delivery for Nobody {
    fn alert(&mut self, _change: &AlertChange) -> io::Result<()> {
        Ok(())
    }

    fn again(&mut self, _document: &str) -> io::Result<()> {
        Ok(())
    }

    fn rejected(&mut self, rejected: &Rejected) {
        panic!("{rejected:?}");
    }

    fn doubt(&mut self, _doubt: &Doubt) {}
}

fn best(mut work: impl FnMut()) -> Duration {
    let rounds = (0..N_ROUNDS).map(|_| {
        let began = on_processor();
        work();
        on_processor() - began
    });
    rounds.min().expect("at least one round")
}

/// Time this thread ran: what else the machine does takes turns with it, and is not counted.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
