//! Whether the kernel calls what it let us attach. Some kernels attach programs to hooks that they never reach; only a call
//! tells, and each program marks its first.

use aya::maps::Array;
use sensor_ebpf::abi::calls::{Marks, PROGRAMS, SECTION};

use super::{Kernel, Outcome};
use crate::probes::Probe;

/// What is said of a hook that was to be reached and was not.
const NEVER_CALLED: &str = "it is attached, and the kernel did not call it when there was reason to";

/// As aya wants them: its own type, so that aya's marker stays out of the ABI.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Raw(Marks);

// SAFETY: bytes alone: no padding, every bit pattern a value.
unsafe impl aya::Pod for Raw {}

impl Kernel {
    /// Of these programs, for each of which something was done, those that are attached and were not called.
    pub fn silent(&self, programs: &[&str]) -> Vec<&'static Probe> {
        let Some(Raw(marks)) = self.marks() else { return Vec::new() };
        let is_silent = |probe: &Probe| {
            let mark = PROGRAMS.iter().position(|program| *program == probe.program);
            programs.contains(&probe.program) && mark.is_some_and(|mark| marks[mark] == 0)
        };
        let attached = self.coverage.probes.iter().filter(|report| report.outcome == Outcome::Attached);
        attached.map(|report| report.probe).filter(|probe| is_silent(probe)).collect()
    }

    fn marks(&self) -> Option<Raw> {
        let marks: Array<_, Raw> = Array::try_from(self.ebpf.map(SECTION)?).ok()?;
        marks.get(&0, 0).ok()
    }

    /// They stand as refused from now on.
    pub fn disbelieve(&mut self, silent: &[&'static Probe]) {
        for report in self.coverage.probes.iter_mut().filter(|report| silent.contains(&report.probe)) {
            report.outcome = Outcome::Refused(NEVER_CALLED.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::PROBES;

    #[test]
    fn every_program_has_a_mark() {
        let mut programs = PROBES.map(|probe| probe.program);
        let mut marked = PROGRAMS;
        programs.sort_unstable();
        marked.sort_unstable();
        assert_eq!(programs, marked);
    }
}
