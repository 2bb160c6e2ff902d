//! Bytes out of the ring buffer, drop counters in.

mod mapped;

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData};
use sensor_ebpf::abi::drops::{N_KINDS, Share, Tally};
use sensor_ebpf::abi::header::{Header, kind};
use tokio::io::unix::AsyncFd;

use crate::clock::BootNs;
pub(crate) use mapped::Mapped;

/// Reader of the records. Only one exists per load; dropping it leaves the programs to fill the ring.
pub struct Ring {
    records: Mapped,
    /// What found no room there.
    lineage: Mapped,
    /// Made at the first wait, as it needs a running tokio.
    wakeups: Option<AsyncFd<OwnedFd>>,
}

impl Ring {
    pub(crate) fn new(records: Mapped, lineage: Mapped) -> Self {
        Self { records, lineage, wakeups: None }
    }

    /// Hands over the records that are ready, in the order of the rings and by time between them, and frees them.
    ///
    /// Stops after `max` records, so that a flood cannot keep the caller from its timers.
    pub fn drain(&mut self, max: usize, mut take: impl FnMut(&[u8])) -> usize {
        let Self { records, lineage, .. } = self;
        for n in 0..max {
            let has_record = records.peek().is_some();
            // Looked at second: whatever went before a record of the first ring is here by now.
            let Some(spilled) = lineage.peek() else {
                if !has_record {
                    return n;
                }
                if let Some(record) = records.peek() {
                    take(record);
                }
                records.advance();
                continue;
            };
            // And the other way round, where the first ring was empty: so it is asked again.
            match records.peek() {
                Some(record) if boot_ns(record) <= boot_ns(spilled) => {
                    take(record);
                    records.advance();
                }
                _ => {
                    take(spilled);
                    lineage.advance();
                }
            }
        }
        max
    }

    /// Returns once the programs ask for attention, or after `timeout`: records wait quietly for the timer
    /// unless they are urgent or the ring is filling up.
    ///
    /// # Errors
    /// If the ring cannot be registered with the runtime.
    pub async fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.wakeups.is_none() {
            let fd = self.records.as_fd().try_clone_to_owned()?;
            // SAFETY: the descriptor is open, owned here alone, and stays the same until it is dropped.
            self.wakeups = Some(unsafe { AsyncFd::register(fd) }?);
        }
        if let Some(wakeups) = &self.wakeups
            && let Ok(guard) = tokio::time::timeout(timeout, wakeups.readable()).await
        {
            guard?.clear_ready();
        }
        Ok(())
    }
}

/// The time in a record's header; nothing for one that is too short for it, which so comes first.
pub(crate) fn boot_ns(record: &[u8]) -> Option<BootNs> {
    const AT: usize = offset_of!(Header, boot_ns);
    Some(BootNs(u64::from_ne_bytes(*record.get(AT..)?.first_chunk()?)))
}

/// What became of every event since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub exec: Tally,
    pub fork: Tally,
    pub exit: Tally,
    pub connect: Tally,
    pub result: Tally,
    pub accept: Tally,
    pub file: Tally,
    pub metadata: Tally,
}

impl Losses {
    /// The tallies with the names of their kinds.
    pub fn by_kind(&self) -> [(&'static str, Tally); 8] {
        [
            ("exec", self.exec),
            ("fork", self.fork),
            ("exit", self.exit),
            ("connect", self.connect),
            ("result", self.result),
            ("accept", self.accept),
            ("file", self.file),
            ("metadata", self.metadata),
        ]
    }

    /// Whether no program is at work: then every event is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.by_kind().iter().all(|(_, tally)| tally.is_balanced())
    }

    /// When the last of them was lost.
    pub fn last(&self) -> Option<BootNs> {
        let last = self.by_kind().into_iter().map(|(_, tally)| tally.last_lost_ns).max()?;
        (last != 0).then_some(BootNs(last))
    }

    /// Events that never reached the reader.
    pub fn lost(&self) -> u64 {
        self.by_kind().iter().fold(0, |sum, (_, tally)| sum.saturating_add(tally.lost()))
    }
}

/// A [`Tally`] as aya wants it: its own type, so that aya's marker stays out of the ABI.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct RawTally(Tally);

// SAFETY: `repr(transparent)` over `repr(C)` with `u64` fields alone: no padding, every bit pattern a value.
unsafe impl aya::Pod for RawTally {}

/// As above, for a [`Share`].
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct RawShare(Share);

// SAFETY: `repr(transparent)` over `repr(C)` with `u64` fields alone: no padding, every bit pattern a value.
unsafe impl aya::Pod for RawShare {}

/// The counters, read while the programs go on counting.
pub(crate) struct Counters {
    tallies: Array<MapData, RawTally>,
    shares: HashMap<MapData, u64, RawShare>,
}

impl Counters {
    pub(crate) fn new(tallies: Array<MapData, RawTally>, shares: HashMap<MapData, u64, RawShare>) -> Self {
        Self { tallies, shares }
    }

    pub(crate) fn losses(&self) -> io::Result<Losses> {
        let get = |kind: u32| match self.tallies.get(&kind, 0) {
            Ok(RawTally(tally)) => Ok(tally),
            Err(err) => Err(io::Error::other(err)),
        };
        Ok(Losses {
            exec: get(kind::EXEC)?,
            fork: get(kind::FORK)?,
            exit: get(kind::EXIT)?,
            connect: get(kind::CONNECT)?,
            result: get(kind::RESULT)?,
            accept: get(kind::ACCEPT)?,
            file: get(kind::FILE)?,
            metadata: get(kind::EXCHANGE)?,
        })
    }

    /// Those that lost something.
    pub(crate) fn shares(&self) -> io::Result<Vec<(u64, Share)>> {
        let mut shares = Vec::new();
        for entry in self.shares.iter() {
            let (cgroup, RawShare(share)) = entry.map_err(io::Error::other)?;
            if share.last_shed_ns != 0 {
                shares.push((cgroup, share));
            }
        }
        Ok(shares)
    }
}

const _: () = assert!(kind::EXCHANGE < N_KINDS);
