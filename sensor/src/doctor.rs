//! What the machine offers, a line each, with the way to what is missing. [`examine`] reads files alone and needs no
//! privilege; [`try_out`] loads the programs.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::clock;
use crate::config::{Config, HostConfig, OutputConfig};
use crate::host::{HostFacts, instance};
use crate::loader::{Kernel, LoadError, LoadOptions, has_embedded_object, is_in_root_pid_namespace};
use crate::output;
use crate::probes::OLDEST_KERNEL;
use crate::selftest;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Good,
    /// The sensor runs and sees less.
    Limited,
    /// The sensor cannot run.
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub subject: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// What to do. Nothing for a good finding.
    pub fix: Option<&'static str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Limited => "warn",
            Verdict::Bad => "FAIL",
        };
        write!(f, "{mark}  {:<14} {}", self.subject, self.found)?;
        self.fix.map_or(Ok(()), |fix| write!(f, ": {fix}"))
    }
}

/// Bits of `linux/capability.h`.
const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_SYS_PTRACE", 19), ("CAP_DAC_READ_SEARCH", 2)];
const CAP_SYS_ADMIN: u32 = 21;

pub fn examine(root: &Path, host: &HostConfig, load: &LoadOptions) -> Vec<Finding> {
    vec![
        kernel(root),
        btf(root),
        capabilities(root),
        lockdown(root),
        page_size(root),
        cgroup2(root),
        clock(root, clock::Clock::measure().now()),
        pid_namespace(root),
        host_id(root, host),
        instance_id(root, host),
        object(load),
    ]
}

fn good(subject: &'static str, found: impl Into<String>) -> Finding {
    Finding { subject, verdict: Verdict::Good, found: found.into(), fix: None }
}

fn lacking(subject: &'static str, verdict: Verdict, found: impl Into<String>, fix: &'static str) -> Finding {
    Finding { subject, verdict, found: found.into(), fix: Some(fix) }
}

fn read(root: &Path, path: &str) -> Option<String> {
    Some(fs::read_to_string(root.join(path)).ok()?.trim().to_owned())
}

fn kernel(root: &Path) -> Finding {
    let release = read(root, "proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into());
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        return lacking("kernel", Verdict::Bad, release, "the sensor needs 5.10 or newer");
    }
    good("kernel", release)
}

fn btf(root: &Path) -> Finding {
    if root.join("sys/kernel/btf/vmlinux").exists() {
        return good("BTF", "the kernel shows its types");
    }
    let fix = "run a kernel built with CONFIG_DEBUG_INFO_BTF, as all current distribution kernels are";
    lacking("BTF", Verdict::Bad, "no /sys/kernel/btf/vmlinux", fix)
}

fn capabilities(root: &Path) -> Finding {
    let status = read(root, "proc/self/status").unwrap_or_default();
    let effective =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let holds = |bit: u32| effective.unwrap_or(0) & (1 << bit) != 0;
    // Before they were split off, the two BPF capabilities were parts of this one, and it still grants them.
    let has = |bit: u32| holds(bit) || (bit >= 38 && holds(CAP_SYS_ADMIN));
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(_, bit)| !has(*bit)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return good("capabilities", "all that are needed");
    }
    let verdict = if missing.iter().any(|name| matches!(*name, "CAP_BPF" | "CAP_PERFMON")) {
        Verdict::Bad
    } else {
        Verdict::Limited
    };
    lacking(
        "capabilities",
        verdict,
        format!("missing {}", missing.join(", ")),
        "run as root, or grant them to the service",
    )
}

fn lockdown(root: &Path) -> Finding {
    match read(root, "sys/kernel/security/lockdown") {
        Some(modes) if modes.contains("[confidentiality]") => {
            let fix = "boot with lockdown=integrity or none: this mode forbids reading kernel memory";
            lacking("lockdown", Verdict::Bad, "confidentiality", fix)
        }
        Some(modes) if modes.contains("[integrity]") => {
            good("lockdown", "integrity, which the sensor can live with")
        }
        Some(_) => good("lockdown", "none"),
        None => good("lockdown", "not in this kernel"),
    }
}

/// Rings are whole pages, whatever their size; what was never tried is said all the same.
fn page_size(root: &Path) -> Finding {
    /// `AT_PAGESZ` of `linux/auxvec.h`.
    const PAGE_SIZE: u64 = 6;
    let told = fs::read(root.join("proc/self/auxv")).unwrap_or_default();
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let mut pairs = told.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
    let bytes = pairs.find(|(key, _)| *key == PAGE_SIZE).map(|(_, bytes)| bytes);
    let untried = "the sensor allows for any, but has not been tried on it: see the line about the self-test";
    match bytes {
        Some(4096) => good("page size", "4096 bytes"),
        Some(bytes) => lacking("page size", Verdict::Limited, format!("{bytes} bytes"), untried),
        None => lacking("page size", Verdict::Limited, "not known", "mount proc"),
    }
}

/// Kernel records carry time since boot, which is told in UTC by what this process takes both to be.
fn clock(root: &Path, now: clock::Utc) -> Finding {
    /// 2025-01-01T00:00:00Z: the sensor is younger.
    const OLDEST: i64 = 1_735_689_600_000_000_000;
    let offsets = read(root, "proc/self/timens_offsets").unwrap_or_default();
    let is_shifted = offsets.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("boottime") && words.any(|word| word != "0")
    });
    let source = read(root, "sys/devices/system/clocksource/clocksource0/current_clocksource");
    let found =
        format!("{now}, by {}", source.as_deref().unwrap_or("a source that the kernel does not name"));
    if is_shifted {
        let fix = "run the sensor in the host's time namespace, or the times of its events are wrong";
        return lacking("clock", Verdict::Limited, "a time namespace that counts from another boot", fix);
    }
    if now.0 < OLDEST {
        let fix = "set it (chrony or systemd-timesyncd), or events are not joined with what AWS logged";
        return lacking("clock", Verdict::Limited, found, fix);
    }
    good("clock", found)
}

fn cgroup2(root: &Path) -> Finding {
    let mounts = read(root, "proc/self/mountinfo").unwrap_or_default();
    let kinds = || mounts.lines().filter_map(|line| line.split_once(" - "));
    let point =
        kinds().find_map(|(head, tail)| tail.starts_with("cgroup2 ").then(|| head.split(' ').nth(4))?);
    let layout = if kinds().any(|(_, tail)| tail.starts_with("cgroup ")) {
        "hybrid: version 1 holds controllers, and containers are known by their place in version 2"
    } else {
        "unified"
    };
    match point {
        Some(point) => good("cgroup2", format!("mounted at {point}, {layout}")),
        None => {
            let fix = "mount one (mount -t cgroup2 none /sys/fs/cgroup) to see UDP peers and containers";
            lacking("cgroup2", Verdict::Limited, "not mounted", fix)
        }
    }
}

fn pid_namespace(root: &Path) -> Finding {
    match is_in_root_pid_namespace(&root.join("proc")) {
        Some(true) => good("pid namespace", "the host's"),
        Some(false) => {
            let fix = "run the container with --pid=host (hostPID: true in Kubernetes), or processes older than the \
                       sensor stay unknown";
            lacking("pid namespace", Verdict::Limited, "a container's", fix)
        }
        None => lacking("pid namespace", Verdict::Bad, "/proc cannot be read", "mount proc"),
    }
}

fn host_id(root: &Path, host: &HostConfig) -> Finding {
    match HostFacts::gather(root, host) {
        Ok(facts) => good("host id", facts.id),
        Err(err) => {
            lacking("host id", Verdict::Bad, err.to_string(), "without it events of two hosts would mix")
        }
    }
}

fn instance_id(root: &Path, host: &HostConfig) -> Finding {
    match host.instance_id.clone().or_else(|| instance::instance_id(root)) {
        Some(id) => good("instance id", id),
        None if instance::is_ec2(root) => {
            let fix = "set host.instance_id, or alerts are not joined with what AWS logged of this instance";
            lacking("instance id", Verdict::Limited, "hidden, though this is EC2", fix)
        }
        None => good("instance id", "none: not an EC2 instance"),
    }
}

fn object(load: &LoadOptions) -> Finding {
    match &load.object {
        Some(path) if path.is_file() => good("BPF object", path.display().to_string()),
        Some(path) => {
            let found = format!("\"{}\" is not there", path.display());
            lacking("BPF object", Verdict::Bad, found, "build it with `cargo xtask ebpf`")
        }
        None if has_embedded_object() => good("BPF object", "built in"),
        None => {
            let fix = "build it with `cargo xtask ebpf`, or name one with --ebpf-object";
            lacking("BPF object", Verdict::Bad, "none was built in", fix)
        }
    }
}

/// Whether a correlator that events are to go to can be reached, and takes us for this host. Nothing where there is none.
pub fn wire(config: &Config) -> Vec<Finding> {
    let OutputConfig::Correlator(spool) = &config.output else { return Vec::new() };
    let mut findings = Vec::new();
    if let Some(files) = &spool.files {
        findings.push(match files.connector().and_then(|_connector| files.ends()) {
            Ok(ends) => certificate(ends, clock::Clock::measure().now().0 / 1_000_000_000),
            Err(err) => {
                let cause =
                    std::error::Error::source(&err).map_or_else(String::new, |cause| format!(" ({cause})"));
                let fix = "without them nothing is delivered; `groundtrail ca issue --host` makes them";
                lacking("certificates", Verdict::Bad, format!("{err}{cause}"), fix)
            }
        });
    }
    let Ok(facts) = HostFacts::gather(Path::new("/"), &config.host) else { return findings };
    findings.push(match output::greet(spool, &facts.id) {
        Ok(()) => {
            good("correlator", format!("{} answers and takes this for host \"{}\"", spool.to, facts.id))
        }
        Err(err) => lacking(
            "correlator",
            Verdict::Limited,
            err,
            "until that is mended events are kept in the spool, and the oldest given up when it is full",
        ),
    });
    findings
}

fn certificate(ends: i64, now: i64) -> Finding {
    const DAY: i64 = 24 * 3600;
    let days = (ends - now).div_euclid(DAY);
    match ends - now {
        left if left <= 0 => {
            lacking("certificates", Verdict::Bad, "expired", "issue it anew: `groundtrail ca issue --host`")
        }
        left if left < 30 * DAY => {
            let fix = "issue it anew before that: `groundtrail ca issue --host`; no restart is needed";
            lacking("certificates", Verdict::Limited, format!("end in {days} days"), fix)
        }
        _ => good("certificates", format!("good for {days} days")),
    }
}

/// Loads the programs and tries them on a process of our own. Needs the capabilities that running needs.
pub fn try_out(load: &LoadOptions) -> Vec<Finding> {
    let mut kernel = match Kernel::load(load) {
        Ok(kernel) => kernel,
        Err(err) => return vec![not_loaded(&err)],
    };
    let mut findings: Vec<Finding> = kernel
        .coverage()
        .refused()
        .map(|(probe, why)| {
            let fix = "another kernel, or more capabilities, would show it";
            lacking("hooks", Verdict::Limited, format!("not seen: {} ({why})", probe.sees), fix)
        })
        .collect();
    if findings.is_empty() {
        findings.push(good("hooks", "all attach"));
    }
    let (report, _) = selftest::run(&mut kernel, selftest::myself());
    let wrong = report.wrong().map(|(group, what)| {
        let fix = "what these fields say is left out; please report this kernel";
        lacking("self-test", Verdict::Limited, format!("{}: {what}", group.name()), fix)
    });
    findings.extend(wrong);
    let n_right = report.findings.iter().filter(|(_, finding)| *finding == selftest::Finding::Agrees).count();
    let untested = report.findings.iter().filter_map(|(group, finding)| match finding {
        selftest::Finding::Untested(why) => Some(format!("; {} not tested: {why}", group.name())),
        _ => None,
    });
    let untested: String = untested.collect();
    let of = report.findings.len();
    let ms = report.took.as_millis();
    findings.push(good(
        "self-test",
        format!("{n_right} of {of} groups of fields agree with /proc, in {ms} ms{untested}"),
    ));
    findings
}

/// Without the programs there is no sensor; only for want of privileges nobody knows yet.
fn not_loaded(err: &LoadError) -> Finding {
    let (verdict, fix) = match err {
        LoadError::NotPermitted { .. } => {
            (Verdict::Limited, "the self-test needs what a run needs: mend the lines above, or be root")
        }
        LoadError::KernelTooOld { .. } => (Verdict::Bad, "run a newer kernel"),
        LoadError::NoBtf { .. } | LoadError::Btf { .. } => {
            (Verdict::Bad, "run one of the distribution's own kernels, which show their types")
        }
        LoadError::LockedDown => (Verdict::Bad, "boot with lockdown=integrity or none"),
        LoadError::NoObject
        | LoadError::ReadObject { .. }
        | LoadError::AbiVersion { .. }
        | LoadError::NotOurs
        | LoadError::Map { .. } => {
            (Verdict::Bad, "use the object of this very version: a released sensor has it built in")
        }
        LoadError::Object { .. } | LoadError::Probe { .. } => {
            (Verdict::Bad, "the kernel refuses the programs: run another one, and please report this one")
        }
    };
    let cause = std::error::Error::source(err).map_or_else(String::new, |cause| format!(" ({cause})"));
    lacking("hooks", verdict, format!("not loaded: {err}{cause}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_do_not_load_are_the_end_unless_privileges_are_missing() {
        let io = || std::io::Error::other("why");
        for bad in [
            LoadError::NotOurs,
            LoadError::NoObject,
            LoadError::LockedDown,
            LoadError::AbiVersion { found: 1, expected: 2 },
            LoadError::ReadObject { path: "x.o".into(), source: io() },
            LoadError::NoBtf { source: io() },
            LoadError::Probe { probe: "sched_process_exec", reason: "refused".into() },
        ] {
            let finding = not_loaded(&bad);
            assert_eq!(finding.verdict, Verdict::Bad, "{finding}");
            assert!(finding.fix.is_some_and(|fix| !fix.contains("be root")), "{finding}");
        }
        let finding = not_loaded(&LoadError::NotPermitted { missing: "CAP_BPF".into(), source: io() });
        assert_eq!(finding.verdict, Verdict::Limited, "{finding}");
        assert!(finding.to_string().contains("why"), "the cause is told: {finding}");
    }

    #[test]
    fn a_file_that_is_no_object_of_ours_is_bad() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.o");
        fs::write(&path, "no object").expect("written");
        let load = LoadOptions { object: Some(path), ..LoadOptions::default() };
        assert!(try_out(&load).iter().any(|finding| finding.verdict == Verdict::Bad));
    }

    fn verdict(files: &[(&str, &str)], subject: &str) -> Verdict {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("written");
        }
        let findings = examine(dir.path(), &HostConfig::default(), &LoadOptions::default());
        findings.into_iter().find(|finding| finding.subject == subject).expect("examined").verdict
    }

    #[test]
    fn a_certificate_is_judged_by_what_is_left_of_it() {
        let verdict = |days: i64| certificate(days * 24 * 3600 + 1, 0).verdict;
        assert_eq!([verdict(-1), verdict(5), verdict(200)], [Verdict::Bad, Verdict::Limited, Verdict::Good]);
    }

    #[test]
    fn pages_and_clocks_are_judged_by_what_can_go_wrong_with_them() {
        let of_size = |bytes: u64| {
            let dir = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(dir.path().join("proc/self")).expect("a directory");
            let pairs: [u64; 6] = [16, 0, 6, bytes, 0, 0];
            fs::write(dir.path().join("proc/self/auxv"), pairs.map(u64::to_ne_bytes).concat())
                .expect("written");
            page_size(dir.path()).verdict
        };
        assert_eq!([of_size(4096), of_size(65536)], [Verdict::Good, Verdict::Limited]);
        let judge = |offsets: &str, now| {
            let dir = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(dir.path().join("proc/self")).expect("a directory");
            fs::write(dir.path().join("proc/self/timens_offsets"), offsets).expect("written");
            clock(dir.path(), clock::Utc(now)).verdict
        };
        let now = 1_800_000_000_000_000_000;
        let none = "monotonic           0         0\nboottime            0         0\n";
        assert_eq!(judge(none, now), Verdict::Good);
        assert_eq!(judge("", now), Verdict::Good, "kernels without time namespaces");
        assert_eq!(judge(none, 86_400_000_000_000), Verdict::Limited, "never set");
        let shifted = "monotonic           0         0\nboottime       604800         0\n";
        assert_eq!(judge(shifted, now), Verdict::Limited);
    }

    #[test]
    fn the_layout_of_cgroups_is_told() {
        let found = |mounts: &str| {
            let dir = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(dir.path().join("proc/self")).expect("a directory");
            fs::write(dir.path().join("proc/self/mountinfo"), mounts).expect("written");
            cgroup2(dir.path()).found
        };
        let version2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found(version2), "mounted at /sys/fs/cgroup, unified");
        let version1 = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert!(found(&format!("{version2}{version1}")).contains("hybrid"));
    }

    #[test]
    fn each_subject_is_judged_by_what_is_there() {
        let release = "proc/sys/kernel/osrelease";
        assert_eq!(verdict(&[(release, "5.4.0-150-generic\n")], "kernel"), Verdict::Bad);
        assert_eq!(verdict(&[(release, "5.10.223\n")], "kernel"), Verdict::Good);
        assert_eq!(verdict(&[(release, "6.18.44-x\n")], "kernel"), Verdict::Good);
        assert_eq!(verdict(&[], "BTF"), Verdict::Bad);
        let status = "proc/self/status";
        assert_eq!(verdict(&[(status, "CapEff:\t000001ffffffffff\n")], "capabilities"), Verdict::Good);
        assert_eq!(verdict(&[(status, "CapEff:\t0000000000280004\n")], "capabilities"), Verdict::Good);
        assert_eq!(verdict(&[(status, "CapEff:\t0000000000200000\n")], "capabilities"), Verdict::Limited);
        assert_eq!(verdict(&[(status, "CapEff:\t0\n")], "capabilities"), Verdict::Bad);
        let lockdown = "sys/kernel/security/lockdown";
        assert_eq!(verdict(&[(lockdown, "none integrity [confidentiality]\n")], "lockdown"), Verdict::Bad);
        assert_eq!(verdict(&[(lockdown, "none [integrity] confidentiality\n")], "lockdown"), Verdict::Good);
        let mounts = "proc/self/mountinfo";
        assert_eq!(
            verdict(&[(mounts, "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")], "cgroup2"),
            Verdict::Good
        );
        assert_eq!(
            verdict(&[(mounts, "30 23 0:26 / /x rw - cgroup cgroup rw,cpu\n")], "cgroup2"),
            Verdict::Limited
        );
        assert_eq!(verdict(&[], "pid namespace"), Verdict::Bad);
        let vendor = "sys/devices/virtual/dmi/id/sys_vendor";
        assert_eq!(verdict(&[(vendor, "Amazon EC2\n")], "instance id"), Verdict::Limited);
        assert_eq!(verdict(&[], "host id"), Verdict::Bad);
    }
}
