//! Lines of styled text: put together from our own words and foreign strings, measured, padded, set side by side.

use anstyle::{AnsiColor, Color, Effects, Style};

use crate::untrusted::{Untrusted, width};

/// What a piece of text is, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    /// Scaffolding and what is only there for reference.
    Dim,
    /// What the eye should land on.
    Strong,
    Heading,
    Good,
    Bad,
    Warning,
    Severity(Severity),
}

/// The severity words of an alert document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|severity| severity.word() == word)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl Paint {
    fn style(self) -> Style {
        let colour = |colour| Style::new().fg_color(Some(Color::Ansi(colour)));
        match self {
            Self::Plain => Style::new(),
            Self::Dim => Style::new().effects(Effects::DIMMED),
            Self::Strong => Style::new().bold(),
            Self::Heading => colour(AnsiColor::Cyan),
            Self::Good => colour(AnsiColor::Green),
            Self::Bad => colour(AnsiColor::Red),
            Self::Warning => colour(AnsiColor::Yellow),
            Self::Severity(Severity::Low) => colour(AnsiColor::Blue).bold(),
            Self::Severity(Severity::Medium) => colour(AnsiColor::Yellow).bold(),
            Self::Severity(Severity::High) => colour(AnsiColor::Red).bold(),
            Self::Severity(Severity::Critical) => colour(AnsiColor::Magenta).bold(),
        }
    }
}

/// One line. Every piece in it is safe to print.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pieces: Vec<(Paint, String)>,
    width: usize,
}

impl Line {
    /// Adds words of ours.
    pub(super) fn own(mut self, paint: Paint, text: impl Into<String>) -> Self {
        let text = text.into();
        self.width += width(&text);
        self.pieces.push((paint, text));
        self
    }

    /// Adds a string from an event, cut to `max_width` columns.
    pub(super) fn foreign(self, paint: Paint, text: &str, max_width: usize) -> Self {
        self.own(paint, Untrusted(text).fit(max_width))
    }

    pub(super) fn append(mut self, other: Self) -> Self {
        self.width += other.width;
        self.pieces.extend(other.pieces);
        self
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Cuts the line to `max_width` columns.
    pub(super) fn clip(self, max_width: usize) -> Self {
        if self.width <= max_width {
            return self;
        }
        let mut clipped = Self::default();
        for (paint, text) in self.pieces {
            let room = max_width.saturating_sub(clipped.width);
            if width(&text) < room {
                clipped = clipped.own(paint, text);
                continue;
            }
            return if room == 0 { clipped } else { clipped.own(paint, cut(&text, room)) };
        }
        clipped
    }

    /// Fills up with blanks.
    pub(super) fn pad(self, to_width: usize) -> Self {
        let missing = to_width.saturating_sub(self.width);
        if missing == 0 { self } else { self.own(Paint::Plain, " ".repeat(missing)) }
    }

    /// Writes the line without blanks at its end.
    pub(super) fn write(&self, is_coloured: bool, out: &mut String) {
        let last = self.pieces.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        let Some(last) = last else { return };
        for (idx, (paint, text)) in self.pieces.iter().enumerate().take(last + 1) {
            let text = if idx == last { text.trim_end() } else { text };
            let style = paint.style();
            if is_coloured && !style.is_plain() {
                out.push_str(&format!("{style}{text}{style:#}"));
            } else {
                out.push_str(text);
            }
        }
    }
}

/// Breaks a foreign string into rows of `max_width` columns, at blanks and slashes where it can; the last row ends in `…` when
/// more than `max_rows` would be needed.
pub(super) fn wrap(text: &str, max_width: usize, max_rows: usize) -> Vec<String> {
    let max_width = max_width.max(8);
    // The escapes make it wider, never narrower, so this much is all that could be shown.
    let safe = Untrusted(text).fit(max_width * max_rows + 1);
    let mut rows = Vec::new();
    let mut rest = safe.as_str();
    while !rest.is_empty() {
        if rows.len() + 1 == max_rows && width(rest) > max_width {
            rows.push(cut(rest, max_width));
            return rows;
        }
        let end = row_end(rest, max_width);
        rows.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    rows
}

/// Byte length of the first row of a safe string.
fn row_end(safe: &str, max_width: usize) -> usize {
    let mut used = 0;
    let mut last_break = None;
    for (at, c) in safe.char_indices() {
        used += width(c.encode_utf8(&mut [0; 4]));
        if used > max_width {
            // A break far to the left would leave the row nearly empty: then rather cut the word.
            return last_break.filter(|end| *end * 2 > at).unwrap_or(at);
        }
        if matches!(c, ' ' | '/' | ',' | ';' | '&') {
            last_break = Some(at + 1);
        }
    }
    safe.len()
}

fn cut(safe: &str, max_width: usize) -> String {
    let mut used = 1;
    let fitting = safe.char_indices().find(|(_, c)| {
        used += width(c.encode_utf8(&mut [0; 4]));
        used > max_width
    });
    let end = fitting.map_or(safe.len(), |(at, _)| at);
    format!("{}…", safe[..end].trim_end())
}

/// Sets two blocks of lines next to each other.
pub(super) fn side_by_side(left: Vec<Line>, left_width: usize, right: Vec<Line>) -> Vec<Line> {
    let n_rows = left.len().max(right.len());
    let mut left = left.into_iter();
    let mut right = right.into_iter();
    (0..n_rows)
        .map(|_| {
            let row = left.next().unwrap_or_default().clip(left_width).pad(left_width).own(Paint::Dim, " │ ");
            row.append(right.next().unwrap_or_default())
        })
        .collect()
}
