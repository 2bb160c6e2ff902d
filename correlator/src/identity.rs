//! Who is who: which instance has which account, role, addresses and kernel, which key was issued to whom, and where a
//! sensor watches.
//!
//! Facts are read from a record before anything may drop it. What is known is a function of the set of facts, not of
//! their order: per value the first and the last time it was seen.

mod facts;
mod held;
mod key_account;
mod lookup;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use rules::event::{Event, EventTime, Value};
use rules::schema::{FieldId, Schema};
use serde::{Deserialize, Serialize};

use crate::link::Link;
use crate::source::{Origin, Record};

use held::{Known, Seen, Words, pick};

pub(crate) use facts::of_call;
pub use key_account::account_of_key;
pub use lookup::{Answer, Kind, KnownValue, Strength};

/// What a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// An instance id; off EC2 the `host.id` of a sensor.
    Host(Box<str>),
    /// An access key id.
    Key(Box<str>),
    /// The id of a Systems Manager command.
    Command(Box<str>),
    /// The id of a Session Manager session.
    Session(Box<str>),
}

/// What a fact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Attribute {
    Account,
    Region,
    /// The role's name. Of a host: its instance role; of a key: the role it was issued for.
    Role,
    PrivateIp,
    /// The address its calls come from.
    EgressIp,
    Name,
    Kernel,
    Architecture,
    Image,
    InstanceType,
    Vpc,
    SsmAgent,
    /// The principal that started the instance, or asked for the key.
    Creator,
    Terminated,
    /// `ROLE/SESSION`.
    RoleSession,
    /// A sensor on the host spoke.
    Sensor,
    /// The key that a key was asked for with: one hop of a chain of roles.
    Issuer,
    /// An instance that a command or session was meant for or was seen on, or that a key was delivered to.
    Host,
    /// The entity id of the agent's worker for a command or session.
    Worker,
}

/// One fact of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub subject: Subject,
    pub attribute: Attribute,
    pub value: Box<str>,
}

/// A value of one attribute seen more recently pushes out the one seen longest ago past this; of a list in one event no more
/// than these count.
const MAX_VALUES: usize = 16;

/// The hosts that had an address, and when.
type Owners = Vec<(Arc<str>, Seen)>;

/// Everything known, up to a cap.
#[derive(Debug, Clone)]
pub struct Identities {
    known: HashMap<Subject, Known>,
    words: Words,
    /// Private addresses of several accounts overlap, so the account is part of the key; empty where unknown. The address
    /// stands first, since its owner is asked for without an account, too.
    by_address: BTreeMap<(IpAddr, Box<str>), Owners>,
    max_subjects: usize,
    n_evicted: u64,
    fields: HostFields,
    /// What the store does not have yet, where there is one.
    unwritten: Option<BTreeSet<(Subject, Attribute, Box<str>)>>,
    /// What the store may have and need not.
    pushed_out: BTreeSet<(Subject, Attribute, Box<str>)>,
}

/// What an alert shows of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostCard {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    pub is_terminated: bool,
    /// Whether a sensor was heard from the host at or before the time asked about.
    pub has_sensor: bool,
}

/// What is known of a key's issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyCard {
    pub id: String,
    pub role_session: Option<String>,
    pub role: Option<String>,
    /// Who asked for it: an ARN, or a service.
    pub creator: Option<String>,
}

/// Slots that facts about a host are read from.
#[derive(Debug, Clone, Default)]
struct HostFields {
    instance: Option<FieldId>,
    host: Option<FieldId>,
    dataset: Option<FieldId>,
    process_name: Option<FieldId>,
    entity: Option<FieldId>,
    command: Option<FieldId>,
    session: Option<FieldId>,
    attributes: Vec<(FieldId, Attribute)>,
}

impl HostFields {
    fn new(schema: &Schema) -> Self {
        let table = [
            ("cloud.account.id", Attribute::Account),
            ("cloud.region", Attribute::Region),
            ("host.name", Attribute::Name),
            ("host.ip", Attribute::PrivateIp),
            ("host.os.kernel", Attribute::Kernel),
            ("host.architecture", Attribute::Architecture),
        ];
        Self {
            instance: schema.id("cloud.instance.id"),
            host: schema.id("host.id"),
            dataset: schema.id("data_stream.dataset"),
            process_name: schema.id("process.name"),
            entity: schema.id("process.entity_id"),
            command: schema.id(Link::SsmCommandId.path()),
            session: schema.id(Link::SsmSessionId.path()),
            attributes: table.into_iter().filter_map(|(path, name)| Some((schema.id(path)?, name))).collect(),
        }
    }
}

impl Identities {
    /// `max_subjects` hosts and keys together are remembered.
    pub fn new(schema: &Schema, max_subjects: usize) -> Self {
        Self {
            known: HashMap::new(),
            words: Words::default(),
            by_address: BTreeMap::new(),
            max_subjects: max_subjects.max(1),
            n_evicted: 0,
            fields: HostFields::new(schema),
            unwritten: None,
            pushed_out: BTreeSet::new(),
        }
    }

    /// Takes in a record's facts, and says whether anything became known that was not.
    pub fn learn(&mut self, record: &Record) -> bool {
        let mut is_news = false;
        for fact in record.facts.iter() {
            is_news |= self.add(fact.subject.clone(), fact.attribute, &fact.value, record.event.time);
        }
        if record.origin == Origin::Sensor {
            is_news |= self.learn_host(&record.event);
        }
        is_news
    }

    fn learn_host(&mut self, event: &Event) -> bool {
        let text = |field: Option<FieldId>| field.and_then(|field| event.get(field)).and_then(first_text);
        // Indexed flow records and findings name hosts, too; only what a sensor sends shows that one is there.
        let is_host_event = text(self.fields.dataset)
            .is_some_and(|dataset| dataset.starts_with("endpoint.") || dataset == "groundtrail.sensor");
        let Some(id) =
            text(self.fields.instance).or_else(|| text(self.fields.host)).filter(|_| is_host_event)
        else {
            return false;
        };
        let subject = Subject::Host(id.into());
        let mut is_news = self.add(subject.clone(), Attribute::Sensor, "", event.time);
        is_news |= self.learn_worker(id, text(self.fields.process_name), event);
        for at in 0..self.fields.attributes.len() {
            let (field, attribute) = self.fields.attributes[at];
            for value in event.get(field).map_or(&[][..], Value::scalars).iter().take(MAX_VALUES) {
                if let Some(text) = value.as_str() {
                    is_news |= self.add(subject.clone(), attribute, text, event.time);
                }
            }
        }
        is_news
    }

    /// The agent's worker bears the id of what it works on; what it starts only inherits it.
    fn learn_worker(&mut self, host: &str, name: Option<&str>, event: &Event) -> bool {
        let text = |field: Option<FieldId>| field.and_then(|field| event.get(field)).and_then(first_text);
        let work = match name {
            Some("ssm-document-worker") => text(self.fields.command).map(|id| Subject::Command(id.into())),
            Some("ssm-session-worker") => text(self.fields.session).map(|id| Subject::Session(id.into())),
            _ => None,
        };
        let Some(work) = work else { return false };
        let is_news = self.add(work.clone(), Attribute::Host, host, event.time);
        match text(self.fields.entity) {
            Some(entity) => self.add(work, Attribute::Worker, entity, event.time) | is_news,
            None => is_news,
        }
    }

    fn add(&mut self, subject: Subject, attribute: Attribute, value: &str, time: EventTime) -> bool {
        let known = self.known.entry(subject.clone()).or_default();
        let mut is_worth_writing = true;
        let is_news = match known.get_mut(attribute, value) {
            Some(seen) => {
                // A host's sensor speaks many times a second; the store need not know to the second when it last did.
                is_worth_writing = time < seen.first || minute(time) > minute(seen.last);
                seen.extend(time);
                false
            }
            None => {
                known.insert(attribute, self.words.one(value), Seen { first: time, last: time });
                true
            }
        };
        let pushed_out: Option<Box<str>> = known.push_out(attribute, MAX_VALUES).map(|value| (*value).into());
        if let Some(unwritten) = &mut self.unwritten {
            if is_worth_writing {
                unwritten.insert((subject.clone(), attribute, value.into()));
                self.pushed_out.remove(&(subject.clone(), attribute, value.into()));
            }
            if let Some(value) = &pushed_out {
                self.pushed_out.insert((subject.clone(), attribute, value.clone()));
            }
        }
        if attribute == Attribute::PrivateIp
            && let Subject::Host(id) = &subject
            && let Ok(address) = value.parse::<IpAddr>()
            && !address.is_loopback()
        {
            let account = self.value_at(&subject, Attribute::Account, time).unwrap_or_default();
            let account = account.into();
            let hosts = self.by_address.entry((address, account)).or_default();
            match hosts.iter_mut().find(|(host, _)| **host == **id) {
                Some((_, seen)) => seen.extend(time),
                None => hosts.push((self.words.one(id), Seen { first: time, last: time })),
            }
        }
        if let (Attribute::PrivateIp, Subject::Host(id), Some(value)) = (attribute, &subject, pushed_out) {
            self.forget_address(id, &value);
        }
        if is_news && self.known.len() > self.max_subjects {
            self.evict();
        }
        is_news
    }

    /// A host no longer counts as one that had an address, under whatever account.
    fn forget_address(&mut self, host: &str, address: &str) {
        let Ok(address) = address.parse::<IpAddr>() else { return };
        let known = self.known.get(&Subject::Host(host.into()));
        let accounts = known.map_or(&[][..], |known| known.of(Attribute::Account));
        let accounts: Vec<Box<str>> = accounts.iter().map(|held| (*held.value).into()).collect();
        for account in accounts.into_iter().chain(["".into()]) {
            let Entry::Occupied(mut hosts) = self.by_address.entry((address, account)) else { continue };
            hosts.get_mut().retain(|(other, _)| **other != *host);
            if hosts.get().is_empty() {
                hosts.remove();
            }
        }
    }

    /// Forgets the sixteenth part that was not heard of for longest, so that this is rare.
    fn evict(&mut self) {
        let n_gone = (self.known.len() - self.max_subjects).max(self.max_subjects / 16).max(1);
        let n_gone = n_gone.min(self.known.len());
        let mut ages: Vec<(Option<EventTime>, &Subject)> =
            self.known.iter().map(|(subject, known)| (known.last(), subject)).collect();
        // Not in order: the oldest so many, whatever the order among them.
        ages.select_nth_unstable(n_gone - 1);
        let gone: Vec<Subject> = ages[..n_gone].iter().map(|(_, subject)| (*subject).clone()).collect();
        let mut hosts_gone: BTreeSet<Box<str>> = BTreeSet::new();
        for subject in gone {
            self.known.remove(&subject);
            self.n_evicted += 1;
            if let Subject::Host(id) = subject {
                hosts_gone.insert(id);
            }
        }
        self.by_address.retain(|_, hosts| {
            hosts.retain(|(id, _)| !hosts_gone.contains(&**id));
            !hosts.is_empty()
        });
        self.words.forget_unused();
    }

    /// The value that held at a time: the one seen closest before it, else the first ever.
    fn value_at(&self, subject: &Subject, attribute: Attribute, at: EventTime) -> Option<&str> {
        self.known.get(subject)?.at(attribute, at)
    }

    pub fn host(&self, id: &str, at: EventTime) -> Option<HostCard> {
        let subject = Subject::Host(id.into());
        let known = self.known.get(&subject)?;
        let one = |attribute| known.at(attribute, at).map(str::to_owned);
        let seen_by = |attribute| known.of(attribute).iter().any(|held| held.seen.first <= at);
        let ips = known.of(Attribute::PrivateIp).iter().filter(|held| held.seen.first <= at);
        let ip = ips.map(|held| held.value.to_string());
        Some(HostCard {
            id: id.to_owned(),
            account: one(Attribute::Account),
            region: one(Attribute::Region),
            role: one(Attribute::Role),
            name: one(Attribute::Name),
            ip: ip.collect(),
            egress_ip: one(Attribute::EgressIp),
            kernel: one(Attribute::Kernel),
            architecture: one(Attribute::Architecture),
            image: one(Attribute::Image),
            vpc: one(Attribute::Vpc),
            creator: one(Attribute::Creator),
            is_terminated: seen_by(Attribute::Terminated),
            has_sensor: seen_by(Attribute::Sensor),
        })
    }

    /// When a sensor on the host was first and last heard, for what could not be seen.
    pub fn sensor_seen(&self, id: &str) -> Option<(EventTime, EventTime)> {
        let heard = self.known.get(&Subject::Host(id.into()))?.of(Attribute::Sensor);
        heard.first().map(|held| (held.seen.first, held.seen.last))
    }

    /// The host that had an address at a time. Without an account only an address that is nobody else's counts.
    pub fn host_of_address(&self, account: Option<&str>, address: IpAddr, at: EventTime) -> Option<&str> {
        if let Some(account) = account {
            let of_account = self.by_address.get(&(address, account.into()));
            return of_account
                .or_else(|| self.by_address.get(&(address, "".into())))
                .and_then(|hosts| owner(hosts, at));
        }
        let mut owners = self.accounts_of(address).filter_map(|(_, hosts)| owner(hosts, at));
        let owner = owners.next()?;
        owners.all(|other| other == owner).then_some(owner)
    }

    /// Who had an address, account by account.
    fn accounts_of(&self, address: IpAddr) -> impl Iterator<Item = (&str, &[(Arc<str>, Seen)])> {
        let from = self.by_address.range((address, "".into())..);
        from.take_while(move |((held, _), _)| *held == address)
            .map(|((_, account), hosts)| (&**account, hosts.as_slice()))
    }

    pub fn key(&self, id: &str, at: EventTime) -> Option<KeyCard> {
        let known = self.known.get(&Subject::Key(id.into()))?;
        let one = |attribute| known.at(attribute, at).map(str::to_owned);
        Some(KeyCard {
            id: id.to_owned(),
            role_session: one(Attribute::RoleSession),
            role: one(Attribute::Role),
            creator: one(Attribute::Creator),
        })
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn n_evicted(&self) -> u64 {
        self.n_evicted
    }

    /// Everything known, to be kept over a restart: one row per value.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let mut all: Vec<(&Subject, &Known)> = self.known.iter().collect();
        all.sort_unstable_by_key(|(subject, _)| *subject);
        all.into_iter().flat_map(|(subject, known)| {
            known.all().iter().map(move |held| Row {
                subject: subject.clone(),
                attribute: held.attribute,
                value: (*held.value).into(),
                first: held.seen.first.0,
                last: held.seen.last.0,
            })
        })
    }

    /// From here on, keeps account of what the store does not have.
    pub(crate) fn keep_unwritten(&mut self) {
        self.unwritten.get_or_insert_default();
    }

    /// What became known, or was seen later, since this was last taken.
    pub(crate) fn take_unwritten(&mut self) -> Changes {
        let unwritten = self.unwritten.as_mut().map(std::mem::take).unwrap_or_default();
        let row = |(subject, attribute, value): (Subject, Attribute, Box<str>)| {
            // What was evicted since has nothing to write.
            let seen = self.known.get(&subject)?.get(attribute, &value)?;
            Some(Row { attribute, first: seen.first.0, last: seen.last.0, subject, value })
        };
        let gone = std::mem::take(&mut self.pushed_out).into_iter().collect();
        Changes { rows: unwritten.into_iter().filter_map(row).collect(), gone }
    }

    /// Takes back what was kept. Rows may come in any order, and again.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = Row>) {
        let mut rows: Vec<Row> = rows.into_iter().collect();
        // Accounts first: they are part of an address's key.
        rows.sort_by_key(|row| row.attribute);
        for row in rows {
            for time in [row.first, row.last] {
                self.add(row.subject.clone(), row.attribute, &row.value, EventTime(time));
            }
        }
    }
}

/// What a store takes in to know as much.
#[derive(Debug, Default)]
pub struct Changes {
    pub rows: Vec<Row>,
    /// Values that newer ones pushed out.
    pub gone: Vec<(Subject, Attribute, Box<str>)>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.gone.is_empty()
    }
}

/// One known value as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    pub subject: Subject,
    pub attribute: Attribute,
    pub value: Box<str>,
    pub first: i64,
    pub last: i64,
}

/// The host that had an address at a time.
fn owner(hosts: &[(Arc<str>, Seen)], at: EventTime) -> Option<&str> {
    pick(hosts.iter().map(|(host, seen)| (&**host, *seen)), at)
}

fn minute(time: EventTime) -> i64 {
    time.0.div_euclid(60_000_000_000)
}

fn first_text(value: &Value) -> Option<&str> {
    value.scalars().first()?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
