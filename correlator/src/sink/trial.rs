//! One marked alert, sent at once and past the queue: whether a sink's settings work.

use std::sync::Arc;
use std::time::Duration;

use rules::rule::Severity;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::transport::{Item, Verdict};
use super::{SinkError, open};
use crate::config::sinks::{Sink, duration};
use crate::health::millis;
use crate::time::{Clock, SystemClock, format};
use rules::event::EventTime;

/// What came of it.
#[derive(Debug)]
pub struct Trial {
    /// Of the alert that was sent, for whoever looks for it at the other end.
    pub alert_id: String,
    pub verdict: Verdict,
    pub took: Duration,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("cannot make a runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Sends one alert that says of itself that it is a test.
///
/// # Errors
/// The settings cannot be used at all.
pub fn trial(sink: &Sink) -> Result<Trial, TrialError> {
    let mut transport = open(sink)?;
    let now = SystemClock.now();
    let item = marked(sink.min_severity, now);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (verdict, took) = runtime.block_on(async {
        let began = Instant::now();
        let wait = duration(sink.timeout);
        let answer = tokio::time::timeout(wait, transport.send(std::slice::from_ref(&item))).await;
        let late = || Verdict::Later(format!("no answer within {} ms", wait.as_millis()));
        let verdict = match answer {
            Ok(answer) => answer.verdicts.into_iter().next().unwrap_or_else(late),
            Err(_) => late(),
        };
        (verdict, began.elapsed())
    });
    runtime.shutdown_background();
    Ok(Trial { alert_id: item.alert_id, verdict, took })
}

fn marked(severity: Severity, now: EventTime) -> Item {
    let digest = Sha256::digest(now.0.to_le_bytes());
    let alert_id = format!("test-{}", crate::hex::hex(&digest[..8]));
    let document = document(&alert_id, severity, now);
    Item { seq: 0, alert_id, revision: 1, queued_ms: millis(now), document: Arc::new(document) }
}

fn document(alert_id: &str, severity: Severity, now: EventTime) -> Value {
    let at = format(now);
    json!({
        "@timestamp": at,
        "ecs": {"version": "8.17.0"},
        "message": "This is a test of a sink of groundtrail. Nothing has happened.",
        "event": {
            "kind": "alert", "id": alert_id, "dataset": "groundtrail.alert", "category": [], "severity": 1,
            "risk_score": 1, "start": at, "end": at,
        },
        "rule": {
            "id": "00000000-0000-4000-8000-000000000000", "name": "groundtrail sink test", "version": "1",
            "description": "Sent by `groundtrail sink test`.",
        },
        "tags": ["groundtrail-sink-test"],
        "threat": [],
        "related": {"ip": [], "user": [], "hosts": []},
        "groundtrail": {"alert": {
            "id": alert_id, "revision": 1, "state": "open", "severity": severity.as_str(), "risk_score": 1,
            "is_test": true, "join": {}, "window": {"start": at, "end": at}, "evidence": [], "context": [],
            "could_not_see": [],
        }},
    })
}
