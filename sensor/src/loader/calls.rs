//! Whether the kernel calls what it let us attach. Some kernels attach programs to hooks that they never reach; only a call
//! tells.

use std::os::fd::OwnedFd;

use aya::sys::{Stats, enable_stats};

use super::{Kernel, Outcome};
use crate::probes::Probe;

/// What is said of a hook that was to be reached and was not.
const NEVER_CALLED: &str = "it is attached, and the kernel did not call it when there was reason to";

/// While this is held the kernel counts calls.
pub struct Counting(#[expect(dead_code, reason = "held, never looked at")] OwnedFd);

impl Kernel {
    /// Nothing where the kernel does not count for us: it asks for more than loading does.
    pub fn count_calls(&self) -> Option<Counting> {
        enable_stats(Stats::RunTime).ok().map(Counting)
    }

    /// Of these programs, for each of which something was done while calls were counted, those that are attached and were not
    /// called.
    pub fn silent(&self, _counted: &Counting, programs: &[&str]) -> Vec<&'static Probe> {
        let is_silent = |probe: &Probe| {
            let info = self.ebpf.program(probe.program).and_then(|program| program.info().ok());
            programs.contains(&probe.program) && info.is_some_and(|info| info.run_count() == 0)
        };
        let attached = self.coverage.probes.iter().filter(|report| report.outcome == Outcome::Attached);
        attached.map(|report| report.probe).filter(|probe| is_silent(probe)).collect()
    }

    /// They stand as refused from now on.
    pub fn disbelieve(&mut self, silent: &[&'static Probe]) {
        for report in self.coverage.probes.iter_mut().filter(|report| silent.contains(&report.probe)) {
            report.outcome = Outcome::Refused(NEVER_CALLED.to_owned());
        }
    }
}
