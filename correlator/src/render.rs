//! The alert for people: what happened in a sentence, then the process tree and the API calls side by side.
//!
//! Everything shown comes out of the alert document; nothing is looked up. Foreign strings pass `untrusted` on their way
//! into a `Line`, and there is no other way in.

mod brief;
pub(crate) mod calls;
mod card;
mod family;
mod incident;
mod line;
#[cfg(test)]
mod tests;
mod tree;
mod why;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::alert::view::{self, Carried, Role, Times, scalar, text, texts, time};
use line::{Line, Paint, Severity, side_by_side, wrap};

/// From this width on the tree and the calls stand side by side.
const SIDE_BY_SIDE_WIDTH: usize = 100;
/// Narrower than this nothing can be laid out; wider than that lines are hard to follow.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=200;
const MAX_STORY_ROWS: usize = 4;

pub use brief::brief;
pub(crate) use brief::cast;
pub(crate) use family::family;
pub use incident::incident;

/// What the text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal.
    pub width: usize,
    pub is_coloured: bool,
}

/// What has been shown of an alert, to tell the next revision's news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    events: BTreeSet<String>,
    message: Option<String>,
    severity: Option<String>,
    could_not_see: BTreeSet<String>,
}

impl Shown {
    pub fn of(alert: &Value) -> Self {
        Self {
            events: view::carried(alert).iter().map(|carried| carried.id().to_owned()).collect(),
            message: scalar(alert, "message"),
            severity: scalar(alert, "groundtrail.alert.severity"),
            could_not_see: texts(alert, "groundtrail.alert.could_not_see")
                .into_iter()
                .map(String::from)
                .collect(),
        }
    }
}

/// The whole alert.
pub fn alert(alert: &Value, style: Style) -> String {
    if text(alert, "groundtrail.alert.state") == Some("withdrawn") {
        return withdrawn(alert, style);
    }
    let page = Page::new(alert, style);
    let mut lines = page.head("");
    lines.extend(page.story());
    let body = page.body(&view::carried(alert));
    page.part(&mut lines, body);
    page.part(&mut lines, card::lines(alert, page.inner_width()));
    page.write(lines)
}

/// The whole alert, and by what conditions its events are part of it.
pub fn explained(alert: &Value, style: Style) -> String {
    let page = Page::new(alert, style);
    let mut out = self::alert(alert, style);
    let mut lines = Vec::new();
    page.part(&mut lines, why::lines(alert, page.inner_width()));
    out.push_str(&page.write(lines));
    out
}

/// A later revision of an alert that was shown: only what is new.
pub fn revision(alert: &Value, before: &Shown, style: Style) -> String {
    if text(alert, "groundtrail.alert.state") == Some("withdrawn") {
        return withdrawn(alert, style);
    }
    let page = Page::new(alert, style);
    let now = Shown::of(alert);
    let number = scalar(alert, "groundtrail.alert.revision").unwrap_or_default();
    let mut lines = page.head(&format!(" · revision {number}"));
    if now.message != before.message {
        lines.extend(page.story());
    }
    lines.extend(news(&now, before, page.inner_width()));
    let mut events = view::carried(alert);
    for carried in events.iter_mut().filter(|carried| before.events.contains(carried.id())) {
        carried.role = Role::Known;
    }
    let body = page.body(&events);
    page.part(&mut lines, body);
    let id = scalar(alert, "groundtrail.alert.id").unwrap_or_default();
    page.part(&mut lines, vec![Line::default().own(Paint::Dim, "alert     ").foreign(Paint::Dim, &id, 80)]);
    page.write(lines)
}

fn withdrawn(alert: &Value, style: Style) -> String {
    let page = Page::new(alert, style);
    let id = scalar(alert, "groundtrail.alert.id").unwrap_or_default();
    let mut lines = page.head(" · withdrawn");
    lines.push(
        Line::default()
            .own(Paint::Plain, "events that came later show that it did not happen this way; alert ")
            .foreign(Paint::Dim, &id, 80),
    );
    page.write(lines)
}

/// What changed, as sentences.
fn news(now: &Shown, before: &Shown, width: usize) -> Vec<Line> {
    let n_gained = now.events.difference(&before.events).count();
    let n_lost = before.events.difference(&now.events).count();
    let mut parts = Vec::new();
    if n_gained > 0 {
        parts.push(format!("gained {}", events(n_gained)));
    }
    if n_lost > 0 {
        parts.push(format!("lost {}", events(n_lost)));
    }
    if now.severity != before.severity
        && let (Some(old), Some(new)) = (&before.severity, &now.severity)
    {
        parts.push(format!("severity {old} → {new}"));
    }
    if parts.is_empty() {
        parts.push("details changed".to_owned());
    }
    let mut lines: Vec<Line> = wrap(&parts.join(", "), width, 2)
        .into_iter()
        .map(|row| Line::default().own(Paint::Strong, row))
        .collect();
    let mut gaps = |label: &'static str, paint: Paint, gaps: Vec<&String>| {
        for gap in gaps {
            lines.push(Line::default().own(Paint::Dim, label).foreign(
                paint,
                gap,
                width.saturating_sub(label.len()),
            ));
        }
    };
    gaps("no longer unseen: ", Paint::Good, before.could_not_see.difference(&now.could_not_see).collect());
    gaps("unseen: ", Paint::Warning, now.could_not_see.difference(&before.could_not_see).collect());
    lines
}

fn events(count: usize) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// One alert on one terminal.
struct Page<'d> {
    alert: &'d Value,
    width: usize,
    is_coloured: bool,
    accent: Paint,
}

impl<'d> Page<'d> {
    fn new(alert: &'d Value, style: Style) -> Self {
        let severity = text(alert, "groundtrail.alert.severity").and_then(Severity::parse);
        Self {
            alert,
            width: style.width.clamp(*WIDTHS.start(), *WIDTHS.end()),
            is_coloured: style.is_coloured,
            accent: severity.map_or(Paint::Strong, Paint::Severity),
        }
    }

    /// Columns right of the bar that marks an alert's lines.
    fn inner_width(&self) -> usize {
        self.width - 2
    }

    /// Severity and rule on the left, time on the right.
    fn head(&self, suffix: &str) -> Vec<Line> {
        let severity = text(self.alert, "groundtrail.alert.severity").unwrap_or("alert").to_uppercase();
        let name = text(self.alert, "rule.name").unwrap_or("unnamed rule");
        let when = time(self.alert)
            .map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
            .unwrap_or_default();
        let mut line = Line::default().foreign(self.accent, &severity, 8).own(Paint::Plain, "  ");
        let room = self.inner_width().saturating_sub(line.width() + suffix.len());
        if room >= when.len() + 26 {
            line = line.foreign(Paint::Strong, name, room - when.len() - 2).own(Paint::Plain, suffix);
            let gap = self.inner_width().saturating_sub(when.len());
            return vec![line.pad(gap).own(Paint::Dim, when)];
        }
        let line = line.foreign(Paint::Strong, name, room).own(Paint::Plain, suffix);
        vec![line, Line::default().own(Paint::Dim, when)]
    }

    fn story(&self) -> Vec<Line> {
        let message = text(self.alert, "message").unwrap_or_default();
        // The rule's name stands in the line above already.
        let name = text(self.alert, "rule.name").unwrap_or_default();
        let story = message.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
        wrap(story, self.inner_width(), MAX_STORY_ROWS)
            .into_iter()
            .map(|row| Line::default().own(Paint::Plain, row))
            .collect()
    }

    /// Tree and calls: next to each other where there is room for both, else one above the other.
    fn body(&self, events: &[Carried<'_>]) -> Vec<Line> {
        let width = self.inner_width();
        let is_wide = self.width >= SIDE_BY_SIDE_WIDTH;
        let times = Times::new(self.alert, events, self.width >= 120);
        if is_wide {
            let tree = tree::lines(events, times, self.accent, width * 11 / 20, tree::MAX_ROWS);
            let tree_width = tree.iter().map(Line::width).max().unwrap_or_default().min(width * 11 / 20);
            let calls = calls::lines(events, times, self.accent, width - tree_width - 3);
            if !tree.is_empty() && !calls.is_empty() {
                return side_by_side(tree, tree_width, calls);
            }
        }
        let mut lines = tree::lines(events, times, self.accent, width, tree::MAX_ROWS);
        let calls = calls::lines(events, times, self.accent, width);
        if !lines.is_empty() && !calls.is_empty() {
            lines.push(Line::default());
        }
        lines.extend(calls);
        lines
    }

    /// Adds a part below an empty line.
    fn part(&self, lines: &mut Vec<Line>, part: Vec<Line>) {
        if !part.is_empty() {
            lines.push(Line::default());
            lines.extend(part);
        }
    }

    fn write(&self, lines: Vec<Line>) -> String {
        let mut out = String::new();
        for line in lines {
            Line::default()
                .own(self.accent, "▌ ")
                .append(line)
                .clip(self.width)
                .write(self.is_coloured, &mut out);
            out.push('\n');
        }
        out
    }
}
