use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;

use super::*;
use crate::config::aws::NOT_KEPT;
use crate::health::{Board, PartitionHealth, RuleHealth, SourceHealth};
use crate::source::{OTHER_SERVICES, OTHER_TIMES};
use crate::stats::Counts;
use crate::wire::account::Cause;

fn health() -> Health {
    let partition = PartitionHealth {
        name: "web\"1\n\u{1b}]0;x\u{7}\\".to_owned(),
        newest_ms: Some(1_500),
        lag_p50_ms: Some(8),
        lag_p95_ms: Some(512),
        lag_p99_ms: Some(1_024),
        n_missing: 3,
        n_losses: 1,
        ..PartitionHealth::default()
    };
    let counts = Counts {
        received: 15,
        evaluated: 1,
        dropped: 2,
        duplicate: 3,
        late: 4,
        rejected: 5,
        ..Counts::default()
    };
    let source = SourceHealth {
        name: "trail".to_owned(),
        is_open: true,
        newest_ms: Some(1_500),
        counts,
        partitions: vec![partition],
        ..SourceHealth::default()
    };
    let rule = RuleHealth {
        id: "r".to_owned(),
        severity: "low".to_owned(),
        n_matches: 7,
        n_keys_lost: 1,
        n_hits_lost: 0,
    };
    Health {
        version: "1".to_owned(),
        at_ms: 4_000,
        started_ms: -1,
        is_ready: true,
        watermark_ms: Some(2_000),
        sources: vec![source],
        rules: vec![rule],
        drops: [("noise".to_owned(), 2)].into(),
        ..Health::default()
    }
}

#[test]
fn the_page_says_what_the_table_does() {
    expect_file!["../../../docs/metrics.md"].assert_eq(&page());
}

/// Names that the code gives and no list: who reads the page finds each of them.
#[test]
fn the_page_knows_what_is_counted_under_names_of_our_own() {
    let meaning = |name: &str| METRICS.iter().find(|metric| metric.name == name).unwrap().meaning;
    let dropped = meaning("groundtrail_dropped_events_total");
    for line in [OTHER_SERVICES, OTHER_TIMES, NOT_KEPT] {
        assert!(dropped.contains(&format!("`{line}`")), "{line}");
    }
    let refused = meaning("groundtrail_wire_refused_total");
    for cause in Cause::ALL {
        let name = cause.name();
        let is_told = refused.split(|c: char| !c.is_ascii_lowercase() && c != '_').any(|word| word == name);
        assert!(is_told, "{name}");
    }
}

/// By the rules of the format: names, labels, escapes and values, each metric announced before its samples.
#[test]
fn the_text_is_what_prometheus_reads() {
    let text = text(&health());
    let mut announced = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kind == "counter" || kind == "gauge");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            announced = Some(name);
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        assert_eq!(Some(name), announced);
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        assert!(!series.chars().any(char::is_control), "{line}");
        assert!(name == series || series.ends_with("\"}"), "{line}");
    }
    for line in [
        "groundtrail_source_events_total{source=\"trail\"} 15",
        "groundtrail_events_total{source=\"trail\",outcome=\"rejected\"} 5",
        "groundtrail_source_last_event_timestamp_seconds{source=\"trail\"} 1.500",
        "groundtrail_rule_matches_total{rule_id=\"r\",severity=\"low\"} 7",
        "groundtrail_state_evictions_total{rule_id=\"r\",reason=\"keys\"} 1",
        "groundtrail_watermark_timestamp_seconds 2.000",
        "groundtrail_start_timestamp_seconds -0.001",
    ] {
        assert!(text.lines().any(|held| held == line), "{line}: {text}");
    }
    assert!(text.contains("{source=\"trail\",partition=\"web\\\"1"), "{text}");
    assert!(text.contains("percentile=\"99\"} 1.024"), "{text}");
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len());
}

fn serving(health: Option<Health>) -> SocketAddr {
    let board = Arc::new(Board::default());
    if let Some(health) = health {
        board.put(health);
    }
    serve(([127, 0, 0, 1], 0).into(), board).unwrap()
}

fn send(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(at: SocketAddr, path: &str) -> String {
    send(at, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn each_path_answers() {
    let at = serving(Some(health()));
    let metrics = get(at, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.ends_with(&text(&health())));
    assert!(get(at, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(at, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(at, "/etc/passwd").starts_with("HTTP/1.1 404"));
    assert!(
        send(at, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
            .starts_with("HTTP/1.1 405")
    );
    assert_eq!(ask(&format!("http://{at}")).unwrap(), health());
    let mut unready = health();
    unready.is_ready = false;
    unready.sources[0].is_open = false;
    let answer = get(serving(Some(unready)), "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"trail\" cannot be read"), "{answer}");
    let starting = serving(None);
    assert!(get(starting, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(get(starting, "/healthz").starts_with("HTTP/1.1 200"));
}

/// Silent, endless and garbled clients, more than there are places: the places come free again by themselves.
#[test]
fn hostile_clients_are_let_go() {
    let at = serving(Some(health()));
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(at).unwrap()).collect();
    let mut endless = TcpStream::connect(at).unwrap();
    endless.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let chunk = format!("x: {}\r\n", "a".repeat(60_000));
    while endless.write_all(chunk.as_bytes()).is_ok() {}
    assert!(!send(at, "\0\u{1}\u{2} garbage\r\n\r\n").starts_with("HTTP/1.1 200"));
    // Each of the silent ones was closed by the server: reading ends.
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{ended:?}");
    }
    assert!(get(at, "/metrics").starts_with("HTTP/1.1 200"));
}

#[test]
fn what_does_not_answer_is_said() {
    assert!(ask("https://127.0.0.1").unwrap_err().to_string().contains("no TLS"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = ask(&format!("http://{free}/status")).unwrap_err().to_string();
    assert!(error.contains("is the run up"), "{error}");
}
