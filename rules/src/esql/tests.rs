use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::diagnostic::render::{Source, Style, render};
use crate::eval;
use crate::event::{Event, EventTime, Span, Value};

fn compiled(query: &str, schema: &mut Schema) -> Esql {
    match compile(query, schema) {
        Ok(compiled) => compiled.plan,
        Err(found) => panic!("{}", render(Source::query("query", query), &found, Style::Plain)),
    }
}

const EVENTS: &str = r#"
    {"id": "bash", "process.name": "bash", "process.pid": 1, "user.id": "0", "process.args": ["bash", "-c", "x"], "source.ip": "10.0.0.1"}
    {"id": "curl", "process.name": "curl", "process.pid": 22, "user.id": "1000", "process.args": ["curl"], "source.ip": "2001:db8::1"}
    {"id": "CURL", "process.name": "CURL", "process.pid": 333, "user.name": "web"}
    {"id": "none", "event.action": "exec"}
"#;

/// The ids of the events that a query without `STATS` keeps.
fn check(condition: &str, expect: &[&str]) {
    let mut schema = Schema::builtin();
    let esql = compiled(&format!("FROM logs-* | {condition}"), &mut schema);
    let events = crate::testing::events(EVENTS, &mut schema);
    let kept: Vec<&str> = events
        .iter()
        .filter(|event| eval::matches(&esql.predicate, event))
        .filter(|event| esql.pipeline.as_ref().is_none_or(|pipeline| pipeline.keeps(event)))
        .map(|event| event.id.as_ref())
        .collect();
    assert_eq!(kept, expect, "{condition}");
}

#[test]
fn conditions_are_three_valued() {
    check("WHERE process.name == \"curl\"", &["curl"]);
    check("WHERE process.name != \"curl\"", &["bash", "CURL"]);
    check("WHERE NOT process.name == \"curl\"", &["bash", "CURL"]);
    check("WHERE NOT (process.name == \"curl\" OR user.id == \"0\")", &[]);
    check("WHERE NOT (process.name == \"curl\" AND user.id == \"0\")", &["bash", "curl", "CURL"]);
    check("WHERE process.name IS NULL", &["none"]);
    check("WHERE process.name IS NOT NULL AND user.id IS NULL", &["CURL"]);
    check("WHERE process.name IN (\"curl\", \"bash\")", &["bash", "curl"]);
    check("WHERE process.name NOT IN (\"curl\", \"bash\")", &["CURL"]);
    check("WHERE process.name NOT IN (\"curl\", null)", &[]);
    check("WHERE process.name == null", &[]);
    check("WHERE process.name == \"curl\" OR null", &["curl"]);
}

#[test]
fn a_comparison_with_a_multi_value_is_null() {
    check("WHERE process.args == \"curl\"", &["curl"]);
    check("WHERE process.args != \"curl\"", &[]);
    check("WHERE NOT process.args LIKE \"b*\"", &["curl"]);
    check("WHERE mv_count(process.args) == 3", &["bash"]);
    check("WHERE mv_first(process.args) == \"bash\"", &["bash"]);
    check("WHERE mv_concat(process.args, \" \") LIKE \"bash -c*\"", &["bash"]);
    check("WHERE mv_slice(process.args, -1) == \"x\"", &["bash"]);
    check("WHERE mv_contains(process.args, \"-c\")", &["bash"]);
    check("MV_EXPAND process.args | WHERE process.args == \"-c\"", &["bash"]);
    check("WHERE kql(\"process.args:x and not user.id:1\")", &["bash"]);
    check("WHERE NOT kql(\"process.args:x\")", &["curl", "CURL", "none"]);
}

#[test]
fn patterns_and_functions() {
    check("WHERE process.name LIKE \"c?r*\"", &["curl"]);
    check("WHERE process.name LIKE (\"b*\", \"C*\")", &["bash", "CURL"]);
    check("WHERE process.name RLIKE \"(cu|ba).+\"", &["bash", "curl"]);
    check("WHERE to_lower(process.name) == \"curl\"", &["curl", "CURL"]);
    check("WHERE to_lower(process.name) != \"curl\"", &["bash"]);
    check("WHERE TO_UPPER(process.name) == \"CURL\"", &["curl", "CURL"]);
    check("WHERE starts_with(process.name, \"c\") OR ends_with(process.name, \"sh\")", &["bash", "curl"]);
    check("WHERE cidr_match(source.ip, \"10.0.0.0/8\", \"192.168.0.0/16\")", &["bash"]);
    check("WHERE NOT cidr_match(source.ip, \"10.0.0.0/8\")", &["curl"]);
    check("WHERE source.ip == \"10.0.0.1\"", &["bash"]);
    check("WHERE process.pid > 20 AND process.pid <= 333", &["curl", "CURL"]);
    check("WHERE NOT process.pid > 20", &["bash"]);
    check("WHERE process.pid + 1 == 2", &["bash"]);
    check("WHERE process.pid / 0 == 1", &[]);
    check("WHERE process.pid::string == \"22\"", &["curl"]);
    check("WHERE user.id::long >= 1000", &["curl"]);
    check("WHERE length(process.name) == 4 AND substring(process.name, 2, 2) == \"ur\"", &["curl"]);
    check("WHERE concat(process.name, \"/\", user.id) == \"curl/1000\"", &["curl"]);
    check("WHERE coalesce(user.name, user.id) IN (\"web\", \"0\")", &["bash", "CURL"]);
    check(
        "WHERE case(process.pid == 1, \"one\", process.pid < 100, \"few\", \"many\") == \"many\"",
        &["CURL", "none"],
    );
    check("WHERE replace(process.name, \"[a-z]\", \"\") == \"CURL\"", &["CURL"]);
    check("WHERE mv_last(split(concat(process.name, \".\", user.id), \".\")) == \"0\"", &["bash"]);
    check("WHERE locate(process.name, \"rl\") == 3", &["curl"]);
    check("EVAL n = process.pid * 2 | WHERE n == 44 | KEEP n", &["curl"]);
    check("EVAL process.name = \"x\" | WHERE process.name == \"x\"", &["bash", "curl", "CURL", "none"]);
    check("RENAME process.name AS name | WHERE name == \"curl\"", &["curl"]);
    check("WHERE _id == \"curl\"", &["curl"]);
    check("WHERE @timestamp == \"1970-01-01T00:00:00Z\" AND process.pid == 1", &["bash"]);
    check("WHERE now() - 5 minutes < @timestamp AND process.pid == 1", &["bash"]);
    check("DISSECT process.name \"%{a}u%{b}\" | WHERE b == \"rl\" AND a IS NOT NULL", &["curl"]);
    check(
        "WHERE process.name == \"curl\" // a comment\n | SORT @timestamp DESC NULLS LAST | LIMIT 10",
        &["curl"],
    );
}

#[test]
fn the_events_own_conditions_become_predicates() {
    let mut schema = Schema::builtin();
    let query =
        "FROM a, b METADATA _id | WHERE process.name == \"x\" AND user.id != \"0\" AND length(user.name) > 3";
    let esql = compiled(query, &mut schema);
    assert_eq!(esql.index, ["a", "b"]);
    let Expr::And(parts) = &esql.predicate else { panic!("{:?}", esql.predicate) };
    assert_eq!(parts.len(), 4);
    assert!(esql.pipeline.is_some(), "the length is left to the pipeline");
    let whole = compiled("FROM a | WHERE process.name LIKE \"x*\" AND NOT user.id IN (\"0\")", &mut schema);
    assert!(whole.pipeline.is_none() && !whole.is_aggregate);
}

fn call(secs: i64, action: &str, arn: &str, schema: &Schema) -> Event {
    let mut event =
        Event::new(format!("{secs}"), EventTime(secs * 1_000_000_000), "logs-aws.cloudtrail-default");
    event.push(schema.id("event.action").expect("a field"), Value::str(action));
    event.push(schema.id("aws.cloudtrail.user_identity.arn").expect("a field"), Value::str(arn));
    event
}

const BURST: &str = r#"FROM logs-aws.cloudtrail-*
    | WHERE event.action LIKE "Describe*"
    | DISSECT aws.cloudtrail.user_identity.arn "%{}::%{owner}:%{type}/%{actor}"
    | WHERE actor IS NULL OR NOT starts_with(actor, "AWSServiceRoleForConfig")
    | EVAL window = date_trunc(10 seconds, @timestamp)
    | STATS calls = count_distinct(event.action), n = COUNT(*), names = VALUES(event.action), who = VALUES(actor),
            first = MIN(@timestamp), late = COUNT(*) WHERE @timestamp > "1970-01-01T00:00:12Z"
      BY window, aws.cloudtrail.user_identity.arn
    | EVAL share = round(calls::double / n, 2)
    | WHERE calls >= 2
    | KEEP window, aws*, calls, n, names, who, share, first, late
    | SORT calls DESC"#;

#[test]
fn groups_are_cut_at_the_time_bucket() {
    let mut schema = Schema::builtin();
    let pipeline = compiled(BURST, &mut schema).pipeline.expect("an aggregate");
    assert_eq!(pipeline.bucket(), Some(Span::from_secs(10)));
    let arn = "arn:aws:iam::111122223333:user/mallory";
    let events = [
        call(11, "DescribeA", arn, &schema),
        call(12, "DescribeB", arn, &schema),
        call(13, "DescribeB", arn, &schema),
        call(20, "DescribeC", arn, &schema),
        call(14, "DescribeD", "arn:aws:sts::1:assumed-role/AWSServiceRoleForConfig/x", &schema),
        call(15, "DescribeE", "arn:aws:iam::1:root", &schema),
    ];
    let rows: Vec<Row> = events.iter().flat_map(|event| pipeline.rows(event)).collect();
    let keys: Vec<String> = rows.iter().map(|row| row.key[0].to_string()).collect();
    let bucket = "1970-01-01T00:00:10.000Z";
    assert_eq!(keys, [bucket, bucket, bucket, "1970-01-01T00:00:20.000Z", bucket]);

    let columns = pipeline.finish(&rows[0].key, &[&rows[0], &rows[1], &rows[2]]).expect("two names");
    let columns: Vec<String> = columns.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expect = [
        "window=1970-01-01T00:00:10.000Z",
        "aws.cloudtrail.user_identity.arn=arn:aws:iam::111122223333:user/mallory",
        "calls=2",
        "n=3",
        "names=DescribeA, DescribeB",
        "who=mallory",
        "share=0.67",
        "first=1970-01-01T00:00:11.000Z",
        "late=1",
    ];
    assert_eq!(columns, expect);
    assert_eq!(pipeline.finish(&rows[3].key, &[&rows[3]]), None, "one name is not enough");
}

#[test]
fn aggregates_over_the_look_back() {
    let mut schema = Schema::builtin();
    let query = "FROM logs-* | STATS n = COUNT(process.args), distinct = COUNT_DISTINCT(process.args), sum = SUM(process.pid), \
                 avg = AVG(process.pid), max = MAX(process.name), ratio = MAX(process.pid) - MIN(process.pid) BY user.id";
    let pipeline = compiled(query, &mut schema).pipeline.expect("an aggregate");
    assert_eq!(pipeline.bucket(), None);
    let events = crate::testing::events(EVENTS, &mut schema);
    let rows: Vec<Row> = events.iter().flat_map(|event| pipeline.rows(event)).collect();
    assert_eq!(rows[2].key, [Value::List([].into())], "null is a group of its own");
    let all: Vec<&Row> = rows.iter().collect();
    let columns = pipeline.finish(&rows[0].key, &all).expect("a result");
    let columns: Vec<String> = columns.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expect =
        ["n=4", "distinct=4", "sum=356", "avg=118.66666666666667", "max=curl", "ratio=332", "user.id=0"];
    assert_eq!(columns, expect);
}

#[test]
fn a_list_is_in_the_group_of_each_of_its_values() {
    let mut schema = Schema::builtin();
    let pipeline =
        compiled("FROM logs-* | STATS COUNT(*) BY process.args", &mut schema).pipeline.expect("an aggregate");
    let events = crate::testing::events(EVENTS, &mut schema);
    let keys: Vec<String> = pipeline.rows(&events[0]).iter().map(|row| row.key[0].to_string()).collect();
    assert_eq!(keys, ["bash", "-c", "x"]);
}

/// What a query over all events gives, a line each.
#[track_caller]
fn table(query: &str, expect: Expect) {
    let mut schema = Schema::builtin();
    let compiled = match compile_for(Purpose::Batch, &format!("FROM logs-* | {query}"), &mut schema) {
        Ok(compiled) => compiled.plan,
        Err(found) => panic!("{}", render(Source::query("query", query), &found, Style::Plain)),
    };
    let events = crate::testing::events(EVENTS, &mut schema);
    let events: Vec<&Event> =
        events.iter().filter(|event| eval::matches(&compiled.predicate, event)).collect();
    let result = compiled.pipeline.expect("a table").table(&events, &schema, 1000).expect("few rows");
    let line = |cells: &[Value]| cells.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    let lines: Vec<String> = result.rows.iter().map(|row| line(row)).collect();
    expect.assert_eq(&format!("{}\n{}\n", result.columns.join(" | "), lines.join("\n")));
}

#[test]
fn a_batch_has_all_columns_or_those_that_are_kept() {
    table(
        "WHERE process.pid < 100 | DROP process.*, user.id, @timestamp",
        expect![[r#"
        source.ip
        10.0.0.1
        2001:db8::1
    "#]],
    );
    table(
        "EVAL n = process.pid + 1 | KEEP n, process.name, user*",
        expect![[r#"
        n | process.name | user.id | user.name
        2 | bash | 0 | 
        23 | curl | 1000 | 
        334 | CURL |  | web
         |  |  | 
    "#]],
    );
    table(
        "RENAME process.name AS who | KEEP who | LIMIT 2",
        expect![[r#"
        who
        bash
        curl
    "#]],
    );
}

#[test]
fn sort_and_limit_take_effect_in_a_batch() {
    table(
        "SORT process.pid DESC | KEEP process.name | LIMIT 3",
        expect![[r#"
        process.name

        CURL
        curl
    "#]],
    );
    table(
        "SORT process.pid DESC NULLS LAST, user.id | KEEP process.name | LIMIT 2",
        expect![[r#"
        process.name
        CURL
        curl
    "#]],
    );
    table(
        "SORT user.id, process.pid | KEEP process.name, user.id",
        expect![[r#"
        process.name | user.id
        bash | 0
        curl | 1000
        CURL | 
         | 
    "#]],
    );
    table(
        "LIMIT 2 | STATS n = COUNT(*)",
        expect![[r#"
        n
        2
    "#]],
    );
    table(
        "SORT process.args DESC NULLS LAST | KEEP process.args | LIMIT 1",
        expect![[r#"
        process.args
        bash, -c, x
    "#]],
    );
}

#[test]
fn groups_of_groups_and_groups_beside_their_rows() {
    table(
        "MV_EXPAND process.args | STATS n = COUNT(*) BY process.args, process.name \
         | STATS most = MAX(n), names = VALUES(process.args) BY process.name | SORT process.name",
        expect![[r#"
            most | names | process.name
            1 |  | CURL
            1 | bash, -c, x | bash
            1 | curl | curl
            1 |  | 
        "#]],
    );
    table(
        "INLINE STATS most = MAX(process.pid), n = COUNT(*) WHERE process.pid > 20 | WHERE process.pid == most \
         | KEEP process.name, most, n",
        expect![[r#"
            process.name | most | n
            CURL | 333 | 2
        "#]],
    );
    table(
        "EVAL lower = TO_LOWER(process.name) | INLINE STATS pids = VALUES(process.pid) BY lower \
         | WHERE MV_COUNT(pids) > 1 | SORT process.pid | KEEP process.name, pids",
        expect![[r#"
            process.name | pids
            curl | 22, 333
            CURL | 22, 333
        "#]],
    );
    table(
        "STATS args = VALUES(process.args) | MV_EXPAND args | STATS n = COUNT(*), all = COUNT_DISTINCT(args)",
        expect![[r#"
        n | all
        4 | 4
    "#]],
    );
    table(
        "WHERE process.pid > 9999 | STATS n = COUNT(*), least = MIN(process.pid)",
        expect![[r#"
        n | least
        0 | 
    "#]],
    );
}

#[test]
fn aggregates_of_every_kind() {
    table(
        "STATS first = FIRST(process.name, process.pid), last = LAST(process.name, process.pid), \
         top = TOP(process.pid, 2, \"desc\"), low = TOP(process.pid, 1), p = PERCENTILE(process.pid, 50), m = MEDIAN(process.pid), \
         few = COUNT(*) WHERE process.pid < 100, sum = SUM(process.pid) WHERE process.name != \"bash\", \
         sd = ROUND(STD_DEV(process.pid), 1), v = ROUND(VARIANCE(process.pid))",
        expect![[r#"
            first | last | top | low | p | m | few | sum | sd | v
            bash | CURL | 333, 22 | 1 | 22 | 22 | 2 | 355 | 151.8 | 23043
        "#]],
    );
}

#[test]
fn texts_taken_apart() {
    table(
        "WHERE process.pid == 22 | GROK source.ip::string \"%{INT:high:int}%{DATA}::(?<low.part>.*)\" | KEEP high, low.part",
        expect![[r#"
        high | low.part
        2001 | 1
    "#]],
    );
    table(
        "GROK process.name \"(?<c>[a-z]+h)\", \"^(?<c>C)(?<rest>.*)\" | KEEP c, rest",
        expect![[r#"
        c | rest
        bash | 
         | 
        C | URL
         | 
    "#]],
    );
    table(
        "WHERE process.pid == 1 | GROK process.args \"^(?<letters>[a-z]+)$\" | KEEP letters",
        expect![[r#"
        letters
        bash, x
    "#]],
    );
}

#[test]
fn a_match_is_never_null_and_looks_at_every_value() {
    check("WHERE process.args : \"x\"", &["bash"]);
    check("WHERE NOT process.args : \"x\"", &["curl", "CURL", "none"]);
    check("WHERE match(process.name, \"curl\")", &["curl"]);
    check("WHERE match(process.name, \"crul\", { \"fuzziness\": 1 })", &["curl"]);
    check("WHERE match(process.name, \"crul\", { \"fuzziness\": 1, \"max_expansions\": 10 })", &["curl"]);
    check("WHERE source.ip : \"10.0.0.1\" AND process.pid : 1", &["bash"]);
}

#[test]
fn free_text_is_matched_by_its_words() {
    let mut schema = Schema::builtin();
    let events = r#"
        {"id": "fault", "message": "segfault at zero in sshd"}
        {"id": "auth", "message": "foo_bar: Failed PASSWORD for réné on 5 m²"}
    "#;
    let events = crate::testing::events(events, &mut schema);
    for (condition, expect) in [
        ("message : \"zero segfault\"", &["fault"][..]),
        ("message : \"password zero\"", &["fault", "auth"]),
        ("message : \"foo_bar\"", &["auth"]),
        ("message : \"foo\"", &[]),
        ("message : \"r\"", &[]),
        ("message : \"réné\"", &["auth"]),
        ("message : \"m²\"", &["auth"]),
        ("message : \"--\"", &[]),
        ("match(message, \"failed zero\", { \"operator\": \"AND\" })", &[]),
        ("match(message, \"password failed\", { \"operator\": \"AND\" })", &["auth"]),
        ("match_phrase(message, \"failed-password\")", &["auth"]),
        ("match_phrase(message, \"password failed\")", &[]),
    ] {
        let esql = compiled(&format!("FROM logs-* | WHERE {condition}"), &mut schema);
        let kept = events.iter().filter(|event| eval::matches(&esql.predicate, event));
        assert_eq!(kept.map(|event| event.id.as_ref()).collect::<Vec<&str>>(), expect, "{condition}");
    }
}

#[test]
fn conversions_round_and_refuse_as_elasticsearch_does() {
    for condition in [
        "to_long(\"5.7\") == 6",
        "to_long(-5.5) == -5",
        "to_long(\"1e30\") IS NULL",
        "to_long(9.3e18) IS NULL",
        "to_integer(501379200000) IS NULL",
        "to_integer(\"7\") == 7",
        "to_unsigned_long(-1) IS NULL",
        "to_string(5.0) == \"5.0\"",
        "to_string(1e20) == \"1.0E20\"",
        "to_string(0.00012) == \"1.2E-4\"",
        "to_string(1234567.5) == \"1234567.5\"",
        ".5 < 1 AND -.5 < 0",
        "-9223372036854775808 < 0 AND 9223372036854775808 > 1",
        "replace(\"ab\", \"(a)\", \"$1x\") == \"axb\"",
        "to_string(date_trunc(1 week, to_datetime(\"2026-01-01T10:00:00Z\"))) == \"2025-12-29T00:00:00.000Z\"",
        "to_string(date_trunc(7 days, to_datetime(\"2025-12-29T00:00:00Z\"))) == \"2025-12-29T00:00:00.000Z\"",
        "to_string(date_trunc(14 days, to_datetime(\"1970-01-15T10:00:00Z\"))) == \"1970-01-15T00:00:00.000Z\"",
        "date_extract(\"second_of_day\", to_datetime(\"2026-01-01T00:01:01Z\")) == 61",
    ] {
        check(&format!("WHERE process.pid == 1 AND {condition}"), &["bash"]);
    }
    for part in function::PARTS {
        check(
            &format!("WHERE process.pid == 1 AND date_extract(\"{part}\", to_datetime(0)) IS NOT NULL"),
            &["bash"],
        );
    }
}

#[test]
fn what_a_query_makes_of_a_value_has_a_bound() {
    let doubled = "EVAL a = mv_append(process.args, process.args) | ".to_owned()
        + &"EVAL a = mv_append(a, a) | ".repeat(40);
    check(&format!("{doubled}WHERE process.pid == 1 AND a IS NULL"), &["bash"]);
    check(
        "EVAL a = replace(repeat(\"a\", 1000000), \"a\", repeat(\"b\", 1000000)) | WHERE process.pid == 1 AND a IS NULL",
        &["bash"],
    );
    check("EVAL a = to_base64(repeat(\"a\", 1000000)) | WHERE process.pid == 1 AND a IS NULL", &["bash"]);
    check("WHERE process.pid == 1 AND mv_count(mv_append(process.args, process.args)) == 6", &["bash"]);
}

#[test]
fn columns_and_types_that_are_not_known_beforehand() {
    check("WHERE okta.debug_context.debug_data.risk == true", &[]);
    check("WHERE azure.some.number > 3 OR process.pid == 1", &["bash"]);
    check("WHERE NOT azure.some.text == \"x\"", &[]);
    check("WHERE process.interactive == \"true\" OR process.pid == 22", &["curl"]);
    check("WHERE json_extract(_source, \"process.name\") == \"curl\"", &["curl"]);
    check("WHERE date_diff(\"seconds\", @timestamp, now()) == 0 AND process.pid == 1", &["bash"]);
    check("WHERE mv_intersection(process.args, split(\"x,y\", \",\")) == \"x\"", &["bash"]);
    check("WHERE locate(concat(process.name, space(3)), space(2)) == 5", &["bash", "curl", "CURL"]);
}

/// What one table of a stream comes to.
fn on_a_stream(query: &str) -> Vec<String> {
    let mut schema = Schema::builtin();
    let pipeline = compiled(&format!("FROM logs-* | {query}"), &mut schema).pipeline.expect("a table");
    let events = crate::testing::events(EVENTS, &mut schema);
    let rows: Vec<Row> = events.iter().flat_map(|event| pipeline.rows(event)).collect();
    let mut keys: Vec<&Vec<Value>> = Vec::new();
    rows.iter().for_each(|row| {
        if !keys.contains(&&row.key) {
            keys.push(&row.key);
        }
    });
    let told = keys.into_iter().filter_map(|key| {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.key == *key).collect();
        let columns = pipeline.finish(key, &rows)?;
        Some(columns.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    });
    told.collect()
}

#[test]
fn rows_that_never_meet_are_kept_apart_on_a_stream() {
    let twice = "STATS n = COUNT(*) BY process.args, user.id | STATS names = VALUES(process.args), n = SUM(n) BY user.id";
    assert_eq!(
        on_a_stream(twice),
        ["names=bash, -c, x n=3 user.id=0", "names=curl n=1 user.id=1000", "n=2"],
        "what only the first groups by is no border"
    );
    let renamed =
        "STATS n = COUNT(*) BY process.args, who = user.id | RENAME who AS id | STATS m = MAX(n) BY id";
    assert_eq!(on_a_stream(renamed), ["m=1 id=0", "m=1 id=1000", "m=2"]);
    let beside = "INLINE STATS most = MAX(process.pid) | WHERE process.pid == most | EVAL name = process.name | KEEP name, most";
    assert_eq!(on_a_stream(beside), ["name=CURL most=333"]);
    let mixed = "INLINE STATS ids = COUNT_DISTINCT(user.id) BY process.name | WHERE ids == 1 | STATS names = VALUES(process.name)";
    assert_eq!(on_a_stream(mixed), ["names=bash, curl"]);
    let parted =
        "INLINE STATS n = COUNT(*) BY user.id | STATS n = MAX(n), names = VALUES(process.name) BY user.id";
    assert_eq!(
        on_a_stream(parted),
        ["n=1 names=bash user.id=0", "n=1 names=curl user.id=1000", "n=2 names=CURL"]
    );
    let several = "STATS args = VALUES(process.args) BY user.id | MV_EXPAND args | WHERE args != \"x\"";
    assert_eq!(on_a_stream(several), ["args=bash, -c user.id=0", "args=curl user.id=1000"]);
    let recent = "STATS first = MIN(@timestamp) BY user.id | WHERE DATE_DIFF(\"minute\", first, NOW()) <= 10 | KEEP user.id";
    assert_eq!(on_a_stream(recent), ["user.id=0", "user.id=1000", ""]);
}

/// What a query is told, as its author reads it.
fn fault(query: &str, expect: Expect) {
    let found = match compile(query, &mut Schema::builtin()) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    };
    expect.assert_eq(&render(Source::query("query", query), &found, Style::Plain));
}

#[test]
fn faults_are_marked_and_say_what_to_write() {
    fault(
        "FROM logs-* | WHERE proces.name == \"x\" AND process.pid == \"1\"",
        expect![[r#"
        error[GT101]: no field is called "proces.name"
         --> query:1:21
          |
        1 | FROM logs-* | WHERE proces.name == "x" AND process.pid == "1"
          |                     ^^^^^^^^^^^ not in the field table
          |
          = help: did you mean "process.name"?

        error[GT603]: a whole number and a text have no order
         --> query:1:44
          |
        1 | FROM logs-* | WHERE proces.name == "x" AND process.pid == "1"
          |                                            ^^^^^^^^^^^^^^^^^^
          |
          = help: write the number without quotes"#]],
    );
    fault(
        "FROM logs-* | WHERE process.name = \"x\"\n| ENRICH users",
        expect![[r#"
        error[GT005]: values are compared with ==
         --> query:1:34
          |
        1 | FROM logs-* | WHERE process.name = "x"
          |                                  ^ found "="

        error[GT601]: ENRICH is not run here
         --> query:2:3
          |
        2 | | ENRICH users
          |   ^^^^^^
          |
          = help: events are enriched before rules see them"#]],
    );
    fault(
        "FROM logs-* | STATS n = COUNT(*), process.name BY user.id | WHERE m > 1",
        expect![[r#"
        error[GT604]: "process.name" is neither a group column nor inside an aggregate
         --> query:1:35
          |
        1 | FROM logs-* | STATS n = COUNT(*), process.name BY user.id | WHERE m > 1
          |                                   ^^^^^^^^^^^^
          |
          = help: write VALUES(process.name), or add it behind BY"#]],
    );
    fault(
        "FROM logs-* | EVAL x = lenght(process.name), y = date_trunc(process.pid, @timestamp)",
        expect![[r#"
        error[GT103]: no function is called "lenght"
         --> query:1:24
          |
        1 | FROM logs-* | EVAL x = lenght(process.name), y = date_trunc(process.pid, @timestamp)
          |                        ^^^^^^
          |
          = help: did you mean LENGTH(...)?

        error[GT104]: DATE_TRUNC takes a length of time and a date: DATE_TRUNC(10 seconds, @timestamp)
         --> query:1:50
          |
        1 | FROM logs-* | EVAL x = lenght(process.name), y = date_trunc(process.pid, @timestamp)
          |                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"#]],
    );
    fault(
        "FROM logs-* | WHERE kql(\"proces.name:x\") AND cidr_match(source.ip, \"10.0.0.0/99\")",
        expect![[r#"
        error[GT101]: no field is called "proces.name"
         --> query:1:26
          |
        1 | FROM logs-* | WHERE kql("proces.name:x") AND cidr_match(source.ip, "10.0.0.0/99")
          |                          ^^^^^^^^^^^ not in the field table
          |
          = help: did you mean "process.name"?

        error[GT106]: a network is meant here, such as "10.0.0.0/8"
         --> query:1:68
          |
        1 | FROM logs-* | WHERE kql("proces.name:x") AND cidr_match(source.ip, "10.0.0.0/99")
          |                                                                    ^^^^^^^^^^^^^"#]],
    );
    fault(
        "FROM logs-* | KEEP user.id | WHERE process.name == 'x'",
        expect![[r#"
        error[GT602]: there is no column "process.name" here
         --> query:1:36
          |
        1 | FROM logs-* | KEEP user.id | WHERE process.name == 'x'
          |                                    ^^^^^^^^^^^^
          |
          = help: a KEEP, DROP or RENAME before took it away

        error[GT001]: texts stand in double quotes
         --> query:1:52
          |
        1 | FROM logs-* | KEEP user.id | WHERE process.name == 'x'
          |                                                    ^^^
          |
          = help: write "x""#]],
    );
    fault(
        "FROM logs-* | WHERE",
        expect![[r#"
        error[GT005]: expected a value, a column or a function
         --> query:1:20
          |
        1 | FROM logs-* | WHERE
          |                    ^ the query ends here"#]],
    );
}

#[test]
fn deep_and_long_queries_are_refused_not_obeyed() {
    let deep = format!("FROM a | WHERE {}true{}", "(".repeat(5000), ")".repeat(5000));
    assert!(compile(&deep, &mut Schema::builtin()).is_err());
    let sum = format!("FROM a | WHERE process.pid == 1{}", " + 1".repeat(50_000));
    assert!(compile(&sum, &mut Schema::builtin()).is_err());
    let wide = format!("FROM a | WHERE process.pid == 1{}", " OR process.pid == 1".repeat(20_000));
    assert!(compile(&wide, &mut Schema::builtin()).is_ok());
    for (nested, is_fine) in [("::string".repeat(100), true), ("::string".repeat(100_000), false)] {
        let casts = format!("FROM a | WHERE process.name{nested} == \"x\"");
        assert_eq!(compile(&casts, &mut Schema::builtin()).is_ok(), is_fine);
    }
    let options = format!("{}1{}", "{\"a\":".repeat(4_000), "}".repeat(4_000));
    let options = format!("FROM a | WHERE match(process.name, \"x\", {options})");
    assert!(compile(&options, &mut Schema::builtin()).is_err());
    let nots = format!("FROM a | WHERE {} true", "NOT ".repeat(50_000));
    assert!(compile(&nots, &mut Schema::builtin()).is_ok());
}

const WORDS: &[&str] = &[
    "FROM ",
    "logs-* ",
    "| ",
    "WHERE ",
    "EVAL ",
    "STATS ",
    "BY ",
    "KEEP ",
    "DROP ",
    "RENAME ",
    "AS ",
    "DISSECT ",
    "GROK ",
    "INLINE STATS ",
    "\"%{WORD:w}\" ",
    "NOW() ",
    "COUNT(*) ",
    "{ \"fuzziness\": 1 } ",
    ": ",
    "SORT ",
    "LIMIT ",
    "MV_EXPAND ",
    "process.name ",
    "process.pid ",
    "@timestamp ",
    "x ",
    "= ",
    "== ",
    "!= ",
    "< ",
    "( ",
    ") ",
    ", ",
    "\"a*\" ",
    "\"%{k} %{v}\" ",
    "1 ",
    "10 seconds ",
    "AND ",
    "OR ",
    "NOT ",
    "IN ",
    "LIKE ",
    "RLIKE ",
    "IS ",
    "NULL ",
    "COUNT",
    "VALUES",
    "case",
    "coalesce",
    "date_trunc",
    "mv_slice",
    "substring",
    "kql",
    "* ",
    "- ",
    "+ ",
    "::",
    "string ",
    "`",
    "\"\"\"",
    "/*",
    "é",
];

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = compile(&text, &mut Schema::builtin());
        let _ = compile(&format!("FROM a | {text}"), &mut Schema::builtin());
    }

    #[test]
    fn no_words_panic_and_what_compiles_runs(words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
        let mut schema = Schema::builtin();
        let query = format!("FROM a | {}", words.concat());
        if let Ok(compiled) = compile(&query, &mut schema)
            && let Some(pipeline) = compiled.plan.pipeline
        {
            for event in crate::testing::events(EVENTS, &mut schema) {
                pipeline.keeps(&event);
                for row in pipeline.rows(&event) {
                    pipeline.finish(&row.key, &[&row]);
                }
            }
        }
        if let Ok(compiled) = compile_for(Purpose::Batch, &query, &mut schema) {
            let events = crate::testing::events(EVENTS, &mut schema);
            let events: Vec<&Event> = events.iter().collect();
            let _ = compiled.plan.pipeline.expect("a batch makes a table").table(&events, &schema, 1000);
        }
    }

    /// What became a predicate says the same as the pipeline would have said.
    #[test]
    fn predicates_agree_with_the_pipeline(parts in prop::collection::vec(prop::sample::select(CONDITIONS), 1..6), joins in prop::collection::vec(0..4, 6)) {
        let mut condition = String::from(parts[0]);
        for (part, join) in parts[1..].iter().zip(&joins) {
            condition = match join {
                0 => format!("({condition}) AND {part}"),
                1 => format!("({condition}) OR {part}"),
                2 => format!("NOT ({condition} AND NOT {part})"),
                _ => format!("NOT ({condition}) OR NOT {part}"),
            };
        }
        let mut schema = Schema::builtin();
        let direct = compiled(&format!("FROM a | WHERE {condition}"), &mut schema);
        // A computed column keeps the pipeline from handing the condition over.
        let indirect = compiled(&format!("FROM a | EVAL c = {condition} | WHERE c"), &mut schema);
        let indirect = indirect.pipeline.expect("a filter on a computed column");
        for event in crate::testing::events(EVENTS, &mut schema) {
            let is_kept = eval::matches(&direct.predicate, &event)
                && direct.pipeline.as_ref().is_none_or(|pipeline| pipeline.keeps(&event));
            prop_assert_eq!(is_kept, indirect.keeps(&event), "{} on {}", condition, event.id);
        }
    }
}

const CONDITIONS: &[&str] = &[
    "process.name == \"curl\"",
    "process.name != \"curl\"",
    "process.name LIKE \"c*\"",
    "process.name RLIKE \"[A-Z]+\"",
    "process.name IN (\"bash\", \"CURL\")",
    "process.args == \"curl\"",
    "process.args LIKE \"*\"",
    "process.pid > 20",
    "process.pid == 22",
    "process.pid != 22",
    "user.id IS NULL",
    "user.id IS NOT NULL",
    "cidr_match(source.ip, \"10.0.0.0/8\")",
    "source.ip == \"10.0.0.1\"",
    "source.ip IN (\"10.0.0.1\", \"2001:db8::1\")",
    "to_lower(process.name) == \"curl\"",
    "starts_with(process.name, \"c\")",
    "kql(\"process.args:bash\")",
    "null",
    "true",
    "process.name < \"c\"",
    "\"b\" < process.name",
];

#[test]
fn rows_of_rows_have_a_bound_and_the_result_says_so() {
    let mut schema = Schema::builtin();
    let all = "STATS a = VALUES(process.name), b = VALUES(user.id), c = VALUES(user.name) | MV_EXPAND a | MV_EXPAND b | MV_EXPAND c | STATS n = COUNT(*)";
    let inform = "STATS a = VALUES(process.name) | MV_EXPAND a | INLINE STATS all = VALUES(a) | STATS n = COUNT(*), named = COUNT(all)";
    let mut told = |query: &str, n_events: usize| {
        let pipeline = compiled(&format!("FROM logs-* | {query}"), &mut schema).pipeline.expect("a table");
        let text: String = (0..n_events)
            .map(|n| {
                format!("{{\"id\": \"e{n}\", \"process.name\": \"p{n}\", \"user.id\": \"{n}\", \"user.name\": \"u{n}\"}}\n")
            })
            .collect();
        let events = crate::testing::events(&text, &mut schema);
        let rows: Vec<Row> = events.iter().flat_map(|event| pipeline.rows(event)).collect();
        let columns = pipeline.finish(&[], &rows.iter().collect::<Vec<_>>()).expect("a count");
        columns.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(told(all, 20), ["n=8000"]);
    let cut = told(all, 60);
    let n_rows: usize = cut[0].strip_prefix("n=").and_then(|n| n.parse().ok()).expect("a count");
    assert!((1_000..=10_000).contains(&n_rows), "{cut:?}");
    assert_eq!(cut[1], "groundtrail.rows_left_out=true");
    assert_eq!(told(inform, 20), ["n=20", "named=400"]);
    let cut = told(inform, 1_000);
    assert_eq!(cut.last().map(String::as_str), Some("groundtrail.rows_left_out=true"), "{cut:?}");
}
