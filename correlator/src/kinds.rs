//! The kinds of events there are, and which of them a predicate can match at all.
//!
//! Each kind has fields whose values are known beforehand (its dataset, on hosts the operating system) and fields that it
//! never has. A predicate that is false whatever the other fields hold cannot match such an event.

use std::collections::BTreeSet;

use rules::eval;
use rules::event::{Event, EventTime, Value};
use rules::expr::{Expr, Scalar};
use rules::plan::{Plan, PredicateId};
use rules::program::{ALERTS_INDEX, Program, RuleIdx};
use rules::schema::{FieldId, Origin, Schema};

/// A kind of event that some source delivers.
pub(crate) struct Kind {
    pub(crate) dataset: &'static str,
    /// What the source is called on the command line; none where no source delivers it yet.
    pub(crate) flag: Option<&'static str>,
    known: &'static [(&'static str, &'static str)],
    /// Beginnings of field names that such an event never has.
    absent: &'static [&'static str],
}

/// What rules over alerts read, and no other rule.
pub(crate) const ALERTS: &str = "alerts of other rules";

/// What the sensor says of itself.
const SENSOR: &str = "groundtrail.sensor";

pub(crate) const KINDS: [Kind; 9] = [
    Kind {
        dataset: "endpoint.events.process",
        flag: Some("--sensor -"),
        known: &[("event.category", "process"), ("host.os.type", "linux"), ("event.kind", "event")],
        absent: &["aws.", "destination.", "source.", "network.", "file.", "dns.", "registry."],
    },
    Kind {
        dataset: "endpoint.events.network",
        flag: Some("--sensor -"),
        known: &[("event.category", "network"), ("host.os.type", "linux"), ("event.kind", "event")],
        absent: &["aws.", "file.", "dns.", "registry."],
    },
    Kind {
        dataset: "endpoint.events.file",
        // From kernels that let programs in at their functions; the sensor says whether its own does.
        flag: Some("--sensor -"),
        known: &[("event.category", "file"), ("host.os.type", "linux"), ("event.kind", "event")],
        absent: &["aws.", "destination.", "source.", "network.", "dns.", "registry."],
    },
    Kind {
        dataset: SENSOR,
        flag: Some("--sensor -"),
        known: &[("event.category", "host"), ("host.os.type", "linux"), ("event.kind", "metric")],
        absent: &["aws.", "destination.", "source.", "network.", "file.", "dns.", "registry.", "process."],
    },
    Kind {
        dataset: "aws.cloudtrail",
        flag: Some("--cloudtrail DIR"),
        known: &[("event.kind", "event"), ("event.module", "aws"), ("cloud.provider", "aws")],
        absent: &[
            "aws.guardduty.",
            "aws.vpcflow.",
            "client.",
            "container.",
            "destination.",
            "dns.",
            "email.",
            "file.",
            "host.os.",
            "http.",
            "network.",
            "observer.",
            "orchestrator.",
            "process.",
            "registry.",
            "server.",
            "service.",
            "tls.server.",
            "url.",
        ],
    },
    Kind {
        dataset: "aws.guardduty",
        flag: Some("--guardduty DIR"),
        known: &[
            ("event.kind", "alert"),
            ("event.category", "intrusion_detection"),
            ("cloud.provider", "aws"),
        ],
        absent: &["host.os.", "registry.", "aws.cloudtrail.", "aws.vpcflow."],
    },
    Kind {
        dataset: "aws.vpcflow",
        flag: Some("--vpcflow DIR"),
        known: &[("event.kind", "event"), ("event.category", "network"), ("cloud.provider", "aws")],
        absent: &["process.", "file.", "host.os.", "dns.", "registry.", "aws.cloudtrail.", "aws.guardduty."],
    },
    Kind {
        // What digests bring to light, which come by queue alone.
        dataset: "groundtrail.feed",
        flag: Some("a source of type \"sqs\""),
        known: &[("event.kind", "event"), ("event.module", "groundtrail"), ("cloud.provider", "aws")],
        absent: &["process.", "host.", "dns.", "registry.", "source.", "destination.", "network.", "aws."],
    },
    Kind { dataset: ALERTS, flag: None, known: &[("event.kind", "signal")], absent: &["registry."] },
];

/// The datasets with events that the predicate could match.
pub(crate) fn able(
    schema: &Schema,
    predicate: &Expr,
    reads_index: impl Fn(&str) -> bool,
) -> BTreeSet<&'static str> {
    let is_able = |kind: &&Kind| {
        let event = sample(schema, kind);
        reads_index(&event.index) && judge(schema, predicate, kind, &event) != Truth::No
    };
    KINDS.iter().filter(is_able).map(|kind| kind.dataset).collect()
}

/// Whether an event of one of the datasets could hold all that this one holds.
pub(crate) fn could_be(schema: &Schema, event: &Event, datasets: &BTreeSet<&'static str>) -> bool {
    let could_be = |kind: &Kind| {
        let known = sample(schema, kind);
        event.fields().all(|(field, value)| match known.get(field) {
            Some(known) => value == known,
            None => !is_decided(schema, field, kind, &known),
        })
    };
    KINDS.iter().filter(|kind| datasets.contains(kind.dataset)).any(could_be)
}

/// Whether some of the rule's steps can only be events of hosts, and others only AWS's.
pub(crate) fn is_join(schema: &Schema, program: &Program, rule: RuleIdx) -> bool {
    let of = program.rule(rule);
    let steps: Vec<PredicateId> = match &of.plan {
        Plan::Sequence(sequence) => {
            sequence.steps.iter().filter(|step| !step.is_missing).map(|step| step.predicate).collect()
        }
        Plan::Sample(sample) => sample.steps.iter().map(|step| step.predicate).collect(),
        Plan::Correlation(correlation) => correlation.leaves.iter().map(|leaf| leaf.predicate).collect(),
        _ => Vec::new(),
    };
    let (mut is_hosts, mut is_aws) = (false, false);
    for step in steps {
        // A rule without an index could read alerts, too; they are nobody's half.
        let reads = |index: &str| index != ALERTS_INDEX && of.reads_index(index);
        let able = able(schema, &program.expr(step), reads);
        let all = |is_of: &dyn Fn(&str) -> bool| !able.is_empty() && able.iter().all(|of| is_of(of));
        is_hosts |= all(&|of| of.starts_with("endpoint.") || of == SENSOR);
        is_aws |= all(&|of| of.starts_with("aws."));
    }
    is_hosts && is_aws
}

/// An event of the kind with what is known of each of its like.
fn sample(schema: &Schema, kind: &Kind) -> Event {
    let is_alert = kind.dataset == ALERTS;
    let index = if is_alert { ALERTS_INDEX.to_owned() } else { format!("logs-{}-default", kind.dataset) };
    let mut event = Event::new("sample", EventTime(0), index);
    // An alert has the dataset of the event that it is about.
    let dataset = [("event.dataset", kind.dataset), ("data_stream.dataset", kind.dataset)];
    for (path, value) in dataset.iter().filter(|_| !is_alert).chain(kind.known) {
        if let Some(field) = schema.id(path) {
            event.push(field, Value::str(*value));
        }
    }
    event
}

fn judge(schema: &Schema, expr: &Expr, kind: &Kind, event: &Event) -> Truth {
    match expr {
        Expr::Const(bool) => Truth::from(*bool),
        Expr::And(parts) => {
            parts.iter().map(|part| judge(schema, part, kind, event)).min().unwrap_or(Truth::Yes)
        }
        Expr::Or(parts) => {
            parts.iter().map(|part| judge(schema, part, kind, event)).max().unwrap_or(Truth::No)
        }
        Expr::Not(part) => judge(schema, part, kind, event).negate(),
        Expr::Holds(Scalar::Is(part)) => judge(schema, part, kind, event),
        leaf => {
            let mut decided = true;
            leaf.each_field(&mut |field| decided &= is_decided(schema, field, kind, event));
            if decided { Truth::from(eval::matches(leaf, event)) } else { Truth::Open }
        }
    }
}

fn is_decided(schema: &Schema, field: FieldId, kind: &Kind, event: &Event) -> bool {
    let path: &str = &schema.field(field).path;
    event.get(field).is_some()
        || schema.field(field).origin == Origin::Other
        || kind.absent.iter().any(|beginning| path.starts_with(beginning))
}

/// What can be said of a predicate before its event is seen. Ordered so that "and" is the least, "or" the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    Open,
    Yes,
}

impl Truth {
    fn negate(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Open => Self::Open,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(bool: bool) -> Self {
        if bool { Self::Yes } else { Self::No }
    }
}
