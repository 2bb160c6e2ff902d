//! From the bytes of one record to its line of NDJSON: what a live run, a recording and a replay share.

use serde::Serialize;

use crate::clock::Utc;
use crate::decode::{self, Record};
use crate::enrich::{self, Enricher};
use crate::event::Event;
use crate::lookup::Lookups;
use crate::process::id::Key;
use crate::selftest::Groups;

/// Events made so far, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    pub exec: u64,
    pub fork: u64,
    pub exit: u64,
    pub connect: u64,
    pub result: u64,
    pub accept: u64,
    pub file: u64,
    pub metadata: u64,
    /// Files whose names the programs look for, on paths that nobody watches.
    pub unwatched: u64,
    /// Exits that were told twice; the kernel counts both.
    pub repeated_exits: u64,
    pub undecodable: u64,
}

#[derive(Debug)]
pub struct Assembly {
    enricher: Enricher,
    sequence: u64,
    delivered: Delivered,
    /// Only this process and its descendants are written.
    tree: Option<Key>,
    /// What records are not believed in.
    off: Groups,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Written,
    /// Nothing to tell, or nobody to tell it of.
    Passed,
    Undecodable,
}

impl Assembly {
    pub fn new(enricher: Enricher) -> Self {
        Self { enricher, sequence: 0, delivered: Delivered::default(), tree: None, off: Groups::default() }
    }

    /// Writes only what this process and its descendants do. The table takes in nothing else either.
    pub fn keep_tree(&mut self, root: Key) {
        self.tree = Some(root);
    }

    /// Takes nothing for true that these groups of fields say.
    pub fn disbelieve(&mut self, off: Groups) {
        self.off = off;
        self.enricher.disbelieve(off);
    }

    pub fn enricher(&self) -> &Enricher {
        &self.enricher
    }

    pub fn enricher_mut(&mut self) -> &mut Enricher {
        &mut self.enricher
    }

    pub fn delivered(&self) -> Delivered {
        self.delivered
    }

    /// Appends the record's event to `out`, closed by a newline.
    pub fn push(
        &mut self,
        bytes: &[u8],
        lookups: &mut dyn Lookups,
        created: Option<Utc>,
        out: &mut Vec<u8>,
    ) -> Fate {
        let mut record = match decode::decode(bytes) {
            Ok(record) => record,
            Err(err) => {
                tracing::debug!(%err, "record passed over");
                self.delivered.undecodable += 1;
                return Fate::Undecodable;
            }
        };
        if !self.off.is_empty() {
            self.off.blank(&mut record);
        }
        // Decided before the table learns of it: a replay that never sees the record must end up with the same table.
        if self
            .tree
            .is_some_and(|root| !self.enricher.table().is_below(&enrich::sighting(record.header()), root))
        {
            return Fate::Passed;
        }
        let sequence = self.sequence + 1;
        let written = self.enricher.record(&record, lookups, |mut event| {
            event.event.sequence = sequence;
            event.event.created = created;
            append(&event, out);
        });
        self.count(&record, written.is_some());
        if written.is_none() {
            return Fate::Passed;
        }
        self.sequence = sequence;
        Fate::Written
    }

    /// Appends a report of the sensor's own.
    pub fn report<'a>(&'a mut self, make: impl FnOnce(&'a Enricher, u64) -> Event<'a>, out: &mut Vec<u8>) {
        self.sequence += 1;
        let mut event = make(&self.enricher, self.sequence);
        event.event.sequence = self.sequence;
        append(&event, out);
    }

    fn count(&mut self, record: &Record<'_>, is_told: bool) {
        let counter = match record {
            Record::Exec(..) | Record::Brief(_) => &mut self.delivered.exec,
            Record::Fork(_) => &mut self.delivered.fork,
            Record::Exit(_) if !is_told => &mut self.delivered.repeated_exits,
            Record::Exit(_) => &mut self.delivered.exit,
            Record::Connect(_) => &mut self.delivered.connect,
            Record::Result(_) => &mut self.delivered.result,
            Record::Accept(_) => &mut self.delivered.accept,
            Record::File(_) if !is_told => &mut self.delivered.unwatched,
            Record::File(_) => &mut self.delivered.file,
            Record::Exchange(_) => &mut self.delivered.metadata,
        };
        *counter += 1;
    }
}

fn append<T: Serialize>(event: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, event).expect("events hold text keys and finite numbers");
    out.push(b'\n');
}
