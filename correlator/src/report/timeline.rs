//! What happened in order of time, with a lane for the hosts and one for the cloud.

use maud::{Markup, html};
use serde_json::Value;

use super::{second, shown};
use crate::alert::view::{Carried, scalar, text};
use crate::render::calls;

/// More rows than this nobody reads; the documents hold the rest.
const MAX_ROWS: usize = 300;

/// Neighbours that say the same are one row.
struct Row<'d> {
    event: &'d Value,
    is_cloud: bool,
    is_evidence: bool,
    what: String,
    who: String,
    count: usize,
}

pub(super) fn markup(events: &[Carried<'_>]) -> Markup {
    let rows = rows(events);
    html! {
        @if !rows.is_empty() {
            div.lanes {
                div.row.lane-names aria-hidden="true" { span {} span { "Host" } span { "Cloud" } }
                ol {
                    @for row in rows.iter().take(MAX_ROWS) {
                        li class={ "row " (if row.is_cloud { "cloud" } else { "host" }) @if row.is_evidence { " evidence" } } {
                            time { (second(text(row.event, "@timestamp").unwrap_or_default())) }
                            div.card {
                                span.lane { (if row.is_cloud { "cloud" } else { "host" }) }
                                p.what {
                                    (shown(&row.what))
                                    @if row.count > 1 { " " span.dim { "×" (row.count) } }
                                }
                                @if !row.who.is_empty() { p.dim { (shown(&row.who)) } }
                            }
                        }
                    }
                }
                @if rows.len() > MAX_ROWS { p.dim { "and " (rows.len() - MAX_ROWS) " more" } }
            }
        }
    }
}

fn rows<'d>(events: &[Carried<'d>]) -> Vec<Row<'d>> {
    let mut rows: Vec<Row<'d>> = Vec::new();
    for carried in events {
        let event = carried.event;
        let is_cloud = calls::is_cloud(event);
        let (what, who) =
            if is_cloud { (cloud_deed(event), caller(event)) } else { (host_deed(event), runner(event)) };
        match rows.last_mut() {
            Some(last) if last.is_cloud == is_cloud && last.what == what && last.who == who => {
                last.count += 1;
                last.is_evidence |= carried.is_evidence();
            }
            _ => rows.push(Row { event, is_cloud, is_evidence: carried.is_evidence(), what, who, count: 1 }),
        }
    }
    rows
}

fn cloud_deed(event: &Value) -> String {
    let title = calls::title(event);
    match text(event, "aws.cloudtrail.error_code") {
        Some(code) => format!("{title}: {code}"),
        None => title,
    }
}

fn caller(event: &Value) -> String {
    let words = [
        text(event, "aws.cloudtrail.user_identity.arn"),
        text(event, "source.ip").or(text(event, "source.address")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" from ")
}

fn host_deed(event: &Value) -> String {
    let process = text(event, "process.name").unwrap_or("a process");
    let target = |host: &str| match scalar(event, "destination.port") {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if text(event, "event.category") == Some("network") {
        let host = text(event, "destination.domain").or(text(event, "destination.ip")).unwrap_or("?");
        return match text(event, "url.path") {
            Some(path) => format!("{process} asked {} for {path}", target(host)),
            None => format!("{process} → {}", target(host)),
        };
    }
    if let Some(path) = text(event, "file.path") {
        return format!("{process}: {} {path}", text(event, "event.action").unwrap_or("file"));
    }
    match (text(event, "event.action"), text(event, "process.command_line")) {
        (Some("exec") | None, Some(line)) => line.to_owned(),
        (Some(action), _) => format!("{process} {action}"),
        (None, None) => process.to_owned(),
    }
}

fn runner(event: &Value) -> String {
    let words = [text(event, "user.name"), text(event, "host.name").or(text(event, "host.id"))];
    words.into_iter().flatten().collect::<Vec<_>>().join(" on ")
}
