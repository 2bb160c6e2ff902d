//! `cargo xtask record`: the traces below tests/traces, made anew from live scenarios through the sensor's own recorder.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::shell::{self, Failure};
use crate::{ebpf, live, needs};

#[derive(Args)]
pub(crate) struct Record {
    /// Only these traces; all live ones otherwise.
    traces: Vec<String>,
}

/// What the demo plays. The burst comes last: it takes note of the AWS CLI's other calls around it.
pub(crate) const DEMO: &[&str] = &["system5-short", "system1", "system3", "system4", "system2"];

/// A trace and the scenes it is made of.
const TRACES: &[(&str, &[&str])] = &[
    ("system1", &["system1", "system1-forms", "system1-known"]),
    ("system2", &["system2-five", "system2"]),
    ("system3", &["system3-agent", "system3"]),
    ("system4", &["system4"]),
    ("system5", &["system5"]),
    ("demo", DEMO),
];

pub(crate) fn run(record: &Record) -> Result<(), Failure> {
    if let Some(reason) = live::obstacle() {
        return Err(Failure(format!("cannot record here: {reason}")));
    }
    needs::scenario_programs()?;
    // Ours rather than the machine's own: no version manager's shims stand between the script and the client.
    let aws = needs::own_aws_cli()?;
    ebpf::prepare()?;
    shell::succeed(&mut shell::cargo(&[
        "build",
        "--bins",
        "--package",
        "sensor",
        "--package",
        "correlator",
        "--package",
        "tests",
    ]))?;
    for (name, scenes) in TRACES.iter().filter(|(name, _)| wanted(record, name)) {
        shell::say(format!("recording {name}"));
        let work = shell::target().join("record").join(name);
        drop(fs::remove_dir_all(&work));
        fs::create_dir_all(&work)?;
        let stage = play_under_recorder(&work, scenes, &aws)?;
        let folder = shell::root().join("tests/traces").join(name);
        fs::create_dir_all(&folder)?;
        let names = Names::of_this_machine(&work, &aws)?;
        let host = fs::read_to_string(work.join("host.ndjson"))?;
        fs::write(folder.join("host.ndjson"), trim(&host, stage, &names)?)?;
        gather(&work.join("cloudtrail"), &folder, &names)?;
    }
    shell::say("recorded; \"cargo xtask bless\" makes their alerts the expected ones");
    Ok(())
}

fn wanted(record: &Record, name: &str) -> bool {
    record.traces.is_empty() || record.traces.iter().any(|one| one == name)
}

fn built(binary: &str) -> PathBuf {
    shell::target().join("debug").join(binary)
}

/// Records while the scenes play; the stage's process id, which everything of theirs descends from.
fn play_under_recorder(work: &Path, scenes: &[&str], aws: &Path) -> Result<u32, Failure> {
    let config = work.join("sensor.toml");
    fs::write(
        &config,
        "[host]\nid = \"i-0a1b2c3d4e5f60718\"\ninstance_id = \"i-0a1b2c3d4e5f60718\"\naccount = \"111122223333\"\nregion = \
         \"us-east-1\"\nname = \"ip-10-0-1-10.ec2.internal\"\n",
    )?;
    let mut recorder = Command::new(built("groundtrail-sensor"))
        .arg("record")
        .arg(work.join("host.ndjson"))
        .args(["--filter-tree", &std::process::id().to_string()])
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    if let Err(err) = await_recording(&mut recorder) {
        shell::end(&mut recorder)?;
        return Err(err);
    }
    let mut command = Command::new(built("groundtrail-stage"));
    command.arg("play").args(scenes).arg("--cloudtrail").arg(work.join("cloudtrail")).arg("--aws").arg(aws);
    let played = command.current_dir("/").spawn().and_then(|mut stage| Ok((stage.wait()?, stage)));
    // What is in the ring still comes out at its end.
    shell::end(&mut recorder)?;
    let (status, stage) = played?;
    if status.success() { Ok(stage.id()) } else { Err(Failure(format!("the stage failed: {status}"))) }
}

/// Waits until the recorder says that it records, and goes on passing its log on.
fn await_recording(recorder: &mut Child) -> Result<(), Failure> {
    let log = recorder.stderr.take().expect("its log is piped");
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            eprintln!("{line}");
            if line.contains("\"recording\"") {
                send.send(()).unwrap_or_default();
            }
        }
    });
    receive
        .recv_timeout(Duration::from_secs(60))
        .map_err(|_gone| Failure("the recorder did not come up; its own message is above".to_owned()))
}

/// What furnishes the stage is no part of the scenario.
const FURNITURE: [&str; 4] = ["groundtrail-stage", "ip", "mount", "unshare"];

/// Keeps what descends from the stage, with the tree cut off above it and nothing of this machine left.
fn trim(host: &str, stage: u32, names: &Names) -> Result<String, Failure> {
    let mut kept = String::new();
    for line in host.lines() {
        let mut event: Value = serde_json::from_str(line)
            .map_err(|err| Failure(format!("the recorder wrote \"{line}\": {err}")))?;
        let Some(depth) = depth_below(&event, stage) else { continue };
        if event["process"]["name"].as_str().is_some_and(|name| FURNITURE.contains(&name)) {
            continue;
        }
        cut(&mut event, depth);
        neutralise(&mut event);
        kept += &names.without(&event.to_string());
        kept.push('\n');
    }
    Ok(kept)
}

/// How many ancestors up the stage is, counted from the parent.
fn depth_below(event: &Value, stage: u32) -> Option<usize> {
    let ancestors = event["groundtrail"]["process"]["ancestors"].as_array()?;
    ancestors.iter().position(|ancestor| ancestor["pid"] == json!(stage))
}

/// Drops the ancestors above the stage, and a session leader that is one of them.
fn cut(event: &mut Value, depth: usize) {
    for list in ["/groundtrail/process/ancestors", "/process/Ext/ancestry"] {
        if let Some(list) = event.pointer_mut(list).and_then(Value::as_array_mut) {
            list.truncate(depth + 1);
        }
    }
    let leader = event["process"]["entry_leader"]["entity_id"].clone();
    let is_kept = leader == event["process"]["entity_id"]
        || event["process"]["Ext"]["ancestry"].as_array().is_some_and(|kept| kept.contains(&leader));
    if let (false, Some(process)) = (is_kept, event.get_mut("process").and_then(Value::as_object_mut)) {
        process.remove("entry_leader");
    }
}

/// Takes out the addresses, the boot and the name of this machine.
fn neutralise(event: &mut Value) {
    if let Some(host) = event.get_mut("host").and_then(Value::as_object_mut) {
        host.insert("ip".to_owned(), json!(["10.0.1.10"]));
        host.insert("boot".to_owned(), json!({ "id": "00000000-0000-4000-8000-000000000001" }));
        host.insert("hostname".to_owned(), json!("ip-10-0-1-10.ec2.internal"));
    }
}

/// Texts that tell where a recording was made, the longest first, and what stands for them.
struct Names(Vec<(String, &'static str)>);

impl Names {
    fn of_this_machine(work: &Path, aws: &Path) -> Result<Self, Failure> {
        let python = aws.with_file_name("python");
        let python = shell::output(Command::new(python).args(["-c", "import sys; print(sys.base_prefix)"]))?;
        let kernel = shell::output(Command::new("uname").arg("-r"))?;
        let target = shell::target();
        let path = |path: &Path| path.display().to_string();
        Ok(Names(vec![
            (path(work), "/var/lib/stage"),
            (path(&target.join("debug")), "/usr/local/bin"),
            (path(&target.join("tools")), "/opt"),
            (path(&target), "/var/lib/stage"),
            (path(shell::root()), "/var/lib/stage"),
            (python, "/usr"),
            (kernel, "6.18.44"),
        ]))
    }

    fn without(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, neutral)| text.replace(name, neutral))
    }
}

/// All that was delivered, in one file per feed.
fn gather(delivered: &Path, folder: &Path, names: &Names) -> Result<(), Failure> {
    let mut files = BTreeSet::new();
    collect(delivered, &mut files)?;
    let mut records = Vec::new();
    for file in files {
        let text = shell::output(Command::new("gzip").arg("-dc").arg(&file))?;
        let path = file.display().to_string();
        if path.contains("/CloudTrail/") {
            let mut json: Value =
                serde_json::from_str(&text).map_err(|err| Failure(format!("\"{path}\": {err}")))?;
            if let Some(Value::Array(items)) = json.get_mut("Records").map(Value::take) {
                records.extend(items);
            }
        } else {
            let name = if path.contains("/GuardDuty/") { "guardduty.jsonl" } else { "vpcflow.log" };
            fs::write(folder.join(name), text + "\n")?;
        }
    }
    let lines: Vec<String> = records.iter().map(|record| names.without(&record.to_string())).collect();
    fs::write(folder.join("cloudtrail.json"), format!("{{\"Records\":[\n{}\n]}}\n", lines.join(",\n")))?;
    Ok(())
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}
