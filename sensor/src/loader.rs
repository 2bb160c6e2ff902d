//! Load, attach, detach: the one file that names aya's loader.
//!
//! Says precisely what was attached and what was refused, and why; [`Coverage`] is the report. It leaves the
//! meaning of records to `decode`.

mod attached;
mod calls;
mod object;
mod system;
mod uncalled;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, MapError, ProgramArray};
use aya::programs::links::FdLink;
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, FEntry, FExit, Program,
    ProgramError,
};
use aya::{Ebpf, EbpfError, EbpfLoader, Endianness};
use sensor_ebpf::abi::drops::Share;
use sensor_ebpf::abi::file::{NameKey, WATCHED};
use sensor_ebpf::abi::settings::{NOBODY, OFFSETS, Offsets, SETTINGS, Settings};
use thiserror::Error;

use crate::btf::{Btf, BtfError, KERNEL_BTF};
use crate::config::MetadataConfig;
use crate::offsets;
use crate::probes::{
    Direction, Hook, METADATA_ANSWER, METADATA_REQUEST, OLDEST_KERNEL, PROBES, Probe, step_of,
};
use crate::ring::{Counters, Losses, Mapped, Ring};
use crate::watch::FileWatch;

use attached::Links;
pub use object::has_embedded_object;
pub(crate) use system::return_free_memory;
pub use system::{KernelRelease, cgroup_path, cgroup2_root, is_in_root_pid_namespace};

/// What a sensor in a container of its own has to be told.
const FOREIGN_PID_NAMESPACE: &str = "the sensor is not in the host's pid namespace, so processes older than itself stay \
    unknown: run its container with --pid=host (hostPID: true in Kubernetes)";

/// What is said of a hook that was taken from us.
const DETACHED: &str = "it was detached by somebody else while the sensor ran: start the sensor anew";

/// How long a detached program may take to come to its end.
const AT_REST: Duration = Duration::from_millis(200);

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The BPF object's file; without one the object that was built in is used.
    pub object: Option<PathBuf>,
    /// Size of the ring; rounded up to a power of two of at least 64 KiB and at most 1 GiB.
    pub ring_bytes: u32,
    /// Root of the cgroup v2 hierarchy; found in the mount table if not given.
    pub cgroup_root: Option<PathBuf>,
    /// Puts offsets wrong, to see what the self-test makes of it.
    pub tamper: Option<fn(&mut Offsets)>,
    /// Whose files the programs look for.
    pub files: FileWatch,
    /// What of the word with metadata services is looked at.
    pub metadata: MetadataConfig,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            object: None,
            ring_bytes: 8 << 20,
            cgroup_root: None,
            tamper: None,
            files: FileWatch::default(),
            metadata: MetadataConfig::default(),
        }
    }
}

/// Why the sensor cannot see anything here.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error(
        "kernel {release} is too old: the sensor needs {}.{} or newer",
        OLDEST_KERNEL.0,
        OLDEST_KERNEL.1
    )]
    KernelTooOld { release: KernelRelease },
    #[error(
        "this kernel does not show its type information at \"{KERNEL_BTF}\": the sensor needs one built with \
         CONFIG_DEBUG_INFO_BTF, as all current distribution kernels are"
    )]
    NoBtf { source: io::Error },
    #[error("cannot use this kernel's type information")]
    Btf {
        #[from]
        source: BtfError,
    },
    #[error("not permitted to load eBPF programs: run as root, or grant {missing}")]
    NotPermitted { missing: String, source: io::Error },
    #[error(
        "the kernel refuses eBPF programs that read kernel memory: it is locked down for confidentiality \
         (/sys/kernel/security/lockdown)"
    )]
    LockedDown,
    #[error(
        "no BPF object was built into this binary: build it with `cargo xtask ebpf`, or name one with \
         --ebpf-object"
    )]
    NoObject,
    #[error("cannot read the BPF object \"{}\"", path.display())]
    ReadObject { path: PathBuf, source: io::Error },
    #[error("the BPF object is of version {found}, this sensor needs {expected}: build both from one source")]
    AbiVersion { found: u32, expected: u32 },
    #[error("this file is not a BPF object of the sensor: build one with `cargo xtask ebpf`")]
    NotOurs,
    #[error("cannot load the BPF object")]
    Object { source: Box<EbpfError> },
    #[error("the BPF object lacks its map \"{name}\"")]
    Map { name: &'static str, source: Option<MapError> },
    #[error("cannot attach \"{probe}\", without which there is no sensor: {reason}")]
    Probe { probe: &'static str, reason: String },
}

/// What became of one program.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Attached,
    /// Not wanted; the setting that says so.
    Unwanted(&'static str),
    /// The reason, in one line.
    Refused(String),
}

/// A program of the table and what became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct ProbeReport {
    pub probe: &'static Probe,
    pub outcome: Outcome,
    /// Instructions the verifier followed, of the million it allows; kernels before 5.16 do not tell.
    pub n_verified: Option<u32>,
}

/// What this sensor can see on this kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Coverage {
    pub kernel: KernelRelease,
    pub probes: Vec<ProbeReport>,
    /// Optional kernel fields that this kernel lacks; what they would fill stays empty.
    pub absent_fields: Vec<&'static str>,
    /// Things that went wrong and cost nothing yet.
    pub warnings: Vec<String>,
}

impl Coverage {
    /// True if the program is attached.
    pub fn has(&self, program: &str) -> bool {
        self.probes
            .iter()
            .any(|report| report.probe.program == program && report.outcome == Outcome::Attached)
    }

    /// Programs that were refused, with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static Probe, &str)> {
        self.probes.iter().filter_map(|report| match &report.outcome {
            Outcome::Attached | Outcome::Unwanted(_) => None,
            Outcome::Refused(reason) => Some((report.probe, reason.as_str())),
        })
    }
}

/// The loaded programs and the reading end of their ring. Dropping it detaches them.
pub struct Kernel {
    ring: Ring,
    counters: Counters,
    coverage: Coverage,
    /// What the programs had missed when the hooks were let go of.
    uncalled: Vec<(&'static str, u64)>,
    links: Links,
    /// Keeps programs and the other links alive.
    ebpf: Ebpf,
}

impl Kernel {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// One sentence on what stands in the way. Optional programs do not: see [`Kernel::coverage`].
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        let kernel = system::kernel_release();
        if kernel.is_older_than(OLDEST_KERNEL) {
            return Err(LoadError::KernelTooOld { release: kernel });
        }
        let object = object::read(options.object.as_deref())?;
        if system::is_locked_down() {
            return Err(LoadError::LockedDown);
        }
        let mut target = Target::read(&kernel)?;
        if let Some(tamper) = options.tamper {
            tamper(&mut target.offsets);
        }
        let mut warnings = Vec::new();
        if kernel.is_older_than((5, 11))
            && let Err(err) = system::raise_memlock()
        {
            warnings.push(format!("cannot raise the limit on locked memory, loading may fail: {err}"));
        }
        let is_at_root = is_in_root_pid_namespace(Path::new("/proc")).unwrap_or(false);
        if !is_at_root {
            warnings.push(FOREIGN_PID_NAMESPACE.to_owned());
        }
        let ring_bytes = ring_bytes(options.ring_bytes);
        let mut ebpf = load_object(&object, &target, ring_bytes, own_tgid(is_at_root))?;
        let cgroup = options.cgroup_root.clone().or_else(cgroup2_root);
        watch_names(&mut ebpf, &options.files)?;
        let mut links = Links::default();
        let probes = attach_all(&mut ebpf, &target, cgroup.as_deref(), options, &mut links)?;
        let ring = Ring::new(
            take_map(&mut ebpf, "RECORDS", Mapped::new)?,
            take_map(&mut ebpf, "LINEAGE", Mapped::new)?,
        );
        let counters = Counters::new(
            take_map(&mut ebpf, "TALLIES", Array::try_from)?,
            take_map(&mut ebpf, "SHARES", HashMap::try_from)?,
        );
        let coverage = Coverage { kernel, probes, absent_fields: target.absent, warnings };
        drop(target.skeleton);
        return_free_memory();
        Ok(Self { ring, counters, coverage, uncalled: Vec::new(), links, ebpf })
    }

    /// What is attached, and what is not.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Hands over the records that are ready, at most `max`; see [`Ring::drain`].
    pub fn drain(&mut self, max: usize, take: impl FnMut(&[u8])) -> usize {
        self.ring.drain(max, take)
    }

    /// Waits for attention or the timeout; see [`Ring::wait`].
    ///
    /// # Errors
    /// If the ring cannot be registered with the runtime.
    pub async fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.ring.wait(timeout).await
    }

    /// What became of every event, by kind and cause.
    ///
    /// # Errors
    /// If the kernel refuses to read the counters, which it has no reason to.
    pub fn losses(&self) -> io::Result<Losses> {
        self.counters.losses()
    }

    /// What was shed of each cgroup that had taken more than its share.
    ///
    /// # Errors
    /// As [`Kernel::losses`].
    pub fn shares(&self) -> io::Result<Vec<(u64, Share)>> {
        self.counters.shares()
    }

    /// Events for which the kernel did not call a program, by kind.
    pub fn uncalled(&self) -> Vec<(&'static str, u64)> {
        if self.uncalled.is_empty() { uncalled::count(&self.ebpf) } else { self.uncalled.clone() }
    }

    /// Hooks that somebody else let go of since the last call; the coverage says so from now on.
    pub fn lost_hooks(&mut self) -> Vec<&'static Probe> {
        let lost = self.links.take_lost();
        for report in &mut self.coverage.probes {
            if lost.contains(&report.probe) {
                report.outcome = Outcome::Refused(DETACHED.to_owned());
            }
        }
        lost
    }

    /// Lets go of the hooks. What is in the ring stays there to be read, and once a program that was at work has ended
    /// nothing is added: then every event that was seen is accounted for.
    pub fn detach(&mut self) {
        self.uncalled = uncalled::count(&self.ebpf);
        self.links.let_go();
        for probe in &PROBES {
            let unloaded = match self.ebpf.program_mut(probe.program) {
                Some(Program::BtfTracePoint(program)) => program.unload(),
                Some(Program::CgroupSockAddr(program)) => program.unload(),
                Some(Program::CgroupSkb(program)) => program.unload(),
                Some(Program::FEntry(program)) => program.unload(),
                Some(Program::FExit(program)) => program.unload(),
                _ => Ok(()),
            };
            // One that was never loaded has nothing to let go of.
            if let Err(err) = unloaded
                && self.coverage.has(probe.program)
            {
                tracing::debug!(probe = probe.program, %err, "cannot detach");
            }
        }
        let end = Instant::now() + AT_REST;
        while Instant::now() < end && self.losses().is_ok_and(|losses| !losses.is_balanced()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What the running kernel's type information says, boiled down.
struct Target {
    offsets: Offsets,
    absent: Vec<&'static str>,
    exit_has_group_dead: bool,
    has_typed_current: bool,
    has_socket_cookie: bool,
    /// Functions that programs are made for, with the arguments they have here.
    functions: Vec<(&'static str, usize)>,
    skeleton: aya::Btf,
}

impl Target {
    fn read(kernel: &KernelRelease) -> Result<Self, LoadError> {
        let bytes = std::fs::read(KERNEL_BTF).map_err(|source| LoadError::NoBtf { source })?;
        let btf = Btf::parse(&bytes)?;
        let resolved = offsets::resolve(&btf)?;
        let names = PROBES.iter().filter_map(|probe| match probe.hook {
            Hook::Tracepoint(name) => Some(format!("btf_trace_{name}")),
            Hook::CgroupSocket | Hook::CgroupPacket(_) | Hook::Entry(..) | Hook::Exit(..) => None,
        });
        let functions: BTreeSet<&str> =
            PROBES.iter().filter_map(|probe| Some(probe.hook.function()?.0)).collect();
        let functions: Vec<(&'static str, usize)> =
            functions.into_iter().filter_map(|name| Some((name, btf.n_function_args(name).ok()?))).collect();
        let function_names: Vec<&str> = functions.iter().map(|(name, _)| *name).collect();
        let skeleton = btf.skeleton(&names.collect::<Vec<_>>(), &function_names);
        let skeleton = aya::Btf::parse(&skeleton, Endianness::default())
            .map_err(|err| LoadError::Object { source: Box::new(err.into()) })?;
        Ok(Self {
            offsets: resolved.offsets,
            absent: resolved.absent,
            has_typed_current: !kernel.is_older_than((5, 11)),
            has_socket_cookie: !kernel.is_older_than((5, 12)),
            exit_has_group_dead: btf.n_tracepoint_args("sched_process_exit")? > 1,
            functions,
            skeleton,
        })
    }
}

impl Target {
    /// Of variants, the one for the function as it is here; the first if there is no such function.
    fn is_for_this_kernel(&self, probe: &Probe) -> bool {
        let Some((name, n_args)) = probe.hook.function().filter(|_| probe.is_variant) else { return true };
        let is_here = |&(known, n): &(&str, usize)| known == name && n == n_args;
        let variants =
            || PROBES.iter().filter(|other| other.hook.function().is_some_and(|hook| hook.0 == name));
        let has_any =
            variants().filter_map(|other| other.hook.function()).any(|hook| self.functions.contains(&hook));
        if has_any { self.functions.iter().any(is_here) } else { variants().next() == Some(probe) }
    }

    /// A program that takes a function's arguments for others would tell nonsense.
    fn has_function(&self, probe: &Probe) -> Result<(), String> {
        let Some((name, n_args)) = probe.hook.function() else { return Ok(()) };
        match self.functions.iter().find(|(known, _)| *known == name) {
            None => Err(format!("this kernel has no function \"{name}\"")),
            Some((_, n)) if *n != n_args => {
                Err(format!("\"{name}\" has {n} arguments here, and the program knows it with {n_args}"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// The settings as aya wants them: its own type, so that aya's marker stays out of the ABI.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Raw<T>(T);

// SAFETY: `repr(C)` with `u32` fields alone: no padding, every bit pattern a value.
unsafe impl aya::Pod for Raw<Offsets> {}
// SAFETY: as above.
unsafe impl aya::Pod for Raw<Settings> {}

fn load_object(object: &[u8], target: &Target, ring_bytes: u32, own_tgid: u32) -> Result<Ebpf, LoadError> {
    let settings = Raw(Settings {
        own_tgid,
        exit_has_group_dead: target.exit_has_group_dead.into(),
        has_typed_current: target.has_typed_current.into(),
        has_socket_cookie: target.has_socket_cookie.into(),
        ..Settings::for_rings(ring_bytes, lineage_bytes(ring_bytes))
    });
    let offsets = Raw(target.offsets);
    EbpfLoader::new()
        .btf(None)
        .override_global(OFFSETS, &offsets, true)
        .override_global(SETTINGS, &settings, true)
        .map_max_entries("RECORDS", ring_bytes)
        .map_max_entries("LINEAGE", lineage_bytes(ring_bytes))
        .load(object)
        .map_err(refused)
}

/// A refusal for want of a capability is told as such, wherever in aya it came up.
fn refused(err: EbpfError) -> LoadError {
    match system::missing_capabilities() {
        Some(missing) => LoadError::NotPermitted { missing, source: io::Error::other(err) },
        None => LoadError::Object { source: Box::new(err) },
    }
}

/// Tells the programs what names to look for.
fn watch_names(ebpf: &mut Ebpf, files: &FileWatch) -> Result<(), LoadError> {
    let name = WATCHED;
    let map = ebpf.map_mut(name).ok_or(LoadError::Map { name, source: None })?;
    let fail = |source| LoadError::Map { name, source: Some(source) };
    let mut map: HashMap<_, NameKey, u32> = HashMap::try_from(map).map_err(fail)?;
    files.keys().into_iter().try_for_each(|(key, bits)| map.insert(key, bits, 0)).map_err(fail)
}

fn attach_all(
    ebpf: &mut Ebpf,
    target: &Target,
    cgroup: Option<&Path>,
    options: &LoadOptions,
    links: &mut Links,
) -> Result<Vec<ProbeReport>, LoadError> {
    let mut reports = Vec::new();
    for probe in PROBES.iter().filter(|probe| target.is_for_this_kernel(probe)) {
        if let Some(setting) = switched_off(probe, options) {
            reports.push(ProbeReport { probe, outcome: Outcome::Unwanted(setting), n_verified: None });
            continue;
        }
        let outcome = match attach(ebpf, probe, target, cgroup, links) {
            Ok(()) => Outcome::Attached,
            Err(reason) if probe.is_required => match system::missing_capabilities() {
                Some(missing) => {
                    return Err(LoadError::NotPermitted { missing, source: io::Error::other(reason) });
                }
                None => return Err(LoadError::Probe { probe: probe.program, reason }),
            },
            Err(reason) => Outcome::Refused(match system::missing_capabilities() {
                Some(missing) => format!("{reason}; grant {missing}"),
                None => reason,
            }),
        };
        let info = ebpf.program(probe.program).and_then(|program| program.info().ok());
        let n_verified = info.and_then(|info| info.verified_instruction_count());
        reports.push(ProbeReport { probe, outcome, n_verified });
    }
    Ok(reports)
}

/// The setting that keeps a program from being loaded at all.
fn switched_off(probe: &Probe, options: &LoadOptions) -> Option<&'static str> {
    match probe.program {
        METADATA_REQUEST if !options.metadata.requests => Some("metadata.requests"),
        METADATA_ANSWER if !options.metadata.access_key_ids => Some("metadata.access_key_ids"),
        _ if probe.is_about_files() && options.files.is_empty() => Some("files"),
        _ => None,
    }
}

fn attach(
    ebpf: &mut Ebpf,
    probe: &'static Probe,
    target: &Target,
    cgroup: Option<&Path>,
    links: &mut Links,
) -> Result<(), String> {
    target.has_function(probe)?;
    if let Hook::CgroupPacket(direction) = probe.hook {
        load_step(ebpf, direction)?;
    }
    let btf = &target.skeleton;
    let program = ebpf.program_mut(probe.program).ok_or("the BPF object does not hold it")?;
    match probe.hook {
        Hook::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(why)?;
            program.load(name, btf).map_err(why)?;
            program.attach().map_err(why)?;
        }
        Hook::CgroupSocket => {
            let root = cgroup_root(cgroup)?;
            let program: &mut CgroupSockAddr = program.try_into().map_err(why)?;
            program.load().map_err(why)?;
            // No flags: since 5.7 this makes a link, which always shares the hook with other programs, and
            // `AllowMultiple` is refused there.
            let id = program.attach(root, CgroupAttachMode::Single).map_err(why)?;
            keep(links, probe, program.take_link(id));
        }
        Hook::CgroupPacket(direction) => {
            let root = cgroup_root(cgroup)?;
            let program: &mut CgroupSkb = program.try_into().map_err(why)?;
            program.load().map_err(why)?;
            let way = match direction {
                Direction::Out => CgroupSkbAttachType::Egress,
                Direction::In => CgroupSkbAttachType::Ingress,
            };
            let id = program.attach(root, way, CgroupAttachMode::Single).map_err(why)?;
            keep(links, probe, program.take_link(id));
        }
        Hook::Entry(name, _) => {
            let program: &mut FEntry = program.try_into().map_err(why)?;
            program.load(name, btf).map_err(why)?;
            program.attach().map_err(why)?;
        }
        Hook::Exit(name, _) => {
            let program: &mut FExit = program.try_into().map_err(why)?;
            program.load(name, btf).map_err(why)?;
            program.attach().map_err(why)?;
        }
    }
    Ok(())
}

/// The program that goes on where a packet's first one ends. It is there before that one runs.
fn load_step(ebpf: &mut Ebpf, direction: Direction) -> Result<(), String> {
    let (name, map) = step_of(direction);
    let program = ebpf.program_mut(name).ok_or("the BPF object does not hold its next step")?;
    let program: &mut CgroupSkb = program.try_into().map_err(why)?;
    program.load().map_err(why)?;
    // The program and the map are the object's, which lends one at a time.
    let fd = program.fd().map_err(why)?.try_clone().map_err(|err| err.to_string())?;
    let map = ebpf.map_mut(map).ok_or("the BPF object does not hold the map of its steps")?;
    let mut steps = ProgramArray::try_from(map).map_err(|err| err.to_string())?;
    steps.set(0, &fd, 0).map_err(|err| err.to_string())
}

/// A link that was just made is there, and since 5.7 it has a descriptor.
fn keep<L>(links: &mut Links, probe: &'static Probe, link: Result<L, ProgramError>)
where
    FdLink: TryFrom<L>,
{
    if let Some(link) = link.ok().and_then(|link| FdLink::try_from(link).ok()) {
        links.keep(probe, link);
    }
}

fn cgroup_root(path: Option<&Path>) -> Result<File, String> {
    let path = path.ok_or("no cgroup v2 hierarchy is mounted")?;
    File::open(path).map_err(|err| format!("cannot open \"{}\": {err}", path.display()))
}

/// One line: the verifier's log, where there is one, by its last words.
fn why(err: ProgramError) -> String {
    match err {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            tracing::debug!(log, "verifier");
            match log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("processed ")) {
                Some(last) => format!("{io_error}: {}", last.trim()),
                None => io_error.to_string(),
            }
        }
        ProgramError::SyscallError(err) => format!("{}: {}", err.call, err.io_error),
        err => err.to_string(),
    }
}

fn take_map<M>(
    ebpf: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(aya::maps::Map) -> Result<M, MapError>,
) -> Result<M, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Map { name, source: None })?;
    convert(map).map_err(|source| LoadError::Map { name, source: Some(source) })
}

/// The id under which the programs know this process, if it can be told. In another pid namespace our own id is somebody
/// else's at the root: as a container's first process we would hide the host's.
fn own_tgid(is_at_root: bool) -> u32 {
    if is_at_root { std::process::id() } else { NOBODY }
}

/// The kernel takes powers of two of whole pages.
fn ring_bytes(wanted: u32) -> u32 {
    wanted.clamp(64 << 10, 1 << 30).next_power_of_two()
}

/// Lineage that found no place in a ring of this size: a page at least, and a power of two as that is one.
fn lineage_bytes(ring_bytes: u32) -> u32 {
    (ring_bytes / 16).max(64 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespaced_id_is_nobodys_at_the_root() {
        assert_eq!((own_tgid(true), own_tgid(false)), (std::process::id(), NOBODY));
    }

    #[test]
    fn ring_sizes_are_powers_of_two_within_bounds() {
        assert_eq!(ring_bytes(0), 64 << 10);
        assert_eq!(ring_bytes(5 << 20), 8 << 20);
        assert_eq!(ring_bytes(u32::MAX), 1 << 30);
    }
}
