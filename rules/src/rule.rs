//! One rule: what it is called, what it means, how it is judged, and the cases that must and must not fire.
//!
//! The shapes are here; [`file`] reads them from a rule file. What fires when is the correlator's.

pub(crate) mod duration;
pub(crate) mod file;
pub mod format;
pub(crate) mod query;
pub(crate) mod table;

use std::path::PathBuf;
use std::sync::Arc;

use crate::esql::Pipeline;
use crate::event::{EventTime, Span};
use crate::expr::Expr;
use crate::plan::{Plan, PredicateId};
use crate::schema::FieldId;

/// A rule.
///
/// `P` is a predicate: an [`crate::expr::Expr`] as loaded, a [`PredicateId`] once it is part of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule<P = PredicateId> {
    /// `rule_id`: a UUID that survives renames and edits.
    pub id: String,
    pub name: String,
    pub description: String,
    pub version: u64,
    pub severity: Severity,
    pub risk_score: u64,
    pub tags: Vec<String>,
    pub references: Vec<String>,
    pub false_positives: Vec<String>,
    /// The public rule whose behaviour this one covers.
    pub upstream_id: Option<String>,
    pub threat: Vec<Threat>,
    /// Globs over the event's index. Empty: any.
    pub index: Vec<String>,
    pub kind: Kind,
    pub language: Language,
    pub query: String,
    /// What the other rules say that this one rests on: with another text of theirs it means something else.
    pub rests_on: Vec<String>,
    pub plan: Plan<P>,
    /// What a query of single events asks beyond its predicate: an event is a match where this keeps it.
    pub residue: Option<Arc<Pipeline>>,
    pub severity_mapping: Vec<SeverityMapping>,
    /// Takes the risk score from the event.
    pub risk_score_field: Option<FieldId>,
    pub contexts: Vec<Context<P>>,
    pub exceptions: Vec<Exception<P>>,
    pub suppression: Option<Suppression>,
    /// Alerts per look-back that upstream keeps; ours counts what is beyond.
    pub max_signals: Option<u64>,
    /// Matches are there for other rules.
    pub is_building_block: bool,
    /// Matches are alerts to people. Those of a building block are not, unless they are asked for.
    pub notifies: bool,
    /// The triage guide, in Markdown.
    pub note: String,
    pub cases: Vec<Case>,
    /// The file, for messages.
    pub path: PathBuf,
    /// SHA-256 of the file, in hex.
    pub hash: String,
}

/// `type` of a rule file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Query,
    Eql,
    Esql,
    Threshold,
    NewTerms,
    Sigma,
    SigmaCorrelation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    Kuery,
    Eql,
    Esql,
    Sigma,
}

impl Kind {
    /// As a rule file writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Eql => "eql",
            Self::Esql => "esql",
            Self::Threshold => "threshold",
            Self::NewTerms => "new_terms",
            Self::Sigma => "sigma",
            Self::SigmaCorrelation => "sigma_correlation",
        }
    }
}

impl Language {
    /// As a rule file writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kuery => "kuery",
            Self::Eql => "eql",
            Self::Esql => "esql",
            Self::Sigma => "sigma",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tactic and the techniques under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threat {
    pub framework: String,
    pub tactic: ThreatEntry,
    pub techniques: Vec<Technique>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Technique {
    pub entry: ThreatEntry,
    pub subtechniques: Vec<ThreatEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreatEntry {
    pub id: String,
    pub name: String,
    pub reference: String,
}

/// An alert whose event has this value of the field has this severity. The last that applies counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeverityMapping {
    pub field: FieldId,
    pub value: String,
    pub severity: Severity,
}

/// What else an alert should show: events of the other half, attached as they come. Never decides whether it fires.
#[derive(Debug, Clone, PartialEq)]
pub struct Context<P = PredicateId> {
    pub name: String,
    /// Any one equal value joins.
    pub links: Vec<FieldId>,
    /// The dataset it reads.
    pub dataset: Option<String>,
    pub predicate: P,
    pub before: Span,
    pub after: Span,
    /// The severity the alert rises to when something is attached.
    pub raise_severity: Option<Severity>,
    /// What it finds shares a place with the alert and no more, so it is shown and not told as part of the story.
    pub is_circumstantial: bool,
}

/// Events that this rule leaves alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception<P = PredicateId> {
    pub name: String,
    pub reason: String,
    /// Void from the start of this day (UTC) on.
    pub expires: Option<jiff::civil::Date>,
    pub predicate: P,
}

/// Alerts that are folded into one. Upstream's `alert_suppression`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Empty: all alerts of the rule.
    pub by: Vec<FieldId>,
    /// `None`: per look-back of the rule.
    pub duration: Option<Span>,
    /// An event without one of the fields: folded with its likes, or kept apart.
    pub folds_missing: bool,
}

/// Events that must, or must not, make the rule fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    /// Final alerts of this rule.
    pub expect: u64,
    /// One JSON document a line.
    pub events: String,
    /// Files or folders of recorded events, beside the rule.
    pub traces: Vec<PathBuf>,
    /// Texts that the alert documents must hold.
    pub contains: Vec<String>,
    /// Line of the file on which `events`, or else the case, starts, from 1.
    pub line: usize,
}

impl<P> Rule<P> {
    /// The same rule over other predicates.
    pub fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> Rule<Q> {
        Rule {
            plan: self.plan.map(f),
            contexts: self.contexts.into_iter().map(|context| context.map(f)).collect(),
            exceptions: self.exceptions.into_iter().map(|exception| exception.map(f)).collect(),
            id: self.id,
            name: self.name,
            description: self.description,
            version: self.version,
            severity: self.severity,
            risk_score: self.risk_score,
            tags: self.tags,
            references: self.references,
            false_positives: self.false_positives,
            upstream_id: self.upstream_id,
            threat: self.threat,
            index: self.index,
            kind: self.kind,
            language: self.language,
            query: self.query,
            rests_on: self.rests_on,
            residue: self.residue,
            severity_mapping: self.severity_mapping,
            risk_score_field: self.risk_score_field,
            suppression: self.suppression,
            max_signals: self.max_signals,
            is_building_block: self.is_building_block,
            notifies: self.notifies,
            note: self.note,
            cases: self.cases,
            path: self.path,
            hash: self.hash,
        }
    }
}

impl Rule<Expr> {
    /// A rule that is no more than its query.
    pub(crate) fn bare(id: &str, kind: Kind, language: Language, query: &str, plan: Plan<Expr>) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            description: String::new(),
            version: 1,
            severity: Severity::Low,
            risk_score: 0,
            tags: Vec::new(),
            references: Vec::new(),
            false_positives: Vec::new(),
            upstream_id: None,
            threat: Vec::new(),
            index: Vec::new(),
            kind,
            language,
            query: query.to_owned(),
            rests_on: Vec::new(),
            plan,
            residue: None,
            severity_mapping: Vec::new(),
            risk_score_field: None,
            contexts: Vec::new(),
            exceptions: Vec::new(),
            suppression: None,
            max_signals: None,
            is_building_block: false,
            notifies: true,
            note: String::new(),
            cases: Vec::new(),
            path: PathBuf::new(),
            hash: String::new(),
        }
    }
}

impl<P> Context<P> {
    fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> Context<Q> {
        let Self { name, links, dataset, predicate, before, after, raise_severity, is_circumstantial } = self;
        Context {
            name,
            links,
            dataset,
            predicate: f(predicate),
            before,
            after,
            raise_severity,
            is_circumstantial,
        }
    }
}

impl<P> Exception<P> {
    /// Whether the exception still holds for an event of this time.
    pub fn is_in_force(&self, time: EventTime) -> bool {
        let end = self.expires.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        end.is_none_or(|end| i128::from(time.0) < end.timestamp().as_nanosecond())
    }

    fn map<Q>(self, f: &mut impl FnMut(P) -> Q) -> Exception<Q> {
        let Self { name, reason, expires, predicate } = self;
        Exception { name, reason, expires, predicate: f(predicate) }
    }
}
