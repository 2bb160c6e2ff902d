use std::path::Path;

use expect_test::{Expect, expect};

use super::*;
use crate::catalogue::report::Report;
use crate::diagnostic::render::Style;
use crate::event::Span;
use crate::plan::{Plan, Threshold};

fn read_text(text: &str) -> (Option<Rule<Expr>>, Report) {
    let (rule, findings) = read(Path::new("a.toml"), text, &mut Schema::builtin());
    (rule, Report::new(Path::new("a.toml"), text, findings))
}

fn good(text: &str) -> Rule<Expr> {
    let (rule, report) = read_text(text);
    rule.unwrap_or_else(|| panic!("{}", report.render(Style::Plain)))
}

/// What a file is told, as its author reads it.
fn check(text: &str, expect: Expect) {
    let (rule, report) = read_text(text);
    assert_eq!(rule.is_none(), report.has_errors());
    expect.assert_eq(&report.render(Style::Plain));
}

const HEAD: &str = r#"[rule]
name = "a rule"
rule_id = "00000000-0000-0000-0000-000000000001"
severity = "medium"
risk_score = 47
"#;

fn with(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

#[test]
fn a_threshold_rule_in_upstreams_shape() {
    let rule = good(&with(
        r#"type = "threshold"
language = "kuery"
from = "now-9m"
index = ["logs-aws.cloudtrail-*"]
query = 'event.action:GetSecretValue'
[rule.threshold]
field = ["user.name"]
value = 1
[[rule.threshold.cardinality]]
field = "aws.cloudtrail.request_parameters"
value = 20
"#,
    ));
    let schema = Schema::builtin();
    let Plan::Threshold(Threshold { by, count, cardinality, window, .. }) = rule.plan else {
        panic!("{rule:?}")
    };
    assert_eq!(by, [schema.id("user.name").expect("a field")]);
    assert_eq!(count, 1);
    assert_eq!(cardinality, schema.id("aws.cloudtrail.request_parameters").map(|field| (field, 20)));
    assert_eq!(window, Span::from_secs(9 * 60));
}

#[test]
fn a_new_terms_rule_with_all_that_surrounds_it() {
    let rule = good(&with(
        r#"type = "new_terms"
language = "kuery"
upstream_id = "00000000-0000-0000-0000-00000000000a"
query = 'process.name:aws'
[rule.new_terms]
field = "new_terms_fields"
value = ["host.id", "groundtrail.endpoint.domain"]
[[rule.new_terms.history_window_start]]
field = "history_window_start"
value = "now-10d"
[[rule.severity_mapping]]
field = "groundtrail.guardduty.severity"
operator = "equals"
value = "high"
severity = "high"
[[rule.context]]
name = "calls"
link = ["groundtrail.link.instance_id"]
dataset = "aws.cloudtrail"
query = 'event.action:*'
before = "1m"
after = "2h"
raise_severity = "high"
circumstantial = true
[[rule.exception]]
name = "backup"
query = 'user.name:backup'
reason = "a store of our own"
expires = 2026-12-31
[rule.alert_suppression]
group_by = ["host.id"]
missing_fields_strategy = "doNotSuppress"
[rule.alert_suppression.duration]
unit = "h"
value = 6
[[rule.threat]]
framework = "MITRE ATT&CK"
[rule.threat.tactic]
id = "TA0011"
name = "Command and Control"
reference = "https://attack.mitre.org/tactics/TA0011/"
[[rule.threat.technique]]
id = "T1071"
name = "Application Layer Protocol"
[[rule.threat.technique.subtechnique]]
id = "T1071.001"
name = "Web Protocols"
[[tests]]
name = "a case"
expect = 1
contains = ["x"]
events = '''
{}
'''
"#,
    ));
    let Plan::NewTerms(terms) = &rule.plan else { panic!("{rule:?}") };
    assert_eq!(terms.window, Span::from_secs(10 * 86_400));
    assert_eq!(rule.severity_mapping[0].severity, Severity::High);
    let context = &rule.contexts[0];
    assert_eq!((context.before, context.after), (Span::from_secs(60), Span::from_secs(7200)));
    assert_eq!(context.raise_severity, Some(Severity::High));
    assert!(context.is_circumstantial);
    assert_eq!(rule.exceptions[0].expires, Some(jiff::civil::date(2026, 12, 31)));
    let suppression = rule.suppression.as_ref().expect("suppression");
    assert_eq!(suppression.duration, Some(Span::from_secs(6 * 3600)));
    assert!(!suppression.folds_missing);
    assert_eq!(rule.threat[0].techniques[0].subtechniques[0].id, "T1071.001");
    assert_eq!((rule.cases[0].expect, rule.cases[0].events.as_str()), (1, "{}\n"));
    assert_eq!(rule.hash.len(), 64);
}

#[test]
fn a_fault_inside_the_query_is_marked_in_the_file() {
    check(
        &with("type = \"query\"\nquery = '''\nevent.action:exec\n  and proces.name:aws\n'''\n"),
        expect![[r#"
            error[GT101]: no field is called "proces.name"
             --> a.toml:9:7
              |
            9 |   and proces.name:aws
              |       ^^^^^^^^^^^ not in the field table
              |
              = help: did you mean "process.name"?"#]],
    );
}

#[test]
fn every_fault_of_a_file_is_reported() {
    check(
        r#"[rule]
name = "a rule"
severity = "hihg"
risk_scor = 47
type = "query"
language = "kuery"
from = "9m"
query = "proces.name:\"aws\""
[[rule.context]]
name = "calls"
link = ["groundtrail.link.instanceid"]
query = 'event.action:*'
befor = "1m"
"#,
        expect![[r#"
            error[GT503]: [rule] needs "rule_id"
             --> a.toml:1:1
              |
            1 | [rule]
              | ^^^^^^

            error[GT503]: [rule] needs "risk_score"
             --> a.toml:1:1
              |
            1 | [rule]
              | ^^^^^^

            error[GT505]: "hihg" is no severity
             --> a.toml:3:12
              |
            3 | severity = "hihg"
              |            ^^^^^^
              |
              = help: one of low, medium, high, critical

            error[GT502]: "risk_scor" is no key of [rule]
             --> a.toml:4:1
              |
            4 | risk_scor = 47
              | ^^^^^^^^^
              |
              = help: did you mean "risk_score"?

            error[GT205]: "9m" is no length of time
             --> a.toml:7:8
              |
            7 | from = "9m"
              |        ^^^^
              |
              = help: write now- and a number with its unit: now-9m, now-10d

            error[GT101]: no field is called "proces.name"
             --> a.toml:8:10
              |
            8 | query = "proces.name:\"aws\""
              |          ^^^^^^^^^^^ not in the field table
              |
              = help: did you mean "process.name"?

            error[GT101]: no field is called "groundtrail.link.instanceid"
              --> a.toml:11:9
               |
            11 | link = ["groundtrail.link.instanceid"]
               |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: did you mean "groundtrail.link.instance_id"?

            error[GT502]: "befor" is no key of [rule.context]
              --> a.toml:13:1
               |
            13 | befor = "1m"
               | ^^^^^
               |
               = help: did you mean "before"?"#]],
    );
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    check(
        "[rule]\nname = \"a\nb\"\n",
        expect![[r#"
        error[GT501]: invalid basic string, expected `"`
         --> a.toml:2:10
          |
        2 | name = "a
          |          ^

        error[GT501]: invalid unquoted key, expected letters, numbers, `-`, `_`
         --> a.toml:3:2
          |
        3 | b"
          |  ^

        error[GT501]: key with no value, expected `=`
         --> a.toml:3:3
          |
        3 | b"
          |   ^"#]],
    );
}

#[test]
fn what_is_not_run_says_what_is() {
    check(
        &with("type = \"machine_learning\"\nmachine_learning_job_id = \"x\"\n"),
        expect![[r#"
        error[GT506]: rules of type "machine_learning" are not run here
         --> a.toml:6:8
          |
        6 | type = "machine_learning"
          |        ^^^^^^^^^^^^^^^^^^
          |
          = help: types that run: query, eql, esql, threshold, new_terms"#]],
    );
    check(
        &with("type = \"query\"\nlanguage = \"lucene\"\nquery = \"a:b\"\n"),
        expect![[r#"
        error[GT506]: a rule of type "query" in "lucene" is not run here
         --> a.toml:7:12
          |
        7 | language = "lucene"
          |            ^^^^^^^^
          |
          = help: write the query in "kuery""#]],
    );
}
