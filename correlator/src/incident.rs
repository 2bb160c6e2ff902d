//! Alerts that share an entity within a window are one incident, so that one intrusion is one page and not forty.
//!
//! A pure function of the set of alerts: no order, no clock, nothing kept. An alert is never changed or hidden by it.

mod entity;
mod next;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rules::event::{EventTime, Span};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::alert::view::{scalar, text, texts, threat_names};
use crate::notify::CANARY_RULE;
use crate::time;

pub use entity::{Entity, EntityKind};
pub use next::Step;

/// Alerts of one entity further apart than this are not one story, unless asked otherwise.
pub const DEFAULT_WINDOW: Span = Span::from_secs(6 * 3_600);

/// One intrusion, as far as it can be told from what was alerted on.
#[derive(Debug, Clone, Serialize)]
pub struct Incident {
    pub id: String,
    pub severity: String,
    pub start: String,
    pub end: String,
    /// The whole of it in one sentence.
    pub summary: String,
    pub entities: Vec<Entity>,
    /// The tactics in the order in which they were first seen.
    pub tactics: Vec<String>,
    /// In order of time.
    pub story: Vec<Scene>,
    /// What to ask and what to do, from the rules' own notes and from who is in it.
    pub next: Vec<Step>,
    pub could_not_see: Vec<String>,
}

/// One alert's place in the story.
#[derive(Debug, Clone, Serialize)]
pub struct Scene {
    pub time: String,
    pub severity: String,
    pub rule: String,
    pub what: String,
    pub alert: String,
}

/// An alert as grouping sees it.
struct Member<'a> {
    document: &'a Value,
    id: &'a str,
    start: EventTime,
    end: EventTime,
    entities: BTreeSet<Entity>,
}

/// The incidents that alert documents amount to, the latest last. Each alert stands once: see [`latest`].
pub fn incidents(alerts: &[Value], window: Span) -> Vec<Incident> {
    let members = members(alerts);
    let mut groups = Groups::new(members.len());
    let mut by_entity: BTreeMap<&Entity, Vec<usize>> = BTreeMap::new();
    for (idx, member) in members.iter().enumerate() {
        for entity in &member.entities {
            by_entity.entry(entity).or_default().push(idx);
        }
    }
    for mut together in by_entity.into_values() {
        together.sort_by_key(|idx| (members[*idx].start, members[*idx].id));
        // The end of a long alert may lie after that of the next.
        let mut reached: Option<(usize, EventTime)> = None;
        for idx in together {
            let member = &members[idx];
            if let Some((before, until)) = reached
                && member.start - until <= window
            {
                groups.join(before, idx);
            }
            let until = reached.map_or(member.end, |(_, until)| until.max(member.end));
            reached = Some((idx, until));
        }
    }
    let mut by_group: BTreeMap<usize, Vec<&Member<'_>>> = BTreeMap::new();
    for (idx, member) in members.iter().enumerate() {
        by_group.entry(groups.root(idx)).or_default().push(member);
    }
    let mut told: Vec<Incident> = by_group.into_values().map(tell).collect();
    told.sort_by(|a, b| (&a.start, &a.id).cmp(&(&b.start, &b.id)));
    told
}

/// Of several revisions of one alert the highest; what was withdrawn is left out.
pub fn latest(alerts: Vec<Value>) -> Vec<Value> {
    let mut latest: BTreeMap<String, Value> = BTreeMap::new();
    let revision = |alert: &Value| alert["groundtrail"]["alert"]["revision"].as_u64().unwrap_or(u64::MAX);
    for alert in alerts {
        let Some(id) = text(&alert, "groundtrail.alert.id") else { continue };
        if latest.get(id).is_none_or(|held| revision(&alert) > revision(held)) {
            latest.insert(id.to_owned(), alert);
        }
    }
    latest.retain(|_, alert| text(alert, "groundtrail.alert.state") != Some("withdrawn"));
    latest.into_values().collect()
}

/// Who and what an alert is about.
pub(crate) fn entities(alert: &Value) -> BTreeSet<Entity> {
    entity::of(alert)
}

fn members(alerts: &[Value]) -> Vec<Member<'_>> {
    // A canary is nobody's intrusion, and would join what happened on its host.
    let others = alerts.iter().filter(|alert| text(alert, "rule.id") != Some(CANARY_RULE));
    let standing = others.filter_map(|alert| Some((text(alert, "groundtrail.alert.id")?, alert)));
    let mut members: Vec<Member<'_>> = standing
        .filter_map(|(id, document)| {
            let at = |path: &str| text(document, path).and_then(time::parse);
            let start = at("groundtrail.alert.window.start").or_else(|| at("@timestamp"))?;
            let end = at("groundtrail.alert.window.end").unwrap_or(start).max(start);
            Some(Member { document, id, start, end, entities: entity::of(document) })
        })
        .collect();
    members.sort_by_key(|member| (member.start, member.id));
    members
}

/// Puts one group into words.
fn tell(mut members: Vec<&Member<'_>>) -> Incident {
    members.sort_by_key(|member| (member.start, member.id));
    let mut entities: BTreeSet<Entity> = BTreeSet::new();
    let mut tactics: Vec<String> = Vec::new();
    let mut unseen: BTreeSet<String> = BTreeSet::new();
    let mut story = Vec::new();
    for member in &members {
        for entity in &member.entities {
            // The last alert that has a name for it knows best.
            if entity.has_name() || !entities.contains(entity) {
                entities.replace(entity.clone());
            }
        }
        for tactic in threat_names(member.document) {
            if !tactics.contains(&tactic) {
                tactics.push(tactic);
            }
        }
        unseen
            .extend(texts(member.document, "groundtrail.alert.could_not_see").into_iter().map(String::from));
        story.push(scene(member));
    }
    let start = members.iter().map(|member| member.start).min().unwrap_or(EventTime(0));
    let end = members.iter().map(|member| member.end).max().unwrap_or(start);
    let severity = members.iter().map(|member| severity(member.document)).max().unwrap_or((0, "low")).1;
    let entities: Vec<Entity> = entities.into_iter().collect();
    // Named after its first alert: what comes later does not rename it.
    let digest = Sha256::digest(members.first().map_or("", |member| member.id).as_bytes());
    Incident {
        id: crate::hex::hex(&digest[..6]),
        severity: severity.to_owned(),
        start: time::format(start),
        end: time::format(end),
        summary: summary(&story, &entities, &tactics, end - start),
        next: next::steps(&members.iter().map(|member| member.document).collect::<Vec<_>>(), &entities),
        entities,
        tactics,
        story,
        could_not_see: unseen.into_iter().collect(),
    }
}

fn scene(member: &Member<'_>) -> Scene {
    let rule = text(member.document, "rule.name").unwrap_or("unnamed rule");
    let message = text(member.document, "message").unwrap_or_default();
    let what = message.strip_prefix(rule).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
    Scene {
        time: time::format(member.start),
        severity: severity(member.document).1.to_owned(),
        rule: rule.to_owned(),
        what: what.to_owned(),
        alert: member.id.to_owned(),
    }
}

fn severity(alert: &Value) -> (usize, &'static str) {
    let word = scalar(alert, "groundtrail.alert.severity").unwrap_or_default();
    ["low", "medium", "high", "critical"]
        .into_iter()
        .enumerate()
        .find(|(_, known)| *known == word)
        .unwrap_or((0, "low"))
}

/// `7 alerts in 8 s: user/mallory, web-role on web-1; Execution → Credential Access → Discovery`
fn summary(story: &[Scene], entities: &[Entity], tactics: &[String], span: Span) -> String {
    let n_alerts = if story.len() == 1 { "1 alert".to_owned() } else { format!("{} alerts", story.len()) };
    let named = |kinds: &[EntityKind]| -> Vec<&str> {
        let of_kind = entities.iter().filter(|entity| kinds.contains(&entity.kind));
        of_kind.map(|entity| entity.name.as_str()).collect()
    };
    let who = some(&named(&[EntityKind::Principal]));
    let place = some(&named(&[EntityKind::Host]));
    let mut words = n_alerts;
    if story.len() > 1 {
        words.push_str(&format!(" in {}", duration(span)));
    }
    if !who.is_empty() || !place.is_empty() {
        words.push_str(": ");
        words.push_str(&who);
        if !place.is_empty() {
            words.push_str(if who.is_empty() { "on " } else { " on " });
            words.push_str(&place);
        }
    }
    if !tactics.is_empty() {
        words.push_str("; ");
        words.push_str(&tactics.join(" → "));
    }
    words
}

/// The first few of some names.
fn some(names: &[&str]) -> String {
    const MAX_NAMED: usize = 3;
    let shown = names.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn duration(span: Span) -> String {
    let seconds = span.0 / 1_000_000_000;
    match seconds {
        0 => "under a second".to_owned(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// Union and find, with the smaller index as root: the same groups however they were joined.
struct Groups(Vec<usize>);

impl Groups {
    fn new(n_members: usize) -> Self {
        Self((0..n_members).collect())
    }

    fn root(&mut self, idx: usize) -> usize {
        let mut root = idx;
        while self.0[root] != root {
            self.0[root] = self.0[self.0[root]];
            root = self.0[root];
        }
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
