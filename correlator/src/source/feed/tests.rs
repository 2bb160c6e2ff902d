use std::io::{Read, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::merge::{Merge, Merged, Pace};
use crate::source::normalize::tests::normalizer;
use crate::time::{Lateness, VirtualClock};

/// Everything that came, in short: records by id, rejections as they read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Came {
    pub(crate) ids: Vec<String>,
    pub(crate) rejected: Vec<String>,
    pub(crate) positions: Vec<(String, String)>,
}

/// Runs a source to its end on a thread of its own.
pub(crate) fn collect(run: impl FnOnce(&Normalizer, &Outlet) + Send) -> Came {
    let mut merge = Merge::new(4, Pace::Replay, Arc::new(VirtualClock::default()));
    let outlet = merge.add("test", Lateness::SENSOR);
    let normalizer = normalizer();
    std::thread::scope(|scope| {
        scope.spawn(move || run(&normalizer, &outlet));
        let mut came = Came::default();
        loop {
            match merge.next(Duration::from_secs(10)).expect("the source ends") {
                Merged::Record(_, record) => came.ids.push(record.event.id.to_string()),
                Merged::Rejected(rejected) => {
                    came.rejected.push(format!("{}: {}", rejected.at, rejected.reason))
                }
                Merged::Position(position) => came.positions.push((position.key, position.value)),
                Merged::Receipt(_) | Merged::LeftOut(_) | Merged::Watermark(_) | Merged::Doubt(_) => {}
                Merged::End => return came,
            }
        }
    })
}

pub(crate) fn call(id: &str) -> String {
    format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-11-02T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"{id}"}}"#
    )
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn json(bytes: &[u8], limits: Limits) -> Came {
    collect(|normalizer, outlet| {
        let feed = Feed { source: "test".into(), normalizer, outlet: outlet.clone(), limits };
        feed.json("x.json", bytes).unwrap();
    })
}

#[test]
fn a_log_file_packed_and_plain() {
    let text = format!(r#"{{"Records":[{},{}]}}"#, call("a"), call("b"));
    for bytes in [text.clone().into_bytes(), gzip(&text), [gzip(&text[..60]), gzip(&text[60..])].concat()] {
        let came = json(&bytes, Limits::default());
        assert_eq!(came, Came { ids: vec!["a".into(), "b".into()], ..Came::default() });
    }
}

#[test]
fn a_truncated_gzip_yields_what_it_holds_and_one_line() {
    // Ids that do not compress, so that the cut falls behind several whole records.
    let records: Vec<String> =
        (0..400_u64).map(|n| call(&format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))).collect();
    let packed = gzip(&format!(r#"{{"Records":[{}]}}"#, records.join(",")));
    let came = json(&packed[..packed.len() / 2], Limits::default());
    assert!(came.ids.len() > 50, "{}", came.ids.len());
    assert_eq!(came.rejected.len(), 1, "{:?}", came.rejected);
    let line = &came.rejected[0];
    for part in ["x.json, byte ", "gzip", "the rest is lost", "copy the file again"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(line.contains(&format!("the {} records before it", came.ids.len())), "{line}");
}

#[test]
fn a_broken_record_between_good_ones_is_counted_with_its_place() {
    let no_time = r#"{"eventVersion":"1","eventSource":"s3.amazonaws.com","eventName":"GetObject"}"#;
    let text =
        format!(r#"{{"Records":[{},{{"eventVersion":}},{no_time},{{"foo":1}},{}]}}"#, call("a"), call("b"));
    let came = json(text.as_bytes(), Limits::default());
    assert_eq!(came.ids, ["a", "b"]);
    assert_eq!(came.rejected.len(), 3, "{:?}", came.rejected);
    let place =
        format!("x.json, record 2 at byte {}: broken JSON", r#"{"Records":["#.len() + call("a").len() + 1);
    assert!(came.rejected[0].starts_with(&place), "{}", came.rejected[0]);
    assert!(
        came.rejected[1].contains("record 3") && came.rejected[1].contains("eventTime"),
        "{}",
        came.rejected[1]
    );
    assert!(came.rejected[2].contains("\"foo\""), "{}", came.rejected[2]);
}

#[test]
fn bombs_are_stopped_at_the_cap() {
    let limits = Limits { max_file_bytes: 100_000, max_record_bytes: 10_000 };
    let bomb = gzip(&format!("{}\n{}", call("a"), " ".repeat(50_000_000)));
    assert!(bomb.len() < 100_000);
    let came = json(&bomb, limits);
    assert_eq!((came.ids.len(), came.rejected.len()), (1, 1), "{came:?}");
    assert!(came.rejected[0].contains("max_file_bytes"), "{}", came.rejected[0]);
    let large = format!(r#"{{"eventVersion":"{}"}}"#, "x".repeat(20_000));
    let came = json(format!("[{},{large},{}]", call("a"), call("b")).as_bytes(), limits);
    assert_eq!(came.ids, ["a", "b"]);
    assert!(came.rejected[0].contains("max_record_bytes"), "{}", came.rejected[0]);
}

#[test]
fn foreign_formats_are_named() {
    for (bytes, format) in [(&b"PAR1xxxx"[..], "Parquet"), (&[0x28, 0xb5, 0x2f, 0xfd, 0], "zstd")] {
        let came = json(bytes, Limits::default());
        assert!(came.rejected[0].contains(format), "{:?}", came.rejected);
    }
    assert_eq!(json(b"", Limits::default()), Came::default());
}

#[test]
fn flow_lines_follow_the_last_header() {
    let text = "srcaddr end\n192.0.2.1 1795219260\nbad line here\nend srcaddr log-status\n1795219260 192.0.2.2 OK\n1795219260 - NODATA\n";
    let came = collect(|normalizer, outlet| {
        let feed =
            Feed { source: "test".into(), normalizer, outlet: outlet.clone(), limits: Limits::default() };
        let outcome = feed.flow_log("f.log.gz", gzip(text).as_slice()).unwrap();
        assert_eq!((outcome.n_records, outcome.n_rejected, outcome.is_truncated), (2, 1, false));
    });
    assert_eq!(came.ids.len(), 2);
    assert!(
        came.rejected[0].starts_with("f.log.gz, line 3: 3 values under a header of 2"),
        "{:?}",
        came.rejected
    );
}

#[test]
fn lines_under_a_header_that_is_not_taken_are_left_out() {
    let wide = "c ".repeat(200);
    let text = format!("srcaddr {wide}\n192.0.2.1 1\nsrcaddr end\n192.0.2.1 1795219260\n");
    let came = collect(|normalizer, outlet| {
        let feed =
            Feed { source: "test".into(), normalizer, outlet: outlet.clone(), limits: Limits::default() };
        let outcome = feed.flow_log("f.log", text.as_bytes()).unwrap();
        assert_eq!((outcome.n_records, outcome.n_rejected), (1, 1));
    });
    assert!(came.rejected[0].starts_with("f.log, line 1: a header of 201 columns"), "{:?}", came.rejected);
}

#[test]
fn lines_are_capped_and_their_ends_known() {
    let mut lines = Lines::new(&b"one\r\n\xff\n123456789\nlast"[..], 6);
    let text = |text: &str, number| Some(Line::Text { text: text.to_owned(), number });
    assert_eq!(lines.next_line().unwrap(), text("one\r\n", 1));
    assert_eq!((lines.next_line().unwrap(), lines.at), (text("\u{fffd}\n", 2), 7));
    assert_eq!(lines.next_line().unwrap(), Some(Line::TooLarge { number: 3 }));
    assert_eq!(lines.next_whole().unwrap(), None);
    assert_eq!(lines.at, 17);
    assert_eq!((lines.next_line().unwrap(), lines.next_line().unwrap()), (text("last", 4), None));
}

fn object(kind: Kind, reader: impl Read + Send, limits: Limits) -> (Came, Outcome) {
    let mut outcome = Outcome::default();
    let came = collect(|normalizer, outlet| {
        let feed = Feed { source: "test".into(), normalizer, outlet: outlet.clone(), limits };
        outcome = feed.object("x", kind, reader).unwrap();
    });
    (came, outcome)
}

#[test]
fn an_object_of_no_known_name_is_told_by_its_content() {
    let flows = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n\
                 2 111122223333 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1793613600 1793613660 ACCEPT OK\n";
    let bare = flows.lines().nth(1).unwrap();
    let calls = format!(r#"{{"Records":[{}]}}"#, call("a"));
    for text in [flows, bare, &calls] {
        for bytes in [text.as_bytes().to_vec(), gzip(text)] {
            let (came, outcome) = object(Kind::Unknown, &*bytes, Limits::default());
            assert_eq!((came.ids.len(), came.rejected.len()), (1, 0), "{text}: {:?}", came.rejected);
            assert_eq!(outcome.n_bytes, text.len() as u64, "{text}");
        }
    }
}

#[test]
fn an_empty_object_is_said_and_not_waited_for() {
    for bytes in [Vec::new(), gzip("")] {
        for kind in [Kind::CloudTrail, Kind::VpcFlow, Kind::Unknown] {
            let (came, outcome) = object(kind, &*bytes, Limits::default());
            assert_eq!(came.rejected.len(), 1, "{kind:?}");
            assert!(outcome.first_fault.is_some_and(|fault| fault.contains("empty")));
        }
    }
    let (came, outcome) = object(Kind::CloudTrail, &b"{\"Records\":[]}"[..], Limits::default());
    assert_eq!((came, outcome.first_fault), (Came::default(), None), "a quiet trail is no fault");
}

#[test]
fn faults_of_an_object_are_told() {
    let whole = gzip(&format!(r#"{{"Records":[{},{}]}}"#, call("a"), call("b")));
    let bomb = gzip(&format!(r#"{{"Records":[{}]}}"#, " ".repeat(1 << 20)));
    let small = Limits { max_file_bytes: 1 << 16, ..Limits::default() };
    for (bytes, limits, says) in [
        (&whole[..whole.len() - 9], Limits::default(), "truncated or damaged gzip"),
        (&bomb, small, "unpacks to more than"),
        (&b"<html>not here</html>"[..], Limits::default(), "text between the records"),
        (&b"PAR1nothing"[..], Limits::default(), "Parquet"),
    ] {
        let (_, outcome) = object(Kind::Unknown, bytes, limits);
        let fault = outcome.first_fault.unwrap_or_default();
        assert!(fault.contains(says), "{fault}");
    }
}

/// Some bytes, and then the line is cut.
struct Cut<'b>(&'b [u8]);

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::Error::new(INTERRUPTED, "cut")),
            read => read,
        }
    }
}

#[cfg(feature = "aws")]
#[test]
fn a_hash_is_of_the_whole_content_or_there_is_none() {
    let text = format!(r#"{{"Records":[{},{}]}}"#, call("a"), call("b"));
    let expect: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let packed = gzip(&text);
    let bomb = gzip(&" ".repeat(1 << 20));
    let came = collect(|normalizer, outlet| {
        let limits = Limits { max_file_bytes: 1 << 16, ..Limits::default() };
        let feed = Feed { source: "test".into(), normalizer, outlet: outlet.clone(), limits };
        for whole in [text.as_bytes(), &packed] {
            assert_eq!(feed.hash(whole).sha256, Some(expect));
        }
        for (part, says) in [(&packed[..packed.len() - 9], ""), (&bomb, "max_file"), (b"PAR1", "Parquet")] {
            let outcome = feed.hash(part);
            assert!(outcome.sha256.is_none() && !outcome.is_interrupted);
            assert!(outcome.first_fault.is_some_and(|fault| fault.contains(says)), "{says}");
        }
        for len in [0, 2, packed.len() - 4] {
            assert!(feed.hash(Cut(&packed[..len])).is_interrupted);
        }
    });
    assert_eq!(came, Came::default(), "nothing of it is handed over");
}

#[test]
fn a_sender_that_stops_is_no_fault_of_the_object() {
    let text = format!(r#"{{"Records":[{},{}]}}"#, call("a"), call("b"));
    let packed = gzip(&text);
    for len in [0, 2, 40, packed.len() - 4] {
        for kind in [Kind::CloudTrail, Kind::VpcFlow, Kind::Unknown] {
            let (came, outcome) = object(kind, Cut(&packed[..len]), Limits::default());
            assert!(outcome.is_interrupted, "{len} {kind:?}: {outcome:?}");
            // Half a document taken for flow log lines is not this test's.
            if kind == Kind::CloudTrail {
                assert_eq!(came.rejected, [""; 0], "{len}");
            }
        }
    }
}
