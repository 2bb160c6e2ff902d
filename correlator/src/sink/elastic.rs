//! Elasticsearch's and OpenSearch's bulk API: many at once, each judged by itself.

use std::fmt::Write as _;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::SinkError;
use super::format::Format;
use super::http::{Client, Reply};
use super::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use crate::config::sinks::{Documents, Elastic};

/// Receivers take up to 100 MB, and do better with less.
const PORTION: Portion = Portion::of(500, 5 << 20);
/// All that is read of an answer: without it, it repeats what every item was.
const PATH: &str = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";

pub(super) struct Bulk {
    client: Client,
    to: Elastic,
    format: Format,
}

/// What an item came to, below the name of the action that was asked for.
#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Option<Fault>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    #[serde(rename = "type")]
    kind: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Outcomes {
    items: Vec<std::collections::BTreeMap<String, Outcome>>,
}

impl Bulk {
    /// # Errors
    /// A file of the settings cannot be used.
    pub(super) fn open(to: &Elastic, format: Format) -> Result<Self, SinkError> {
        if let Some(login) = &to.login {
            login.check()?;
        }
        let logins = to.login.iter().cloned().collect();
        Ok(Self { client: Client::new(&to.url, to.ca.as_deref(), logins)?, to: to.clone(), format })
    }

    fn body(&self, items: &[Item]) -> String {
        let mut body = String::new();
        for item in items {
            let index = &self.to.index;
            let action = match self.to.documents {
                // The revision is the version, so that what comes twice or too late changes nothing.
                Documents::Alert => json!({"index": {
                    "_index": index, "_id": item.alert_id, "version": item.revision, "version_type": "external",
                }}),
                Documents::Revision => json!({"create": {"_index": index, "_id": item.id()}}),
            };
            let _ = write!(body, "{action}\n{}\n", item.line(self.format));
        }
        body
    }

    async fn bulk(&mut self, items: &[Item]) -> Answer {
        let n = items.len();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        match self.to.login.as_ref().map(|login| login.header("ApiKey")).transpose() {
            Ok(login) => login.and_then(|login| headers.insert(AUTHORIZATION, login)),
            Err(reason) => return Answer::whole(n, Verdict::Later(reason)),
        };
        let body = Bytes::from(self.body(items));
        match self.client.post(PATH, headers, body).await {
            Ok(reply) => Answer { retry_after: reply.retry_after, ..judge(&reply, n) },
            Err(reason) => Answer::whole(n, Verdict::Later(reason)),
        }
    }
}

impl Transport for Bulk {
    fn portion(&self) -> Portion {
        PORTION
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(self.bulk(items))
    }
}

fn judge(reply: &Reply, n: usize) -> Answer {
    match reply.status.as_u16() {
        200..300 => {}
        // One of them is too large, or makes the whole unreadable.
        400 | 413 => return Answer::whole(n, Verdict::Refused(reply.words())),
        _ => return Answer::whole(n, Verdict::Later(reply.words())),
    }
    match serde_json::from_slice::<Outcomes>(&reply.body) {
        Ok(outcomes) if outcomes.items.len() == n => {
            let verdict = |item: &std::collections::BTreeMap<String, Outcome>| {
                item.values().next().map_or_else(
                    || Verdict::Later("it says nothing of it".to_owned()),
                    |said| verdict(said, reply),
                )
            };
            Answer::each(outcomes.items.iter().map(verdict).collect())
        }
        Ok(outcomes) => {
            let said = outcomes.items.len();
            Answer::whole(n, Verdict::Later(format!("of {n} alerts it accounts for {said}")))
        }
        Err(error) => {
            let reason = format!("its answer is not that of a bulk request ({error}); {}", reply.words());
            Answer::whole(n, Verdict::Later(reason))
        }
    }
}

/// Faults of an index and its settings, under a status that is else about the document.
const OF_THE_INDEX: [&str; 2] = ["validation_exception", "invalid_index_name_exception"];
/// The same, of a kind that documents have faults of, too: a data stream wants `create`, an alias has no index to write to.
const ARGUMENT: &str = "illegal_argument_exception";
const OF_ITS_TARGET: [&str; 2] = ["op_type", "write index"];

fn is_of_the_index(fault: &Fault) -> bool {
    OF_THE_INDEX.contains(&&*fault.kind)
        || (fault.kind == ARGUMENT && OF_ITS_TARGET.iter().any(|part| fault.reason.contains(part)))
}

fn verdict(outcome: &Outcome, reply: &Reply) -> Verdict {
    let reason = || {
        let said = outcome.error.as_ref().map(|fault| format!(": {}: {}", fault.kind, fault.reason));
        let said = said.map(|said| reply.masks.cover(&said)).unwrap_or_default();
        format!("it answered {} for this alert{said}", outcome.status)
    };
    match outcome.status {
        // 409: it has this revision, or one that came after it.
        200..300 | 409 => Verdict::Taken,
        // Full, blocked, not allowed, no such index: nothing that the alert is to blame for.
        401 | 403 | 404 | 429 | 500.. => Verdict::Later(reason()),
        // A data stream that wants another operation, an alias that cannot be written, too many shards: the same.
        400 if outcome.error.as_ref().is_some_and(is_of_the_index) => Verdict::Later(reason()),
        _ => Verdict::Refused(reason()),
    }
}
