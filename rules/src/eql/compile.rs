//! Checked EQL to predicates. Knows no names and no text: what reaches this stage compiles.

use super::check::{CheckedFilter, CheckedQuery, CheckedStep, Kind, Node};
use super::{EqlRule, EqlStep};
use crate::diagnostic::{Code, Diagnostic};
use crate::expr::{Comparison, Expr, Scalar, Test};
use crate::literal::Literal;

pub(super) fn compile(query: &CheckedQuery, found: &mut Vec<Diagnostic>) -> EqlRule {
    match query {
        CheckedQuery::Event(checked) => EqlRule::Event(filter(checked, found)),
        CheckedQuery::Sequence { steps, maxspan, until } => EqlRule::Sequence {
            steps: steps.iter().map(|checked| step(checked, found)).collect(),
            maxspan: *maxspan,
            until: until.as_ref().map(|checked| step(checked, found)),
        },
        CheckedQuery::Sample { steps } => {
            EqlRule::Sample { steps: steps.iter().map(|checked| step(checked, found)).collect() }
        }
    }
}

fn step(step: &CheckedStep, found: &mut Vec<Diagnostic>) -> EqlStep {
    EqlStep {
        expr: filter(&step.filter, found),
        by: step.by.clone(),
        runs: step.runs,
        is_missing: step.is_missing,
    }
}

fn filter(filter: &CheckedFilter, found: &mut Vec<Diagnostic>) -> Expr {
    let expr = Expr::and([filter.category.clone(), predicate(&filter.condition)]);
    if expr == Expr::Const(false) {
        let span = filter.condition.span.clone();
        found.push(
            Diagnostic::warning(Code::NeverTrue, span, "no event can satisfy the condition")
                .with_help("a comparison with null or with an unknown optional field is never true"),
        );
    }
    expr
}

/// Where the node is true; null counts as false.
fn predicate(node: &Node) -> Expr {
    match &node.kind {
        Kind::Null | Kind::Field(None) => Expr::Const(false),
        Kind::Literal(literal) => Expr::Const(*literal == Literal::Bool(true)),
        Kind::Field(Some(field)) => Expr::equals(*field, Literal::Bool(true)),
        Kind::Call(..) => Expr::Holds(scalar(node)),
        Kind::Compare(Comparison::NotEqual, sides) => {
            Expr::negate(compare(Comparison::Equal, &sides.0, &sides.1))
        }
        Kind::Compare(comparison, sides) => compare(*comparison, &sides.0, &sides.1),
        Kind::Differs(operand, equal) => Expr::negate(test(operand, std::slice::from_ref(equal))),
        Kind::Test(operand, tests) => test(operand, tests),
        Kind::IsNull(operand) => is_null(operand),
        Kind::Not(operand) => Expr::negate(predicate(operand)),
        Kind::And(parts) => Expr::and(parts.iter().map(predicate)),
        Kind::Or(parts) => Expr::or(parts.iter().map(predicate)),
    }
}

fn compare(comparison: Comparison, left: &Node, right: &Node) -> Expr {
    Expr::Holds(Scalar::Compare(comparison, (scalar(left), scalar(right)).into()))
}

fn test(operand: &Node, tests: &[Test]) -> Expr {
    match &operand.kind {
        Kind::Field(None) | Kind::Null => Expr::Const(false),
        Kind::Field(Some(field)) => Expr::or(tests.iter().map(|test| Expr::Any(*field, test.clone()))),
        _ => {
            let operand = scalar(operand);
            Expr::or(tests.iter().map(|test| Expr::Holds(Scalar::Test(operand.clone().into(), test.clone()))))
        }
    }
}

fn is_null(operand: &Node) -> Expr {
    match &operand.kind {
        Kind::Null | Kind::Field(None) => Expr::Const(true),
        Kind::Literal(_) => Expr::Const(false),
        Kind::Field(Some(field)) => Expr::negate(Expr::Exists(*field)),
        _ => Expr::IsNull(scalar(operand)),
    }
}

/// The node's value. Comparisons keep their null here: `null == (exit_code > -1)` asks for it.
fn scalar(node: &Node) -> Scalar {
    match &node.kind {
        Kind::Null | Kind::Field(None) => Scalar::Null,
        Kind::Literal(literal) => Scalar::Literal(literal.clone()),
        Kind::Field(Some(field)) => Scalar::Field(*field),
        Kind::Call(function, args) => Scalar::Call(*function, args.iter().map(scalar).collect()),
        Kind::Compare(comparison, sides) => {
            Scalar::Compare(*comparison, (scalar(&sides.0), scalar(&sides.1)).into())
        }
        Kind::Test(operand, tests) => match tests.as_slice() {
            [test] => Scalar::Test(scalar(operand).into(), test.clone()),
            _ => Scalar::Is(predicate(node).into()),
        },
        Kind::Differs(..) | Kind::IsNull(_) | Kind::Not(_) | Kind::And(_) | Kind::Or(_) => {
            Scalar::Is(predicate(node).into())
        }
    }
}
