//! The program as people call it: what it prints where, and with which exit code it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and these helpers are no tests by name"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

#[track_caller]
fn groundtrail(folder: &Path, args: &[&str], stdin: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_printed_default_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let printed = groundtrail(folder.path(), &["config", "default"], "");
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    fs::write(folder.path().join("groundtrail.toml"), &printed.stdout).unwrap();
    let shown = groundtrail(folder.path(), &["config", "show", "--config", "groundtrail.toml"], "");
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert_eq!(shown.stdout, groundtrail(folder.path(), &["config", "show"], "").stdout);
}

#[test]
fn a_wrong_configuration_is_shown_with_a_caret_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("groundtrail.toml"), "[rules]\nbuilt_in = false\n").unwrap();
    let shown = groundtrail(folder.path(), &["config", "show", "-c", "groundtrail.toml"], "");
    assert_eq!((shown.code, shown.stdout.as_str()), (2, ""));
    for part in ["unknown key \"built_in\"", "groundtrail.toml:2:1", "^^^^^^^^", "did you mean \"builtin\"?"]
    {
        assert!(shown.stderr.contains(part), "{part} is missing: {}", shown.stderr);
    }
}

#[test]
fn settings_are_shown_with_their_origin_and_the_schema_is_json() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gt.toml"), "[store]\nretention = \"30d\"\n").unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/site.toml"), "\n[output]\nformat = \"ndjson\"\n").unwrap();
    let shown = |variable: Option<(&str, &str)>, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groundtrail"));
        command.args(args).current_dir(folder.path()).env_clear().envs(variable);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let args = ["-c", "gt.toml", "config", "show", "--origin"];
    let (code, settings, _) = shown(Some(("GROUNDTRAIL_STORE_PATH", "gt.db")), &args);
    assert_eq!(code, Some(0));
    for line in [
        "path = \"gt.db\"   # environment: GROUNDTRAIL_STORE_PATH",
        "retention = \"30d\"   # gt.toml:2",
        "format = \"ndjson\"   # conf.d/site.toml:3",
        "allow_remote = false   # default",
    ] {
        assert!(settings.lines().any(|shown| shown == line), "{line} in {settings}");
    }
    let (code, _, said) = shown(Some(("GROUNDTRAIL_STORE_PAHT", "gt.db")), &args);
    assert!(code == Some(2) && said.contains("did you mean GROUNDTRAIL_STORE_PATH"), "{said}");
    let (code, schema, _) = shown(None, &["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(
        (code, &schema["properties"]["store"]["properties"]["path"]["type"]),
        (Some(0), &"string".into())
    );
}

#[test]
fn a_missing_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let shown = groundtrail(folder.path(), &["config", "show", "-c", "nowhere.toml"], "");
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("cannot read \"nowhere.toml\""), "{}", shown.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["config", "default"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

const RULE: &str = r#"
[metadata]
creation_date = "2026/11/21"
maturity = "production"
updated_date = "2026/11/21"

[rule]
name = "Access key created"
rule_id = "5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10"
description = "A long-lived access key was created."
type = "query"
language = "kuery"
index = ["logs-aws.cloudtrail-*"]
severity = "medium"
risk_score = 47
query = '''
data_stream.dataset:"aws.cloudtrail" and event.action:CreateAccessKey
'''

[[tests]]
name = "a key is created"
expect = 1
contains = ["mallory"]
events = '''
EVENT
'''
"#;

/// When the events of these tests happen.
const TIME: &str = "2026-11-02T10:00:00Z";

fn call(id: &str, name: &str) -> String {
    format!(
        concat!(
            r#"{{"eventVersion":"1.08","eventTime":"2026-11-02T10:00:00Z","eventSource":"iam.amazonaws.com","#,
            r#""eventName":"{}","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.23","userAgent":"aws-cli/2.17.20","#,
            r#""userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/mallory","userName":"mallory"}},"#,
            r#""eventID":"{}","eventType":"AwsApiCall","recipientAccountId":"111122223333"}}"#
        ),
        name, id
    )
}

fn rule_folder(event: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rule.toml"), RULE.replace("EVENT", event)).unwrap();
    folder
}

#[test]
fn cases_that_pass_end_with_0_and_are_written_as_junit() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let ended = groundtrail(folder.path(), &["test", "rule.toml", "--junit", "out.xml"], "");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.contains("1 rule, 1 case, 0 failed"), "{}", ended.stdout);
    let xml = fs::read_to_string(folder.path().join("out.xml")).unwrap();
    assert!(xml.contains("tests=\"1\" failures=\"0\""), "{xml}");
}

#[test]
fn a_case_that_fails_ends_with_1_and_says_what_each_event_was() {
    let folder = rule_folder(&call("1", "DeleteAccessKey"));
    let ended = groundtrail(folder.path(), &["test", "rule.toml"], "");
    assert_eq!(ended.code, 1);
    for part in [
        "FAIL Access key created › a key is created",
        "expected 1 alert, got 0",
        "event 1 is nothing to the rule",
    ] {
        assert!(ended.stdout.contains(part), "{part} is missing: {}", ended.stdout);
    }
}

#[test]
fn a_case_may_be_a_recorded_trace_beside_the_rule() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::create_dir(folder.path().join("traces")).unwrap();
    let calls = [call("1", "DeleteAccessKey"), call("2", "CreateAccessKey")].join("\n");
    fs::write(folder.path().join("traces/keys.ndjson"), &calls).unwrap();
    let rule = RULE.split("events = '''").next().unwrap();
    let with = |line: &str| fs::write(rules.join("rule.toml"), format!("{rule}{line}\n")).unwrap();
    let test = || groundtrail(folder.path(), &["test", "rules"], "");
    with("trace = \"../traces/keys.ndjson\"");
    let ended = test();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    assert!(ended.stdout.contains("1 rule, 1 case, 0 failed"), "{}", ended.stdout);

    with(
        "trace = [\"../traces\"]\nevents = '''\n{}\n'''"
            .replace("{}", &call("3", "CreateAccessKey"))
            .as_str(),
    );
    let ended = test();
    assert_eq!(ended.code, 1);
    for part in ["expected 1 alert, got 2", "trace: event 2 matches", "line 25: event 3 matches"] {
        assert!(ended.stdout.contains(part), "{part} is missing: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("event 1 "), "what a trace also holds is left out: {}", ended.stdout);

    with("trace = \"../traces/none.ndjson\"");
    let ended = test();
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("none.ndjson: cannot read"), "{}", ended.stdout);

    with("trace = \"/etc/passwd\"");
    let ended = test();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("\"/etc/passwd\" is no path beside the rule"), "{}", ended.stderr);
}

#[test]
fn rule_files_are_laid_out_in_place_once() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let path = folder.path().join("rule.toml");
    let before = fs::read_to_string(&path).unwrap();
    let untidy =
        before.replace("severity = ", "# why so\n\n  severity=").replace("[rule]", "[rule]   # here");
    fs::write(&path, &untidy).unwrap();
    fs::write(folder.path().join("sigma.yml"), "title:   x\n").unwrap();

    let checked = groundtrail(folder.path(), &["rule", "fmt", "--check", "."], "");
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (1, "./rule.toml\n", ""));
    assert_eq!(fs::read_to_string(&path).unwrap(), untidy, "--check changes nothing");

    let done = groundtrail(folder.path(), &["rule", "fmt", "."], "");
    assert_eq!((done.code, done.stdout.as_str()), (0, "./rule.toml\n"));
    let after = fs::read_to_string(&path).unwrap();
    assert!(
        after.contains("[rule] # here\n") && after.contains("# why so\nseverity = \"medium\"\n"),
        "{after}"
    );
    assert_eq!(groundtrail(folder.path(), &["test", "."], "").code, 0, "it says the same");
    let again = groundtrail(folder.path(), &["rule", "fmt", "--check", "."], "");
    assert_eq!((again.code, again.stdout.as_str()), (0, ""));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");

    let piped = groundtrail(folder.path(), &["rule", "fmt", "-"], &untidy);
    assert_eq!((piped.code, piped.stdout), (0, after));
    let broken = groundtrail(folder.path(), &["rule", "fmt", "-"], "[rule]\nname = \"x\n");
    assert_eq!((broken.code, broken.stdout.as_str()), (1, ""));
    assert!(broken.stderr.contains("stdin: line 2: "), "{}", broken.stderr);
    let yaml = groundtrail(folder.path(), &["rule", "fmt", "sigma.yml"], "");
    assert!(yaml.code == 1 && yaml.stderr.contains("is no TOML file"), "{}", yaml.stderr);
}

#[test]
fn a_text_that_no_alert_holds_fails_the_case() {
    let folder = rule_folder(&call("1", "CreateAccessKey").replace("mallory", "alice"));
    let ended = groundtrail(folder.path(), &["test", "rule.toml"], "");
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("no alert holds \"mallory\""), "{}", ended.stdout);
}

#[test]
fn a_rule_without_cases_is_told_and_may_be_denied() {
    let folder = rule_folder("");
    let text = fs::read_to_string(folder.path().join("rule.toml")).unwrap();
    let bare = text.split("[[tests]]").next().unwrap();
    fs::write(folder.path().join("rule.toml"), bare).unwrap();
    let ended = groundtrail(folder.path(), &["test", "rule.toml"], "");
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("rule \"Access key created\" has no cases"), "{}", ended.stderr);
    assert_eq!(groundtrail(folder.path(), &["test", "rule.toml", "--deny-untested"], "").code, 1);
}

#[test]
fn a_broken_rule_is_shown_in_its_file_and_the_others_run() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let broken = RULE
        .replace("event.action:CreateAccessKey", "event.actoin:CreateAccessKey")
        .replace("5a0e6a52", "6a0e6a52");
    fs::write(folder.path().join("broken.toml"), broken.replace("EVENT", "")).unwrap();
    let ended = groundtrail(folder.path(), &["test", "."], "");
    assert_eq!(ended.code, 1);
    for part in ["broken.toml:17:", "^^^^^^^^^^^^", "event.action"] {
        assert!(ended.stderr.contains(part), "{part} is missing: {}", ended.stderr);
    }
    assert!(ended.stdout.contains("1 rule, 1 case, 0 failed"), "{}", ended.stdout);
}

#[test]
fn check_tells_what_can_never_fire_and_what_to_add() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let check = |more: &[&str]| {
        let args = [&["check", "rule.toml", "--no-builtin-rules"], more].concat();
        groundtrail(folder.path(), &args, "")
    };
    let blind = check(&["--sensor", "-"]);
    assert_eq!(blind.code, 0);
    let part = "\"Access key created\": can never fire with these sources: needs aws.cloudtrail: add --cloudtrail DIR";
    assert!(blind.stdout.contains(part), "{}", blind.stdout);
    assert_eq!(check(&["--sensor", "-", "--deny-warnings"]).code, 1);
    let quiet = check(&["--sensor", "-", "--quiet"]);
    assert_eq!((quiet.code, quiet.stdout.lines().count()), (0, 1), "{}", quiet.stdout);
    assert!(quiet.stdout.starts_with("0 errors, 1 warnings; "), "{}", quiet.stdout);
    fs::create_dir(folder.path().join("trail")).unwrap();
    let full = check(&["--cloudtrail", "trail"]);
    assert!(!full.stdout.contains("never fire"), "{}", full.stdout);
    for more in [&["--cloudtrail", "nowhere"][..], &["--cloudtrail", "nowhere", "-q"]] {
        let missing = check(more);
        assert_eq!(missing.code, 1);
        assert!(
            missing.stdout.contains("source \"nowhere\": cannot read the cloudtrail folder"),
            "{}",
            missing.stdout
        );
    }
}

#[test]
fn the_navigator_layer_greys_what_the_sources_cannot_feed() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("trail")).unwrap();
    let args = ["rules", "coverage", "--cloudtrail", "trail", "--navigator", "layer.json"];
    let ended = groundtrail(folder.path(), &args, "");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{}", ended.stderr);
    let text = fs::read_to_string(folder.path().join("layer.json")).unwrap();
    let layer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(layer["versions"]["layer"], "4.5");
    let cells = layer["techniques"].as_array().unwrap();
    let of = |id: &str| cells.iter().find(|cell| cell["techniqueID"] == id).unwrap();
    // Trails are switched off in CloudTrail; a server that asks for credentials is seen on its host alone.
    assert!(of("T1562.008")["score"].as_u64().unwrap() > 0);
    assert_eq!(of("T1190")["score"], 0);
    assert!(of("T1190")["comment"].as_str().unwrap().contains("--sensor"), "{}", of("T1190"));
}

#[test]
fn check_puts_its_table_first_and_groups_what_there_is_a_lot_of() {
    let folder = tempfile::tempdir().unwrap();
    let many = folder.path().join("rules/many");
    fs::create_dir_all(&many).unwrap();
    for n in 0..25 {
        let rule = RULE.split("[[tests]]").next().unwrap().replace("1f3a10", &format!("1f3a{n:02}"));
        let rule = rule.replace("event.action:", if n % 2 == 0 { "event.acton:" } else { "event.action::" });
        fs::write(many.join(format!("r{n:02}.toml")), rule).unwrap();
    }
    let check = |args: &[&str]| {
        groundtrail(folder.path(), &[&["check", "rules", "--no-builtin-rules"], args].concat(), "")
    };
    let grouped = check(&[]);
    assert_eq!(grouped.code, 1);
    assert!(grouped.stdout.starts_with("TYPE "), "{}", grouped.stdout);
    for part in [
        "below rules/many:",
        "error  13  GT101",
        "r00.toml:17: no field is called \"event.acton\"",
        "and 10 more",
    ] {
        assert!(grouped.stdout.contains(part), "{part} is missing: {}", grouped.stdout);
    }
    assert!(grouped.stdout.lines().count() < 30, "{}", grouped.stdout);
    let all = check(&["--all"]);
    assert_eq!(all.stdout.matches("did you mean").count(), 13, "{}", all.stdout);
    assert!(all.stdout.starts_with("TYPE "));
    for n in 2..25 {
        fs::remove_file(many.join(format!("r{n:02}.toml"))).unwrap();
    }
    let few = check(&[]);
    assert!(
        few.stdout.contains("did you mean \"event.action\"?"),
        "a few are shown at their places: {}",
        few.stdout
    );
}

#[test]
fn building_blocks_are_told_when_asked_for() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let path = folder.path().join("rule.toml");
    let block = fs::read_to_string(&path)
        .unwrap()
        .replace("severity =", "building_block_type = \"default\"\nseverity =");
    fs::write(&path, block).unwrap();
    fs::write(folder.path().join("calls.json"), call("1", "CreateAccessKey")).unwrap();
    let replay = |args: &[&str]| {
        let all = [
            "replay",
            "--final",
            "-o",
            "ndjson",
            "--no-builtin-rules",
            "--rules",
            "rule.toml",
            "--cloudtrail",
            "calls.json",
        ];
        groundtrail(folder.path(), &[&all, args].concat(), "").stdout
    };
    assert_eq!(replay(&[]), "");
    assert!(replay(&["--building-blocks"]).contains("\"building_block\":true"));
    assert_eq!(
        groundtrail(folder.path(), &["test", "rule.toml"], "").code,
        0,
        "its cases are about its matches"
    );
}

#[test]
fn bounds_of_the_configuration_refuse_what_goes_beyond() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let check = |limits: &str| {
        fs::write(folder.path().join("groundtrail.toml"), format!("[rules.limits]\n{limits}\n")).unwrap();
        groundtrail(
            folder.path(),
            &["check", "rule.toml", "-c", "groundtrail.toml", "--no-builtin-rules"],
            "",
        )
    };
    assert_eq!(check("max_file = \"2KiB\"").code, 0);
    let long = fs::read_to_string(folder.path().join("rule.toml")).unwrap() + &"# and more\n".repeat(40);
    fs::write(folder.path().join("rule.toml"), long).unwrap();
    let refused = check("max_file = \"1KiB\"");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stdout.contains("more than the 1024 of \"max_file\" in [rules.limits]"),
        "{}",
        refused.stdout
    );
    let wrong = check("max_depth = 1000");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("write a number from 8 to 128"), "{}", wrong.stderr);
    let wrong = check("max_regex = \"1GiB\"");
    assert!(wrong.code == 2 && wrong.stderr.contains("from \"1KiB\" to \"16MiB\""), "{}", wrong.stderr);
}

#[test]
fn check_tells_which_drop_line_takes_a_rules_events() {
    let folder = rule_folder(&call("1", "CreateAccessKey"));
    let lines =
        "[[drop]]\nname = \"keys\"\nreason = \"none\"\nquery = 'event.action:(CreateAccessKey or Other)'\n";
    fs::write(folder.path().join("drop.toml"), lines).unwrap();
    let ended = groundtrail(folder.path(), &["check", ".", "--no-builtin-rules", "-o", "json"], "");
    assert!(
        ended.stdout.contains("events that this rule matches are dropped by \\\"keys\\\""),
        "{}",
        ended.stdout
    );
    for line in ended.stdout.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
    }
}

#[test]
fn a_replay_prints_one_line_per_alert_and_counts_what_it_could_not_read() {
    let folder = rule_folder("");
    let trail = [
        call("1", "CreateAccessKey"),
        "{broken".to_owned(),
        call("2", "ListUsers"),
        call("3", "CreateAccessKey"),
    ];
    fs::write(folder.path().join("trail.ndjson"), trail.join("\n")).unwrap();
    let args =
        ["replay", "--cloudtrail", "trail.ndjson", "--rules", "rule.toml", "--no-builtin-rules", "--final"];
    let ended = groundtrail(folder.path(), &args, "");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let alerts: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(alerts.len(), 2, "{}", ended.stdout);
    assert!(alerts.iter().all(|alert| alert["groundtrail"]["alert"]["state"] == "final"));
    assert!(ended.stderr.contains("trail.ndjson"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 unreadable; 2 alerts"), "{}", ended.stderr);
    for seed in ["1", "2", "3"] {
        let shuffled = groundtrail(folder.path(), &[&args[..], &["--shuffle", seed]].concat(), "");
        assert_eq!(shuffled.stdout, ended.stdout);
    }
    let pretty = groundtrail(folder.path(), &[&args[..], &["-o", "pretty"]].concat(), "");
    assert!(pretty.stdout.contains("iam:CreateAccessKey"), "{}", pretty.stdout);
}

#[test]
fn an_absence_without_its_feed_is_withheld_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let ran = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"id":"w-1","kind":"event","category":["process"],"type":["start"],"action":"exec","dataset":"endpoint.events.process"},"data_stream":{"type":"logs","dataset":"endpoint.events.process","namespace":"default"},"host":{"id":"web-1","os":{"type":"linux"}},"process":{"entity_id":"e9","pid":4009,"name":"ssm-document-worker","args":["ssm-document-worker","11111111-2222-4333-8444-555555555555"],"command_line":"ssm-document-worker 11111111-2222-4333-8444-555555555555"}}"#;
    fs::write(folder.path().join("host.ndjson"), format!("{ran}\n")).unwrap();
    let call = |id: &str, time: &str| {
        format!(
            r#"{{"eventID":"{id}","eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"DescribeRegions","recipientAccountId":"111122223333"}}"#
        )
    };
    let calls = [call("c-1", "2026-11-02T06:00:00Z"), call("c-2", "2026-11-02T10:10:00Z")].join(",");
    fs::write(folder.path().join("calls.json"), format!("{{\"Records\":[{calls}]}}")).unwrap();
    let name = "Systems Manager command ran that no trail of ours shows";

    let host = ["replay", "--host", "host.ndjson", "--final", "-o", "ndjson"];
    let alone = groundtrail(folder.path(), &host, "");
    assert_eq!((alone.code, alone.stdout.as_str()), (0, ""));
    let said = format!("1 absence of \"{name}\" withheld: no CloudTrail feed");
    assert!(alone.stderr.contains(&said), "{}", alone.stderr);
    let asked = groundtrail(folder.path(), &["why-not", "5d32fe61", "--host", "host.ndjson"], "");
    let said = "1 matches were withheld, since nothing vouches for what is missing: no CloudTrail feed";
    assert!(asked.stdout.contains(said), "{}{}", asked.stdout, asked.stderr);

    let both = [&host[..], &["--cloudtrail", "calls.json"]].concat();
    let told = groundtrail(folder.path(), &both, "");
    assert!(told.stdout.contains(name), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains(r#""heard_from":"2026-11-02T06:00:00.000Z""#), "{}", told.stdout);
    assert!(!told.stderr.contains("withheld"), "{}", told.stderr);
}

#[test]
fn nothing_to_replay_is_a_mistake_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let ended = groundtrail(folder.path(), &["replay"], "");
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("give --host, --cloudtrail, --guardduty or --vpcflow"), "{}", ended.stderr);
}

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
    assert_eq!(groundtrail(folder.path(), &["explain", "x", "--store", "nowhere.db"], "").code, 2);
    assert!(!folder.path().join("nowhere.db").exists());
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

/// Reads lines of what a child says until one has the text.
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) {
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

/// The numbers of a line such as `5 events: 2 evaluated, 3 repeated; 1 alert`: the first, and the others up to the alerts.
fn account(line: &str) -> (u64, Vec<u64>) {
    let of_events = line.split(';').next().unwrap();
    let numbers = of_events.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    (numbers.remove(0), numbers)
}

#[test]
fn whatever_comes_in_every_record_is_accounted_for() {
    let dir = rule_folder("");
    let folder = dir.path();
    fs::create_dir(folder.join("trail")).unwrap();
    let at = |id: &str, time: &str| call(id, "ListUsers").replace("2026-11-02T10:00:00Z", time);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let huge = |n: usize| "x".repeat(n);
    let records = [
        call("a", "CreateAccessKey"),
        call("a", "CreateAccessKey"),
        call("a", "DeleteTrail"),
        at("old", "1970-01-01T00:00:00Z"),
        at("ahead", "2199-01-01T00:00:00Z"),
        at("none", "yesterday"),
        call("deep", "ListUsers")
            .replace("\"eventID\"", &format!("\"requestParameters\":{deep},\"eventID\"")),
        call("key", "ListUsers").replace(
            "\"eventID\"",
            &format!("\"requestParameters\":{{\"{}\":1}},\"eventID\"", huge(900_000)),
        ),
        call("user", "ListUsers").replace("mallory", &huge(400_000)),
        call("large", "ListUsers").replace("mallory", &huge(2_000_000)),
        "not json".to_owned(),
        "{\"eventID\":\"half".to_owned(),
        "\u{0}\u{1b}[2J".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
    ];
    fs::write(folder.join("trail/hostile.json"), records.join("\n")).unwrap();
    fs::write(folder.join("trail/good.json"), call("b", "ListUsers")).unwrap();
    let config = "[store]\npath = \"gt.db\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
                  [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\n[drop]\npaths = [\"drop.toml\"]\n";
    fs::write(folder.join("gt.toml"), config).unwrap();
    fs::write(
        folder.join("drop.toml"),
        "[[drop]]\nname = \"b\"\nquery = 'event.id: b'\nreason = \"a test's\"\n",
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
        .args(["run", "-c", "gt.toml", "--rules", "rule.toml", "--no-builtin-rules", "-o", "ndjson"])
        .current_dir(folder)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let said = lines.by_ref().map(Result::unwrap).find(|line| line.contains("\"metrics\"")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let at = said["listen"].as_str().unwrap().to_owned();
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // "b" is in the file that comes last.
    let mut metrics = String::new();
    while !metrics.contains("outcome=\"dropped\"} 1") {
        assert!(std::time::Instant::now() < until, "{metrics}");
        std::thread::sleep(std::time::Duration::from_millis(100));
        metrics = get(&at, "/metrics");
    }
    let sum = |name: &str| -> u64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    let received = sum("groundtrail_source_events_total{");
    // What follows a record that never ends is one piece with it.
    assert!(received >= 10, "{metrics}");
    assert_eq!(received, sum("groundtrail_events_total{"), "{metrics}");
    assert!(metrics.contains("outcome=\"duplicate\"} 2"), "{metrics}");
    assert_eq!(sum("groundtrail_conflicting_events_total{"), 1);
    assert_eq!(sum("groundtrail_misdated_events_total{"), 2, "{metrics}");
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success() && child.wait().unwrap().success());
    let said = rest.join().unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("ended: ")).unwrap_or_else(|| panic!("{said}"));
    let (all, terms) = account(line);
    assert_eq!((all, terms.iter().sum::<u64>()), (received, received), "{line}");
    let health = said.lines().find(|line| line.starts_with("health: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(health.contains("lag p50") && health.contains("no gaps"), "{health}");
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
    let ago = |seconds: i64| {
        let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
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

#[test]
fn who_answers_from_recorded_events_and_says_when_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let call = r#"{"Records":[{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE0000000001:i-0123456789abcdef0","arn":"arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0","accountId":"111122223333","accessKeyId":"ASIARTX3GSDSWPZ6EXQM","sessionContext":{"ec2RoleDelivery":"2.0"}},"eventTime":"2026-11-02T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"GetCallerIdentity","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.10","userAgent":"aws-cli/2.17","requestParameters":null,"responseElements":null,"requestID":"r","eventID":"e","readOnly":true,"eventType":"AwsApiCall","recipientAccountId":"111122223333"}]}"#;
    fs::write(folder.path().join("trail.json"), call).unwrap();

    let told = groundtrail(folder.path(), &["who", "ASIARTX3GSDSWPZ6EXQM", "--cloudtrail", "trail.json"], "");
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    for part in ["web/i-0123456789abcdef0", "111122223333", "2026-11-02T10:00:00Z"] {
        assert!(told.stdout.contains(part), "{part} is missing: {}", told.stdout);
    }
    let json = groundtrail(
        folder.path(),
        &["who", "i-0123456789abcdef0", "--cloudtrail", "trail.json", "-o", "json"],
        "",
    );
    let answers: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(answers[0]["kind"], "host");

    let early = ["who", "i-0123456789abcdef0", "--cloudtrail", "trail.json", "--at", "2026-11-01T00:00:00Z"];
    let told = groundtrail(folder.path(), &early, "");
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.contains("nothing known"), "{}", told.stderr);
    let told = groundtrail(folder.path(), &["who", "x"], "");
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert!(told.stderr.contains("--store PATH"), "{}", told.stderr);
}

#[test]
fn incidents_tell_alerts_as_stories() {
    let folder = tempfile::tempdir().unwrap();
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/traces/demo/alerts.expected.json");
    let table = groundtrail(folder.path(), &["incidents", "--alerts", alerts], "");
    assert_eq!((table.code, table.stderr.as_str()), (0, ""));
    assert_eq!(table.stdout.lines().count(), 2, "one intrusion is one line: {}", table.stdout);
    let id = table.stdout.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();

    let page = groundtrail(folder.path(), &["incidents", &id, "--alerts", alerts], "");
    for part in ["user/mallory", "CloudTrail logging stopped", "aws ssm cancel-command --command-id"] {
        assert!(page.stdout.contains(part), "{part} is missing: {}", page.stdout);
    }
    let json = groundtrail(folder.path(), &["incidents", "--alerts", alerts, "-o", "json"], "");
    let told: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(told[0]["id"], id.as_str());

    assert_eq!(groundtrail(folder.path(), &["incidents", "zz", "--alerts", alerts], "").code, 1);
    assert_eq!(groundtrail(folder.path(), &["incidents"], "").code, 2);
    fs::write(folder.path().join("bad.ndjson"), "{}\nnonsense\n").unwrap();
    let refused = groundtrail(folder.path(), &["incidents", "--alerts", "bad.ndjson"], "");
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("line 2"), "{}", refused.stderr);
}

#[test]
fn a_report_is_one_file_with_the_story() {
    let folder = tempfile::tempdir().unwrap();
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/traces/demo/alerts.expected.json");
    let asked = ["report", "--alert", "45a3658162981235", "--alerts", alerts, "-o", "page.html"];
    let written = groundtrail(folder.path(), &asked, "");
    assert_eq!((written.code, written.stdout.as_str()), (0, ""), "{}", written.stderr);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    for part in ["<!DOCTYPE html>", "ssm-document-worker", "cloudtrail:StopLogging", "aws ssm cancel-command"]
    {
        assert!(page.contains(part), "{part} is missing");
    }
    let unknown =
        groundtrail(folder.path(), &["report", "--incident", "zz", "--alerts", alerts, "-o", "-"], "");
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("groundtrail incidents"), "{}", unknown.stderr);
}

#[test]
fn shells_and_manuals_know_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = groundtrail(folder.path(), &["completion", shell], "");
        assert_eq!((script.code, script.stderr.as_str()), (0, ""));
        for verb in ["replay", "incidents", "who"] {
            assert!(script.stdout.contains(verb), "{shell} does not know {verb}");
        }
    }
    assert_eq!(groundtrail(folder.path(), &["man", "pages"], "").code, 0);
    let page = fs::read_to_string(folder.path().join("pages/groundtrail-replay.1")).unwrap();
    assert!(page.contains("--shuffle") || page.contains("shuffle"), "{page}");
}

#[test]
fn why_not_says_what_was_missing_and_whether_it_fired_after_all() {
    let dir = tempfile::tempdir().unwrap();
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/traces");
    let ask = |rule: &str, trace: &str, more: &[&str]| {
        let trace = traces.join(trace);
        let mut args = vec!["why-not", rule, "--trace", trace.to_str().unwrap()];
        args.extend(more);
        groundtrail(dir.path(), &args, "")
    };
    let fired = ask("aws cli sent to a custom endpoint", "system1", &[]);
    assert_eq!(fired.code, 0, "{}", fired.stderr);
    assert!(fired.stdout.contains("fired on"), "{}", fired.stdout);

    let missed = ask("ee605a11", "system5", &[]);
    let absent = "groundtrail.endpoint.domain is absent; the rule asks for a value";
    assert!(missed.code == 0 && missed.stdout.contains(absent), "{}", missed.stdout);
    let missed = ask("ee605a11", "system5", &["-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&missed.stdout).unwrap();
    assert_eq!((&said["reasons"][0]["kind"], &said["is_met"]), (&"absent".into(), &false.into()));

    let unknown = ask("AWS CLI sent to a custom endpoit", "system1", &[]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("did you mean \"AWS CLI sent to a custom endpoint\""),
        "{}",
        unknown.stderr
    );
    assert_eq!(ask("ee605a11", "system1", &["--event", "no-such-event"]).code, 2);

    // A rule over alerts is asked about the alerts of the others.
    let folder = rule_folder("");
    let over = RULE
        .replace("5a0e6a52-64f5", "5a0e6a52-64f8")
        .replace("Access key created", "Key alert of bob")
        .replace("logs-aws.cloudtrail-*", ".alerts-security.*")
        .replace(
            "data_stream.dataset:\"aws.cloudtrail\" and event.action:CreateAccessKey",
            "kibana.alert.rule.name:* and user.name:bob",
        );
    let over = over.split("[[tests]]").next().unwrap();
    fs::write(folder.path().join("over.toml"), over).unwrap();
    fs::write(folder.path().join("calls.json"), call("k1", "CreateAccessKey")).unwrap();
    let rules = ["--rules", "rule.toml", "over.toml", "--no-builtin-rules"];
    let args = [&["why-not", "Key alert of bob", "--cloudtrail", "calls.json"], &rules[..]].concat();
    let missed = groundtrail(folder.path(), &args, "");
    let said = "user.name is \"mallory\"; the rule asks for \"bob\"";
    assert!(missed.code == 0 && missed.stdout.contains(said), "{}{}", missed.stdout, missed.stderr);
    assert!(missed.stdout.contains(".alerts-security.alerts-default"), "{}", missed.stdout);
}

/// One request, as `curl` makes it.
fn get(at: &str, path: &str) -> String {
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
    assert_eq!(status.code, 1, "{}{}", status.stdout, status.stderr);
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

/// The commands of a page's blocks of shell, without the comments behind them.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter(|line| line.starts_with("groundtrail "));
    lines.map(|line| line.split("   # ").next().unwrap_or(line).trim_end().to_owned()).collect()
}

#[test]
fn the_commands_of_the_page_for_authors_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["my-rules", "trail"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    fs::write(path.join("trail/calls.json"), call("1", "CreateAccessKey")).unwrap();
    let event = |id: u32, category: &str| {
        format!(
            "{{\"@timestamp\":\"2026-11-02T10:00:0{id}Z\",\"event\":{{\"id\":\"e{id}\",\"category\":[\"{category}\"],\"type\":[\"start\"]}},\
             \"host\":{{\"id\":\"h1\"}},\"process\":{{\"name\":\"curl\"}}}}\n"
        )
    };
    fs::write(path.join("host.ndjson"), event(1, "process") + &event(2, "network")).unwrap();
    fs::write(path.join("hunt.esql"), "FROM logs-* | STATS n = COUNT(*) BY event.category | SORT n DESC\n")
        .unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/writing-rules.md");
    let commands = commands(&fs::read_to_string(page).unwrap());
    assert!(commands.len() >= 10, "{commands:?}");
    let program = Path::new(env!("CARGO_BIN_EXE_groundtrail")).parent().unwrap();
    for command in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(path)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {said}");
        assert!(!said.contains("0 rows"), "{command} finds what is there: {said}");
    }
    assert!(path.join("results.xml").is_file() && path.join("rule.schema.json").is_file());
}
