//! Recorded traces: what a sensor and AWS said during a scenario, and the final alerts it must come to.
//!
//! A trace is a folder below `tests/traces`: `host.ndjson`, `cloudtrail.json`, `guardduty.jsonl`, `vpcflow.log` (each where
//! the scenario has that feed), `groundtrail.toml` where the run needs a setting, and `alerts.expected.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{bins, shuffle};

pub struct Trace {
    pub name: String,
    folder: PathBuf,
    host: Vec<String>,
    records: Vec<Value>,
    findings: Vec<String>,
    flow_header: Option<String>,
    flows: Vec<String>,
}

/// What is done to a trace before it is replayed.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    AsRecorded,
    Shuffled(u64),
    /// Shuffled, with about half of everything twice.
    Doubled(u64),
}

/// Every trace of the tree, by name.
///
/// # Panics
/// When a trace cannot be read.
pub fn all() -> Vec<Trace> {
    let folder = bins::workspace().join("tests/traces");
    let mut traces: Vec<Trace> = fs::read_dir(&folder)
        .unwrap_or_else(|err| panic!("{}: {err}", folder.display()))
        .map(|entry| entry.expect("a folder that opened can be read").path())
        .filter(|path| path.is_dir())
        .map(|path| Trace::read(&path))
        .collect();
    traces.sort_by(|one, other| one.name.cmp(&other.name));
    traces
}

impl Trace {
    fn read(folder: &Path) -> Self {
        let lines = |name: &str| -> Vec<String> {
            fs::read_to_string(folder.join(name)).unwrap_or_default().lines().map(str::to_owned).collect()
        };
        let cloudtrail = fs::read_to_string(folder.join("cloudtrail.json"))
            .unwrap_or_else(|_| json!({ "Records": [] }).to_string());
        let cloudtrail: Value = serde_json::from_str(&cloudtrail).expect("cloudtrail.json is JSON");
        let mut flows = lines("vpcflow.log").into_iter();
        Trace {
            name: folder.file_name().expect("a trace has a name").to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            host: lines("host.ndjson"),
            records: cloudtrail["Records"].as_array().cloned().unwrap_or_default(),
            findings: lines("guardduty.jsonl"),
            flow_header: flows.next(),
            flows: flows.collect(),
        }
    }

    pub fn n_events(&self) -> usize {
        self.host.len() + self.records.len() + self.findings.len() + self.flows.len()
    }

    pub fn expected(&self) -> PathBuf {
        self.folder.join("alerts.expected.json")
    }

    /// The final alerts, as the real program prints them on a virtual clock.
    ///
    /// # Panics
    /// When the program fails; its message is in the panic's.
    pub fn alerts(&self, order: Order) -> String {
        let folder = self.laid_out(order);
        let place = |name: &str| folder.path().join(name);
        let mut command = Command::new(bins::groundtrail());
        let config = self.folder.join("groundtrail.toml");
        if config.is_file() {
            command.arg("--config").arg(config);
        }
        command.args(["replay", "--final", "--output", "ndjson"]);
        command.arg("--host").arg(place("host.ndjson"));
        for feed in ["cloudtrail", "guardduty", "vpcflow"] {
            command.arg(format!("--{feed}")).arg(place(feed));
        }
        let output = command.output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "replaying {} {order:?}: {}\n{said}", self.name, output.status);
        String::from_utf8(output.stdout).expect("NDJSON is UTF-8")
    }

    /// The trace as files, in this order.
    fn laid_out(&self, order: Order) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let put = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a file lies in a folder"))
                .expect("a folder below a temporary one");
            fs::write(path, text).expect("a file below it");
        };
        put("host.ndjson", order.of(&self.host).join("\n") + "\n");
        put("cloudtrail/cloudtrail.json", json!({ "Records": order.of(&self.records) }).to_string());
        put("guardduty/findings.jsonl", order.of(&self.findings).join("\n") + "\n");
        let flows = self.flow_header.iter().cloned().chain(order.of(&self.flows)).collect::<Vec<String>>();
        put("vpcflow/flow.log", flows.join("\n") + "\n");
        folder
    }
}

impl Order {
    fn of<T: Clone>(self, items: &[T]) -> Vec<T> {
        match self {
            Order::AsRecorded => items.to_vec(),
            Order::Shuffled(seed) => shuffle::shuffled(items, seed),
            Order::Doubled(seed) => shuffle::doubled(items, seed),
        }
    }
}
