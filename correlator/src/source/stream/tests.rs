use std::io::Write as _;

use super::*;
use crate::merge::{Merge, Merged, Pace};
use crate::source::feed::tests::{call, collect, gzip};
use crate::source::folder::NoPositions;
use crate::source::normalize::tests::normalizer;
use crate::time::{Lateness, VirtualClock};

fn event(id: &str) -> String {
    format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","event":{{"id":"{id}"}}}}"#)
}

fn stream() -> Stream {
    Stream { source: "sensor".into(), limits: Limits { max_record_bytes: 1_000, ..Limits::default() } }
}

#[test]
fn lines_of_events_and_of_single_records() {
    let text = format!("{}\n\nnot json\n{}\n{}\n{}", event("a"), call("b"), "x".repeat(2_000), event("c"));
    for bytes in [text.clone().into_bytes(), gzip(&text)] {
        let came = collect(|normalizer, outlet| {
            stream().read_once("stdin", bytes.as_slice(), normalizer, outlet).unwrap();
        });
        assert_eq!(came.ids, ["a", "b", "c"]);
        assert_eq!(came.rejected.len(), 2);
        assert!(came.rejected[0].starts_with("stdin, line 3: broken JSON"), "{:?}", came.rejected);
        assert!(came.rejected[1].starts_with("stdin, line 5: longer than 1000 bytes"), "{:?}", came.rejected);
    }
}

#[test]
fn a_line_that_holds_nothing_is_counted() {
    let came = collect(|normalizer, outlet| {
        stream().read_once("stdin", "{}\n[]\n\n".as_bytes(), normalizer, outlet).unwrap();
    });
    assert_eq!(came.rejected.len(), 2, "{:?}", came.rejected);
}

#[test]
fn a_file_that_is_absent_says_so() {
    let error = stream()
        .read_file(Path::new("/nowhere/host.ndjson"), &normalizer(), &outlet().1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/host.ndjson"), "{error}");
}

fn outlet() -> (Merge, Outlet) {
    let mut merge = Merge::new(64, Pace::Replay, Arc::new(VirtualClock::default()));
    let outlet = merge.add("sensor", Lateness::SENSOR);
    (merge, outlet)
}

/// Records until so many came.
fn take(merge: &mut Merge, n_expected: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..1_000 {
        if ids.len() >= n_expected {
            break;
        }
        if let Some(Merged::Record(_, record)) = merge.next(Duration::from_millis(10)) {
            ids.push(record.event.id.to_string());
        }
    }
    ids
}

#[test]
fn a_growing_file_is_followed_over_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.ndjson");
    fs::write(&path, format!("{}\n{}", event("a"), &event("b")[..20])).unwrap();
    let (mut merge, outlet) = outlet();
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let (path_too, stop_too) = (path.clone(), stop.clone());
        scope.spawn(move || {
            let poll = Duration::from_millis(10);
            stream().follow_file(&path_too, poll, &normalizer(), &outlet, &NoPositions, &stop_too).unwrap();
        });
        assert_eq!(take(&mut merge, 1), ["a"], "half a line waits for its end");
        let mut file = File::options().append(true).open(&path).unwrap();
        writeln!(file, "{}", &event("b")[20..]).unwrap();
        assert_eq!(take(&mut merge, 1), ["b"]);
        fs::rename(&path, dir.path().join("host.ndjson.1")).unwrap();
        fs::write(&path, format!("{}\n", event("c"))).unwrap();
        assert_eq!(take(&mut merge, 1), ["c"]);
        stop.stop();
    });
}

#[test]
fn sensors_write_to_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.sock");
    let (mut merge, outlet) = outlet();
    let stop = Stop::default();
    let listener = stream().listen(&path).unwrap();
    assert!(stream().listen(&path).is_err(), "one listener at a time");
    std::thread::scope(|scope| {
        let stop_too = stop.clone();
        scope.spawn(move || listener.run(&normalizer(), &outlet, &stop_too).unwrap());
        let mut one = UnixStream::connect(&path).unwrap();
        let mut two = UnixStream::connect(&path).unwrap();
        writeln!(one, "{}", event("a")).unwrap();
        assert_eq!(take(&mut merge, 1), ["a"]);
        writeln!(two, "{}", event("b")).unwrap();
        assert_eq!(take(&mut merge, 1), ["b"]);
        stop.stop();
    });
    assert!(!path.exists());
    fs::write(dir.path().join("plain"), "").unwrap();
    assert!(stream().listen(&dir.path().join("plain")).is_err(), "a file is not taken for a stale socket");
}
