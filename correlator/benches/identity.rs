//! What knowing who is who costs: a million access keys and a hundred thousand instances held, looked up in the event path, and
//! put on an alert. Prints a JSON line per measurement; `cargo xtask bench identity` makes tables.

#[path = "generate/random.rs"]
#[expect(dead_code, reason = "each bench draws in ways of its own")]
mod random;

use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use correlator::identity::{Attribute, Identities, Row, Subject};
use correlator::keyed::Limits;
use correlator::pipeline::{Engine, Mode};
use correlator::source::Origin;
use correlator::source::normalize::Normalizer;
use random::Random;
use rules::catalogue;
use rules::event::EventTime;
use rules::program::Program;
use rules::schema::Schema;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_INSTANCES: u32 = 100_000;
const N_KEYS: u32 = 1_000_000;
const N_LOOKUPS: usize = 1_000_000;
const ACCOUNT: &str = "111122223333";
const MINUTE: i64 = 60_000_000_000;
/// Alerts that are timed: as many as make a 99th percentile.
const N_ALERTS: u32 = 400;

#[derive(Parser)]
struct Options {
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let _options = Options::parse();
    let mut schema = Schema::builtin();
    let loaded = catalogue::builtin(&mut schema);
    let before = resident();
    let identities = full(&schema);
    let held = resident().saturating_sub(before);
    println!(
        "{}",
        json!({ "name": "memory", "instances": N_INSTANCES, "keys": N_KEYS, "subjects": identities.len(), "mib": held >> 20 })
    );
    for (what, took) in lookups(&identities) {
        println!("{}", json!({ "name": "lookup", "what": what, "ns": took }));
    }
    println!("{}", learning(identities, &schema));
    let program = Arc::new(Program::with_drops(loaded.rules, loaded.drops, &schema));
    println!("{}", enrichment(&program, schema));
}

/// What the process has in memory, in bytes.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

fn instance(n: u32) -> String {
    format!("i-{:017x}", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4)
}

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

fn key(n: u32) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut rest = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = String::from("ASIA");
    for _ in 0..16 {
        id.push(char::from(ALPHABET[usize::try_from(rest & 31).expect("below 32")]));
        rest = rest.rotate_right(5);
    }
    id
}

/// Each instance as heartbeats, its sensor and its calls show it; each key as the one an instance's role was issued.
fn full(schema: &Schema) -> Identities {
    let capacity = usize::try_from(N_INSTANCES + N_KEYS).expect("small") + 1_000;
    let mut identities = Identities::new(schema, capacity);
    for n in 0..N_INSTANCES {
        identities.restore(of_instance(n));
    }
    for n in 0..N_KEYS {
        identities.restore(of_key(n));
    }
    identities
}

fn row(subject: &Subject, attribute: Attribute, value: &str, n: u32) -> Row {
    let first = i64::from(n) * 1_000_000;
    Row { subject: subject.clone(), attribute, value: value.into(), first, last: first + MINUTE }
}

fn of_instance(n: u32) -> Vec<Row> {
    let subject = Subject::Host(instance(n).into());
    let address = address(n).to_string();
    let name = format!("ip-{}.ec2.internal", address.replace('.', "-"));
    let egress = format!("203.0.113.{}", n % 64);
    [
        (Attribute::Account, ACCOUNT),
        (Attribute::Region, "us-east-1"),
        (Attribute::Role, ROLES[n as usize % ROLES.len()]),
        (Attribute::PrivateIp, &address),
        (Attribute::EgressIp, &egress),
        (Attribute::Name, &name),
        (Attribute::Kernel, "6.1.119-129.201.amzn2023.x86_64"),
        (Attribute::Architecture, "x86_64"),
        (Attribute::Image, "ami-0123456789abcdef0"),
        (Attribute::SsmAgent, "3.3.987.0"),
        (Attribute::Sensor, ""),
    ]
    .into_iter()
    .map(|(attribute, value)| row(&subject, attribute, value, n))
    .collect()
}

const ROLES: [&str; 8] =
    ["web", "batch", "ci-runner", "kafka", "search", "bastion", "reporting", "eks-node-group"];

fn of_key(n: u32) -> Vec<Row> {
    let (subject, of) = (Subject::Key(key(n).into()), n % N_INSTANCES);
    let (role, host) = (ROLES[of as usize % ROLES.len()], instance(of));
    let session = format!("{role}/{host}");
    [(Attribute::Role, role), (Attribute::RoleSession, &session), (Attribute::Host, &host)]
        .into_iter()
        .map(|(attribute, value)| row(&subject, attribute, value, n))
        .collect()
}

/// Nanoseconds that each kind of question takes, asked of anybody in no order.
fn lookups(identities: &Identities) -> Vec<(&'static str, f64)> {
    let mut random = Random::new(5);
    let below =
        |random: &mut Random, bound: u32| u32::try_from(random.below(bound as usize)).expect("below a u32");
    let hosts: Vec<u32> = (0..N_LOOKUPS).map(|_| below(&mut random, N_INSTANCES)).collect();
    let keys: Vec<String> = (0..N_LOOKUPS).map(|_| key(below(&mut random, N_KEYS))).collect();
    let ids: Vec<String> = hosts.iter().map(|n| instance(*n)).collect();
    let addresses: Vec<IpAddr> = hosts.iter().map(|n| address(*n)).collect();
    let now = EventTime(i64::from(N_KEYS) * 1_000_000 + MINUTE);
    let each = |took: Duration| took.as_nanos() as f64 / N_LOOKUPS as f64;
    let time = |ask: &dyn Fn(usize)| {
        let began = Instant::now();
        (0..N_LOOKUPS).for_each(ask);
        each(began.elapsed())
    };
    vec![
        (
            "whose address, in an account",
            time(&|n| _ = black_box(identities.host_of_address(Some(ACCOUNT), addresses[n], now))),
        ),
        (
            "whose address, in whatever account",
            time(&|n| _ = black_box(identities.host_of_address(None, addresses[n], now))),
        ),
        ("when a host's sensor was heard", time(&|n| _ = black_box(identities.sensor_seen(&ids[n])))),
        ("which session a key was issued for", time(&|n| _ = black_box(identities.key(&keys[n], now)))),
        ("all of a host, for an alert", time(&|n| _ = black_box(identities.host(&ids[n], now)))),
    ]
}

/// What a record's facts cost where most are known: a call of an instance's role.
fn learning(mut identities: Identities, schema: &Schema) -> Value {
    let normalizer = Normalizer::new(Arc::new(schema.clone()), Arc::default());
    let mut random = Random::new(6);
    let calls: Vec<_> = (0..100_000_usize)
        .map(|n| {
            let of = u32::try_from(random.below(N_INSTANCES as usize)).expect("below a u32");
            normalizer.read(Origin::CloudTrail, call(of, n).to_string()).expect("a record")
        })
        .collect();
    let began = Instant::now();
    for call in &calls {
        identities.learn(call);
    }
    let ns = began.elapsed().as_nanos() as f64 / calls.len() as f64;
    json!({ "name": "learn", "ns": ns })
}

fn call(of: u32, n: usize) -> Value {
    let (role, host) = (ROLES[of as usize % ROLES.len()], instance(of));
    json!({
        "eventVersion": "1.11", "eventTime": "2026-11-02T10:00:00Z", "eventSource": "s3.amazonaws.com", "eventName": "ListBuckets",
        "awsRegion": "us-east-1", "sourceIPAddress": format!("203.0.113.{}", of % 64), "eventID": format!("e-{n}"),
        "userAgent": "aws-cli/2.17.20 os/linux#6.1.119-129.201.amzn2023.x86_64", "readOnly": true, "eventType": "AwsApiCall",
        "managementEvent": true, "recipientAccountId": ACCOUNT, "eventCategory": "Management",
        "userIdentity": { "type": "AssumedRole", "principalId": format!("AROAEXAMPLE0000000001:{host}"),
            "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{host}"), "accountId": ACCOUNT, "accessKeyId": key(of),
            "sessionContext": { "ec2RoleDelivery": "2.0" } },
    })
}

/// From the event that completes an alert to its whole document, with a fleet known: hosts, keys, what else the credentials did.
fn enrichment(program: &Arc<Program>, schema: Schema) -> Value {
    let schema = Arc::new(schema);
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
    let mut engine = Engine::new(Arc::clone(program), &schema, Limits::default(), Mode::Revisions);
    let source: Arc<str> = "bench".into();
    let push = |engine: &mut Engine, record: Value| {
        engine.push(&source, normalizer.read(Origin::CloudTrail, record.to_string()).expect("a record"))
    };
    for n in 0..N_INSTANCES {
        push(&mut engine, call(n, n as usize));
    }
    let mut took = Vec::new();
    for n in 0..N_ALERTS {
        let mut record = call(n, N_INSTANCES as usize + n as usize);
        record["eventTime"] = json!(format!("2026-11-02T10:{:02}:{:02}Z", 1 + n / 60, n % 60));
        record["eventSource"] = json!("cloudtrail.amazonaws.com");
        record["eventName"] = json!("StopLogging");
        record["requestParameters"] = json!({ "name": "org-trail" });
        let record = normalizer.read(Origin::CloudTrail, record.to_string()).expect("a record");
        let began = Instant::now();
        let mut changes = engine.push(&source, record);
        changes.extend(engine.tick(Duration::from_secs(u64::from(n) + 1)));
        let one = began.elapsed();
        if !changes.is_empty() {
            took.push(one);
        }
    }
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    json!({ "name": "enrichment", "alerts": took.len(), "hosts": N_INSTANCES, "p50_ms": at(0.5), "p99_ms": at(0.99) })
}
