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

#[test]
fn whoever_writes_to_a_socket_does_not_speak_for_aws() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.sock");
    let (mut merge, outlet) = outlet();
    let stop = Stop::default();
    let listener = stream().listen(&path).unwrap();
    std::thread::scope(|scope| {
        let stop_too = stop.clone();
        scope.spawn(move || listener.run(&normalizer(), &outlet, &stop_too).unwrap());
        let mut sensor = UnixStream::connect(&path).unwrap();
        let call = r#"{"eventVersion":"1.11","eventTime":"2026-11-02T10:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","eventID":"forged","awsRegion":"us-east-1","userIdentity":{"type":"IAMUser"}}"#;
        let as_ecs = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"id":"forged"},"data_stream":{"dataset":"aws.cloudtrail"}}"#;
        let as_digest =
            r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"id":"forged","dataset":"groundtrail.feed"}}"#;
        for forged in [call, &format!(r#"{{"Records":[{call}]}}"#), as_ecs, as_digest] {
            writeln!(sensor, "{forged}").unwrap();
        }
        writeln!(sensor, "{}", event("b")).unwrap();
        assert_eq!(take(&mut merge, 1), ["b"], "what a host says of itself, and that alone");
        stop.stop();
    });
}

/// A named pipe and a thread that follows it.
fn with_pipe(act: impl FnOnce(&Path, &mut Merge, &Stop)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (mut merge, outlet) = outlet();
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let (path_too, stop_too) = (path.clone(), stop.clone());
        scope.spawn(move || {
            let poll = Duration::from_millis(10);
            stream().follow_file(&path_too, poll, &normalizer(), &outlet, &NoPositions, &stop_too).unwrap();
        });
        act(&path, &mut merge, &stop);
        // The scope ends only if the thread does.
        stop.stop();
    });
}

#[test]
fn a_pipe_is_read_over_its_writers() {
    with_pipe(|path, merge, _| {
        for id in ["a", "b"] {
            let mut writer = File::options().write(true).open(path).unwrap();
            writeln!(writer, "{}", event(id)).unwrap();
            assert_eq!(take(merge, 1), [id]);
        }
    });
}

#[test]
fn a_pipe_that_nobody_writes_to_holds_up_nobody() {
    with_pipe(|_, merge, _| assert!(merge.next(Duration::from_millis(100)).is_none()));
    with_pipe(|path, merge, stop| {
        let _writer = File::options().write(true).open(path).unwrap();
        stop.stop();
        assert!(
            std::iter::from_fn(|| merge.next(Duration::from_secs(5))).any(|item| matches!(item, Merged::End))
        );
    });
}

#[test]
fn what_cannot_hold_lines_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sock");
    let _held = UnixListener::bind(&socket).unwrap();
    for (path, expect) in [
        (dir.path(), "is a folder, not a stream of events: name the file"),
        (&socket, "is a socket, not a stream of events: to listen there"),
        (Path::new("/dev/null"), "is a device"),
    ] {
        let error = open_at(path, None).err().expect("it is refused").to_string();
        assert!(error.contains(expect) && error.contains(&path.display().to_string()), "{error}");
    }
    let error = stream().read_file(dir.path(), &normalizer(), &outlet().1).unwrap_err().to_string();
    assert!(error.contains("is a folder"), "{error}");
}

/// Says what it has and then nothing more, as an open terminal does.
struct Stuck(io::Cursor<String>);

impl Read for Stuck {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => loop {
                std::thread::park();
            },
            n_read => Ok(n_read),
        }
    }
}

#[test]
fn stopping_does_not_wait_for_a_reader_that_is_stuck() {
    let stop = Stop::default();
    stop.stop();
    let text = format!("{}\n", event("a")).repeat(3_000).replace("\"a\"", "\"b\"");
    let came = collect(|normalizer, outlet| {
        let reader = move || Box::new(Stuck(io::Cursor::new(text))) as Box<dyn Read>;
        stream().read_until_stopped("stdin", reader, normalizer, outlet, &stop).unwrap();
    });
    assert_eq!(came.ids.len(), 3_000, "what was there is read");
}

#[test]
fn a_record_of_a_megabyte_is_refused_and_the_next_is_read() {
    let fits = format!(
        r#"{{"@timestamp":"2026-11-02T10:00:00Z","event":{{"id":"fits"}},"message":"{}"}}"#,
        "x".repeat(900_000)
    );
    let text = format!("{}\n{fits}\n{}\n{}\n", event("a"), fits.replace("xx", "xxx"), event("b"));
    let came = collect(|normalizer, outlet| {
        let stream = Stream { source: "sensor".into(), limits: Limits::default() };
        stream.read_once("stdin", text.as_bytes(), normalizer, outlet).unwrap();
    });
    assert_eq!(came.ids, ["a", "fits", "b"]);
    assert_eq!(came.rejected.len(), 1);
    assert!(came.rejected[0].starts_with("stdin, line 3: longer than 1048576 bytes"), "{:?}", came.rejected);
}
