//! By what an event is part of an alert: the conditions of its step that it meets, each with the value that met it.

use std::collections::BTreeMap;

use rules::eval;
use rules::event::{Event, Value as Scalar};
use rules::expr::{Expr, Test};
use rules::plan::{Plan, PredicateId};
use rules::program::{Part, Program};
use rules::rule::Rule;
use rules::schema::{FieldId, Schema};
use serde_json::{Map, Value};

use super::document::scalar;
use crate::describe;
use crate::keyed::Stage;

/// Conditions that are shown of one event. Those that hold come before those that must not.
const MAX_CLAUSES: usize = 24;
/// Characters of a value; the event beside it has all of it.
const MAX_VALUE: usize = 300;

/// Sorted, so that the other rules of the run do not matter. Empty where nothing is left of the event.
pub(super) fn clauses(
    program: &Program,
    schema: &Schema,
    rule: &Rule,
    stage: Stage,
    event: &Event,
) -> Vec<Value> {
    let parts = predicates(rule, stage).into_iter().map(|predicate| program.matched(predicate, event));
    let Some(parts) = parts.into_iter().find(|parts| !parts.is_empty()) else { return Vec::new() };
    let mut said: Vec<(bool, String, Part<'_>)> = parts
        .into_iter()
        .map(|part| (part.is_negated, describe::atom(schema, part.atom, part.is_negated), part))
        .collect();
    said.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    said.dedup_by(|a, b| a.1 == b.1);
    let clause = |(_, text, part): (bool, String, Part<'_>)| {
        let mut clause = Map::new();
        clause.insert("clause".into(), text.into());
        let fields = fields(part.atom);
        if let [field] = fields[..] {
            clause.insert("field".into(), schema.field(field).path.to_string().into());
            clause.insert("value".into(), value(part, field, event));
        } else {
            let held = fields.into_iter().map(|field| {
                (schema.field(field).path.to_string(), event.get(field).map_or(Value::Null, shown))
            });
            // By name: numbers of fields depend on what else is loaded.
            let held: BTreeMap<String, Value> = held.collect();
            clause.insert("values".into(), held.into_iter().collect());
        }
        Value::Object(clause)
    };
    said.into_iter().take(MAX_CLAUSES).map(clause).collect()
}

/// What an event of the stage satisfies: one of these.
fn predicates(rule: &Rule, stage: Stage) -> Vec<PredicateId> {
    let step = match stage {
        Stage::Step(step) | Stage::Run(step, _) => usize::from(step).checked_sub(1),
        Stage::Match | Stage::Window | Stage::FirstSeen => None,
    };
    match &rule.plan {
        Plan::Sequence(sequence) => {
            step.and_then(|step| sequence.steps.get(step)).map(|step| step.predicate).into_iter().collect()
        }
        Plan::Sample(sample) => {
            step.and_then(|step| sample.steps.get(step)).map(|step| step.predicate).into_iter().collect()
        }
        Plan::Correlation(correlation) => correlation.leaves.iter().map(|leaf| leaf.predicate).collect(),
        single => single.predicates().into_iter().copied().collect(),
    }
}

fn fields(atom: &Expr) -> Vec<FieldId> {
    let mut fields = Vec::new();
    atom.each_field(&mut |field| fields.push(field));
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// Of a list, the values that pass. Of what must not hold, all there is.
fn value(part: Part<'_>, field: FieldId, event: &Event) -> Value {
    let Some(held) = event.get(field) else { return Value::Null };
    let passing = |test: &Test| {
        let passing: Vec<&Scalar> = held.scalars().iter().filter(|value| eval::passes(test, value)).collect();
        match passing[..] {
            [] => shown(held),
            [only] => shown(only),
            _ => passing.into_iter().map(shown).collect(),
        }
    };
    match part.atom {
        Expr::Any(_, test) if !part.is_negated => passing(test),
        Expr::Item(_, at, _) => held.scalars().get(*at as usize).map_or(Value::Null, shown),
        _ => shown(held),
    }
}

fn shown(value: &Scalar) -> Value {
    match value {
        Scalar::Str(text) if text.chars().nth(MAX_VALUE).is_some() => {
            let cut: String = text.chars().take(MAX_VALUE).collect();
            format!("{cut}…").into()
        }
        Scalar::List(items) => items.iter().take(MAX_CLAUSES).map(shown).collect(),
        other => scalar(other),
    }
}
