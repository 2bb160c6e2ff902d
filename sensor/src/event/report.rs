//! What the sensor says about itself: what it lost, and how it is.

use serde::Serialize;

use crate::clock::Utc;

/// `groundtrail.loss.*`: events of one kind that will never come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LossDoc {
    /// The kind of event: `exec`, `fork`, `exit`, `connect`, `result`, `accept`, `file`, `metadata`; `event`
    /// where no longer known.
    pub kind: &'static str,
    /// `ring_full`, `cgroup_share`, `unreadable`, `undecodable`, `output_full`, `not_called`; of the spool `spool_full`,
    /// `disk_full`, `refused`.
    pub cause: &'static str,
    /// `kernel`, `decode`, `output`, `spool`.
    pub place: &'static str,
    pub count: u64,
    /// The blind spell: between the first and the last event lost.
    pub start: Utc,
    pub end: Utc,
    /// Whose events they were, where a cgroup had taken more than its share of the ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupDoc>,
}

/// A cgroup as the kernel and as people name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CgroupDoc {
    pub id: u64,
    /// Nothing if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// `groundtrail.sensor.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SensorDoc {
    /// `started`, `running`, `stopped`.
    pub state: &'static str,
    pub tier: String,
    pub coverage: Vec<CoverageDoc>,
    pub counters: Vec<CounterDoc>,
    pub table: TableDoc,
    pub resources: ResourcesDoc,
}

/// What the sensor takes of its host at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ResourcesDoc {
    pub resident_bytes: u64,
    /// Events on their way to the output.
    pub queued_bytes: u64,
}

/// Whether one feature is seen, and whether one group of fields is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageDoc {
    pub feature: String,
    /// `covered`, `not_covered`; of fields also `off`, which the self-test found wrong, and `untested`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Per kind of event, since the start: `seen` is `delivered` plus `lost` plus `suppressed` plus what is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CounterDoc {
    pub kind: &'static str,
    pub seen: u64,
    pub delivered: u64,
    pub lost: u64,
    /// Of those, such as the kernel did not call a program for.
    pub not_called: u64,
    pub suppressed: u64,
    pub truncated: u64,
    pub degraded: u64,
    /// Of those, told by their header alone.
    pub header_only: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDoc {
    pub held: usize,
    pub bytes: usize,
    /// Living processes whose arguments were cut.
    pub shortened: u64,
    pub repaired: u64,
    pub placeholders: u64,
    pub evicted_early: u64,
    pub evicted_living: u64,
}
