//! Loads the programs into this machine's kernel, does known things, and compares the raw records with what
//! `/proc` and the test itself know.
//!
//! Needs root and a BPF object: `cargo xtask ebpf`, then `cargo test -p sensor --features live-kernel`.
#![cfg(feature = "live-kernel")]
#![cfg_attr(
    feature = "live-kernel",
    expect(clippy::unwrap_used, reason = "a test's helpers fail the test, like the test itself")
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sensor::config::MetadataConfig;
use sensor::loader::{Kernel, LoadOptions, Outcome};
use sensor::probes::Probe;
use sensor::ring::Losses;
use sensor::selftest::{self, Finding, Group, Groups};
use sensor::watch::{FileWatch, Patterns};
use sensor_ebpf::abi::connect::{Accepted, Connect, ESTABLISHED, origin};
use sensor_ebpf::abi::exchange::{self as exchange, Exchange, sign};
use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::exit::Exit;
use sensor_ebpf::abi::file::{File, op};
use sensor_ebpf::abi::fork::Fork;
use sensor_ebpf::abi::header::{Header, Key, flag, kind};
use sensor_ebpf::abi::settings::Offsets;
use sensor_ebpf::abi::text::Walk;

/// Where `cargo xtask` shows what was skipped: the runner holds back what a test that passes prints.
#[path = "../../tests/harness/skip.rs"]
#[expect(unreachable_pub, reason = "the harness offers it to other crates")]
mod skip;

#[path = "kernel/connect.rs"]
mod connect;
#[path = "kernel/coverage.rs"]
mod coverage;
#[path = "kernel/exec.rs"]
mod exec;
#[path = "kernel/file.rs"]
mod file;
#[path = "kernel/metadata.rs"]
mod metadata;
#[path = "kernel/rings.rs"]
mod rings;
#[path = "kernel/selftest.rs"]
mod self_test;

/// Tells a copy of this test binary what to do instead of testing.
const ROLE: &str = "GROUNDTRAIL_TEST_ROLE";

/// Exit code of a helper that this kernel gives no multipath socket.
const NO_MPTCP: i32 = 77;
/// The instance metadata service: spoken to only where it is an address of an empty namespace's loopback.
const METADATA_SERVICE: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// What the verifier may follow of one program.
const MAX_VERIFIED: u32 = 200_000;

struct Records {
    bytes: Vec<Vec<u8>>,
}

impl Records {
    fn of<T: Copy>(&self, wanted: u32, tgid: u32) -> Vec<(T, &[u8])> {
        let records = self.bytes.iter().filter(|bytes| {
            let header: Header = read(bytes);
            assert_eq!(header.size as usize, bytes.len());
            header.kind == wanted && header.process.tgid == tgid
        });
        records.map(|bytes| (read(bytes), &bytes[size_of::<T>()..])).collect()
    }

    fn exec(&self, tgid: u32) -> (Exec, &[u8]) {
        self.of(kind::EXEC, tgid).pop().expect("the exec was recorded")
    }

    fn connects(&self, tgid: u32) -> Vec<Connect> {
        self.of(kind::CONNECT, tgid).into_iter().map(|(connect, _)| connect).collect()
    }

    fn results(&self, tgid: u32) -> Vec<Connect> {
        self.of(kind::RESULT, tgid).into_iter().map(|(result, _)| result).collect()
    }
}

fn read<T: Copy>(bytes: &[u8]) -> T {
    assert!(bytes.len() >= size_of::<T>(), "{} bytes", bytes.len());
    // SAFETY: long enough, and records are integers and byte arrays alone.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// Tests take turns: a fork in one would inherit the script that another is still writing, and a port that one
/// found closed could be bound by the next.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The programs that most tests are about. Those that look for files or into packets are loaded where a test is about
/// them: in an emulated kernel the verifier takes seconds over each.
fn plain() -> LoadOptions {
    let files = FileWatch::new(&Patterns { changes: Vec::new(), reads: Vec::new() }).unwrap();
    let metadata = MetadataConfig { requests: false, access_key_ids: false };
    LoadOptions { files, metadata, ..LoadOptions::default() }
}

fn load() -> Kernel {
    load_with(&plain())
}

/// Floods and the rings that they fill are this many times smaller where the whole machine is emulated, and nothing else
/// happens on it.
fn smaller() -> u32 {
    if std::env::var_os("GROUNDTRAIL_EMULATED").is_some() { 4 } else { 1 }
}

/// Whether nobody has promised that this kernel lets programs in at its functions.
fn may_lack_functions() -> bool {
    std::env::var_os("GROUNDTRAIL_KERNEL_HAS_FUNCTIONS").is_none()
}

/// False, and said, on a kernel that lets no program in at its functions.
fn has_functions(kernel: &Kernel) -> bool {
    let some = ["security_file_open", "accept_by_arg", "accept_by_flags"];
    let has = some.into_iter().any(|program| kernel.coverage().has(program));
    assert!(has || may_lack_functions(), "{:?}", kernel.coverage().refused().collect::<Vec<_>>());
    if !has {
        skip::say("this kernel lets no program in at its functions");
    }
    has
}

fn load_with(options: &LoadOptions) -> Kernel {
    Kernel::load(options).unwrap_or_else(|err| {
        let mut text = err.to_string();
        let mut cause: &dyn std::error::Error = &err;
        while let Some(source) = cause.source() {
            text += &format!(": {source}");
            cause = source;
        }
        panic!("{text}")
    })
}

/// Runs the child to its end and collects records until its exit came through the ring.
fn watch(kernel: &mut Kernel, mut child: Child) -> (u32, ExitStatus, Records) {
    let status = child.wait().unwrap();
    let mut records = Records { bytes: Vec::new() };
    let deadline = Instant::now() + Duration::from_secs(10);
    while records.of::<Exit>(kind::EXIT, child.id()).is_empty() {
        kernel.drain(usize::MAX, |bytes| records.bytes.push(bytes.to_vec()));
        assert!(Instant::now() < deadline, "no exit of {} among {} records", child.id(), records.bytes.len());
        std::thread::sleep(Duration::from_millis(5));
    }
    (child.id(), status, records)
}

fn path<const N: usize>(walk: &Walk<N>) -> PathBuf {
    let mut names: Vec<&[u8]> = walk.components().collect();
    assert_eq!(names.len(), walk.depth as usize);
    names.reverse();
    let text = names.iter().fold(Vec::new(), |text, name| [&text[..], b"/", name].concat());
    PathBuf::from(std::ffi::OsStr::from_bytes(if text.is_empty() { b"/" } else { &text }))
}

/// Field 22 of `/proc/PID/stat`.
fn start_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

fn check_is_this_process(key: Key) {
    assert_eq!(key.tgid, std::process::id());
    assert_eq!(key.start_boot_ns / 10_000_000, start_ticks(std::process::id()));
}

fn own_namespace(name: &str) -> u32 {
    let link = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let text = link.to_str().unwrap().trim_end_matches(']');
    text.rsplit_once('[').unwrap().1.parse().unwrap()
}

fn own_id(name: &str) -> u32 {
    fs::read_to_string(format!("/proc/self/{name}")).map_or(u32::MAX, |text| text.trim().parse().unwrap())
}

#[test]
fn every_probe_attaches() {
    let _turn = turn();
    let kernel = load_with(&LoadOptions::default());
    let is_function = |probe: &Probe| probe.hook.function().is_some();
    let refused: Vec<_> = kernel.coverage().refused().collect();
    if may_lack_functions() && refused.iter().all(|(probe, _)| is_function(probe)) {
        let functions = kernel.coverage().probes.iter().filter(|report| is_function(report.probe));
        assert!(refused.is_empty() || refused.len() == functions.count(), "{refused:?}");
    } else {
        assert!(refused.is_empty(), "{refused:?}");
    }
    assert!(kernel.coverage().has("sched_process_exec"));
    for report in &kernel.coverage().probes {
        // Kernels differ in how far they follow a program, and allow a million; each thousand holds the start up.
        let n = report.n_verified.unwrap_or(0);
        assert!(n < MAX_VERIFIED, "the verifier followed {n} instructions of {}", report.probe.program);
    }
}

/// A copy of this test, playing `role` with `port`.
fn helper(role: &str, port: u16) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "plays_its_role", "--quiet"]).env(ROLE, format!("{role} {port}"));
    command.arg0("helper").stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (role, port) = role.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    match role {
        "tcp" | "udp" | "udp6" | "mptcp" | "results" | "accept" => connect::play(role, port),
        "exchange" => metadata::exchange_with_services(),
        // Nobody is there, and loopback says so at once.
        "metadata" => assert!(TcpStream::connect((METADATA_SERVICE, port)).is_err()),
        other => coverage::play(other, port),
    }
}

const ADDRESS_BYTES: u32 = size_of::<libc::sockaddr_in>() as u32;

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// A loopback port on which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn programs_that_have_nothing_to_look_for_are_not_loaded() {
    let _turn = turn();
    let kernel = load();
    let is_wanted = |probe: &Probe| !probe.is_about_files() && !probe.program.starts_with("metadata_");
    let unwanted = kernel.coverage().probes.iter().filter(|report| !is_wanted(report.probe));
    let outcomes: Vec<&Outcome> = unwanted.map(|report| &report.outcome).collect();
    assert_eq!(outcomes.len(), 7);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Unwanted(_))), "{outcomes:?}");
    assert!(kernel.coverage().refused().all(|(probe, _)| is_wanted(probe)));
}
