//! Sinks of AWS's, written to by the real program with AWS's own SDK, and looked at with AWS's own command line. In a network
//! namespace with loopback alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use flate2::read::MultiGzDecoder;
use harness::moto::{self, Moto};
use harness::{bins, skip};
use serde_json::{Value, json};

const RULE: &str = r#"[rule]
name = "every exec"
rule_id = "00000000-0000-4000-8000-000000000001"
description = "d"
severity = "high"
risk_score = 73
type = "query"
language = "kuery"
query = 'event.category:process'
[[rule.threat]]
framework = "MITRE ATT&CK"
[rule.threat.tactic]
id = "TA0002"
name = "Execution"
reference = "https://attack.mitre.org/tactics/TA0002/"
"#;

struct Scene {
    folder: tempfile::TempDir,
    moto: Moto,
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Events that raise an alert each, and a configuration that reads them to their end.
    fn prepare(&self, sinks: &str, n_events: usize, command_line: &str) {
        fs::create_dir_all(self.path("rules")).unwrap();
        fs::write(self.path("rules/every.toml"), RULE).unwrap();
        let text = format!(
            "[store]\npath = \"store.db\"\n[rules]\nbuiltin = false\npaths = [\"rules\"]\n\
             [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = false\nlateness = \"24h\"\n{sinks}"
        );
        fs::write(self.path("groundtrail.toml"), text).unwrap();
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
        let mut lines = String::new();
        for n in 0..n_events {
            let event = json!({
                "@timestamp": format!("{at:.3}"),
                "event": {"id": format!("e{n}"), "category": ["process"], "type": ["start"], "action": "exec", "dataset": "endpoint.events.process"},
                "data_stream": {"type": "logs", "dataset": "endpoint.events.process", "namespace": "default"},
                "host": {"id": "i-0a1b2c3d4e5f60718", "os": {"type": "linux"}},
                "cloud": {"provider": "aws", "region": "eu-west-1", "account": {"id": "111122223333"}, "instance": {"id": "i-0a1b2c3d4e5f60718"}},
                "process": {"name": "sh", "pid": 7, "executable": "/bin/sh", "command_line": command_line, "entity_id": format!("p{n}")},
            });
            writeln!(lines, "{event}").unwrap();
        }
        fs::write(self.path("host.ndjson"), lines).unwrap();
    }

    fn groundtrail(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(bins::groundtrail_with_aws());
        command.arg("--config").arg(self.path("groundtrail.toml")).args(arguments);
        moto::with_credentials(&mut command).output().unwrap()
    }

    fn run(&self) -> String {
        let output = self.groundtrail(&["run", "-o", "none"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    fn bucket(&self, name: &str) {
        let place = "LocationConstraint=eu-west-1";
        self.moto.aws(&["s3api", "create-bucket", "--bucket", name, "--create-bucket-configuration", place]);
    }

    /// All messages of a queue, by their bodies and attributes.
    fn messages(&self, queue: &str) -> Vec<(Value, Value)> {
        let mut messages = Vec::new();
        loop {
            let said = self.moto.aws(&[
                "sqs",
                "receive-message",
                "--queue-url",
                queue,
                "--max-number-of-messages",
                "10",
                "--message-attribute-names",
                "All",
            ]);
            let Some(batch) = said["Messages"].as_array() else { return messages };
            for message in batch {
                let body = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
                messages.push((body, message["MessageAttributes"].clone()));
                let handle = message["ReceiptHandle"].as_str().unwrap();
                self.moto.aws(&["sqs", "delete-message", "--queue-url", queue, "--receipt-handle", handle]);
            }
        }
    }
}

/// The far side's scene, or none on this side.
fn scene(test: &str) -> Option<Scene> {
    if let Some(reason) = moto::obstacle() {
        skip::say(&reason);
        return None;
    }
    moto::inside(test).then(|| Scene { folder: tempfile::tempdir().unwrap(), moto: Moto::start() })
}

fn access() -> String {
    format!(
        "region = \"eu-west-1\"\nendpoint = \"{}\"\nretry_from = \"50ms\"\nretry_to = \"200ms\"\n",
        Moto::endpoint()
    )
}

fn ids<'v>(documents: impl Iterator<Item = &'v Value>) -> BTreeSet<String> {
    documents.map(|document| document["groundtrail"]["alert"]["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn objects_queues_and_topics_get_every_alert() {
    let Some(scene) = scene("objects_queues_and_topics_get_every_alert") else { return };
    scene.bucket("alerts");
    let queue = scene.moto.create_queue("alerts");
    let listener = scene.moto.create_queue("listener");
    let topic = scene.moto.aws(&["sns", "create-topic", "--name", "alerts"]);
    let topic = topic["TopicArn"].as_str().unwrap().to_owned();
    let arn = "arn:aws:sqs:eu-west-1:123456789012:listener";
    scene.moto.aws(&[
        "sns",
        "subscribe",
        "--topic-arn",
        &topic,
        "--protocol",
        "sqs",
        "--notification-endpoint",
        arn,
        "--attributes",
        "RawMessageDelivery=true",
    ]);
    let access = access();
    let sinks = format!(
        "[[sink]]\nname = \"lake\"\ntype = \"s3\"\nbucket = \"alerts\"\nprefix = \"gt/\"\n{access}\
         [[sink]]\nname = \"queue\"\ntype = \"sqs\"\nqueue = \"{queue}\"\n{access}\
         [[sink]]\nname = \"topic\"\ntype = \"sns\"\ntopic = \"{topic}\"\n{access}"
    );
    scene.prepare(&sinks, 23, "sh -c 'two\nlines'");
    let said = scene.run();
    for sink in ["lake", "queue", "topic"] {
        assert!(said.contains(&format!("{sink}: 23 delivered, 0 queued")), "{said}");
    }
    let objects = scene.moto.aws(&["s3api", "list-objects-v2", "--bucket", "alerts", "--prefix", "gt/"]);
    let mut lines = Vec::new();
    for object in objects["Contents"].as_array().unwrap() {
        let key = object["Key"].as_str().unwrap();
        assert!(key.ends_with(".ndjson.gz") && key.split('/').count() == 6, "{key}");
        let file = scene.path("object");
        scene.moto.aws(&["s3api", "get-object", "--bucket", "alerts", "--key", key, file.to_str().unwrap()]);
        let mut text = String::new();
        MultiGzDecoder::new(fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    let stored = ids(lines.iter());
    assert_eq!((stored.len(), lines.len()), (23, 23));
    let messages = scene.messages(&queue);
    assert_eq!(ids(messages.iter().map(|(body, _)| body)), stored);
    let (body, attributes) = &messages[0];
    assert_eq!(attributes["severity"]["StringValue"], "high");
    assert_eq!(attributes["alert_id"]["StringValue"], body["groundtrail"]["alert"]["id"]);
    assert_eq!(ids(scene.messages(&listener).iter().map(|(body, _)| body)), stored);
}

#[test]
fn findings_are_imported_and_what_is_not_there_yet_is_waited_for() {
    let Some(scene) = scene("findings_are_imported_and_what_is_not_there_yet_is_waited_for") else { return };
    let access = access();
    let sinks = format!(
        "[[sink]]\nname = \"hub\"\ntype = \"securityhub\"\naccount = \"123456789012\"\n{access}\
         [[sink]]\nname = \"lake\"\ntype = \"s3\"\nbucket = \"later\"\n{access}\
         [[sink]]\nname = \"large\"\ntype = \"sqs\"\nqueue = \"{}\"\n{access}",
        scene.moto.create_queue("large")
    );
    scene.prepare(&sinks, 3, &"x".repeat(400_000));
    let said = scene.run();
    assert!(said.contains("hub: 3 delivered, 0 queued"), "{said}");
    assert!(said.contains("lake: 0 delivered, 3 queued") && said.contains("NoSuchBucket"), "{said}");
    assert!(
        said.contains("large: 3 delivered, 0 queued"),
        "what is too long for a message goes in short: {said}"
    );
    let findings = scene.moto.aws(&["securityhub", "get-findings"]);
    let findings = findings["Findings"].as_array().unwrap();
    assert_eq!(findings.len(), 3);
    let finding = &findings[0];
    assert_eq!(finding["Severity"]["Label"], "HIGH");
    assert_eq!(finding["Types"], json!(["TTPs/Execution"]));
    assert_eq!(
        finding["ProductArn"],
        "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default"
    );
    let instance = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0a1b2c3d4e5f60718";
    assert_eq!(finding["Resources"][0]["Id"], instance);
    assert!(finding["Id"].as_str().unwrap().starts_with("groundtrail/"));
    assert!(finding.to_string().len() < 240 << 10);
    scene.bucket("later");
    let tested = scene.groundtrail(&["sink", "test", "lake"]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    scene.prepare(&sinks, 0, "");
    assert!(scene.run().contains("lake: 3 delivered, 0 queued"));
    let said = scene.moto.aws(&["sqs", "get-queue-url", "--queue-name", "large"]);
    let messages = scene.messages(said["QueueUrl"].as_str().unwrap());
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0].0["groundtrail"]["alert"]["is_shortened"], true);
}
