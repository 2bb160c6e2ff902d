//! Who and what is in an alert, by the names that are the same on both sides.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::alert::view::{carried, list, text, texts};
use crate::link::{Link, is_access_key_id};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    Principal,
    Host,
    AccessKey,
    Command,
    Session,
}

/// Something that alerts can share. Addresses are left out: too many stand behind one.
#[derive(Debug, Clone, Serialize)]
pub struct Entity {
    pub kind: EntityKind,
    /// What joins.
    pub id: String,
    /// What people call it, as far as one alert knows: no part of what it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl Entity {
    fn key(&self) -> (EntityKind, &str) {
        (self.kind, &self.id)
    }

    /// Whether people call it something that its id does not say.
    pub(super) fn has_name(&self) -> bool {
        !self.name.is_empty() && self.name != self.id
    }
}

impl PartialEq for Entity {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entity {}

impl PartialOrd for Entity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The entities of one alert: of what made it fire and of the halves that were joined to it, not of what merely happened
/// in the same place.
pub(super) fn of(alert: &Value) -> BTreeSet<Entity> {
    let mut found = BTreeSet::new();
    let mut add = |kind, id: &str, name: &str| {
        if !id.is_empty() {
            found.insert(Entity { kind, id: id.to_owned(), name: name.to_owned() });
        }
    };
    for event in carried(alert).iter().filter(|carried| carried.is_evidence()).map(|carried| carried.event) {
        if let Some(arn) = text(event, "aws.cloudtrail.user_identity.arn") {
            add(EntityKind::Principal, arn, short_arn(arn));
        }
        for key in texts(event, "aws.cloudtrail.user_identity.access_key_id") {
            // A service's calls bear keys of its own.
            if is_access_key_id(key) && text(event, "aws.cloudtrail.user_identity.invoked_by").is_none() {
                add(EntityKind::AccessKey, key, key);
            }
        }
        for (link, kind) in
            [(Link::SsmCommandId, EntityKind::Command), (Link::SsmSessionId, EntityKind::Session)]
        {
            for id in texts(event, link.path()) {
                add(kind, id, id);
            }
        }
    }
    for host in list(alert, "groundtrail.alert.hosts") {
        let id = text(host, "id").unwrap_or_default();
        add(EntityKind::Host, id, text(host, "name").unwrap_or(id));
    }
    if list(alert, "groundtrail.alert.hosts").is_empty()
        && let Some(id) = text(alert, "host.id").or_else(|| text(alert, "cloud.instance.id"))
    {
        add(EntityKind::Host, id, text(alert, "host.name").unwrap_or(id));
    }
    found
}

/// `user/mallory` of an ARN, `web/i-…` of a role session's.
fn short_arn(arn: &str) -> &str {
    let resource = arn.rsplit(':').next().unwrap_or(arn);
    resource.strip_prefix("assumed-role/").unwrap_or(resource)
}
