//! Counters and the self-report made of them. What was lost is told in the stream, dated, and once.

use std::collections::HashMap;

use sensor_ebpf::abi::drops::{Share, Tally};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::assembly::Delivered;
use crate::clock::{BootNs, Clock};
use crate::event::report::{CgroupDoc, CounterDoc, CoverageDoc, LossDoc, ResourcesDoc, SensorDoc, TableDoc};
use crate::loader::{Coverage, Outcome};
use crate::probes::Probe;
use crate::process::table::TableStats;
use crate::ring::Losses;
use crate::selftest::{Finding, Group, Report};
use crate::spool::GivenUp;

/// Remembers what has been told of losses already.
#[derive(Debug, Default)]
pub struct LossReport {
    told: Losses,
    told_shares: HashMap<u64, Share>,
    told_uncalled: Vec<(&'static str, u64)>,
    undecodable: u64,
    output: u64,
    /// Since when the output has taken nothing.
    output_full_since: Option<BootNs>,
    spool: GivenUp,
    checked_at: BootNs,
    /// How it was before the last report, and whether that was written.
    before: Option<Box<Self>>,
    written: Option<oneshot::Receiver<()>>,
}

/// The counters of all places where events can be lost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted<'a> {
    pub kernel: Losses,
    /// What was shed, by cgroup. Read before the rest, so that it never shows more.
    pub shares: &'a [(u64, Share)],
    /// What the kernel did not call our programs for.
    pub uncalled: &'a [(&'static str, u64)],
    pub undecodable: u64,
    /// What the output dropped, and what it dropped since it took anything, of which nothing can be told yet.
    pub output: (u64, u64),
    /// Since the spool was made.
    pub spool: GivenUp,
}

impl LossReport {
    pub fn new(now: BootNs) -> Self {
        Self { checked_at: now, ..Self::default() }
    }

    /// An earlier run told so much of what the spool lost.
    pub fn spool_was_told(&mut self, told: GivenUp) {
        self.spool = told;
    }

    pub fn is_news_of_spool(&self, lost: GivenUp) -> bool {
        lost != self.spool
    }

    /// Says that the last report counts as told only if its lines are written: who drops the sender unused gives it back.
    pub fn on_trust(&mut self) -> oneshot::Sender<()> {
        let (sender, written) = oneshot::channel();
        self.written = Some(written);
        sender
    }

    /// Whether it is known what became of the last report. If its lines were dropped nothing of it has been told.
    pub fn is_settled(&mut self) -> bool {
        match self.written.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return false,
            Some(Err(TryRecvError::Closed)) => {
                *self = self.before.take().map_or_else(Self::default, |before| *before)
            }
            Some(Ok(())) | None => {}
        }
        (self.before, self.written) = (None, None);
        true
    }

    /// What was lost since the last call: one entry per kind and cause, and per cgroup where one is to blame.
    pub fn since(
        &mut self,
        counted: &Counted<'_>,
        now: BootNs,
        clock: Clock,
        path_of: impl Fn(u64) -> Option<String>,
    ) -> Vec<LossDoc> {
        let since = self.checked_at;
        let spell = |start: BootNs, end: BootNs| (clock.utc(start), clock.utc(end.max(start)));
        let mut found = Vec::new();
        let mut tell = |kind, cause, place, count: u64, (start, end), cgroup| {
            if count > 0 {
                found.push(LossDoc { kind, cause, place, count, start, end, cgroup });
            }
        };
        let kinds = counted.kernel.by_kind().into_iter().zip(self.told.by_kind());
        for (number, ((kind, now_at), (_, told))) in (1_usize..).zip(kinds) {
            // The kernel dates its first loss and its latest; in between, the last check is the best start there is.
            let start = if told.lost() == 0 { BootNs(now_at.first_lost_ns) } else { since };
            let whole = spell(start, BootNs(now_at.last_lost_ns));
            let new = |count: fn(&Tally) -> u64| count(&now_at).saturating_sub(count(&told));
            tell(kind, "ring_full", "kernel", new(|tally| tally.ring_full), whole, None);
            tell(kind, "unreadable", "kernel", new(|tally| tally.unreadable), whole, None);
            let mut n_shed = new(|tally| tally.shed);
            for (id, share) in counted.shares {
                // The kernel forgets a cgroup that it has not met for long, and starts again from nothing.
                let told = self.told_shares.get(id).filter(|told| told.first_shed_ns == share.first_shed_ns);
                let n_new = share.shed[number].saturating_sub(told.map_or(0, |told| told.shed[number]));
                let start = told.map_or(BootNs(share.first_shed_ns), |_| since);
                let cgroup = CgroupDoc { id: *id, path: None };
                let spell = spell(start, BootNs(share.last_shed_ns));
                tell(kind, "cgroup_share", "kernel", n_new.min(n_shed), spell, Some(cgroup));
                n_shed -= n_new.min(n_shed);
            }
            tell(kind, "cgroup_share", "kernel", n_shed, whole, None);
        }
        let lately = spell(since, now);
        for (idx, (kind, count)) in counted.uncalled.iter().enumerate() {
            let told = self.told_uncalled.get(idx).map_or(0, |(_, told)| *told);
            tell(kind, "not_called", "kernel", count.saturating_sub(told), lately, None);
        }
        tell("event", "undecodable", "decode", counted.undecodable - self.undecodable, lately, None);
        let (n_dropped, n_dropping) = counted.output;
        let full = spell(self.output_full_since.unwrap_or(since), now);
        tell("event", "output_full", "output", n_dropped - self.output, full, None);
        let output_full_since = (n_dropping > 0).then(|| self.output_full_since.unwrap_or(since));
        let spool = [
            ("spool_full", counted.spool.evicted, self.spool.evicted),
            ("disk_full", counted.spool.unwritten, self.spool.unwritten),
            ("refused", counted.spool.refused, self.spool.refused),
        ];
        for (cause, lost, told) in spool {
            tell("event", cause, "spool", lost.saturating_sub(told), lately, None);
        }
        let mut before = std::mem::take(self);
        (before.before, before.written) = (None, None);
        *self = Self {
            told: counted.kernel,
            told_shares: counted.shares.iter().copied().collect(),
            told_uncalled: counted.uncalled.to_vec(),
            undecodable: counted.undecodable,
            output: n_dropped,
            output_full_since,
            spool: counted.spool,
            checked_at: now,
            before: Some(Box::new(before)),
            written: None,
        };
        for cgroup in found.iter_mut().filter_map(|loss| loss.cgroup.as_mut()) {
            cgroup.path = path_of(cgroup.id);
        }
        found
    }
}

/// What became of events, wherever it was counted.
#[derive(Debug, Clone, Copy)]
pub struct Counts<'a> {
    pub losses: &'a Losses,
    /// What the kernel did not call our programs for.
    pub uncalled: &'a [(&'static str, u64)],
    pub delivered: Delivered,
}

/// The health report.
pub fn health(
    state: &'static str,
    coverage: &Coverage,
    selftest: &Report,
    counts: Counts<'_>,
    table: TableStats,
    queued_bytes: u64,
) -> SensorDoc {
    let Counts { losses, uncalled, delivered } = counts;
    let made = [
        delivered.exec,
        delivered.fork,
        delivered.exit,
        delivered.connect,
        delivered.result,
        delivered.accept,
        delivered.file,
        delivered.metadata,
    ];
    let unwatched = delivered.unwatched;
    // What the kernel did not call a program for was never counted there, and is lost all the same.
    let missed = |kind| uncalled.iter().filter(|(of, _)| *of == kind).map(|(_, n)| n).sum::<u64>();
    let counters = losses.by_kind().into_iter().zip(made).map(|((kind, tally), delivered)| CounterDoc {
        kind,
        seen: tally.seen.saturating_add(missed(kind)),
        delivered,
        lost: tally.lost().saturating_add(missed(kind)),
        not_called: missed(kind),
        suppressed: tally.suppressed + if kind == "file" { unwatched } else { 0 },
        truncated: tally.truncated,
        degraded: tally.degraded,
        header_only: tally.header_only,
    });
    SensorDoc {
        state,
        tier: tier(coverage).to_owned(),
        coverage: features(coverage, selftest),
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
        resources: ResourcesDoc { resident_bytes: resident_bytes(), queued_bytes },
    }
}

/// Zero where `/proc` does not tell.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * procfs::page_size()
}

/// How much of what the sensor can see it sees here: "full"; "base" where the kernel lets no program at its functions;
/// "degraded" where it refuses one that it has let in elsewhere.
fn tier(coverage: &Coverage) -> &'static str {
    let is_function = |probe: &Probe| probe.hook.function().is_some();
    let n_functions = coverage.probes.iter().filter(|report| is_function(report.probe)).count();
    let refused: Vec<bool> = coverage.refused().map(|(probe, _)| is_function(probe)).collect();
    match refused.len() {
        0 => "full",
        n if n == n_functions && refused.iter().all(|&is_function| is_function) => "base",
        _ => "degraded",
    }
}

fn features(coverage: &Coverage, selftest: &Report) -> Vec<CoverageDoc> {
    let attached = coverage.probes.iter().map(|report| match &report.outcome {
        Outcome::Attached => {
            CoverageDoc { feature: report.probe.sees.to_owned(), state: "covered", reason: None }
        }
        Outcome::Unwanted(setting) => CoverageDoc {
            feature: report.probe.sees.to_owned(),
            state: "not_covered",
            reason: Some(format!("{setting} is off")),
        },
        Outcome::Refused(reason) => CoverageDoc {
            feature: report.probe.sees.to_owned(),
            state: "not_covered",
            reason: Some(reason.clone()),
        },
    });
    attached.chain(proc()).chain(selftest.findings.iter().map(field_group)).collect()
}

/// Whether there is a `/proc` at this moment: without one nothing that was missed is repaired.
fn proc() -> Option<CoverageDoc> {
    let err = std::fs::metadata("/proc/self/stat").err()?;
    let reason = format!("/proc cannot be read ({err}): mount it again");
    Some(CoverageDoc { feature: "repair from /proc".to_owned(), state: "not_covered", reason: Some(reason) })
}

/// A group of fields as the self-test found it.
fn field_group((group, finding): &(Group, Finding)) -> CoverageDoc {
    let (state, reason) = match finding {
        Finding::Agrees => ("covered", None),
        Finding::Disagrees(what) => ("off", Some(what)),
        Finding::Untested(why) => ("untested", Some(why)),
    };
    CoverageDoc { feature: format!("fields: {}", group.name()), state, reason: reason.cloned() }
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

    fn told(report: &mut LossReport, counted: &Counted<'_>, now: u64) -> Vec<LossDoc> {
        report.since(counted, BootNs(now), Clock::at_offset(0), |id| Some(format!("/{id}")))
    }

    fn kernel(kernel: Losses) -> Counted<'static> {
        Counted { kernel, ..Counted::default() }
    }

    #[test]
    fn what_the_kernel_did_not_call_us_for_is_told_once() {
        let mut report = LossReport::new(BootNs(0));
        let mut told = |uncalled: &[(&'static str, u64)]| -> Vec<_> {
            let counted = Counted { uncalled, ..Counted::default() };
            let losses = report.since(&counted, BootNs(1), Clock::at_offset(0), |_| None);
            losses.iter().map(|loss| (loss.kind, loss.cause, loss.count)).collect()
        };
        assert_eq!(told(&[("exit", 3), ("exec", 0)]), [("exit", "not_called", 3)]);
        assert_eq!(told(&[("exit", 3), ("exec", 2)]), [("exec", "not_called", 2)]);
    }

    #[test]
    fn a_loss_is_told_once_with_its_own_spell() {
        let clock = Clock::at_offset(0);
        let mut report = LossReport::new(BootNs(10));
        assert_eq!(told(&mut report, &kernel(losses(0, 0, 0)), 20), []);
        let first = told(&mut report, &kernel(losses(3, 25, 28)), 30);
        assert_eq!((first.len(), first[0].count, first[0].cause), (1, 3, "ring_full"));
        assert_eq!((first[0].start, first[0].end), (clock.utc(BootNs(25)), clock.utc(BootNs(28))));
        assert_eq!(told(&mut report, &kernel(losses(3, 25, 28)), 40), []);
        let second = told(&mut report, &kernel(losses(5, 25, 45)), 50);
        assert_eq!((second[0].count, second[0].start), (2, clock.utc(BootNs(40))));
    }

    #[test]
    fn losses_of_decode_and_output_are_told_apart() {
        let counted = Counted { undecodable: 1, output: (2, 0), ..Counted::default() };
        let told = told(&mut LossReport::new(BootNs(0)), &counted, 9);
        let told: Vec<_> = told.iter().map(|loss| (loss.place, loss.count)).collect();
        assert_eq!(told, [("decode", 1), ("output", 2)]);
    }

    #[test]
    fn what_a_full_output_costs_is_told_from_its_beginning_once_there_is_room() {
        let clock = Clock::at_offset(0);
        let mut report = LossReport::new(BootNs(10));
        let at = |report: &mut LossReport, output, now| {
            let counted = Counted { output, ..Counted::default() };
            told(report, &counted, now).into_iter().map(|loss| (loss.count, loss.start)).collect::<Vec<_>>()
        };
        assert_eq!(at(&mut report, (0, 3), 20), []);
        assert_eq!(at(&mut report, (0, 9), 30), []);
        assert_eq!(at(&mut report, (9, 0), 40), [(9, clock.utc(BootNs(10)))]);
        assert_eq!(at(&mut report, (10, 0), 50), [(1, clock.utc(BootNs(40)))]);
    }

    #[test]
    fn what_was_told_in_lines_that_were_dropped_is_told_again_from_its_beginning() {
        let clock = Clock::at_offset(0);
        let mut report = LossReport::new(BootNs(10));
        let mut at = |output, now, is_written: bool| {
            let counted = Counted { output, kernel: losses(2, 11, 12), ..Counted::default() };
            assert!(report.is_settled());
            let losses = told(&mut report, &counted, now);
            let written = report.on_trust();
            assert!(!report.is_settled());
            if is_written {
                written.send(()).expect("waited for");
            }
            losses.into_iter().map(|loss| (loss.cause, loss.count, loss.start)).collect::<Vec<_>>()
        };
        let ring_full = ("ring_full", 2, clock.utc(BootNs(11)));
        assert_eq!(at((3, 0), 20, false), [ring_full, ("output_full", 3, clock.utc(BootNs(10)))]);
        assert_eq!(at((9, 0), 30, true), [ring_full, ("output_full", 9, clock.utc(BootNs(10)))]);
        assert_eq!(at((10, 0), 40, true), [("output_full", 1, clock.utc(BootNs(30)))]);
    }

    #[test]
    fn what_the_spool_gave_up_is_told_once_by_cause_and_over_restarts() {
        let spool = |evicted, unwritten, refused| Counted {
            spool: GivenUp { evicted, unwritten, refused },
            ..Counted::default()
        };
        let mut report = LossReport::new(BootNs(0));
        report.spool_was_told(GivenUp { evicted: 5, ..GivenUp::default() });
        let causes = |told: Vec<LossDoc>| -> Vec<_> {
            told.iter().map(|loss| (loss.cause, loss.place, loss.count)).collect()
        };
        assert!(!report.is_news_of_spool(spool(5, 0, 0).spool));
        assert_eq!(causes(told(&mut report, &spool(5, 0, 0), 1)), []);
        assert!(report.is_news_of_spool(spool(7, 1, 2).spool));
        let expect = [("spool_full", "spool", 2), ("disk_full", "spool", 1), ("refused", "spool", 2)];
        assert_eq!(causes(told(&mut report, &spool(7, 1, 2), 2)), expect);
        assert_eq!(causes(told(&mut report, &spool(7, 1, 2), 3)), []);
    }

    #[test]
    fn what_was_shed_is_told_by_cgroup_and_never_twice() {
        let share = |first: u64, n_exec: u64| {
            let mut share = Share { first_shed_ns: first, last_shed_ns: 90, ..Share::starting_at(0) };
            share.shed[1] = n_exec;
            share
        };
        let shed = |shed: u64| Losses {
            exec: Tally { shed, first_lost_ns: 5, last_lost_ns: 95, ..Tally::default() },
            ..Losses::default()
        };
        let mut report = LossReport::new(BootNs(0));
        let mut check = |n_shed: u64, shares: &[(u64, Share)], expect: &[(u64, Option<&str>)]| {
            let counted = Counted { kernel: shed(n_shed), shares, ..Counted::default() };
            let told = told(&mut report, &counted, 100);
            assert!(told.iter().all(|loss| (loss.kind, loss.cause) == ("exec", "cgroup_share")));
            let path = |loss: &LossDoc| loss.cgroup.clone().and_then(|cgroup| cgroup.path);
            let told: Vec<_> = told.iter().map(|loss| (loss.count, path(loss))).collect();
            let expect: Vec<_> =
                expect.iter().map(|(count, path)| (*count, path.map(str::to_owned))).collect();
            assert_eq!(told, expect);
        };
        check(10, &[(7, share(5, 6)), (8, share(6, 3))], &[(6, Some("/7")), (3, Some("/8")), (1, None)]);
        // The one without a name turns out to be of 7: it has been told.
        check(10, &[(7, share(5, 7)), (8, share(6, 3))], &[]);
        // 8 was forgotten and came back.
        check(14, &[(7, share(5, 7)), (8, share(70, 4))], &[(4, Some("/8"))]);
    }
}
