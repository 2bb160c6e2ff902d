//! What could not be seen: hosts without sensor events, losses, feeds that are silent, state that a cap pushed out.
//!
//! Silence is never proof, so an alert says where there was nothing to hear.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rules::event::{Event, EventTime, Span};
use rules::rule::Rule;
use rules::schema::{FieldId, Schema};
use rustc_hash::{FxHashMap, FxHashSet};

use super::absence::Feed;
use crate::keyed::{Eviction, Match};
use crate::source::{Origin, Record};
use crate::time;

/// A host counts as seen if its sensor said anything this close to an alert's events.
const NEAR: Span = Span::from_secs(300);
const MINUTE: i64 = 60_000_000_000;
/// An alert names so many hosts; more would drown the rest.
const MAX_HOSTS: usize = 8;

/// Begins the names under which feeds, not hosts, are noted.
const FEED: &str = "feed ";

/// What feeds delivered, coarsely.
#[derive(Debug)]
pub(crate) struct Blind {
    fields: Fields,
    datasets: FxHashSet<Box<str>>,
    /// By host or instance, the minutes with sensor events; by feed, and by feed and account, those with any.
    minutes: FxHashMap<Box<str>, BTreeSet<i64>>,
    /// The minutes that were noted last, so that most events cost a comparison.
    latest: [Option<i64>; 5],
    latest_of_account: FxHashMap<Box<str>, (Feed, i64)>,
    /// The same of an account's sensors.
    latest_of_fleet: FxHashMap<Box<str>, i64>,
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
    account_id: Option<FieldId>,
    recipient_account_id: Option<FieldId>,
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
            account_id: schema.id("cloud.account.id"),
            recipient_account_id: schema.id("aws.cloudtrail.recipient_account_id"),
            link_instance_id: schema.id("groundtrail.link.instance_id"),
            action: schema.id("event.action"),
            message: schema.id("message"),
        };
        Self {
            fields,
            datasets: FxHashSet::default(),
            minutes: FxHashMap::default(),
            latest: [None; 5],
            latest_of_fleet: FxHashMap::default(),
            latest_of_account: FxHashMap::default(),
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
        let minute = event.time.0.div_euclid(MINUTE);
        let Some(feed) = feed_of(record.origin) else { return };
        if self.latest[feed as usize] != Some(minute) {
            self.latest[feed as usize] = Some(minute);
            self.hear_minute(&feed_name(feed, None), minute);
        }
        if record.origin != Origin::Sensor {
            if let Some(account) = self.account_of(event)
                && self.latest_of_account.get(account) != Some(&(feed, minute))
            {
                self.latest_of_account.insert(account.into(), (feed, minute));
                self.hear_minute(&feed_name(feed, Some(account)), minute);
            }
            return;
        }
        self.note_fleet(event, minute);
        let hosts = [text(event, self.fields.host_id), text(event, self.fields.instance_id)];
        for host in hosts.into_iter().flatten() {
            // A host that calls itself a feed must not speak for it.
            if !host.starts_with(FEED) {
                self.hear_minute(host, minute);
            }
        }
        if text(event, self.fields.action) == Some("groundtrail_loss") {
            let hosts: BTreeSet<&str> = hosts.into_iter().flatten().collect();
            let hosts = if hosts.is_empty() { BTreeSet::from(["a host"]) } else { hosts };
            let what = text(event, self.fields.message).unwrap_or("it lost events");
            for host in hosts {
                let loss = HostLoss { host: host.into(), time: event.time, what: what.into() };
                if self.unwritten.is_some() {
                    self.unwritten_losses.push(loss.clone());
                }
                self.lose(loss);
            }
        }
    }

    /// That some sensor of the account was heard.
    fn note_fleet(&mut self, event: &Event, minute: i64) {
        if self.latest[Feed::Fleet as usize] != Some(minute) {
            self.latest[Feed::Fleet as usize] = Some(minute);
            self.hear_minute(&feed_name(Feed::Fleet, None), minute);
        }
        let Some(account) = text(event, self.fields.account_id) else { return };
        if self.latest_of_fleet.get(account) != Some(&minute) {
            self.latest_of_fleet.insert(account.into(), minute);
            self.hear_minute(&feed_name(Feed::Fleet, Some(account)), minute);
        }
    }

    fn hear_minute(&mut self, name: &str, minute: i64) {
        if !self.minutes.get(name).is_some_and(|minutes| minutes.contains(&minute)) {
            self.hear(Heard { name: name.into(), minute: Some(minute) });
        }
    }

    /// The hosts that an event is about.
    pub(super) fn hosts_of<'r>(&self, record: &'r Record) -> Vec<&'r str> {
        let event = &record.event;
        if record.origin == Origin::Sensor {
            let host = text(event, self.fields.host_id).or_else(|| text(event, self.fields.instance_id));
            return host.into_iter().collect();
        }
        let fields = [self.fields.link_instance_id, self.fields.instance_id];
        let values = fields.into_iter().flatten().filter_map(|field| event.get(field));
        values.flat_map(|value| value.scalars()).filter_map(|value| value.as_str()).collect()
    }

    /// Whose account an event is of: of a call into another, the one whose trail has it.
    pub(super) fn account_of<'e>(&self, event: &'e Event) -> Option<&'e str> {
        text(event, self.fields.recipient_account_id).or_else(|| text(event, self.fields.account_id))
    }

    /// Whether anything of the feed was heard lately.
    pub(super) fn is_fed_by(&self, feed: Feed) -> bool {
        self.minutes.contains_key(&*feed_name(feed, None))
    }

    /// When the feed, of a host or account if one is given, was last heard before a span and first heard after it, to the
    /// minute. `None`: not within `look` of both ends.
    pub(super) fn heard_around(
        &self,
        feed: Feed,
        of: Option<&str>,
        (from, to): (EventTime, EventTime),
        look: Span,
    ) -> Option<(EventTime, EventTime)> {
        let name = match (feed, of) {
            (Feed::Sensor, Some(host)) => host.into(),
            _ => feed_name(feed, of),
        };
        let minutes = self.minutes.get(&*name)?;
        let minute = |time: EventTime| time.0.div_euclid(MINUTE);
        // What was heard within the minute of an end may have been on either side of it.
        let before = minutes.range(minute(from - look)..minute(from)).next_back()?;
        let after = minutes.range(minute(to) + 1..=minute(to + look)).next()?;
        Some((EventTime(before * MINUTE), EventTime(after * MINUTE)))
    }

    /// Whether the host's sensor, or without one anybody's, says that it lost something in the span. It says so a little
    /// later.
    pub(super) fn has_lost(&self, host: Option<&str>, from: EventTime, to: EventTime) -> bool {
        let near = self.losses.range((from, "".into())..).take_while(|((at, _), _)| *at <= to + NEAR);
        near.into_iter().any(|((_, of), _)| host.is_none_or(|host| host == &**of))
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
        self.latest_of_account.clear();
        self.latest_of_fleet.clear();
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

fn feed_of(origin: Origin) -> Option<Feed> {
    match origin {
        Origin::Sensor => Some(Feed::Sensor),
        Origin::CloudTrail => Some(Feed::CloudTrail),
        Origin::GuardDuty => Some(Feed::GuardDuty),
        Origin::VpcFlow => Some(Feed::VpcFlow),
        Origin::Signal => None,
    }
}

fn feed_name(feed: Feed, of: Option<&str>) -> Box<str> {
    match of {
        Some(of) => format!("{FEED}{} {of}", feed.name()).into(),
        None => format!("{FEED}{}", feed.name()).into(),
    }
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
