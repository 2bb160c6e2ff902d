//! Folders of rule files to a checked set: every bad file is reported, and the rest loads.

pub mod drops;
mod read;
pub mod report;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::diagnostic::{Code, Diagnostic};
use crate::expr::Expr;
use crate::rule::{Rule, file};
use crate::schema::Schema;
use crate::sigma::{self, Library};

use drops::DropLine;
use read::ReadFile;
use report::{Finding, Report};

pub(crate) mod shipped {
    include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
}

/// A set of rules, and what is to be said about its files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of paths, and by path inside each.
    pub rules: Vec<Rule<Expr>>,
    pub drops: Vec<DropLine<Expr>>,
    /// Files of which something is to be said, good ones included.
    pub reports: Vec<Report>,
    /// Files read, good or bad.
    pub n_files: usize,
    /// Of these, files of folders that are no rules: other TOML and YAML that lies there.
    pub n_passed_over: usize,
    texts: BTreeMap<PathBuf, Arc<str>>,
    /// Sigma documents refer to each other, so they are compiled once all are read.
    sigma: Library,
}

/// Reads rule files and folders of them: recursively, in order of names, without hidden files and `_deprecated`.
/// Drop lists may stand among them, and Sigma rules under the defaults.
pub fn load<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>, schema: &mut Schema) -> Loaded {
    load_with(paths, &sigma::Options::default(), schema, &|_, _| {})
}

/// The same, with what the deployment says about Sigma rules. `watch` hears, from any thread, how many files are read and
/// how many there are.
pub fn load_with<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
    options: &sigma::Options,
    schema: &mut Schema,
    watch: &(dyn Fn(usize, usize) + Sync),
) -> Loaded {
    let mut loaded = Loaded::default();
    let paths: Vec<PathBuf> = paths.into_iter().map(|path| path.as_ref().to_owned()).collect();
    let by_path: Vec<_> = paths.iter().map(|path| walk::files(path)).collect();
    let counts: Vec<usize> = by_path.iter().map(Vec::len).collect();
    let mut outcomes = read::all(by_path.into_iter().flatten().collect(), schema, watch).into_iter();
    for (path, n_files) in paths.iter().zip(counts) {
        let n_before = loaded.n_passed_over;
        for outcome in outcomes.by_ref().take(n_files) {
            loaded.take(outcome, &paths, schema);
        }
        if loaded.n_passed_over - n_before == n_files && path.is_dir() {
            loaded.report_empty_folder(path, n_files);
        }
    }
    loaded.compile_sigma(options, schema);
    loaded.settle();
    loaded
}

/// The file itself, or the rule files below a folder, each with why it cannot be had where that is so.
pub fn files(path: &Path) -> Vec<Result<PathBuf, String>> {
    walk::files(path).into_iter().map(|found| found.map_err(|fault| fault.to_string())).collect()
}

/// The shipped rules and the shipped drop list, from the program itself.
pub fn builtin(schema: &mut Schema) -> Loaded {
    let mut loaded = Loaded::default();
    for (path, text) in shipped::FILES {
        loaded.add(Path::new(path), text, true, schema);
    }
    loaded.settle();
    loaded
}

/// One file's text, from wherever it comes.
pub fn text(path: &Path, text: &str, schema: &mut Schema) -> Loaded {
    let mut loaded = Loaded::default();
    loaded.add(path, text, true, schema);
    loaded.compile_sigma(&sigma::Options::default(), schema);
    loaded.settle();
    loaded
}

impl Loaded {
    /// This set followed by another. What one says about the other is settled again: a rule's id occurs once, and a
    /// rule of ours steps back where the public rule that it covers is there.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self.drops.extend(other.drops);
        self.reports.extend(other.reports);
        self.n_files += other.n_files;
        self.n_passed_over += other.n_passed_over;
        self.texts.extend(other.texts);
        self.settle();
        self
    }

    pub fn has_errors(&self) -> bool {
        self.reports.iter().any(Report::has_errors)
    }

    /// `named`: what was asked for by itself, and is a rule or an error.
    fn take(&mut self, outcome: read::Outcome, named: &[PathBuf], schema: &mut Schema) {
        match outcome {
            Ok(ReadFile { path, text, compiled }) => {
                let is_named = named.contains(&path);
                match compiled {
                    // A checkout holds other TOML beside its rules.
                    _ if !is_named && is_other_toml(&path, &text) => {
                        self.begin(&path, &text);
                        self.n_passed_over += 1;
                    }
                    Some((rule, findings)) => {
                        self.begin(&path, &text);
                        self.rules.extend(rule);
                        self.report(&path, findings);
                    }
                    None => self.add(&path, &text, is_named, schema),
                }
            }
            Err(fault) => self.add_unreadable(&fault),
        }
    }

    fn report_empty_folder(&mut self, path: &Path, n_files: usize) {
        let message = match n_files {
            0 => format!("no rule file lies in \"{}\"", path.to_string_lossy()),
            n => format!("none of the {n} TOML and YAML files in \"{}\" is a rule", path.to_string_lossy()),
        };
        let diagnostic = Diagnostic::warning(Code::NoRule, 0..0, message)
            .with_help("name the folder that the rules are in, or leave this one out");
        self.report(path, vec![Finding { diagnostic, query: None }]);
    }

    fn begin(&mut self, path: &Path, text: &str) {
        self.n_files += 1;
        self.texts.insert(path.to_owned(), text.into());
    }

    fn add(&mut self, path: &Path, text: &str, is_named: bool, schema: &mut Schema) {
        self.begin(path, text);
        let findings = match is_drop_list(text) {
            _ if is_yaml(path) => match self.sigma.add(path, text, is_named) {
                Some(findings) => findings,
                None if is_named => vec![no_sigma(text)],
                None => {
                    self.n_passed_over += 1;
                    Vec::new()
                }
            },
            true => {
                let (drops, findings) = drops::read(text, schema);
                self.drops.extend(drops);
                findings
            }
            false => {
                let (rule, findings) = file::read(path, text, schema);
                self.rules.extend(rule);
                findings
            }
        };
        self.report(path, findings);
    }

    fn compile_sigma(&mut self, options: &sigma::Options, schema: &mut Schema) {
        let (rules, found) = std::mem::take(&mut self.sigma).finish(options, schema);
        self.rules.extend(rules);
        for (path, findings) in found {
            self.report(&path, findings);
        }
    }

    fn add_unreadable(&mut self, fault: &walk::Unreadable) {
        self.n_files += 1;
        let diagnostic = Diagnostic::error(Code::Unreadable, 0..0, fault.to_string());
        self.report(fault.path(), vec![Finding { diagnostic, query: None }]);
    }

    fn report(&mut self, path: &Path, findings: Vec<Finding>) {
        if findings.is_empty() {
            return;
        }
        let text = self.texts.get(path).map_or("", |text| text);
        // What is said late is mostly about what was read last.
        match self.reports.iter_mut().rev().find(|report| report.path.as_os_str() == path.as_os_str()) {
            Some(report) => report.findings.extend(findings),
            None => {
                let report = Report::new(path, text, findings);
                self.reports.push(report);
            }
        }
    }

    fn settle(&mut self) {
        self.refuse_second_ids();
        self.step_back();
    }

    fn refuse_second_ids(&mut self) {
        let mut first: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut refused = Vec::new();
        self.rules.retain(|rule| match first.get(&rule.id) {
            None => {
                first.insert(rule.id.clone(), rule.path.clone());
                true
            }
            Some(path) => {
                let message = format!("rule_id \"{}\" is taken by {}", rule.id, path.to_string_lossy());
                refused.push((rule.path.clone(), rule.id.clone(), Code::DuplicateRule, message));
                false
            }
        });
        for (path, id, code, message) in refused {
            let diagnostic = Diagnostic::error(code, self.place(&path, &id), message)
                .with_label("the second of that id does not load")
                .with_help("give one of them a new UUID, or load one of the two files");
            self.report(&path, vec![Finding { diagnostic, query: None }]);
        }
    }

    fn step_back(&mut self) {
        let by_id: BTreeMap<String, PathBuf> =
            self.rules.iter().map(|rule| (rule.id.clone(), rule.path.clone())).collect();
        let mut stepped = Vec::new();
        self.rules.retain(|rule| {
            let upstream = rule.upstream_id.as_ref().and_then(|id| Some((id, by_id.get(id)?)));
            if let Some((id, path)) = upstream {
                stepped.push((rule.path.clone(), id.clone(), rule.name.clone(), path.clone()));
            }
            upstream.is_none()
        });
        for (path, id, name, other) in stepped {
            let message =
                format!("\"{name}\" steps back: {} is the rule that it covers", other.to_string_lossy());
            let diagnostic = Diagnostic::warning(Code::StepsBack, self.place(&path, &id), message)
                .with_help("leave that file out to have this rule again");
            self.report(&path, vec![Finding { diagnostic, query: None }]);
        }
    }

    fn place(&self, path: &Path, text: &str) -> std::ops::Range<usize> {
        let start = self.texts.get(path).and_then(|file| file.find(text));
        start.map_or(0..0, |start| start..start + text.len())
    }
}

fn no_sigma(text: &str) -> Finding {
    let message = "no Sigma rule stands in this file";
    let diagnostic = Diagnostic::error(Code::NoRule, 0..text.lines().next().map_or(0, str::len), message)
        .with_help("a document needs a \"detection\", a \"correlation\" or a \"filter\" at its top: is it spelt otherwise?");
    Finding { diagnostic, query: None }
}

/// Nothing in the text is of a rule file: some tool's own configuration.
fn is_other_toml(path: &Path, text: &str) -> bool {
    const OURS: [&str; 5] = ["[rule", "[metadata]", "[tests]", "[drop]", "rule."];
    !is_yaml(path) && !OURS.iter().any(|table| text.contains(table))
}

pub(crate) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

/// A file that only lists what to drop.
pub(crate) fn is_drop_list(text: &str) -> bool {
    text.contains("[[drop]]")
        && DeTable::parse(text)
            .is_ok_and(|file| file.get_ref().contains_key("drop") && !file.get_ref().contains_key("rule"))
}

#[cfg(test)]
mod tests;
