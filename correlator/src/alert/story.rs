//! The alert's sentence: who did what, where, and what the other side saw of it.

use std::fmt::Write as _;

use serde_json::Value;

use super::document::{Explained, at, text, texts};

/// Longer command lines are cut; the whole is in the evidence.
const MAX_COMMAND: usize = 160;
/// A sentence lists so many things of a kind.
const MAX_LISTED: usize = 3;

/// One sentence about the rule's events and what explains them.
pub(super) fn tell(rule_name: &str, evidence: &[&Value], contexts: &[Explained]) -> String {
    let mut story = rule_name.to_owned();
    let mut clauses = clauses(evidence);
    for context in contexts.iter().filter(|context| context.is_told) {
        let events: Vec<&Value> = context.events.iter().collect();
        for clause in self::clauses(&events) {
            if !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
    }
    for (idx, clause) in clauses.iter().enumerate() {
        story.push_str(if idx == 0 { ": " } else { "; " });
        story.push_str(clause);
    }
    story
}

/// What the events say, the cloud's half and the hosts' half apart.
fn clauses(events: &[&Value]) -> Vec<String> {
    let is_call = |event: &&&Value| dataset(event) == Some("aws.cloudtrail");
    let is_finding = |event: &&&Value| dataset(event) == Some("aws.guardduty");
    let is_flow = |event: &&&Value| dataset(event) == Some("aws.vpcflow");
    let is_process = |event: &&&Value| at(event, "process").is_some();
    let of =
        |keep: &dyn Fn(&&&Value) -> bool| -> Vec<&Value> { events.iter().filter(keep).copied().collect() };
    let clauses =
        [calls(&of(&is_call)), findings(&of(&is_finding)), flows(&of(&is_flow)), processes(&of(&is_process))];
    clauses.into_iter().flatten().collect()
}

fn dataset(event: &Value) -> Option<&str> {
    text(event, "event.dataset").or_else(|| text(event, "data_stream.dataset"))
}

/// `arn:…:user/mallory called ssm:SendCommand from 198.51.100.7`
fn calls(events: &[&Value]) -> Option<String> {
    let first = events.first()?;
    let mut names: Vec<String> = events.iter().filter_map(|event| call_name(event)).collect();
    names.dedup();
    let who = principal(first).unwrap_or("somebody");
    let mut clause = format!("{who} called {}", listed(&names));
    if let Some(address) = text(first, "source.address").or_else(|| text(first, "source.ip")) {
        let _ = write!(clause, " from {address}");
    }
    if let Some(account) = text(first, "cloud.account.id") {
        let _ = write!(clause, " in account {account}");
    }
    Some(clause)
}

fn call_name(event: &Value) -> Option<String> {
    let action = text(event, "event.action")?;
    let service =
        text(event, "event.provider").map(|provider| provider.split('.').next().unwrap_or(provider));
    let failure = if text(event, "event.outcome") == Some("failure") { " (failed)" } else { "" };
    Some(match service {
        Some(service) => format!("{service}:{action}{failure}"),
        None => format!("{action}{failure}"),
    })
}

fn principal(event: &Value) -> Option<&str> {
    ["aws.cloudtrail.user_identity.arn", "aws.cloudtrail.user_identity.invoked_by", "user.name", "user.id"]
        .into_iter()
        .find_map(|path| text(event, path))
}

fn findings(events: &[&Value]) -> Option<String> {
    let first = events.first()?;
    let title = ["rule.name", "aws.guardduty.title", "message", "event.action"]
        .into_iter()
        .find_map(|path| text(first, path))
        .unwrap_or("a finding");
    let place = text(first, "cloud.instance.id").map(|id| format!(" on {id}")).unwrap_or_default();
    Some(format!("GuardDuty found {}{place}", title.trim_end_matches('.')))
}

fn flows(events: &[&Value]) -> Option<String> {
    let first = events.first()?;
    let source = text(first, "source.ip").or_else(|| text(first, "source.address"))?;
    let destination = text(first, "destination.ip").or_else(|| text(first, "destination.address"))?;
    let port = scalar(first, "destination.port").map(|port| format!(":{port}")).unwrap_or_default();
    let list = text(first, "threat.indicator.provider")
        .map(|name| format!(", listed by {name}"))
        .unwrap_or_default();
    Some(format!("traffic from {source} to {destination}{port}{list}"))
}

/// `on web-1, root ran "curl http://…" which connected to 169.254.169.254:80`
fn processes(events: &[&Value]) -> Option<String> {
    let first = events.first()?;
    let mut commands: Vec<String> = Vec::new();
    let mut connections: Vec<String> = Vec::new();
    for event in events {
        let is_network = texts(event, "event.category").contains(&"network");
        if is_network {
            connections.extend(connection(event));
        } else {
            commands.extend(command(event));
        }
    }
    commands.dedup();
    connections.dedup();
    let host = ["host.name", "host.hostname", "cloud.instance.id", "host.id"]
        .into_iter()
        .find_map(|path| text(first, path));
    let mut clause = host.map(|host| format!("on {host}, ")).unwrap_or_default();
    let user = text(first, "user.name")
        .map(str::to_owned)
        .or_else(|| text(first, "user.id").map(|id| format!("user {id}")));
    match (commands.is_empty(), connections.is_empty()) {
        (true, true) => return None,
        (false, _) => {
            let _ = write!(clause, "{} ran {}", user.as_deref().unwrap_or("somebody"), listed(&commands));
            if !connections.is_empty() {
                let who = events.iter().find(|event| connection(event).is_some());
                let name = who.and_then(|event| text(event, "process.name")).unwrap_or("a process");
                let _ = write!(clause, " and {name} connected to {}", listed(&connections));
            }
        }
        (true, false) => {
            let name = text(first, "process.name").unwrap_or("a process");
            let user = user.map(|user| format!(" of {user}")).unwrap_or_default();
            let _ = write!(clause, "{name}{user} connected to {}", listed(&connections));
        }
    }
    Some(clause)
}

fn command(event: &Value) -> Option<String> {
    let line = ["process.command_line", "process.executable", "process.name"]
        .into_iter()
        .find_map(|path| text(event, path))?;
    let cut: String = line.chars().take(MAX_COMMAND).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    Some(format!("\"{cut}{more}\""))
}

fn connection(event: &Value) -> Option<String> {
    let address = text(event, "destination.ip").or_else(|| text(event, "destination.address"))?;
    let port = scalar(event, "destination.port").map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{address}{port}"))
}

fn scalar(event: &Value, path: &str) -> Option<String> {
    match at(event, path)? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The first few, each once, and how many more there are.
fn listed(all: &[String]) -> String {
    let mut distinct: Vec<&String> = Vec::new();
    for item in all {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    let shown: Vec<&str> = distinct.iter().take(MAX_LISTED).map(|item| item.as_str()).collect();
    match distinct.len().saturating_sub(MAX_LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_halves_are_told() {
        let call = json!({
            "event": {"dataset": "aws.cloudtrail", "action": "SendCommand", "provider": "ssm.amazonaws.com"},
            "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:iam::111122223333:user/mallory"}}},
            "source": {"address": "198.51.100.23"},
        });
        let exec = json!({
            "event": {"dataset": "endpoint.events.process", "category": ["process"]},
            "host": {"name": "web-1"}, "user": {"name": "root"},
            "process": {"command_line": "sh -c id"},
        });
        let contexts = [Explained { name: "commands".into(), events: vec![exec], n_more: 0, is_told: true }];
        assert_eq!(
            tell("Command sent", &[&call], &contexts),
            "Command sent: arn:aws:iam::111122223333:user/mallory called ssm:SendCommand from 198.51.100.23; \
             on web-1, root ran \"sh -c id\""
        );
    }

    #[test]
    fn what_merely_happened_nearby_is_not_told() {
        let finding = json!({
            "event": {"dataset": "aws.guardduty"}, "cloud": {"instance": {"id": "i-0123456789abcdef0"}},
            "rule": {"name": "A domain was queried."},
        });
        let nearby = json!({"event": {"category": ["process"]}, "process": {"command_line": "cron"}});
        let contexts = [Explained { name: "nearby".into(), events: vec![nearby], n_more: 0, is_told: false }];
        assert_eq!(
            tell("Finding", &[&finding], &contexts),
            "Finding: GuardDuty found A domain was queried on i-0123456789abcdef0"
        );
    }

    #[test]
    fn a_host_story_names_command_and_connection() {
        let exec = json!({
            "event": {"category": ["process"]}, "host": {"name": "web-1"}, "user": {"id": "33"},
            "process": {"command_line": "curl http://169.254.169.254/", "name": "curl"},
        });
        let connect = json!({
            "event": {"category": ["network"]}, "process": {"name": "curl"},
            "destination": {"ip": "169.254.169.254", "port": 80},
        });
        assert_eq!(
            tell("Asked", &[&exec, &connect], &[]),
            "Asked: on web-1, user 33 ran \"curl http://169.254.169.254/\" and curl connected to 169.254.169.254:80"
        );
    }

    #[test]
    fn long_lists_and_commands_are_cut() {
        let names: Vec<String> = (0..9).map(|n| format!("c{n}")).collect();
        assert_eq!(listed(&names), "c0, c1, c2 and 6 more");
        let event = json!({"process": {"command_line": "é".repeat(500)}});
        assert_eq!(command(&event).unwrap().chars().count(), MAX_COMMAND + 3);
    }
}
