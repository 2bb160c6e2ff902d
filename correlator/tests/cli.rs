//! The program as people call it: what it prints where, and with which exit code it ends.

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
