//! The real program, killed where it happens to be and started again: what a sink was given over all its lives is what an
//! undisturbed run gives, each revision of each alert says one thing, and nothing is lost.
//!
//! `cargo xtask soak` kills it a thousand times.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::bins;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How often the short form kills, and what the long one goes by.
const FEW: usize = 15;
const MANY: &str = "GROUNDTRAIL_KILLS";

const RULES: [(&str, &str); 4] = [
    (
        "sequence",
        r#"type = "eql"
language = "eql"
query = '''
sequence by host.id, process.parent.entity_id with maxspan=10m
  [process where process.name == "curl"]
  [network where event.action == "connection_attempted"]
'''"#,
    ),
    (
        "threshold",
        r#"type = "threshold"
language = "kuery"
from = "now-30m"
query = 'event.provider:"ec2.amazonaws.com"'
[rule.threshold]
field = ["aws.cloudtrail.user_identity.arn"]
value = 3"#,
    ),
    (
        "new terms",
        r#"type = "new_terms"
language = "kuery"
query = 'event.category:process'
[rule.new_terms]
field = "new_terms_fields"
value = ["host.id", "process.name"]
[[rule.new_terms.history_window_start]]
field = "history_window_start"
value = "now-10d""#,
    ),
    (
        "context",
        r#"type = "query"
language = "kuery"
query = 'event.action:SendCommand'
[[rule.context]]
name = "commands on the host"
link = ["groundtrail.link.ssm_command_id"]
language = "kuery"
query = 'event.type:start'
before = "1m"
after = "1h""#,
    ),
];

/// SplitMix64: a failure is run again by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A folder with rules, a configuration for each way to run, and room for events.
struct Place {
    dir: tempfile::TempDir,
    began: Timestamp,
}

impl Place {
    fn new(began: Timestamp) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rules")).unwrap();
        fs::create_dir_all(dir.path().join("trail")).unwrap();
        for (n, (name, body)) in RULES.iter().enumerate() {
            let head = format!(
                "[rule]\nname = \"{name}\"\nrule_id = \"00000000-0000-4000-8000-00000000000{n}\"\ndescription = \"d\"\nseverity = \"low\"\nrisk_score = 21\n"
            );
            fs::write(dir.path().join(format!("rules/{n}.toml")), format!("{head}{body}\n")).unwrap();
        }
        let place = Self { dir, began };
        for follow in [true, false] {
            let text = format!(
                "[store]\npath = \"store.db\"\n[rules]\nbuiltin = false\npaths = [\"rules\"]\n\
                 [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = {follow}\nlateness = \"24h\"\n\
                 [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\nfollow = {follow}\nlateness = \"24h\"\n"
            );
            fs::write(place.config(follow), text).unwrap();
        }
        File::create(place.path("host.ndjson")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, follow: bool) -> PathBuf {
        self.path(if follow { "follow.toml" } else { "once.toml" })
    }

    /// More of both halves, with what is out of order, repeated, and joined to what came before.
    fn add(&self, round: usize, n_lines: usize, random: &mut Random) {
        let mut host = String::new();
        let mut calls = Vec::new();
        for n in 0..n_lines {
            let at = |minutes: u64| {
                let at = self.began - SignedDuration::from_mins(60)
                    + SignedDuration::from_secs((minutes * 60) as i64);
                format!("{at:.3}")
            };
            let (time, shell) = (at(random.below(50)), random.below(20));
            let command = random.below(30);
            let name = ["curl", "sh", "aws", "ls"][random.below(4) as usize];
            writeln!(
                host,
                r#"{{"@timestamp":"{time}","event":{{"id":"exec-{round}-{n}","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"web-{}","os":{{"type":"linux"}}}},"process":{{"name":"{name}{}","command_line":"{name} x","entity_id":"p{round}-{n}","parent":{{"entity_id":"shell{shell}"}},"env_vars":["SSM_COMMAND_ID=11111111-2222-3333-4444-5555555555{command:02}"]}}}}"#,
                random.below(3),
                if name == "ls" { random.below(200).to_string() } else { String::new() },
            )
            .unwrap();
            if random.below(3) == 0 {
                let time = at(random.below(50));
                writeln!(
                    host,
                    r#"{{"@timestamp":"{time}","event":{{"id":"net-{round}-{n}","category":["network"],"type":["start"],"action":"connection_attempted","dataset":"endpoint.events.network"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.network","namespace":"default"}},"host":{{"id":"web-{}","os":{{"type":"linux"}}}},"process":{{"name":"curl","entity_id":"p","parent":{{"entity_id":"shell{shell}"}}}}}}"#,
                    random.below(3)
                )
                .unwrap();
            }
            if random.below(4) == 0 {
                let time = format!("{:.0}", time.parse::<Timestamp>().unwrap());
                let (service, what) = match random.below(3) {
                    0 => (
                        "ssm",
                        format!(
                            r#""eventName":"SendCommand","responseElements":{{"command":{{"commandId":"11111111-2222-3333-4444-5555555555{command:02}"}}}}"#
                        ),
                    ),
                    _ => ("ec2", r#""eventName":"DescribeHosts","responseElements":null"#.to_owned()),
                };
                calls.push(format!(
                    r#"{{"eventID":"call-{round}-{n}","eventTime":"{time}","eventSource":"{service}.amazonaws.com",{what},"userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/u{}"}},"requestParameters":{{}}}}"#,
                    random.below(5)
                ));
            }
        }
        // A repetition now and then, as feeds have them.
        if let Some(again) = host.lines().next().map(str::to_owned) {
            writeln!(host, "{again}").unwrap();
        }
        let mut file = File::options().append(true).open(self.path("host.ndjson")).unwrap();
        file.write_all(host.as_bytes()).unwrap();
        // Named when it is whole, as a feed does it.
        let whole = self.path(&format!("trail/{round:05}.json"));
        fs::write(self.path("new"), format!(r#"{{"Records":[{}]}}"#, calls.join(","))).unwrap();
        fs::rename(self.path("new"), whole).unwrap();
    }

    fn start(&self, follow: bool) -> Life {
        let mut child = Command::new(bins::groundtrail())
            .arg("--config")
            .arg(self.config(follow))
            // Those that are killed read on several threads; what they must come to is told by one that does not.
            .args(["run", "--output", "ndjson", "--threads", if follow { "3" } else { "1" }])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().append(true).create(true).open(self.path("log")).unwrap())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // What was cut off inside a line was not delivered.
        let whole = |mut line: Vec<u8>| line.pop_if(|end| *end == b'\n').map(|_| line);
        let read = move || {
            let mut out = out;
            let mut lines = Vec::new();
            loop {
                let mut line = Vec::new();
                if out.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    return lines;
                }
                lines.extend(whole(line).map(|line| serde_json::from_slice(&line).unwrap()));
            }
        };
        Life { child, said: thread::spawn(read) }
    }
}

/// One run of the program.
struct Life {
    child: Child,
    said: JoinHandle<Vec<Value>>,
}

impl Life {
    fn kill_after(mut self, time: Duration) -> Vec<Value> {
        thread::sleep(time);
        // To SIGKILL there is no answer.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.join().unwrap()
    }

    fn until_it_ends(mut self, log: &Path) -> Vec<Value> {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", fs::read_to_string(log).unwrap());
        self.said.join().unwrap()
    }
}

/// What a sink that keeps the last revision holds: by alert, without its number.
#[derive(Default)]
struct Sink {
    told: BTreeMap<(String, u64), Value>,
}

impl Sink {
    fn take(&mut self, documents: Vec<Value>) {
        for document in documents {
            let own = &document["groundtrail"]["alert"];
            let name = (own["id"].as_str().unwrap().to_owned(), own["revision"].as_u64().unwrap());
            let held = self.told.entry(name).or_insert_with(|| document.clone());
            assert_eq!(*held, document, "one revision of one alert says one thing");
        }
    }

    fn stands(&self) -> BTreeMap<&str, Value> {
        let mut last = BTreeMap::new();
        for ((id, revision), document) in &self.told {
            assert!(
                *revision == 1 || self.told.contains_key(&(id.clone(), revision - 1)),
                "{id} lacks one before {revision}"
            );
            let mut document = document.clone();
            // Its number, and so whether it is the first, and how far time had come when it was told, is how it came about.
            let own = document["groundtrail"]["alert"].as_object_mut().unwrap();
            own.remove("revision");
            own.remove("watermark");
            let state = own.remove("state");
            last.insert(id.as_str(), (state != Some("withdrawn".into())).then_some(document));
        }
        last.into_iter().filter_map(|(id, document)| Some((id, document?))).collect()
    }
}

fn soak(n_kills: usize, seed: u64, longest: Duration) {
    let began = Timestamp::now();
    let (torn, whole) = (Place::new(began), Place::new(began));
    let (mut random, mut again) = (Random(seed), Random(seed));
    let mut moments = Random(seed ^ 0x5eed);
    let mut sink = Sink::default();
    let mut n_told = 0;
    for round in 0..n_kills {
        torn.add(round, 12, &mut random);
        whole.add(round, 12, &mut again);
        let time = Duration::from_millis(moments.below(longest.as_millis() as u64));
        let said = torn.start(true).kill_after(time);
        n_told += said.len();
        sink.take(said);
    }
    assert!(
        n_told > 0,
        "no life was long enough to say anything: {}",
        fs::read_to_string(torn.path("log")).unwrap()
    );
    sink.take(torn.start(false).until_it_ends(&torn.path("log")));
    let mut undisturbed = Sink::default();
    undisturbed.take(whole.start(false).until_it_ends(&whole.path("log")));
    let (found, expected) = (sink.stands(), undisturbed.stands());
    assert!(expected.len() > 3 * RULES.len(), "{} alerts", expected.len());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "seed {seed}");
    for (id, document) in &expected {
        assert_eq!(&found[id], document, "alert {id}, seed {seed}");
    }
    eprintln!(
        "{n_kills} kills, {n_told} documents before the last run, {} alerts stand in the end",
        expected.len()
    );
}

#[test]
fn a_run_that_is_killed_anywhere_ends_as_if_it_had_not_been() {
    soak(FEW, 1, Duration::from_millis(2_500));
}

#[test]
#[ignore = "a quarter of an hour; `cargo xtask soak` runs it"]
fn a_thousand_kills() {
    let asked = std::env::var(MANY).ok();
    let n_kills = asked.map_or(1_000, |asked| asked.parse().expect("a number of kills"));
    let seed = u64::from(std::process::id());
    soak(n_kills, seed, Duration::from_millis(1_000));
}
