//! The SSM agent's process tree with its real names, paths, arguments and environment, and what it is told to do.
//!
//! One binary copied to the agent's names plays all of them: `amazon-ssm-agent` → `ssm-agent-worker` →
//! `ssm-document-worker <command id>` → `sh -c …/_script.sh`, and `ssm-session-worker <session id>` → `sh`. Each hop is a new
//! process group with the full path as its `argv[0]`. Commands and sessions arrive as files in the agent's own state
//! folder instead of over the wire. Left out: the session's pseudo-terminal and its user `ssm-user`.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::world;

/// The agent's folder on its host.
pub const FOLDER: &str = "/var/lib/amazon/ssm";

/// Where the agent of the stage keeps what it was told, under its instance's id.
pub fn documents() -> PathBuf {
    Path::new(FOLDER).join(world::INSTANCE_ID).join("document")
}

/// The same for the instance that this is, which has a folder of its own below the agent's.
fn own() -> io::Result<(String, PathBuf)> {
    let names = fs::read_dir(FOLDER)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let id = names.into_iter().find(|name| name.starts_with("i-"));
    let id = id.ok_or_else(|| io::Error::other(format!("no folder of an instance below {FOLDER}")))?;
    let documents = Path::new(FOLDER).join(&id).join("document");
    Ok((id, documents))
}

const AGENT: &str = "/usr/bin/amazon-ssm-agent";
const AGENT_WORKER: &str = "/usr/bin/ssm-agent-worker";
const DOCUMENT_WORKER: &str = "/usr/bin/ssm-document-worker";
const SESSION_WORKER: &str = "/usr/bin/ssm-session-worker";
/// How long a session stays open while nobody types.
const SESSION_IDLE: Duration = Duration::from_secs(60);

/// One `SendCommand`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub id: String,
    pub document: String,
    pub instance_ids: Vec<String>,
    pub comment: String,
    pub lines: Vec<String>,
}

/// A command as the API shows it to its caller, and as CloudTrail logs it.
pub struct Described {
    pub api: Value,
    pub logged: Value,
}

impl Command {
    /// From the body of the request; the id is new each time.
    pub fn from_request(params: &Map<String, Value>) -> Self {
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let list = |value: Option<&Value>| -> Vec<String> {
            value
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let seed = format!("{}/{}", Timestamp::now(), process::id());
        Command {
            id: crate::digest::uuid(&seed),
            document: text("DocumentName"),
            instance_ids: list(params.get("InstanceIds")),
            comment: text("Comment"),
            lines: list(params.get("Parameters").and_then(|parameters| parameters.get("commands"))),
        }
    }

    pub fn described(&self, now: Timestamp, region: &str) -> Described {
        let expires = now + SignedDuration::from_hours(2);
        let shared = json!({
            "CommandId": self.id, "DocumentName": self.document, "DocumentVersion": "$DEFAULT", "Comment": self.comment,
            "InstanceIds": self.instance_ids, "Targets": [], "MaxConcurrency": "50", "MaxErrors": "0",
            "Status": "Pending", "StatusDetails": "Pending", "TargetCount": self.instance_ids.len(), "CompletedCount": 0,
            "ErrorCount": 0, "DeliveryTimedOutCount": 0, "OutputS3Region": region, "OutputS3BucketName": "",
            "OutputS3KeyPrefix": "", "ServiceRole": "", "TimeoutSeconds": 3600,
            "NotificationConfig": { "NotificationArn": "", "NotificationEvents": [], "NotificationType": "" },
            "CloudWatchOutputConfig": { "CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": false },
            "AlarmConfiguration": { "IgnorePollAlarmFailure": false, "Alarms": [] }, "TriggeredAlarms": [],
        });
        let mut api = shared.clone();
        api["RequestedDateTime"] = json!(now.as_second());
        api["ExpiresAfter"] = json!(expires.as_second());
        api["Parameters"] = json!({ "commands": self.lines });
        let mut logged = crate::awsapi::camel_keys(shared);
        // SSM logs dates as a Java client prints them, and hides the script.
        logged["requestedDateTime"] = json!(java_date(now));
        logged["expiresAfter"] = json!(java_date(expires));
        logged["parameters"] = json!("HIDDEN_DUE_TO_SECURITY_REASONS");
        logged["interactive"] = json!(false);
        logged["clientName"] = json!("");
        logged["clientSourceId"] = json!("");
        logged["hasCancelCommandSignature"] = json!(false);
        logged["hasSendCommandSignature"] = json!(false);
        Described { api, logged }
    }

    /// Leaves the command where the agent looks for work.
    ///
    /// # Errors
    /// When the state folder cannot be written.
    pub fn deliver(&self, documents: &Path) -> io::Result<()> {
        let state = json!({ "DocumentInformation": { "CommandID": self.id, "DocumentName": self.document }, "Commands": self.lines });
        crate::cloudtrail::put(
            documents,
            &format!("state/pending/{}", self.id),
            state.to_string().as_bytes(),
        )?;
        Ok(())
    }
}

fn java_date(at: Timestamp) -> String {
    at.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string()
}

/// `GetCommandInvocation`: in progress until the document worker has written its result.
pub fn invocation(documents: &Path, command: &str, instance: &str) -> Value {
    let result = fs::read(documents.join("state/completed").join(command)).ok();
    let result: Option<Value> = result.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let status = match result.as_ref().map(|result| result["ExitCode"] == 0) {
        None => "InProgress",
        Some(true) => "Success",
        Some(false) => "Failed",
    };
    json!({
        "CommandId": command, "InstanceId": instance, "DocumentName": "AWS-RunShellScript",
        "PluginName": "aws:runShellScript", "Status": status, "StatusDetails": status,
        "ResponseCode": result.as_ref().map_or(json!(-1), |result| result["ExitCode"].clone()),
        "StandardOutputContent": result.as_ref().map_or(json!(""), |result| result["StandardOutput"].clone()),
        "StandardErrorContent": "",
    })
}

/// Copies this program to the agent's names. Call it only inside a namespace that has its own `/usr/bin`.
///
/// # Errors
/// When the copy fails.
pub fn install(program: &Path, instance: &str) -> io::Result<()> {
    fs::copy(program, AGENT)?;
    for name in [AGENT_WORKER, DOCUMENT_WORKER, SESSION_WORKER] {
        fs::hard_link(AGENT, name)?;
    }
    let documents = Path::new(FOLDER).join(instance).join("document");
    for state in ["pending", "current", "completed", "sessions", "typed", "ended"] {
        fs::create_dir_all(documents.join("state").join(state))?;
    }
    fs::create_dir_all("/var/log/amazon/ssm")
}

/// Leaves a session where the agent looks for work.
///
/// # Errors
/// When the state folder cannot be written.
pub fn open_session(documents: &Path, session: &str) -> io::Result<()> {
    crate::cloudtrail::put(documents, &format!("state/sessions/{session}"), b"").map(drop)
}

/// Types into a session; it ends with the text.
///
/// # Errors
/// When the state folder cannot be written, or the session does not end.
pub fn type_into(documents: &Path, session: &str, text: &str) -> io::Result<()> {
    crate::cloudtrail::put(documents, &format!("state/typed/{session}"), text.as_bytes())?;
    await_file(&documents.join("state/ended").join(session))
}

/// Waits until a command has its result.
///
/// # Errors
/// When it has none in the end.
pub fn await_command(documents: &Path, command: &str) -> io::Result<()> {
    await_file(&documents.join("state/completed").join(command))
}

fn await_file(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + SESSION_IDLE;
    while !path.exists() {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{} did not come within a minute", path.display())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts the agent; it ends when its standard input does, so it never outlives who started it. `vars` is what the commands
/// of a scenario need and a real agent would not have: where the AWS CLI lies, and which authority it trusts.
///
/// # Errors
/// When it is not installed.
pub fn start(vars: &[(&str, &str)]) -> io::Result<Child> {
    hop(AGENT, &[])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(vars.iter().copied())
        .spawn()
}

fn hop(path: &str, args: &[&str]) -> process::Command {
    let mut command = process::Command::new(path);
    command
        .args(args)
        .arg0(path)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .current_dir("/usr/bin");
    command
}

/// Plays the part that this process was started as, if its name is one of the agent's; does not return then.
pub fn play_if_named_so() {
    let mut args = env::args();
    let name = args.next().unwrap_or_default();
    let outcome = match name.as_str() {
        AGENT => agent(),
        AGENT_WORKER => agent_worker(),
        DOCUMENT_WORKER => document_worker(&args.next().unwrap_or_default()),
        SESSION_WORKER => session_worker(&args.next().unwrap_or_default()),
        _ => return,
    };
    if let Err(err) = outcome {
        eprintln!("{name}: {err}");
        process::exit(1);
    }
    process::exit(0);
}

/// Ends this process when whoever holds the other end of its standard input is gone.
pub fn end_with_standard_input() {
    thread::spawn(|| {
        drop(io::stdin().read_to_end(&mut Vec::new()));
        process::exit(0);
    });
}

fn agent() -> io::Result<()> {
    end_with_standard_input();
    let mut worker = hop(AGENT_WORKER, &[]).spawn()?;
    // Waiting would close the pipe that keeps the worker up.
    let lifeline = worker.stdin.take();
    let outcome = worker.wait().map(drop);
    drop(lifeline);
    outcome
}

fn agent_worker() -> io::Result<()> {
    end_with_standard_input();
    let state = own()?.1.join("state");
    loop {
        for entry in fs::read_dir(state.join("sessions"))? {
            let name = entry?.file_name();
            fs::rename(state.join("sessions").join(&name), state.join("current").join(&name))?;
            let mut worker = hop(SESSION_WORKER, &[&name.to_string_lossy()]).spawn()?;
            thread::spawn(move || worker.wait());
        }
        for entry in fs::read_dir(state.join("pending"))? {
            let name = entry?.file_name();
            fs::rename(state.join("pending").join(&name), state.join("current").join(&name))?;
            let id = name.to_string_lossy().into_owned();
            let mut worker = hop(DOCUMENT_WORKER, &[&id]).spawn()?;
            thread::spawn(move || worker.wait());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A shell that does what is typed.
fn session_worker(id: &str) -> io::Result<()> {
    let (_, documents) = own()?;
    let state = documents.join("state");
    await_file(&state.join("typed").join(id))?;
    let home = env::var_os("HOME").unwrap_or_else(|| "/".into());
    process::Command::new("sh")
        .env("TERM", "xterm-256color")
        .env("HOME", home)
        .current_dir("/usr/bin")
        .process_group(0)
        .stdin(File::open(state.join("typed").join(id))?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    fs::remove_file(state.join("current").join(id))?;
    crate::cloudtrail::put(&documents, &format!("state/ended/{id}"), b"").map(drop)
}

fn document_worker(id: &str) -> io::Result<()> {
    let (instance, documents) = own()?;
    let state = documents.join("state");
    let document: Value = serde_json::from_slice(&fs::read(state.join("current").join(id))?)?;
    let lines: Vec<&str> =
        document["Commands"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let folder =
        documents.join("orchestration").join(id).join("awsrunShellScript").join("0.awsrunShellScript");
    fs::create_dir_all(&folder)?;
    let script = folder.join("_script.sh");
    // As the agent writes it: no interpreter line, so the shell has to find out for itself.
    fs::write(&script, lines.join("\n") + "\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    let stdout = folder.join("stdout");
    let status = process::Command::new("sh")
        .arg("-c")
        .arg(&script)
        .env("SSM_COMMAND_ID", id)
        .env("AWS_SSM_INSTANCE_ID", instance)
        .env("AWS_SSM_REGION_NAME", world::REGION)
        .current_dir("/usr/bin")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(Stdio::null())
        .status()?;
    let said = fs::read(&stdout)?;
    let result = json!({ "ExitCode": status.code(), "StandardOutput": String::from_utf8_lossy(&said) });
    crate::cloudtrail::put(&documents, &format!("state/completed/{id}"), result.to_string().as_bytes())?;
    fs::remove_file(state.join("current").join(id))
}
