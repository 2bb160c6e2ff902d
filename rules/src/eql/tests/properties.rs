//! What holds for every query: printing and parsing agree, and no text is too odd for a diagnostic.

use proptest::prelude::*;

use super::super::{ast, compile, parse};
use crate::diagnostic::Severity;
use crate::diagnostic::render::{Source, Style, render};
use crate::schema::Schema;

fn literal() -> impl Strategy<Value = ast::ExprKind> {
    prop_oneof![
        Just(ast::ExprKind::Null),
        any::<bool>().prop_map(ast::ExprKind::Bool),
        (0..=i64::MAX).prop_map(ast::ExprKind::Int),
        (0.0..1e300_f64).prop_map(ast::ExprKind::Float),
        "\\PC{0,6}|[\"\\\\\n\t\r\u{1}*?]{0,4}".prop_map(ast::ExprKind::Text),
        field().prop_map(|(path, is_optional)| ast::ExprKind::Field { path, is_optional }),
    ]
}

fn field() -> impl Strategy<Value = (String, bool)> {
    let word = "[a-z@_][a-z0-9_]{0,4}";
    let path = proptest::collection::vec(word, 1..4).prop_map(|words| words.join("."));
    (prop_oneof![path, "[a-z.` -]{1,6}", Just("and".to_owned()), Just("null".to_owned())], any::<bool>())
}

fn node(kind: ast::ExprKind) -> ast::Expr {
    ast::Expr::new(ast::Place::default(), kind)
}

fn tree() -> impl Strategy<Value = ast::Expr> {
    use ast::ExprKind::{And, Arithmetic, Call, Compare, Match, Negate, Not, Or};
    literal().prop_map(node).prop_recursive(4, 24, 4, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 2..4);
        let pair = || (inner.clone(), inner.clone());
        prop_oneof![
            parts().prop_map(And),
            parts().prop_map(Or),
            inner.clone().prop_map(|operand| Not(operand.into())),
            inner.clone().prop_map(|operand| Negate(operand.into())),
            pair().prop_map(|(left, right)| Compare(ast::Compare::LessOrEqual, left.into(), right.into())),
            pair().prop_map(|(left, right)| Arithmetic(ast::Arithmetic::Divide, left.into(), right.into())),
            ("[a-zA-Z]{3,5}x", any::<bool>(), proptest::collection::vec(inner.clone(), 0..3))
                .prop_map(|(name, is_folded, args)| Call { name, is_folded, args }),
            (inner.clone(), any::<bool>(), parts()).prop_map(|(operand, is_negated, values)| {
                let (operator, is_list) = (ast::Matcher::InFolded, true);
                Match(Box::new(ast::Match {
                    operand,
                    operator,
                    operator_place: ast::Place::default(),
                    is_negated,
                    values,
                    is_list,
                }))
            }),
            (inner, any::<bool>(), literal()).prop_map(|(operand, is_negated, value)| {
                let (operator, is_list, values) = (ast::Matcher::Colon, false, vec![node(value)]);
                Match(Box::new(ast::Match {
                    operand,
                    operator,
                    operator_place: ast::Place::default(),
                    is_negated,
                    values,
                    is_list,
                }))
            }),
        ]
        .prop_map(node)
    })
}

fn query() -> impl Strategy<Value = ast::Query> {
    let filter = (proptest::collection::vec("[a-z ]{1,6}x", 0..3), tree())
        .prop_map(|(categories, condition)| ast::Filter { categories, condition })
        .boxed();
    let key =
        field().prop_map(|(path, is_optional)| ast::Key { place: ast::Place::default(), path, is_optional });
    let keys = proptest::collection::vec(key, 0..3).boxed();
    let runs = proptest::option::of(0..100_i64)
        .prop_map(|count| count.map(|count| ast::Runs { place: ast::Place::default(), count }));
    let step = (any::<bool>(), filter.clone(), keys.clone(), runs)
        .prop_map(|(is_missing, filter, by, runs)| ast::Step {
            place: ast::Place::default(),
            is_missing,
            filter,
            by,
            runs,
        })
        .boxed();
    let steps = proptest::collection::vec(step.clone(), 1..3);
    let maxspan = proptest::option::of(0..100_i64).prop_map(|amount| {
        amount.map(|amount| ast::Maxspan { place: ast::Place::default(), amount, unit: ast::Unit::Hours })
    });
    prop_oneof![
        filter.prop_map(ast::Query::Event),
        (keys.clone(), steps.clone()).prop_map(|(by, steps)| ast::Query::Sample(ast::Sample {
            place: ast::Place::default(),
            by,
            steps
        })),
        (keys, maxspan, steps, proptest::option::of(step)).prop_map(|(by, maxspan, steps, until)| {
            ast::Query::Sequence(ast::Sequence { place: ast::Place::default(), by, maxspan, steps, until })
        }),
    ]
}

proptest! {
    #[test]
    fn printing_and_parsing_is_identity(query in query()) {
        let text = query.to_string();
        let (parsed, found) = parse(&text);
        prop_assert_eq!(&found, &[], "{}", text);
        prop_assert_eq!(parsed, Some(query), "{}", text);
    }

    #[test]
    fn any_text_compiles_or_says_why(text in "\\PC{0,60}") {
        let _ = compile(&text, &mut Schema::builtin());
    }

    /// Rule files come from strangers, and their text ends up on a terminal.
    #[test]
    fn no_text_reaches_the_terminal_as_a_control(text in "[\u{0}-\u{ff}\u{202a}-\u{202e}a-z\"']{0,40}") {
        let query = format!("process where {text}");
        let found = match compile(&query, &mut Schema::builtin()) {
            Ok(compiled) => compiled.warnings,
            Err(found) => found,
        };
        let shown = render(Source::query(&text, &query), &found, Style::Plain);
        let is_plain = |c: char| c == '\n' || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        prop_assert!(shown.chars().all(is_plain), "{:?}", shown);
    }

    /// Tokens in any order reach further into the parser than characters do.
    #[test]
    fn any_tokens_compile_or_say_why(tokens in proptest::collection::vec(prop_oneof![
        Just("process where "), Just("sequence "), Just("by "), Just("with "), Just("maxspan="), Just("1s "), Just("["),
        Just("] "), Just("!"), Just("and "), Just("or "), Just("not "), Just("process.name "), Just("process.pid "),
        Just("source.ip "), Just("@timestamp "), Just("== "), Just("!= "), Just("< "), Just(": "), Just("in "), Just("like~ "),
        Just("("), Just(")"), Just(", "), Just("\"a*\" "), Just("\"10.0.0.0/8\""), Just("7 "), Just("2.5 "), Just("-"), Just("/ "),
        Just("null "), Just("true "), Just("length("), Just("cidrMatch("), Just("startsWith~("), Just("?x.y "), Just("until "),
        Just("any where "), Just("runs=2 "), Just("| "), Just("sample "),
    ], 0..24)) {
        let text = tokens.concat();
        match compile(&text, &mut Schema::builtin()) {
            Ok(_) => {}
            Err(found) => {
                prop_assert!(found.iter().any(|diagnostic| diagnostic.severity == Severity::Error), "{}", text);
                prop_assert!(found.iter().all(|diagnostic| diagnostic.span.end <= text.len()), "{}", text);
            }
        }
    }
}
