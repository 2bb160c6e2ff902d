//! Does one thing many times and says what each time cost: what the sensor's price is measured with.
//!
//! `workload exec|connect|getppid N` prints `exec N CPU_NS WALL_NS`: processor time of this process and its children, and
//! time passed, per operation. Under an emulator whose clock counts instructions, both are numbers of instructions.
//!
//! `workload programs exec|connect|getppid N` prints a line for each eBPF program that ran meanwhile, `exec NAME RUNS NS`,
//! in thousandths of a run and nanoseconds of it per operation. The kernel has to keep account (`kernel.bpf_stats_enabled`).

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (accounts, what, n) = match words[..] {
        ["programs", what, n] => (true, what, n),
        [what, n] => (false, what, n),
        _ => return misused(),
    };
    let Some(n) = n.parse::<u32>().ok().filter(|n| *n > 0) else { return misused() };
    let before = if accounts { account() } else { BTreeMap::new() };
    let done = match what {
        "exec" => measured(n, exec),
        "connect" => Listening::new().and_then(|listening| measured(n, || listening.connect())),
        "getppid" => measured(n, getppid),
        _ => return misused(),
    };
    match done {
        Ok(_) if accounts => {
            tell(what, n + warm_up(n), &before, &account());
            ExitCode::SUCCESS
        }
        Ok((cpu, wall)) => {
            println!("{what} {n} {} {}", per_operation(cpu, n), per_operation(wall, n));
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("workload: cannot {what}: {err}");
            ExitCode::FAILURE
        }
    }
}

fn misused() -> ExitCode {
    eprintln!("workload: usage: workload [programs] exec|connect|getppid N");
    ExitCode::from(2)
}

fn per_operation(total: Duration, n: u32) -> u128 {
    total.as_nanos() / u128::from(n)
}

fn warm_up(n: u32) -> u32 {
    n.div_ceil(20)
}

fn measured(n: u32, mut work: impl FnMut() -> io::Result<()>) -> io::Result<(Duration, Duration)> {
    // The first ones find nothing in the caches.
    for _ in 0..warm_up(n) {
        work()?;
    }
    let (cpu, began) = (cpu_time(), Instant::now());
    for _ in 0..n {
        work()?;
    }
    Ok((cpu_time() - cpu, began.elapsed()))
}

/// Runs and time of each program in the kernel, by its id and name.
type Account = BTreeMap<(u32, String), (u64, Duration)>;

fn account() -> Account {
    let programs = aya::programs::loaded_programs().flatten();
    let one = |program: aya::programs::ProgramInfo| {
        let name = program.name_as_str().unwrap_or("?").to_owned();
        ((program.id(), name), (program.run_count(), program.run_time()))
    };
    programs.map(one).collect()
}

fn tell(what: &str, n: u32, before: &Account, after: &Account) {
    let mut seen = Vec::new();
    for (program, (runs, time)) in after {
        let (runs_before, time_before) = before.get(program).copied().unwrap_or_default();
        let (runs, time) = (runs - runs_before, time.saturating_sub(time_before));
        // The kernel keeps fifteen letters: those of an end, which is loaded first, and of an execution are the same.
        let name = match program.1.as_str() {
            name @ "sched_process_e" if seen.contains(&name) => "sched_process_exec",
            name @ "sched_process_e" => {
                seen.push(name);
                "sched_process_exit"
            }
            name => name,
        };
        if runs > 0 {
            println!("{what} {name} {} {}", runs * 1000 / u64::from(n), per_operation(time, n));
        }
    }
}

/// One process from birth to end.
fn exec() -> io::Result<()> {
    Command::new("/bin/true").status().map(drop)
}

fn getppid() -> io::Result<()> {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getppid() };
    Ok(())
}

/// A listener on loopback.
struct Listening(TcpListener);

impl Listening {
    fn new() -> io::Result<Self> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(Self)
    }

    /// One connection from the attempt to its end.
    fn connect(&self) -> io::Result<()> {
        let client = TcpStream::connect(self.0.local_addr()?)?;
        let (server, _) = self.0.accept()?;
        // Reset rather than closed: no port stays taken.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let (value, size) = ((&raw const linger).cast(), size_of_val(&linger) as u32);
        // SAFETY: `value` is a whole `linger` that outlives the call, and the descriptor is open.
        let set =
            unsafe { libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        drop((client, server));
        Ok(())
    }
}

/// Processor time of this process and of its children that ended.
fn cpu_time() -> Duration {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].into_iter().map(usage).sum()
}

fn usage(of: libc::c_int) -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is room for a whole one.
    let got = unsafe { libc::getrusage(of, usage.as_mut_ptr()) };
    assert_eq!(got, 0, "both names are known to every kernel");
    // SAFETY: all of it is integers, set to zero before the kernel filled them in.
    let usage = unsafe { usage.assume_init() };
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec as u64) + Duration::from_micros(value.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
