//! An alert on one line: when, how bad, by which id to ask for more, which rule, who, where.

use serde_json::Value;

use super::Style;
use super::line::{Line, Paint, Severity};
use crate::alert::view::{muted_by, scalar, text, time};
use crate::incident::{self, EntityKind};

/// Narrower than this a line would say nothing.
const MIN_WIDTH: usize = 40;
/// Of an id: enough to ask for, and hardly ever for two.
pub(super) const ID_WIDTH: usize = 8;

/// The alert, or its latest revision, with a newline behind it.
pub fn brief(alert: &Value, style: Style) -> String {
    let severity = text(alert, "groundtrail.alert.severity").unwrap_or("alert");
    let is_withdrawn = text(alert, "groundtrail.alert.state") == Some("withdrawn");
    let paint = Severity::parse(severity).map_or(Paint::Plain, Paint::Severity);
    let (mark, paint) = if is_withdrawn { ("withdrawn", Paint::Dim) } else { (severity, paint) };
    let when = time(alert).map(|time| time.strftime("%m-%d %H:%M:%S").to_string()).unwrap_or_default();
    let id: String = text(alert, "groundtrail.alert.id").unwrap_or_default().chars().take(ID_WIDTH).collect();
    let revision = scalar(alert, "groundtrail.alert.revision").filter(|revision| revision != "1");
    let mut line = Line::default().own(Paint::Dim, when).pad(15).foreign(paint, mark, 9).pad(25).foreign(
        Paint::Dim,
        &id,
        ID_WIDTH,
    );
    line = match revision {
        Some(revision) if !is_withdrawn => line.own(Paint::Dim, " r").foreign(Paint::Dim, &revision, 4),
        _ => line,
    };
    let name = text(alert, "rule.name").unwrap_or("unnamed rule");
    line = line.pad(38).foreign(if is_withdrawn { Paint::Dim } else { Paint::Strong }, name, 200);
    for who in cast(alert) {
        line = line.own(Paint::Dim, " · ").foreign(Paint::Plain, &who, 200);
    }
    if muted_by(alert).is_some() {
        line = line.own(Paint::Warning, " · muted");
    }
    let mut out = String::new();
    line.clip(style.width.max(MIN_WIDTH)).write(style.is_coloured, &mut out);
    out.push('\n');
    out
}

/// Principals, then hosts, then the account.
pub(crate) fn cast(alert: &Value) -> Vec<String> {
    let mut cast = Vec::new();
    let entities = incident::entities(alert);
    for kind in [EntityKind::Principal, EntityKind::Host] {
        for entity in entities.iter().filter(|entity| entity.kind == kind) {
            cast.push(if entity.name.is_empty() { entity.id.clone() } else { entity.name.clone() });
        }
    }
    cast.extend(scalar(alert, "cloud.account.id"));
    cast
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::corpus::{assert_inert, hostile};
    use crate::untrusted::width;
    use serde_json::json;

    fn alert(name: &str, state: &str, revision: u64) -> Value {
        json!({
            "@timestamp": "2026-03-01T12:00:00.5Z", "rule": {"name": name}, "cloud": {"account": {"id": "123456789012"}},
            "groundtrail": {"alert": {"id": "9f86d081884c7d65", "severity": "high", "state": state, "revision": revision,
                "hosts": [{"id": "i-1", "name": "web-1"}],
                "evidence": [{"event": {"event": {"id": "1"},
                    "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:iam::123456789012:user/alice"}}}}}]}},
        })
    }

    #[track_caller]
    fn check(alert: &Value, width: usize, expect: &str) {
        assert_eq!(brief(alert, Style { width, is_coloured: false }), format!("{expect}\n"));
    }

    #[test]
    fn an_alert_is_a_line() {
        let name = "Trail stopped";
        let line = "03-01 12:00:00 high      9f86d081     Trail stopped · user/alice · web-1 · 123456789012";
        check(&alert(name, "open", 1), 100, line);
        let line = "03-01 12:00:00 high      9f86d081 r3  Trail stopped · user/alice · web-1 · 123456789012";
        check(&alert(name, "revised", 3), 100, line);
        let line = "03-01 12:00:00 withdrawn 9f86d081     Trail stopped · user/alice · web-1 · 123456789012";
        check(&alert(name, "withdrawn", 4), 100, line);
        check(&alert(name, "open", 1), 60, "03-01 12:00:00 high      9f86d081     Trail stopped · user/…");
    }

    #[test]
    fn it_is_one_line_whatever_stands_in_it() {
        for bad in hostile() {
            let mut alert = alert(&bad, &bad, 1);
            alert["groundtrail"]["alert"]["severity"] = json!(bad);
            alert["groundtrail"]["alert"]["id"] = json!(bad);
            alert["cloud"]["account"]["id"] = json!(bad);
            alert["groundtrail"]["alert"]["hosts"] = json!([{"id": bad, "name": bad}]);
            for columns in [1, 40, 80, 200] {
                let shown = brief(&alert, Style { width: columns, is_coloured: false });
                assert_inert(&shown);
                assert_eq!(shown.lines().count(), 1, "{shown:?}");
                assert!(width(shown.trim_end_matches('\n')) <= columns.max(MIN_WIDTH));
            }
        }
    }
}
