//! What could not be seen: hosts without sensor events, losses, feeds that are silent, state that a cap pushed out.
//!
//! Silence is never proof, so an alert says where there was nothing to hear.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rules::event::{Event, EventTime, Span};
use rules::rule::Rule;
use rules::schema::{FieldId, Schema};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::keyed::{Eviction, Match};
use crate::source::{Origin, Record};
use crate::time;

/// A host counts as seen if its sensor said anything this close to an alert's events.
const NEAR: Span = Span::from_secs(300);
const MINUTE: i64 = 60_000_000_000;
/// An alert names so many hosts; more would drown the rest.
const MAX_HOSTS: usize = 8;

/// What feeds delivered, coarsely.
#[derive(Debug)]
pub(crate) struct Blind {
    fields: Fields,
    datasets: FxHashSet<Box<str>>,
    /// By host or instance, the minutes with sensor events.
    minutes: FxHashMap<Box<str>, BTreeSet<i64>>,
    /// By time: whose sensor lost something, and what it says about it.
    losses: BTreeMap<(EventTime, Box<str>), Box<str>>,
    /// What the store does not have yet, where there is one: without it, a restart would take what was seen for unseen.
    pub(crate) unwritten: Option<Vec<Heard>>,
    pub(crate) unwritten_losses: Vec<HostLoss>,
}

/// A dataset, or a host in a minute, of which something was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub name: Box<str>,
    /// Since the epoch. `None`: `name` is a dataset.
    pub minute: Option<i64>,
}

/// What a host's sensor says it lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLoss {
    pub host: Box<str>,
    pub time: EventTime,
    pub what: Box<str>,
}

#[derive(Debug)]
struct Fields {
    dataset: Option<FieldId>,
    host_id: Option<FieldId>,
    instance_id: Option<FieldId>,
    link_instance_id: Option<FieldId>,
    action: Option<FieldId>,
    message: Option<FieldId>,
}

impl Blind {
    pub(crate) fn new(schema: &Schema) -> Self {
        let fields = Fields {
            dataset: schema.id("event.dataset"),
            host_id: schema.id("host.id"),
            instance_id: schema.id("cloud.instance.id"),
            link_instance_id: schema.id("groundtrail.link.instance_id"),
            action: schema.id("event.action"),
            message: schema.id("message"),
        };
        Self {
            fields,
            datasets: FxHashSet::default(),
            minutes: FxHashMap::default(),
            losses: BTreeMap::new(),
            unwritten: None,
            unwritten_losses: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, record: &Record) {
        let event = &record.event;
        if let Some(dataset) = text(event, self.fields.dataset)
            && !self.datasets.contains(dataset)
        {
            self.hear(Heard { name: dataset.into(), minute: None });
        }
        if record.origin != Origin::Sensor {
            return;
        }
        let hosts = [text(event, self.fields.host_id), text(event, self.fields.instance_id)];
        for host in hosts.into_iter().flatten() {
            let minute = event.time.0.div_euclid(MINUTE);
            if !self.minutes.get(host).is_some_and(|minutes| minutes.contains(&minute)) {
                self.hear(Heard { name: host.into(), minute: Some(minute) });
            }
        }
        if text(event, self.fields.action) == Some("groundtrail_loss") {
            let host = text(event, self.fields.host_id).unwrap_or("a host");
            let what = text(event, self.fields.message).unwrap_or("it lost events");
            let loss = HostLoss { host: host.into(), time: event.time, what: what.into() };
            if self.unwritten.is_some() {
                self.unwritten_losses.push(loss.clone());
            }
            self.lose(loss);
        }
    }

    pub(crate) fn lose(&mut self, HostLoss { host, time, what }: HostLoss) {
        self.losses.insert((time, host), what);
    }

    pub(crate) fn hear(&mut self, heard: Heard) {
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.push(heard.clone());
        }
        match heard.minute {
            Some(minute) => {
                self.minutes.entry(heard.name).or_default().insert(minute);
            }
            None => {
                self.datasets.insert(heard.name);
            }
        }
    }

    /// Forgets what no open alert can ask for.
    pub(crate) fn expire(&mut self, before: EventTime) {
        let oldest = before - NEAR;
        let minute = oldest.0.div_euclid(MINUTE);
        for minutes in self.minutes.values_mut() {
            if minutes.first().is_some_and(|first| *first < minute) {
                *minutes = minutes.split_off(&minute);
            }
        }
        self.minutes.retain(|_, minutes| !minutes.is_empty());
        self.losses = self.losses.split_off(&(oldest, "".into()));
    }

    /// One line for each thing that was out of sight, in a fixed order.
    pub(crate) fn could_not_see(
        &self,
        rule: &Rule,
        found: &Match,
        evidence: &[Arc<Record>],
        eviction: Option<Eviction>,
    ) -> Vec<String> {
        let mut lines = self.hosts_without_sensor(found, evidence);
        lines.extend(evidence.iter().filter_map(|record| misdated(record)));
        lines.extend(self.losses_near(found, evidence));
        let n_forgotten = evidence.iter().filter(|record| record.is_forgotten()).count();
        if n_forgotten > 0 {
            lines.push(format!("{n_forgotten} of the events that led to this are no longer held"));
        }
        let silent = rule.contexts.iter().filter_map(|context| context.dataset.as_deref());
        let silent: BTreeSet<&str> = silent.filter(|dataset| !self.datasets.contains(*dataset)).collect();
        lines
            .extend(silent.into_iter().map(|dataset| format!("no events of {dataset} were received at all")));
        if let Some(eviction) = eviction.filter(|eviction| eviction.newest >= found.start) {
            lines.push(format!(
                "too much to remember at once: {} half-seen patterns and {} events of this rule were given up, or taken out of their order, the newest from {}",
                eviction.n_keys,
                eviction.n_hits,
                time::format(eviction.newest)
            ));
        }
        lines
    }

    /// Hosts that the cloud half names and whose sensor, if there is one, was silent.
    fn hosts_without_sensor(&self, found: &Match, evidence: &[Arc<Record>]) -> Vec<String> {
        let cloud = evidence.iter().filter(|record| record.origin != Origin::Sensor);
        let named: BTreeSet<&str> = cloud
            .flat_map(|record| {
                let fields = [self.fields.link_instance_id, self.fields.instance_id];
                fields.into_iter().flatten().filter_map(|field| record.event.get(field))
            })
            .flat_map(|value| value.scalars())
            .filter_map(|value| value.as_str())
            .filter(|host| !self.has_seen(host, found))
            .collect();
        let n_more = named.len().saturating_sub(MAX_HOSTS);
        let (start, end) = (time::format(found.start), time::format(found.end));
        let line = |host: &str| {
            if start == end {
                format!("no sensor event of host {host} around {start}")
            } else {
                format!("no sensor event of host {host} between {start} and {end}")
            }
        };
        let mut lines: Vec<String> = named.into_iter().take(MAX_HOSTS).map(line).collect();
        if n_more > 0 {
            lines.push(format!("no sensor event of {n_more} more hosts"));
        }
        lines
    }

    fn has_seen(&self, host: &str, found: &Match) -> bool {
        let from = (found.start - NEAR).0.div_euclid(MINUTE);
        let to = (found.end + NEAR).0.div_euclid(MINUTE);
        self.minutes.get(host).is_some_and(|minutes| minutes.range(from..=to).next().is_some())
    }

    fn losses_near(&self, found: &Match, evidence: &[Arc<Record>]) -> Vec<String> {
        let hosts: FxHashSet<&str> =
            evidence.iter().filter_map(|record| text(&record.event, self.fields.host_id)).collect();
        let near = self
            .losses
            .range((found.start - NEAR, "".into())..)
            .take_while(|((at, _), _)| *at <= found.end + NEAR);
        near.filter(|((_, host), _)| hosts.contains(&**host))
            .take(MAX_HOSTS)
            .map(|((at, host), what)| {
                format!("the sensor of host {host} reported a loss at {}: {what}", time::format(*at))
            })
            .collect()
    }
}

/// What stands for a time that cannot be right is our own doing, and so is any order that follows from it.
fn misdated(record: &Record) -> Option<String> {
    let claimed = time::format(record.claimed?);
    let (id, arrived) = (&record.event.id, time::format(record.event.time));
    Some(format!("when event {id} happened: it says {claimed}, which cannot be; it arrived at {arrived}"))
}

fn text(event: &Event, field: Option<FieldId>) -> Option<&str> {
    event.get(field?)?.scalars().first()?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::{Anchor, EventRef, Evidence, Stage};
    use crate::source::normalize::Normalizer;

    fn records(lines: &[(Origin, &str)]) -> (Arc<Schema>, Vec<Arc<Record>>) {
        let schema = Arc::new(Schema::builtin());
        let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
        let read = |(origin, line): &(Origin, &str)| Arc::new(normalizer.read(*origin, *line).unwrap());
        (schema, lines.iter().map(read).collect())
    }

    fn found(record: &Arc<Record>) -> Match {
        let at = Arc::new(EventRef::of(record));
        Match {
            anchor: Anchor::Bucket,
            at: Arc::clone(&at),
            evidence: vec![Evidence { stage: Stage::Match, event: at }],
            n_events: 1,
            start: record.event.time,
            end: record.event.time,
            columns: Vec::new(),
            is_absence: false,
        }
    }

    const SEND: &str = r#"{"eventID":"e1","eventTime":"2026-11-21T10:00:00Z","eventSource":"ssm.amazonaws.com","eventName":"SendCommand","requestParameters":{"instanceIds":["i-0123456789abcdef0"]},"responseElements":{"command":{"commandId":"11111111-2222-3333-4444-555555555555","instanceIds":["i-0123456789abcdef0"]}}}"#;

    #[test]
    fn a_host_named_by_the_cloud_without_a_sensor_is_said() {
        let host = r#"{"@timestamp":"2026-11-21T10:01:00Z","event":{"id":"h1","dataset":"endpoint.events.process"},"host":{"id":"i-0123456789abcdef0"}}"#;
        let (schema, records) = records(&[(Origin::CloudTrail, SEND), (Origin::Sensor, host)]);
        let mut blind = Blind::new(&schema);
        blind.note(&records[0]);
        let lines = blind.hosts_without_sensor(&found(&records[0]), &records[..1]);
        assert_eq!(lines, ["no sensor event of host i-0123456789abcdef0 around 2026-11-21T10:00:00.000Z"]);
        blind.note(&records[1]);
        assert!(blind.hosts_without_sensor(&found(&records[0]), &records[..1]).is_empty());
    }

    #[test]
    fn a_loss_near_the_evidence_is_said() {
        let exec = r#"{"@timestamp":"2026-11-21T10:01:00Z","event":{"id":"h1"},"host":{"id":"web-1"}}"#;
        let loss = r#"{"@timestamp":"2026-11-21T10:01:30Z","message":"12 exec records","event":{"id":"h2","action":"groundtrail_loss"},"host":{"id":"web-1"}}"#;
        let (schema, records) = records(&[(Origin::Sensor, exec), (Origin::Sensor, loss)]);
        let mut blind = Blind::new(&schema);
        records.iter().for_each(|record| blind.note(record));
        let line = "the sensor of host web-1 reported a loss at 2026-11-21T10:01:30.000Z: 12 exec records";
        assert_eq!(blind.losses_near(&found(&records[0]), &records[..1]), [line]);
    }
}
