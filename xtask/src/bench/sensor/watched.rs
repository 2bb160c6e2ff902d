//! The sensor at work: how soon it watches, how long an event takes, what it holds, and what a burst costs it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Table, Tools, grouped, median, quantile};
use crate::shell::{self, Failure};

const N_STARTS: usize = 5;
const N_MARKERS: usize = 300;
const N_BURST: u32 = 100_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A sensor that writes to a file, until this goes.
pub(super) struct Watched(Child);

impl Watched {
    pub(super) fn start(sensor: &Path, file: &Path) -> Result<Self, Failure> {
        let mut command = run(sensor);
        let child = command.arg("--file").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Attached and seeded within far less.
        thread::sleep(Duration::from_secs(2));
        Ok(Self(child))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Err(err) = shell::end(&mut self.0) {
            shell::say(format!("the sensor does not end: {err}"));
        }
    }
}

fn run(sensor: &Path) -> Command {
    let mut command = Command::new(sensor);
    // A host without an identity of its own still has one here.
    command.arg("run").stdin(Stdio::null()).env("RUST_LOG", "error");
    command
}

/// A sensor whose lines are read as they come.
struct Heard {
    child: Child,
    started: Instant,
    /// When the line with a marker came, and which.
    markers: Receiver<(Instant, String)>,
    reader: JoinHandle<Tale>,
}

/// What its lines came to.
#[derive(Default)]
struct Tale {
    n_lines: u64,
    n_bytes: u64,
    first: Option<Instant>,
    last: String,
}

impl Heard {
    fn start(sensor: &Path) -> Result<Self, Failure> {
        let started = Instant::now();
        let mut child = run(sensor).arg("--stdout").stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().expect("piped");
        let (found, markers) = mpsc::channel();
        let (watching, watches) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut tale = Tale::default();
            let mut lines = BufReader::with_capacity(1 << 20, stdout);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                let now = Instant::now();
                if tale.first.is_none() {
                    tale.first = Some(now);
                    _ = watching.send(());
                }
                tale.n_lines += 1;
                tale.n_bytes += line.len() as u64;
                if let Some(marker) = marker_of(&line) {
                    // Whoever asked may have heard enough.
                    drop(found.send((now, marker.to_owned())));
                }
                std::mem::swap(&mut tale.last, &mut line);
                line.clear();
            }
            tale
        });
        // Its first line says that it watches: what happens before is not its to tell.
        match watches.recv_timeout(PATIENCE) {
            Ok(()) => Ok(Self { child, started, markers, reader }),
            Err(_ended) => {
                shell::end(&mut child)?;
                Err(Failure("the sensor says nothing: run it to see why".to_owned()))
            }
        }
    }

    fn end(mut self) -> Result<Tale, Failure> {
        shell::end(&mut self.child)?;
        self.reader.join().map_err(|_panic| Failure("the reader of the sensor's lines panicked".to_owned()))
    }

    fn memory_kib(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Failure("the kernel does not say what the sensor holds".to_owned()))
    }

    /// From before the exec was asked for to its line in our hands.
    fn latency(&self, nth: usize) -> Result<Duration, Failure> {
        let marker = format!("{MARKER}{nth}.");
        let asked = Instant::now();
        shell::succeed(Command::new("true").arg(&marker))?;
        loop {
            let (came, found) = self
                .markers
                .recv_timeout(PATIENCE)
                .map_err(|_elapsed| Failure(format!("no line came of \"true {marker}\"")))?;
            if found == marker {
                return Ok(came - asked);
            }
        }
    }
}

const MARKER: &str = "gt-bench-marker-";

/// Only the exec's own line counts: the fork's, the exit's and the children's repeat its arguments.
fn marker_of(line: &str) -> Option<&str> {
    let at = line.find(MARKER)?;
    let marker = line[at..].split_inclusive('.').next()?;
    line.contains("\"action\":\"exec\"").then_some(marker)
}

pub(super) fn measure(tools: &Tools) -> Result<Table, Failure> {
    let mut table = Table::new("The sensor itself", &["what", "found", "wanted"]);
    let mut row =
        |what: &str, found: String, wanted: &str| table.row([what.to_owned(), found, wanted.to_owned()]);
    let starts = (0..N_STARTS).map(|_| start_ms(&tools.sensor)).collect::<Result<Vec<_>, _>>()?;
    row("from its start to its first line, ms", format!("{:.0}", median(starts.into_iter())), "at most 300");

    let heard = Heard::start(&tools.sensor)?;
    let latencies = (0..N_MARKERS).map(|nth| heard.latency(nth)).collect::<Result<Vec<_>, _>>()?;
    let ms = || latencies.iter().map(|latency| latency.as_secs_f64() * 1e3);
    let found = format!("{:.1}, {:.1}", median(ms()), quantile(ms(), 0.99));
    row("from asking for an exec to its line, ms, median and p99", found, "p99 at most 100");
    row("memory at rest, MiB (RSS)", format!("{:.1}", heard.memory_kib()? / 1024.0), "at most 25");

    let began = Instant::now();
    tools.run("exec", N_BURST)?;
    let took = began.elapsed();
    let memory = heard.memory_kib()? / 1024.0;
    let tale = heard.end()?;
    let lost = lost(&tale.last)?;
    let made = f64::from(N_BURST + N_BURST.div_ceil(20));
    row("execs in a burst", grouped(made), "100,000");
    row("of those per second", grouped(made / took.as_secs_f64()), "");
    row("lines written", grouped(tale.n_lines as f64), "");
    row("bytes per line", grouped(tale.n_bytes as f64 / tale.n_lines as f64), "");
    row("events lost", grouped(lost), "0");
    row("memory after the burst, MiB (RSS)", format!("{memory:.1}"), "at most 25");
    table.note("at the default size of the ring; execs, forks and exits are a line each");
    Ok(table)
}

fn start_ms(sensor: &Path) -> Result<f64, Failure> {
    let heard = Heard::start(sensor)?;
    let started = heard.started;
    let tale = heard.end()?;
    let first = tale.first.ok_or_else(|| Failure("the sensor says nothing: run it to see why".to_owned()))?;
    Ok((first - started).as_secs_f64() * 1e3)
}

/// What the farewell counts as lost, of every kind of event.
fn lost(farewell: &str) -> Result<f64, Failure> {
    let event: Value = serde_json::from_str(farewell)
        .map_err(|err| Failure(format!("the sensor's last line is no JSON: {err}")))?;
    let counters = event.pointer("/groundtrail/sensor/counters").and_then(Value::as_array);
    let counters =
        counters.ok_or_else(|| Failure(format!("the sensor's last line is no farewell: {farewell}")))?;
    Ok(counters.iter().filter_map(|counter| counter["lost"].as_f64()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_taken_from_the_execs_line_alone() {
        let exec = r#"{"event":{"action":"exec"},"process":{"args":["true","gt-bench-marker-17."]}}"#;
        assert_eq!(marker_of(exec), Some("gt-bench-marker-17."));
        assert_eq!(marker_of(&exec.replace("\"exec\"", "\"end\"")), None);
        assert_eq!(marker_of("{}"), None);
    }

    #[test]
    fn losses_of_all_kinds_are_added_up() {
        let farewell =
            r#"{"groundtrail":{"sensor":{"counters":[{"kind":"exec","lost":2},{"kind":"exit","lost":3}]}}}"#;
        assert_eq!(lost(farewell).ok(), Some(5.0));
        assert!(lost("{}").is_err());
    }
}
