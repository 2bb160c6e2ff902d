//! Compiled text tests: wildcards, Lucene regular expressions, sets of literals and of networks. Each equals another
//! when its source does, so that predicates of different rules can be one.

mod ascii;
pub mod cidr;
pub mod regex;
pub mod set;
pub mod wildcard;

use std::borrow::Cow;

/// Whether letters compare by case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    Sensitive,
    Folded,
}

impl Case {
    /// The text as this kind of comparison sees it.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Sensitive => Cow::Borrowed(text),
            Self::Folded => fold(text),
        }
    }
}

/// Lower case, borrowed where the text already is.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    Cow::Owned(text.to_lowercase())
}
