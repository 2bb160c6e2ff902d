//! Alerts fed back as events, for rules over alerts. One level: alerts of such rules are not.
//!
//! An alert is an event from when its match is there, before suppression and whether or not it is told. One that changes
//! takes the place of what it was, and one that goes is taken back, so that what such rules say is a function of the events
//! as everything else is. For the same reason exceptions do not reach them: see [`Program::signals`].

use std::collections::BTreeMap;
use std::sync::Arc;

use rules::event::Span;
use rules::program::{Program, RuleIdx};
use rules::schema::Schema;

use super::engine::{Engine, single};
use crate::alert::absence::{self, Claim};
use crate::alert::book::{mapped_severity, risk_score};
use crate::alert::{AlertId, signal};
use crate::keyed::{Anchor, EventRef, JoinKey, Limits, Match, OverAlerts};
use crate::source::normalize::Normalizer;
use crate::source::{Origin, Record};

/// What is needed for that, where there is a rule over alerts.
#[derive(Debug)]
pub(super) struct Feedback {
    normalizer: Normalizer,
    pub(super) over_alerts: OverAlerts,
    /// The rules over alerts for which each alert is a match of its own.
    queries: Arc<[u32]>,
    /// The alerts as they are read, where somebody wants to see them.
    kept: Option<BTreeMap<AlertId, Arc<Record>>>,
}

impl Feedback {
    /// `spans`: how far apart the events of a match can be, by rule.
    /// `claims`: what they say did not come.
    pub(super) fn new(
        program: &Program,
        schema: &Schema,
        spans: &[Span],
        claims: &[Option<Claim>],
        joins: &[bool],
        limits: Limits,
    ) -> Option<Self> {
        let rules: Vec<bool> =
            (0..).map(RuleIdx).zip(program.rules()).map(|(idx, _)| program.is_over_alerts(idx)).collect();
        if !rules.contains(&true) {
            return None;
        }
        let ordinary = spans.iter().zip(&rules).filter(|(_, is_over)| !**is_over);
        let longest = ordinary.map(|(span, _)| *span).max().unwrap_or_default();
        // An alert bears the time of one of its events, and the last may be a span later and move for another.
        // An absence is an alert from when its feeds vouch for it.
        let look = if claims.iter().any(Option::is_some) { absence::LOOK } else { Span(0) };
        // And that of a join may be as late as its later half.
        let late = limits.late_half(joins.contains(&true));
        let lag = (longest + longest + look).min(limits.open_span) + late;
        let is_query = |rule: &u32| {
            rules[*rule as usize] && matches!(program.rule(RuleIdx(*rule)).plan, rules::plan::Plan::Query(_))
        };
        let queries = (0..program.rules().len() as u32).filter(is_query).collect();
        let normalizer = Normalizer::new(Arc::new(schema.clone()), Arc::default());
        Some(Self { normalizer, over_alerts: OverAlerts { rules, lag }, queries, kept: None })
    }
}

impl Engine {
    /// A match came or changed: it is an event to the rules over alerts.
    pub(super) fn feed_back(&mut self, rule: u32, key: &JoinKey, found: &Match) {
        let Some(feedback) = &self.feedback else { return };
        if feedback.over_alerts.has(rule) {
            return;
        }
        let Some(said) = self.program.signals(RuleIdx(rule)).map(|of| self.program.rule(of)) else { return };
        let id = AlertId::new(&said.id, key, &found.anchor);
        let is_settled = self.keyed.settled_over_alerts().is_some_and(|settled| found.at.time < settled);
        // What rests on its last version can no longer be changed; it is not to count twice.
        if is_settled && (!self.program.rule(RuleIdx(rule)).notifies || self.book.knows(&id)) {
            return;
        }
        let severity = mapped_severity(&self.view(), said, found);
        let at = self.archive.open(&found.at);
        let document = signal::document(&id, said, found, &at, severity, risk_score(said, severity));
        let Ok(mut record) = feedback.normalizer.read(Origin::Signal, document.to_string()) else { return };
        record.event.sequence = found.at.sequence;
        if self.keyed.has_signal(id.as_str()) {
            if self.archive.open(&EventRef::of(&record)).raw == record.raw {
                return;
            }
            let changes = self.keyed.retract(id.as_str());
            self.take(changes);
        }
        let record = Arc::new(record);
        if let Some(kept) = self.feedback.as_mut().and_then(|feedback| feedback.kept.as_mut()) {
            kept.insert(id.clone(), Arc::clone(&record));
        }
        self.evaluate_signal(&id, &record);
    }

    /// From here on, keeps the alerts that are events to rules over alerts.
    pub fn keep_signals(&mut self) {
        if let Some(feedback) = &mut self.feedback {
            feedback.kept.get_or_insert_default();
        }
    }

    /// Those that were not taken back.
    pub fn take_signals(&mut self) -> Vec<Record> {
        let kept = self.feedback.as_mut().and_then(|feedback| feedback.kept.take()).unwrap_or_default();
        kept.into_values().map(|record| (*record).clone()).collect()
    }

    fn evaluate_signal(&mut self, id: &AlertId, record: &Arc<Record>) {
        let detected = self.detect.detect(record);
        let (time, grace) = (record.event.time, self.limits.grace);
        for rule in self.queries_over_alerts() {
            if detected.matches.contains(&rule) {
                let until = time + self.facts[rule as usize].held_for + grace;
                self.archive.hold_instead(record, until);
                self.put(rule, &JoinKey::default(), Arc::new(single(record)));
            } else {
                self.gone(rule, &JoinKey::default(), &Anchor::Event(id.as_str().into()));
            }
        }
        for (rule, key, hit) in detected.keyed {
            let until = time + self.facts[rule as usize].held_for + grace;
            self.archive.hold_instead(record, until);
            let changes = self.keyed.push(rule, key, hit);
            self.take(changes);
        }
    }

    /// A match went: the event is taken back.
    pub(super) fn take_back(&mut self, rule: u32, key: &JoinKey, anchor: &Anchor) {
        if self.feedback.as_ref().is_none_or(|feedback| feedback.over_alerts.has(rule)) {
            return;
        }
        let Some(said) = self.program.signals(RuleIdx(rule)).map(|of| self.program.rule(of)) else { return };
        let id = AlertId::new(&said.id, key, anchor);
        if let Some(kept) = self.feedback.as_mut().and_then(|feedback| feedback.kept.as_mut()) {
            kept.remove(&id);
        }
        let changes = self.keyed.retract(id.as_str());
        self.take(changes);
        for rule in self.queries_over_alerts() {
            self.gone(rule, &JoinKey::default(), &Anchor::Event(id.as_str().into()));
        }
    }

    fn queries_over_alerts(&self) -> Vec<u32> {
        self.feedback.as_ref().map_or_else(Vec::new, |feedback| feedback.queries.to_vec())
    }
}
