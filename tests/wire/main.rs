//! The wire end to end: the real correlator, the sensor's own spool and wire in processes that are killed, and strangers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod site;

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use correlator::ca::{Authority, Subject};
use correlator::time::{Clock as _, SystemClock};
use harness::skip;
use rules::event::Span;
use site::{Feeder, PATIENCE, Site, canary, curl, wait_for};

const STREAM: &str = "groundtrail-stream: 00112233445566778899aabbccddeeff";

fn canaries(host: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| canary(host, n)).collect()
}

fn has_curl() -> bool {
    let is_there = Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        skip::say("curl is not installed");
    }
    is_there
}

#[test]
fn events_cross_over_tls_and_become_alerts_under_the_certificates_name() {
    let mut site = Site::over_tls();
    site.issue("web-1");
    site.start("");
    let said = site.deliver("web-1", &canaries("web-1", 0..20), 60);
    assert!(said.contains("left 0 given-up 0"), "{said}");
    wait_for("the alerts", || site.alerts().len() == 20);
    assert!(site.alerts().iter().all(|alert| alert["host"]["id"] == "web-1"));
}

#[test]
fn kill_nine_of_either_side_loses_nothing_and_doubles_nothing() {
    let mut site = Site::over_tls();
    site.issue("web-1");
    site.start("");
    const N: usize = 240;
    let lines = canaries("web-1", 0..N);
    // A line may come twice over the kill of a feeder that did not say in time that it had it: its event is the same.
    let mut n_sent = 0;
    let mut round = 0;
    while n_sent < N {
        let mut feeder = Feeder::start(&site, "web-1");
        let share = &lines[n_sent..(n_sent + 40).min(N)];
        for (n, line) in share.iter().enumerate() {
            feeder.feed(line);
            // At a different place each time: while batches are packed, written, sent, acknowledged.
            if n % 13 == round % 13 {
                std::thread::sleep(Duration::from_millis(37 * (round as u64 % 7)));
            }
        }
        if round % 2 == 0 {
            site.kill();
            std::thread::sleep(Duration::from_millis(100));
            site.start("");
        }
        std::thread::sleep(Duration::from_millis(60 * (round as u64 % 5)));
        feeder.kill();
        n_sent += usize::try_from(feeder.spooled()).unwrap();
        round += 1;
        assert!(round < 60, "it gets on");
    }
    Feeder::start(&site, "web-1").finish();
    wait_for("all alerts", || site.alerts().len() >= N);
    let found: BTreeSet<String> =
        site.alerts().iter().map(|alert| alert["process"]["pid"].to_string()).collect();
    assert_eq!((site.alerts().len(), found.len()), (N, N), "one alert for each event, and no more");
}

#[test]
fn the_correlator_is_away_and_a_sensor_with_little_room_tells_what_it_gave_up() {
    let mut site = Site::over_unix();
    let long = |n: usize| {
        let mut event: serde_json::Value = serde_json::from_str(&canary("web-1", n)).unwrap();
        event["process"]["title"] = noise(n).into();
        event.to_string()
    };
    let lines: Vec<String> = (0..3000).map(long).collect();
    let mut command = site.feeder("web-1");
    command.args(["--max-bytes", "1048576", "--patience", "0"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in &lines {
        std::io::Write::write_all(&mut stdin, format!("{line}\n").as_bytes()).unwrap();
    }
    drop(stdin);
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let number = |name: &str| -> u64 {
        let mut words = said.lines().last().unwrap().split(' ');
        words.find(|word| *word == name);
        words.next().unwrap().parse().unwrap()
    };
    let (left, given_up) = (number("left"), number("given-up"));
    assert!(given_up > 0 && left > 0, "{said}");
    assert_eq!(left + given_up, 3000, "every event is in the spool or counted");
    site.start("");
    let said = site.deliver("web-1", &[], 60);
    assert!(said.contains("left 0"), "{said}");
    wait_for("what was kept", || site.alerts().len() as u64 == left);
}

/// Text that does not pack.
fn noise(n: usize) -> String {
    (0..16).map(|part| harness::digest::hex(&format!("{n}.{part}"))).collect()
}

#[test]
fn lines_of_the_version_before_batches_still_count() {
    let mut site = Site::over_unix();
    site.start("");
    let path = site.place().strip_prefix("unix:").unwrap().to_owned();
    let mut old = UnixStream::connect(path).unwrap();
    for line in canaries("old-1", 0..3) {
        std::io::Write::write_all(&mut old, format!("{line}\n").as_bytes()).unwrap();
    }
    wait_for("the old sensor's alerts", || site.alerts().len() == 3);
    let said = site.deliver("new-1", &canaries("new-1", 0..3), 60);
    assert!(said.contains("left 0"), "{said}");
    wait_for("the new sensor's alerts", || site.alerts().len() == 6);
    drop(old);
}

/// A request as the first version of the protocol sends it, to the letter: it has to be understood as long as that
/// version is.
#[test]
fn a_recorded_batch_of_version_one_is_taken() {
    let mut site = Site::over_unix();
    site.start("");
    let body = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/wire/v1.zst")).unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ngroundtrail-protocol: 1\r\ngroundtrail-host: web-1\r\n\
         content-type: application/x-ndjson\r\ncontent-encoding: zstd\r\n{STREAM}\r\ngroundtrail-sequence: 5\r\n\
         groundtrail-oldest: 5\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = UnixStream::connect(site.place().strip_prefix("unix:").unwrap()).unwrap();
    std::io::Write::write_all(&mut stream, &[head.as_bytes(), &body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // Two frames.
    assert!(answer.contains("groundtrail-acknowledged: 6"), "{answer}");
}

#[test]
fn strangers_forgers_and_bombs_are_turned_away_and_told() {
    if !has_curl() {
        return;
    }
    let mut site = Site::over_tls();
    ["web-1", "web-2", "late"].iter().for_each(|host| site.issue(host));
    site.start("");
    let tls = site.path("tls");
    let pair = |name: &str| (tls.join(format!("{name}.pem")), tls.join(format!("{name}.key")));
    let send = |of: &str, headers: &[&str], body: &[u8]| {
        let (certificate, key) = pair(of);
        curl(&site, Some((&certificate, &key)), headers, body)
    };
    let head = |host: &'static str, seq: &'static str| {
        ["groundtrail-protocol: 1", host, STREAM, seq, "groundtrail-oldest: 1"]
    };
    let packed = |text: &str| zstd::bulk::compress(text.as_bytes(), 1).unwrap();
    let (own, first) = ("groundtrail-host: web-1", "groundtrail-sequence: 1");
    let good = packed(&canary("web-1", 1));

    // A foreign TLS peer that does everything right is as good as a sensor; the same again is acknowledged and no news.
    for _ in 0..2 {
        let (status, text) = send("web-1", &head(own, first), &good);
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("groundtrail-acknowledged: 1"), "{text}");
    }
    // No certificate, somebody else's authority, one that has expired.
    assert_eq!(curl(&site, None, &head(own, first), &good).0, 0);
    let stranger = Site::over_tls();
    stranger.issue("web-1");
    let (certificate, key) = (stranger.path("tls/web-1.pem"), stranger.path("tls/web-1.key"));
    assert_eq!(curl(&site, Some((&certificate, &key)), &head(own, first), &good).0, 0);
    let day = Span::from_secs(24 * 3_600);
    let past = SystemClock.now() - day - day - day;
    let subject = Subject::Sensor { host: "expired".into(), instance: None };
    let issued = Authority::open(&site.path("ca")).unwrap().issue(&subject, 1, None, past).unwrap();
    fs::write(tls.join("expired.pem"), issued.certificate_pem).unwrap();
    fs::write(tls.join("expired.key"), issued.key_pem.unwrap()).unwrap();
    let (status, _) = send("expired", &head("groundtrail-host: expired", first), &good);
    assert_eq!(status, 0);
    // The server's own certificate is no sensor's.
    assert_eq!(send("127.0.0.1", &head(own, first), &good).0, 0);
    // The certificate is good, and the name in the request another's.
    let (status, text) = send("web-2", &head(own, "groundtrail-sequence: 2"), &good);
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("its certificate \"web-2\""), "{text}");
    // The request's name is right, and an event in it another's.
    let (status, text) = send("web-2", &head("groundtrail-host: web-2", first), &packed(&canary("web-1", 7)));
    assert_eq!(status, 200, "{text}");
    wait_for("the forged event", || site.alerts().len() == 2);
    let forged = site.alerts().into_iter().find(|alert| alert["process"]["pid"] == 7).unwrap();
    assert_eq!(forged["host"]["id"], "web-2");
    // A sensor does not speak for AWS.
    let aws = canary("web-1", 8).replace("endpoint.events.process", "aws.cloudtrail");
    assert_eq!(send("web-1", &head(own, "groundtrail-sequence: 2"), &packed(&aws)).0, 200);
    // A bomb, half a frame, no zstd, too early, another version, a stream without a name.
    let bomb = zstd::bulk::compress(&vec![b'\n'; 200 << 20], 1).unwrap();
    let third = "groundtrail-sequence: 3";
    let (status, text) = send("web-1", &head(own, third), &bomb);
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("groundtrail-refused: 3"), "{text}");
    assert_eq!(send("web-1", &head(own, third), &good[..good.len() / 2]).0, 413);
    assert_eq!(send("web-1", &head(own, third), b"{}").0, 413);
    let (status, text) = send("web-1", &head(own, "groundtrail-sequence: 9"), &good);
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("groundtrail-expected: 3"), "{text}");
    let mut other = head(own, third);
    other[0] = "groundtrail-protocol: 99";
    assert_eq!(send("web-1", &other, &good).0, 426);
    other = head(own, third);
    other[2] = "groundtrail-stream: none";
    assert_eq!(send("web-1", &other, &good).0, 400);
    // Revoked while the correlator runs: within seconds it is shut out, and the others are not.
    let late = head("groundtrail-host: late", first);
    assert_eq!(send("late", &late, &packed(&canary("late", 9))).0, 200);
    site.ca(&["revoke", "late"]);
    wait_for("the revoked certificate to be refused", || {
        send("late", &late, &packed(&canary("late", 10))).0 == 0
    });
    assert_eq!(send("web-1", &head(own, third), &packed(&canary("web-1", 11))).0, 200);
    let said = site.deliver("late", &[canary("late", 12)], 3);
    assert!(said.contains("left 1 given-up 0") && said.contains("CertificateRevoked"), "{said}");
    let told = site.told();
    for expect in [
        "connection refused",
        "is not who it says",
        "claimed to be another",
        "no sensor's event",
        "batch refused",
        "others come first",
        "another version",
        "certificates read anew",
    ] {
        assert!(told.contains(expect), "not told: {expect}");
    }
    wait_for("the rest of the alerts", || site.alerts().len() == 4);
}

#[test]
fn a_correlator_with_another_name_gets_nothing() {
    let mut site = Site::over_tls();
    site.issue("web-1");
    site.start("");
    // Its certificate says 127.0.0.1.
    let place = site.place().replace("127.0.0.1", "localhost");
    let mut command = Command::new(harness::bins::feeder());
    command.args(["deliver", "--to", &place, "--host", "web-1", "--patience", "3", "--spool"]);
    command.arg(site.path("spool")).arg("--tls").arg(site.path("tls"));
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("{}\n", canary("web-1", 1)).as_bytes())
        .unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("left 1 given-up 0"), "{said}");
    assert!(said.contains("certificate"), "{said}");
    assert!(site.alerts().is_empty());
}

#[test]
fn who_dawdles_is_cut_off_and_holds_up_nobody() {
    let mut site = Site::over_tls();
    site.issue("web-1");
    site.start("");
    let began = Instant::now();
    let mut dawdlers: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", site.port())).unwrap()).collect();
    // The first byte of a handshake, and then nothing.
    dawdlers.iter_mut().for_each(|stream| std::io::Write::write_all(stream, &[0x16]).unwrap());
    let said = site.deliver("web-1", &canaries("web-1", 0..5), 60);
    assert!(said.contains("left 0"), "{said}");
    for stream in &mut dawdlers {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Closed, or reset: either is an end. A time-out of ours is none.
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let is_ended = ended.as_ref().map_or_else(|err| err.kind() != ErrorKind::WouldBlock, |_| true);
        assert!(is_ended && began.elapsed() < PATIENCE, "{ended:?}");
    }
    wait_for("a word of it", || site.told().contains("it took too long"));
}

#[test]
fn a_sensor_that_sends_more_than_its_share_waits_and_loses_nothing() {
    let mut site = Site::over_unix();
    site.start("events_per_second = 20");
    // Ten seconds' worth may come at once; what is more has to be made up for before the next batch.
    for (range, n) in [(0..300, 300), (300..310, 310)] {
        let said = site.deliver("web-1", &canaries("web-1", range), 90);
        assert!(said.contains("left 0 given-up 0"), "{said}");
        wait_for("all alerts", || site.alerts().len() == n);
    }
    assert!(site.told().contains("more than its share"));
}
