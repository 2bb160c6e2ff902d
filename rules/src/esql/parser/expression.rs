//! Expressions, by precedence.

use super::super::ast::{Binary, Expr, Name, Node, Pattern};
use super::super::lexer::{Kind, Token};
use super::{Parsed, Parser};
use crate::diagnostic::Code;

/// `a + b + …` nests to the left, and so does `a::b::…`.
const MAX_OPERATORS: usize = 200;

const SECOND: i64 = 1_000_000_000;
const UNITS: &[(&[&str], i64)] = &[
    (&["millisecond", "milliseconds", "ms"], SECOND / 1000),
    (&["second", "seconds", "sec", "s"], SECOND),
    (&["minute", "minutes", "min", "m"], 60 * SECOND),
    (&["hour", "hours", "h"], 3600 * SECOND),
    (&["day", "days", "d"], 86_400 * SECOND),
    (&["week", "weeks", "w"], 7 * 86_400 * SECOND),
];

/// Units that Elasticsearch has besides.
const UNEVEN_UNITS: &[&str] =
    &["month", "months", "mo", "quarter", "quarters", "q", "year", "years", "yr", "y"];

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > self.max_depth {
            self.depth -= 1;
            return self.too_deep();
        }
        let expr = self.or();
        self.depth -= 1;
        expr
    }

    fn too_deep<T>(&mut self) -> Parsed<T> {
        let span = self.peek().span.clone();
        self.fail(Code::TooDeep, span, "the expression nests too deep here")
    }

    fn or(&mut self) -> Parsed<Expr> {
        let first = self.and()?;
        let mut parts = vec![first];
        while self.take_word("or") {
            parts.push(self.and()?);
        }
        Ok(joined(parts, Node::Any))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let first = self.not()?;
        let mut parts = vec![first];
        while self.take_word("and") {
            parts.push(self.not()?);
        }
        Ok(joined(parts, Node::All))
    }

    fn not(&mut self) -> Parsed<Expr> {
        let start = self.peek().span.start;
        let mut n_nots = 0;
        while self.take_word("not") {
            n_nots += 1;
        }
        let expr = self.comparison()?;
        let span = start..expr.span.end;
        Ok(match n_nots % 2 {
            1 => Expr { node: Node::Not(expr.into()), span },
            _ => expr,
        })
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.sum()?;
        let start = left.span.start;
        let signs = [
            ("==", Binary::Equal),
            ("!=", Binary::NotEqual),
            ("<", Binary::Less),
            ("<=", Binary::LessOrEqual),
            (">", Binary::Greater),
            (">=", Binary::GreaterOrEqual),
        ];
        for (sign, operator) in signs {
            if self.take_sign(sign) {
                return Ok(binary(operator, left, self.sum()?));
            }
        }
        if self.is_sign("=") {
            let span = self.peek().span.clone();
            return self.fail(Code::Syntax, span, "values are compared with ==");
        }
        if self.take_sign(":") {
            let query = self.cast()?;
            let node = Node::Match(left.into(), query.into());
            return Ok(Expr { node, span: start..self.last_end() });
        }
        if self.take_word("is") {
            let is_negated = self.take_word("not");
            if !self.take_word("null") {
                return self.unexpected("NULL");
            }
            let node = Node::IsNull(left.into());
            return Ok(self.negated(node, start, is_negated));
        }
        let is_negated = self.take_word("not");
        let node = match self.word().as_deref() {
            Some("in") => {
                self.at += 1;
                self.expect_sign("(")?;
                let items = self.list(Self::expr)?;
                self.expect_sign(")")?;
                Node::In(left.into(), items)
            }
            Some("like") => {
                self.at += 1;
                Node::Like(left.into(), self.patterns()?)
            }
            Some("rlike") => {
                self.at += 1;
                Node::Rlike(left.into(), self.patterns()?)
            }
            _ if is_negated => return self.unexpected("IN, LIKE or RLIKE"),
            _ => return Ok(left),
        };
        Ok(self.negated(node, start, is_negated))
    }

    fn negated(&self, node: Node, start: usize, is_negated: bool) -> Expr {
        let expr = Expr { node, span: start..self.last_end() };
        match is_negated {
            true => Expr { span: expr.span.clone(), node: Node::Not(expr.into()) },
            false => expr,
        }
    }

    fn patterns(&mut self) -> Parsed<Vec<Pattern>> {
        if !self.take_sign("(") {
            return Ok(vec![self.pattern()?]);
        }
        let patterns = self.list(Self::pattern)?;
        self.expect_sign(")")?;
        Ok(patterns)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let mut left = self.product()?;
        for _ in 0..MAX_OPERATORS {
            let operator = match self.peek().kind {
                Kind::Sign("+") => Binary::Add,
                Kind::Sign("-") => Binary::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = binary(operator, left, self.product()?);
        }
        self.too_deep()
    }

    fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.cast()?;
        for _ in 0..MAX_OPERATORS {
            let operator = match self.peek().kind {
                Kind::Sign("*") => Binary::Multiply,
                Kind::Sign("/") => Binary::Divide,
                Kind::Sign("%") => Binary::Modulo,
                _ => return Ok(left),
            };
            self.at += 1;
            left = binary(operator, left, self.cast()?);
        }
        self.too_deep()
    }

    /// `expr::type` is the call of the function of that name.
    fn cast(&mut self) -> Parsed<Expr> {
        let start = self.peek().span.start;
        let mut n_signs = 0;
        while self.is_sign("-") || self.is_sign("+") {
            n_signs += usize::from(self.is_sign("-"));
            self.at += 1;
        }
        let mut expr = self.primary()?;
        let mut n_casts = 0;
        while self.take_sign("::") {
            n_casts += 1;
            if n_casts > MAX_OPERATORS {
                return self.too_deep();
            }
            let name = self.name()?;
            let span = expr.span.start..name.span.end;
            let function = Name { text: format!("to_{}", name.text.to_lowercase()), span: name.span };
            expr = Expr { node: Node::Call(function, vec![expr]), span };
        }
        let span = start..expr.span.end;
        Ok(match n_signs % 2 {
            1 => Expr { node: Node::Negate(expr.into()), span },
            _ => expr,
        })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let Token { kind, span } = self.peek().clone();
        let node = match kind {
            Kind::Text(text) => Node::Text(text),
            Kind::Float(float) => Node::Float(float),
            Kind::Int(int) => {
                self.at += 1;
                return self.number(int, span.start);
            }
            Kind::Sign("(") => {
                self.at += 1;
                let expr = self.expr()?;
                self.expect_sign(")")?;
                return Ok(Expr { span: span.start..self.last_end(), ..expr });
            }
            Kind::Sign("*") => Node::Star,
            Kind::Sign("{") => return self.options(),
            Kind::Name { .. } => return self.named(),
            _ => return self.unexpected("a value, a column or a function"),
        };
        self.at += 1;
        Ok(Expr { node, span })
    }

    /// `{ "option": value, ... }`
    fn options(&mut self) -> Parsed<Expr> {
        let start = self.peek().span.start;
        self.expect_sign("{")?;
        let option = |parser: &mut Self| {
            let name = parser.pattern()?.text;
            parser.expect_sign(":")?;
            Ok((name, parser.expr()?))
        };
        let options = if self.is_sign("}") { Vec::new() } else { self.list(option)? };
        self.expect_sign("}")?;
        Ok(Expr { node: Node::Options(options), span: start..self.last_end() })
    }

    /// A number, or with a unit behind it a length of time.
    fn number(&mut self, int: i64, start: usize) -> Parsed<Expr> {
        let word = self.word();
        if word.as_deref().is_some_and(|word| UNEVEN_UNITS.contains(&word)) {
            let span = start..self.peek().span.end;
            return self.fail(
                Code::BadSpan,
                span,
                "months, quarters and years have no one length: write days",
            );
        }
        let unit = word.and_then(|word| UNITS.iter().find(|(names, _)| names.contains(&word.as_str())));
        let node = match unit {
            None => Node::Int(int),
            Some((_, nanos)) => {
                self.at += 1;
                match int.checked_mul(*nanos) {
                    Some(nanos) => Node::Duration(nanos),
                    None => {
                        let span = start..self.last_end();
                        return self.fail(
                            Code::BadSpan,
                            span,
                            "the length of time is beyond three centuries",
                        );
                    }
                }
            }
        };
        Ok(Expr { node, span: start..self.last_end() })
    }

    fn named(&mut self) -> Parsed<Expr> {
        let word = self.word();
        let start = self.peek().span.start;
        let Ok(name) = self.try_name() else { return self.unexpected("a column or a function") };
        if self.take_sign("(") {
            let args = if self.is_sign(")") { Vec::new() } else { self.list(Self::expr)? };
            self.expect_sign(")")?;
            let function = Name { text: name.text.to_lowercase(), span: name.span };
            return Ok(Expr { node: Node::Call(function, args), span: start..self.last_end() });
        }
        let is_one_word = word.is_some_and(|word| word.len() == name.text.len());
        let node = match name.text.to_lowercase().as_str() {
            "null" if is_one_word => Node::Null,
            "true" if is_one_word => Node::Bool(true),
            "false" if is_one_word => Node::Bool(false),
            _ => Node::Column(name.text),
        };
        Ok(Expr { node, span: name.span })
    }
}

fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Node) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let span = parts[0].span.start..parts[parts.len() - 1].span.end;
    Expr { node: join(parts), span }
}

fn binary(operator: Binary, left: Expr, right: Expr) -> Expr {
    let span = left.span.start..right.span.end;
    Expr { node: Node::Binary(operator, Box::new((left, right))), span }
}
