//! All that a source may hand over and should not, in one run: each is counted and explained, and the rest goes on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rules::event::{EventTime, Span};
use serde_json::Value;

use super::run::{Delivery, Runner};
use super::tests::{ASKED, SENT, World, connect, exec, sent, world};
use super::{Engine, Mode};
use crate::alert::AlertChange;
use crate::keyed::Limits;
use crate::merge::{Doubt, Doubted, Merge, Outlet, Pace};
use crate::source::Rejected;
use crate::source::feed::{self, Feed, Lines, Outcome};
use crate::source::stop::Stop;
use crate::stats::Counts;
use crate::store::Store;
use crate::time::{Lateness, VirtualClock, parse};

/// Tells of single host events.
const RAN: &str = r#"
[rule]
name = "Ran"
rule_id = "00000000-0000-4000-8000-0000000000b1"
description = "d"
type = "query"
language = "kuery"
severity = "low"
risk_score = 21
query = 'process.name:nc'
"#;

/// Keyed by what may be of any length.
const TWICE: &str = r#"
[rule]
name = "Twice"
rule_id = "00000000-0000-4000-8000-0000000000b2"
description = "d"
type = "threshold"
language = "kuery"
from = "now-30m"
severity = "low"
risk_score = 21
query = 'process.name:long'
[rule.threshold]
field = ["process.command_line"]
value = 2
"#;

#[derive(Default)]
struct Told {
    alerts: Vec<Value>,
    rejected: Vec<Rejected>,
    doubts: Vec<Doubt>,
}

impl Delivery for Told {
    fn alert(&mut self, change: &AlertChange) -> io::Result<()> {
        self.alerts.push(change.document.clone());
        Ok(())
    }

    fn again(&mut self, _document: &str) -> io::Result<()> {
        Ok(())
    }

    fn rejected(&mut self, rejected: &Rejected) {
        self.rejected.push(rejected.clone());
    }

    fn doubt(&mut self, doubt: &Doubt) {
        self.doubts.push(doubt.clone());
    }
}

impl Told {
    /// The last word on each alert of a rule.
    fn of(&self, rule: &str) -> Vec<&Value> {
        let of_rule = self.alerts.iter().filter(|alert| alert["rule"]["name"] == rule);
        let last: BTreeMap<String, &Value> =
            of_rule.map(|alert| (alert["groundtrail"]["alert"]["id"].to_string(), alert)).collect();
        last.into_values().collect()
    }

    fn reasons(&self) -> Vec<String> {
        self.rejected.iter().map(|rejected| format!("{}: {}", rejected.at, rejected.reason)).collect()
    }
}

fn at(second: i64) -> EventTime {
    parse("2026-11-02T10:00:00Z").unwrap() + Span::from_secs(second)
}

fn stamped(line: &str, time: &str) -> String {
    let (head, rest) = line.split_once(r#""@timestamp":""#).unwrap();
    format!(r#"{head}"@timestamp":"{time}{}"#, &rest[rest.find('"').unwrap()..])
}

fn send(world: &World, outlet: &Outlet, lines: &[String]) {
    let limits = feed::Limits::default();
    let feed = Feed { source: "host".into(), normalizer: &world.normalizer, outlet: outlet.clone(), limits };
    let (text, mut outcome) = (lines.join("\n"), Outcome::default());
    let mut lines = Lines::new(text.as_bytes(), limits.max_record_bytes);
    while let Some(line) = lines.next_line().unwrap() {
        feed.line("events", &line, &mut outcome).unwrap();
    }
}

/// Before, between and after what is wrong stands what is right: a sequence over all of it, and a call.
fn run(n_threads: usize) -> (Told, Counts) {
    let world = world(&[SENT, ASKED, RAN, TWICE]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_for_run(&dir.path().join("store.db")).unwrap();
    let clock = Arc::new(VirtualClock::at(at(12)));
    let stage = (n_threads > 1).then(|| world.stage(n_threads));
    let pace = Pace::Live { idle_after: Span::from_secs(10) };
    let mut merge =
        Merge::new(1_024, pace, Arc::clone(&clock) as _).by_clock(world.schema()).with_stage(stage);
    let outlet = merge.add("host", Lateness(Span::from_secs(5)));

    let nc = |id: &str| exec("nc", 100).replace("exec-nc-100", id);
    let long = |id: &str, n_bytes: usize| {
        exec("long", 101).replace("exec-long-101", id).replace("long x", &"k".repeat(n_bytes))
    };
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let call = sent(100);
    send(
        &world,
        &outlet,
        &[
            exec("curl", 100),
            stamped(&nc("future"), "2036-11-02T10:00:00Z"),
            stamped(&nc("unset"), "1970-01-01T00:00:07Z"),
            // Too long a record, and two with a key of nearly as much as one may hold.
            long("too-long", 1 << 20),
            long("key-1", 1_000_000),
            long("key-2", 1_000_000),
            format!(r#"{{"a":{deep}}}"#),
            nc("deep").replace(r#""user":"#, &format!(r#""deep":{deep},"user":"#)),
            call.clone(),
            call.replace("mallory", "eve"),
            call,
            connect(104),
        ],
    );
    // A host whose clock goes an hour ahead, and one whose clock goes an hour back and stays there.
    let on = |host: &str, second: i64, id: String| {
        stamped(&nc(&id).replace("web-1", host), &crate::time::format(at(second)))
    };
    // Long enough to tell it from one that is a little late.
    for second in 13..110 {
        clock.advance_to(at(second));
        let (ahead, back) = if second < 15 { (second, second) } else { (second + 3_600, second - 3_600) };
        let both =
            [on("web-2", ahead, format!("ahead-{second}")), on("web-3", back, format!("back-{second}"))];
        send(&world, &outlet, &both);
    }
    drop(outlet);
    let limits = Limits::default();
    let engine = Engine::new(world.program(), world.schema(), limits, Mode::Revisions);
    let mut runner = Runner::new(engine, Mode::Revisions, Some(store), &world.normalizer).unwrap();
    let mut told = Told::default();
    let stats = runner.run(&mut merge, &Stop::default(), &mut told).unwrap();
    assert!(runner.engine().n_bytes() < limits.max_bytes);
    (told, stats.total())
}

fn check(n_threads: usize) {
    let (told, counts) = run(n_threads);
    // 12 lines, and 97 seconds of two hosts.
    assert_eq!((counts.received, counts.rejected), (12 + 194, 3), "{:?}", told.reasons());
    assert!(counts.is_balanced(), "{counts:?}");
    assert_eq!(
        (counts.duplicate, counts.conflicting),
        (2, 1),
        "the same call again, and another under its id"
    );
    assert_eq!(counts.misdated, 2 + 95, "2036, 1970, and the seconds of the clock that is ahead");

    let reasons = told.reasons();
    let says = |part: &str| reasons.iter().filter(|reason| reason.contains(part)).count();
    assert_eq!(says("longer than 1048576 bytes"), 1, "{reasons:?}");
    assert_eq!(says("events, line 4: "), 1, "{reasons:?}");
    assert_eq!(
        (says("events, line 7: broken JSON: "), says("events, line 8: broken JSON: ")),
        (1, 1),
        "{reasons:?}"
    );
    assert_eq!(says("an event of this id was here before and said something else"), 1, "{reasons:?}");

    let doubted = |what: Doubted| {
        let of = told.doubts.iter().filter(|doubt| doubt.what == what);
        of.map(|doubt| doubt.clock.to_string()).collect::<Vec<_>>()
    };
    let (ahead, unset, behind) = (doubted(Doubted::Ahead), doubted(Doubted::Unset), doubted(Doubted::Behind));
    assert!(ahead.iter().any(|clock| clock.contains("web-2")), "{ahead:?}");
    assert!(behind.iter().any(|clock| clock.contains("web-3")), "{behind:?}");
    // One doubt of a clock an hour, so the first wrong time of web-1 is the one that is told.
    assert!(ahead.iter().chain(&unset).any(|clock| clock.contains("web-1")), "{ahead:?} {unset:?}");

    assert_eq!(told.of("Asked").len(), 1, "a sequence over all that was wrong");
    assert_eq!(told.of("Command sent").len(), 1, "the first of an id counts");
    assert!(told.of("Command sent")[0].to_string().contains("mallory"));
    assert_eq!(told.of("Twice").len(), 1, "a key of a megabyte is a key");
    let ran = told.of("Ran");
    assert_eq!(ran.len(), 2 + 194, "the misdated count as well");
    for id in ["future", "unset", "ahead-20"] {
        let alert = ran.iter().find(|alert| alert.to_string().contains(&format!("\"{id}\""))).unwrap();
        let unseen = alert["groundtrail"]["alert"]["could_not_see"].to_string();
        assert!(unseen.contains("which cannot be; it arrived at"), "{id}: {unseen}");
    }
}

#[test]
fn bad_input_is_counted_and_explained_and_the_rest_goes_on() {
    check(1);
}

#[test]
fn on_several_threads_too() {
    check(3);
}
