//! Reads a TOML document key by key and remembers every fault with its place, so that one run shows them all.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use rules::event::Span;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong in the file, at a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub span: Range<usize>,
    /// What is wrong, with the value quoted.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Fault {
    /// The fault as an excerpt of the file with a caret under the place.
    pub fn render(&self, file: &str, text: &str, is_coloured: bool) -> String {
        let renderer = if is_coloured { Renderer::styled() } else { Renderer::plain() };
        let end = self.span.end.min(text.len());
        let start = self.span.start.min(end);
        let snippet = Snippet::source(text).path(file).annotation(AnnotationKind::Primary.span(start..end));
        let mut group = Level::ERROR.primary_title(&self.message).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

/// One table of the document. Every key that is asked for counts as known; `finish` reports the others.
pub(super) struct Table<'d, 'i> {
    table: Option<&'d DeTable<'i>>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

/// Where faults gather, and where relative paths start.
pub(super) struct Context<'a> {
    pub(super) faults: Vec<Fault>,
    pub(super) base: &'a Path,
}

impl Context<'_> {
    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Fault { span, message: message.into(), help: Some(help.into()) });
    }
}

/// A value and where it stood.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<'d, 'i> Table<'d, 'i> {
    pub(super) fn root(document: &'d Spanned<DeTable<'i>>) -> Self {
        Self { table: Some(document.get_ref()), span: document.span(), asked: Vec::new() }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn is_absent(&self, key: &str) -> bool {
        !self.table.is_some_and(|table| table.keys().any(|name| name.get_ref() == key))
    }

    /// Counts a key as known without reading it.
    pub(super) fn ask(&mut self, key: &'static str) {
        self.asked.push(key);
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table
            .and_then(|table| table.iter().find(|(name, _)| name.get_ref() == key))
            .map(|(_, value)| value)
    }

    /// A subtable; an absent one reads as empty.
    pub(super) fn table(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Table<'d, 'i> {
        let mut empty = Table { table: None, span: self.span.clone(), asked: Vec::new() };
        let Some(value) = self.take(key) else { return empty };
        empty.span = value.span();
        match value.get_ref().as_table() {
            Some(table) => Table { table: Some(table), ..empty },
            None => {
                ctx.fault(value.span(), format!("\"{key}\" is not a table"), format!("write [{key}]"));
                empty
            }
        }
    }

    /// An array of tables; an absent one is empty.
    pub(super) fn tables(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Vec<Table<'d, 'i>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            ctx.fault(value.span(), format!("\"{key}\" is not a list of tables"), format!("write [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    tables.push(Table { table: Some(table), span: item.span(), asked: Vec::new() });
                }
                None => ctx.fault(
                    item.span(),
                    format!("\"{key}\" holds something that is no table"),
                    format!("write [[{key}]]"),
                ),
            }
        }
        tables
    }

    pub(super) fn str(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<At<String>> {
        let value = self.take(key)?;
        let Some(text) = value.get_ref().as_str() else {
            ctx.fault(value.span(), format!("\"{key}\" is not a string"), format!("write {key} = \"…\""));
            return None;
        };
        Some(At { value: text.to_owned(), span: value.span() })
    }

    /// A string that has to be there.
    pub(super) fn required(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<At<String>> {
        if self.is_absent(key) {
            ctx.fault(self.span(), format!("\"{key}\" is missing"), format!("add {key} = \"…\""));
        }
        self.str(key, ctx)
    }

    pub(super) fn bool(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<bool> {
        let value = self.take(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            ctx.fault(value.span(), format!("\"{key}\" is not a yes or no"), "write true or false");
        }
        found
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: Range<u32>,
        ctx: &mut Context<'_>,
    ) -> Option<u32> {
        let value = self.take(key)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|int| i64::from_str_radix(&int.as_str().replace('_', ""), int.radix()).ok())
            .and_then(|int| u32::try_from(int).ok())
            .filter(|int| range.contains(int));
        if number.is_none() {
            let (low, high) = (range.start, range.end - 1);
            ctx.fault(
                value.span(),
                format!("\"{key}\" is out of bounds"),
                format!("write a number from {low} to {high}"),
            );
        }
        number
    }

    pub(super) fn strings(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Vec<At<String>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            ctx.fault(value.span(), format!("\"{key}\" is not a list"), format!("write {key} = [\"…\"]"));
            return Vec::new();
        };
        let mut strings = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => strings.push(At { value: text.to_owned(), span: item.span() }),
                None => ctx.fault(
                    item.span(),
                    format!("\"{key}\" holds something that is no string"),
                    "write each item in quotes",
                ),
            }
        }
        strings
    }

    /// One of the words, mapped.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        ctx: &mut Context<'_>,
    ) -> Option<T> {
        let text = self.str(key, ctx)?;
        let found = choices.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let help = match closest(&text.value, words.iter().copied()) {
                Some(word) => format!("did you mean \"{word}\"? possible: {}", words.join(", ")),
                None => format!("possible: {}", words.join(", ")),
            };
            ctx.fault(text.span, format!("\"{key}\" cannot be \"{}\"", text.value), help);
        }
        found
    }

    pub(super) fn path(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<PathBuf> {
        let text = self.str(key, ctx)?;
        if text.value.is_empty() {
            ctx.fault(text.span, format!("\"{key}\" is empty"), format!("give a path or leave {key} out"));
            return None;
        }
        Some(ctx.base.join(text.value))
    }

    pub(super) fn required_path(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<PathBuf> {
        let text = self.required(key, ctx)?;
        if text.value.is_empty() {
            ctx.fault(text.span, format!("\"{key}\" is empty"), "give a path");
            return None;
        }
        Some(ctx.base.join(text.value))
    }

    pub(super) fn paths(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Vec<PathBuf> {
        self.strings(key, ctx).into_iter().map(|text| ctx.base.join(text.value)).collect()
    }

    /// A span such as "500ms", "5s", "15m", "2h" or "10d".
    pub(super) fn duration(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<Span> {
        self.duration_at(key, ctx).map(|span| span.value)
    }

    pub(super) fn duration_at(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<At<Span>> {
        let text = self.str(key, ctx)?;
        let span = parse_duration(&text.value);
        if span.is_none() {
            let message = format!("\"{}\" is not a span of time", text.value);
            ctx.fault(text.span, message, "write a number and ms, s, m, h or d, such as \"15m\"");
            return None;
        }
        span.map(|value| At { value, span: text.span })
    }

    /// A size such as "512KiB" or "64MiB".
    pub(super) fn size(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<u64> {
        self.size_at(key, ctx).map(|size| size.value)
    }

    pub(super) fn size_at(&mut self, key: &'static str, ctx: &mut Context<'_>) -> Option<At<u64>> {
        let text = self.str(key, ctx)?;
        match parse_size(&text.value).filter(|size| *size > 0) {
            Some(value) => Some(At { value, span: text.span }),
            None => {
                let message = format!("\"{}\" is not a size", text.value);
                ctx.fault(text.span, message, "write a number and B, KiB, MiB or GiB, such as \"64MiB\"");
                None
            }
        }
    }

    /// Reports the keys nobody asked for.
    pub(super) fn finish(self, ctx: &mut Context<'_>) {
        let Some(table) = self.table else { return };
        let mut unknown: Vec<_> =
            table.keys().filter(|key| !self.asked.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let help = match closest(key.get_ref(), self.asked.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            ctx.fault(key.span(), format!("unknown key \"{}\"", key.get_ref()), help);
        }
    }
}

pub(crate) fn closest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    words
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

fn parse_duration(text: &str) -> Option<Span> {
    let (number, unit) = split_unit(text.trim())?;
    let unit_ns: i64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        _ => return None,
    };
    i64::try_from(number).ok()?.checked_mul(unit_ns).map(Span)
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text.trim())?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}
