use std::collections::BTreeMap;

use super::*;
use crate::sigma::yaml;

fn placeholders() -> Placeholders {
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    BTreeMap::from([("Admins".to_owned(), list(&["root", "adm_*"])), ("One".to_owned(), list(&["1"]))])
}

/// What a key and a value, as YAML writes it, ask for.
fn read(key: &str, value: &str) -> Result<Vec<Want>, Diagnostic> {
    let (documents, found) = yaml::parse(value);
    assert_eq!(found, Vec::new(), "{value}");
    wants(&Target::parse(key, 0).expect("a key"), &documents[0], &placeholders(), &Bounds::default())
}

fn shown(pieces: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::One => "<?>".to_owned(),
        Piece::Many => "<*>".to_owned(),
    };
    pieces.iter().map(piece).collect()
}

fn check(key: &str, value: &str, expect: &[&str]) {
    let texts: Vec<String> = read(key, value)
        .unwrap_or_else(|found| panic!("{key}: {value}: {found:?}"))
        .iter()
        .map(|want| match want {
            Want::Text(pieces, _) => shown(pieces),
            other => panic!("{other:?} is no text"),
        })
        .collect();
    assert_eq!(texts, expect, "{key}: {value}");
}

#[test]
fn a_backslash_escapes_wildcards_and_itself_and_is_else_a_backslash() {
    for (text, expect) in [
        (r"a*b?c", "a<*>b<?>c"),
        (r"a\*b\?c", "a*b?c"),
        (r"C:\Windows\x", r"C:\Windows\x"),
        (r"C:\\Windows", r"C:\Windows"),
        (r"dir\\*", r"dir\<*>"),
        (r"dir\\\*", r"dir\*"),
        (r"a\\\\b", r"a\\b"),
        (r"a\\\b", r"a\\b"),
        (r"end\", r"end\"),
        ("", ""),
    ] {
        assert_eq!(shown(&pieces(text)), expect, "{text}");
    }
}

#[test]
fn places_in_a_text_are_wildcards_around_it() {
    check("f|contains", "x", &["<*>x<*>"]);
    check("f|startswith", "x", &["x<*>"]);
    check("f|endswith", r"/b\*sh", &["<*>/b*sh"]);
    check("f|contains", "12", &["<*>12<*>"]);
}

#[test]
fn encodings_work_on_the_text_before_them() {
    check("f|base64", "foobar", &["Zm9vYmFy"]);
    check("f|base64|contains", "foobar", &["<*>Zm9vYmFy<*>"]);
    check("f|base64offset", "foobar", &["Zm9vYmFy", "Zvb2Jhc", "mb29iYX"]);
    check(
        "f|base64offset|contains",
        "/bin/bash",
        &["<*>L2Jpbi9iYXNo<*>", "<*>9iaW4vYmFza<*>", "<*>vYmluL2Jhc2<*>"],
    );
    check("f|wide|base64", "cmd", &["YwBtAGQA"]);
    check("f|utf16le|base64", "cmd", &["YwBtAGQA"]);
    check("f|utf16be|base64", "cmd", &["AGMAbQBk"]);
    check("f|utf16|base64", "cmd", &["//5jAG0AZAA="]);
    check("f|wide", "ab", &["a\0b\0"]);
}

#[test]
fn the_base64_forms_are_in_any_text_that_holds_the_text() {
    let needle = "curl http";
    let Ok(wants) = read("f|base64offset", needle) else { panic!("compiles") };
    for before in ["", "x", "xy", "xyz", "xyzä"] {
        for after in ["", "a", "ab", "abc"] {
            let encoded = STANDARD.encode(format!("{before}{needle}{after}"));
            let is_in =
                |want: &Want| matches!(want, Want::Text(pieces, _) if encoded.contains(&shown(pieces)));
            assert!(wants.iter().any(is_in), "{before}{needle}{after}");
        }
    }
}

#[test]
fn windash_takes_every_dash_that_starts_an_option() {
    check("f|windash|contains", "' -a'", &["<*> -a<*>", "<*> /a<*>", "<*> –a<*>", "<*> —a<*>", "<*> ―a<*>"]);
    check("f|windash", "a-b", &["a-b"]);
    let both = read("f|windash", "'-a /b'").expect("compiles");
    assert_eq!(both.len(), 25);
    assert_eq!(read("f|windash", "'-a -b -c -d -e'").map_err(|found| found.code), Err(Code::WrongModifier));
}

#[test]
fn placeholders_take_the_configured_values() {
    check("f|expand", "'%Admins%'", &["root", "adm_<*>"]);
    check("f|contains|expand", "'x%Admins%y%One%'", &["<*>xrooty1<*>", "<*>xadm_<*>y1<*>"]);
    check("f|expand", r"'\%plain%One%'", &["%plain1"]);
    check("f", "'%Admins%'", &["%Admins%"]);
    check("f|expand", "50%", &["50%"]);
    let found = read("f|expand", "'%Unknown%'").expect_err("nothing is known of it");
    assert_eq!(found.code, Code::NoPlaceholder);
}

#[test]
fn case_counts_only_where_the_rule_says_so() {
    for (key, expect) in
        [("f", Case::Folded), ("f|cased", Case::Sensitive), ("f|contains|cased", Case::Sensitive)]
    {
        match read(key, "X").as_deref() {
            Ok([Want::Text(_, case)]) => assert_eq!(*case, expect, "{key}"),
            other => panic!("{key} is a text: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_quoted_may_be_a_number_null_or_a_truth() {
    assert_eq!(read("f", "4625"), Ok(vec![Want::Number(Number::Int(4625))]));
    assert_eq!(read("f", "0x1F"), Ok(vec![Want::Number(Number::Int(31))]));
    assert_eq!(read("f", "null"), Ok(vec![Want::Null]));
    assert_eq!(read("f|exists", "false"), Ok(vec![Want::Exists(false)]));
    check("f", "'4625'", &["4625"]);
    check("f", "true", &["true"]);
    check("f", "''", &[""]);
}

#[test]
fn comparisons_and_parts_of_a_time_are_ranges() {
    let ranges = |key: &str| read(key, "10").map(|wants| format!("{:?}", wants[0]));
    assert_eq!(ranges("f|gte"), Ok("Range(Range { low: Included(Int(10)), high: Unbounded })".to_owned()));
    assert_eq!(ranges("f|lt"), Ok("Range(Range { low: Unbounded, high: Excluded(Int(10)) })".to_owned()));
    assert_eq!(
        ranges("f|hour"),
        Ok("Part(Hour, Range { low: Included(Int(10)), high: Included(Int(10)) })".to_owned())
    );
    assert_eq!(
        ranges("f|hour|gt"),
        Ok("Part(Hour, Range { low: Excluded(Int(10)), high: Unbounded })".to_owned())
    );
}

#[test]
fn fields_and_networks_and_expressions() {
    let Ok(wants) = read("f|fieldref|startswith", "other") else { panic!("compiles") };
    assert_eq!(wants, [Want::Field { name: "other".to_owned(), place: Place::Start, case: Case::Folded }]);
    assert!(matches!(read("f|cidr", "10.0.0.0/8").as_deref(), Ok([Want::Cidr(_)])));
    let found = |key: &str, text: &str, value: &str| match read(key, value).as_deref() {
        Ok([Want::Regex(regex)]) => regex.is_match(text),
        other => panic!("{other:?}"),
    };
    assert!(found("f|re", "xaby", "ab"), "anywhere in the value");
    assert!(!found("f|re", "AB", "ab") && found("f|re|i", "AB", "ab"));
    assert!(!found("f|re", "x\nab", "^ab") && found("f|re|m", "x\nab", "^ab"));
    assert!(!found("f|re", "a\nb", "a.b") && found("f|re|s", "a\nb", "a.b"));
}

#[test]
fn what_cannot_be_says_why() {
    for (key, value, code) in [
        ("f|gt", "many", Code::WrongModifier),
        ("f|exists", "maybe", Code::WrongModifier),
        ("f|cidr", "10.0.0.0/99", Code::BadAddress),
        ("f|re", "'(?=look)'", Code::BadPattern),
        ("f|re", "'(.{1000}){1000}'", Code::BadPattern),
        ("f|base64", "'a*'", Code::WrongModifier),
        ("f|wide|wide", "a", Code::WrongModifier),
        ("f", "{a: b}", Code::WrongKeyType),
    ] {
        assert_eq!(read(key, value).map_err(|found| found.code), Err(code), "{key}: {value}");
    }
}
