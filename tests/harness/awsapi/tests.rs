//! Requests as the AWS CLI sends them, and the records they leave.

use std::io::Read as _;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

struct Stage {
    folder: tempfile::TempDir,
    trail: Arc<Trail>,
    api: AwsApi,
}

fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let trail = Arc::new(Trail::new(&folder.path().join("trail")));
    let api = AwsApi::new(Arc::clone(&trail), folder.path().join("ssm"));
    Stage { folder, trail, api }
}

impl Stage {
    fn send(
        &self,
        user: &str,
        service: &str,
        path: (&str, &str),
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> u16 {
        let key = world::user(user).access_key;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20261121/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=00"
        );
        let mut map = HeaderMap::new();
        map.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        map.insert("user-agent", HeaderValue::from_static("aws-cli/2.31.0 md/command#x"));
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let request = Request {
            method: Method::from_bytes(path.0.as_bytes()).unwrap(),
            path: path.1.to_owned(),
            query: String::new(),
            headers: map,
            body: Bytes::from(body.to_owned()),
            peer: ([127, 0, 0, 1], 4000).into(),
            tls: None,
        };
        self.api.answer(request).status().as_u16()
    }

    fn form(&self, user: &str, service: &str, body: &str) -> u16 {
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        self.send(user, service, ("POST", "/"), &form, body)
    }

    fn records(&self) -> Vec<Value> {
        let mut records = Vec::new();
        for path in self.trail.flush().unwrap() {
            let mut text = String::new();
            flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
                .read_to_string(&mut text)
                .unwrap();
            let file: Value = serde_json::from_str(&text).unwrap();
            records.extend(file["Records"].as_array().unwrap().iter().cloned());
        }
        records
    }
}

#[test]
fn a_call_leaves_one_record_with_its_caller() {
    let stage = stage();
    assert_eq!(stage.form("inventory", "ec2", "Action=DescribeInstances&Version=2016-11-15"), 200);
    let [record] = &stage.records()[..] else { panic!("one record") };
    assert_eq!(record["eventName"], "DescribeInstances");
    assert_eq!(record["eventSource"], "ec2.amazonaws.com");
    assert_eq!(record["userIdentity"]["arn"], "arn:aws:iam::111122223333:user/inventory");
    assert_eq!(record["userAgent"], "aws-cli/2.31.0 md/command#x");
    assert_eq!(record["requestParameters"], json!({ "instancesSet": {}, "filterSet": {} }));
    assert_eq!((&record["readOnly"], &record["responseElements"]), (&json!(true), &Value::Null));
}

#[test]
fn send_command_is_delivered_and_its_script_stays_out_of_the_log() {
    let stage = stage();
    let body = json!({
        "DocumentName": "AWS-RunShellScript", "InstanceIds": [world::INSTANCE_ID],
        "Parameters": { "commands": ["id", "uname -a"] },
    });
    let target = [("x-amz-target", "AmazonSSM.SendCommand"), ("content-type", "application/x-amz-json-1.1")];
    assert_eq!(stage.send("jane.roe", "ssm", ("POST", "/"), &target, &body.to_string()), 200);
    let [record] = &stage.records()[..] else { panic!("one record") };
    assert_eq!(record["requestParameters"]["parameters"], "HIDDEN_DUE_TO_SECURITY_REASONS");
    assert!(!record.to_string().contains("uname"), "{record}");
    let command = record["responseElements"]["command"]["commandId"].as_str().unwrap();
    let delivered =
        std::fs::read_to_string(stage.folder.path().join("ssm/state/pending").join(command)).unwrap();
    assert!(delivered.contains("uname -a"));
}

#[test]
fn user_data_and_passwords_are_removed() {
    let stage = stage();
    stage.form(
        "mallory",
        "ec2",
        "Action=RunInstances&ImageId=ami-0123456789abcdef0&MinCount=1&MaxCount=1&UserData=c2VjcmV0",
    );
    stage.form("mallory", "iam", "Action=UpdateLoginProfile&UserName=root-admin&Password=hunter22");
    let records = stage.records();
    assert_eq!(records[0]["requestParameters"]["userData"], "<sensitiveDataRemoved>");
    assert_eq!(records[1]["requestParameters"], json!({ "userName": "root-admin" }));
}

#[test]
fn rest_services_are_known_by_method_and_path() {
    let stage = stage();
    stage.send("mallory", "lambda", ("GET", "/2015-03-31/functions"), &[], "");
    stage.send("mallory", "s3", ("GET", "/"), &[("host", "s3.us-east-1.amazonaws.com")], "");
    stage.send("mallory", "guardduty", ("DELETE", "/detector/12ab"), &[], "");
    let records = stage.records();
    let names: Vec<&Value> = records.iter().map(|record| &record["eventName"]).collect();
    assert_eq!(names, ["ListFunctions20150331", "ListBuckets", "DeleteDetector"]);
    assert_eq!(records[1]["userAgent"], "[aws-cli/2.31.0 md/command#x]");
    assert_eq!(records[2]["requestParameters"], json!({ "detectorId": "12ab" }));
}

#[test]
fn unsigned_unknown_and_unheard_of_requests_are_refused_and_not_logged() {
    let stage = stage();
    let unsigned = Request {
        method: Method::POST,
        path: "/".into(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        peer: ([127, 0, 0, 1], 4000).into(),
        tls: None,
    };
    assert_eq!(stage.api.answer(unsigned).status(), 403);
    assert_eq!(stage.form("mallory", "ec2", "Action=LaunchRocket"), 400);
    assert!(stage.records().is_empty());
}
