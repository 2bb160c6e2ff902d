//! Calls: each function with arguments of its types, folded where all are constant.

use std::ops::Range;

use super::super::ast;
use super::super::functions::{self, Meaning, Param, Signature};
use super::condition::is_constant;
use super::{Checker, Kind, Node};
use crate::constant::Type;
use crate::diagnostic::{Code, Diagnostic};
use crate::eval;
use crate::expr::{Function, Test};
use crate::literal::Literal;
use crate::pattern::Case;
use crate::pattern::cidr::{CidrSet, parse_net};
use crate::pattern::regex::Regex;
use crate::pattern::wildcard::{Wildcard, pieces};

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        name: &str,
        is_folded: bool,
        args: &[ast::Expr],
        span: Range<usize>,
    ) -> Option<Node> {
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
        let bounds = *self.schema.bounds();
        match signature.meaning {
            Meaning::Scalar(function) => Some(fold(function, args, signature.result, span)),
            Meaning::Text(function) => {
                Some(text_function(function(case), args, signature.result, case, span))
            }
            Meaning::CidrMatch => self.patterns(args, span, |text, _| match parse_net(text) {
                Some(net) => Ok(Test::Cidr(CidrSet::new(vec![net]))),
                None => Err((Code::BadAddress, format!("{text:?} is no network"))),
            }),
            Meaning::Wildcard => self.patterns(args, span, |text, _| {
                let pattern = Wildcard::new(pieces(text), case);
                match bounds.too_wild(pattern.n_wildcards()) {
                    None => Ok(Test::wildcard(pattern)),
                    Some(message) => Err((Code::BadPattern, message)),
                }
            }),
            Meaning::Match => {
                self.patterns(args, span, |text, _| match Regex::bounded(text, case, &bounds) {
                    Ok(regex) => Ok(Test::Regex(regex)),
                    Err(err) => Err((Code::BadPattern, err.to_string())),
                })
            }
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

    pub(super) fn demand(&mut self, arg: &Node, param: Param, taker: &str) -> bool {
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
pub(super) fn fold(function: Function, args: Vec<Node>, ty: Type, span: Range<usize>) -> Node {
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
