//! A KQL tree to a predicate: fields resolved, values read as their field's type.

use std::ops::Range;

use super::ast::{Kind, Node, RangeComparison, Value, Values};
use crate::constant::{self, Type};
use crate::diagnostic::{Code, Diagnostic};
use crate::expr::{Comparison, Expr, Test};
use crate::free_text::{self, Words, is_free_text};
use crate::literal::{Literal, Number};
use crate::pattern::Case;
use crate::pattern::set::TextSet;
use crate::pattern::wildcard::{Piece, Wildcard};
use crate::schema::{FieldId, FieldType, Schema};

/// A value without a field is looked for in each of them.
const MAX_TESTS: usize = 100_000;

/// `None` where an error leaves nothing to evaluate.
pub(super) fn compile(query: &Node, schema: &mut Schema, found: &mut Vec<Diagnostic>) -> Option<Expr> {
    Compiler { schema, found, prefix: String::new(), n_tests: 0 }.node(query)
}

struct Compiler<'a> {
    schema: &'a mut Schema,
    found: &'a mut Vec<Diagnostic>,
    /// Of the fields inside `field: { ... }`, with its dot.
    prefix: String,
    /// Of values in many fields.
    n_tests: usize,
}

/// The fields that a name stands for.
enum Fields {
    One(FieldId),
    /// A wildcard: fields of another type than the value's are passed over.
    Many(Vec<FieldId>),
}

impl Compiler<'_> {
    fn node(&mut self, node: &Node) -> Option<Expr> {
        match &node.kind {
            Kind::All => Some(Expr::Const(true)),
            Kind::Invalid => None,
            Kind::Or(parts) => self.nodes(parts).map(Expr::or),
            Kind::And(parts) => self.nodes(parts).map(Expr::and),
            Kind::Not(part) => self.node(part).map(Expr::negate),
            Kind::Is { field, values } => self.is(field, values),
            Kind::Range { field, comparison, value } => self.range(field, *comparison, value),
            Kind::Nested { field, query } => self.nested(field, query),
            Kind::Bare(value) => self.bare(value),
        }
    }

    /// All parts are looked at, so that the faults of each are found.
    fn nodes(&mut self, parts: &[Node]) -> Option<Vec<Expr>> {
        let compiled: Vec<Option<Expr>> = parts.iter().map(|part| self.node(part)).collect();
        compiled.into_iter().collect()
    }

    fn is(&mut self, field: &Value, values: &Values) -> Option<Expr> {
        if field.is_anything() && self.prefix.is_empty() {
            return match values {
                Values::One(value) if value.is_anything() => Some(Expr::Const(true)),
                values => self.over_fields(values, &self.text_fields()),
            };
        }
        match self.fields(field)? {
            Fields::One(id) => {
                let is_free = field.as_text().is_some_and(is_free_text);
                self.values(id, is_free, values)
            }
            Fields::Many(fields) => self.over_fields(values, &fields),
        }
    }

    /// Each value may be in any of the fields.
    fn over_fields(&mut self, values: &Values, fields: &[FieldId]) -> Option<Expr> {
        Some(match values {
            Values::One(value) => {
                self.n_tests += fields.len();
                if self.n_tests > MAX_TESTS {
                    let message =
                        format!("the query looks for values in more than {MAX_TESTS} fields in all");
                    let help = "name the fields that are meant";
                    return self.report(Code::TooLong, &value.span, &message, help);
                }
                let mut tests = Vec::with_capacity(fields.len());
                for field in fields {
                    let is_free = is_free_text(&self.schema.field(*field).path);
                    match self.value(*field, is_free, value) {
                        Ok(test) => tests.push(test),
                        // Of another type than the value's.
                        Err(found) if found.code != Code::BadPattern => {}
                        Err(found) => {
                            self.found.push(found);
                            return None;
                        }
                    }
                }
                Expr::or(tests)
            }
            Values::Or(parts) => Expr::or(self.each(parts, |this, part| this.over_fields(part, fields))?),
            Values::And(parts) => Expr::and(self.each(parts, |this, part| this.over_fields(part, fields))?),
            Values::Not(part) => Expr::negate(self.over_fields(part, fields)?),
        })
    }

    fn values(&mut self, field: FieldId, is_free: bool, values: &Values) -> Option<Expr> {
        Some(match values {
            Values::One(value) => match self.value(field, is_free, value) {
                Ok(expr) => expr,
                Err(found) => {
                    self.found.push(found);
                    return None;
                }
            },
            Values::Or(parts) => {
                joined(field, self.each(parts, |this, part| this.values(field, is_free, part))?)
            }
            Values::And(parts) => {
                Expr::and(self.each(parts, |this, part| this.values(field, is_free, part))?)
            }
            Values::Not(part) => Expr::negate(self.values(field, is_free, part)?),
        })
    }

    fn each(
        &mut self,
        parts: &[Values],
        mut compile: impl FnMut(&mut Self, &Values) -> Option<Expr>,
    ) -> Option<Vec<Expr>> {
        let compiled: Vec<Option<Expr>> = parts.iter().map(|part| compile(self, part)).collect();
        compiled.into_iter().collect()
    }

    fn value(&self, field: FieldId, is_free: bool, value: &Value) -> Result<Expr, Diagnostic> {
        if value.is_anything() {
            return Ok(Expr::Exists(field));
        }
        if is_free {
            return self.in_free_text(field, value);
        }
        let ty = self.type_of(field);
        match value.as_text() {
            Some(text) => {
                let literal = Literal::Text(text.into());
                constant::compare(ty, Comparison::Equal, &literal, Case::Sensitive, value.span.clone())
                    .map(|test| Expr::Any(field, test))
            }
            None if ty == Type::Text => {
                let pattern = Wildcard::new(value.pieces.clone(), Case::Sensitive);
                match self.schema.bounds().too_wild(pattern.n_wildcards()) {
                    None => Ok(Expr::Any(field, Test::wildcard(pattern))),
                    Some(message) => Err(Diagnostic::error(Code::BadPattern, value.span.clone(), message)),
                }
            }
            None => {
                let help = match ty {
                    Type::Ip => "write the network, as in `source.ip: \"10.0.0.0/8\"`",
                    _ => "write a range, as in `process.pid >= 10 and process.pid < 20`",
                };
                let message = format!("{} takes no wildcard", ty.as_str());
                Err(Diagnostic::error(Code::WrongType, value.span.clone(), message).with_help(help))
            }
        }
    }

    /// A text is its words, a wildcard is for one of them or for the whole.
    fn in_free_text(&self, field: FieldId, value: &Value) -> Result<Expr, Diagnostic> {
        let bounds = self.schema.bounds();
        let bad = |message: String| Diagnostic::error(Code::BadPattern, value.span.clone(), message);
        if let Some(text) = value.as_text() {
            let how = if value.is_quoted { Words::Phrase } else { Words::Any };
            return free_text::test(field, text, how, bounds).map_err(|error| bad(error.to_string()));
        }
        let whole = Wildcard::new(value.pieces.clone(), Case::Folded);
        if let Some(message) = bounds.too_wild(whole.n_wildcards()) {
            return Err(bad(message));
        }
        let whole = Expr::Any(field, Test::wildcard(whole));
        let word = free_text::word(field, &value.pieces, bounds).map_err(|error| bad(error.to_string()))?;
        Ok(Expr::or([whole].into_iter().chain(word)))
    }

    fn range(&mut self, field: &Value, comparison: RangeComparison, value: &Value) -> Option<Expr> {
        let fields = self.fields(field);
        let Some(text) = value.as_text() else {
            let help = "write the bound itself; `field: *` tests for presence";
            return self.report(Code::WrongType, &value.span, "a range takes no wildcard", help);
        };
        let (comparison, literal) = (comparison_of(comparison), Literal::Text(text.into()));
        let compare = |ty| constant::compare(ty, comparison, &literal, Case::Sensitive, value.span.clone());
        match fields? {
            Fields::One(field) => {
                let ty = self.type_of(field);
                if ty == Type::Text && Number::parse(text).is_some() {
                    let path = &self.schema.field(field).path;
                    let message =
                        format!("\"{path}\" holds texts, which order by character: \"9\" is above \"10\"");
                    let found = Diagnostic::warning(Code::WrongType, value.span.clone(), message);
                    self.found
                        .push(found.with_help("use EQL, as in `number(user.id) < 1000`, to compare numbers"));
                }
                match compare(ty) {
                    Ok(test) => Some(Expr::Any(field, test)),
                    Err(found) => {
                        self.found.push(found);
                        None
                    }
                }
            }
            Fields::Many(fields) => {
                let tests = fields
                    .into_iter()
                    .filter_map(|field| compare(self.type_of(field)).ok().map(|test| Expr::Any(field, test)));
                Some(Expr::or(tests.collect::<Vec<_>>()))
            }
        }
    }

    fn nested(&mut self, field: &Value, query: &Node) -> Option<Expr> {
        let Some(name) = field.as_text() else {
            let help = "name the object itself";
            return self.report(Code::UnknownField, &field.span, "an object's name takes no wildcard", help);
        };
        let outer = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        let expr = self.node(query);
        self.prefix.truncate(outer);
        expr
    }

    /// Any text field may hold it.
    fn bare(&mut self, value: &Value) -> Option<Expr> {
        if value.is_anything() {
            return Some(Expr::Const(true));
        }
        let fields = self.text_fields();
        self.over_fields(&Values::One(value.clone()), &fields)
    }

    fn text_fields(&self) -> Vec<FieldId> {
        self.schema
            .iter()
            .filter(|(_, field)| Type::of(field.kind) == Type::Text && field.path.starts_with(&self.prefix))
            .map(|(id, _)| id)
            .collect()
    }

    fn fields(&mut self, name: &Value) -> Option<Fields> {
        match name.as_text() {
            Some(text) => self.field(&format!("{}{text}", self.prefix), &name.span).map(Fields::One),
            None => {
                let mut pieces = vec![Piece::Text(self.prefix.clone())];
                pieces.extend(name.pieces.iter().cloned());
                let pattern = Wildcard::new(pieces, Case::Sensitive);
                let fields: Vec<FieldId> = self
                    .schema
                    .iter()
                    .filter(|(_, field)| pattern.is_match(&field.path))
                    .map(|(id, _)| id)
                    .collect();
                if fields.is_empty() && self.schema.is_open_below(&pattern.to_string()) {
                    let message = format!("no rule names a field like \"{pattern}\": this matches nothing");
                    let diagnostic = Diagnostic::warning(Code::UnknownField, name.span.clone(), message);
                    self.found.push(diagnostic.with_help("name the fields that are meant"));
                    return Some(Fields::Many(fields));
                }
                if fields.is_empty() {
                    let message = format!("no field matches \"{pattern}\"");
                    return self.report(
                        Code::UnknownField,
                        &name.span,
                        &message,
                        "name a field of the table",
                    );
                }
                Some(Fields::Many(fields))
            }
        }
    }

    fn field(&mut self, path: &str, span: &Range<usize>) -> Option<FieldId> {
        match self.schema.resolve(path) {
            // Events carry the leaves only, so a test of the object would never hold.
            Ok(field) if self.schema.field(field).kind == FieldType::Flattened => {
                let help = format!("name a field of it, as in `{path}.name`");
                self.report(Code::ObjectField, span, &format!("\"{path}\" is an object"), &help)
            }
            Ok(field) => Some(field),
            Err(unknown) => {
                let found = Diagnostic::error(
                    Code::UnknownField,
                    span.clone(),
                    format!("no field is called \"{path}\""),
                )
                .with_label("not in the field table");
                self.found.push(match unknown.suggestion {
                    Some(suggestion) => found.with_help(format!("did you mean \"{suggestion}\"?")),
                    None => found,
                });
                None
            }
        }
    }

    fn type_of(&self, field: FieldId) -> Type {
        Type::of(self.schema.field(field).kind)
    }

    fn report<T>(&mut self, code: Code, span: &Range<usize>, message: &str, help: &str) -> Option<T> {
        self.found.push(Diagnostic::error(code, span.clone(), message).with_help(help));
        None
    }
}

/// One of the tests passes. Exact texts of the field become one set.
fn joined(field: FieldId, parts: Vec<Expr>) -> Expr {
    let (mut texts, mut rest) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Expr::Any(_, Test::Equals(Literal::Text(text))) => texts.push(text),
            part => rest.push(part),
        }
    }
    let test = match texts.as_slice() {
        [] => None,
        [text] => Some(Test::text(text, Case::Sensitive)),
        texts => Some(Test::In(TextSet::new(texts, Case::Sensitive))),
    };
    Expr::or(test.map(|test| Expr::Any(field, test)).into_iter().chain(rest))
}

fn comparison_of(comparison: RangeComparison) -> Comparison {
    match comparison {
        RangeComparison::Less => Comparison::Less,
        RangeComparison::LessOrEqual => Comparison::LessOrEqual,
        RangeComparison::Greater => Comparison::Greater,
        RangeComparison::GreaterOrEqual => Comparison::GreaterOrEqual,
    }
}
