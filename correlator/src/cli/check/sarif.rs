//! Findings in SARIF 2.1.0, which code hosts and editors read.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli::load::RuleSet;

pub(super) fn render(set: &RuleSet, beside: impl Iterator<Item = (bool, String)>) -> Value {
    let mut results = Vec::new();
    let mut codes = BTreeSet::new();
    for report in &set.reports {
        let uri = uri(&report.path.to_string_lossy());
        for finding in &report.findings {
            let diagnostic = &finding.diagnostic;
            codes.insert(diagnostic.code);
            let text = match &diagnostic.help {
                Some(help) => format!("{}; {help}", diagnostic.message),
                None => diagnostic.message.clone(),
            };
            results.push(json!({
                "ruleId": diagnostic.code.as_str(), "level": if finding.is_note() { "note" } else { level(finding.is_error()) }, "message": {"text": text},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri}, "region": {"startLine": report.line(finding)},
                }}],
            }));
        }
    }
    results.extend(beside.map(
        |(is_error, text)| json!({"ruleId": "check", "level": level(is_error), "message": {"text": text}}),
    ));
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| json!({"id": code.as_str(), "shortDescription": {"text": code.meaning()}}))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "groundtrail", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}

fn level(is_error: bool) -> &'static str {
    if is_error { "error" } else { "warning" }
}

/// A path as a relative reference: what is no part of a path there is written in percents.
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn a_path_is_a_reference() {
        assert_eq!(uri("rules/a b#é.toml"), "rules/a%20b%23%C3%A9.toml");
    }
}
