//! Queues, workers and their transports, against receivers that misbehave.

mod delivery;
mod local;
mod ocsf;
mod queue;
pub(super) mod receiver;
mod resend;
mod search;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rules::event::EventTime;
use rules::rule::Severity;
use serde_json::{Value, json};

use super::crew::Crew;
use crate::alert::{AlertChange, AlertId, AlertState};
use crate::config::Config;
use crate::config::sinks::Sink;
use crate::health::{Board, SinkHealth};
use crate::store::{Batch, Store};

/// A store, and sinks that are fed by it.
struct Scene {
    folder: tempfile::TempDir,
    sinks: Vec<Sink>,
    store: Store,
    board: Board,
    crew: Option<Crew>,
}

const QUICK: &str = "retry_from = \"10ms\"\nretry_to = \"40ms\"\ntimeout = \"2s\"\n";

fn change(id: &str, revision: u32, severity: Severity, message: &str) -> AlertChange {
    let state = if revision == 1 { AlertState::Open } else { AlertState::Revised };
    AlertChange {
        id: AlertId::from_store(id),
        time: EventTime(7),
        rule_id: "rule".into(),
        state,
        revision,
        content: [revision as u8; 16],
        document: json!({
            "@timestamp": "2026-11-02T10:00:00Z",
            "message": message,
            "rule": {"id": "rule", "name": "A rule"},
            "groundtrail": {"alert": {
                "id": id, "revision": revision, "state": state.as_str(), "severity": severity.as_str(),
            }},
        }),
    }
}

impl Scene {
    /// With `[[sink]]` tables as the configuration has them.
    fn new(sinks: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), sinks)
    }

    fn within(folder: tempfile::TempDir, sinks: &str) -> Self {
        let config = Config::parse(sinks, &folder.path().join("groundtrail.toml"));
        let sinks = config.unwrap_or_else(|error| panic!("{}", error.render(false))).sinks;
        let path = folder.path().join("store.db");
        let mut store = Store::open_for_run(&path).unwrap();
        let board = Board::default();
        board.put(crate::health::Health::default());
        let crew = Some(Crew::start(&sinks, &mut store, &path, &board).unwrap());
        Self { folder, sinks, store, board, crew }
    }

    /// Another run of the same sinks, as they are now.
    fn start_anew(&mut self) {
        self.board = Board::default();
        self.board.put(crate::health::Health::default());
        let path = self.path("store.db");
        self.crew = Some(Crew::start(&self.sinks, &mut self.store, &path, &self.board).unwrap());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tell(&mut self, alerts: &[AlertChange]) {
        self.store.commit(&Batch { alerts, ..Batch::default() }).unwrap();
    }

    fn look(&self, sink: &str) -> SinkHealth {
        let sinks = self.board.look().unwrap().sinks;
        sinks.into_iter().find(|health| health.name == sink).unwrap()
    }

    /// Ends as a run does, and leaves the folder to the next.
    fn end(mut self) -> tempfile::TempDir {
        self.crew.take().unwrap().finish();
        self.store.commit(&Batch::default()).unwrap();
        self.folder
    }
}

#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last one may be on its way still.
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(documents: &[Value]) -> Vec<(String, u64)> {
    let id = |document: &Value| {
        let own = &document["groundtrail"]["alert"];
        (own["id"].as_str().unwrap().to_owned(), own["revision"].as_u64().unwrap())
    };
    documents.iter().map(id).collect()
}
