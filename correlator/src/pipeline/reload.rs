//! Rules, exceptions and lists changed while a run goes on: loaded and checked beside it, taken over between two events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rules::program::Program;
use rules::schema::Schema;

use crate::lists::Lists;

/// A checked set that waits for its turn.
#[derive(Debug)]
pub struct Staged {
    pub program: Arc<Program>,
    /// That of the running set, with what the new rules add: events that were read before stay right.
    pub schema: Arc<Schema>,
    pub lists: Arc<Lists>,
}

/// Between whoever loads and the run. A set that was not taken yet gives way to a newer one.
#[derive(Debug, Clone, Default)]
pub struct Reload {
    is_waiting: Arc<AtomicBool>,
    staged: Arc<Mutex<Option<Staged>>>,
}

impl Reload {
    pub fn stage(&self, staged: Staged) {
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
        self.is_waiting.store(true, Ordering::Release);
    }

    pub(super) fn take(&self) -> Option<Staged> {
        if !self.is_waiting.swap(false, Ordering::Acquire) {
            return None;
        }
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
