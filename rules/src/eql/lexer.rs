//! EQL text to tokens. A fault yields a diagnostic and, where the rest can still be read, a token in its place.

use std::ops::Range;

use super::token::{Symbol, Token, TokenKind};
use crate::diagnostic::{Code, Diagnostic};

pub(super) fn lex(text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), found: Vec::new() };
    while lexer.next() {}
    (lexer.tokens, lexer.found)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    found: Vec<Diagnostic>,
}

/// Two-character operators come first.
const SYMBOLS: [Symbol; 22] = [
    Symbol::Equal,
    Symbol::NotEqual,
    Symbol::LessOrEqual,
    Symbol::GreaterOrEqual,
    Symbol::Less,
    Symbol::Greater,
    Symbol::Colon,
    Symbol::Assign,
    Symbol::Plus,
    Symbol::Minus,
    Symbol::Star,
    Symbol::Slash,
    Symbol::Percent,
    Symbol::Dot,
    Symbol::Comma,
    Symbol::OpenParen,
    Symbol::CloseParen,
    Symbol::OpenBracket,
    Symbol::CloseBracket,
    Symbol::Question,
    Symbol::Bang,
    Symbol::Pipe,
];

impl Lexer<'_> {
    /// Reads one token or skips one blank or comment; false at the end.
    fn next(&mut self) -> bool {
        let start = self.at;
        let rest = &self.text[start..];
        let Some(c) = rest.chars().next() else {
            self.push(TokenKind::End, start);
            return false;
        };
        if c.is_whitespace() {
            self.at += c.len_utf8();
        } else if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            self.block_comment(start);
        } else if rest.starts_with("\"\"\"") {
            self.raw_text(start);
        } else if c == '"' {
            self.text(start);
        } else if c == '`' {
            self.quoted(start);
        } else if is_word_start(c) {
            self.word(start);
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            self.number(start);
        } else {
            self.symbol(start, c);
        }
        true
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        self.tokens.push(Token { kind, span: start..self.at });
    }

    fn block_comment(&mut self, start: usize) {
        match self.text[start + 2..].find("*/") {
            Some(len) => self.at = start + 2 + len + 2,
            None => {
                self.at = self.text.len();
                self.report(
                    Code::UnclosedComment,
                    start..start + 2,
                    "the comment is not closed",
                    "close it with `*/`",
                );
            }
        }
    }

    fn raw_text(&mut self, start: usize) {
        let body = start + 3;
        match self.text[body..].find("\"\"\"") {
            Some(len) => {
                // Up to two quotes may end the text itself: `"""a""""` is `a"`.
                let quotes = self.text[body + len..].bytes().take_while(|byte| *byte == b'"').count().min(5);
                let end = body + len + quotes - 3;
                self.at = end + 3;
                self.push(TokenKind::Text(self.text[body..end].to_owned()), start);
            }
            None => {
                self.at = self.text.len();
                self.report(
                    Code::UnclosedText,
                    start..body,
                    "the raw text is not closed",
                    "close it with `\"\"\"`",
                );
                self.push(TokenKind::Text(self.text[body..].to_owned()), start);
            }
        }
    }

    fn text(&mut self, start: usize) {
        let mut value = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            match rest.chars().next() {
                None | Some('\n' | '\r') => {
                    let help = "close it with `\"` on the same line";
                    self.report(Code::UnclosedText, start..self.at, "the text is not closed", help);
                    break;
                }
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('\\') => self.escape(&mut value),
                Some(c) => {
                    value.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        self.push(TokenKind::Text(value), start);
    }

    fn escape(&mut self, value: &mut String) {
        let start = self.at;
        let mut chars = self.text[start + 1..].chars();
        let Some(c) = chars.next() else {
            self.at = self.text.len();
            return;
        };
        self.at = start + 1 + c.len_utf8();
        value.push(match c {
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            '"' | '\'' | '\\' => c,
            'u' => match unicode_escape(chars.as_str()) {
                Some((c, len)) => {
                    self.at += len;
                    c
                }
                None => {
                    let help = "write the code point in hexadecimal, as in `\\u{e9}`";
                    self.report(Code::UnknownEscape, start..self.at, "`\\u` names no character", help);
                    return;
                }
            },
            '\n' | '\r' => {
                // The text ends with its line, which the caller reports.
                self.at = start + 1;
                return;
            }
            other => {
                let message = format!("`\\{other}` is no escape");
                let help = "double the backslash, or use a raw text `\"\"\"...\"\"\"`";
                self.report(Code::UnknownEscape, start..self.at, message, help);
                other
            }
        });
    }

    fn quoted(&mut self, start: usize) {
        let mut value = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(c) = rest.chars().next() else {
                self.report(
                    Code::UnclosedText,
                    start..start + 1,
                    "the field name is not closed",
                    "close it with a backtick",
                );
                break;
            };
            self.at += c.len_utf8();
            match c {
                '`' if rest[1..].starts_with('`') => {
                    value.push('`');
                    self.at += 1;
                }
                '`' => break,
                c => value.push(c),
            }
        }
        if value.is_empty() {
            self.report(
                Code::Syntax,
                start..self.at,
                "a field name is empty",
                "write the field between the backticks",
            );
        }
        self.push(TokenKind::Quoted(value), start);
    }

    fn word(&mut self, start: usize) {
        let rest = &self.text[start..];
        let len = rest.find(|c| !is_word_part(c)).unwrap_or(rest.len());
        let word = rest[..len].to_owned();
        self.at += len;
        if rest[len..].starts_with('~') {
            self.at += 1;
            self.push(TokenKind::TildeWord(word), start);
        } else {
            self.push(TokenKind::Word(word), start);
        }
    }

    fn number(&mut self, start: usize) {
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(start);
        let mut is_float = false;
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            is_float = true;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(exponent).is_some_and(u8::is_ascii_digit) {
                is_float = true;
                end = digits(exponent);
            }
        }
        self.at = end;
        let written = &self.text[start..end];
        let kind = match is_float {
            true => written.parse().ok().filter(|float: &f64| float.is_finite()).map(TokenKind::Float),
            false => written.parse().ok().map(TokenKind::Int),
        };
        if kind.is_none() {
            let help = "numbers are 64 bits wide; write an identifier as a text";
            self.report(Code::BadNumber, start..end, "the number is too large", help);
        }
        self.push(kind.unwrap_or(TokenKind::Int(0)), start);
    }

    fn symbol(&mut self, start: usize, c: char) {
        let rest = &self.text[start..];
        for (legacy, help) in [
            ("&&", "write `and`"),
            ("||", "write `or`"),
            ("?\"", "write a raw text as `\"\"\"...\"\"\"`"),
            ("'", "quote texts with `\"`"),
        ] {
            if rest.starts_with(legacy) {
                let message = format!("`{legacy}` is not part of EQL");
                self.legacy(start, legacy, message, help);
                return;
            }
        }
        match SYMBOLS.iter().find(|symbol| rest.starts_with(symbol.as_str())) {
            Some(symbol) => {
                self.at += symbol.as_str().len();
                self.push(TokenKind::Symbol(*symbol), start);
            }
            None => {
                self.at += c.len_utf8();
                let message = format!("unexpected character {c:?}");
                self.report(
                    Code::UnexpectedCharacter,
                    start..self.at,
                    message,
                    "quote field names that hold it with backticks",
                );
            }
        }
    }

    /// Reports old syntax and goes on with what it stood for.
    fn legacy(&mut self, start: usize, written: &str, message: String, help: &str) {
        self.at += written.len();
        self.report(Code::LegacySyntax, start..self.at, message, help);
        match written {
            "&&" => self.push(TokenKind::Word("and".to_owned()), start),
            "||" => self.push(TokenKind::Word("or".to_owned()), start),
            _ => {
                let quote = written.as_bytes()[written.len() - 1] as char;
                let rest = &self.text[self.at..];
                let len = rest.find([quote, '\n']).unwrap_or(rest.len());
                let value = rest[..len].to_owned();
                self.at += len + usize::from(rest[len..].starts_with(quote));
                self.push(TokenKind::Text(value), start);
            }
        }
    }

    fn report(&mut self, code: Code, span: Range<usize>, message: impl Into<String>, help: &str) {
        self.found.push(Diagnostic::error(code, span, message).with_help(help));
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '@')
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '@'
}

/// `{e9}`: the character, and the bytes it takes.
fn unicode_escape(rest: &str) -> Option<(char, usize)> {
    let digits = rest.strip_prefix('{')?;
    let len = digits.find('}').filter(|len| (2..=8).contains(len))?;
    let code = u32::from_str_radix(&digits[..len], 16).ok()?;
    Some((char::from_u32(code)?, len + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        let (tokens, found) = lex(text);
        assert_eq!(found, [], "{text}");
        tokens.into_iter().map(|token| token.kind).filter(|kind| *kind != TokenKind::End).collect()
    }

    fn text_of(text: &str) -> String {
        match kinds(text).as_slice() {
            [TokenKind::Text(value)] => value.clone(),
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn texts_are_unescaped_and_raw_texts_are_not() {
        assert_eq!(text_of(r#""a\\b\"c\t\u{e9}\u{0001F600}""#), "a\\b\"c\té😀");
        assert_eq!(text_of(r#""""a\n"b""""#), r#"a\n"b"#);
        assert_eq!(text_of(r#""""C:\*\x""""""#), r#"C:\*\x"""#);
        assert_eq!(text_of(r#""""""""#), "");
    }

    #[test]
    fn numbers_words_and_operators() {
        assert_eq!(
            kinds("1 2.5 1e3 .5"),
            [TokenKind::Int(1), TokenKind::Float(2.5), TokenKind::Float(1000.0), TokenKind::Float(0.5)]
        );
        assert_eq!(kinds("30s"), [TokenKind::Int(30), TokenKind::Word("s".into())]);
        assert_eq!(
            kinds("in~ @timestamp `a-b``c`"),
            [
                TokenKind::TildeWord("in".into()),
                TokenKind::Word("@timestamp".into()),
                TokenKind::Quoted("a-b`c".into())
            ]
        );
        assert_eq!(
            kinds("a // b\n/* c */ <="),
            [TokenKind::Word("a".into()), TokenKind::Symbol(Symbol::LessOrEqual)]
        );
    }

    #[test]
    fn faults_have_their_code() {
        for (text, code) in [
            ("\"a", Code::UnclosedText),
            ("\"a\n", Code::UnclosedText),
            ("\"\"\"a", Code::UnclosedText),
            ("`a", Code::UnclosedText),
            ("``", Code::Syntax),
            (r#""\q""#, Code::UnknownEscape),
            (r#""\u{d800}""#, Code::UnknownEscape),
            ("99999999999999999999", Code::BadNumber),
            ("1e999", Code::BadNumber),
            ("/* a", Code::UnclosedComment),
            ("'a'", Code::LegacySyntax),
            ("a && b", Code::LegacySyntax),
            ("é", Code::UnexpectedCharacter),
        ] {
            let (_, found) = lex(text);
            assert_eq!(found.first().map(|diagnostic| diagnostic.code), Some(code), "{text}");
        }
    }
}
