//! Does the kernel say what `/proc` says? Asked of a process of our own before anything is believed.
//!
//! Offsets come from the kernel's type information, and a wrong one can load and read a neighbour. So the sensor runs
//! itself with a fixed argument, lets it connect to a closed port of the loopback, and compares each group of fields.
//! What disagrees is switched off and said; what cannot be compared here is believed. And a hook that the kernel attached and
//! does not call although there is reason to is told for one that is not there.

pub mod canary;
mod compare;
mod groups;
mod helper;
mod reasons;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sensor_ebpf::abi::header::Header;

use crate::decode::{Record, decode};
use crate::loader::Kernel;

pub use groups::{Group, Groups};
pub use helper::{ARGUMENT, myself, play};

/// How long the start may be held up.
const MAX_WAIT: Duration = Duration::from_millis(200);
/// How often the rings are looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What may be taken out of the rings while we wait: the rest stays there.
const MAX_HELD_BYTES: usize = 16 << 20;

/// What came of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Agrees,
    /// What the kernel said and what `/proc` says.
    Disagrees(String),
    /// Why it could not be compared.
    Untested(String),
}

/// The whole test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub findings: Vec<(Group, Finding)>,
    pub took: Duration,
}

impl Report {
    /// The groups that are not to be believed.
    pub fn off(&self) -> Groups {
        self.wrong().map(|(group, _)| group).collect()
    }

    /// Those groups, with what was wrong.
    pub fn wrong(&self) -> impl Iterator<Item = (Group, &str)> {
        self.findings.iter().filter_map(|(group, finding)| match finding {
            Finding::Disagrees(what) => Some((*group, what.as_str())),
            _ => None,
        })
    }

    fn untested(reason: &str, took: Duration) -> Self {
        let untested = || Finding::Untested(reason.to_owned());
        Self { findings: Group::ALL.iter().map(|group| (*group, untested())).collect(), took }
    }
}

/// Records that came while the test ran. They are everybody's, so they are told after it.
#[derive(Debug, Default)]
pub struct Held {
    records: Vec<Box<[u8]>>,
    n_bytes: usize,
}

impl Held {
    pub fn drain(&mut self) -> impl Iterator<Item = Box<[u8]>> {
        self.n_bytes = 0;
        self.records.drain(..)
    }

    fn take_from(&mut self, kernel: &mut Kernel) {
        while self.n_bytes < MAX_HELD_BYTES {
            let taken = kernel.drain(1, |bytes| {
                self.n_bytes += bytes.len();
                self.records.push(bytes.into());
            });
            if taken == 0 {
                break;
            }
        }
    }
}

/// Runs the test. `program` is the sensor itself, in whatever way it can be started here.
pub fn run(kernel: &mut Kernel, program: Command) -> (Report, Held) {
    let start = Instant::now();
    let mut held = Held::default();
    let mut helper = match helper::Helper::start(program) {
        Ok(helper) => helper,
        Err(err) => {
            return (
                Report::untested(&format!("cannot run this program again: {err}"), start.elapsed()),
                held,
            );
        }
    };
    let mut seen = Seen::default();
    let mut n_looked_at = 0;
    loop {
        held.take_from(kernel);
        for record in &held.records[n_looked_at..] {
            seen.look(record, &helper);
        }
        n_looked_at = held.records.len();
        if (seen.exec.is_some() && seen.connect.is_some()) || start.elapsed() >= MAX_WAIT {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let findings = match compare::Told::by_proc(Path::new("/proc"), &helper) {
        Ok(told) => compare::compare(&seen, &told),
        Err(reason) => Report::untested(&reason, Duration::ZERO).findings,
    };
    helper.end();
    let programs = reasons::give();
    let given = Instant::now();
    let mut silent = kernel.silent(&programs);
    // A packet's way through a busy machine may take a while.
    while !silent.is_empty() && given.elapsed() < MAX_WAIT {
        std::thread::sleep(LOOK_EVERY);
        silent = kernel.silent(&programs);
    }
    kernel.disbelieve(&silent);
    (Report { findings, took: start.elapsed() }, held)
}

/// The helper's records, as they came out of the ring.
#[derive(Debug, Default)]
struct Seen {
    exec: Option<Box<[u8]>>,
    connect: Option<Box<[u8]>>,
}

impl Seen {
    /// Takes a record that is the helper's by its id, in our pid namespace or in the root one, or by the word it was given.
    fn look(&mut self, bytes: &[u8], helper: &helper::Helper) {
        let Ok(record) = decode(bytes) else { return };
        let by_id = |head: &Header| head.process.tgid == helper.id() || head.ns_tgid == helper.id();
        match &record {
            Record::Exec(exec, capture)
                if by_id(&exec.header)
                    || capture.args(exec).strings.iter().any(|arg| arg == helper.word()) =>
            {
                // The helper's own exec is its last: before it, the same process was a copy of us.
                self.exec = Some(bytes.into());
            }
            Record::Connect(connect) if by_id(&connect.header) => {
                self.connect.get_or_insert_with(|| bytes.into());
            }
            _ => {}
        }
    }
}
