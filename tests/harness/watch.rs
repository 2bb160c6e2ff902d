//! groundtrail at work on this kernel: the real sensor, the real correlator, and a stage whose traces they see.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{bins, netns, world};

/// How long an alert may take; a correct one takes a second or two, and a busy machine more.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Watch {
    /// Ended in this order, and before the folder they work in goes.
    _sensor: Program,
    _correlator: Program,
    folder: tempfile::TempDir,
    lines: Receiver<String>,
    /// Every revision printed so far, in order.
    seen: Vec<Value>,
    /// The scenes played so far, as the processes everything of theirs descends from.
    stages: Vec<u64>,
}

/// A program that is asked to end when it is no longer wanted, by a test that failed too.
pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(netns::run("sh", &["-c", &format!("kill -TERM {}", self.0.id())]));
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Says so where this process is not root.
pub fn not_root() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    (!is_root).then(|| "not root, and eBPF programs need it; run with sudo".to_owned())
}

/// What keeps these tests from this machine, or `None`.
///
/// # Panics
/// When the sensor cannot be started, or fails for another reason than its kernel.
pub fn obstacle() -> Option<String> {
    if let Some(reason) = not_root() {
        return Some(reason);
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux); it needs CONFIG_DEBUG_INFO_BTF=y".to_owned(),
        );
    }
    let check = Command::new(bins::sensor()).arg("check").output().expect("the sensor starts");
    let said = String::from_utf8_lossy(&check.stderr);
    match check.status.code() {
        Some(0) => netns::refused(),
        Some(3) => Some(format!("the sensor's own check says: {}", said.trim())),
        _ => panic!("the sensor's own check failed: {}: {said}", check.status),
    }
}

impl Watch {
    /// Starts the correlator, then the sensor that reports to it, as the instance of [`world`].
    ///
    /// # Panics
    /// When either does not come up: its own message is on stderr.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("groundtrail-live.").tempdir().expect("a temporary folder");
        let socket = folder.path().join("sensor.sock");
        let cloudtrail = folder.path().join("cloudtrail");
        fs::create_dir_all(&cloudtrail).expect("a folder below it");
        let config = folder.path().join("groundtrail.toml");
        fs::write(&config, correlator_config(folder.path())).expect("a file below it");
        let sensor_config = folder.path().join("sensor.toml");
        fs::write(&sensor_config, sensor_config_text(&socket)).expect("a file below it");

        let mut correlator = Command::new(bins::groundtrail())
            .arg("--config")
            .arg(&config)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the correlator starts");
        let lines = follow(correlator.stdout.take().expect("its output is piped"));
        let correlator = Program(correlator);
        await_that("the correlator listens", || socket.exists());
        let mut sensor = Command::new(bins::sensor())
            .arg("run")
            .arg("--config")
            .arg(&sensor_config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the sensor starts");
        let says = sensor.stderr.take().expect("its log is piped");
        let sensor = Program(sensor);
        await_lines(says, &["\"watching\"", "\"connected\""]);
        Watch {
            _sensor: sensor,
            _correlator: correlator,
            folder,
            lines,
            seen: Vec::new(),
            stages: Vec::new(),
        }
    }

    fn cloudtrail(&self) -> PathBuf {
        self.folder.path().join("cloudtrail")
    }

    /// Plays scenes to their end.
    ///
    /// # Panics
    /// When the stage fails: its own message is on stderr.
    pub fn play(&mut self, scenes: &[&str]) {
        let mut command = Command::new(bins::stage());
        command.arg("play").args(scenes).arg("--cloudtrail").arg(self.cloudtrail());
        if let Some(aws) = std::env::var_os("GROUNDTRAIL_AWS_CLI") {
            command.arg("--aws").arg(aws);
        }
        let mut stage = command.stdout(Stdio::null()).spawn().expect("the stage starts");
        self.stages.push(u64::from(stage.id()));
        let status = stage.wait().expect("a child can be waited for");
        assert!(status.success(), "the stage failed at {scenes:?}: {status}");
    }

    /// Another command of the correlator's program, with the run's configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn groundtrail(&self, args: &[&str]) -> Output {
        let mut command = Command::new(bins::groundtrail());
        command.arg("--config").arg(self.folder.path().join("groundtrail.toml")).args(args);
        command.output().expect("the correlator's program starts")
    }

    /// The latest revision of each alert of a rule that came from our own stages, once there are `n`.
    ///
    /// # Panics
    /// When there are fewer after [`PATIENCE`]; the message holds what came instead.
    pub fn alerts(&mut self, rule: &str, n: usize, is_enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let id = rule_id(rule);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: Vec<Value> = self.latest(&id).into_iter().filter(|alert| is_enough(alert)).collect();
            if found.len() >= n {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let all = self.latest(&id);
                panic!(
                    "{n} alerts of {rule} expected, {} came, of them complete {}: {all:#?}",
                    all.len(),
                    found.len()
                );
            };
            self.seen.push(serde_json::from_str(&line).expect("stdout carries one JSON document per line"));
        }
    }

    /// Waits long enough for what was played to have been evaluated, then counts a rule's alerts.
    pub fn count_after_settling(&mut self, rule: &str) -> usize {
        let until = Instant::now() + Duration::from_secs(4);
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.seen.push(serde_json::from_str(&line).expect("stdout carries one JSON document per line"));
        }
        self.latest(&rule_id(rule)).len()
    }

    fn latest(&self, rule_id: &str) -> Vec<Value> {
        let mut latest: Vec<Value> = Vec::new();
        for alert in self.seen.iter().filter(|alert| alert["rule"]["id"] == rule_id && self.is_ours(alert)) {
            let id = &alert["groundtrail"]["alert"]["id"];
            latest.retain(|other| &other["groundtrail"]["alert"]["id"] != id);
            if alert["groundtrail"]["alert"]["state"] != "withdrawn" {
                latest.push(alert.clone());
            }
        }
        latest
    }

    /// Other things run on this kernel: host evidence counts only where it descends from one of our stages. Cloud
    /// evidence is ours anyway, since nobody else writes to our folder.
    fn is_ours(&self, alert: &Value) -> bool {
        let evidence = alert["groundtrail"]["alert"]["evidence"].as_array().cloned().unwrap_or_default();
        evidence.iter().map(|one| &one["event"]).all(|event| {
            event["event"]["dataset"].as_str().is_none_or(|dataset| !dataset.starts_with("endpoint."))
                || event["groundtrail"]["process"]["ancestors"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|ancestor| ancestor["pid"].as_u64().is_some_and(|pid| self.stages.contains(&pid)))
        })
    }
}

fn correlator_config(folder: &Path) -> String {
    let indicators = folder.join("indicators.txt");
    fs::write(&indicators, "192.0.2.66\n").expect("a file in the temporary folder");
    let cloudtrail = folder.join("cloudtrail");
    let feeds = ["cloudtrail", "guardduty", "vpcflow"]
        .map(|feed| format!("[[source]]\ntype = \"{feed}\"\npath = {cloudtrail:?}\nfollow = true\n\n"))
        .concat();
    format!(
        "[[source]]\ntype = \"sensor\"\nunix = {:?}\n\n{feeds}[endpoints]\nknown = [\"{}\"]\n\n[[indicators]]\npath = {indicators:?}\n\
         provider = \"test\"\n\n[output]\nformat = \"ndjson\"\n\n[store]\npath = {:?}\n",
        folder.join("sensor.sock"),
        netns::KNOWN_STORE,
        folder.join("groundtrail.db"),
    )
}

fn sensor_config_text(socket: &Path) -> String {
    format!(
        "[output]\nto = \"socket\"\npath = {socket:?}\n\n[host]\ninstance_id = \"{}\"\naccount = \"{}\"\nregion = \"{}\"\n",
        world::INSTANCE_ID,
        world::ACCOUNT,
        world::REGION,
    )
}

/// The id of a rule of the shipped catalogue, by its file.
///
/// # Panics
/// When there is no such file.
pub fn rule_id(rule: &str) -> String {
    let path = bins::workspace().join("rules/catalogue").join(format!("{rule}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    let line = text.lines().find_map(|line| line.strip_prefix("rule_id = \"")).expect("a rule has an id");
    line.trim_end_matches('"').to_owned()
}

fn follow(output: impl io::Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// Passes a log on, and comes back once it has held each of these.
fn await_lines(log: impl io::Read + Send + 'static, wanted: &[&str]) {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            eprintln!("{line}");
            // Nobody listens once all was heard, or once patience ran out.
            send.send(line).unwrap_or_default();
        }
    });
    let mut missing = wanted.to_vec();
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(line) = receive.recv_timeout(left) else {
            panic!("the sensor did not say {missing:?}; what it said is above");
        };
        missing.retain(|wanted| !line.contains(wanted));
    }
}

fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "gave up waiting that {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
