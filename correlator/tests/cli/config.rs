//! What a configuration is, where each setting came from, and how a wrong one is shown.

use std::fs;
use std::process::{Command, Stdio};

use crate::groundtrail;

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
