//! Sinks of the real program: killed between commit and delivery, slow, down, asked for a test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use harness::bins;
use harness::http::{Answer, Request, Site, serve};
use http_body_util::Full;
use hyper::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const RULE: &str = r#"[rule]
name = "every exec"
rule_id = "00000000-0000-4000-8000-000000000001"
description = "d"
severity = "low"
risk_score = 21
type = "query"
language = "kuery"
query = 'event.category:process'
"#;

/// Takes alerts now and then, and remembers what it took.
#[derive(Default)]
struct Hook {
    n_asked: AtomicUsize,
    /// Every so many requests are refused for now.
    refuses_every: usize,
    taken: Mutex<Vec<Value>>,
}

impl Site for Hook {
    fn answer(&self, request: Request) -> Answer {
        let n = self.n_asked.fetch_add(1, Ordering::Relaxed) + 1;
        let status = if self.refuses_every > 0 && n.is_multiple_of(self.refuses_every) { 503 } else { 200 };
        if status == 200 {
            let document: Value = serde_json::from_slice(&request.body).unwrap();
            let own = &document["groundtrail"]["alert"];
            let id = format!("{}-{}", own["id"].as_str().unwrap(), own["revision"]);
            assert_eq!(request.header("groundtrail-event-id"), id);
            self.taken.lock().unwrap().push(document);
        }
        Response::builder().status(status).body(Full::default()).unwrap()
    }
}

fn hook(refuses_every: usize) -> (Arc<Hook>, SocketAddr) {
    let hook = Arc::new(Hook { refuses_every, ..Hook::default() });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    serve(listener, None, Arc::clone(&hook) as Arc<dyn Site>).unwrap();
    (hook, at)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new(sinks: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("rules")).unwrap();
        fs::write(place.path("rules/every.toml"), RULE).unwrap();
        for follow in [true, false] {
            let text = format!(
                "[store]\npath = \"store.db\"\n[rules]\nbuiltin = false\npaths = [\"rules\"]\n\
                 [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = {follow}\nlateness = \"24h\"\n{sinks}"
            );
            fs::write(place.path(&format!("{follow}.toml")), text).unwrap();
        }
        File::create(place.path("host.ndjson")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn add(&self, round: usize, n_lines: usize) {
        let at = Timestamp::now() - SignedDuration::from_mins(1);
        let mut lines = String::new();
        for n in 0..n_lines {
            writeln!(
                lines,
                r#"{{"@timestamp":"{at:.3}","event":{{"id":"exec-{round}-{n}","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"web-1","os":{{"type":"linux"}}}},"process":{{"name":"sh","command_line":"sh","entity_id":"p{round}-{n}"}}}}"#
            )
            .unwrap();
        }
        let mut file = File::options().append(true).open(self.path("host.ndjson")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    fn groundtrail(&self, follow: bool, arguments: &[&str]) -> Command {
        let mut command = Command::new(bins::groundtrail());
        command.arg("--config").arg(self.path(&format!("{follow}.toml"))).args(arguments);
        command.current_dir(self.0.path()).stdin(Stdio::null()).env("HOOK_SECRET", "canary-0451");
        command
    }

    fn start(&self) -> Child {
        let log = File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = self.groundtrail(true, &["run", "--output", "none"]);
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// To the end of what there is.
    fn run(&self) -> Output {
        self.groundtrail(false, &["run", "--output", "ndjson"]).output().unwrap()
    }

    /// Every alert that the store has, by its id and number.
    fn stored(&self) -> BTreeSet<String> {
        let output = self.groundtrail(false, &["incidents", "--output", "json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn ids(documents: &[Value]) -> BTreeSet<String> {
    let id = |document: &Value| {
        let own = &document["groundtrail"]["alert"];
        format!("{}-{}", own["id"].as_str().unwrap(), own["revision"])
    };
    documents.iter().map(id).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const QUICK: &str = "retry_from = \"10ms\"\nretry_to = \"50ms\"\n";

#[test]
fn a_program_that_is_killed_again_and_again_delivers_every_alert() {
    const KILLS: usize = 12;
    const LINES: usize = 40;
    let (hook, at) = hook(7);
    let sinks = format!(
        "[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://{at}/\"\n{QUICK}\
         [[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"alerts.ndjson\"\n"
    );
    let place = Place::new(&sinks);
    for round in 0..KILLS {
        place.add(round, LINES);
        let mut run = place.start();
        thread::sleep(Duration::from_millis(150 + 97 * (round as u64 % 7)));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    // A run gives its sinks some seconds in the end; what is left by then is the next one's.
    let is_done = |run: &Output| {
        let said = stderr(run);
        said.lines().any(|line| line.contains("hook: ") && line.contains(" delivered, 0 queued"))
    };
    let last =
        std::iter::repeat_with(|| place.run()).take(20).find(is_done).expect("all of it leaves sometime");
    assert!(last.status.success(), "{}", stderr(&last));
    let text = fs::read_to_string(place.path("alerts.ndjson")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (hooked, filed) = (ids(&hook.taken.lock().unwrap()), ids(&lines));
    assert_eq!(hooked.len(), KILLS * LINES, "every alert, under one id however often it came");
    assert_eq!(hooked, filed);
}

#[test]
fn a_receiver_that_is_down_keeps_nobody_waiting_and_is_told() {
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sinks = format!(
        "[[sink]]\nname = \"siem\"\ntype = \"webhook\"\nurl = \"http://{closed}/secret-path\"\nsecret_env = \"HOOK_SECRET\"\n"
    );
    let place = Place::new(&sinks);
    place.add(0, 30);
    let output = place.run();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 30, "stdout has them all");
    let said = stderr(&output);
    assert!(said.contains("siem: 0 delivered, 30 queued"), "{said}");
    assert!(said.contains("cannot connect to 127.0.0.1"), "{said}");
    let status = place.groundtrail(false, &["status"]).output().unwrap();
    let page = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(page.contains("siem") && page.contains("failing"), "{page}");
    let tested = place.groundtrail(false, &["sink", "test", "siem"]).output().unwrap();
    assert_eq!(tested.status.code(), Some(1), "{}", stderr(&tested));
    assert!(
        stderr(&tested).contains("siem: not taken; a run would try again: cannot connect"),
        "{}",
        stderr(&tested)
    );
    let shown = place.groundtrail(false, &["config", "show"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("secret_env = \"HOOK_SECRET\""), "{shown}");
    for text in [said, page, shown, stderr(&tested)] {
        assert!(!text.contains("canary-0451"), "{text}");
    }
    assert!(!place.stored().is_empty());
}

#[test]
fn a_test_alert_arrives_and_a_wrong_name_is_told() {
    let (hook, at) = hook(0);
    let place =
        Place::new(&format!("[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://{at}/\"\n"));
    let tested = place.groundtrail(false, &["sink", "test", "hook"]).output().unwrap();
    assert!(tested.status.success(), "{}", stderr(&tested));
    let taken = hook.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0]["rule"]["name"], "groundtrail sink test");
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    let id = taken[0]["groundtrail"]["alert"]["id"].as_str().unwrap();
    assert!(said.starts_with("hook: taken by http://127.0.0.1:") && said.contains(id), "{said}");
    let wrong = place.groundtrail(false, &["sink", "test", "hok"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("no sink \"hok\"; did you mean \"hook\"?"), "{}", stderr(&wrong));
    let listed = place.groundtrail(false, &["sink", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("webhook"));
}

#[test]
fn sinks_without_a_store_are_refused_with_a_way_out() {
    let place = Place::new("[[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"alerts.ndjson\"\n");
    let config = place.path("false.toml");
    let text = fs::read_to_string(&config).unwrap().replace("[store]\npath = \"store.db\"\n", "");
    fs::write(&config, text).unwrap();
    let output = place.run();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("set [store] path, or give --store"), "{}", stderr(&output));
    let checked = place.groundtrail(false, &["check"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("[store] path is not set"));
}

#[test]
fn dead_letters_are_sent_again_and_leave_their_file_once_they_are_taken() {
    let (hook, at) = hook(0);
    let place = Place::new(&format!(
        "[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://{at}/\"\n{QUICK}\
         [[sink]]\nname = \"gone\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n{QUICK}"
    ));
    let letter = |id: &str| {
        let document = serde_json::json!({"groundtrail": {"alert": {"id": id, "revision": 2}}});
        format!(
            "{}\n",
            serde_json::json!({"@timestamp": "2026-11-02T10:00:00Z", "alert_id": id, "revision": 2, "reason": "x", "document": document})
        )
    };
    fs::create_dir(place.path("dead")).unwrap();
    for sink in ["hook", "gone"] {
        fs::write(place.path(&format!("dead/{sink}.ndjson")), letter("a") + &letter("b")).unwrap();
    }
    let resend = |sink: &str| place.groundtrail(false, &["sink", "resend", sink]).output().unwrap();
    let sent = resend("hook");
    assert!(sent.status.success(), "{}", stderr(&sent));
    let said = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(said.starts_with("hook: 2 taken by http://127.0.0.1:"), "{said}");
    let expected: BTreeSet<String> = ["a-2", "b-2"].map(str::to_owned).into();
    assert_eq!(ids(&hook.taken.lock().unwrap()), expected);
    assert!(!place.path("dead/hook.ndjson").exists());
    let again = resend("hook");
    assert!(again.status.success() && hook.taken.lock().unwrap().len() == 2, "{}", stderr(&again));
    let down = resend("gone");
    assert_eq!(down.status.code(), Some(1), "{}", stderr(&down));
    assert!(stderr(&down).contains("cannot connect to 127.0.0.1"), "{}", stderr(&down));
    assert_eq!(fs::read_to_string(place.path("dead/gone.ndjson")).unwrap(), letter("a") + &letter("b"));
}
