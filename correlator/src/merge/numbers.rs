//! The numbers that a sensor gives its events, one after the other from 1 at its start: where some are left out, events were
//! lost between there and here.

use std::collections::VecDeque;

use rules::event::EventTime;

/// Gaps that may still be filled by what comes out of order. Older ones stay as they are.
const MAX_GAPS: usize = 64;

#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    last: Option<(u64, EventTime)>,
    /// First and last number that is left out.
    gaps: VecDeque<(u64, u64)>,
    n_missing: u64,
}

impl Numbers {
    /// Takes the number of an event; 0 is none.
    pub(super) fn note(&mut self, number: u64, time: EventTime) {
        if number == 0 {
            return;
        }
        let Some((last, newest)) = self.last else {
            // What came before we listened is not missing.
            self.last = Some((number, time));
            return;
        };
        if number > last {
            self.leave_out(last + 1, number - 1);
            self.last = Some((number, newest.max(time)));
        } else if self.fill(number) {
            // It was under way.
        } else if time > newest && number < last {
            // The sensor was started anew, and counts from 1 again.
            self.gaps.clear();
            self.leave_out(1, number - 1);
            self.last = Some((number, time));
        }
    }

    pub(super) fn n_missing(&self) -> u64 {
        self.n_missing
    }

    fn leave_out(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        self.n_missing = self.n_missing.saturating_add(last - first + 1);
        self.gaps.push_back((first, last));
        if self.gaps.len() > MAX_GAPS {
            self.gaps.pop_front();
        }
    }

    fn fill(&mut self, number: u64) -> bool {
        let Some(at) = self.gaps.iter().position(|(first, last)| (*first..=*last).contains(&number)) else {
            return false;
        };
        let Some((first, last)) = self.gaps.remove(at) else { return false };
        self.n_missing -= 1;
        if number < last {
            self.gaps.insert(at, (number + 1, last));
        }
        if first < number {
            self.gaps.insert(at, (first, number - 1));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n_missing(numbers: impl IntoIterator<Item = (u64, i64)>) -> u64 {
        let mut all = Numbers::default();
        numbers.into_iter().for_each(|(number, time)| all.note(number, EventTime(time)));
        all.n_missing()
    }

    #[test]
    fn what_is_left_out_is_missing_until_it_comes() {
        assert_eq!(n_missing([(5, 1), (6, 2), (9, 3)]), 2);
        assert_eq!(n_missing([(5, 1), (9, 4), (7, 2), (6, 3)]), 1);
        assert_eq!(n_missing([(5, 1), (9, 4), (7, 2), (7, 2), (5, 1)]), 2, "a repetition fills nothing");
        assert_eq!(n_missing([(0, 1), (0, 2), (3, 3)]), 0, "without numbers nothing is known");
        assert_eq!(n_missing([(1, 0), (u64::MAX, 1)]), u64::MAX - 2);
    }

    #[test]
    fn a_sensor_that_is_started_anew_counts_from_1() {
        assert_eq!(n_missing([(100, 1), (1, 2), (2, 3)]), 0);
        assert_eq!(n_missing([(100, 1), (3, 2)]), 2, "its first two never came");
    }

    proptest! {
        #[test]
        fn order_within_a_run_does_not_matter(
            numbers in prop::collection::btree_set(2_u64..60, 0..40)
                .prop_map(|set| set.into_iter().collect::<Vec<_>>())
                .prop_shuffle()
        ) {
            // The first is known to be the first; a time that stands still is no new start.
            let n = n_missing([(1, 0)].into_iter().chain(numbers.iter().map(|number| (*number, 0))));
            let newest = numbers.iter().max().copied().unwrap_or(1);
            prop_assert_eq!(n, newest - 1 - numbers.len() as u64);
        }
    }
}
