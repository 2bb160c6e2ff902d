//! The container image and the manifest: built, run with all privileges and with the least, read by Kubernetes' own schema.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::Built;
use crate::shell::{self, Failure};
use crate::test::Outcome;
use crate::{live, needs};

/// What docs/install.md says, less what one machine or another cannot give.
const PRIVILEGED: &[&str] = &["--privileged"];
/// The same sight without the privilege. The profile's path follows.
const LEAST: &[&str] = &[
    "--cap-drop=ALL",
    "--cap-add=BPF",
    "--cap-add=PERFMON",
    "--cap-add=NET_ADMIN",
    "--cap-add=SYS_PTRACE",
    "--cap-add=DAC_READ_SEARCH",
    "--read-only",
];
/// As long as a loaded machine may take to start a container.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(built: &Built) -> Result<Outcome, Failure> {
    if let Some(reason) = live::obstacle() {
        return Ok(Outcome::Skipped(reason));
    }
    for (program, package) in [("podman", "podman"), ("runc", "runc")] {
        needs::program(program, package, "builds and runs the container image")?;
    }
    let tag = format!("localhost/groundtrail-sensor:{}", built.version);
    shell::output(podman().args(["build", "--runtime=runc", "--tag", &tag]).arg(&built.image))?;
    let profile = format!("--security-opt=seccomp={}", built.image.join("seccomp.json").display());
    sees("gt-privileged", PRIVILEGED, &tag)?;
    sees("gt-least", &[LEAST, &[profile.as_str()]].concat(), &tag)?;
    let refused = refusal(&tag)?;
    shell::output(podman().args(["rmi", "--force", &tag]))?;
    if refused.contains("bpf") || refused.contains("BPF") || refused.contains("permitted") {
        return Ok(Outcome::Passed);
    }
    Err(Failure(format!("without capabilities the sensor says \"{refused}\", which names no way out")))
}

fn podman() -> Command {
    Command::new("podman")
}

fn container(name: &str) -> Command {
    let mut command = podman();
    command.args([
        "run",
        "--rm",
        "--runtime=runc",
        "--name",
        name,
        "--pid=host",
        "--network=host",
        "--uts=host",
    ]);
    // Lower than a runtime's defaults: a machine without CAP_SYS_RESOURCE may not raise its limits.
    command.args(["--ulimit=nofile=10000:10000", "--ulimit=nproc=10000:10000"]);
    command
        .args(["--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro", "--volume=/etc/machine-id:/etc/machine-id:ro"]);
    command
}

/// A program that runs outside is told by the sensor inside.
fn sees(name: &str, privileges: &[&str], tag: &str) -> Result<(), Failure> {
    let mut running = container(name).args(privileges).arg(tag).stdout(Stdio::piped()).spawn()?;
    let stdout = running.stdout.take().expect("piped");
    let (found, finds) = mpsc::channel();
    let marker = format!("{name}-marker");
    let wanted = marker.clone();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.contains(&wanted) && found.send(line).is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let seen = loop {
        shell::succeed(Command::new("true").arg(&marker))?;
        if let Ok(line) = finds.recv_timeout(Duration::from_millis(300)) {
            break Some(line);
        }
        if began.elapsed() > PATIENCE || running.try_wait()?.is_some() {
            break None;
        }
    };
    // 0 is well; 1 is that this machine keeps something back.
    let asked = podman().args(["exec", name, "/usr/bin/groundtrail-sensor", "status"]).output()?;
    // The container's own end: the client would leave it behind.
    drop(shell::output(podman().args(["stop", "--time=10", name])));
    running.wait()?;
    match seen {
        Some(line) if line.contains("\"action\":\"exec\"") => match asked.status.code() {
            Some(0 | 1) => Ok(()),
            _ => Err(Failure(format!(
                "{name}: nobody answers: {}",
                String::from_utf8_lossy(&asked.stderr).trim()
            ))),
        },
        Some(line) => Err(Failure(format!("{name}: the marker came in \"{line}\""))),
        None => Err(Failure(format!("{name}: the sensor in the container told of no program outside it"))),
    }
}

/// What the sensor says where it may do nothing.
fn refusal(tag: &str) -> Result<String, Failure> {
    let output = container("gt-refused").args(["--cap-drop=ALL", tag, "check"]).output()?;
    if output.status.success() {
        return Err(Failure("the sensor finds itself ready without any capability".to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The versions of Kubernetes whose schemas the manifest is held to: the oldest with all that it uses, and a current one.
const KUBERNETES: [&str; 2] = ["1.25", "1.33"];
const VALIDATOR: &str = "1.37.0";

pub(super) fn manifest(built: &Built) -> Result<Outcome, Failure> {
    let validator = match validator() {
        Ok(validator) => validator,
        Err(err) => {
            return Ok(Outcome::Skipped(format!("the schemas of Kubernetes are not to be had: {err}")));
        }
    };
    let manifest = built.image.join("daemonset.yaml");
    for version in KUBERNETES {
        validate(&validator, version, &manifest)?;
    }
    Ok(Outcome::Passed)
}

fn validate(validator: &Path, version: &str, manifest: &Path) -> Result<(), Failure> {
    shell::output(Command::new(validator).args(["--strict", "-k", version]).arg(manifest)).map(drop)
}

/// Kubernetes' schemas come with a checker on PyPI.
fn validator() -> Result<PathBuf, Failure> {
    let venv = shell::target().join("tools/kubernetes-validate");
    let program = venv.join("bin/kubernetes-validate");
    if !program.is_file() {
        shell::say(format!(
            "installing kubernetes-validate into {}: it holds the manifest to the schemas",
            venv.display()
        ));
        shell::output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let package = format!("kubernetes-validate=={VALIDATOR}");
        let mut pip = Command::new(venv.join("bin/pip"));
        shell::output(pip.args(["--quiet", "--disable-pip-version-check", "install", &package]))?;
    }
    Ok(program)
}
