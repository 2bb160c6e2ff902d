//! Fields that Elasticsearch takes apart into words, and what is looked for in them.
//!
//! A word is a run of letters, digits and underscores, whatever its case. Elasticsearch's analyser follows Unicode's rules, by
//! which a dot between two letters is part of a word as well: `a.b` is found here by `a`, and there only by `a.b`.

use std::sync::LazyLock;

use crate::bounds::Bounds;
use crate::expr::{Expr, Test};
use crate::pattern::Case;
use crate::pattern::regex::{PerlFlags, Regex, RegexError};
use crate::pattern::wildcard::Piece;
use crate::schema::FieldId;

/// What is a part of a word in what is sought is one where it is looked for.
static WORD: LazyLock<regex::Regex> =
    LazyLock::new(|| regex::Regex::new(r"\w+").expect("an expression of our own"));

/// Which of several words are to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    Any,
    All,
    /// One behind the other.
    Phrase,
}

pub(crate) fn is_free_text(path: &str) -> bool {
    path.ends_with(".text")
        || matches!(path, "message" | "error.message" | "powershell.file.script_block_text")
}

/// Holds where the field has these words. Without a word in what is sought, nothing has it.
///
/// # Errors
/// There are more of them than the bounds allow.
pub(crate) fn test(field: FieldId, sought: &str, how: Words, bounds: &Bounds) -> Result<Expr, RegexError> {
    let words: Vec<&str> = WORD.find_iter(sought).map(|word| word.as_str()).collect();
    if words.is_empty() {
        return Ok(Expr::Const(false));
    }
    match how {
        Words::Any => found(field, &words.join("|"), bounds),
        Words::Phrase => found(field, &words.join(r"\W+"), bounds),
        Words::All => {
            let all = words.into_iter().map(|word| found(field, word, bounds));
            Ok(Expr::and(all.collect::<Result<Vec<_>, _>>()?))
        }
    }
}

/// Holds where one word of the field fits, whatever its case. `None`: no word can, since the pattern has more than that.
///
/// # Errors
/// The pattern is beyond the bounds.
pub(crate) fn word(field: FieldId, pieces: &[Piece], bounds: &Bounds) -> Result<Option<Expr>, RegexError> {
    let mut pattern = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) if WORD.find(text).is_some_and(|word| word.len() == text.len()) => {
                pattern.push_str(text);
            }
            Piece::Text(_) => return Ok(None),
            Piece::One => pattern.push_str(r"\w"),
            Piece::Many => pattern.push_str(r"\w*"),
        }
    }
    found(field, &pattern, bounds).map(Some)
}

/// Letters, digits and underscores need no escape.
fn found(field: FieldId, pattern: &str, bounds: &Bounds) -> Result<Expr, RegexError> {
    let pattern = format!(r"\b(?:{pattern})\b");
    let regex = Regex::perl(&pattern, Case::Folded, PerlFlags::default(), bounds)?;
    Ok(Expr::Any(field, Test::Regex(regex)))
}
