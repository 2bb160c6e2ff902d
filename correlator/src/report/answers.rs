//! The questions a responder asks first, answered as far as the events answer them.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::shown;
use crate::alert::view::{Carried, scalar, text, texts};
use crate::render::calls;

const MAX_ANSWERS: usize = 8;

pub(super) fn markup(events: &[Carried<'_>]) -> Markup {
    let cloud: Vec<&Value> =
        events.iter().map(|carried| carried.event).filter(|event| calls::is_cloud(event)).collect();
    let host: Vec<&Value> =
        events.iter().map(|carried| carried.event).filter(|event| !calls::is_cloud(event)).collect();
    let questions = [
        ("Who?", all(&cloud, who)),
        ("With a second factor?", all(&cloud, second_factor)),
        (
            "From where?",
            all(&cloud, |event| text(event, "source.ip").or(text(event, "source.address")).map(String::from)),
        ),
        ("With which tool?", all(&cloud, tool)),
        ("Which process, as whom, from which terminal session?", all(&host, process)),
        ("What did it talk to?", all(&host, peer)),
        ("What was created or handed out?", all(&cloud, created)),
        (
            "What was refused?",
            all(&cloud, |event| {
                let code = text(event, "aws.cloudtrail.error_code")?;
                Some(format!("{} ({code})", calls::title(event)))
            }),
        ),
    ];
    html! {
        dl.questions {
            @for (question, answers) in &questions {
                div {
                    dt { (question) }
                    dd {
                        @if answers.is_empty() { span.dim { "The events do not say." } }
                        @else {
                            ul {
                                @for answer in answers.iter().take(MAX_ANSWERS) { li { (shown(answer)) } }
                                @if answers.len() > MAX_ANSWERS { li.dim { "and " (answers.len() - MAX_ANSWERS) " more" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What events answer, each answer once, in the order in which it was first given.
fn all(events: &[&Value], answer: impl Fn(&Value) -> Option<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    events.iter().filter_map(|event| answer(event)).filter(|answer| seen.insert(answer.clone())).collect()
}

fn who(event: &Value) -> Option<String> {
    let arn = text(event, "aws.cloudtrail.user_identity.arn")?;
    Some(match text(event, "aws.cloudtrail.user_identity.access_key_id") {
        Some(key) => format!("{arn} with key {key}"),
        None => arn.to_owned(),
    })
}

fn second_factor(event: &Value) -> Option<String> {
    let answer = match text(event, "aws.cloudtrail.user_identity.session_context.mfa_authenticated")? {
        "true" => "yes",
        "false" => "no",
        other => other,
    };
    Some(answer.to_owned())
}

/// The tool, its version and its system; the rest of a user agent differs from call to call.
fn tool(event: &Value) -> Option<String> {
    let Some(name) = text(event, "user_agent.name") else {
        return text(event, "user_agent.original").map(String::from);
    };
    let more = [
        text(event, "user_agent.version"),
        text(event, "user_agent.os.name"),
        text(event, "user_agent.os.version"),
    ];
    Some(more.into_iter().flatten().fold(name.to_owned(), |words, more| words + " " + more))
}

fn process(event: &Value) -> Option<String> {
    if text(event, "event.action") != Some("exec") {
        return None;
    }
    let name = text(event, "process.name")?;
    let mut words = name.to_owned();
    if let Some(user) = text(event, "user.name") {
        words.push_str(&format!(" as {user}"));
    }
    if let Some(leader) = text(event, "process.entry_leader.entry_meta.type") {
        words.push_str(&format!(", in a session of kind {leader}"));
    }
    if let Some(parent) = text(event, "process.parent.name") {
        words.push_str(&format!(", started by {parent}"));
    }
    Some(words)
}

fn peer(event: &Value) -> Option<String> {
    let peer = text(event, "destination.domain").or(text(event, "destination.ip"))?;
    Some(match scalar(event, "destination.port") {
        Some(port) => format!("{peer}:{port}"),
        None => peer.to_owned(),
    })
}

fn created(event: &Value) -> Option<String> {
    const PREFIXES: &[&str] = &[
        "Create",
        "Run",
        "Put",
        "Attach",
        "Add",
        "Import",
        "Send",
        "Start",
        "AssumeRole",
        "Associate",
        "GetSessionToken",
    ];
    let action = text(event, "event.action")?;
    let is_done = text(event, "event.outcome") == Some("success");
    let is_making = PREFIXES.iter().any(|prefix| action.starts_with(prefix));
    let target =
        texts(event, "user.target.name").first().map(|name| format!(" for {name}")).unwrap_or_default();
    (is_done && is_making).then(|| format!("{}{target}", calls::title(event)))
}
