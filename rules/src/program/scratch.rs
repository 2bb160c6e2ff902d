//! What evaluation keeps between events to save work, and nothing that changes a result.

use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::Hit;
use super::glob::IndexGlobs;
use super::graph::Memo;
use super::witness::Candidates;

/// Indices are few, but their names come from events: past this many they are forgotten.
const MAX_INDICES: usize = 256;

/// Working memory for one thread that evaluates events. Any program may use it.
#[derive(Debug, Default)]
pub struct Scratch {
    token: u64,
    pub(super) memo: Memo,
    pub(super) candidates: Candidates,
    pub(super) admitted: Admitted,
    pub(super) hits: Vec<Hit>,
}

impl Scratch {
    pub(super) fn start(&mut self, token: u64, n_nodes: usize, n_predicates: usize) {
        if self.token != token {
            *self = Self { token, ..Self::default() };
            self.candidates.reset(n_predicates);
        }
        self.memo.reset(n_nodes);
    }
}

pub(super) fn next_token() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// By index: which rules read it.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    by_index: FxHashMap<Box<str>, Box<[bool]>>,
}

impl Admitted {
    pub(super) fn of(&mut self, index: &str, globs: &[IndexGlobs]) -> &[bool] {
        if !self.by_index.contains_key(index) {
            if self.by_index.len() >= MAX_INDICES {
                self.by_index.clear();
            }
            let admitted = globs.iter().map(|globs| globs.admit(index)).collect();
            self.by_index.insert(index.into(), admitted);
        }
        &self.by_index[index]
    }
}
