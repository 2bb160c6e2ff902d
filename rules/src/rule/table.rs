//! TOML tables read key by key: each fault is noted at its place, and reading goes on.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::catalogue::report::Finding;
use crate::diagnostic::{Code, Diagnostic};

/// One open quote may make every following line a fault.
const MAX_TOML_ERRORS: usize = 3;

/// A value and its bytes in the file.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A table of a rule file, and which of its keys were asked for.
pub(crate) struct Table<'t> {
    /// As it is written in brackets. Empty: the file itself.
    name: String,
    entries: &'t DeTable<'t>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

/// What is known to be wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        self.0.push(Finding { diagnostic, query: None });
    }

    /// Findings about a query that is a string of the file.
    pub(crate) fn add_query(&mut self, query: &At<String>, found: impl IntoIterator<Item = Diagnostic>) {
        self.0.extend(found.into_iter().map(|diagnostic| Finding { diagnostic, query: Some(query.clone()) }));
    }
}

/// The file's tables, or what its TOML lacks.
pub(crate) fn parse<'t>(text: &'t str, found: &mut Findings) -> Option<Spanned<DeTable<'t>>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for err in errors.iter().take(MAX_TOML_ERRORS) {
        found.add(Diagnostic::error(Code::BadToml, err.span().unwrap_or(0..0), err.message()));
    }
    errors.is_empty().then_some(document)
}

impl<'t> Table<'t> {
    pub(crate) fn new(name: impl Into<String>, entries: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Self { name: name.into(), entries, span, asked: Vec::new() }
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where a key that is there stands.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        self.entries.get_key_value(key).map_or(self.span(), |(key, _)| key.span())
    }

    fn get(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    pub(crate) fn text(&mut self, key: &'static str, found: &mut Findings) -> Option<At<String>> {
        let value = self.get(key)?;
        let text = self.expect(key, value, "a text", value.get_ref().as_str(), found)?;
        Some(At { value: text.to_owned(), span: value.span() })
    }

    pub(crate) fn needed_text(&mut self, key: &'static str, found: &mut Findings) -> Option<At<String>> {
        if !self.has(key) {
            self.missing(key, found);
        }
        self.text(key, found)
    }

    /// A list of texts; one text is a list of one.
    pub(crate) fn texts(&mut self, key: &'static str, found: &mut Findings) -> Vec<At<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        if let Some(text) = value.get_ref().as_str() {
            return vec![At { value: text.to_owned(), span: value.span() }];
        }
        let Some(items) = self.expect(key, value, "a list of texts", value.get_ref().as_array(), found)
        else {
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| {
                let text = self.expect(key, item, "a list of texts", item.get_ref().as_str(), found)?;
                Some(At { value: text.to_owned(), span: item.span() })
            })
            .collect()
    }

    pub(crate) fn yes_no(&mut self, key: &'static str, found: &mut Findings) -> Option<bool> {
        let value = self.get(key)?;
        self.expect(key, value, "true or false", value.get_ref().as_bool(), found)
    }

    pub(crate) fn count(&mut self, key: &'static str, found: &mut Findings) -> Option<At<u64>> {
        let value = self.get(key)?;
        let number =
            value.get_ref().as_integer().and_then(|int| u64::from_str_radix(int.as_str(), int.radix()).ok());
        let number = self.expect(key, value, "a whole number", number, found)?;
        Some(At { value: number, span: value.span() })
    }

    /// A day, as a TOML date or as a text.
    pub(crate) fn day(&mut self, key: &'static str, found: &mut Findings) -> Option<jiff::civil::Date> {
        let value = self.get(key)?;
        let text = match value.get_ref() {
            DeValue::Datetime(day) => day.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        self.expect(key, value, "a day such as 2026-12-31", text.parse().ok(), found)
    }

    pub(crate) fn table(&mut self, key: &'static str, found: &mut Findings) -> Option<Table<'t>> {
        let value = self.get(key)?;
        let entries = self.expect(key, value, "a table", value.get_ref().as_table(), found)?;
        Some(self.inner(key, entries, value.span()))
    }

    pub(crate) fn needed_table(&mut self, key: &'static str, found: &mut Findings) -> Option<Table<'t>> {
        if !self.has(key) {
            self.missing(key, found);
        }
        self.table(key, found)
    }

    /// Repeated tables; one table is a list of one.
    pub(crate) fn tables(&mut self, key: &'static str, found: &mut Findings) -> Vec<Table<'t>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        if let Some(entries) = value.get_ref().as_table() {
            return vec![self.inner(key, entries, value.span())];
        }
        let Some(items) = self.expect(key, value, "a list of tables", value.get_ref().as_array(), found)
        else {
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| {
                let entries = self.expect(key, item, "a list of tables", item.get_ref().as_table(), found)?;
                Some(self.inner(key, entries, item.span()))
            })
            .collect()
    }

    fn inner(&self, key: &str, entries: &'t DeTable<'t>, span: Range<usize>) -> Self {
        let name = if self.is_file() { key.to_owned() } else { format!("{}.{key}", self.name) };
        Self::new(name, entries, span)
    }

    fn is_file(&self) -> bool {
        self.name.is_empty()
    }

    /// How messages call the table.
    fn title(&self) -> String {
        if self.is_file() { "the file".into() } else { format!("[{}]", self.name) }
    }

    /// Takes note of keys that are known and have no meaning here.
    pub(crate) fn ignore(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self, found: &mut Findings) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let near = self
                .asked
                .iter()
                .map(|known| (strsim::osa_distance(name, known), known))
                .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
                .min();
            let message = format!("\"{name}\" is no key of {}", self.title());
            let help = match near {
                Some((_, known)) => format!("did you mean \"{known}\"?"),
                None => format!("keys of {}: {}", self.title(), self.known()),
            };
            found.add(Diagnostic::error(Code::UnknownKey, key.span(), message).with_help(help));
        }
    }

    fn known(&self) -> String {
        let mut known = self.asked.clone();
        known.sort_unstable();
        known.dedup();
        known.join(", ")
    }

    pub(crate) fn missing(&self, key: &str, found: &mut Findings) {
        let message = format!("{} needs \"{key}\"", self.title());
        found.add(Diagnostic::error(Code::MissingKey, self.span(), message));
    }

    fn expect<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        wanted: &str,
        got: Option<T>,
        found: &mut Findings,
    ) -> Option<T> {
        if got.is_none() {
            let message = format!("\"{key}\" of {} is {wanted}", self.title());
            let label = match value.get_ref().type_str() {
                "string" => "this text is not".to_owned(),
                other => format!("this is of type {other}"),
            };
            found.add(Diagnostic::error(Code::WrongKeyType, value.span(), message).with_label(label));
        }
        got
    }
}
