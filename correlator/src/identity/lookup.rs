//! What is known of a name, as a person asks: an instance, an address, a key, a principal, a command, a session.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rules::event::EventTime;
use serde::Serialize;

use super::held::{Held, Seen};
use super::{Attribute, Identities, Subject, account_of_key};
use crate::link::{is_access_key_id, is_instance_id};

/// What kind of thing an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Host,
    AccessKey,
    Address,
    Role,
    RoleSession,
    Principal,
    Command,
    Session,
}

/// How far a fact can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// An identifier that stands on both sides.
    Exact,
    /// True of few: an address at a time.
    Precise,
    /// Shared or chosen by the caller: an egress address, a kernel named in a user agent.
    Weak,
}

/// One thing known, and over what time it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownValue {
    pub what: &'static str,
    pub value: String,
    pub strength: Strength,
    /// Absent for what follows from the name itself.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub first: Option<EventTime>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub last: Option<EventTime>,
}

fn rfc3339<S: serde::Serializer>(time: &Option<EventTime>, to: S) -> Result<S::Ok, S::Error> {
    time.map(crate::time::format).serialize(to)
}

/// Everything known of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub kind: Kind,
    pub name: String,
    pub known: Vec<KnownValue>,
}

/// Hops of a chain of roles. Longer ones are not followed.
const MAX_HOPS: usize = 8;

impl Identities {
    /// Answers about a name, the likeliest first; with a time, only what was seen by then. Empty: nothing is known of it.
    pub fn about(&self, name: &str, at: Option<EventTime>) -> Vec<Answer> {
        let name = name.trim();
        let mut answers = Vec::new();
        if let Ok(address) = name.parse::<IpAddr>() {
            answers.extend(self.about_address(address, at));
        }
        if is_access_key_id(name) {
            answers.extend(self.about_key(name, at));
        }
        for (kind, subject) in [
            (Kind::Host, Subject::Host(name.into())),
            (Kind::Command, Subject::Command(name.to_ascii_lowercase().into())),
            (Kind::Session, Subject::Session(name.into())),
        ] {
            if self.known.contains_key(&subject) {
                answers.extend(self.about_subject(kind, name, &subject, at));
            }
        }
        if answers.is_empty() && !is_instance_id(name) {
            answers.extend(self.about_value(name, at));
        }
        answers
    }

    fn about_subject(
        &self,
        kind: Kind,
        name: &str,
        subject: &Subject,
        at: Option<EventTime>,
    ) -> Option<Answer> {
        let mut known = self.facts(subject, at);
        if kind == Kind::Host {
            let bound = self.bearing(Attribute::Host, at, "work", |host| host == name).into_iter();
            known.extend(bound.map(|fact| match is_access_key_id(&fact.value) {
                true => KnownValue { what: "key", ..fact },
                false => fact,
            }));
        }
        (!known.is_empty()).then(|| Answer { kind, name: name.to_owned(), known })
    }

    fn about_key(&self, id: &str, at: Option<EventTime>) -> Option<Answer> {
        let mut known = self.facts(&Subject::Key(id.into()), at);
        let follows =
            |what, value| KnownValue { what, value, strength: Strength::Exact, first: None, last: None };
        if let Some(account) = account_of_key(id) {
            known.insert(0, follows("account, from the id itself", account));
        }
        known.extend(self.chain(id, at).into_iter().map(|hop| follows("asked for with", hop)));
        known.extend(self.bearing(Attribute::Issuer, at, "asked for", |issuer| issuer == id));
        (!known.is_empty()).then(|| Answer { kind: Kind::AccessKey, name: id.to_owned(), known })
    }

    /// The keys behind a key, hop by hop: each with the role session it stands for.
    fn chain(&self, id: &str, at: Option<EventTime>) -> Vec<String> {
        let mut hops = Vec::new();
        let mut seen = BTreeSet::from([id.to_owned()]);
        let mut key = id.to_owned();
        while hops.len() < MAX_HOPS {
            let time = at.unwrap_or(EventTime(i64::MAX));
            let issuer = self.value_at(&Subject::Key(key.as_str().into()), Attribute::Issuer, time);
            let Some(issuer) = issuer.filter(|issuer| seen.insert((*issuer).to_owned())) else { break };
            let session = self.value_at(&Subject::Key(issuer.into()), Attribute::RoleSession, time);
            hops.push(session.map_or_else(|| issuer.to_owned(), |session| format!("{issuer} of {session}")));
            key = issuer.to_owned();
        }
        hops
    }

    /// Everybody who had an address, since addresses are used again.
    fn about_address(&self, address: IpAddr, at: Option<EventTime>) -> Option<Answer> {
        let mut known = Vec::new();
        for (account, hosts) in self.accounts_of(address) {
            for (host, seen) in hosts.iter().filter(|(_, seen)| at.is_none_or(|at| seen.first <= at)) {
                let value =
                    if account.is_empty() { host.to_string() } else { format!("{host} in {account}") };
                known.push(seen.known("instance", value, Strength::Precise));
            }
        }
        let text = address.to_string();
        known.extend(self.bearing(Attribute::EgressIp, at, "calls of", |egress| egress == text));
        (!known.is_empty()).then_some(Answer { kind: Kind::Address, name: text, known })
    }

    /// A name that is a value and no subject: a host's name, a role, a role session, a principal.
    fn about_value(&self, name: &str, at: Option<EventTime>) -> Vec<Answer> {
        let session = name.split_once(":assumed-role/").map_or(name, |(_, session)| session);
        let role =
            name.split_once(":role/").map_or(name, |(_, path)| path.rsplit('/').next().unwrap_or(path));
        let mut answers = Vec::new();
        let mut answer = |kind, known: Vec<KnownValue>| {
            if !known.is_empty() {
                answers.push(Answer { kind, name: name.to_owned(), known });
            }
        };
        answer(Kind::RoleSession, self.bearing(Attribute::RoleSession, at, "key", |value| value == session));
        answer(Kind::Role, self.bearing(Attribute::Role, at, "role of", |value| value == role));
        answer(Kind::Principal, self.bearing(Attribute::Creator, at, "asked for", |value| value == name));
        for host in self.bearing(Attribute::Name, at, "host", |value| value.eq_ignore_ascii_case(name)) {
            let subject = Subject::Host(host.value.as_str().into());
            let known = self.facts(&subject, at);
            answers.push(Answer { kind: Kind::Host, name: host.value, known });
        }
        answers
    }

    fn facts(&self, subject: &Subject, at: Option<EventTime>) -> Vec<KnownValue> {
        let Some(known) = self.known.get(subject) else { return Vec::new() };
        let of_time = known.all().iter().filter(|held| at.is_none_or(|at| held.seen.first <= at));
        let known = |held: &Held| {
            held.seen.known(held.attribute.label(), held.value.to_string(), held.attribute.strength())
        };
        of_time.map(known).collect()
    }

    /// The subjects of which an attribute has a value that is asked for.
    fn bearing(
        &self,
        attribute: Attribute,
        at: Option<EventTime>,
        what: &'static str,
        is_asked: impl Fn(&str) -> bool,
    ) -> Vec<KnownValue> {
        let mut found = Vec::new();
        for (subject, known) in &self.known {
            for held in known.of(attribute) {
                if is_asked(&held.value) && at.is_none_or(|at| held.seen.first <= at) {
                    found.push((subject, held.seen.known(what, subject.name(), attribute.strength())));
                }
            }
        }
        found.sort_by_key(|(subject, _)| *subject);
        found.into_iter().map(|(_, known)| known).collect()
    }
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Host(id) | Self::Key(id) => id.to_string(),
            Self::Command(id) => format!("command {id}"),
            Self::Session(id) => format!("session {id}"),
        }
    }
}

impl Attribute {
    fn label(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Region => "region",
            Self::Role => "role",
            Self::PrivateIp => "private address",
            Self::EgressIp => "calls come from",
            Self::Name => "name",
            Self::Kernel => "kernel",
            Self::Architecture => "architecture",
            Self::Image => "image",
            Self::InstanceType => "type",
            Self::Vpc => "vpc",
            Self::SsmAgent => "ssm agent",
            Self::Creator => "asked for by",
            Self::Terminated => "terminated",
            Self::RoleSession => "role session",
            Self::Sensor => "sensor heard",
            Self::Issuer => "with key",
            Self::Host => "instance",
            Self::Worker => "worker process",
        }
    }

    fn strength(self) -> Strength {
        match self {
            Self::PrivateIp => Strength::Precise,
            Self::EgressIp | Self::Kernel | Self::Name | Self::SsmAgent => Strength::Weak,
            _ => Strength::Exact,
        }
    }
}

impl Seen {
    fn known(&self, what: &'static str, value: String, strength: Strength) -> KnownValue {
        KnownValue { what, value, strength, first: Some(self.first), last: Some(self.last) }
    }
}
