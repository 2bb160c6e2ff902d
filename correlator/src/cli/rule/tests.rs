use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::*;
use crate::cli::cases;

/// Faults of a document by as much of JSON schema as ours uses. A keyword that is not known here fails the test, so that
/// none is taken for checked.
fn faults(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        let is_met = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match wanted.as_str().expect("one type") {
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("type {other}"),
            },
            "enum" => wanted.as_array().expect("a list").contains(value),
            "minimum" => value.as_f64() >= wanted.as_f64(),
            "maximum" => value.as_f64() <= wanted.as_f64(),
            "anyOf" => wanted.as_array().expect("a list").iter().any(|one| faults(one, value, at).is_empty()),
            "required" => wanted
                .as_array()
                .expect("a list")
                .iter()
                .all(|key| value.get(key.as_str().expect("a key")).is_some()),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.flat_map(|item| faults(wanted, item, &format!("{at}[]"))));
                true
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(key) {
                        found.extend(faults(schema, value, &format!("{at}.{key}")));
                    }
                }
                true
            }
            "additionalProperties" => value
                .as_object()
                .is_none_or(|entries| entries.keys().all(|key| schema["properties"].get(key).is_some())),
            other => panic!("keyword {other}"),
        };
        if !is_met {
            found.push(format!("{at}: {keyword}"));
        }
    }
    found
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

fn document(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("TOML");
    serde_json::to_value(table).expect("TOML is JSON")
}

#[test]
fn every_shipped_rule_has_the_form_that_editors_are_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/catalogue");
    let mut n_rules = 0;
    for tactic in std::fs::read_dir(folder).expect("the catalogue") {
        for file in std::fs::read_dir(tactic.expect("a folder").path()).expect("a tactic") {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a rule");
            assert_eq!(faults(&schema(), &document(&text), ""), Vec::<String>::new(), "{}", path.display());
            n_rules += 1;
        }
    }
    assert!(n_rules > 20, "{n_rules} rules");
}

#[test]
fn the_form_refuses_what_the_loader_refuses() {
    let base = scaffold::text("n", "i", Kind::Query);
    for (old, new) in [
        ("severity = \"medium\"", "severity = \"bad\""),
        ("risk_score = 47", "risk_score = 147"),
        ("rule_id = \"i\"", ""),
        ("tags = ", "tagz = "),
        ("expect = 1", ""),
        ("name = \"n\"", "name = 1"),
    ] {
        let text = base.replacen(old, new, 1);
        assert_ne!(text, base, "{old} is there");
        assert!(!faults(&schema(), &document(&text), "").is_empty(), "the form takes {new}");
        let loaded = catalogue::text(Path::new("a.toml"), &text, &mut Schema::builtin());
        assert!(loaded.has_errors(), "the loader takes {new}");
    }
}

#[test]
fn a_new_rule_of_each_type_loads_and_holds_its_cases() {
    for kind in [Kind::Query, Kind::Eql, Kind::Esql, Kind::Threshold, Kind::NewTerms] {
        let id = scaffold::new_id().expect("random numbers");
        let text = scaffold::text("a \"quoted\" name\\", &id, kind);
        assert_eq!(faults(&schema(), &document(&text), ""), Vec::<String>::new());
        let mut schema = Schema::builtin();
        let loaded = catalogue::text(Path::new("new.toml"), &text, &mut schema);
        let said: Vec<String> = loaded
            .reports
            .iter()
            .map(|report| report.render(rules::diagnostic::render::Style::Plain))
            .collect();
        assert_eq!(said, Vec::<String>::new(), "{kind:?}");
        assert_eq!(loaded.rules[0].name, "a \"quoted\" name\\");
        assert_eq!(cases::failures(&loaded.rules, schema), Vec::<String>::new(), "{kind:?}");
    }
}

#[test]
fn ids_are_random_uuids() {
    let (one, other) = (scaffold::new_id().expect("an id"), scaffold::new_id().expect("an id"));
    assert_ne!(one, other);
    assert_eq!((one.len(), &one[14..15]), (36, "4"));
}

#[test]
fn a_rule_is_explained_in_plain_words() {
    fn check(kind: Kind, expect: Expect) {
        let mut schema = Schema::builtin();
        let loaded =
            catalogue::text(Path::new("new.toml"), &scaffold::text("A rule", "i", kind), &mut schema);
        expect.assert_eq(&explain::text(&loaded.rules[0], &schema));
    }
    check(
        Kind::Eql,
        expect![[r#"
        A rule
          type          eql, severity medium, risk 47
          fires         on event 1, then event 2, in this order within 1 m, for each host.id
          events        endpoint.events.process
          fields        event.category, event.type, process.name
          index         logs-endpoint.events.process-*
          cost          low: looked at only where process.name has a value of the query
          cases         2
    "#]],
    );
    check(
        Kind::Threshold,
        expect![[r#"
        A rule
          type          threshold, severity medium, risk 47
          fires         when 3 or more events match within 9 m, for each host.id
          events        endpoint.events.process
          fields        event.category, event.type, process.name
          index         logs-endpoint.events.process-*
          cost          low: looked at only where process.name has a value of the query
          cases         2
    "#]],
    );
    check(
        Kind::NewTerms,
        expect![[r#"
        A rule
          type          new_terms, severity medium, risk 47
          fires         when a matching event has a combination of host.id, process.name that was not seen for 7 d
          events        endpoint.events.process
          fields        event.category, event.type, process.name
          index         logs-endpoint.events.process-*
          cost          low: looked at only where process.name has a value of the query
          cases         2
    "#]],
    );
}
