//! `cargo xtask run`: the main job on this machine, from nothing to alerts on the terminal.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::shell::{self, Failure};
use crate::{ebpf, live, needs, record};

#[derive(Args)]
pub(crate) struct Run {
    /// Play a short harmless scenario, and end when its alerts have been shown.
    #[arg(long)]
    demo: bool,
    /// The folder of CloudTrail files to follow [default: cloudtrail/ in the state folder].
    #[arg(long, value_name = "DIR")]
    cloudtrail: Option<PathBuf>,
    /// Where the store, the socket and the configuration of this run live [default: groundtrail/ in the target folder].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// What the demo replays where it cannot watch this kernel.
const RECORDED: &str = "tests/traces/demo";
/// Whoever runs this for the first time waits for the build.
const PROFILE: &str = "quick";
/// How long the demo waits for the last alerts once its scenario is over.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) fn run(run: &Run) -> Result<(), Failure> {
    let stop = stop_on_ctrl_c()?;
    if let Some(reason) = live::obstacle() {
        return replay_instead(&reason);
    }
    if let Err(err) = ebpf::prepare() {
        return replay_instead(&format!("the eBPF object cannot be built here: {err}"));
    }
    build(&["sensor", "correlator"], run.demo)?;
    let sensor = built("groundtrail-sensor");
    if let Some(refusal) = live::refusal(&sensor)? {
        return replay_instead(&format!("this kernel refuses the sensor: {refusal}"));
    }

    let place = Place::lay_out(run)?;
    let mut crew = Crew::default();
    let correlator = crew.start(
        "groundtrail",
        Command::new(built("groundtrail")).arg("--config").arg(&place.config).arg("run"),
    )?;
    place.await_socket(&mut crew, correlator, &stop)?;
    let mut command = Command::new(sensor);
    command.arg("run").arg("--config").arg(&place.sensor_config);
    crew.start("groundtrail-sensor", &mut command)?;
    shell::say(format!("watching this kernel and {}; Ctrl-C ends it", place.cloudtrail.display()));

    let outcome = if run.demo { play(&mut crew, &place, &stop) } else { crew.watch(&stop, |_| false) };
    crew.end()?;
    outcome
}

fn play(crew: &mut Crew, place: &Place, stop: &AtomicBool) -> Result<(), Failure> {
    needs::scenario_programs()?;
    let aws = needs::aws_cli()?;
    let mut command = Command::new(built("groundtrail-stage"));
    command.arg("play").args(record::DEMO).arg("--cloudtrail").arg(&place.cloudtrail).arg("--aws").arg(aws);
    // Its progress is for whoever debugs a scene; here it would stand between the alerts.
    let stage = crew.start("groundtrail-stage", command.stdout(Stdio::null()))?;
    shell::say("playing a harmless scenario in a network namespace of its own");
    let mut over: Option<Instant> = None;
    crew.watch(stop, |ended| {
        if over.is_none() && ended.iter().any(|(n, _)| *n == stage) {
            shell::say("the scenario is over; waiting for its last alerts");
            over = Some(Instant::now());
        }
        over.is_some_and(|at| at.elapsed() > SETTLE)
    })
}

fn build(packages: &[&str], with_stage: bool) -> Result<(), Failure> {
    shell::say("building with optimisation: minutes the first time, seconds after that");
    let mut command = shell::cargo(&["build", "--profile", PROFILE, "--bins"]);
    for package in packages.iter().chain(with_stage.then_some(&"tests")) {
        command.args(["--package", package]);
    }
    shell::succeed(&mut command)
}

fn built(binary: &str) -> PathBuf {
    shell::target().join(PROFILE).join(binary)
}

/// Shows a recorded trace through the same correlator.
fn replay_instead(reason: &str) -> Result<(), Failure> {
    shell::say(format!("cannot watch this kernel: {reason}; replaying a recorded trace instead"));
    build(&["correlator"], false)?;
    let trace = shell::root().join(RECORDED);
    let mut command = Command::new(built("groundtrail"));
    command.arg("--config").arg(trace.join("groundtrail.toml")).arg("replay");
    command.arg("--host").arg(trace.join("host.ndjson"));
    for (feed, file) in
        [("cloudtrail", "cloudtrail.json"), ("guardduty", "guardduty.jsonl"), ("vpcflow", "vpcflow.log")]
    {
        command.arg(format!("--{feed}")).arg(trace.join(file));
    }
    command.args(["--final", "--output", "pretty"]);
    shell::succeed(&mut command)
}

/// The folder of one run.
struct Place {
    config: PathBuf,
    sensor_config: PathBuf,
    socket: PathBuf,
    cloudtrail: PathBuf,
}

impl Place {
    fn lay_out(run: &Run) -> Result<Self, Failure> {
        let state = match (&run.state, run.demo) {
            (Some(state), _) => state.clone(),
            (None, false) => shell::target().join("groundtrail"),
            (None, true) => {
                // What one demo has seen would be no news in the next.
                let state = shell::target().join("groundtrail/demo");
                drop(fs::remove_dir_all(&state));
                state
            }
        };
        let cloudtrail = run.cloudtrail.clone().unwrap_or_else(|| state.join("cloudtrail"));
        fs::create_dir_all(&cloudtrail)?;
        fs::create_dir_all(&state)?;
        let state = state.canonicalize()?;
        let place = Place {
            config: state.join("groundtrail.toml"),
            sensor_config: state.join("sensor.toml"),
            socket: state.join("sensor.sock"),
            cloudtrail: cloudtrail.canonicalize()?,
        };
        // A socket left by a run that was killed would look like one that listens.
        drop(fs::remove_file(&place.socket));
        fs::write(&place.config, place.correlator_text(&state, run.demo)?)?;
        fs::write(&place.sensor_config, place.sensor_text(run.demo))?;
        Ok(place)
    }

    fn correlator_text(&self, state: &Path, is_demo: bool) -> Result<String, Failure> {
        let folder = quoted(&self.cloudtrail);
        let mut text = format!("[store]\npath = {}\n\n", quoted(&state.join("groundtrail.db")));
        text += &format!("[[source]]\ntype = \"sensor\"\nunix = {}\n\n", quoted(&self.socket));
        for feed in ["cloudtrail", "guardduty", "vpcflow"] {
            text += &format!("[[source]]\ntype = \"{feed}\"\npath = {folder}\nfollow = true\n\n");
        }
        if is_demo {
            let indicators = state.join("indicators.txt");
            fs::write(&indicators, "# an address of the demo's flow log (RFC 5737)\n192.0.2.66\n")?;
            text += &format!("[[indicators]]\npath = {}\nprovider = \"demo\"\n\n", quoted(&indicators));
            // Somebody watches, whether or not through a pipe.
            text += "[output]\nformat = \"pretty\"\n";
        }
        Ok(text)
    }

    fn sensor_text(&self, is_demo: bool) -> String {
        let mut text = format!("[output]\nto = \"socket\"\npath = {}\n", quoted(&self.socket));
        if is_demo {
            // The instance that the scenario's AWS calls speak of.
            text += "\n[host]\ninstance_id = \"i-0a1b2c3d4e5f60718\"\naccount = \"111122223333\"\nregion = \"us-east-1\"\n";
        }
        text
    }

    fn await_socket(&self, crew: &mut Crew, correlator: usize, stop: &AtomicBool) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let socket = self.socket.clone();
        crew.watch(stop, |ended| {
            socket.exists() || ended.iter().any(|(n, _)| *n == correlator) || Instant::now() > deadline
        })?;
        if self.socket.exists() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Failure(format!(
            "the correlator did not open {}; its own message is above",
            self.socket.display()
        )))
    }
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

/// The processes of a run, ended in the reverse of the order they were started in.
#[derive(Default)]
struct Crew {
    members: Vec<(&'static str, Child)>,
}

impl Crew {
    fn start(&mut self, name: &'static str, command: &mut Command) -> Result<usize, Failure> {
        // A group of its own: Ctrl-C at the terminal reaches us alone, and we end the others in order.
        command.process_group(0).stdin(Stdio::null());
        let child = command.spawn().map_err(|err| Failure(format!("cannot start {name}: {err}")))?;
        self.members.push((name, child));
        Ok(self.members.len() - 1)
    }

    /// Waits until `is_done` says so, a member fails, or the person at the terminal has had enough.
    fn watch(
        &mut self,
        stop: &AtomicBool,
        mut is_done: impl FnMut(&[(usize, ExitStatus)]) -> bool,
    ) -> Result<(), Failure> {
        while !stop.load(Ordering::Relaxed) {
            let mut ended = Vec::new();
            for (n, (name, child)) in self.members.iter_mut().enumerate() {
                let Some(status) = child.try_wait()? else { continue };
                if !status.success() {
                    return Err(Failure(format!("{name} ended: {status}; its own message is above")));
                }
                ended.push((n, status));
            }
            if is_done(&ended) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        for (_, mut child) in self.members.drain(..).rev() {
            shell::end(&mut child)?;
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed))
        .map_err(|err| Failure(format!("cannot listen for Ctrl-C: {err}")))?;
    Ok(stop)
}
