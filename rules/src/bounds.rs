//! How large what is written in a rule may be. A rule is a page of text by whoever wrote it; what goes far beyond is refused
//! when it is loaded, with the bound in the message.

use std::ops::RangeInclusive;

/// A computed text beyond this is null, as in Elasticsearch.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// Bounds of what compiles. The defaults are several times what public rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a rule file.
    pub max_file: u64,
    /// Bytes of a query.
    pub max_query: u64,
    /// Levels of nesting in a condition.
    pub max_depth: u64,
    /// Bytes that a regular expression compiles to.
    pub max_regex: u64,
    /// `*` and `?` in one pattern.
    pub max_wildcards: u64,
    /// Steps of a sequence or sample.
    pub max_steps: u64,
    /// `with runs` of one step.
    pub max_runs: u64,
}

/// A bound by its name in the configuration.
pub struct Named {
    pub name: &'static str,
    /// Beyond these either every rule is refused, or what compiles could exhaust stack or memory.
    pub range: RangeInclusive<u64>,
    /// It counts bytes.
    pub is_size: bool,
    pub of: fn(&mut Bounds) -> &mut u64,
}

/// All of them, in the order in which they are told.
pub const ALL: [Named; 7] = [
    Named { name: "max_file", range: 1 << 10..=64 << 20, is_size: true, of: |bounds| &mut bounds.max_file },
    Named { name: "max_query", range: 1 << 10..=4 << 20, is_size: true, of: |bounds| &mut bounds.max_query },
    Named { name: "max_depth", range: 8..=128, is_size: false, of: |bounds| &mut bounds.max_depth },
    Named { name: "max_regex", range: 1 << 10..=16 << 20, is_size: true, of: |bounds| &mut bounds.max_regex },
    Named { name: "max_wildcards", range: 4..=1_000, is_size: false, of: |bounds| &mut bounds.max_wildcards },
    Named { name: "max_steps", range: 2..=64, is_size: false, of: |bounds| &mut bounds.max_steps },
    Named { name: "max_runs", range: 1..=1_000, is_size: false, of: |bounds| &mut bounds.max_runs },
];

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_file: 4 << 20,
            max_query: 1 << 20,
            max_depth: 64,
            max_regex: 1 << 20,
            max_wildcards: 100,
            max_steps: 64,
            // As in Elasticsearch.
            max_runs: 100,
        }
    }
}

impl Bounds {
    pub(crate) fn depth(&self) -> usize {
        usize::try_from(self.max_depth).unwrap_or(usize::MAX)
    }

    /// Why a query of that text is too long. None: it is not.
    pub(crate) fn too_long(&self, text: &str) -> Option<String> {
        let n_bytes = text.len() as u64;
        let max = self.max_query;
        (n_bytes > max).then(|| {
            format!("the query has {n_bytes} bytes, more than the {max} of \"max_query\" in [rules.limits]")
        })
    }

    /// Why a pattern has too many wildcards. None: it has not.
    pub(crate) fn too_wild(&self, n_wildcards: usize) -> Option<String> {
        let max = self.max_wildcards;
        (n_wildcards as u64 > max).then(|| {
            format!(
                "the pattern has {n_wildcards} wildcards, more than the {max} of \"max_wildcards\" in [rules.limits]: \
                 each multiplies what a long value can cost"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn defaults_are_in_range_and_each_bound_is_named_once() {
        let mut bounds = Bounds::default();
        for named in &ALL {
            assert!(named.range.contains((named.of)(&mut bounds)), "{}", named.name);
            *(named.of)(&mut bounds) = 0;
        }
        let zero = Bounds {
            max_file: 0,
            max_query: 0,
            max_depth: 0,
            max_regex: 0,
            max_wildcards: 0,
            max_steps: 0,
            max_runs: 0,
        };
        assert_eq!(bounds, zero);
    }

    /// What is said of a rule of that type and query, or of a Sigma file, under these bounds.
    fn said(bounds: Bounds, kind: &str, query: &str) -> Vec<String> {
        let mut schema = Schema::builtin();
        schema.set_bounds(bounds);
        let (name, text) = match kind {
            "sigma" => ("r.yml", query.to_owned()),
            _ => {
                let language = if kind == "query" { "kuery" } else { kind };
                let head = "[rule]\nname = \"r\"\nrule_id = \"r\"\nseverity = \"low\"\nrisk_score = 1\n";
                let query = toml::Value::from(query);
                ("r.toml", format!("{head}type = \"{kind}\"\nlanguage = \"{language}\"\nquery = {query}\n"))
            }
        };
        let loaded = crate::catalogue::text(std::path::Path::new(name), &text, &mut schema);
        let found = loaded.reports.iter().flat_map(|report| &report.findings);
        let errors: Vec<String> =
            found.filter(|one| one.is_error()).map(|one| one.diagnostic.message.clone()).collect();
        assert_eq!(loaded.rules.is_empty(), !errors.is_empty(), "{kind}: {errors:?}");
        errors
    }

    fn sigma(selection: &str) -> String {
        format!(
            "title: t\nlogsource: {{product: linux, category: process_creation}}\ndetection:\n  s: {{{selection}}}\n  condition: s\n"
        )
    }

    #[test]
    fn what_goes_beyond_a_bound_is_refused_with_its_name_and_goes_through_once_it_is_raised() {
        let usual = Bounds::default();
        let deep =
            |open: &str, close: &str, n: usize| format!("{}{}{}", open.repeat(n), "{}", close.repeat(n));
        let stars = |n: usize| "*a".repeat(n);
        let bomb = "(((a{1,50}){1,50}){1,50})";
        let steps = |n: usize| format!("sequence by host.id {}", "[any where true]".repeat(n));
        let esql = |condition: &str| format!("FROM logs-* | WHERE {condition}");
        let low = |name: &str, value: u64| {
            let mut bounds = usual;
            let named = ALL.iter().find(|named| named.name == name).expect("a bound");
            *(named.of)(&mut bounds) = value;
            bounds
        };
        let long = format!("process.name:\"{}\"", "x".repeat(2_000));
        let cases: Vec<(&str, &str, String, u64, Option<&str>)> = vec![
            ("max_depth", "query", deep("(", ")", 40).replace("{}", "process.name:a"), 20, None),
            ("max_depth", "eql", format!("any where {}", deep("(", ")", 40).replace("{}", "true")), 20, None),
            ("max_depth", "esql", esql(&deep("(", ")", 40).replace("{}", "host.id == \"a\"")), 20, None),
            ("max_query", "query", long, 1_024, Some("max_query")),
            (
                "max_query",
                "eql",
                format!("any where process.name == \"{}\"", "x".repeat(2_000)),
                1_024,
                Some("max_query"),
            ),
            (
                "max_query",
                "esql",
                esql(&format!("host.id == \"{}\"", "x".repeat(2_000))),
                1_024,
                Some("max_query"),
            ),
            ("max_wildcards", "query", format!("process.name:{}", stars(50)), 20, Some("max_wildcards")),
            (
                "max_wildcards",
                "eql",
                format!("any where process.name : \"{}\"", stars(50)),
                20,
                Some("max_wildcards"),
            ),
            (
                "max_wildcards",
                "eql",
                format!("any where wildcard(process.name, \"{}\")", stars(50)),
                20,
                Some("max_wildcards"),
            ),
            (
                "max_wildcards",
                "esql",
                esql(&format!("host.id LIKE \"{}\"", stars(50))),
                20,
                Some("max_wildcards"),
            ),
            ("max_wildcards", "sigma", sigma(&format!("Image: '{}'", stars(50))), 20, Some("max_wildcards")),
            (
                "max_regex",
                "eql",
                "any where process.name regex \"[a-z]{30}\"".to_owned(),
                1_024,
                Some("max_regex"),
            ),
            ("max_regex", "esql", esql("host.id RLIKE \"[a-z]{30}\""), 1_024, Some("max_regex")),
            ("max_regex", "sigma", sigma("Image|re: '[a-z]{30}'"), 1_024, Some("max_regex")),
            ("max_steps", "eql", steps(5), 4, Some("max_steps")),
            (
                "max_runs",
                "eql",
                "sequence by host.id [any where true] with runs=9".to_owned(),
                8,
                Some("max_runs"),
            ),
        ];
        for (name, kind, query, value, needle) in &cases {
            assert_eq!(said(usual, kind, query), Vec::<String>::new(), "{name} {kind}");
            let refused = said(low(name, *value), kind, query);
            let needle = needle.unwrap_or("too deep");
            assert!(refused.iter().any(|message| message.contains(needle)), "{name} {kind}: {refused:?}");
        }
        for (kind, query) in [
            ("eql", format!("any where process.name regex \"{bomb}\"")),
            ("eql", format!("any where match(process.name, \"{bomb}\")")),
            ("esql", esql(&format!("host.id RLIKE \"{bomb}\""))),
            ("sigma", sigma(&format!("Image|re: '{bomb}'"))),
        ] {
            let refused = said(usual, kind, &query);
            assert!(refused.iter().any(|message| message.contains("max_regex")), "{kind}: {refused:?}");
        }
    }

    #[test]
    fn the_deepest_that_can_be_allowed_is_no_danger_to_the_stack() {
        let bounds = Bounds { max_depth: *ALL[2].range.end(), ..Bounds::default() };
        let inside = |text: &str| format!("{}{text}{}", "(".repeat(126), ")".repeat(126));
        let run = move || {
            for (kind, query) in [
                ("query", inside("process.name:a")),
                ("eql", format!("any where {}", inside("true"))),
                ("eql", format!("any where {} process.name == \"a\"", "not ".repeat(120))),
                ("esql", format!("FROM logs-* | WHERE {}", inside("host.id == \"a\""))),
            ] {
                assert_eq!(said(bounds, kind, &query), Vec::<String>::new(), "{kind}");
            }
        };
        // What a thread of the loader has.
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(run)
            .expect("a thread")
            .join()
            .expect("it ends");
    }
}
