//! What is sent to whoever helps: what is there, and what is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

use crate::{call, groundtrail, rule_folder};

const CANARY: &str = "CANARYhunter2";

/// A run's folder with a secret wherever somebody may have put one.
fn folder() -> tempfile::TempDir {
    let secret_call = |id: &str| call(id, "CreateAccessKey").replace("aws-cli/2.17.20", CANARY);
    let folder = rule_folder(&secret_call("c"));
    let path = folder.path();
    let rule = fs::read_to_string(path.join("rule.toml")).unwrap();
    fs::write(path.join("rule.toml"), rule.replace("A long-lived access key", CANARY)).unwrap();
    fs::write(path.join("broken.toml"), format!("[rule]\nname = \"{CANARY}\"\nquery = '{CANARY}:('\n"))
        .unwrap();
    fs::create_dir(path.join("trail")).unwrap();
    let host = format!("{{\"process\":{{\"args\":[\"mysql\",\"-p{CANARY}\"]}}\n");
    let records = format!(r#"{{"Records":[{}]}}"#, secret_call("one"));
    fs::write(path.join("trail/1.json"), records).unwrap();
    fs::write(path.join("host.ndjson"), host).unwrap();
    fs::write(path.join("token"), CANARY).unwrap();
    fs::write(
        path.join("gt.toml"),
        format!(
            "# {CANARY}\n[store]\npath = \"gt.db\"\n[rules]\nbuiltin = false\npaths = [\"rule.toml\", \"broken.toml\"]\n\
             [[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\nfollow = false\n\
             [[source]]\ntype = \"sensor\"\nfile = \"host.ndjson\"\nfollow = false\n\
             [[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/{CANARY}?key={CANARY}\"\ntoken_file = \"token\"\n\
             [[exceptions]]\nrule_id = \"5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10\"\nquery = 'user.name:\"{CANARY}\"'\n\
             reason = \"{CANARY}\"\nowner = \"{CANARY}\"\n\
             [[silence]]\nname = \"s\"\nprincipals = [\"{CANARY}\"]\nuntil = \"2030-01-01T00:00:00Z\"\nowner = \"{CANARY}\"\nreason = \"{CANARY}\"\n"
        ),
    )
    .unwrap();
    let ran = groundtrail(path, &["run", "-c", "gt.toml", "-o", "ndjson"], "");
    assert!(ran.stdout.contains(CANARY), "there is something to leak: {}", ran.stderr);
    let log = format!(
        "{}\nnot ours: {CANARY}\n{{\"message\":\"the receiver said {CANARY}\",\"reason\":\"{CANARY}\",\"n\":3}}\n",
        ran.stderr
    );
    fs::write(path.join("run.log"), log).unwrap();
    folder
}

/// The names and texts in a bundle, without the folder they are in.
fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(path).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    files
}

#[test]
fn a_bundle_holds_what_helps_and_no_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let bundle = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groundtrail"));
        command
            .args(["support-bundle", "-c", "gt.toml", "--log", "run.log", "--sensor-socket", "nowhere.sock"])
            .args(args);
        command.current_dir(folder.path()).env_clear();
        command.env("AWS_SECRET_ACCESS_KEY", CANARY).env("HOOK_TOKEN", CANARY).output().unwrap()
    };
    let listed = bundle(&["--list", "--form", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let listed: Vec<&str> = listed.iter().map(|row| row["file"].as_str().unwrap()).collect();
    assert!(!folder.path().join("b.tar.gz").exists(), "a list writes nothing");

    let made = bundle(&["-o", "b.tar.gz"]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    let path = folder.path().join("b.tar.gz");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let files = unpacked(&path);
    let mut names: Vec<&str> = listed.clone();
    names.sort_unstable();
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        names,
        "what was shown is what is there"
    );
    for (name, text) in &files {
        assert!(!text.contains(CANARY), "{name}: {text}");
        assert!(!text.to_lowercase().contains("hunter2"), "{name}: {text}");
    }
    for (name, part) in [
        ("config.toml", "http://127.0.0.1:9/(masked)"),
        ("config.toml", "path = \"gt.db\""),
        ("rules.json", "5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10"),
        ("rules.json", "\"is_error\": true"),
        ("status.json", "\"n_rules\""),
        ("metrics.txt", "groundtrail_"),
        ("store.json", "\"alerts\": 1"),
        ("versions.json", env!("CARGO_PKG_VERSION")),
        ("system.json", "\"kernel\""),
        ("sensor.json", "no sensor answers"),
        ("log.ndjson", "\"n\":3"),
        // Of the run's own log, as it writes it.
        ("log.ndjson", "\"message\":\"watching\""),
        ("README", "store.json"),
    ] {
        assert!(files[name].contains(part), "{part} is missing in {name}: {}", files[name]);
    }
    assert_eq!(bundle(&["-o", "b.tar.gz"]).status.code(), Some(3), "what is there is not written over");
}

#[test]
fn a_bundle_is_made_where_nothing_works() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["support-bundle", "-o", "b.tar.gz", "--log", "nowhere", "--store", "nowhere.db"];
    let made = groundtrail(folder.path(), &args, "");
    assert_eq!(made.code, 0, "{}", made.stderr);
    let files = unpacked(&folder.path().join("b.tar.gz"));
    assert!(files["store.json"].contains("there is no store"), "{}", files["store.json"]);
    assert!(files["status.json"].contains("no run answers"), "{}", files["status.json"]);
}
