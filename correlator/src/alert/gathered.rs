//! All that an alert's document is made from. Gathering it is cheap beside making the document, so that one that would say
//! what was told already is not made at all.

use std::sync::Arc;

use rules::rule::Severity;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::identity::{HostCard, KeyCard};
use crate::keyed::Match;
use crate::pipeline::dedup;
use crate::source::Record;

pub(super) struct Gathered {
    /// The match's events, as in its evidence.
    pub(super) evidence: Vec<Arc<Record>>,
    /// The event whose time the alert bears.
    pub(super) at: Arc<Record>,
    /// By the rule's contexts.
    pub(super) contexts: Vec<Attached>,
    pub(super) could_not_see: Vec<String>,
    /// What vouches for an absence.
    pub(super) rests_on: Vec<Value>,
    pub(super) severity: Severity,
    pub(super) n_suppressed: u64,
    pub(super) hosts: Vec<HostCard>,
    pub(super) keys: Vec<KeyCard>,
}

/// What one context has for the alert, evidence left out.
pub(super) struct Attached {
    pub(super) records: Vec<Arc<Record>>,
    pub(super) n_more: u64,
}

impl Gathered {
    /// The same for what makes the same document of a rule.
    pub(super) fn digest(&self, found: &Match) -> [u8; 16] {
        let Self { evidence, at, contexts, could_not_see, rests_on, severity, n_suppressed, hosts, keys } =
            self;
        let mut hash = Sha256::new();
        // An event is what it says and when: an alert that is read as one changes under its id.
        let event = |hash: &mut Sha256, record: &Record| {
            hash.update(dedup::short_id(&record.event.id));
            hash.update(dedup::content(&record.raw).get().to_le_bytes());
            hash.update(record.event.time.0.to_le_bytes());
        };
        let whole = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        whole(&mut hash, &postcard::to_stdvec(found).expect("plain data serialises"));
        evidence.iter().for_each(|record| event(&mut hash, record));
        event(&mut hash, at);
        for Attached { records, n_more } in contexts {
            hash.update((records.len() as u64).to_le_bytes());
            records.iter().for_each(|record| event(&mut hash, record));
            hash.update(n_more.to_le_bytes());
        }
        let said = (could_not_see, rests_on, severity.as_str(), n_suppressed, hosts, keys);
        whole(&mut hash, &serde_json::to_vec(&said).expect("plain data serialises"));
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        short
    }
}

#[cfg(test)]
mod tests {
    use rules::event::EventTime;

    use super::*;
    use crate::pipeline::single;
    use crate::source::Origin;
    use crate::source::normalize::tests::normalizer;

    fn record(id: &str, said: &str) -> Arc<Record> {
        let text = format!(
            r#"{{"@timestamp":"2026-11-02T10:00:00Z","event":{{"id":"{id}"}},"process":{{"name":"{said}"}}}}"#
        );
        Arc::new(normalizer().read(Origin::Sensor, text).unwrap())
    }

    fn gathered() -> Gathered {
        let at = record("a", "curl");
        Gathered {
            evidence: vec![Arc::clone(&at)],
            at,
            contexts: vec![Attached { records: vec![record("b", "sh")], n_more: 0 }],
            could_not_see: vec!["this".to_owned()],
            rests_on: Vec::new(),
            severity: Severity::Low,
            n_suppressed: 0,
            hosts: Vec::new(),
            keys: Vec::new(),
        }
    }

    #[test]
    fn whatever_a_document_shows_is_in_its_digest() {
        let found = single(&record("a", "curl"));
        let same = gathered().digest(&found);
        assert_eq!(gathered().digest(&found), same);
        let changes: [fn(&mut Gathered); 11] = [
            |of| of.evidence = vec![record("a", "wget")],
            |of| of.at = record("a", "wget"),
            |of| of.contexts[0].records.clear(),
            |of| of.contexts[0].records = vec![record("b", "bash")],
            |of| of.contexts[0].n_more = 1,
            |of| of.could_not_see.clear(),
            |of| of.rests_on.push(true.into()),
            |of| of.severity = Severity::High,
            |of| of.n_suppressed = 1,
            |of| of.hosts.push(HostCard::default()),
            |of| of.keys.push(KeyCard::default()),
        ];
        for (nth, change) in changes.into_iter().enumerate() {
            let mut other = gathered();
            change(&mut other);
            assert_ne!(other.digest(&found), same, "change {nth}");
        }
        let mut later = single(&record("a", "curl"));
        later.end = EventTime(later.end.0 + 1);
        assert_ne!(gathered().digest(&later), same, "the match itself");
    }
}
