//! The five systems on this machine's own kernel: real sensor, real correlator, real clients, one test each.
//!
//! Feature `live-kernel`; needs root. Where the kernel does not allow it, each test says SKIPPED and why.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::watch::{self, Watch};
use harness::{bins, netns, skip, world};
use serde_json::Value;

/// Starts watching, or says why not.
fn watch() -> Option<Watch> {
    match watch::obstacle() {
        None => Some(Watch::start()),
        Some(reason) => {
            skip::say(&reason);
            None
        }
    }
}

fn holds(alert: &Value, needles: &[&str]) -> bool {
    let text = alert.to_string();
    needles.iter().all(|needle| text.contains(needle))
}

#[test]
fn a_canary_comes_back_from_the_kernel_as_an_alert() {
    let Some(watch) = watch() else { return };
    let ended = watch.groundtrail(&["selftest", "-o", "json", "--sensor-socket", "/nowhere"]);
    let said =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(0), "{said}");
    let hops: Value = serde_json::from_slice(&ended.stdout).expect("it is asked for as JSON");
    let back = hops.as_array().and_then(|hops| hops.last()).expect("there are hops");
    assert_eq!((&back["hop"], &back["state"]), (&"back".into(), &"passed".into()), "{said}");
    println!("the canary took {} ms there and back", back["after_ms"]);
}

#[test]
fn system_1_new_endpoint_fires_once_and_a_known_one_never() {
    const RULE: &str = "command-and-control/aws_cli_endpoint_url";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system1"]);
    let alerts = watch.alerts(RULE, 1, |_| true);
    assert!(holds(&alerts[0], &[netns::ROGUE[0], "--endpoint-url", "s3 cp backup.txt"]), "{:#}", alerts[0]);
    assert_eq!(watch.count_after_settling(RULE), 1, "the second use of the endpoint stays quiet");

    watch.play(&["system1-forms"]);
    let alerts = watch.alerts(RULE, 3, |_| true);
    for endpoint in &netns::ROGUE[1..] {
        assert!(alerts.iter().any(|alert| holds(alert, &[endpoint])), "no alert names {endpoint}");
    }

    watch.play(&["system1-known"]);
    assert_eq!(watch.count_after_settling(RULE), 3, "the allow-list is honoured");
}

#[test]
fn system_2_six_calls_in_a_window_fire_and_five_do_not() {
    const RULE: &str = "discovery/aws_cli_discovery_burst";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system2-five"]);
    assert_eq!(watch.count_after_settling(RULE), 0);

    watch.play(&["system2"]);
    let alerts = watch.alerts(RULE, 1, |alert| holds(alert, &["describe-instances", "list-buckets"]));
    let calls = ["DescribeInstances", "ListUsers", "ListBuckets", "ListFunctions", "ListKeys", "ListTables"];
    assert!(holds(&alerts[0], &calls), "{:#}", alerts[0]);
    let caller = format!("assumed-role/{}/{}", world::ROLE, world::INSTANCE_ID);
    assert!(holds(&alerts[0], &[&caller, "aws ec2 describe-instances"]), "{:#}", alerts[0]);
}

#[test]
fn system_3_metadata_theft_fires_and_a_listed_agent_does_not() {
    const RULE: &str = "credential-access/unusual_metadata_request";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system3-agent"]);
    assert_eq!(watch.count_after_settling(RULE), 0);

    watch.play(&["system3"]);
    let alerts = watch.alerts(RULE, 1, |_| true);
    assert!(holds(&alerts[0], &["curl", netns::IMDS, "/latest/"]), "{:#}", alerts[0]);
    assert_eq!(alerts[0]["host"]["id"], world::INSTANCE_ID);
}

#[test]
fn system_4_send_command_shows_its_sender_and_what_then_ran() {
    const RULE: &str = "execution/ssm_send_command";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system4"]);
    let alerts = watch.alerts(RULE, 1, |alert| holds(alert, &["uname -a"]));
    let alert = &alerts[0];
    assert!(holds(alert, &["user/mallory", "HIDDEN_DUE_TO_SECURITY_REASONS"]), "{alert:#}");
    assert!(holds(alert, &["ssm-document-worker", "_script.sh", "ls /var/log/amazon"]), "{alert:#}");
    assert_eq!(alerts.len(), 1, "one alert with both halves");
}

#[test]
fn system_5_each_row_of_the_catalogue_fires() {
    let Some(mut watch) = watch() else { return };
    watch.play(&["system5"]);
    for rule in [
        "initial-access/compromised_key_quarantined",
        "persistence/ec2_key_pair_created",
        "persistence/ssh_public_key_pushed",
        "persistence/serial_console_key_pushed",
        "persistence/identity_provider_created",
        "persistence/identity_provider_changed",
        "defense-evasion/identity_provider_deleted",
        "persistence/iam_user_created",
        "persistence/iam_login_profile_created",
        "persistence/iam_access_key_created",
        "persistence/iam_password_changed",
        "defense-evasion/flow_logs_deleted",
        "defense-evasion/trail_logging_stopped",
        "defense-evasion/trail_changed",
        "defense-evasion/trail_deleted",
        "defense-evasion/guardduty_detector_changed",
        "defense-evasion/guardduty_ip_set_created",
        "defense-evasion/guardduty_detector_deleted",
        "exfiltration/instance_exported",
        "impact/instance_launched_with_user_data",
        "discovery/ec2_inventory_sweep",
        "external/guardduty_finding",
        "command-and-control/flow_matches_indicator",
    ] {
        let alerts = watch.alerts(rule, 1, |_| true);
        assert_eq!(alerts.len(), 1, "{rule} fires once");
    }
}

/// Records a scene, with the ids of keys switched on: its events, and every file that the recording left.
fn recorded(scene: &str, folder: &Path) -> (Vec<Value>, Vec<Vec<u8>>) {
    let config = folder.join("sensor.toml");
    std::fs::write(&config, "[host]\nid = \"live-test\"\n[metadata]\naccess_key_ids = true\n")
        .expect("written");
    let recording = folder.join("recording");
    let mut sensor = Command::new(bins::sensor())
        .args(["record", "--for", "120s", "--config"])
        .args([&config, Path::new("-o"), &recording])
        .stdin(Stdio::null())
        .spawn()
        .expect("the sensor starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !recording.join("ring.bin").exists() {
        assert!(Instant::now() < deadline, "the recorder does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut stage = Command::new(bins::stage());
    stage.args(["play", scene, "--cloudtrail"]).arg(folder.join("cloudtrail"));
    if let Some(aws) = std::env::var_os("GROUNDTRAIL_AWS_CLI") {
        stage.arg("--aws").arg(aws);
    }
    let played = stage.stdout(Stdio::null()).status().expect("the stage starts");
    netns::run("sh", &["-c", &format!("kill -TERM {}", sensor.id())]).expect("it is there");
    assert!(sensor.wait().expect("a child").success() && played.success());
    let files: Vec<Vec<u8>> =
        ["host.ndjson", "ring.bin"].map(|name| std::fs::read(recording.join(name)).expect("recorded")).into();
    let lines = String::from_utf8(files[0].clone()).expect("text");
    (lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(), files)
}

#[test]
fn words_with_the_metadata_service_are_told_and_no_secret_of_theirs_is() {
    if let Some(reason) = watch::obstacle() {
        skip::say(&reason);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (events, files) = recorded("metadata-words", folder.path());
    let of = |action: &str, name: &str| -> Vec<[String; 4]> {
        let is_it = |event: &&Value| event["event"]["action"] == action && event["process"]["name"] == name;
        let text = |event: &Value, path: &str| {
            event.pointer(path).map_or(String::new(), |value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let parts = [
            "/http/request/method",
            "/url/path",
            "/groundtrail/imds/version",
            "/groundtrail/imds/token_header",
        ];
        events.iter().filter(is_it).map(|event| parts.map(|path| text(event, path))).collect()
    };
    let keys = format!("/latest/meta-data/iam/security-credentials/{}", world::ROLE);
    let expect = [
        ["GET", &keys, "1.0", "false"],
        ["PUT", "/latest/api/token", "2.0", "false"],
        ["GET", &keys, "2.0", "true"],
        ["GET", "/latest/meta-data/ami-id", "1.0", "false"],
        ["GET", "/latest/meta-data/instance-id", "1.0", "false"],
    ];
    assert_eq!(of("metadata_request", "curl"), expect.map(|parts| parts.map(str::to_owned)));
    let by_cli = of("metadata_request", "aws");
    assert!(by_cli.iter().any(|parts| parts[0] == "PUT" && parts[1] == "/latest/api/token"), "{by_cli:?}");
    assert!(by_cli.iter().any(|parts| parts[1] == keys && parts[3] == "true"), "{by_cli:?}");

    let handed_out: Vec<&Value> =
        events.iter().filter(|event| event["event"]["action"] == "metadata_credentials").collect();
    let keys_of = |name: &str| -> Vec<&Value> {
        let of_program = handed_out.iter().filter(|event| event["process"]["name"] == name);
        of_program.map(|event| &event["groundtrail"]["link"]["access_key_id"][0]).collect()
    };
    let (first, second) = (world::instance_role(1), world::instance_role(2));
    assert_eq!(keys_of("curl"), [&first.access_key, &second.access_key]);
    assert_eq!(keys_of("aws"), [&second.access_key]);

    let token = first.session_token.expect("a role's session has one");
    for canary in
        [&first.secret, &second.secret, &token, second.session_token.as_ref().expect("as above"), "AQAEA"]
    {
        for file in &files {
            let holds = file.windows(canary.len()).any(|bytes| bytes == canary.as_bytes());
            assert!(!holds, "a secret is in what was recorded");
        }
    }
}
