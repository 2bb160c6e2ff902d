//! Bytes out of the ring buffer, drop counters in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Array, MapData, RingBuf};
use sensor_ebpf::abi::drops::{N_KINDS, Tally};
use sensor_ebpf::abi::header::kind;
use tokio::io::unix::AsyncFd;

/// Reader of the records. Only one exists per load; dropping it leaves the programs to fill the ring.
pub struct Ring {
    records: RingBuf<MapData>,
    /// Made at the first wait, as it needs a running tokio.
    wakeups: Option<AsyncFd<OwnedFd>>,
}

impl Ring {
    pub(crate) fn new(records: RingBuf<MapData>) -> Self {
        Self { records, wakeups: None }
    }

    /// Hands over every record that is ready, oldest first, and frees its room. Returns how many.
    ///
    /// Stops after `max` records, so that a flood cannot keep the caller from its timers.
    pub fn drain(&mut self, max: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut n = 0;
        while n < max {
            let Some(record) = self.records.next() else { break };
            take(&record);
            n += 1;
        }
        n
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

/// What became of every event since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub exec: Tally,
    pub fork: Tally,
    pub exit: Tally,
    pub connect: Tally,
    pub result: Tally,
}

impl Losses {
    /// The tallies with the names of their kinds.
    pub fn by_kind(&self) -> [(&'static str, Tally); 5] {
        [
            ("exec", self.exec),
            ("fork", self.fork),
            ("exit", self.exit),
            ("connect", self.connect),
            ("result", self.result),
        ]
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

/// The counters, read while the programs go on counting.
pub(crate) struct Tallies(Array<MapData, RawTally>);

impl Tallies {
    pub(crate) fn new(map: Array<MapData, RawTally>) -> Self {
        Self(map)
    }

    pub(crate) fn read(&self) -> io::Result<Losses> {
        let get = |kind: u32| match self.0.get(&kind, 0) {
            Ok(RawTally(tally)) => Ok(tally),
            Err(err) => Err(io::Error::other(err)),
        };
        Ok(Losses {
            exec: get(kind::EXEC)?,
            fork: get(kind::FORK)?,
            exit: get(kind::EXIT)?,
            connect: get(kind::CONNECT)?,
            result: get(kind::RESULT)?,
        })
    }
}

const _: () = assert!(kind::RESULT < N_KINDS);
