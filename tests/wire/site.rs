//! A small site for one test: an authority, a correlator that listens, and sensors without a kernel.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::bins;
use serde_json::{Value, json};

/// Long enough for a loaded machine; nobody waits for it where all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const RULE: &str = r#"
[metadata]
creation_date = "2026/11/21"
maturity = "production"
updated_date = "2026/11/21"

[rule]
name = "Canary"
rule_id = "3c5a3f56-6c0a-4e0e-8f0e-0b9d7a6f4c21"
description = "A process that only tests start."
type = "query"
language = "kuery"
index = ["logs-endpoint.events.process-*"]
severity = "low"
risk_score = 21
query = '''
process.name:canary
'''
"#;

pub(crate) struct Site {
    dir: tempfile::TempDir,
    place: String,
    run: Option<Child>,
}

impl Site {
    /// Behind TLS, on a port of the system's choice.
    pub(crate) fn over_tls() -> Self {
        // A port that was free a moment ago: it stays the same over restarts, as a real one does.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let site = Self::new(format!("https://127.0.0.1:{port}"));
        site.ca(&["init"]);
        let tls = site.path("tls");
        site.ca(&["issue", "--server", "127.0.0.1", "--out", tls.to_str().unwrap()]);
        site
    }

    pub(crate) fn over_unix() -> Self {
        let mut site = Self::new(String::new());
        site.place = format!("unix:{}", site.path("sensor.sock").display());
        site
    }

    fn new(place: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rules")).unwrap();
        fs::write(dir.path().join("rules/canary.toml"), RULE).unwrap();
        Self { dir, place, run: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn port(&self) -> u16 {
        self.place.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn ca(&self, args: &[&str]) -> Output {
        let output =
            Command::new(bins::groundtrail()).arg("ca").args(args).arg("--dir").arg(self.path("ca")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Certificate and key for a sensor, in the folder that it looks into.
    pub(crate) fn issue(&self, host: &str) {
        self.ca(&["issue", "--host", host, "--out", self.path("tls").to_str().unwrap()]);
    }

    /// Starts the correlator, where it was before if it ran before.
    pub(crate) fn start(&mut self, more: &str) {
        let source = match self.place.strip_prefix("unix:") {
            Some(path) => format!("unix = \"{path}\""),
            None => {
                let (tls, ca, port) = (self.path("tls"), self.path("ca"), self.port());
                format!(
                    "listen = \"127.0.0.1:{port}\"\ncertificate = \"{0}/127.0.0.1.pem\"\nkey = \"{0}/127.0.0.1.key\"\nca = \
                     \"{1}/ca.pem\"\ncrl = \"{1}/crl.pem\"",
                    tls.display(),
                    ca.display()
                )
            }
        };
        let config = format!(
            "[store]\npath = \"store.db\"\n[rules]\nbuiltin = false\npaths = [\"rules\"]\n[[source]]\ntype = \"sensors\"\n{source}\n{more}\n"
        );
        fs::write(self.path("groundtrail.toml"), config).unwrap();
        let append = |name: &str| File::options().create(true).append(true).open(self.path(name)).unwrap();
        // A line that a killed run could not finish spoils no other.
        writeln!(append("alerts.ndjson")).unwrap();
        let told = self.told().len();
        let run = Command::new(bins::groundtrail())
            .arg("--config")
            .arg(self.path("groundtrail.toml"))
            .args(["run", "--output", "ndjson"])
            .stdin(Stdio::null())
            .stdout(append("alerts.ndjson"))
            .stderr(append("told"))
            .spawn()
            .unwrap();
        self.run = Some(run);
        wait_for("the correlator to watch", || self.told()[told..].contains("watching"));
    }

    /// What the correlator said, over all its starts.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(self.path("told")).unwrap_or_default()
    }

    pub(crate) fn kill(&mut self) {
        let mut run = self.run.take().unwrap();
        run.kill().unwrap();
        run.wait().unwrap();
    }

    /// The alerts that were handed out, one of each id.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("alerts.ndjson")).unwrap_or_default();
        let mut alerts: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let id = |alert: &Value| alert["groundtrail"]["alert"]["id"].as_str().unwrap_or_default().to_owned();
        alerts.sort_by_key(id);
        alerts.dedup_by_key(|alert| id(alert));
        alerts
    }

    pub(crate) fn feeder(&self, host: &str) -> Command {
        let mut command = Command::new(bins::feeder());
        command.args(["deliver", "--to", &self.place, "--host", host, "--spool"]);
        command.arg(self.path(&format!("{host}.spool")));
        if self.place.starts_with("https") {
            command.arg("--tls").arg(self.path("tls"));
        }
        command
    }

    /// Delivers these lines with a sensor of its own, and returns what that said.
    pub(crate) fn deliver(&self, host: &str, lines: &[String], patience: u64) -> String {
        let mut command = self.feeder(host);
        command.args(["--patience", &patience.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        lines.iter().for_each(|line| writeln!(stdin, "{line}").unwrap());
        drop(stdin);
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut run) = self.run.take() {
            let _ = run.kill();
            let _ = run.wait();
        }
        if thread::panicking() {
            eprintln!("the correlator said:\n{}", self.told());
        }
    }
}

/// A sensor process that is fed line by line and may be killed.
pub(crate) struct Feeder {
    child: Child,
    stdin: Option<ChildStdin>,
    spooled: Arc<AtomicU64>,
}

impl Feeder {
    pub(crate) fn start(site: &Site, host: &str) -> Self {
        let mut child = site.feeder(host).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let spooled = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&spooled);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(n) = line.strip_prefix("spooled ").and_then(|n| n.parse().ok()) {
                    counted.store(n, Ordering::SeqCst);
                }
            }
        });
        Self { child, stdin, spooled }
    }

    pub(crate) fn feed(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Lines that are in its spool, or further.
    pub(crate) fn spooled(&self) -> u64 {
        self.spooled.load(Ordering::SeqCst)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn finish(mut self) {
        self.stdin = None;
        assert!(self.child.wait().unwrap().success());
    }
}

/// An event that raises an alert of its own.
pub(crate) fn canary(host: &str, n: usize) -> String {
    json!({
        "@timestamp": jiff::Timestamp::now().to_string(),
        "event": {
            "id": format!("{host}-{n}"), "kind": "event", "category": ["process"], "type": ["start"], "action": "exec",
            "dataset": "endpoint.events.process",
        },
        "data_stream": { "type": "logs", "dataset": "endpoint.events.process", "namespace": "default" },
        "host": { "id": host, "name": host },
        "process": { "name": "canary", "pid": n, "args": ["canary", n.to_string()], "command_line": format!("canary {n}") },
    })
    .to_string()
}

pub(crate) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What one request was answered: its status, and all of it.
pub(crate) fn curl(
    site: &Site,
    certificate: Option<(&Path, &Path)>,
    headers: &[&str],
    body: &[u8],
) -> (u32, String) {
    let file = site.path("body");
    fs::write(&file, body).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "60"]);
    command.arg("--cacert").arg(site.path("ca/ca.pem"));
    if let Some((certificate, key)) = certificate {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let own = ["content-encoding: zstd", "content-type: application/x-ndjson", "expect:"];
    for header in own.iter().chain(headers) {
        command.args(["--header", header]);
    }
    command.arg("--data-binary").arg(format!("@{}", file.display()));
    let output = command.arg(format!("{}/v1/events", site.place())).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0);
    (status, text)
}
