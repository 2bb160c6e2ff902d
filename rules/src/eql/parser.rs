//! EQL tokens to a tree. A syntax error costs its own clause: parsing goes on at the next `and`, `or` or bracket, so
//! that an author sees every problem at once.

mod expression;

use std::ops::Range;

use super::ast::{Filter, Key, Maxspan, Place, Query, Runs, Sample, Sequence, Step, Unit};
use super::lexer::lex;
use super::token::{Symbol, Token, TokenKind};
use crate::bounds::Bounds;
use crate::diagnostic::{Code, Diagnostic};

/// Levels of the tree for each level of nesting.
const HEIGHT: usize = 2;

/// The tree, as far as there is one, and all that is wrong with the text.
pub(super) fn parse(text: &str, bounds: &Bounds) -> (Option<Query>, Vec<Diagnostic>) {
    if let Some(message) = bounds.too_long(text) {
        return (None, vec![Diagnostic::error(Code::TooLong, 0..0, message).with_help("split the rule")]);
    }
    let (tokens, found) = lex(text);
    let mut parser = Parser { tokens, at: 0, depth: 0, max_depth: bounds.depth(), found };
    let query = parser.query();
    if query.is_some() {
        parser.expect_end();
    }
    (query, parser.found)
}

struct Parser {
    /// Ends with [`TokenKind::End`].
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    max_depth: usize,
    found: Vec<Diagnostic>,
}

impl Parser {
    fn query(&mut self) -> Option<Query> {
        match self.head() {
            Some("sequence") => self.sequence().map(Query::Sequence),
            Some("sample") => self.sample().map(Query::Sample),
            Some("join") => {
                let help =
                    "write `sequence by ...` for events in order, `sample by ...` for events in any order";
                self.refuse(Code::Join, "`join` is not supported", help)
            }
            _ => self.filter().map(Query::Event),
        }
    }

    /// The word that opens the query, unless it is the category of an event query.
    fn head(&self) -> Option<&'static str> {
        let next = &self.tokens.get(self.at + 1)?.kind;
        let is_category = next.is_word("where") || *next == TokenKind::Symbol(Symbol::Comma);
        ["sequence", "sample", "join"].into_iter().find(|word| self.peek().is_word(word) && !is_category)
    }

    fn sequence(&mut self) -> Option<Sequence> {
        let start = self.bump();
        let (mut by, mut maxspan) = (Vec::new(), None);
        loop {
            if by.is_empty() && self.peek().is_word("by") {
                by = self.keys()?;
            } else if maxspan.is_none() && self.peek().is_word("with") {
                maxspan = Some(self.maxspan()?);
            } else {
                break;
            }
        }
        let steps = self.steps()?;
        let until = match self.eat_word("until") {
            true => Some(self.step()?),
            false => None,
        };
        Some(Sequence { place: Place(start), by, maxspan, steps, until })
    }

    fn sample(&mut self) -> Option<Sample> {
        let start = self.bump();
        let by = if self.peek().is_word("by") { self.keys()? } else { Vec::new() };
        Some(Sample { place: Place(start), by, steps: self.steps()? })
    }

    fn steps(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        while matches!(self.peek(), TokenKind::Symbol(Symbol::OpenBracket | Symbol::Bang)) {
            steps.extend(self.step());
        }
        if steps.is_empty() && self.found.is_empty() {
            return self.unexpected("a step `[category where condition]`");
        }
        Some(steps)
    }

    /// `None` where its filter did not parse; the parser then stands behind its bracket.
    fn step(&mut self) -> Option<Step> {
        let start = self.span();
        let is_missing = self.eat(Symbol::Bang);
        self.expect(Symbol::OpenBracket)?;
        let filter = self.filter();
        if filter.is_some() && *self.peek() != TokenKind::Symbol(Symbol::CloseBracket) {
            let _: Option<()> = self.unexpected("`and`, `or` or `]`");
        }
        self.skip_to(&[Symbol::CloseBracket]);
        self.expect(Symbol::CloseBracket)?;
        let place = Place(start.start..self.last_end());
        let by = if self.peek().is_word("by") { self.keys()? } else { Vec::new() };
        let runs = if self.peek().is_word("with") { Some(self.runs()?) } else { None };
        if self.peek().is_word("as") || self.peek().is_word("fork") {
            let help =
                "join steps by a field: `sequence by host.id [...] [...]`, or `[...] by field` for each step";
            let _: Option<()> = self.refuse(Code::LegacySyntax, "steps cannot be named or forked", help);
            self.skip_to(&[Symbol::OpenBracket]);
        }
        Some(Step { place, is_missing, filter: filter?, by, runs })
    }

    fn filter(&mut self) -> Option<Filter> {
        let mut categories = Vec::new();
        loop {
            match self.peek().clone() {
                TokenKind::Word(word) if word == "any" && categories.is_empty() => {
                    self.bump();
                    break;
                }
                TokenKind::Word(word) | TokenKind::Text(word) => {
                    self.bump();
                    categories.push(word);
                }
                _ => return self.unexpected("an event category such as `process`, or `any`"),
            }
            if !self.eat(Symbol::Comma) {
                break;
            }
        }
        if !self.eat_word("where") {
            return self.unexpected_with("`where`", "an event query reads `process where condition`");
        }
        Some(Filter { categories, condition: self.expression() })
    }

    fn keys(&mut self) -> Option<Vec<Key>> {
        self.bump();
        let mut keys = Vec::new();
        loop {
            let start = self.span();
            let is_optional = self.eat(Symbol::Question);
            let path = self.path()?;
            keys.push(Key { place: Place(start.start..self.last_end()), path, is_optional });
            if matches!(
                self.peek(),
                TokenKind::Symbol(
                    Symbol::OpenParen
                        | Symbol::Star
                        | Symbol::Slash
                        | Symbol::Percent
                        | Symbol::Plus
                        | Symbol::Minus
                )
            ) {
                let message = "a join key is a field, not an expression";
                return self.refuse(Code::FieldToField, message, "join by a field that both events carry");
            }
            if !self.eat(Symbol::Comma) {
                return Some(keys);
            }
        }
    }

    fn maxspan(&mut self) -> Option<Maxspan> {
        let start = self.bump();
        if !self.eat_word("maxspan") {
            return self.unexpected_with("`maxspan`", "a time limit reads `with maxspan=30s`");
        }
        self.expect(Symbol::Assign)?;
        let value = self.span();
        let amount = match *self.peek() {
            TokenKind::Int(amount) => amount,
            _ => return self.unexpected_with("a whole number", "a time limit reads `with maxspan=30s`"),
        };
        self.bump();
        let unit = match self.peek() {
            TokenKind::Word(word) => unit(word),
            _ => None,
        };
        let Some(unit) = unit else {
            let message = "the time limit has no unit";
            let found = Diagnostic::error(Code::BadSpan, value, message);
            self.found.push(
                found.with_help("write `ms`, `s`, `m`, `h` or `d` behind the number, as in `maxspan=30s`"),
            );
            return None;
        };
        self.bump();
        Some(Maxspan { place: Place(start.start..self.last_end()), amount, unit })
    }

    fn runs(&mut self) -> Option<Runs> {
        let start = self.bump();
        if self.peek().is_word("maxspan") {
            let help = "write it before the first step: `sequence by ... with maxspan=30s [...] [...]`";
            return self.refuse(Code::Syntax, "`with maxspan` belongs to the sequence, not to a step", help);
        }
        if !self.eat_word("runs") {
            return self.unexpected_with("`runs`", "a repeated step reads `[...] with runs=3`");
        }
        self.expect(Symbol::Assign)?;
        let count = match *self.peek() {
            TokenKind::Int(count) => count,
            _ => return self.unexpected("a whole number"),
        };
        self.bump();
        Some(Runs { place: Place(start.start..self.last_end()), count })
    }

    /// A field's path. Any word may stand behind a dot.
    fn path(&mut self) -> Option<String> {
        let mut path = String::new();
        loop {
            match self.peek().clone() {
                TokenKind::Word(word) | TokenKind::Quoted(word) => path.push_str(&word),
                _ => return self.unexpected("a field name"),
            }
            self.bump();
            if !self.eat(Symbol::Dot) {
                return Some(path);
            }
            path.push('.');
        }
    }

    fn expect_end(&mut self) {
        match self.peek().clone() {
            TokenKind::End => {}
            TokenKind::Symbol(Symbol::Pipe) => self.pipe(),
            _ if self.has_error() => {}
            TokenKind::Word(word) if ["AND", "OR", "NOT", "IN", "LIKE", "REGEX"].contains(&word.as_str()) => {
                let help = format!("keywords are in lower case: write `{}`", word.to_lowercase());
                let _: Option<()> =
                    self.refuse(Code::Syntax, &format!("expected an operator, found `{word}`"), &help);
            }
            _ => {
                let _: Option<()> = self.unexpected("`and`, `or` or the end of the query");
            }
        }
    }

    fn pipe(&mut self) {
        let start = self.bump();
        let (name, end) = match self.peek() {
            TokenKind::Word(name) => (name.clone(), self.span().end),
            _ => (String::new(), start.end),
        };
        let help = match name.as_str() {
            "filter" => "put the condition behind `where`",
            "count" | "unique_count" => "use a rule of type `threshold`",
            "unique" => "use alert suppression, or a rule of type `new_terms`",
            _ => "leave it out: every match is an alert",
        };
        let message = match name.as_str() {
            "" => "pipes are not supported".to_owned(),
            name => format!("the pipe `{name}` is not supported"),
        };
        self.found.push(Diagnostic::error(Code::Pipe, start.start..end, message).with_help(help));
    }

    fn has_error(&self) -> bool {
        !self.found.is_empty()
    }

    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].span.clone()
    }

    fn last_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].span.end
    }

    /// Moves past the next token, never past the end, and returns where it stood.
    fn bump(&mut self) -> Range<usize> {
        let span = self.span();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        span
    }

    fn eat(&mut self, symbol: Symbol) -> bool {
        let is_next = *self.peek() == TokenKind::Symbol(symbol);
        if is_next {
            self.bump();
        }
        is_next
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_word(word);
        if is_next {
            self.bump();
        }
        is_next
    }

    fn expect(&mut self, symbol: Symbol) -> Option<()> {
        match self.eat(symbol) {
            true => Some(()),
            false => self.unexpected(&format!("`{}`", symbol.as_str())),
        }
    }

    /// Moves to the next of the symbols outside parentheses, or to the end.
    fn skip_to(&mut self, symbols: &[Symbol]) {
        while let kind = self.peek()
            && *kind != TokenKind::End
            && !symbols.iter().any(|symbol| *kind == TokenKind::Symbol(*symbol))
        {
            self.bump();
        }
    }

    fn unexpected<T>(&mut self, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", self.peek());
        self.found.push(Diagnostic::error(Code::Syntax, self.span(), message));
        None
    }

    fn unexpected_with<T>(&mut self, expected: &str, help: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", self.peek());
        self.refuse(Code::Syntax, &message, help)
    }

    fn refuse<T>(&mut self, code: Code, message: &str, help: &str) -> Option<T> {
        self.found.push(Diagnostic::error(code, self.span(), message).with_help(help));
        None
    }
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "ms" => Unit::Millis,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Seconds,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minutes,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hours,
        "d" | "day" | "days" => Unit::Days,
        _ => return None,
    })
}
