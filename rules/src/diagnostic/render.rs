//! Diagnostics as people read them: the rule file's lines with the fault marked. Rule files come from strangers, so no
//! byte of theirs reaches the terminal as a control character.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Severity};

/// Where a query stands.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Shown above the lines.
    pub path: &'a str,
    /// The whole file.
    pub file: &'a str,
    pub query: &'a str,
    /// Bytes of the file that hold the query as written. `None`: the query is shown by itself.
    pub written: Option<Written>,
}

/// How a query is written in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Byte of the file where the query's own text starts, past the opening quotes.
    pub start: usize,
    /// A basic TOML string, in which a backslash escapes.
    pub has_escapes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl<'a> Source<'a> {
    /// A query without a file, such as one given on the command line.
    pub fn query(path: &'a str, query: &'a str) -> Self {
        Self { path, file: query, query, written: None }
    }

    /// A query that is a string of a TOML file. `value` is the string's span, quotes included, as the `toml` crate
    /// gives it.
    pub fn toml(path: &'a str, file: &'a str, value: Range<usize>, query: &'a str) -> Self {
        Self { path, file, query, written: file.get(value.clone()).and_then(|raw| written(raw, value.start)) }
    }

    /// The text to show and the place of a query's span in it.
    fn place(&self, span: &Range<usize>) -> (&'a str, Range<usize>) {
        let in_file = self.written.and_then(|written| {
            let start = self.file_position(written, span.start)?;
            let end = self.file_position(written, span.end)?;
            Some(self.behind_swallowed(written, start).min(end)..end)
        });
        match in_file {
            Some(place) => (self.file, place),
            None => (self.query, span.clone()),
        }
    }

    /// Past what stands between two lines and is not of the text.
    fn behind_swallowed(&self, written: Written, mut place: usize) -> usize {
        while written.has_escapes
            && let Some((raw_len, 0)) = self.file.get(place..).and_then(escaped_len)
        {
            place += raw_len;
        }
        place
    }

    fn file_position(&self, written: Written, at: usize) -> Option<usize> {
        if !written.has_escapes {
            let place = written.start + at;
            return self.file.is_char_boundary(place).then_some(place);
        }
        let raw = self.file.get(written.start..)?;
        let (mut seen, mut place) = (0, 0);
        while seen < at {
            let (raw_len, query_len) = escaped_len(raw.get(place..)?)?;
            place += raw_len;
            seen += query_len;
        }
        Some(written.start + place)
    }
}

fn written(raw: &str, start: usize) -> Option<Written> {
    let (quotes, has_escapes) = [("'''", false), ("\"\"\"", true), ("'", false), ("\"", true)]
        .into_iter()
        .find(|(quotes, _)| raw.starts_with(quotes))?;
    // TOML drops the newline right after the opening quotes of a multi-line string.
    let body = &raw[quotes.len()..];
    let newline = match body {
        _ if quotes.len() == 1 => 0,
        _ if body.starts_with("\r\n") => 2,
        _ => usize::from(body.starts_with('\n')),
    };
    Some(Written { start: start + quotes.len() + newline, has_escapes })
}

/// Bytes that the next character of a basic TOML string takes in the file, and in the string's value.
fn escaped_len(raw: &str) -> Option<(usize, usize)> {
    let mut chars = raw.chars();
    let c = chars.next()?;
    if c != '\\' {
        return Some((c.len_utf8(), c.len_utf8()));
    }
    let digits = match chars.next()? {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        // A backslash at the end of a line swallows the white space up to the next text.
        c if c.is_whitespace() => {
            let rest = raw[1..].trim_start();
            return Some((raw.len() - rest.len(), 0));
        }
        _ => return Some((2, 1)),
    };
    let code = u32::from_str_radix(raw.get(2..2 + digits)?, 16).ok()?;
    Some((2 + digits, char::from_u32(code)?.len_utf8()))
}

/// Renders findings one below the other, each with its lines.
pub fn render(source: Source<'_>, diagnostics: &[Diagnostic], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        out.push_str(&render_one(&renderer, source, diagnostic));
    }
    out
}

fn render_one(renderer: &Renderer, source: Source<'_>, diagnostic: &Diagnostic) -> String {
    let (text, place) = source.place(&diagnostic.span);
    let start = floor_boundary(text, place.start);
    let end = floor_boundary(text, place.end).max(start);
    let shown = neutral(text);
    // Neutral text may be longer, so both ends move.
    let place = neutral(&text[..start]).len()..neutral(&text[..end]).len();
    let (message, label, path) =
        (neutral(&diagnostic.message), neutral(&diagnostic.label), neutral(source.path));
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut mark = AnnotationKind::Primary.span(place);
    if !label.is_empty() {
        mark = mark.label(label);
    }
    let title = level.primary_title(message).id(diagnostic.code.as_str());
    let mut group = match shown.is_empty() {
        // Of a file that could not be read there is no line to show.
        true => title.element(Origin::path(path)),
        false => title.element(Snippet::source(shown).path(path).annotation(mark)),
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(neutral(help)));
    }
    renderer.render(&[group])
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The text without anything a terminal acts on or a reader cannot see: control characters, and marks that reverse or
/// hide text.
fn neutral(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => c,
            '\t' | '\r' => ' ',
            '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::diagnostic::Code;

    const FILE: &str = "name = \"a rule\"\nquery = '''\nprocess where\n  proces.name == \"x\"\n'''\n";

    fn unknown_field(span: Range<usize>) -> Diagnostic {
        Diagnostic::error(Code::UnknownField, span, "no field is called \"proces.name\"")
            .with_label("not in the schema")
            .with_help("did you mean \"process.name\"?")
    }

    fn check(source: Source<'_>, diagnostic: Diagnostic, expect: Expect) {
        expect.assert_eq(&render(source, &[diagnostic], Style::Plain));
    }

    #[test]
    fn a_span_of_the_query_is_shown_in_its_file() {
        let start = FILE.find("'''").expect("quotes");
        let end = FILE.rfind("'''").expect("quotes") + 3;
        let query = "process where\n  proces.name == \"x\"\n";
        let source = Source::toml("a.toml", FILE, start..end, query);
        check(
            source,
            unknown_field(16..27),
            expect![[r#"
            error[GT101]: no field is called "proces.name"
             --> a.toml:4:3
              |
            4 |   proces.name == "x"
              |   ^^^^^^^^^^^ not in the schema
              |
              = help: did you mean "process.name"?"#]],
        );
    }

    #[test]
    fn escapes_of_a_basic_string_do_not_shift_the_mark() {
        let file = "query = \"file.name : \\\"\\u00e9\\\" and proces.name : \\\"x\\\"\"";
        let query = "file.name : \"é\" and proces.name : \"x\"";
        let at = query.find("proces").expect("the field");
        let source = Source::toml("a.toml", file, 8..file.len(), query);
        check(
            source,
            unknown_field(at..at + 11),
            expect![[r#"
            error[GT101]: no field is called "proces.name"
             --> a.toml:1:37
              |
            1 | query = "file.name : \"\u00e9\" and proces.name : \"x\""
              |                                     ^^^^^^^^^^^ not in the schema
              |
              = help: did you mean "process.name"?"#]],
        );
    }

    #[test]
    fn what_a_line_continuation_swallows_is_not_marked() {
        let file = "query = \"\"\"\na:\"é\" and \\\n   proces.name:x\"\"\"\n";
        let query = "a:\"é\" and proces.name:x";
        let source = Source::toml("a.toml", file, 8..file.len() - 1, query);
        let start = query.find("proces").expect("the field");
        let found = render(source, &[unknown_field(start..start + 11)], Style::Plain);
        assert!(found.contains("--> a.toml:3:4"), "{found}");
        assert!(found.contains("  |    ^^^^^^^^^^^"), "{found}");
    }

    #[test]
    fn hostile_bytes_are_shown_not_obeyed() {
        let query = "\u{1b}[2Jproces.name\u{202e}:\r\u{9b}x";
        let source = Source::query("evil\u{1b}.toml", query);
        let at = query.find("proces").expect("the field");
        check(
            source,
            unknown_field(at..at + 11).with_help("a\u{7}b"),
            expect![[r#"
            error[GT101]: no field is called "proces.name"
             --> evil␛.toml:1:5
              |
            1 | ␛[2Jproces.name�: �x
              |     ^^^^^^^^^^^ not in the schema
              |
              = help: a␇b"#]],
        );
    }

    #[test]
    fn colour_marks_the_same_text() {
        let source = Source::query("q", "proces.name : x");
        let coloured = render(source, &[unknown_field(0..11)], Style::Coloured);
        assert!(coloured.contains("\u{1b}[") && coloured.contains("proces.name"));
    }

    #[test]
    fn a_span_past_the_end_is_still_shown() {
        let source = Source::query("q", "é");
        assert!(render(source, &[unknown_field(1..99)], Style::Plain).contains("GT101"));
    }
}
