//! Which alerts somebody wants to see.

use clap::Args;
use rules::rule::Severity;

use crate::alert::wanted::Wanted;

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

fn severity(word: &str) -> Result<Severity, String> {
    let known = Severity::ALL.iter().copied();
    known.clone().find(|severity| severity.as_str() == word).ok_or_else(|| {
        format!("possible: {}", known.map(|severity| severity.as_str()).collect::<Vec<_>>().join(", "))
    })
}

impl Sieve {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            least: self.severity,
            rules: self.rule.clone(),
            hosts: self.host.clone(),
            principals: self.principal.clone(),
            accounts: self.account.clone(),
        }
    }
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
        assert_eq!(line.sieve.wanted().lets(&alert), expect, "{flags:?}");
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
