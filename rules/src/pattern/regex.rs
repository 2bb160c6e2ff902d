//! Lucene regular expressions, the ones EQL's `regex` and ES|QL's `RLIKE` take: always anchored at both ends, `^` and
//! `$` are plain characters, `"..."` quotes. Translated to the `regex` crate, which runs in linear time.

use std::hash::{Hash, Hasher};
use std::iter::Peekable;
use std::str::Chars;

use super::Case;

/// Bounds the compiled size: a rule file is data, and `(.{1000}){1000}` must not cost the process its memory.
const MAX_COMPILED_BYTES: usize = 1 << 20;
const MAX_NESTING: u32 = 64;

/// A compiled expression that matches a whole value.
#[derive(Debug, Clone)]
pub struct Regex {
    source: Box<str>,
    case: Case,
    /// The same text means another thing in another dialect.
    dialect: Dialect,
    compiled: regex::Regex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Dialect {
    Lucene,
    Perl(PerlFlags),
}

/// How an expression of Perl's kind reads lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PerlFlags {
    /// `m`: `^` and `$` also stand for the start and the end of a line.
    pub is_multi_line: bool,
    /// `s`: `.` also stands for a line break.
    pub dot_matches_line_break: bool,
}

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    #[error(
        "Lucene's {what} operator `{operator}` is not supported; escape it as `\\{operator}` if the character is meant"
    )]
    Operator { operator: char, what: &'static str },
    #[error("{what} is not closed")]
    Unclosed { what: &'static str },
    #[error("the expression ends in a lone backslash")]
    LoneBackslash,
    #[error("the expression compiles to more than {MAX_COMPILED_BYTES} bytes; bound its repetitions")]
    TooLarge,
    #[error("{reason}")]
    Syntax { reason: String },
}

impl Regex {
    pub fn new(source: &str, case: Case) -> Result<Self, RegexError> {
        let pattern = translate(source)?;
        Self::build(&pattern, source, case, Dialect::Lucene)
    }

    /// An expression of Perl's kind that is to be found anywhere in the value, as Sigma's `re` takes them.
    pub fn perl(source: &str, case: Case, flags: PerlFlags) -> Result<Self, RegexError> {
        Self::build(source, source, case, Dialect::Perl(flags))
    }

    fn build(pattern: &str, source: &str, case: Case, dialect: Dialect) -> Result<Self, RegexError> {
        let flags = match dialect {
            Dialect::Lucene => PerlFlags { is_multi_line: false, dot_matches_line_break: true },
            Dialect::Perl(flags) => flags,
        };
        let compiled = regex::RegexBuilder::new(pattern)
            .case_insensitive(case == Case::Folded)
            .multi_line(flags.is_multi_line)
            .dot_matches_new_line(flags.dot_matches_line_break)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|err| explain(&err))?;
        Ok(Self { source: source.into(), case, dialect, compiled })
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn case(&self) -> Case {
        self.case
    }
}

/// The last line of the crate's message, without the picture of a pattern the author never wrote.
fn explain(err: &regex::Error) -> RegexError {
    match err {
        regex::Error::CompiledTooBig(_) => RegexError::TooLarge,
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            RegexError::Syntax { reason }
        }
    }
}

fn translate(source: &str) -> Result<String, RegexError> {
    let mut out = String::with_capacity(source.len() + 16);
    out.push_str(r"\A(?:");
    let mut chars = source.chars().peekable();
    let mut depth = 0_u32;
    while let Some(c) = chars.next() {
        match c {
            '\\' => push_escape(&mut out, chars.next().ok_or(RegexError::LoneBackslash)?),
            '"' => push_quoted(&mut out, &mut chars)?,
            '[' => push_class(&mut out, &mut chars)?,
            // Never the crate's own `(?...)` syntax: Lucene has no flags or named groups.
            '(' => {
                depth += 1;
                out.push_str("(?:");
            }
            // A stray `)` would otherwise close the group that holds the anchors.
            ')' => {
                depth = depth.checked_sub(1).ok_or_else(|| RegexError::Syntax {
                    reason: "`)` closes nothing; escape it as `\\)`".to_owned(),
                })?;
                out.push(')');
            }
            '{' => push_repeat(&mut out, &mut chars)?,
            '.' | '|' | '*' | '+' | '?' => out.push(c),
            '@' => out.push_str("(?:.*)"),
            '#' => out.push_str(r"[^\s\S]"),
            '~' => return Err(RegexError::Operator { operator: c, what: "complement" }),
            '&' => return Err(RegexError::Operator { operator: c, what: "intersection" }),
            '<' => return Err(RegexError::Operator { operator: c, what: "interval" }),
            literal => push_literal(&mut out, literal),
        }
    }
    if depth > 0 {
        return Err(RegexError::Unclosed { what: "a group `(`" });
    }
    out.push_str(r")\z");
    Ok(out)
}

/// Lucene's predefined classes are ASCII.
fn push_escape(out: &mut String, escaped: char) {
    match escaped {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str(r"[ \t\n\r]"),
        'S' => out.push_str(r"[^ \t\n\r]"),
        literal => push_literal(out, literal),
    }
}

fn push_literal(out: &mut String, literal: char) {
    if regex_syntax_char(literal) {
        out.push('\\');
    }
    out.push(literal);
}

fn regex_syntax_char(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '<' | '>')
}

fn push_quoted(out: &mut String, chars: &mut Peekable<Chars<'_>>) -> Result<(), RegexError> {
    out.push_str("(?:");
    loop {
        match chars.next() {
            Some('"') => break,
            Some(literal) => push_literal(out, literal),
            None => return Err(RegexError::Unclosed { what: "a quoted text `\"`" }),
        }
    }
    out.push(')');
    Ok(())
}

/// `{n}`, `{n,}` or `{n,m}`.
fn push_repeat(out: &mut String, chars: &mut Peekable<Chars<'_>>) -> Result<(), RegexError> {
    out.push('{');
    loop {
        match chars.next() {
            Some('}') => break,
            Some(c) if c.is_ascii_digit() || c == ',' => out.push(c),
            Some(_) => {
                let reason =
                    "`{` counts repetitions, as in `{1,3}`; escape it as `\\{` if the character is meant";
                return Err(RegexError::Syntax { reason: reason.to_owned() });
            }
            None => return Err(RegexError::Unclosed { what: "a repetition `{`" }),
        }
    }
    out.push('}');
    Ok(())
}

fn push_class(out: &mut String, chars: &mut Peekable<Chars<'_>>) -> Result<(), RegexError> {
    const UNCLOSED: RegexError = RegexError::Unclosed { what: "a character class `[`" };
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut is_first = true;
    loop {
        let c = chars.next().ok_or(UNCLOSED)?;
        match c {
            ']' if !is_first => break,
            // A range, unless it stands first or last.
            '-' if !is_first && chars.peek().is_some_and(|next| *next != ']') => out.push('-'),
            '\\' => push_escape(out, chars.next().ok_or(RegexError::LoneBackslash)?),
            literal => push_literal(out, literal),
        }
        is_first = false;
    }
    out.push(']');
    Ok(())
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.case == other.case && self.dialect == other.dialect && self.source == other.source
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.case.hash(state);
        self.dialect.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(source: &str, text: &str, expect: bool) {
        let regex = Regex::new(source, Case::Sensitive).unwrap_or_else(|err| panic!("{source}: {err}"));
        assert_eq!(regex.is_match(text), expect, "{source} on {text}");
    }

    #[test]
    fn expressions_are_anchored_and_speak_lucene() {
        for (source, text, expect) in [
            ("ab", "abc", false),
            ("ab|abc", "abc", true),
            ("a.c", "a\nc", true),
            ("^a$", "a", false),
            ("^a$", "^a$", true),
            (r"\d+\w", "12_", true),
            (r"\d", "٣", false),
            (r#"a"b.c"*"#, "ab.cb.c", true),
            (r#"a"b.c""#, "abxc", false),
            ("[a-c-]+", "a-c", true),
            ("[^a&&b]", "&", false),
            ("[^a&&b]", "c", true),
            (r"[\]\[]+", "[]", true),
            ("@tail", "any tail", true),
            ("x#|y", "y", true),
            ("a{2,3}", "aaa", true),
            ("a{2}", "aaa", false),
            ("a}", "a}", true),
            ("(a|b)?c", "bc", true),
            ("-/=!%", "-/=!%", true),
        ] {
            check(source, text, expect);
        }
    }

    #[test]
    fn folded_expressions_ignore_case() {
        assert!(Regex::new("ab.*", Case::Folded).expect("compiles").is_match("ABx"));
    }

    #[test]
    fn what_cannot_compile_says_why() {
        for (source, expect) in [
            ("a~b", RegexError::Operator { operator: '~', what: "complement" }),
            ("<1-10>", RegexError::Operator { operator: '<', what: "interval" }),
            ("[a", RegexError::Unclosed { what: "a character class `[`" }),
            ("\"a", RegexError::Unclosed { what: "a quoted text `\"`" }),
            ("a\\", RegexError::LoneBackslash),
            ("(.{1000}){1000}", RegexError::TooLarge),
        ] {
            assert_eq!(Regex::new(source, Case::Sensitive), Err(expect), "{source}");
        }
        for source in ["a{x}", "a{2", "(a", "a)", "a)|(b", "*a", "(?i)a", "[z-a]"] {
            assert!(Regex::new(source, Case::Sensitive).is_err(), "{source}");
        }
    }

    proptest! {
        #[test]
        fn any_text_compiles_or_says_why(source in "\\PC{0,20}") {
            let _ = Regex::new(&source, Case::Folded);
        }

        #[test]
        fn an_escaped_text_matches_itself(text in "[ -~é]{0,12}") {
            let quoted: String = text.chars().flat_map(|c| match c.is_ascii_alphanumeric() {
                true => vec![c],
                false => vec!['\\', c],
            }).collect();
            prop_assert!(Regex::new(&quoted, Case::Sensitive).expect("compiles").is_match(&text));
        }
    }
}
