//! What state costs a run: writing it down, telling of it in time, and reading on several threads. Prints a JSON line per
//! measurement; `cargo xtask bench state` makes tables.

#[path = "generate/calls.rs"]
mod calls;
#[path = "generate/random.rs"]
mod random;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use correlator::alert::AlertChange;
use correlator::keyed::Limits;
use correlator::merge::{Doubt, Merge, Pace};
use correlator::pipeline::{Delivery, Engine, Mode, Runner};
use correlator::source::feed::{self, Feed};
use correlator::source::normalize::Normalizer;
use correlator::source::stop::Stop;
use correlator::source::{Origin, Rejected};
use correlator::stage::Stage;
use correlator::store::Store;
use correlator::time::{Lateness, SystemClock};
use rules::catalogue;
use rules::event::Span;
use rules::program::Program;
use rules::schema::Schema;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const N_EVENTS: usize = 60_000;
const N_ROUNDS: usize = 3;
/// What a host may say in a second, for so long.
const RATE: usize = 10_000;
const SECONDS: usize = 10;

#[derive(Parser)]
struct Options {
    /// Measure one thing
    #[arg(long)]
    only: Option<What>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// A run with a store beside one without
    Store,
    /// From a host event to its alert, at a steady rate
    Latency,
    /// The same events on one thread and on two
    Threads,
}

fn main() {
    let options = Options::parse();
    let chosen = options.only.map_or_else(|| What::value_variants().to_vec(), |what| vec![what]);
    for what in chosen {
        let measured = match what {
            What::Store => store(),
            What::Latency => latency(),
            What::Threads => threads(),
        };
        println!("{measured}");
    }
}

struct World {
    schema: Schema,
    program: Arc<Program>,
    normalizer: Normalizer,
}

impl World {
    fn shipped() -> Self {
        let mut schema = Schema::builtin();
        let loaded = catalogue::builtin(&mut schema);
        let program = Arc::new(Program::with_drops(loaded.rules, loaded.drops, &schema));
        let normalizer = Normalizer::new(Arc::new(schema.clone()), Arc::default());
        Self { schema, program, normalizer }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.program), &self.schema, Limits::default(), Mode::Revisions)
    }

    /// Takes what the source sends, to its end.
    fn run(
        &self,
        store: Option<Store>,
        stage: Option<Stage>,
        delivery: &mut impl Delivery,
        source: impl FnOnce(&Feed<'_>) + Send,
    ) -> Took {
        let runner = Runner::new(self.engine(), Mode::Revisions, store, &self.normalizer).expect("it starts");
        let mut runner = runner.with_stage(stage.clone());
        let pace = Pace::Live { idle_after: Span::from_secs(2) };
        let mut merge = Merge::new(256, pace, Arc::new(SystemClock)).with_stage(stage);
        let outlet = merge.add("bench", Lateness(Span::from_secs(3_650 * 24 * 3_600)));
        let (began, used) = (Instant::now(), on_processors());
        let engine = thread::scope(|scope| {
            scope.spawn(move || {
                let (source_name, limits) = ("bench".into(), feed::Limits::default());
                source(&Feed { source: source_name, normalizer: &self.normalizer, outlet, limits });
            });
            let used = on_processor();
            runner.run(&mut merge, &Stop::default(), delivery).expect("it runs");
            on_processor() - used
        });
        Took { clock: began.elapsed(), processors: on_processors() - used, engine }
    }
}

/// What a run took.
struct Took {
    clock: Duration,
    /// Of all threads, on the processors.
    processors: Duration,
    /// Of these the engine's thread, which nothing else can take part of.
    engine: Duration,
}

impl Took {
    /// On two processors that nobody else uses.
    fn on_two(&self) -> Duration {
        self.engine.max(self.processors / 2)
    }
}

/// Both halves: calls, and what a host did meanwhile.
fn mixed() -> String {
    let calls = calls::calls(11, N_EVENTS / 2);
    calls
        .into_iter()
        .enumerate()
        .map(|(n, call)| format!("{call}\n{}\n", exec(n, "2026-11-02T10:00:00Z")))
        .collect()
}

fn store() -> Value {
    let (world, text) = (World::shipped(), mixed());
    let read = |feed: &Feed<'_>| {
        feed.json("bench", text.as_bytes()).expect("somebody reads");
    };
    let mut best = [Duration::MAX; 4];
    let mut mib = 0;
    for _ in 0..N_ROUNDS {
        let without = world.run(None, None, &mut Ends::default(), read);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let kept = Store::open_for_run(&path).expect("a store");
        let with = world.run(Some(kept), None, &mut Ends::default(), read);
        mib = std::fs::metadata(&path).map_or(0, |file| file.len()) >> 20;
        for (best, now) in
            best.iter_mut().zip([without.clock, without.processors, with.clock, with.processors])
        {
            *best = (*best).min(now);
        }
    }
    let rate = |time: Duration| N_EVENTS as f64 / time.as_secs_f64();
    json!({
        "name": "store",
        "without_per_s": rate(best[0]),
        "with_per_s": rate(best[2]),
        "processors": best[3].as_secs_f64() / best[1].as_secs_f64(),
        "store_mib": mib,
    })
}

/// A host's events at a steady rate; one in a thousand is an alert. From when it was handed over to when a sink has it.
fn latency() -> Value {
    let world = World::shipped();
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Store::open_for_run(&folder.path().join("store.db")).expect("a store");
    let mut ends = Ends { began: Some(Instant::now()), ..Ends::default() };
    let began = Instant::now();
    let mut behind = Duration::ZERO;
    let late = &mut behind;
    world.run(Some(kept), None, &mut ends, move |feed| {
        let now = format!("{:.3}", jiff::Timestamp::now());
        for n in 0..RATE * SECONDS {
            let due = Duration::from_nanos((n as u64) * 1_000_000_000 / RATE as u64);
            if let Some(left) =
                due.checked_sub(began.elapsed()).filter(|left| *left > Duration::from_millis(1))
            {
                thread::sleep(left);
            }
            let line = if n % 1_000 == 500 { asked(began.elapsed()) } else { exec(n, &now) };
            feed.json("bench", line.as_bytes()).expect("somebody reads");
        }
        *late = began.elapsed().saturating_sub(Duration::from_secs(SECONDS as u64));
    });
    ends.lags.sort_unstable();
    let at = |percent: usize| {
        ends.lags.get(ends.lags.len() * percent / 100).copied().unwrap_or_default().as_millis() as u64
    };
    json!({
        "name": "latency",
        "events_per_s": RATE,
        "seconds": SECONDS,
        "alerts": ends.lags.len(),
        "p50_ms": at(50),
        "p99_ms": at(99),
        "behind_ms": behind.as_millis() as u64,
    })
}

fn threads() -> Value {
    let (world, text) = (World::shipped(), calls::calls(11, N_EVENTS).join("\n"));
    let read = |feed: &Feed<'_>| {
        feed.json("bench", text.as_bytes()).expect("somebody reads");
    };
    let [mut alone, mut by_source, mut by_two, mut by_source_on_two, mut by_two_on_two] = [Duration::MAX; 5];
    for _ in 0..N_ROUNDS {
        let used = on_processor();
        let (mut engine, source): (_, Arc<str>) = (world.engine(), "bench".into());
        for line in text.lines() {
            engine.push(&source, world.normalizer.read(Origin::CloudTrail, line).expect("readable"));
        }
        alone = alone.min(on_processor() - used);
        let took = world.run(None, None, &mut Ends::default(), read);
        (by_source, by_source_on_two) = (by_source.min(took.processors), by_source_on_two.min(took.on_two()));
        let stage = Stage::new(2, &world.normalizer, &world.program);
        let took = world.run(None, Some(stage), &mut Ends::default(), read);
        (by_two, by_two_on_two) = (by_two.min(took.processors), by_two_on_two.min(took.on_two()));
    }
    let rate = |time: Duration| N_EVENTS as f64 / time.as_secs_f64();
    json!({
        "name": "threads",
        "alone_per_s": rate(alone),
        "by_source": {"per_processor_s": rate(by_source), "on_two_per_s": rate(by_source_on_two)},
        "by_two": {"per_processor_s": rate(by_two), "on_two_per_s": rate(by_two_on_two)},
    })
}

/// Keeps when alerts came, where their events say when they were made.
#[derive(Default)]
struct Ends {
    began: Option<Instant>,
    lags: Vec<Duration>,
}

impl Delivery for Ends {
    fn alert(&mut self, change: &AlertChange) -> io::Result<()> {
        let Some(began) = self.began else { return Ok(()) };
        let text = change.document.to_string();
        if let (1, Some(at)) = (change.revision, text.find("made-at-")) {
            let nanos: String = text[at + 8..].chars().take_while(char::is_ascii_digit).collect();
            self.lags.extend(
                nanos.parse().ok().map(|made| began.elapsed().saturating_sub(Duration::from_nanos(made))),
            );
        }
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

/// An exec event of 1.5 KB, of a program no rule is about.
fn exec(n: usize, time: &str) -> String {
    let padding = "/usr/share/some/longer/path/of/an/argument".repeat(12);
    let program = format!("worker{}", n % 50);
    format!(
        r#"{{"@timestamp":"{time}","event":{{"id":"{n:032x}","kind":"event","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"i-0123456789abcdef0","name":"web-1","os":{{"type":"linux"}}}},"user":{{"id":"33","name":"www-data"}},"process":{{"name":"{program}","executable":"/usr/bin/{program}","entity_id":"c{n:020x}","pid":{n},"parent":{{"entity_id":"p{:020x}","pid":1}},"args":["{program}","{padding}"],"command_line":"{program} {padding}"}}}}"#,
        n % 1_000
    )
}

/// A tool that changes the endpoint of its calls: a rule of the catalogue fires on it alone.
fn asked(made: Duration) -> String {
    let (now, made) = (format!("{:.3}", jiff::Timestamp::now()), made.as_nanos());
    format!(
        r#"{{"@timestamp":"{now}","event":{{"id":"asked-{made}","kind":"event","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"host-{made}","name":"web-1","os":{{"type":"linux"}}}},"user":{{"id":"33","name":"www-data"}},"process":{{"name":"aws","executable":"/usr/bin/aws","entity_id":"made-at-{made}.","pid":7,"parent":{{"entity_id":"shell","pid":1}},"args":["aws","--endpoint-url","https://made-at-{made}.example.net","s3","ls"],"args_count":5,"command_line":"aws --endpoint-url https://made-at-{made}.example.net s3 ls"}}}}"#
    )
}

/// Time this thread ran.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn on_processors() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
