//! Splunk's HTTP Event Collector.

use std::fmt::Write as _;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::SinkError;
use super::format::Format;
use super::http::{Client, Reply};
use super::login::{Login, bearer};
use super::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use crate::config::sinks::Splunk;
use crate::time;

/// A collector takes 1 MB unless it was set up otherwise.
const PORTION: Portion = Portion::of(100, 800 << 10);
const PATH: &str = "/services/collector/event";

pub(super) struct Collector {
    client: Client,
    to: Splunk,
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Said {
    code: u32,
}

impl Collector {
    /// # Errors
    /// A file of the settings cannot be used.
    pub(super) fn open(to: &Splunk, format: Format) -> Result<Self, SinkError> {
        to.token.read()?;
        Ok(Self {
            client: Client::new(&to.url, to.ca.as_deref(), vec![Login::Token(to.token.clone())])?,
            to: to.clone(),
            format,
        })
    }

    fn event(&self, item: &Item) -> Value {
        let mut event = Map::new();
        let document = &item.document;
        if let Some(time) = document["@timestamp"].as_str().and_then(time::parse) {
            let ms = crate::health::millis(time);
            event.insert("time".into(), json!(ms as f64 / 1_000.0));
        }
        let host = ["name", "id"].iter().find_map(|key| document["host"][key].as_str());
        if let Some(host) = host {
            event.insert("host".into(), host.into());
        }
        event.insert("source".into(), self.to.source.clone().into());
        event.insert("sourcetype".into(), self.to.sourcetype.clone().into());
        if let Some(index) = &self.to.index {
            event.insert("index".into(), index.clone().into());
        }
        event.insert("event".into(), self.format.document(document));
        // Indexed, so that a search finds the last revision of each without reading events.
        event.insert(
            "fields".into(),
            json!({"alert_id": item.alert_id, "alert_revision": item.revision.to_string()}),
        );
        event.into()
    }

    async fn post(&mut self, items: &[Item]) -> Answer {
        let n = items.len();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match bearer("Splunk", &self.to.token) {
            Ok(token) => headers.insert(AUTHORIZATION, token),
            Err(reason) => return Answer::whole(n, Verdict::Later(reason)),
        };
        let mut body = String::new();
        for item in items {
            let _ = writeln!(body, "{}", super::to_line(&self.event(item)));
        }
        match self.client.post(PATH, headers, Bytes::from(body)).await {
            Ok(reply) => Answer { retry_after: reply.retry_after, ..Answer::whole(n, verdict(&reply)) },
            Err(reason) => Answer::whole(n, Verdict::Later(reason)),
        }
    }
}

impl Transport for Collector {
    fn portion(&self) -> Portion {
        PORTION
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(self.post(items))
    }
}

/// By status and, of 400, the collector's own code: 5, 6, 12, 13 and 15 are about what was sent, the others (a wrong index, a
/// channel that is missing) about how it is set up.
fn verdict(reply: &Reply) -> Verdict {
    let code = serde_json::from_slice(&reply.body).map(|Said { code }| code);
    match (reply.status.as_u16(), code) {
        (200..300, Ok(0)) => Verdict::Taken,
        (200..300, _) => Verdict::Later(format!("what answers is no collector; {}", reply.words())),
        (400, Ok(5 | 6 | 12 | 13 | 15)) | (413, _) => Verdict::Refused(reply.words()),
        _ => Verdict::Later(reply.words()),
    }
}
