//! Queues and buckets, read by the real program with AWS's own SDK from a server that answers as AWS does. Each test plays in
//! a network namespace with loopback alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::moto::{self, Between, Moto, wait_for};
use harness::{digest, skip};
use serde_json::{Value, json};

/// A record that raises one alert of its own.
fn record(n: usize) -> Value {
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser", "principalId": "AIDAEXAMPLE0000000001", "arn": "arn:aws:iam::111122223333:user/mallory",
            "accountId": "111122223333", "userName": "mallory",
        },
        "eventTime": time(n),
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": "StopLogging",
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "198.51.100.23",
        "userAgent": "aws-cli/2.31.0",
        "requestParameters": { "name": format!("trail-{n}") },
        "responseElements": null,
        "requestID": digest::hex(&n.to_string()).repeat(4),
        "eventID": digest::uuid(&n.to_string()),
        "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true,
        "recipientAccountId": "111122223333", "eventCategory": "Management",
    })
}

/// A while ago: a run takes what is much older for very late.
fn time(n: usize) -> String {
    static BEGAN: OnceLock<jiff::Timestamp> = OnceLock::new();
    let began = BEGAN.get_or_init(|| jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10));
    let seconds = i64::try_from(n).unwrap();
    (*began + jiff::SignedDuration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn log_file(records: impl Iterator<Item = usize>) -> Vec<u8> {
    gzip(&json!({ "Records": records.map(record).collect::<Vec<_>>() }).to_string())
}

fn key(region: &str, day: u32, minute: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/{region}/2026/11/{day:02}/111122223333_CloudTrail_{region}_202611{day:02}T10{minute:02}Z_kZ1bR4xXw2v0Q1aB.json.gz"
    )
}

/// One run's files, and what it said.
struct Scene {
    folder: tempfile::TempDir,
    moto: Moto,
    queue: String,
}

/// Ended with its owner.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Run {
    /// Asks it to end, and waits for it.
    fn end(mut self) {
        harness::netns::run("sh", &["-c", &format!("kill -TERM {}", self.0.id())]).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Scene {
    fn new() -> Self {
        let moto = Moto::start();
        moto.aws(&[
            "s3api",
            "create-bucket",
            "--bucket",
            "trail",
            "--create-bucket-configuration",
            "LocationConstraint=eu-west-1",
        ]);
        let queue = moto.create_queue("trail");
        Self { folder: tempfile::tempdir().unwrap(), moto, queue }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let file = self.path("upload");
        fs::write(&file, bytes).unwrap();
        self.moto.put("trail", key, &file);
    }

    /// S3 itself tells the queue of what is put from now on.
    fn notify(&self) {
        let said = self.moto.aws(&[
            "sqs",
            "get-queue-attributes",
            "--queue-url",
            &self.queue,
            "--attribute-names",
            "QueueArn",
        ]);
        let arn = said["Attributes"]["QueueArn"].as_str().unwrap();
        let told = json!({ "QueueConfigurations": [{ "QueueArn": arn, "Events": ["s3:ObjectCreated:*"] }] })
            .to_string();
        self.moto.aws(&[
            "s3api",
            "put-bucket-notification-configuration",
            "--bucket",
            "trail",
            "--notification-configuration",
            &told,
        ]);
    }

    fn run(&self, source: &str, endpoint: &str) -> Run {
        let config = self.path("groundtrail.toml");
        let text = format!(
            "[store]\npath = \"store.db\"\n[[source]]\n{source}\nregion = \"eu-west-1\"\nendpoint = \"{endpoint}\"\n"
        );
        fs::write(&config, text).unwrap();
        Run(moto::groundtrail(&config, &self.path("out"), &self.path("log")).unwrap())
    }

    fn sqs(&self) -> String {
        format!("type = \"sqs\"\nqueue = \"{}\"\nvisibility = \"10s\"", self.queue)
    }

    /// Every (alert, revision) that was told, in order.
    fn told(&self) -> Vec<(String, u64, String)> {
        let lines = self.text("out");
        // The last line may still be on its way.
        let whole = lines.rfind('\n').map_or("", |at| &lines[..at]);
        let alerts = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let name = |alert: Value| {
            let own = &alert["groundtrail"]["alert"];
            let rule = alert["rule"]["name"].as_str().unwrap().to_owned();
            (own["id"].as_str().unwrap().to_owned(), own["revision"].as_u64().unwrap(), rule)
        };
        alerts.map(name).collect()
    }

    fn alerts(&self) -> BTreeSet<String> {
        self.told().into_iter().map(|(id, _, _)| id).collect()
    }

    fn is_queue_empty(&self) -> bool {
        self.moto.waiting(&self.queue) == (0, 0)
    }

    fn dead_letters(&self) -> Vec<Value> {
        self.text("store.db-dead-letters.ndjson")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The far side's scene, or none on this side.
fn scene(test: &str) -> Option<Scene> {
    if let Some(reason) = moto::obstacle() {
        skip::say(&reason);
        return None;
    }
    moto::inside(test).then(Scene::new)
}

fn sns(message: &str) -> String {
    json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:trail", "Message": message }).to_string()
}

#[test]
fn a_log_file_and_its_notice_become_an_alert_and_the_message_goes() {
    let Some(scene) = scene("a_log_file_and_its_notice_become_an_alert_and_the_message_goes") else { return };
    scene.notify();
    let between = Arc::new(Between::default());
    let role = "role = \"arn:aws:iam::123456789012:role/groundtrail\"\nexternal_id = \"example\"";
    let source = format!("{}\n{role}\ndrop_keys = [\"*/us-east-1/*\"]", scene.sqs());
    let run = scene.run(&source, &between.start());
    scene.put(&key("us-east-1", 2, 5), &log_file(5..9));
    scene.put(&key("eu-west-1", 2, 5), &log_file(0..3));
    wait_for("three alerts", || scene.alerts().len() == 3);
    wait_for("an empty queue", || scene.is_queue_empty());
    run.end();
    assert_eq!(scene.dead_letters(), [Value::Null; 0]);
    let log = scene.text("log");
    let asked = between.asked.lock().unwrap().clone();
    assert!(
        asked.iter().any(|body| body.contains("Action=AssumeRole") && body.contains("ExternalId=example")),
        "{asked:?}"
    );
    assert!(log.contains("3 events: 3 evaluated"), "S3's test message is no event and no fault: {log}");
}

#[test]
fn every_shape_of_message_is_understood_and_poison_is_kept() {
    let Some(scene) = scene("every_shape_of_message_is_understood_and_poison_is_kept") else { return };
    let object = |n: u32| key("eu-west-1", 2, n);
    for n in 0..4 {
        scene.put(&object(n), &log_file(n as usize..n as usize + 1));
    }
    scene.put(&object(10), b"");
    let whole = log_file(20..60);
    scene.put(&object(11), &whole[..whole.len() / 2]);
    let members = json!({ "Records": [record(4), record(5)] }).to_string();
    scene.put(&object(12), &[gzip(&members[..700]), gzip(&members[700..])].concat());
    scene.put(&object(13), &gzip(&" ".repeat(3 << 20)));
    scene.put(&object(14), b"<html>moved</html>");

    let s3 = |key: &str| {
        json!({ "Records": [{ "eventName": "ObjectCreated:Put", "awsRegion": "eu-west-1",
        "s3": { "bucket": { "name": "trail" }, "object": { "key": key.replace('/', "%2F") } } }] })
        .to_string()
    };
    let bridge = |kind: &str, detail: Value| {
        json!({ "version": "0", "detail-type": kind, "source": "aws.x", "region": "eu-west-1", "detail": detail }).to_string()
    };
    let good = [
        s3(&object(0)),
        sns(&s3(&object(1))),
        sns(&json!({ "s3Bucket": "trail", "s3ObjectKey": [object(2)] }).to_string()),
        bridge("Object Created", json!({ "bucket": { "name": "trail" }, "object": { "key": object(3) } })),
        s3(&object(12)),
        bridge("AWS API Call via CloudTrail", record(6)),
        sns(&bridge("AWS API Call via CloudTrail", record(7))),
        // The same as another object held, once more: known by its id.
        bridge("AWS API Call via CloudTrail", record(0)),
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "trail" }).to_string(),
        "CloudTrail validation message.".to_owned(),
    ];
    let poison = [
        s3("AWSLogs/gone.json.gz"),
        s3(&object(10)),
        s3(&object(11)),
        s3(&object(13)),
        s3(&object(14)),
        "hello".to_owned(),
        json!({ "hello": "world" }).to_string(),
    ];
    for body in good.iter().chain(&poison) {
        scene.moto.send(&scene.queue, body);
    }
    let run = scene.run(&(scene.sqs() + "\nmax_file = \"1MiB\""), &Moto::endpoint());
    wait_for("an empty queue", || scene.is_queue_empty());
    run.end();
    let log = scene.text("log");
    let letters = scene.dead_letters();
    let bodies: BTreeSet<&str> = letters.iter().map(|letter| letter["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, poison.iter().map(String::as_str).collect(), "{log}");
    let reason = |n: usize| {
        let letter = letters.iter().find(|letter| letter["body"] == poison[n]).unwrap();
        letter["reason"].as_str().unwrap().to_owned()
    };
    for (n, says) in
        ["NoSuchKey", "is empty", "truncated", "unpacks to more than", "text between", "no JSON", "neither"]
            .iter()
            .enumerate()
    {
        assert!(reason(n).contains(says), "{says}: {}", reason(n));
    }
    // Eight whole ones, and what stood before the place where a file is cut.
    let alerts = scene.alerts().len();
    assert!((8..48).contains(&alerts), "{alerts}: {log}");
    let told: BTreeSet<_> = scene.told().into_iter().collect();
    assert_eq!(told.len(), scene.told().len(), "nothing is told twice");
}

#[test]
fn a_kill_between_hand_off_and_deletion_loses_nothing_and_doubles_nothing() {
    let Some(scene) = scene("a_kill_between_hand_off_and_deletion_loses_nothing_and_doubles_nothing") else {
        return;
    };
    scene.notify();
    scene.put(&key("eu-west-1", 2, 5), &log_file(0..5));
    let between = Arc::new(Between::default());
    *between.held.lock().unwrap() = Some("DeleteMessageBatch");
    let run = scene.run(&scene.sqs(), &between.start());
    // The deletion was asked for, so all it led to is written.
    wait_for("a deletion", || *between.n_held.lock().unwrap() > 0);
    wait_for("five alerts", || scene.alerts().len() == 5);
    let mut run = run;
    run.0.kill().unwrap();
    drop(run);
    assert!(!scene.is_queue_empty(), "the messages are still there");

    let run = scene.run(&scene.sqs(), &Moto::endpoint());
    scene.put(&key("eu-west-1", 2, 10), &log_file(3..8));
    wait_for("eight alerts", || scene.alerts().len() == 8);
    wait_for("an empty queue", || scene.is_queue_empty());
    run.end();
    let told = scene.told();
    let once: BTreeSet<_> = told.iter().collect();
    assert_eq!(once.len(), told.len(), "no revision of an alert came twice: {told:?}");
}

#[test]
fn an_object_is_read_on_where_the_line_was_cut() {
    let Some(scene) = scene("an_object_is_read_on_where_the_line_was_cut") else { return };
    scene.notify();
    scene.put(&key("eu-west-1", 2, 5), &log_file(0..40));
    let between = Arc::new(Between::default());
    *between.cut.lock().unwrap() = Some(("GET /trail/AWSLogs", 900, 3));
    let run = scene.run(&scene.sqs(), &between.start());
    wait_for("forty alerts", || scene.alerts().len() == 40);
    wait_for("an empty queue", || scene.is_queue_empty());
    run.end();
    assert_eq!(between.cut.lock().unwrap().unwrap().2, 0, "it was cut");
    assert!(
        scene.text("log").contains("40 events: 40 evaluated"),
        "and no byte was read twice: {}",
        scene.text("log")
    );
    assert_eq!(scene.dead_letters(), [Value::Null; 0]);
}

#[test]
fn a_bucket_is_read_in_the_order_of_time_and_once() {
    let Some(scene) = scene("a_bucket_is_read_in_the_order_of_time_and_once") else { return };
    let mut n = 0;
    for day in 1..4 {
        for region in ["eu-west-1", "us-east-1"] {
            for minute in [5, 10] {
                scene.put(&key(region, day, minute), &log_file(n..n + 1));
                n += 1;
            }
        }
    }
    scene.put(&key("eu-west-1", 2, 7).replace("CloudTrail", "CloudTrail-Digest"), b"{}");
    scene.put("AWSLogs/111122223333/Config/eu-west-1/2026/11/2/x.json.gz", b"{}");
    let source = "type = \"s3\"\nbucket = \"trail\"\nprefix = \"AWSLogs/\"\nsince = \"2026-11-02\"\nuntil = \"2026-11-03T10:07:00Z\"";
    let mut run = scene.run(source, &Moto::endpoint());
    // A backfill ends by itself.
    assert!(run.0.wait().unwrap().success(), "{}", scene.text("log"));
    // Four of the second day and the first minute of the third, in both regions.
    assert_eq!(scene.alerts().len(), 6, "{}", scene.text("log"));
    let mut again = scene.run(source, &Moto::endpoint());
    assert!(again.0.wait().unwrap().success());
    let log = scene.text("log");
    assert!(log.lines().any(|line| line.starts_with("ended: 0 events")), "{log}");
    assert_eq!(scene.told().len(), scene.told().into_iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn what_aws_refuses_is_said_with_the_way_out() {
    let Some(scene) = scene("what_aws_refuses_is_said_with_the_way_out") else { return };
    let gone = scene.queue.replace("/trail", "/nosuch");
    let run = scene.run(&format!("type = \"sqs\"\nqueue = \"{gone}\""), &Moto::endpoint());
    wait_for("a word about it", || scene.text("log").contains("cannot receive"));
    run.end();
    let log = scene.text("log");
    assert!(log.contains("NonExistentQueue") || log.contains("QueueDoesNotExist"), "{log}");
    assert!(!log.contains("EXAMPLE"), "no key is in the log");
    let unused = Path::new(&scene.path("log")).to_owned();
    fs::remove_file(unused).unwrap();
    let run = scene.run(&scene.sqs(), "http://127.0.0.1:9");
    wait_for("a word about it", || scene.text("log").contains("cannot receive"));
    run.end();
}

/// A digest over log files of ours, as CloudTrail writes it.
fn digest_of(at: &str, before: Option<(&str, &[u8])>, files: &[(&str, &[u8])]) -> Vec<u8> {
    let unpacked = |packed: &[u8]| {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut text).unwrap();
        text
    };
    let files: Vec<Value> = files
        .iter()
        .map(|(key, packed)| {
            json!({ "s3Bucket": "trail", "s3Object": key, "hashValue": digest::hex_of(&unpacked(packed)), "hashAlgorithm": "SHA-256" })
        })
        .collect();
    let text = json!({
        "awsAccountId": "111122223333", "digestStartTime": time(0), "digestEndTime": time(60), "digestS3Bucket": "trail",
        "digestS3Object": at, "digestPublicKeyFingerprint": "00", "digestSignatureAlgorithm": "SHA256withRSA",
        "previousDigestS3Bucket": before.map(|_| "trail"), "previousDigestS3Object": before.map(|(key, _)| key),
        "previousDigestHashValue": before.map(|(_, packed)| digest::hex_of(&unpacked(packed))),
        "previousDigestSignature": before.map(|_| "00"), "logFiles": files,
    });
    gzip(&text.to_string())
}

#[test]
fn a_log_file_that_is_gone_or_changed_is_an_alert() {
    let Some(scene) = scene("a_log_file_that_is_gone_or_changed_is_an_alert") else { return };
    let file = |minute| key("eu-west-1", 2, minute);
    let digest = |hour: u32| {
        format!(
            "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/02/111122223333_CloudTrail-Digest_eu-west-1_main_eu-west-1_20261102T{hour:02}0000Z.json.gz"
        )
    };
    let contents: Vec<Vec<u8>> = (0..4).map(|n| log_file(n..n + 1)).collect();
    scene.put(&file(0), &contents[0]);
    // Not told of, and found by the digest.
    scene.put(&file(1), &contents[1]);
    // Changed since: another record in it.
    scene.put(&file(2), &log_file(9..10));
    let first = digest_of(&digest(10), None, &[(&file(0), &contents[0])]);
    let names = [file(0), file(1), file(2), file(3)];
    let listed: Vec<(&str, &[u8])> =
        names.iter().zip(&contents).map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let second = digest_of(&digest(11), Some((&digest(10), &first)), &listed);
    scene.put(&digest(10), &first);
    scene.put(&digest(11), &second);
    let tell = |key: &str| {
        let body = json!({ "s3Bucket": "trail", "s3ObjectKey": [key] }).to_string();
        scene.moto.send(&scene.queue, &body);
    };
    tell(&file(0));
    tell(&digest(10));
    tell(&digest(11));
    let run = scene.run(&scene.sqs(), &Moto::endpoint());
    wait_for("an empty queue", || scene.is_queue_empty());
    // The hour after names a digest that is gone.
    let third = digest_of(&digest(13), Some((&digest(12), &first)), &[]);
    scene.put(&digest(13), &third);
    tell(&digest(13));
    wait_for("four findings and three calls", || scene.told().len() >= 6);
    wait_for("an empty queue", || scene.is_queue_empty());
    run.end();
    let out = scene.text("out");
    for (action, path) in
        [("log_file_missing", file(3)), ("log_file_altered", file(2)), ("log_digest_missing", digest(12))]
    {
        let found = out.lines().any(|line| line.contains(action) && line.contains(&path));
        assert!(found, "{action} {path}: {out}");
    }
    let rules: Vec<String> = scene.told().into_iter().map(|(_, _, rule)| rule).collect();
    assert_eq!(rules.iter().filter(|rule| rule.contains("missing or altered")).count(), 3, "{rules:?}");
    // The first file's call, the second's, and the one that was put into the third.
    assert_eq!(rules.len(), 6, "{rules:?}");
    assert_eq!(scene.dead_letters(), [Value::Null; 0]);
}

#[test]
fn a_queue_leads_to_the_buckets_it_may_and_every_letter_finds_a_place() {
    let Some(scene) = scene("a_queue_leads_to_the_buckets_it_may_and_every_letter_finds_a_place") else {
        return;
    };
    let small = ["sqs", "create-queue", "--queue-name", "dead", "--attributes", "MaximumMessageSize=1024"];
    let dead = scene.moto.aws(&small)["QueueUrl"].as_str().unwrap().to_owned();
    let object = key("eu-west-1", 2, 5);
    scene.put(&object, &log_file(0..1));
    let notice = |bucket: &str| json!({ "s3Bucket": bucket, "s3ObjectKey": [object] }).to_string();
    let long = "no notification ".repeat(100);
    for body in [
        &notice("trail"),
        &notice("others"),
        &json!({ "s3Bucket": "trail", "s3ObjectKey": [] }).to_string(),
        &long,
    ] {
        scene.moto.send(&scene.queue, body);
    }
    let source = format!("{}\nbuckets = [\"trail\"]\ndead_letter_queue = \"{dead}\"", scene.sqs());
    let run = scene.run(&source, &Moto::endpoint());
    wait_for("an empty queue", || scene.is_queue_empty());
    wait_for("an alert", || scene.alerts().len() == 1);
    run.end();
    let log = scene.text("log");
    assert_eq!(scene.moto.waiting(&dead).0, 2, "what fits goes there: {log}");
    assert!(log.contains("does not have this bucket") && log.contains("names no key"), "{log}");
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1, "{log}");
    assert_eq!(letters[0]["body"], long);
    assert!(letters[0]["reason"].as_str().unwrap().contains("cannot send to"), "{}", letters[0]["reason"]);
}

#[test]
fn a_digest_is_held_to_its_keys_and_files_that_are_left_out_to_their_hashes() {
    let Some(scene) = scene("a_digest_is_held_to_its_keys_and_files_that_are_left_out_to_their_hashes")
    else {
        return;
    };
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../correlator/src/source/digest/keys.json");
    fs::copy(keys, scene.path("keys.json")).unwrap();
    let (cut, altered, whole) = (key("eu-west-1", 2, 0), key("us-east-1", 2, 1), key("us-east-1", 2, 2));
    let contents: Vec<Vec<u8>> = (0..3).map(|n| log_file(n..n + 1)).collect();
    // Its record can be read, and that it ends there cannot.
    scene.put(&cut, &contents[0][..contents[0].len() - 9]);
    scene.put(&altered, &log_file(7..8));
    scene.put(&whole, &contents[2]);
    let own = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/02/111122223333_CloudTrail-Digest_eu-west-1_main_eu-west-1_20261102T100000Z.json.gz";
    let files: [(&str, &[u8]); 3] = [(&cut, &contents[0]), (&altered, &contents[1]), (&whole, &contents[2])];
    scene.put(own, &digest_of(own, None, &files));
    scene.moto.send(&scene.queue, &json!({ "s3Bucket": "trail", "s3ObjectKey": [own] }).to_string());
    let source = format!("{}\ndigest_keys = \"keys.json\"\ndrop_keys = [\"*/us-east-1/*\"]", scene.sqs());
    let run = scene.run(&source, &Moto::endpoint());
    wait_for("an empty queue", || scene.is_queue_empty());
    wait_for("three findings and a call", || scene.told().len() >= 4);
    run.end();
    let out = scene.text("out");
    for (action, path) in
        [("log_digest_unchecked", own), ("log_file_unchecked", &cut), ("log_file_altered", &altered)]
    {
        let found = out.lines().any(|line| line.contains(action) && line.contains(path));
        assert!(found, "{action} {path}: {out}");
    }
    assert_eq!(scene.told().len(), 4, "what is left out is hashed and not fed: {out}");
    assert_eq!(scene.dead_letters(), [Value::Null; 0]);
}
