//! A run: its end, its state, what it says of itself.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::{call, groundtrail, rule_folder};

#[test]
fn a_run_ends_with_its_input_and_its_alerts_can_be_explained_later() {
    let folder = rule_folder("");
    let run = ["run", "--sensor", "-", "--store", "gt.db", "--rules", "rule.toml", "--no-builtin-rules"];
    let now = jiff::Timestamp::now().to_string();
    let trail = [call("1", "CreateAccessKey"), call("2", "ListUsers")].map(|call| {
        let record = call.replace("2026-11-02T10:00:00Z", &now);
        // What the sensor's pipe carries is ECS: here, as another shipper would send the call.
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        serde_json::json!({
            "@timestamp": record["eventTime"],
            "event": {"id": record["eventID"], "action": record["eventName"], "dataset": "aws.cloudtrail"},
            "data_stream": {"type": "logs", "dataset": "aws.cloudtrail", "namespace": "default"},
            "user": {"name": "mallory"},
        })
        .to_string()
    });
    let ended = groundtrail(folder.path(), &run, &format!("{}\nnot json\n{}\n", trail[0], trail[1]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let alerts: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(alerts.len(), 1, "{}", ended.stdout);
    assert!(ended.stderr.contains("1 unreadable; 1 alert"), "{}", ended.stderr);
    for line in ended.stderr.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).expect("a log line is JSON");
    }

    let again = groundtrail(folder.path(), &run, &format!("{}\n", trail[0]));
    assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{}", again.stderr);

    let id = alerts[0]["groundtrail"]["alert"]["id"].as_str().unwrap();
    let explained =
        groundtrail(folder.path(), &["explain", &id[..8], "--store", "gt.db", "-o", "pretty"], "");
    assert_eq!(explained.code, 0, "{}", explained.stderr);
    assert!(
        explained.stdout.contains("Access key created") && explained.stdout.contains(id),
        "{}",
        explained.stdout
    );
    let why = explained.stdout.split("WHY IT FIRED").nth(1).unwrap_or_default();
    for part in ["event.action is \"CreateAccessKey\"", "window ", "rule hash "] {
        assert!(why.contains(part), "{part} in {why}");
    }
    let as_json = groundtrail(folder.path(), &["explain", &id[..8], "--store", "gt.db", "-o", "ndjson"], "");
    let document: serde_json::Value = serde_json::from_str(&as_json.stdout).unwrap();
    let matched = &document["groundtrail"]["alert"]["evidence"][0]["matched"];
    assert!(matched.to_string().contains(r#""value":"CreateAccessKey""#), "{matched}");
    let unknown = groundtrail(folder.path(), &["explain", "nothing", "--store", "gt.db"], "");
    assert_eq!(unknown.code, 1);
    assert_eq!(groundtrail(folder.path(), &["explain", "x", "--store", "nowhere.db"], "").code, 3);
    assert!(!folder.path().join("nowhere.db").exists());
}

const SEQUENCE: &str = r#"
[rule]
name = "Connects after curl"
rule_id = "5f0c2d6e-7f0c-4f0c-8f0c-0123456789ab"
description = "d"
type = "eql"
language = "eql"
severity = "low"
risk_score = 21
query = '''
sequence by host.id with maxspan=1h
  [process where process.name == "curl"]
  [network where event.action == "connection_attempted"]
'''
"#;

#[test]
fn runs_over_one_batch_each_join_where_they_are_told_to() {
    let folder = rule_folder("");
    fs::write(folder.path().join("sequence.toml"), SEQUENCE).unwrap();
    let now = jiff::Timestamp::now();
    let event = |id: &str, seconds: i64, category: &str, action: &str| {
        let event = serde_json::json!({
            "@timestamp": (now + jiff::SignedDuration::from_secs(seconds - 60)).to_string(),
            "event": {"id": id, "action": action, "category": [category]},
            "host": {"id": "i-1"},
            "process": {"name": "curl"},
        });
        format!("{event}\n")
    };
    let batches = [event("a", 0, "process", "exec"), event("b", 1, "network", "connection_attempted")];
    let told = |store: &str, more: &[&str]| -> Vec<usize> {
        let run =
            ["run", "--sensor", "-", "--store", store, "--rules", "sequence.toml", "--no-builtin-rules"];
        let run = [&run[..], more].concat();
        let told = |batch: &String| {
            let ended = groundtrail(folder.path(), &run, batch);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            ended.stdout.lines().count()
        };
        batches.iter().map(told).collect()
    };
    assert_eq!(told("ends.db", &["-o", "ndjson"]), [0, 0], "a run that ends has no more to wait for");
    assert_eq!(told("open.db", &["-o", "ndjson", "--keep-open"]), [0, 1]);
    let nowhere = groundtrail(folder.path(), &["run", "--sensor", "-", "--keep-open"], "");
    assert!(nowhere.code == 2 && nowhere.stderr.contains("no store to keep it in"), "{}", nowhere.stderr);
}

#[test]
fn a_run_that_follows_a_folder_ends_well_when_it_is_told_to() {
    let folder = rule_folder("");
    fs::create_dir(folder.path().join("trail")).unwrap();
    fs::write(folder.path().join("trail/one.json"), call("1", "CreateAccessKey")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "--cloudtrail", "trail", "--rules", "rule.toml", "--no-builtin-rules", "-o", "ndjson"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut first).unwrap();
    assert!(first.contains("Access key created"), "{first}");
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("1 alert"), "{stderr}");
}

#[test]
fn known_endpoints_of_the_configuration_are_no_news() {
    let folder = tempfile::tempdir().unwrap();
    let event = serde_json::json!({
        "@timestamp": "2026-11-02T10:00:00Z",
        "event": {"id": "1", "kind": "event", "category": ["process"], "type": ["start"], "action": "exec",
            "dataset": "endpoint.events.process"},
        "data_stream": {"type": "logs", "dataset": "endpoint.events.process", "namespace": "default"},
        "host": {"id": "i-0123456789abcdef0", "os": {"type": "linux"}},
        "process": {"entity_id": "e1", "pid": 7, "name": "aws", "args": ["aws", "--endpoint-url", "https://10.1.2.3:9000", "s3", "ls"],
            "command_line": "aws --endpoint-url https://10.1.2.3:9000 s3 ls"},
    });
    fs::write(folder.path().join("host.ndjson"), event.to_string()).unwrap();
    let n_alerts = |config: &str| {
        fs::write(folder.path().join("groundtrail.toml"), config).unwrap();
        let ended = groundtrail(
            folder.path(),
            &["-c", "groundtrail.toml", "replay", "--host", "host.ndjson", "--final"],
            "",
        );
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.lines().count()
    };
    assert_eq!(n_alerts(""), 1);
    assert_eq!(n_alerts("[endpoints]\nknown = [\"10.0.0.0/8\"]"), 0);
    assert_eq!(n_alerts("[endpoints]\nknown = [\"11.0.0.0/8\", \"minio.example.net\"]"), 1);
}

#[test]
fn an_exception_that_does_not_compile_stops_the_run_before_it_starts() {
    let folder = rule_folder("");
    let config = "[[exceptions]]\nrule_id = \"x\"\nquery = \"user.nam: y\"\nreason = \"z\"\n";
    fs::write(folder.path().join("groundtrail.toml"), config).unwrap();
    fs::write(folder.path().join("trail.json"), call("1", "CreateAccessKey")).unwrap();
    let args = ["-c", "groundtrail.toml", "replay", "--cloudtrail", "trail.json"];
    let ended = groundtrail(folder.path(), &args, "");
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    for part in ["groundtrail.toml:3:10", "^^^^^^^^", "user.name"] {
        assert!(ended.stderr.contains(part), "{part} is missing: {}", ended.stderr);
    }
}

/// One request, as `curl` makes it.
pub(crate) fn get(at: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer
}

#[test]
fn a_run_says_how_it_is_and_status_reads_it() {
    let folder = rule_folder("");
    fs::create_dir(folder.path().join("trail")).unwrap();
    let config = "[store]\npath = \"gt.db\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
                  [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\n\
                  [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\n";
    fs::write(folder.path().join("gt.toml"), config).unwrap();
    let repeated = format!("{}\n{}\nnot json\n", call("1", "CreateAccessKey"), call("1", "CreateAccessKey"));
    fs::write(folder.path().join("trail/one.json"), repeated).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "-c", "gt.toml", "--rules", "rule.toml", "--no-builtin-rules", "-o", "ndjson"])
        .current_dir(folder.path())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let said = lines.by_ref().map(Result::unwrap).find(|line| line.contains("\"metrics\"")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let at = said["listen"].as_str().unwrap().to_owned();
    // What else it says has to be read, too, or it would wait for its reader.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));

    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let metrics = loop {
        let metrics = get(&at, "/metrics");
        if metrics.contains("groundtrail_alerts_total{outcome=\"new\"} 1")
            || std::time::Instant::now() > until
        {
            break metrics;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    for line in [
        "groundtrail_alerts_total{outcome=\"new\"} 1",
        "outcome=\"duplicate\"} 1",
        "outcome=\"rejected\"} 1",
        "groundtrail_ready 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(get(&at, "/healthz").starts_with("HTTP/1.1 200"));
    let url = format!("http://{at}");
    let status = groundtrail(folder.path(), &["status", "--url", &url], "");
    assert_eq!(status.code, 4, "{}{}", status.stdout, status.stderr);
    assert!(status.stdout.contains("host.ndjson\" cannot be read"), "{}", status.stdout);

    fs::write(folder.path().join("host.ndjson"), "").unwrap();
    while !get(&at, "/readyz").starts_with("HTTP/1.1 200") {
        assert!(std::time::Instant::now() < until, "never ready: {}", get(&at, "/readyz"));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let status = groundtrail(folder.path(), &["status", "--url", &url, "-o", "json"], "");
    assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
    let json: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(json["sources"][0]["counts"]["received"], 3, "{json}");
    let rules = ["--config", "gt.toml"];
    let top = groundtrail(
        folder.path(),
        &[&["top", "--url", &url, "-n", "2", "--interval", "1"], &rules[..]].concat(),
        "",
    );
    assert_eq!(top.code, 0, "{}", top.stderr);
    // How wide a column is, is not what is tested.
    let shown = top.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "well, from http://",
        "cloudtrail trail 0.0 ",
        "5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10",
        "1 new, 0 revised",
    ] {
        assert!(shown.contains(part), "{part} is missing: {}", top.stdout);
    }
    assert!(!top.stdout.contains('\x1b'), "a pipe gets no cursor movements");

    let changed = format!("{config}[[source]]\ntype = \"guardduty\"\npath = \"findings\"\n");
    fs::write(folder.path().join("gt.toml"), changed).unwrap();
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    while !get(&at, "/metrics").contains("reloads_total{outcome=\"taken\"} 1") {
        assert!(std::time::Instant::now() < until, "never reloaded");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success() && child.wait().unwrap().success());
    let said = rest.join().unwrap();
    assert!(said.contains("1 repeated, 1 unreadable"), "{said}");
    assert!(said.contains("[[source]] of the configuration has changed"), "{said}");
    assert!(
        !said.contains("output or metrics of the configuration"),
        "flags are no change of the file: {said}"
    );
    assert_eq!(groundtrail(folder.path(), &["status", "--url", &url], "").code, 3);
    let left = groundtrail(folder.path(), &["status", "--store", "gt.db"], "");
    assert_eq!(left.code, 0, "{}{}", left.stdout, left.stderr);
    for part in ["well, from gt.db", "alerts in the store: 1 medium"] {
        assert!(left.stdout.contains(part), "{part}: {}", left.stdout);
    }
    assert_eq!(groundtrail(folder.path(), &["status", "--store", "nowhere.db"], "").code, 3);
    assert!(!folder.path().join("nowhere.db").exists());
    assert_eq!(groundtrail(folder.path(), &["status"], "").code, 2);
}

const NEW_TERM: &str = r#"
[rule]
name = "First call of a kind"
rule_id = "5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a77"
description = "d"
type = "new_terms"
language = "kuery"
index = ["logs-aws.cloudtrail-*"]
severity = "medium"
risk_score = 47
query = 'event.provider:"iam.amazonaws.com"'
[rule.new_terms]
field = "new_terms_fields"
value = ["user.name", "event.action"]
[[rule.new_terms.history_window_start]]
field = "history_window_start"
value = "now-10d"
"#;

#[test]
fn a_first_run_knows_what_was_seeded_and_says_what_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("rule.toml"), NEW_TERM).unwrap();
    let at = |line: String, day: u32| line.replace("2026-11-02T", &format!("2026-11-{day:02}T"));
    let history = [at(call("1", "ListUsers"), 1), at(call("2", "GetUser"), 8)].join("\n");
    fs::write(path.join("history.ndjson"), history).unwrap();
    let now = [at(call("3", "ListUsers"), 12), at(call("4", "GetUser"), 12), at(call("5", "CreateUser"), 12)]
        .join("\n");
    fs::create_dir(path.join("trail")).unwrap();
    fs::write(path.join("trail/now.json"), now).unwrap();
    fs::write(
        path.join("groundtrail.toml"),
        "[store]\npath = \"store.db\"\n[rules]\nbuiltin = false\npaths = [\"rule.toml\"]\n[[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\nfollow = false\n",
    )
    .unwrap();
    let told = || {
        let ended = groundtrail(path, &["run", "-c", "groundtrail.toml", "-o", "ndjson"], "");
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let mut told: Vec<(String, String)> = Vec::new();
        for line in ended.stdout.lines() {
            let alert: serde_json::Value = serde_json::from_str(line).unwrap();
            let action =
                alert["groundtrail"]["alert"]["evidence"][0]["event"]["event"]["action"].as_str().unwrap();
            if !told.iter().any(|(held, _)| held == action) {
                told.push((action.to_owned(), alert["groundtrail"]["alert"]["could_not_see"].to_string()));
            }
        }
        told.sort();
        told
    };
    let fresh = told();
    assert_eq!(
        fresh.iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(),
        ["CreateUser", "GetUser", "ListUsers"]
    );
    assert!(fresh[0].1.contains("of its 10 d of history the rule knows nothing"), "{}", fresh[0].1);
    fs::remove_file(path.join("store.db")).unwrap();

    let seeded = groundtrail(path, &["seed", "-c", "groundtrail.toml", "--events", "history.ndjson"], "");
    assert_eq!(seeded.code, 0, "{}", seeded.stderr);
    assert!(seeded.stdout.contains("2 events learned by 1 rules in store.db"), "{}", seeded.stdout);
    assert!(
        seeded.stdout.contains("First call of a kind  2      2026-11-01T10:00:00.000Z  10 d"),
        "{}",
        seeded.stdout
    );
    let known = told();
    assert_eq!(
        known.iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(),
        ["CreateUser", "ListUsers"],
        "what was last seen eleven days before is news again, as upstream"
    );
    assert!(!known[0].1.contains("history"), "the whole window is known: {}", known[0].1);

    let nothing = groundtrail(path, &["seed", "-c", "groundtrail.toml"], "");
    assert!(nothing.code == 2 && nothing.stderr.contains("give --events PATH"), "{}", nothing.stderr);
    let nowhere = groundtrail(path, &["seed", "--events", "history.ndjson"], "");
    assert!(nowhere.code == 2 && nowhere.stderr.contains("give --store PATH"), "{}", nowhere.stderr);
    let until =
        ["seed", "-c", "groundtrail.toml", "--events", "history.ndjson", "--until", "2026-11-05T00:00:00Z"];
    assert!(groundtrail(path, &until, "").stdout.contains("1 events learned"));
}

#[test]
fn settings_of_a_sink_that_cannot_be_used_are_the_configurations_fault() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("host.ndjson"), "").unwrap();
    fs::write(
        folder.path().join("gt.toml"),
        "[store]\npath = \"gt.db\"\n[[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = false\n\
         [[sink]]\nname = \"siem\"\ntype = \"webhook\"\nurl = \"https://siem.example/\"\ntoken_file = \"token\"\n",
    )
    .unwrap();
    let missing = groundtrail(folder.path(), &["run", "-c", "gt.toml"], "");
    assert_eq!(missing.code, 3, "the file may come yet: {}", missing.stderr);
    fs::write(folder.path().join("token"), "\n").unwrap();
    let refused = groundtrail(folder.path(), &["run", "-c", "gt.toml"], "");
    assert_eq!(refused.code, 2, "the unit must not try it again and again: {}", refused.stderr);
    assert!(
        refused.stderr.contains("the sink \"siem\"") && refused.stderr.contains("it is empty"),
        "{}",
        refused.stderr
    );
}
