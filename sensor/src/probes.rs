//! The programs and their hooks: what each shows, which kernel it needs, and whether we go on without it.

/// How a program reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A kernel tracepoint with typed arguments.
    Tracepoint(&'static str),
    /// A socket hook of the cgroup v2 hierarchy's root.
    CgroupSocket,
    /// A packet hook there.
    CgroupPacket(Direction),
    /// The beginning of a kernel function with this many arguments.
    Entry(&'static str, usize),
    /// Its end.
    Exit(&'static str, usize),
}

impl Hook {
    /// The kernel function, and the number of arguments that the program takes it to have.
    pub fn function(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Entry(name, n_args) | Self::Exit(name, n_args) => Some((name, n_args)),
            Self::Tracepoint(_) | Self::CgroupSocket | Self::CgroupPacket(_) => None,
        }
    }
}

/// Where a packet goes, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Out,
    In,
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
    /// Another program takes its place where the kernel's function has other arguments.
    pub is_variant: bool,
}

impl Probe {
    /// Whether it looks for watched files, and has nothing to do without any.
    pub fn is_about_files(&self) -> bool {
        self.program.starts_with("security_")
    }
}

/// Oldest kernel the sensor runs on: ring buffer and boot-time clock are of 5.8, and 5.10 is the oldest that
/// it is tested on.
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// All programs, those that close records first: no process is then opened that cannot be closed.
pub const PROBES: [Probe; 17] = [
    required("sched_process_exit", "process end"),
    required("sched_process_fork", "process creation"),
    required("sched_process_exec", "program execution"),
    required("inet_sock_set_state", "TCP connection attempts and their results"),
    optional("connect4", (4, 17), "IPv4 peers of connected UDP sockets"),
    optional("connect6", (4, 17), "IPv6 peers of connected UDP sockets"),
    optional("sendmsg4", (4, 18), "IPv4 peers of single datagrams"),
    optional("sendmsg6", (4, 18), "IPv6 peers of single datagrams"),
    packets(METADATA_REQUEST, Direction::Out, "requests to metadata services"),
    packets(METADATA_ANSWER, Direction::In, "ids of keys that metadata services hand out"),
    variant("accept_by_arg", "inet_csk_accept", 2, ACCEPTED),
    variant("accept_by_flags", "inet_csk_accept", 4, ACCEPTED),
    function(Hook::Entry("security_file_open", 1), "creation and opening of watched files"),
    function(Hook::Exit("security_inode_rename", 5), "renaming of watched files"),
    function(Hook::Exit("security_inode_unlink", 2), "deletion of watched files"),
    function(Hook::Exit("security_inode_link", 3), "links at watched paths"),
    function(Hook::Exit("security_inode_symlink", 3), "symbolic links at watched paths"),
];

/// The programs that look into packets, which a configuration can do without.
pub const METADATA_REQUEST: &str = "metadata_request";
pub const METADATA_ANSWER: &str = "metadata_answer";

/// The program that such a one goes on in, and the map in which it looks for it.
pub fn step_of(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Out => ("metadata_request_step", "REQUEST_STEPS"),
        Direction::In => ("metadata_answer_step", "ANSWER_STEPS"),
    }
}

const ACCEPTED: &str = "accepted TCP connections";

const fn required(name: &'static str, sees: &'static str) -> Probe {
    Probe {
        program: name,
        hook: Hook::Tracepoint(name),
        oldest: (5, 5),
        is_required: true,
        sees,
        is_variant: false,
    }
}

const fn optional(program: &'static str, oldest: (u32, u32), sees: &'static str) -> Probe {
    Probe { program, hook: Hook::CgroupSocket, oldest, is_required: false, sees, is_variant: false }
}

const fn packets(program: &'static str, direction: Direction, sees: &'static str) -> Probe {
    let hook = Hook::CgroupPacket(direction);
    Probe { program, hook, oldest: (4, 10), is_required: false, sees, is_variant: false }
}

/// A program named after its function.
const fn function(hook: Hook, sees: &'static str) -> Probe {
    let (Hook::Entry(program, _) | Hook::Exit(program, _) | Hook::Tracepoint(program)) = hook else {
        panic!("a hook with a name")
    };
    Probe { program, hook, oldest: (5, 5), is_required: false, sees, is_variant: false }
}

const fn variant(program: &'static str, function: &'static str, n_args: usize, sees: &'static str) -> Probe {
    let hook = Hook::Exit(function, n_args);
    Probe { program, hook, oldest: (5, 5), is_required: false, sees, is_variant: true }
}
