//! Counts of a window that are true beyond the events that are kept of it.
//!
//! What an alert shows is bounded by [`crate::keyed::Limits::max_hits_per_key`]; what a rule counts must not be, or a bound
//! above it could never be reached. So an event that has to make room leaves its time behind, or the print of its value.

use std::collections::{BTreeSet, VecDeque};

use rules::event::EventTime;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What stands for a value, of one size however long the value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Print([u8; 16]);

impl Print {
    /// Of the values of several fields together.
    pub(crate) fn of(fields: &[&[Box<str>]]) -> Self {
        let mut digest = Sha256::new();
        for values in fields {
            // Lengths keep `ab, c` and `a, bc` apart.
            digest.update((values.len() as u64).to_le_bytes());
            for value in *values {
                digest.update((value.len() as u64).to_le_bytes());
                digest.update(value.as_bytes());
            }
        }
        let mut short = [0; 16];
        short.copy_from_slice(&digest.finalize()[..16]);
        Self(short)
    }
}

/// The distinct values inside a window, each as of when it was last there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(EventTime, Print)>", into = "Vec<(EventTime, Print)>")]
pub(crate) struct Distinct {
    last: FxHashMap<Print, EventTime>,
    by_time: BTreeSet<(EventTime, Print)>,
}

impl From<Vec<(EventTime, Print)>> for Distinct {
    fn from(values: Vec<(EventTime, Print)>) -> Self {
        Self {
            last: values.iter().map(|(time, print)| (*print, *time)).collect(),
            by_time: values.into_iter().collect(),
        }
    }
}

impl From<Distinct> for Vec<(EventTime, Print)> {
    fn from(distinct: Distinct) -> Self {
        distinct.by_time.into_iter().collect()
    }
}

impl Distinct {
    /// Takes in a value. Returns how many had to make room.
    pub(crate) fn note(&mut self, print: Print, time: EventTime, max: usize) -> u64 {
        if let Some(before) = self.last.insert(print, time) {
            self.by_time.remove(&(before, print));
        }
        self.by_time.insert((time, print));
        let is_full = self.last.len() > max;
        if is_full {
            self.pop_first();
        }
        u64::from(is_full)
    }

    /// Lets go of what was last there before a time.
    pub(crate) fn expire(&mut self, oldest: EventTime) {
        while self.by_time.first().is_some_and(|(time, _)| *time < oldest) {
            self.pop_first();
        }
    }

    fn pop_first(&mut self) {
        if let Some((_, print)) = self.by_time.pop_first() {
            self.last.remove(&print);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }
}

/// Events of a sliding window that had to make room, with what each adds to its sums. In the order of time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Passed<T>(VecDeque<(EventTime, T)>);

impl<T> Passed<T> {
    pub(crate) fn push(&mut self, time: EventTime, what: T) {
        // Nearly always the last.
        let mut at = self.0.len();
        while at > 0 && self.0[at - 1].0 > time {
            at -= 1;
        }
        self.0.insert(at, (time, what));
    }

    pub(crate) fn pop_before(&mut self, oldest: EventTime) -> Option<T> {
        self.0.front().is_some_and(|(time, _)| *time < oldest).then(|| self.pop_first())?
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        self.0.pop_front().map(|(_, what)| what)
    }

    pub(crate) fn first(&self) -> Option<EventTime> {
        self.0.front().map(|(time, _)| *time)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
