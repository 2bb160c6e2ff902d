//! Takes back what a run before this one knew: state as it was, not computed anew.

use std::collections::BTreeSet;

use rules::event::EventTime;
use tracing::{info, warn};

use super::dedup::short_id;
use super::engine::{self, Engine};
use super::run::RunError;
use crate::alert::AlertId;
use crate::archive::Shelf;
use crate::keyed::EventRef;
use crate::source::Record;
use crate::source::normalize::Normalizer;
use crate::store::{HeldRole, OpenRow, Store, moment};

/// What the run has to know beside the engine.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) watermark: Option<EventTime>,
    pub(super) is_of_older: bool,
    /// Keys and open alerts whose state could not be read.
    pub(super) n_unreadable: u64,
}

/// Reads events again, from a connection of its own.
#[derive(Debug)]
struct StoreShelf {
    store: Store,
    normalizer: Normalizer,
}

impl Shelf for StoreShelf {
    fn fetch(&self, event: &EventRef) -> Option<Record> {
        let held = self.store.held_event(moment(event.origin, event.time), &short_id(&event.id)).ok()??;
        self.normalizer.read_kept(held.origin, held.raw, held.time).ok()
    }
}

/// Fills the engine, and has it keep account of what is new from here on.
pub(super) fn restore(
    engine: &mut Engine,
    store: &mut Store,
    normalizer: &Normalizer,
) -> Result<Restored, RunError> {
    let watermark = store.watermark()?;
    if let Some(watermark) = watermark {
        engine.restore_watermark(watermark);
    }
    for (id, told) in store.told()? {
        engine.restore_alert(id, told);
    }
    engine.restore_identities(store.identities()?);
    for member in store.members()? {
        engine.restore_member(member);
    }
    for heard in store.heard()? {
        engine.restore_heard(heard);
    }
    for loss in store.losses()? {
        engine.restore_loss(loss);
    }
    for (name, since) in store.since()? {
        engine.restore_since(&name, since);
    }
    for (rule_id, eviction) in store.evictions()? {
        engine.restore_eviction(&rule_id, eviction);
    }
    // Before the alerts: what is there already is no news to them.
    for held in store.contexts()? {
        if let Ok(record) = normalizer.read_kept(held.origin, held.raw, held.time) {
            engine.restore_context(record);
        }
    }
    if let Some(shelf) = store.shelf()? {
        engine.set_shelf(Box::new(StoreShelf { store: shelf, normalizer: normalizer.clone() }));
        engine.drop_held();
    }
    engine.keep_places();
    let n_unreadable = restore_state(engine, store)?;
    let older = store.held(HeldRole::All)?;
    let is_of_older = !older.is_empty() || !store.terms()?.is_empty();
    if is_of_older {
        engine.keep_lasting();
        for term in store.terms()? {
            engine.restore_term(&term.rule_id, term.key, term.first_seen, term.last_seen);
        }
        for row in store.settled()? {
            engine.restore_settled(&row.rule_id, row.key, row.through);
        }
        for held in older {
            // It was readable when it was kept; a newer reader that refuses it has nothing to build on.
            if let Ok(record) = normalizer.read_kept(held.origin, held.raw, held.time) {
                engine.restore_event(record);
            }
        }
    }
    store.each_id(|seen| engine.restore_id(seen))?;
    engine.keep_lasting();
    Ok(Restored { watermark, is_of_older, n_unreadable })
}

/// Rows that could not be read, and whose they were.
#[derive(Default)]
struct Unreadable {
    places: Vec<u64>,
    alerts: Vec<AlertId>,
    rules: BTreeSet<String>,
}

/// Returns how much could not be read. It goes from the store row by row: what else there is of the same rule was taken.
fn restore_state(engine: &mut Engine, store: &mut Store) -> Result<u64, RunError> {
    let (mut n_keys, mut n_open) = (0_u64, 0_u64);
    let mut unreadable = Unreadable::default();
    let mut gone: BTreeSet<(String, [u8; 16])> = BTreeSet::new();
    let mut lose = |rule_id: &str, fingerprint: &[u8]| {
        if let Ok(fingerprint) = fingerprint.try_into() {
            gone.insert((rule_id.to_owned(), fingerprint));
        }
    };
    let mut twins = engine.twins();
    store.each_key(|read| {
        let (rule_id, fingerprint, place) = (read.rule_id, read.fingerprint, read.place);
        match engine.restore_key(read) {
            engine::Restored::Taken => {
                n_keys += 1;
                twins.retain(|twin| twin.id != rule_id);
            }
            engine::Restored::OfAnotherRule => lose(rule_id, fingerprint),
            engine::Restored::Unreadable => {
                unreadable.places.push(place);
                unreadable.rules.insert(rule_id.to_owned());
            }
        }
    })?;
    // A rule that has its first exception since went on without any until now.
    if !twins.is_empty() {
        store.each_key(|read| {
            if let Some(twin) = twins.iter().find(|twin| twin.of == read.rule_id) {
                engine.restore_twin(&twin.id, read);
            }
        })?;
    }
    for OpenRow { id, state } in store.open_alerts()? {
        let Some((rule_id, fingerprint, state)) = state else { continue };
        match engine.restore_open(&rule_id, &fingerprint, id.clone(), &state) {
            engine::Restored::Taken => n_open += 1,
            engine::Restored::OfAnotherRule => lose(&rule_id, &fingerprint),
            engine::Restored::Unreadable => {
                unreadable.alerts.push(id);
                unreadable.rules.insert(rule_id);
            }
        }
    }
    let Unreadable { places, alerts, rules } = unreadable;
    let n_unreadable = (places.len() + alerts.len()) as u64;
    if n_unreadable > 0 {
        warn!(
            keys = places.len(),
            alerts = alerts.len(),
            rules = ?rules,
            "state in the store could not be read: the file is damaged, or another build wrote it. It is forgotten, and what \
             it had half seen may be missed; everything else goes on"
        );
        store.drop_rows(&places, &alerts)?;
    }
    if !gone.is_empty() {
        let rules: BTreeSet<&str> = gone.iter().map(|(rule_id, _)| rule_id.as_str()).collect();
        info!(
            rules = ?rules,
            "these rules were edited or removed since the last run: what was half-seen of them is forgotten"
        );
        store.drop_keys(&gone.into_iter().collect::<Vec<_>>())?;
    }
    if n_keys + n_open > 0 {
        info!(keys = n_keys, open_alerts = n_open, "goes on where the last run stopped");
    }
    Ok(n_unreadable)
}
