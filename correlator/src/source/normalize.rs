//! Text of any origin to a [`Record`]: one mapping, two sinks. Rules see interned slots, alerts the whole document.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard};

use rules::event::{Event, EventTime, Value};
use rules::program::ALERTS_INDEX;
use rules::schema::{FieldId, FieldType, Schema};
use rustc_hash::FxHashSet;
use serde_json::Map;
use serde_json::Value as Document;
use sha2::{Digest as _, Sha256};

use crate::geo::{self, Place, Side};
use crate::identity::{self, Fact};
use crate::indicator::{self, Hit, Named};
use crate::link;
use crate::lists::Lists;
use crate::source::cloudtrail::mapping as cloudtrail;
use crate::source::cloudtrail::record::ApiCall;
use crate::source::envelope::{self, Unwrapped};
use crate::source::json::{self, Json};
use crate::source::paths::Paths;
use crate::source::vpcflow::{self, Flow};
use crate::source::{FieldSink, Origin, Record, Scalar, guardduty, repair, sensor};
use crate::time;

/// Why a text is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("broken JSON: {0}")]
    Json(String),
    #[error("no time that can be used in \"{field}\": {value}; the event cannot be placed and is left out")]
    Time { field: &'static str, value: String },
    #[error("{0}")]
    Flow(String),
    #[error("neither a CloudTrail record, a GuardDuty finding, flow log lines nor an ECS document: {0}")]
    Unknown(String),
    #[error("reading it failed; this is a fault of groundtrail, and the event is left out")]
    Failed,
}

/// Stage one: stateless, the same answer for the same text.
///
/// Clones share what they read by, so that all sources learn of new lists and fields at once.
#[derive(Debug, Clone)]
pub struct Normalizer(Arc<RwLock<Terms>>);

/// What events are read by.
#[derive(Debug, Clone)]
struct Terms {
    schema: Arc<Schema>,
    paths: Arc<Paths>,
    lists: Arc<Lists>,
}

impl Normalizer {
    pub fn new(schema: Arc<Schema>, lists: Arc<Lists>) -> Self {
        Self(Arc::new(RwLock::new(Terms::new(schema, lists))))
    }

    /// From the next event on, reads by these. The fields of the schema before keep their places in it.
    pub fn replace(&self, schema: Arc<Schema>, lists: Arc<Lists>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Terms::new(schema, lists);
    }

    /// The same for lists alone.
    pub fn replace_lists(&self, lists: Arc<Lists>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).lists = lists;
    }

    /// What fields are called by; those there are keep their numbers when others come.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.terms().schema)
    }

    fn terms(&self) -> RwLockReadGuard<'_, Terms> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads whatever a JSON text holds: a record of any origin, or an envelope around several.
    pub fn read_any(&self, text: &str) -> Vec<Result<Record, Unreadable>> {
        json::with_arena(|arena| match envelope::unwrap(text, arena) {
            Ok(found) => found.into_iter().map(|one| self.read_unwrapped(one?)).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    fn read_unwrapped(&self, one: Unwrapped<'_>) -> Result<Record, Unreadable> {
        match one.json {
            Some(json) => self.record(one.origin, one.text.into(), |terms, slots| {
                map_json(one.origin, &json, &terms.paths, slots)
            }),
            None => match one.header {
                Some(header) => self.read(one.origin, format!("{header}\n{}", one.text)),
                None => self.read(one.origin, one.text),
            },
        }
    }

    /// Reads one event.
    ///
    /// # Errors
    /// When the text is no event of this origin, or has no time.
    pub fn read(&self, origin: Origin, raw: impl Into<Arc<str>>) -> Result<Record, Unreadable> {
        let raw: Arc<str> = raw.into();
        match self.read_text(origin, Arc::clone(&raw)) {
            Err(Unreadable::Json(reason)) => match repair::repair(&raw) {
                Some(repaired) => self.read_text(origin, repaired.into()),
                None => Err(Unreadable::Json(reason)),
            },
            read => read,
        }
    }

    fn read_text(&self, origin: Origin, raw: Arc<str>) -> Result<Record, Unreadable> {
        let text = Arc::clone(&raw);
        self.record(origin, raw, |terms, slots| map(origin, &text, &terms.paths, slots))
    }

    fn record(
        &self,
        origin: Origin,
        raw: Arc<str>,
        map: impl FnOnce(&Terms, &mut Slots<'_>) -> Result<Head, Unreadable>,
    ) -> Result<Record, Unreadable> {
        let terms = self.terms();
        let mut slots = Slots { schema: &terms.schema, paths: &terms.paths, found: Vec::with_capacity(96) };
        let mut head = map(&terms, &mut slots)?;
        let id = head.id.take().unwrap_or_else(|| hash_id(&raw));
        slots.put("@timestamp", Scalar::Str(&time::format(head.time)));
        slots.put("event.id", Scalar::Str(&id));
        let hits = terms.hits(&head);
        indicator::put_hits(&hits, &mut slots);
        let places = terms.places(&head);
        geo::put_places(&places, &mut slots);
        let mut event = Event::new(id, head.time, head.index);
        event.sequence = head.sequence;
        event.fill(slots.found);
        let (hits, places, facts) = (shared(hits), shared(places), shared(head.facts));
        Ok(Record { event, origin, raw, hits, places, facts, claimed: None, prepared: None })
    }

    /// Reads an event that was kept, as of the time it was kept under.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_kept(
        &self,
        origin: Origin,
        raw: impl Into<Arc<str>>,
        time: EventTime,
    ) -> Result<Record, Unreadable> {
        let mut record = self.read(origin, raw)?;
        if record.event.time != time {
            record.restamp(time, self.terms().schema.id("@timestamp"));
        }
        Ok(record)
    }
}

impl Terms {
    fn new(schema: Arc<Schema>, lists: Arc<Lists>) -> Self {
        let paths = Arc::new(Paths::new(&schema));
        Self { schema, paths, lists }
    }

    fn hits(&self, head: &Head) -> Vec<Hit> {
        let listed = &self.lists.indicators;
        if listed.is_empty() || head.is_marked {
            return Vec::new();
        }
        let mut hits: Vec<Hit> = Vec::new();
        let mut add = |field, value, indicators: Vec<_>| {
            if !indicators.is_empty() {
                hits.push(Hit { field, value, indicators });
            }
        };
        // Each once, under the field it was found in first.
        let mut seen = FxHashSet::default();
        for (field, address) in head.addresses.iter().filter(|(_, address)| seen.insert(*address)) {
            add(field, Named::Address(*address), listed.matches(*address, head.time));
        }
        if listed.has_domains() {
            let mut seen = FxHashSet::default();
            for (field, name) in head.domains.iter().filter(|(_, name)| seen.insert(name.as_str())) {
                add(field, Named::Domain(name.clone()), listed.matches_domain(name, head.time));
            }
        }
        hits
    }

    fn places(&self, head: &Head) -> Vec<Place> {
        let files = &self.lists.places;
        if files.is_empty() || head.is_placed {
            return Vec::new();
        }
        let ends = head.addresses.iter().filter_map(|(field, ip)| Some((Side::of_field(field)?, *ip)));
        ends.filter_map(|(side, ip)| files.find(ip, side)).collect()
    }
}

impl Record {
    /// The event as an ECS document.
    ///
    /// Made anew from the bytes on each call: few events ever need it.
    pub fn document(&self) -> Document {
        let mut root = match self.origin {
            // A host event is a document already; what we derive is added to it.
            Origin::Sensor | Origin::Signal => match serde_json::from_str(&self.raw) {
                Ok(Document::Object(root)) => root,
                _ => Map::new(),
            },
            Origin::CloudTrail | Origin::GuardDuty | Origin::VpcFlow => Map::new(),
        };
        root.insert("@timestamp".to_owned(), Document::String(time::format(self.event.time)));
        let mut sink = DocumentSink { root };
        if self.origin == Origin::Sensor {
            json::with_arena(|arena| {
                let Ok(json) = Json::parse(&self.raw, arena) else { return };
                let (head, facts) = sensor::map(&json, builtin_paths(), &mut Nowhere);
                if head.id.is_none() {
                    sink.put("event.id", Scalar::Str(&self.event.id));
                }
                sensor::derive(&facts, &mut sink);
            });
        } else if self.origin != Origin::Signal {
            // The same text was read once already, so it maps.
            let _ = map(self.origin, &self.raw, builtin_paths(), &mut sink);
            sink.put("event.id", Scalar::Str(&self.event.id));
        }
        indicator::put_hits(&self.hits, &mut sink);
        geo::put_places(&self.places, &mut sink);
        Document::Object(sink.root)
    }
}

/// What a mapping says beside the fields.
struct Head {
    id: Option<String>,
    time: EventTime,
    sequence: u64,
    index: String,
    /// What lists are asked about,
    addresses: Vec<(&'static str, IpAddr)>,
    domains: Vec<(&'static str, String)>,
    /// unless whoever made the event has asked lists of his own,
    is_marked: bool,
    /// or where its addresses are.
    is_placed: bool,
    facts: Vec<Fact>,
}

impl Head {
    fn of_aws(id: Option<String>, time: EventTime, dataset: &str) -> Self {
        Self {
            id,
            time,
            sequence: 0,
            index: format!("logs-{dataset}-default"),
            addresses: Vec::new(),
            domains: Vec::new(),
            is_marked: false,
            is_placed: false,
            facts: Vec::new(),
        }
    }
}

/// Most are empty, and then there is nothing to allocate.
fn shared<T>(of: Vec<T>) -> Arc<[T]> {
    if of.is_empty() { Arc::default() } else { of.into() }
}

/// Where what is derived from a document does not depend on which fields rules may name.
fn builtin_paths() -> &'static Paths {
    static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths::new(&Schema::builtin()));
    &PATHS
}

fn map<S: FieldSink>(origin: Origin, raw: &str, paths: &Paths, sink: &mut S) -> Result<Head, Unreadable> {
    if origin == Origin::VpcFlow {
        return map_flow(raw, sink);
    }
    json::with_arena(|arena| {
        let json = Json::parse(raw, arena).map_err(|error| Unreadable::Json(error.to_string()))?;
        map_json(origin, &json, paths, sink)
    })
}

fn map_json<S: FieldSink>(
    origin: Origin,
    json: &Json<'_>,
    paths: &Paths,
    sink: &mut S,
) -> Result<Head, Unreadable> {
    match origin {
        Origin::CloudTrail => {
            let call = ApiCall::new(json);
            let time = call.event_time().and_then(time::parse).ok_or_else(|| {
                no_time("eventTime", json.get("eventTime").or_else(|| json.get("@timestamp")))
            })?;
            cloudtrail::map(&call, sink);
            link::of_call(&call).put(&[], sink);
            let facts = identity::of_call(&call);
            let mut addresses = Vec::new();
            if let Some(text) = call.source_address() {
                sensor::note_address("source.ip", text, &mut addresses);
            }
            Ok(Head {
                facts,
                addresses,
                ..Head::of_aws(call.event_id().map(str::to_owned), time, cloudtrail::DATASET)
            })
        }
        Origin::GuardDuty => {
            let found = guardduty::head(json).ok_or_else(|| no_time("updatedAt", None))?;
            guardduty::map(json, sink);
            Ok(Head::of_aws(Some(found.id), found.time, guardduty::DATASET))
        }
        Origin::Signal => {
            // All that can be derived was, when the alert was made.
            let (head, _) = sensor::map(json, paths, sink);
            let time = head.time.ok_or_else(|| no_time("@timestamp", json.get("@timestamp")))?;
            let id = head.id.map(str::to_owned);
            let index = ALERTS_INDEX.to_owned();
            Ok(Head { sequence: head.sequence, index, ..Head::of_aws(id, time, "") })
        }
        Origin::Sensor | Origin::VpcFlow => {
            let (head, facts) = sensor::map(json, paths, sink);
            let time = head.time.ok_or_else(|| no_time("@timestamp", json.get("@timestamp")))?;
            sensor::derive(&facts, sink);
            Ok(Head {
                id: head.id.map(str::to_owned),
                time,
                sequence: head.sequence,
                index: head.index(),
                addresses: facts.addresses,
                domains: facts.domains.iter().map(|(field, name)| (*field, (*name).to_owned())).collect(),
                is_marked: json.at(&["threat", "indicator"]).is_some(),
                is_placed: facts.has_place,
                facts: Vec::new(),
            })
        }
    }
}

fn map_flow(raw: &str, sink: &mut dyn FieldSink) -> Result<Head, Unreadable> {
    let (header, line) = raw.split_once('\n').unwrap_or((vpcflow::DEFAULT_HEADER, raw));
    let flow = Flow::parse(header, line).map_err(Unreadable::Flow)?;
    let mut watch = Watch { sink, addresses: Vec::new() };
    flow.map(&mut watch);
    let addresses = watch.addresses;
    let time = flow.time().ok_or_else(|| no_time("end", None))?;
    Ok(Head { addresses, ..Head::of_aws(None, time, vpcflow::DATASET) })
}

fn no_time(field: &'static str, value: Option<&Json<'_>>) -> Unreadable {
    Unreadable::Time { field, value: value.map_or_else(|| "it is missing".to_owned(), Json::excerpt) }
}

/// An id for an event that has none: the same text always gets the same.
fn hash_id(raw: &str) -> String {
    crate::hex::hex(&Sha256::digest(raw.as_bytes())[..16])
}

/// Passes everything on and remembers the addresses.
struct Watch<'s> {
    sink: &'s mut dyn FieldSink,
    addresses: Vec<(&'static str, IpAddr)>,
}

impl FieldSink for Watch<'_> {
    fn put(&mut self, path: &str, value: Scalar<'_>) {
        // By their names alone: a flow has dozens of fields, and there may be a million of them a second.
        let field = match path {
            "source.ip" => Some("source.ip"),
            "destination.ip" => Some("destination.ip"),
            "aws.vpcflow.pkt_srcaddr" => Some("aws.vpcflow.pkt_srcaddr"),
            "aws.vpcflow.pkt_dstaddr" => Some("aws.vpcflow.pkt_dstaddr"),
            _ => None,
        };
        if let (Some(field), Scalar::Str(text)) = (field, value) {
            sensor::note_address(field, text, &mut self.addresses);
        }
        self.sink.put(path, value);
    }
}

/// Fields into an event's slots, each in its field's type. Fields that the schema does not know are passed over: no
/// rule can name them.
struct Slots<'s> {
    schema: &'s Schema,
    paths: &'s Paths,
    found: Vec<(FieldId, Value)>,
}

impl FieldSink for Slots<'_> {
    fn put(&mut self, path: &str, value: Scalar<'_>) {
        if let Some(id) = self.schema.id(path) {
            self.put_field(id, self.schema.field(id).kind, value);
        }
    }

    fn put_below(&mut self, path: &str, object: &Json<'_>) {
        // Most leaves are named by no rule, so they are not in the table.
        self.paths.walk_below(path, object, &mut |place, value| {
            if let Some((field, kind)) = place.field.filter(|_| value != Scalar::Str("")) {
                self.found.extend(coerce(kind, value).map(|value| (field, value)));
            }
        });
    }

    fn put_field(&mut self, field: FieldId, kind: FieldType, value: Scalar<'_>) {
        if let Some(value) = coerce(kind, value) {
            self.found.push((field, value));
        }
    }
}

/// A value in its field's type; none where Elasticsearch would refuse or ignore it.
fn coerce(kind: FieldType, value: Scalar<'_>) -> Option<Value> {
    Some(match (kind, value) {
        (_, Scalar::Str("")) if kind != FieldType::Keyword => return None,
        (FieldType::Keyword | FieldType::Flattened | FieldType::Ip | FieldType::Date, Scalar::Str(text)) => {
            Value::str(text)
        }
        (FieldType::Date, Scalar::Int(number)) => Value::str(time::format(time::from_epoch(number)?)),
        (FieldType::Keyword | FieldType::Flattened, Scalar::Int(int)) => Value::str(int.to_string()),
        (FieldType::Keyword | FieldType::Flattened, Scalar::Float(float)) => Value::str(float.to_string()),
        (FieldType::Keyword | FieldType::Flattened, Scalar::Bool(bool)) => Value::str(bool.to_string()),
        (FieldType::Long, Scalar::Int(int)) => Value::Int(int),
        (FieldType::Long, Scalar::Str(text)) => Value::Int(text.trim().parse().ok()?),
        (FieldType::Long, Scalar::Float(float)) if float.is_finite() => Value::Int(float as i64),
        (FieldType::Double, Scalar::Int(int)) => Value::Float(int as f64),
        (FieldType::Double, Scalar::Float(float)) => Value::Float(float),
        (FieldType::Double, Scalar::Str(text)) => Value::Float(text.trim().parse().ok()?),
        (FieldType::Boolean, Scalar::Bool(bool)) => Value::Bool(bool),
        (FieldType::Boolean, Scalar::Str("true")) => Value::Bool(true),
        (FieldType::Boolean, Scalar::Str("false")) => Value::Bool(false),
        _ => return None,
    })
}

/// Fields into nested JSON.
struct DocumentSink {
    root: Map<String, Document>,
}

/// Fields that are lists in ECS even when they hold one value.
fn is_always_list(path: &str) -> bool {
    matches!(path, "event.category" | "event.type" | "process.args" | "process.env_vars")
        || path.starts_with("related.")
        || path.starts_with("groundtrail.link.")
}

impl FieldSink for DocumentSink {
    fn put(&mut self, path: &str, value: Scalar<'_>) {
        let value = match value {
            Scalar::Str(text) => Document::from(text),
            Scalar::Int(int) => Document::from(int),
            Scalar::Float(float) => Document::from(float),
            Scalar::Bool(bool) => Document::from(bool),
        };
        let mut map = &mut self.root;
        let mut rest = path;
        while let Some((key, tail)) = rest.split_once('.') {
            // Where a leaf stands in the way, the dotted name says the same.
            if matches!(map.get(key), Some(held) if !held.is_object()) {
                break;
            }
            let child = map.entry(key.to_owned()).or_insert_with(|| Document::Object(Map::new()));
            map = child.as_object_mut().expect("made or found as an object");
            rest = tail;
        }
        match map.get_mut(rest) {
            Some(Document::Array(items)) => items.push(value),
            Some(Document::Object(_)) => {
                map.insert(format!("{rest}."), value);
            }
            Some(held) => *held = Document::Array(vec![held.take(), value]),
            None if is_always_list(path) => {
                map.insert(rest.to_owned(), Document::Array(vec![value]));
            }
            None => {
                map.insert(rest.to_owned(), value);
            }
        }
    }
}

/// For the second look at a document whose own fields are already in place.
struct Nowhere;

impl FieldSink for Nowhere {
    fn put(&mut self, _path: &str, _value: Scalar<'_>) {}
}

#[cfg(test)]
pub(crate) mod tests;
