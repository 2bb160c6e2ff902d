//! What sources and whoever stands behind them may rely on, however many workers there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rules::schema::Schema;

use super::*;
use crate::merge::{Merge, Merged, Pace};
use crate::source::feed::{Feed, Limits, Line, Outcome};
use crate::source::layout::Kind;
use crate::source::normalize::tests::normalizer;
use crate::source::{Origin, Position, Receipt};
use crate::time::{Lateness, VirtualClock};

fn program() -> Arc<Program> {
    let mut schema = Schema::builtin();
    let loaded = rules::catalogue::builtin(&mut schema);
    Arc::new(Program::with_drops(loaded.rules, loaded.drops, &schema))
}

fn empty() -> Arc<Program> {
    Arc::new(Program::with_drops(Vec::new(), Vec::new(), &Schema::builtin()))
}

fn host(n: usize) -> String {
    format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","event":{{"id":"h{n}"}},"host":{{"id":"web-1"}}}}"#)
}

fn call(n: usize) -> String {
    format!(
        r#"{{"eventID":"c{n}","eventTime":"2026-11-02T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"ListBuckets"}}"#
    )
}

fn merge(capacity: usize, stage: Option<Stage>) -> Merge {
    Merge::new(capacity, Pace::Replay, Arc::new(VirtualClock::default())).with_stage(stage)
}

/// What leaves the merge until the end: ids of records, and what was sent between them.
fn drain(merge: &mut Merge) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        match merge.next(Duration::from_secs(1)) {
            Some(Merged::Record(_, record)) => out.push(record.event.id.to_string()),
            Some(Merged::Rejected(rejected)) => out.push(format!("{}: {}", rejected.at, rejected.reason)),
            Some(Merged::Position(position)) => out.push(format!("up to {}", position.value)),
            Some(Merged::Receipt(receipt)) => {
                out.push("receipt".to_owned());
                receipt.give();
            }
            Some(Merged::End) => return out,
            _ => {}
        }
    }
}

fn feed(outlet: crate::merge::Outlet, normalizer: &Normalizer) -> Feed<'_> {
    Feed { source: "test".into(), normalizer, outlet, limits: Limits::default() }
}

/// Positions of files, receipts for hosts and for messages of queues: each stands for all that was sent before it.
#[test]
fn what_is_sent_between_records_stays_between_them() {
    let normalizer = normalizer();
    let stage = Stage::new(8, &normalizer, &empty());
    let mut merge = merge(64, Some(stage));
    let outlet = merge.add("test", Lateness::SENSOR);
    let n_given = AtomicUsize::new(0);
    let mut expected = Vec::new();
    let came = thread::scope(|scope| {
        let feed = feed(outlet, &normalizer);
        for n in 0..600 {
            expected.push(format!("h{n}"));
            if n % 7 == 0 {
                expected.push(format!("up to {n}"));
            }
            if n % 50 == 0 {
                expected.push("receipt".to_owned());
            }
        }
        scope.spawn(move || {
            let mut outcome = Outcome::default();
            for n in 0..600 {
                // By both ways: texts that are read by workers, and records that the source has read itself.
                if n % 3 == 0 {
                    let record = feed.normalizer.read(Origin::Sensor, host(n)).unwrap();
                    feed.outlet.send(SourceItem::Record(record)).unwrap();
                } else {
                    // Some take longer than those after them.
                    let text = host(n).replace("web-1", &"x".repeat(if n % 5 == 0 { 100_000 } else { 5 }));
                    feed.line("lines", &Line::Text { text, number: n as u64 }, &mut outcome).unwrap();
                }
                if n % 7 == 0 {
                    let (source, key) = (Arc::clone(&feed.source), "lines".to_owned());
                    let position = Position { source, key, value: n.to_string() };
                    feed.outlet.send(SourceItem::Position(position)).unwrap();
                }
                if n % 50 == 0 {
                    feed.outlet.send(SourceItem::Receipt(Receipt::new(|| {}))).unwrap();
                }
            }
        });
        let came = drain(&mut merge);
        n_given.fetch_add(came.iter().filter(|item| *item == "receipt").count(), Ordering::Relaxed);
        came
    });
    assert_eq!(came, expected);
    assert_eq!(n_given.into_inner(), 12);
}

/// What becomes of an object, of its message, and what is said of it hang on what was found in all of it.
#[test]
fn the_account_of_an_object_is_the_same_whoever_reads_it() {
    let mut records: Vec<String> = (0..300).map(call).collect();
    records[40] =
        r#"{"eventID":"x","eventTime":"never","eventSource":"s3.amazonaws.com","eventName":"x"}"#.into();
    records[41] = r#"{"eventVersion":"1.08","what":"ever"}"#.into();
    records[170] = format!("{{\"deep\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let whole = format!("{{\"Records\":[{}]}}", records.join(","));
    let cut = &whole[..whole.len() - 100];
    let normalizer = normalizer();
    let read = |text: &str, n_threads: usize| {
        let stage = (n_threads > 1).then(|| Stage::new(n_threads, &normalizer, &empty()));
        let mut merge = merge(64, stage);
        let outlet = merge.add("test", Lateness::CLOUDTRAIL);
        thread::scope(|scope| {
            let feed = feed(outlet, &normalizer);
            let outcome =
                scope.spawn(move || feed.object("object", Kind::CloudTrail, text.as_bytes()).unwrap());
            let came = drain(&mut merge);
            (outcome.join().unwrap(), came)
        })
    };
    for text in [whole.as_str(), cut, &whole.replace("\"eventID\":\"c200\"", "\"eventID\":\"c200")] {
        let alone = read(text, 1);
        assert!(alone.0.n_records > 190 && alone.0.n_rejected >= 3, "{:?}", alone.0);
        assert!(alone.0.first_fault.as_ref().unwrap().contains("record 41 at"), "{:?}", alone.0);
        for n_threads in [2, 8] {
            assert_eq!(read(text, n_threads), alone, "{n_threads} threads");
        }
    }
}

#[test]
fn a_source_that_nobody_takes_from_stands_still() {
    const N: usize = 20_000;
    let normalizer = normalizer();
    let mut merge = merge(4, Some(Stage::new(4, &normalizer, &empty())));
    let outlet = merge.add("test", Lateness::SENSOR);
    let n_sent = AtomicUsize::new(0);
    let came = thread::scope(|scope| {
        let (feed, n_sent) = (feed(outlet, &normalizer), &n_sent);
        scope.spawn(move || {
            for n in 0..N {
                let line = Line::Text { text: host(n), number: n as u64 };
                feed.line("lines", &line, &mut Outcome::default()).unwrap();
                n_sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Long enough for all of it, if nothing held it up.
        thread::sleep(Duration::from_millis(200));
        // The queue's four batches, and the one that waits before it.
        assert!(n_sent.load(Ordering::Relaxed) <= 5 * 16, "{n_sent:?} sent");
        drain(&mut merge).len()
    });
    assert_eq!(came, N);
}

#[test]
fn after_a_reload_the_new_rules_are_asked() {
    let normalizer = normalizer();
    let (before, after) = (program(), empty());
    let stage = Stage::new(2, &normalizer, &before);
    let mut merge = merge(4, Some(stage.clone()));
    let outlet = merge.add("test", Lateness::SENSOR);
    let feed = feed(outlet, &normalizer);
    let mut prepared = |n: usize| {
        feed.line("lines", &Line::Text { text: host(n), number: 1 }, &mut Outcome::default()).unwrap();
        loop {
            match merge.next(Duration::from_secs(5)).expect("it comes") {
                Merged::Record(_, record) => return record.prepared.expect("a worker had it"),
                Merged::Watermark(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert!(prepared(1).is_of(&before));
    stage.replace(&after);
    let second = prepared(2);
    assert!(second.is_of(&after) && !second.is_of(&before));
}
