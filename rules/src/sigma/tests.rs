use std::path::Path;

use super::*;
use crate::diagnostic::Severity;
use crate::event::Event;
use crate::plan::Plan;
use crate::{eval, testing};

struct Loaded {
    rules: Vec<Rule<Expr>>,
    found: Vec<Diagnostic>,
    schema: Schema,
}

fn load(text: &str, options: &Options) -> Loaded {
    let mut schema = Schema::builtin();
    let mut library = Library::default();
    let mut found: Vec<Diagnostic> = library
        .add(Path::new("a.yml"), text, false)
        .into_iter()
        .flatten()
        .map(|finding| finding.diagnostic)
        .collect();
    let (rules, more) = library.finish(options, &mut schema);
    found.extend(more.into_iter().flat_map(|(_, findings)| findings).map(|finding| finding.diagnostic));
    for diagnostic in &found {
        assert!(text.get(diagnostic.span.clone()).is_some(), "{diagnostic:?}");
    }
    Loaded { rules, found, schema }
}

fn raw() -> Options {
    Options { is_raw: true, ..Options::default() }
}

fn holds(rule: &Rule<Expr>, event: &Event) -> bool {
    let Plan::Query(expr) = &rule.plan else { panic!("one event decides") };
    eval::matches(expr, event)
}

const RAW: &str = "title: t\nlogsource: {product: any}\ndetection:\n";

/// Ids of the events, flat JSON with Sigma's names, that a `detection` picks.
fn check(detection: &str, events: &str, expect: &[&str]) {
    let text = format!("{RAW}{detection}");
    let mut loaded = load(&text, &raw());
    assert_eq!(loaded.found, Vec::new(), "{detection}");
    for line in events.lines() {
        let json: serde_json::Value = serde_json::from_str(line.trim()).unwrap_or(serde_json::Value::Null);
        json.as_object().into_iter().flatten().for_each(|(name, _)| {
            loaded.schema.open(name);
        });
    }
    let events = testing::events(events, &mut loaded.schema);
    let picked: Vec<&str> =
        events.iter().filter(|event| holds(&loaded.rules[0], event)).map(|event| &*event.id).collect();
    assert_eq!(picked, expect, "{detection}");
}

const EVENTS: &str = r#"{"id": "1", "Image": "/usr/bin/Curl", "CommandLine": "curl -O http://x"}
{"id": "2", "Image": "/bin/bash", "CommandLine": "bash -c id", "Pid": 7}
{"id": "3", "Image": "/bin/bash", "CommandLine": "", "User": "root", "Other": "ROOT"}"#;

#[test]
fn maps_are_all_and_lists_are_any() {
    check("  s: {Image: /usr/bin/curl}\n  condition: s\n", EVENTS, &["1"]);
    check("  s: {Image: [/usr/bin/curl, /bin/bash]}\n  condition: s\n", EVENTS, &["1", "2", "3"]);
    check("  s: {Image: /bin/bash, CommandLine|contains: ' ID'}\n  condition: s\n", EVENTS, &["2"]);
    check("  s:\n    - Image|endswith: /curl\n    - User: root\n  condition: s\n", EVENTS, &["1", "3"]);
    check("  s: {CommandLine|contains|all: [curl, http]}\n  condition: s\n", EVENTS, &["1"]);
    check("  s: {CommandLine|contains|all: [curl, bash]}\n  condition: s\n", EVENTS, &[]);
    check("  s: {Image|endswith|cased: Curl}\n  condition: s\n", EVENTS, &["1"]);
    check("  s: {Image|endswith|cased: curl}\n  condition: s\n", EVENTS, &[]);
}

#[test]
fn null_empty_and_missing_are_three_things() {
    check("  s: {CommandLine: ''}\n  condition: s\n", EVENTS, &["3"]);
    check("  s: {User: null}\n  condition: s\n", EVENTS, &["1", "2"]);
    check("  s: {User|exists: true}\n  condition: s\n", EVENTS, &["3"]);
    check("  s: {User|exists: false}\n  condition: s\n", EVENTS, &["1", "2"]);
    check("  s: {User: [null, root]}\n  condition: s\n", EVENTS, &["1", "2", "3"]);
    check("  s: {User|neq: nobody}\n  condition: s\n", EVENTS, &["1", "2", "3"]);
    check("  s: {User: root}\n  condition: not s\n", EVENTS, &["1", "2"]);
    check("  s: {CommandLine: '*'}\n  condition: s\n", EVENTS, &["1", "2", "3"]);
    check("  s: {CommandLine: '?*'}\n  condition: s\n", EVENTS, &["1", "2"]);
}

#[test]
fn numbers_compare_as_numbers_and_as_text() {
    check("  s: {Pid: 7}\n  condition: s\n", EVENTS, &["2"]);
    check("  s: {Pid: '7'}\n  condition: s\n", EVENTS, &["2"]);
    check("  s: {Pid|gt: 6.5}\n  condition: s\n", EVENTS, &["2"]);
    check("  s: {Pid|lte: 6}\n  condition: s\n", EVENTS, &[]);
}

#[test]
fn a_field_may_be_compared_with_another() {
    check("  s: {User|fieldref: Other}\n  condition: s\n", EVENTS, &["3"]);
    check("  s: {User|fieldref|cased: Other}\n  condition: s\n", EVENTS, &[]);
    check("  s: {Image|fieldref|endswith: User}\n  condition: s\n", EVENTS, &[]);
}

#[test]
fn selections_are_chosen_by_pattern() {
    let selections =
        "  sel_a: {Image|endswith: curl}\n  sel_b: {Image|endswith: bash}\n  _hidden: {Pid: 7}\n";
    for (condition, expect) in [
        ("1 of sel_*", &["1", "2", "3"][..]),
        ("all of sel_*", &[]),
        ("1 of them and not _hidden", &["1", "3"]),
        ("sel_b and _hidden", &["2"]),
        ("1 of *hidden", &["2"]),
        ("2 of *", &["2"]),
    ] {
        check(&format!("{selections}  condition: {condition}\n"), EVENTS, expect);
    }
    check(&format!("{selections}  condition:\n    - sel_a\n    - _hidden\n"), EVENTS, &["1", "2"]);
}

#[test]
fn parts_of_a_time_are_of_utc() {
    let events = "{\"id\": \"1\", \"At\": \"2026-11-21T22:30:00Z\"}\n{\"id\": \"2\", \"At\": \"noon\"}";
    check("  s: {At|hour|gte: 22}\n  condition: s\n", events, &["1"]);
    check("  s: {At|month: 11}\n  condition: s\n", events, &["1"]);
    check("  s: {At|minute: 31}\n  condition: s\n", events, &[]);
}

#[test]
fn a_networks_addresses_and_expressions_are_found() {
    let events = "{\"id\": \"1\", \"Ip\": \"10.1.2.3\"}\n{\"id\": \"2\", \"Ip\": \"fe80::1\"}\n{\"id\": \"3\", \"Ip\": \"x\"}";
    check("  s: {Ip|cidr: [10.0.0.0/8, fe80::/10]}\n  condition: s\n", events, &["1", "2"]);
    check("  s: {Ip|re: '^(10|fe80)'}\n  condition: s\n", events, &["1", "2"]);
}

const LINUX: &str = "title: t\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: linux, category: process_creation}\ndetection:\n";

const HOST: &str = r#"{"id": "exec", "event.category": "process", "event.type": "start", "event.action": "exec", "host.os.type": "linux", "process.executable": "/usr/bin/curl", "process.args": ["curl", "-o", "x"], "process.command_line": "curl -o x"}
{"id": "exit", "event.category": "process", "event.type": "end", "event.action": "end", "host.os.type": "linux", "process.executable": "/usr/bin/curl", "process.args": ["curl", "-o", "x"]}
{"id": "out", "event.category": "network", "event.type": "start", "event.action": "connection_attempted", "process.executable": "/usr/bin/curl", "destination.ip": "::ffff:10.0.0.1", "destination.port": 443}
{"id": "in", "event.category": "network", "event.type": "start", "event.action": "connection_accepted", "destination.port": 22}
{"id": "file", "event.category": "file", "event.type": "creation", "event.action": "creation", "file.path": "/etc/cron.d/x"}
{"id": "aws", "data_stream.dataset": "aws.cloudtrail", "event.action": "ListBuckets", "event.provider": "s3.amazonaws.com", "aws.cloudtrail.flattened.request_parameters.enable": "true"}"#;

/// Ids of ECS events that a rule of a log source picks.
fn mapped(logsource: &str, detection: &str, expect: &[&str]) {
    let text = format!("title: t\nlogsource: {{{logsource}}}\ndetection:\n{detection}");
    let mut loaded = load(&text, &Options::default());
    assert_eq!(loaded.rules.len(), 1, "{text}: {:?}", loaded.found);
    let events = testing::events(HOST, &mut loaded.schema);
    let picked: Vec<&str> =
        events.iter().filter(|event| holds(&loaded.rules[0], event)).map(|event| &*event.id).collect();
    assert_eq!(picked, expect, "{logsource}: {detection}");
}

#[test]
fn log_sources_and_fields_are_ours() {
    let exec = "product: linux, category: process_creation";
    mapped(exec, "  s: {Image|endswith: /CURL}\n  condition: s\n", &["exec"]);
    mapped("category: process_creation", "  s: {Image|endswith: /curl}\n  condition: s\n", &["exec"]);
    mapped(exec, "  s: {process.executable|endswith: /curl}\n  condition: s\n", &["exec"]);
    mapped(exec, "  s: [' -o ']\n  condition: s\n", &["exec"]);
    let network = "product: linux, category: network_connection";
    mapped(network, "  s: {Image|endswith: /curl, DestinationPort: 443}\n  condition: s\n", &["out"]);
    mapped(network, "  s: {DestinationIp: 10.0.0.1}\n  condition: s\n", &["out"]);
    mapped(network, "  s: {DestinationIp|startswith: '::ffff:10.'}\n  condition: s\n", &["out"]);
    mapped(network, "  s: {Initiated: 'true'}\n  condition: s\n", &["out"]);
    mapped(network, "  s: {Initiated: false}\n  condition: s\n", &["in"]);
    mapped(
        "product: linux, category: file_event",
        "  s: {TargetFilename|startswith: /etc/}\n  condition: s\n",
        &["file"],
    );
    let aws = "product: aws, service: cloudtrail";
    mapped(
        aws,
        "  s: {eventSource: s3.amazonaws.com, eventName|startswith: list}\n  condition: s\n",
        &["aws"],
    );
    mapped(aws, "  s: {requestParameters.enable: true}\n  condition: s\n", &["aws"]);
    mapped(aws, "  s: ['S3.amazon']\n  condition: s\n", &["aws"]);
}

#[test]
fn audit_records_of_an_exec_are_its_arguments() {
    let auditd = "product: linux, service: auditd";
    mapped(auditd, "  s: {type: EXECVE, a0: Curl, a1: '-o'}\n  condition: s\n", &["exec"]);
    mapped(auditd, "  s: {type: execve, a1: curl}\n  condition: s\n", &[]);
    mapped(
        auditd,
        "  s: {type: EXECVE, a1|startswith: '-', a2|exists: true, a3: null}\n  condition: s\n",
        &["exec"],
    );
    mapped(auditd, "  s: {type: PATH, name|endswith: /x, nametype: CREATE}\n  condition: s\n", &["file"]);
    mapped(auditd, "  t: {type: EXECVE}\n  w: {'|all': [curl, '-o']}\n  condition: t and w\n", &["exec"]);
}

fn codes(text: &str) -> Vec<(&'static str, Severity, String)> {
    let loaded = load(text, &Options::default());
    let place = |found: &Diagnostic| text.get(found.span.clone()).unwrap_or_default().to_owned();
    loaded.found.iter().map(|found| (found.code.as_str(), found.severity, place(found))).collect()
}

#[test]
fn what_cannot_fire_here_is_said_and_no_error() {
    let windows = "title: t\nlogsource:\n  product: windows\n  category: process_creation\ndetection:\n  s: {Image: x}\n  condition: s\n";
    let found = codes(windows);
    assert_eq!((found[0].0, found[0].1), ("GT706", Severity::Note));
    let field = format!("{LINUX}  s: {{Hashes|contains: x, Image: y}}\n  condition: s\n");
    let found = codes(&field);
    assert_eq!(found[0], ("GT707", Severity::Note, "Hashes".to_owned()));
    assert!(load(&field, &Options::default()).rules.is_empty());
    let partly = format!("{LINUX}  s: {{Image: y}}\n  f: {{Hashes: x}}\n  condition: s and not f\n");
    assert_eq!(load(&partly, &Options::default()).rules.len(), 1);
    let slip =
        load(&format!("{LINUX}  s: {{CommandLin: y, Image: x}}\n  condition: s\n"), &Options::default());
    assert_eq!(slip.found[0].help.as_deref(), Some("did you mean \"CommandLine\"?"));
    let syslog =
        "title: t\nlogsource: {product: linux, service: sshd}\ndetection:\n  s: [x]\n  condition: s\n";
    let loaded = load(syslog, &Options::default());
    assert_eq!((loaded.rules.len(), loaded.found[0].code), (1, Code::NoSource));
}

#[test]
fn faults_are_marked_where_they_stand() {
    for (detection, code, place) in [
        ("  s: {Image|endswtih: x}\n  condition: s\n", "GT702", "endswtih"),
        ("  s: {'Image|endswtih': x}\n  condition: s\n", "GT702", "endswtih"),
        ("  s: {Image: x}\n  condition: s and filterr\n", "GT704", "filterr"),
        ("  s: {Image: x}\n  condition: '1 of filter_*'\n", "GT704", "1 of filter_*"),
        ("  s: {Image: x}\n  condition: s and (\n", "GT705", ""),
        ("  s: {Image: []}\n  condition: s\n", "GT504", "[]"),
        ("  s: {Image|re: '('}\n  condition: s\n", "GT105", "'('"),
        ("  s: {Image: x}\n", "GT503", "s"),
        ("  s: {Image: x}\n  condition: s | count() > 5\n", "GT506", "|"),
    ] {
        let text = format!("{LINUX}{detection}");
        let found = codes(&text);
        assert_eq!(
            found.first().map(|found| (found.0, found.2.as_str())),
            Some((code, place)),
            "{detection}"
        );
        assert!(load(&text, &Options::default()).rules.is_empty());
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let found = codes(&format!("{LINUX}  a: {{Image|foo: x}}\n  b: {{Image|bar: x}}\n  condition: a or c\n"));
    assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), ["GT702", "GT702", "GT704"]);
}

#[test]
fn a_rule_says_what_it_is() {
    let text = "title: T\nid: 11111111-1111-4111-8111-111111111111\nlevel: high\nstatus: test\ntags:\n  - attack.execution\n  - attack.t1059.004\n  - cve.2021-1\ndescription: d\nlogsource: {product: linux, category: process_creation}\ndetection: {s: {Image: x}, condition: s}\ntests:\n  - name: one\n    expect: 1\n    events: '{}'\n";
    let loaded = load(text, &Options::default());
    assert_eq!(loaded.found, Vec::new());
    let rule = &loaded.rules[0];
    assert_eq!((rule.id.as_str(), rule.risk_score), ("11111111-1111-4111-8111-111111111111", 73));
    assert_eq!(rule.threat[0].tactic.id, "TA0002");
    assert_eq!(rule.threat[0].techniques[0].subtechniques[0].id, "T1059.004");
    assert_eq!((rule.cases.len(), rule.cases[0].expect), (1, 1));
    let nameless = text.replace("id: 11111111-1111-4111-8111-111111111111\n", "");
    let id = |text: &str| load(text, &Options::default()).rules[0].id.clone();
    assert_eq!(id(&nameless), id(&nameless));
    assert_eq!(id(&nameless).len(), 36);
}

#[test]
fn retired_rules_do_not_load() {
    let text = format!("{LINUX}  s: {{Image: x}}\n  condition: s\nstatus: deprecated\n");
    let loaded = load(&text, &Options::default());
    assert_eq!(
        (loaded.rules.len(), loaded.found[0].code, loaded.found[0].severity),
        (0, Code::NotReleased, Severity::Note)
    );
}

#[test]
fn filters_narrow_the_rules_they_name() {
    let rule = format!("{LINUX}  s: {{Image|endswith: curl}}\n  condition: s\n");
    let filter = |rules: &str, source: &str| {
        format!(
            "{rule}---\ntitle: f\nlogsource: {{{source}}}\nfilter:\n  rules: {rules}\n  ours: {{CommandLine|contains: ' -o '}}\n  condition: not ours\n"
        )
    };
    let picked = |text: &str| {
        let mut loaded = load(text, &Options::default());
        let events = testing::events(HOST, &mut loaded.schema);
        events.iter().filter(|event| holds(&loaded.rules[0], event)).count()
    };
    assert_eq!(picked(&rule), 1);
    assert_eq!(picked(&filter("['11111111-1111-4111-8111-111111111111']", "product: linux")), 0);
    assert_eq!(picked(&filter("any", "product: linux")), 0);
    assert_eq!(picked(&filter("any", "product: linux, service: auditd")), 1);
    let loaded = load(&filter("[nobody]", "product: linux"), &Options::default());
    assert_eq!(loaded.found.last().map(|found| found.code), Some(Code::UnknownRule));
    let broken = filter("any", "product: linux").replace("contains", "containz");
    assert_eq!(load(&broken, &Options::default()).found[0].code, Code::UnknownModifier);
}

#[test]
fn a_filter_that_leaves_nothing_out_is_warned_of_and_takes_nothing_away() {
    let rule = format!("{LINUX}  s: {{Image|endswith: curl}}\n  condition: s\n");
    for condition in ["not ours", "ours"] {
        let filter = format!(
            "---\ntitle: f\nfilter:\n  rules: any\n  ours: {{Usr: root}}\n  condition: {condition}\n"
        );
        let mut loaded = load(&format!("{rule}{filter}"), &Options::default());
        let told: Vec<_> = loaded.found.iter().map(|found| (found.code, found.severity)).collect();
        assert_eq!(told, [(Code::NoField, Severity::Warning)], "{condition}");
        let events = testing::events(HOST, &mut loaded.schema);
        assert_eq!(events.iter().filter(|event| holds(&loaded.rules[0], event)).count(), 1, "{condition}");
    }
}

#[test]
fn numbers_among_words_are_looked_for_inside_texts() {
    for value in ["4444", "'4444'"] {
        let text = format!("{LINUX}  words: [{value}]\n  condition: words\n");
        let mut loaded = load(&text, &Options::default());
        let line = HOST.lines().next().unwrap().replace("curl -o x", "nc -l 4444 -e sh");
        let events = testing::events(&line, &mut loaded.schema);
        assert!(holds(&loaded.rules[0], &events[0]), "{value}");
    }
}

#[test]
fn placeholders_come_from_the_deployment() {
    let text = format!("{LINUX}  s: {{User|expand: '%Admins%'}}\n  condition: s\n");
    let loaded = load(&text, &Options::default());
    assert_eq!(
        (loaded.rules.len(), loaded.found[0].code, loaded.found[0].severity),
        (0, Code::NoPlaceholder, Severity::Note)
    );
    let placeholders = BTreeMap::from([("Admins".to_owned(), vec!["root".to_owned()])]);
    assert_eq!(load(&text, &Options { placeholders, is_raw: false }).rules.len(), 1);
}

#[test]
fn other_yaml_is_no_rule() {
    for text in ["a: 1\n", "- a\n", "just text", "", "services: {web: {image: x}}\n", "a: 1\na: 2\n"] {
        let loaded = load(text, &Options::default());
        assert_eq!((loaded.rules.len(), loaded.found.len()), (0, 0), "{text}");
    }
}

#[test]
fn a_condition_cannot_blow_a_rule_up() {
    let values = vec!["x"; 1_000].join(", ");
    let names = vec!["s"; 1_000].join(" and not ");
    let text = format!("{LINUX}  s: {{Image|contains: [{values}]}}\n  condition: {names}\n");
    assert_eq!(load(&text, &Options::default()).found[0].code, Code::TooLong);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_detection_compiles_or_says_why(
            key in "(Image|a0|type|Initiated|x|)(\\|(contains|all|re|cidr|gt|exists|wide|base64offset|windash|expand|fieldref|hour|neq|foo)){0,3}",
            value in "(\\[|)('[*?\\\\%a./-]{0,6}'|null|true|-?[0-9]{1,3}|)(\\]|)",
            condition in "(s|not s|1 of s\\*|all of them|s and t|\\(s)",
        ) {
            let text = format!("{LINUX}  s:\n    '{key}': {value}\n  condition: {condition}\n");
            load(&text, &Options::default());
            load(&text, &raw());
        }
    }
}

mod correlations {
    use super::*;
    use crate::event::Span;
    use crate::plan::correlation::{Correlation, Measure, Member};

    const RULES: &str = "title: A\nid: aaaaaaaa-0000-4000-8000-000000000000\nname: execs\nlogsource: {product: linux, category: process_creation}\ndetection: {s: {Image|endswith: /curl}, condition: s}\n---\ntitle: B\nname: calls\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: ListBuckets}, condition: s}\n---\n";

    fn planned(text: &str) -> (Correlation<Expr>, Loaded) {
        let loaded = load(&format!("{RULES}{text}"), &Options::default());
        let mut correlations = loaded.rules.iter().filter_map(|rule| match &rule.plan {
            Plan::Correlation(correlation) => Some(correlation.clone()),
            _ => None,
        });
        let correlation = correlations.next_back().unwrap_or_else(|| panic!("{text}: {:?}", loaded.found));
        (correlation, loaded)
    }

    fn correlation(body: &str) -> String {
        format!("title: C\nid: cccccccc-0000-4000-8000-000000000000\ncorrelation: {{{body}}}\n")
    }

    #[test]
    fn rules_are_named_by_id_or_name_and_fall_silent() {
        let body = "type: event_count, rules: [execs], group-by: [User, Computer], timespan: 10m, condition: {gte: 5}";
        let (plan, loaded) = planned(&correlation(body));
        assert_eq!(loaded.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["B", "C"]);
        assert_eq!(plan.nodes[0].measure, Measure::EventCount);
        assert_eq!(plan.span(), Span::from_secs(600));
        let paths: Vec<_> =
            plan.leaves[0].fields.iter().map(|ids| loaded.schema.field(ids[0]).path.to_string()).collect();
        assert_eq!(paths, ["user.name", "host.name"]);
        assert_eq!(plan.leaves[0].key, [0, 1]);
        let by_id = body
            .replace("execs", "aaaaaaaa-0000-4000-8000-000000000000, calls")
            .replace("User, Computer", "event.id");
        assert_eq!(planned(&correlation(&by_id)).0.leaves.len(), 2);
        let loud = correlation(&format!("{body}, generate: true"));
        assert_eq!(planned(&loud).1.rules.len(), 3);
    }

    #[test]
    fn a_rule_behind_a_correlation_that_does_not_run_is_told_of() {
        let body = "type: temporal, rules: [execs, calls, typo], timespan: 1h";
        let loaded = load(&format!("{RULES}{}", correlation(body)), &Options::default());
        let told: Vec<_> = loaded.found.iter().map(|found| (found.code.as_str(), found.severity)).collect();
        assert_eq!(
            told,
            [("GT709", Severity::Error), ("GT709", Severity::Warning), ("GT709", Severity::Warning)]
        );
        assert!(loaded.rules.is_empty());
        // Another correlation that runs speaks for the first.
        let other = "---\ntitle: D\nname: many\ncorrelation: {type: event_count, rules: [execs], timespan: 10m, condition: {gte: 5}}\n";
        let loaded = load(&format!("{RULES}{}{other}", correlation(body)), &Options::default());
        assert_eq!(loaded.found.iter().filter(|found| found.severity == Severity::Warning).count(), 1);
    }

    #[test]
    fn a_group_may_be_in_more_than_one_place() {
        let body = "type: event_count, rules: [audit], group-by: [uid], timespan: 10m, condition: {gte: 5}";
        let rule = "title: A\nname: audit\nlogsource: {product: linux, service: auditd}\ndetection: {s: {type: SYSCALL}, condition: s}\n---\n";
        let (plan, loaded) = planned(&format!("{rule}{}", correlation(body)));
        let places = plan.leaves[0].fields[0].iter();
        let paths: Vec<_> = places.map(|id| loaded.schema.field(*id).path.to_string()).collect();
        assert_eq!(paths, ["process.real_user.id", "user.id"]);
    }

    #[test]
    fn aliases_join_fields_of_different_names() {
        let body = "type: temporal, rules: [execs, calls], group-by: [who], timespan: 1h, aliases: {who: {execs: User, calls: userIdentity.userName}}";
        let (plan, loaded) = planned(&correlation(body));
        let path = |leaf: usize| {
            loaded.schema.field(plan.leaves[leaf].fields[plan.leaves[leaf].key[0]][0]).path.to_string()
        };
        assert_eq!(
            (path(0), path(1)),
            ("user.name".to_owned(), "aws.cloudtrail.user_identity.user_name".to_owned())
        );
        assert!(plan.needs_each());
    }

    #[test]
    fn a_correlation_may_name_another() {
        let inner = "title: D\nname: many\ncorrelation: {type: event_count, rules: [execs], group-by: [Computer, User], timespan: 10m, condition: {gte: 5}}\n---\n";
        let outer = "type: temporal_ordered, rules: [many, execs], group-by: [User], timespan: 1h";
        let (plan, loaded) = planned(&format!("{inner}{}", correlation(outer)));
        assert_eq!(loaded.rules.len(), 2, "what it names falls silent");
        assert_eq!(plan.nodes[1].members, [Member::Node(0), Member::Leaf(1)]);
        assert_eq!(plan.span(), Span::from_secs(70 * 60));
        let key = |leaf: usize| {
            loaded.schema.field(plan.leaves[leaf].fields[plan.leaves[leaf].key[0]][0]).path.to_string()
        };
        assert_eq!((key(0), key(1)), ("user.name".to_owned(), "user.name".to_owned()));
        let coarser = inner.replace("Computer, User", "Computer");
        let coarser = planned(&format!("{coarser}{}", correlation(outer))).0;
        assert!(coarser.leaves.iter().all(|leaf| leaf.key.is_empty()));
    }

    /// Without what is said of the rules behind a correlation.
    fn own(found: &[Diagnostic]) -> Vec<&str> {
        let own = found.iter().filter(|found| found.severity != Severity::Warning);
        own.map(|found| found.code.as_str()).collect()
    }

    #[test]
    fn faults_are_said() {
        for (body, code) in [
            ("type: counting, rules: [execs], timespan: 1h, condition: {gte: 1}", "GT711"),
            ("type: event_count, rules: [execs], timespan: 1h", "GT711"),
            ("type: event_count, rules: [execs], timespan: 1h, condition: {over: 1}", "GT711"),
            ("type: event_count, rules: [execs], timespan: 1h, condition: {gte: many}", "GT711"),
            ("type: value_count, rules: [execs], timespan: 1h, condition: {gte: 1}", "GT711"),
            ("type: event_count, rules: [execs], timespan: 1h, condition: {gte: 1000001}", "GT711"),
            ("type: event_count, rules: [execs], timespan: soon, condition: {gte: 1}", "GT205"),
            ("type: event_count, rules: [execs], timespan: 400d, condition: {gte: 1}", "GT205"),
            ("type: event_count, rules: [execs], condition: {gte: 1}", "GT503"),
            ("type: event_count, rules: [nobody], timespan: 1h, condition: {gte: 1}", "GT709"),
            (
                "type: event_count, rules: [cccccccc-0000-4000-8000-000000000000], timespan: 1h, condition: {gte: 1}",
                "GT711",
            ),
            (
                "type: event_count, rules: [execs], group-by: [Hashes], timespan: 1h, condition: {gte: 1}",
                "GT707",
            ),
        ] {
            let loaded = load(&format!("{RULES}{}", correlation(body)), &Options::default());
            assert_eq!(own(&loaded.found), [code], "{body}");
            assert!(loaded.rules.iter().all(|rule| rule.name != "C"), "{body}");
        }
    }

    #[test]
    fn what_is_judged_at_the_end_of_its_window_is_no_event_of_another() {
        let inner = "title: D\nname: few\ncorrelation: {type: event_count, rules: [execs], timespan: 10m, condition: {lt: 5}}\n---\n";
        let outer = correlation("type: temporal, rules: [few, calls], timespan: 1h");
        let loaded = load(&format!("{RULES}{inner}{outer}"), &Options::default());
        assert_eq!(own(&loaded.found), [Code::UnsupportedRule.as_str()]);
    }
}

#[test]
fn picking_some_of_many_large_selections_is_refused_before_it_is_written_out() {
    let text = |n_values: usize| {
        let values: Vec<String> = (0..n_values).map(|n| format!("'*{n}*'")).collect();
        let selections: String =
            (0..16).map(|n| format!("  s{n}: {{CommandLine|contains: [{}]}}\n", values.join(", "))).collect();
        format!("{LINUX}{selections}  condition: 8 of s*\n")
    };
    assert_eq!(load(&text(800), &Options::default()).found[0].code, Code::TooLong);
    let small = load(&text(1), &Options::default());
    assert_eq!((small.rules.len(), small.found.len()), (1, 0));
}
