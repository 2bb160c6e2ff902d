//! Sigma: YAML rules, correlations and filters to rules over ECS.
//!
//! Texts compare without regard to case, as Sigma says. Where a rule's log source or field has no place here, the rule is
//! said to be unable to fire; it is no error. Documents refer to each other by name, so nothing is compiled before
//! [`Library::finish`].

mod condition;
mod correlation;
mod detection;
mod document;
mod mapping;
mod modifier;
#[cfg(test)]
mod tests;
mod value;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalogue::report::Finding;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::expr::Expr;
use crate::rule::Rule;
use crate::schema::Schema;

use document::{Body, Document};

/// What `%name%` stands for under the modifier `expand`.
pub type Placeholders = BTreeMap<String, Vec<String>>;

/// What the deployment says about Sigma rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub placeholders: Placeholders,
    /// Fields keep their Sigma names, and log sources say nothing: for events that nobody mapped.
    pub is_raw: bool,
}

/// Documents that have been read and wait for each other.
#[derive(Debug, Default)]
pub struct Library {
    documents: Vec<Document>,
}

/// Findings about one file.
pub(crate) type Found = (PathBuf, Vec<Finding>);

impl Library {
    /// Reads a file's documents. Says what is wrong with them by themselves. `None`: nothing in the file is Sigma's.
    pub(crate) fn add(&mut self, path: &Path, text: &str, is_named: bool) -> Option<Vec<Finding>> {
        // A folder holds other YAML as well: what a document of Sigma's cannot do without is looked for first.
        if !is_named && !["detection", "correlation", "filter"].iter().any(|key| text.contains(key)) {
            return None;
        }
        let n_before = self.documents.len();
        let (nodes, mut found) = yaml::parse(text);
        let file = document::File { path: path.into(), text: text.into() };
        let file = Arc::new(file);
        for node in nodes {
            self.documents.extend(document::read(&file, node, &mut found));
        }
        (self.documents.len() > n_before || !found.is_empty()).then(|| findings(found))
    }

    /// Compiles everything: detections with the filters that name them, then correlations over them.
    pub(crate) fn finish(self, options: &Options, schema: &mut Schema) -> (Vec<Rule<Expr>>, Vec<Found>) {
        let mut all = Vec::new();
        let mut rules = Vec::new();
        let mut broken = BTreeSet::new();
        let silent = self.silent();
        let used = self.used_filters();
        for (idx, document) in self.documents.iter().enumerate() {
            let mut found = Vec::new();
            let rule = match &document.body {
                Body::Detection(_) if silent.contains(&idx) => None,
                Body::Detection(detection) => {
                    let filters = self.filters_of(document);
                    document::compile(document, detection, &filters, options, schema, &mut found)
                        .map(|expr| document.rule(crate::plan::Plan::Query(expr)))
                }
                Body::Correlation(_) => {
                    let plan = correlation::compile(&self, idx, options, schema, &mut found);
                    let is_silent = silent.contains(&idx);
                    // What is not to be had here is said of the correlation above; a circle has none above.
                    found.retain(|found| !is_silent || found.severity == Severity::Error);
                    if plan.is_none() {
                        broken.insert(idx);
                    }
                    plan.filter(|_| !is_silent).map(|(plan, rests_on)| Rule {
                        rests_on,
                        ..document.rule(crate::plan::Plan::Correlation(plan))
                    })
                }
                Body::Filter(filter) => {
                    found =
                        document::check_filter(document, filter, &self.narrowed_by(filter), options, schema);
                    None
                }
            };
            rules.extend(rule);
            all.push((document.file.path.clone(), findings(found)));
        }
        for (idx, document) in self.documents.iter().enumerate() {
            if let Body::Filter(filter) = &document.body
                && !used.contains(&idx)
                && !filter.rules.is_empty()
            {
                let message = "no loaded rule is one that this filter names";
                let found = Diagnostic::warning(Code::UnknownRule, filter.rules[0].span.clone(), message);
                all.push((document.file.path.clone(), findings(vec![found])));
            }
        }
        for (idx, correlation) in self.unheard(&silent, &broken) {
            let title = &self.documents[idx].title;
            let message = format!("tells nothing: \"{correlation}\" stands for this rule and does not run");
            let found = Diagnostic::warning(Code::UnknownRule, title.span.clone(), message)
                .with_help("mend the correlation, or let it say `generate: true`");
            all.push((self.documents[idx].file.path.clone(), findings(vec![found])));
        }
        (rules, all)
    }

    /// Silent rules for which nothing that runs speaks, each with a correlation that should.
    fn unheard(&self, silent: &BTreeSet<usize>, broken: &BTreeSet<usize>) -> Vec<(usize, &str)> {
        let mut by_rule: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (idx, document) in self.documents.iter().enumerate() {
            if let Body::Correlation(correlation) = &document.body {
                for rule in correlation.rules.iter().filter_map(|at| self.find(&at.value)) {
                    by_rule.entry(rule).or_default().push(idx);
                }
            }
        }
        let is_detection = |idx: &usize| matches!(self.documents[*idx].body, Body::Detection(_));
        let of_rule = |idx: &usize| {
            let speakers = by_rule.get(idx)?;
            let first = speakers.iter().all(|speaker| broken.contains(speaker)).then(|| speakers[0])?;
            Some((*idx, self.documents[first].title.value.as_str()))
        };
        silent.iter().filter(|idx| is_detection(idx)).filter_map(of_rule).collect()
    }

    /// Documents that a correlation stands for: by themselves they tell nothing, unless it says `generate`.
    fn silent(&self) -> BTreeSet<usize> {
        let (mut silent, mut told) = (BTreeSet::new(), BTreeSet::new());
        for document in &self.documents {
            if let Body::Correlation(correlation) = &document.body {
                let referred = correlation.rules.iter().filter_map(|at| self.find(&at.value));
                match correlation.generate {
                    true => told.extend(referred),
                    false => silent.extend(referred),
                }
            }
        }
        silent.retain(|idx| !told.contains(idx));
        silent
    }

    /// By id or name.
    fn find(&self, reference: &str) -> Option<usize> {
        self.documents.iter().position(|document| document.is_called(reference))
    }

    fn filters_of(&self, rule: &Document) -> Vec<&Document> {
        let is_meant =
            |document: &&Document| matches!(&document.body, Body::Filter(filter) if filter.is_for(rule));
        self.documents.iter().filter(is_meant).collect()
    }

    /// The log sources of the rules that a filter is for.
    fn narrowed_by(&self, filter: &document::Filter) -> Vec<&'static mapping::LogSource> {
        let mut sources: Vec<&'static mapping::LogSource> = Vec::new();
        let rules = self.documents.iter().filter(|rule| matches!(rule.body, Body::Detection(_)));
        for source in rules.filter(|rule| filter.is_for(rule)).flat_map(Document::sources) {
            if !sources.iter().any(|held| std::ptr::eq(*held, source)) {
                sources.push(source);
            }
        }
        sources
    }

    fn used_filters(&self) -> BTreeSet<usize> {
        let is_used = |filter: &document::Filter| {
            self.documents.iter().any(|rule| matches!(rule.body, Body::Detection(_)) && filter.is_for(rule))
        };
        let filters = self.documents.iter().enumerate().filter_map(|(idx, document)| match &document.body {
            Body::Filter(filter) => Some((idx, filter)),
            _ => None,
        });
        filters.filter(|(_, filter)| is_used(filter)).map(|(idx, _)| idx).collect()
    }
}

fn findings(found: Vec<Diagnostic>) -> Vec<Finding> {
    found.into_iter().map(|diagnostic| Finding { diagnostic, query: None }).collect()
}
