//! The template, made in an account that moto plays: what GuardDuty finds and what a trail writes reaches the program through the queue that
//! was made by it, and what a sink is for is where the outputs say.

use std::fs;

use harness::moto::{self, Moto, wait_for};
use harness::{bins, skip};
use serde_json::{Value, json};

const STACK: &str = "groundtrail";
/// What moto calls its account.
const BUCKET: &str = "groundtrail-logs-123456789012-eu-west-1";

#[test]
fn what_the_template_makes_carries_findings_and_log_files() {
    if let Some(reason) = moto::obstacle() {
        return skip::say(&reason);
    }
    if !moto::inside("account::what_the_template_makes_carries_findings_and_log_files") {
        return;
    }
    let moto = Moto::start();
    let template = format!("file://{}", super::aws("cloudformation.yaml").display());
    moto.aws(&[
        "cloudformation",
        "create-stack",
        "--stack-name",
        STACK,
        "--template-body",
        &template,
        "--capabilities",
        "CAPABILITY_IAM",
    ]);
    let stacks = moto.aws(&["cloudformation", "describe-stacks", "--stack-name", STACK]);
    assert_eq!(stacks["Stacks"][0]["StackStatus"], "CREATE_COMPLETE");
    let output = |name: &str| {
        let outputs = stacks["Stacks"][0]["Outputs"].as_array().unwrap();
        let found = outputs.iter().find(|output| output["OutputKey"] == name);
        found.unwrap_or_else(|| panic!("no output {name}"))["OutputValue"].as_str().unwrap().to_owned()
    };
    assert_eq!(output("LogBucketName"), BUCKET);
    let queue = output("QueueUrl");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = format!(
        "[store]\npath = \"store.db\"\n[[source]]\ntype = \"sqs\"\nregion = \"eu-west-1\"\nendpoint = \"{}\"\nqueue = \"{queue}\"\n\
         dead_letter_queue = \"{}\"\nbuckets = [\"{BUCKET}\"]\nvisibility = \"10s\"\n",
        Moto::endpoint(),
        output("DeadLetterQueueUrl"),
    );
    fs::write(path("groundtrail.toml"), config).unwrap();
    let mut run = moto::groundtrail(&path("groundtrail.toml"), &path("out"), &path("log")).unwrap();

    // moto's stack leaves a bucket's notifications out; the same words by hand, as for a bucket that was there before.
    let arn = "arn:aws:sqs:eu-west-1:123456789012:groundtrail";
    let told =
        json!({ "QueueConfigurations": [{ "QueueArn": arn, "Events": ["s3:ObjectCreated:*"] }] }).to_string();
    moto.aws(&[
        "s3api",
        "put-bucket-notification-configuration",
        "--bucket",
        BUCKET,
        "--notification-configuration",
        &told,
    ]);
    fs::write(path("log.json"), json!({ "Records": [stop_logging()] }).to_string()).unwrap();
    moto.put(BUCKET, "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/11/22/x.json", &path("log.json"));
    let entry = json!([{ "Source": "aws.guardduty", "DetailType": "GuardDuty Finding", "Detail": finding().to_string() }]);
    moto.aws(&["events", "put-events", "--entries", &entry.to_string()]);

    let rules = || -> Vec<String> {
        let text = fs::read_to_string(path("out")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |at| &text[..at]);
        let names = whole.lines().map(|line| {
            let alert: Value = serde_json::from_str(line).unwrap();
            alert["rule"]["name"].as_str().unwrap().to_owned()
        });
        names.collect()
    };
    wait_for("an alert of the trail's file", || {
        rules().iter().any(|name| name == "CloudTrail logging stopped")
    });
    wait_for("an alert of the finding", || rules().iter().any(|name| name == "GuardDuty finding"));
    wait_for("an empty queue", || moto.waiting(&queue) == (0, 0));
    drop(run.kill());
    drop(run.wait());
    assert_eq!(
        moto.waiting(&output("DeadLetterQueueUrl")),
        (0, 0),
        "{}",
        fs::read_to_string(path("log")).unwrap()
    );
}

/// Some minutes ago: a run takes what is much older for very late.
fn time() -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(5)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn stop_logging() -> Value {
    json!({
        "eventVersion": "1.11", "eventTime": time(), "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging",
        "userIdentity": { "type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/mallory", "accountId": "123456789012", "userName": "mallory" },
        "awsRegion": "eu-west-1", "sourceIPAddress": "198.51.100.23", "userAgent": "aws-cli/2.31.0",
        "requestParameters": { "name": "groundtrail" }, "responseElements": null,
        "eventID": "00000000-0000-4000-8000-000000000001", "eventType": "AwsApiCall", "managementEvent": true, "readOnly": false,
        "recipientAccountId": "123456789012", "eventCategory": "Management",
    })
}

/// A recorded finding, found now.
fn finding() -> Value {
    let text = fs::read_to_string(bins::workspace().join("tests/traces/system5/guardduty.jsonl")).unwrap();
    serde_json::from_str(&text.replace("2026-11-21T11:39:07Z", &time())).unwrap()
}
