//! Recording: the raw records beside the events made of them, so that the same events can be made again anywhere.

mod file;
mod scrub;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assembly::{Assembly, Fate};
use crate::clock::Clock;
use crate::config::{Config, EnvAllow};
use crate::enrich::Enricher;
use crate::host::HostFacts;
use crate::loader::{Kernel, LoadOptions};
use crate::lookup::{Live, Lookups};
use crate::pipeline::RunError;
use crate::private;
use crate::process::id::{Key, Tgid};
use crate::process::procfs::Snapshot;
use crate::process::table::Caps;
use crate::stop::Stop;
use crate::watch::{FileWatch, PatternError, Patterns};
use file::{Frame, FrameError, Reader, Writer};

/// Records taken before what they make is written: some megabytes at worst.
const MAX_DRAIN: usize = 64;
/// Most that the end takes out of a ring that others go on filling: more than any ring holds of the shortest record.
const MAX_LAST: usize = 4 << 20;

/// What to record, and where to.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    /// Events, one a line.
    pub events: &'a Path,
    /// Raw records; none are kept without it.
    pub raw: Option<&'a Path>,
    /// Until a signal if there is none.
    pub length: Option<Duration>,
    /// Keep this process and its descendants alone; its ancestors come along as context.
    pub tree: Option<u32>,
}

/// Opens every recording of raw records.
#[derive(Debug, Serialize, Deserialize)]
struct Preamble {
    abi_version: u32,
    clock_offset_ns: i64,
    host: HostFacts,
    environment: Vec<String>,
    files: Patterns,
    table: Caps,
    tree: Option<u32>,
    /// The process table as /proc showed it once the programs were attached.
    seed: Vec<Snapshot>,
}

/// An answer from outside that an event was made with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Answer {
    User(u32, String),
    Group(u32, String),
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot write the recording")]
    Write(#[from] io::Error),
    #[error("there is no process {0} to keep the descendants of: start it before the recording")]
    NoSuchTree(u32),
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the recording is of record version {found}, this build reads {expected}: record it anew")]
    Version { found: u32, expected: u32 },
    #[error("the recording's environment list is refused")]
    Environment(#[from] crate::config::EnvError),
    #[error("the recording's list of watched files is refused")]
    Files(#[from] PatternError),
    #[error("the recording lacks its preamble: it is empty or not ours")]
    NoPreamble,
}

/// Records until the time is up or a signal comes. Returns how many events were lost meanwhile.
///
/// # Errors
/// Whatever keeps the sensor from starting, and files that cannot be written.
pub async fn record(config: &Config, load: &LoadOptions, what: &Recording<'_>) -> Result<u64, RecordError> {
    let mut stop = Stop::listen().map_err(|source| RunError::Signal { source })?;
    let facts = HostFacts::gather(Path::new("/"), &config.host).map_err(RunError::Host)?;
    let mut kernel = Kernel::load(load).map_err(RunError::Load)?;
    let live = Live::new(Path::new("/"), config.environment.clone());
    let seed = seed(live.processes(), what.tree)?;
    let preamble = Preamble {
        abi_version: sensor_ebpf::abi::VERSION,
        clock_offset_ns: Clock::measure().offset_ns(),
        host: facts,
        environment: config.environment.patterns().to_vec(),
        files: config.files.patterns.clone(),
        table: config.limits.table(),
        tree: what.tree,
        seed,
    };
    let mut recorder = Recorder::new(preamble, config.environment.clone(), live, what)?;
    tracing::info!("recording");
    let end = what.length.map(|length| tokio::time::Instant::now() + length);
    loop {
        let n_records = kernel.drain(MAX_DRAIN, |bytes| recorder.take(bytes));
        recorder.flush()?;
        let is_over = end.is_some_and(|end| tokio::time::Instant::now() >= end);
        let pause = if n_records < MAX_DRAIN { config.limits.poll } else { Duration::ZERO };
        match stop.or(kernel.wait(pause)).await {
            Some(waited) if !is_over => waited.map_err(|source| RunError::Ring { source })?,
            _ => break,
        }
    }
    let mut n_last = 0;
    while n_last < MAX_LAST && kernel.drain(MAX_DRAIN, |bytes| recorder.take(bytes)) == MAX_DRAIN {
        n_last += MAX_DRAIN;
        recorder.flush()?;
    }
    recorder.flush()?;
    Ok(kernel.losses().map_or(0, |losses| losses.lost()))
}

/// The events of a recording again: the very bytes that were written beside it.
///
/// # Errors
/// What is wrong with the recording.
pub fn replay(raw: &[u8]) -> Result<Vec<u8>, ReplayError> {
    let mut reader = Reader::open(raw)?;
    let preamble: Preamble = match reader.next().transpose()? {
        Some(Frame::Preamble(preamble)) => *preamble,
        _ => return Err(ReplayError::NoPreamble),
    };
    let expected = sensor_ebpf::abi::VERSION;
    if preamble.abi_version != expected {
        return Err(ReplayError::Version { found: preamble.abi_version, expected });
    }
    let env = EnvAllow::new(preamble.environment.clone())?;
    let files = FileWatch::new(&preamble.files)?;
    let mut assembly = preamble.assembly(env, files);
    let (mut answers, mut out) = (Recorded::default(), Vec::new());
    for frame in reader {
        match frame? {
            Frame::Record(bytes) => _ = assembly.push(bytes, &mut answers, None, &mut out),
            Frame::Answer(answer) => answers.learn(answer),
            Frame::Process(found) => _ = answers.processes.insert(found.tgid, *found),
            Frame::Preamble(_) => return Err(ReplayError::NoPreamble),
        }
    }
    Ok(out)
}

impl Preamble {
    fn assembly(self, env: EnvAllow, files: FileWatch) -> Assembly {
        let clock = Clock::at_offset(self.clock_offset_ns);
        let mut enricher = Enricher::new(Arc::new(self.host), clock, env, self.table);
        enricher.watch_files(files);
        let root = self.tree.and_then(|pid| self.seed.iter().find(|process| process.tgid.0 == pid));
        let root = root.map(|root| Key::first(root.tgid, root.start()));
        enricher.table_mut().seed(self.seed);
        let mut assembly = Assembly::new(enricher);
        if let Some(root) = root {
            assembly.keep_tree(root);
        }
        assembly
    }
}

/// All processes, or a process' ancestors, itself and its descendants.
fn seed(all: Vec<Snapshot>, tree: Option<u32>) -> Result<Vec<Snapshot>, RecordError> {
    let Some(pid) = tree else { return Ok(all) };
    let by_tgid: HashMap<Tgid, &Snapshot> = all.iter().map(|process| (process.tgid, process)).collect();
    let lineage = |tgid: Tgid| {
        std::iter::successors(by_tgid.get(&tgid), |process| by_tgid.get(&process.parent?.tgid))
            .map(|process| process.tgid)
    };
    let ancestors: Vec<Tgid> = lineage(Tgid(pid)).collect();
    if ancestors.is_empty() {
        return Err(RecordError::NoSuchTree(pid));
    }
    let is_kept = |process: &&Snapshot| {
        ancestors.contains(&process.tgid) || lineage(process.tgid).any(|ancestor| ancestor.0 == pid)
    };
    Ok(all.iter().filter(is_kept).cloned().collect())
}

/// Writes both files. Errors are kept for [`Recorder::flush`], as the ring cannot wait for them.
struct Recorder {
    assembly: Assembly,
    env: EnvAllow,
    live: Live,
    events: File,
    raw: Option<Writer<File>>,
    lines: Vec<u8>,
    told: std::collections::HashSet<Answer>,
    failed: Option<io::Error>,
}

impl Recorder {
    fn new(preamble: Preamble, env: EnvAllow, live: Live, what: &Recording<'_>) -> Result<Self, io::Error> {
        let events = private::create(what.events)?;
        let raw = what.raw.map(|path| Writer::new(private::create(path)?, &preamble)).transpose()?;
        let files = FileWatch::new(&preamble.files).map_err(io::Error::other)?;
        let assembly = preamble.assembly(env.clone(), files);
        let (lines, told) = (Vec::new(), std::collections::HashSet::new());
        Ok(Self { assembly, env, live, events, raw, lines, told, failed: None })
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut overheard = Overheard { live: &mut self.live, answers: Vec::new(), processes: Vec::new() };
        let fate = self.assembly.push(bytes, &mut overheard, None, &mut self.lines);
        let Overheard { answers, processes, .. } = overheard;
        if fate == Fate::Written
            && let Err(err) = self.keep(bytes, answers, processes)
        {
            self.failed.get_or_insert(err);
        }
    }

    /// What was asked on a record's behalf stands before it, so that a replay knows it in time.
    fn keep(&mut self, bytes: &[u8], answers: Vec<Answer>, processes: Vec<Snapshot>) -> io::Result<()> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        for process in &processes {
            raw.process(process)?;
        }
        for answer in answers {
            if !self.told.contains(&answer) {
                raw.answer(&answer)?;
                self.told.insert(answer);
            }
        }
        match scrub::without_secrets(bytes, &self.env) {
            Some(clean) => raw.record(&clean),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(err) = self.failed.take() {
            return Err(err);
        }
        self.events.write_all(&self.lines)?;
        self.lines.clear();
        self.raw.as_mut().map_or(Ok(()), Writer::flush)
    }
}

/// Live lookups whose answers are noted.
struct Overheard<'a> {
    live: &'a mut Live,
    answers: Vec<Answer>,
    processes: Vec<Snapshot>,
}

impl Lookups for Overheard<'_> {
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot> {
        let found = self.live.process(tgid)?;
        self.processes.push(found.clone());
        Some(found)
    }

    fn user(&mut self, uid: u32) -> Option<String> {
        let name = self.live.user(uid)?;
        self.answers.push(Answer::User(uid, name.clone()));
        Some(name)
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        let name = self.live.group(gid)?;
        self.answers.push(Answer::Group(gid, name.clone()));
        Some(name)
    }
}

/// The noted answers, given again.
#[derive(Debug, Default)]
struct Recorded {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    processes: HashMap<Tgid, Snapshot>,
}

impl Recorded {
    fn learn(&mut self, answer: Answer) {
        match answer {
            Answer::User(uid, name) => _ = self.users.insert(uid, name),
            Answer::Group(gid, name) => _ = self.groups.insert(gid, name),
        }
    }
}

impl Lookups for Recorded {
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot> {
        self.processes.get(&tgid).cloned()
    }

    fn user(&mut self, uid: u32) -> Option<String> {
        self.users.get(&uid).cloned()
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        self.groups.get(&gid).cloned()
    }
}

#[cfg(test)]
mod tests;
