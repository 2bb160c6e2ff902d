//! What evaluation keeps between events to save work, and nothing that changes a result.

use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::Hit;
use super::graph::Memo;
use super::index::Planes;

/// Indices are few, but their names come from events: past this many they are forgotten.
const MAX_INDICES: usize = 256;

/// Working memory for one thread that evaluates events. Any program may use it.
#[derive(Debug, Default)]
pub struct Scratch {
    token: u64,
    pub(super) memo: Memo,
    pub(super) planes: Planes,
    pub(super) admitted: AdmittedByIndex,
    pub(super) hits: Vec<Hit>,
}

impl Scratch {
    pub(super) fn start(&mut self, token: u64, n_nodes: usize) {
        if self.token != token {
            *self = Self { token, ..Self::default() };
        }
        self.memo.reset(n_nodes);
    }
}

pub(super) fn next_token() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What reads events of one index.
#[derive(Debug)]
pub(super) struct Admitted {
    /// By rule.
    pub(super) rules: Box<[bool]>,
    /// Bits by predicate: whether one of those rules asks for it.
    pub(super) predicates: Box<[u64]>,
}

#[derive(Debug, Default)]
pub(super) struct AdmittedByIndex(FxHashMap<Box<str>, Admitted>);

impl AdmittedByIndex {
    pub(super) fn of(&mut self, index: &str, find: impl FnOnce() -> Admitted) -> &Admitted {
        if !self.0.contains_key(index) {
            if self.0.len() >= MAX_INDICES {
                self.0.clear();
            }
            self.0.insert(index.into(), find());
        }
        &self.0[index]
    }
}
