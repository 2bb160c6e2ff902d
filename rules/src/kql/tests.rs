//! What KQL means, as tables, and what it says about what it does not mean.

mod properties;

use expect_test::{Expect, expect};

use super::*;
use crate::diagnostic::render::{Source, Style, render};
use crate::diagnostic::{Code, Severity};
use crate::{eval, testing};

/// The ids, blank-separated, of the events that each query picks.
fn check_table(events: &str, table: &[(&str, &str)]) {
    let mut schema = Schema::builtin();
    let events = testing::events(events, &mut schema);
    for (query, expect) in table {
        let expr = match compile(query, &mut schema) {
            Ok(compiled) => compiled.plan,
            Err(found) => panic!("{}", render(Source::query("query", query), &found, Style::Plain)),
        };
        let ids: Vec<&str> =
            events.iter().filter(|event| eval::matches(&expr, event)).map(|event| &*event.id).collect();
        assert_eq!(ids.join(" "), *expect, "{query}");
    }
}

const EVENTS: &str = r#"
    {"id": "1", "event.category": ["process"], "process.name": "curl", "process.pid": 10, "process.args": ["curl", "-s", "http://x"], "process.command_line": "curl -s http://x"}
    {"id": "2", "event.category": ["process", "session"], "process.name": "Curl", "process.pid": 20, "process.command_line": "/usr/bin/wget curl"}
    {"id": "3", "event.category": ["network"], "source.ip": ["10.0.0.1", "fe80::1"], "destination.port": "443", "user.id": "0", "process.interactive": true}
    {"id": "4", "process.name": "c*l", "event.action": "a or b", "process.start": "2026-01-02T03:04:05Z"}
"#;

#[test]
fn values_compare_by_case_and_lists_combine() {
    check_table(
        EVENTS,
        &[
            ("process.name: curl", "1"),
            ("process.name:curl", "1"),
            ("process.name : \"Curl\"", "2"),
            ("process.name: (curl or Curl)", "1 2"),
            ("process.args: (curl and \"-s\")", "1"),
            ("process.args: (curl and Curl)", ""),
            ("process.name: (* and not curl)", "2 4"),
            ("process.name: (not (curl or Curl))", "3 4"),
            ("event.category: process", "1 2"),
            ("", "1 2 3 4"),
        ],
    );
}

#[test]
fn trap_2_absent_fields_satisfy_negations_only() {
    check_table(
        EVENTS,
        &[
            ("not process.name: curl", "2 3 4"),
            ("process.name: * and not process.name: curl", "2 4"),
            ("not process.pid >= 15", "1 3 4"),
            ("NOT process.name:*", "3"),
        ],
    );
}

#[test]
fn trap_3_any_element_of_a_list_matches() {
    check_table(
        EVENTS,
        &[
            ("source.ip: 10.0.0.1", "3"),
            ("source.ip: \"10.0.0.0/8\" and source.ip: \"fe80::1\"", "3"),
            ("process.args: http*", "1"),
            ("event.category: (process and session)", "2"),
        ],
    );
}

#[test]
fn trap_11_quotes_take_wildcards_literally() {
    check_table(
        EVENTS,
        &[
            ("process.name: c*l", "1 4"),
            ("process.name: \"c*l\"", "4"),
            (r"process.name: c\*l", "4"),
            ("process.name: \"*\"", ""),
        ],
    );
}

#[test]
fn trap_11_unquoted_wildcards_may_hold_blanks() {
    check_table(
        EVENTS,
        &[
            ("process.command_line: * curl*", "2"),
            ("process.command_line: curl -s*", "1"),
            ("process.command_line: /usr/bin/wget curl", "2"),
            ("process.command_line: (* curl* or *-s http*)", "1 2"),
        ],
    );
}

#[test]
fn trap_11_star_alone_tests_for_presence() {
    check_table(
        EVENTS,
        &[
            ("process.name: *", "1 2 4"),
            ("process.pid:* and source.ip:*", ""),
            ("*:*", "1 2 3 4"),
            ("*", "1 2 3 4"),
        ],
    );
}

#[test]
fn trap_11_field_names_may_hold_wildcards() {
    check_table(
        EVENTS,
        &[
            ("proc*.name: curl", "1"),
            ("process.*: curl", "1"),
            ("*: Curl", "2"),
            ("process.*: 10", "1"),
            ("not process.n*: *", "3"),
        ],
    );
}

#[test]
fn ranges_are_typed() {
    check_table(
        EVENTS,
        &[
            ("process.pid > 10", "2"),
            ("process.pid >= 10 and process.pid <20", "1"),
            ("destination.port <= 443", "3"),
            ("process.start >= 2026-01-02", "4"),
            ("process.start > 2026-01-02", ""),
            ("process.start < \"2026-01-02T03:04:06Z\"", "4"),
            ("process.start: 2026-01-02", "4"),
            ("source.ip >= 10.0.0.0 and source.ip < 10.0.0.2", "3"),
        ],
    );
}

#[test]
fn trap_15_values_are_read_as_their_fields_type() {
    check_table(
        EVENTS,
        &[
            ("process.pid: \"10\"", "1"),
            ("destination.port: 443", "3"),
            ("user.id: 0", "3"),
            ("process.interactive: true", "3"),
        ],
    );
}

#[test]
fn keywords_are_free_of_case_and_bind_as_usual() {
    check_table(
        EVENTS,
        &[
            ("process.pid: 10 OR process.pid: 20 AND process.name: curl", "1"),
            ("(process.pid: 10 or process.pid: 20) and not process.name: curl", "2"),
            ("Not process.pid: 10 aNd process.pid:*", "2"),
            ("not not process.pid: 10", "1"),
        ],
    );
}

#[test]
fn escapes_make_text_of_syntax() {
    check_table(
        EVENTS,
        &[
            (r"event.action: a \or b", "4"),
            ("event.action: \"a or b\"", "4"),
            (r"process.args: http\://x", "1"),
            (r"process.name: \u0063url", "1"),
        ],
    );
    check_table(
        r#"{"id": "1", "process.name": "a\\d\"b"}"#,
        &[
            (r#"process.name: "a\d\"b""#, "1"),
            (r#"process.name: "a\\d\"b""#, "1"),
            (r#"process.name: a\\d\"b"#, "1"),
        ],
    );
}

#[test]
fn nested_queries_are_flattened() {
    check_table(
        EVENTS,
        &[
            ("process: { name: curl and pid: 10 }", "1"),
            ("process: { name: curl or pid > 10 }", "1 2"),
            ("not process:{ name: * }", "3"),
            ("process:{ curl }", "1"),
        ],
    );
}

#[test]
fn bare_values_search_every_text_field() {
    check_table(
        EVENTS,
        &[("curl", "1"), ("\"curl -s http://x\"", "1"), ("*wget*", "2"), ("not session", "1 3 4")],
    );
}

#[test]
fn equal_lists_are_equal_predicates() {
    let mut schema = Schema::builtin();
    let one = compile("process.name: (a or b)", &mut schema).expect("compiles").plan;
    let two = compile("process.name:(\"b\" or a or a)", &mut schema).expect("compiles").plan;
    assert_eq!(one, two);
}

fn check_faults(query: &str, expect: Expect) {
    let found = match compile(query, &mut Schema::builtin()) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    };
    expect.assert_eq(&render(Source::query("rule.kql", query), &found, Style::Plain));
}

#[test]
fn every_fault_is_shown_at_once() {
    check_faults(
        "proces.name: sh and destination.ip: (host or 10.*)\n  or process.name == curl",
        expect![[r#"
            error[GT101]: no field is called "proces.name"
             --> rule.kql:1:1
              |
            1 | proces.name: sh and destination.ip: (host or 10.*)
              | ^^^^^^^^^^^ not in the field table
              |
              = help: did you mean "process.name"?

            error[GT106]: "host" is no IP address
             --> rule.kql:1:38
              |
            1 | proces.name: sh and destination.ip: (host or 10.*)
              |                                      ^^^^ compared with an IP address
              |
              = help: write an address, or a network such as "10.0.0.0/8"

            error[GT102]: an IP address takes no wildcard
             --> rule.kql:1:46
              |
            1 | proces.name: sh and destination.ip: (host or 10.*)
              |                                              ^^^^
              |
              = help: write the network, as in `source.ip: "10.0.0.0/8"`

            error[GT306]: `==` is no operator of KQL
             --> rule.kql:2:19
              |
            2 |   or process.name == curl
              |                   ^^
              |
              = help: write `field: value`"#]],
    );
}

#[test]
fn syntax_errors_say_what_was_expected() {
    check_faults(
        "process.name: (a or",
        expect![[r#"
        error[GT005]: expected a value, found the end of the query
         --> rule.kql:1:20
          |
        1 | process.name: (a or
          |                    ^
          |
          = help: values with `:`, brackets or keywords go in quotes"#]],
    );
    check_faults(
        "process.name: not curl",
        expect![[r#"
        error[GT005]: expected a value, found `not`
         --> rule.kql:1:15
          |
        1 | process.name: not curl
          |               ^^^
          |
          = help: write `not` before the field, or the values in parentheses: `field:(not value)`"#]],
    );
    check_faults(
        "process.executable: C:\\Windows",
        expect![[r#"
        error[GT003]: the backslash escapes nothing
         --> rule.kql:1:23
          |
        1 | process.executable: C:\Windows
          |                       ^
          |
          = help: write `\\` for a backslash, or put the value in quotes"#]],
    );
}

#[test]
fn texts_that_order_as_numbers_get_a_warning() {
    check_faults(
        "user.id < 1000",
        expect![[r#"
        warning[GT102]: "user.id" holds texts, which order by character: "9" is above "10"
         --> rule.kql:1:11
          |
        1 | user.id < 1000
          |           ^^^^
          |
          = help: use EQL, as in `number(user.id) < 1000`, to compare numbers"#]],
    );
}

#[test]
fn each_fault_has_its_code() {
    for (query, code) in [
        ("process.name:", Code::Syntax),
        ("(process.name: a", Code::Syntax),
        ("process.name: a)", Code::Syntax),
        ("process: { name: a", Code::Syntax),
        ("process.name: \"a", Code::UnclosedText),
        ("a: b: c", Code::Syntax),
        ("or", Code::Syntax),
        (r"process.name: a\b", Code::UnknownEscape),
        ("process.nmae: a", Code::UnknownField),
        ("zzz*: a", Code::UnknownField),
        ("aws.cloudtrail.flattened.request_parameters: *", Code::ObjectField),
        ("process.pid: abc", Code::WrongType),
        ("process.pid: 1*", Code::WrongType),
        ("process.pid > 1*", Code::WrongType),
        ("source.ip: 10.0.0.0/99", Code::BadAddress),
        ("@timestamp >= now-1d", Code::DateMath),
        ("process.start > soon", Code::BadDate),
        ("process.name != a", Code::NotInKql),
        ("process.name in (a, b)", Code::NotInKql),
    ] {
        let found = compile(query, &mut Schema::builtin()).expect_err(query);
        assert!(found.iter().any(|diagnostic| diagnostic.code == code), "{query}: {found:#?}");
        assert!(found.iter().all(|diagnostic| diagnostic.severity == Severity::Error), "{query}");
        assert!(found.iter().all(|diagnostic| diagnostic.span.end <= query.len()), "{query}");
    }
}

#[test]
fn deep_nesting_is_a_diagnostic_not_a_crash() {
    let n = 50_000;
    for query in [
        format!("{}a{}", "(".repeat(n), ")".repeat(n)),
        format!("{}a", "not ".repeat(n)),
        format!("process.name: {}a{}", "(".repeat(n), ")".repeat(n)),
        format!("process.name: ({}a)", "not ".repeat(n)),
        format!("{}a{}", "a:{".repeat(n), "}".repeat(n)),
    ] {
        let found = compile(&query, &mut Schema::builtin()).expect_err("too deep");
        assert!(found.iter().any(|diagnostic| diagnostic.code == Code::TooDeep), "{}", &query[..40]);
    }
    let wide = format!("process.name: ({}a)", "b or ".repeat(20_000));
    assert!(compile(&wide, &mut Schema::builtin()).is_ok());
}

#[test]
fn free_text_is_matched_by_its_words() {
    check_table(
        r#"
            {"id": "fault", "message": "segfault at zero in sshd"}
            {"id": "auth", "message": "Failed PASSWORD: foo_bar"}
        "#,
        &[
            ("message: segfault", "fault"),
            ("message: (segfault and sshd)", "fault"),
            ("message: \"in sshd\"", "fault"),
            ("message: \"sshd in\"", ""),
            ("message: sshd in password", "fault auth"),
            ("message: segf*", "fault"),
            ("message: *sswor*", "auth"),
            ("message: *at zero*", "fault"),
            ("segfault", "fault"),
            ("not message: password", "fault"),
        ],
    );
}

#[test]
fn a_value_in_every_field_has_a_bound_and_a_bad_pattern_is_told() {
    let many: Vec<String> = (0..2_000).map(|n| format!("*: a{n}")).collect();
    let found = compile(&many.join(" or "), &mut Schema::builtin()).expect_err("too many");
    assert!(found.iter().any(|found| found.code == Code::TooLong), "{found:?}");
    let wild = format!("*: {}", "*a".repeat(200));
    let found = compile(&wild, &mut Schema::builtin()).expect_err("too wild");
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), [Code::BadPattern]);
}
