//! What is held of one subject, small: a million access keys are kept.
//!
//! A subject has few facts, so they lie in one sorted list; a value that many share (a role, a session) is kept once.

use std::collections::HashSet;
use std::sync::Arc;

use rules::event::EventTime;

use super::Attribute;

/// When a value was seen first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) first: EventTime,
    pub(super) last: EventTime,
}

impl Seen {
    pub(super) fn extend(&mut self, time: EventTime) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// One value of one attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) attribute: Attribute,
    pub(super) value: Arc<str>,
    pub(super) seen: Seen,
}

/// In order of attribute and value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known(Vec<Held>);

impl Known {
    pub(super) fn all(&self) -> &[Held] {
        &self.0
    }

    pub(super) fn of(&self, attribute: Attribute) -> &[Held] {
        let from = self.0.partition_point(|held| held.attribute < attribute);
        let n_values = self.0[from..].partition_point(|held| held.attribute == attribute);
        &self.0[from..from + n_values]
    }

    fn place(&self, attribute: Attribute, value: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|held| (held.attribute, &*held.value).cmp(&(attribute, value)))
    }

    pub(super) fn get(&self, attribute: Attribute, value: &str) -> Option<Seen> {
        self.place(attribute, value).ok().map(|at| self.0[at].seen)
    }

    pub(super) fn get_mut(&mut self, attribute: Attribute, value: &str) -> Option<&mut Seen> {
        let at = self.place(attribute, value).ok()?;
        Some(&mut self.0[at].seen)
    }

    pub(super) fn insert(&mut self, attribute: Attribute, value: Arc<str>, seen: Seen) {
        match self.place(attribute, &value) {
            Ok(at) => self.0[at].seen = seen,
            Err(at) => {
                // Most subjects never have more facts than with their first record: no room is kept for more.
                self.0.reserve_exact(1);
                self.0.insert(at, Held { attribute, value, seen });
            }
        }
    }

    /// Takes out the value that was seen longest ago, where an attribute has more than so many.
    pub(super) fn push_out(&mut self, attribute: Attribute, max_values: usize) -> Option<Arc<str>> {
        let values = self.of(attribute);
        if values.len() <= max_values {
            return None;
        }
        let oldest = values.iter().min_by_key(|held| (held.seen.last, &held.value))?.value.clone();
        let at = self.place(attribute, &oldest).ok()?;
        Some(self.0.remove(at).value)
    }

    /// The value that held at a time.
    pub(super) fn at(&self, attribute: Attribute, at: EventTime) -> Option<&str> {
        pick(self.of(attribute).iter().map(|held| (&*held.value, held.seen)), at)
    }

    pub(super) fn last(&self) -> Option<EventTime> {
        self.0.iter().map(|held| held.seen.last).max()
    }
}

/// Of values with when they were seen, the one seen closest before a time, else the first ever.
pub(super) fn pick<'a>(
    values: impl Iterator<Item = (&'a str, Seen)> + Clone,
    at: EventTime,
) -> Option<&'a str> {
    let before = values.clone().filter(|(_, seen)| seen.first <= at);
    let closest = before.max_by_key(|(value, seen)| (seen.last.min(at), seen.first, *value));
    closest.or_else(|| values.min_by_key(|(value, seen)| (seen.first, *value))).map(|(value, _)| value)
}

const FEWEST_SWEPT: usize = 4_096;

/// Values that are kept once however many share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    words: HashSet<Arc<str>>,
    /// So many are to come before those that nobody holds are looked for.
    n_until_swept: usize,
}

impl Words {
    pub(super) fn one(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        if self.n_until_swept == 0 {
            self.forget_unused();
        }
        self.n_until_swept -= 1;
        let new: Arc<str> = word.into();
        self.words.insert(Arc::clone(&new));
        new
    }

    /// Drops what nobody else holds.
    pub(super) fn forget_unused(&mut self) {
        self.words.retain(|word| Arc::strong_count(word) > 1);
        // As many as there are: it costs each of them one look more.
        self.n_until_swept = self.words.len().max(FEWEST_SWEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_nobody_holds_any_more_go() {
        let mut words = Words::default();
        let kept = words.one("kept");
        for n in 0..100_000 {
            words.one(&format!("name-{n}"));
        }
        assert!(words.words.len() <= 2 * FEWEST_SWEPT, "{}", words.words.len());
        assert!(Arc::ptr_eq(&words.one("kept"), &kept));
    }
}
