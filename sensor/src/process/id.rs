//! Who a process is: its key on this boot, and the entity id that everyone else sees.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::clock::{BootNs, StartTicks};

/// Thread group id: what user space calls the pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Tgid(pub u32);

/// Thread id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Tid(pub u32);

/// A process as the kernel names it: exact to the nanosecond of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KernelKey {
    pub tgid: Tgid,
    pub start: BootNs,
}

/// A process in the table.
///
/// Invariant: unique on one boot. Two processes share a tgid and a tick only when pids wrap within 10 ms; the kernel's
/// nanoseconds tell them apart and `nth` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub tgid: Tgid,
    pub start: StartTicks,
    pub nth: u16,
}

impl Key {
    pub fn first(tgid: Tgid, start: StartTicks) -> Self {
        Self { tgid, start, nth: 0 }
    }
}

/// `process.entity_id`: the same from the kernel and from `/proc`, and over restarts of the sensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(Arc<str>);

impl EntityId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for EntityId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the ids of one host on one boot.
#[derive(Debug, Clone)]
pub struct Identity {
    prefix: Sha256,
}

impl Identity {
    pub fn new(host_id: &str, boot_id: &str) -> Self {
        let mut prefix = Sha256::new();
        for part in [host_id, boot_id] {
            prefix.update((part.len() as u64).to_le_bytes());
            prefix.update(part);
        }
        Self { prefix }
    }

    pub fn entity(&self, key: Key) -> EntityId {
        let mut hash = self.prefix.clone();
        hash.update(key.tgid.0.to_le_bytes());
        hash.update(key.start.0.to_le_bytes());
        if key.nth > 0 {
            hash.update(key.nth.to_le_bytes());
        }
        EntityId(short(hash).into())
    }

    /// `event.id`: a function of what happened, so that a replay and a redelivery give the same one.
    pub fn event(&self, kind: &str, entity: &EntityId, at: BootNs, tid: Tid, salt: u64) -> String {
        let mut hash = self.prefix.clone();
        hash.update(kind);
        hash.update(entity.as_str());
        hash.update(at.0.to_le_bytes());
        hash.update(tid.0.to_le_bytes());
        hash.update(salt.to_le_bytes());
        short(hash)
    }
}

/// 128 bits are plenty for a name; base64 keeps them at 22 characters.
fn short(hash: Sha256) -> String {
    STANDARD_NO_PAD.encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tgid: u32, ticks: u64, nth: u16) -> Key {
        Key { tgid: Tgid(tgid), start: StartTicks(ticks), nth }
    }

    #[test]
    fn entity_depends_on_every_part_and_on_nothing_else() {
        let identity = Identity::new("i-0abc", "boot-1");
        let entity = identity.entity(key(7, 9, 0));
        assert_eq!(entity, Identity::new("i-0abc", "boot-1").entity(key(7, 9, 0)));
        for other in [
            identity.entity(key(8, 9, 0)),
            identity.entity(key(7, 10, 0)),
            identity.entity(key(7, 9, 1)),
            Identity::new("i-0abd", "boot-1").entity(key(7, 9, 0)),
            Identity::new("i-0abc", "boot-2").entity(key(7, 9, 0)),
            Identity::new("i-0abcb", "oot-1").entity(key(7, 9, 0)),
        ] {
            assert_ne!(entity, other);
        }
        assert_eq!(entity.as_str().len(), 22);
    }

    #[test]
    fn kernel_and_proc_name_the_same_process_alike() {
        let identity = Identity::new("h", "b");
        let from_kernel = Key::first(Tgid(42), BootNs(12_345_678_901).ticks());
        let from_proc = Key::first(Tgid(42), StartTicks(1_234));
        assert_eq!(identity.entity(from_kernel), identity.entity(from_proc));
    }
}
