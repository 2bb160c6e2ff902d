//! The program as people call it: what it prints where, and with which exit code it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and these helpers are no tests by name"
)]

mod ask;
mod config;
mod reload;
mod replay;
mod rules;
mod run;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

#[track_caller]
fn groundtrail(folder: &Path, args: &[&str], stdin: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const RULE: &str = r#"
[metadata]
creation_date = "2026/11/21"
maturity = "production"
updated_date = "2026/11/21"

[rule]
name = "Access key created"
rule_id = "5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10"
description = "A long-lived access key was created."
type = "query"
language = "kuery"
index = ["logs-aws.cloudtrail-*"]
severity = "medium"
risk_score = 47
query = '''
data_stream.dataset:"aws.cloudtrail" and event.action:CreateAccessKey
'''

[[tests]]
name = "a key is created"
expect = 1
contains = ["mallory"]
events = '''
EVENT
'''
"#;

/// When the events of these tests happen.
const TIME: &str = "2026-11-02T10:00:00Z";

fn call(id: &str, name: &str) -> String {
    format!(
        concat!(
            r#"{{"eventVersion":"1.08","eventTime":"2026-11-02T10:00:00Z","eventSource":"iam.amazonaws.com","#,
            r#""eventName":"{}","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.23","userAgent":"aws-cli/2.17.20","#,
            r#""userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/mallory","userName":"mallory"}},"#,
            r#""eventID":"{}","eventType":"AwsApiCall","recipientAccountId":"111122223333"}}"#
        ),
        name, id
    )
}

fn rule_folder(event: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rule.toml"), RULE.replace("EVENT", event)).unwrap();
    folder
}
