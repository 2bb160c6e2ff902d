//! Looks into an alert document: dotted paths into nested JSON, the events it carries, times.

use jiff::Timestamp;
use serde_json::Value;

/// The value at a dotted path.
pub(crate) fn at<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    path.split('.').try_fold(document, |value, key| value.get(key))
}

/// The string at a path; of a list, its first one.
pub(crate) fn text<'d>(document: &'d Value, path: &str) -> Option<&'d str> {
    texts(document, path).into_iter().next()
}

/// All strings at a path.
pub(crate) fn texts<'d>(document: &'d Value, path: &str) -> Vec<&'d str> {
    let values = match at(document, path) {
        Some(Value::Array(items)) => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).collect()
}

/// A scalar at a path, as text.
pub(crate) fn scalar(document: &Value, path: &str) -> Option<String> {
    show(at(document, path)?)
}

/// A value as one would write it in a sentence.
pub(crate) fn show(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let shown: Vec<String> = items.iter().filter_map(show).collect();
            (!shown.is_empty()).then(|| shown.join(", "))
        }
        other => Some(other.to_string()),
    }
}

pub(crate) fn list<'d>(document: &'d Value, path: &str) -> &'d [Value] {
    at(document, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn time(document: &Value) -> Option<Timestamp> {
    text(document, "@timestamp")?.parse().ok()
}

/// By which silence nobody was told, until when, and who says why.
pub(crate) fn muted_by(alert: &Value) -> Option<String> {
    let of = |key: &str| text(alert, &format!("groundtrail.alert.muted_by.{key}"));
    let name = of("silence")?;
    let (until, owner, reason) =
        (of("until").unwrap_or_default(), of("owner").unwrap_or_default(), of("reason").unwrap_or_default());
    Some(format!("by the silence {name} until {until}: {reason} ({owner})"))
}

/// An event inside an alert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried<'d> {
    pub(crate) event: &'d Value,
    pub(crate) role: Role<'d>,
}

/// Why the event is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role<'d> {
    /// It made the rule fire, at this stage.
    Evidence(&'d str),
    /// A context join attached it.
    Context,
    /// It was shown with an earlier revision: it only helps to place what is new.
    Known,
}

impl<'d> Carried<'d> {
    pub(crate) fn is_evidence(&self) -> bool {
        matches!(self.role, Role::Evidence(_))
    }

    pub(crate) fn id(&self) -> &'d str {
        text(self.event, "event.id").unwrap_or_default()
    }
}

/// Every event the alert carries, evidence first, each once.
pub(crate) fn carried(alert: &Value) -> Vec<Carried<'_>> {
    let evidence = list(alert, "groundtrail.alert.evidence").iter().filter_map(|item| {
        let role = Role::Evidence(text(item, "stage").unwrap_or_default());
        item.get("event").map(|event| Carried { event, role })
    });
    let context = list(alert, "groundtrail.alert.context")
        .iter()
        .flat_map(|item| list(item, "events"))
        .map(|event| Carried { event, role: Role::Context });
    let mut seen = std::collections::HashSet::new();
    evidence.chain(context).filter(|carried| carried.id().is_empty() || seen.insert(carried.id())).collect()
}

/// The names of the tactics a rule is filed under.
pub(crate) fn threat_names(alert: &Value) -> Vec<String> {
    let threats = alert.get("threat").map(one_or_many).unwrap_or_default();
    let tactics = threats.iter().filter_map(|threat| threat.get("tactic")).flat_map(one_or_many);
    tactics.filter_map(|tactic| text(tactic, "name").map(String::from)).collect()
}

pub(crate) fn one_or_many(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// How the times of one alert are written: with the day when they span more than one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    has_day: bool,
    has_millis: bool,
}

impl Times {
    pub(crate) fn new(alert: &Value, events: &[Carried<'_>], is_wide: bool) -> Self {
        let day = |event: &Value| time(event).map(|time| time.as_second().div_euclid(86_400));
        let anchor = day(alert);
        let has_day = events.iter().any(|carried| day(carried.event) != anchor);
        Self { has_day, has_millis: is_wide }
    }

    pub(crate) fn width(self) -> usize {
        8 + if self.has_day { 6 } else { 0 } + if self.has_millis { 4 } else { 0 }
    }

    pub(crate) fn show(self, event: &Value) -> String {
        let Some(time) = time(event) else { return " ".repeat(self.width()) };
        let form = match (self.has_day, self.has_millis) {
            (false, false) => "%H:%M:%S",
            (false, true) => "%H:%M:%S%.3f",
            (true, false) => "%m-%d %H:%M:%S",
            (true, true) => "%m-%d %H:%M:%S%.3f",
        };
        time.strftime(form).to_string()
    }
}
