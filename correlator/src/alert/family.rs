//! A process with what it descends from and what it started, out of all events that name processes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::processes::{self, Host, Node};
use super::view::{Carried, Role, carried, list, scalar, text, time};

/// What marks the process that was asked for.
const ASKED: &str = "asked";

/// An alert that rests on an event of the family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Concern {
    pub(crate) time: String,
    pub(crate) severity: String,
    pub(crate) rule: String,
    pub(crate) alert: String,
}

/// Events that name processes, each once, and the alerts that rest on them.
#[derive(Debug, Default)]
pub(crate) struct Told {
    events: Vec<Value>,
    places: HashMap<String, usize>,
    concerns: HashMap<usize, BTreeSet<Concern>>,
}

/// A process that is meant by a host and a pid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'d> {
    pub(crate) entity: &'d str,
    pub(crate) host: &'d str,
    /// The earliest that is known of it.
    pub(crate) first: Option<Timestamp>,
}

/// What there is to draw.
#[derive(Debug, Default)]
pub(crate) struct Family<'d> {
    pub(crate) events: Vec<Carried<'d>>,
    /// In order of time.
    pub(crate) concerns: BTreeSet<&'d Concern>,
}

impl Told {
    pub(crate) fn add(&mut self, event: Value) {
        self.place(event);
    }

    /// All events of an alert; those that made it fire are its.
    pub(crate) fn add_alert(&mut self, alert: &Value) {
        let concern = Concern {
            time: text(alert, "@timestamp").unwrap_or_default().to_owned(),
            severity: text(alert, "groundtrail.alert.severity").unwrap_or_default().to_owned(),
            rule: text(alert, "rule.name").unwrap_or_default().to_owned(),
            alert: text(alert, "groundtrail.alert.id").unwrap_or_default().to_owned(),
        };
        for event in carried(alert) {
            let Some(place) = self.place(event.event.clone()) else { continue };
            if event.is_evidence() {
                self.concerns.entry(place).or_default().insert(concern.clone());
            }
        }
    }

    fn place(&mut self, event: Value) -> Option<usize> {
        text(&event, "process.entity_id")?;
        let id = text(&event, "event.id").unwrap_or_default().to_owned();
        if let Some(place) = self.places.get(&id).filter(|_| !id.is_empty()) {
            return Some(*place);
        }
        let place = self.events.len();
        self.places.insert(id, place);
        self.events.push(event);
        Some(place)
    }

    /// The hosts that events are of, and how many processes are known of each.
    pub(crate) fn hosts(&self) -> BTreeMap<&str, usize> {
        let mut seen: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for event in &self.events {
            let host = text(event, "host.name").or(text(event, "host.id")).unwrap_or_default();
            seen.entry(host).or_default().extend(text(event, "process.entity_id"));
        }
        seen.into_iter().map(|(host, entities)| (host, entities.len())).collect()
    }

    /// Processes of the host, with that pid where one is given, in order of time. Whoever only is somebody's ancestor counts too.
    pub(crate) fn find(&self, host: &str, pid: Option<u64>) -> Vec<Found<'_>> {
        let mut found: HashMap<&str, Found<'_>> = HashMap::new();
        for event in self.events.iter().filter(|event| is_of(event, host)) {
            let own = std::iter::once((&event["process"], time(event)));
            let ancestors = ancestors(event).map(|ancestor| (ancestor, start(ancestor)));
            for (process, first) in own.chain(ancestors) {
                let is_meant = pid.is_none_or(|pid| process["pid"].as_u64() == Some(pid));
                let Some(entity) = text(process, "entity_id").filter(|_| is_meant) else { continue };
                let host = text(event, "host.id").unwrap_or_default();
                let held = found.entry(entity).or_insert(Found { entity, host, first });
                let started = start(process).or(first);
                held.first = [held.first, first, started].into_iter().flatten().min();
            }
        }
        let mut found: Vec<Found<'_>> = found.into_values().collect();
        found.sort_by_key(|found| (found.first, found.entity));
        found
    }

    /// The processes that an alert's own events name.
    pub(crate) fn of_alert<'d>(&'d self, alert: &'d Value) -> BTreeSet<&'d str> {
        carried(alert).iter().filter_map(|event| text(event.event, "process.entity_id")).collect()
    }

    /// These processes, everything they descend from, and everything they started. Of what they descend from only the
    /// processes themselves are told, not what else those did.
    pub(crate) fn family<'d>(&'d self, asked: &BTreeSet<&str>, does_mark: bool) -> Family<'d> {
        let (mut parents, mut children) = (HashMap::new(), HashMap::<&str, Vec<&str>>::new());
        for event in &self.events {
            let chain = text(event, "process.entity_id").into_iter();
            let chain: Vec<&str> =
                chain.chain(ancestors(event).filter_map(|ancestor| text(ancestor, "entity_id"))).collect();
            for pair in chain.windows(2).filter(|pair| pair[0] != pair[1]) {
                if parents.insert(pair[0], pair[1]).is_none() {
                    children.entry(pair[1]).or_default().push(pair[0]);
                }
            }
        }
        let up = reached(asked, |entity| parents.get(entity).into_iter());
        let down = reached(asked, |entity| children.get(entity).into_iter().flatten());
        let mut family = Family::default();
        for (place, event) in self.events.iter().enumerate() {
            let entity = text(event, "process.entity_id").unwrap_or_default();
            let is_process = text(event, "event.category") == Some("process");
            let role = match (self.concerns.get(&place), down.contains(entity)) {
                (Some(concerns), true) => {
                    family.concerns.extend(concerns);
                    Role::Evidence(concerns.first().map_or("", |concern| &concern.rule))
                }
                (None, true) if does_mark && is_process && asked.contains(entity) => Role::Evidence(ASKED),
                (None, true) => Role::Context,
                (_, false) if up.contains(entity) => Role::Known,
                (_, false) => continue,
            };
            family.events.push(Carried { event, role });
        }
        family.events.sort_by_key(|event| (time(event.event), event.id()));
        family
    }
}

/// By its id, its name, or its name's first label.
fn is_of(event: &Value, host: &str) -> bool {
    let names = ["host.id", "host.name", "host.hostname"].map(|path| text(event, path));
    names.into_iter().flatten().any(|name| name == host || name.split('.').next() == Some(host))
}

/// Who started the event's process, who that, and so on.
fn ancestors(event: &Value) -> impl Iterator<Item = &Value> {
    let parent = &event["process"]["parent"];
    let chain = list(event, "groundtrail.process.ancestors");
    let has_parent = chain.first().and_then(|first| text(first, "entity_id")) == text(parent, "entity_id");
    (!has_parent && text(parent, "entity_id").is_some()).then_some(parent).into_iter().chain(chain)
}

fn start(process: &Value) -> Option<Timestamp> {
    text(process, "start")?.parse().ok()
}

/// Everything that is to be had by following `next`, the beginning included. A ring, which only a forged event can make, ends.
fn reached<'d, I: Iterator<Item = &'d &'d str>>(
    from: &BTreeSet<&str>,
    next: impl Fn(&str) -> I,
) -> HashSet<String> {
    let mut reached: HashSet<String> = from.iter().map(|entity| (*entity).to_owned()).collect();
    let mut open: Vec<String> = reached.iter().cloned().collect();
    while let Some(entity) = open.pop() {
        for found in next(&entity) {
            if reached.insert((*found).to_owned()) {
                open.push((*found).to_owned());
            }
        }
    }
    reached
}

/// A process for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Member {
    pub(crate) host: String,
    pub(crate) depth: usize,
    pub(crate) entity_id: String,
    pub(crate) parent_entity_id: Option<String>,
    pub(crate) pid: Option<u64>,
    pub(crate) name: String,
    pub(crate) executable: String,
    pub(crate) command_line: String,
    pub(crate) user: Option<String>,
    /// Of its first event. None: it is only known from what descends from it.
    pub(crate) time: Option<String>,
    pub(crate) exit_code: Option<String>,
    pub(crate) deeds: Vec<MemberDeed>,
    pub(crate) alerts: Vec<Concern>,
}

#[derive(Debug, Serialize)]
pub(crate) struct MemberDeed {
    pub(crate) time: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) what: String,
    pub(crate) outcome: Option<String>,
    pub(crate) times: usize,
}

/// The family as a list, parents before their children.
pub(crate) fn members(told: &Told, family: &Family<'_>) -> Vec<Member> {
    let mut alerts: HashMap<&str, BTreeSet<&Concern>> = HashMap::new();
    for (place, concerns) in &told.concerns {
        let entity = text(&told.events[*place], "process.entity_id").unwrap_or_default();
        alerts.entry(entity).or_default().extend(concerns);
    }
    let mut members = Vec::new();
    for host in processes::by_host(&family.events).values() {
        let forest = host.forest();
        let mut open: Vec<(&str, usize)> =
            forest.loose.iter().chain(forest.roots.iter()).rev().map(|id| (*id, 0)).collect();
        let mut seen = HashSet::new();
        while let Some((entity, depth)) = open.pop() {
            if !seen.insert(entity) {
                continue;
            }
            let of_it = alerts.get(entity).into_iter().flatten().map(|concern| (*concern).clone());
            members.push(member(host, entity, depth, of_it.collect()));
            let below = forest.children.get(entity).into_iter().flatten().rev();
            open.extend(below.map(|child| (*child, depth + 1)));
        }
    }
    members
}

fn member(host: &Host<'_>, entity: &str, depth: usize, alerts: Vec<Concern>) -> Member {
    let node: &Node<'_> = &host.nodes[entity];
    let at = |event: &Value| text(event, "@timestamp").map(String::from);
    let deeds = node.deeds.iter().map(|(deed, times)| MemberDeed {
        time: at(deed.event),
        action: scalar(deed.event, "event.action"),
        what: deed.text.clone(),
        outcome: deed.outcome.map(String::from),
        times: *times,
    });
    Member {
        host: host.label.clone(),
        depth,
        entity_id: entity.to_owned(),
        parent_entity_id: node.parent.map(String::from),
        pid: node.pid.as_ref().and_then(|pid| pid.parse().ok()),
        name: node.title().to_owned(),
        executable: node.executable.to_owned(),
        command_line: node.command_line.to_owned(),
        user: node.user.map(String::from),
        time: node.first.and_then(at),
        exit_code: node.exit_code.clone(),
        deeds: deeds.collect(),
        alerts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(id: &str, at: &str, pid: u64, entity: &str, up: &[(&str, u64)]) -> Value {
        let chain: Vec<Value> =
            up.iter().map(|(entity, pid)| json!({"entity_id": entity, "pid": pid, "name": entity})).collect();
        json!({
            "@timestamp": at, "event": {"id": id, "category": ["process"], "action": "exec"},
            "host": {"id": "i-1", "name": "web-1.example.net"},
            "process": {"entity_id": entity, "pid": pid, "name": entity, "parent": chain.first()},
            "groundtrail": {"process": {"ancestors": chain}},
        })
    }

    /// init → sshd → bash → (curl, id), and cron beside sshd.
    fn told() -> Told {
        let mut told = Told::default();
        let sshd = [("sshd", 20), ("init", 1)];
        let bash = [("bash", 30), ("sshd", 20), ("init", 1)];
        told.add(event("1", "2026-03-01T10:00:00Z", 30, "bash", &sshd));
        told.add(event("2", "2026-03-01T10:00:01Z", 31, "curl", &bash));
        told.add(event("3", "2026-03-01T10:00:02Z", 32, "id", &bash));
        told.add(event("4", "2026-03-01T10:00:03Z", 40, "cron", &[("init", 1)]));
        told
    }

    #[track_caller]
    fn check(told: &Told, asked: &str, expect: &str) {
        let family = told.family(&[asked].into(), true);
        let drawn: Vec<String> = members(told, &family)
            .iter()
            .map(|member| format!("{}{}", ".".repeat(member.depth), member.name))
            .collect();
        assert_eq!(drawn.join(" "), expect);
    }

    #[test]
    fn a_family_is_what_is_above_and_what_is_below() {
        let told = told();
        check(&told, "bash", "init .sshd ..bash ...curl ...id");
        check(&told, "curl", "init .sshd ..bash ...curl");
        check(&told, "cron", "init .cron");
        check(&told, "init", "init .sshd ..bash ...curl ...id .cron");
    }

    #[test]
    fn a_process_is_found_by_each_name_of_its_host_and_by_being_an_ancestor() {
        let told = told();
        for host in ["i-1", "web-1", "web-1.example.net"] {
            assert_eq!(told.find(host, Some(31)).len(), 1, "{host}");
            assert_eq!(told.find(host, Some(20))[0].entity, "sshd");
            assert_eq!(told.find(host, None).len(), 6);
        }
        assert!(told.find("web", Some(31)).is_empty());
        assert!(told.find("i-1", Some(99)).is_empty());
        assert_eq!(told.hosts(), [("web-1.example.net", 4)].into());
    }

    #[test]
    fn a_pid_that_was_used_twice_is_two_processes_in_order_of_time() {
        let mut told = told();
        told.add(event("5", "2026-03-01T09:00:00Z", 31, "old", &[("init", 1)]));
        let found: Vec<&str> = told.find("i-1", Some(31)).iter().map(|found| found.entity).collect();
        assert_eq!(found, ["old", "curl"]);
    }

    #[test]
    fn alerts_that_rest_on_the_family_are_told_and_no_others() {
        let mut told = told();
        for (id, event) in [
            ("a", event("2", "2026-03-01T10:00:01Z", 31, "curl", &[])),
            ("b", event("4", "2026-03-01T10:00:03Z", 40, "cron", &[])),
        ] {
            told.add_alert(&json!({"@timestamp": "2026-03-01T10:00:01Z", "rule": {"name": id},
                "groundtrail": {"alert": {"id": id, "severity": "high", "evidence": [{"stage": "match", "event": event}]}}}));
        }
        let family = told.family(&["bash"].into(), true);
        let alerts: Vec<&str> = family.concerns.iter().map(|concern| concern.alert.as_str()).collect();
        assert_eq!(alerts, ["a"]);
        let members = members(&told, &family);
        let curl = members.iter().find(|member| member.name == "curl").unwrap();
        assert_eq!(curl.alerts.len(), 1);
    }

    #[test]
    fn a_forged_ring_of_parents_ends() {
        let mut told = Told::default();
        told.add(event("1", "2026-03-01T10:00:00Z", 1, "a", &[("b", 2)]));
        told.add(event("2", "2026-03-01T10:00:00Z", 2, "b", &[("a", 1)]));
        let family = told.family(&["a"].into(), true);
        assert_eq!(members(&told, &family).len(), 2);
    }
}
