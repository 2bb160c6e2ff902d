//! From an event to hits: which rules it concerns, in which role, and under which join keys.
//!
//! Stateless. What hits amount to is [`crate::keyed`]'s.

use std::fmt::Write as _;
use std::sync::Arc;

use rules::esql::Row;
use rules::event::{Event, Value};
use rules::plan::{KeyPart, Plan, PredicateId, Window};
use rules::program::{Program, Role, Scratch};
use rules::rule::Rule;
use rules::schema::{FieldId, Schema};
use sha2::{Digest as _, Sha256};

use crate::correlation::{CorrelationShape, LeafHit};
use crate::keyed::{EventRef, Hit, JoinKey, Limits, Shape};
use crate::sample::SampleShape;
use crate::sequence::SequenceShape;
use crate::source::Record;
use crate::terms::TermsShape;
use crate::window::{self, Test, WindowShape};

/// A multi-valued key makes a key per combination; beyond so many the event says nothing useful.
const MAX_KEYS_PER_EVENT: usize = 256;

/// What an event is to the rules.
#[derive(Debug, Clone, Default)]
pub struct Detected {
    /// Rules of single events that it satisfies.
    pub matches: Vec<u32>,
    /// Hits for the keyed core.
    pub keyed: Vec<(u32, JoinKey, Arc<Hit>)>,
    /// Contexts it belongs to: the rule and which of its contexts.
    pub contexts: Vec<(u32, u16)>,
}

/// Evaluates events, reusing its scratch memory.
#[derive(Debug)]
pub struct Detect {
    program: Arc<Program>,
    scratch: Scratch,
}

impl Detect {
    pub fn new(program: Arc<Program>) -> Self {
        Self { program, scratch: Scratch::default() }
    }

    /// The name of the drop list's line that takes the event.
    pub fn drop_reason(&mut self, event: &Event) -> Option<String> {
        self.program.drop_reason(event, &mut self.scratch).map(|line| line.name.clone())
    }

    pub fn detect(&mut self, record: &Record) -> Detected {
        self.detect_as(record, |_, _| true)
    }

    /// What an event that the drop list takes still is: the proof that what a rule says never happened did. Nothing else of
    /// it counts.
    pub fn detect_dropped(&mut self, record: &Record) -> Detected {
        self.detect_as(record, |role, plan| match (role, plan) {
            (Role::Step(step), Plan::Sequence(sequence)) => sequence.steps[usize::from(step)].is_missing,
            _ => false,
        })
    }

    fn detect_as(&mut self, record: &Record, counts: impl Fn(Role, &Plan<PredicateId>) -> bool) -> Detected {
        let mut detected = Detected::default();
        let mut steps: Vec<(u32, JoinKey, Parts)> = Vec::new();
        let program = Arc::clone(&self.program);
        program.hits(&record.event, &mut self.scratch, |hit| {
            let (idx, rule) = (hit.rule.0, program.rule(hit.rule));
            if !counts(hit.role, &rule.plan) {
                return;
            }
            match (hit.role, &rule.plan) {
                (Role::Context(context), _) => detected.contexts.push((idx, context)),
                (Role::Match, Plan::Query(_)) => detected.matches.push(idx),
                (role, plan) => {
                    for (key, parts) in parts(role, plan, &record.event) {
                        match steps.iter_mut().find(|(rule, held, _)| *rule == idx && *held == key) {
                            Some((_, _, held)) => held.merge(parts),
                            None => steps.push((idx, key, parts)),
                        }
                    }
                }
            }
        });
        if steps.is_empty() {
            return detected;
        }
        let event = Arc::new(EventRef::of(record));
        let hit = |(rule, key, parts): (u32, JoinKey, Parts)| {
            let Parts { steps, is_until, values, rows, leaves } = parts;
            let (event, values, rows) = (Arc::clone(&event), values.into(), rows.into());
            let leaves = leaves.into();
            (rule, key, Arc::new(Hit { event, steps, is_until, values, rows, leaves }))
        };
        detected.keyed = steps.into_iter().map(hit).collect();
        detected
    }
}

/// What an event brings to one key.
#[derive(Debug, Default)]
struct Parts {
    steps: u64,
    is_until: bool,
    values: Vec<Box<str>>,
    rows: Vec<Row>,
    leaves: Vec<LeafHit>,
}

impl Parts {
    fn merge(&mut self, other: Self) {
        self.steps |= other.steps;
        self.is_until |= other.is_until;
        self.values.extend(other.values);
        self.rows.extend(other.rows);
        self.leaves.extend(other.leaves);
    }
}

fn parts(role: Role, plan: &Plan, event: &Event) -> Vec<(JoinKey, Parts)> {
    let under =
        |keys: Vec<JoinKey>, make: &dyn Fn() -> Parts| keys.into_iter().map(|key| (key, make())).collect();
    match (role, plan) {
        // A sequence of more than 64 steps before runs are written out does not load.
        (Role::Step(step), Plan::Sequence(sequence)) if step < 64 => {
            let keys = keys(&sequence.steps[usize::from(step)].by, event);
            under(keys, &|| Parts { steps: 1 << step, ..Parts::default() })
        }
        (Role::Step(step), Plan::Sample(sample)) if step < 64 => {
            let keys = keys(&sample.steps[usize::from(step)].by, event);
            under(keys, &|| Parts { steps: 1 << step, ..Parts::default() })
        }
        (Role::Until, Plan::Sequence(sequence)) => {
            let by = sequence.until.as_ref().map_or(&[][..], |until| &until.by);
            under(keys(by, event), &|| Parts { is_until: true, ..Parts::default() })
        }
        (Role::Match, Plan::Threshold(threshold)) => {
            let counted = threshold.cardinality.as_ref().map(|(field, _)| *field);
            let values = || counted.map_or_else(Vec::new, |field| texts(event, field));
            under(keys(&required(&threshold.by), event), &|| Parts { values: values(), ..Parts::default() })
        }
        (Role::Match, Plan::NewTerms(terms)) => under(keys(&required(&terms.fields), event), &Parts::default),
        (Role::Match, Plan::Aggregate(aggregate)) => {
            let rows = aggregate.pipeline.rows(event);
            rows.into_iter()
                .map(|row| (row_key(&row), Parts { rows: vec![row], ..Parts::default() }))
                .collect()
        }
        (Role::Step(step), Plan::Correlation(correlation)) => {
            let leaf = &correlation.leaves[usize::from(step)];
            let values: Box<[Box<[Box<str>]>]> =
                leaf.fields.iter().map(|fields| first_texts(event, fields).into()).collect();
            let by = leaf.key.iter().map(|place| (values[*place].to_vec(), false));
            let hit = || LeafHit { leaf: step, values: values.clone() };
            under(combinations(by), &|| Parts { leaves: vec![hit()], ..Parts::default() })
        }
        _ => Vec::new(),
    }
}

pub(crate) fn required(fields: &[FieldId]) -> Vec<KeyPart> {
    fields.iter().map(|field| KeyPart { field: *field, is_optional: false }).collect()
}

pub(crate) fn texts(event: &Event, field: FieldId) -> Vec<Box<str>> {
    event.get(field).map_or_else(Vec::new, |value| value.scalars().iter().map(text).collect())
}

/// Of the first field that has a value.
pub(crate) fn first_texts(event: &Event, fields: &[FieldId]) -> Vec<Box<str>> {
    fields.iter().map(|field| texts(event, *field)).find(|texts| !texts.is_empty()).unwrap_or_default()
}

fn text(value: &Value) -> Box<str> {
    match value.as_str() {
        Some(text) => text.into(),
        None => value.to_string().into(),
    }
}

pub(crate) fn row_key(row: &Row) -> JoinKey {
    JoinKey(row.key.iter().map(|value| Some(text(value)).filter(|text| !text.is_empty())).collect())
}

/// The keys of an event: lists make one key per combination; an absent part leaves the event out unless it may be.
pub(crate) fn keys(by: &[KeyPart], event: &Event) -> Vec<JoinKey> {
    let mut key = Vec::with_capacity(by.len());
    for part in by {
        match event.get(part.field).map_or(&[][..], Value::scalars) {
            [one] => key.push(Some(text(one))),
            [] if part.is_optional => key.push(None),
            [] => return Vec::new(),
            _ => {
                return combinations(by.iter().map(|part| (texts(event, part.field), part.is_optional)));
            }
        }
    }
    vec![JoinKey(key.into())]
}

fn combinations(parts: impl Iterator<Item = (Vec<Box<str>>, bool)>) -> Vec<JoinKey> {
    let mut keys: Vec<Vec<Option<Box<str>>>> = vec![Vec::new()];
    for (texts, is_optional) in parts {
        let mut values: Vec<Option<Box<str>>> = texts.into_iter().map(Some).collect();
        values.sort();
        values.dedup();
        if values.is_empty() && is_optional {
            values.push(None);
        }
        let with = |key: Vec<Option<Box<str>>>| {
            values
                .iter()
                .map(move |value| [&key[..], std::slice::from_ref(value)].concat())
                .collect::<Vec<_>>()
        };
        keys = keys.into_iter().flat_map(with).take(MAX_KEYS_PER_EVENT).collect();
    }
    keys.into_iter().map(|key| JoinKey(key.into())).collect()
}

/// The names of a rule's key parts, for its alerts.
pub fn key_names(rule: &Rule, schema: &Schema) -> Vec<Arc<str>> {
    let path = |field: FieldId| Arc::clone(&schema.field(field).path);
    match &rule.plan {
        Plan::Query(_) => Vec::new(),
        Plan::Sequence(sequence) => {
            let step = sequence.steps.iter().find(|step| !step.is_missing);
            step.map_or_else(Vec::new, |step| step.by.iter().map(|part| path(part.field)).collect())
        }
        Plan::Sample(sample) => {
            let step = sample.steps.first();
            step.map_or_else(Vec::new, |step| step.by.iter().map(|part| path(part.field)).collect())
        }
        Plan::Threshold(threshold) => threshold.by.iter().map(|field| path(*field)).collect(),
        Plan::NewTerms(terms) => terms.fields.iter().map(|field| path(*field)).collect(),
        // The group's columns are among those of the result.
        Plan::Aggregate(_) => Vec::new(),
        Plan::Correlation(correlation) => {
            let leaf = correlation.leaves.first();
            leaf.map_or_else(Vec::new, |leaf| {
                leaf.key.iter().map(|place| path(leaf.fields[*place][0])).collect()
            })
        }
    }
}

/// What a rule's state depends on, beside the values in it: with another, hits or matches would be others. What is merely
/// said about the rule, or leaves single events out, is no part of it.
pub fn fingerprint(rule: &Rule, shape: Option<&Shape>, key_names: &[Arc<str>]) -> [u8; 16] {
    let contexts: Vec<_> = rule
        .contexts
        .iter()
        .map(|context| (&context.name, &context.dataset, context.before, context.after))
        .collect();
    // In these words since the first format that held state: with others every store would lose all of it at an upgrade.
    let mut meant =
        format!("{:?}", (rule.kind, rule.language, &rule.index, &rule.query, shape, key_names, contexts));
    if !rule.rests_on.is_empty() {
        let _ = write!(meant, "{:?}", rule.rests_on);
    }
    let digest = Sha256::digest(meant.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

/// What the keyed core is to look for. `None`: every matching event is an alert of its own.
pub fn shape(rule: &Rule, schema: &Schema, limits: &Limits) -> Option<Shape> {
    Some(match &rule.plan {
        Plan::Query(_) => return None,
        Plan::Sequence(sequence) => Shape::Sequence(SequenceShape::new(sequence, limits)),
        Plan::Sample(sample) => {
            let window = sample.window.unwrap_or(limits.open_span);
            Shape::Sample(SampleShape { n_steps: sample.steps.len(), window })
        }
        Plan::Threshold(threshold) => {
            let named = |(field, least): (FieldId, u64)| (schema.field(field).path.to_string(), least);
            let test =
                Test::Threshold { count: threshold.count, cardinality: threshold.cardinality.map(named) };
            Shape::Window(WindowShape { span: threshold.window, is_tumbling: false, test })
        }
        Plan::Correlation(correlation) => Shape::Correlation(CorrelationShape::new(correlation)),
        Plan::NewTerms(terms) => Shape::Terms(TermsShape { window: terms.window }),
        Plan::Aggregate(aggregate) => {
            let test = Test::Aggregate(window::Aggregate::new(Arc::clone(&aggregate.pipeline)));
            let (span, is_tumbling) = match aggregate.window {
                Window::Tumbling(span) => (span, true),
                Window::Sliding(span) => (span, false),
            };
            Shape::Window(WindowShape { span, is_tumbling, test })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: &str = "title: Curl
name: curl
logsource: {product: linux, category: process_creation}
detection:
  selection: {Image|endswith: /curl}
  condition: selection
---
title: Metadata
name: imds
logsource: {product: linux, category: network_connection}
detection:
  selection: {DestinationIp: 169.254.169.254}
  condition: selection
";
    const CORRELATION: &str = "title: Both
id: 7a3f0c1e-5f0b-4b77-9a3e-2f1d6c9b8e02
correlation:
  type: temporal
  rules: [curl, imds]
  group-by: [Computer]
  timespan: 5m
";
    const FILTER: &str = "title: Not there
logsource: {product: linux, category: process_creation}
filter:
  rules: [curl]
  selection: {Computer: build-1}
  condition: not selection
";

    fn of_correlation(files: &[(&str, String)]) -> [u8; 16] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut schema = Schema::builtin();
        let loaded = rules::catalogue::load([folder.path()], &mut schema);
        let program = Program::compile(loaded.rules, &schema);
        let [rule] = program.rules() else { panic!("{:?}", loaded.reports) };
        let shape = shape(rule, &schema, &Limits::default());
        fingerprint(rule, shape.as_ref(), &key_names(rule, &schema))
    }

    #[test]
    fn a_correlation_means_what_the_rules_below_it_mean() {
        let two = |bases: String| of_correlation(&[("bases.yml", bases), ("c.yml", CORRELATION.to_owned())]);
        let plain = two(BASES.to_owned());
        assert_eq!(
            two(BASES.replace("title: Curl", "title: Any curl")),
            plain,
            "another title says nothing else"
        );
        assert_ne!(two(BASES.replace("/curl", "/wget")), plain);
        assert_ne!(two(BASES.replace("169.254.169.254", "169.254.170.2")), plain);
        let files = [
            ("bases.yml", BASES.to_owned()),
            ("c.yml", CORRELATION.to_owned()),
            ("f.yml", FILTER.to_owned()),
        ];
        assert_ne!(of_correlation(&files), plain, "with a filter on one of them");
    }
}
