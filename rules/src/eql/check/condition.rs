//! Conditions: every comparison and test with its types.

use std::ops::Range;

use super::super::ast::{self, Arithmetic, Compare, ExprKind, Match, Matcher};
use super::super::functions::Param;
use super::call::fold;
use super::{Checker, Kind, Node};
use crate::bounds::Bounds;
use crate::constant::{self, Type};
use crate::diagnostic::{Code, Diagnostic};
use crate::eval;
use crate::expr::{Comparison, Function, Test};
use crate::literal::{FloatBits, Literal};
use crate::pattern::Case;
use crate::pattern::regex::Regex;
use crate::pattern::set::TextSet;
use crate::pattern::wildcard::{Wildcard, pieces};

impl Checker<'_> {
    /// A condition.
    pub(super) fn boolean(&mut self, expr: &ast::Expr) -> Option<Node> {
        let node = self.node(expr)?;
        if matches!(node.ty, Type::Boolean | Type::Null) {
            return Some(node);
        }
        let found =
            Diagnostic::error(Code::NotBoolean, node.span, format!("{} is no condition", node.ty.as_str()));
        self.found.push(found.with_help("compare it, as in `process.name == \"sh\"`, or test `!= null`"));
        None
    }

    fn node(&mut self, expr: &ast::Expr) -> Option<Node> {
        let span = expr.place.span();
        let literal = |literal, ty| Some(Node { kind: Kind::Literal(literal), ty, span: span.clone() });
        match &expr.kind {
            ExprKind::Invalid => None,
            ExprKind::Null => Some(Node { kind: Kind::Null, ty: Type::Null, span }),
            ExprKind::Bool(bool) => literal(Literal::Bool(*bool), Type::Boolean),
            ExprKind::Int(int) => literal(Literal::Int(*int), Type::Number),
            ExprKind::Float(float) => literal(Literal::Float(FloatBits::new(*float)), Type::Number),
            ExprKind::Text(text) => literal(Literal::Text(text.as_str().into()), Type::Text),
            ExprKind::Field { path, is_optional } => self.field_node(path, *is_optional, span),
            ExprKind::Call { name, is_folded, args } => self.call(name, *is_folded, args, span),
            ExprKind::Negate(operand) => self.arithmetic(Function::Negate, &[operand], span),
            ExprKind::Arithmetic(operator, left, right) => {
                self.arithmetic(function_of(*operator), &[left, right], span)
            }
            ExprKind::Compare(operator, left, right) => self.comparison(*operator, left, right, span),
            ExprKind::Match(test) => self.test(test, span),
            ExprKind::Not(operand) => {
                let operand = self.boolean(operand)?;
                Some(negation(operand, span))
            }
            ExprKind::And(parts) => {
                Some(Node { kind: Kind::And(self.booleans(parts)?), ty: Type::Boolean, span })
            }
            ExprKind::Or(parts) => {
                Some(Node { kind: Kind::Or(self.booleans(parts)?), ty: Type::Boolean, span })
            }
        }
    }

    /// All parts are looked at, so that the faults of each are found.
    fn booleans(&mut self, parts: &[ast::Expr]) -> Option<Vec<Node>> {
        let checked: Vec<Option<Node>> = parts.iter().map(|part| self.boolean(part)).collect();
        checked.into_iter().collect()
    }

    pub(super) fn nodes<'a>(&mut self, parts: impl IntoIterator<Item = &'a ast::Expr>) -> Option<Vec<Node>> {
        let checked: Vec<Option<Node>> = parts.into_iter().map(|part| self.node(part)).collect();
        checked.into_iter().collect()
    }

    fn field_node(&mut self, path: &str, is_optional: bool, span: Range<usize>) -> Option<Node> {
        if is_optional && self.schema.resolve(path).is_err() {
            return Some(Node { kind: Kind::Field(None), ty: Type::Null, span });
        }
        let field = self.field(path, span.clone())?;
        Some(Node { kind: Kind::Field(Some(field)), ty: self.type_of(field), span })
    }

    fn arithmetic(
        &mut self,
        function: Function,
        operands: &[&ast::Expr],
        span: Range<usize>,
    ) -> Option<Node> {
        let operands = self.nodes(operands.iter().copied())?;
        let mut is_right = true;
        for operand in &operands {
            is_right &= self.demand(operand, Param::Number, "arithmetic");
        }
        is_right.then(|| fold(function, operands, Type::Number, span))
    }

    fn comparison(
        &mut self,
        operator: Compare,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Range<usize>,
    ) -> Option<Node> {
        let sides = self.nodes([left, right])?;
        let [left, right] = <[Node; 2]>::try_from(sides).ok()?;
        let operator = comparison_of(operator);
        // The constant goes to the right.
        let (operator, left, right) = match is_constant(&left) && !is_constant(&right) {
            true => (flipped(operator), right, left),
            false => (operator, left, right),
        };
        if matches!(right.kind, Kind::Null) {
            return self.null_comparison(operator, left, right.span, span);
        }
        let Kind::Literal(literal) = &right.kind else {
            let found = Diagnostic::error(Code::FieldToField, span, "two fields cannot be compared with each other")
                .with_help("compare with a constant; to join events by fields of their own, use `sequence [...] by a [...] by b`; inside one event, `startsWith(a, b)` and its kin take fields");
            self.found.push(found);
            return None;
        };
        let node = |kind| Some(Node { kind, ty: Type::Boolean, span: span.clone() });
        if let Kind::Literal(left) = &left.kind {
            let holds =
                eval::compare_literals(operator, left, literal).unwrap_or(operator == Comparison::NotEqual);
            return node(Kind::Literal(Literal::Bool(holds)));
        }
        if let (Literal::Text(text), Comparison::Equal | Comparison::NotEqual) = (literal, operator) {
            self.warn_of_wildcard(text, &right.span, if operator == Comparison::Equal { "==" } else { "!=" });
        }
        let test = match constant::compare(left.ty, operator, literal, Case::Sensitive, right.span.clone()) {
            Ok(test) => test,
            Err(found) => {
                self.found.push(found);
                return None;
            }
        };
        node(match (&left.kind, operator) {
            (Kind::Field(_), Comparison::NotEqual) => Kind::Differs(left.into(), test),
            (Kind::Field(_), _) => Kind::Test(left.into(), vec![test]),
            // A field's test reads its value as the field's type; any other value has its type already.
            _ => Kind::Compare(operator, (left, right).into()),
        })
    }

    fn null_comparison(
        &mut self,
        operator: Comparison,
        operand: Node,
        null: Range<usize>,
        span: Range<usize>,
    ) -> Option<Node> {
        let is_null = Node { kind: Kind::IsNull(operand.into()), ty: Type::Boolean, span: span.clone() };
        match operator {
            Comparison::Equal => Some(is_null),
            Comparison::NotEqual => Some(negation(is_null, span)),
            _ => {
                let found = Diagnostic::error(Code::NullValue, null, "null has no order");
                self.found
                    .push(found.with_help("test for presence with `!= null`, for absence with `== null`"));
                None
            }
        }
    }

    fn test(&mut self, test: &Match, span: Range<usize>) -> Option<Node> {
        let operand = self.node(&test.operand);
        let values = self.nodes(&test.values);
        let (operand, values) = (operand?, values?);
        let mut constants = Vec::with_capacity(values.len());
        let mut is_right = true;
        for value in &values {
            match &value.kind {
                Kind::Literal(literal) => constants.push((literal, value.span.clone())),
                Kind::Null => {
                    is_right = self.report(
                        Code::NullValue,
                        &value.span,
                        "a list holds no null",
                        "test for absence with `== null`",
                    )
                }
                _ => is_right = self.report(
                    Code::FieldToField,
                    &value.span,
                    &format!("`{}` takes constants only", test.operator.as_str()),
                    "write the value itself; `startsWith(a, b)` and its kin compare fields with each other",
                ),
            }
        }
        if constants.is_empty() && is_right {
            let place = test.operator_place.span();
            is_right =
                self.report(Code::WrongArguments, &place, "the list is empty", "write at least one value");
        }
        let tests = self.tests(&operand, test.operator, &constants);
        let tests = is_right.then_some(tests)??;
        let node = Node { kind: Kind::Test(operand.into(), tests), ty: Type::Boolean, span: span.clone() };
        Some(if test.is_negated { negation(node, span) } else { node })
    }

    fn tests(
        &mut self,
        operand: &Node,
        operator: Matcher,
        constants: &[(&Literal, Range<usize>)],
    ) -> Option<Vec<Test>> {
        let case = match operator {
            Matcher::In | Matcher::Like | Matcher::Regex => Case::Sensitive,
            Matcher::Colon | Matcher::InFolded | Matcher::LikeFolded | Matcher::RegexFolded => Case::Folded,
        };
        let mut tests = Vec::with_capacity(constants.len());
        let mut texts = Vec::new();
        let mut is_right = true;
        for (literal, span) in constants {
            let test = match operator {
                Matcher::In | Matcher::InFolded => {
                    if let Literal::Text(text) = literal {
                        self.warn_of_wildcard(text, span, operator.as_str());
                    }
                    constant::compare(operand.ty, Comparison::Equal, literal, case, span.clone())
                }
                Matcher::Colon | Matcher::Like | Matcher::LikeFolded => {
                    wildcard(operand.ty, operator, literal, case, span.clone(), self.schema.bounds())
                }
                Matcher::Regex | Matcher::RegexFolded => {
                    regex(operand.ty, literal, case, span.clone(), self.schema.bounds())
                }
            };
            match test {
                Ok(Test::Equals(Literal::Text(text))) => texts.push(text),
                Ok(Test::In(set)) => texts.extend(set.items().iter().cloned()),
                Ok(test) => tests.push(test),
                Err(found) => {
                    self.found.push(found);
                    is_right = false;
                }
            }
        }
        match texts.as_slice() {
            [] => {}
            [text] => tests.insert(0, Test::text(text, case)),
            texts => tests.insert(0, Test::In(TextSet::new(texts, case))),
        }
        is_right.then_some(tests)
    }

    fn warn_of_wildcard(&mut self, text: &str, span: &Range<usize>, operator: &str) {
        if text.contains('*') {
            let found = Diagnostic::warning(
                Code::LiteralWildcard,
                span.clone(),
                format!("`{operator}` takes `*` literally"),
            );
            self.found.push(found.with_help("write `like`, or `:` to ignore case, if it is a wildcard"));
        }
    }
}

fn wildcard(
    ty: Type,
    operator: Matcher,
    literal: &Literal,
    case: Case,
    span: Range<usize>,
    bounds: &Bounds,
) -> Result<Test, Diagnostic> {
    let has_wildcard = matches!(literal, Literal::Text(text) if text.contains(['*', '?']));
    match (ty, literal) {
        (Type::Text | Type::Null, Literal::Text(text)) => {
            let pattern = Wildcard::new(pieces(text), case);
            match bounds.too_wild(pattern.n_wildcards()) {
                None => Ok(Test::wildcard(pattern)),
                Some(message) => Err(Diagnostic::error(Code::BadPattern, span, message)),
            }
        }
        (Type::Ip, _) if has_wildcard => {
            Err(Diagnostic::error(Code::WrongType, span, "an IP address takes no wildcard")
                .with_help("write the network: `cidrMatch(source.ip, \"10.0.0.0/8\")`"))
        }
        (_, _) if has_wildcard => Err(Diagnostic::error(
            Code::WrongType,
            span,
            format!("`{}` matches texts, not {}", operator.as_str(), ty.as_str()),
        )
        .with_help("compare with `==` or a range; `string(...)` makes a text")),
        _ => constant::compare(ty, Comparison::Equal, literal, case, span),
    }
}

fn regex(
    ty: Type,
    literal: &Literal,
    case: Case,
    span: Range<usize>,
    bounds: &Bounds,
) -> Result<Test, Diagnostic> {
    let Literal::Text(text) = literal else {
        return Err(
            Diagnostic::error(Code::BadPattern, span, "a pattern is a text").with_help("put it in quotes")
        );
    };
    if !matches!(ty, Type::Text | Type::Null) {
        let message = format!("`regex` matches texts, not {}", ty.as_str());
        return Err(Diagnostic::error(Code::WrongType, span, message).with_help("`string(...)` makes a text"));
    }
    match Regex::bounded(text, case, bounds) {
        Ok(regex) => Ok(Test::Regex(regex)),
        Err(err) => Err(Diagnostic::error(Code::BadPattern, span, err.to_string())
            .with_help("expressions are Lucene's: anchored at both ends, `^` and `$` are plain characters")),
    }
}

fn negation(operand: Node, span: Range<usize>) -> Node {
    Node { kind: Kind::Not(operand.into()), ty: Type::Boolean, span }
}

pub(super) fn is_constant(node: &Node) -> bool {
    matches!(node.kind, Kind::Null | Kind::Literal(_))
}

fn function_of(operator: Arithmetic) -> Function {
    match operator {
        Arithmetic::Add => Function::Add,
        Arithmetic::Subtract => Function::Subtract,
        Arithmetic::Multiply => Function::Multiply,
        Arithmetic::Divide => Function::Divide,
        Arithmetic::Modulo => Function::Modulo,
    }
}

fn comparison_of(operator: Compare) -> Comparison {
    match operator {
        Compare::Equal => Comparison::Equal,
        Compare::NotEqual => Comparison::NotEqual,
        Compare::Less => Comparison::Less,
        Compare::LessOrEqual => Comparison::LessOrEqual,
        Compare::Greater => Comparison::Greater,
        Compare::GreaterOrEqual => Comparison::GreaterOrEqual,
    }
}

fn flipped(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}
