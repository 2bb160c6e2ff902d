//! Which rules the given sources can make fire at all.

use std::collections::BTreeSet;

use rules::event::Event;
use rules::expr::Expr;
use rules::plan::Plan;
use rules::program::ALERTS_INDEX;
use rules::rule::Rule;
use rules::schema::Schema;

use crate::config::{Config, Feed, Input};
use crate::kinds::{self, ALERTS, KINDS, Kind};

/// The datasets that the sources deliver.
pub(super) struct Sources<'s> {
    present: BTreeSet<&'static str>,
    schema: &'s Schema,
}

/// Whether a rule can fire.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Full,
    /// It fires, and a context join of it finds nothing.
    WithoutContext {
        missing: BTreeSet<&'static str>,
    },
    /// One of the datasets would have to be there. Empty: no source of ours has such events.
    Never {
        missing: BTreeSet<&'static str>,
    },
}

impl<'s> Sources<'s> {
    pub(super) fn of(config: &Config, schema: &'s Schema) -> Self {
        let mut present = BTreeSet::new();
        for source in &config.sources {
            match source.input {
                Input::Sensor(_) | Input::Sensors(_) => present.extend([
                    "endpoint.events.process",
                    "endpoint.events.network",
                    "endpoint.events.file",
                    "groundtrail.sensor",
                ]),
                Input::Folder { kind: Feed::CloudTrail, .. } => present.extend(["aws.cloudtrail"]),
                Input::Folder { kind: Feed::GuardDuty, .. } => present.extend(["aws.guardduty"]),
                Input::Folder { kind: Feed::VpcFlow, .. } => present.extend(["aws.vpcflow"]),
                // What a queue or bucket holds shows only when it comes.
                Input::Queue(_) => {
                    present.extend(["aws.cloudtrail", "aws.guardduty", "aws.vpcflow", "groundtrail.feed"])
                }
                Input::Bucket(_) => present.extend(["aws.cloudtrail", "aws.guardduty", "aws.vpcflow"]),
            }
        }
        Self { present, schema }
    }

    /// Everything that there is a source for, whether it is given or not.
    pub(super) fn every(schema: &'s Schema) -> Self {
        Self {
            present: KINDS.iter().filter(|kind| kind.flag.is_some()).map(|kind| kind.dataset).collect(),
            schema,
        }
    }

    /// Where an ordinary rule is loaded, its alerts are there for rules over alerts.
    pub(super) fn with_alerts_of(mut self, rules: &[Rule<Expr>]) -> Self {
        if !self.present.is_empty() && rules.iter().any(|rule| !rule.is_over_alerts(self.schema)) {
            self.present.insert(ALERTS);
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn reach(&self, rule: &Rule<Expr>) -> Reach {
        let is_over_alerts = rule.is_over_alerts(self.schema);
        let reads = |index: &str| rule.reads_index(index) && (index != ALERTS_INDEX || is_over_alerts);
        for predicate in required(&rule.plan) {
            let able = self.able(predicate, reads);
            if able.is_disjoint(&self.present) {
                return Reach::Never { missing: able };
            }
        }
        let missing: BTreeSet<&str> = rule
            .contexts
            .iter()
            .map(|context| self.able(&context.predicate, |index| index != ALERTS_INDEX))
            .filter(|able| able.is_disjoint(&self.present))
            .flatten()
            .collect();
        if missing.is_empty() { Reach::Full } else { Reach::WithoutContext { missing } }
    }

    /// The datasets with events that the predicate could match.
    pub(super) fn able(
        &self,
        predicate: &Expr,
        reads_index: impl Fn(&str) -> bool,
    ) -> BTreeSet<&'static str> {
        kinds::able(self.schema, predicate, reads_index)
    }

    /// Whether an event of one of the datasets could hold all that this one holds.
    pub(super) fn could_be(&self, event: &Event, datasets: &BTreeSet<&'static str>) -> bool {
        kinds::could_be(self.schema, event, datasets)
    }

    /// What to do about missing datasets.
    pub(super) fn advice(missing: &BTreeSet<&str>) -> String {
        let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| missing.contains(kind.dataset)).collect();
        if kinds.is_empty() {
            return "events that no source here delivers".to_owned();
        }
        let datasets: Vec<&str> = kinds.iter().map(|kind| kind.dataset).collect();
        let flags: BTreeSet<&str> = kinds.iter().filter_map(|kind| kind.flag).collect();
        let datasets = datasets.join(" or ");
        if missing.contains(ALERTS) {
            return format!("{datasets}: load a rule that is not about alerts");
        }
        if flags.is_empty() {
            return format!("{datasets}: the sensor does not report these");
        }
        format!("{datasets}: add {}", flags.into_iter().collect::<Vec<_>>().join(" or "))
    }
}

/// Predicates of which each must match some event before the rule fires.
fn required(plan: &Plan<Expr>) -> Vec<&Expr> {
    match plan {
        Plan::Sample(sample) => sample.steps.iter().map(|step| &step.predicate).collect(),
        Plan::Sequence(sequence) => {
            sequence.steps.iter().filter(|step| !step.is_missing).map(|step| &step.predicate).collect()
        }
        // Where only numbers count, any one of the rules may bring them.
        Plan::Correlation(correlation) if correlation.leaves.len() > 1 && !correlation.needs_each() => {
            Vec::new()
        }
        other => other.predicates(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::eql::{self, EqlRule};
    use rules::event::{EventTime, Value};

    /// The datasets whose events could match.
    #[track_caller]
    fn check(query: &str, expect: &[&str]) {
        let mut schema = Schema::builtin();
        let EqlRule::Event(expr) = eql::compile(query, &mut schema).expect("the test's query compiles").plan
        else {
            panic!("an event query was asked for");
        };
        let able =
            Sources { present: BTreeSet::new(), schema: &schema }.able(&expr, |index| index != ALERTS_INDEX);
        assert_eq!(able, expect.iter().copied().collect(), "{query}");
    }

    #[test]
    fn a_dataset_by_name_is_the_only_one() {
        check("any where data_stream.dataset == \"aws.cloudtrail\"", &["aws.cloudtrail"]);
        check(
            "any where event.dataset : \"aws.*\" and event.action == \"x\"",
            &["aws.cloudtrail", "aws.guardduty", "aws.vpcflow"],
        );
        check("any where data_stream.dataset == \"groundtrail.sensor\"", &["groundtrail.sensor"]);
        check("any where not event.dataset == \"aws.vpcflow\" and event.dataset : \"aws.v*\"", &[]);
    }

    #[test]
    fn fields_tell_what_kind_of_event_is_meant() {
        check(
            "process where host.os.type == \"linux\" and process.name == \"aws\"",
            &["endpoint.events.process"],
        );
        check(
            "network where destination.ip == \"169.254.169.254\" and process.name == \"x\"",
            &["endpoint.events.network"],
        );
        check("any where aws.cloudtrail.user_identity.type == \"Root\"", &["aws.cloudtrail"]);
    }

    #[test]
    fn an_event_is_of_a_dataset_that_has_its_fields() {
        let schema = Schema::builtin();
        let sources = Sources { present: BTreeSet::new(), schema: &schema };
        let could_be = |fields: &[(&str, &str)], dataset: &'static str| {
            let mut event = Event::new("e", EventTime(0), "");
            fields
                .iter()
                .for_each(|(path, value)| event.push(schema.id(path).expect(path), Value::str(*value)));
            sources.could_be(&event, &BTreeSet::from([dataset]))
        };
        let call = [("event.provider", "iam.amazonaws.com"), ("event.kind", "event")];
        assert!(could_be(&call, "aws.cloudtrail"));
        assert!(!could_be(&[("event.kind", "alert")], "aws.cloudtrail"));
        assert!(!could_be(&[("network.transport", "udp")], "aws.cloudtrail"));
        assert!(!could_be(&[("winlog.event_id", "1")], "aws.cloudtrail"), "no source here has it");
        assert!(could_be(&[("network.transport", "udp")], "endpoint.events.network"));
    }

    #[test]
    fn what_nothing_here_delivers_is_told() {
        check("process where host.os.type == \"windows\"", &[]);
        assert_eq!(Sources::advice(&BTreeSet::new()), "events that no source here delivers");
        assert_eq!(Sources::advice(&BTreeSet::from(["aws.guardduty"])), "aws.guardduty: add --guardduty DIR");
        assert_eq!(
            Sources::advice(&BTreeSet::from(["endpoint.events.file"])),
            "endpoint.events.file: add --sensor -"
        );
    }
}
