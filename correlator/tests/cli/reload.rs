//! Rules, exceptions and lists that change under a run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{RULE, TIME, call, groundtrail, rule_folder};

/// Reads lines of what a child says until one has the text.
pub(crate) fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) {
    let mut seen = Vec::new();
    for line in lines {
        let line = line.unwrap();
        if line.contains(text) {
            return;
        }
        seen.push(line);
    }
    panic!("never said \"{text}\", but {seen:#?}");
}

/// A time that a run takes for now.
fn ago(seconds: i64) -> String {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[test]
fn rules_are_reloaded_and_a_broken_set_is_not_taken() {
    let folder = rule_folder("");
    let rule = fs::read_to_string(folder.path().join("rule.toml")).unwrap();
    fs::create_dir(folder.path().join("trail")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "--cloudtrail", "trail", "--rules", "rule.toml", "--no-builtin-rules", "-o", "ndjson"])
        .args(["--store", "gt.db"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let hang_up =
        |pid: u32| assert!(Command::new("kill").args(["-HUP", &pid.to_string()]).status().unwrap().success());
    wait_for(&mut said, "watching");
    fs::write(folder.path().join("trail/one.json"), call("1", "CreateAccessKey")).unwrap();
    wait_for(&mut told, "Access key created");

    fs::write(folder.path().join("rule.toml"), rule.replace("CreateAccessKey", "(((")).unwrap();
    hang_up(child.id());
    wait_for(&mut said, "not reloaded");
    fs::write(folder.path().join("trail/two.json"), call("2", "CreateAccessKey")).unwrap();
    wait_for(&mut told, "Access key created");

    let other = rule.replace("CreateAccessKey", "DeleteTrail").replace("Access key created", "Trail deleted");
    fs::write(folder.path().join("rule.toml"), other).unwrap();
    hang_up(child.id());
    wait_for(&mut said, "reloaded");
    fs::write(folder.path().join("trail/three.json"), call("3", "DeleteTrail")).unwrap();
    wait_for(&mut told, "Trail deleted");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    wait_for(&mut said, "ended: 3 events");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A run that is told to load anew.
struct Watching {
    child: std::process::Child,
    told: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
    said: std::io::Lines<std::io::BufReader<std::process::ChildStderr>>,
    n_files: u32,
}

impl Watching {
    fn signal(&self, signal: &str) {
        let asked = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
    }

    /// Writes the configuration, has it loaded, and waits for what is said of that.
    fn configure(&mut self, folder: &Path, text: &str, expect: &str) {
        fs::write(folder.join("gt.toml"), text).unwrap();
        self.signal("-HUP");
        wait_for(&mut self.said, expect);
    }

    fn deliver(&mut self, folder: &Path, calls: &[String]) {
        self.n_files += 1;
        fs::write(folder.join(format!("trail/{}.json", self.n_files)), calls.join("\n")).unwrap();
    }

    /// The next new alert: its rule and the call it is about.
    fn next(&mut self) -> (String, String) {
        let mut alerts = self.told.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let is_new = |alert: &serde_json::Value| alert["groundtrail"]["alert"]["revision"] == 1;
        let alert: serde_json::Value = alerts.find(is_new).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let evidence = alert["groundtrail"]["alert"]["evidence"].as_array().unwrap();
        (text(&alert["rule"]["name"]), text(&evidence.last().unwrap()["event"]["event"]["id"]))
    }
}

#[test]
fn exceptions_drop_lists_and_indicators_are_reloaded_and_a_half_seen_sequence_survives() {
    let dir = rule_folder("");
    let folder = dir.path();
    fs::create_dir(folder.join("trail")).unwrap();
    let sequence = RULE
        .replace("5a0e6a52-64f5", "5a0e6a52-64f6")
        .replace("Access key created", "User made and used")
        .replace("type = \"query\"\nlanguage = \"kuery\"", "type = \"eql\"\nlanguage = \"eql\"")
        .replace(
            "data_stream.dataset:\"aws.cloudtrail\" and event.action:CreateAccessKey",
            "sequence by aws.cloudtrail.user_identity.arn with maxspan=1h\n  [any where event.action == \"CreateUser\"]\n  [any where event.action == \"ListUsers\"]",
        );
    let listed = RULE
        .replace("5a0e6a52-64f5", "5a0e6a52-64f7")
        .replace("Access key created", "Listed address")
        .replace("logs-aws.cloudtrail-*", "logs-*")
        .replace(
            "data_stream.dataset:\"aws.cloudtrail\" and event.action:CreateAccessKey",
            "threat.indicator.ip:*",
        );
    let [sequence, listed] =
        [sequence, listed].map(|rule| rule.split("[[tests]]").next().unwrap().to_owned());
    fs::write(folder.join("sequence.toml"), sequence).unwrap();
    fs::write(folder.join("listed.toml"), listed).unwrap();
    let base = "[store]\npath = \"gt.db\"\n[output]\nformat = \"ndjson\"\n\
                [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\n\
                [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\n\
                [rules]\nbuiltin = false\npaths = [\"rule.toml\", \"sequence.toml\", \"listed.toml\"]\n";
    fs::write(folder.join("gt.toml"), base).unwrap();
    fs::write(folder.join("host.ndjson"), "").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "-c", "gt.toml"])
        .current_dir(folder)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let said = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let mut run = Watching { child, told, said, n_files: 0 };
    // A half-seen sequence is kept for as long as it could still be completed, by the clock.
    let at = |seconds: i64, id: &str, name: &str, user: &str| {
        call(id, name).replace("mallory", user).replace(TIME, &ago(seconds))
    };
    let of = |id: &str, name: &str, user: &str| at(60, id, name, user);
    let told = |rule: &str, id: &str| (rule.to_owned(), id.to_owned());
    wait_for(&mut run.said, "watching");
    run.deliver(folder, &[of("u1", "CreateUser", "mallory"), of("k1", "CreateAccessKey", "mallory")]);
    assert_eq!(run.next(), told("Access key created", "k1"));

    // An exception that is wrong is not taken, one that is right is, and an alert to come is no longer one.
    let exception = |query: &str| {
        format!(
            "{base}[[exceptions]]\nrule_id = \"5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10\"\nquery = '{query}'\nreason = \"known\"\n"
        )
    };
    run.configure(folder, &exception("user.name: ((("), "not reloaded");
    run.deliver(folder, &[of("k2", "CreateAccessKey", "mallory")]);
    assert_eq!(run.next(), told("Access key created", "k2"), "the old set is in force");
    run.configure(folder, &exception("user.name: mallory"), "\"reloaded\"");
    run.deliver(folder, &[of("k3", "CreateAccessKey", "mallory"), of("k4", "CreateAccessKey", "bob")]);
    assert_eq!(run.next(), told("Access key created", "k4"));

    // The same of drop lists.
    let drops = format!("{base}[drop]\nbuiltin = false\npaths = [\"drop.toml\"]\n");
    fs::write(folder.join("drop.toml"), "[[drop]]\nname = \"noise\"\nquery = 'user.name:'\nreason = \"x\"\n")
        .unwrap();
    run.configure(folder, &drops, "not reloaded");
    fs::write(
        folder.join("drop.toml"),
        "[[drop]]\nname = \"noise\"\nquery = 'user.name: carol'\nreason = \"x\"\n",
    )
    .unwrap();
    run.configure(folder, &drops, "\"reloaded\"");
    run.deliver(folder, &[of("k5", "CreateAccessKey", "carol"), of("k6", "CreateAccessKey", "mallory")]);
    assert_eq!(run.next(), told("Access key created", "k6"), "and the exception went with its configuration");

    // And of indicator lists.
    let lists = format!("{drops}[[indicators]]\npath = \"feed.txt\"\nprovider = \"feed\"\n");
    run.configure(folder, &lists, "not reloaded");
    fs::write(folder.join("feed.txt"), "198.51.100.23\n").unwrap();
    run.configure(folder, &lists, "\"reloaded\"");
    let connected = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"id":"l1","category":["network"],"type":["start"],"action":"connection_attempted","dataset":"endpoint.events.network"},"data_stream":{"type":"logs","dataset":"endpoint.events.network","namespace":"default"},"host":{"id":"web-1","os":{"type":"linux"}},"destination":{"ip":"198.51.100.23","port":443}}"#;
    let connected = connected.replace(TIME, &ago(30));
    fs::write(folder.join("host.ndjson"), format!("{connected}\n")).unwrap();
    assert_eq!(run.next(), told("Listed address", "l1"));

    // What was half-seen before all that is still half-seen.
    run.configure(folder, base, "\"reloaded\"");
    run.deliver(folder, &[at(30, "u2", "ListUsers", "mallory")]);
    assert_eq!(run.next(), told("User made and used", "u2"));
    run.signal("-TERM");
    wait_for(&mut run.said, "1 dropped by the drop list");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
}

#[test]
fn nothing_to_watch_is_a_mistake_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let ended = groundtrail(folder.path(), &["run"], "");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("nothing to watch"), "{}", ended.stderr);
}

#[test]
fn a_list_that_changes_is_read_again_by_itself_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::create_dir(folder.join("trail")).unwrap();
    let config = "[store]\npath = \"gt.db\"\n[rules]\n[[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\n\
                  [[indicators]]\npath = \"feed.txt\"\nprovider = \"feed\"\n";
    fs::write(folder.join("gt.toml"), config).unwrap();
    fs::write(folder.join("feed.txt"), "192.0.2.1\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "-c", "gt.toml", "-o", "ndjson"])
        .current_dir(folder)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    wait_for(&mut said, "watching");
    let listed = "AWS call from an address on a threat indicator list";
    let deliver = |name: &str, from: &str| {
        let text = call(name, "ListUsers").replace("198.51.100.23", from).replace(TIME, &ago(30));
        fs::write(folder.join(format!("trail/{name}.json")), text).unwrap();
    };
    fs::write(folder.join("feed.txt"), "192.0.2.1\n198.51.100.23 # new\n").unwrap();
    wait_for(&mut said, "lists have changed and were read again");
    deliver("one", "198.51.100.23");
    wait_for(&mut told, listed);
    // No text at all.
    fs::write(folder.join("feed.txt"), b"\xff\xfe\x00").unwrap();
    wait_for(&mut said, "the lists are not taken over");
    deliver("two", "192.0.2.1");
    wait_for(&mut told, listed);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
