//! A set of literal texts.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHashSet;

use super::{Case, fold};

/// Below this many, comparing one by one beats hashing the value.
const MAX_LINEAR: usize = 6;

/// Texts, one of which a value must equal.
#[derive(Debug, Clone)]
pub struct TextSet {
    /// Sorted, each once, folded when the set is.
    items: Box<[Box<str>]>,
    case: Case,
    index: Option<FxHashSet<Box<str>>>,
}

impl TextSet {
    pub fn new(items: impl IntoIterator<Item = impl AsRef<str>>, case: Case) -> Self {
        let mut items: Vec<Box<str>> =
            items.into_iter().map(|item| case.apply(item.as_ref()).into()).collect();
        items.sort_unstable();
        items.dedup();
        let index = (items.len() > MAX_LINEAR).then(|| items.iter().cloned().collect());
        Self { items: items.into(), case, index }
    }

    pub fn contains(&self, text: &str) -> bool {
        match self.case {
            Case::Sensitive => self.holds(text),
            Case::Folded if self.index.is_none() && text.is_ascii() => {
                self.items.iter().any(|item| item.eq_ignore_ascii_case(text))
            }
            Case::Folded => self.holds(&fold(text)),
        }
    }

    fn holds(&self, text: &str) -> bool {
        match &self.index {
            Some(index) => index.contains(text),
            None => self.items.iter().any(|item| item.as_ref() == text),
        }
    }

    /// Folded where [`Self::case`] says so.
    pub fn items(&self) -> &[Box<str>] {
        &self.items
    }

    pub fn case(&self) -> Case {
        self.case
    }
}

impl PartialEq for TextSet {
    fn eq(&self, other: &Self) -> bool {
        self.case == other.case && self.items == other.items
    }
}

impl Eq for TextSet {}

impl Hash for TextSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.items.hash(state);
        self.case.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        let one = TextSet::new(["b", "a", "b"], Case::Sensitive);
        assert_eq!(one, TextSet::new(["a", "b"], Case::Sensitive));
        assert_ne!(one, TextSet::new(["a", "b"], Case::Folded));
    }

    #[test]
    fn small_and_large_sets_answer_alike() {
        for size in [1, MAX_LINEAR, MAX_LINEAR + 1, 100] {
            let set = TextSet::new((0..size).map(|n| format!("Item{n}")), Case::Folded);
            assert!(set.contains("ITEM0"));
            assert!(!set.contains("item"));
            let exact = TextSet::new((0..size).map(|n| format!("Item{n}")), Case::Sensitive);
            assert!(exact.contains("Item0"));
            assert!(!exact.contains("item0"));
        }
    }
}
