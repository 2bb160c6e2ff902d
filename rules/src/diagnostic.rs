//! What is wrong with a rule's text: code, span, label, help. Rendering is in [`render`]; which stage raised a
//! diagnostic is of no interest here.

mod code;
mod meaning;
pub mod render;

use std::ops::Range;

pub use code::Code;

/// One finding about a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// Bytes of the query's text.
    pub span: Range<usize>,
    /// What is wrong, in one lower-case sentence.
    pub message: String,
    /// Stands under the marked text. May be empty.
    pub label: String,
    /// The way out.
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The rule is right, and none of the events that come here can make it fire.
    Note,
    /// The rule runs, perhaps not as its author thinks.
    Warning,
    /// The rule does not load.
    Error,
}

/// What a query compiled to, and what its author should hear about it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled<T> {
    pub plan: T,
    pub warnings: Vec<Diagnostic>,
}

impl Diagnostic {
    pub fn error(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span,
            message: message.into(),
            label: String::new(),
            help: None,
        }
    }

    pub fn warning(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    pub fn note(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, span, message) }
    }

    pub fn with_label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The plan with its warnings, or everything that was found where one of the findings is an error. In text order.
pub(crate) fn conclude<T>(
    plan: Option<T>,
    mut found: Vec<Diagnostic>,
) -> Result<Compiled<T>, Vec<Diagnostic>> {
    found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end, diagnostic.code));
    let has_error = found.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    match plan {
        Some(plan) if !has_error => Ok(Compiled { plan, warnings: found }),
        _ => Err(found),
    }
}
