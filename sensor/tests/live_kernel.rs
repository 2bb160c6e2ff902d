//! The real binary on this machine's own kernel: lineage against ground truth, identity over restarts, and a recording
//! that replays to its own bytes. Needs root and a kernel that takes the programs.
#![cfg(feature = "live-kernel")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where `cargo xtask` shows what was skipped: the runner holds back what a test that passes prints.
#[path = "../../tests/harness/skip.rs"]
#[expect(unreachable_pub, reason = "the harness offers it to other crates")]
mod skip;

#[path = "live/faults.rs"]
mod faults;
#[path = "live/identity.rs"]
mod identity;
#[path = "live/soak.rs"]
mod soak;

/// Sensors see each other's processes; tests that count take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A program that does not outlive the test that started it, should that fail.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The running sensor, whose events are gathered until it is told to end.
struct Sensor {
    program: Program,
    events: JoinHandle<Vec<Value>>,
}

impl Sensor {
    /// Starts, and waits until the sensor says that it watches.
    fn start() -> Self {
        // Room for the burst whole: a debug build on a busy machine reads slowly, and loss is another test's matter.
        Self::with_ring(128 << 20)
    }

    fn with_ring(ring_bytes: u32) -> Self {
        let config = config(ring_bytes);
        let mut command = sensor();
        command.args(["run", "--stdout", "--config"]).arg(config.path()).stdout(Stdio::piped());
        command.arg("--status-socket").arg(status_socket());
        let mut program = Program(command.spawn().expect("the sensor starts"));
        let mut lines = BufReader::new(program.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let first = lines.next().expect("the sensor ended at once: its message is above");
        assert!(first.contains("groundtrail_health"), "{first}");
        let parse = |line: String| serde_json::from_str(&line).expect("a JSON document");
        let events = thread::spawn(move || lines.map(parse).collect());
        Self { program, events }
    }

    /// Ends it as systemd would. What is in the ring must still come out.
    fn end(mut self) -> Vec<Value> {
        terminate(&self.program.0);
        assert!(self.program.0.wait().expect("a child").success());
        self.events.join().expect("the reader ends")
    }
}

/// Where this test's sensor answers.
fn status_socket() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("groundtrail-test-{}/status.sock", std::process::id()))
}

#[test]
fn a_running_sensor_tells_how_it_is_and_sees_its_canary() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ask = |verb: &[&str]| {
        let output = sensor().args(verb).arg("--socket").arg(status_socket()).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(ask(&["status"]).0, Some(3), "nobody is there yet");
    let running = Sensor::start();
    let pid = running.program.0.id();
    // The first report comes within a second.
    thread::sleep(Duration::from_millis(1500));
    let (code, text) = ask(&["status"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("running") && text.contains(&format!("{pid} since")), "{text}");
    let (_, json) = ask(&["status", "--json"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&report["pid"], &report["lost_lately"]), (&pid.into(), &0.into()));
    assert!(report["sensor"]["resources"]["resident_bytes"].as_u64().is_some_and(|size| size > 1 << 20));
    let (code, verdict) = ask(&["selftest"]);
    assert_eq!(code, Some(0), "{verdict}");
    let events = running.end();
    assert!(execs(&events, "self-test-helper").len() >= 2, "the start's and the canary's");
    assert_eq!(ask(&["status"]).0, Some(3), "nobody is there any more");
}

fn config(ring_bytes: u32) -> tempfile::NamedTempFile {
    let config = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("[host]\nid = \"live-test\"\n[limits]\nring_bytes = {ring_bytes}\n");
    fs::write(config.path(), text).expect("written");
    config
}

/// The counters of a report: every kind's by their names.
fn counters(report: &Value) -> Vec<HashMap<String, Value>> {
    let counters = report["groundtrail"]["sensor"]["counters"].clone();
    serde_json::from_value(counters).expect("counters")
}

/// Nothing that the kernel saw is unaccounted for; how many events were lost.
fn adds_up(farewell: &Value) -> u64 {
    assert_eq!(farewell["groundtrail"]["sensor"]["state"], "stopped", "{farewell:#}");
    let number = |counter: &HashMap<String, Value>, name: &str| counter[name].as_u64().expect("a number");
    let counters = counters(farewell);
    for counter in &counters {
        // Some kernels tell of an exit twice; the second is no event.
        let slack = if counter["kind"] == "exit" { number(counter, "seen") / 100 } else { 0 };
        let told = number(counter, "delivered") + number(counter, "lost") + number(counter, "suppressed");
        let seen = number(counter, "seen");
        assert!(told <= seen && seen <= told + slack, "{counter:?}");
    }
    counters.iter().map(|counter| number(counter, "lost")).sum()
}

fn sensor() -> Command {
    let built = env!("CARGO_BIN_EXE_groundtrail-sensor");
    // A soak is of the release binary, which its caller names.
    let mut command = Command::new(std::env::var("GROUNDTRAIL_SENSOR").unwrap_or_else(|_| built.to_owned()));
    command.stdin(Stdio::null());
    command
}

fn terminate(child: &Child) {
    let status = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(status.expect("kill runs").success());
}

fn text<'v>(event: &'v Value, pointer: &str) -> &'v str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is(event: &Value, action: &str) -> bool {
    event["event"]["action"] == action
}

/// Execs whose arguments start with these.
fn execs<'v>(events: &'v [Value], tag: &str) -> Vec<&'v Value> {
    events
        .iter()
        .filter(|event| is(event, "exec") && text(event, "/process/args/1").starts_with(tag))
        .collect()
}

#[test]
fn two_thousand_short_lives_all_have_their_own_parent() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    const N_PARENTS: usize = 10;
    const N_CHILDREN: usize = 200;
    let sensor = Sensor::start();
    let script =
        format!("i=0; while [ $i -lt {N_CHILDREN} ]; do /bin/true gt-lineage-$$-$i; i=$((i+1)); done");
    let parents: Vec<Child> = (0..N_PARENTS)
        .map(|_| Command::new("sh").arg("-c").arg(&script).spawn().expect("a shell starts"))
        .collect();
    let pids: Vec<u32> = parents.iter().map(Child::id).collect();
    for mut parent in parents {
        assert!(parent.wait().expect("a child").success());
    }
    let events = sensor.end();

    let children = execs(&events, "gt-lineage-");
    let farewell = events.last().expect("a farewell");
    assert_eq!(children.len(), N_PARENTS * N_CHILDREN, "{farewell:#}");
    let mut entity_of: HashMap<u32, &str> = HashMap::new();
    for child in &children {
        // The shell wrote its own pid into the argument: nobody else's word counts.
        let told: u32 =
            text(child, "/process/args/1").split('-').nth(2).expect("a pid").parse().expect("a number");
        assert!(pids.contains(&told));
        assert_eq!(child["process"]["parent"]["pid"], told, "{child:#}");
        assert_eq!(text(child, "/process/parent/args/2"), script);
        let entity = text(child, "/process/parent/entity_id");
        assert_eq!(*entity_of.entry(told).or_insert(entity), entity);
        assert_eq!(text(child, "/process/Ext/ancestry/0"), entity);
        let grandparent = child.pointer("/groundtrail/process/ancestors/1/pid");
        assert_eq!(grandparent.and_then(Value::as_u64), Some(std::process::id().into()));
    }
    assert_eq!(entity_of.len(), N_PARENTS);
    let ended =
        |event: &&Value| is(event, "end") && text(event, "/process/args/1").starts_with("gt-lineage-");
    assert_eq!(events.iter().filter(ended).count(), children.len());
    let last = events.last().expect("a farewell");
    assert_eq!(last["groundtrail"]["sensor"]["state"], "stopped");
    let lost: u64 = last["groundtrail"]["sensor"]["counters"]
        .as_array()
        .expect("counters")
        .iter()
        .filter_map(|c| c["lost"].as_u64())
        .sum();
    assert_eq!(lost, 0);
}

#[test]
fn a_process_keeps_its_entity_over_a_restart_of_the_sensor() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let first = Sensor::start();
    let mut shell =
        Command::new("sh").args(["-s", "gt-restart"]).stdin(Stdio::piped()).spawn().expect("a shell starts");
    // The kernel tells of the shell now; the second sensor will find it in /proc.
    thread::sleep(Duration::from_millis(200));
    let from_kernel = first.end();
    let second = Sensor::start();
    shell.stdin.take().expect("piped").write_all(b"/bin/true gt-after\n").expect("the shell listens");
    assert!(shell.wait().expect("a child").success());
    let from_proc = second.end();

    let of_shell = |event: &&Value| is(event, "exec") && event["process"]["pid"] == shell.id();
    let exec = from_kernel.iter().find(of_shell).expect("the shell's exec");
    let child = execs(&from_proc, "gt-after")[0];
    assert_eq!(text(child, "/process/parent/entity_id"), text(exec, "/process/entity_id"));
    assert_eq!(text(child, "/process/parent/executable"), text(exec, "/process/executable"));
    assert_eq!(child["process"]["parent"]["args"], exec["process"]["args"]);
}

#[test]
fn a_script_a_connection_and_an_environment_are_told_as_they_are() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("aws");
    fs::write(&script, "#!/bin/sh\nexit 3\n").expect("written");
    assert!(Command::new("chmod").arg("+x").arg(&script).status().expect("chmod runs").success());
    // Bound and dropped again: a port that nobody listens on.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let sensor = Sensor::start();
    let status = Command::new("./aws")
        .current_dir(dir.path())
        .args(["gt-script", "", "--endpoint-url", "http://x", ""])
        .env("AWS_PROFILE", "dev")
        .env("AWS_SECRET_ACCESS_KEY", "gt-hush")
        .status();
    assert_eq!(status.expect("the script runs").code(), Some(3));
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    _ = Command::new("bash").args(["-c", &connect, "gt-connect"]).stderr(Stdio::null()).status();
    let events = sensor.end();

    let exec = events
        .iter()
        .find(|event| is(event, "exec") && text(event, "/process/args/2") == "gt-script")
        .expect("the exec");
    let process = &exec["process"];
    assert_eq!(process["name"], "aws");
    assert_eq!(exec["groundtrail"]["process"]["exec_path"], "./aws");
    assert_eq!(
        text(exec, "/process/executable"),
        fs::canonicalize("/bin/sh").expect("a shell").to_str().expect("UTF-8")
    );
    assert_eq!(
        process["args"],
        serde_json::json!(["/bin/sh", "./aws", "gt-script", "", "--endpoint-url", "http://x", ""])
    );
    assert_eq!(
        text(exec, "/process/working_directory"),
        fs::canonicalize(dir.path()).expect("a path").to_str().expect("UTF-8")
    );
    assert!(process["env_vars"].as_array().expect("variables").contains(&"AWS_PROFILE=dev".into()));
    assert!(!serde_json::to_string(&events).expect("JSON").contains("gt-hush"));
    let end =
        events.iter().find(|event| is(event, "end") && event["process"]["entity_id"] == process["entity_id"]);
    assert_eq!(end.expect("its end")["process"]["exit_code"], 3);

    let tried = |event: &&Value| is(event, "connection_attempted") && event["destination"]["port"] == port;
    let connection = events.iter().find(tried).expect("the attempt");
    assert_eq!(connection["destination"]["ip"], "127.0.0.1");
    assert_eq!(
        (&connection["event"]["outcome"], &connection["network"]["transport"]),
        (&"unknown".into(), &"tcp".into())
    );
    assert_eq!(text(connection, "/process/args/3"), "gt-connect");
    assert_eq!(connection["process"]["parent"]["pid"], std::process::id());
}

#[test]
fn what_the_capture_cuts_is_completed() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a directory");
    let mut deep = fs::canonicalize(dir.path()).expect("a path");
    deep.extend(std::iter::repeat_n("a", 60));
    fs::create_dir_all(&deep).expect("directories");
    fs::copy(fs::canonicalize("/bin/sleep").expect("a program"), deep.join("tool")).expect("copied");
    let sensor = Sensor::start();
    fs::copy(fs::canonicalize("/bin/true").expect("a program"), deep.join("short")).expect("copied");
    // Both live until the sensor has looked. The one that does not is told by its parent; the padding comes first, as
    // names are sorted.
    let script = "../a/short gt; exec sleep 60";
    let shell = Command::new("sh").args(["-c", script]).current_dir(&deep).spawn();
    let tool = Command::new("../a/tool")
        .arg("60")
        .env_clear()
        .env("AAA_PAD", "q".repeat(41_000))
        .env("AWS_ENDPOINT_URL", "http://evil")
        .current_dir(&deep)
        .spawn();
    thread::sleep(Duration::from_secs(1));
    let events = sensor.end();
    for child in [shell, tool] {
        let mut child = child.expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("a child");
    }
    for name in ["short", "tool"] {
        let given = format!("../a/{name}");
        let is_it = |event: &&Value| is(event, "exec") && text(event, "/process/args/0") == given;
        let exec = events.iter().find(is_it).expect("the exec");
        assert_eq!(text(exec, "/process/executable"), deep.join(name).to_str().expect("UTF-8"));
        assert_eq!(text(exec, "/process/working_directory"), deep.to_str().expect("UTF-8"));
        assert_eq!(exec["groundtrail"]["process"]["executable_truncated"], Value::Null);
    }
    let is_tool = |event: &&Value| is(event, "exec") && text(event, "/process/args/0") == "../a/tool";
    let exec = events.iter().find(is_tool).expect("the exec");
    assert_eq!(exec["process"]["env_vars"], serde_json::json!(["AWS_ENDPOINT_URL=http://evil"]));
    assert_eq!(exec["groundtrail"]["process"]["env_truncated"], Value::Null);
}

#[test]
fn a_running_sensor_has_let_go_of_its_powers() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sensor = Sensor::start();
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
    };
    // CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, and CAP_BPF where the kernel wants it for each look at a counter.
    let (reading, with_bpf) = (1_u64 << 2 | 1 << 19, 1_u64 << 2 | 1 << 19 | 1 << 39);
    let tasks = format!("/proc/{}/task", sensor.program.0.id());
    let tasks: Vec<_> = fs::read_dir(tasks).expect("its threads").flatten().collect();
    assert!(tasks.len() > 1, "it has a thread that writes");
    for task in &tasks {
        let status = fs::read_to_string(task.path().join("status")).expect("a status");
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let held = u64::from_str_radix(&field(&status, set), 16).expect("a number");
            assert!([0, reading, with_bpf].contains(&held), "{set} {held:x} of {status}");
        }
        assert_eq!(field(&status, "NoNewPrivs:"), "1");
    }
    // It still looks into another user's process, and its counters.
    let mut child = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sleep", "60"])
        .env("AWS_PROFILE", "gt-stranger")
        .env("AAA_PAD", "q".repeat(41_000))
        .spawn()
        .expect("it runs");
    thread::sleep(Duration::from_millis(500));
    let events = sensor.end();
    child.kill().and_then(|()| child.wait()).expect("a child");
    let is_it = |event: &&Value| {
        is(event, "exec") && text(event, "/process/args/0") == "sleep" && event["user"]["id"] == "65534"
    };
    let exec = events.iter().find(is_it).expect("the exec");
    assert!(
        exec["process"]["env_vars"]
            .as_array()
            .is_some_and(|vars| vars.contains(&"AWS_PROFILE=gt-stranger".into())),
        "{exec:#}"
    );
    let last = events.last().expect("a farewell");
    assert!(last["groundtrail"]["sensor"]["counters"][0]["seen"].as_u64().is_some_and(|seen| seen > 0));
}

#[test]
fn a_check_says_what_a_run_would_meet() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = tempfile::NamedTempFile::new().expect("a file");
    fs::write(config.path(), "[host]\nid = \"live-test\"\n").expect("written");
    let under = |wrapper: &[&str], verb: &[&str]| {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_groundtrail-sensor")).args(verb);
        let output = command.arg("--config").arg(config.path()).stdin(Stdio::null()).output();
        output.unwrap_or_else(|err| panic!("{} runs: {err}", wrapper[0]))
    };
    for lacking in ["-bpf,-sys_admin", "-perfmon,-sys_admin"] {
        for verb in [&["check"][..], &["run", "--stdout"]] {
            let output = under(&["setpriv", "--bounding-set", lacking], verb);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), said.lines().count()), (Some(3), 1), "{verb:?}: {said}");
        }
    }
    let output = under(&["unshare", "--pid", "--fork", "--mount-proc"], &["check"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("--pid=host"), "{said}");
    assert!(!String::from_utf8_lossy(&under(&["env"], &["check"]).stdout).contains("--pid=host"));
}

#[test]
fn a_recording_replays_to_its_own_bytes() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a directory");
    let record = |name: &str, more: &[&str]| {
        let folder = dir.path().join(name);
        let mut command = sensor();
        // Long enough for a slow machine; a recorder that nobody ends is not to run for ever.
        command.args(["record", "--for", "120s", "-o"]).arg(&folder).args(more);
        (folder, Program(command.spawn().expect("the sensor starts")))
    };
    let mut shell = Command::new("sh").arg("-s").stdin(Stdio::piped()).spawn().expect("a shell starts");
    let (all, mut everything) = record("all", &[]);
    let (tree, mut descendants) = record("tree", &["--filter-tree", &shell.id().to_string()]);
    // Made once the programs are attached and the table is seeded.
    for folder in [&all, &tree] {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !folder.join("ring.bin").exists() {
            assert!(Instant::now() < deadline, "the recorder does not come up");
            thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(Command::new("/bin/true").arg("gt-elsewhere").status().expect("it runs").success());
    let work =
        b"(/bin/true gt-inner; sh -c '/bin/true gt-deep; :')\nfor i in 1 2 3; do /bin/true gt-$i; done\n";
    shell.stdin.take().expect("piped").write_all(work).expect("the shell listens");
    assert!(shell.wait().expect("a child").success());
    for Program(child) in [&mut everything, &mut descendants] {
        terminate(child);
        assert!(child.wait().expect("a child").success());
    }
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).expect("recorded");
    for folder in [&all, &tree] {
        let events = read(folder, "host.ndjson");
        assert!(
            sensor::record::replay(&read(folder, "ring.bin")).expect("a recording") == events,
            "{}",
            folder.display()
        );
    }
    let of_tree = String::from_utf8(read(&tree, "host.ndjson")).expect("text");
    assert!(of_tree.contains("gt-deep") && of_tree.contains("gt-3") && !of_tree.contains("gt-elsewhere"));
    assert!(String::from_utf8(read(&all, "host.ndjson")).expect("text").contains("gt-elsewhere"));
}
