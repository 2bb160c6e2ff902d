//! `GROK`: a text taken apart by a regular expression with named patterns in it.
//!
//! The named patterns are the well-known ones of log shippers. Matching backtracks, within a bound that is no text's
//! fault: beyond it the text does not match.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use fancy_regex::{Regex, RegexBuilder};
use rustc_hash::FxHashMap;

use super::value::{Cell, Type};
use crate::literal::{FloatBits, Literal, Number};

/// Names inside named patterns, and how long the whole may grow.
const MAX_DEPTH: usize = 32;
const MAX_EXPANDED: usize = 1 << 16;
const MAX_COMPILED: usize = 1 << 22;
/// Steps back that one text may cost.
const MAX_STEPS: usize = 100_000;
/// A text beyond this is no line of a log.
const MAX_TEXT: usize = 1 << 16;

/// Compiled patterns, of which the first that matches counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grok {
    patterns: Vec<Pattern>,
    columns: Vec<(String, Type)>,
}

#[derive(Clone)]
struct Pattern {
    text: Arc<str>,
    regex: Arc<Regex>,
    /// By capture of the expression: the column it goes to.
    captures: Vec<(String, usize)>,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Grok {
    /// # Errors
    /// Which pattern is wrong, and what about it.
    pub(super) fn first_of(patterns: &[&str]) -> Result<Self, (usize, String)> {
        let mut grok = Self { patterns: Vec::new(), columns: Vec::new() };
        for (at, pattern) in patterns.iter().enumerate() {
            grok.add(pattern).map_err(|message| (at, message))?;
        }
        Ok(grok)
    }

    fn add(&mut self, pattern: &str) -> Result<(), String> {
        let mut expansion = Expansion { columns: std::mem::take(&mut self.columns), ..Expansion::default() };
        expansion.expand(pattern, 0, true)?;
        if expansion.captures.is_empty() {
            return Err("the pattern names no column, as %{IP:client} and (?<client>...) do".to_owned());
        }
        let regex = RegexBuilder::new(&expansion.regex)
            .backtrack_limit(MAX_STEPS)
            .delegate_size_limit(MAX_COMPILED)
            .build()
            .map_err(|error| format!("the pattern is no regular expression: {error}"))?;
        let Expansion { captures, columns, .. } = expansion;
        self.patterns.push(Pattern { text: pattern.into(), regex: Arc::new(regex), captures });
        self.columns = columns;
        Ok(())
    }

    pub(super) fn columns(&self) -> &[(String, Type)] {
        &self.columns
    }

    /// A cell per column. `None`: the text does not match.
    pub(super) fn take_apart(&self, text: &str) -> Option<Vec<Cell>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut patterns = self.patterns.iter();
        let (found, captures) = patterns.find_map(|pattern| {
            let found = pattern.regex.captures(text).ok()??;
            Some((found, &pattern.captures))
        })?;
        let mut cells = vec![Cell::new(); self.columns.len()];
        for (capture, column) in captures {
            let Some(part) = found.name(capture) else { continue };
            cells[*column].extend(convert(part.as_str(), self.columns[*column].1));
        }
        Some(cells)
    }
}

fn convert(text: &str, kind: Type) -> Option<Literal> {
    Some(match kind {
        Type::Long => match Number::parse(text)? {
            Number::Int(int) => Literal::Int(int),
            Number::Float(float) => Literal::Int(float as i64),
        },
        Type::Double => Literal::Float(FloatBits::new(Number::parse(text)?.as_f64())),
        Type::Bool => Literal::Bool(text.parse().ok()?),
        _ => Literal::Text(text.into()),
    })
}

/// The regular expression with every named pattern in its place. Captures have names of their own, since columns have
/// dots in theirs.
#[derive(Default)]
struct Expansion {
    regex: String,
    captures: Vec<(String, usize)>,
    columns: Vec<(String, Type)>,
}

impl Expansion {
    fn expand(&mut self, pattern: &str, depth: usize, is_outermost: bool) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("the named patterns nest too deep".to_owned());
        }
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            if self.regex.len() > MAX_EXPANDED {
                return Err(format!("the pattern grows beyond {MAX_EXPANDED} bytes"));
            }
            if let Some(inside) = rest.strip_prefix("%{") {
                let (name, behind) = inside.split_once('}').ok_or("\"%{\" is not closed by \"}\"")?;
                self.named(name, depth, is_outermost)?;
                rest = behind;
            } else if let Some((name, behind)) = group(rest) {
                match is_outermost {
                    true => self.open(name, Type::Text),
                    // What a named pattern calls its parts is nobody's column.
                    false => self.regex.push_str("(?:"),
                }
                rest = behind;
            } else {
                let len = match c {
                    '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                    c => c.len_utf8(),
                };
                self.regex.push_str(&rest[..len]);
                rest = &rest[len..];
            }
        }
        Ok(())
    }

    /// `SYNTAX`, `SYNTAX:column` or `SYNTAX:column:type`.
    fn named(&mut self, written: &str, depth: usize, is_outermost: bool) -> Result<(), String> {
        let mut parts = written.splitn(3, ':');
        let syntax = parts.next().unwrap_or_default();
        let (column, kind) = (parts.next().filter(|column| !column.is_empty()), parts.next());
        let kind = match kind {
            None => Type::Text,
            Some("int" | "long") => Type::Long,
            Some("float" | "double") => Type::Double,
            Some("boolean") => Type::Bool,
            Some(other) => return Err(format!("\"{other}\" is no type: int, long, float, double, boolean")),
        };
        let pattern = known(syntax).ok_or_else(|| unknown(syntax))?;
        match column {
            Some(column) if is_outermost => self.open(column, kind),
            _ => self.regex.push_str("(?:"),
        }
        self.expand(pattern, depth + 1, false)?;
        self.regex.push(')');
        Ok(())
    }

    fn open(&mut self, column: &str, kind: Type) {
        let place = match self.columns.iter().position(|(name, _)| name == column) {
            Some(place) => place,
            None => {
                self.columns.push((column.to_owned(), kind));
                self.columns.len() - 1
            }
        };
        let capture = format!("g{}", self.captures.len());
        let _ = write!(self.regex, "(?<{capture}>");
        self.captures.push((capture, place));
    }
}

/// `(?<name>` at the beginning, and what follows it.
fn group(rest: &str) -> Option<(&str, &str)> {
    let inside = rest.strip_prefix("(?<").or_else(|| rest.strip_prefix("(?P<"))?;
    let (name, behind) = inside.split_once('>')?;
    let is_name = name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@'));
    (is_name && !name.contains(['(', ')'])).then_some((name, behind))
}

fn table() -> &'static FxHashMap<&'static str, &'static str> {
    static TABLE: OnceLock<FxHashMap<&'static str, &'static str>> = OnceLock::new();
    TABLE.get_or_init(|| grok::patterns().iter().copied().collect())
}

fn known(name: &str) -> Option<&'static str> {
    table().get(name).copied()
}

fn unknown(name: &str) -> String {
    let near = table().keys().map(|known| (strsim::osa_distance(name, known), known));
    match near.filter(|(distance, _)| *distance <= 1 + name.len() / 4).min() {
        Some((_, known)) => format!("no pattern is called \"{name}\"; did you mean \"{known}\"?"),
        None => format!("no pattern is called \"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expect: &[(&str, &str)]) {
        let grok = Grok::first_of(&[pattern]).unwrap_or_else(|fault| panic!("{pattern}: {}", fault.1));
        let cells = grok.take_apart(text);
        let shown: Vec<(String, String)> = cells
            .into_iter()
            .flatten()
            .zip(grok.columns())
            .map(|(cell, (name, _))| {
                (name.clone(), cell.iter().map(super::super::value::text).collect::<Vec<_>>().join(","))
            })
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let shown: Vec<(&str, &str)> =
            shown.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(shown, expect, "{pattern} on {text}");
    }

    #[test]
    fn named_patterns_and_groups() {
        check("%{IP:client} %{WORD:method}", "10.0.0.1 GET /", &[("client", "10.0.0.1"), ("method", "GET")]);
        check("%{IP:client}", "from 2001:db8::1 on", &[("client", "2001:db8::1")]);
        check("%{NUMBER:n:int} %{NUMBER:f:double}", "7 2.5", &[("n", "7"), ("f", "2.5")]);
        check(
            ":(?<Esql.caller>[0-9]{12}):",
            "arn:aws:iam::111122223333:root",
            &[("Esql.caller", "111122223333")],
        );
        check(
            "%{URIPROTO:proto}://%{URIHOST:host}",
            "curl -o x https://198.51.100.7:8443/a",
            &[("proto", "https"), ("host", "198.51.100.7:8443")],
        );
        check("accessKeyId=%{NOTSPACE:key},", "{accessKeyId=AKIAX, b=1}", &[("key", "AKIAX")]);
        check("%{WORD:a} %{WORD:a}", "x y", &[("a", "x,y")]);
        check("%{WORD:a}!", "no", &[]);
        check("(?i:HTTPS?)://(?<h>[^/]+)", "see https://x.example/y", &[("h", "x.example")]);
    }

    #[test]
    fn faults_are_said() {
        let fault = |pattern: &str| Grok::first_of(&[pattern]).expect_err(pattern).1;
        assert_eq!(fault("%{WROD:a}"), "no pattern is called \"WROD\"; did you mean \"WORD\"?");
        assert!(fault("%{WORD}").starts_with("the pattern names no column"));
        assert!(fault("%{WORD:a:date}").starts_with("\"date\" is no type"));
        assert!(fault("%{WORD:a").contains("not closed"));
        assert!(fault("(?<a>x").contains("no regular expression"));
    }

    #[test]
    fn the_common_patterns_compile() {
        let names = "USERNAME EMAILADDRESS INT BASE10NUM NUMBER BASE16NUM POSINT WORD NOTSPACE SPACE DATA GREEDYDATA QUOTEDSTRING \
                     UUID URN MAC IPV6 IPV4 IP HOSTNAME IPORHOST HOSTPORT PATH UNIXPATH TTY URIPROTO URIHOST URIPATH URIPATHPARAM URI \
                     MONTH MONTHNUM MONTHDAY DAY YEAR HOUR MINUTE SECOND TIME DATE_US TIMESTAMP_ISO8601 DATESTAMP SYSLOGTIMESTAMP \
                     PROG SYSLOGHOST HTTPDATE LOGLEVEL";
        for name in names.split_whitespace() {
            if let Err((_, fault)) = Grok::first_of(&[&format!("%{{{name}:x}}")]) {
                panic!("{name}: {fault}");
            }
        }
    }

    #[test]
    fn a_bomb_does_not_match_and_ends() {
        let grok = Grok::first_of(&["(?<a>(?:x+x+)+y)(?=z)"]).expect("a pattern");
        assert_eq!(grok.take_apart(&"x".repeat(10_000)), None);
    }
}
