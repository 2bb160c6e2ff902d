//! Conditions that look at the event's own fields alone, as predicates: so they are shared, indexed, and decide before a
//! pipeline runs. ES|QL's nulls are spelled out, for predicates know none.

use std::ops::Bound;

use super::function::Function;
use super::ir::{Comparison, Ir};
use super::value::{Type, text};
use crate::expr::{Expr, Range, Test};
use crate::literal::Literal;
use crate::pattern::Case;
use crate::pattern::set::TextSet;
use crate::pattern::wildcard::Wildcard;
use crate::schema::FieldId;

/// The predicate that holds where the condition is true. `None`: a pipeline has to say.
pub(super) fn truth(ir: &Ir) -> Option<Expr> {
    match ir {
        Ir::Literal(Literal::Bool(bool)) => Some(Expr::Const(*bool)),
        Ir::Null => Some(Expr::Const(false)),
        Ir::All(parts) => Some(Expr::and(all(parts, truth)?)),
        Ir::Any(parts) => Some(Expr::or(all(parts, truth)?)),
        Ir::Not(part) => falsity(part),
        Ir::IsNull(value) => Some(Expr::negate(Expr::Exists(field(value)?.0))),
        Ir::Predicate(predicate) => Some(predicate.clone()),
        other => test(other).map(|(field, test)| Expr::and([Expr::IsSingle(field), Expr::Any(field, test)])),
    }
}

/// The predicate that holds where the condition is false, which is not where it is null.
fn falsity(ir: &Ir) -> Option<Expr> {
    match ir {
        Ir::Literal(Literal::Bool(bool)) => Some(Expr::Const(!bool)),
        Ir::Null => Some(Expr::Const(false)),
        Ir::All(parts) => Some(Expr::or(all(parts, falsity)?)),
        Ir::Any(parts) => Some(Expr::and(all(parts, falsity)?)),
        Ir::Not(part) => truth(part),
        Ir::IsNull(value) => Some(Expr::Exists(field(value)?.0)),
        Ir::Predicate(predicate) => Some(Expr::negate(predicate.clone())),
        other => test(other)
            .filter(|(_, test)| is_textual(test))
            .map(|(field, test)| Expr::and([Expr::IsSingle(field), Expr::negate(Expr::Any(field, test))])),
    }
}

/// Every value can be read as a text. What cannot be read as a number is null, and a predicate would call it false.
fn is_textual(test: &Test) -> bool {
    match test {
        Test::Equals(literal) => matches!(literal, Literal::Text(_)),
        Test::In(_) | Test::Wildcard(_) | Test::Regex(_) => true,
        Test::Range(_) | Test::Cidr(_) | Test::Part(..) => false,
    }
}

fn all(parts: &[Ir], convert: fn(&Ir) -> Option<Expr>) -> Option<Vec<Expr>> {
    parts.iter().map(convert).collect()
}

/// A test of one field that is true, false, or null where the field has not exactly one value.
fn test(ir: &Ir) -> Option<(FieldId, Test)> {
    match ir {
        Ir::Field(id, Type::Bool) => Some((*id, Test::Equals(Literal::Bool(true)))),
        Ir::Compare(comparison, sides) => match (&sides.0, &sides.1) {
            (value, Ir::Literal(literal)) => compare(*comparison, value, literal),
            (Ir::Literal(literal), value) => compare(mirrored(*comparison), value, literal),
            _ => None,
        },
        Ir::In(value, items) => is_in(value, items),
        Ir::Like(value, patterns) => like(value, patterns),
        Ir::Rlike(value, patterns) => match (field(value)?, patterns.as_slice()) {
            ((id, Type::Text), [pattern]) => Some((id, Test::Regex(pattern.clone()))),
            _ => None,
        },
        Ir::Cidr(value, nets) => match field(value)? {
            (id, Type::Ip) => Some((id, Test::Cidr(nets.clone()))),
            _ => None,
        },
        Ir::Call(function, args) => affix(*function, args),
        _ => None,
    }
}

fn field(ir: &Ir) -> Option<(FieldId, Type)> {
    match ir {
        Ir::Field(id, kind) => Some((*id, *kind)),
        _ => None,
    }
}

fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

fn compare(comparison: Comparison, value: &Ir, literal: &Literal) -> Option<(FieldId, Test)> {
    if comparison == Comparison::Equal
        && let Some((id, text)) = lowered(value, literal)
    {
        return Some((id, Test::text(text, Case::Folded)));
    }
    let (id, kind) = field(value)?;
    if !reads_alike(kind, literal) {
        return None;
    }
    let bound = || literal.clone();
    let range = |low, high| Some((id, Test::Range(Range { low, high })));
    match comparison {
        Comparison::Equal => Some((id, Test::Equals(bound()))),
        Comparison::Less => range(Bound::Unbounded, Bound::Excluded(bound())),
        Comparison::LessOrEqual => range(Bound::Unbounded, Bound::Included(bound())),
        Comparison::Greater => range(Bound::Excluded(bound()), Bound::Unbounded),
        Comparison::GreaterOrEqual => range(Bound::Included(bound()), Bound::Unbounded),
    }
}

/// Whether a predicate reads the field's values as this expression does. A whole number in a field of fractions, or the
/// reverse, is rounded by one and not by the other.
fn reads_alike(kind: Type, literal: &Literal) -> bool {
    matches!(
        (kind, literal),
        (Type::Text, Literal::Text(_))
            | (Type::Double, Literal::Int(_) | Literal::Float(_))
            | (Type::Bool, Literal::Bool(_))
            | (Type::Ip, Literal::Ip(_))
            | (Type::Date, Literal::Date(_))
    ) || matches!((kind, literal), (Type::Long, Literal::Int(_)))
}

fn is_in(value: &Ir, items: &[Ir]) -> Option<(FieldId, Test)> {
    let (id, kind) = field(value)?;
    let literals = items.iter().map(|item| match item {
        Ir::Literal(literal) if reads_alike(kind, literal) => Some(literal),
        _ => None,
    });
    let literals: Vec<&Literal> = literals.collect::<Option<_>>()?;
    match kind {
        Type::Text => Some((id, Test::In(TextSet::new(literals.into_iter().map(text), Case::Sensitive)))),
        Type::Ip => {
            let nets = literals.into_iter().filter_map(|literal| match literal {
                Literal::Ip(ip) => Some(ipnet::IpNet::from(*ip)),
                _ => None,
            });
            Some((id, Test::Cidr(crate::pattern::cidr::CidrSet::new(nets.collect()))))
        }
        _ => None,
    }
}

fn like(value: &Ir, patterns: &[Wildcard]) -> Option<(FieldId, Test)> {
    let [pattern] = patterns else { return None };
    match field(value)? {
        (id, Type::Text) => Some((id, Test::wildcard(pattern.clone()))),
        _ => None,
    }
}

/// `to_lower(field)` beside a text in lower case.
fn lowered<'l>(value: &Ir, literal: &'l Literal) -> Option<(FieldId, &'l str)> {
    let (Ir::Call(Function::ToLower, args), Literal::Text(text)) = (value, literal) else { return None };
    // Letters whose folding depends on where they stand are left to the pipeline.
    let is_plain = text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match field(args.first()?)? {
        (id, Type::Text) if is_plain => Some((id, text)),
        _ => None,
    }
}

fn affix(function: Function, args: &[Ir]) -> Option<(FieldId, Test)> {
    let [value, Ir::Literal(Literal::Text(text))] = args else { return None };
    let (id, Type::Text) = field(value)? else { return None };
    let pattern = match function {
        Function::StartsWith => Wildcard::prefix(text, Case::Sensitive),
        Function::EndsWith => Wildcard::suffix(text, Case::Sensitive),
        Function::Contains => Wildcard::contains(text, Case::Sensitive),
        _ => return None,
    };
    Some((id, Test::Wildcard(pattern)))
}
