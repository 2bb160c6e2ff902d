//! An incident as one page: a file that opens without a network and needs nothing beside it.
//!
//! Everything on it comes out of the alert documents. Foreign strings pass [`shown`], which leaves nothing that hides or
//! reorders text, and are escaped where they are written: no other way leads onto the page.

mod answers;
mod chain;
#[cfg(test)]
mod tests;
mod timeline;
mod tree;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::alert::view::{Carried, carried, list, muted_by, one_or_many, text, texts};
use crate::incident::{Entity, EntityKind, Incident, Step};
use crate::untrusted::Untrusted;

const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// A foreign string is shown up to here.
const MAX_SHOWN: usize = 2_000;

/// The page of an incident, given the documents of its alerts.
pub fn page(incident: &Incident, alerts: &[&Value]) -> String {
    let events = events(alerts);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="referrer" content="no-referrer";
                title { "Incident " (incident.id) " · groundtrail" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#timeline" { "Skip to the timeline" }
                (head(incident))
                main {
                    (section("who", "Who is in it", &who(&incident.entities)))
                    (section("timeline", "What happened", &timeline::markup(&events)))
                    (section("processes", "Processes", &tree::markup(&events)))
                    (section("chain", "Credentials", &chain::markup(alerts)))
                    (section("questions", "First questions", &answers::markup(&events)))
                    (section("next", "What to do", &next(&incident.next)))
                    (section("alerts", "Alerts", &alerts_markup(incident, alerts)))
                    (section("unseen", "What could not be seen", &unseen(&incident.could_not_see)))
                }
                footer { "Written by groundtrail " (env!("CARGO_PKG_VERSION")) ". Times are UTC. The page holds all it shows." }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// What a browser may do with the page.
pub(crate) fn policy() -> String {
    policy_of(STYLE, SCRIPT)
}

/// Nothing is fetched and nothing is sent, whatever an event says; no style and no script runs but these two.
pub(crate) fn policy_of(style: &str, script: &str) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'",
        hash(style),
        hash(script)
    )
}

/// A foreign string as it may be looked at.
fn shown(text: &str) -> String {
    Untrusted(text).fit(MAX_SHOWN)
}

/// Every event of every alert, once; evidence of any alert counts as evidence.
fn events<'d>(alerts: &[&'d Value]) -> Vec<Carried<'d>> {
    let mut all: Vec<Carried<'d>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for event in alerts.iter().flat_map(|alert| carried(alert)) {
        match places.get(event.id()).filter(|_| !event.id().is_empty()) {
            Some(place) if event.is_evidence() => all[*place] = event,
            Some(_) => {}
            None => {
                places.insert(event.id(), all.len());
                all.push(event);
            }
        }
    }
    all.sort_by_key(|event| (crate::alert::view::time(event.event), event.id()));
    all
}

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! {
        @if !content.0.is_empty() {
            section id=(id) aria-labelledby={ (id) "-title" } {
                h2 id={ (id) "-title" } { (title) }
                (content)
            }
        }
    }
}

fn head(incident: &Incident) -> Markup {
    html! {
        header {
            p.line {
                span class={ "severity " (incident.severity) } { (incident.severity) }
                " incident " code { (incident.id) }
                " · " time { (minute(&incident.start)) } " – " time { (minute(&incident.end)) } " UTC"
            }
            h1 { (shown(&incident.summary)) }
        }
    }
}

fn who(entities: &[Entity]) -> Markup {
    html! {
        @if !entities.is_empty() {
            dl {
                @for entity in entities {
                    div {
                        dt { (kind(entity.kind)) }
                        dd {
                            code { (shown(&entity.id)) }
                            @if entity.name != entity.id && !entity.name.is_empty() { " " span.dim { (shown(&entity.name)) } }
                        }
                    }
                }
            }
        }
    }
}

fn kind(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Principal => "Principal",
        EntityKind::Host => "Host",
        EntityKind::AccessKey => "Access key",
        EntityKind::Command => "Systems Manager command",
        EntityKind::Session => "Session Manager session",
    }
}

fn next(steps: &[Step]) -> Markup {
    html! {
        @if !steps.is_empty() {
            ul.steps {
                @for step in steps {
                    @match step {
                        Step::Ask { rule, text } => li {
                            p { (shown(text)) }
                            p.dim { (shown(rule)) }
                        },
                        Step::Contain { what, command } => li {
                            p { "To " (shown(what)) ":" }
                            div.copy {
                                pre tabindex="0" { code { (shown(command)) } }
                                button type="button" { "Copy" }
                            }
                        },
                    }
                }
            }
        }
    }
}

fn alerts_markup(incident: &Incident, alerts: &[&Value]) -> Markup {
    html! {
        @for scene in &incident.story {
            @let alert = alerts.iter().find(|alert| text(alert, "groundtrail.alert.id") == Some(&scene.alert));
            details id={ "alert-" (shown(&scene.alert)) } {
                summary {
                    span class={ "severity " (scene.severity) } { (scene.severity) }
                    " " strong { (shown(&scene.rule)) }
                    " " time { (second(&scene.time)) }
                }
                p { (shown(&scene.what)) }
                @if let Some(by) = alert.and_then(|alert| muted_by(alert)) { p.dim { "Nobody was told: muted " (shown(&by)) } }
                @if let Some(alert) = alert { (alert_detail(alert)) }
            }
        }
    }
}

fn alert_detail(alert: &Value) -> Markup {
    let description = text(alert, "rule.description").unwrap_or_default();
    html! {
        p.dim { (shown(&description.split_whitespace().collect::<Vec<_>>().join(" "))) }
        (techniques(alert))
        @for evidence in list(alert, "groundtrail.alert.evidence") {
            @if let Some(event) = evidence.get("event") {
                h4 { (shown(text(evidence, "stage").unwrap_or("evidence"))) }
                (evidence_table(event, &matched(alert, event)))
            }
        }
        p.dim { "Alert " code { (shown(text(alert, "groundtrail.alert.id").unwrap_or_default())) } }
    }
}

fn techniques(alert: &Value) -> Markup {
    let threats = alert.get("threat").map(one_or_many).unwrap_or_default();
    let techniques: Vec<&Value> =
        threats.iter().filter_map(|threat| threat.get("technique")).flat_map(one_or_many).collect();
    html! {
        @if !techniques.is_empty() {
            p {
                "ATT&CK "
                @for technique in techniques {
                    span.technique {
                        (shown(text(technique, "id").unwrap_or_default())) " " (shown(text(technique, "name").unwrap_or_default()))
                    }
                    " "
                }
            }
        }
    }
}

/// The values that the alert joined on or counted: where they stand in the evidence is what matched.
fn matched(alert: &Value, event: &Value) -> Vec<String> {
    let join = alert.pointer("/groundtrail/alert/join").and_then(Value::as_object);
    let mut values: Vec<String> =
        join.into_iter().flatten().filter_map(|(_, value)| crate::alert::view::show(value)).collect();
    values.extend(texts(event, "event.action").into_iter().map(String::from));
    values
}

/// The fields of an event that people read, in the order in which they read them; `matched` values are marked.
fn evidence_table(event: &Value, matched: &[String]) -> Markup {
    const FIELDS: &[&str] = &[
        "@timestamp",
        "event.dataset",
        "event.provider",
        "event.action",
        "event.outcome",
        "aws.cloudtrail.user_identity.arn",
        "aws.cloudtrail.user_identity.access_key_id",
        "aws.cloudtrail.error_code",
        "aws.cloudtrail.request_parameters",
        "aws.cloudtrail.response_elements",
        "source.ip",
        "source.address",
        "user_agent.original",
        "cloud.account.id",
        "cloud.region",
        "host.name",
        "host.id",
        "user.name",
        "process.name",
        "process.executable",
        "process.command_line",
        "process.working_directory",
        "process.parent.name",
        "process.parent.command_line",
        "process.pid",
        "destination.ip",
        "destination.port",
        "destination.domain",
        "http.request.method",
        "url.path",
        "file.path",
        "container.id",
        "event.id",
    ];
    html! {
        table {
            tbody {
                @for field in FIELDS {
                    @if let Some(value) = crate::alert::view::scalar(event, field) {
                        tr {
                            th scope="row" { (field) }
                            td { @if matched.contains(&value) { mark { (shown(&value)) } } @else { (shown(&value)) } }
                        }
                    }
                }
            }
        }
    }
}

fn unseen(gaps: &[String]) -> Markup {
    html! {
        @if gaps.is_empty() {
            p { "Nothing is known to be missing. What no source was set to record is not counted here." }
        } @else {
            ul { @for gap in gaps { li { (shown(gap)) } } }
        }
    }
}

/// `2026-11-02T10:00:00.123Z` as `2026-11-02 10:00`.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}
