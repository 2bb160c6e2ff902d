//! What the claim that something did not come rests on: every feed it could have come by was heard on both sides of the
//! time in question, and lost nothing in between. Without that the match is withheld.
//!
//! All of it is a function of the set of events: in any order they come to the same answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rules::event::{EventTime, Span};
use rules::expr::Expr;
use rules::plan::Plan;
use rules::program::ALERTS_INDEX;
use rules::rule::Rule;
use rules::schema::Schema;
use serde_json::{Value, json};

use super::blind::Blind;
use crate::archive::Archive;
use crate::keyed::{Limits, Match};
use crate::kinds;
use crate::source::Record;
use crate::time;

/// A feed vouches for a span if it was heard this close to both ends of it.
pub(crate) const LOOK: Span = Span::from_secs(6 * 3_600);

/// Why matches were withheld: by rule and reason, how many.
pub(crate) type Withheld = BTreeMap<(u32, &'static str), u64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Feed {
    /// Of one host.
    Sensor,
    /// Those of an account together. Where it is a sensor's word about itself that did not come, the host without one cannot
    /// vouch for that: that others of its account were heard is what shows that words of sensors arrive.
    Fleet,
    CloudTrail,
    GuardDuty,
    VpcFlow,
}

impl Feed {
    pub(crate) fn of_dataset(dataset: &str) -> Self {
        match dataset {
            "aws.cloudtrail" => Self::CloudTrail,
            "aws.guardduty" => Self::GuardDuty,
            "aws.vpcflow" => Self::VpcFlow,
            "groundtrail.sensor" => Self::Fleet,
            _ => Self::Sensor,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Fleet => "sensors of the account",
            Self::CloudTrail => "aws.cloudtrail",
            Self::GuardDuty => "aws.guardduty",
            Self::VpcFlow => "aws.vpcflow",
        }
    }

    fn never_heard(self) -> &'static str {
        match self {
            Self::Sensor | Self::Fleet => "no sensor feed",
            Self::CloudTrail => "no CloudTrail feed",
            Self::GuardDuty => "no GuardDuty feed",
            Self::VpcFlow => "no VPC flow log feed",
        }
    }

    fn not_around(self) -> &'static str {
        match self {
            Self::Sensor => "the host's sensor was not heard before and after",
            Self::Fleet => "no sensor of the account was heard before and after",
            Self::CloudTrail => "the account's CloudTrail was not heard before and after",
            Self::GuardDuty => "the account's GuardDuty was not heard before and after",
            Self::VpcFlow => "the account's VPC flow logs were not heard before and after",
        }
    }
}

/// What a rule with missing events claims whenever it matches.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Empty: no source delivers what is said to be missing.
    feeds: BTreeSet<Feed>,
    is_leading: bool,
    is_trailing: bool,
    maxspan: Span,
    /// See [`Limits::between_clocks`].
    skew: Span,
}

impl Claim {
    /// `None`: nothing is missing. `missing` are the predicates of what is.
    pub(crate) fn of(rule: &Rule, missing: &[Expr], schema: &Schema, limits: &Limits) -> Option<Self> {
        let Plan::Sequence(sequence) = &rule.plan else { return None };
        if missing.is_empty() {
            return None;
        }
        // Alerts come by no feed. One that is missing has nothing to vouch for it: any of the feeds may have made it.
        let reads = |index: &str| index != ALERTS_INDEX && rule.reads_index(index);
        let datasets = missing.iter().map(|expr| kinds::able(schema, expr, reads));
        // A step that nothing can match leaves nothing to vouch for it.
        let datasets: Vec<BTreeSet<&str>> = datasets.collect();
        let is_known = datasets.iter().all(|able| !able.is_empty());
        let feeds = datasets.into_iter().flatten().filter(|_| is_known).map(Feed::of_dataset).collect();
        Some(Self {
            feeds,
            is_leading: sequence.steps.first().is_some_and(|step| step.is_missing),
            is_trailing: sequence.steps.last().is_some_and(|step| step.is_missing),
            maxspan: sequence.maxspan.unwrap_or(limits.open_span),
            skew: limits.between_clocks(),
        })
    }

    /// From when to when a match says that nothing came.
    fn span(&self, found: &Match) -> (EventTime, EventTime) {
        let mut times = found.evidence.iter().map(|item| item.event.time);
        let first = times.next().unwrap_or(found.start);
        let last = times.next_back().unwrap_or(first);
        let from = if self.is_leading { last - self.maxspan } else { found.start };
        let to = if self.is_trailing { first + self.maxspan } else { found.end };
        (from.min(found.start), to.max(found.end))
    }
}

/// One feed, of one host or account where the evidence names some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Voucher {
    feed: Feed,
    of: Option<Box<str>>,
}

/// What one match needs to be told.
#[derive(Debug, Clone)]
pub(crate) struct Stake {
    from: EventTime,
    to: EventTime,
    /// Nothing before this is expected any more where it is certain.
    certain_at: EventTime,
    vouchers: Vec<Voucher>,
}

impl Stake {
    /// `None`: it claims no absence.
    pub(crate) fn of_match(
        claim: Option<&Claim>,
        found: &Match,
        archive: &Archive,
        blind: &Blind,
    ) -> Option<Self> {
        let claim = claim.filter(|_| found.is_absence)?;
        let evidence: Vec<Arc<Record>> =
            found.evidence.iter().map(|item| archive.open(&item.event)).collect();
        Some(Self::of(claim, found, &evidence, blind))
    }

    fn of(claim: &Claim, found: &Match, evidence: &[Arc<Record>], blind: &Blind) -> Self {
        let (from, to) = claim.span(found);
        let hosts: BTreeSet<Box<str>> =
            evidence.iter().flat_map(|record| blind.hosts_of(record)).map(Box::from).collect();
        let accounts: BTreeSet<Box<str>> =
            evidence.iter().filter_map(|record| blind.account_of(&record.event)).map(Box::from).collect();
        let vouchers = claim.feeds.iter().flat_map(|feed| {
            let named = if *feed == Feed::Sensor { &hosts } else { &accounts };
            let of: Vec<Option<Box<str>>> =
                if named.is_empty() { vec![None] } else { named.iter().cloned().map(Some).collect() };
            of.into_iter().map(|of| Voucher { feed: *feed, of })
        });
        Self { from, to, certain_at: to + claim.skew, vouchers: vouchers.collect() }
    }

    /// What vouches for the claim, for the alert.
    ///
    /// # Errors
    /// Why it has to be withheld.
    pub(crate) fn weigh(&self, blind: &Blind) -> Result<Vec<Value>, &'static str> {
        if self.vouchers.is_empty() {
            return Err("no source delivers such events");
        }
        self.vouchers.iter().map(|voucher| self.ask(voucher, blind)).collect()
    }

    fn ask(&self, Voucher { feed, of }: &Voucher, blind: &Blind) -> Result<Value, &'static str> {
        let of = of.as_deref();
        if !blind.is_fed_by(*feed) {
            return Err(feed.never_heard());
        }
        let heard = blind.heard_around(*feed, of, (self.from, self.to), LOOK);
        let Some((heard_from, heard_to)) = heard else { return Err(feed.not_around()) };
        if *feed == Feed::Sensor && blind.has_lost(of, self.from, self.to) {
            return Err("the host's sensor lost events");
        }
        let mut said = json!({
            "feed": feed.name(),
            "heard_from": time::format(heard_from),
            "heard_to": time::format(heard_to),
            "watermark": time::format(self.certain_at),
        });
        if let Some(of) = of {
            said[if *feed == Feed::Sensor { "host" } else { "account" }] = of.into();
        }
        Ok(said)
    }
}
