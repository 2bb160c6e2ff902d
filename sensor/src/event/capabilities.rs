//! `process.thread.capabilities.*`.

use serde::Serialize;

/// By number (`include/uapi/linux/capability.h`); the newest is of 5.9.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];
const ALL: u64 = (1 << NAMES.len()) - 1;

/// What a program may do beyond its user, when it starts. Empty sets are left out.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CapabilitiesDoc {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<&'static str>,
}

impl CapabilitiesDoc {
    /// Nothing for a user without any, and for a superuser with all: that goes without saying, and would be a third of every
    /// event of root's.
    pub fn of(is_root: bool, effective: u64, permitted: u64) -> Option<Self> {
        let goes_without_saying = is_root && effective & ALL == ALL && permitted & ALL == ALL;
        let is_any = effective != 0 || permitted != 0;
        (is_any && !goes_without_saying)
            .then(|| Self { effective: names(effective), permitted: names(permitted) })
    }
}

fn names(bits: u64) -> Vec<&'static str> {
    NAMES.iter().enumerate().filter(|(number, _)| bits & 1 << number != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_without_saying_is_not_said() {
        assert_eq!(CapabilitiesDoc::of(false, 0, 0), None);
        assert_eq!(CapabilitiesDoc::of(true, ALL, ALL), None);
        let told = CapabilitiesDoc::of(false, ALL, ALL).expect("nobody expects that of a plain user");
        assert_eq!((told.effective.len(), told.permitted.len()), (41, 41));
        let told = CapabilitiesDoc::of(true, 1 << 39, 1 << 39 | 1 << 12).expect("less than all");
        assert_eq!((told.effective, told.permitted), (vec!["CAP_BPF"], vec!["CAP_NET_ADMIN", "CAP_BPF"]));
    }
}
