//! How the table stays under its caps: who goes first, and what is given up before anyone goes.

use super::{Key, Table};
use crate::clock::BootNs;
use crate::process::Image;

/// What is left of the arguments of the dead, and of the living when there is no room for more.
const MAX_SHORT_ARGS: usize = 1024;
/// How many candidates are looked at to make room for one.
const MAX_SCAN: usize = 256;

impl Table {
    /// Keeps the table under its cap of entries: the dead without descendants first, then whoever came first and has
    /// none.
    pub(super) fn make_room(&mut self) {
        while self.slots.len() >= self.caps.max_processes
            && (self.evict_dead(None) || self.evict_living(None))
        {}
    }

    /// Keeps the table under its cap of bytes. `fresh` is what the event is about: it stays, and stays whole. Before a
    /// living process goes, the living give up the ends of their arguments.
    pub(super) fn settle(&mut self, fresh: Option<Key>) {
        while self.n_bytes() > self.caps.max_bytes
            && (self.evict_dead(fresh) || self.shorten_living(fresh) || self.evict_living(fresh))
        {}
    }

    /// False if there is none to be found.
    fn evict_dead(&mut self, fresh: Option<Key>) -> bool {
        let is_leaf = |(_, key): &(BootNs, Key)| Some(*key) != fresh && self.is_leaf(key);
        let Some(idx) = self.exited.iter().take(MAX_SCAN).position(is_leaf) else { return false };
        let (_, key) = self.exited.remove(idx).expect("found at this index");
        self.evict(key);
        true
    }

    /// An old process without children; else a young one, as children come after their parents. False if only `fresh` is
    /// left.
    fn evict_living(&mut self, fresh: Option<Key>) -> bool {
        let is_leaf = |key: &Key| Some(*key) != fresh && self.is_leaf(key);
        let last = self.arrived.len().saturating_sub(1);
        let idx = self.arrived.iter().take(MAX_SCAN).position(is_leaf);
        let idx =
            idx.or_else(|| self.arrived.iter().rev().take(MAX_SCAN).position(is_leaf).map(|idx| last - idx));
        let idx = idx.or_else(|| self.arrived.iter().position(|key| Some(*key) != fresh));
        let Some(key) = idx.and_then(|idx| self.arrived.remove(idx)) else { return false };
        self.evict(key);
        true
    }

    fn is_leaf(&self, key: &Key) -> bool {
        self.slots.get(key).is_none_or(|slot| slot.n_children == 0)
    }

    fn evict(&mut self, key: Key) {
        match self.slots.get(&key) {
            Some(slot) if slot.process.exited_at.is_some() => self.stats.n_evicted_early += 1,
            Some(_) => self.stats.n_evicted_living += 1,
            None => {}
        }
        self.remove(key);
    }

    /// False if nobody is left whose arguments are long.
    fn shorten_living(&mut self, fresh: Option<Key>) -> bool {
        let Some(idx) = self.long.iter().position(|&key| Some(key) != fresh) else { return false };
        let key = self.long.remove(idx).expect("found at this index");
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.is_listed_long = false;
        }
        if self.shorten(key) {
            self.stats.n_shortened += 1;
        }
        true
    }

    /// Cuts the arguments of a process. False if there is nothing to cut.
    pub(super) fn shorten(&mut self, key: Key) -> bool {
        let Some(slot) = self.slots.get_mut(&key) else { return false };
        let Some(image) = slot.process.image.as_ref().filter(|image| is_long(image)) else { return false };
        slot.process.image = Some(image.shorter(|image| image.shortened(MAX_SHORT_ARGS)));
        true
    }

    /// Notes a process whose arguments could be cut.
    pub(super) fn list_if_long(&mut self, key: Key) {
        let slot = self.slot(key);
        if !slot.is_listed_long && slot.process.image().is_some_and(is_long) {
            slot.is_listed_long = true;
            self.long.push_back(key);
            if self.long.len() > 2 * self.slots.len() + 64 {
                self.long.retain(|key| self.slots.contains_key(key));
            }
        }
    }
}

fn is_long(image: &Image) -> bool {
    // The closing NUL of a cut argument comes on top.
    image.args.n_bytes() > MAX_SHORT_ARGS + 1
}
