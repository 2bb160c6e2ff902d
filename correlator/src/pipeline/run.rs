//! Runs an engine over sources that live: takes what the merge hands on, writes what has to last, and delivers alerts.
//!
//! What is delivered was written before, and what is acknowledged to a source was written with all it led to. A new alert
//! goes out within [`HOLD`]; changes of alerts are gathered for [`TICK`] and longer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rules::event::{EventTime, Span};
use tracing::{error, info, warn};

use super::engine::{Engine, Lasting, Mode};
use super::faults::{Faults, Point};
use super::meter::Meter;
use super::reload::{Reload, Staged};
use super::replay::sort_finals;
use super::restore;
use crate::alert::AlertChange;
use crate::alert::book::SavedAlert;
use crate::alert::suppression::{Member, MemberChange};
use crate::archive::{LongerEvent, Need, Unwritten, UnwrittenEvent};
use crate::health::Board;
use crate::keyed::{SavedKey, Unsaved};
use crate::merge::{Doubt, Merge, Merged};
use crate::pipeline::dedup::short_id;
use crate::source::folder::Positions;
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::{Position, Receipt, Rejected};
use crate::stage::Stage;
use crate::stats::Stats;
use crate::store::{
    Batch, HeldEvent, HeldRole, Kept, KeptMember, KeyRow, OpenRow, PutOff, StateRows, Store, StoreError,
    moment,
};

/// New alerts that come close together are written together.
const HOLD: Duration = Duration::from_millis(50);
/// Receipts are gathered for so many times that: each costs a write to the disk itself.
const RECEIPT_HOLDS: u32 = 4;
const TICK: Duration = Duration::from_secs(1);
/// While there is much to do, time passes once for so many records: each time, all that came out of order is worked in.
const STRIDE: usize = 1_024;
/// How long sources have to end once they were asked to.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
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

/// What a run does while its store cannot be written: it says so and tries again. Meanwhile nothing is taken from sources,
/// acknowledged or delivered, so nothing is lost, and it goes on by itself when there is room.
#[derive(Debug, Default)]
struct WritePatience {
    stop: Stop,
    board: Arc<Board>,
}

impl WritePatience {
    fn write(&self, mut write: impl FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut pause = FIRST_RETRY;
        let mut failing: Option<Instant> = None;
        loop {
            match write() {
                Err(error) if error.may_pass() && !self.stop.is_set() => {
                    // Once, and then now and again: a full disk must not be filled by its own log.
                    if failing.is_none() || pause == LONGEST_RETRY {
                        error!(%error, "the store cannot be written: nothing is read or acknowledged until it can");
                    }
                    failing.get_or_insert_with(Instant::now);
                    self.board.set_store_failing(true);
                    self.wait(pause);
                    pause = (pause * 2).min(LONGEST_RETRY);
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    if let Some(since) = failing {
                        self.board.set_store_failing(false);
                        let seconds = since.elapsed().as_secs();
                        info!(seconds, "the store can be written again; nothing was lost");
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Not longer than it takes to notice that the run is to end.
    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.stop.is_set() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An engine with its store.
#[derive(Debug)]
pub struct Runner {
    engine: Engine,
    mode: Mode,
    store: Option<Store>,
    pending: Vec<AlertChange>,
    positions: Vec<Position>,
    /// Given once what came before them is written; without a store, once its alerts are delivered.
    receipts: Vec<Receipt>,
    /// How long closed alerts stay in the store.
    retention: Span,
    max_store_bytes: Option<u64>,
    is_store_over: bool,
    watermark: Option<EventTime>,
    /// How far all sources have come, where the engine has not heard of it yet.
    ahead: Option<EventTime>,
    /// Records since time passed, and when it did.
    since: (usize, Instant),
    /// The store's format held no state: the first commit writes what was computed from its events.
    is_of_older: bool,
    is_open_ended: bool,
    reload: Option<(Reload, Normalizer)>,
    stage: Option<Stage>,
    patience: WritePatience,
    meter: Meter,
    faults: Faults,
    /// How often is written and told: [`HOLD`] and [`TICK`].
    pace: (Duration, Duration),
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
        mut store: Option<Store>,
        normalizer: &Normalizer,
    ) -> Result<Self, RunError> {
        let (mut watermark, mut is_of_older) = (None, false);
        let mut meter = Meter::default();
        if let Some(store) = &mut store {
            let restored = restore::restore(&mut engine, store, normalizer)?;
            (watermark, is_of_older) = (restored.watermark, restored.is_of_older);
            meter.n_unreadable_state = restored.n_unreadable;
        }
        let now = Instant::now();
        Ok(Self {
            engine,
            mode,
            store,
            pending: Vec::new(),
            positions: Vec::new(),
            receipts: Vec::new(),
            retention: DEFAULT_RETENTION,
            max_store_bytes: None,
            is_store_over: false,
            watermark,
            ahead: None,
            since: (0, now),
            is_of_older,
            is_open_ended: false,
            reload: None,
            stage: None,
            patience: WritePatience::default(),
            meter,
            faults: Faults::default(),
            pace: (HOLD, TICK),
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

    /// Keeps the store's file within this size: the oldest history goes first.
    #[must_use]
    pub fn with_max_store_bytes(mut self, max_bytes: Option<u64>) -> Self {
        self.max_store_bytes = max_bytes;
        self
    }

    /// Takes over sets of rules as they come. `normalizer` is the one that the sources read by.
    #[must_use]
    pub fn with_reload(mut self, reload: Reload, normalizer: Normalizer) -> Self {
        self.reload = Some((reload, normalizer));
        self
    }

    /// Keeps what is open for the next run even where every source has ended.
    #[must_use]
    pub fn with_open_end(mut self, is_open_ended: bool) -> Self {
        self.is_open_ended = is_open_ended;
        self
    }

    /// Has these workers learn of other rules as they are taken over.
    #[must_use]
    pub fn with_stage(mut self, stage: Option<Stage>) -> Self {
        self.stage = stage;
        self
    }

    /// Shows on this board how the run is.
    #[must_use]
    pub fn with_board(mut self, board: Arc<Board>) -> Self {
        self.patience.board = Arc::clone(&board);
        self.meter.board = board;
        self
    }

    /// Says how the run is: on the board, and now and then in the store for those who have nothing else to ask.
    fn measure(&mut self, merge: &Merge, is_end: bool) {
        if !is_end && !self.meter.is_due() {
            return;
        }
        self.keep_store_within();
        let health = self.meter.look(&self.engine, merge);
        if let Some(store) = &mut self.store
            && self.meter.is_worth_keeping(is_end)
            && let Err(error) = store.keep_health(&health)
        {
            // Nothing rests on it, and what the run itself has to write will say more.
            tracing::debug!(%error, "the health of the run could not be written");
        }
    }

    /// Where the store has grown past its cap, the oldest history goes from it.
    fn keep_store_within(&mut self) {
        let Some(store) = &mut self.store else { return };
        let kept = match self.max_store_bytes {
            Some(max) => store.keep_within(max, || self.engine.shown_context()),
            None => store.used_bytes().map(|n_bytes| Kept {
                n_bytes,
                n_queued_bytes: store.queued_bytes(),
                n_gone: 0,
            }),
        };
        match kept {
            Ok(kept) => {
                self.meter.store_bytes = kept.n_bytes;
                self.meter.n_history_lost += kept.n_gone;
                let is_over = self.max_store_bytes.is_some_and(|max| kept.is_over(max));
                if is_over && !std::mem::replace(&mut self.is_store_over, is_over) {
                    warn!(
                        bytes = kept.n_bytes,
                        queued_bytes = kept.n_queued_bytes,
                        "the store is larger than \"store.max_size\" without what waits for sinks, and holds no history that could \
                         go, only state and alerts that can change: raise it, or lower [limits]"
                    );
                }
                self.is_store_over = is_over;
            }
            // What the run itself has to write will say more, and wait.
            Err(error) => tracing::debug!(%error, "the store's size could not be looked after"),
        }
    }

    /// Another set of rules has been staged: everything is written, and taken back by an engine of that set as a restart
    /// would. So what is half-seen of a rule lasts, unless that very rule was edited.
    fn take_over(&mut self, delivery: &mut impl Delivery) -> Result<(), RunError> {
        let Some((reload, normalizer)) = self.reload.clone() else { return Ok(()) };
        let Some(Staged { program, schema, lists }) = reload.take() else { return Ok(()) };
        self.commit(delivery)?;
        let Some(store) = &mut self.store else { return Ok(()) };
        normalizer.replace(Arc::clone(&schema), lists);
        if let Some(stage) = &self.stage {
            stage.replace(&program);
        }
        let n_rules = program.n_loaded();
        let mut engine = self.engine.with_program(program, &schema);
        self.meter.n_unreadable_state += restore::restore(&mut engine, store, &normalizer)?.n_unreadable;
        engine.take_account_of(&self.engine);
        self.engine = engine;
        self.meter.n_reloads += 1;
        info!(rules = n_rules, "reloaded");
        Ok(())
    }

    /// Runs until every source has ended, or until stopped. Stopping keeps what is open for the next run; sources that
    /// end by themselves end time as well, unless told otherwise: see [`Self::with_open_end`].
    ///
    /// # Errors
    /// The store cannot be written, or alerts cannot be delivered. What was not written will be read again.
    pub fn run(
        &mut self,
        merge: &mut Merge,
        stop: &Stop,
        delivery: &mut impl Delivery,
    ) -> Result<Stats, RunError> {
        self.patience.stop = stop.clone();
        self.deliver_again(delivery)?;
        // What the restored state says differently from what was told goes out with the first tick.
        let mut stopped_at: Option<Instant> = None;
        loop {
            match merge.next(HOLD) {
                Some(Merged::Record(id, record)) => {
                    self.since.0 += 1;
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
                Some(Merged::Receipt(receipt)) => self.receipts.push(receipt),
                Some(Merged::LeftOut(line)) => self.engine.leave_out(&line),
                Some(Merged::Watermark(time)) => self.ahead = Some(time),
                Some(Merged::Doubt(doubt)) => delivery.doubt(&doubt),
                Some(Merged::End) => break,
                None => {}
            }
            if self.ahead.is_some() && (self.since.0 >= STRIDE || self.since.1.elapsed() >= self.pace.0) {
                self.pass_time();
            }
            self.reach(Point::Taken)?;
            self.breathe(delivery)?;
            self.take_over(delivery)?;
            self.measure(merge, false);
            if stop.is_set() && stopped_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                break;
            }
        }
        let ended = self.end(stop.is_set() || self.is_open_ended, delivery)?;
        self.measure(merge, true);
        Ok(ended)
    }

    /// Tells the engine how far all sources have come.
    fn pass_time(&mut self) {
        let Some(time) = self.ahead.take() else { return };
        self.watermark = Some(time);
        let told = self.engine.advance(time);
        self.pending.extend(told);
        self.since = (0, Instant::now());
    }

    /// Writes and delivers if it is time to.
    fn breathe(&mut self, delivery: &mut impl Delivery) -> Result<(), RunError> {
        if self.last_tick.elapsed() >= self.pace.1 {
            let told = self.engine.tick(self.started.elapsed());
            self.pending.extend(told);
            let done = self.commit(delivery);
            // Counted from the end, so that a slow sink leaves time for sources.
            self.last_tick = Instant::now();
            return done;
        }
        // Senders that wait are not kept waiting for the tick.
        if !self.receipts.is_empty() && self.last_commit.elapsed() >= self.pace.0 * RECEIPT_HOLDS {
            return self.commit(delivery);
        }
        let has_news = self.mode == Mode::Revisions && !self.pending.is_empty();
        if has_news && self.last_commit.elapsed() >= self.pace.0 {
            return self.commit(delivery);
        }
        Ok(())
    }

    fn end(&mut self, is_stopped: bool, delivery: &mut impl Delivery) -> Result<Stats, RunError> {
        self.pass_time();
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

    /// With these faults, and writing after every item.
    #[cfg(test)]
    pub(super) fn torn_by(mut self, faults: Faults) -> Self {
        (self.faults, self.pace) = (faults, (Duration::ZERO, Duration::ZERO));
        self
    }

    /// # Errors
    /// A test wants the run cut off here.
    fn reach(&self, point: Point) -> Result<(), RunError> {
        if self.faults.is_cut(point) {
            return Err(RunError::Deliver(io::Error::other("cut off by a test")));
        }
        Ok(())
    }

    fn commit(&mut self, delivery: &mut impl Delivery) -> Result<(), RunError> {
        self.commit_all(false, delivery)
    }

    fn commit_all(&mut self, is_end: bool, delivery: &mut impl Delivery) -> Result<(), RunError> {
        self.last_commit = Instant::now();
        // Final alerts are put in order, which takes all of them.
        let is_ready = self.mode == Mode::Revisions || is_end;
        let alerts = if is_ready { std::mem::take(&mut self.pending) } else { Vec::new() };
        self.reach(Point::BeforeCommit)?;
        if let Some(store) = &mut self.store {
            let Lasting {
                ids,
                held,
                keys,
                open_alerts,
                evictions,
                since,
                heard,
                losses,
                identities,
                suppression,
            } = self.engine.take_lasting();
            let engine = &self.engine;
            let rules = engine.program().rules();
            let rule_id = |rule: u32| rules[rule as usize].id.clone();
            let Unsaved { keys, gone } = keys;
            let key_row = |SavedKey { key, place, state }: SavedKey| KeyRow {
                place,
                rule_id: engine.rule_id(key.0),
                fingerprint: *engine.fingerprint(key.0),
                key: key.1.clone(),
                state,
            };
            let open_row = |SavedAlert { id, state }: SavedAlert| OpenRow {
                id,
                state: state.map(|(rule, state)| (rule_id(rule), *engine.fingerprint(rule), state)),
            };
            let state = StateRows {
                keys: keys.into_iter().map(key_row).collect(),
                gone,
                open: open_alerts.into_iter().map(open_row).collect(),
                evictions: evictions.into_iter().map(|(rule, lost)| (rule_id(rule), lost)).collect(),
                losses,
                since: since.into_iter().map(|(rule, since)| (engine.since_name(rule), since)).collect(),
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
            let held = events.into_iter().map(|UnwrittenEvent { record, until, role }| HeldEvent {
                id: short_id(&record.event.id),
                origin: record.origin,
                raw: Arc::clone(&record.raw),
                time: record.event.time,
                until,
                role: match role {
                    Need::State => HeldRole::Evidence,
                    Need::Context => HeldRole::Context,
                    Need::Both => HeldRole::Both,
                },
            });
            let batch = Batch {
                ids,
                heard,
                identities,
                members,
                members_gone,
                retention: self.retention,
                held: held.collect(),
                put_off: put_off.into_iter().map(put_off_row).collect(),
                state,
                alerts: &alerts,
                positions: std::mem::take(&mut self.positions),
                forget_ids_before: self.watermark.map(|watermark| watermark - ID_RETENTION),
                watermark: self.watermark,
            };
            if !batch.is_empty() || store.has_delivered() {
                self.patience.write(|| store.commit(&batch))?;
                if std::mem::take(&mut self.is_of_older) {
                    store.forget_older()?;
                }
            }
            if !self.receipts.is_empty() {
                // Senders forget what they have a receipt for: it has to outlast a power cut as well.
                self.patience.write(|| store.sync())?;
            }
        }
        self.reach(Point::Committed)?;
        if self.store.is_some() {
            self.give_receipts();
        }
        self.meter.note_told(&alerts);
        for alert in &alerts {
            delivery.alert(alert).map_err(RunError::Deliver)?;
            self.reach(Point::Delivered)?;
        }
        self.give_receipts();
        self.reach(Point::BeforeMark)?;
        if let Some(store) = &mut self.store
            && !alerts.is_empty()
        {
            self.patience.write(|| store.mark_delivered(&alerts))?;
        }
        Ok(())
    }

    fn give_receipts(&mut self) {
        self.receipts.drain(..).for_each(Receipt::give);
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

    /// Writes down what sinks took after the run's last commit, and how they are.
    ///
    /// # Errors
    /// The store cannot be written: those will be given the same again.
    pub fn settle_sinks(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        if store.has_delivered() {
            let batch = Batch { retention: self.retention, ..Batch::default() };
            self.patience.write(|| store.commit(&batch))?;
        }
        self.meter.board.look().map_or(Ok(()), |health| store.keep_health(&health))
    }
}

fn put_off_row((id, longer): (Box<str>, LongerEvent)) -> PutOff {
    let LongerEvent { time, origin, until } = longer;
    PutOff { id: short_id(&id), moment: moment(origin, time), until }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> StoreError {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        StoreError::Write(rusqlite::Error::SqliteFailure(code, None))
    }

    #[test]
    fn a_full_disk_is_waited_out() {
        let mut n_left = 3;
        let write = || {
            n_left -= 1;
            if n_left > 0 { Err(full()) } else { Ok(()) }
        };
        assert!(WritePatience::default().write(write).is_ok());
        assert_eq!(n_left, 0);
    }

    #[test]
    fn a_run_that_is_to_end_does_not_wait_for_room() {
        let patience = WritePatience::default();
        patience.stop.stop();
        assert!(patience.write(|| Err(full())).is_err());
    }
}
