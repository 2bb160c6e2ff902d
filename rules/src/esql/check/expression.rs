//! Types of expressions.

use std::ops::Range;

use ipnet::IpNet;

use super::super::aggregate::{self, Aggregate, Extra};
use super::super::ast::{Binary, Expr, Name, Node, Pattern};
use super::super::function::{self, Function, Gives, Param};
use super::super::ir::{Comparison, Ir, Operator};
use super::super::value::Type;
use super::{Checker, Typed};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Span;
use crate::expr;
use crate::free_text::{self, Words};
use crate::kql;
use crate::literal::{FloatBits, Literal, parse_date, parse_ip};
use crate::pattern::Case;
use crate::pattern::cidr::{CidrSet, parse_net};
use crate::pattern::regex::Regex;
use crate::pattern::wildcard::{Piece, Wildcard};

impl Checker<'_> {
    /// An expression that is true, false or null.
    pub(super) fn condition(&mut self, expr: &Expr) -> Option<Ir> {
        let typed = self.expr(expr)?;
        match typed.kind {
            Type::Bool | Type::Null => Some(typed.ir),
            kind => {
                let message = format!("a condition is meant here, and this is a {}", kind.name());
                self.report(Diagnostic::error(Code::NotBoolean, expr.span.clone(), message))
            }
        }
    }

    pub(super) fn expr(&mut self, expr: &Expr) -> Option<Typed> {
        let typed = |ir, kind| Some(Typed { ir, kind });
        let literal = |literal, kind| typed(Ir::Literal(literal), kind);
        match &expr.node {
            Node::Null => typed(Ir::Null, Type::Null),
            Node::Bool(bool) => literal(Literal::Bool(*bool), Type::Bool),
            Node::Int(int) => literal(Literal::Int(*int), Type::Long),
            Node::Float(float) => literal(Literal::Float(FloatBits::new(*float)), Type::Double),
            Node::Text(text) => literal(Literal::Text(text.as_str().into()), Type::Text),
            Node::Duration(nanos) => literal(Literal::Int(*nanos), Type::Duration),
            Node::Star => {
                let message = "* stands only in COUNT(*)";
                self.report(Diagnostic::error(Code::Syntax, expr.span.clone(), message))
            }
            Node::Column(name) => {
                let column = self.column(name, &expr.span)?;
                typed(column.ir, column.kind)
            }
            Node::All(parts) => typed(Ir::All(self.conditions(parts)?), Type::Bool),
            Node::Any(parts) => typed(Ir::Any(self.conditions(parts)?), Type::Bool),
            Node::Not(part) => typed(Ir::Not(self.condition(part)?.into()), Type::Bool),
            Node::Negate(part) => self.negate(part),
            Node::Binary(operator, sides) => self.binary(*operator, &sides.0, &sides.1, &expr.span),
            Node::In(value, items) => self.is_in(value, items),
            Node::Like(value, patterns) => {
                let value = self.text(value, "LIKE")?;
                let patterns: Vec<Option<Wildcard>> =
                    patterns.iter().map(|pattern| self.wildcard(pattern)).collect();
                typed(Ir::Like(value.into(), patterns.into_iter().collect::<Option<_>>()?), Type::Bool)
            }
            Node::Rlike(value, patterns) => {
                let value = self.text(value, "RLIKE")?;
                let patterns: Vec<Option<Regex>> =
                    patterns.iter().map(|pattern| self.regex(pattern)).collect();
                typed(Ir::Rlike(value.into(), patterns.into_iter().collect::<Option<_>>()?), Type::Bool)
            }
            Node::IsNull(value) => typed(Ir::IsNull(self.expr(value)?.ir.into()), Type::Bool),
            Node::Call(name, args) => self.call(name, args, &expr.span),
            Node::Match(field, query) => self.matches(field, query, Sought::plain(false), &expr.span),
            Node::Options(_) => {
                let message = "options stand only behind the arguments of a function";
                self.report(Diagnostic::error(Code::Syntax, expr.span.clone(), message))
            }
        }
    }

    /// All are checked, so that every fault is seen.
    fn exprs(&mut self, exprs: &[Expr]) -> Option<Vec<Typed>> {
        let typed: Vec<Option<Typed>> = exprs.iter().map(|expr| self.expr(expr)).collect();
        typed.into_iter().collect()
    }

    fn conditions(&mut self, exprs: &[Expr]) -> Option<Vec<Ir>> {
        let parts: Vec<Option<Ir>> = exprs.iter().map(|expr| self.condition(expr)).collect();
        parts.into_iter().collect()
    }

    fn text(&mut self, expr: &Expr, what: &str) -> Option<Ir> {
        let typed = self.expr(expr)?;
        self.expect(&typed, Type::Text, &expr.span, what)?;
        Some(typed.ir)
    }

    pub(super) fn expect(
        &mut self,
        typed: &Typed,
        kind: Type,
        span: &Range<usize>,
        what: &str,
    ) -> Option<()> {
        if typed.kind == kind || typed.kind == Type::Null {
            return Some(());
        }
        let message = format!("{what} takes a {}, and this is a {}", kind.name(), typed.kind.name());
        let diagnostic = Diagnostic::error(Code::WrongType, span.clone(), message);
        self.report(match kind {
            Type::Text => diagnostic.with_help("convert it with TO_STRING(...)"),
            _ => diagnostic,
        })
    }

    fn negate(&mut self, part: &Expr) -> Option<Typed> {
        let typed = self.expr(part)?;
        match (typed.ir, typed.kind) {
            (Ir::Literal(Literal::Int(int)), kind) => {
                Some(Typed { ir: Ir::Literal(Literal::Int(int.checked_neg()?)), kind })
            }
            (ir, kind) if kind.is_number() || kind == Type::Null => {
                Some(Typed { ir: Ir::Call(Function::Negate, vec![ir]), kind })
            }
            (_, kind) => {
                let message = format!("- takes a number, and this is a {}", kind.name());
                self.report(Diagnostic::error(Code::WrongType, part.span.clone(), message))
            }
        }
    }

    fn binary(&mut self, operator: Binary, left: &Expr, right: &Expr, span: &Range<usize>) -> Option<Typed> {
        let (left, right) = (self.expr(left), self.expr(right));
        let (left, right) = (left?, right?);
        let comparison = match operator {
            Binary::Equal => Comparison::Equal,
            // The same by the rules of null.
            Binary::NotEqual => {
                let (left, right) = self.alike(left, right, span)?;
                let equal = Ir::Compare(Comparison::Equal, Box::new((left.ir, right.ir)));
                return Some(Typed { ir: Ir::Not(equal.into()), kind: Type::Bool });
            }
            Binary::Less => Comparison::Less,
            Binary::LessOrEqual => Comparison::LessOrEqual,
            Binary::Greater => Comparison::Greater,
            Binary::GreaterOrEqual => Comparison::GreaterOrEqual,
            Binary::Add => return self.arithmetic(Operator::Add, left, right, span),
            Binary::Subtract => return self.arithmetic(Operator::Subtract, left, right, span),
            Binary::Multiply => return self.arithmetic(Operator::Multiply, left, right, span),
            Binary::Divide => return self.arithmetic(Operator::Divide, left, right, span),
            Binary::Modulo => return self.arithmetic(Operator::Modulo, left, right, span),
        };
        let (left, right) = self.alike(left, right, span)?;
        Some(Typed { ir: Ir::Compare(comparison, Box::new((left.ir, right.ir))), kind: Type::Bool })
    }

    /// Both sides as one type. A text literal becomes a date or an address beside one.
    fn alike(&mut self, left: Typed, right: Typed, span: &Range<usize>) -> Option<(Typed, Typed)> {
        let left_kind = left.kind;
        let left = self.converted(left, right.kind, span)?;
        let right = self.converted(right, left_kind, span)?;
        if left.kind.join(right.kind).is_some() {
            return Some((left, right));
        }
        let message = format!("a {} and a {} have no order", left.kind.name(), right.kind.name());
        let help = match (left.kind, right.kind, &right.ir) {
            (Type::Text, Type::Long | Type::Double, Ir::Literal(_)) => "write the number in quotes",
            (Type::Long | Type::Double, Type::Text, Ir::Literal(_)) => "write the number without quotes",
            _ => "convert one side with `::`, such as field::string",
        };
        self.report(Diagnostic::error(Code::MixedTypes, span.clone(), message).with_help(help))
    }

    fn converted(&mut self, typed: Typed, kind: Type, span: &Range<usize>) -> Option<Typed> {
        // Nobody here knows the type of a leaf of an open object, so it is what it is compared with.
        if let Ir::Field(field, Type::Text) = typed.ir
            && self.schema.is_open_leaf(field)
            && !matches!(kind, Type::Null | Type::Duration | Type::Text)
        {
            return Some(Typed { ir: Ir::Field(field, kind), kind });
        }
        let Ir::Literal(Literal::Text(text)) = &typed.ir else { return Some(typed) };
        let (literal, code, message) = match kind {
            Type::Bool => (
                text.to_lowercase().parse().ok().map(Literal::Bool),
                Code::MixedTypes,
                format!("\"{text}\" is neither true nor false"),
            ),
            Type::Date => (
                parse_date(text).map(|period| Literal::Date(period.first)),
                Code::BadDate,
                format!("\"{text}\" is no date"),
            ),
            Type::Ip => {
                (parse_ip(text).map(Literal::Ip), Code::BadAddress, format!("\"{text}\" is no address"))
            }
            _ => return Some(typed),
        };
        match literal {
            Some(literal) => Some(Typed { ir: Ir::Literal(literal), kind }),
            None => self.report(Diagnostic::error(code, span.clone(), message)),
        }
    }

    fn arithmetic(
        &mut self,
        operator: Operator,
        left: Typed,
        right: Typed,
        span: &Range<usize>,
    ) -> Option<Typed> {
        let sign = if operator == Operator::Subtract { -1 } else { 1 };
        let is_sum = matches!(operator, Operator::Add | Operator::Subtract);
        match (left, right) {
            (
                date @ Typed { kind: Type::Date, .. },
                Typed { ir: Ir::Literal(Literal::Int(nanos)), kind: Type::Duration },
            )
            | (
                Typed { ir: Ir::Literal(Literal::Int(nanos)), kind: Type::Duration },
                date @ Typed { kind: Type::Date, .. },
            ) if is_sum => Some(Typed { ir: Ir::Shift(date.ir.into(), sign * nanos), kind: Type::Date }),
            (left, right) => {
                let is_number = |kind: Type| kind.is_number() || kind == Type::Null;
                match left.kind.join(right.kind).filter(|kind| is_number(*kind)) {
                    Some(kind) => {
                        let sides = Box::new((left.ir, right.ir));
                        Some(Typed { ir: Ir::Arithmetic(operator, kind, sides), kind })
                    }
                    None => {
                        let message = format!(
                            "numbers are meant here, and these are a {} and a {}",
                            left.kind.name(),
                            right.kind.name()
                        );
                        self.report(Diagnostic::error(Code::WrongType, span.clone(), message))
                    }
                }
            }
        }
    }

    fn is_in(&mut self, value: &Expr, items: &[Expr]) -> Option<Typed> {
        let value = self.expr(value);
        let typed = self.exprs(items);
        let (value, typed) = (value?, typed?);
        let kind = value.kind;
        let mut list = Vec::new();
        for (item, expr) in typed.into_iter().zip(items) {
            let beside = Typed { ir: Ir::Null, kind };
            list.push(self.alike(beside, item, &expr.span)?.1.ir);
        }
        Some(Typed { ir: Ir::In(value.ir.into(), list), kind: Type::Bool })
    }

    fn wildcard(&mut self, pattern: &Pattern) -> Option<Wildcard> {
        let compiled = like(&pattern.text);
        match self.schema.bounds().too_wild(compiled.n_wildcards()) {
            None => Some(compiled),
            Some(message) => self.report(Diagnostic::error(Code::BadPattern, pattern.span.clone(), message)),
        }
    }

    fn regex(&mut self, pattern: &Pattern) -> Option<Regex> {
        match Regex::bounded(&pattern.text, Case::Sensitive, self.schema.bounds()) {
            Ok(regex) => Some(regex),
            Err(err) => {
                let diagnostic = Diagnostic::error(Code::BadPattern, pattern.span.clone(), err.to_string());
                self.report(diagnostic)
            }
        }
    }

    fn call(&mut self, name: &Name, args: &[Expr], span: &Range<usize>) -> Option<Typed> {
        match name.text.as_str() {
            "case" => return self.case(args, span),
            "now" if args.is_empty() => return Some(Typed { ir: Ir::Now, kind: Type::Date }),
            "date_trunc" | "bucket" => return self.truncate(name, args, span),
            "cidr_match" => return self.cidr_match(args, span),
            "kql" => return self.kql(args, span),
            "qstr" => {
                let message = "QSTR takes Lucene's query syntax, which is not read here";
                let found = Diagnostic::error(Code::UnknownFunction, name.span.clone(), message);
                return self.report(found.with_help("write the query in Kibana's syntax: KQL(\"...\")"));
            }
            "match" | "match_phrase" => {
                let is_phrase = name.text == "match_phrase";
                return match args {
                    [field, query] => self.matches(field, query, Sought::plain(is_phrase), span),
                    [field, query, options] => {
                        let sought = self.sought(is_phrase, options)?;
                        self.matches(field, query, sought, span)
                    }
                    _ => self.wrong_arguments(name, span, "a field and what is looked for"),
                };
            }
            "json_extract" => {
                if let [Expr { node: Node::Column(source), .. }, Expr { node: Node::Text(path), span }] = args
                    && source == "_source"
                {
                    return self.of_source(path, span);
                }
            }
            _ => {}
        }
        if let Some((aggregate, extra)) = aggregate::find(&name.text) {
            return self.aggregate(aggregate, extra, name, args, span);
        }
        let Some(signature) = function::find(&name.text) else { return self.unknown_function(name) };
        let typed = self.exprs(args)?;
        let is_count_right =
            typed.len() >= signature.needed && (typed.len() <= signature.params.len() || signature.repeats);
        if !is_count_right {
            return self.wrong_arguments(name, span, &count_text(signature));
        }
        let first = typed.first().map_or(Type::Null, |typed| typed.kind);
        let mut irs = Vec::with_capacity(typed.len());
        let mut kind = first;
        for (at, (typed, arg)) in typed.into_iter().zip(args).enumerate() {
            let param = signature.params[at.min(signature.params.len() - 1)];
            let typed = match param {
                Param::Alike => self.alike(Typed { ir: Ir::Null, kind }, typed, &arg.span)?.1,
                Param::Any if at > 0 => {
                    kind = typed.kind;
                    typed
                }
                Param::Date => self.converted(typed, Type::Date, &arg.span)?,
                _ => typed,
            };
            match param {
                Param::Text => self.expect(&typed, Type::Text, &arg.span, &name.text.to_uppercase())?,
                Param::Date => self.expect(&typed, Type::Date, &arg.span, &name.text.to_uppercase())?,
                Param::Number if !typed.kind.is_number() => {
                    self.expect(&typed, Type::Long, &arg.span, &name.text.to_uppercase())?;
                }
                _ => {}
            }
            kind = kind.join(typed.kind).filter(|_| param == Param::Alike).unwrap_or(kind);
            irs.push(typed.ir);
        }
        match signature.function {
            Function::DateDiff => self.unit(&args[0])?,
            Function::DateExtract => self.part(&args[0])?,
            Function::Replace => self.replaced(&args[1])?,
            _ => {}
        }
        let kind = match signature.gives {
            Gives::Always(kind) => kind,
            Gives::LikeFirst => kind,
        };
        Some(Typed { ir: Ir::Call(signature.function, irs), kind })
    }

    fn unit(&mut self, arg: &Expr) -> Option<()> {
        match &arg.node {
            Node::Text(unit) if function::unit(unit).is_some() => Some(()),
            _ => {
                let message = "the unit is a text such as \"seconds\"";
                let help = "units: milliseconds, seconds, minutes, hours, days, weeks; months and longer ones differ in length";
                self.report(
                    Diagnostic::error(Code::WrongArguments, arg.span.clone(), message).with_help(help),
                )
            }
        }
    }

    fn part(&mut self, arg: &Expr) -> Option<()> {
        match &arg.node {
            Node::Text(part) if function::PARTS.contains(&part.to_lowercase().as_str()) => Some(()),
            _ => {
                let message = "the part is a text such as \"hour_of_day\"";
                let help = format!("parts: {}", function::PARTS.join(", "));
                self.report(
                    Diagnostic::error(Code::WrongArguments, arg.span.clone(), message).with_help(help),
                )
            }
        }
    }

    /// A pattern that is written down either compiles or never does.
    fn replaced(&mut self, pattern: &Expr) -> Option<()> {
        let Node::Text(text) = &pattern.node else { return Some(()) };
        match function::replace::fault(text) {
            None => Some(()),
            Some(fault) => self.report(Diagnostic::error(Code::BadPattern, pattern.span.clone(), fault)),
        }
    }

    fn unknown_function<T>(&mut self, name: &Name) -> Option<T> {
        let known = function::SIGNATURES.iter().map(|signature| signature.name).chain(OTHERS.iter().copied());
        let near = known.map(|known| (strsim::osa_distance(&name.text, known), known));
        let near = near.filter(|(distance, _)| *distance <= 1 + name.text.len() / 4).min();
        let message = format!("no function is called \"{}\"", name.text);
        let diagnostic = Diagnostic::error(Code::UnknownFunction, name.span.clone(), message);
        self.report(match near {
            Some((_, known)) => diagnostic.with_help(format!("did you mean {}(...)?", known.to_uppercase())),
            None => diagnostic,
        })
    }

    fn wrong_arguments<T>(&mut self, name: &Name, span: &Range<usize>, wanted: &str) -> Option<T> {
        let message = format!("{} takes {wanted}", name.text.to_uppercase());
        self.report(Diagnostic::error(Code::WrongArguments, span.clone(), message))
    }

    fn case(&mut self, args: &[Expr], span: &Range<usize>) -> Option<Typed> {
        let name = Name { text: "case".into(), span: span.clone() };
        if args.len() < 2 {
            return self.wrong_arguments(&name, span, "a condition and a value, and more of them");
        }
        let mut arms = Vec::new();
        let mut kind = Type::Null;
        for pair in args.chunks_exact(2) {
            let condition = self.condition(&pair[0]);
            let value = self.value_of(&pair[1], &mut kind);
            arms.push((condition?, value?));
        }
        let otherwise = match args.chunks_exact(2).remainder() {
            [value] => self.value_of(value, &mut kind)?,
            _ => Ir::Null,
        };
        Some(Typed { ir: Ir::Case(arms, otherwise.into()), kind })
    }

    /// One of several values of one type.
    fn value_of(&mut self, expr: &Expr, kind: &mut Type) -> Option<Ir> {
        let typed = self.expr(expr)?;
        let (_, typed) = self.alike(Typed { ir: Ir::Null, kind: *kind }, typed, &expr.span)?;
        *kind = kind.join(typed.kind)?;
        Some(typed.ir)
    }

    fn truncate(&mut self, name: &Name, args: &[Expr], span: &Range<usize>) -> Option<Typed> {
        let typed = self.exprs(args)?;
        let is_length = |typed: &Typed| match (&typed.ir, typed.kind) {
            (Ir::Literal(Literal::Int(nanos)), Type::Duration) => Some(*nanos),
            _ => None,
        };
        let length = typed.iter().find_map(is_length);
        let date = typed.into_iter().find(|typed| typed.kind == Type::Date);
        match (length, date) {
            (Some(nanos), Some(date)) if args.len() == 2 && nanos > 0 => {
                Some(Typed { ir: Ir::Truncate(date.ir.into(), Span(nanos)), kind: Type::Date })
            }
            _ => self.wrong_arguments(
                name,
                span,
                "a length of time and a date: DATE_TRUNC(10 seconds, @timestamp)",
            ),
        }
    }

    fn cidr_match(&mut self, args: &[Expr], span: &Range<usize>) -> Option<Typed> {
        let Some((value, nets)) = args.split_first().filter(|(_, nets)| !nets.is_empty()) else {
            let name = Name { text: "cidr_match".into(), span: span.clone() };
            return self.wrong_arguments(&name, span, "an address and networks");
        };
        let value_span = value.span.clone();
        let value = self.expr(value)?;
        self.expect(&value, Type::Ip, &value_span, "CIDR_MATCH")?;
        let nets: Vec<Option<IpNet>> = nets.iter().map(|net| self.net(net)).collect();
        let nets = nets.into_iter().collect::<Option<_>>()?;
        Some(Typed { ir: Ir::Cidr(value.ir.into(), CidrSet::new(nets)), kind: Type::Bool })
    }

    fn net(&mut self, expr: &Expr) -> Option<IpNet> {
        let net = match &expr.node {
            Node::Text(text) => parse_net(text),
            _ => None,
        };
        if net.is_none() {
            let message = "a network is meant here, such as \"10.0.0.0/8\"";
            return self.report(Diagnostic::error(Code::BadAddress, expr.span.clone(), message));
        }
        net
    }

    fn kql(&mut self, args: &[Expr], span: &Range<usize>) -> Option<Typed> {
        let [Expr { node: Node::Text(text), span: text_span }] = args else {
            let name = Name { text: "kql".into(), span: span.clone() };
            return self.wrong_arguments(&name, span, "one text");
        };
        match kql::compile(text, self.schema) {
            Ok(compiled) => {
                self.found.extend(compiled.warnings.into_iter().map(|found| inside(found, text, text_span)));
                self.predicate_value(compiled.plan, span)
            }
            Err(found) => {
                self.found.extend(found.into_iter().map(|found| inside(found, text, text_span)));
                None
            }
        }
    }

    /// A predicate over the event, as a value of its row.
    fn predicate_value(&mut self, predicate: expr::Expr, span: &Range<usize>) -> Option<Typed> {
        if self.scope.is_closed {
            let message = "this looks at events, and behind STATS there are groups";
            return self.report(Diagnostic::error(Code::MisplacedAggregate, span.clone(), message));
        }
        let ir = self.carry(Ir::Predicate(predicate), Type::Bool);
        Some(Typed { ir, kind: Type::Bool })
    }

    /// `field : "text"`: never null, and met by any of the field's values, as in Elasticsearch's index. A field of
    /// free text matches where it has one of the words.
    fn matches(&mut self, field: &Expr, query: &Expr, sought: Sought, span: &Range<usize>) -> Option<Typed> {
        // A cast leaves a field of texts what it is.
        let field = match &field.node {
            Node::Call(name, args) if name.text == "to_string" && args.len() == 1 => &args[0],
            _ => field,
        };
        let value = self.expr(field);
        let query_span = query.span.clone();
        let query = self.expr(query)?;
        let name = Name { text: "match".into(), span: span.clone() };
        let (Node::Column(path), Ir::Literal(wanted)) = (&field.node, query.ir) else {
            return self.wrong_arguments(&name, span, "a field and a constant");
        };
        let wanted =
            self.converted(Typed { ir: Ir::Literal(wanted), kind: query.kind }, value?.kind, span)?;
        let Ir::Literal(wanted) = wanted.ir else { return None };
        if let Some(distance) = sought.slips {
            let args = vec![self.expr(field)?.ir, Ir::Literal(wanted), Ir::Literal(Literal::Int(distance))];
            return Some(Typed { ir: Ir::Call(Function::IsNear, args), kind: Type::Bool });
        }
        let Typed { ir: Ir::Field(id, _), .. } = self.field(path, &field.span)? else { return None };
        let predicate = match &wanted {
            Literal::Text(text) if free_text::is_free_text(path) => {
                match free_text::test(id, text, sought.words, self.schema.bounds()) {
                    Ok(predicate) => predicate,
                    Err(error) => {
                        return self.report(Diagnostic::error(
                            Code::BadPattern,
                            query_span,
                            error.to_string(),
                        ));
                    }
                }
            }
            Literal::Text(text) => expr::Expr::Any(id, expr::Test::text(text, Case::Sensitive)),
            other => expr::Expr::Any(id, expr::Test::Equals(other.clone())),
        };
        self.predicate_value(predicate, span)
    }

    fn sought(&mut self, is_phrase: bool, options: &Expr) -> Option<Sought> {
        let Node::Options(given) = &options.node else {
            let message = "options stand in braces: { \"fuzziness\": 1 }";
            return self.report(Diagnostic::error(Code::WrongArguments, options.span.clone(), message));
        };
        let mut sought = Sought::plain(is_phrase);
        for (name, value) in given {
            match (name.as_str(), &value.node) {
                ("fuzziness", Node::Int(slips)) if !is_phrase => sought.slips = Some(*slips),
                ("fuzziness", Node::Text(slips)) if !is_phrase => {
                    sought.slips = slips.parse().ok().or(Some(2));
                }
                ("operator", Node::Text(operator)) if !is_phrase && operator.eq_ignore_ascii_case("and") => {
                    sought.words = Words::All;
                }
                ("operator", Node::Text(operator)) if !is_phrase && operator.eq_ignore_ascii_case("or") => {}
                // How a search is run and ranked, and not what it finds.
                ("boost" | "lenient" | "max_expansions", _) => {}
                _ => {
                    let message = format!("the option \"{name}\" is not supported here with that value");
                    let help = "options: \"operator\" (\"AND\", \"OR\"), \"fuzziness\"";
                    let found = Diagnostic::error(Code::WrongArguments, value.span.clone(), message);
                    return self.report(found.with_help(help));
                }
            }
        }
        Some(sought)
    }

    /// `JSON_EXTRACT(_source, "a.b")` is the field itself.
    fn of_source(&mut self, path: &str, span: &Range<usize>) -> Option<Typed> {
        let path = path.trim_start_matches("$.");
        // What nobody knows is never there.
        let field = self.schema.resolve(path).ok();
        match field {
            Some(id) => {
                let ir = self.carry(Ir::Field(id, Type::Text), Type::Text);
                Some(Typed { ir, kind: Type::Text })
            }
            None => {
                let message = format!("no field is called \"{path}\": this is always null");
                self.found.push(Diagnostic::warning(Code::UnknownField, span.clone(), message));
                Some(Typed { ir: Ir::Null, kind: Type::Text })
            }
        }
    }

    fn aggregate(
        &mut self,
        aggregate: Aggregate,
        extra: Extra,
        name: &Name,
        args: &[Expr],
        span: &Range<usize>,
    ) -> Option<Typed> {
        if self.stats.as_ref().is_none_or(|stats| stats.is_inside) {
            let message =
                format!("{} stands only in STATS, and not inside another", name.text.to_uppercase());
            return self.report(Diagnostic::error(Code::MisplacedAggregate, span.clone(), message));
        }
        let is_count = aggregate == Aggregate::Count;
        let (value, rest) = match args {
            [] if is_count => (Some(every_row()), args),
            [Expr { node: Node::Star, .. }] if is_count => (Some(every_row()), &args[1..]),
            [value, rest @ ..] => (self.read_inside(value), rest),
            [] => return self.wrong_arguments(name, span, "one value"),
        };
        let mut order = None;
        let aggregate = match (extra, rest) {
            (Extra::Top, [limit, rest @ ..]) => top(limit, rest.first()),
            (Extra::Top, []) => None,
            (_, []) | (Extra::Ignored, [_]) => Some(aggregate),
            (Extra::Order, [column]) => {
                order = Some(self.read_inside(column)?);
                Some(aggregate)
            }
            (Extra::Percentile, [share]) => {
                share_of(share).map(|share| Aggregate::Percentile(FloatBits::new(share)))
            }
            _ => None,
        };
        let Some(aggregate) = aggregate else {
            let wanted = match extra {
                Extra::Top => "a value, how many, and \"asc\" or \"desc\"",
                Extra::Percentile => "a number and which percentile",
                _ => "one value",
            };
            return self.wrong_arguments(name, span, wanted);
        };
        let value = value?;
        let kind = value.kind;
        if aggregate.gives(kind).is_none() {
            let message =
                format!("{} takes numbers, and this is a {}", name.text.to_uppercase(), kind.name());
            return self.report(Diagnostic::error(Code::WrongType, span.clone(), message));
        }
        self.add_aggregate(aggregate, value, order)
    }

    fn read_inside(&mut self, value: &Expr) -> Option<Typed> {
        self.inside(true);
        let typed = self.expr(value);
        self.inside(false);
        typed
    }
}

/// Functions with rules of their own, for suggestions.
const OTHERS: &[&str] = &[
    "avg",
    "bucket",
    "case",
    "cidr_match",
    "count",
    "count_distinct",
    "date_trunc",
    "first",
    "kql",
    "last",
    "max",
    "median",
    "min",
    "match",
    "now",
    "percentile",
    "std_dev",
    "sum",
    "top",
    "values",
    "variance",
];

/// What a `MATCH` looks for.
#[derive(Debug, Clone, Copy)]
struct Sought {
    words: Words,
    /// So many slips are forgiven.
    slips: Option<i64>,
}

impl Sought {
    fn plain(is_phrase: bool) -> Self {
        Self { words: if is_phrase { Words::Phrase } else { Words::Any }, slips: None }
    }
}

fn top(limit: &Expr, order: Option<&Expr>) -> Option<Aggregate> {
    let Node::Int(limit) = limit.node else { return None };
    let is_falling = match order.map(|order| &order.node) {
        None => false,
        Some(Node::Text(order)) if order.eq_ignore_ascii_case("asc") => false,
        Some(Node::Text(order)) if order.eq_ignore_ascii_case("desc") => true,
        Some(_) => return None,
    };
    Some(Aggregate::Top { limit: usize::try_from(limit).ok()?, is_falling })
}

fn share_of(expr: &Expr) -> Option<f64> {
    match expr.node {
        Node::Int(int) => Some(int as f64),
        Node::Float(float) => Some(float),
        _ => None,
    }
}

fn every_row() -> Typed {
    Typed { ir: Ir::Literal(Literal::Bool(true)), kind: Type::Bool }
}

/// A finding about a query inside a text, at its place in the outer one. Where the text has escapes, at the text.
fn inside(found: Diagnostic, text: &str, span: &Range<usize>) -> Diagnostic {
    let quotes = span.len().saturating_sub(text.len()) / 2;
    let has_escapes = span.len() != text.len() + 2 * quotes || !matches!(quotes, 1 | 3);
    let place = match has_escapes {
        true => span.clone(),
        false => span.start + quotes + found.span.start..span.start + quotes + found.span.end,
    };
    Diagnostic { span: place, ..found }
}

fn count_text(signature: &function::Signature) -> String {
    let most = signature.params.len();
    match (signature.needed, signature.repeats) {
        (needed, true) => format!("{needed} or more arguments"),
        (1, false) if most == 1 => "one argument".to_owned(),
        (needed, false) if needed == most => format!("{needed} arguments"),
        (needed, false) => format!("{needed} to {most} arguments"),
    }
}

/// `*` and `?` are wildcards; a backslash makes them, and itself, plain.
fn like(pattern: &str) -> Wildcard {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let piece = match c {
            '*' => Piece::Many,
            '?' => Piece::One,
            '\\' => {
                text.push(chars.next().unwrap_or('\\'));
                continue;
            }
            c => {
                text.push(c);
                continue;
            }
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Wildcard::new(pieces, Case::Sensitive)
}
