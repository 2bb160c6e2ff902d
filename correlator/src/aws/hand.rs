//! The messages that were received and not deleted yet: they stay hidden from other receivers for as long as they are here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One message that is worked on, or waits for what it led to to be written.
#[derive(Debug, Clone)]
struct Held {
    /// By which the queue knows this reception of it.
    handle: String,
    hidden_since: Instant,
}

/// By message id.
#[derive(Debug, Default)]
pub(super) struct Hand(Mutex<HashMap<String, Held>>);

impl Hand {
    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message; false where it is held already. Then it came again although it was hidden, and what counts from now
    /// on is the handle it came with.
    pub(super) fn take(&self, id: &str, handle: &str, now: Instant) -> bool {
        let held = Held { handle: handle.to_owned(), hidden_since: now };
        self.held().insert(id.to_owned(), held).is_none()
    }

    /// Lets go of a message: it is done with, or shall come again.
    pub(super) fn release(&self, id: &str) -> Option<String> {
        self.held().remove(id).map(|held| held.handle)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    /// Those hidden for half of `visibility`, with their handles. They count as hidden from now on.
    pub(super) fn due(&self, visibility: Duration, now: Instant) -> Vec<(String, String)> {
        let mut due = Vec::new();
        for (id, held) in self.held().iter_mut() {
            if now.duration_since(held.hidden_since) >= visibility / 2 {
                held.hidden_since = now;
                due.push((id.clone(), held.handle.clone()));
            }
        }
        due
    }

    /// Those that could not be hidden any longer are tried again soon.
    pub(super) fn still_due(&self, ids: &[String], visibility: Duration, now: Instant) {
        let mut held = self.held();
        for id in ids {
            if let Some(held) = held.get_mut(id) {
                held.hidden_since = now.checked_sub(visibility / 2).unwrap_or(held.hidden_since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_hidden_on_at_half_time_until_it_is_released() {
        let hand = Hand::default();
        let (start, visibility) = (Instant::now(), Duration::from_secs(60));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(hand.take("a", "1", at(0)));
        assert!(hand.take("b", "2", at(10)));
        assert_eq!(hand.due(visibility, at(29)), []);
        assert_eq!(hand.due(visibility, at(30)), [("a".to_owned(), "1".to_owned())]);
        assert_eq!(hand.due(visibility, at(41)), [("b".to_owned(), "2".to_owned())]);
        hand.still_due(&["b".to_owned()], visibility, at(42));
        assert_eq!(
            hand.due(visibility, at(42)),
            [("b".to_owned(), "2".to_owned())],
            "it failed, and is tried again"
        );
        assert!(!hand.take("a", "3", at(50)), "the same message by another handle is no new one");
        assert_eq!(hand.release("a").as_deref(), Some("3"));
        assert_eq!(hand.release("a"), None);
        assert!(!hand.is_empty());
        assert_eq!(hand.release("b").as_deref(), Some("2"));
        assert!(hand.is_empty());
    }
}
