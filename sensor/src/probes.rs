//! The programs and their hooks: what each shows, which kernel it needs, and whether we go on without it.

/// How a program reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A kernel tracepoint with typed arguments.
    Tracepoint(&'static str),
    /// A socket hook of the cgroup v2 hierarchy's root.
    CgroupSocket,
}

/// One program of the object.
#[derive(Debug, PartialEq, Eq)]
pub struct Probe {
    /// Name of the program in the object.
    pub program: &'static str,
    pub hook: Hook,
    /// Oldest kernel that has the hook.
    pub oldest: (u32, u32),
    /// Without a required program there is no sensor; without another one a feature less.
    pub is_required: bool,
    /// What it lets the sensor see, in the words of the report.
    pub sees: &'static str,
}

/// Oldest kernel the sensor runs on: ring buffer and boot-time clock are of 5.8, and 5.10 is the oldest that
/// it is tested on.
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// All programs, those that close records first: no process is then opened that cannot be closed.
pub const PROBES: [Probe; 8] = [
    required("sched_process_exit", "process end"),
    required("sched_process_fork", "process creation"),
    required("sched_process_exec", "program execution"),
    required("inet_sock_set_state", "TCP connection attempts"),
    optional("connect4", (4, 17), "IPv4 peers of connected UDP sockets"),
    optional("connect6", (4, 17), "IPv6 peers of connected UDP sockets"),
    optional("sendmsg4", (4, 18), "IPv4 peers of single datagrams"),
    optional("sendmsg6", (4, 18), "IPv6 peers of single datagrams"),
];

const fn required(name: &'static str, sees: &'static str) -> Probe {
    Probe { program: name, hook: Hook::Tracepoint(name), oldest: (5, 5), is_required: true, sees }
}

const fn optional(program: &'static str, oldest: (u32, u32), sees: &'static str) -> Probe {
    Probe { program, hook: Hook::CgroupSocket, oldest, is_required: false, sees }
}
