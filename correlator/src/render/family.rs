//! A process, what it descends from and what it started, and the alerts that rest on them.

use super::brief::ID_WIDTH;
use super::line::{Line, Paint, Severity};
use super::{Style, WIDTHS, tree};
use crate::alert::family::{Concern, Family};
use crate::alert::view::Times;

/// A whole host may be asked for.
const MAX_ROWS: usize = 5_000;

pub(crate) fn family(family: &Family<'_>, style: Style) -> String {
    let width = style.width.clamp(*WIDTHS.start(), *WIDTHS.end());
    let severities = family.concerns.iter().filter_map(|concern| Severity::parse(&concern.severity));
    let accent = severities.max().map_or(Paint::Strong, Paint::Severity);
    let mut lines = Vec::new();
    if let Some(first) = family.events.first() {
        let times = Times::new(first.event, &family.events, width >= 120);
        lines = tree::lines(&family.events, times, accent, width, MAX_ROWS);
    }
    if !family.concerns.is_empty() {
        lines.push(Line::default());
        lines.push(Line::default().own(Paint::Heading, "ALERTS"));
    }
    lines.extend(family.concerns.iter().map(|concern| alert(concern)));
    let mut out = String::new();
    for line in lines {
        line.clip(width).write(style.is_coloured, &mut out);
        out.push('\n');
    }
    out
}

fn alert(concern: &Concern) -> Line {
    let paint = Severity::parse(&concern.severity).map_or(Paint::Plain, Paint::Severity);
    let id: String = concern.alert.chars().take(ID_WIDTH).collect();
    let time = concern.time.get(..19).unwrap_or(&concern.time).replace('T', " ");
    Line::default()
        .foreign(Paint::Dim, &time, 19)
        .own(Paint::Plain, "  ")
        .foreign(paint, &concern.severity, 8)
        .pad(31)
        .foreign(Paint::Dim, &id, ID_WIDTH)
        .own(Paint::Plain, "  ")
        .foreign(Paint::Strong, &concern.rule, usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::family::Told;
    use crate::untrusted::corpus::{assert_inert, hostile};
    use serde_json::json;

    #[test]
    fn hostile_strings_stay_inert_in_a_tree() {
        for (idx, bad) in hostile().into_iter().enumerate() {
            let event = json!({
                "@timestamp": "2026-03-01T10:00:00Z", "event": {"id": bad, "category": ["process"], "action": bad},
                "host": {"id": bad, "name": bad}, "user": {"name": bad},
                "process": {"entity_id": format!("e{idx}"), "pid": 7, "name": bad, "executable": bad, "command_line": bad,
                    "parent": {"entity_id": "p", "name": bad, "pid": 1}},
            });
            let mut told = Told::default();
            told.add_alert(&json!({"@timestamp": bad, "rule": {"name": bad},
                "groundtrail": {"alert": {"id": bad, "severity": bad, "evidence": [{"stage": bad, "event": event}]}}}));
            let entity = format!("e{idx}");
            let family = told.family(&[entity.as_str()].into(), true);
            for width in [40, 80, 200] {
                let shown = super::family(&family, Style { width, is_coloured: true });
                assert_inert(&shown);
                assert!(shown.contains("ALERTS"));
            }
        }
    }
}
