//! Which alerts somebody wants to see.

use clap::Args;
use rules::rule::Severity;
use serde_json::Value;

use crate::alert::view::{carried, text, texts};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct Sieve {
    /// Only alerts as severe as this, or more: low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<Severity>,
    /// Only of rules with this in their name, or of the rule with this id; may be repeated
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Only of hosts with this in their name or id; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Only of principals with this in their ARN or name; may be repeated
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Vec<String>,
    /// Only of this AWS account; may be repeated
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
}

const HOST: &[&str] = &["host.id", "host.name", "host.hostname"];
const PRINCIPAL: &[&str] =
    &["aws.cloudtrail.user_identity.arn", "aws.cloudtrail.user_identity.principal_id", "user.name"];
const ACCOUNT: &[&str] =
    &["cloud.account.id", "aws.cloudtrail.user_identity.account_id", "aws.cloudtrail.recipient_account_id"];

fn severity(word: &str) -> Result<Severity, String> {
    let known = Severity::ALL.iter().copied();
    known.clone().find(|severity| severity.as_str() == word).ok_or_else(|| {
        format!("possible: {}", known.map(|severity| severity.as_str()).collect::<Vec<_>>().join(", "))
    })
}

impl Sieve {
    pub(super) fn lets(&self, alert: &Value) -> bool {
        self.lets_severity(alert)
            && (self.rule.is_empty() || self.rule.iter().any(|rule| is_of_rule(alert, rule)))
            && any(&self.host, alert, HOST, contains)
            && any(&self.principal, alert, PRINCIPAL, contains)
            && any(&self.account, alert, ACCOUNT, |value, wanted| value == wanted)
    }

    fn lets_severity(&self, alert: &Value) -> bool {
        let word = text(alert, "groundtrail.alert.severity");
        let found = Severity::ALL.iter().find(|severity| Some(severity.as_str()) == word);
        self.severity.is_none_or(|least| found.is_some_and(|severity| *severity >= least))
    }
}

pub(super) fn is_of_rule(alert: &Value, rule: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sieve: Sieve,
    }

    #[track_caller]
    fn check(flags: &[&str], expect: bool) {
        let alert = json!({
            "rule": {"id": "6a1f0c1e", "name": "CloudTrail logging stopped"}, "cloud": {"account": {"id": "111122223333"}},
            "groundtrail": {"alert": {"severity": "high",
                "evidence": [{"event": {"host": {"id": "i-0abc", "name": "web-1"},
                    "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:iam::111122223333:user/mallory"}}}}}],
                "context": [{"events": [{"host": {"id": "i-0other"}, "event": {"id": "x"}}]}]}},
        });
        let line = Line::try_parse_from([&["x"], flags].concat()).unwrap();
        assert_eq!(line.sieve.lets(&alert), expect, "{flags:?}");
    }

    #[test]
    fn each_flag_narrows_and_a_repeated_one_widens() {
        check(&[], true);
        check(&["--severity", "high"], true);
        check(&["--severity", "low"], true);
        check(&["--severity", "critical"], false);
        check(&["--rule", "LOGGING"], true);
        check(&["--rule", "6a1f0c1e"], true);
        check(&["--rule", "6a1f"], false);
        check(&["--rule", "other", "--rule", "stopped"], true);
        check(&["--host", "WEB"], true);
        check(&["--host", "i-0abc"], true);
        check(&["--host", "i-0other"], false);
        check(&["--principal", "mallory"], true);
        check(&["--principal", "alice"], false);
        check(&["--account", "111122223333"], true);
        check(&["--account", "1111"], false);
        check(&["--host", "web", "--principal", "alice"], false);
    }

    #[test]
    fn a_severity_that_is_none_is_refused_with_those_there_are() {
        let error = Line::try_parse_from(["x", "--severity", "hi"]).err().unwrap().to_string();
        assert!(error.contains("low, medium, high, critical"), "{error}");
    }
}
