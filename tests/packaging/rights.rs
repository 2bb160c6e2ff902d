//! The role's rights, held to the calls that the correlator makes: none that it needs is missing, and none is given that it does not make.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use harness::bins;

use crate::{linters, read, terraform};

/// A call of AWS's SDK, and the action that a policy knows it by.
const ACTIONS: &[(&str, &str)] = &[
    ("receive_message", "sqs:ReceiveMessage"),
    ("change_message_visibility", "sqs:ChangeMessageVisibility"),
    ("change_message_visibility_batch", "sqs:ChangeMessageVisibility"),
    ("delete_message", "sqs:DeleteMessage"),
    ("delete_message_batch", "sqs:DeleteMessage"),
    ("send_message", "sqs:SendMessage"),
    ("send_message_batch", "sqs:SendMessage"),
    ("get_object", "s3:GetObject"),
    ("list_objects_v2", "s3:ListBucket"),
    ("put_object", "s3:PutObject"),
    ("publish", "sns:Publish"),
    ("publish_batch", "sns:Publish"),
    ("batch_import_findings", "securityhub:BatchImportFindings"),
];

/// What a call is told first.
const FIRST: [&str; 4] = [".bucket(", ".queue_url(", ".topic_arn(", ".set_findings("];

#[test]
fn the_role_may_do_what_the_program_calls_and_no_more() {
    let Some(bin) = linters() else { return };
    let template = &read(&bin)["cloudformation"];
    let mut given = BTreeSet::new();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let documents = match resource["Type"].as_str() {
            Some("AWS::IAM::RolePolicy") => vec![&resource["Properties"]["PolicyDocument"]],
            Some("AWS::IAM::Role") => resource["Properties"]["Policies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|policy| &policy["PolicyDocument"])
                .collect(),
            _ => continue,
        };
        for statement in documents.into_iter().flat_map(terraform::statements) {
            let resources = terraform::list(&statement["Resource"]);
            assert!(resources.iter().all(|resource| **resource != "*"), "{name}: on everything");
            given.extend(
                terraform::list(&statement["Action"])
                    .into_iter()
                    .map(|action| action.as_str().unwrap().to_owned()),
            );
        }
    }
    // What decrypting takes is asked by the services, on the role's behalf.
    given.retain(|action| !action.starts_with("kms:"));
    // Templates know of no other role; the page says what taking one up needs.
    let added = crate::shown(1);
    assert_ne!(added["Resource"], "*");
    given.insert(added["Action"].as_str().unwrap().to_owned());
    assert_eq!(called(), given);
}

/// The actions that the sources of the program ask for.
fn called() -> BTreeSet<String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![bins::workspace().join("correlator/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text: String = fs::read_to_string(&file).unwrap().split_whitespace().collect();
        // The SDK makes this call by itself.
        if text.contains("AssumeRoleProvider::builder(") {
            found.insert("sts:AssumeRole".to_owned());
        }
        for first in FIRST {
            for (at, _) in text.match_indices(first) {
                // `.get_object().bucket(…)`; a builder's own methods stand behind others with arguments.
                let Some(before) = text[..at].strip_suffix("()") else { continue };
                let call = before
                    .rsplit(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
                    .next()
                    .unwrap();
                if call == "builder" || call == "new" {
                    continue;
                }
                let action = ACTIONS.iter().find(|(name, _)| *name == call);
                let (_, action) =
                    action.unwrap_or_else(|| panic!("{}: which right does {call} take?", file.display()));
                found.insert((*action).to_owned());
            }
        }
    }
    found
}
