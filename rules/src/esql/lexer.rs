//! Query text to tokens.

use std::ops::Range;

use crate::bounds::Bounds;
use crate::diagnostic::{Code, Diagnostic};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A part of a name, or a keyword. Backticks are gone.
    Name {
        text: String,
        is_quoted: bool,
    },
    Text(String),
    Int(i64),
    Float(f64),
    /// One of the operators and brackets.
    Sign(&'static str),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "::", "==", "=~", "!=", "<=", ">=", "|", ",", ".", "(", ")", "[", "]", "=", "<", ">", "+", "-", "*", "/",
    "%", ":", "?", ";", "{", "}",
];

/// The tokens, closed by one of kind `End`, and what is no token.
pub(super) fn lex(text: &str, bounds: &Bounds) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), found: Vec::new() };
    if let Some(message) = bounds.too_long(text) {
        lexer.found.push(Diagnostic::error(Code::TooLong, 0..0, message));
        lexer.at = text.len();
    }
    while lexer.step() {}
    lexer.push(text.len(), Kind::End);
    (lexer.tokens, lexer.found)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
    found: Vec<Diagnostic>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, start: usize, kind: Kind) {
        self.tokens.push(Token { kind, span: start..self.at });
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return false };
        let start = self.at;
        if c.is_whitespace() {
            self.at += c.len_utf8();
        } else if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            self.comment();
        } else if rest.starts_with("\"\"\"") {
            self.raw_text();
        } else if c == '"' {
            self.quoted();
        } else if c == '`' {
            self.backticked();
        } else if c.is_ascii_digit() || self.is_at_fraction() {
            self.number();
        } else if is_name_start(c) {
            let len = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
            self.at += len;
            self.push(start, Kind::Name { text: rest[..len].into(), is_quoted: false });
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            self.push(start, Kind::Sign(sign));
        } else {
            self.stray(c);
        }
        true
    }

    /// `.5`, and not the dot of a name.
    fn is_at_fraction(&self) -> bool {
        let is_fraction =
            self.rest().strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let is_in_name = |last: &Token| {
            last.span.end == self.at && matches!(last.kind, Kind::Name { .. } | Kind::Int(_) | Kind::Float(_))
        };
        is_fraction && !self.tokens.last().is_some_and(is_in_name)
    }

    fn stray(&mut self, c: char) {
        let start = self.at;
        self.at += c.len_utf8();
        if c != '\'' {
            let message = format!("{c:?} has no meaning here");
            self.found.push(Diagnostic::error(Code::UnexpectedCharacter, start..self.at, message));
            return;
        }
        // Read the text that was meant, so that it is not taken for a column.
        let text = self.rest().split(['\'', '\n']).next().unwrap_or_default();
        self.at += text.len();
        self.at += usize::from(self.rest().starts_with('\''));
        self.push(start, Kind::Text(text.into()));
        let message = "texts stand in double quotes";
        let help = format!("write {text:?}");
        self.found
            .push(Diagnostic::error(Code::UnexpectedCharacter, start..self.at, message).with_help(help));
    }

    fn comment(&mut self) {
        let start = self.at;
        match self.rest().find("*/") {
            Some(len) => self.at += len + 2,
            None => {
                self.at = self.text.len();
                let span = start..start + 2;
                self.found.push(Diagnostic::error(Code::UnclosedComment, span, "the comment is not closed"));
            }
        }
    }

    fn raw_text(&mut self) {
        let start = self.at;
        let body = &self.rest()[3..];
        let Some(mut len) = body.find("\"\"\"") else { return self.unclosed(start, "\"\"\"") };
        // Quotes at the very end belong to the text: `""""quoted""""`.
        while body[len + 3..].starts_with('"') && len + 3 < body.len() && body.as_bytes()[len + 3] == b'"' {
            len += 1;
        }
        self.at += 3 + len + 3;
        self.push(start, Kind::Text(body[..len].into()));
    }

    fn quoted(&mut self) {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return self.push(start, Kind::Text(text));
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    Some((escaped, c)) => {
                        let span = start + at..start + escaped + c.len_utf8();
                        let message = format!("\"\\{c}\" is no escape");
                        let help = "write \\\\ for a backslash, or the text in \"\"\"triple quotes\"\"\"";
                        let diagnostic =
                            Diagnostic::error(Code::UnknownEscape, span, message).with_help(help);
                        self.found.push(diagnostic);
                    }
                    None => break,
                },
                c => text.push(c),
            }
        }
        self.unclosed(start, "\"");
    }

    fn backticked(&mut self) {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '`' if chars.peek().is_some_and(|(_, c)| *c == '`') => {
                    chars.next();
                    text.push('`');
                }
                '`' => {
                    self.at += at + 1;
                    return self.push(start, Kind::Name { text, is_quoted: true });
                }
                c => text.push(c),
            }
        }
        self.unclosed(start, "`");
    }

    fn unclosed(&mut self, start: usize, quotes: &str) {
        let line = self.rest().find('\n').unwrap_or(self.rest().len());
        self.at += line.max(1);
        let span = start..start + quotes.len();
        let diagnostic = Diagnostic::error(Code::UnclosedText, span, "the text is not closed");
        self.found.push(diagnostic.with_help(format!("close it with {quotes}")));
    }

    fn number(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let mut len = digits(rest);
        let mut is_float = false;
        if rest[len..].starts_with('.') && digits(&rest[len + 1..]) > 0 {
            is_float = true;
            len += 1 + digits(&rest[len + 1..]);
        }
        if rest[len..].starts_with(['e', 'E']) {
            let exponent = &rest[len + 1..];
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let n_digits = digits(&exponent[sign..]);
            if n_digits > 0 {
                is_float = true;
                len += 1 + sign + n_digits;
            }
        }
        self.at += len;
        let written = &rest[..len];
        let float = || written.parse().ok().filter(|float: &f64| float.is_finite()).map(Kind::Float);
        let kind = match is_float {
            true => float(),
            // Elasticsearch reads what no whole number holds as a broken one.
            false => written.parse().ok().map(Kind::Int).or_else(float),
        };
        match kind {
            Some(kind) => self.push(start, kind),
            None => {
                let message = format!("\"{written}\" is beyond what a number holds");
                self.found.push(Diagnostic::error(Code::BadNumber, start..self.at, message));
            }
        }
    }
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '@')
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@')
}
