//! The merge, on a clock that stands where it is put.

use super::*;
use crate::source::Origin;
use crate::source::normalize::tests::normalizer;
use crate::time::{VirtualClock, parse};

fn at(second: i64) -> EventTime {
    parse("2026-11-02T10:00:00Z").unwrap() + Span::from_secs(second)
}

fn record(second: i64) -> SourceItem {
    let text = format!(r#"{{"@timestamp":"{}"}}"#, crate::time::format(at(second)));
    SourceItem::Record(normalizer().read(Origin::Sensor, text).unwrap())
}

fn late(seconds: i64) -> Lateness {
    Lateness(Span::from_secs(seconds))
}

/// What comes out until nothing more does; records as `r<second>`, watermarks as `w<second>`.
fn drain(merge: &mut Merge) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(merged) = merge.next(Duration::ZERO) {
        match merged {
            Merged::Record(_, record) => {
                out.push(format!("r{}", (record.event.time - at(0)).0 / 1_000_000_000))
            }
            Merged::Watermark(time) => out.push(format!("w{}", (time - at(0)).0 / 1_000_000_000)),
            Merged::End => {
                out.push("end".to_owned());
                break;
            }
            Merged::Doubt(_) => {}
            other => panic!("{other:?}"),
        }
    }
    out
}

#[test]
fn the_slowest_source_holds_the_watermark() {
    let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
    let (fast, slow) = (merge.add("sensor", late(5)), merge.add("cloudtrail", late(60)));
    fast.send(record(100)).unwrap();
    assert_eq!(drain(&mut merge), ["r100"], "the other has not spoken yet");
    slow.send(record(90)).unwrap();
    assert_eq!(drain(&mut merge), ["r90", "w30"]);
    slow.send(record(50)).unwrap();
    assert_eq!(drain(&mut merge), ["r50"], "never backwards");
    slow.send(SourceItem::End).unwrap();
    assert_eq!(drain(&mut merge), ["w95"]);
    drop((fast, slow));
    assert_eq!(drain(&mut merge), ["end"]);
}

#[test]
fn an_idle_source_holds_nobody_in_replay() {
    let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
    let (one, two) = (merge.add("one", late(0)), merge.add("two", late(0)));
    two.send(SourceItem::Idle).unwrap();
    one.send(record(7)).unwrap();
    assert_eq!(drain(&mut merge), ["r7", "w7"]);
}

#[test]
fn a_silent_live_source_moves_with_the_clock() {
    let clock = Arc::new(VirtualClock::at(at(0)));
    let idle_after = Span::from_secs(10);
    let mut merge = Merge::new(16, Pace::Live { idle_after }, Arc::clone(&clock) as Arc<dyn Clock>);
    let (sensor, _cloud) = (merge.add("sensor", late(5)), merge.add("cloudtrail", late(60)));
    sensor.send(record(0)).unwrap();
    assert_eq!(drain(&mut merge), ["r0"]);
    // Under our eyes: a leap of the clock alone is no silence.
    let said: Vec<String> = (1..=100)
        .flat_map(|second| {
            clock.advance_to(at(second));
            drain(&mut merge)
        })
        .collect();
    assert_eq!(said.first().unwrap(), "w-50", "after 10 s");
    assert_eq!(said.last().unwrap(), "w40", "the one with the longest lateness, by the clock");
}

#[test]
fn a_clock_that_runs_ahead_does_not_make_the_rest_late() {
    let clock = Arc::new(VirtualClock::at(at(0)));
    let mut merge = Merge::new(16, Pace::Live { idle_after: Span::from_secs(10) }, clock);
    let sensor = merge.add("sensor", late(5));
    sensor.send(record(0)).unwrap();
    sensor.send(record(1_000_000)).unwrap();
    sensor.send(record(1)).unwrap();
    let out = drain(&mut merge);
    assert!(!out.iter().any(|item| item.starts_with('w') && item.len() > 3), "{out:?}");
    assert_eq!(merge.progress()[0].n_late, 0);
}

#[test]
fn late_records_pass_and_are_counted() {
    let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
    let one = merge.add("one", late(0));
    for second in [10, 20, 5] {
        one.send(record(second)).unwrap();
    }
    assert_eq!(drain(&mut merge), ["r10", "w10", "r20", "w20", "r5"]);
    assert_eq!(merge.progress()[0].n_late, 1);
}

#[test]
fn a_full_channel_makes_the_source_wait() {
    let mut merge = Merge::new(1, Pace::Replay, Arc::new(VirtualClock::default()));
    let one = merge.add("one", late(0));
    let sender = std::thread::spawn(move || (0..100).try_for_each(|second| one.send(record(second))));
    let n_records = std::iter::from_fn(|| merge.next(Duration::from_secs(5)))
        .take_while(|merged| !matches!(merged, Merged::End))
        .filter(|merged| matches!(merged, Merged::Record(..)))
        .count();
    assert_eq!((n_records, sender.join().unwrap()), (100, Ok(())));
}

#[test]
fn sources_that_are_idle_do_not_keep_the_caller() {
    let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
    let one = merge.add("one", late(0));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..200 {
                let _ = one.send(SourceItem::Idle);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        assert!(merge.next(Duration::from_millis(50)).is_none(), "and not the end, a second later");
        drop(merge);
    });
}

#[test]
fn a_source_learns_that_nobody_reads() {
    let mut merge = Merge::new(1, Pace::Replay, Arc::new(VirtualClock::default()));
    let one = merge.add("one", late(0));
    drop(merge);
    assert_eq!(one.send(SourceItem::Idle), Err(Closed));
}

fn live(clock: &Arc<VirtualClock>) -> Merge {
    let idle_after = Span::from_secs(10);
    let schema = Schema::builtin();
    Merge::new(64, Pace::Live { idle_after }, Arc::clone(clock) as Arc<dyn Clock>).by_clock(&schema)
}

fn of_host(host: &str, second: i64) -> SourceItem {
    let time = crate::time::format(at(second));
    let text = format!(r#"{{"@timestamp":"{time}","host":{{"id":"{host}"}}}}"#);
    SourceItem::Record(normalizer().read(Origin::Sensor, text).unwrap())
}

fn watermarks(merge: &mut Merge) -> Vec<String> {
    drain(merge).into_iter().filter(|item| item.starts_with('w')).collect()
}

#[test]
fn the_slowest_host_of_a_source_holds_the_watermark() {
    let clock = Arc::new(VirtualClock::at(at(100)));
    let mut merge = live(&clock);
    let sensors = merge.add("sensor", late(5));
    for (host, second) in [("web-1", 99), ("web-2", 70), ("web-1", 100)] {
        sensors.send(of_host(host, second)).unwrap();
    }
    assert_eq!(watermarks(&mut merge).last().unwrap(), "w94", "what was given out stays");
    let mut merge = live(&clock);
    let sensors = merge.add("sensor", late(5));
    for (host, second) in [("web-2", 70), ("web-1", 99), ("web-1", 100)] {
        sensors.send(of_host(host, second)).unwrap();
    }
    assert_eq!(watermarks(&mut merge), ["w65"]);
}

#[test]
fn a_host_that_lies_about_time_neither_freezes_nor_advances_the_others() {
    let clock = Arc::new(VirtualClock::at(at(0)));
    let mut merge = live(&clock);
    let sensors = merge.add("sensor", late(5));
    let (mut seen, mut doubts) = (Vec::new(), Vec::new());
    for second in 0..60 {
        clock.advance_to(at(second));
        sensors.send(of_host("web-1", second)).unwrap();
        sensors.send(of_host("slow", second - 7_200)).unwrap();
        sensors.send(of_host("ahead", second + 1_000_000)).unwrap();
        sensors.send(of_host("unset", second - 1_793_000_000)).unwrap();
        while let Some(merged) = merge.next(Duration::ZERO) {
            match merged {
                Merged::Watermark(time) => seen.push((time - at(0)).0 / 1_000_000_000),
                Merged::Doubt(doubt) => doubts.push(doubt.to_string()),
                _ => {}
            }
        }
    }
    doubts.sort();
    assert_eq!(
        doubts,
        [
            "the clock of \"ahead\" is ahead by 1000000 s: its events count as of their arrival",
            "the clock of \"slow\" is behind by 7200 s and does not catch up: nobody waits for it",
            "the clock of \"unset\" was never set: its events count as of their arrival",
        ],
        "each is said once"
    );
    assert_eq!(seen.last(), Some(&54), "{seen:?}");
    let progress = merge.progress().remove(0);
    let by_name = |name: &str| progress.partitions.iter().find(|of| &*of.name == name).unwrap().clone();
    assert!(by_name("slow").is_astray && !by_name("web-1").is_astray);
    assert_eq!((by_name("ahead").n_misdated, by_name("unset").n_misdated), (60, 60));
    assert_eq!(by_name("web-1").lag_p99, Some(Span::from_millis(1)));
}

#[test]
fn an_impossible_time_gives_way_to_the_arrival() {
    let clock = Arc::new(VirtualClock::at(at(100)));
    let mut merge = live(&clock);
    let sensors = merge.add("sensor", late(5));
    sensors.send(of_host("web-1", 1_000_000)).unwrap();
    let Some(Merged::Record(_, record)) = merge.next(Duration::ZERO) else { panic!("no record") };
    assert_eq!((record.event.time, record.claimed), (at(100), Some(at(1_000_000))));
    let timestamp = Schema::builtin().id("@timestamp").unwrap();
    assert_eq!(record.event.get(timestamp).unwrap().to_string(), crate::time::format(at(100)));
    assert_eq!(record.document()["@timestamp"], crate::time::format(at(100)));
}

#[test]
fn a_source_speaks_for_so_many_clocks_and_no_more() {
    let clock = Arc::new(VirtualClock::at(at(0)));
    let mut merge = live(&clock);
    let sensors = merge.add("sensor", late(5));
    for n in 0..MAX_CLOCKS + 100 {
        sensors.send(of_host(&format!("host-{n}"), 0)).unwrap();
        while merge.next(Duration::ZERO).is_some() {}
    }
    assert_eq!(merge.progress()[0].partitions.len(), MAX_CLOCKS + 1);
}

#[test]
fn a_backlog_of_one_source_does_not_hold_another() {
    let mut merge = Merge::new(1_000, Pace::Replay, Arc::new(VirtualClock::default()));
    let (busy, quiet) = (merge.add("busy", late(0)), merge.add("quiet", late(0)));
    for second in 0..1_000 {
        busy.send(record(second)).unwrap();
    }
    quiet.send(record(5_000)).unwrap();
    drop((busy, quiet));
    let place = drain(&mut merge).iter().position(|item| item == "r5000");
    assert!(place.is_some_and(|place| place < 4), "{place:?}");
}

/// Ours, which somebody sets.
#[derive(Debug)]
struct SetClock(std::sync::atomic::AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[test]
fn a_step_of_our_own_clock_costs_no_event_and_never_turns_time_back() {
    let clock = Arc::new(SetClock(std::sync::atomic::AtomicI64::new(at(0).0)));
    let set = |second| clock.0.store(at(second).0, std::sync::atomic::Ordering::SeqCst);
    let idle_after = Span::from_secs(10);
    let mut merge = Merge::new(16, Pace::Live { idle_after }, Arc::clone(&clock) as Arc<dyn Clock>);
    let sensor = merge.add("sensor", late(5));
    let (mut records, mut watermarks) = (Vec::new(), Vec::new());
    // Right, an hour ahead, right again, an hour behind, right for good.
    for (ours, event) in [(0, 0), (3_601, 1), (2, 2), (-3_597, 3), (4, 4)] {
        set(ours);
        sensor.send(record(event)).unwrap();
        for said in drain(&mut merge) {
            match said.split_at(1) {
                ("r", second) => records.push(second.to_owned()),
                (_, second) => watermarks.push(second.parse::<i64>().unwrap()),
            }
        }
    }
    assert_eq!(records, ["0", "1", "2", "-3597", "4"], "what cannot be right counts as of its arrival");
    assert!(watermarks.is_sorted(), "{watermarks:?}");
    let progress = merge.progress().remove(0);
    assert_eq!((progress.n_records, progress.partitions[0].n_misdated), (5, 1));
}

#[test]
fn a_source_is_open_until_it_says_otherwise() {
    let mut merge = Merge::new(16, Pace::Replay, Arc::new(VirtualClock::default()));
    let source = merge.add("sensor", late(5));
    let mut is_open = |item: Option<SourceItem>| {
        if let Some(item) = item {
            source.send(item).unwrap();
        }
        while merge.next(Duration::ZERO).is_some() {}
        merge.progress()[0].is_open
    };
    let (at, reason) = ("x".to_owned(), "gone".to_owned());
    let gone = Rejected { source: "sensor".into(), at, reason, kind: RejectedKind::Unreadable };
    assert!(!is_open(None), "nobody knows yet");
    assert!(!is_open(Some(SourceItem::Rejected(gone.clone()))));
    assert!(!is_open(Some(SourceItem::Idle)), "it waits for what is not there");
    assert!(is_open(Some(SourceItem::Opened)));
    assert!(is_open(Some(SourceItem::Idle)));
    let line = Rejected { kind: RejectedKind::Record, ..gone };
    assert!(is_open(Some(SourceItem::Rejected(line))), "one bad line is not the source");
}

#[test]
fn a_running_clock_alone_keeps_nobody_busy() {
    let mut merge = Merge::new(16, Pace::Live { idle_after: Span(1) }, Arc::new(crate::time::SystemClock));
    let source = merge.add("sensor", late(0));
    source.send(record(0)).unwrap();
    let started = Instant::now();
    let mut n_wakes = 0;
    while started.elapsed() < Duration::from_millis(200) {
        merge.next(Duration::from_millis(20));
        n_wakes += 1;
    }
    // The record, its watermark, and one look for each time that was waited.
    assert!(n_wakes <= 15, "{n_wakes} times in 200 ms");
}

/// A call of an account, as its trail delivers it.
fn of_account(account: &str, second: i64) -> SourceItem {
    let time = crate::time::format(at(second)).replace(".000Z", "Z");
    let text = format!(
        r#"{{"eventID":"{account}-{second}","eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"DescribeRegions","awsRegion":"us-east-1","recipientAccountId":"{account}"}}"#
    );
    SourceItem::Record(normalizer().read(Origin::CloudTrail, text).unwrap())
}

const DAY: i64 = 86_400;

#[test]
fn a_follower_that_has_not_said_that_it_is_done_is_waited_for() {
    let clock = Arc::new(VirtualClock::at(at(10 * DAY)));
    let mut merge = live(&clock);
    let (sensor, trail) = (merge.add("sensor", late(5)), merge.add_follower("trail", late(1_200)));
    sensor.send(of_host("web-1", 10 * DAY)).unwrap();
    assert_eq!(watermarks(&mut merge), [""; 0], "it lists its files");
    clock.advance_to(at(10 * DAY + 60));
    assert_eq!(watermarks(&mut merge), [""; 0], "and takes its time");
    trail.send(of_account("111122223333", 0)).unwrap();
    assert_eq!(watermarks(&mut merge), ["w-1200"]);
    // A large file takes a minute to unpack.
    clock.advance_to(at(10 * DAY + 120));
    sensor.send(of_host("web-1", 10 * DAY + 120)).unwrap();
    assert_eq!(watermarks(&mut merge), [""; 0]);
    trail.send(of_account("444455556666", 60)).unwrap();
    trail.send(of_account("111122223333", 3_600)).unwrap();
    drain(&mut merge);
    assert_eq!(merge.progress()[1].n_late, 0);
    trail.send(SourceItem::Idle).unwrap();
    assert_eq!(watermarks(&mut merge), [format!("w{}", 10 * DAY + 120 - 1_200)]);
    // Another backlog, and then nothing more at all: nobody waits for ever.
    trail.send(of_account("111122223333", 10 * DAY)).unwrap();
    let mut last = watermarks(&mut merge).pop();
    for minute in 1..=40 {
        let second = 10 * DAY + 120 + 60 * minute;
        clock.advance_to(at(second));
        sensor.send(of_host("web-1", second)).unwrap();
        last = watermarks(&mut merge).pop().or(last);
        assert!(minute > 14 || last.is_none() || last == Some(format!("w{}", 10 * DAY - 1_200)), "{last:?}");
    }
    let last: i64 = last.unwrap()[1..].parse().unwrap();
    assert!(last > 10 * DAY, "{last}");
}

#[test]
fn numbers_that_are_left_out_and_losses_that_are_reported_are_counted_by_host() {
    let clock = Arc::new(VirtualClock::at(at(0)));
    let mut merge = live(&clock);
    let sensors = merge.add("sensor", late(5));
    for (host, number, action) in
        [("web-1", 1, "exec"), ("web-1", 4, "exec"), ("web-2", 7, "exec"), ("web-2", 8, "groundtrail_loss")]
    {
        let time = crate::time::format(at(0));
        let text = format!(
            r#"{{"@timestamp":"{time}","event":{{"id":"{host}-{number}","sequence":{number},"action":"{action}"}},"host":{{"id":"{host}"}}}}"#
        );
        sensors.send(SourceItem::Record(normalizer().read(Origin::Sensor, text).unwrap())).unwrap();
    }
    drain(&mut merge);
    let progress = merge.progress().remove(0);
    let counted: Vec<_> =
        progress.partitions.iter().map(|of| (&*of.name, of.n_missing, of.n_losses)).collect();
    assert_eq!(counted, [("web-1", 2, 0), ("web-2", 0, 1)]);
}
