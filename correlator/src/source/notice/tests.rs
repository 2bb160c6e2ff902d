use serde_json::{Value, json};

use super::*;

const KEY: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/02/111122223333_CloudTrail_eu-west-1_20261102T1005Z_a b+c.json.gz";
/// As S3 writes it, and as some stand-ins do, which also encode the slashes.
const ENCODED: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/02/111122223333_CloudTrail_eu-west-1_20261102T1005Z_a+b%2Bc.json.gz";

fn s3_event(name: &str, key: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.3", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
        "eventTime": "2026-11-02T10:06:00.000Z", "eventName": name,
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": "trail", "arn": "arn:aws:s3:::trail" },
                "object": { "key": key, "size": 1234, "eTag": "x", "sequencer": "00" } },
    }] })
}

fn sns(message: &str) -> Value {
    json!({ "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:trail",
            "Subject": "Amazon S3 Notification", "Message": message, "Timestamp": "2026-11-02T10:06:00.000Z",
            "SignatureVersion": "1", "Signature": "EXAMPLE", "SigningCertURL": "https://sns.example.net/x.pem" })
}

fn event_bridge(kind: &str, key: &str) -> Value {
    json!({ "version": "0", "id": "i", "detail-type": kind, "source": "aws.s3", "account": "111122223333",
            "time": "2026-11-02T10:06:00Z", "region": "eu-west-1", "resources": ["arn:aws:s3:::trail"],
            "detail": { "version": "0", "bucket": { "name": "trail" },
                        "object": { "key": key, "size": 1234, "etag": "x" }, "reason": "PutObject" } })
}

/// `bucket/key@region`, and behind `|` the other key.
#[track_caller]
fn check(body: &str, expect: &[&str]) {
    let notice = parse(body).unwrap_or_else(|reason| panic!("{reason}: {body}"));
    let Notice::Objects(objects) = notice else { panic!("{notice:?}: {body}") };
    let shown: Vec<String> = objects
        .iter()
        .map(|object| {
            let region = object.region.as_deref().map(|region| format!("@{region}")).unwrap_or_default();
            let other = object.other_key.as_deref().map(|key| format!("|{key}")).unwrap_or_default();
            format!("{}/{}{region}{other}", object.bucket, object.key)
        })
        .collect();
    assert_eq!(shown, expect, "{body}");
}

#[track_caller]
fn check_nothing(body: &str) {
    let notice = parse(body);
    let is_nothing = match &notice {
        Ok(Notice::Nothing(_)) => true,
        Ok(Notice::Objects(objects)) => objects.is_empty(),
        _ => false,
    };
    assert!(is_nothing, "{notice:?}: {body}");
}

#[test]
fn s3_tells_straight_by_sns_and_by_sns_raw() {
    let event = s3_event("ObjectCreated:Put", ENCODED).to_string();
    let expect = format!("trail/{KEY}@eu-west-1|{ENCODED}");
    check(&event, &[&expect]);
    check(&sns(&event).to_string(), &[&expect]);
    check(&format!("\u{feff}\n {event}"), &[&expect]);
    let slashes = s3_event("s3:ObjectCreated:CompleteMultipartUpload", "a%2Fb%2fc.json.gz").to_string();
    check(&slashes, &["trail/a/b/c.json.gz@eu-west-1|a%2Fb%2fc.json.gz"]);
}

#[test]
fn one_event_may_name_several_objects() {
    let mut event = s3_event("ObjectCreated:Put", "a");
    let records = event["Records"].as_array_mut().unwrap();
    let mut removed = s3_event("ObjectRemoved:Delete", "gone");
    records.push(removed["Records"][0].take());
    let mut more = s3_event("ObjectCreated:Copy", "b");
    records.push(more["Records"][0].take());
    check(&event.to_string(), &["trail/a@eu-west-1", "trail/b@eu-west-1"]);
}

#[test]
fn cloudtrail_tells_by_itself() {
    let notice = json!({ "s3Bucket": "trail", "s3ObjectKey": [KEY, "x%20y"] }).to_string();
    let expect = format!("trail/{KEY}");
    check(&notice, &[&expect, "trail/x%20y"]);
    check(&sns(&notice).to_string(), &[&expect, "trail/x%20y"]);
    check(&json!({ "s3Bucket": "trail", "s3ObjectKey": "one" }).to_string(), &["trail/one"]);
}

#[test]
fn event_bridge_tells_of_new_objects_and_of_much_else() {
    let event = event_bridge("Object Created", KEY).to_string();
    let expect = format!("trail/{KEY}@eu-west-1");
    check(&event, &[&expect]);
    check(&sns(&event).to_string(), &[&expect]);
    check_nothing(&event_bridge("Object Tags Added", KEY).to_string());
    check_nothing(&event_bridge("Object Deleted", KEY).to_string());
}

#[test]
fn security_lake_tells_of_each_object() {
    let key = "aws/CLOUD_TRAIL_MGMT/2.0/region%3Deu-west-1/accountId%3D111122223333/eventDay%3D20261102/x.gz.parquet";
    let plain = key.replace("%3D", "=");
    let mut event = event_bridge("", key);
    event.as_object_mut().unwrap().remove("detail-type");
    check(&event.to_string(), &[&format!("trail/{key}@eu-west-1|{plain}")]);
    event["detail"]["object"]["key"] = json!(plain);
    check(&event.to_string(), &[&format!("trail/{plain}@eu-west-1")]);
}

#[test]
fn records_come_without_an_object() {
    let call =
        json!({ "eventVersion": "1.11", "eventSource": "ec2.amazonaws.com", "eventName": "RunInstances" });
    for body in [
        json!({ "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "detail": call }),
        json!({ "detail-type": "GuardDuty Finding", "source": "aws.guardduty", "detail": { "id": "f" } }),
        json!({ "Records": [call] }),
        json!([{ "detail-type": "AWS Console Sign In via CloudTrail", "detail": call }]),
        // Unknown here: whoever reads records says so.
        json!({ "hello": "world" }),
    ] {
        assert_eq!(parse(&body.to_string()), Ok(Notice::Records(body.to_string())), "{body}");
        assert_eq!(
            parse(&sns(&body.to_string()).to_string()),
            Ok(Notice::Records(body.to_string())),
            "{body}"
        );
    }
}

#[test]
fn messages_about_nothing() {
    let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-02T10:06:00.000Z",
                       "Bucket": "trail", "RequestId": "r", "HostId": "h" });
    check_nothing(&test.to_string());
    check_nothing(&sns(&test.to_string()).to_string());
    check_nothing("CloudTrail validation message.");
    check_nothing("\"CloudTrail validation message.\"");
    check_nothing(&sns("CloudTrail validation message.").to_string());
    check_nothing(&s3_event("ObjectRemoved:Delete", KEY).to_string());
    check_nothing(&s3_event("ObjectCreated:Put", "AWSLogs/folder/").to_string());
}

#[test]
fn what_is_no_notification_is_said() {
    for (body, says) in [
        ("hello", "no JSON"),
        ("", "no JSON"),
        ("{\"Records\":[", "broken JSON"),
        (&*sns("not json").to_string(), "no JSON"),
        (r#"{"Type":"SubscriptionConfirmation","TopicArn":"t","SubscribeURL":"https://x"}"#, "SubscribeURL"),
        (r#"{"Type":"Notification","TopicArn":"t"}"#, "without a message"),
        (r#"{"s3Bucket":"trail","s3ObjectKey":[]}"#, "no key"),
        (r#"{"s3Bucket":"trail","s3ObjectKey":["a",7]}"#, "no text"),
        (r#"{"s3Bucket":"trail","s3ObjectKey":{"a":"b"}}"#, "no key"),
        (r#"{"s3Bucket":"arn:aws:s3:::trail","s3ObjectKey":"a"}"#, "not a bucket's name"),
        (r#"{"s3Bucket":"169.254.169.254/x?","s3ObjectKey":"a"}"#, "not a bucket's name"),
    ] {
        let reason = parse(body).unwrap_err();
        assert!(reason.contains(says), "{reason}: {body}");
    }
    let mut deep = "{}".to_owned();
    for _ in 0..9 {
        deep = sns(&deep).to_string();
    }
    assert!(parse(&deep).unwrap_err().contains("too deep"));
}

#[test]
fn a_record_that_names_no_object_is_not_lost_among_those_that_do() {
    for (pointer, value, says) in [
        ("/s3/object/key", Value::Null, "no key"),
        ("/s3/object/key", json!(""), "no key"),
        ("/s3/bucket/name", json!(7), "no bucket"),
        ("/s3/bucket/name", json!("x@evil.example.net"), "not a bucket's name"),
        ("/awsRegion", json!("eu-west-1.evil.example.net/"), "not a region's name"),
    ] {
        let mut event = s3_event("ObjectCreated:Put", "a");
        let mut other = s3_event("ObjectCreated:Put", "b")["Records"][0].take();
        *other.pointer_mut(pointer).unwrap() = value;
        event["Records"].as_array_mut().unwrap().push(other.clone());
        let reason = parse(&event.to_string()).unwrap_err();
        assert!(reason.contains(says), "{pointer}: {reason}");
        // One about a removal has no object to be read.
        event["Records"][1]["eventName"] = json!("ObjectRemoved:Delete");
        check(&event.to_string(), &["trail/a@eu-west-1"]);
    }
}

#[test]
fn regions_and_buckets_of_all_partitions_have_their_shapes() {
    for region in
        ["eu-west-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1", "ap-southeast-7", "eusc-de-east-1"]
    {
        assert!(is_region(region), "{region}");
    }
    for region in ["", "eu", "eu-west", "EU-west-1", "eu_west-1", "eu-west-123", "1-a-1", "a.b-1"] {
        assert!(!is_region(region), "{region}");
    }
    for bucket in ["abc", "aws-cloudtrail-logs-111122223333-1a2b", "my.logs", "Old_Logs", "x--euw1-az1--x-s3"]
    {
        assert!(is_bucket(bucket), "{bucket}");
    }
    for bucket in ["", "ab", "a/b", "a:b:c", "a b c", "..a", "é-logs"] {
        assert!(!is_bucket(bucket), "{bucket}");
    }
}

#[test]
fn keys_are_decoded_once_and_odd_ones_left_alone() {
    for (written, form, path) in [
        ("a%2520b", "a%20b", "a%20b"),
        ("100%", "100%", "100%"),
        ("%zz%4", "%zz%4", "%zz%4"),
        ("%ff", "%ff", "%ff"),
        ("%C3%A9+x", "é x", "é+x"),
        ("é%", "é%", "é%"),
    ] {
        assert_eq!(decode(written, Plus::Space), form);
        assert_eq!(decode(written, Plus::Plus), path);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(body in "\\PC*") {
        let _ = parse(&body);
        let _ = parse(&s3_event("ObjectCreated:Put", &body).to_string());
    }
}
