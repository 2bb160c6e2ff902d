//! Runs an engine over sources that live: takes what the merge hands on, writes what has to last, and delivers alerts.
//!
//! What is delivered was written before, and what is acknowledged to a source was written with all it led to. A new alert
//! goes out within [`HOLD`]; changes of alerts are gathered for [`TICK`] and longer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rules::event::{EventTime, Span};

use super::engine::{Engine, Lasting, Mode};
use super::replay::sort_finals;
use crate::alert::AlertChange;
use crate::alert::book::Settled;
use crate::alert::suppression::{Member, MemberChange};
use crate::archive::{Shelf, Unwritten};
use crate::keyed::{EventRef, Sight};
use crate::merge::{Doubt, Merge, Merged};
use crate::pipeline::dedup::short_id;
use crate::source::folder::Positions;
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::{Position, Record, Rejected};
use crate::stats::Stats;
use crate::store::{Batch, HeldEvent, KeptMember, SeenTerm, SettledRow, Store, StoreError};

/// New alerts that come close together are written together.
const HOLD: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);
/// How long sources have to end once they were asked to.
const PATIENCE: Duration = Duration::from_secs(5);
const ID_RETENTION: Span = Span::from_secs(24 * 3_600);

/// Where the configuration says nothing.
pub const DEFAULT_RETENTION: Span = Span::from_secs(90 * 24 * 3_600);

/// Takes what comes out of a run.
pub trait Delivery {
    /// One revision of one alert, already written to the store.
    ///
    /// # Errors
    /// What the medium says. A broken pipe ends the run in good order.
    fn alert(&mut self, change: &AlertChange) -> io::Result<()>;

    /// An alert that an earlier run wrote and may not have delivered.
    ///
    /// # Errors
    /// As [`Self::alert`].
    fn again(&mut self, document: &str) -> io::Result<()>;

    /// Something could not be read. It is counted already.
    fn rejected(&mut self, rejected: &Rejected);

    /// A clock that stamps events cannot be right.
    fn doubt(&mut self, doubt: &Doubt);
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot deliver an alert: {0}")]
    Deliver(io::Error),
}

/// An engine with its store.
#[derive(Debug)]
pub struct Runner {
    engine: Engine,
    mode: Mode,
    store: Option<Store>,
    pending: Vec<AlertChange>,
    positions: Vec<Position>,
    /// How long closed alerts stay in the store.
    retention: Span,
    watermark: Option<EventTime>,
    started: Instant,
    last_commit: Instant,
    last_tick: Instant,
}

impl Runner {
    /// Starts where the store's last run stopped.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        mut engine: Engine,
        mode: Mode,
        store: Option<Store>,
        normalizer: &Normalizer,
    ) -> Result<Self, RunError> {
        if let Some(store) = &store {
            restore(&mut engine, store, normalizer)?;
            if let Some(shelf) = store.shelf()? {
                engine.set_shelf(Box::new(StoreShelf { store: shelf, normalizer: normalizer.clone() }));
            }
            engine.keep_lasting();
        }
        let now = Instant::now();
        Ok(Self {
            engine,
            mode,
            store,
            pending: Vec::new(),
            positions: Vec::new(),
            retention: DEFAULT_RETENTION,
            watermark: None,
            started: now,
            last_commit: now,
            last_tick: now,
        })
    }

    /// Keeps closed alerts, and what is known of hosts and keys, in the store for this long.
    #[must_use]
    pub fn with_retention(mut self, retention: Span) -> Self {
        self.retention = retention;
        self
    }

    /// Runs until every source has ended, or until stopped. Stopping keeps what is open for the next run; sources that
    /// end by themselves end time as well.
    ///
    /// # Errors
    /// The store cannot be written, or alerts cannot be delivered. What was not written will be read again.
    pub fn run(
        &mut self,
        merge: &mut Merge,
        stop: &Stop,
        delivery: &mut impl Delivery,
    ) -> Result<Stats, RunError> {
        self.deliver_again(delivery)?;
        // What the restored state says differently from what was told goes out with the first tick.
        let mut stopped_at: Option<Instant> = None;
        loop {
            match merge.next(HOLD) {
                Some(Merged::Record(id, record)) => {
                    let source = Arc::clone(merge.name(id));
                    let told = self.engine.push(&source, record);
                    self.engine.take_conflicts().iter().for_each(|conflict| delivery.rejected(conflict));
                    self.pending.extend(told);
                }
                Some(Merged::Rejected(rejected)) => {
                    self.engine.reject(&rejected);
                    delivery.rejected(&rejected);
                }
                Some(Merged::Position(position)) => self.positions.push(position),
                Some(Merged::Watermark(time)) => {
                    self.watermark = Some(time);
                    let told = self.engine.advance(time);
                    self.pending.extend(told);
                }
                Some(Merged::Doubt(doubt)) => delivery.doubt(&doubt),
                Some(Merged::End) => break,
                None => {}
            }
            self.breathe(delivery)?;
            if stop.is_set() && stopped_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                break;
            }
        }
        self.end(stop.is_set(), delivery)
    }

    /// Writes and delivers if it is time to.
    fn breathe(&mut self, delivery: &mut impl Delivery) -> Result<(), RunError> {
        if self.last_tick.elapsed() >= TICK {
            let told = self.engine.tick(self.started.elapsed());
            self.pending.extend(told);
            let done = self.commit(delivery);
            // Counted from the end, so that a slow sink leaves time for sources.
            self.last_tick = Instant::now();
            return done;
        }
        let has_news = self.mode == Mode::Revisions && !self.pending.is_empty();
        if has_news && self.last_commit.elapsed() >= HOLD {
            return self.commit(delivery);
        }
        Ok(())
    }

    fn end(&mut self, is_stopped: bool, delivery: &mut impl Delivery) -> Result<Stats, RunError> {
        let told = if is_stopped && self.mode == Mode::Revisions {
            self.engine.flush()
        } else {
            self.engine.advance(EventTime(i64::MAX))
        };
        self.pending.extend(told);
        if self.mode == Mode::Finals {
            sort_finals(&mut self.pending);
        }
        self.commit_all(true, delivery)?;
        Ok(self.engine.stats().clone())
    }

    fn commit(&mut self, delivery: &mut impl Delivery) -> Result<(), RunError> {
        self.commit_all(false, delivery)
    }

    fn commit_all(&mut self, is_end: bool, delivery: &mut impl Delivery) -> Result<(), RunError> {
        self.last_commit = Instant::now();
        // Final alerts are put in order, which takes all of them.
        let is_ready = self.mode == Mode::Revisions || is_end;
        let alerts = if is_ready { std::mem::take(&mut self.pending) } else { Vec::new() };
        if let Some(store) = &mut self.store {
            let Lasting { ids, held, seen_terms, heard, identities, suppression, settled } =
                self.engine.take_lasting();
            let rules = self.engine.program().rules();
            let term = |Sight { key, first, last, window }: Sight| SeenTerm {
                rule_id: rules[key.0 as usize].id.clone(),
                key: key.1.clone(),
                first_seen: first,
                last_seen: last,
                until: last + window + ID_RETENTION,
            };
            let settled_row = |Settled { rule, key, through, until }: Settled| SettledRow {
                rule_id: rules[rule as usize].id.clone(),
                key,
                through,
                until,
            };
            let (mut members, mut members_gone) = (Vec::new(), Vec::new());
            for change in suppression {
                match change {
                    MemberChange::Came(Member { rule, group, time, until, id }) => {
                        members_gone.retain(|gone| *gone != id);
                        let rule_id = rules[rule as usize].id.clone();
                        members.push(KeptMember { rule_id, group, time, until, id });
                    }
                    MemberChange::Went(id) => {
                        members.retain(|member| member.id != id);
                        members_gone.push(id);
                    }
                }
            }
            let Unwritten { events, put_off } = held;
            let held = events.into_iter().map(|(record, until)| HeldEvent {
                id: short_id(&record.event.id),
                origin: record.origin,
                raw: record.raw.to_string(),
                time: record.event.time,
                until,
            });
            let batch = Batch {
                ids,
                heard,
                identities,
                members,
                members_gone,
                settled: settled.into_iter().map(settled_row).collect(),
                retention: self.retention,
                held: held.collect(),
                put_off: put_off.into_iter().map(|(id, until)| (short_id(&id), until)).collect(),
                terms: seen_terms.into_iter().map(term).collect(),
                alerts: &alerts,
                positions: std::mem::take(&mut self.positions),
                forget_ids_before: self.watermark.map(|watermark| watermark - ID_RETENTION),
                watermark: self.watermark,
            };
            if !batch.is_empty() {
                store.commit(&batch)?;
            }
        }
        for alert in &alerts {
            delivery.alert(alert).map_err(RunError::Deliver)?;
        }
        if let Some(store) = &mut self.store
            && !alerts.is_empty()
        {
            store.mark_delivered(&alerts)?;
        }
        Ok(())
    }

    fn deliver_again(&mut self, delivery: &mut impl Delivery) -> Result<(), RunError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let left = store.undelivered()?;
        for alert in &left {
            delivery.again(&alert.document).map_err(RunError::Deliver)?;
        }
        if !left.is_empty() {
            store.mark_all_delivered()?;
        }
        Ok(())
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Reads events again from a connection of its own.
#[derive(Debug)]
struct StoreShelf {
    store: Store,
    normalizer: Normalizer,
}

impl Shelf for StoreShelf {
    fn fetch(&self, event: &EventRef) -> Option<Record> {
        let held = self.store.held_event(&short_id(&event.id)).ok()??;
        self.normalizer.read_kept(held.origin, held.raw, held.time).ok()
    }
}

fn restore(engine: &mut Engine, store: &Store, normalizer: &Normalizer) -> Result<(), RunError> {
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
    for term in store.terms()? {
        engine.restore_term(&term.rule_id, term.key, term.first_seen, term.last_seen);
    }
    for row in store.settled()? {
        engine.restore_settled(&row.rule_id, row.key, row.through);
    }
    for held in store.held()? {
        // It was readable when it was kept; a newer reader that refuses it has nothing to build on.
        if let Ok(record) = normalizer.read_kept(held.origin, held.raw, held.time) {
            engine.restore(record);
        }
    }
    for (id, time) in store.ids()? {
        engine.restore_id(id, time);
    }
    Ok(())
}

/// Where sources stood when the store was opened.
#[derive(Debug, Clone, Default)]
pub struct StoredPositions(std::collections::HashMap<(String, String), String>);

impl StoredPositions {
    /// # Errors
    /// The store cannot be read.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let all = store.all_positions()?;
        let named = |position: Position| ((position.source.to_string(), position.key), position.value);
        Ok(Self(all.into_iter().map(named).collect()))
    }
}

impl Positions for StoredPositions {
    fn value(&self, source: &str, key: &str) -> Option<String> {
        self.0.get(&(source.to_owned(), key.to_owned())).cloned()
    }
}
