//! Warns where `!=` also matches events that lack the field, which authors seldom mean.

use rustc_hash::FxHashSet;

use super::{Kind, Node};
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::{FieldId, Schema};

pub(super) fn warn(condition: &Node, schema: &Schema, found: &mut Vec<Diagnostic>) {
    visit(condition, &FxHashSet::default(), schema, found);
}

/// `present` are the fields that the conditions around this one demand.
fn visit(node: &Node, present: &FxHashSet<FieldId>, schema: &Schema, found: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::And(parts) => {
            let present: FxHashSet<FieldId> = present.iter().copied().chain(demanded(node)).collect();
            parts.iter().for_each(|part| visit(part, &present, schema, found));
        }
        Kind::Or(parts) => parts.iter().for_each(|part| visit(part, present, schema, found)),
        Kind::Differs(operand, _) => {
            let Some(field) = field_of(operand) else { return };
            if present.contains(&field) {
                return;
            }
            let path = &schema.field(field).path;
            let message = format!("`!=` also matches events without \"{path}\"");
            let help = format!("add `{path} != null and` if they are not meant");
            found.push(Diagnostic::warning(Code::MatchesAbsent, node.span.clone(), message).with_help(help));
        }
        _ => {}
    }
}

/// Fields without which the condition is false.
fn demanded(node: &Node) -> FxHashSet<FieldId> {
    match &node.kind {
        Kind::And(parts) => parts.iter().flat_map(demanded).collect(),
        Kind::Or(parts) => parts
            .iter()
            .map(demanded)
            .reduce(|left, right| left.intersection(&right).copied().collect())
            .unwrap_or_default(),
        Kind::Test(operand, _) => field_of(operand).into_iter().collect(),
        Kind::Not(inner) => match &inner.kind {
            Kind::IsNull(operand) => field_of(operand).into_iter().collect(),
            _ => FxHashSet::default(),
        },
        _ => FxHashSet::default(),
    }
}

fn field_of(node: &Node) -> Option<FieldId> {
    match node.kind {
        Kind::Field(field) => field,
        _ => None,
    }
}
