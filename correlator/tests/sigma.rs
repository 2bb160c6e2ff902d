//! Sigma rules on a recorded trace, through the whole program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const RULES: &str = "title: Instance metadata asked for
id: 7a3f0c1e-5f0b-4b77-9a3e-2f1d6c9b8e01
name: imds
level: medium
tags: [attack.credential-access, attack.t1552.005]
logsource: {product: linux, category: network_connection}
detection:
  selection:
    DestinationIp: 169.254.169.254
    Initiated: 'true'
  condition: selection
---
title: Curl run
id: 7a3f0c1e-5f0b-4b77-9a3e-2f1d6c9b8e03
name: curl
logsource: {product: linux, category: process_creation}
detection:
  selection: {Image|endswith: /CURL}
  condition: selection
tests:
  - name: curl of any path fires
    expect: 1
    events: |
      {\"@timestamp\": \"2026-01-01T00:00:00Z\", \"event\": {\"category\": [\"process\"], \"type\": [\"start\"], \"action\": \"exec\"}, \"process\": {\"executable\": \"/opt/curl\"}}
  - name: another tool does not
    expect: 0
    events: |
      {\"@timestamp\": \"2026-01-01T00:00:00Z\", \"event\": {\"category\": [\"process\"], \"type\": [\"start\"], \"action\": \"exec\"}, \"process\": {\"executable\": \"/opt/curly\"}}
";

const CORRELATION: &str = "---
title: A tool, then instance metadata, on one host
id: 7a3f0c1e-5f0b-4b77-9a3e-2f1d6c9b8e02
level: high
correlation:
  type: temporal_ordered
  rules: [curl, imds]
  group-by: [Computer]
  timespan: 5m
";

fn trace(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/traces/system3").join(file)
}

fn groundtrail(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(args)
        .env_remove("GROUNDTRAIL_CONFIG")
        .output()
        .expect("the program runs")
}

fn alerts(rules: &str, shuffle: Option<&str>) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.yml");
    std::fs::write(&file, rules).expect("written");
    let (host, calls) = (trace("host.ndjson"), trace("cloudtrail.json"));
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (host, calls, file) = (path(&host), path(&calls), path(&file));
    let mut args =
        vec!["replay", "--host", &host, "--cloudtrail", &calls, "--no-builtin-rules", "--rules", &file];
    args.extend(["--final", "-o", "ndjson"]);
    args.extend(shuffle.into_iter().flat_map(|seed| ["--shuffle", seed]));
    let output = groundtrail(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_detection_fires_on_a_recorded_trace() {
    let alerts = alerts(RULES, None);
    let of = |name: &str| alerts.iter().filter(|alert| alert["rule"]["name"] == name).collect::<Vec<_>>();
    let imds = of("Instance metadata asked for");
    assert!(!imds.is_empty() && !of("Curl run").is_empty(), "{alerts:?}");
    assert_eq!(imds[0]["threat"][0]["technique"][0]["subtechnique"][0]["id"], "T1552.005");
    assert_eq!(imds[0]["groundtrail"]["alert"]["severity"], "medium");
}

#[test]
fn a_correlation_fires_alike_in_any_order_and_its_rules_fall_silent() {
    let rules = format!("{RULES}{CORRELATION}");
    let first = alerts(&rules, None);
    assert_eq!(first.len(), 1, "{first:?}");
    let alert = &first[0]["groundtrail"]["alert"];
    assert_eq!(first[0]["rule"]["id"], "7a3f0c1e-5f0b-4b77-9a3e-2f1d6c9b8e02");
    assert_eq!((&alert["severity"], &alert["columns"]["rules"]), (&Value::from("high"), &Value::from(2)));
    assert_eq!(
        (&alert["evidence"][0]["stage"], &alert["evidence"][1]["stage"]),
        (&"step 1".into(), &"step 2".into())
    );
    for seed in ["1", "2", "3"] {
        assert_eq!(alerts(&rules, Some(seed)), first, "order {seed}");
    }
}

#[test]
fn cases_in_a_sigma_file_are_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.yml");
    std::fs::write(&file, RULES).expect("written");
    let path = file.to_str().expect("UTF-8");
    assert!(groundtrail(&["test", path]).status.success());
    std::fs::write(&file, RULES.replace("expect: 0", "expect: 1")).expect("written");
    assert!(!groundtrail(&["test", path]).status.success());
}
