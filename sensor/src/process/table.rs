//! The process table: who is whose child, by the kernel's keys and never by pid.
//!
//! The dead stay for a grace time and for as long as a descendant is held, so that a late record still finds its
//! process and a tree keeps its trunk. Two caps hold whatever happens: of entries and of bytes.

mod room;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::args::Args;
use super::entry::{self, EntryLeader, Facts};
use super::id::{Identity, KernelKey, Key, Tgid};
use super::procfs::Snapshot;
use super::weight::{Held, Scale};
use super::{Credentials, Image, Process, Tty};
use crate::clock::{BootNs, StartTicks};
use crate::container::Container;
use crate::lookup::Lookups;

/// How long the dead are remembered.
const GRACE_NS: u64 = 60_000_000_000;
/// How long if the table is larger than the part of its cap that memories may take: a storm of short lives is not to fill it.
const SHORT_GRACE_NS: u64 = 2_000_000_000;
/// That part.
const MEMORIES: usize = 4;
/// How far up a missing lineage is repaired.
const MAX_REPAIR: usize = 20;
/// How deep a lineage is followed.
const MAX_DEPTH: usize = 4096;
/// What a session's leader repeats of its arguments on every event below it: ids stand at the front.
const MAX_LEADER_ARGS: usize = 1024;
/// What an entry takes beside what its process points to: its place in a hash map that may be half empty, its entity id,
/// its places in the queues.
const SLOT_BYTES: usize = 2 * size_of::<(Key, Slot)>() + 160;

/// What any record says about its process.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    pub process: KernelKey,
    /// None for the two processes without one.
    pub parent: Option<KernelKey>,
    pub credentials: Credentials,
    pub tty: Option<Tty>,
}

/// What the table may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    pub max_processes: usize,
    /// Kept between two records; one record may go beyond by what it brings.
    pub max_bytes: usize,
}

/// Counters of the table. All but `n_held` and `n_bytes` only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableStats {
    pub n_held: usize,
    pub n_bytes: usize,
    /// Living processes whose arguments were cut to stay under the cap.
    pub n_shortened: u64,
    /// Found in `/proc` after their own events were lost.
    pub n_repaired: u64,
    /// Known by key alone: gone from `/proc` when they were asked for.
    pub n_placeholders: u64,
    /// Exited processes dropped before their time, to stay under the cap.
    pub n_evicted_early: u64,
    /// Living processes dropped to stay under the cap.
    pub n_evicted_living: u64,
}

#[derive(Debug)]
struct Slot {
    process: Process,
    n_children: u32,
    /// Exited, grace over, kept for its descendants alone.
    is_due: bool,
    /// Its parent comes from its own fork record, so nothing can know better.
    is_birth_known: bool,
    /// Stands in [`Table::long`].
    is_listed_long: bool,
}

#[derive(Debug)]
pub struct Table {
    identity: Identity,
    caps: Caps,
    scale: Scale,
    nowhere: Arc<Held<Container>>,
    slots: HashMap<Key, Slot>,
    /// Children of processes that are not held, so that one that turns up late knows how many need it.
    awaited: HashMap<Key, u32>,
    /// Highest `nth` of the few ticks that saw one tgid twice.
    twins: HashMap<(Tgid, StartTicks), u16>,
    /// In order of exit.
    exited: VecDeque<(BootNs, Key)>,
    /// In order of arrival; may hold keys that are gone.
    arrived: VecDeque<Key>,
    /// Living processes with arguments that could be cut, those first who came first.
    long: VecDeque<Key>,
    /// Exited with this record: their event still shows them whole.
    dying: Vec<Key>,
    stats: TableStats,
}

impl Table {
    pub fn new(identity: Identity, caps: Caps) -> Self {
        let scale = Scale::default();
        Self {
            identity,
            caps: Caps { max_processes: caps.max_processes.max(2), ..caps },
            nowhere: scale.hold(Container::default()),
            scale,
            slots: HashMap::new(),
            awaited: HashMap::new(),
            twins: HashMap::new(),
            exited: VecDeque::new(),
            arrived: VecDeque::new(),
            long: VecDeque::new(),
            dying: Vec::new(),
            stats: TableStats::default(),
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn stats(&self) -> TableStats {
        TableStats { n_held: self.slots.len(), n_bytes: self.n_bytes(), ..self.stats }
    }

    fn n_bytes(&self) -> usize {
        self.scale.n_bytes() + self.slots.len() * SLOT_BYTES
    }

    pub fn get(&self, key: Key) -> Option<&Process> {
        self.slots.get(&key).map(|slot| &slot.process)
    }

    pub fn by_tgid(&self, tgid: Tgid) -> Option<&Process> {
        let alive = self.slots.values().map(|slot| &slot.process);
        alive
            .filter(|process| process.key.tgid == tgid && process.exited_at.is_none())
            .max_by_key(|process| process.key)
    }

    /// The process' ancestors as far as they are held, parent first.
    pub fn ancestors(&self, key: Key) -> impl Iterator<Item = &Process> {
        let parent_of = |process: &&Process| self.get(process.parent?);
        let first = self.get(key).and_then(|process| parent_of(&process));
        std::iter::successors(first, parent_of).take(MAX_DEPTH)
    }

    /// Whether a sighting is of a process below `root`, or of a child of one; asked without taking it in.
    pub fn is_below(&self, seen: &Sighting, root: Key) -> bool {
        let below = |key: Key| key == root || self.ancestors(key).any(|ancestor| ancestor.key == root);
        [Some(seen.process), seen.parent].into_iter().flatten().filter_map(|key| self.find(key)).any(below)
    }

    /// The process the kernel means, if it is held.
    pub fn find(&self, wanted: KernelKey) -> Option<Key> {
        let (tgid, start) = (wanted.tgid, wanted.start.ticks());
        let n_twins = self.twins.get(&(tgid, start)).copied().unwrap_or(0);
        let keys = (0..=n_twins).map(|nth| Key { tgid, start, nth });
        let is_it = |key: &Key| {
            self.get(*key).is_some_and(|held| held.start_ns.is_none_or(|start| start == wanted.start))
        };
        keys.into_iter().find(is_it)
    }

    /// Takes in a snapshot of `/proc`. What the kernel has said already stands.
    pub fn seed(&mut self, snapshots: Vec<Snapshot>) {
        for snapshot in snapshots {
            let key = Key::first(snapshot.tgid, snapshot.start());
            if !self.slots.contains_key(&key) {
                self.insert_snapshot(key, snapshot);
                self.settle(Some(key));
            }
        }
    }

    /// A process came to be: it inherits from its creator, which `CLONE_PARENT` can make another than its parent.
    pub fn fork(&mut self, child: &Sighting, caller: KernelKey, lookups: &mut dyn Lookups) -> Key {
        let caller = self.resolve(caller, Repair::FromProc(lookups));
        let parent = child.parent.map(|parent| self.resolve(parent, Repair::FromProc(lookups)));
        let key = self.resolve(child.process, Repair::No);
        self.set_parent(key, parent);
        let creator = self.get(caller).cloned();
        let slot = self.slot(key);
        slot.is_birth_known = true;
        if let Some(creator) = creator
            && slot.process.image.is_none()
        {
            slot.process.image = creator.image;
            slot.process.container = creator.container;
            slot.process.entry_leader = creator.entry_leader;
        }
        self.list_if_long(key);
        self.sighted(key, child);
        self.settle(Some(key));
        key
    }

    /// A process runs another program. The entity stays.
    pub fn exec(
        &mut self,
        seen: &Sighting,
        image: Image,
        container: Option<Container>,
        lookups: &mut dyn Lookups,
    ) -> Key {
        let key = self.resolve(seen.process, Repair::No);
        self.adopt_parent(key, seen, lookups);
        self.sighted(key, seen);
        let (image, container) = (self.scale.hold(image), container.map(|found| self.scale.hold(found)));
        let slot = self.slot(key);
        slot.process.image = Some(image);
        if let Some(container) = container {
            slot.process.container = container;
        }
        self.list_if_long(key);
        self.classify(key);
        self.settle(Some(key));
        key
    }

    /// A process did something else; it is repaired from `/proc` if its beginnings were missed.
    pub fn sight(&mut self, seen: &Sighting, lookups: &mut dyn Lookups) -> Key {
        let key = self.resolve(seen.process, Repair::FromProc(lookups));
        self.adopt_parent(key, seen, lookups);
        self.sighted(key, seen);
        self.settle(Some(key));
        key
    }

    /// A process ended. `None` if it had already: some kernels report the last two threads as last.
    pub fn exit(&mut self, seen: &Sighting, at: BootNs, lookups: &mut dyn Lookups) -> Option<Key> {
        let key = self.sight(seen, lookups);
        let process = &mut self.slot(key).process;
        if process.exited_at.is_some() {
            return None;
        }
        process.exited_at = Some(at);
        self.exited.push_back((at, key));
        self.dying.push(key);
        Some(key)
    }

    /// Forgets those whose grace is over and who have no descendants left, and what is long of those who just exited.
    pub fn expire(&mut self, now: BootNs) {
        while let Some(key) = self.dying.pop() {
            self.shorten(key);
            // The cut form comes on top as long as others share the whole one.
            self.settle(None);
        }
        while let Some(&(at, key)) = self.exited.front() {
            let is_large = self.n_bytes() > self.caps.max_bytes / MEMORIES;
            if now.saturating_sub(at) < if is_large { SHORT_GRACE_NS } else { GRACE_NS } {
                break;
            }
            self.exited.pop_front();
            match self.slots.get_mut(&key) {
                Some(slot) if slot.n_children > 0 => slot.is_due = true,
                Some(_) => self.remove(key),
                None => {}
            }
        }
    }

    fn slot(&mut self, key: Key) -> &mut Slot {
        self.slots.get_mut(&key).expect("keys handed out by resolve are held until the next resolve")
    }

    /// The key of the process the kernel means; a new one if it was never met.
    fn resolve(&mut self, wanted: KernelKey, repair: Repair<'_>) -> Key {
        let (tgid, ticks) = (wanted.tgid, wanted.start.ticks());
        let n_twins = self.twins.get(&(tgid, ticks)).copied().unwrap_or(0);
        for nth in 0..=n_twins {
            let key = Key { tgid, start: ticks, nth };
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            // From /proc only the tick is known; the first to come by with that tick is taken to be the same.
            let start = *slot.process.start_ns.get_or_insert(wanted.start);
            if start == wanted.start {
                return key;
            }
        }
        let first = Key::first(tgid, ticks);
        if !self.slots.contains_key(&first) {
            self.create(first, repair);
            // Making room for its ancestors can have cost it its own place.
            if !self.slots.contains_key(&first) {
                self.insert_blank(first);
            }
            self.slot(first).process.start_ns = Some(wanted.start);
            return first;
        }
        let key = Key { tgid, start: ticks, nth: n_twins.saturating_add(1) };
        self.twins.insert((tgid, ticks), key.nth);
        self.create(key, Repair::No);
        self.slot(key).process.start_ns = Some(wanted.start);
        key
    }

    fn create(&mut self, key: Key, repair: Repair<'_>) {
        let Repair::FromProc(lookups) = repair else { return self.insert_blank(key) };
        let mut lineage = Vec::new();
        let mut next = Some(key);
        while let Some(key) =
            next.take().filter(|key| lineage.len() < MAX_REPAIR && !self.slots.contains_key(key))
        {
            // The pid may be somebody else's by now: only the start time says that it is the one.
            let found = lookups.process(key.tgid).filter(|found| found.start() == key.start);
            next = found.as_ref().and_then(parent_of);
            lineage.push((key, found));
        }
        // From the top, as a session is inherited downwards.
        for (key, found) in lineage.into_iter().rev() {
            match found {
                Some(found) => {
                    self.stats.n_repaired += 1;
                    self.insert_snapshot(key, found);
                }
                None => {
                    self.stats.n_placeholders += 1;
                    self.insert_blank(key);
                }
            }
        }
    }

    fn insert_snapshot(&mut self, key: Key, snapshot: Snapshot) {
        self.insert_blank(key);
        self.set_parent(key, parent_of(&snapshot).map(|parent| self.latest(parent)));
        let container = snapshot.cgroup.as_deref().map(|path| self.scale.hold(Container::from_cgroup(path)));
        let image = self.scale.hold(snapshot.image);
        let process = &mut self.slot(key).process;
        process.image = Some(image);
        process.credentials = snapshot.credentials;
        process.tty = snapshot.tty;
        if let Some(container) = container {
            process.container = container;
        }
        self.list_if_long(key);
        self.classify(key);
    }

    /// Of those that share the key's pid and tick the one that came last: `/proc` shows the living.
    fn latest(&self, key: Key) -> Key {
        Key { nth: self.twins.get(&(key.tgid, key.start)).copied().unwrap_or(0), ..key }
    }

    fn insert_blank(&mut self, key: Key) {
        self.make_room();
        let process = Process {
            key,
            entity_id: self.identity.entity(key),
            start_ns: None,
            parent: None,
            image: None,
            credentials: None,
            tty: None,
            container: Arc::clone(&self.nowhere),
            entry_leader: None,
            exited_at: None,
        };
        let n_children = self.awaited.remove(&key).unwrap_or(0);
        let slot = Slot { process, n_children, is_due: false, is_birth_known: false, is_listed_long: false };
        self.slots.insert(key, slot);
        self.arrived.push_back(key);
        if self.arrived.len() > 2 * self.slots.len() + 64 {
            self.arrived.retain(|key| self.slots.contains_key(key));
        }
    }

    fn sighted(&mut self, key: Key, seen: &Sighting) {
        let process = &mut self.slot(key).process;
        process.credentials = Some(seen.credentials);
        process.tty = seen.tty;
    }

    /// Takes the record's parent unless one is known: later parents are whoever adopted an orphan.
    fn adopt_parent(&mut self, key: Key, seen: &Sighting, lookups: &mut dyn Lookups) {
        let Some(parent) = seen.parent else { return };
        let slot = self.slot(key);
        if slot.is_birth_known || slot.process.parent.is_some() {
            return;
        }
        let parent = self.resolve(parent, Repair::FromProc(lookups));
        // Making room for the parent can have cost the child its place.
        if !self.slots.contains_key(&key) {
            self.insert_blank(key);
            self.slot(key).process.start_ns = Some(seen.process.start);
        }
        self.set_parent(key, Some(parent));
    }

    fn set_parent(&mut self, key: Key, parent: Option<Key>) {
        let held = self.slot(key).process.parent;
        if held == parent || parent == Some(key) {
            return;
        }
        self.slot(key).process.parent = parent;
        if let Some(held) = held {
            self.release(held);
        }
        if let Some(parent) = parent {
            match self.slots.get_mut(&parent) {
                Some(slot) => slot.n_children += 1,
                None => *self.awaited.entry(parent).or_default() += 1,
            }
        }
    }

    fn classify(&mut self, key: Key) {
        let process = &self.slots[&key].process;
        let parent = process.parent.and_then(|parent| self.get(parent));
        let inherited = parent.and_then(|parent| parent.entry_leader.clone());
        let kind =
            entry::opens(facts(process), parent.map(facts), inherited.as_ref().map(|leader| leader.kind));
        let leader = match (kind, process.image()) {
            (Some(kind), Some(image)) => Some(self.scale.hold(EntryLeader {
                kind,
                entity_id: process.entity_id.clone(),
                pid: key.tgid.0,
                name: image.name.clone(),
                executable: image.executable.clone(),
                args: leading(&image.args),
                start: process.start(),
            })),
            _ => inherited.or_else(|| process.entry_leader.clone()),
        };
        self.slot(key).process.entry_leader = leader;
    }

    /// One child less. Those that waited for it alone go too.
    fn release(&mut self, parent: Key) {
        if self.lost_a_child(parent) {
            self.remove(parent);
        }
    }

    /// True if the process was kept for that child alone.
    fn lost_a_child(&mut self, parent: Key) -> bool {
        if let Some(slot) = self.slots.get_mut(&parent) {
            slot.n_children = slot.n_children.saturating_sub(1);
            return slot.n_children == 0 && slot.is_due;
        }
        if let Some(n_children) = self.awaited.get_mut(&parent) {
            *n_children -= 1;
            if *n_children == 0 {
                self.awaited.remove(&parent);
            }
        }
        false
    }

    fn remove(&mut self, key: Key) {
        let mut next = Some(key);
        while let Some(key) = next.take() {
            let Some(slot) = self.slots.remove(&key) else { return };
            if slot.n_children > 0 {
                self.awaited.insert(key, slot.n_children);
            }
            if self.twins.get(&(key.tgid, key.start)) == Some(&key.nth) {
                self.twins.remove(&(key.tgid, key.start));
            }
            next = slot.process.parent.filter(|&parent| self.lost_a_child(parent));
        }
    }
}

/// Where a process comes from that no record introduced.
enum Repair<'a> {
    FromProc(&'a mut dyn Lookups),
    No,
}

/// The first arguments, within [`MAX_LEADER_ARGS`] bytes.
fn leading(args: &Args) -> Args {
    let mut room = MAX_LEADER_ARGS;
    let fits = |arg: &&str| {
        let is_room = arg.len() <= room;
        room -= if is_room { arg.len() } else { 0 };
        is_room
    };
    args.iter().take_while(fits).collect()
}

fn parent_of(snapshot: &Snapshot) -> Option<Key> {
    snapshot.parent.map(|parent| Key::first(parent.tgid, StartTicks(parent.start_ticks)))
}

fn facts(process: &Process) -> Facts<'_> {
    Facts {
        pid: process.key.tgid.0,
        image: process.image(),
        container_id: process.container.id.as_deref(),
        has_tty: process.tty.is_some(),
    }
}

#[cfg(test)]
mod tests;
