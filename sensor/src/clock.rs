//! Time since boot and its place in UTC: the only module that reads a clock.
//!
//! Kernel records and `/proc` both speak boot time. The wall clock is an offset on top, which may move (NTP, an
//! operator's `date -s`), so nothing that identifies a process is ever derived from it.

use std::fmt;

use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

/// `USER_HZ` of every Linux ABI we run on: the unit of `/proc/PID/stat` field 22.
const NS_PER_TICK: u64 = 10_000_000;

/// Unit: nanoseconds since boot, suspend included. Source: `bpf_ktime_get_boot_ns`, `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootNs(pub u64);

impl BootNs {
    /// What `/proc/PID/stat` shows for a process started at this time, on every kernel measured.
    pub fn ticks(self) -> StartTicks {
        StartTicks(self.0 / NS_PER_TICK)
    }

    pub fn saturating_sub(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

/// Start of a process in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StartTicks(pub u64);

impl StartTicks {
    pub fn boot_ns(self) -> BootNs {
        BootNs(self.0.saturating_mul(NS_PER_TICK))
    }
}

/// Unit: nanoseconds since the Unix epoch. Printed as RFC 3339 with nine decimals, so that text order is time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc(pub i64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.0))
            .expect("64-bit nanoseconds are within jiff's years");
        write!(f, "{time:.9}")
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Turns boot time into UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// UTC minus boot time, in nanoseconds.
    offset_ns: i64,
}

impl Clock {
    /// A clock at a known offset: a recording's.
    pub fn at_offset(offset_ns: i64) -> Self {
        Self { offset_ns }
    }

    /// Reads both clocks and keeps the tightest of a few tries: a preemption between the two reads would shift every
    /// timestamp by its length.
    pub fn measure() -> Self {
        let sample = || {
            let before = boot_now().0;
            let wall = read(ClockId::Realtime);
            let after = boot_now().0;
            let middle = before + (after - before) / 2;
            (after - before, wall as i64 - middle as i64)
        };
        let (_, offset_ns) = (0..8).map(|_| sample()).min().expect("eight samples");
        Self { offset_ns }
    }

    pub fn offset_ns(&self) -> i64 {
        self.offset_ns
    }

    pub fn utc(&self, at: BootNs) -> Utc {
        Utc(self.offset_ns.saturating_add_unsigned(at.0))
    }

    pub fn now(&self) -> Utc {
        self.utc(boot_now())
    }
}

pub fn boot_now() -> BootNs {
    BootNs(read(ClockId::Boottime))
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_is_printed_with_nine_decimals() {
        let clock = Clock::at_offset(1_700_000_000_000_000_000);
        assert_eq!(clock.utc(BootNs(5)).to_string(), "2023-11-14T22:13:20.000000005Z");
        assert_eq!(clock.utc(BootNs(0)).to_string(), "2023-11-14T22:13:20.000000000Z");
    }

    #[test]
    fn ticks_round_down_as_proc_does() {
        assert_eq!(BootNs(19_999_999).ticks(), StartTicks(1));
        assert_eq!(StartTicks(7).boot_ns().ticks(), StartTicks(7));
    }

    #[test]
    fn two_measurements_agree_closely() {
        let (first, second) = (Clock::measure(), Clock::measure());
        assert!((first.offset_ns() - second.offset_ns()).abs() < 50_000_000);
    }
}
