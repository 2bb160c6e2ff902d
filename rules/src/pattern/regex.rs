//! Lucene regular expressions, the ones EQL's `regex` and ES|QL's `RLIKE` take: always anchored at both ends, `^` and
//! `$` are plain characters, `"..."` quotes. Translated to the `regex` crate, which runs in linear time.

use std::hash::{Hash, Hasher};
use std::iter::Peekable;
use std::str::Chars;

use super::Case;
use crate::bounds::Bounds;

const MAX_NESTING: u32 = 64;
/// `a*?+`, each of the one before.
const MAX_REPEATS: u32 = 16;

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
    #[error(
        "the expression compiles to more than the {max} bytes of \"max_regex\" in [rules.limits]; bound its repetitions"
    )]
    TooLarge { max: usize },
    #[error("{reason}")]
    Syntax { reason: String },
}

impl Regex {
    /// Within the usual bounds.
    pub fn new(source: &str, case: Case) -> Result<Self, RegexError> {
        Self::bounded(source, case, &Bounds::default())
    }

    /// The compiled size is bounded: a rule file is data, and `(.{1000}){1000}` must not cost the process its memory.
    pub fn bounded(source: &str, case: Case, bounds: &Bounds) -> Result<Self, RegexError> {
        let pattern = translate(source)?;
        Self::build(&pattern, source, case, Dialect::Lucene, bounds)
    }

    /// An expression of Perl's kind that is to be found anywhere in the value, as Sigma's `re` takes them.
    pub fn perl(source: &str, case: Case, flags: PerlFlags, bounds: &Bounds) -> Result<Self, RegexError> {
        Self::build(source, source, case, Dialect::Perl(flags), bounds)
    }

    fn build(
        pattern: &str,
        source: &str,
        case: Case,
        dialect: Dialect,
        bounds: &Bounds,
    ) -> Result<Self, RegexError> {
        let max = usize::try_from(bounds.max_regex).unwrap_or(usize::MAX);
        let flags = match dialect {
            Dialect::Lucene => PerlFlags { is_multi_line: false, dot_matches_line_break: true },
            Dialect::Perl(flags) => flags,
        };
        let compiled = regex::RegexBuilder::new(pattern)
            .case_insensitive(case == Case::Folded)
            .multi_line(flags.is_multi_line)
            .dot_matches_new_line(flags.dot_matches_line_break)
            .size_limit(max)
            .dfa_size_limit(max)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|err| explain(&err, max))?;
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
fn explain(err: &regex::Error, max: usize) -> RegexError {
    match err {
        regex::Error::CompiledTooBig(_) => RegexError::TooLarge { max },
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
    // Where the groups that are open began, and where that began which an operator would repeat.
    let mut groups: Vec<usize> = Vec::new();
    let mut last: Option<usize> = None;
    let mut n_repeats = 0;
    while let Some(c) = chars.next() {
        let start = out.len();
        match (c, last) {
            ('*' | '+' | '?' | '{', Some(at)) => {
                // The crate would take `a+?` for a lazy `a+`; in Lucene what is repeated may be repeated again.
                if n_repeats > 0 {
                    out.insert_str(at, "(?:");
                    out.push(')');
                }
                n_repeats += 1;
                if n_repeats > MAX_REPEATS {
                    let reason = format!("more than {MAX_REPEATS} repetitions of one another");
                    return Err(RegexError::Syntax { reason });
                }
                match c {
                    '{' => push_repeat(&mut out, &mut chars)?,
                    c => out.push(c),
                }
                continue;
            }
            _ => n_repeats = 0,
        }
        last = match c {
            '(' | '|' => None,
            ')' => groups.last().copied(),
            _ => Some(start),
        };
        match c {
            '\\' => push_escape(&mut out, chars.next().ok_or(RegexError::LoneBackslash)?),
            '"' => push_quoted(&mut out, &mut chars)?,
            '[' => push_class(&mut out, &mut chars)?,
            // Never the crate's own `(?...)` syntax: Lucene has no flags or named groups.
            '(' => {
                groups.push(start);
                out.push_str("(?:");
            }
            // A stray `)` would otherwise close the group that holds the anchors.
            ')' => {
                groups.pop().ok_or_else(|| RegexError::Syntax {
                    reason: "`)` closes nothing; escape it as `\\)`".to_owned(),
                })?;
                out.push(')');
            }
            // With nothing in front of it to repeat, it is the character.
            '*' | '+' | '?' | '{' => push_literal(&mut out, c),
            '.' | '|' => out.push(c),
            '@' => out.push_str("(?:.*)"),
            '#' => out.push_str(r"[^\s\S]"),
            '~' => return Err(RegexError::Operator { operator: c, what: "complement" }),
            // Inside a group nobody means it: there it is the character.
            '&' if groups.is_empty() => {
                return Err(RegexError::Operator { operator: c, what: "intersection" });
            }
            '<' => push_interval(&mut out, &mut chars)?,
            literal => push_literal(&mut out, literal),
        }
    }
    if !groups.is_empty() {
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

/// `<5-120>`: a number between the two, with leading zeros where both are written with as many digits.
fn push_interval(out: &mut String, chars: &mut Peekable<Chars<'_>>) -> Result<(), RegexError> {
    let mut inside = String::new();
    loop {
        match chars.next() {
            Some('>') => break,
            Some(c) => inside.push(c),
            None => return Err(RegexError::Unclosed { what: "an interval `<`" }),
        }
    }
    let number = |text: &str| (text.len() <= MAX_DIGITS).then(|| text.parse::<u64>().ok()).flatten();
    let bounds = inside
        .split_once('-')
        .and_then(|(low, high)| Some((number(low)?, number(high)?, low.len() == high.len())));
    let Some((low, high, is_padded)) = bounds else {
        let reason =
            "`<` begins an interval of numbers, as in `<1-99>`; escape it as `\\<` if the character is meant";
        return Err(RegexError::Syntax { reason: reason.to_owned() });
    };
    let (low, high) = (low.min(high), low.max(high));
    let width = if is_padded { inside.len() / 2 } else { 0 };
    let parts: Vec<String> =
        stretches(low, high).into_iter().map(|(low, high)| digits(low, high, width)).collect();
    out.push_str(&format!("(?:{})", parts.join("|")));
    Ok(())
}

/// Enough for any number that fits.
const MAX_DIGITS: usize = 18;

/// The interval in stretches whose numbers have one form: `5-120` is 5 to 9, 10 to 99, 100 to 119, and 120.
fn stretches(low: u64, high: u64) -> Vec<(u64, u64)> {
    let mut ends = vec![high];
    let units = || (1..=18).map(|digits| 10_u64.pow(digits));
    // Upwards from the low end to numbers that end in nines, downwards from the high end to those before zeros.
    ends.extend(units().map(|unit| low / unit * unit + unit - 1).take_while(|end| *end < high));
    ends.extend(
        units().map(|unit| (high + 1) / unit * unit).take_while(|next| *next > low).map(|next| next - 1),
    );
    ends.sort_unstable();
    ends.dedup();
    let mut start = low;
    ends.into_iter()
        .map(|end| {
            let stretch = (start, end);
            start = end + 1;
            stretch
        })
        .collect()
}

/// Digit by digit: in a stretch those at each place are free of the others.
fn digits(low: u64, high: u64, width: usize) -> String {
    let (low, high) = (format!("{low:0width$}"), format!("{high:0width$}"));
    let one =
        |(low, high): (char, char)| if low == high { low.to_string() } else { format!("[{low}-{high}]") };
    low.chars().zip(high.chars()).map(one).collect()
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

    #[test]
    fn intervals_hold_their_numbers_and_no_others() {
        for (low, high) in [(0, 0), (1, 10), (5, 120), (7, 1003), (99, 100), (100, 199), (86, 987), (0, 1000)]
        {
            let regex = Regex::new(&format!("<{low}-{high}>"), Case::Sensitive).expect("an interval");
            for number in 0..1_200 {
                assert_eq!(
                    regex.is_match(&number.to_string()),
                    (low..=high).contains(&number),
                    "{number} in {low}-{high}"
                );
            }
        }
        let is_match =
            |source: &str, text: &str| Regex::new(source, Case::Sensitive).expect(source).is_match(text);
        assert!(is_match("a<01-12>b", "a07b") && !is_match("a<01-12>b", "a7b"), "both ends have two digits");
        assert!(!is_match("<5-120>", "05"));
        assert!(is_match("<0-999999999999999999>", "123456789012345678"));
        for bad in ["<", "<1>", "<a-b>", "<1-2", "<1-9999999999999999999>"] {
            assert!(Regex::new(bad, Case::Sensitive).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operator_with_nothing_to_repeat_is_a_character() {
        let is_match =
            |source: &str, text: &str| Regex::new(source, Case::Sensitive).expect(source).is_match(text);
        assert!(is_match("*sh.{1,2}-c*", "*sh  -c") && !is_match("*sh.{1,2}-c*", "bash -c"));
        assert!(is_match("(+|x)a", "+a") && is_match("a|*", "*"));
        assert!(is_match("(a>&|b)", "a>&"));
    }

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
            ("bash.+?", "bash", true),
            ("bash.{1,2}?", "bash", true),
            ("bash.{1,2}?", "bashxx", true),
            ("(ab)+?c", "c", true),
            ("a?*", "aaa", true),
            ("?ash", "?ash", true),
            ("x|{1}", "{1}", true),
            ("()?a", "a", true),
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
            ("[a", RegexError::Unclosed { what: "a character class `[`" }),
            ("\"a", RegexError::Unclosed { what: "a quoted text `\"`" }),
            ("a\\", RegexError::LoneBackslash),
            ("(.{1000}){1000}", RegexError::TooLarge { max: 1 << 20 }),
        ] {
            assert_eq!(Regex::new(source, Case::Sensitive), Err(expect), "{source}");
        }
        for source in ["a{x}", "a{2", "(a", "a)", "a)|(b", "[z-a]", &format!("a{}", "?".repeat(100_000))] {
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
