//! Who takes part in an alert: the hosts and access keys its events name, with what is known of them.

use std::collections::BTreeSet;

use rules::event::{Event, EventTime};
use rules::schema::{FieldId, Schema};

use crate::identity::{HostCard, Identities, KeyCard};
use crate::source::Record;

/// An alert shows so many hosts, and so many keys.
const MAX_CARDS: usize = 8;

/// The fields that name hosts and keys.
#[derive(Debug)]
pub(crate) struct CastFields {
    hosts: Vec<FieldId>,
    keys: Vec<FieldId>,
}

impl CastFields {
    pub(crate) fn new(schema: &Schema) -> Self {
        let ids = |paths: &[&str]| paths.iter().filter_map(|path| schema.id(path)).collect();
        Self {
            hosts: ids(&["cloud.instance.id", "groundtrail.link.instance_id", "host.id"]),
            keys: ids(&["groundtrail.link.access_key_id"]),
        }
    }
}

/// The names, gathered from an alert's events.
#[derive(Debug, Default)]
pub(crate) struct Cast {
    hosts: BTreeSet<Box<str>>,
    keys: BTreeSet<Box<str>>,
}

impl Cast {
    pub(crate) fn add(&mut self, fields: &CastFields, record: &Record) {
        // A host is known under its instance id where it has one.
        let first = fields.hosts.iter().find(|field| record.event.get(**field).is_some());
        self.hosts.extend(first.into_iter().flat_map(|field| texts(&record.event, *field)));
        self.keys.extend(fields.keys.iter().flat_map(|field| texts(&record.event, *field)));
    }

    pub(crate) fn cards(&self, identities: &Identities, at: EventTime) -> (Vec<HostCard>, Vec<KeyCard>) {
        let hosts = self.hosts.iter().filter_map(|id| identities.host(id, at)).take(MAX_CARDS).collect();
        let keys = self.keys.iter().filter_map(|id| identities.key(id, at)).take(MAX_CARDS).collect();
        (hosts, keys)
    }
}

fn texts(event: &Event, field: FieldId) -> Vec<Box<str>> {
    let scalars = event.get(field).map_or(&[][..], |value| value.scalars());
    scalars.iter().filter_map(|value| value.as_str()).map(Box::from).collect()
}
