//! What alerts have in common, as a query that takes their events and as few others as can be. Pure: alerts in, fields out.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::alert::view::{at, list, scalar, text};

/// Of each group the first field that all events have says who, or with what, or whither.
const GROUPS: &[&[&str]] = &[
    &[
        "aws.cloudtrail.user_identity.session_context.session_issuer.arn",
        "aws.cloudtrail.user_identity.arn",
        "user.name",
        "user.id",
    ],
    &["process.executable"],
    &["process.name"],
    &["process.parent.executable"],
    &["groundtrail.endpoint.domain", "destination.domain", "destination.ip"],
    &["file.path"],
    &["source.ip"],
];
/// What makes it narrower still, where else it would take alerts that shall stay.
const NARROWER: &[&str] = &[
    "process.command_line",
    "process.parent.command_line",
    "event.action",
    "host.name",
    "user_agent.original",
    "cloud.account.id",
    "cloud.region",
];
/// More values of one field than this are no habit.
const MAX_VALUES: usize = 5;
const MAX_LENGTH: usize = 512;
/// Events that stand in the overlay for what it is meant to take.
const MAX_EXAMPLES: usize = 3;

/// A field, and the values it has in all the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) field: String,
    pub(crate) values: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) parts: Vec<Part>,
    /// Documents with as much of an event as the query asks for.
    pub(crate) takes: Vec<Value>,
}

impl Proposal {
    /// As KQL.
    pub(crate) fn query(&self) -> String {
        let quote = |value: &String| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let part = |part: &Part| {
            let values: Vec<String> = part.values.iter().map(quote).collect();
            match &values[..] {
                [value] => format!("{}:{value}", part.field),
                several => format!("{}:({})", part.field, several.join(" or ")),
            }
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join(" and ")
    }
}

/// What takes all of `alerts` and, where that can be had, none of `others`. `on` names the fields, where somebody knows better.
/// None: no field has few enough values in all of them.
pub(crate) fn propose(alerts: &[&Value], others: &[&Value], on: &[String]) -> Option<Proposal> {
    let stages: BTreeSet<&str> =
        alerts.iter().flat_map(|alert| events(alert)).map(|(stage, _)| stage).collect();
    // One event less is enough: a sequence without one of its steps is none.
    let proposals = stages.into_iter().filter_map(|stage| of_stage(stage, alerts, others, on));
    proposals.max_by_key(|proposal| proposal.parts.len())
}

fn of_stage(stage: &str, alerts: &[&Value], others: &[&Value], on: &[String]) -> Option<Proposal> {
    let mut all = Vec::new();
    for alert in alerts {
        let n_before = all.len();
        all.extend(events(alert).filter(|(of, _)| *of == stage).map(|(_, event)| event));
        if all.len() == n_before {
            return None;
        }
    }
    let mut parts: Vec<Part> = match on.is_empty() {
        true => GROUPS.iter().filter_map(|group| group.iter().find_map(|field| part(field, &all))).collect(),
        false => on.iter().map(|field| part(field, &all)).collect::<Option<_>>()?,
    };
    if on.is_empty() {
        for field in NARROWER {
            if !others.iter().any(|alert| is_taken(alert, &parts)) && !parts.is_empty() {
                break;
            }
            parts.extend(part(field, &all));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let mut takes: Vec<Value> = Vec::new();
    for event in all {
        let example = example(event, &parts);
        if takes.len() < MAX_EXAMPLES && !takes.contains(&example) {
            takes.push(example);
        }
    }
    Some(Proposal { parts, takes })
}

/// The events that made an alert fire, by stage.
fn events(alert: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let evidence = list(alert, "groundtrail.alert.evidence").iter();
    evidence.filter_map(|item| Some((text(item, "stage").unwrap_or_default(), item.get("event")?)))
}

fn part(field: &str, events: &[&Value]) -> Option<Part> {
    let values: Option<BTreeSet<String>> = events
        .iter()
        .map(|event| {
            let is_plain = at(event, field).is_some_and(|value| value.is_string() || value.is_number());
            let value = scalar(event, field).filter(|_| is_plain)?;
            (value.len() <= MAX_LENGTH && !value.chars().any(char::is_control)).then_some(value)
        })
        .collect();
    let values = values.filter(|values| (1..=MAX_VALUES).contains(&values.len()))?;
    Some(Part { field: field.to_owned(), values })
}

/// Whether some event of the alert has one of the values of each part.
fn is_taken(alert: &Value, parts: &[Part]) -> bool {
    let has = |event: &Value, part: &Part| {
        scalar(event, &part.field).is_some_and(|value| part.values.contains(&value))
    };
    events(alert).any(|(_, event)| parts.iter().all(|part| has(event, part)))
}

fn example(event: &Value, parts: &[Part]) -> Value {
    let mut example = json!({});
    for part in parts {
        let Some(value) = at(event, &part.field) else { continue };
        let mut place = &mut example;
        for key in part.field.split('.') {
            place = &mut place[key];
        }
        *place = value.clone();
    }
    example
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(events: &[(&str, Value)]) -> Value {
        let evidence: Vec<Value> =
            events.iter().map(|(stage, event)| json!({"stage": stage, "event": event})).collect();
        json!({"groundtrail": {"alert": {"evidence": evidence}}})
    }

    fn process(user: &str, executable: &str, line: &str) -> Value {
        alert(&[(
            "match",
            json!({"user": {"name": user}, "process": {"executable": executable, "command_line": line}}),
        )])
    }

    #[track_caller]
    fn check(alerts: &[Value], others: &[Value], on: &[&str], expect: Option<&str>) {
        let on: Vec<String> = on.iter().map(|field| (*field).to_owned()).collect();
        let (alerts, others): (Vec<&Value>, Vec<&Value>) = (alerts.iter().collect(), others.iter().collect());
        let query = propose(&alerts, &others, &on).map(|proposal| proposal.query());
        assert_eq!(query.as_deref(), expect);
    }

    #[test]
    fn what_all_alerts_share_is_asked_for() {
        let two =
            [process("backup", "/usr/bin/curl", "curl a"), process("backup", "/usr/bin/wget", "wget b")];
        check(
            &two,
            &[],
            &[],
            Some("user.name:\"backup\" and process.executable:(\"/usr/bin/curl\" or \"/usr/bin/wget\")"),
        );
        check(&two, &[], &["user.name"], Some("user.name:\"backup\""));
        check(&two, &[], &["file.path"], None);
        check(&[alert(&[("match", json!({"user": {"name": ["a", "b"]}}))])], &[], &[], None);
    }

    #[test]
    fn it_is_made_narrower_until_the_others_stay() {
        let others = [process("backup", "/usr/bin/curl", "curl evil")];
        check(
            &[process("backup", "/usr/bin/curl", "curl a")],
            &others,
            &[],
            Some(
                "user.name:\"backup\" and process.executable:\"/usr/bin/curl\" and process.command_line:\"curl a\"",
            ),
        );
    }

    #[test]
    fn a_habit_has_few_values() {
        let many: Vec<Value> =
            (0..6).map(|n| process(&format!("user{n}"), "/usr/bin/curl", "curl")).collect();
        check(&many, &[], &[], Some("process.executable:\"/usr/bin/curl\""));
    }

    #[test]
    fn of_a_sequence_one_step_is_enough() {
        let both = alert(&[
            ("0", json!({"cloud": {"region": "x"}})),
            ("1", json!({"user": {"name": "backup"}, "process": {"executable": "/bin/sh"}})),
        ]);
        check(&[both], &[], &[], Some("user.name:\"backup\" and process.executable:\"/bin/sh\""));
    }

    #[test]
    fn values_are_quoted_as_they_are_and_compile() {
        let hostile = [r#"a" or user.name:*"#, r"C:\x\", "*", "a:b (c)", "{}", "not x", "漢字"];
        for user in hostile {
            let alert = process(user, "/bin/sh", "x");
            let proposal = propose(&[&alert], &[], &["user.name".to_owned()]).unwrap();
            let mut schema = rules::schema::Schema::builtin();
            let query = proposal.query();
            let compiled = rules::kql::compile(&query, &mut schema).unwrap_or_else(|_| panic!("{query}"));
            for (name, expect) in [(user, true), ("root", false)] {
                let mut event = rules::event::Event::new("1", rules::event::EventTime(0), "");
                event.push(schema.id("user.name").unwrap(), rules::event::Value::str(name));
                assert_eq!(rules::eval::matches(&compiled.plan, &event), expect, "{query} and {name}");
            }
        }
        check(&[process("a\nb", "/bin/sh", "x")], &[], &["user.name"], None);
    }

    #[test]
    fn an_example_holds_what_the_query_asks_for() {
        let alert = process("backup", "/bin/sh", "sh -c secret");
        let proposal = propose(&[&alert], &[], &[]).unwrap();
        assert_eq!(
            proposal.takes,
            [json!({"user": {"name": "backup"}, "process": {"executable": "/bin/sh"}})]
        );
    }
}
