//! Which alerts somebody means: by severity, rule, host, principal and account.

use rules::rule::Severity;
use serde_json::Value;

use super::view::{carried, text, texts};

/// Every list narrows, and what stands in one list widens it; an empty one asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// As severe as this, or more.
    pub least: Option<Severity>,
    /// Ids of rules, or parts of their names.
    pub rules: Vec<String>,
    /// Parts of names or ids.
    pub hosts: Vec<String>,
    /// Parts of ARNs or names.
    pub principals: Vec<String>,
    pub accounts: Vec<String>,
}

const HOST: &[&str] = &["host.id", "host.name", "host.hostname"];
const PRINCIPAL: &[&str] =
    &["aws.cloudtrail.user_identity.arn", "aws.cloudtrail.user_identity.principal_id", "user.name"];
const ACCOUNT: &[&str] =
    &["cloud.account.id", "aws.cloudtrail.user_identity.account_id", "aws.cloudtrail.recipient_account_id"];

impl Wanted {
    pub fn lets(&self, alert: &Value) -> bool {
        self.lets_severity(alert)
            && (self.rules.is_empty() || self.rules.iter().any(|rule| is_of_rule(alert, rule)))
            && any(&self.hosts, alert, HOST, contains)
            && any(&self.principals, alert, PRINCIPAL, contains)
            && any(&self.accounts, alert, ACCOUNT, |value, wanted| value == wanted)
    }

    /// It asks nothing at all.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    fn lets_severity(&self, alert: &Value) -> bool {
        let word = text(alert, "groundtrail.alert.severity");
        let found = Severity::ALL.iter().find(|severity| Some(severity.as_str()) == word);
        self.least.is_none_or(|least| found.is_some_and(|severity| *severity >= least))
    }
}

fn is_of_rule(alert: &Value, rule: &str) -> bool {
    text(alert, "rule.id") == Some(rule) || text(alert, "rule.name").is_some_and(|name| contains(name, rule))
}

/// Whether the alert or an event that made it fire has one of the wanted values.
fn any(wanted: &[String], alert: &Value, paths: &[&str], is_it: fn(&str, &str) -> bool) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let evidence = carried(alert);
    let evidence = evidence.iter().filter(|carried| carried.is_evidence()).map(|carried| carried.event);
    let documents: Vec<&Value> = std::iter::once(alert).chain(evidence).collect();
    let mut values =
        documents.iter().flat_map(|document| paths.iter().flat_map(|path| texts(document, path)));
    values.any(|value| wanted.iter().any(|wanted| is_it(value, wanted)))
}

fn contains(value: &str, wanted: &str) -> bool {
    value.to_lowercase().contains(&wanted.to_lowercase())
}
