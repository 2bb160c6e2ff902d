//! Counters and the self-report made of them. What was lost is told in the stream, dated, and once.

use crate::assembly::Delivered;
use crate::clock::{BootNs, Clock};
use crate::event::report::{CounterDoc, CoverageDoc, LossDoc, SensorDoc, TableDoc};
use crate::loader::{Coverage, Outcome};
use crate::process::table::TableStats;
use crate::ring::Losses;

/// Remembers what has been told of losses already.
#[derive(Debug, Default)]
pub struct LossReport {
    told: Losses,
    undecodable: u64,
    output: u64,
    checked_at: BootNs,
}

impl LossReport {
    pub fn new(now: BootNs) -> Self {
        Self { checked_at: now, ..Self::default() }
    }

    /// What was lost since the last call: one entry per kind and cause.
    pub fn since(
        &mut self,
        losses: &Losses,
        undecodable: u64,
        output: u64,
        now: BootNs,
        clock: Clock,
    ) -> Vec<LossDoc> {
        let since = self.checked_at;
        let mut found = Vec::new();
        let mut tell = |kind, cause, place, count: u64, start: BootNs, end: BootNs| {
            if count > 0 {
                found.push(LossDoc {
                    kind,
                    cause,
                    place,
                    count,
                    start: clock.utc(start),
                    end: clock.utc(end.max(start)),
                });
            }
        };
        for ((kind, now_at), (_, told)) in losses.by_kind().into_iter().zip(self.told.by_kind()) {
            // The kernel dates its first loss and its latest; in between, the last check is the best start there is.
            let start = if told.lost() == 0 { BootNs(now_at.first_lost_ns) } else { since };
            let end = BootNs(now_at.last_lost_ns);
            tell(kind, "ring_full", "kernel", now_at.ring_full.saturating_sub(told.ring_full), start, end);
            tell(kind, "unreadable", "kernel", now_at.unreadable.saturating_sub(told.unreadable), start, end);
        }
        tell("event", "undecodable", "decode", undecodable - self.undecodable, since, now);
        tell("event", "output_full", "output", output - self.output, since, now);
        *self = Self { told: *losses, undecodable, output, checked_at: now };
        found
    }
}

/// The health report.
pub fn health(
    state: &'static str,
    coverage: &Coverage,
    losses: &Losses,
    delivered: Delivered,
    table: TableStats,
) -> SensorDoc {
    let made = [delivered.exec, delivered.fork, delivered.exit, delivered.connect, delivered.result];
    let counters = losses.by_kind().into_iter().zip(made).map(|((kind, tally), delivered)| CounterDoc {
        kind,
        seen: tally.seen,
        delivered,
        lost: tally.lost(),
        suppressed: tally.suppressed,
        truncated: tally.truncated,
        degraded: tally.degraded,
    });
    SensorDoc {
        state,
        tier: tier(coverage).to_owned(),
        coverage: features(coverage),
        counters: counters.collect(),
        table: TableDoc {
            held: table.n_held,
            bytes: table.n_bytes,
            shortened: table.n_shortened,
            repaired: table.n_repaired,
            placeholders: table.n_placeholders,
            evicted_early: table.n_evicted_early,
            evicted_living: table.n_evicted_living,
        },
    }
}

/// The columns of CONTRACT §3; "partial" is the base without some of its optional programs.
fn tier(coverage: &Coverage) -> &'static str {
    if coverage.refused().next().is_none() { "base" } else { "partial" }
}

/// What no program of this build covers on any kernel, so that nobody takes its silence for peace.
const NOT_COVERED: [(&str, &str); 2] = [
    ("accepted connections", "no program of this build hooks accept"),
    ("file events", "no program of this build hooks files"),
];

fn features(coverage: &Coverage) -> Vec<CoverageDoc> {
    let attached = coverage.probes.iter().map(|report| match &report.outcome {
        Outcome::Attached => {
            CoverageDoc { feature: report.probe.sees.to_owned(), state: "covered", reason: None }
        }
        Outcome::Refused(reason) => CoverageDoc {
            feature: report.probe.sees.to_owned(),
            state: "not_covered",
            reason: Some(reason.clone()),
        },
    });
    let absent = NOT_COVERED.iter().map(|(feature, reason)| CoverageDoc {
        feature: (*feature).to_owned(),
        state: "not_covered",
        reason: Some((*reason).to_owned()),
    });
    attached.chain(absent).collect()
}

#[cfg(test)]
mod tests {
    use sensor_ebpf::abi::drops::Tally;

    use super::*;

    fn losses(ring_full: u64, first: u64, last: u64) -> Losses {
        Losses {
            exec: Tally { ring_full, first_lost_ns: first, last_lost_ns: last, ..Tally::default() },
            ..Losses::default()
        }
    }

    #[test]
    fn a_loss_is_told_once_with_its_own_spell() {
        let clock = Clock::at_offset(0);
        let mut report = LossReport::new(BootNs(10));
        assert_eq!(report.since(&losses(0, 0, 0), 0, 0, BootNs(20), clock), []);
        let first = report.since(&losses(3, 25, 28), 0, 0, BootNs(30), clock);
        assert_eq!((first.len(), first[0].count, first[0].cause), (1, 3, "ring_full"));
        assert_eq!((first[0].start, first[0].end), (clock.utc(BootNs(25)), clock.utc(BootNs(28))));
        assert_eq!(report.since(&losses(3, 25, 28), 0, 0, BootNs(40), clock), []);
        let second = report.since(&losses(5, 25, 45), 0, 0, BootNs(50), clock);
        assert_eq!((second[0].count, second[0].start), (2, clock.utc(BootNs(40))));
    }

    #[test]
    fn losses_of_decode_and_output_are_told_apart() {
        let mut report = LossReport::new(BootNs(0));
        let told = report.since(&Losses::default(), 1, 2, BootNs(9), Clock::at_offset(0));
        let told: Vec<_> = told.iter().map(|loss| (loss.place, loss.count)).collect();
        assert_eq!(told, [("decode", 1), ("output", 2)]);
    }
}
