//! Indicator lists: addresses, networks and domains that somebody calls hostile, and who said so.
//!
//! `list` reads a list in any of its formats, `table` holds all of them and is asked for each event; what is found becomes
//! `threat.*` here.

mod list;
mod misp;
mod pattern;
mod stix;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rules::event::EventTime;

use crate::source::{FieldSink, Scalar};

pub use list::ListName;
pub use table::Indicators;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    pub key: Key,
    /// The list's name in the configuration.
    pub provider: Arc<str>,
    /// What the list says about it: a name, a malware family.
    pub description: Option<String>,
    /// The list's own id of the entry.
    pub reference: Option<String>,
    pub labels: Vec<String>,
    /// From 0 to 100.
    pub confidence: Option<u8>,
    /// It says nothing of what was before,
    pub valid_from: Option<EventTime>,
    /// nor of this time and what comes after.
    pub valid_until: Option<EventTime>,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Net(IpNet),
    /// In lower case, with all that lies below it.
    Domain(String),
}

/// An entry that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// From 1. In a JSON list the entry's number.
    pub line: usize,
    pub reason: String,
}

/// What a list held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub n_entries: usize,
    /// Entries that are not looked for, by what they are: hashes, those that are revoked.
    pub others: BTreeMap<String, u64>,
    /// The first of those that could not be read,
    pub bad: Vec<BadEntry>,
    /// and how many there are.
    pub n_bad: usize,
}

impl Loaded {
    pub fn n_other(&self) -> u64 {
        self.others.values().sum()
    }

    /// In words, the most frequent first.
    pub fn others_in_words(&self) -> String {
        let mut others: Vec<_> = self.others.iter().collect();
        others.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        others.iter().take(8).map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// What of an event is on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The field it stood in: `destination.ip`.
    pub field: &'static str,
    pub value: Named,
    pub indicators: Vec<Indicator>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Named {
    Address(IpAddr),
    Domain(String),
}

/// Writes `threat.*`. The indicator proper is the first hit's narrowest; every match is an enrichment.
pub fn put_hits(hits: &[Hit], sink: &mut dyn FieldSink) {
    let (mut providers, mut labels): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (at, hit) in hits.iter().enumerate() {
        let (kind, path, text) = match &hit.value {
            Named::Address(IpAddr::V4(ip)) => ("ipv4-addr", "threat.indicator.ip", ip.to_string()),
            Named::Address(IpAddr::V6(ip)) => ("ipv6-addr", "threat.indicator.ip", ip.to_string()),
            Named::Domain(name) => ("domain-name", "threat.indicator.url.domain", name.clone()),
        };
        if let (0, Some(first)) = (at, hit.indicators.first()) {
            sink.put("threat.indicator.type", Scalar::Str(kind));
            if let Some(text) = &first.description {
                sink.put("threat.indicator.description", Scalar::Str(text));
            }
            if let Some(confidence) = first.confidence {
                sink.put("threat.indicator.confidence", Scalar::Str(confidence_word(confidence)));
            }
        }
        sink.put(path, Scalar::Str(&text));
        for indicator in &hit.indicators {
            if !providers.contains(&indicator.provider.as_ref()) {
                providers.push(&indicator.provider);
                sink.put("threat.indicator.provider", Scalar::Str(&indicator.provider));
            }
            for label in indicator.labels.iter().map(String::as_str) {
                if !labels.contains(&label) {
                    labels.push(label);
                    sink.put("groundtrail.indicator.labels", Scalar::Str(label));
                }
            }
            sink.put("threat.enrichments.matched.field", Scalar::Str(hit.field));
            sink.put("threat.enrichments.matched.atomic", Scalar::Str(&text));
            sink.put("threat.enrichments.matched.type", Scalar::Str("indicator_match_rule"));
            if let Some(reference) = &indicator.reference {
                sink.put("threat.enrichments.matched.id", Scalar::Str(reference));
            }
        }
    }
}

/// ECS's words, by STIX's scale.
fn confidence_word(confidence: u8) -> &'static str {
    match confidence {
        0 => "None",
        1..=29 => "Low",
        30..=69 => "Medium",
        _ => "High",
    }
}

#[cfg(test)]
mod tests;
