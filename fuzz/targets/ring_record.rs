//! Bytes of the ring: a record or a reason, an event or none, and never a panic.

use std::cell::RefCell;
use std::sync::Arc;

use sensor::assembly::Assembly;
use sensor::clock::Clock;
use sensor::config::EnvAllow;
use sensor::decode::{Record, decode};
use sensor::enrich::Enricher;
use sensor::host::HostFacts;
use sensor::lookup::Lookups;
use sensor::process::id::Tgid;
use sensor::process::procfs::Snapshot;
use sensor::process::table::Caps;
use sensor::selftest::{Group, Groups};

/// A machine of which nothing is known.
struct Nobody;

impl Lookups for Nobody {
    fn process(&mut self, _: Tgid) -> Option<Snapshot> {
        None
    }

    fn user(&mut self, _: u32) -> Option<String> {
        None
    }

    fn group(&mut self, _: u32) -> Option<String> {
        None
    }
}

thread_local! {
    /// One table for all inputs, and a small one: it is to make room too.
    static ASSEMBLY: RefCell<Assembly> = RefCell::new(assembly());
}

fn assembly() -> Assembly {
    let caps = Caps { max_processes: 64, max_bytes: 1 << 20 };
    let facts = Arc::new(HostFacts { id: "fuzz".to_owned(), ..HostFacts::default() });
    Assembly::new(Enricher::new(facts, Clock::at_offset(0), EnvAllow::default(), caps))
}

pub(crate) fn run(bytes: &[u8]) {
    let mut lines = Vec::new();
    ASSEMBLY.with_borrow_mut(|assembly| assembly.push(bytes, &mut Nobody, None, &mut lines));
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<serde_json::Value>(line).expect("a line is a document");
    }
    if let Ok(mut record) = decode(bytes) {
        Groups::from_iter(Group::ALL).blank(&mut record);
        if let Record::Exec(exec, capture) = &record {
            assert!(capture.args(exec).strings.is_empty(), "what is switched off is not told");
        }
    }
}
