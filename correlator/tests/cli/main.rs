//! The program as people call it: what it prints where, and with which exit code it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and these helpers are no tests by name"
)]

mod ask;
mod config;
mod faults;
mod query;
mod reload;
mod replay;
mod rules;
mod run;
mod selftest;
mod serve;
mod silence;
mod support;
mod tail;
mod tree;
mod tune;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

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

/// A folder with what a run over the demo's trace left: its store, and the configuration it ran with.
fn demo() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let trace = demo_trace();
        fs::copy(trace.join("indicators.txt"), folder.path().join("indicators.txt")).unwrap();
        let mut config = "[store]\npath = \"gt.db\"\n[[indicators]]\npath = \"indicators.txt\"\n\
                          provider = \"demo\"\n"
            .to_owned();
        for (kind, file) in [
            ("sensor", "host.ndjson"),
            ("cloudtrail", "cloudtrail.json"),
            ("guardduty", "guardduty.jsonl"),
            ("vpcflow", "vpcflow.log"),
        ] {
            let feed = folder.path().join(kind);
            fs::create_dir(&feed).unwrap();
            fs::copy(trace.join(file), feed.join(file)).unwrap();
            let place = match kind {
                "sensor" => format!("file = \"{kind}/{file}\""),
                _ => format!("path = \"{kind}\""),
            };
            config += &format!("[[source]]\ntype = \"{kind}\"\n{place}\nfollow = false\n");
        }
        fs::write(folder.path().join("gt.toml"), config).unwrap();
        let ran = groundtrail(folder.path(), &["run", "-c", "gt.toml", "-o", "ndjson"], "");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        folder
    });
    made.path()
}

fn demo_trace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/traces/demo")
}
