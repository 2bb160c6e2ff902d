//! Terms learned from recorded events, into the store of a run to come. Nothing is told, and nothing but new-terms rules
//! learns anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use rules::event::{EventTime, Span};
use rules::plan::Plan;
use rules::program::Program;
use rules::schema::Schema;

use super::engine::{Engine, Mode};
use crate::keyed::{Limits, SavedKey, Unsaved};
use crate::source::Record;
use crate::store::{Batch, KeyRow, StateRows, Store, StoreError};

/// What became of it, by rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Learned {
    pub name: String,
    /// Terms that are new to the store, or were seen later than it knew.
    pub n_terms: u64,
    pub since: Option<EventTime>,
    pub window: Span,
}

/// Reads events into what the store knows.
#[derive(Debug)]
pub struct Seeder {
    engine: Engine,
}

impl Seeder {
    /// `program`: new-terms rules alone.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(program: Arc<Program>, schema: &Schema, store: &Store) -> Result<Self, StoreError> {
        let mut engine = Engine::new(program, schema, Limits::default(), Mode::Revisions);
        // State of other rules is none of ours, and stays.
        store.each_key(|read| {
            engine.restore_key(read);
        })?;
        for (name, since) in store.since()? {
            engine.restore_since(&name, since);
        }
        engine.keep_lasting();
        Ok(Self { engine })
    }

    pub fn learn(&mut self, record: &Record) {
        self.engine.learn(record);
    }

    /// Writes what was learned.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn finish(mut self, store: &mut Store) -> Result<Vec<Learned>, StoreError> {
        let lasting = self.engine.take_lasting();
        let rules = self.engine.program().rules();
        let mut n_terms: BTreeMap<u32, u64> = BTreeMap::new();
        let Unsaved { keys, gone } = lasting.keys;
        for SavedKey { key, .. } in &keys {
            *n_terms.entry(key.0).or_default() += 1;
        }
        let row = |SavedKey { key, place, state }: SavedKey| KeyRow {
            place,
            rule_id: rules[key.0 as usize].id.as_str().into(),
            key: key.1.clone(),
            fingerprint: *self.engine.fingerprint(key.0),
            state,
        };
        let since = lasting.since.into_iter().map(|(rule, since)| (self.engine.since_name(rule), since));
        let state = StateRows {
            keys: keys.into_iter().map(row).collect(),
            gone,
            since: since.collect(),
            ..StateRows::default()
        };
        store.commit(&Batch { state, ..Batch::default() })?;
        let learned = rules.iter().zip(0_u32..).filter_map(|(rule, idx)| match &rule.plan {
            Plan::NewTerms(terms) => Some(Learned {
                name: rule.name.clone(),
                n_terms: n_terms.get(&idx).copied().unwrap_or_default(),
                since: self.engine.known_since(idx),
                window: terms.window,
            }),
            _ => None,
        });
        Ok(learned.collect())
    }
}
