//! What to ask and what to do next: the rules' own questions, then commands that stop who is in it.
//!
//! Commands are text to copy and are never run. Only identifiers of a known form stand in them: the rest of an event is
//! what an intruder wrote.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::entity::{Entity, EntityKind};
use crate::alert::view::text;
use crate::link::{is_access_key_id, is_instance_id, is_uuid};

/// Something for the responder to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Step {
    /// A rule's own guidance.
    Ask { rule: String, text: String },
    /// A command to copy.
    Contain { what: String, command: String },
}

pub(super) fn steps(alerts: &[&Value], entities: &[Entity]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut asked = BTreeSet::new();
    for alert in alerts {
        let rule = text(alert, "rule.name").unwrap_or_default();
        if let Some(note) = text(alert, "groundtrail.alert.note").filter(|_| asked.insert(rule)) {
            steps.push(Step::Ask { rule: rule.to_owned(), text: note.trim().to_owned() });
        }
    }
    steps.extend(entities.iter().filter_map(contain));
    steps
}

fn contain(entity: &Entity) -> Option<Step> {
    let id = entity.id.as_str();
    let (what, command) = match entity.kind {
        EntityKind::AccessKey if is_access_key_id(id) && id.starts_with("AKIA") => (
            "disable the access key",
            format!("aws iam update-access-key --access-key-id {id} --status Inactive --user-name USER"),
        ),
        EntityKind::Principal => return revoke(id),
        EntityKind::Host if is_instance_id(id) => (
            "isolate the instance",
            format!(
                "aws ec2 modify-instance-attribute --instance-id {id} --groups SECURITY_GROUP_WITHOUT_RULES"
            ),
        ),
        EntityKind::Command if is_uuid(id) => {
            ("cancel the command", format!("aws ssm cancel-command --command-id {id}"))
        }
        EntityKind::Session if is_plain(id) => {
            ("end the session", format!("aws ssm terminate-session --session-id {id}"))
        }
        _ => return None,
    };
    Some(Step::Contain { what: what.to_owned(), command })
}

/// Sessions of a role that were issued before now lose their rights; new ones keep theirs.
fn revoke(arn: &str) -> Option<Step> {
    let (_, session) = arn.split_once(":assumed-role/")?;
    let role = session.split('/').next().filter(|role| is_plain(role))?;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"NOW"}}}]}"#;
    Some(Step::Contain {
        what: format!("revoke the sessions of role {role} issued before NOW (RFC 3339)"),
        command: format!(
            "aws iam put-role-policy --role-name {role} --policy-name AWSRevokeOlderSessions --policy-document '{policy}'"
        ),
    })
}

/// What AWS lets names of roles and sessions hold, and no shell reads as anything else.
fn is_plain(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.len() <= 128 && text.bytes().all(is_allowed)
}
