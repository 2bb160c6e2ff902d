//! What feeds cost: packed CloudTrail from disk to events against `zcat` and the same JSON parser alone, flow logs, and the
//! memory of a large file. Prints a JSON line per measurement; `cargo xtask bench feeds` makes a table.

#[path = "generate/calls.rs"]
mod calls;
#[path = "generate/random.rs"]
mod random;

use std::collections::HashMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use correlator::indicator::Indicators;
use correlator::merge::{Merge, Merged, Pace};
use correlator::source::SourceItem;
use correlator::source::feed::{Feed, Limits};
use correlator::source::json::{Arena, Json};
use correlator::source::layout::Kind;
use correlator::source::normalize::Normalizer;
use correlator::time::{Lateness, SystemClock};
use flate2::Compression;
use flate2::write::GzEncoder;
use rules::event::EventTime;
use rules::schema::Schema;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const N_CALLS: usize = 100_000;
const N_FLOWS: usize = 500_000;
const N_ROUNDS: usize = 3;
/// Packed, of records that hardly pack.
const LARGE_BYTES: usize = 100 << 20;

#[derive(Parser)]
struct Options {
    /// Measure one thing, in this process
    #[arg(long)]
    only: Option<What>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    CloudTrail,
    Flows,
    Large,
    Lists,
}

fn main() {
    let options = Options::parse();
    match options.only {
        Some(What::CloudTrail) => println!("{}", cloudtrail()),
        Some(What::Flows) => println!("{}", flows()),
        Some(What::Large) => println!("{}", large()),
        Some(What::Lists) => println!("{}", lists()),
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

fn cloudtrail() -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calls.json.gz");
    let text = format!("{{\"Records\":[{}]}}", calls::calls(11, N_CALLS).join(","));
    pack(&path, text.as_bytes());
    let n_bytes = text.len();
    drop(text);
    let ours = best(|| assert_eq!(read(&path, Kind::CloudTrail), N_CALLS as u64));
    let theirs = best(|| {
        let mut zcat = Command::new("zcat").arg(&path).stdout(Stdio::piped()).spawn().expect("zcat starts");
        let mut text = String::new();
        zcat.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
        assert!(zcat.wait().is_ok_and(|status| status.success()));
        black_box(Json::parse(&text, &Arena::new()).expect("JSON"));
    });
    json!({
        "name": "cloudtrail",
        "bytes": n_bytes,
        "events_per_s": N_CALLS as f64 / ours.as_secs_f64(),
        "mib_per_s": mib(n_bytes) / ours.as_secs_f64(),
        "zcat_and_parser_mib_per_s": mib(n_bytes) / theirs.as_secs_f64(),
    })
}

fn flows() -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows.log.gz");
    let mut random = random::Random::new(7);
    let mut text = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n".to_owned();
    for number in 0..N_FLOWS {
        let (a, b, port) = (random.below(250), random.below(250), random.below(60_000));
        let end = 1_793_613_600 + number / 100;
        text += &format!(
            "2 111122223333 eni-0123456789abcdef0 10.0.{a}.{b} 198.51.100.{b} {port} 443 6 10 8400 {} {end} ACCEPT OK\n",
            end - 60
        );
    }
    pack(&path, text.as_bytes());
    let ours = best(|| assert_eq!(read(&path, Kind::VpcFlow), N_FLOWS as u64));
    json!({ "name": "flows", "records": N_FLOWS, "records_per_s": N_FLOWS as f64 / ours.as_secs_f64() })
}

fn large() -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.json.gz");
    let mut random = random::Random::new(5);
    let mut packed = GzEncoder::new(File::create(&path).expect("a file"), Compression::fast());
    packed.write_all(b"{\"Records\":[").expect("a file is written");
    let mut n_records = 0;
    while packed.get_ref().metadata().expect("a file").len() < LARGE_BYTES as u64 {
        let noise: String = (0..500).map(|_| format!("{:08x}", random.below(u32::MAX as usize))).collect();
        let comma = if n_records == 0 { "" } else { "," };
        let record = format!(
            "{comma}{{\"eventVersion\":\"1.11\",\"eventTime\":\"2026-11-02T10:00:00Z\",\"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"PutObject\",\
             \"eventID\":\"{n_records}\",\"requestParameters\":{{\"key\":\"{noise}\"}}}}"
        );
        packed.write_all(record.as_bytes()).expect("a file is written");
        n_records += 1;
    }
    packed.write_all(b"]}").expect("a file is written");
    packed.finish().expect("a file is written");
    let before = status_kib("VmRSS:");
    assert_eq!(read(&path, Kind::CloudTrail), n_records);
    let n_bytes = fs::metadata(&path).expect("a file").len();
    let gained = status_kib("VmHWM:").saturating_sub(before);
    json!({ "name": "large", "packed_mib": n_bytes >> 20, "records": n_records, "gained_mib": gained / 1024 })
}

const N_ADDRESSES: usize = 700_000;
const N_NETWORKS: usize = 100_000;
const N_DOMAINS: usize = 200_000;
const N_LOOKS: usize = 1_000_000;

/// A million indicators, and what is asked of them for each event; beside them, a map of the standard library's that knows
/// the addresses alone.
fn lists() -> Value {
    let mut random = random::Random::new(3);
    let mut any = || Ipv4Addr::from_bits(random.below(u32::MAX as usize) as u32);
    let addresses: Vec<Ipv4Addr> = (0..N_ADDRESSES).map(|_| any()).collect();
    let networks: Vec<String> = (0..N_NETWORKS).map(|at| format!("{}/{}", any(), 20 + at % 9)).collect();
    let misses: Vec<IpAddr> = (0..N_LOOKS).map(|_| IpAddr::V4(any())).collect();
    let names: Vec<String> =
        (0..N_DOMAINS).map(|at| format!("c{:x}.rogue{}.example.net", any().to_bits(), at % 1_000)).collect();
    let mut text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    networks.iter().chain(&names).for_each(|line| text += &format!("{line}\n"));
    let before = status_kib("VmRSS:");
    let mut indicators = Indicators::default();
    let loaded = indicators.load(&text, "bench");
    assert_eq!(loaded.n_bad, 0, "{:?}", loaded.bad.first());
    let (held, peak) = (status_kib("VmRSS:") - before, status_kib("VmHWM:") - before);
    let now = EventTime(1_793_613_600_000_000_000);
    let hits: Vec<IpAddr> = (0..N_LOOKS).map(|at| addresses[at * 7 % addresses.len()].into()).collect();
    let nanoseconds =
        |look: &dyn Fn(usize)| best(|| (0..N_LOOKS).for_each(look)).as_secs_f64() * 1e9 / N_LOOKS as f64;
    let ours = |of: &[IpAddr]| {
        nanoseconds(&|at| {
            black_box(indicators.matches(of[at], now));
        })
    };
    let map: HashMap<IpAddr, u32> = addresses.iter().zip(0..).map(|(ip, at)| ((*ip).into(), at)).collect();
    let theirs = |of: &[IpAddr]| {
        nanoseconds(&|at| {
            black_box(map.get(&of[at]));
        })
    };
    let unlisted: Vec<String> = (0..1_000).map(|at| format!("www{at}.shop.example.org")).collect();
    let domains = |of: &[String]| {
        nanoseconds(&|at| {
            black_box(indicators.matches_domain(&of[at * 7 % of.len()], now));
        })
    };
    json!({
        "name": "lists",
        "entries": indicators.len(),
        "held_mib": held / 1024,
        "peak_mib": peak / 1024,
        "address_miss_ns": ours(&misses),
        "address_hit_ns": ours(&hits),
        "domain_miss_ns": domains(&unlisted),
        "domain_hit_ns": domains(&names),
        "map_miss_ns": theirs(&misses),
        "map_hit_ns": theirs(&hits),
    })
}

/// Through the source's own way into the merge, where events are counted and dropped.
fn read(path: &Path, kind: Kind) -> u64 {
    let normalizer = Normalizer::new(Arc::new(Schema::builtin()), Arc::default());
    let mut merge = Merge::new(256, Pace::Replay, Arc::new(SystemClock));
    let outlet = merge.add("bench", Lateness::CLOUDTRAIL);
    let limits = Limits { max_file_bytes: u64::MAX, ..Limits::default() };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let feed =
                Feed { source: "bench".into(), normalizer: &normalizer, outlet: outlet.clone(), limits };
            let outcome = feed.object("bench", kind, File::open(path).expect("a file")).expect("taken");
            assert_eq!(outcome.first_fault, None);
            outlet.send(SourceItem::End).expect("taken");
        });
        let mut n_records = 0;
        loop {
            match merge.next(Duration::from_secs(60)).expect("the file ends") {
                Merged::Record(_, record) => {
                    black_box(record);
                    n_records += 1;
                }
                Merged::End => return n_records,
                Merged::Rejected(rejected) => panic!("{rejected:?}"),
                _ => {}
            }
        }
    })
}

fn pack(path: &Path, bytes: &[u8]) {
    let mut packed = GzEncoder::new(File::create(path).expect("a file"), Compression::default());
    packed.write_all(bytes).and_then(|()| packed.finish().map(drop)).expect("a file is written");
}

/// The shortest of some rounds, in time of a processor that this program and what it waited for have taken.
fn best(mut work: impl FnMut()) -> Duration {
    let round = |work: &mut dyn FnMut()| {
        let before = processor_time();
        work();
        processor_time() - before
    };
    (0..N_ROUNDS).map(|_| round(&mut work)).min().expect("at least one round")
}

fn processor_time() -> Duration {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = Duration::new(own.tv_sec.unsigned_abs(), u32::try_from(own.tv_nsec).unwrap_or_default());
    own + children_time().unwrap_or_default()
}

/// Of programs that were waited for, in hundredths of a second.
fn children_time() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything, the 14th and 15th of what is left.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn status_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
