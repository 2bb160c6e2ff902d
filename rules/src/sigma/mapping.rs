//! What a rule's log source and fields are here: `rules/sigma/*.toml`, the shipped table from Sigma's names to ECS.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::expr::Expr;
use crate::kql;
use crate::schema::{FieldId, Schema};

const FILES: &[(&str, &str)] =
    &[("linux", include_str!("../../sigma/linux.toml")), ("aws", include_str!("../../sigma/aws.toml"))];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    logsource: Vec<LogSource>,
}

/// A log source of Sigma's, as it looks here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSource {
    product: Option<String>,
    category: Option<String>,
    service: Option<String>,
    /// KQL: which events are meant.
    #[serde(rename = "where")]
    condition: String,
    /// Globs over the index of the events.
    pub(super) index: Vec<String>,
    /// Why no such event comes here, where none does.
    pub(super) absent: Option<String>,
    /// Fields that words without a field are looked for in.
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    fields: BTreeMap<String, OneOrMore>,
    /// Objects whose fields keep their names.
    #[serde(default)]
    below: BTreeMap<String, String>,
    /// By field, then by value in lower case: KQL that says the same.
    #[serde(default)]
    values: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Where a field's values are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Field(FieldId),
    /// One of the field's values, by its place.
    Item(FieldId, u32),
}

/// What Sigma calls the origin of a rule's events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) product: Option<String>,
    pub(super) category: Option<String>,
    pub(super) service: Option<String>,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [("product", &self.product), ("category", &self.category), ("service", &self.service)];
        let parts: Vec<String> =
            parts.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?))).collect();
        f.write_str(&parts.join(", "))
    }
}

/// The entries that the name may mean: the one that is exactly it, else all that it does not rule out.
pub(super) fn find(named: &Named) -> Vec<&'static LogSource> {
    let all = || table().iter().flat_map(|file| &file.logsource);
    let is_exact = |entry: &&LogSource| {
        (&entry.product, &entry.category, &entry.service) == (&named.product, &named.category, &named.service)
    };
    if let Some(entry) = all().find(is_exact) {
        return vec![entry];
    }
    let agrees = |wanted: &Option<String>, held: &Option<String>| wanted.is_none() || wanted == held;
    let is_meant = |entry: &&LogSource| {
        agrees(&named.product, &entry.product)
            && agrees(&named.category, &entry.category)
            && agrees(&named.service, &entry.service)
    };
    match named {
        Named { product: None, category: None, service: None } => Vec::new(),
        _ => all().filter(is_meant).collect(),
    }
}

fn table() -> &'static [File] {
    static TABLE: OnceLock<Vec<File>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let read = |(name, text): &(&str, &str)| {
            toml::from_str(text).unwrap_or_else(|err| panic!("sigma/{name}.toml: {err}"))
        };
        FILES.iter().map(read).collect()
    })
}

impl LogSource {
    /// The events that are meant.
    pub(super) fn predicate(&self, schema: &mut Schema) -> Expr {
        condition(&self.condition, schema)
    }

    pub(super) fn words(&self, schema: &mut Schema) -> Vec<Slot> {
        self.words.iter().filter_map(|path| slot(path, schema)).collect()
    }

    /// Where the field's values are. None: no event of this kind has it.
    pub(super) fn slots(&self, name: &str, schema: &mut Schema) -> Vec<Slot> {
        if let Some(mapped) = self.fields.get(name) {
            let paths = match mapped {
                OneOrMore::One(path) => std::slice::from_ref(path),
                OneOrMore::More(paths) => paths,
            };
            return paths.iter().filter_map(|path| slot(path, schema)).collect();
        }
        for (prefix, path) in &self.below {
            if let Some(leaf) = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('.')) {
                return slot(&format!("{path}.{leaf}"), schema).into_iter().collect();
            }
        }
        // A rule may speak ECS itself.
        schema.resolve(name).map(Slot::Field).into_iter().collect()
    }

    /// For a field whose values say what kind of event it is: which these are.
    pub(super) fn values(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.values.get(name)
    }

    /// The field of the table that was most likely meant.
    pub(super) fn suggest(&self, name: &str) -> Option<&str> {
        let folded = name.to_ascii_lowercase();
        let names = self.fields.keys().chain(self.values.keys()).map(String::as_str);
        names
            .map(|known| (strsim::osa_distance(&known.to_ascii_lowercase(), &folded), known))
            .filter(|(distance, known)| *distance <= known.len() / 4)
            .min()
            .map(|(_, known)| known)
    }
}

/// KQL of the table.
pub(super) fn condition(text: &str, schema: &mut Schema) -> Expr {
    let compiled = kql::compile(text, schema);
    compiled.unwrap_or_else(|found| panic!("{text}: {found:?}")).plan
}

fn slot(path: &str, schema: &mut Schema) -> Option<Slot> {
    let (path, item) = match path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        Some((path, item)) => (path, item.parse().ok()),
        None => (path, None),
    };
    let field = schema.resolve(path).ok()?;
    Some(item.map_or(Slot::Field(field), |item| Slot::Item(field, item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_names_what_is_there() {
        let mut schema = Schema::builtin();
        for entry in table().iter().flat_map(|file| &file.logsource) {
            entry.predicate(&mut schema);
            let n_words = entry.words(&mut schema).len();
            assert_eq!(n_words, entry.words.len(), "{:?}", entry.words);
            for (name, mapped) in &entry.fields {
                let n_paths = match mapped {
                    OneOrMore::One(_) => 1,
                    OneOrMore::More(paths) => paths.len(),
                };
                assert_eq!(entry.slots(name, &mut schema).len(), n_paths, "{name}");
            }
            for prefix in entry.below.keys() {
                assert_eq!(entry.slots(&format!("{prefix}.x.y"), &mut schema).len(), 1, "{prefix}");
            }
            for (value, text) in entry.values.values().flatten() {
                assert_eq!(*value, value.to_lowercase());
                condition(text, &mut schema);
            }
        }
    }

    #[test]
    fn a_name_means_the_exact_entry_or_all_it_does_not_rule_out() {
        let named = |product: Option<&str>, category: Option<&str>, service: Option<&str>| Named {
            product: product.map(str::to_owned),
            category: category.map(str::to_owned),
            service: service.map(str::to_owned),
        };
        assert_eq!(find(&named(Some("linux"), Some("process_creation"), None)).len(), 1);
        assert_eq!(find(&named(None, Some("process_creation"), None)).len(), 1);
        assert_eq!(find(&named(Some("linux"), None, None)).len(), 1);
        assert_eq!(find(&named(Some("aws"), None, Some("cloudtrail"))).len(), 1);
        assert_eq!(find(&named(Some("windows"), Some("process_creation"), None)).len(), 0);
        assert_eq!(find(&Named::default()).len(), 0);
    }
}
