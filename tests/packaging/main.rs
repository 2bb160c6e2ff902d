//! What an account and a fleet are set up with, read by the tools that will read it: AWS's linter for the CloudFormation template, a reader of
//! Terraform's language and a comparison of the two, Ansible for the playbook.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[cfg(feature = "aws")]
mod account;
mod fleet;
mod rights;
mod terraform;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use harness::{bins, python, skip};
use serde_json::Value;

const LINTERS: [&str; 2] = ["cfn-lint==1.58.0", "python-hcl2==8.1.4"];

fn aws(file: &str) -> PathBuf {
    bins::workspace().join("packaging/aws").join(file)
}

/// The folder of the linters; where they cannot be had the test says so.
fn linters() -> Option<PathBuf> {
    python::programs("linters", &LINTERS, &["cfn-lint", "hcl2tojson"]).map_err(|why| skip::say(&why)).ok()
}

/// Both set-ups as one document.
fn read(bin: &std::path::Path) -> Value {
    let script = bins::workspace().join("tests/packaging/read.py");
    let output = Command::new(bin.join("python"))
        .arg(script)
        .args([aws("cloudformation.yaml"), aws("terraform")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The JSON blocks of the page about feeds: the role's policy, and what is added to it where another role is taken up.
fn shown(nth: usize) -> Value {
    let page = std::fs::read_to_string(bins::workspace().join("docs/aws-feeds.md")).unwrap();
    let block = page.split("```json\n").nth(nth + 1).and_then(|rest| rest.split("```").next()).unwrap();
    serde_json::from_str(block).unwrap()
}

/// Warnings count: types, values, references, and what a property must not stand beside.
#[test]
fn the_template_is_what_cloudformation_takes() {
    let Some(bin) = linters() else { return };
    // Schemas come with it, so nothing is asked of AWS.
    let output = Command::new(bin.join("cfn-lint"))
        .args(["--regions", "eu-west-1", "us-east-1", "--include-checks", "I", "--"])
        .arg(aws("cloudformation.yaml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_linter_finds_what_is_wrong() {
    let Some(bin) = linters() else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(aws("cloudformation.yaml")).unwrap();
    for (from, to) in [
        ("VisibilityTimeout: 300", "VisibilityTimeout: 300000"),
        ("!GetAtt DeadLetterQueue.Arn", "!GetAtt DeadLetters.Arn"),
        ("EnableLogFileValidation", "EnableLogfileValidation"),
    ] {
        assert!(text.contains(from), "{from}");
        let file = folder.path().join("wrong.yaml");
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let output = Command::new(bin.join("cfn-lint")).arg("--").arg(&file).output().unwrap();
        assert!(!output.status.success(), "{to} is not found");
    }
}

/// The policy on the page about feeds is that of the template, and both are all that the sources call.
#[test]
fn the_page_shows_the_rights_that_the_template_gives() {
    let Some(bin) = linters() else { return };
    let shown = shown(0);
    let both = read(&bin);
    let given = terraform::statements(
        &both["cloudformation"]["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"],
    );
    let rights = |statements: &[&Value]| -> BTreeMap<String, BTreeSet<String>> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let right = |statement: &&Value| {
            let actions: BTreeSet<String> =
                terraform::list(&statement["Action"]).into_iter().map(text).collect();
            (text(&statement["Sid"]), actions)
        };
        statements.iter().map(right).collect()
    };
    let shown = terraform::statements(&shown);
    for statement in &shown {
        let resources = terraform::list(&statement["Resource"]);
        assert!(!resources.is_empty() && resources.iter().all(|name| **name != "*"), "{statement}");
    }
    assert_eq!(rights(&shown), rights(&given));
    assert_eq!(rights(&shown).len(), shown.len(), "one name twice");
}
