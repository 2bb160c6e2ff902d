//! Tokens to a tree. A fault ends its command; the next one is read all the same.

mod expression;

use super::ast::{Aggregate, Assignment, Command, Name, Node, Pattern, Query, SortKey, Span};
use super::lexer::{Kind, Token, lex};
use crate::bounds::Bounds;
use crate::diagnostic::{Code, Diagnostic};

/// Commands that this engine has no meaning for, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("enrich", "events are enriched before rules see them"),
    ("lookup", "events are enriched before rules see them"),
    ("completion", "no rule asks a language model here"),
    ("fork", "write a rule per branch"),
    ("row", "begin with FROM"),
    ("show", "begin with FROM"),
    ("ts", "begin with FROM"),
    ("change_point", "begin from the aggregates and compare them in WHERE"),
];

/// The tree, as far as there is one, and what its syntax lacks.
pub(super) fn parse(text: &str, bounds: &Bounds) -> (Option<Query>, Vec<Diagnostic>) {
    let (tokens, found) = lex(text, bounds);
    let mut parser = Parser { text, tokens, at: 0, depth: 0, max_depth: bounds.depth(), found };
    let query = parser.query();
    (query, parser.found)
}

/// The fault is noted already.
pub(super) struct Failed;

pub(super) type Parsed<T> = Result<T, Failed>;

pub(super) struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    max_depth: usize,
    found: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn query(&mut self) -> Option<Query> {
        let index = match self.from() {
            Ok(index) => Some(index),
            Err(Failed) => {
                self.skip_command();
                None
            }
        };
        let mut commands = Vec::new();
        let mut is_whole = true;
        while self.take_sign("|") {
            match self.command() {
                Ok(command) if self.is_sign("|") || self.is_end() => commands.push(command),
                Ok(_) => {
                    let _ = self.unexpected::<()>("the next command behind a |");
                    is_whole = false;
                }
                Err(Failed) => is_whole = false,
            }
            self.skip_command();
        }
        index.filter(|_| is_whole).map(|index| Query { index, commands })
    }

    fn skip_command(&mut self) {
        while !self.is_sign("|") && !self.is_end() {
            self.at += 1;
        }
    }

    fn from(&mut self) -> Parsed<Vec<String>> {
        if !self.take_word("from") {
            let found = self.word();
            if let Some(word) = found.filter(|word| REFUSED.iter().any(|(name, _)| name == word)) {
                return self.refuse(&word);
            }
            return self.unexpected("FROM and the indices to read");
        }
        let start = self.peek().span.start;
        while !self.is_sign("|") && !self.is_end() && !self.is_word("metadata") {
            self.at += 1;
        }
        let names = &self.text[start..self.peek().span.start];
        let index: Vec<String> = names
            .split(',')
            .map(|name| name.trim().trim_matches('"').to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if index.is_empty() {
            return self.unexpected("the indices to read");
        }
        // `METADATA _id, _index` needs no word here: the columns are always there.
        self.skip_command();
        Ok(index)
    }

    fn command(&mut self) -> Parsed<Command> {
        let Some(word) = self.word() else { return self.unexpected("a command such as WHERE") };
        match word.as_str() {
            "where" => {
                self.at += 1;
                Ok(Command::Where(self.expr()?))
            }
            "eval" => {
                self.at += 1;
                Ok(Command::Eval(self.list(Self::assignment)?))
            }
            "keep" => {
                self.at += 1;
                Ok(Command::Keep(self.list(Self::name_pattern)?))
            }
            "drop" => {
                self.at += 1;
                Ok(Command::Drop(self.list(Self::name_pattern)?))
            }
            "rename" => {
                self.at += 1;
                Ok(Command::Rename(self.list(Self::renaming)?))
            }
            "stats" => {
                self.at += 1;
                self.stats(false)
            }
            "inlinestats" => {
                self.at += 1;
                self.stats(true)
            }
            "inline" => {
                self.at += 1;
                if !self.take_word("stats") {
                    return self.unexpected("STATS behind INLINE");
                }
                self.stats(true)
            }
            "sort" => {
                self.at += 1;
                Ok(Command::Sort(self.list(Self::sort_key)?))
            }
            "limit" => {
                self.at += 1;
                match self.peek().kind {
                    Kind::Int(n) => {
                        self.at += 1;
                        Ok(Command::Limit(usize::try_from(n).unwrap_or(0)))
                    }
                    _ => self.unexpected("a number of rows"),
                }
            }
            "dissect" => {
                self.at += 1;
                self.dissect()
            }
            "grok" => {
                self.at += 1;
                let input = self.expr()?;
                Ok(Command::Grok { input, patterns: self.list(Self::pattern)? })
            }
            "mv_expand" => {
                self.at += 1;
                Ok(Command::Expand(self.name()?))
            }
            word => self.refuse(word),
        }
    }

    fn refuse<T>(&mut self, word: &str) -> Parsed<T> {
        let span = self.peek().span.clone();
        let (message, help) = match REFUSED.iter().find(|(name, _)| *name == word) {
            Some((_, help)) => (format!("{} is not run here", word.to_uppercase()), (*help).to_owned()),
            None => (
                format!("\"{word}\" is no command"),
                "commands: FROM, WHERE, EVAL, STATS, INLINE STATS, KEEP, DROP, RENAME, DISSECT, GROK, MV_EXPAND, SORT, LIMIT"
                    .to_owned(),
            ),
        };
        self.found.push(Diagnostic::error(Code::UnsupportedCommand, span, message).with_help(help));
        Err(Failed)
    }

    fn stats(&mut self, is_inline: bool) -> Parsed<Command> {
        let mut aggregates = Vec::new();
        if !self.is_word("by") {
            aggregates = self.list(|parser| {
                let column = parser.assignment()?;
                let condition = if parser.take_word("where") { Some(parser.expr()?) } else { None };
                Ok(Aggregate { column, condition })
            })?;
        }
        let by = if self.take_word("by") { self.list(Self::assignment)? } else { Vec::new() };
        Ok(Command::Stats { aggregates, by, is_inline })
    }

    fn dissect(&mut self) -> Parsed<Command> {
        let input = self.expr()?;
        let pattern = self.pattern()?;
        let mut separator = String::new();
        if self.take_word("append_separator") {
            self.expect_sign("=")?;
            separator = self.pattern()?.text;
        }
        Ok(Command::Dissect { input, pattern, separator })
    }

    /// `name = expr`, or an expression, which is named by its own text.
    fn assignment(&mut self) -> Parsed<Assignment> {
        let start = self.at;
        if let Ok(name) = self.try_name()
            && self.take_sign("=")
        {
            return Ok(Assignment { name, expr: self.expr()? });
        }
        self.at = start;
        let expr = self.expr()?;
        let text = match &expr.node {
            Node::Column(path) => path.clone(),
            _ => self.text[expr.span.clone()].to_owned(),
        };
        Ok(Assignment { name: Name { text, span: expr.span.clone() }, expr })
    }

    fn renaming(&mut self) -> Parsed<(Name, Name)> {
        let first = self.name()?;
        if self.take_word("as") {
            return Ok((first, self.name()?));
        }
        // The other spelling: `new = old`.
        self.expect_sign("=")?;
        Ok((self.name()?, first))
    }

    fn sort_key(&mut self) -> Parsed<SortKey> {
        let value = self.expr()?;
        let is_falling = !self.take_word("asc") && self.take_word("desc");
        let mut has_nulls_first = None;
        if self.take_word("nulls") {
            has_nulls_first = Some(self.take_word("first"));
            if has_nulls_first == Some(false) && !self.take_word("last") {
                return self.unexpected("FIRST or LAST");
            }
        }
        Ok(SortKey { value, is_falling, has_nulls_first })
    }

    /// A name in which `*` may stand for any text.
    fn name_pattern(&mut self) -> Parsed<Name> {
        let start = self.peek().span.start;
        let mut text = String::new();
        loop {
            match &self.peek().kind {
                Kind::Name { text: part, .. } => text.push_str(part),
                Kind::Sign(sign @ ("*" | "." | "-")) => text.push_str(sign),
                _ => break,
            }
            self.at += 1;
        }
        if text.is_empty() {
            return self.unexpected("the name of a column");
        }
        Ok(Name { text, span: start..self.last_end() })
    }

    fn name(&mut self) -> Parsed<Name> {
        self.try_name().or_else(|()| self.unexpected("the name of a column"))
    }

    fn try_name(&mut self) -> Result<Name, ()> {
        let start = self.peek().span.start;
        let mut text = String::new();
        loop {
            let Kind::Name { text: part, .. } = &self.peek().kind else { return Err(()) };
            text.push_str(part);
            self.at += 1;
            if !self.take_sign(".") {
                break;
            }
            text.push('.');
        }
        Ok(Name { text, span: start..self.last_end() })
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let Token { kind, span } = self.peek().clone();
        match kind {
            Kind::Text(text) => {
                self.at += 1;
                Ok(Pattern { text, span })
            }
            _ => self.unexpected("a text in double quotes"),
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.take_sign(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn peek(&self) -> &Token {
        // The last token is `End`, and nothing steps over it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn last_end(&self) -> usize {
        self.tokens[..self.at].last().map_or(0, |token| token.span.end)
    }

    fn is_end(&self) -> bool {
        self.peek().kind == Kind::End
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek().kind, Kind::Sign(found) if found == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_it = self.is_sign(sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => self.unexpected(&format!("\"{sign}\"")),
        }
    }

    /// The bare name at hand, in lower case: keywords have no case.
    fn word(&self) -> Option<String> {
        match &self.peek().kind {
            Kind::Name { text, is_quoted: false } => Some(text.to_lowercase()),
            _ => None,
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, Kind::Name { text, is_quoted: false } if text.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = self.is_word(word);
        self.at += usize::from(is_it);
        is_it
    }

    fn unexpected<T>(&mut self, wanted: &str) -> Parsed<T> {
        let span = self.peek().span.clone();
        self.fail(Code::Syntax, span, &format!("expected {wanted}"))
    }

    fn fail<T>(&mut self, code: Code, span: Span, message: &str) -> Parsed<T> {
        let label = match span.is_empty() {
            true => "the query ends here".to_owned(),
            false => format!("found {:?}", &self.text[span.clone()]),
        };
        self.found.push(Diagnostic::error(code, span, message).with_label(label));
        Err(Failed)
    }
}
