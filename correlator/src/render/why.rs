//! Why an alert is one: the conditions that each of its events meets, with the values that met them, and what the whole rests on.

use serde_json::Value;

use super::line::{Line, Paint, wrap};
use crate::alert::view::{list, scalar, show, text};

/// Events that are shown; of a long window the others meet the same conditions.
const MAX_EVENTS: usize = 12;
const MAX_ROWS: usize = 3;

pub(super) fn lines(alert: &Value, width: usize) -> Vec<Line> {
    let evidence = list(alert, "groundtrail.alert.evidence");
    let mut lines = vec![Line::default().own(Paint::Strong, "WHY IT FIRED")];
    for item in evidence.iter().take(MAX_EVENTS) {
        let stage = text(item, "stage").unwrap_or_default();
        let event = ["event.@timestamp", "event.event.id"].map(|path| scalar(item, path).unwrap_or_default());
        let [time, id] = event;
        lines.extend(rows(&format!("{stage}: event {id} at {time}"), Paint::Plain, 0, width));
        for clause in list(item, "matched") {
            lines.extend(rows(&met(clause), Paint::Plain, 2, width));
        }
    }
    if evidence.len() > MAX_EVENTS {
        let n_more = evidence.len() - MAX_EVENTS;
        lines
            .push(Line::default().own(Paint::Dim, format!("and {n_more} more events, in the alert as JSON")));
    }
    let window = ["start", "end"]
        .map(|end| scalar(alert, &format!("groundtrail.alert.window.{end}")).unwrap_or_default());
    let facts = [
        ("window", Some(window.join(" to "))),
        ("watermark", scalar(alert, "groundtrail.alert.watermark")),
        ("rule hash", scalar(alert, "groundtrail.alert.rule_hash")),
    ];
    for (label, value) in facts {
        if let Some(value) = value {
            lines.extend(rows(&format!("{label} {value}"), Paint::Dim, 0, width));
        }
    }
    lines
}

/// A condition, and the value that met it.
fn met(clause: &Value) -> String {
    let said = text(clause, "clause").unwrap_or_default();
    let value = |value: &Value| show(value).unwrap_or_else(|| "no value".to_owned());
    if let Some(Value::Object(values)) = clause.get("values") {
        let held: Vec<String> =
            values.iter().map(|(field, held)| format!("{field} = {}", value(held))).collect();
        return format!("{said}  [{}]", held.join(", "));
    }
    let field = text(clause, "field").unwrap_or_default();
    let held = clause.get("value").map_or_else(String::new, value);
    // A plain equality says it already.
    if said == format!("{field} is \"{held}\"") { said.to_owned() } else { format!("{said}  [{held}]") }
}

fn rows(words: &str, paint: Paint, indent: usize, width: usize) -> Vec<Line> {
    wrap(words, width.saturating_sub(indent), MAX_ROWS)
        .into_iter()
        .map(|row| Line::default().pad(indent).own(paint, row))
        .collect()
}
