//! What became of every event: received = evaluated + dropped + duplicate + late + rejected, per source.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::source::RejectedKind;
use crate::untrusted::Untrusted;

/// One source's account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Everything the source handed over, readable or not.
    pub received: u64,
    pub evaluated: u64,
    /// Taken by the drop list, after their identity facts were read.
    pub dropped: u64,
    pub duplicate: u64,
    /// Older than what is still kept: evaluated, but what it needs beside it may be gone.
    pub late: u64,
    pub rejected: u64,
    /// Of the others: events whose time cannot be right, which count as of their arrival.
    pub misdated: u64,
    /// Of the duplicates: events that share an id with another and say something else.
    pub conflicting: u64,
}

impl Counts {
    /// Whether every event is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.received == self.evaluated + self.dropped + self.duplicate + self.late + self.rejected
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.evaluated += other.evaluated;
        self.dropped += other.dropped;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.rejected += other.rejected;
        self.misdated += other.misdated;
        self.conflicting += other.conflicting;
    }
}

/// What happened to one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Evaluated,
    Dropped,
    Duplicate,
    Late,
    Rejected,
}

/// The account of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub by_source: BTreeMap<Arc<str>, Counts>,
    /// By line of the drop list.
    pub by_drop: BTreeMap<String, u64>,
    /// Files, folders and streams that could not be had at all. No events: nobody knows how many were in them.
    pub n_unreadable_inputs: u64,
    pub n_alerts: u64,
    pub n_revisions: u64,
    pub n_withdrawn: u64,
    /// Matches that rest on something missing and closed untold, because no feed vouched for it: by the rule's id and
    /// name, and what was wrong.
    pub withheld: BTreeMap<(String, String, String), u64>,
    /// Hosts, principals and the like whose open state was given up because there were too many.
    pub n_keys_lost: u64,
    /// Events of windows and sequences that were given up, or taken out of their order, because there were too many.
    pub n_hits_lost: u64,
    /// Events held to explain alerts that were given up because there were too many.
    pub n_context_lost: u64,
    /// Events that state and alerts rest on, given up because they took too much memory.
    pub n_events_lost: u64,
}

impl Stats {
    pub fn count(&mut self, source: &Arc<str>, fate: Fate) {
        let counts = match self.by_source.get_mut(source) {
            Some(counts) => counts,
            None => self.by_source.entry(Arc::clone(source)).or_default(),
        };
        counts.received += 1;
        match fate {
            Fate::Evaluated => counts.evaluated += 1,
            Fate::Dropped => counts.dropped += 1,
            Fate::Duplicate => counts.duplicate += 1,
            Fate::Late => counts.late += 1,
            Fate::Rejected => counts.rejected += 1,
        }
    }

    /// An event that was counted came with a time that cannot be right.
    pub fn count_misdated(&mut self, source: &Arc<str>) {
        self.by_source.entry(Arc::clone(source)).or_default().misdated += 1;
    }

    /// A duplicate that was counted says something else than what came first.
    pub fn count_conflicting(&mut self, source: &Arc<str>) {
        self.by_source.entry(Arc::clone(source)).or_default().conflicting += 1;
    }

    /// Accounts for what a source could not read.
    pub fn count_rejected(&mut self, source: &Arc<str>, kind: RejectedKind) {
        match kind {
            RejectedKind::Unreadable | RejectedKind::Object => self.n_unreadable_inputs += 1,
            RejectedKind::Record | RejectedKind::Truncated | RejectedKind::TooLarge => {
                self.count(source, Fate::Rejected);
            }
        }
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.by_source.values().for_each(|counts| total.add(counts));
        total
    }
}

impl Stats {
    /// What became of each source's events, where there are several: one line each, all terms of the account.
    pub fn by_source_lines(&self) -> Vec<String> {
        if self.by_source.len() < 2 {
            return Vec::new();
        }
        self.by_source.iter().map(|(source, counts)| format!("{}: {counts}", Untrusted(source))).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.received == 1 { "" } else { "s" };
        write!(f, "{} event{plural}: {} evaluated", self.received, self.evaluated)?;
        let rest = [
            (self.dropped, "dropped by the drop list"),
            (self.duplicate, "repeated"),
            (self.late, "very late"),
            (self.rejected, "unreadable"),
        ];
        rest.into_iter().filter(|(n, _)| *n > 0).try_for_each(|(n, what)| write!(f, ", {n} {what}"))
    }
}

impl fmt::Display for Stats {
    /// One line: what came in, what became of it, what came out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        write!(f, "{total}")?;
        if total.conflicting > 0 {
            let n = total.conflicting;
            write!(f, "; {n} repeated under the same id with other content, so only the first counts")?;
        }
        if total.misdated > 0 {
            write!(f, "; {} with a time that cannot be right, taken as of their arrival", total.misdated)?;
        }
        if self.n_unreadable_inputs > 0 {
            let plural = if self.n_unreadable_inputs == 1 { "" } else { "s" };
            write!(f, "; {} input{plural} could not be read", self.n_unreadable_inputs)?;
        }
        let plural = if self.n_alerts == 1 { "" } else { "s" };
        write!(f, "; {} alert{plural}", self.n_alerts)?;
        if self.n_revisions > 0 {
            write!(f, ", {} revised", self.n_revisions)?;
        }
        if self.n_withdrawn > 0 {
            write!(f, ", {} withdrawn", self.n_withdrawn)?;
        }
        for ((_, rule, why), n) in &self.withheld {
            let plural = if *n == 1 { "" } else { "s" };
            write!(f, "; {n} absence{plural} of \"{}\" withheld: {why}", Untrusted(rule))?;
        }
        let lost = [
            (self.n_keys_lost, "half-seen patterns"),
            (self.n_hits_lost, "events of patterns"),
            (self.n_context_lost, "events kept to explain alerts"),
            (self.n_events_lost, "events kept for alerts to show"),
        ];
        let lost: Vec<String> =
            lost.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !lost.is_empty() {
            write!(f, "; too much to remember at once, so given up early: {}", lost.join(", "))?;
            write!(f, " (alerts that this may have touched say so)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_accounted_for() {
        let mut stats = Stats::default();
        let source: Arc<str> = "trail".into();
        for fate in [Fate::Evaluated, Fate::Dropped, Fate::Duplicate, Fate::Late, Fate::Rejected] {
            stats.count(&source, fate);
        }
        assert!(stats.total().is_balanced());
        assert_eq!(stats.total().received, 5);
        stats.n_alerts = 1;
        let line = "5 events: 1 evaluated, 1 dropped by the drop list, 1 repeated, 1 very late, 1 unreadable; 1 alert";
        assert_eq!(stats.to_string(), line);
        stats.n_context_lost = 3;
        let lost = "; too much to remember at once, so given up early: 3 events kept to explain alerts (alerts that this may have touched say so)";
        assert_eq!(stats.to_string(), format!("{line}{lost}"));
        stats.count_rejected(&source, RejectedKind::Unreadable);
        assert_eq!(stats.total().received, 5, "an input is no event");
        assert_eq!(stats.by_source_lines(), [""; 0], "one source is the total");
        stats.count(&"host".into(), Fate::Evaluated);
        assert_eq!(stats.by_source_lines()[0], "host: 1 event: 1 evaluated");
        stats.by_source.remove("host");
        let line = stats.to_string();
        assert!(line.contains("; 1 input could not be read; 1 alert"), "{line}");
    }
}
