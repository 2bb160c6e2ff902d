//! Which programs the kernel has called: some kernels attach programs to hooks that they never reach.

/// Name of the section that the marks are in, which is the name of its map.
pub const SECTION: &str = ".bss";

/// Every program that the kernel is to call, in the order of their marks.
pub const PROGRAMS: [&str; 17] = [
    "sched_process_exit",
    "sched_process_fork",
    "sched_process_exec",
    "inet_sock_set_state",
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "metadata_request",
    "metadata_answer",
    "accept_by_arg",
    "accept_by_flags",
    "security_file_open",
    "security_inode_rename",
    "security_inode_unlink",
    "security_inode_link",
    "security_inode_symlink",
];

/// A byte for each; not zero once it was called.
pub type Marks = [u8; PROGRAMS.len()];

/// Where a program's mark is. To be asked while compiling, where a name that is none is an error.
pub const fn mark_of(program: &str) -> usize {
    let mut at = 0;
    while !is_same(PROGRAMS[at].as_bytes(), program.as_bytes()) {
        at += 1;
    }
    at
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

const _: () = assert!(mark_of("sched_process_exit") == 0 && mark_of("security_inode_symlink") == 16);
