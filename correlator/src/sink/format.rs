//! The forms in which an alert leaves.

use serde_json::{Value, json};

use super::{ocsf, to_line};

/// What a sink is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// The alert as it is.
    #[default]
    Ecs,
    /// A Detection Finding.
    Ocsf,
}

impl Format {
    pub const ALL: [(&'static str, Self); 2] = [("ecs", Self::Ecs), ("ocsf", Self::Ocsf)];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("ecs", |(name, _)| name)
    }

    pub fn document(self, alert: &Value) -> Value {
        match self {
            Self::Ecs => alert.clone(),
            Self::Ocsf => ocsf::finding(alert),
        }
    }

    /// On one line, with nothing in it that a terminal or a line-based reader would act on.
    pub fn line(self, alert: &Value) -> String {
        match self {
            Self::Ecs => to_line(alert),
            Self::Ocsf => to_line(&ocsf::finding(alert)),
        }
    }

    /// The same in so many bytes: what happened, by which rule, on which host, and the alert's name. None: there is no room
    /// for that either.
    pub fn short(self, alert: &Value, max_bytes: usize) -> Option<String> {
        let mut max_chars = 8_192;
        while max_chars >= 32 {
            let line = self.line(&shortened(alert, max_chars));
            if line.len() <= max_bytes {
                return Some(line);
            }
            max_chars /= 2;
        }
        None
    }
}

/// With no text longer than that.
fn shortened(alert: &Value, max_chars: usize) -> Value {
    let brief = |pointer: &str| match alert.pointer(pointer) {
        Some(Value::String(text)) => text.chars().take(max_chars).collect::<String>().into(),
        Some(Value::Number(number)) => Value::from(number.clone()),
        _ => Value::Null,
    };
    json!({
        "@timestamp": brief("/@timestamp"),
        "ecs": {"version": brief("/ecs/version")},
        "message": brief("/message"),
        "event": {"kind": "alert", "id": brief("/event/id"), "dataset": "groundtrail.alert"},
        "rule": {"id": brief("/rule/id"), "name": brief("/rule/name")},
        "host": {"id": brief("/host/id"), "name": brief("/host/name")},
        "groundtrail": {"alert": {
            "id": brief("/groundtrail/alert/id"), "revision": brief("/groundtrail/alert/revision"),
            "state": brief("/groundtrail/alert/state"), "severity": brief("/groundtrail/alert/severity"),
            "is_shortened": true,
        }},
    })
}
