//! What EQL means, as tables, and what it says about what it does not mean.

mod properties;

use expect_test::{Expect, expect};

use super::*;
use crate::diagnostic::Code;
use crate::diagnostic::render::{Source, Style, render};
use crate::{eval, testing};

fn event_rule(query: &str, schema: &mut Schema) -> Expr {
    match compile(query, schema) {
        Ok(Compiled { plan: EqlRule::Event(expr), .. }) => expr,
        Ok(other) => panic!("{query} is {other:?}"),
        Err(found) => panic!("{}", render(Source::query("query", query), &found, Style::Plain)),
    }
}

/// The ids, blank-separated, of the events that each query picks.
fn check_table(events: &str, table: &[(&str, &str)]) {
    let mut schema = Schema::builtin();
    let events = testing::events(events, &mut schema);
    for (query, expect) in table {
        let expr = event_rule(query, &mut schema);
        let ids: Vec<&str> =
            events.iter().filter(|event| eval::matches(&expr, event)).map(|event| &*event.id).collect();
        assert_eq!(ids.join(" "), *expect, "{query}");
    }
}

const PROCESSES: &str = r#"
    {"id": "1", "event.category": ["process"], "event.type": ["start"], "process.name": "sh", "process.pid": 10, "user.id": "0", "process.args": ["sh", "-c", "id"], "process.command_line": "sh -c id", "process.exit_code": 0}
    {"id": "2", "event.category": ["process"], "event.type": ["start"], "process.name": "SH", "process.pid": 20, "user.id": "1000", "process.args": ["SH"], "process.command_line": "SH", "process.exit_code": -1}
    {"id": "3", "event.category": ["process", "session"], "event.type": ["start", "end"], "process.name": "s*", "process.pid": 30, "process.args_count": 7}
    {"id": "4", "event.category": ["network"], "event.type": ["start"], "destination.ip": "169.254.169.254", "destination.port": 80}
    {"id": "5", "event.category": ["network"], "destination.ip": ["10.1.2.3", "fe80::1"], "destination.port": "443", "process.interactive": true}
"#;

#[test]
fn categories_test_membership() {
    check_table(
        PROCESSES,
        &[
            ("process where true", "1 2 3"),
            ("session where true", "3"),
            ("\"network\" where true", "4 5"),
            ("session, network where true", "3 4 5"),
            ("any where true", "1 2 3 4 5"),
            ("any where event.type == \"end\"", "3"),
            ("Process where true", ""),
        ],
    );
}

#[test]
fn the_category_field_can_be_another() {
    let mut schema = Schema::builtin();
    let events = testing::events(PROCESSES, &mut schema);
    let options = Options { category_field: "event.type" };
    let Ok(Compiled { plan: EqlRule::Event(expr), .. }) =
        compile_with("end where true", &mut schema, &options)
    else {
        panic!("compiles");
    };
    let ids: Vec<&str> =
        events.iter().filter(|event| eval::matches(&expr, event)).map(|event| &*event.id).collect();
    assert_eq!(ids, ["3"]);
}

#[test]
fn trap_1_case_and_wildcards_of_each_operator() {
    check_table(
        PROCESSES,
        &[
            (r#"process where process.name == "sh""#, "1"),
            (r#"process where process.name == "s*""#, "3"),
            (r#"process where process.name : "SH""#, "1 2"),
            (r#"process where process.name : "s*""#, "1 2 3"),
            (r#"process where process.name : ("x", "S?")"#, "1 2 3"),
            (r#"process where process.name in ("sh", "x")"#, "1"),
            (r#"process where process.name in~ ("Sh")"#, "1 2"),
            (r#"process where process.name in~ ("s*")"#, "3"),
            (r#"process where process.name like "s*""#, "1 3"),
            (r#"process where process.name like~ ("s*", "x")"#, "1 2 3"),
            (r#"process where process.name regex "s.""#, "1 3"),
            (r#"process where process.name regex~ "s.""#, "1 2 3"),
            (r#"process where process.name regex~ ("s", "h")"#, ""),
            (r#"process where process.command_line != "sh*""#, "1 2 3"),
        ],
    );
}

#[test]
fn trap_2_absent_fields_satisfy_negations_only() {
    check_table(
        PROCESSES,
        &[
            (r#"any where process.name != "sh""#, "2 3 4 5"),
            (r#"any where not process.name == "sh""#, "2 3 4 5"),
            (r#"any where process.name != null and process.name != "sh""#, "2 3"),
            (r#"any where process.name not in ("sh")"#, "2 3 4 5"),
            (r#"any where not process.name : "s*""#, "4 5"),
            ("any where process.exit_code >= -5", "1 2"),
            ("any where not process.exit_code >= 0", "2 3 4 5"),
            ("any where process.exit_code == null", "3 4 5"),
            ("any where null != process.exit_code", "1 2"),
            ("any where null == (process.exit_code > -5)", "3 4 5"),
            ("any where (process.exit_code > -1) == false", "2"),
            ("any where null == null", "1 2 3 4 5"),
        ],
    );
}

#[test]
fn trap_3_any_element_of_a_list_matches() {
    check_table(
        PROCESSES,
        &[
            (r#"any where process.args == "-c""#, "1"),
            (r#"any where process.args == "-c" and process.args == "id""#, "1"),
            (r#"any where process.args != "-c""#, "2 3 4 5"),
            (r#"any where length(process.args) == 2"#, "1 2"),
            (r#"any where cidrMatch(destination.ip, "10.0.0.0/8", "192.168.0.0/16")"#, "5"),
            (r#"any where destination.ip == "fe80::1""#, "5"),
        ],
    );
    // Different elements may meet the two conditions.
    check_table(
        r#"{"id": "1", "process.pid": [1, 10]}"#,
        &[
            ("any where process.pid < 2 and process.pid > 9", "1"),
            ("any where process.pid > 2 and process.pid < 9", "1"),
            ("any where process.pid > 10", ""),
        ],
    );
}

#[test]
fn trap_4_functions_of_absent_fields_are_false() {
    check_table(
        PROCESSES,
        &[
            (r#"any where startsWith(process.name, "s")"#, "1 3"),
            (r#"any where startsWith~(process.name, "s")"#, "1 2 3"),
            (r#"any where not startsWith(process.name, "s")"#, "2 4 5"),
            (r#"any where length(process.name) > 0"#, "1 2 3"),
            (r#"any where stringContains(process.command_line, process.name)"#, "1 2"),
            (r#"any where stringContains(process.command_line, process.name) == false"#, ""),
        ],
    );
}

#[test]
fn trap_10_event_types_are_lists_too() {
    check_table(
        PROCESSES,
        &[
            (r#"process where event.type == "start" and event.type == "end""#, "3"),
            (r#"process where event.type in ("end", "x")"#, "3"),
        ],
    );
}

#[test]
fn trap_15_numbers_and_texts_mix() {
    check_table(
        PROCESSES,
        &[
            (r#"any where user.id == "0""#, "1"),
            ("any where user.id == 0", "1"),
            (r#"any where process.pid == "10""#, "1"),
            ("any where destination.port == 443", "5"),
            ("any where destination.port in (80, 443)", "4 5"),
            ("any where destination.port < 443", "4"),
            ("any where number(user.id) >= 1000", "2"),
            (r#"any where string(process.pid) : "1*""#, "1"),
            ("any where process.pid == 10.0", "1"),
        ],
    );
}

#[test]
fn addresses_compare_as_addresses() {
    check_table(
        PROCESSES,
        &[
            (r#"any where destination.ip == "::ffff:169.254.169.254""#, "4"),
            (r#"any where destination.ip == "169.254.0.0/16""#, "4"),
            (r#"any where destination.ip : "10.1.2.3""#, "5"),
            (r#"any where destination.ip > "10.0.0.0" and destination.ip < "11.0.0.0""#, "5"),
            (r#"any where cidrmatch(destination.ip, "fe80::/10")"#, "5"),
            (r#"any where destination.ip in ("10.0.0.0/8", "169.254.169.254")"#, "4 5"),
        ],
    );
}

#[test]
fn functions_do_what_is_documented() {
    check_table(
        PROCESSES,
        &[
            (r#"any where endsWith(process.command_line, "id")"#, "1"),
            (r#"any where ENDSWITH~(process.command_line, "H")"#, "2"),
            (r#"any where stringcontains(process.command_line, "-c")"#, "1"),
            (r#"any where indexOf(process.command_line, "-c") == 3"#, "1"),
            (r#"any where indexOf(process.command_line, "zz") == null and process.name == "sh""#, "1"),
            (r#"any where substring(process.command_line, 0, 2) == "sh""#, "1"),
            (r#"any where substring(process.command_line, -2) == "id""#, "1"),
            (r#"any where between(process.command_line, "sh ", " id") == "-c""#, "1"),
            (r#"any where concat(process.name, ":", process.pid) == "sh:10""#, "1"),
            (r#"any where wildcard(process.command_line, "* -c *", "x")"#, "1"),
            (r#"any where wildcard~(process.name, "S?")"#, "1 2 3"),
            (r#"any where match(process.command_line, "sh -. .*")"#, "1"),
            (r#"any where startsWith("shell", process.name)"#, "1"),
            (r#"any where length(concat("a", "b")) == 2"#, "1 2 3 4 5"),
        ],
    );
}

#[test]
fn arithmetic_truncates_integers() {
    check_table(
        PROCESSES,
        &[
            ("any where process.pid + 1 == 11", "1"),
            ("any where process.pid / 3 == 3", "1"),
            ("any where process.pid / 4.0 == 2.5", "1"),
            ("any where process.pid % 3 == 1", "1"),
            ("any where 2 + 3 * 2 == 8 and process.pid == 10", "1"),
            ("any where (2 + 3) * 2 == process.pid", "1"),
            ("any where process.pid - 5 - 5 == 0", "1"),
            ("any where -process.pid == -10", "1"),
            ("any where process.exit_code == -1", "2"),
            ("any where add(process.pid, 5) == 15", "1"),
            ("any where modulo(process.pid, 0) == 1", ""),
            ("any where 83 / 2 == 41 and 83 / 2.0 != 41", "1 2 3 4 5"),
        ],
    );
}

#[test]
fn texts_order_by_code_point() {
    check_table(
        PROCESSES,
        &[(r#"any where process.name >= "sh""#, "1"), (r#"any where process.name < "a""#, "2")],
    );
}

#[test]
fn optional_fields_that_do_not_exist_are_null() {
    check_table(
        PROCESSES,
        &[
            (r#"any where ?no.such.field == "x""#, ""),
            (r#"any where not ?no.such.field == "x" and process.pid == 10"#, "1"),
            (r#"any where ?no.such.field != "x" and process.pid == 10"#, "1"),
            (r#"any where ?no.such.field == null and process.pid == 10"#, "1"),
            (r#"any where startsWith(?no.such.field, "x") or process.pid == 10"#, "1"),
            (r#"any where ?process.name == "sh""#, "1"),
        ],
    );
}

#[test]
fn names_and_texts_can_be_quoted() {
    check_table(
        r#"{"id": "1", "process.name": "a\\b", "aws.cloudtrail.flattened.request_parameters.x-amz-acl": "public"}
           {"id": "2", "process.name": "a\"b"}"#,
        &[
            (r#"any where process.name == "a\\b""#, "1"),
            (r#"any where process.name == """a\b""""#, "1"),
            (r#"any where process.name like """a\*""""#, "1"),
            (r#"any where process.name == "a\"b""#, "2"),
            (r#"any where process.name == "\u{61}\"b""#, "2"),
            (r#"any where `process.name` == "a\"b""#, "2"),
            (r#"any where aws.cloudtrail.flattened.request_parameters.`x-amz-acl` == "public""#, "1"),
            ("any where // comment\n process.name /* and */ != null", "1 2"),
        ],
    );
}

#[test]
fn booleans_stand_for_themselves() {
    check_table(
        PROCESSES,
        &[
            ("any where process.interactive", "5"),
            ("any where process.interactive == true", "5"),
            ("any where not process.interactive and process.pid == 10", "1"),
        ],
    );
}

#[test]
fn not_binds_tighter_than_and_which_binds_tighter_than_or() {
    check_table(
        PROCESSES,
        &[
            ("any where not process.pid == 10 and process.pid == 20", "2"),
            ("any where process.pid == 30 or process.pid == 10 and process.name == \"sh\"", "1 3"),
            ("any where (process.pid == 30 or process.pid == 10) and process.name == \"sh\"", "1"),
        ],
    );
}

#[test]
fn dates_compare_by_what_they_cover() {
    check_table(
        r#"{"id": "1", "process.start": "2026-01-01T10:00:00Z"}
           {"id": "2", "process.start": "2026-01-02T10:00:00.500Z"}"#,
        &[
            (r#"any where process.start > "2026-01-01""#, "2"),
            (r#"any where process.start <= "2026-01-01""#, "1"),
            (r#"any where process.start == "2026-01-01""#, "1"),
            (r#"any where process.start >= "2026-01-02T10:00:00.500Z""#, "2"),
        ],
    );
}

#[test]
fn sequences_carry_keys_runs_and_limits() {
    let mut schema = Schema::builtin();
    let text = r#"sequence by host.id, ?user.id with maxspan=1m
        [process where process.name == "a"] by process.entity_id with runs=3
        ![process where true] by process.parent.entity_id
        [network where true] by process.entity_id
        until [process where event.type == "end"] by process.entity_id"#;
    let compiled = compile(text, &mut schema).expect("compiles");
    let EqlRule::Sequence { steps, maxspan, until } = compiled.plan else { panic!("a sequence") };
    assert_eq!(maxspan, Some(Span::from_secs(60)));
    assert_eq!(steps.iter().map(|step| step.runs.get()).collect::<Vec<_>>(), [3, 1, 1]);
    assert_eq!(steps.iter().map(|step| step.is_missing).collect::<Vec<_>>(), [false, true, false]);
    let path = |part: &KeyPart| (schema.field(part.field).path.to_string(), part.is_optional);
    let keys: Vec<_> = steps[1].by.iter().map(path).collect();
    assert_eq!(
        keys,
        [
            ("host.id".to_owned(), false),
            ("user.id".to_owned(), true),
            ("process.parent.entity_id".to_owned(), false)
        ]
    );
    assert_eq!(until.expect("until").by.len(), 3);
}

#[test]
fn one_step_may_repeat_and_maxspan_may_come_first() {
    let mut schema = Schema::builtin();
    for (text, nanos) in [
        ("sequence with maxspan=500ms by host.id [any where true] with runs=2", Some(500_000_000)),
        ("sequence [any where true] [any where true]", None),
        ("sequence by host.id with maxspan=1d [any where true] [any where true]", Some(86_400_000_000_000)),
    ] {
        match compile(text, &mut schema).expect(text).plan {
            EqlRule::Sequence { maxspan, .. } => assert_eq!(maxspan, nanos.map(Span), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn samples_join_without_order() {
    let mut schema = Schema::builtin();
    let text = "sample by host.id [process where true] [network where true]";
    let EqlRule::Sample { steps } = compile(text, &mut schema).expect("compiles").plan else {
        panic!("a sample")
    };
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].by, steps[1].by);
}

#[test]
fn equal_conditions_are_equal_predicates() {
    let mut schema = Schema::builtin();
    let one = event_rule(r#"process where process.name in ("b", "a") and process.pid > 1"#, &mut schema);
    let two = event_rule(
        "process where process.name in (\"a\", \"b\", \"a\")\n and (1 < process.pid)",
        &mut schema,
    );
    assert_eq!(one, two);
}

fn check_faults(query: &str, expect: Expect) {
    let found = match compile(query, &mut Schema::builtin()) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    };
    expect.assert_eq(&render(Source::query("rule.eql", query), &found, Style::Plain));
}

#[test]
fn every_fault_is_shown_at_once() {
    check_faults(
        "process where proces.name == \"sh\" and\n  destination.ip == \"host\" and process.name = \"x\" and lenght(process.name) > 1",
        expect![[r#"
            error[GT101]: no field is called "proces.name"
             --> rule.eql:1:15
              |
            1 | process where proces.name == "sh" and
              |               ^^^^^^^^^^^ not in the field table
              |
              = help: did you mean "process.name"?

            error[GT106]: "host" is no IP address
             --> rule.eql:2:21
              |
            2 |   destination.ip == "host" and process.name = "x" and lenght(process.name) > 1
              |                     ^^^^^^ compared with an IP address
              |
              = help: write an address, or a network such as "10.0.0.0/8"

            error[GT305]: `=` is not a comparison
             --> rule.eql:2:45
              |
            2 |   destination.ip == "host" and process.name = "x" and lenght(process.name) > 1
              |                                             ^
              |
              = help: write `==` to compare by case, `:` to compare without case and with wildcards

            error[GT103]: no function is called `lenght`
             --> rule.eql:2:55
              |
            2 |   destination.ip == "host" and process.name = "x" and lenght(process.name) > 1
              |                                                       ^^^^^^
              |
              = help: did you mean `length`?"#]],
    );
}

#[test]
fn an_unknown_field_gets_a_suggestion() {
    check_faults(
        "process where process.parnet.name == \"sh\"",
        expect![[r#"
        error[GT101]: no field is called "process.parnet.name"
         --> rule.eql:1:15
          |
        1 | process where process.parnet.name == "sh"
          |               ^^^^^^^^^^^^^^^^^^^ not in the field table
          |
          = help: did you mean "process.parent.name"?"#]],
    );
}

#[test]
fn not_equal_warns_of_absent_fields() {
    check_faults(
        "process where process.parent.name != \"sh\" and process.name == \"id\"",
        expect![[r#"
        warning[GT401]: `!=` also matches events without "process.parent.name"
         --> rule.eql:1:15
          |
        1 | process where process.parent.name != "sh" and process.name == "id"
          |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: add `process.parent.name != null and` if they are not meant"#]],
    );
    check_faults(
        "process where process.parent.name != null and process.parent.name != \"sh\"",
        expect![[""]],
    );
}

#[test]
fn what_is_refused_says_what_to_write() {
    check_faults(
        "process where true | head 5",
        expect![[r#"
        error[GT301]: the pipe `head` is not supported
         --> rule.eql:1:20
          |
        1 | process where true | head 5
          |                    ^^^^^^
          |
          = help: leave it out: every match is an alert"#]],
    );
    check_faults(
        "join by host.id [process where true] [file where true]",
        expect![[r#"
        error[GT302]: `join` is not supported
         --> rule.eql:1:1
          |
        1 | join by host.id [process where true] [file where true]
          | ^^^^
          |
          = help: write `sequence by ...` for events in order, `sample by ...` for events in any order"#]],
    );
    check_faults(
        "process where descendant of [process where process.name == \"sh\"]",
        expect![[r#"
        error[GT303]: `descendant of` is not supported
         --> rule.eql:1:26
          |
        1 | process where descendant of [process where process.name == "sh"]
          |                          ^^
          |
          = help: join the events: `sequence by process.entity_id`, with `[...] by process.entity_id [...] by process.parent.entity_id` for parent and child, or test `process.Ext.ancestry`"#]],
    );
    check_faults(
        "process where process.name == process.parent.name",
        expect![[r#"
        error[GT304]: two fields cannot be compared with each other
         --> rule.eql:1:15
          |
        1 | process where process.name == process.parent.name
          |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: compare with a constant; to join events by fields of their own, use `sequence [...] by a [...] by b`; inside one event, `startsWith(a, b)` and its kin take fields"#]],
    );
    check_faults(
        "process where process.name == 'sh' and process.args[0] == \"x\"",
        expect![[r#"
        error[GT305]: `'` is not part of EQL
         --> rule.eql:1:31
          |
        1 | process where process.name == 'sh' and process.args[0] == "x"
          |                               ^
          |
          = help: quote texts with `"`

        error[GT305]: elements of a list cannot be picked
         --> rule.eql:1:52
          |
        1 | process where process.name == 'sh' and process.args[0] == "x"
          |                                                    ^
          |
          = help: leave the index out: a test of a list holds if it holds for any element"#]],
    );
}

#[test]
fn sequences_are_checked_as_a_whole() {
    check_faults(
        "sequence by host.id with maxspan=5\n [process where true] [file where true]",
        expect![[r#"
            error[GT205]: the time limit has no unit
             --> rule.eql:1:34
              |
            1 | sequence by host.id with maxspan=5
              |                                  ^
              |
              = help: write `ms`, `s`, `m`, `h` or `d` behind the number, as in `maxspan=30s`"#]],
    );
    check_faults(
        "sequence\n [process where process.nam == \"a\"] by process.pid, host.id\n ![file where true] by host.id",
        expect![[r#"
            error[GT101]: no field is called "process.nam"
             --> rule.eql:2:17
              |
            2 |  [process where process.nam == "a"] by process.pid, host.id
              |                 ^^^^^^^^^^^ not in the field table
              |
              = help: did you mean "process.name"?

            error[GT202]: this step joins by 1 of its own fields, the first by 2
             --> rule.eql:3:2
              |
            3 |  ![file where true] by host.id
              |  ^^^^^^^^^^^^^^^^^^
              |
              = help: give every step, `until` included, as many fields behind `by`

            error[GT204]: a missing event needs `maxspan`
             --> rule.eql:3:2
              |
            3 |  ![file where true] by host.id
              |  ^^^^^^^^^^^^^^^^^^
              |
              = help: say how long to wait: `sequence ... with maxspan=30s`"#]],
    );
    check_faults(
        "sequence [process where true] by process.pid with runs=101 [file where true] by host.id",
        expect![[r#"
            error[GT206]: `runs` is 101, not 1 to 100, which is "max_runs" in [rules.limits]
             --> rule.eql:1:46
              |
            1 | sequence [process where true] by process.pid with runs=101 [file where true] by host.id
              |                                              ^^^^^^^^^^^^^
              |
              = help: use a rule of type `threshold` to count further

            error[GT203]: a text never equals a number
             --> rule.eql:1:81
              |
            1 | sequence [process where true] by process.pid with runs=101 [file where true] by host.id
              |                                                                                 ^^^^^^^
              |
              = help: join fields of one type"#]],
    );
}

#[test]
fn a_syntax_error_brings_no_others() {
    for query in [
        "sequence [process where true] by process.pid * 2 [file where true] by process.pid * 2",
        "sequence [process where true] by process.pid [file where true] as x by process.pid",
        "sequence by host.id [process where (true] [file where true]",
        "sequence by host.id [process where true]",
    ] {
        let found = compile(query, &mut Schema::builtin()).expect_err(query);
        assert_eq!(found.len(), 1, "{query}: {found:#?}");
    }
}

#[test]
fn each_fault_has_its_code() {
    for (query, code) in [
        ("process where", Code::Syntax),
        ("where true", Code::Syntax),
        ("process where (true", Code::Syntax),
        ("process where true true", Code::Syntax),
        ("process where a AND b", Code::Syntax),
        ("process where process.name", Code::NotBoolean),
        ("process where process.pid + \"a\" == 1", Code::WrongType),
        ("process where process.pid == \"a\"", Code::WrongType),
        ("process where process.pid : \"1*\"", Code::WrongType),
        ("process where user.id > 5", Code::WrongType),
        ("process where destination.ip : \"10.*\"", Code::WrongType),
        ("process where cidrMatch(source.ip, \"10.0.0.0/99\")", Code::BadAddress),
        ("process where process.name regex \"[a\"", Code::BadPattern),
        ("process where match(process.name, \"a~b\")", Code::BadPattern),
        ("process where process.start > \"soon\"", Code::BadDate),
        ("process where process.start > \"now-1d\"", Code::DateMath),
        ("any where aws.cloudtrail.flattened.request_parameters != null", Code::ObjectField),
        ("process where process.pid > null", Code::NullValue),
        ("process where process.name in (null)", Code::NullValue),
        ("process where process.name in ()", Code::WrongArguments),
        ("process where substring(process.name) == \"a\"", Code::WrongArguments),
        ("process where cidrMatch~(source.ip, \"10.0.0.0/8\")", Code::UnknownFunction),
        ("process where arraySearch(process.args, a, true)", Code::UnknownFunction),
        ("process where process.name : process.args", Code::FieldToField),
        ("sequence [process where true]", Code::TooFewSteps),
        ("sequence with maxspan=1s ![process where true] ![file where true]", Code::OnlyMissingSteps),
        ("sequence [process where true] ![file where true]", Code::NeedsMaxspan),
        ("sequence with maxspan=0s [process where true] [file where true]", Code::BadSpan),
        ("sequence [process where true] by process.pid [file where true] by host.id", Code::KeyType),
        ("sequence [process where true] as event0 [file where true]", Code::LegacySyntax),
        ("sample [process where true] [file where true]", Code::NoKey),
        ("process where ?no.such == \"a\"", Code::NeverTrue),
        ("process where process.name == \"a*\"", Code::LiteralWildcard),
    ] {
        let found = match compile(query, &mut Schema::builtin()) {
            Ok(compiled) => compiled.warnings,
            Err(found) => found,
        };
        let codes: Vec<Code> = found.iter().map(|diagnostic| diagnostic.code).collect();
        assert!(codes.contains(&code), "{query}: {found:#?}");
        let is_warning = matches!(code, Code::NeverTrue | Code::LiteralWildcard);
        let severity = if is_warning { Severity::Warning } else { Severity::Error };
        assert!(found.iter().any(|diagnostic| diagnostic.severity == severity), "{query}");
        assert!(found.iter().all(|diagnostic| diagnostic.span.end <= query.len()), "{query}");
    }
}

#[test]
fn deep_nesting_is_a_diagnostic_not_a_crash() {
    let n = 50_000;
    for query in [
        format!("any where {}true{}", "(".repeat(n), ")".repeat(n)),
        format!("any where {}true", "not ".repeat(n)),
        format!("any where {}1 == 1", "-".repeat(n)),
        format!("any where 1{} == 1", "+1".repeat(n)),
        format!("any where 1{}", " == 1".repeat(n)),
        format!("any where {}1{}", "length(".repeat(n / 10), ")".repeat(n / 10)),
        format!("any where {}", "(((1+1)+1)+".repeat(n / 10)),
    ] {
        let found = compile(&query, &mut Schema::builtin()).expect_err("too deep");
        assert!(found.iter().any(|diagnostic| diagnostic.code == Code::TooDeep), "{}", &query[..40]);
    }
    let wide = format!("any where {}true", "process.pid == 1 or ".repeat(5_000));
    assert!(compile(&wide, &mut Schema::builtin()).is_ok());
    let long = format!("any where {}true", "process.pid == 1 or ".repeat(60_000));
    assert_eq!(compile(&long, &mut Schema::builtin()).expect_err("too long")[0].code, Code::TooLong);
}
