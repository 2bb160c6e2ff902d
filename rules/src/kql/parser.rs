//! KQL tokens to a tree. A syntax error costs its own clause: parsing goes on at the next `and`, `or` or bracket.

use std::ops::Range;

use super::ast::{Kind, Node, Value, Values};
use super::lexer::{Token, TokenKind, lex, push};
use crate::bounds::Bounds;
use crate::diagnostic::{Code, Diagnostic};
use crate::pattern::wildcard::Piece;

pub(super) fn parse(text: &str, bounds: &Bounds) -> (Option<Node>, Vec<Diagnostic>) {
    if let Some(message) = bounds.too_long(text) {
        return (None, vec![Diagnostic::error(Code::TooLong, 0..0, message).with_help("split the rule")]);
    }
    let (tokens, found) = lex(text);
    let mut parser = Parser { text, tokens, at: 0, depth: 0, max_depth: bounds.depth(), found };
    if *parser.peek() == TokenKind::End {
        return (Some(Node { span: 0..text.len(), kind: Kind::All }), parser.found);
    }
    let query = parser.query();
    if *parser.peek() != TokenKind::End && parser.found.is_empty() {
        let _: Option<()> = parser.unexpected("`and`, `or` or the end of the query");
    }
    (Some(query), parser.found)
}

struct Parser<'a> {
    text: &'a str,
    /// Ends with [`TokenKind::End`].
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    max_depth: usize,
    found: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn query(&mut self) -> Node {
        self.chain(&TokenKind::Or, Kind::Or, |parser| parser.chain(&TokenKind::And, Kind::And, Self::clause))
    }

    fn chain(&mut self, word: &TokenKind, make: fn(Vec<Node>) -> Kind, part: fn(&mut Self) -> Node) -> Node {
        let first = part(self);
        if self.peek() != word {
            return first;
        }
        let span = first.span.start;
        let mut parts = vec![first];
        while self.eat(word) {
            parts.push(part(self));
        }
        Node { span: span..self.last_end(), kind: make(parts) }
    }

    fn clause(&mut self) -> Node {
        let start = self.span().start;
        self.negation().unwrap_or_else(|| {
            self.skip_clause();
            Node { span: start..self.last_end().max(start), kind: Kind::Invalid }
        })
    }

    /// To the next `and` or `or`, or the bracket that closes what surrounds the clause.
    fn skip_clause(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                TokenKind::End => return,
                TokenKind::OpenParen | TokenKind::OpenBrace => open += 1,
                TokenKind::CloseParen | TokenKind::CloseBrace if open == 0 => return,
                TokenKind::CloseParen | TokenKind::CloseBrace => open -= 1,
                TokenKind::And | TokenKind::Or if open == 0 => return,
                _ => {}
            }
            self.bump();
        }
    }

    fn negation(&mut self) -> Option<Node> {
        if *self.peek() != TokenKind::Not {
            return self.primary();
        }
        self.nested(|parser| {
            let start = parser.bump().start;
            let part = parser.negation()?;
            Some(Node { span: start..part.span.end, kind: Kind::Not(part.into()) })
        })
    }

    fn primary(&mut self) -> Option<Node> {
        if *self.peek() == TokenKind::OpenParen {
            return self.nested(|parser| {
                let start = parser.bump().start;
                let inner = parser.query();
                parser.close(&TokenKind::CloseParen, "`)`")?;
                Some(Node { span: start..parser.last_end(), ..inner })
            });
        }
        let value = self.value("a field, a value or `(`")?;
        let start = value.span.start;
        let kind = match self.peek().clone() {
            TokenKind::Colon => {
                self.bump();
                self.field(value)?
            }
            TokenKind::Range(comparison) => {
                self.bump();
                Kind::Range { field: value, comparison, value: self.value("a value")? }
            }
            _ => Kind::Bare(value),
        };
        Some(Node { span: start..self.last_end(), kind })
    }

    /// Behind `field:`.
    fn field(&mut self, field: Value) -> Option<Kind> {
        match self.peek() {
            TokenKind::OpenBrace => self.nested(|parser| {
                parser.bump();
                let query = parser.query();
                parser.close(&TokenKind::CloseBrace, "`}`")?;
                Some(Kind::Nested { field, query: query.into() })
            }),
            TokenKind::Not => {
                let help = "write `not` before the field, or the values in parentheses: `field:(not value)`";
                self.unexpected_with("a value", help)
            }
            _ => Some(Kind::Is { field, values: self.values()? }),
        }
    }

    fn values(&mut self) -> Option<Values> {
        if *self.peek() != TokenKind::OpenParen {
            return self.value("a value").map(Values::One);
        }
        self.nested(|parser| {
            parser.bump();
            let values = parser.or_values()?;
            parser.close(&TokenKind::CloseParen, "`and`, `or` or `)`")?;
            Some(values)
        })
    }

    fn or_values(&mut self) -> Option<Values> {
        let mut parts = vec![self.and_values()?];
        while self.eat(&TokenKind::Or) {
            parts.push(self.and_values()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Values::Or(parts) })
    }

    fn and_values(&mut self) -> Option<Values> {
        let mut parts = vec![self.not_values()?];
        while self.eat(&TokenKind::And) {
            parts.push(self.not_values()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Values::And(parts) })
    }

    fn not_values(&mut self) -> Option<Values> {
        if *self.peek() != TokenKind::Not {
            return self.values();
        }
        self.nested(|parser| {
            parser.bump();
            Some(Values::Not(parser.not_values()?.into()))
        })
    }

    /// A quoted text, or words with the blanks between them.
    fn value(&mut self, expected: &str) -> Option<Value> {
        let span = self.span();
        match self.peek().clone() {
            TokenKind::Quoted(text) => {
                self.bump();
                let pieces = if text.is_empty() { Vec::new() } else { vec![Piece::Text(text)] };
                Some(Value { span, pieces, is_quoted: true })
            }
            TokenKind::Word(mut pieces) => {
                self.bump();
                while let TokenKind::Word(more) = self.peek().clone() {
                    let blank = self.last_end()..self.span().start;
                    self.foreign_operator()?;
                    push(&mut pieces, Piece::Text(self.text[blank].to_owned()));
                    more.into_iter().for_each(|piece| push(&mut pieces, piece));
                    self.bump();
                }
                Some(Value { span: span.start..self.last_end(), pieces, is_quoted: false })
            }
            _ => self.unexpected(expected),
        }
    }

    /// Operators of EQL and SQL would otherwise be words of a value that nothing equals.
    fn foreign_operator(&mut self) -> Option<()> {
        let word = &self.text[self.span()];
        let help = match word {
            "==" | "=" | "like" | "LIKE" => "write `field: value`",
            "!=" | "<>" => "write `not field: value`",
            "in" | "IN" if self.tokens[self.at + 1].kind == TokenKind::OpenParen => "write `field: (a or b)`",
            "&&" => "write `and`",
            "||" => "write `or`",
            _ => return Some(()),
        };
        let found = Diagnostic::error(Code::NotInKql, self.span(), format!("`{word}` is no operator of KQL"));
        self.found.push(found.with_help(help));
        None
    }

    fn close(&mut self, kind: &TokenKind, expected: &str) -> Option<()> {
        if self.eat(kind) {
            return Some(());
        }
        // What went wrong inside has been reported.
        if self.found.is_empty() { self.unexpected(expected) } else { None }
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

    fn bump(&mut self) -> Range<usize> {
        let span = self.span();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        span
    }

    fn eat(&mut self, kind: &TokenKind) -> bool {
        let is_next = self.peek() == kind;
        if is_next {
            self.bump();
        }
        is_next
    }

    /// One level deeper. Bounds the stack of this parser and of everything that walks the tree.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= self.max_depth {
            if !self.found.iter().any(|earlier| earlier.code == Code::TooDeep) {
                let found = Diagnostic::error(Code::TooDeep, self.span(), "the query is nested too deep");
                self.found.push(found.with_help("flatten the query, or split the rule"));
            }
            return None;
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn unexpected<T>(&mut self, expected: &str) -> Option<T> {
        self.unexpected_with(expected, "values with `:`, brackets or keywords go in quotes")
    }

    fn unexpected_with<T>(&mut self, expected: &str, help: &str) -> Option<T> {
        let found = self.peek().describe(&self.text[self.span()]);
        let found =
            Diagnostic::error(Code::Syntax, self.span(), format!("expected {expected}, found {found}"));
        self.found.push(found.with_help(help));
        None
    }
}
