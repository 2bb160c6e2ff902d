//! Tests of a rule in words.

use std::ops::Bound;

use rules::expr::{Range, Test};
use rules::literal::Literal;

/// Members of a list that are shown.
const MAX_ITEMS: usize = 8;

/// What a test asks of a value.
pub(super) fn test(test: &Test) -> String {
    match test {
        Test::Equals(it) => literal(it),
        Test::In(set) => one_of(set.items().iter().map(|item| format!("\"{item}\""))),
        Test::Wildcard(pattern) => format!("like \"{pattern}\""),
        Test::Regex(regex) => format!("matching /{}/", regex.source()),
        Test::Range(it) => range(it),
        Test::Part(part, it) => format!("{} {}", format!("{part:?}").to_lowercase(), range(it)),
        Test::Cidr(nets) => one_of(nets.nets().iter().map(ToString::to_string)),
    }
}

fn one_of(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort();
    let n_more = items.len().saturating_sub(MAX_ITEMS);
    items.truncate(MAX_ITEMS);
    if let ([only], 0) = (&items[..], n_more) {
        return only.clone();
    }
    let more = if n_more > 0 { format!(" or {n_more} more") } else { String::new() };
    format!("one of {}{more}", items.join(", "))
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => format!("\"{text}\""),
        Literal::Int(int) => int.to_string(),
        Literal::Float(float) => float.get().to_string(),
        Literal::Bool(bool) => bool.to_string(),
        Literal::Ip(ip) => ip.to_string(),
        Literal::Date(time) => crate::time::format(*time),
    }
}

fn range(range: &Range) -> String {
    let low = match &range.low {
        Bound::Unbounded => None,
        Bound::Included(it) => Some(format!("at least {}", literal(it))),
        Bound::Excluded(it) => Some(format!("more than {}", literal(it))),
    };
    let high = match &range.high {
        Bound::Unbounded => None,
        Bound::Included(it) => Some(format!("at most {}", literal(it))),
        Bound::Excluded(it) => Some(format!("less than {}", literal(it))),
    };
    low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
}
