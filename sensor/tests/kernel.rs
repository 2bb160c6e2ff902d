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

#[path = "kernel/coverage.rs"]
mod coverage;

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

#[test]
fn an_exec_is_told_as_proc_tells_it() {
    let _turn = turn();
    let mut kernel = load();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("/bin/true");
    command.args(["", "a b", "\u{fc}", ""]).env_clear().env("KEY", "value").current_dir(folder.path());
    let (tgid, status, records) = watch(&mut kernel, command.spawn().unwrap());
    assert!(status.success());

    let (exec, capture) = records.exec(tgid);
    let (args, env) = exec.split(capture);
    assert_eq!(args, "/bin/true\0\0a b\0\u{fc}\0\0".as_bytes());
    assert_eq!(env, b"KEY=value\0");
    assert_eq!((exec.args_len as usize, exec.env_len as usize), (args.len(), env.len()));
    assert_eq!(exec.filename.as_bytes(), b"/bin/true");
    let exe = fs::canonicalize("/bin/true").unwrap();
    assert_eq!(path(&exec.exe), exe);
    let inode = fs::metadata(&exe).unwrap();
    assert_eq!((exec.exe_inode, u64::from(exec.exe_nlink)), (inode.ino(), inode.nlink()));
    assert_eq!(exec.exe_mode, inode.mode());
    assert_eq!(exec.exe_device(), (libc::major(inode.dev()), libc::minor(inode.dev())));
    assert_eq!(path(&exec.cwd), fs::canonicalize(folder.path()).unwrap());
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap();
    if let Some(own) = cgroups.lines().find_map(|line| line.strip_prefix("0::")) {
        assert_eq!(path(&exec.cgroup), Path::new(own));
    }

    let header = &exec.header;
    assert_eq!(header.flags, 0);
    assert_eq!((header.tid, header.comm()), (tgid, &b"true"[..]));
    check_is_this_process(header.parent);
    assert!(header.boot_ns > header.process.start_boot_ns);
    assert_eq!(header.pid_ns, own_namespace("pid"));
    assert_eq!(header.mnt_ns, own_namespace("mnt"));
    assert_eq!(header.net_ns, own_namespace("net"));
    assert_eq!((header.loginuid, header.sessionid), (own_id("loginuid"), own_id("sessionid")));
    // SAFETY: take and return numbers.
    let (uid, gid, sid, pgid) =
        unsafe { (libc::getuid(), libc::getgid(), libc::getsid(0) as u32, libc::getpgrp() as u32) };
    assert_eq!([header.uid, header.euid, header.suid], [uid; 3]);
    assert_eq!([header.gid, header.egid, header.sgid], [gid; 3]);
    assert_eq!((header.sid, header.pgid), (sid, pgid));
    let held = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = |name: &str| {
        let line = held.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // Root's programs get what may be got, which root has.
    assert_eq!(exec.cap_permitted, capabilities("CapBnd:"));
    assert_eq!(exec.cap_effective, capabilities("CapEff:"));

    let forks = records.of::<Fork>(kind::FORK, tgid);
    let [(fork, _)] = forks[..] else { panic!("{} forks", forks.len()) };
    assert_eq!((fork.header.process, fork.header.parent), (header.process, header.parent));
    check_is_this_process(fork.caller);
    let (exit, _) = records.of::<Exit>(kind::EXIT, tgid)[0];
    assert_eq!(exit.header.process, header.process);
    assert_eq!((exit.code(), exit.signal()), (Some(0), None));
}

#[test]
fn thirty_two_kibibytes_of_arguments_survive_whole() {
    let _turn = turn();
    let mut kernel = load();
    let long: Vec<String> = (0..32).map(|n| format!("{n:02}{}", "x".repeat(1010))).collect();
    let (tgid, _, records) = watch(&mut kernel, Command::new("/bin/true").args(&long).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    let expect = format!("/bin/true\0{}\0", long.join("\0"));
    assert_eq!(exec.split(capture).0, expect.as_bytes());
    assert_eq!(exec.header.flags & (flag::ARGS_FAULT | flag::ARGS_TRUNCATED), 0);
    assert_eq!(exec.gaps, 0);

    let huge = "y".repeat(100_000);
    let (tgid, _, records) = watch(&mut kernel, Command::new("/bin/true").arg(&huge).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    assert_ne!(exec.header.flags & flag::ARGS_TRUNCATED, 0);
    assert_eq!(exec.args_len as usize, "/bin/true".len() + 1 + huge.len() + 1);
    assert_eq!(exec.split(capture).0.len(), capture.len());
}

#[test]
fn ends_are_told_apart() {
    let _turn = turn();
    let mut kernel = load();
    let (tgid, status, records) =
        watch(&mut kernel, Command::new("/bin/sh").args(["-c", "kill -9 $$"]).spawn().unwrap());
    assert_eq!(status.signal(), Some(9));
    assert_eq!(records.of::<Exit>(kind::EXIT, tgid)[0].0.signal(), Some(9));

    let (tgid, _, records) =
        watch(&mut kernel, Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap());
    assert_eq!(records.of::<Exit>(kind::EXIT, tgid)[0].0.code(), Some(7));
}

#[test]
fn scripts_and_programs_in_memory_are_marked() {
    let _turn = turn();
    let mut kernel = load();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tool");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (tgid, _, records) = watch(&mut kernel, Command::new(&script).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    assert_eq!(exec.header.flags & flag::SCRIPT, flag::SCRIPT);
    assert_eq!(exec.filename.as_bytes(), script.as_os_str().as_bytes());
    assert_eq!(exec.interp.as_bytes(), b"/bin/sh");
    assert_eq!(path(&exec.exe), fs::canonicalize("/bin/sh").unwrap());
    assert!(exec.split(capture).0.starts_with(b"/bin/sh\0"));

    // SAFETY: a valid name, and no flags that need more.
    let fd = unsafe { libc::memfd_create(c"hidden".as_ptr(), 0) };
    assert!(fd >= 0);
    // SAFETY: just made, and owned here.
    let mut file = unsafe { fs::File::from_raw_fd(fd) };
    file.write_all(&fs::read("/bin/true").unwrap()).unwrap();
    let (tgid, _, records) =
        watch(&mut kernel, Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).spawn().unwrap());
    let (exec, _) = records.exec(tgid);
    assert!(exec.is_memfd(), "{:?}", path(&exec.exe));
    assert_ne!(exec.header.flags & flag::EXE_DELETED, 0);
    assert_eq!(path(&exec.exe), Path::new("/memfd:hidden"));
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
        "tcp" => {
            let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            let v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port));
            assert!(v4.is_err() && v6.is_err());
        }
        "udp" => {
            let connected = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            connected.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            for _ in 0..5 {
                let _ = free.send_to(b"x", (Ipv4Addr::LOCALHOST, port));
            }
            let free = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
            let _ = free.send_to(b"x", (Ipv6Addr::LOCALHOST, port));
        }
        "mptcp" => {
            let address = loopback(port);
            // SAFETY: takes numbers.
            let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
            if fd < 0 {
                // A kernel without it.
                std::process::exit(NO_MPTCP);
            }
            // SAFETY: `address` is a whole IPv4 address that outlives the call.
            assert_ne!(unsafe { libc::connect(fd, (&raw const address).cast(), ADDRESS_BYTES) }, 0);
        }
        "results" => {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
            let full = full_listener();
            let mut streams = Vec::new();
            while streams.last().is_none_or(|stream: &OwnedFd| is_connected(stream)) {
                assert!(streams.len() < 100, "the listener takes everyone");
                streams.push(start_connecting(&full));
            }
        }
        "accept" => {
            let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
            for listener in [v4, v6] {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (server, peer) = listener.accept().unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
                drop(server);
            }
        }
        "exchange" => exchange_with_services(),
        // Nobody is there, and loopback says so at once.
        "metadata" => assert!(TcpStream::connect((METADATA_SERVICE, port)).is_err()),
        other => coverage::play(other, port),
    }
}

/// A listener that takes next to nobody.
fn full_listener() -> OwnedFd {
    let address = loopback(0);
    // SAFETY: takes numbers; what it gives is owned here alone.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
    // SAFETY: `address` is a whole IPv4 address that outlives the call.
    assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) }, 0);
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::listen(socket.as_raw_fd(), 0) }, 0);
    socket
}

fn start_connecting(listener: &OwnedFd) -> OwnedFd {
    let (mut address, mut len) = (loopback(0), ADDRESS_BYTES);
    // SAFETY: both point to locals, and `len` is the room there is.
    let status = unsafe { libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &raw mut len) };
    assert_eq!(status, 0);
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers; what it gives is owned here alone.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, kind, 0)) };
    // SAFETY: `address` is a whole IPv4 address that outlives the call.
    let status = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) };
    assert_eq!(status, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINPROGRESS));
    socket
}

fn is_connected(socket: &OwnedFd) -> bool {
    let (mut address, mut len) = (loopback(0), ADDRESS_BYTES);
    // SAFETY: both point to locals, and `len` is the room there is.
    unsafe { libc::getpeername(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut len) == 0 }
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
fn tcp_attempts_are_seen_though_they_fail() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("tcp", port));
    assert!(status.success());
    let connects = records.connects(tgid);
    let [v4, v6] = connects[..] else { panic!("{connects:?}") };
    assert_eq!((v4.family, v4.protocol, v4.destination_port, v4.origin), (2, 6, port, origin::TCP_STATE));
    assert_eq!(v4.destination[..4], [127, 0, 0, 1]);
    assert_eq!(v4.destination[4..], [0; 12]);
    assert_eq!((v6.family, v6.protocol, v6.destination_port), (10, 6, port));
    assert_eq!(v6.destination, Ipv6Addr::LOCALHOST.octets());
    assert_eq!((v4.old_state, v4.new_state), (7, 2));
    let results = records.results(tgid);
    let [refused, refused6] = results[..] else { panic!("{results:?}") };
    for (result, attempt) in [(refused, v4), (refused6, v6)] {
        assert_eq!((result.old_state, result.new_state, result.error), (2, 7, libc::ECONNREFUSED as u32));
        assert_eq!(
            (result.destination, result.destination_port),
            (attempt.destination, attempt.destination_port)
        );
        assert_eq!((result.header.tid, result.header.process), (attempt.header.tid, attempt.header.process));
        assert_eq!((result.header.uid, result.header.comm), (attempt.header.uid, attempt.header.comm));
        assert!(result.header.boot_ns >= attempt.header.boot_ns);
    }
    check_is_this_process(v4.header.parent);
    assert_ne!(v4.header.tid, tgid, "the test harness runs the role in a thread of its own");
}

#[test]
fn results_of_connections_are_told_by_what_came_of_them() {
    let _turn = turn();
    let mut kernel = load();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tgid, status, records) = watch(&mut kernel, helper("results", port));
    assert!(status.success());
    let results = records.results(tgid);
    let [taken, .., given_up] = results[..] else { panic!("{results:?}") };
    assert_eq!((taken.new_state, taken.error, taken.destination_port), (ESTABLISHED, 0, port));
    assert_ne!(taken.source_port, 0);
    assert_eq!(taken.source[..4], [127, 0, 0, 1]);
    // Nobody answered before the socket was closed.
    assert_eq!((given_up.new_state, given_up.error), (7, 0));
    assert_eq!(records.connects(tgid).len(), results.len());
}

#[test]
fn a_multipath_attempt_is_told_by_its_subflow_alone() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("mptcp", port));
    if status.code() == Some(NO_MPTCP) {
        skip::say("this kernel has no Multipath TCP");
        return;
    }
    assert!(status.success());
    let connects = records.connects(tgid);
    let [subflow] = connects[..] else { panic!("{connects:?}") };
    assert_eq!((subflow.protocol, subflow.destination_port), (6, port));
    assert_eq!(subflow.header.flags & flag::KERNEL_THREAD, 0);
}

#[test]
fn udp_peers_are_seen_and_repeats_are_counted() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("udp", port));
    assert!(status.success());
    let seen: Vec<_> =
        records.connects(tgid).iter().map(|c| (c.family, c.protocol, c.destination_port, c.origin)).collect();
    let expect =
        [(2, 17, port, origin::CONNECT), (2, 17, port, origin::SENDMSG), (10, 17, port, origin::SENDMSG)];
    assert_eq!(seen, expect);
    assert!(records.connects(tgid).iter().all(|connect| connect.cookie != 0));
    assert!(kernel.losses().unwrap().connect.suppressed >= 4);
}

#[test]
fn own_connections_are_left_out_and_counted() {
    let _turn = turn();
    let mut kernel = load();
    let before = kernel.losses().unwrap().connect.suppressed;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, closed_port())).is_err());
    assert!(kernel.losses().unwrap().connect.suppressed > before);
    let (_, _, records) = watch(&mut kernel, Command::new("/bin/true").spawn().unwrap());
    assert!(records.connects(std::process::id()).is_empty());
}

/// Everything in the rings by kind, and the counters, once the programs are let go of: nothing is under way then.
fn at_rest(kernel: &mut Kernel) -> (Vec<Header>, Losses) {
    kernel.detach();
    let mut headers = Vec::new();
    kernel.drain(usize::MAX, |bytes| headers.push(read::<Header>(bytes)));
    let losses = kernel.losses().unwrap();
    assert!(losses.is_balanced(), "{losses:?}");
    for ((name, tally), kind) in losses.by_kind().into_iter().zip([
        kind::EXEC,
        kind::FORK,
        kind::EXIT,
        kind::CONNECT,
        kind::RESULT,
        kind::ACCEPT,
        kind::FILE,
        kind::EXCHANGE,
    ]) {
        let n_read = headers.iter().filter(|header| header.kind == kind).count();
        assert_eq!(n_read as u64, tally.submitted, "{name}: {tally:?}");
    }
    (headers, losses)
}

#[test]
fn every_event_is_accounted_for() {
    let _turn = turn();
    // A ring that is not read and holds a tenth of what comes: what does not fit must be counted. It has room for what else
    // happens on this machine meanwhile; a smaller one that others have filled leaves headers alone.
    let mut kernel = load_with(&LoadOptions { ring_bytes: (1 << 20) / smaller(), ..plain() });
    let big = "z".repeat(30_000);
    let mut flood = Vec::new();
    let n_execs = 800 / smaller();
    for _ in 0..n_execs {
        let mut child = Command::new("/bin/true").arg(&big).spawn().unwrap();
        flood.push(child.id());
        assert!(child.wait().unwrap().success());
    }
    let (headers, losses) = at_rest(&mut kernel);
    assert!(losses.exec.seen >= n_execs.into());
    for (name, tally) in losses.by_kind() {
        assert_eq!(tally.unreadable, 0, "{name}");
    }
    // Shorter before headers, headers before nothing. Not compared: other processes' headers are counted too.
    let n_short = losses.exec.degraded - losses.exec.header_only;
    assert!(n_short > 0 && losses.exec.header_only > 0, "{losses:?}");
    assert!(losses.lost() > 0, "{losses:?}");
    let lost = losses.by_kind().into_iter().map(|(_, tally)| tally).filter(|tally| tally.lost() > 0);
    assert!(
        lost.clone().all(|tally| tally.first_lost_ns > 0 && tally.first_lost_ns <= tally.last_lost_ns),
        "{losses:?}"
    );
    let forked = headers.iter().filter(|header| header.kind == kind::FORK).map(|header| header.process.tgid);
    let forked: Vec<u32> = forked.filter(|tgid| flood.contains(tgid)).collect();
    let n_forked = forked.len();
    assert!(
        n_forked > n_execs as usize / 8,
        "{n_forked} of the flood's forks, where few execs fill the ring"
    );
}

/// The sensor as its self-test starts it.
fn sensor() -> Command {
    Command::new(env!("CARGO_BIN_EXE_groundtrail-sensor"))
}

#[test]
fn the_self_test_finds_this_kernel_right_and_keeps_what_came_meanwhile() {
    let _turn = turn();
    let mut kernel = load();
    assert!(Command::new("/bin/true").arg("gt-meanwhile").status().unwrap().success());
    let (mut report, mut held) = selftest::run(&mut kernel, sensor());
    // It holds the start up for so long and no longer, which an emulated machine under load may overrun.
    for _ in 0..4 {
        let is_late = |(_, finding): &(Group, Finding)| matches!(finding, Finding::Untested(why) if why.contains("in time"));
        if report.findings.iter().any(is_late) {
            report = selftest::run(&mut kernel, sensor()).0;
        }
    }
    assert!(report.off().is_empty(), "{report:?}");
    for (group, finding) in &report.findings {
        // A machine without audit or with the v1 cgroups alone has nothing to compare these with.
        let may_lack = matches!(group, Group::Audit | Group::Cgroup);
        assert!(*finding == Finding::Agrees || may_lack, "{group:?}: {finding:?}");
    }
    assert!(held.drain().any(|record| record.windows(12).any(|bytes| bytes == b"gt-meanwhile")));
}

#[test]
fn a_hook_that_is_never_called_is_told_and_all_others_are_called() {
    let _turn = turn();
    let metadata = MetadataConfig { requests: true, access_key_ids: true };
    let mut kernel = load_with(&LoadOptions { metadata, ..LoadOptions::default() });
    let before = kernel.coverage().refused().count();
    selftest::run(&mut kernel, sensor());
    assert_eq!(kernel.coverage().refused().count(), before, "{:?}", kernel.coverage());

    // Nobody sends anything.
    let mut kernel = load();
    let Some(counting) = kernel.count_calls() else { panic!("root may count") };
    let silent = kernel.silent(&counting, &["sendmsg6", "no such program"]);
    kernel.disbelieve(&silent);
    let silent: Vec<_> =
        kernel.coverage().refused().filter(|(_, why)| why.contains("did not call it")).collect();
    assert_eq!(silent.iter().map(|(probe, _)| probe.program).collect::<Vec<_>>(), ["sendmsg6"]);
}

#[test]
fn wrong_offsets_switch_their_own_groups_off() {
    let _turn = turn();
    // Neighbours of the right type, which no verifier can tell apart.
    let tamper: fn(&mut Offsets) = |offsets| {
        offsets.mm_arg_start = offsets.mm_env_start;
        offsets.sock_dport = offsets.sock_num;
    };
    let mut kernel = load_with(&LoadOptions { tamper: Some(tamper), ..plain() });
    let (report, _) = selftest::run(&mut kernel, sensor());
    assert_eq!(report.off(), Groups::from_iter([Group::Arguments, Group::Socket]), "{report:?}");
    assert!(report.wrong().all(|(_, what)| what.contains("/proc has")));
}

/// A cgroup of the test's own; gone with the last process in it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let place = mounts.lines().find_map(|line| {
            let (mount, rest) = line.split_once(" - ")?;
            rest.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4))?
        });
        let path = Path::new(place.unwrap()).join(format!("groundtrail-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs a script in it, with `PAD` to pass as an argument.
    fn run(&self, script: &str) {
        let script = format!("echo $$ > {}/cgroup.procs && {script}", self.0.display());
        let status = Command::new("/bin/sh").args(["-c", &script]).env("PAD", "z".repeat(30_000)).status();
        assert!(status.unwrap().success());
    }

    /// Inode of its directory, which is what the kernel calls it by.
    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_flood_in_one_cgroup_costs_another_nothing() {
    let _turn = turn();
    let (flooding, quiet) = (Cgroup::new("flooding"), Cgroup::new("quiet"));
    // Nobody reads while the flood goes on.
    let mut kernel = load_with(&LoadOptions { ring_bytes: (2 << 20) / smaller(), ..plain() });
    let n_execs = 1500 / smaller();
    flooding.run(&format!("i=0; while [ $i -lt {n_execs} ]; do /bin/true $PAD; i=$((i+1)); done"));
    // An eighth of the ring is kept for others; these fit into a smaller one too.
    let n_quiet = if smaller() == 1 { 10 } else { 4 };
    quiet.run(&format!("i=0; while [ $i -lt {n_quiet} ]; do /bin/true gt-quiet; i=$((i+1)); done"));
    kernel.detach();
    let mut told = Vec::new();
    let mut flood_is_header_only = 0;
    kernel.drain(usize::MAX, |bytes| {
        let header: Header = read(bytes);
        if header.kind == kind::EXEC && header.cgroup_id == quiet.id() && header.comm() == b"true" {
            assert_eq!(header.flags & flag::HEADER_ONLY, 0, "the quiet one is told whole");
            let exec: Exec = read(bytes);
            told.push(exec.split(&bytes[size_of::<Exec>()..]).0.to_vec());
        }
        flood_is_header_only +=
            u64::from(header.cgroup_id == flooding.id() && header.flags & flag::HEADER_ONLY != 0);
    });
    assert_eq!(told, vec![b"/bin/true\0gt-quiet\0".to_vec(); n_quiet]);
    assert!(flood_is_header_only > 0);
    let losses = kernel.losses().unwrap();
    assert!(losses.is_balanced(), "{losses:?}");
    let shares = kernel.shares().unwrap();
    assert!(shares.iter().all(|(cgroup, _)| *cgroup != quiet.id()), "{shares:?}");
    let (_, share) = shares.iter().find(|(cgroup, _)| *cgroup == flooding.id()).expect("the flood was shed");
    let shed: u64 = share.shed.iter().sum();
    assert!(shed > 0 && shed <= losses.by_kind().iter().map(|(_, tally)| tally.shed).sum(), "{share:?}");
    assert!(share.first_shed_ns > 0 && share.first_shed_ns <= share.last_shed_ns);
}

#[test]
fn accepted_connections_are_told_with_their_peers() {
    let _turn = turn();
    let mut kernel = load();
    if !has_functions(&kernel) {
        return;
    }
    let (tgid, status, records) = watch(&mut kernel, helper("accept", 0));
    assert!(status.success());
    let results = records.results(tgid);
    let accepts: Vec<Connect> =
        records.of(kind::ACCEPT, tgid).into_iter().map(|(Accepted(accept), _)| accept).collect();
    assert_eq!((accepts.len(), results.len()), (2, 2));
    for (accept, result) in accepts.iter().zip(results) {
        assert_eq!((accept.family, accept.protocol, accept.origin), (result.family, 6, origin::ACCEPT));
        // One connection, seen from both ends.
        assert_eq!((accept.source, accept.destination), (result.destination, result.source));
        assert_eq!(
            (accept.source_port, accept.destination_port),
            (result.destination_port, result.source_port)
        );
    }
}

#[test]
fn what_happens_to_watched_files_is_told() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(root.join("gt-watched/a/b")).unwrap();
    fs::create_dir(root.join("gt-else")).unwrap();
    fs::write(root.join("gt-secret"), "hush").unwrap();
    let pattern = |end: &str| vec![format!("{}/{end}", root.display())];
    let patterns = Patterns { changes: pattern("gt-watched/**"), reads: pattern("gt-secret") };
    let files = FileWatch::new(&patterns).unwrap();
    let mut kernel = load_with(&LoadOptions { files, ..plain() });
    if !has_functions(&kernel) {
        return;
    }
    let script = "echo x > gt-watched/a/b/new; echo y >> gt-watched/a/b/new; mv gt-watched/a/b/new gt-watched/moved; \
        ln gt-watched/moved gt-watched/linked; ln -s moved gt-watched/symbolic; cat gt-secret; \
        mv gt-watched/linked gt-else/out; cat gt-watched/moved; echo z > gt-else/unwatched; rm gt-watched/moved; \
        exit 3";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).current_dir(&root).stdout(std::process::Stdio::null());
    let (tgid, status, records) = watch(&mut kernel, shell.spawn().unwrap());
    assert_eq!(status.code(), Some(3));
    let below = |walk: &Walk<1024>| path(walk).strip_prefix(&root).map(Path::to_owned).unwrap_or_default();
    let told: Vec<(File, PathBuf)> = records
        .bytes
        .iter()
        .filter(|bytes| read::<Header>(bytes).kind == kind::FILE)
        .map(|bytes| read::<File>(bytes))
        .map(|file| (file, below(&file.path)))
        .filter(|(_, path)| path != Path::new(""))
        .collect();
    let seen: Vec<(u32, &str, String)> = told
        .iter()
        .map(|(file, path)| (file.op, path.to_str().unwrap(), below(&file.old_path).display().to_string()))
        .collect();
    let expect = [
        (op::CREATE, "gt-watched/a/b/new", ""),
        (op::WRITE, "gt-watched/a/b/new", ""),
        (op::RENAME, "gt-watched/moved", "gt-watched/a/b/new"),
        (op::LINK, "gt-watched/linked", "gt-watched/moved"),
        (op::SYMLINK, "gt-watched/symbolic", ""),
        (op::READ, "gt-secret", ""),
        (op::RENAME, "gt-else/out", "gt-watched/linked"),
        (op::DELETE, "gt-watched/moved", ""),
    ];
    let expect: Vec<_> = expect.into_iter().map(|(op, path, old)| (op, path, old.to_owned())).collect();
    assert_eq!(seen, expect);
    let made = &told[0].0;
    assert_eq!((made.header.process.tgid, made.header.flags), (tgid, 0));
    let inode = fs::metadata(root.join("gt-else/out")).unwrap();
    assert_eq!((made.inode, made.mode), (inode.ino(), inode.mode()));
    assert_eq!((made.dev >> 20, made.dev & 0xf_ffff), (libc::major(inode.dev()), libc::minor(inode.dev())));
}

/// How long the reader sleeps that nothing wakes.
const ASLEEP: Duration = Duration::from_secs(20);

/// Sleeps on a ring of this size while `work` is under way; how long, and what the ring held then.
fn sleep_until_woken(ring_bytes: u32, work: impl FnOnce() + Send + 'static) -> (Duration, Records) {
    let mut kernel = load_with(&LoadOptions { ring_bytes, ..plain() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        kernel.wait(Duration::from_millis(1)).await.unwrap();
        kernel.drain(usize::MAX, |_| {});
        let start = Instant::now();
        let work = std::thread::spawn(work);
        kernel.wait(ASLEEP).await.unwrap();
        let slept = start.elapsed();
        let mut records = Records { bytes: Vec::new() };
        kernel.drain(usize::MAX, |bytes| records.bytes.push(bytes.to_vec()));
        work.join().unwrap();
        (slept, records)
    })
}

#[test]
fn filling_rings_wake_the_reader() {
    let _turn = turn();
    let (slept, _) = sleep_until_woken(64 << 10, || {
        let big = "z".repeat(30_000);
        assert!(Command::new("/bin/true").arg(&big).status().unwrap().success());
    });
    assert!(slept < ASLEEP * 3 / 4, "{slept:?}");
}

#[test]
fn a_word_with_the_metadata_service_wakes_the_reader() {
    let _turn = turn();
    let furnished = format!(
        "ip link set lo up && ip address add {METADATA_SERVICE}/32 dev lo && exec \"$0\" --exact plays_its_role --quiet"
    );
    let role = format!("metadata {}", closed_port());
    // So large that what else happens here does not fill it.
    let (slept, records) = sleep_until_woken(64 << 20, move || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", &furnished]).arg(std::env::current_exe().unwrap());
        assert!(command.env(ROLE, role).stdout(std::process::Stdio::null()).status().unwrap().success());
    });
    assert!(slept < ASLEEP * 3 / 4, "{slept:?}");
    let has_told = records.bytes.iter().any(|bytes| {
        let header: Header = read(bytes);
        header.kind == kind::CONNECT
            && header.flags & flag::METADATA_SERVICE != 0
            && read::<Connect>(bytes).destination[..4] == METADATA_SERVICE.octets()
    });
    assert!(has_told, "the reader woke for something else");
}

/// Never to be seen anywhere but in the packets.
const CANARY: &str = "gtCanaryHushHushHush";
const HANDED_OUT: &str = "ASIAEXAMPLE000000001";

/// The services of a namespace of the test's own, each on its own address.
const SERVICES: [IpAddr; 4] = [
    IpAddr::V4(METADATA_SERVICE),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Answers every request on a connection until its client is done.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
                let body = format!(
                    "{{\n  \"Code\" : \"Success\",\n  \"AccessKeyId\" : \"{HANDED_OUT}\",\n  \"SecretAccessKey\" : \
                     \"{CANARY}\",\n  \"Token\" : \"{CANARY}{}\"\n}}",
                    "T".repeat(2000)
                );
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
}

/// One request of these pieces, each in a segment of its own, and its answer to the end.
fn ask(stream: &mut TcpStream, pieces: &[&str]) {
    for piece in pieces {
        stream.write_all(piece.as_bytes()).unwrap();
        if pieces.len() > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        len = line.trim().strip_prefix("Content-Length: ").map_or(len, |len| len.parse().unwrap());
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; len]).unwrap();
}

fn exchange_with_services() {
    for address in SERVICES.into_iter().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]) {
        let listener = TcpListener::bind((address, 80)).unwrap();
        std::thread::spawn(move || serve(&listener));
    }
    let connect = |address: IpAddr| {
        let stream = TcpStream::connect(SocketAddr::new(address, 80)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    let [imds, ecs, eks, imds6] = SERVICES;
    let mut stream = connect(imds);
    ask(&mut stream, &["GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"]);
    ask(&mut stream, &["PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"]);
    let token = format!("data-token: {CANARY}\r\n");
    ask(&mut stream, &["GET /latest/meta-d", "ata/iam HTTP/1.1\r\nX-aws-ec2-meta", &token, "\r", "\n"]);
    ask(&mut connect(imds6), &["GET /six HTTP/1.1\r\n\r\n"]);
    ask(&mut connect(METADATA_SERVICE.to_ipv6_mapped().into()), &["GET /mapped HTTP/1.1\r\n\r\n"]);
    ask(&mut connect(ecs), &["GET /v2/credentials/0b1c HTTP/1.1\r\n\r\n"]);
    let pod = format!("GET /v1/credentials HTTP/1.1\r\nAuthorization: {CANARY}\r\n\r\n");
    ask(&mut connect(eks), &[&pod]);
    let long = format!("GET /long?{CANARY} HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(3000));
    ask(&mut connect(imds), &[&long]);
    ask(&mut connect(IpAddr::V4(Ipv4Addr::LOCALHOST)), &["GET /elsewhere HTTP/1.1\r\n\r\n"]);
}

/// What the role above says to the services and hears from them, and every byte of the rings meanwhile.
fn exchanges(metadata: MetadataConfig) -> (Vec<Exchange>, Records) {
    let mut kernel = load_with(&LoadOptions { metadata, ..plain() });
    assert!(kernel.coverage().has("metadata_request"), "{:?}", kernel.coverage());
    let addresses = SERVICES.map(|address| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        format!("ip address add {address}/{bits} dev lo && ")
    });
    let furnished =
        format!("ip link set lo up && {} exec \"$0\" --exact plays_its_role --quiet", addresses.concat());
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sh", "-c", &furnished]).arg(std::env::current_exe().unwrap());
    command.env(ROLE, "exchange 0").stdout(std::process::Stdio::null());
    let (tgid, status, records) = watch(&mut kernel, command.spawn().unwrap());
    assert!(status.success());
    assert_eq!(kernel.losses().unwrap().metadata.lost(), 0);
    let told = records.of(kind::EXCHANGE, tgid).into_iter().map(|(exchange, _)| exchange).collect();
    (told, records)
}

#[test]
fn words_with_metadata_services_are_told_and_nobody_elses() {
    let _turn = turn();
    let (told, records) = exchanges(MetadataConfig { requests: true, access_key_ids: false });
    let seen: Vec<(u16, u32, &str, u32)> = told
        .iter()
        .map(|exchange| {
            (exchange.family, exchange.op, std::str::from_utf8(exchange.line()).unwrap(), exchange.signs)
        })
        .collect();
    let asked = exchange::op::REQUEST;
    let expect = [
        (2, asked, "GET /latest/meta-data/ HTTP/1.1", 0),
        (2, asked, "PUT /latest/api/token HTTP/1.1", sign::TOKEN_TTL),
        (2, asked, "GET /latest/meta-data/iam HTTP/1.1", sign::TOKEN),
        (10, asked, "GET /six HTTP/1.1", 0),
        (2, asked, "GET /mapped HTTP/1.1", 0),
        (2, asked, "GET /v2/credentials/0b1c HTTP/1.1", 0),
        (2, asked, "GET /v1/credentials HTTP/1.1", 0),
        (2, asked, "GET /long HTTP/1.1", sign::QUERY | sign::HEADERS_CUT),
    ];
    assert_eq!(seen, expect);
    let connects = records.connects(told[0].header.process.tgid);
    for exchange in &told {
        assert_eq!(exchange.header.process, connects[0].header.process);
        assert_ne!(exchange.header.flags & flag::METADATA_SERVICE, 0);
    }
    let holds = |text: &str| {
        records.bytes.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    assert!(!holds(CANARY) && !holds(HANDED_OUT), "the rings hold what nobody asked for");
}

#[test]
fn of_an_answer_the_ring_holds_the_id_of_the_key_alone() {
    let _turn = turn();
    let (told, records) = exchanges(MetadataConfig { requests: true, access_key_ids: true });
    let answers: Vec<(&[u8], &[u8])> = told
        .iter()
        .filter(|exchange| exchange.op == exchange::op::CREDENTIALS)
        .map(|exchange| (exchange.line(), exchange.key()))
        .collect();
    assert_eq!(answers.len(), 8, "{answers:?}");
    assert!(answers.iter().all(|(_, key)| *key == HANDED_OUT.as_bytes()));
    assert!(answers.contains(&(&b"GET /v1/credentials HTTP/1.1"[..], HANDED_OUT.as_bytes())));
    let holds = |text: &str| {
        records.bytes.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    assert!(!holds(CANARY) && !holds("TTTTTTTT"), "a secret is in the ring");
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
