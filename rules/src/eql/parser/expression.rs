//! Expressions, by precedence: `or`, `and`, `not`, comparison, `+ -`, `* / %`, unary minus, and the tests `in`, `like`,
//! `regex` and `:`, which bind to the operand right before them.

use super::super::ast::{Arithmetic, Compare, Expr, ExprKind, KEYWORDS, Match, Matcher, Place};
use super::super::token::{Symbol, TokenKind};
use super::{HEIGHT, Parser};
use crate::diagnostic::{Code, Diagnostic};

impl Parser {
    /// Never fails: what does not parse is reported and stands as [`ExprKind::Invalid`].
    pub(super) fn expression(&mut self) -> Expr {
        self.chain("or", ExprKind::Or, |parser| parser.chain("and", ExprKind::And, Self::clause))
    }

    fn chain(&mut self, word: &str, make: fn(Vec<Expr>) -> ExprKind, part: fn(&mut Self) -> Expr) -> Expr {
        let first = part(self);
        if !self.peek().is_word(word) {
            return first;
        }
        let mut parts = vec![first];
        while self.eat_word(word) {
            parts.push(part(self));
        }
        let place = parts[0].place.to(&parts[parts.len() - 1].place);
        Expr::new(place, make(parts))
    }

    /// One operand of `and` and `or`.
    fn clause(&mut self) -> Expr {
        let start = self.span();
        let parsed = self.negation().filter(|parsed| self.bounded(parsed).is_some());
        parsed.unwrap_or_else(|| {
            self.skip_clause();
            Expr::new(Place(start.start..self.last_end().max(start.start)), ExprKind::Invalid)
        })
    }

    /// To the next `and`, `or`, or the bracket that closes what surrounds the clause.
    fn skip_clause(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                TokenKind::End | TokenKind::Symbol(Symbol::CloseBracket | Symbol::Pipe) => return,
                TokenKind::Symbol(Symbol::OpenParen) => open += 1,
                TokenKind::Symbol(Symbol::CloseParen) if open == 0 => return,
                TokenKind::Symbol(Symbol::CloseParen) => open -= 1,
                kind if open == 0 && (kind.is_word("and") || kind.is_word("or")) => return,
                _ => {}
            }
            self.bump();
        }
    }

    fn negation(&mut self) -> Option<Expr> {
        if self.peek().is_word("not") {
            return self.nested(|parser| {
                let start = parser.bump();
                let operand = parser.negation()?;
                let place = Place(start.start..operand.place.0.end);
                Some(Expr::new(place, ExprKind::Not(operand.into())))
            });
        }
        if *self.peek() == TokenKind::Symbol(Symbol::Bang) {
            return self.refuse(Code::LegacySyntax, "`!` is not part of EQL", "write `not`");
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Option<Expr> {
        let mut left = self.sum()?;
        loop {
            let operator = match self.peek() {
                TokenKind::Symbol(Symbol::Equal) => Compare::Equal,
                TokenKind::Symbol(Symbol::NotEqual) => Compare::NotEqual,
                TokenKind::Symbol(Symbol::Less) => Compare::Less,
                TokenKind::Symbol(Symbol::LessOrEqual) => Compare::LessOrEqual,
                TokenKind::Symbol(Symbol::Greater) => Compare::Greater,
                TokenKind::Symbol(Symbol::GreaterOrEqual) => Compare::GreaterOrEqual,
                TokenKind::Symbol(Symbol::Assign) => {
                    let help =
                        "write `==` to compare by case, `:` to compare without case and with wildcards";
                    self.refuse(Code::LegacySyntax, "`=` is not a comparison", help)?
                }
                _ => return Some(left),
            };
            self.bounded(&left)?;
            self.bump();
            let right = self.sum()?;
            let place = left.place.to(&right.place);
            left = Expr::new(place, ExprKind::Compare(operator, left.into(), right.into()));
        }
    }

    fn sum(&mut self) -> Option<Expr> {
        self.arithmetic(Self::product, |symbol| match symbol {
            Symbol::Plus => Some(Arithmetic::Add),
            Symbol::Minus => Some(Arithmetic::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Option<Expr> {
        self.arithmetic(Self::signed, |symbol| match symbol {
            Symbol::Star => Some(Arithmetic::Multiply),
            Symbol::Slash => Some(Arithmetic::Divide),
            Symbol::Percent => Some(Arithmetic::Modulo),
            _ => None,
        })
    }

    fn arithmetic(
        &mut self,
        operand: fn(&mut Self) -> Option<Expr>,
        operator: fn(Symbol) -> Option<Arithmetic>,
    ) -> Option<Expr> {
        let mut left = operand(self)?;
        while let TokenKind::Symbol(symbol) = self.peek()
            && let Some(operator) = operator(*symbol)
        {
            self.bounded(&left)?;
            self.bump();
            let right = operand(self)?;
            let place = left.place.to(&right.place);
            left = Expr::new(place, ExprKind::Arithmetic(operator, left.into(), right.into()));
        }
        Some(left)
    }

    fn signed(&mut self) -> Option<Expr> {
        match self.peek() {
            TokenKind::Symbol(Symbol::Minus) => self.nested(|parser| {
                let start = parser.bump();
                let operand = parser.signed()?;
                let place = Place(start.start..operand.place.0.end);
                Some(Expr::new(place, ExprKind::Negate(operand.into())))
            }),
            TokenKind::Symbol(Symbol::Plus) => self.nested(|parser| {
                parser.bump();
                parser.signed()
            }),
            _ => self.tested(),
        }
    }

    /// An operand with its tests: `f : "x"`, `f not in (...)`.
    fn tested(&mut self) -> Option<Expr> {
        let operand = self.primary()?;
        let is_negated = self.peek().is_word("not") && self.matcher(1).is_some();
        let Some(operator) = self.matcher(usize::from(is_negated)) else { return Some(operand) };
        if is_negated {
            self.bump();
        }
        let operator_place = Place(self.bump());
        let is_list = *self.peek() == TokenKind::Symbol(Symbol::OpenParen);
        if !is_list && matches!(operator, Matcher::In | Matcher::InFolded) {
            let help = format!("a list reads `{} (\"a\", \"b\")`", operator.as_str());
            return self.unexpected_with("`(`", &help);
        }
        let values = if is_list { self.arguments()? } else { vec![self.value()?] };
        let place = Place(operand.place.0.start..self.last_end());
        let test = Match { operand, operator, operator_place, is_negated, values, is_list };
        Some(Expr::new(place, ExprKind::Match(test.into())))
    }

    fn matcher(&self, ahead: usize) -> Option<Matcher> {
        Some(match &self.tokens.get(self.at + ahead)?.kind {
            TokenKind::Symbol(Symbol::Colon) => Matcher::Colon,
            TokenKind::Word(word) => match word.as_str() {
                "in" => Matcher::In,
                "like" => Matcher::Like,
                "regex" => Matcher::Regex,
                _ => return None,
            },
            TokenKind::TildeWord(word) => match word.as_str() {
                "in" => Matcher::InFolded,
                "like" => Matcher::LikeFolded,
                "regex" => Matcher::RegexFolded,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The right side of a test without parentheses.
    fn value(&mut self) -> Option<Expr> {
        if *self.peek() == TokenKind::Symbol(Symbol::Minus) {
            return self.signed();
        }
        self.primary()
    }

    fn primary(&mut self) -> Option<Expr> {
        let start = self.span();
        let kind = match self.peek().clone() {
            TokenKind::Text(text) => ExprKind::Text(text),
            TokenKind::Int(int) => ExprKind::Int(int),
            TokenKind::Float(float) => ExprKind::Float(float),
            TokenKind::Symbol(Symbol::OpenParen) => return self.group(),
            TokenKind::Symbol(Symbol::Question) => {
                self.bump();
                return self.field(start.start, true);
            }
            TokenKind::TildeWord(name) => return self.call(name, true),
            TokenKind::Word(name)
                if self.follows(Symbol::OpenParen) && !KEYWORDS.contains(&name.as_str()) =>
            {
                return self.call(name, false);
            }
            TokenKind::Word(name) if !self.follows(Symbol::Dot) => match name.as_str() {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                "null" => ExprKind::Null,
                keyword if KEYWORDS.contains(&keyword) => {
                    let help = format!("write `{keyword}` in backticks if it is a field");
                    return self.unexpected_with("a field, value or function", &help);
                }
                _ => return self.field(start.start, false),
            },
            TokenKind::Word(_) | TokenKind::Quoted(_) => return self.field(start.start, false),
            _ => return self.unexpected("a field, value or function"),
        };
        self.bump();
        Some(Expr::new(Place(start), kind))
    }

    fn group(&mut self) -> Option<Expr> {
        self.nested(|parser| {
            let start = parser.bump();
            let mut inner = parser.expression();
            if !parser.eat(Symbol::CloseParen) {
                if !parser.has_error() {
                    let message = format!("expected `)`, found {}", parser.peek());
                    let found = Diagnostic::error(Code::Syntax, parser.span(), message);
                    parser.found.push(
                        found.with_help("close the parenthesis, or join the conditions with `and` or `or`"),
                    );
                }
                return None;
            }
            inner.place = Place(start.start..parser.last_end());
            Some(inner)
        })
    }

    fn field(&mut self, start: usize, is_optional: bool) -> Option<Expr> {
        let path = self.path()?;
        if self.peek().is_word("of") {
            let help = "join the events: `sequence by process.entity_id`, with `[...] by process.entity_id [...] by \
                        process.parent.entity_id` for parent and child, or test `process.Ext.ancestry`";
            return self.refuse(Code::ProcessTree, &format!("`{path} of` is not supported"), help);
        }
        if *self.peek() == TokenKind::Symbol(Symbol::OpenBracket) {
            let help = "leave the index out: a test of a list holds if it holds for any element";
            return self.refuse(Code::LegacySyntax, "elements of a list cannot be picked", help);
        }
        Some(Expr::new(Place(start..self.last_end()), ExprKind::Field { path, is_optional }))
    }

    fn call(&mut self, name: String, is_folded: bool) -> Option<Expr> {
        let start = self.bump();
        let args = self.arguments()?;
        Some(Expr::new(Place(start.start..self.last_end()), ExprKind::Call { name, is_folded, args }))
    }

    /// `(a, b)`
    fn arguments(&mut self) -> Option<Vec<Expr>> {
        self.nested(|parser| {
            parser.expect(Symbol::OpenParen)?;
            let mut args = Vec::new();
            if parser.eat(Symbol::CloseParen) {
                return Some(args);
            }
            loop {
                args.push(parser.expression());
                if parser.eat(Symbol::CloseParen) {
                    return Some(args);
                }
                if !parser.eat(Symbol::Comma) {
                    return match parser.has_error() {
                        true => None,
                        false => parser.unexpected("`,` or `)`"),
                    };
                }
            }
        })
    }

    fn follows(&self, symbol: Symbol) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|token| token.kind == TokenKind::Symbol(symbol))
    }

    /// One level deeper. Bounds the stack of this parser and of everything that walks the tree.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= self.max_depth {
            return self.too_deep();
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Chains of operators nest to the left without nesting the parser, so the tree is measured too.
    fn bounded(&mut self, expr: &Expr) -> Option<()> {
        if expr.height() > HEIGHT * self.max_depth { self.too_deep() } else { Some(()) }
    }

    fn too_deep<T>(&mut self) -> Option<T> {
        let found = Diagnostic::error(Code::TooDeep, self.span(), "the condition is nested too deep");
        if !self.found.iter().any(|earlier| earlier.code == Code::TooDeep) {
            self.found.push(found.with_help("flatten the condition, or split the rule"));
        }
        None
    }
}
