//! Suppression: of alerts alike that come close together, the first speaks for all.
//!
//! A property of the set of alerts, not of their arrival: the earliest by event time leads, whenever it came.

use std::collections::{BTreeMap, BTreeSet};

use rules::event::{EventTime, Span};
use rules::rule::Suppression;
use rustc_hash::FxHashMap;

use super::AlertId;
use crate::source::Record;

/// Where a rule names no duration: upstream's usual interval between runs.
const DEFAULT_DURATION: Span = Span::from_secs(300);

type Group = (u32, Vec<Box<str>>);

#[derive(Debug, Default)]
pub(crate) struct Suppressions {
    groups: FxHashMap<Group, Members>,
    group_of: FxHashMap<AlertId, (Group, EventTime)>,
    /// By alert that is silent: who speaks for it.
    leader_of: FxHashMap<AlertId, AlertId>,
    n_by_leader: FxHashMap<AlertId, u64>,
    /// How long after the time of suppression an alert may still be open.
    pub(crate) open_for: Span,
    /// What the store does not have yet, where there is one.
    pub(crate) unwritten: Option<Vec<MemberChange>>,
}

/// An alert of a rule with suppression, as it is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) rule: u32,
    pub(crate) group: Vec<Box<str>>,
    pub(crate) time: EventTime,
    /// When it speaks for nobody any more.
    pub(crate) until: EventTime,
    pub(crate) id: AlertId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberChange {
    Came(Member),
    Went(AlertId),
}

#[derive(Debug)]
struct Members {
    duration: Span,
    by_time: BTreeSet<(EventTime, AlertId)>,
}

impl Suppressions {
    pub(crate) fn put(
        &mut self,
        rule: u32,
        suppression: &Suppression,
        at: &Record,
        id: &AlertId,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        let value = |field: &rules::schema::FieldId| {
            at.event.get(*field).map(|value| value.to_string().into_boxed_str())
        };
        let values: Vec<Option<Box<str>>> = suppression.by.iter().map(value).collect();
        if values.iter().any(Option::is_none) && !suppression.folds_missing {
            return;
        }
        let group: Group = (rule, values.into_iter().map(Option::unwrap_or_default).collect());
        let time = at.event.time;
        if let Some((held, held_time)) = self.group_of.get(id) {
            if *held == group && *held_time == time {
                return;
            }
            self.remove(id, dirty);
        }
        let duration = suppression.duration.unwrap_or(DEFAULT_DURATION);
        if let Some(unwritten) = &mut self.unwritten {
            let (until, id) = (time + duration + duration + self.open_for, id.clone());
            unwritten.push(MemberChange::Came(Member { rule, group: group.1.clone(), time, until, id }));
        }
        self.join(group, duration, time, id, dirty);
    }

    /// Takes back what was kept.
    pub(crate) fn restore(&mut self, suppression: &Suppression, member: Member) {
        let duration = suppression.duration.unwrap_or(DEFAULT_DURATION);
        // Alerts among them that are still open are put again, and told then.
        let mut dirty = BTreeSet::new();
        self.join((member.rule, member.group), duration, member.time, &member.id, &mut dirty);
    }

    fn join(
        &mut self,
        group: Group,
        duration: Span,
        time: EventTime,
        id: &AlertId,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        self.group_of.insert(id.clone(), (group.clone(), time));
        let members = self
            .groups
            .entry(group.clone())
            .or_insert_with(|| Members { duration, by_time: BTreeSet::new() });
        members.by_time.insert((time, id.clone()));
        self.appoint(&group, dirty);
    }

    pub(crate) fn remove(&mut self, id: &AlertId, dirty: &mut BTreeSet<AlertId>) {
        let Some((group, time)) = self.group_of.remove(id) else { return };
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.push(MemberChange::Went(id.clone()));
        }
        if let Some(members) = self.groups.get_mut(&group) {
            members.by_time.remove(&(time, id.clone()));
        }
        self.leader_of.remove(id);
        self.n_by_leader.remove(id);
        self.appoint(&group, dirty);
    }

    /// From the earliest on: each that no earlier leader covers leads for the duration.
    fn appoint(&mut self, group: &Group, dirty: &mut BTreeSet<AlertId>) {
        let Some(members) = self.groups.get(group) else { return };
        let mut leader: Option<&(EventTime, AlertId)> = None;
        let mut counts: BTreeMap<&AlertId, u64> = BTreeMap::new();
        for member in &members.by_time {
            let (time, id) = member;
            match leader.filter(|(since, _)| *time - *since < members.duration) {
                Some((_, first)) => {
                    *counts.entry(first).or_default() += 1;
                    if self.leader_of.insert(id.clone(), first.clone()).as_ref() != Some(first) {
                        dirty.insert(id.clone());
                    }
                }
                None => {
                    leader = Some(member);
                    counts.entry(id).or_default();
                    if self.leader_of.remove(id).is_some() {
                        dirty.insert(id.clone());
                    }
                }
            }
        }
        for (_, id) in &members.by_time {
            let n = counts.get(id).copied().unwrap_or_default();
            if self.n_by_leader.insert(id.clone(), n).unwrap_or_default() != n {
                dirty.insert(id.clone());
            }
        }
    }

    pub(crate) fn is_suppressed(&self, id: &AlertId) -> bool {
        self.leader_of.contains_key(id)
    }

    pub(crate) fn n_suppressed_by(&self, id: &AlertId) -> u64 {
        self.n_by_leader.get(id).copied().unwrap_or_default()
    }

    /// Forgets leaders, together with those they speak for, once both their time and its double have passed and none of
    /// them can still be open.
    pub(crate) fn expire(&mut self, watermark: EventTime) {
        let watermark = watermark - self.open_for;
        let Self { groups, group_of, leader_of, n_by_leader, .. } = self;
        groups.retain(|_, members| {
            let long_ago = watermark - members.duration - members.duration;
            while let Some((time, id)) = members.by_time.first().cloned() {
                let is_led = leader_of.contains_key(&id);
                if time >= long_ago && !is_led {
                    break;
                }
                members.by_time.pop_first();
                group_of.remove(&id);
                leader_of.remove(&id);
                n_by_leader.remove(&id);
            }
            !members.by_time.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::testing::record;
    use crate::keyed::{Anchor, JoinKey};
    use crate::source::Origin;

    fn id(name: &str) -> AlertId {
        AlertId::new("rule", &JoinKey::default(), &Anchor::Event(name.into()))
    }

    fn check(order: &[(&str, i64)], expect_silent: &[&str]) {
        let suppression = Suppression { by: vec![], duration: Some(Span(10)), folds_missing: true };
        let mut suppressions = Suppressions::default();
        let mut dirty = BTreeSet::new();
        for (name, nanos) in order {
            let at = record(name, *nanos, Origin::Sensor);
            suppressions.put(0, &suppression, &at, &id(name), &mut dirty);
        }
        let mut silent: Vec<&str> = order
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| suppressions.is_suppressed(&id(name)))
            .collect();
        silent.sort_unstable();
        assert_eq!(silent, expect_silent);
    }

    #[test]
    fn the_earliest_speaks_for_those_close_after_it() {
        check(&[("a", 0), ("b", 5), ("c", 9), ("d", 10)], &["b", "c"]);
        check(&[("d", 10), ("c", 9), ("b", 5), ("a", 0)], &["b", "c"]);
    }

    #[test]
    fn a_leader_that_falls_hands_over() {
        let suppression = Suppression { by: vec![], duration: Some(Span(10)), folds_missing: true };
        let mut suppressions = Suppressions::default();
        let mut dirty = BTreeSet::new();
        for (name, nanos) in [("a", 0), ("b", 5)] {
            let at = record(name, nanos, Origin::Sensor);
            suppressions.put(0, &suppression, &at, &id(name), &mut dirty);
        }
        assert_eq!(suppressions.n_suppressed_by(&id("a")), 1);
        suppressions.remove(&id("a"), &mut dirty);
        assert!(!suppressions.is_suppressed(&id("b")));
        assert!(dirty.contains(&id("b")));
    }
}
