//! What the list shows: the newest alerts, the incidents they amount to, and whether the run is well. Pure: it is handed
//! alerts as they change, and asked what is new since a generation.

use std::collections::{BTreeMap, BTreeSet};

use rules::event::Span;
use serde::Serialize;
use serde_json::{Value, json};

use crate::alert::view::{muted_by, scalar, text};
use crate::incident::{self, EntityKind, Incident};
use crate::untrusted::Untrusted;

/// A foreign string of the list is shown up to here.
const MAX_SHOWN: usize = 300;
/// The latest incidents that are listed.
const MAX_INCIDENTS: usize = 200;

/// An alert on one line. Its strings are safe to look at, once they are escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) time: String,
    pub(super) severity: &'static str,
    pub(super) rule: String,
    /// Who, where, in which account.
    pub(super) cast: Vec<String>,
    pub(super) revision: String,
    pub(super) is_withdrawn: bool,
}

/// An incident on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) time: String,
    pub(super) severity: &'static str,
    pub(super) summary: String,
}

#[derive(Debug)]
struct Held {
    row: Row,
    /// What incidents are told from.
    slim: Value,
    changed: u64,
}

#[derive(Debug)]
pub struct Board {
    max_alerts: usize,
    window: Span,
    /// By time, then id.
    alerts: BTreeMap<(String, String), Held>,
    by_id: BTreeMap<String, String>,
    incidents: Vec<Incident>,
    /// Why what is shown may not be all there is.
    reasons: Vec<String>,
    generation: u64,
}

impl Board {
    pub fn new(max_alerts: usize, window: Span) -> Self {
        Self {
            max_alerts,
            window,
            alerts: BTreeMap::new(),
            by_id: BTreeMap::new(),
            incidents: Vec::new(),
            reasons: Vec::new(),
            generation: 0,
        }
    }

    /// Alerts that are new or revised. Says whether that changes anything.
    pub fn take(&mut self, alerts: Vec<Value>) -> bool {
        if alerts.is_empty() {
            return false;
        }
        self.generation += 1;
        for mut alert in alerts {
            let Some(id) = text(&alert, "groundtrail.alert.id").map(String::from) else { continue };
            let row = row(&alert, &id);
            slim(&mut alert);
            if let Some(before) = self.by_id.insert(id.clone(), row.time.clone()) {
                self.alerts.remove(&(before, id.clone()));
            }
            self.alerts.insert((row.time.clone(), id), Held { row, slim: alert, changed: self.generation });
        }
        while self.alerts.len() > self.max_alerts {
            if let Some(((_, id), _)) = self.alerts.pop_first() {
                self.by_id.remove(&id);
            }
        }
        let alerts = self.alerts.values().map(|held| held.slim.clone()).collect();
        self.incidents = incident::incidents(&incident::latest(alerts), self.window);
        true
    }

    /// What is known to be wrong with the run or the store. Says whether that is news.
    pub fn note(&mut self, reasons: Vec<String>) -> bool {
        let reasons: Vec<String> = reasons.iter().map(|reason| shown(reason)).collect();
        if self.reasons == reasons {
            return false;
        }
        self.reasons = reasons;
        self.generation += 1;
        true
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    pub(super) fn is_full(&self) -> bool {
        self.alerts.len() >= self.max_alerts
    }

    pub(super) fn max_alerts(&self) -> usize {
        self.max_alerts
    }

    /// The newest first.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.alerts.values().rev().map(|held| &held.row)
    }

    /// Those in which something happened last come first.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut latest: Vec<&Incident> = self.incidents.iter().collect();
        latest.sort_by(|a, b| (&b.end, &b.id).cmp(&(&a.end, &a.id)));
        latest.truncate(MAX_INCIDENTS);
        latest.into_iter().map(line).collect()
    }

    pub(super) fn incident(&self, id: &str) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.id == id)
    }

    /// The incident that an alert is part of. None, too, where it was withdrawn.
    pub(super) fn incident_of(&self, alert: &str) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.story.iter().any(|scene| scene.alert == alert))
    }

    /// Everything that a list as of `generation` lacks.
    pub(super) fn news(&self, generation: u64) -> Value {
        let changed = self.alerts.values().filter(|held| held.changed > generation);
        json!({
            "alerts": changed.map(|held| &held.row).collect::<Vec<_>>(),
            "incidents": self.lines(),
            "reasons": self.reasons,
            "max_alerts": self.max_alerts,
        })
    }
}

fn shown(text: &str) -> String {
    Untrusted(text).fit(MAX_SHOWN)
}

/// It becomes the name of a class.
fn severity(word: &str) -> &'static str {
    ["low", "medium", "high", "critical"].into_iter().find(|known| *known == word).unwrap_or("low")
}

fn row(alert: &Value, id: &str) -> Row {
    let entities = incident::entities(alert);
    let of_kind = |kind: EntityKind| {
        let found = entities.iter().filter(move |entity| entity.kind == kind);
        found.map(|entity| if entity.name.is_empty() { &entity.id } else { &entity.name })
    };
    let account = scalar(alert, "cloud.account.id");
    let cast = of_kind(EntityKind::Principal).chain(of_kind(EntityKind::Host)).chain(&account);
    let muted = muted_by(alert).map(|by| shown(&format!("muted {by}")));
    Row {
        id: shown(id),
        time: shown(text(alert, "@timestamp").unwrap_or_default()),
        severity: severity(text(alert, "groundtrail.alert.severity").unwrap_or_default()),
        rule: shown(text(alert, "rule.name").unwrap_or("unnamed rule")),
        cast: cast.map(|name| shown(name)).chain(muted).collect(),
        revision: shown(&scalar(alert, "groundtrail.alert.revision").unwrap_or_default()),
        is_withdrawn: text(alert, "groundtrail.alert.state") == Some("withdrawn"),
    }
}

fn line(incident: &Incident) -> Line {
    Line {
        id: incident.id.clone(),
        time: shown(&incident.end),
        severity: severity(&incident.severity),
        summary: shown(&incident.summary),
    }
}

/// Leaves what incidents are told from: what merely explains is most of an alert.
fn slim(alert: &mut Value) {
    const OF_ALERT: &[&str] = &["context", "columns", "keys"];
    const OF_EVENT: &[&str] = &["@timestamp", "event", "aws", "groundtrail"];
    let Some(inner) = alert.pointer_mut("/groundtrail/alert").and_then(Value::as_object_mut) else { return };
    inner.retain(|key, _| !OF_ALERT.contains(&key.as_str()));
    for evidence in inner.get_mut("evidence").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(evidence) = evidence.as_object_mut() else { continue };
        evidence.retain(|key, _| key == "event" || key == "stage");
        if let Some(event) = evidence.get_mut("event").and_then(Value::as_object_mut) {
            event.retain(|key, _| OF_EVENT.contains(&key.as_str()));
            if let Some(aws) = event.get_mut("aws").and_then(|aws| aws.get_mut("cloudtrail")) {
                let kept = aws.get("user_identity").cloned().unwrap_or_default();
                *aws = json!({"user_identity": kept});
            }
        }
    }
}

/// The ids of an incident's alerts.
pub(super) fn ids(incident: &Incident) -> BTreeSet<&str> {
    incident.story.iter().map(|scene| scene.alert.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::corpus::{assert_inert, hostile};

    fn demo() -> Vec<Value> {
        include_str!("../../../tests/traces/demo/alerts.expected.json")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn alert(id: &str, time: &str, revision: u64, state: &str) -> Value {
        json!({"@timestamp": time, "rule": {"name": "r"},
            "groundtrail": {"alert": {"id": id, "revision": revision, "state": state, "severity": "high"}}})
    }

    fn board() -> Board {
        Board::new(3, incident::DEFAULT_WINDOW)
    }

    #[test]
    fn incidents_are_the_same_as_those_of_the_whole_alerts() {
        let mut board = Board::new(1_000, incident::DEFAULT_WINDOW);
        board.take(demo());
        let whole = incident::incidents(&incident::latest(demo()), incident::DEFAULT_WINDOW);
        assert!(!whole.is_empty());
        assert_eq!(json!(board.incidents), json!(whole));
        let size = |alerts: &mut dyn Iterator<Item = &Value>| {
            alerts.map(|alert| alert.to_string().len()).sum::<usize>()
        };
        let n_held = size(&mut board.alerts.values().map(|held| &held.slim));
        assert!(n_held * 2 < size(&mut demo().iter()), "most of an alert is not held");
    }

    #[test]
    fn a_list_is_brought_up_to_date_with_what_changed() {
        let mut board = board();
        assert!(board.take(vec![
            alert("a", "2026-03-01T10:00:00Z", 1, "open"),
            alert("b", "2026-03-01T10:00:01Z", 1, "open")
        ]));
        let then = board.generation();
        assert!(!board.take(Vec::new()));
        assert_eq!(board.generation(), then);
        board.take(vec![alert("a", "2026-03-01T10:00:02Z", 2, "withdrawn")]);
        let news = board.news(then);
        assert_eq!(news["alerts"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&news["alerts"][0]["id"], &news["alerts"][0]["is_withdrawn"]),
            (&json!("a"), &json!(true))
        );
        let order: Vec<&str> = board.rows().map(|row| row.id.as_str()).collect();
        assert_eq!(order, ["a", "b"], "its time changed, and it stands once");
        assert!(board.incident_of("a").is_none() && board.incident_of("b").is_some());
        assert_eq!(board.news(0)["alerts"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_oldest_go_where_there_is_no_more_room() {
        let mut board = board();
        for n in 0..5 {
            board.take(vec![alert(&format!("a{n}"), &format!("2026-03-01T10:00:0{n}Z"), 1, "open")]);
        }
        let order: Vec<&str> = board.rows().map(|row| row.id.as_str()).collect();
        assert_eq!(order, ["a4", "a3", "a2"]);
        assert_eq!(board.by_id.len(), 3);
        assert!(board.is_full());
    }

    #[test]
    fn reasons_are_news_when_they_change() {
        let mut board = board();
        assert!(board.note(vec!["a".to_owned()]));
        assert!(!board.note(vec!["a".to_owned()]));
        assert!(board.note(Vec::new()));
    }

    #[test]
    fn hostile_strings_are_made_safe_to_look_at() {
        for bad in hostile() {
            let mut board = board();
            let mut alert = alert(&bad, &bad, 1, &bad);
            alert["rule"]["name"] = json!(bad);
            alert["groundtrail"]["alert"]["severity"] = json!(bad);
            alert["groundtrail"]["alert"]["hosts"] = json!([{"id": bad, "name": bad}]);
            board.take(vec![alert]);
            board.note(vec![bad]);
            let news = board.news(0);
            for row in news["alerts"].as_array().unwrap() {
                row["cast"].as_array().unwrap().iter().for_each(|name| assert_inert(name.as_str().unwrap()));
                ["id", "time", "rule", "severity"]
                    .iter()
                    .for_each(|key| assert_inert(row[key].as_str().unwrap()));
            }
            assert_inert(news["reasons"][0].as_str().unwrap());
        }
    }
}
