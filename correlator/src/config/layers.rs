//! The texts that a configuration is made of: the file, those of `conf.d` beside it, and the environment. Of one key the last
//! word counts; lists of tables (`[[source]]`, `[[exceptions]]` and the like) grow.
//!
//! A place in any of them is a place in all of them one after the other, so that whoever reads need not know.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::reader::{Fault, closest};
use super::{ConfigError, keys};

/// Begins the names of variables that set a key.
const PREFIX: &str = "GROUNDTRAIL_";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// A file's path, or a variable's name.
    pub name: String,
    pub text: String,
    /// Where it begins among all of them.
    start: usize,
    is_file: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    layers: Vec<Layer>,
    /// Where relative paths begin.
    pub(super) base: PathBuf,
}

impl Layers {
    /// One text alone, as if it stood at `path`.
    pub(super) fn one(text: &str, path: &Path) -> Self {
        let mut layers = Self { layers: Vec::new(), base: path.parent().unwrap_or(Path::new("")).to_owned() };
        layers.push(path.display().to_string(), text.to_owned(), true);
        layers
    }

    /// The file, what lies in the folder `conf.d` beside it, in the order of names, and the environment.
    ///
    /// # Errors
    /// One of the files cannot be read, or a variable has a name that is nearly, and not quite, that of a key.
    pub(super) fn gather(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        if let Some(path) = path {
            layers = Self::one(&read(path)?, path);
            for path in in_folder(&layers.base.join("conf.d"))? {
                let text = read(&path)?;
                layers.push(path.display().to_string(), text, true);
            }
        }
        let known = keys::shipped();
        let mut variables: Vec<(String, String)> =
            environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort();
        for (name, value) in variables {
            match known.iter().find(|key| key.variable().as_deref() == Some(&*name)) {
                Some(key) => {
                    let text = format!("{} = {}", key.path, key.kind.literal(&value));
                    layers.push(name, text, false);
                }
                None => refuse_if_meant(&name, &known)?,
            }
        }
        Ok(layers)
    }

    fn push(&mut self, name: String, text: String, is_file: bool) {
        let start = self.layers.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.layers.push(Layer { name, text, start, is_file });
    }

    fn len(&self) -> usize {
        self.layers.last().map_or(0, |last| last.start + last.text.len())
    }

    /// All of them as one document. What cannot be read is told.
    pub(super) fn document(&self, faults: &mut Vec<Fault>) -> Spanned<DeTable<'_>> {
        let mut all = DeTable::new();
        for layer in &self.layers {
            let (document, errors) = DeTable::parse_recoverable(&layer.text);
            for error in errors {
                let span = error.span().unwrap_or(0..layer.text.len());
                let span = span.start + layer.start..span.end + layer.start;
                faults.push(Fault { span, message: error.message().to_owned(), help: None });
            }
            merge(&mut all, moved_table(document.into_inner(), layer.start));
        }
        Spanned::new(0..self.len(), all)
    }

    /// The layer that a place is in, and the place there.
    pub(super) fn at(&self, span: &Range<usize>) -> Option<(&Layer, Range<usize>)> {
        let layer = self.layers.iter().rev().find(|layer| layer.start <= span.start)?;
        let local = |at: usize| at.saturating_sub(layer.start).min(layer.text.len());
        Some((layer, local(span.start)..local(span.end)))
    }

    /// What `config show` prints, each setting with its place behind it.
    pub fn annotated(&self, shown: &str) -> String {
        let mut places = BTreeMap::new();
        note_places(self.document(&mut Vec::new()).get_ref(), "", &mut places);
        let origin = |path: &str| {
            let at: &usize = places.get(path)?;
            self.at(&(*at..*at)).map(|(layer, span)| layer.place(span.start))
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut table, mut out) = (String::new(), String::new());
        for line in shown.lines() {
            out.push_str(line);
            if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
                let n = counts.entry(name).or_default();
                table = format!("{name}[{n}].");
                *n += 1;
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = format!("{name}.");
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                let origin = origin(&format!("{table}{key}")).unwrap_or_else(|| "default".to_owned());
                let _ = write!(out, "   # {origin}");
            }
            out.push('\n');
        }
        out
    }

    /// The names of those that the faults are in, for one line about them.
    pub(super) fn names_of(&self, faults: &[Fault]) -> String {
        let mut names: Vec<&str> =
            faults.iter().filter_map(|fault| Some(self.at(&fault.span)?.0.name.as_str())).collect();
        names.dedup();
        names.join("\", \"")
    }
}

impl Layer {
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.is_file.then(|| PathBuf::from(&self.name))
    }

    /// `file:line`, or the variable's name.
    pub(super) fn place(&self, at: usize) -> String {
        if !self.is_file {
            return format!("environment: {}", self.name);
        }
        let line = self.text[..at.min(self.text.len())].bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.name)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// The files of a folder that is there, in the order of their names.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |source| ConfigError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.extension().is_some_and(|end| end == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Other variables of this beginning belong to others; one that is nearly a key's was meant for it.
fn refuse_if_meant(name: &str, known: &[keys::Key]) -> Result<(), ConfigError> {
    let names: Vec<String> = known.iter().filter_map(keys::Key::variable).collect();
    match closest(name, names.iter().map(String::as_str)) {
        Some(near) if strsim::normalized_damerau_levenshtein(name, near) >= 0.85 => {
            Err(ConfigError::Variable { name: name.to_owned(), near: near.to_owned() })
        }
        _ => Ok(()),
    }
}

fn moved<'i>(value: Spanned<DeValue<'i>>, by: usize) -> Spanned<DeValue<'i>> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Array(items) => {
            let mut all = DeArray::new();
            items.into_iter().for_each(|item| all.push(moved(item, by)));
            DeValue::Array(all)
        }
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        other => other,
    };
    Spanned::new(span.start + by..span.end + by, value)
}

fn moved_table<'i>(table: DeTable<'i>, by: usize) -> DeTable<'i> {
    let mut all = DeTable::new();
    for (key, value) in table {
        let span = key.span();
        let key: Spanned<DeString<'i>> = Spanned::new(span.start + by..span.end + by, key.into_inner());
        all.insert(key, moved(value, by));
    }
    all
}

fn merge<'i>(into: &mut DeTable<'i>, from: DeTable<'i>) {
    for (key, value) in from {
        let Some(held) = into.remove(&key) else {
            into.insert(key, value);
            continue;
        };
        let span = value.span();
        let value = match (held.into_inner(), value.into_inner()) {
            (DeValue::Table(mut held), DeValue::Table(table)) => {
                merge(&mut held, table);
                DeValue::Table(held)
            }
            (DeValue::Array(mut held), DeValue::Array(items))
                if is_of_tables(&held) && is_of_tables(&items) =>
            {
                items.into_iter().for_each(|item| held.push(item));
                DeValue::Array(held)
            }
            (_, value) => value,
        };
        into.insert(key, Spanned::new(span, value));
    }
}

/// Where each key stands, by its path.
fn note_places(table: &DeTable<'_>, prefix: &str, places: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => note_places(table, &format!("{path}."), places),
            DeValue::Array(items) if is_of_tables(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.zip(0..).for_each(|(table, n)| note_places(table, &format!("{path}[{n}]."), places));
            }
            _ => {
                places.insert(path, key.span().start);
            }
        }
    }
}

fn is_of_tables(items: &DeArray<'_>) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get_ref().is_table())
}
