//! An incident for people: the sentence, who is in it, the story in order, what to do next, what could not be seen.

use super::Style;
use super::WIDTHS;
use super::line::{Line, Paint, Severity, wrap};
use crate::incident::{EntityKind, Incident, Step};

const MAX_ROWS: usize = 6;
const LABEL_WIDTH: usize = 10;

/// The whole incident.
pub fn incident(incident: &Incident, style: Style) -> String {
    let width = style.width.clamp(*WIDTHS.start(), *WIDTHS.end());
    let accent = Severity::parse(&incident.severity).map_or(Paint::Strong, Paint::Severity);
    let inner = width - 2;
    let mut lines = vec![
        Line::default()
            .own(accent, incident.severity.to_uppercase())
            .own(Paint::Plain, "  ")
            .own(Paint::Strong, format!("incident {}", incident.id))
            .own(Paint::Dim, format!("  {} – {}", second(&incident.start), second(&incident.end))),
    ];
    lines.extend(rows(Paint::Plain, &incident.summary, inner));
    lines.push(Line::default());
    for entity in &incident.entities {
        let name = if entity.name == entity.id || entity.name.is_empty() {
            entity.id.clone()
        } else {
            format!("{} ({})", entity.id, entity.name)
        };
        lines.extend(labelled(kind(entity.kind), Paint::Plain, &name, inner));
    }
    lines.push(Line::default());
    for scene in &incident.story {
        let paint = Severity::parse(&scene.severity).map_or(Paint::Plain, Paint::Severity);
        let head = Line::default()
            .own(Paint::Dim, second(&scene.time))
            .own(Paint::Plain, "  ")
            .own(paint, format!("{:<8}", scene.severity))
            .own(Paint::Plain, "  ");
        let room = inner.saturating_sub(head.width());
        lines.push(head.foreign(Paint::Strong, &scene.rule, room));
        lines.extend(labelled("", Paint::Plain, &scene.what, inner));
        lines.extend(labelled("", Paint::Dim, &format!("groundtrail explain {}", scene.alert), inner));
    }
    if !incident.next.is_empty() {
        lines.push(Line::default());
        lines.push(Line::default().own(Paint::Heading, "next"));
    }
    for step in &incident.next {
        match step {
            Step::Ask { rule, text } => {
                lines.extend(labelled("ask", Paint::Plain, &format!("{text} ({rule})"), inner));
            }
            Step::Contain { what, command } => {
                lines.extend(labelled("stop it", Paint::Plain, what, inner));
                // Whole and unbroken: it is to be copied.
                lines.push(Line::default().pad(LABEL_WIDTH + 1).foreign(Paint::Strong, command, usize::MAX));
            }
        }
    }
    for gap in &incident.could_not_see {
        lines.extend(labelled("unseen", Paint::Warning, gap, inner));
    }
    let mut out = String::new();
    for line in lines {
        Line::default().own(accent, "▌ ").append(line).write(style.is_coloured, &mut out);
        out.push('\n');
    }
    out
}

fn kind(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Principal => "principal",
        EntityKind::Host => "host",
        EntityKind::AccessKey => "key",
        EntityKind::Command => "command",
        EntityKind::Session => "session",
    }
}

fn labelled(label: &str, paint: Paint, words: &str, width: usize) -> Vec<Line> {
    let room = width.saturating_sub(LABEL_WIDTH + 1);
    wrap(words, room, MAX_ROWS)
        .into_iter()
        .enumerate()
        .map(|(idx, row)| {
            let label = if idx == 0 { label } else { "" };
            Line::default().own(Paint::Dim, label).pad(LABEL_WIDTH + 1).own(paint, row)
        })
        .collect()
}

fn rows(paint: Paint, words: &str, width: usize) -> Vec<Line> {
    wrap(words, width, MAX_ROWS).into_iter().map(|row| Line::default().own(paint, row)).collect()
}

/// `2026-11-02T10:00:00.123Z` as `2026-11-02 10:00:00`.
fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}
