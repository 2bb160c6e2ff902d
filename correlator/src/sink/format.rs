//! The forms in which an alert leaves.

use serde_json::Value;

use super::to_line;

/// What a sink is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// The alert as it is.
    #[default]
    Ecs,
}

impl Format {
    pub const ALL: [(&'static str, Self); 1] = [("ecs", Self::Ecs)];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("ecs", |(name, _)| name)
    }

    pub fn document(self, alert: &Value) -> Value {
        match self {
            Self::Ecs => alert.clone(),
        }
    }

    /// On one line, with nothing in it that a terminal or a line-based reader would act on.
    pub fn line(self, alert: &Value) -> String {
        match self {
            Self::Ecs => to_line(alert),
        }
    }
}
