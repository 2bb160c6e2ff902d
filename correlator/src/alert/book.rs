//! The alerts that can still change: what was told of each, and what is to be told next.
//!
//! A new alert is told at once. Changes are gathered and told on a tick of the wall clock, so that an alert that grows by
//! a hundred events in a second is one revision, and one that never stops growing is told ever less often.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rules::event::{EventTime, Span};
use rules::program::Program;
use rules::rule::{Context, Rule, Severity};
use rules::schema::Schema;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::absence::{Claim, LOOK, Stake, Withheld};
use super::blind::Blind;
use super::cast::{Cast, CastFields};
use super::document::{self, Explained, Parts};
use super::gathered::{Attached, Gathered};
use super::matched;
use super::suppression::Suppressions;
use super::{AlertChange, AlertId, AlertState};
use crate::archive::Archive;
use crate::context::{Contexts, Link, Reads, Shown, link_values};
use crate::history::History;
use crate::identity::Identities;
use crate::keyed::{Anchor, EventRef, Evidence, JoinKey, Keyed, Match};
use crate::source::Record;

/// Closed alerts that are remembered, in case their events come once more.
const MAX_KNOWN: usize = 1_000_000;

/// An alert that keeps changing is told after this long, then after twice as long, and so on up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Changed alerts that one tick tells. Each is a document of up to some 100 KB to build, hash and write, and sources wait
/// for as long.
const MAX_PER_TICK: usize = 32;

const MINUTE: Span = Span::from_secs(60);

/// What the world knows of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) revision: u32,
    pub(crate) content: [u8; 16],
    pub(crate) is_withdrawn: bool,
}

/// What stays the same for all alerts of a rule.
#[derive(Debug)]
pub(crate) struct RuleFacts {
    pub(crate) key_names: Vec<Arc<str>>,
    pub(crate) id: Arc<str>,
    /// How long after its last event a match may still grow or fall.
    pub(crate) open_for: Span,
    /// How long after an event state may rest on it.
    pub(crate) held_for: Span,
    /// Of what state depends on: state of another is not taken back.
    pub(crate) fingerprint: [u8; 16],
    /// What its matches say did not come.
    pub(crate) claim: Option<Claim>,
    /// It joins what hosts and AWS said.
    pub(crate) is_join: bool,
}

/// An open absence whose feeds have begun, or ceased, to vouch for it.
#[derive(Debug)]
pub(crate) struct Weighed {
    pub(crate) rule: u32,
    pub(crate) key: JoinKey,
    pub(crate) found: Arc<Match>,
    pub(crate) is_withheld: bool,
}

/// What a document is made from, beside the match.
pub(crate) struct View<'a> {
    pub(crate) program: &'a Program,
    pub(crate) schema: &'a Schema,
    pub(crate) rules: &'a [Rule],
    pub(crate) facts: &'a [RuleFacts],
    pub(crate) contexts: &'a Contexts,
    pub(crate) archive: &'a Archive,
    pub(crate) keyed: &'a Keyed,
    pub(crate) blind: &'a Blind,
    pub(crate) identities: &'a Identities,
    pub(crate) history: &'a History,
    pub(crate) cast: &'a CastFields,
    /// No event before is expected any more, unless time is over.
    pub(crate) watermark: Option<EventTime>,
}

#[derive(Debug)]
struct Alert {
    rule: u32,
    key: JoinKey,
    found: Arc<Match>,
    /// By the rule's contexts: the values they may join on.
    links: Vec<Vec<Link>>,
    is_gone: bool,
    told: Option<Told>,
    closes: EventTime,
    pace: Pace,
    /// What an absence needs to be told. Made anew after a restart.
    stake: Option<Stake>,
    /// Why it is not told: see [`Stake::weigh`].
    withheld: Option<&'static str>,
    /// Bit n: when it was last told, its nth context had events.
    explained: u64,
    /// Of what it was last told from: see [`Gathered::digest`]. Not known after a restart.
    digest: Option<[u8; 16]>,
}

/// When an alert that has changed may be told again, on the clock of [`Book::tell_due`].
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    due: Duration,
    pause: Duration,
}

impl Pace {
    fn told(&mut self, now: Duration) {
        // A pause that nobody had to wait through is over for good.
        let was_calm = now.saturating_sub(self.due) > LONGEST_PAUSE;
        self.pause = if was_calm { FIRST_PAUSE } else { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
        self.due = now + self.pause;
    }

    fn hurry(&mut self) {
        self.due = Duration::ZERO;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    alerts: FxHashMap<AlertId, Alert>,
    closing: BTreeSet<(EventTime, AlertId)>,
    /// Who waits for events of a pool that have a value.
    waiting: FxHashMap<(usize, Link), BTreeSet<AlertId>>,
    fresh: Vec<AlertId>,
    dirty: BTreeSet<AlertId>,
    /// Open alerts that say something did not come.
    absences: BTreeSet<AlertId>,
    /// Those that closed without having been told.
    withheld: Withheld,
    pub(crate) suppressions: Suppressions,
    /// Alerts that are closed, or that an earlier run told.
    known: FxHashMap<AlertId, Told>,
    known_since: VecDeque<AlertId>,
    /// Open alerts that have changed since they were last taken to be written, where there is a store.
    unsaved: Option<FxHashSet<AlertId>>,
}

/// An open alert as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    key: JoinKey,
    found: Arc<Match>,
    links: Vec<Vec<Link>>,
    is_gone: bool,
    closes: EventTime,
    explained: u64,
    /// Something is to be told of it.
    is_dirty: bool,
}

/// An open alert, to be written.
#[derive(Debug, Clone)]
pub(crate) struct SavedAlert {
    pub(crate) id: AlertId,
    /// Its rule and itself. None: it is closed.
    pub(crate) state: Option<(u32, Vec<u8>)>,
}

impl Book {
    /// Whether the alert is open or was told.
    pub(crate) fn knows(&self, id: &AlertId) -> bool {
        self.alerts.contains_key(id) || self.known.contains_key(id)
    }

    /// What an earlier run told: it is told again only if it has changed.
    pub(crate) fn remember(&mut self, id: AlertId, told: Told) {
        if self.known.insert(id.clone(), told).is_none() {
            self.known_since.push_back(id);
        }
        while self.known.len() > MAX_KNOWN {
            let Some(oldest) = self.known_since.pop_front() else { break };
            self.known.remove(&oldest);
        }
    }

    /// Takes a match that came or changed. Returns when its alert closes, if it is one.
    pub(crate) fn put(
        &mut self,
        view: &View<'_>,
        rule: u32,
        key: &JoinKey,
        found: Arc<Match>,
        grace: Span,
    ) -> Option<EventTime> {
        let said = &view.rules[rule as usize];
        let facts = &view.facts[rule as usize];
        if !said.notifies {
            return None;
        }
        let id = AlertId::new(&said.id, key, &found.anchor);
        let reads = view.contexts.reads(rule);
        let links = links(view, reads, &found, self.alerts.get(&id));
        let longest = reads.iter().map(|reads| reads.after).max().unwrap_or_default();
        // What vouches for an absence may come late.
        let look = if found.is_absence { LOOK + MINUTE } else { Span(0) };
        let closes = found.end + facts.open_for + longest + grace + look;
        for (reads, links) in reads.iter().zip(&links) {
            for link in links {
                self.waiting.entry((reads.pool, link.clone())).or_default().insert(id.clone());
            }
        }
        let stake = view.stake(rule, &found);
        let withheld = stake.as_ref().and_then(|stake| stake.weigh(view.blind).err());
        if let Some(suppression) = &said.suppression {
            if withheld.is_none() {
                self.suppressions.put(rule, suppression, &view.archive.open(&found.at), &id, &mut self.dirty);
            } else {
                self.suppressions.remove(&id, &mut self.dirty);
            }
        }
        if found.is_absence {
            self.absences.insert(id.clone());
        }
        match self.alerts.get_mut(&id) {
            Some(alert) => {
                if mapped_severity(view, said, &alert.found) != mapped_severity(view, said, &found) {
                    alert.pace.hurry();
                }
                self.closing.remove(&(alert.closes, id.clone()));
                (alert.found, alert.links, alert.closes, alert.is_gone) = (found, links, closes, false);
                (alert.stake, alert.withheld) = (stake, withheld);
                self.dirty.insert(id.clone());
            }
            None => {
                let told = self.known.get(&id).copied();
                let key = key.clone();
                let (pace, explained) = (Pace::default(), 0);
                let is_gone = false;
                let alert = Alert {
                    rule,
                    key,
                    found,
                    links,
                    is_gone,
                    told,
                    closes,
                    pace,
                    stake,
                    withheld,
                    explained,
                    digest: None,
                };
                self.alerts.insert(id.clone(), alert);
                match told {
                    Some(_) => {
                        self.dirty.insert(id.clone());
                    }
                    None => self.fresh.push(id.clone()),
                }
            }
        }
        self.touch(&id);
        self.closing.insert((closes, id));
        Some(closes)
    }

    pub(crate) fn gone(&mut self, view: &View<'_>, rule: u32, key: &JoinKey, anchor: &Anchor) {
        let id = AlertId::new(&view.rules[rule as usize].id, key, anchor);
        if let Some(alert) = self.alerts.get_mut(&id) {
            alert.is_gone = true;
            if view.rules[rule as usize].suppression.is_some() {
                self.suppressions.remove(&id, &mut self.dirty);
            }
            self.touch(&id);
            self.dirty.insert(id);
        }
    }

    fn touch(&mut self, id: &AlertId) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(id.clone());
        }
    }

    /// From here on, keeps account of which open alerts have to be written.
    pub(crate) fn keep_unsaved(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    /// The open alerts that have changed since this was last called.
    pub(crate) fn take_unsaved(&mut self) -> Vec<SavedAlert> {
        let unsaved = self.unsaved.as_mut().map(std::mem::take).unwrap_or_default();
        let saved = |id: AlertId| {
            let state = self.alerts.get(&id).map(|alert| {
                let saved = Saved {
                    key: alert.key.clone(),
                    found: Arc::clone(&alert.found),
                    links: alert.links.clone(),
                    is_gone: alert.is_gone,
                    closes: alert.closes,
                    explained: alert.explained,
                    is_dirty: self.dirty.contains(&id),
                };
                (alert.rule, postcard::to_stdvec(&saved).expect("plain data serialises"))
            });
            SavedAlert { id, state }
        };
        unsaved.into_iter().map(saved).collect()
    }

    /// Takes an open alert back, after all that was told. Says whether it could be read.
    pub(crate) fn resume(&mut self, contexts: &Contexts, rule: u32, id: AlertId, state: &[u8]) -> bool {
        let Ok(saved) = postcard::from_bytes::<Saved>(state) else { return false };
        let Saved { key, found, links, is_gone, closes, explained, is_dirty } = saved;
        let reads = contexts.reads(rule);
        if reads.len() != links.len() {
            return false;
        }
        for (reads, links) in reads.iter().zip(&links) {
            for link in links {
                self.waiting.entry((reads.pool, link.clone())).or_default().insert(id.clone());
            }
        }
        if is_dirty {
            self.dirty.insert(id.clone());
        }
        self.closing.insert((closes, id.clone()));
        let told = self.known.get(&id).copied();
        let (pace, stake) = (Pace::default(), None);
        // So that it is weighed, and told if it can be.
        let withheld = found.is_absence.then_some("not weighed yet");
        if found.is_absence {
            self.absences.insert(id.clone());
        }
        let digest = None;
        let alert = Alert {
            rule,
            key,
            found,
            links,
            is_gone,
            told,
            closes,
            pace,
            stake,
            withheld,
            explained,
            digest,
        };
        self.alerts.insert(id, alert);
        true
    }

    /// From when to when open alerts show events of a pool that have a value.
    pub(crate) fn shown(&self, contexts: &Contexts, pool: usize, link: &Link) -> Vec<Shown> {
        let ids = self.waiting.get(&(pool, link.clone())).into_iter().flatten();
        let alerts = ids.filter_map(|id| self.alerts.get(id));
        let spans = alerts.flat_map(|alert| {
            let reads = contexts.reads(alert.rule).iter().filter(|reads| reads.pool == pool);
            reads.map(|reads| (alert.found.start - reads.before, alert.found.end + reads.after))
        });
        let mut spans: Vec<Shown> = spans.collect();
        spans.sort();
        spans.dedup_by(|next, held| {
            let is_joined = next.0 <= held.1;
            if is_joined {
                held.1 = held.1.max(next.1);
            }
            is_joined
        });
        spans
    }

    /// What the contexts of open alerts have for them.
    pub(crate) fn shown_context(&self, contexts: &Contexts) -> Vec<Arc<EventRef>> {
        let of_alert = |alert: &Alert| {
            let (start, end) = (alert.found.start, alert.found.end);
            let reads = contexts.reads(alert.rule).iter().zip(&alert.links);
            reads
                .flat_map(|(reads, links)| contexts.find(reads, links, start, end).events)
                .collect::<Vec<_>>()
        };
        self.alerts.values().filter(|alert| !alert.is_gone).flat_map(of_alert).collect()
    }

    /// An event was added to a pool: who may want it?
    pub(crate) fn context_came(&mut self, view: &View<'_>, pool: usize, links: &[Link], time: EventTime) {
        for link in links {
            let Some(ids) = self.waiting.get(&(pool, link.clone())) else { continue };
            for id in ids {
                let Some(alert) = self.alerts.get_mut(id) else { continue };
                let (start, end) = (alert.found.start, alert.found.end);
                let wanted = view.contexts.reads(alert.rule).iter().zip(0_u32..).filter(|(reads, _)| {
                    reads.pool == pool && start - reads.before <= time && time <= end + reads.after
                });
                for (_, nth) in wanted {
                    // The first event of a context may raise the severity; more of them rarely say more.
                    if alert.explained & context_bit(nth) == 0 {
                        alert.pace.hurry();
                    }
                    self.dirty.insert(id.clone());
                    if let Some(unsaved) = &mut self.unsaved {
                        unsaved.insert(id.clone());
                    }
                }
            }
        }
    }

    /// Tells what is new.
    pub(crate) fn tell_fresh(&mut self, view: &View<'_>) -> Vec<AlertChange> {
        let fresh = std::mem::take(&mut self.fresh);
        fresh.into_iter().filter_map(|id| self.tell(view, &id)).collect()
    }

    /// Tells what is new, and what has changed and is due at `now`, which is counted from any fixed start: at most
    /// [`MAX_PER_TICK`] alerts, those that have waited longest first.
    pub(crate) fn tell_due(&mut self, view: &View<'_>, now: Duration) -> Vec<AlertChange> {
        let mut changes = self.tell_fresh(view);
        let is_urgent = |alert: &Alert, id: &AlertId| {
            let is_quiet = self.is_quiet(alert, id);
            alert.told.is_some_and(|told| told.is_withdrawn != is_quiet)
        };
        let mut due: Vec<(Duration, AlertId)> = Vec::new();
        for id in &self.dirty {
            match self.alerts.get(id) {
                Some(alert) if is_urgent(alert, id) => due.push((Duration::ZERO, id.clone())),
                Some(alert) if alert.pace.due <= now => due.push((alert.pace.due, id.clone())),
                Some(_) => {}
                None => due.push((Duration::ZERO, id.clone())),
            }
        }
        due.sort();
        for (_, id) in due.into_iter().take(MAX_PER_TICK) {
            self.dirty.remove(&id);
            if let Some(change) = self.tell(view, &id) {
                changes.push(change);
                if let Some(alert) = self.alerts.get_mut(&id) {
                    alert.pace.told(now);
                }
            }
        }
        changes
    }

    /// Tells all that has changed, due or not.
    pub(crate) fn tell_dirty(&mut self, view: &View<'_>) -> Vec<AlertChange> {
        let mut changes = self.tell_fresh(view);
        let dirty = std::mem::take(&mut self.dirty);
        changes.extend(dirty.into_iter().filter_map(|id| self.tell(view, &id)));
        changes
    }

    fn is_quiet(&self, alert: &Alert, id: &AlertId) -> bool {
        alert.is_gone || alert.withheld.is_some() || self.suppressions.is_suppressed(id)
    }

    /// Asks again what vouches for the open absences. Returns those with another answer than before.
    pub(crate) fn weigh_all(&mut self, view: &View<'_>) -> Vec<Weighed> {
        let mut changed = Vec::new();
        for id in &self.absences {
            let Some(alert) = self.alerts.get_mut(id) else { continue };
            let stake = alert.stake.take().or_else(|| view.stake(alert.rule, &alert.found));
            let withheld = stake.as_ref().and_then(|stake| stake.weigh(view.blind).err());
            alert.stake = stake;
            if std::mem::replace(&mut alert.withheld, withheld).is_some() != withheld.is_some() {
                changed.push(id.clone());
            }
        }
        let mut weighed = Vec::new();
        for id in changed {
            let Some(alert) = self.alerts.get(&id) else { continue };
            if !alert.is_gone {
                let (rule, key, found) = (alert.rule, alert.key.clone(), Arc::clone(&alert.found));
                weighed.push(Weighed { rule, key, found, is_withheld: alert.withheld.is_some() });
            }
            if let Some(suppression) = &view.rules[alert.rule as usize].suppression {
                if alert.withheld.is_some() || alert.is_gone {
                    self.suppressions.remove(&id, &mut self.dirty);
                } else {
                    let at = view.archive.open(&alert.found.at);
                    self.suppressions.put(alert.rule, suppression, &at, &id, &mut self.dirty);
                }
            }
            self.touch(&id);
            self.dirty.insert(id);
        }
        weighed
    }

    /// Whether one closes before `watermark`.
    pub(crate) fn is_closing(&self, watermark: EventTime) -> bool {
        self.closing.first().is_some_and(|(closes, _)| *closes < watermark)
    }

    /// By rule and reason, how many absences closed unsaid since this was last called.
    pub(crate) fn take_withheld(&mut self) -> Withheld {
        std::mem::take(&mut self.withheld)
    }

    fn tell(&mut self, view: &View<'_>, id: &AlertId) -> Option<AlertChange> {
        let alert = self.alerts.get(id)?;
        let is_quiet = self.is_quiet(alert, id);
        let told = alert.told;
        if is_quiet && told.is_none_or(|told| told.is_withdrawn) {
            return None;
        }
        let gathered = self.gather(view, id, alert);
        let digest = gathered.digest(&alert.found);
        if !is_quiet && alert.digest == Some(digest) && told.is_some_and(|told| !told.is_withdrawn) {
            return None;
        }
        let document = Self::document(view, id, alert, gathered);
        let content = fingerprint(&document);
        let revision = told.map_or(1, |told| told.revision + 1);
        let state = match told {
            _ if is_quiet => AlertState::Withdrawn,
            Some(told) if told.content == content && !told.is_withdrawn => {
                // So that it is not written out once more to find the same.
                self.alerts.get_mut(id)?.digest = Some(digest);
                return None;
            }
            Some(_) => AlertState::Revised,
            None => AlertState::Open,
        };
        let change = AlertChange {
            id: id.clone(),
            time: alert.found.at.time,
            rule_id: Arc::clone(&view.facts[alert.rule as usize].id),
            state,
            revision,
            content,
            document: document::stamp(document, state, revision, view.watermark),
        };
        let told = Told { revision, content, is_withdrawn: is_quiet };
        let explained = explained(view, alert);
        if let Some(alert) = self.alerts.get_mut(id) {
            (alert.told, alert.explained, alert.digest) = (Some(told), explained, Some(digest));
        }
        self.touch(id);
        Some(change)
    }

    /// Closes what nothing in time can change, and tells what is left to tell of it.
    pub(crate) fn close(&mut self, view: &View<'_>, watermark: EventTime) -> Vec<AlertChange> {
        // What could not be seen may have come to light since the alert was last told.
        self.close_with(view, watermark, |book, id| book.tell(view, id))
    }

    /// Closes the same, and tells what stands in the end: for runs that only want that.
    pub(crate) fn close_finally(&mut self, view: &View<'_>, watermark: EventTime) -> Vec<AlertChange> {
        self.close_with(view, watermark, |book, id| book.last_word(view, id))
    }

    fn close_with(
        &mut self,
        view: &View<'_>,
        watermark: EventTime,
        tell: impl Fn(&mut Self, &AlertId) -> Option<AlertChange>,
    ) -> Vec<AlertChange> {
        let mut told = Vec::new();
        while let Some((closes, _)) = self.closing.first() {
            if *closes >= watermark {
                break;
            }
            let Some((_, id)) = self.closing.pop_first() else { break };
            told.extend(tell(self, &id));
            self.forget(view, &id);
        }
        self.suppressions.expire(watermark);
        told
    }

    fn last_word(&self, view: &View<'_>, id: &AlertId) -> Option<AlertChange> {
        let alert = self.alerts.get(id)?;
        if self.is_quiet(alert, id) {
            return None;
        }
        let document = Self::document(view, id, alert, self.gather(view, id, alert));
        Some(AlertChange {
            id: id.clone(),
            time: alert.found.at.time,
            rule_id: Arc::clone(&view.facts[alert.rule as usize].id),
            state: AlertState::Final,
            revision: alert.told.map_or(1, |told| told.revision),
            content: fingerprint(&document),
            document,
        })
    }

    fn forget(&mut self, view: &View<'_>, id: &AlertId) {
        let Some(alert) = self.alerts.remove(id) else { return };
        self.absences.remove(id);
        if let Some(why) = alert.withheld.filter(|_| !alert.is_gone) {
            *self.withheld.entry((alert.rule, why)).or_default() += 1;
        }
        for (reads, links) in view.contexts.reads(alert.rule).iter().zip(alert.links) {
            for link in links {
                let name = (reads.pool, link);
                if let Some(ids) = self.waiting.get_mut(&name) {
                    ids.remove(id);
                    if ids.is_empty() {
                        self.waiting.remove(&name);
                    }
                }
            }
        }
        self.touch(id);
        if let Some(told) = alert.told {
            self.remember(id.clone(), told);
        }
    }

    fn gather(&self, view: &View<'_>, id: &AlertId, alert: &Alert) -> Gathered {
        let rule = &view.rules[alert.rule as usize];
        let found = &alert.found;
        let mut severity = mapped_severity(view, rule, found);
        let evidence: Vec<Arc<Record>> =
            found.evidence.iter().map(|item| view.archive.open(&item.event)).collect();
        let mut contexts = Vec::with_capacity(rule.contexts.len());
        let mut lost = Vec::new();
        let mut cast = Cast::default();
        evidence.iter().for_each(|record| cast.add(view.cast, record));
        let reads = view.contexts.reads(alert.rule).iter().zip(&alert.links);
        for (context, (reads, links)) in rule.contexts.iter().zip(reads) {
            let attached = view.contexts.find(reads, links, found.start, found.end);
            let mut records: Vec<_> = attached.events.iter().map(|event| view.archive.open(event)).collect();
            records.iter().for_each(|record| cast.add(view.cast, record));
            let is_evidence =
                |record: &Arc<Record>| found.evidence.iter().any(|item| item.event.id == record.event.id);
            records.retain(|record| !is_evidence(record));
            if !records.is_empty() {
                severity = severity.max(context.raise_severity.unwrap_or(severity));
            }
            if attached.n_lost > 0 {
                lost.push(format!(
                    "of what \"{}\" would show, events were given up because too many were held: up to {}",
                    context.name, attached.n_lost
                ));
            }
            contexts.push(Attached { records, n_more: attached.n_more });
        }
        let (hosts, keys) = cast.cards(view.identities, found.end);
        let mut could_not_see =
            view.blind.could_not_see(rule, found, &evidence, view.keyed.eviction(alert.rule));
        could_not_see.extend(lost);
        could_not_see.extend(view.history.missing(alert.rule, found.at.time));
        Gathered {
            evidence,
            at: view.archive.open(&found.at),
            contexts,
            could_not_see,
            rests_on: alert.stake.as_ref().and_then(|stake| stake.weigh(view.blind).ok()).unwrap_or_default(),
            severity,
            n_suppressed: self.suppressions.n_suppressed_by(id),
            hosts,
            keys,
        }
    }

    fn document(view: &View<'_>, id: &AlertId, alert: &Alert, gathered: Gathered) -> Value {
        let rule = &view.rules[alert.rule as usize];
        let found = &alert.found;
        let explained = |(context, attached): (&Context, Attached)| Explained {
            name: context.name.clone(),
            events: attached.records.iter().map(|record| record.document()).collect(),
            n_more: attached.n_more,
            is_told: !context.is_circumstantial,
        };
        let contexts = rule.contexts.iter().zip(gathered.contexts).map(explained).collect();
        document::build(Parts {
            id,
            hosts: gathered.hosts,
            keys: gathered.keys,
            rule,
            key: &alert.key,
            key_names: &view.facts[alert.rule as usize].key_names,
            found,
            at: gathered.at,
            matched: matched(view, rule, found, &gathered.evidence),
            evidence: gathered.evidence,
            contexts,
            could_not_see: gathered.could_not_see,
            rests_on: gathered.rests_on,
            severity: gathered.severity,
            risk_score: risk_score(rule, gathered.severity),
            n_suppressed: gathered.n_suppressed,
        })
    }

    pub(crate) fn n_open(&self) -> usize {
        self.alerts.len()
    }
}

impl View<'_> {
    fn stake(&self, rule: u32, found: &Match) -> Option<Stake> {
        let claim = self.facts[rule as usize].claim.as_ref();
        Stake::of_match(claim, found, self.archive, self.blind)
    }

    /// Why a match is not to be told, if it is not.
    pub(crate) fn withheld(&self, rule: u32, found: &Match) -> Option<&'static str> {
        self.stake(rule, found)?.weigh(self.blind).err()
    }
}

/// By event of the evidence.
fn matched(view: &View<'_>, rule: &Rule, found: &Match, evidence: &[Arc<Record>]) -> Vec<Vec<Value>> {
    let of = |(item, record): (&Evidence, &Arc<Record>)| {
        matched::clauses(view.program, view.schema, rule, item.stage, &record.event)
    };
    found.evidence.iter().zip(evidence).map(of).collect()
}

/// Rules have a handful of contexts; past the 64th they share a bit.
fn context_bit(nth: u32) -> u64 {
    1 << nth.min(63)
}

fn explained(view: &View<'_>, alert: &Alert) -> u64 {
    let reads = view.contexts.reads(alert.rule).iter().zip(&alert.links).zip(0_u32..);
    let (start, end) = (alert.found.start, alert.found.end);
    reads
        .filter(|((reads, links), _)| view.contexts.has_any(reads, links, start, end))
        .fold(0, |bits, (_, nth)| bits | context_bit(nth))
}

/// By the rule's contexts, the values that a match's events may join them on. Of a match that has merely grown, only the
/// new events are opened.
fn links(view: &View<'_>, reads: &[Reads], found: &Match, held: Option<&Alert>) -> Vec<Vec<Link>> {
    if reads.is_empty() {
        return Vec::new();
    }
    let ids: FxHashSet<&str> = found.evidence.iter().map(|item| &*item.event.id).collect();
    let held = held.filter(|held| held.found.evidence.iter().all(|item| ids.contains(&*item.event.id)));
    let known: FxHashSet<&str> =
        held.into_iter().flat_map(|held| &held.found.evidence).map(|item| &*item.event.id).collect();
    let new = found.evidence.iter().filter(|item| !known.contains(&*item.event.id));
    let new: Vec<Arc<Record>> = new.map(|item| view.archive.open(&item.event)).collect();
    let of_reads = |(nth, reads): (usize, &Reads)| {
        let mut values = held.map(|held| held.links[nth].clone()).unwrap_or_default();
        values.extend(new.iter().flat_map(|record| link_values(&reads.links, &record.event)));
        values.sort();
        values.dedup();
        values
    };
    reads.iter().enumerate().map(of_reads).collect()
}

/// The last mapping that any of the evidence satisfies.
pub(crate) fn mapped_severity(view: &View<'_>, rule: &Rule, found: &Match) -> Severity {
    let holds = |field, value: &str| {
        found.evidence.iter().any(|item| {
            let record = view.archive.open(&item.event);
            record
                .event
                .get(field)
                .is_some_and(|held| held.scalars().iter().any(|scalar| scalar.to_string() == value))
        })
    };
    let mapped = rule.severity_mapping.iter().rev().find(|mapping| holds(mapping.field, &mapping.value));
    mapped.map_or(rule.severity, |mapping| mapping.severity)
}

/// The rule's own, unless the severity is another than its own.
pub(crate) fn risk_score(rule: &Rule, severity: Severity) -> u64 {
    if severity == rule.severity { rule.risk_score } else { usual_risk(severity) }
}

/// Elastic's middle of each band.
fn usual_risk(severity: Severity) -> u64 {
    match severity {
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn fingerprint(document: &Value) -> [u8; 16] {
    let digest = Sha256::digest(document.to_string().as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}
