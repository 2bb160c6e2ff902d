//! Bad input, given to the real programs: each fault is one clear line that names the thing and the way out, it is counted,
//! and nothing after it is lost.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{bins, digest, netns, skip, watch};
use serde_json::{Value, json};

/// A record that raises one alert of its own.
fn record(n: usize) -> Value {
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser", "principalId": "AIDAEXAMPLE0000000001", "arn": "arn:aws:iam::111122223333:user/mallory",
            "accountId": "111122223333", "userName": "mallory",
        },
        "eventTime": format!("2026-11-02T10:{n:02}:00Z"),
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": "StopLogging",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.23",
        "userAgent": "aws-cli/2.31.0",
        "requestParameters": { "name": format!("trail-{n}") },
        "responseElements": null,
        // Text that does not compress: a file cut in its middle then still holds whole records.
        "requestID": digest::hex(&n.to_string()).repeat(4),
        "eventID": digest::uuid(&n.to_string()),
        "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true,
        "recipientAccountId": "111122223333", "eventCategory": "Management",
    })
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn groundtrail(args: &[&str], folder: &Path) -> Said {
    let config = folder.join("groundtrail.toml");
    fs::write(&config, "").unwrap();
    Said::of(
        Command::new(bins::groundtrail())
            .arg("--config")
            .arg(config)
            .args(args)
            .current_dir(folder)
            .output()
            .unwrap(),
    )
}

/// What a program said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The one line of either stream with this in it, and all of these too.
    fn line(&self, with: &str, needles: &[&str]) -> &str {
        let mut lines = self.err.lines().chain(self.out.lines()).filter(|line| line.contains(with));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("nothing is said of \"{with}\":\n{}\n{}", self.out, self.err));
        assert_eq!(lines.next(), None, "\"{with}\" is said once");
        for needle in needles {
            assert!(line.contains(needle), "\"{needle}\" is not in: {line}");
        }
        line
    }

    /// The trails whose end was alerted on, in order.
    fn trails(&self) -> Vec<String> {
        let alerts = self.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut trails: Vec<String> = alerts
            .map(|alert| alert.to_string())
            .map(|text| {
                let at = text.find("trail-").expect("an alert names its trail");
                text[at + 6..].chars().take_while(char::is_ascii_digit).collect()
            })
            .collect();
        trails.sort_by_key(|trail| trail.parse::<u32>().unwrap());
        trails
    }
}

const REPLAY: [&str; 5] = ["replay", "--final", "--output", "ndjson", "--cloudtrail"];

#[test]
fn truncated_gzip_costs_its_own_tail_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let feed = folder.path().join("feed");
    fs::create_dir(&feed).unwrap();
    let whole = gzip(&json!({ "Records": (0..20).map(record).collect::<Vec<Value>>() }).to_string());
    fs::write(feed.join("a.json.gz"), &whole[..whole.len() / 2]).unwrap();
    fs::write(feed.join("b.json.gz"), gzip(&json!({ "Records": [record(50)] }).to_string())).unwrap();

    let said = groundtrail(&[&REPLAY[..], &["feed"]].concat(), folder.path());
    said.line("a.json.gz", &["truncated", "copy the file again"]);
    let trails = said.trails();
    assert!(trails.len() > 2 && trails.len() < 21, "the records before the cut are there: {trails:?}");
    assert_eq!(trails.last().map(String::as_str), Some("50"), "so is the file after it");
    said.line("replayed:", &["1 unreadable"]);
    assert_eq!(said.code, Some(1));
}

#[test]
fn broken_record_between_good_ones_is_named_by_place_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut undated = record(2);
    undated["eventTime"] = json!("yesterday");
    let records = [
        record(1).to_string(),
        undated.to_string(),
        record(3).to_string(),
        "{\"eventVersion\": nonsense}".to_owned(),
        record(4).to_string(),
    ];
    fs::write(folder.path().join("mixed.json"), format!("{{\"Records\":[{}]}}", records.join(","))).unwrap();

    let said = groundtrail(&[&REPLAY[..], &["mixed.json"]].concat(), folder.path());
    said.line("record 2", &["mixed.json", "\"eventTime\": \"yesterday\""]);
    said.line("record 4", &["mixed.json", "broken JSON"]);
    assert_eq!(said.trails(), ["1", "3", "4"]);
    said.line("replayed:", &["3 evaluated", "2 unreadable"]);
    assert_eq!(said.code, Some(1));
}

#[test]
fn broken_host_event_is_skipped_and_the_next_read() {
    let folder = tempfile::tempdir().unwrap();
    let trace = fs::read_to_string(bins::workspace().join("tests/traces/system3/host.ndjson")).unwrap();
    let mut lines: Vec<&str> = trace.lines().collect();
    lines.insert(1, "{\"@timestamp\":\"2026-11-21T10:00:00Z\",\"process\":{\"pi");
    fs::write(folder.path().join("host.ndjson"), lines.join("\n")).unwrap();

    let said =
        groundtrail(&["replay", "--final", "--output", "ndjson", "--host", "host.ndjson"], folder.path());
    said.line("host.ndjson", &["line 2"]);
    assert!(said.out.contains("169.254.169.254"), "the alert of the lines after it is there:\n{}", said.err);
    assert_eq!(said.code, Some(1));
}

#[test]
fn unknown_rule_field_is_shown_in_its_place_with_the_one_meant() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "[rule]\nname = \"Typo\"\nrule_id = \"7d2a4f0e-58f1-4b9a-9c0e-0f6d3f2a1b11\"\ndescription = \"x\"\ntype = \"query\"\n\
                language = \"kuery\"\nindex = [\"logs-aws.cloudtrail-*\"]\nseverity = \"low\"\nrisk_score = 21\n\
                query = 'event.acton: \"StopLogging\"'\n";
    fs::write(folder.path().join("typo.toml"), rule).unwrap();

    let said = groundtrail(&["check", "typo.toml"], folder.path());
    said.line("error[GT101]", &["\"event.acton\""]);
    said.line("-->", &["typo.toml:10:10"]);
    said.line("^^^^^^^^^^^", &[]);
    said.line("did you mean", &["\"event.action\""]);
    assert_eq!(said.code, Some(1));
}

#[test]
fn bad_rule_file_does_not_take_the_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "[rule]\nname = \"no query\"\n").unwrap();
    fs::write(folder.path().join("feed.json"), json!({ "Records": [record(7)] }).to_string()).unwrap();

    let said = groundtrail(&[&REPLAY[..], &["feed.json", "--rules", "bad.toml"]].concat(), folder.path());
    assert!(said.err.contains("bad.toml"), "{}", said.err);
    assert_eq!(said.trails(), ["7"], "{}", said.err);
}

#[test]
fn unreadable_folder_is_named_and_the_other_source_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("feed.json"), json!({ "Records": [record(9)] }).to_string()).unwrap();

    let said = groundtrail(&[&REPLAY[..], &["nowhere", "--cloudtrail", "feed.json"]].concat(), folder.path());
    said.line("nowhere", &["cannot read", "there is no file or folder", "check it"]);
    assert_eq!(said.trails(), ["9"]);
    assert_eq!(said.code, Some(1));
}

#[test]
fn rule_that_never_can_fire_is_named_with_the_source_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let said = groundtrail(&["check", "--cloudtrail", "."], folder.path());
    said.line(
        "Unusual process asks the instance metadata service",
        &["can never fire", "endpoint.events.process", "--sensor"],
    );
    said.line("\"GuardDuty finding\"", &["can never fire", "--guardduty DIR"]);
    assert!(!said.out.contains("CloudTrail logging stopped\": can never fire"), "{}", said.out);
}

/// The sensor where everybody may run it.
fn shared_sensor(folder: &Path) -> std::path::PathBuf {
    let copy = folder.join("groundtrail-sensor");
    fs::copy(bins::sensor(), &copy).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

#[test]
fn sensor_without_root_says_so_in_one_line() {
    if let Some(reason) = watch::not_root() {
        skip::say(&format!("giving root up needs root: {reason}"));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sensor = shared_sensor(folder.path());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(sensor)
        .arg("check")
        .output();
    let said = Said::of(output.expect("setpriv is in util-linux"));
    assert_ne!(said.code, Some(0));
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("root") || text.contains("CAP_BPF"), "the way out is named: {text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn sensor_on_a_kernel_without_btf_says_so_in_one_line() {
    if let Some(reason) = watch::not_root() {
        skip::say(&format!("hiding the kernel's BTF needs root: {reason}"));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hidden = "mount -t tmpfs tmpfs /sys/kernel/btf 2>/dev/null || mount --bind \"$1\" /sys/kernel/btf; exec \"$0\" check";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", hidden])
        .arg(bins::sensor())
        .arg(folder.path());
    let said = Said::of(command.output().expect("unshare is in util-linux"));
    assert_ne!(said.code, Some(0));
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("/sys/kernel/btf/vmlinux") && text.contains("CONFIG_DEBUG_INFO_BTF"), "{text}");
}

/// A scene under way that does not end by itself, in a folder that nobody else's command line names.
fn scene(folder: &Path) -> Child {
    let aws = folder.join("aws");
    fs::write(&aws, "#!/bin/sh\nsleep 600\n").unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(bins::stage());
    command.args(["play", "system1", "--aws"]).arg(aws).arg("--cloudtrail").arg(folder.join("cloudtrail"));
    let mut stage = command.env("TMPDIR", folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(stage.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("scene system1"), "{said}");
    stage
}

/// Waits until no process names this folder in its arguments; those that still do when patience ends.
fn left_of(folder: &Path) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<String> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
            .map(|args| String::from_utf8_lossy(&args).replace('\0', " "))
            .filter(|args| args.contains(folder.to_str().unwrap()))
            .collect();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn scenario_ends_with_whoever_started_it() {
    if let Some(reason) = watch::not_root().or_else(netns::refused) {
        skip::say(&reason);
        return;
    }
    for signal in ["TERM", "KILL"] {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = scene(folder.path());
        netns::run("sh", &["-c", &format!("kill -{signal} {}", stage.id())]).unwrap();
        assert!(!stage.wait().unwrap().success());
        assert_eq!(left_of(folder.path()), Vec::<String>::new(), "{signal}");
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let n_scratch = names.filter(|name| name.to_string_lossy().starts_with("groundtrail-stage.")).count();
        // A program that was not asked cannot tidy up.
        assert_eq!(n_scratch, usize::from(signal == "KILL"));
    }
}
