//! `condition`: which selections, in which combination.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic};

const MAX_DEPTH: usize = 64;
const MAX_LEN: usize = 65_536;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Name(String, Range<usize>),
    /// `1 of selection*`, `all of them`. No pattern: all but those that start with `_`.
    Of {
        quantity: Quantity,
        pattern: Option<String>,
        span: Range<usize>,
    },
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    All,
    AtLeast(usize),
}

/// Spans are of the condition's own text.
pub(super) fn parse(text: &str) -> Result<Condition, Diagnostic> {
    if text.len() > MAX_LEN {
        return Err(Diagnostic::error(Code::TooLong, 0..0, "the condition is too long"));
    }
    let mut parser = Parser { tokens: lex(text)?, at: 0, len: text.len() };
    let condition = parser.or(0)?;
    match parser.peek() {
        None => Ok(condition),
        Some(("|", span)) => {
            let message = "counting in a condition was dropped from Sigma";
            let found = Diagnostic::error(Code::UnsupportedRule, span, message);
            Err(found.with_help("write a correlation document: `correlation:` with `type: event_count`"))
        }
        Some((word, span)) => {
            let message = format!("`{word}` follows where `and`, `or` or the end should");
            Err(Diagnostic::error(Code::BadCondition, span, message))
        }
    }
}

type Token<'t> = (&'t str, Range<usize>);

fn lex(text: &str) -> Result<Vec<Token<'_>>, Diagnostic> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' | ')' | '|' => tokens.push((&text[start..=start], start..start + 1)),
            c if is_word(c) => {
                let mut end = start + c.len_utf8();
                while let Some((at, c)) = rest.next_if(|(_, c)| is_word(*c)) {
                    end = at + c.len_utf8();
                }
                tokens.push((&text[start..end], start..end));
            }
            c => {
                let message = format!("`{c}` has no meaning in a condition");
                // What follows a pipe is the old syntax, whatever its characters.
                if tokens.iter().any(|(word, _)| *word == "|") {
                    break;
                }
                let span = start..start + c.len_utf8();
                return Err(Diagnostic::error(Code::BadCondition, span, message));
            }
        }
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '*' | '?' | '.')
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    len: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).cloned()
    }

    fn next_is(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|(next, _)| next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn or(&mut self, depth: usize) -> Result<Condition, Diagnostic> {
        let mut parts = vec![self.and(depth)?];
        while self.next_is("or") {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Or(parts) })
    }

    fn and(&mut self, depth: usize) -> Result<Condition, Diagnostic> {
        let mut parts = vec![self.not(depth)?];
        while self.next_is("and") {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::And(parts) })
    }

    fn not(&mut self, depth: usize) -> Result<Condition, Diagnostic> {
        if depth > MAX_DEPTH {
            let span = self.peek().map_or(0..0, |(_, span)| span);
            let message = format!("the condition is nested deeper than {MAX_DEPTH} levels");
            return Err(Diagnostic::error(Code::TooDeep, span, message));
        }
        match self.next_is("not") {
            true => Ok(Condition::Not(self.not(depth + 1)?.into())),
            false => self.primary(depth),
        }
    }

    fn primary(&mut self, depth: usize) -> Result<Condition, Diagnostic> {
        let Some((word, span)) = self.peek() else {
            return Err(self.fault(self.len..self.len, "the condition ends where a selection should follow"));
        };
        self.at += 1;
        match word {
            "(" => {
                let inner = self.or(depth + 1)?;
                if !self.next_is(")") {
                    return Err(self.fault(span, "this bracket is not closed"));
                }
                Ok(inner)
            }
            ")" | "|" => Err(self.fault(span, "a selection's name should stand here")),
            word if self.next_is("of") => self.of(word, span),
            word if ["and", "or", "of", "them"].contains(&word.to_ascii_lowercase().as_str()) => {
                Err(self.fault(span, &format!("`{word}` stands where a selection's name should")))
            }
            word => Ok(Condition::Name(word.to_owned(), span)),
        }
    }

    fn of(&mut self, word: &str, span: Range<usize>) -> Result<Condition, Diagnostic> {
        let quantity = match word.to_ascii_lowercase().as_str() {
            "all" => Quantity::All,
            "any" => Quantity::AtLeast(1),
            number => match number.parse() {
                Ok(number) if number > 0 => Quantity::AtLeast(number),
                _ => return Err(self.fault(span, &format!("`{word} of` is neither `1 of` nor `all of`"))),
            },
        };
        let Some((pattern, end)) = self.peek().filter(|(word, _)| !["(", ")", "|"].contains(word)) else {
            return Err(self.fault(span, "`of` is followed by `them` or a pattern of selections"));
        };
        self.at += 1;
        let pattern = (!pattern.eq_ignore_ascii_case("them")).then(|| pattern.to_owned());
        Ok(Condition::Of { quantity, pattern, span: span.start..end.end })
    }

    fn fault(&self, span: Range<usize>, message: &str) -> Diagnostic {
        let help = "as in: selection and not 1 of filter_*";
        Diagnostic::error(Code::BadCondition, span, message).with_help(help)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(condition: &Condition) -> String {
        let joined = |parts: &[Condition], word: &str| {
            let parts: Vec<String> = parts.iter().map(shown).collect();
            format!("({})", parts.join(word))
        };
        match condition {
            Condition::Name(name, _) => name.clone(),
            Condition::Of { quantity, pattern, .. } => {
                format!("{quantity:?}[{}]", pattern.as_deref().unwrap_or("them"))
            }
            Condition::And(parts) => joined(parts, " & "),
            Condition::Or(parts) => joined(parts, " | "),
            Condition::Not(part) => format!("!{}", shown(part)),
        }
    }

    #[test]
    fn or_binds_least_then_and_then_not_then_of() {
        for (text, expect) in [
            ("a or b and not c", "(a | (b & !c))"),
            ("not 1 of f_* and a", "(!AtLeast(1)[f_*] & a)"),
            ("all of them", "All[them]"),
            ("any of sel*", "AtLeast(1)[sel*]"),
            ("(a or b) and c", "((a | b) & c)"),
            ("NOT a AND b", "(!a & b)"),
            ("and_filter or of_them", "(and_filter | of_them)"),
            ("2 of s-*", "AtLeast(2)[s-*]"),
        ] {
            assert_eq!(parse(text).map(|condition| shown(&condition)), Ok(expect.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_marked() {
        for (text, code, at) in [
            ("", Code::BadCondition, 0..0),
            ("a and", Code::BadCondition, 5..5),
            ("(a or b", Code::BadCondition, 0..1),
            ("a b", Code::BadCondition, 2..3),
            ("a = b", Code::BadCondition, 2..3),
            ("0 of x*", Code::BadCondition, 0..1),
            ("1 of", Code::BadCondition, 0..1),
            ("a | count() by b > 5", Code::UnsupportedRule, 2..3),
        ] {
            let found = parse(text).expect_err(text);
            assert_eq!((found.code, found.span), (code, at), "{text}");
        }
        assert_eq!(parse(&"(".repeat(1_000)).map_err(|found| found.code), Err(Code::TooDeep));
        assert_eq!(parse(&"not ".repeat(1_000)).map_err(|found| found.code), Err(Code::TooDeep));
    }

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_says_why(text in "(a|b\\*|1|all|of|them|and|or|not|\\(|\\)| |é|\\|){0,24}") {
            if let Err(found) = parse(&text) {
                prop_assert!(text.get(found.span).is_some());
            }
        }
    }
}
