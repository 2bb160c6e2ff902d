//! What an author of rules does: cases, layout, and what `check` says of a set.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{RULE, call, groundtrail, rule_folder};

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
    assert!(quiet.stdout.starts_with("0 errors, 1 warning; "), "{}", quiet.stdout);
    fs::create_dir(folder.path().join("trail")).unwrap();
    let full = check(&["--cloudtrail", "trail"]);
    assert!(!full.stdout.contains("never fire"), "{}", full.stdout);
    // A run waits for it, and systemd makes the folders of its unit right before: neither is a reason not to start.
    let missing = check(&["--cloudtrail", "nowhere"]);
    assert_eq!(missing.code, 0, "{}", missing.stdout);
    let said = "warning: source \"nowhere\": the cloudtrail folder is not there: a run waits for it";
    assert!(missing.stdout.contains(said), "{}", missing.stdout);
    let config = "[store]\npath = \"none/gt.db\"\n[[source]]\ntype = \"sensors\"\nunix = \"none/s.sock\"\n\
                  [[source]]\ntype = \"cloudtrail\"\npath = \"none\"\nfollow = false\n";
    fs::write(folder.path().join("gt.toml"), config).unwrap();
    let told = check(&["-c", "gt.toml"]);
    assert_eq!(told.code, 1, "a folder that is read once has to be there: {}", told.stdout);
    for said in [
        "gt.db\": the store's folder is not there",
        "s.sock\": the socket's folder is not there",
        "error: source",
        "1 error, ",
    ] {
        assert!(told.stdout.contains(said), "{said}: {}", told.stdout);
    }
}

#[test]
fn what_is_shipped_checks_clean() {
    let folder = tempfile::tempdir().unwrap();
    let said = groundtrail(folder.path(), &["check"], "");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("\n0 errors, 0 warnings;"), "{}", said.stdout);
}

#[test]
fn a_rule_file_that_is_named_is_a_rule_or_an_error() {
    let folder = rule_folder("");
    fs::write(folder.path().join("s2.yml"), "title: [").unwrap();
    fs::write(folder.path().join("s4.yml"), "title: x\ndetektion:\n  a: b\n").unwrap();
    fs::create_dir(folder.path().join("d.toml")).unwrap();
    let alone = ["--no-builtin-rules"];
    for (file, code) in [("s2.yml", "GT701"), ("s4.yml", "GT512")] {
        let checked = groundtrail(folder.path(), &[&["check", file][..], &alone].concat(), "");
        assert_eq!(checked.code, 1, "{}", checked.stdout);
        assert!(checked.stdout.contains(code), "{}", checked.stdout);
        let tested = groundtrail(folder.path(), &["test", file], "");
        assert!(tested.code == 1 && tested.stderr.contains(code), "{}", tested.stderr);
    }
    let checked = groundtrail(folder.path(), &[&["check", "."][..], &alone].concat(), "");
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.stdout.contains("2 files that are no rules passed over"), "{}", checked.stdout);
    let checked = groundtrail(folder.path(), &[&["check", "d.toml/"][..], &alone].concat(), "");
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.stdout.contains("no rule file lies in \"d.toml/\""), "{}", checked.stdout);
    assert!(checked.stdout.contains("0 errors, 1 warning;"), "{}", checked.stdout);

    let none = groundtrail(folder.path(), &["test", "rule.toml", "--only", "zzzz"], "");
    assert_eq!((none.code, none.stdout.as_str()), (2, ""), "{}", none.stderr);
    assert!(none.stderr.contains("no rule's name or id holds \"zzzz\""), "{}", none.stderr);
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
