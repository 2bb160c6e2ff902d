//! An EQL tree with its names resolved and its types right. Only this stage makes a [`CheckedQuery`].

mod absent;
mod call;
mod condition;
mod steps;

use std::ops::Range;

use super::ast::{self, Query};
use crate::constant::Type;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Span;
use crate::expr::{Comparison, Expr, Function, Test};
use crate::literal::Literal;
use crate::plan::KeyPart;
use crate::schema::{FieldId, FieldType, Schema};

pub(super) enum CheckedQuery {
    Event(CheckedFilter),
    Sequence { steps: Vec<CheckedStep>, maxspan: Option<Span>, until: Option<CheckedStep> },
    Sample { steps: Vec<CheckedStep> },
}

pub(super) struct CheckedStep {
    pub(super) filter: CheckedFilter,
    /// The global keys first.
    pub(super) by: Vec<KeyPart>,
    pub(super) runs: std::num::NonZeroU32,
    pub(super) is_missing: bool,
}

pub(super) struct CheckedFilter {
    /// Compiled as it stands; categories need no checking.
    pub(super) category: Expr,
    /// A boolean.
    pub(super) condition: Node,
}

/// An expression that means something.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) ty: Type,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Literal(Literal),
    /// `None`: an optional field that does not exist, so always null.
    Field(Option<FieldId>),
    Call(Function, Vec<Node>),
    /// A computed value and a literal.
    Compare(Comparison, Box<(Node, Node)>),
    /// `field != literal`, by the test for equality.
    Differs(Box<Node>, Test),
    /// A value of the operand passes one of the tests.
    Test(Box<Node>, Vec<Test>),
    IsNull(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// `None` where an error leaves nothing to compile.
pub(super) fn check(
    query: &Query,
    schema: &mut Schema,
    category_field: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<CheckedQuery> {
    let is_whole = found.is_empty();
    let mut checker = Checker { schema, category_field, found, is_whole };
    match query {
        Query::Event(filter) => checker.filter(filter).map(CheckedQuery::Event),
        Query::Sequence(sequence) => checker.sequence(sequence),
        Query::Sample(sample) => checker.sample(sample),
    }
}

struct Checker<'a> {
    schema: &'a mut Schema,
    category_field: &'a str,
    found: &'a mut Vec<Diagnostic>,
    /// All of the text parsed: what seems to be missing is not just behind a syntax error.
    is_whole: bool,
}

impl Checker<'_> {
    fn filter(&mut self, filter: &ast::Filter) -> Option<CheckedFilter> {
        let category = self.category(filter);
        let condition = self.boolean(&filter.condition)?;
        absent::warn(&condition, self.schema, self.found);
        Some(CheckedFilter { category: category?, condition })
    }

    fn category(&mut self, filter: &ast::Filter) -> Option<Expr> {
        if filter.categories.is_empty() {
            return Some(Expr::Const(true));
        }
        let span = filter.condition.place.span();
        let field = self.field(self.category_field.to_owned().as_str(), span)?;
        let tests =
            filter.categories.iter().map(|name| Expr::equals(field, Literal::Text(name.as_str().into())));
        Some(Expr::or(tests))
    }

    fn field(&mut self, path: &str, span: Range<usize>) -> Option<FieldId> {
        match self.schema.resolve(path) {
            // Events carry the leaves only, so a test of the object would never hold.
            Ok(field) if self.schema.field(field).kind == FieldType::Flattened => {
                let help = format!("name a field of it, as in `{path}.name`");
                self.report(Code::ObjectField, &span, &format!("\"{path}\" is an object"), &help);
                None
            }
            Ok(field) => Some(field),
            Err(unknown) => {
                let help = match unknown.suggestion {
                    Some(suggestion) => format!("did you mean \"{suggestion}\"?"),
                    None => format!("write `?{path}` if events without the field are no mistake"),
                };
                self.found.push(
                    Diagnostic::error(Code::UnknownField, span, format!("no field is called \"{path}\""))
                        .with_label("not in the field table")
                        .with_help(help),
                );
                None
            }
        }
    }

    /// Always false, so that a caller can note that something is wrong.
    fn report(&mut self, code: Code, span: &Range<usize>, message: &str, help: &str) -> bool {
        self.found.push(Diagnostic::error(code, span.clone(), message).with_help(help));
        false
    }

    fn type_of(&self, field: FieldId) -> Type {
        Type::of(self.schema.field(field).kind)
    }
}
