//! What is to be said about one file, and how people read it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::render::{Source, Style, render};
use crate::diagnostic::{Diagnostic, Severity};
use crate::rule::table::At;

/// One thing that is wrong with a file.
#[derive(Debug, Clone)]
pub struct Finding {
    pub diagnostic: Diagnostic,
    /// The string of the file that the diagnostic's span is of. `None`: the span is of the file itself.
    pub(crate) query: Option<At<String>>,
}

/// Everything to be said about one file.
#[derive(Debug, Clone)]
pub struct Report {
    pub path: PathBuf,
    /// The file's text; empty where it could not be read.
    pub text: Arc<str>,
    /// In the order of the file.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(path: &Path, text: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.sort_key());
        Self { path: path.to_owned(), text: text.into(), findings }
    }

    /// The worst of the findings.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.diagnostic.severity).max()
    }

    pub fn has_errors(&self) -> bool {
        self.severity() == Some(Severity::Error)
    }

    /// Nothing is wrong with the file: it is only that its rules cannot fire here.
    pub fn is_note(&self) -> bool {
        self.severity() == Some(Severity::Note)
    }

    /// The findings one below the other, each with its lines marked.
    pub fn render(&self, style: Style) -> String {
        let path = self.path.to_string_lossy();
        let parts: Vec<String> = self
            .findings
            .iter()
            .map(|finding| {
                let source = match &finding.query {
                    Some(query) => Source::toml(&path, &self.text, query.span.clone(), &query.value),
                    None => Source::query(&path, &self.text),
                };
                render(source, std::slice::from_ref(&finding.diagnostic), style)
            })
            .collect();
        parts.join("\n\n")
    }

    /// The line of the file, from 1, on which a finding starts.
    pub fn line(&self, finding: &Finding) -> usize {
        let before = &self.text[..floor_boundary(&self.text, finding.start())];
        before.matches('\n').count() + 1
    }
}

impl Finding {
    pub fn is_error(&self) -> bool {
        self.diagnostic.severity == Severity::Error
    }

    /// Says why a rule cannot fire here, and finds no fault with it.
    pub fn is_note(&self) -> bool {
        self.diagnostic.severity == Severity::Note
    }

    pub(crate) fn into_warning(self) -> Self {
        Self { diagnostic: Diagnostic { severity: Severity::Warning, ..self.diagnostic }, ..self }
    }

    /// A close lower bound of the place in the file: escapes before it in a query are not counted.
    fn start(&self) -> usize {
        match &self.query {
            Some(query) => query.span.start + query_lines(query, &self.diagnostic.span),
            None => self.diagnostic.span.start,
        }
    }

    fn sort_key(&self) -> (usize, usize) {
        let start = self.query.as_ref().map_or(self.diagnostic.span.start, |query| query.span.start);
        (start, self.diagnostic.span.start)
    }
}

/// Bytes from the opening quotes of a query to the place of a span in it.
fn query_lines(query: &At<String>, span: &Range<usize>) -> usize {
    let quotes = query.span.len().saturating_sub(query.value.len());
    // Three quotes at both ends and the newline that follows the first; or one quote at both.
    let opening = if quotes > 2 { quotes - 3 } else { 1 };
    opening + span.start
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
