//! What holds for every query: printing and parsing agree, and no text is too odd for a diagnostic.

use proptest::prelude::*;

use super::super::{ast, compile, parse};
use crate::diagnostic::Severity;
use crate::pattern::wildcard::Piece;
use crate::schema::Schema;

fn value() -> impl Strategy<Value = ast::Value> {
    let text = "[a-z0-9.:(){}<>\"\\\\ \t*éA-Z-]{0,6}|or|and|not|NOT";
    let exact = text.prop_map(|text| if text.is_empty() { vec![] } else { vec![Piece::Text(text)] });
    let pattern = (proptest::option::of("[a-z:\\\\ ()]{1,4}"), proptest::option::of("[a-z\\n\" ]{1,4}|or"))
        .prop_map(|(head, tail)| {
            let head = head.map(Piece::Text);
            head.into_iter().chain([Piece::Many]).chain(tail.map(Piece::Text)).collect()
        });
    prop_oneof![exact, pattern].prop_map(|pieces| ast::Value { span: 0..0, pieces, is_quoted: false })
}

fn values() -> impl Strategy<Value = ast::Values> {
    value().prop_map(ast::Values::One).prop_recursive(3, 12, 3, |inner| {
        let parts = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts.clone().prop_map(ast::Values::Or),
            parts.prop_map(ast::Values::And),
            inner.prop_map(|part| ast::Values::Not(part.into())),
        ]
    })
}

fn tree() -> impl Strategy<Value = ast::Node> {
    use ast::{Kind, RangeComparison};
    let node = |kind| ast::Node { span: 0..0, kind };
    let leaf = prop_oneof![
        (value(), values()).prop_map(|(field, values)| Kind::Is { field, values }),
        (value(), value()).prop_map(|(field, value)| {
            Kind::Range { field, comparison: RangeComparison::LessOrEqual, value }
        }),
        value().prop_map(Kind::Bare),
    ];
    leaf.prop_map(node).prop_recursive(3, 16, 3, move |inner| {
        let parts = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts.clone().prop_map(Kind::Or),
            parts.prop_map(Kind::And),
            inner.clone().prop_map(|part| Kind::Not(part.into())),
            (value(), inner).prop_map(|(field, query)| Kind::Nested { field, query: query.into() }),
        ]
        .prop_map(node)
    })
}

proptest! {
    #[test]
    fn printing_and_parsing_is_identity(query in tree()) {
        let text = query.to_string();
        let (parsed, found) = parse(&text);
        prop_assert_eq!(&found, &[], "{}", text);
        prop_assert_eq!(parsed, Some(query), "{}", text);
    }

    #[test]
    fn any_text_compiles_or_says_why(text in "\\PC{0,60}|[a-z:()*\\\\\"{}<>= \n]{0,40}") {
        match compile(&text, &mut Schema::builtin()) {
            Ok(_) => {}
            Err(found) => prop_assert!(found.iter().all(|diagnostic| diagnostic.span.end <= text.len())),
        }
    }

    /// Tokens in any order reach further into the parser than characters do.
    #[test]
    fn any_tokens_compile_or_say_why(tokens in proptest::collection::vec(prop_oneof![
        Just("process.name"), Just("process.pid "), Just("source.ip"), Just("process"), Just("proc*"), Just(": "), Just(":{ "),
        Just("} "), Just("("), Just(") "), Just("and "), Just(" or "), Just("not "), Just("curl "), Just("\"a*\" "), Just("*"),
        Just("10 "), Just("10.0.0.0/8 "), Just(">= "), Just("< "), Just("2026-01 "), Just("\\and "), Just("\\"), Just("\""),
    ], 0..24)) {
        let text = tokens.concat();
        if let Err(found) = compile(&text, &mut Schema::builtin()) {
            prop_assert!(found.iter().any(|diagnostic| diagnostic.severity == Severity::Error), "{}", text);
            prop_assert!(found.iter().all(|diagnostic| diagnostic.span.end <= text.len()), "{}", text);
        }
    }
}
