//! Who else can be asked to watch programs and connections: bpftrace with one-liners on the same hooks, and auditd.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::needs;
use crate::shell::{self, Failure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Bpftrace,
    Auditd,
}

/// The least that says who ran what and who connected where, on the hooks that the sensor uses.
pub(super) const ONE_LINERS: &str = "tracepoint:sched:sched_process_exec { printf(\"exec %d %s\\n\", pid, str(args->filename)); } \
    tracepoint:sched:sched_process_fork { printf(\"fork %d %d\\n\", args->parent_pid, args->child_pid); } \
    tracepoint:sched:sched_process_exit { printf(\"exit %d %s\\n\", pid, comm); } \
    tracepoint:sock:inet_sock_set_state /args->newstate == 2/ { printf(\"connect %d %s %d\\n\", pid, ntop(args->daddr), args->dport); }";

/// In a mount namespace of its own, since not every machine has what bpftrace looks its hooks up in.
const TRACING: &str = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; \
    mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug; exec bpftrace -e \"$0\"";

const AUDIT_KEY: &str = "groundtrail-bench";
/// What auditd is commonly given for the same.
const AUDIT_RULES: [&[&str]; 2] = [
    &["-a", "always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-k", AUDIT_KEY],
    &["-a", "always,exit", "-F", "arch=b64", "-S", "connect", "-k", AUDIT_KEY],
];

/// A peer at work. It stops, and takes its rules along, when this goes.
pub(super) struct Watching {
    peer: Peer,
    child: Child,
}

impl Peer {
    const ALL: [Self; 2] = [Self::Bpftrace, Self::Auditd];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bpftrace => "bpftrace, a printf per event",
            Self::Auditd => "auditd, execve and connect",
        }
    }

    /// Those that are here or can be installed; of each other one a line is said.
    pub(super) fn at_hand() -> Vec<Self> {
        let is_there = |peer: &Self| match peer.install() {
            Ok(()) => true,
            Err(err) => {
                shell::say(format!("SKIPPED {}: {err}", peer.name()));
                false
            }
        };
        Self::ALL.into_iter().filter(is_there).collect()
    }

    fn install(self) -> Result<(), Failure> {
        match self {
            Self::Bpftrace => {
                needs::program("bpftrace", "bpftrace", "watches the same hooks, to compare with")
            }
            Self::Auditd => {
                needs::program("auditctl", "auditd", "watches the same happenings, to compare with")?;
                let status = shell::output(Command::new("auditctl").arg("-s"))?;
                // Somebody's own audit is not ours to disturb.
                if status.contains("enabled 2") || !status.contains("pid 0") {
                    return Err(Failure("an audit daemon is at work on this machine already".to_owned()));
                }
                Ok(())
            }
        }
    }

    pub(super) fn start(self) -> Result<Watching, Failure> {
        let mut command = match self {
            Self::Bpftrace => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", TRACING, ONE_LINERS]);
                command
            }
            Self::Auditd => {
                let mut command = Command::new("auditd");
                command.arg("-n").arg("-c").arg(audit_folder()?);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut watching = Watching { peer: self, child: command.spawn()? };
        match self {
            // It attaches last of all, and says nothing of it.
            Self::Bpftrace => {
                thread::sleep(Duration::from_secs(5));
                if let Some(status) = watching.child.try_wait()? {
                    return Err(Failure(format!("bpftrace attaches to nothing here: {status}")));
                }
            }
            Self::Auditd => {
                await_auditd()?;
                // A bench that was killed leaves its rules behind.
                shell::output(Command::new("auditctl").args(["-D", "-k", AUDIT_KEY]))?;
                for rule in AUDIT_RULES {
                    shell::output(Command::new("auditctl").args(rule))?;
                }
            }
        }
        Ok(watching)
    }
}

pub(super) fn missing(peers: &[Peer]) -> impl Iterator<Item = String> + use<'_> {
    let missing = Peer::ALL.into_iter().filter(|peer| !peers.contains(peer));
    missing.map(|peer| format!("{} could not be had here", peer.name()))
}

fn audit_folder() -> Result<PathBuf, Failure> {
    let folder = shell::target().join("bench/audit");
    fs::create_dir_all(&folder)?;
    let log = folder.join("audit.log");
    drop(fs::remove_file(&log));
    let config = format!(
        "log_file = {}\nlog_format = RAW\nflush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 64\nnum_logs = 2\n\
         max_log_file_action = ROTATE\nspace_left = 75\nspace_left_action = IGNORE\nadmin_space_left = 50\n\
         admin_space_left_action = IGNORE\ndisk_full_action = IGNORE\ndisk_error_action = IGNORE\n",
        log.display()
    );
    fs::write(folder.join("auditd.conf"), config)?;
    Ok(folder)
}

fn await_auditd() -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if !shell::output(Command::new("auditctl").arg("-s"))?.contains("pid 0") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(Failure("auditd does not come up".to_owned()))
}

impl Drop for Watching {
    fn drop(&mut self) {
        if self.peer == Peer::Auditd {
            for rule in AUDIT_RULES {
                let removed: Vec<&str> =
                    rule.iter().map(|word| if *word == "-a" { "-d" } else { word }).collect();
                drop(shell::output(Command::new("auditctl").args(removed)));
            }
            drop(shell::output(Command::new("auditctl").args(["-e", "0"])));
        }
        if let Err(err) = shell::end(&mut self.child) {
            shell::say(format!("{} does not end: {err}", self.peer.name()));
        }
    }
}
