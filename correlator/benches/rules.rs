//! What a program of rules costs per event, reading the event's JSON included. Prints a JSON line per set of rules;
//! `cargo xtask bench rules` makes a table of them.

#[path = "generate/corpus.rs"]
mod corpus;
#[path = "generate/exec.rs"]
mod exec;
#[path = "generate/random.rs"]
mod random;
#[path = "generate/sigma.rs"]
mod sigma;
#[path = "generate/words.rs"]
mod words;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use corpus::Mix;
use correlator::source::normalize::Normalizer;
use correlator::source::{Origin, Record};
use rules::catalogue;
use rules::program::{Program, Scratch};
use rules::schema::Schema;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_EVENTS: usize = 20_000;
/// The best of so many: what else the machine does only ever adds.
const N_ROUNDS: usize = 3;
/// Name, rules, mix.
const SETS: &[(&str, usize, Mix)] = &[
    ("generated, 95", 95, Mix::Ours),
    ("generated, 950", 950, Mix::Ours),
    ("generated, 9,500", 9_500, Mix::Ours),
    ("generated, 5,000 as published", 5_000, Mix::Public),
    ("generated, 100 of EQL", 100, Mix::Eql),
];

#[derive(Parser)]
struct Options {
    /// A folder of rules to measure, besides the generated sets
    #[arg(long)]
    checkout: Option<PathBuf>,
    /// Measure the rules of one folder, in this process
    #[arg(long)]
    only: Option<PathBuf>,
    /// Only generated sets whose name holds this
    #[arg(long, default_value = "")]
    sets: String,
    /// Write rules of EQL and of Sigma, and events, to this folder, for other engines, and measure nothing
    #[arg(long)]
    write: Option<PathBuf>,
    /// Sigma rules keep their field names
    #[arg(long)]
    raw: bool,
    /// Measure with these events, a line each, instead of generated ones
    #[arg(long)]
    events: Option<PathBuf>,
    /// How the one set is called
    #[arg(long, default_value = "")]
    name: String,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    if let Some(folder) = &options.only {
        let texts = match &options.events {
            None => exec::events(11, N_EVENTS),
            Some(file) => {
                fs::read_to_string(file).expect("a file of events").lines().map(str::to_owned).collect()
            }
        };
        let sigma = rules::sigma::Options { is_raw: options.raw, ..rules::sigma::Options::default() };
        println!("{}", measure(&options.name, folder, &sigma, &texts));
        return;
    }
    if let Some(folder) = &options.write {
        write(folder);
        return;
    }
    let scratch = tempfile::tempdir().expect("a folder for generated rules");
    for (name, n_rules, mix) in SETS.iter().filter(|(name, ..)| name.contains(&options.sets)) {
        let folder = scratch.path().join(n_rules.to_string());
        fs::create_dir(&folder).expect("a folder for one set");
        write_rules(&folder, *n_rules, *mix);
        in_process_of_its_own(name, &folder);
    }
    if let Some(checkout) = &options.checkout {
        in_process_of_its_own("the checkout", checkout);
    }
}

fn write(folder: &Path) {
    let rules = folder.join("rules");
    fs::create_dir_all(&rules).expect("a folder for rules");
    write_rules(&rules, 100, Mix::Eql);
    fs::write(folder.join("events.ndjson"), exec::events(11, 2_000).join("\n")).expect("events are written");
    for (n_rules, is_linux_alone) in [(210, true), (3_000, false)] {
        let rules = folder.join(format!("sigma-{n_rules}"));
        fs::create_dir_all(&rules).expect("a folder for rules");
        for (number, text) in sigma::rules(7, n_rules, is_linux_alone).iter().enumerate() {
            fs::write(rules.join(format!("{number}.yml")), text).expect("a rule is written");
        }
    }
    fs::write(folder.join("flat.ndjson"), sigma::events(11, N_EVENTS).join("\n"))
        .expect("events are written");
}

fn write_rules(folder: &Path, n_rules: usize, mix: Mix) {
    for (number, text) in corpus::rules(7, n_rules, mix).iter().enumerate() {
        fs::write(folder.join(format!("{number}.toml")), text).expect("a rule is written");
    }
}

/// So that the memory of one set is not what another has left behind.
fn in_process_of_its_own(name: &str, folder: &Path) {
    let own = std::env::current_exe().expect("the path of this program");
    let status = Command::new(own).args(["--name", name, "--only"]).arg(folder).status();
    assert!(status.is_ok_and(|status| status.success()), "measuring {name}");
}

fn measure(name: &str, folder: &Path, sigma: &rules::sigma::Options, texts: &[String]) -> Value {
    let before = resident_kib();
    let began = Instant::now();
    let mut schema = Schema::builtin();
    let loaded = catalogue::load_with([folder], sigma, &mut schema, &|_, _| {});
    let n_rules = loaded.rules.len();
    let program = Program::compile(loaded.rules, &schema);
    let load = began.elapsed();
    let kib = resident_kib().saturating_sub(before);
    let normalizer = Normalizer::new(Arc::new(schema), Arc::default());
    let read =
        |text: &String| normalizer.read(Origin::Sensor, text.as_str()).expect("an event of ours is readable");
    let parse = best(|| texts.iter().for_each(|text| drop(black_box(read(text)))));
    let mut scratch = Scratch::default();
    let mut n_hits = 0_u64;
    let both = best(|| {
        for text in texts {
            program.hits(&read(text).event, &mut scratch, |_| n_hits += 1);
        }
    });
    let records: Vec<Record> = texts.iter().map(read).collect();
    let evaluate = best(|| {
        for record in &records {
            program.hits(&record.event, &mut scratch, |_| n_hits += 1);
        }
    });
    let n_events = texts.len();
    let per_s = |took: Duration| n_events as f64 / took.as_secs_f64();
    json!({
        "name": name,
        "rules": n_rules,
        "predicates": program.n_predicates(),
        "bytes_per_event": texts.iter().map(String::len).sum::<usize>() / n_events,
        "hits_per_event": n_hits as f64 / (2 * N_ROUNDS * n_events) as f64,
        "parse_per_s": per_s(parse),
        "events_per_s": per_s(both),
        "evaluate_per_s": per_s(evaluate),
        "load_ms": load.as_secs_f64() * 1e3,
        "kib_per_rule": kib as f64 / n_rules.max(1) as f64,
    })
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
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
