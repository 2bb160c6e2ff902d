//! Conditions: every comparison, test and call with its types.

use std::ops::Range;

use super::super::ast::{self, Arithmetic, Compare, ExprKind, Match, Matcher};
use super::super::functions::{self, Meaning, Param, Signature};
use super::{Checker, Kind, Node};
use crate::constant::{self, Type};
use crate::diagnostic::{Code, Diagnostic};
use crate::eval;
use crate::expr::{Comparison, Function, Test};
use crate::literal::{FloatBits, Literal};
use crate::pattern::Case;
use crate::pattern::cidr::{CidrSet, parse_net};
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

    fn nodes<'a>(&mut self, parts: impl IntoIterator<Item = &'a ast::Expr>) -> Option<Vec<Node>> {
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
                    wildcard(operand.ty, operator, literal, case, span.clone())
                }
                Matcher::Regex | Matcher::RegexFolded => regex(operand.ty, literal, case, span.clone()),
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

    fn call(&mut self, name: &str, is_folded: bool, args: &[ast::Expr], span: Range<usize>) -> Option<Node> {
        let name_span = span.start..span.start + name.len();
        let Some(signature) = functions::find(name) else {
            let help = match (functions::replacement(name), functions::suggest(name)) {
                (Some(replacement), _) => replacement.to_owned(),
                (None, Some(known)) => format!("did you mean `{known}`?"),
                (None, None) => "the functions are listed in docs/rule-language.md".to_owned(),
            };
            self.report(Code::UnknownFunction, &name_span, &format!("no function is called `{name}`"), &help);
            return None;
        };
        if is_folded && !signature.takes_tilde() {
            let message = format!("`{}` has no variant without case", signature.name);
            self.report(Code::UnknownFunction, &name_span, &message, "leave out the `~`");
            return None;
        }
        let case = if is_folded { Case::Folded } else { Case::Sensitive };
        let args = self.nodes(args)?;
        self.fits(signature, &args, &span).then_some(())?;
        match signature.meaning {
            Meaning::Scalar(function) => Some(fold(function, args, signature.result, span)),
            Meaning::Text(function) => {
                Some(text_function(function(case), args, signature.result, case, span))
            }
            Meaning::CidrMatch => self.patterns(args, span, |text, _| match parse_net(text) {
                Some(net) => Ok(Test::Cidr(CidrSet::new(vec![net]))),
                None => Err((Code::BadAddress, format!("{text:?} is no network"))),
            }),
            Meaning::Wildcard => {
                self.patterns(args, span, |text, _| Ok(Test::wildcard(Wildcard::new(pieces(text), case))))
            }
            Meaning::Match => self.patterns(args, span, |text, _| match Regex::new(text, case) {
                Ok(regex) => Ok(Test::Regex(regex)),
                Err(err) => Err((Code::BadPattern, err.to_string())),
            }),
        }
    }

    /// A call whose first argument is tested against the constants that follow.
    fn patterns(
        &mut self,
        args: Vec<Node>,
        span: Range<usize>,
        compile: impl Fn(&str, &Range<usize>) -> Result<Test, (Code, String)>,
    ) -> Option<Node> {
        let mut args = args.into_iter();
        let operand = args.next()?;
        let (mut tests, mut nets, mut is_right) = (Vec::new(), Vec::new(), true);
        for arg in args {
            let Kind::Literal(Literal::Text(text)) = &arg.kind else {
                let help = "write the pattern itself, in quotes";
                is_right = self.report(Code::WrongArguments, &arg.span, "patterns are constant texts", help);
                continue;
            };
            match compile(text, &arg.span) {
                Ok(Test::Cidr(set)) => nets.extend_from_slice(set.nets()),
                Ok(test) => tests.push(test),
                Err((code, message)) => {
                    self.found.push(Diagnostic::error(code, arg.span.clone(), message));
                    is_right = false;
                }
            }
        }
        if !nets.is_empty() {
            tests.push(Test::Cidr(CidrSet::new(nets)));
        }
        is_right.then(|| Node { kind: Kind::Test(operand.into(), tests), ty: Type::Boolean, span })
    }

    fn fits(&mut self, signature: &Signature, args: &[Node], span: &Range<usize>) -> bool {
        let max = if signature.is_variadic { usize::MAX } else { signature.params.len() };
        if !(signature.n_required..=max).contains(&args.len()) {
            let takes = match (signature.n_required, max) {
                (least, usize::MAX) => format!("{least} or more"),
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            let message = format!("`{}` takes {takes} arguments, not {}", signature.name, args.len());
            return self.report(Code::WrongArguments, span, &message, "see docs/rule-language.md");
        }
        let mut is_right = true;
        for (idx, arg) in args.iter().enumerate() {
            let param = signature.params[idx.min(signature.params.len() - 1)];
            is_right &= self.demand(arg, param, &format!("`{}`", signature.name));
        }
        is_right
    }

    fn demand(&mut self, arg: &Node, param: Param, taker: &str) -> bool {
        let (fits, wanted, help) = match param {
            Param::Any => (true, "", ""),
            Param::Text => (
                matches!(arg.ty, Type::Text | Type::Ip | Type::Date | Type::Null),
                "a text",
                "convert it, as in `string(process.pid)`",
            ),
            Param::Number => (
                matches!(arg.ty, Type::Number | Type::Null),
                "a number",
                "convert it, as in `number(user.id)`",
            ),
            Param::Boolean => {
                (matches!(arg.ty, Type::Boolean | Type::Null), "a boolean", "write `true` or `false`")
            }
            Param::Address => (
                matches!(arg.ty, Type::Ip | Type::Text | Type::Null),
                "an IP address",
                "name a field such as `source.ip`",
            ),
        };
        if !fits {
            let message = format!("{taker} takes {wanted}, not {}", arg.ty.as_str());
            self.report(Code::WrongType, &arg.span, &message, help);
        }
        fits
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
) -> Result<Test, Diagnostic> {
    let has_wildcard = matches!(literal, Literal::Text(text) if text.contains(['*', '?']));
    match (ty, literal) {
        (Type::Text | Type::Null, Literal::Text(text)) => {
            Ok(Test::wildcard(Wildcard::new(pieces(text), case)))
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

fn regex(ty: Type, literal: &Literal, case: Case, span: Range<usize>) -> Result<Test, Diagnostic> {
    let Literal::Text(text) = literal else {
        return Err(
            Diagnostic::error(Code::BadPattern, span, "a pattern is a text").with_help("put it in quotes")
        );
    };
    if !matches!(ty, Type::Text | Type::Null) {
        let message = format!("`regex` matches texts, not {}", ty.as_str());
        return Err(Diagnostic::error(Code::WrongType, span, message).with_help("`string(...)` makes a text"));
    }
    match Regex::new(text, case) {
        Ok(regex) => Ok(Test::Regex(regex)),
        Err(err) => Err(Diagnostic::error(Code::BadPattern, span, err.to_string())
            .with_help("expressions are Lucene's: anchored at both ends, `^` and `$` are plain characters")),
    }
}

/// `startsWith(field, "x")` and its kin are tests of the field; with two fields they are calls.
fn text_function(function: Function, args: Vec<Node>, result: Type, case: Case, span: Range<usize>) -> Node {
    let pattern = match args.as_slice() {
        [operand, Node { kind: Kind::Literal(Literal::Text(text)), .. }] if !is_constant(operand) => {
            match function {
                Function::StartsWith(_) => Some(Wildcard::prefix(text, case)),
                Function::EndsWith(_) => Some(Wildcard::suffix(text, case)),
                Function::Contains(_) => Some(Wildcard::contains(text, case)),
                _ => None,
            }
        }
        _ => None,
    };
    match (pattern, args.into_iter()) {
        (Some(pattern), mut args) => {
            let operand = args.next().map(Box::new);
            let Some(operand) = operand else { return Node { kind: Kind::Null, ty: Type::Null, span } };
            Node { kind: Kind::Test(operand, vec![Test::wildcard(pattern)]), ty: result, span }
        }
        (None, args) => fold(function, args.collect(), result, span),
    }
}

/// The call, or its value where all arguments are constant.
fn fold(function: Function, args: Vec<Node>, ty: Type, span: Range<usize>) -> Node {
    let literals: Option<Vec<&Literal>> = args
        .iter()
        .map(|arg| match &arg.kind {
            Kind::Literal(literal) => Some(literal),
            _ => None,
        })
        .collect();
    let kind = match literals {
        Some(literals) => match eval::constant(function, &literals) {
            Some(literal) => Kind::Literal(literal),
            None => Kind::Null,
        },
        None => Kind::Call(function, args),
    };
    Node { ty: if matches!(kind, Kind::Null) { Type::Null } else { ty }, kind, span }
}

fn negation(operand: Node, span: Range<usize>) -> Node {
    Node { kind: Kind::Not(operand.into()), ty: Type::Boolean, span }
}

fn is_constant(node: &Node) -> bool {
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
